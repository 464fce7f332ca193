package chatcompletion

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// scopeName names this instrumentation.
const scopeName = "github.com/modelroute/chatcompletion"

// Enumerations of OTLP.
const (
	kindClient            = 3 // of spans
	statusError           = 2 // of spans
	temporalityCumulative = 2 // of metrics
)

// OTLP as JSON: the mapping of proto3, in which 64-bit integers are strings, but with ids in hexadecimal digits. The types
// are flat, and values are maps: encoding/json sees no methods and no embedding in types of interpreted code.
type (
	otlpAttribute struct {
		Key   string         `json:"key"`
		Value map[string]any `json:"value"`
	}
	otlpResource struct {
		Attributes []otlpAttribute `json:"attributes"`
	}
	otlpSpan struct {
		TraceID      string          `json:"traceId"`
		SpanID       string          `json:"spanId"`
		TraceState   string          `json:"traceState,omitempty"`
		ParentSpanID string          `json:"parentSpanId,omitempty"`
		Name         string          `json:"name"`
		Kind         int             `json:"kind"`
		Start        string          `json:"startTimeUnixNano"`
		End          string          `json:"endTimeUnixNano"`
		Attributes   []otlpAttribute `json:"attributes"`
		Events       []otlpEvent     `json:"events,omitempty"`
		Status       map[string]any  `json:"status,omitempty"`
	}
	otlpEvent struct {
		Time string `json:"timeUnixNano"`
		Name string `json:"name"`
	}
	otlpMetric struct {
		Name        string         `json:"name"`
		Description string         `json:"description"`
		Unit        string         `json:"unit"`
		Sum         map[string]any `json:"sum,omitempty"`
		Histogram   map[string]any `json:"histogram,omitempty"`
	}
	otlpNumber struct {
		Attributes json.RawMessage `json:"attributes"`
		Start      string          `json:"startTimeUnixNano"`
		Time       string          `json:"timeUnixNano"`
		AsInt      string          `json:"asInt"`
	}
	otlpDistribution struct {
		Attributes     json.RawMessage `json:"attributes"`
		Start          string          `json:"startTimeUnixNano"`
		Time           string          `json:"timeUnixNano"`
		Count          string          `json:"count"`
		Sum            float64         `json:"sum"`
		BucketCounts   json.RawMessage `json:"bucketCounts"`
		ExplicitBounds []float64       `json:"explicitBounds"`
	}
)

// spanPayload returns the body of a request that exports spans.
func spanPayload(resource []string, calls []*Call) []byte {
	spans := make([]otlpSpan, len(calls))
	for i, c := range calls {
		spans[i] = spanOf(c)
	}
	return payload("resourceSpans", "scopeSpans", "spans", resource, spans)
}

// payload wraps spans or metrics into what says who sends them.
func payload(perResource, perScope, name string, resource []string, content any) []byte {
	scope := map[string]any{"scope": map[string]any{"name": scopeName}, name: content}
	return marshal(map[string]any{perResource: []any{
		map[string]any{"resource": otlpResource{textAttributes(resource)}, perScope: []any{scope}},
	}})
}

func textAttribute(name, value string) otlpAttribute {
	return otlpAttribute{name, map[string]any{"stringValue": value}}
}

func wholeAttribute(name string, value int64) otlpAttribute {
	return otlpAttribute{name, map[string]any{"intValue": strconv.FormatInt(value, 10)}}
}

func numberAttribute(name string, value float64) otlpAttribute {
	return otlpAttribute{name, map[string]any{"doubleValue": value}}
}

func textsAttribute(name string, values []string) otlpAttribute {
	texts := make([]map[string]any, len(values))
	for i, value := range values {
		texts[i] = map[string]any{"stringValue": value}
	}
	return otlpAttribute{name, map[string]any{"arrayValue": map[string]any{"values": texts}}}
}

// textAttributes returns attributes of names and values by turns.
func textAttributes(pairs []string) []otlpAttribute {
	attributes := make([]otlpAttribute, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		attributes = append(attributes, otlpAttribute{pairs[i], map[string]any{"stringValue": pairs[i+1]}})
	}
	return attributes
}

func unixNano(t time.Time) string {
	return strconv.FormatInt(t.UnixNano(), 10)
}

