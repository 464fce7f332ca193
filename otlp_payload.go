package chatcompletion

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// scopeName is the name of the instrumentation scope.
const scopeName = "github.com/modelroute/chatcompletion"

// Enumerations of OTLP.
const (
	kindClient            = 3 // of spans
	statusError           = 2 // of spans
	temporalityCumulative = 2 // of metrics
)

// OTLP as JSON is the mapping of proto3, in which 64-bit integers are strings, except that ids are
// hexadecimal. Payloads are built as text: encoding/json would need maps and slices made by
// interpreted code, which takes ten times as long.

// requestTexts caches the part of a span that describes the request, as JSON. All calls with equal
// parameters share one Request.
type requestTexts map[*Request]string

// maxRequestTexts bounds requestTexts, which also keeps the requests alive.
const maxRequestTexts = 1000

// spanPayload returns the body of a request that exports spans with the attributes of semconv. It is one
// long loop, since interpreted calls are expensive; members that few spans have are built in other functions.
func spanPayload(resource []string, semconv string, texts requestTexts, calls []*Call) []byte {
	spans := make([]string, len(calls))
	parameters := map[Parameter]string{} // attributes, of which many requests have the same
	for i, c := range calls {
		request, isKnown := texts[c.Request]
		if !isKnown {
			request = requestText(c, parameters)
			texts[c.Request] = request
		}
		if semconv == semconvV01 && c.ErrorType != "" {
			c = withErrorReason(c)
		}
		said := c.Response.ID + "," + c.Response.Model + "," + strings.Join(c.Response.FinishReasons, ",") + "," + strings.Join(c.Labels, ",")
		if strings.ContainsAny(said, notPlainJSON) || !utf8.ValidString(said) {
			c = withTextsOfJSON(c)
		}
		resp, start := &c.Response, c.Start.UnixNano()
		before, more := "", ""
		if c.Trace.ParentID != "" {
			before = `"parentSpanId":"` + c.Trace.ParentID + `",`
		}
		if c.Trace.State != "" || c.FirstChunk > 0 || c.ErrorType != "" {
			before += spanMembers(c, start)
		}
		if resp.Usage.InputKnown {
			more = `,{"key":"gen_ai.usage.input_tokens","value":{"intValue":"` + strconv.FormatInt(resp.Usage.InputTokens, 10) + `"}}`
		}
		if resp.Usage.OutputKnown {
			more += `,{"key":"gen_ai.usage.output_tokens","value":{"intValue":"` + strconv.FormatInt(resp.Usage.OutputTokens, 10) + `"}}`
		}
		if resp.FinishReasons != nil {
			more += `,{"key":"gen_ai.response.finish_reasons","value":{"arrayValue":{"values":[{"stringValue":"` +
				strings.Join(resp.FinishReasons, `"},{"stringValue":"`) + `"}]}}}`
		}
		for l := 0; l < len(c.Labels); l += 2 {
			more += `,{"key":"` + c.Labels[l] + `","value":{"stringValue":"` + c.Labels[l+1] + `"}}`
		}
		if resp.ID != "" {
			more += `,{"key":"gen_ai.response.id","value":{"stringValue":"` + resp.ID + `"}}`
		}
		if resp.Model != "" {
			more += `,{"key":"gen_ai.response.model","value":{"stringValue":"` + resp.Model + `"}}`
		}
		if c.Cost.Source == costFromTable {
			more += costBefore + dollars(c.Cost.Picodollars) + costBetween + costLocal + `"}}`
		} else if c.Cost.Known {
			more += costBefore + dollars(c.Cost.Picodollars) + costBetween + costSource(&c.Cost) + `"}}`
		}
		if c.FirstChunk > 0 || c.ErrorType != "" || c.Quota != "" || c.Cache == cacheHit || resp.Usage.Estimated || c.Input != nil || resp.Content != nil ||
			resp.Usage.CacheReadInputTokens+resp.Usage.CacheCreationInputTokens+resp.Usage.ReasoningOutputTokens+
				resp.Usage.InputAudioTokens+resp.Usage.OutputAudioTokens > 0 {
			more += spanAttributes(c, semconv)
		}
		spans[i] = fmt.Sprintf(`{"traceId":"%s","spanId":"%s","startTimeUnixNano":"%d","endTimeUnixNano":"%d",%s%s`+
			`,{"key":"http.response.status_code","value":{"intValue":"%d"}}%s]}`,
			c.Trace.TraceID, c.Trace.SpanID, start, start+int64(c.Duration), before, request, c.Status, more)
	}
	return []byte(payloadText("resourceSpans", "scopeSpans", "spans", resource, strings.Join(spans, ",")))
}

