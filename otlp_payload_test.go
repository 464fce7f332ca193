package chatcompletion

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// sameJSON compares JSON regardless of white space and the order of members.
func sameJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%v: %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%v: %s", err, want)
	}
	if !reflect.DeepEqual(g, w) {
		var indented bytes.Buffer
		_ = json.Indent(&indented, got, "", "  ")
		t.Errorf("got\n%s\nwant\n%s", indented.Bytes(), want)
	}
}

var testResource = []string{"service.name", "traefik"}

const resourceJSON = `"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"traefik"}}]}`
const scopeJSON = `"scope":{"name":"github.com/modelroute/chatcompletion"}`

func TestSpanAttributes(t *testing.T) {
	c := &Call{
		Start: time.Unix(1700000000, 5), Duration: 2 * time.Second, FirstChunk: 250 * time.Millisecond,
		Target: &Target{Operation: chatOperation, Provider: "openai"},
		Request: &Request{
			Model: "gpt-4o", Stream: true, Policy: "model=enforced",
			Parameters: []Parameter{{"gen_ai.request.temperature", "1"}, {"gen_ai.request.max_tokens", "100"}},
		},
		Response: Response{
			Model: "gpt-4o-2024", ID: "chatcmpl-1", FinishReasons: []string{"stop", "length"}, Content: []byte(`[{"role":"assistant"}]`),
			Usage: Usage{
				InputKnown: true, OutputKnown: true, InputTokens: 1 << 60, OutputTokens: 0,
				CacheReadInputTokens: 3, CacheCreationInputTokens: 4, ReasoningOutputTokens: 5, Estimated: true,
			},
		},
		Quota:  "report=day",
		Status: 200, ErrorType: "provider_cut", Labels: []string{"team", `a"b`}, Input: []byte(`[{"role":"user"}]`),
		Trace: &Trace{TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: "b7ad6b7169203331", ParentID: "00f067aa0ba902b7", State: "v=1"},
	}
	sameJSON(t, spanPayload(testResource, semconvBoth, requestTexts{}, []*Call{c}), `{"resourceSpans":[{`+resourceJSON+`,"scopeSpans":[{`+scopeJSON+`,"spans":[{
		"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","parentSpanId":"00f067aa0ba902b7","traceState":"v=1",
		"name":"chat gpt-4o","kind":3,"startTimeUnixNano":"1700000000000000005","endTimeUnixNano":"1700000002000000005",
		"status":{"code":2,"message":"provider_cut"},
		"events":[{"timeUnixNano":"1700000000250000005","name":"gen_ai.first_chunk"}],
		"attributes":[
			{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},
			{"key":"gen_ai.provider.name","value":{"stringValue":"openai"}},
			{"key":"gen_ai.request.model","value":{"stringValue":"gpt-4o"}},
			{"key":"gen_ai.request.stream","value":{"boolValue":true}},
			{"key":"gen_ai.request.temperature","value":{"doubleValue":1}},
			{"key":"gen_ai.request.max_tokens","value":{"intValue":"100"}},
			{"key":"chat_completion.policy","value":{"stringValue":"model=enforced"}},
			{"key":"http.response.status_code","value":{"intValue":"200"}},
			{"key":"gen_ai.usage.input_tokens","value":{"intValue":"1152921504606846976"}},
			{"key":"gen_ai.usage.output_tokens","value":{"intValue":"0"}},
			{"key":"gen_ai.response.finish_reasons","value":{"arrayValue":{"values":[{"stringValue":"stop"},{"stringValue":"length"}]}}},
			{"key":"team","value":{"stringValue":"a\"b"}},
			{"key":"gen_ai.response.id","value":{"stringValue":"chatcmpl-1"}},
			{"key":"gen_ai.response.model","value":{"stringValue":"gpt-4o-2024"}},
			{"key":"gen_ai.response.time_to_first_chunk","value":{"doubleValue":0.25}},
			{"key":"error.type","value":{"stringValue":"provider_cut"}},
			{"key":"gen_ai.usage.cache_read.input_tokens","value":{"intValue":"3"}},
			{"key":"gen_ai.usage.cache_creation.input_tokens","value":{"intValue":"4"}},
			{"key":"gen_ai.usage.reasoning.output_tokens","value":{"intValue":"5"}},
			{"key":"chat_completion.quota","value":{"stringValue":"report=day"}},
			{"key":"chat_completion.usage.estimated","value":{"boolValue":true}},
			{"key":"gen_ai.input.messages","value":{"stringValue":"[{\"role\":\"user\"}]"}},
			{"key":"gen_ai.output.messages","value":{"stringValue":"[{\"role\":\"assistant\"}]"}}
		]}]}]}]}`)
}