// spanOf returns the span of a call.
func spanOf(c *Call) otlpSpan {
	t := c.Trace
	s := otlpSpan{
		TraceID: t.TraceID, SpanID: t.SpanID, TraceState: t.State, ParentSpanID: t.ParentID,
		Name: chatOperation, Kind: kindClient, Start: unixNano(c.Start), End: unixNano(c.Start.Add(c.Duration)),
	}
	if c.Request.Model != "" {
		s.Name = chatOperation + " " + c.Request.Model
	}
	if c.FirstChunk > 0 {
		s.Events = []otlpEvent{{unixNano(c.Start.Add(c.FirstChunk)), "gen_ai.first_chunk"}}
	}
	if c.ErrorType != "" {
		s.Status = map[string]any{"code": statusError, "message": c.ErrorType}
	}
	s.Attributes = spanAttributes(c)
	return s
}

// spanAttributes returns what is known of a call. What is not known is not there.
func spanAttributes(c *Call) []otlpAttribute {
	attributes := textAttributes([]string{operationAttribute, chatOperation, providerAttribute, c.Middleware.Provider})
	for _, text := range [][2]string{
		{requestModelAttribute, c.Request.Model},
		{"gen_ai.response.id", c.Answer.ID},
		{responseModelAttribute, c.Answer.Model},
		{errorTypeAttribute, c.ErrorType},
		{"chat_completion.policy", c.Request.Policy},
	} {
		if text[1] != "" {
			attributes = append(attributes, textAttribute(text[0], text[1]))
		}
	}
	if c.Request.Stream {
		attributes = append(attributes, otlpAttribute{"gen_ai.request.stream", map[string]any{"boolValue": true}})
	}
	if c.FirstChunk > 0 {
		attributes = append(attributes, numberAttribute("gen_ai.response.time_to_first_chunk", c.FirstChunk.Seconds()))
	}
	if c.Status > 0 {
		attributes = append(attributes, wholeAttribute("http.response.status_code", int64(c.Status)))
	}
	if len(c.Answer.FinishReasons) > 0 {
		attributes = append(attributes, textsAttribute("gen_ai.response.finish_reasons", c.Answer.FinishReasons))
	}
	if c.Answer.Usage.Known {
		attributes = append(attributes, usageAttributes(&c.Answer.Usage)...)
	}
	attributes = append(attributes, parameterAttributes(c.Request.Parameters)...)
	attributes = append(attributes, textAttributes(c.Labels)...)
	return append(attributes, contentAttributes(c)...)
}

func usageAttributes(u *Usage) []otlpAttribute {
	attributes := []otlpAttribute{
		wholeAttribute("gen_ai.usage.input_tokens", u.InputTokens),
		wholeAttribute("gen_ai.usage.output_tokens", u.OutputTokens),
	}
	if u.CacheReadInputTokens > 0 {
		attributes = append(attributes, wholeAttribute("gen_ai.usage.cache_read.input_tokens", u.CacheReadInputTokens))
	}
	if u.CacheCreationInputTokens > 0 {
		attributes = append(attributes, wholeAttribute("gen_ai.usage.cache_creation.input_tokens", u.CacheCreationInputTokens))
	}
	if u.ReasoningOutputTokens > 0 {
		attributes = append(attributes, wholeAttribute("gen_ai.usage.reasoning.output_tokens", u.ReasoningOutputTokens))
	}
	return attributes
}

// contentAttributes returns prompt and answer, which are JSON in the form of the conventions already.
func contentAttributes(c *Call) []otlpAttribute {
	var attributes []otlpAttribute
	if len(c.Input) > 0 {
		attributes = append(attributes, textAttribute("gen_ai.input.messages", string(c.Input)))
	}
	if len(c.Answer.Content) > 0 {
		attributes = append(attributes, textAttribute("gen_ai.output.messages", string(c.Answer.Content)))
	}
	return attributes
}

// doubleParameters are the parameters whose numbers may have a fraction.
var doubleParameters = map[string]bool{
	"gen_ai.request.temperature": true, "gen_ai.request.top_p": true,
	"gen_ai.request.frequency_penalty": true, "gen_ai.request.presence_penalty": true,
}