// The attributes of a cost, before its amount, and between that and its source.
const (
	costBefore  = `,{"key":"` + costAmountAttribute + `","value":{"doubleValue":`
	costBetween = `}},{"key":"` + costCurrencyAttribute + `","value":{"stringValue":"` + costCurrency + `"}},{"key":"` +
		costSourceAttribute + `","value":{"stringValue":"`
)

// withTextsOfJSON returns a copy of a call with its texts escaped for JSON strings, without the
// quotes.
func withTextsOfJSON(c *Call) *Call {
	escaped := *c
	escaped.Response.ID = insideJSON(c.Response.ID)
	escaped.Response.Model = insideJSON(c.Response.Model)
	escaped.Response.FinishReasons = nil
	for _, reason := range c.Response.FinishReasons {
		escaped.Response.FinishReasons = append(escaped.Response.FinishReasons, insideJSON(reason))
	}
	escaped.Labels = nil
	for _, text := range c.Labels {
		escaped.Labels = append(escaped.Labels, insideJSON(text))
	}
	return &escaped
}

// insideJSON returns a text escaped for a JSON string, without the quotes.
func insideJSON(text string) string {
	text = jsonText(text)
	return text[1 : len(text)-1]
}

// payloadText wraps spans or metrics into their resource and scope.
func payloadText(perResource, perScope, name string, resource []string, content string) string {
	return `{"` + perResource + `":[{"resource":{"attributes":[` + textAttributes(resource) + `]},"` + perScope +
		`":[{"scope":{"name":"` + scopeName + `"},"` + name + `":[` + content + `]}]}]}`
}

// jsonText returns a text as a JSON string.
func jsonText(text string) string {
	if strings.ContainsAny(text, notPlainJSON) || !utf8.ValidString(text) {
		return string(marshal(text))
	}
	return `"` + text + `"`
}