func TestSpanOmitsUnknownAttributes(t *testing.T) {
	c := &Call{Start: time.Unix(1, 0), Target: &Target{Operation: chatOperation, Provider: "openai"}, Request: &Request{}, Trace: &Trace{TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: "b7ad6b7169203331"}}
	sameJSON(t, spanPayload(testResource, semconvBoth, requestTexts{}, []*Call{c}), `{"resourceSpans":[{`+resourceJSON+`,"scopeSpans":[{`+scopeJSON+`,"spans":[{
		"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331",
		"name":"chat","kind":3,"startTimeUnixNano":"1000000000","endTimeUnixNano":"1000000000",
		"attributes":[
			{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},
			{"key":"gen_ai.provider.name","value":{"stringValue":"openai"}},
			{"key":"http.response.status_code","value":{"intValue":"0"}}
		]}]}]}]}`)
}

// TestSpanOfSuccessSaysWhatQuotasDid: a call that ended well, and has nothing else that not every call has.
func TestSpanOfSuccessSaysWhatQuotasDid(t *testing.T) {
	for _, test := range []struct {
		call *Call
		want string
	}{
		{&Call{Quota: "report=day"}, `{"key":"chat_completion.quota","value":{"stringValue":"report=day"}}`},
		{&Call{Response: Response{Usage: Usage{Estimated: true}}}, `{"key":"chat_completion.usage.estimated","value":{"boolValue":true}}`},
	} {
		c := test.call
		c.Start, c.Status, c.Target, c.Request, c.Trace = time.Unix(1, 0), 200, &Target{Operation: chatOperation}, &Request{}, &Trace{}
		if got := string(spanPayload(testResource, semconvBoth, requestTexts{}, []*Call{c})); !strings.Contains(got, test.want) {
			t.Errorf("span %s, want %s in it", got, test.want)
		}
	}
}

// TestSpanPayloadIsValidJSON uses texts that a JSON string must escape or cannot contain, each in a span after a plain one.
func TestSpanPayloadIsValidJSON(t *testing.T) {
	places := map[string]func(c *Call, text string){
		"id":            func(c *Call, text string) { c.Response.ID = text },
		"model":         func(c *Call, text string) { c.Response.Model = text },
		"finish reason": func(c *Call, text string) { c.Response.FinishReasons = []string{"stop", text} },
		"label":         func(c *Call, text string) { c.Labels = []string{"team", text} },
		"both":          func(c *Call, text string) { c.Response.ID, c.Response.Model = text, "\xa9" }, // after \xc3, it would complete a letter
	}
	for place, put := range places {
		for _, text := range []string{`a"b`, `a\b`, "a\nb", "\x01", "\xff", "\xc3", "é", `\u0000`} {
			plain, call := tracedCall(1), tracedCall(2)
			put(call, text)
			sent := spanPayload(testResource, semconvBoth, requestTexts{}, []*Call{plain, call})
			var payload any
			if err := json.Unmarshal(sent, &payload); err != nil || !utf8.Valid(sent) { // Unmarshal would repair invalid UTF-8
				t.Errorf("%s %q: %v, UTF-8: %t", place, text, err, utf8.Valid(sent))
			}
			got, _ := json.Marshal(payload)
			if want, _ := json.Marshal(map[string]string{"stringValue": strings.ToValidUTF8(text, "\ufffd")}); !bytes.Contains(got, want) {
				t.Errorf("%s: payload %s, want %s in it", place, got, want)
			}
		}
	}
}

func TestParameterAttributeTypes(t *testing.T) {
	const request = "gen_ai.request."
	tests := []struct{ name, value, want string }{
		{"temperature", "1", `{"doubleValue":1}`},
		{"top_p", "0.25", `{"doubleValue":0.25}`},
		{"frequency_penalty", "-2", `{"doubleValue":-2}`},
		{"presence_penalty", "1e-1", `{"doubleValue":0.1}`},
		{"max_tokens", "4096", `{"intValue":"4096"}`},
		{"max_tokens", "1e3", `{"intValue":"1000"}`},
		{"seed", "-9223372036854775808", `{"intValue":"-9223372036854775808"}`},
		{"choice.count", "2.0", `{"intValue":"2"}`},
		{"stop_sequences", `"END\n\u00e9"`, `{"arrayValue":{"values":[{"stringValue":"END\né"}]}}`},
		{"stop_sequences", `["a","b"]`, `{"arrayValue":{"values":[{"stringValue":"a"},{"stringValue":"b"}]}}`},
		{"stop_sequences", `[]`, `{"arrayValue":{"values":[]}}`},
		{"reasoning.level", `"high"`, `{"stringValue":"high"}`},
		// Types that the schema does not allow.
		{"temperature", `{"a":1}`, ""},
		{"temperature", `1e999`, ""},
		{"temperature", `true`, ""},
		{"seed", `1.5`, ""},
		{"seed", `1e300`, ""},
		{"seed", `9223372036854775808`, ""},
		{"stop_sequences", `[1]`, ""},
		{"seed", "", ""},
	}
	for _, test := range tests {
		got := parameterAttribute(Parameter{request + test.name, test.value})
		if test.want == "" {
			if got != "" {
				t.Errorf("%s %s: %v, want none", test.name, test.value, got)
			}
			continue
		}
		sameJSON(t, []byte(strings.TrimPrefix(got, ",")), fmt.Sprintf(`{"key":%q,"value":%s}`, request+test.name, test.want))
	}
}