// parameterAttributes returns the parameters of a request. Of two spellings of one, which a provider may get if nothing is
// configured for them, the newer one counts.
func parameterAttributes(parameters []Parameter) []otlpAttribute {
	var attributes []otlpAttribute
	for i, p := range parameters {
		if i+1 < len(parameters) && parameters[i+1].Name == p.Name {
			continue
		}
		if attribute, ok := parameterAttribute(p); ok {
			attributes = append(attributes, attribute)
		}
	}
	return attributes
}

// parameterAttribute turns the JSON of a parameter into an attribute, unless it is of another type than the schema has:
// in report mode, anything passes.
func parameterAttribute(p Parameter) (otlpAttribute, bool) {
	if p.Value == "" {
		return otlpAttribute{}, false
	}
	switch p.Value[0] {
	case '"':
		var text string
		err := json.Unmarshal([]byte(p.Value), &text)
		if p.Name == "gen_ai.request.stop_sequences" {
			return textsAttribute(p.Name, []string{text}), err == nil
		}
		return textAttribute(p.Name, text), err == nil
	case '[':
		var texts []string
		err := json.Unmarshal([]byte(p.Value), &texts)
		return textsAttribute(p.Name, texts), err == nil
	}
	number, err := strconv.ParseFloat(p.Value, 64)
	if doubleParameters[p.Name] {
		return numberAttribute(p.Name, number), err == nil
	}
	whole, wholeErr := strconv.ParseInt(p.Value, 10, 64)
	if wholeErr != nil && math.Abs(number) < 1<<53 {
		whole = int64(number) // such as 1e3
		if float64(whole) != number {
			return otlpAttribute{}, false
		}
		wholeErr = nil
	}
	return wholeAttribute(p.Name, whole), err == nil && wholeErr == nil
}

// attributeTexts are the attributes of points as JSON: all instruments of a series have the same.
type attributeTexts map[string]json.RawMessage

func pointAttributes(texts attributeTexts, pairs []string) json.RawMessage {
	key := strings.Join(pairs, "\x00")
	text := texts[key]
	if text == nil {
		text = marshal(textAttributes(pairs))
		texts[key] = text
	}
	return text
}

// metricPayload returns the body of a request that exports metrics, as they were at a time.
func metricPayload(resource []string, texts attributeTexts, metrics []metric, began, at time.Time) []byte {
	start, now := unixNano(began), unixNano(at)
	shown := make([]otlpMetric, len(metrics))
	for i, m := range metrics {
		shown[i] = otlpMetric{Name: m.instrument.name, Description: m.instrument.description, Unit: m.instrument.unit}
		if m.instrument.bounds == nil {
			shown[i].Sum = map[string]any{
				"dataPoints": numbers(texts, m.points, start, now), "aggregationTemporality": temporalityCumulative, "isMonotonic": true,
			}
		} else {
			shown[i].Histogram = map[string]any{
				"dataPoints": distributions(texts, m.instrument, m.points, start, now), "aggregationTemporality": temporalityCumulative,
			}
		}
	}
	return payload("resourceMetrics", "scopeMetrics", "metrics", resource, shown)
}

func numbers(texts attributeTexts, points []point, start, now string) []otlpNumber {
	shown := make([]otlpNumber, len(points))
	for i, p := range points {
		shown[i] = otlpNumber{pointAttributes(texts, p.attributes), start, now, strconv.FormatInt(p.count, 10)}
	}
	return shown
}

// countsAsTexts makes JSON of numbers as fmt writes them.
var countsAsTexts = strings.NewReplacer("[", `["`, " ", `","`, "]", `"]`)

func distributions(texts attributeTexts, i *instrument, points []point, start, now string) []otlpDistribution {
	shown := make([]otlpDistribution, len(points))
	for at, p := range points {
		shown[at] = otlpDistribution{
			pointAttributes(texts, p.attributes), start, now, strconv.FormatInt(p.count, 10), p.sum,
			json.RawMessage(countsAsTexts.Replace(fmt.Sprint(p.counts))), i.bounds,
		}
	}
	return shown
}

// metricRequests divides metrics into as many parts as requests are needed to send them: collectors bound the size of one.
// Metrics without a point are left out.
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