// notPlainJSON are the characters that must be escaped in a JSON string.
const notPlainJSON = controlCharacters + `"\`

// attribute returns a comma and an attribute. Its value is JSON of the given kind.
func attribute(name, kind, value string) string {
	return `,{"key":"` + name + `","value":{"` + kind + `":` + value + `}}`
}

func textAttribute(name, value string) string {
	return attribute(name, "stringValue", jsonText(value))
}

func wholeAttribute(name string, value int64) string {
	return attribute(name, "intValue", `"`+strconv.FormatInt(value, 10)+`"`)
}

func numberAttribute(name string, value float64) string {
	return attribute(name, "doubleValue", strconv.FormatFloat(value, 'g', -1, 64))
}

func textsAttribute(name string, values []string) string {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = `{"stringValue":` + jsonText(value) + `}`
	}
	return attribute(name, "arrayValue", `{"values":[`+strings.Join(texts, ",")+`]}`)
}

// textAttributes returns the attributes in pairs, which are alternating names and values, without a
// leading comma.
func textAttributes(pairs []string) string {
	text := ""
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == serverPortAttribute {
			text += attribute(serverPortAttribute, "intValue", `"`+pairs[i+1]+`"`)
		} else {
			text += textAttribute(pairs[i], pairs[i+1])
		}
	}
	return strings.TrimPrefix(text, ",")
}

// requestText returns the members of a span that describe the request: name, kind and attributes.
// The list of attributes comes last and is left open.
func requestText(c *Call, parameters map[Parameter]string) string {
	request := c.Request
	text := fmt.Sprintf(`"name":%s,"kind":%d,"attributes":[{"key":%q,"value":{"stringValue":%q}}`,
		jsonText(strings.TrimSpace(c.Target.Operation+" "+request.Model)), kindClient, operationAttribute, c.Target.Operation)
	text += textAttribute(providerAttribute, c.Target.Provider)
	if c.Target.ServerAddress != "" {
		text += textAttribute(serverAddressAttribute, c.Target.ServerAddress) + attribute(serverPortAttribute, "intValue", `"`+c.Target.ServerPort+`"`)
	}
	if request.Model != "" {
		text += textAttribute(requestModelAttribute, request.Model)
	}
	if request.Stream {
		text += attribute("gen_ai.request.stream", "boolValue", "true")
	}
	for i, p := range request.Parameters {
		// If nothing is configured for the token limit, a request may hold both spellings; the
		// newer one counts.
		if i+1 == len(request.Parameters) || request.Parameters[i+1].Name != p.Name {
			shown, isKnown := parameters[p]
			if !isKnown {
				shown = parameterAttribute(p)
				parameters[p] = shown
			}
			text += shown
		}
	}
	if request.Policy != "" {
		text += textAttribute("chat_completion.policy", request.Policy)
	}
	return text
}

// spanMembers returns the members that not every span has, each followed by a comma.
func spanMembers(c *Call, start int64) string {
	text := ""
	if c.Trace.State != "" {
		text += `"traceState":` + jsonText(c.Trace.State) + ","
	}
	if c.FirstChunk > 0 {
		text += fmt.Sprintf(`"events":[{"timeUnixNano":"%d","name":"gen_ai.first_chunk"}],`, start+int64(c.FirstChunk))
	}
	if c.ErrorType != "" {
		text += fmt.Sprintf(`"status":{"code":%d,"message":%s},`, statusError, jsonText(c.ErrorType))
	}
	return text
}

// spanAttributes returns the attributes that not every call has. Unknown values are left out.
func spanAttributes(c *Call, semconv string) string {
	text := ""
	if c.FirstChunk > 0 {
		text += numberAttribute("gen_ai.response.time_to_first_chunk", c.FirstChunk.Seconds())
	}
	if c.ErrorType != "" {
		text += textAttribute(errorTypeAttribute, c.ErrorType)
	}
	text += usageAttributes(&c.Response.Usage, semconv)
	if c.Quota != "" {
		text += textAttribute("chat_completion.quota", c.Quota)
	}
	if c.Cache == cacheHit {
		text += attribute("chat_completion.cached", "boolValue", "true")
	}
	if c.Response.Usage.Estimated {
		text += attribute("chat_completion.usage.estimated", "boolValue", "true")
	}
	if len(c.Input) > 0 {
		text += textAttribute("gen_ai.input.messages", string(c.Input))
	}
	if len(c.Response.Content) > 0 {
		text += textAttribute("gen_ai.output.messages", string(c.Response.Content))
	}
	return text
}

// usageAttributes returns the attributes that break the tokens down.
func usageAttributes(u *Usage, semconv string) string {
	text := ""
	if u.CacheReadInputTokens > 0 {
		text += wholeAttribute("gen_ai.usage.cache_read.input_tokens", u.CacheReadInputTokens)
	}
	if u.CacheCreationInputTokens > 0 && semconv == semconvV01 {
		text += wholeAttribute("gen_ai.usage.cache_write.input_tokens", u.CacheCreationInputTokens)
	} else if u.CacheCreationInputTokens > 0 {
		text += wholeAttribute("gen_ai.usage.cache_creation.input_tokens", u.CacheCreationInputTokens)
	}
	if u.ReasoningOutputTokens > 0 {
		text += wholeAttribute("gen_ai.usage.reasoning.output_tokens", u.ReasoningOutputTokens)
	}
	if u.InputAudioTokens > 0 && semconv == semconvV01 {
		text += wholeAttribute("gen_ai.usage.audio.input_tokens", u.InputAudioTokens)
	}
	if u.OutputAudioTokens > 0 && semconv == semconvV01 {
		text += wholeAttribute("gen_ai.usage.audio.output_tokens", u.OutputAudioTokens)
	}
	return text
}

// doubleParameters are the parameters whose attributes are doubles.
var doubleParameters = map[string]bool{
	"gen_ai.request.temperature": true, "gen_ai.request.top_p": true,
	"gen_ai.request.frequency_penalty": true, "gen_ai.request.presence_penalty": true,
}

// parameterAttribute returns the attribute of a parameter, or "" if its JSON has another type than
// the conventions define.
func parameterAttribute(p Parameter) string {
	if p.Value == "" {
		return ""
	}
	switch p.Value[0] {
	case '"':
		var text string
		if json.Unmarshal([]byte(p.Value), &text) != nil {
			return ""
		}
		if p.Name == "gen_ai.request.stop_sequences" {
			return textsAttribute(p.Name, []string{text})
		}
		return textAttribute(p.Name, text)
	case '[':
		var texts []string
		if json.Unmarshal([]byte(p.Value), &texts) != nil {
			return ""
		}
		return textsAttribute(p.Name, texts)
	case '{':
		return levelAttribute(p)
	}
	number, err := strconv.ParseFloat(p.Value, 64)
	if err != nil {
		return ""
	}
	if doubleParameters[p.Name] {
		return numberAttribute(p.Name, number)
	}
	whole, err := strconv.ParseInt(p.Value, 10, 64)
	if err != nil {
		whole = int64(number) // such as 1e3
		if math.Abs(number) >= 1<<53 || float64(whole) != number {
			return ""
		}
	}
	return wholeAttribute(p.Name, whole)
}

// levelAttribute returns the attribute of a reasoning level, which is a member of an object: effort
// in the Responses API, thinkingLevel in Gemini's.
func levelAttribute(p Parameter) string {
	var members struct {
		Effort string `json:"effort"`
		Level  string `json:"thinkingLevel"`
	}
	if json.Unmarshal([]byte(p.Value), &members) != nil || members.Effort+members.Level == "" {
		return ""
	}
	return textAttribute(p.Name, members.Effort+members.Level)
}

// attributeTexts caches the attributes of points as JSON. All instruments of a series have the same
// attributes.
type attributeTexts map[string]string

// pointAttributes returns the attributes of a point followed by a comma, or "" if it has none.
func pointAttributes(texts attributeTexts, pairs []string) string {
	if len(pairs) == 0 {
		return ""
	}
	key := strings.Join(pairs, "\x00")
	text, isKnown := texts[key]
	if !isKnown {
		text = `"attributes":[` + textAttributes(pairs) + "],"
		texts[key] = text
	}
	return text
}

// metricPayload returns the body of a request that exports metrics, counted from began to at.
func metricPayload(resource []string, texts attributeTexts, metrics []metric, began, at time.Time) []byte {
	times := fmt.Sprintf(`"startTimeUnixNano":"%d","timeUnixNano":"%d"`, began.UnixNano(), at.UnixNano())
	shown := make([]string, len(metrics))
	for i, m := range metrics {
		shown[i] = metricText(texts, m, times)
	}
	return []byte(payloadText("resourceMetrics", "scopeMetrics", "metrics", resource, strings.Join(shown, ",")))
}

// metricText returns a metric with its points.
func metricText(texts attributeTexts, m metric, times string) string {
	i := m.instrument
	points := make([]string, len(m.points))
	kind, monotonic := "histogram", ""
	if i.bounds == nil {
		kind = "sum"
		if !i.isGauge {
			monotonic = `,"isMonotonic":true`
		}
	}
	bounds := marshal(i.bounds)
	for at, p := range m.points {
		if i.bounds == nil {
			value := `"asInt":"` + valueText(p) + `"`
			if p.isMoney {
				value = `"asDouble":` + valueText(p)
			}
			points[at] = fmt.Sprintf(`{%s%s,%s}`, pointAttributes(texts, p.attributes), times, value)
			continue
		}
		points[at] = fmt.Sprintf(`{%s%s,"count":"%d","sum":%g,"bucketCounts":%s,"explicitBounds":%s}`,
			pointAttributes(texts, p.attributes), times, p.count, p.sum, countsAsTexts.Replace(fmt.Sprint(p.counts)), bounds)
	}
	return fmt.Sprintf(`{"name":%q,"description":%q,"unit":%q,%q:{"dataPoints":[%s],"aggregationTemporality":%d%s}}`,
		i.name, i.description, i.unit, kind, strings.Join(points, ","), temporalityCumulative, monotonic)
}

// countsAsTexts turns a slice of integers, as fmt prints it, into a JSON array of strings.
var countsAsTexts = strings.NewReplacer("[", `["`, " ", `","`, "]", `"]`)

// metricRequests splits metrics into requests of at most maxPoints points, since collectors limit
// the size of a request. Metrics without points are left out.
func metricRequests(metrics []metric, maxPoints int) [][]metric {
	var requests [][]metric
	var request []metric
	room := maxPoints
	for _, m := range metrics {
		points := m.points
		for len(points) > 0 {
			count := len(points)
			if count > room {
				count = room
			}
			request = append(request, metric{m.instrument, points[:count]})
			points = points[count:]
			room -= count
			if room == 0 {
				requests = append(requests, request)
				request = nil
				room = maxPoints
			}
		}
	}
	if len(request) > 0 {
		requests = append(requests, request)
	}
	return requests
}