func TestSpanShowsNewerTokenLimit(t *testing.T) {
	c := &Call{Target: &Target{Operation: chatOperation, Provider: "openai"}, Request: &Request{Parameters: []Parameter{
		{"gen_ai.request.max_tokens", "1"}, {"gen_ai.request.max_tokens", "2"}, {"gen_ai.request.seed", "3"},
	}}}
	sameJSON(t, []byte("{"+requestText(c, map[Parameter]string{})+"]}"), `{"name":"chat","kind":3,"attributes":[
		{"key":"gen_ai.operation.name","value":{"stringValue":"chat"}},
		{"key":"gen_ai.provider.name","value":{"stringValue":"openai"}},
		{"key":"gen_ai.request.max_tokens","value":{"intValue":"2"}},
		{"key":"gen_ai.request.seed","value":{"intValue":"3"}}]}`)
}

func TestMetricsAreCumulative(t *testing.T) {
	small := &instrument{"a.histogram", "A histogram.", "s", []float64{0.5, 67108864}, false}
	metrics := []metric{
		{small, []point{{[]string{"k", "v"}, []int64{1, 0, 2}, 3, 4.5, false}}},
		{policyDecisions, []point{{[]string{"k", "v"}, nil, 1 << 60, 0, false}}},
		{activeStreams, []point{{nil, nil, 3, 0, false}}},
	}
	got := metricPayload(testResource, attributeTexts{}, metrics, time.Unix(1, 2), time.Unix(3, 4))
	const times = `"attributes":[{"key":"k","value":{"stringValue":"v"}}],"startTimeUnixNano":"1000000002","timeUnixNano":"3000000004"`
	sameJSON(t, got, `{"resourceMetrics":[{`+resourceJSON+`,"scopeMetrics":[{`+scopeJSON+`,"metrics":[
		{"name":"a.histogram","description":"A histogram.","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[
			{`+times+`,"count":"3","sum":4.5,"bucketCounts":["1","0","2"],"explicitBounds":[0.5,67108864]}]}},
		{"name":"chat_completion.policy.decisions","description":"Policy decisions on requests, as reported in X-Ai-Policy.","unit":"{decision}",
			"sum":{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{`+times+`,"asInt":"1152921504606846976"}]}},
		{"name":"chat_completion.active_streams","description":"Open event streams.","unit":"{stream}",
			"sum":{"aggregationTemporality":2,"dataPoints":[{"startTimeUnixNano":"1000000002","timeUnixNano":"3000000004","asInt":"3"}]}}
	]}]}]}`)
}

func TestMetricPointsAreSplitWithoutLoss(t *testing.T) {
	points := make([]point, 25)
	for i := range points {
		points[i].count = int64(i)
	}
	metrics := []metric{{tokenUsage, points[:7]}, {chunkTime, nil}, {operationDuration, points[7:]}}
	requests := metricRequests(metrics, 10)
	var sizes []int
	next := int64(0)
	for _, request := range requests {
		size := 0
		for _, m := range request {
			if len(m.points) == 0 {
				t.Errorf("metric %s has no points, want some", m.instrument.name)
			}
			for _, p := range m.points {
				size++
				if p.count != next || (m.instrument == tokenUsage) != (next < 7) {
					t.Errorf("got point %d of %s, want point %d", p.count, m.instrument.name, next)
				}
				next++
			}
		}
		sizes = append(sizes, size)
	}
	if want := []int{10, 10, 5}; !reflect.DeepEqual(sizes, want) {
		t.Errorf("points per request %d, want %d", sizes, want)
	}
	if got := metricRequests([]metric{{tokenUsage, nil}}, 10); got != nil {
		t.Errorf("%d requests without points, want none", len(got))
	}
}
