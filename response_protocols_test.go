package chatcompletion

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// TestLastEventsAreSearchedFor compares the table of protocols with what is searched for in a window.
func TestLastEventsAreSearchedFor(t *testing.T) {
	search := regexp.MustCompile("^" + lastEventTypes + "$")
	known := map[string]bool{}
	for _, p := range eventProtocols {
		types := append([]string{errorValue}, p.lastEvents...)
		if p.failedEvent != "" {
			types = append(types, p.failedEvent)
		}
		for _, name := range types {
			known[name] = true
			if !search.MatchString(name) {
				t.Errorf("%s: lastEventTypes does not match %q", p.name, name)
			}
			if name != errorValue && eventProtocolOf(name).name != p.name {
				t.Errorf("%s: %q is an event of %s", p.name, name, eventProtocolOf(name).name)
			}
			found := false
			for _, part := range lastEventParts {
				found = found || strings.Contains(name, string(part))
			}
			if !found {
				t.Errorf("%s: lastEventParts has no part of %q", p.name, name)
			}
		}
	}
	for _, prefix := range []string{"", "response.", "speech.audio.", "image_generation.", "image_edit.", "transcript.text.", "message_", "message-"} {
		for _, ending := range []string{"error", "completed", "incomplete", "cancelled", "done", "failed", "stop", "end", "delta"} {
			if name := prefix + ending; search.MatchString(name) && !known[name] {
				t.Errorf("lastEventTypes matches %q, which no protocol has", name)
			}
		}
	}
}

// TestProtocolsAreDocumented compares the table of protocols with that of the documentation.
func TestProtocolsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/metering.md")
	if err != nil {
		t.Fatal(err)
	}
	places := map[usagePlace]string{atTop: "`usage`", inChoices: "`choices[].usage`", inXGroq: "`x_groq.usage`", inResponse: "`response.usage`",
		inMessage: "`message.usage`", inDelta: "`delta.usage`"}
	for _, p := range eventProtocols {
		at := bytes.Index(text, []byte("| "+p.name+" |"))
		if at < 0 {
			t.Errorf("docs/metering.md has no row for %s", p.name)
			continue
		}
		row, _, _ := bytes.Cut(text[at:], []byte("\n"))
		var want []string
		for _, name := range p.lastEvents {
			want = append(want, "`"+name+"`")
		}
		for _, at := range p.usagePlaces {
			want = append(want, places[at])
		}
		if p.eventPrefix != "" {
			want = append(want, "`"+p.eventPrefix+"*`")
		}
		if p.failedEvent != "" {
			want = append(want, "`"+p.failedEvent+"`")
		}
		for _, part := range want {
			if !bytes.Contains(row, []byte(part)) {
				t.Errorf("docs/metering.md, %s: no %s", p.name, part)
			}
		}
	}
}

// Content types of responses.
const (
	eventsContent = "text/event-stream"
	jsonContent   = "application/json"
)

// completionsPath is a path of completions.
const completionsPath = "/v1/chat/completions"

// Requests for JSON and, by endpoint, for a stream.
const (
	completionsJSONBody   = `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`
	completionsStreamBody = `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}`
	messagesStreamBody    = `{"model":"m","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`
	messagesJSONBody      = `{"model":"m","max_tokens":64,"messages":[{"role":"user","content":"Hi"}]}`
	responsesStreamBody   = `{"model":"m","stream":true,"input":"Hi"}`
)

// Beginnings of streams: Azure's first event names nothing, and PHP escapes slashes.
const (
	azureFirstEvent = `data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}` + "\n\n"
	azureEvent      = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-11-20","choices":[{"index":0,"delta":{"content":"t"},"finish_reason":null}],"usage":null}` + "\n\n"
	azureLastEvents = `data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-11-20","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}` + "\n\n" +
		`data: {"id":"c1","object":"chat.completion.chunk","created":1,"model":"gpt-4o-2024-11-20","choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18}}` + "\n\ndata: [DONE]\n\n"
	escapedModelStream = `data: {"id":"c","object":"chat.completion.chunk","model":"meta-llama\/Llama-3","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
)

// recordedCall returns the record of a request to path whose response has a content type and a body. The body arrives in
// packets of a size; 0: in one packet.
func recordedCall(t *testing.T, path, request, contentType, body string, packet int) *Call {
	t.Helper()
	config := CreateConfig()
	config.Routes = map[string]string{"/v1/chat/completions": "completions", "/v1/responses": "responses", "*": "passthrough: governed"}
	handler, sink := newRecordingMiddleware(t, config, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			rw.Header().Set("Content-Type", contentType)
		}
		rw.WriteHeader(http.StatusOK)
		for rest := body; rest != ""; {
			n := len(rest)
			if packet > 0 && packet < n {
				n = packet
			}
			_, _ = rw.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
	}))
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, strings.NewReader(request)))
	fillDetails(sink.calls)
	if len(sink.calls) != 1 {
		t.Fatalf("%d records, want 1", len(sink.calls))
	}
	return sink.calls[0]
}

// TestResponseIdentity checks what the record names: the first value that is not empty, without the escapes of JSON.
func TestResponseIdentity(t *testing.T) {
	tests := []struct {
		name, path, request, contentType, body string
		model, id, reasons                     string
	}{
		{"Azure, a first event without names", completionsPath, completionsStreamBody, eventsContent, azureFirstEvent + azureEvent + azureLastEvents,
			"gpt-4o-2024-11-20", "c1", "stop"},
		{"Azure, 60 events", completionsPath, completionsStreamBody, eventsContent, azureFirstEvent + strings.Repeat(azureEvent, 60) + azureLastEvents,
			"gpt-4o-2024-11-20", "c1", "stop"},
		{"many events without names", completionsPath, completionsStreamBody, eventsContent, strings.Repeat(azureFirstEvent, 60) + azureEvent + azureLastEvents,
			"gpt-4o-2024-11-20", "c1", "stop"},
		{"names of null", completionsPath, completionsStreamBody, eventsContent, `data: {"id":null,"model":null,"choices":[]}` + "\n\n" + azureEvent + azureLastEvents,
			"gpt-4o-2024-11-20", "c1", "stop"},
		{"white space", completionsPath, completionsStreamBody, eventsContent, `data: { "id" : "", "model" : "" , "choices" : [] }` + "\n\n" + strings.ReplaceAll(azureEvent+azureLastEvents, `":`, `" : `),
			"gpt-4o-2024-11-20", "c1", "stop"},
		{"CR LF, no space after data", completionsPath, completionsStreamBody, eventsContent,
			strings.ReplaceAll(strings.ReplaceAll(azureFirstEvent+azureEvent+azureLastEvents, "data: ", "data:"), "\n", "\r\n"), "gpt-4o-2024-11-20", "c1", "stop"},
		{"data in several lines", completionsPath, completionsStreamBody, eventsContent, azureFirstEvent +
			`data: {"id":` + "\n" + `data: "c1","model":` + "\n" + `data:"m-1",` + "\n" + `data: "choices":[{"index":0,"delta":{},"finish_reason":` + "\n" + `data:"stop"}]}` + "\n\n",
			"m-1", "c1", "stop"},
		{"model and id in different events", completionsPath, completionsStreamBody, eventsContent, `data: {"id":"c1","model":"","choices":[]}` + "\n\n" +
			`data: {"id":"","model":"m-1","choices":[]}` + "\n\n" + `data: {"id":"c1","model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n",
			"m-1", "c1", "stop"},
		{"no names at all", completionsPath, completionsStreamBody, eventsContent, azureFirstEvent + "data: [DONE]\n\n", "", "", ""},
		{"an escaped slash", completionsPath, completionsStreamBody, eventsContent, escapedModelStream, "meta-llama/Llama-3", "c", "stop"},
		{"an escaped slash, white space", completionsPath, completionsStreamBody, eventsContent, strings.ReplaceAll(escapedModelStream, `":`, `" : `), "meta-llama/Llama-3", "c", "stop"},
		{"escaped letters", completionsPath, completionsStreamBody, eventsContent, strings.ReplaceAll(escapedModelStream, `\/`, `\u002f`), "meta-llama/Llama-3", "c", "stop"},
		{"an escaped slash in an id", completionsPath, completionsStreamBody, eventsContent, `data: {"id":"a\/b","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n", "m", "a/b", "stop"},
		{"an escaped slash, JSON", completionsPath, completionsJSONBody, jsonContent, `{"id":"c\/1","model":"meta-llama\/Llama-3","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}],` +
			`"usage":{"prompt_tokens":6,"completion_tokens":4}}`, "meta-llama/Llama-3", "c/1", "stop"},
		{"an escaped slash, JSON without usage", completionsPath, completionsJSONBody, jsonContent,
			`{"id":"c","model":"meta-llama\/Llama-3","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}`, "meta-llama/Llama-3", "c", "stop"},
		{"an escaped slash, long JSON", completionsPath, completionsJSONBody, jsonContent, `{"choices":[{"index":0,"message":{"content":"` + strings.Repeat("a", 100000) +
			`"},"finish_reason":"stop"}],"id":"c","model":"meta-llama\/Llama-3"}`, "meta-llama/Llama-3", "c", "stop"},
		{"an escaped slash, Responses API", "/v1/responses", responsesStreamBody, eventsContent,
			`data: {"response":{"id":"r","model":"meta-llama\/Llama-3","status":"completed"},"type":"response.completed"}` + "\n\n", "meta-llama/Llama-3", "r", "completed"},
		{"Responses API, names of its last event only", "/v1/responses", responsesStreamBody, eventsContent, `data: {"response":{"id":"","model":""},"type":"response.created"}` + "\n\n" +
			`data: {"response":{"status":"completed","model":"m-1","id":"r"},"type":"response.completed"}` + "\n\n", "m-1", "r", "completed"},
		{"Responses API, a tool with a model and an id before", "/v1/responses", responsesStreamBody, eventsContent,
			`data: {"response":{"tools":[{"id":"t","model":"gpt-image-1"}],"id":"r","model":"m-1","status":"completed"},"type":"response.completed"}` + "\n\n", "m-1", "r", "completed"},
		{"Anthropic", "/v1/messages", messagesStreamBody, eventsContent,
			"event: message_start\n" + `data: {"type":"message_start","message":{"id":"msg_1","role":"assistant","content":[],"model":"claude-x","usage":{"input_tokens":25,"output_tokens":1}}}` + "\n\n" +
				"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n", "claude-x", "msg_1", ""},
		{"Anthropic, the type last", "/v1/messages", messagesStreamBody, eventsContent,
			`data: {"message":{"usage":{"input_tokens":25,"output_tokens":1},"model":"claude\/x","id":"msg_1"},"type":"message_start"}` + "\n\n" + `data: {"type":"message_stop"}` + "\n\n",
			"claude/x", "msg_1", ""},
		{"names of something inside, before", completionsPath, completionsStreamBody, eventsContent,
			`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"id":"call_1","model":"inner"}]},"finish_reason":"tool_calls"}],"model":"m-1","id":"c1"}` + "\n\n", "m-1", "c1", "tool_calls"},
		{"names of something inside, only", completionsPath, completionsStreamBody, eventsContent,
			`data: {"choices":[{"index":0,"delta":{"tool":{"id":"call_1","model":"inner"}},"finish_reason":"stop"}]}` + "\n\n", "", "", "stop"},
		{"names of something inside, JSON", completionsPath, completionsJSONBody, jsonContent,
			`{"choices":[{"index":0,"message":{"tool":{"id":"call_1","model":"inner","finish_reason":"x"}},"finish_reason":"stop"}],"model":"m-1","id":"c1"}`, "m-1", "c1", "stop"},
		{"an empty finish reason until the end", completionsPath, completionsStreamBody, eventsContent, strings.Repeat(`data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":""}]}`+"\n\n", 3) +
			`data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}` + "\n\n", "m", "c", "length"},
		{"a finish reason, then null", completionsPath, completionsStreamBody, eventsContent, `data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" +
			strings.Repeat(`data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":null}]}`+"\n\n", 40), "m", "c", "stop"},
		{"two choices", completionsPath, completionsStreamBody, eventsContent, `data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":null}]}` + "\n\n" +
			`data: {"id":"c","model":"m","choices":[{"index":1,"delta":{},"finish_reason":"length"}]}` + "\n\n", "m", "c", "stop length"},
		{"a stream that is declared as JSON", completionsPath, completionsStreamBody, jsonContent, azureFirstEvent + azureEvent + azureLastEvents, "gpt-4o-2024-11-20", "c1", "stop"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, packet := range []int{0, 7, 1000} {
				got := &recordedCall(t, test.path, test.request, test.contentType, test.body, packet).Response
				if got.Model != test.model || got.ID != test.id || strings.Join(got.FinishReasons, " ") != test.reasons {
					t.Errorf("packets of %d bytes: model %q, id %q, finish reasons %q, want %q, %q and %q", packet, got.Model, got.ID, got.FinishReasons, test.model, test.id, test.reasons)
				}
			}
		})
	}
}

// TestCachedInputOfMessages checks the parts of the input that only spans and log lines have.
func TestCachedInputOfMessages(t *testing.T) {
	start := func(usage string) string {
		return `data: {"type":"message_start","message":{"id":"msg_1","usage":` + usage + `}}` + "\n\n"
	}
	end := func(usage string) string {
		return `data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":` + usage + `}` + "\n\n" + `data: {"type":"message_stop"}` + "\n\n"
	}
	for name, body := range map[string]string{
		"in the first event":  start(`{"input_tokens":12,"cache_creation_input_tokens":100,"cache_read_input_tokens":2048,"output_tokens":1}`) + end(`{"output_tokens":40}`),
		"in both":             start(`{"input_tokens":12,"cache_creation_input_tokens":100,"cache_read_input_tokens":2048,"output_tokens":1}`) + end(`{"cache_read_input_tokens":2048,"cache_creation_input_tokens":100,"input_tokens":12,"output_tokens":40}`),
		"in parts":            start(`{"input_tokens":12,"cache_creation_input_tokens":100,"output_tokens":1}`) + end(`{"cache_read_input_tokens":2048,"output_tokens":40}`),
		"a zero after it":     start(`{"input_tokens":12,"cache_creation_input_tokens":100,"cache_read_input_tokens":2048,"output_tokens":1}`) + end(`{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":40}`),
		"only in the last":    start(`{"input_tokens":0,"output_tokens":0}`) + end(`{"input_tokens":12,"cache_creation_input_tokens":100,"cache_read_input_tokens":2048,"output_tokens":40}`),
		"null before the end": start(`{"input_tokens":12,"cache_creation_input_tokens":100,"cache_read_input_tokens":2048,"output_tokens":null}`) + end(`{"cache_read_input_tokens":null,"output_tokens":40}`),
	} {
		t.Run(name, func(t *testing.T) {
			got := recordedCall(t, "/v1/messages", messagesStreamBody, eventsContent, body, 0).Response.Usage
			counts := []int64{got.InputTokens, got.OutputTokens, got.CacheReadInputTokens, got.CacheCreationInputTokens}
			if want := []int64{2160, 40, 2048, 100}; !reflect.DeepEqual(counts, want) {
				t.Errorf("input, output, cache read and cache creation %d, want %d", counts, want)
			}
		})
	}
}

// Paths of endpoints that are governed passthroughs.
const (
	messagesPath  = "/v1/messages"
	cohereChat    = "/v2/chat"
	rerankPath    = "/v1/rerank"
	compactPath   = "/v1/responses/compact"
	responsesPath = "/v1/responses"
)

// TestShapesOfProviders checks what the record says of responses in the shapes that providers and gateways were seen to send,
// each in packets of several sizes. want is model, input, output, cached input, finish reasons and error.type, where ? is an
// unknown count.
func TestShapesOfProviders(t *testing.T) {
	const (
		deltaBegin = "event: message_delta\ndata: "
		startBegin = "event: message_start\ndata: "
		messageEnd = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
		created    = `data: {"type":"response.created","response":{"id":"r","object":"response","status":"in_progress","model":"gpt-5-mini","error":null,"output":[],"usage":null}}` + "\n\n"
	)
	tests := []struct{ name, path, request, contentType, body, want string }{
		{"Qwen: the whole input first, its parts at the end", messagesPath, messagesStreamBody, eventsContent,
			startBegin + `{"type":"message_start","message":{"id":"msg_1","model":"qwen3.7-plus","usage":{"input_tokens":8834,"output_tokens":0}}}` + "\n\n" +
				deltaBegin + `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":18,"output_tokens":426,"cache_creation_input_tokens":0,"cache_read_input_tokens":8831,"cache_creation":{"ephemeral_5m_input_tokens":0}}}` + "\n\n" + messageEnd,
			"qwen3.7-plus 8849/426 cached 8831 [end_turn] "},
		{"Kimi: the names of two protocols in one usage", messagesPath, messagesStreamBody, eventsContent,
			startBegin + `{"type":"message_start","message":{"id":"m","model":"kimi-k3","usage":{"input_tokens":173306,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0,"prompt_tokens":173306,"cached_tokens":0}}}` + "\n\n" +
				deltaBegin + `{"type":"message_delta","usage":{"input_tokens":250,"cache_creation_input_tokens":0,"cache_read_input_tokens":173056,"output_tokens":166,"prompt_tokens":173306,"completion_tokens":166,"total_tokens":173472,"cached_tokens":173056}}` + "\n\n" + messageEnd,
			"kimi-k3 173306/166 cached 173056 [] "},
		{"MiniMax: zeros first", messagesPath, messagesStreamBody, eventsContent,
			startBegin + `{"type":"message_start","message":{"model":"MiniMax-M3","usage":{"input_tokens":0,"output_tokens":0}}}` + "\n\n" +
				deltaBegin + `{"type":"message_delta","usage":{"cache_read_input_tokens":8990,"input_tokens":1,"output_tokens":2}}` + "\n\n" + messageEnd,
			"MiniMax-M3 8991/2 cached 8990 [] "},
		{"Anthropic: a compaction is added", messagesPath, messagesStreamBody, eventsContent,
			startBegin + `{"type":"message_start","message":{"model":"claude","usage":{"input_tokens":106576,"output_tokens":5,"cache_creation_input_tokens":3146}}}` + "\n\n" +
				deltaBegin + `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":2,"output_tokens":74,"cache_creation_input_tokens":445,"cache_read_input_tokens":3146,"iterations":[{"type":"compaction","input_tokens":106576,"output_tokens":312}]}}` + "\n\n" + messageEnd,
			"claude 110169/386 cached 3146 [end_turn] "},
		{"Anthropic: iterations", messagesPath, messagesJSONBody, jsonContent,
			`{"id":"m","type":"message","model":"claude","stop_reason":"end_turn","usage":{"input_tokens":23000,"output_tokens":1000,"iterations":[{"type":"compaction","input_tokens":180000,"output_tokens":3500},` +
				`{"type":"message","input_tokens":20000,"output_tokens":400,"cache_read_input_tokens":0},{"type":"message","input_tokens":3000,"output_tokens":600}]}}`,
			"claude 203000/4500 cached 0 [end_turn] "},
		{"Anthropic: iterations of one message", messagesPath, messagesJSONBody, jsonContent,
			`{"id":"m","type":"message","model":"claude","stop_reason":"end_turn","usage":{"input_tokens":30,"cache_read_input_tokens":20,"output_tokens":10,"iterations":[{"type":"message","input_tokens":30,"cache_read_input_tokens":20,"output_tokens":10}]}}`,
			"claude 50/10 cached 20 [end_turn] "},
		{"Anthropic: a model that was consulted", messagesPath, messagesJSONBody, jsonContent,
			`{"id":"m","type":"message","model":"claude","stop_reason":"end_turn","usage":{"input_tokens":30,"output_tokens":10,"iterations":[{"type":"message","input_tokens":30,"output_tokens":10},` +
				`{"type":"advisor_message","model":"claude-opus","input_tokens":500,"cache_read_input_tokens":100,"output_tokens":70}]}}`,
			"claude 630/80 cached 100 [end_turn] "},
		{"Anthropic: iterations that are none", messagesPath, messagesJSONBody, jsonContent,
			`{"id":"m","type":"message","model":"claude","stop_reason":"end_turn","usage":{"input_tokens":30,"output_tokens":10,"iterations":[{"type":"compaction","input_tokens":-5,"output_tokens":7}]}}`,
			"claude 30/10 cached 0 [end_turn] "},
		{"Anthropic: thinking", messagesPath, messagesJSONBody, jsonContent,
			`{"id":"m","type":"message","model":"claude","stop_reason":"end_turn","usage":{"input_tokens":30,"output_tokens":10,"output_tokens_details":{"thinking_tokens":6},"server_tool_use":{"web_search_requests":3},"service_tier":"standard"}}`,
			"claude 30/10 cached 0 [end_turn] "},
		{"Databricks: null until the end", completionsPath, completionsStreamBody, eventsContent,
			`data: {"model":"us.anthropic.claude-v1:0","choices":[{"delta":{"content":"I"},"index":0,"finish_reason":null}],"usage":{"prompt_tokens":4982,"completion_tokens":null,"total_tokens":null}}` + "\n\n" +
				`data: {"model":"us.anthropic.claude-v1:0","choices":[{"delta":{"content":""},"index":0,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":4982,"completion_tokens":122,"total_tokens":5104}}` + "\n\ndata: [DONE]\n\n",
			"us.anthropic.claude-v1:0 4982/122 cached 0 [tool_calls] "},
		{"Databricks, cut off: the output is unknown", completionsPath, completionsStreamBody, eventsContent,
			`data: {"model":"us.anthropic.claude-v1:0","choices":[{"delta":{"content":"I"},"index":0,"finish_reason":null}],"usage":{"prompt_tokens":4982,"completion_tokens":null,"total_tokens":null}}` + "\n\n",
			"us.anthropic.claude-v1:0 4982/? cached 0 [] provider_cut"},
		{"MiniMax: the last event is a whole completion", completionsPath, completionsStreamBody, eventsContent,
			`data: {"id":"1","choices":[{"index":0,"delta":{"content":"Sunny"}}],"model":"MiniMax-Text-01","usage":{"total_tokens":0,"total_characters":0}}` + "\n\n" +
				`data: {"id":"1","choices":[{"finish_reason":"tool_calls","index":0,"messages":[{"content":"","role":"user"}]}],"model":"MiniMax-Text-01","object":"chat.completion","usage":{"total_tokens":13110,"total_characters":0,"prompt_tokens":12938,"completion_tokens":172},"base_resp":{"status_code":0,"status_msg":"unknown field \"user\""}}` + "\n\n",
			"MiniMax-Text-01 12938/172 cached 0 [tool_calls] "},
		{"iFlow: a status in a document instead of a stream", completionsPath, completionsStreamBody, jsonContent,
			`{"status":"449","msg":"You exceeded your current rate limit","body":null}`, " ?/? cached 0 [] "},
		{"GLM: a finish reason that is a failure", completionsPath, completionsStreamBody, "text/event-stream;charset=UTF-8",
			`data:{"id":"c","created":1,"model":"glm-5","choices":[{"index":0,"finish_reason":"network_error","delta":{"role":"assistant","content":""}}]}` + "\n\n",
			"glm-5 ?/? cached 0 [network_error] "},
		{"Gemini: a finish reason with a colon, no id, no model", completionsPath, completionsStreamBody, eventsContent,
			`data: {"choices":[{"delta":{"content":null},"finish_reason":"function_call_filter: MALFORMED_FUNCTION_CALL","index":0}],"usage":{"completion_tokens":3392,"prompt_tokens":100,"total_tokens":3492}}` + "\n\n",
			" 100/3392 cached 0 [function_call_filter: MALFORMED_FUNCTION_CALL] "},
		{"vLLM: abort, then [DONE]", completionsPath, completionsStreamBody, eventsContent,
			`data: {"id":"c","model":"Qwen/Qwen3-8B","choices":[{"index":0,"delta":{"content":""},"finish_reason":"abort","stop_reason":null}]}` + "\n\n" +
				`data: {"id":"c","model":"Qwen/Qwen3-8B","choices":[],"usage":{"prompt_tokens":9,"total_tokens":10,"completion_tokens":1}}` + "\n\ndata: [DONE]\n\n",
			"Qwen/Qwen3-8B 9/1 cached 0 [abort] "},
		{"llama.cpp: a line of its own for the error", completionsPath, completionsStreamBody, eventsContent,
			"error: {\"code\":400,\"message\":\"context\",\"type\":\"exceed_context_size_error\"}\n\n", " ?/? cached 0 [] error_event"},
		{"Lemonade: an error without a field", completionsPath, completionsStreamBody, eventsContent,
			`{"error":{"code":400,"message":"request (6009 tokens) exceeds","n_prompt_tokens":6009,"n_ctx":4096}}`, " ?/? cached 0 [] error_event"},
		{"an error in several lines after good events", completionsPath, completionsStreamBody, eventsContent,
			azureEvent + "{\n  \"error\": {\n    \"code\": 503,\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n", "gpt-4o-2024-11-20 ?/? cached 0 [] error_event"},
		{"DashScope: an error event without a member error", completionsPath, completionsStreamBody, eventsContent,
			azureEvent + "id:1\nevent:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throttling.AllocationQuota\",\"message\":\"Allocated quota exceeded\"}\n\n",
			"gpt-4o-2024-11-20 ?/? cached 0 [] error_event"},
		{"DashScope: a finish reason of null as text", completionsPath, completionsStreamBody, eventsContent,
			`data: {"model":"m-1","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"null"}]}` + "\n\n", "m-1 ?/? cached 0 [] provider_cut"},
		{"Venice: an error event of plain text", completionsPath, completionsStreamBody, eventsContent,
			"event: error\ndata: Service temporarily unavailable.\n\n", " ?/? cached 0 [] error_event"},
		{"DeepInfra: an error in members of its own", completionsPath, completionsStreamBody, eventsContent,
			`data: {"id":"c","model":"deepseek","choices":null,"error_type":"BadRequestError","error_message":"too long"}` + "\n\n", "deepseek ?/? cached 0 [] provider_cut"},
		{"Groq: an error in x_groq", completionsPath, completionsStreamBody, eventsContent,
			azureEvent + `data: {"choices":[],"x_groq":{"error":"stopped"}}` + "\n\n", "gpt-4o-2024-11-20 ?/? cached 0 [] error_event"},
		{"Responses: response.done", responsesPath, responsesStreamBody, eventsContent,
			created + `data: {"type":"response.done","response":{"id":"r","status":"completed","model":"gpt-5-mini","usage":{"input_tokens":31,"input_tokens_details":{"cached_tokens":16},"output_tokens":4,"total_tokens":35}}}` + "\n\n",
			"gpt-5-mini 31/4 cached 16 [completed] "},
		{"Responses: a nested error", responsesPath, responsesStreamBody, eventsContent,
			created + `data: {"type":"error","sequence_number":2,"error":{"type":"too_many_requests","message":"Too Many Requests"}}` + "\n\n",
			"gpt-5-mini ?/? cached 0 [] error_event"},
		{"Responses: an error, then response.failed", responsesPath, responsesStreamBody, eventsContent,
			"event: error\ndata: {\"type\":\"error\",\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\nevent: response.failed\n" +
				`data: {"type":"response.failed","response":{"id":"r","status":"failed","model":"gpt-5-mini","error":{"code":"rate_limit_exceeded"},"usage":null}}` + "\n\n",
			"gpt-5-mini ?/? cached 0 [failed] error_event"},
		{"Responses: a compaction", compactPath, `{"model":"m","input":"Hi"}`, jsonContent,
			`{ "id":"cmp_test", "object":"response.compaction", "output":[{"type":"compaction","future":9007199254740993}],"usage":{"input_tokens":10,"output_tokens":2},"future":1.234567890123456789 }`,
			" 10/2 cached 0 [] "},
		{"Cohere: billed tokens", cohereChat, completionsStreamBody, eventsContent,
			"event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"Hello\"}}}}\n\nevent: message-end\n" +
				`data: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":5,"output_tokens":10},"tokens":{"input_tokens":15,"output_tokens":10}}}}` + "\n\n",
			" 5/10 cached 0 [COMPLETE] "},
		{"Cohere: an error at the end", cohereChat, completionsStreamBody, eventsContent,
			`data: {"type":"message-end","delta":{"finish_reason":"ERROR","error":"internal failure"}}` + "\n\n", " ?/? cached 0 [ERROR] error_event"},
		{"a reranker's total", rerankPath, `{"model":"m","query":"q","documents":["a"]}`, jsonContent,
			`{"id":"rerank-1","model":"BAAI/bge-reranker-v2-m3","usage":{"total_tokens":56},"results":[{"index":0,"relevance_score":0.98}]}`, "BAAI/bge-reranker-v2-m3 56/? cached 0 [] "},
		{"a reranker's units", rerankPath, `{"model":"m","query":"q","documents":["a"]}`, jsonContent,
			`{"id":"r2","results":[{"index":0,"relevance_score":0.98}],"meta":{"billed_units":{"search_units":1}}}`, " ?/? cached 0 [] "},
		{"a transcription in seconds", "/v1/audio/transcriptions", `{"model":"m"}`, jsonContent, `{"text":"hi","usage":{"type":"duration","seconds":9}}`, " ?/? cached 0 [] "},
		{"a real usage in a choice beside zeros", completionsPath, completionsStreamBody, eventsContent,
			`data: {"model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":5,"completion_tokens":7}}],"usage":{"prompt_tokens":0,"completion_tokens":0}}` + "\n\n",
			"m-1 5/7 cached 0 [stop] "},
		{"names of something inside", completionsPath, completionsJSONBody, jsonContent,
			`{"message":{"model":"inner","id":"inner"},"response":{"model":"inner","usage":{"input_tokens":9999},"error":{"code":"x"}},"choices":[]}`, " ?/? cached 0 [] "},
		{"a gateway's cache beside prompt_tokens", completionsPath, completionsJSONBody, jsonContent,
			`{"model":"m-1","choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":7,"total_tokens":27,"cache_read_input_tokens":9,"prompt_tokens_details":{"cached_tokens":9}}}`,
			"m-1 20/7 cached 9 [stop] "},
		{"a large response that failed", responsesPath, responsesStreamBody, jsonContent,
			`{"id":"r","object":"response","status":"failed","error":{"code":"server_error"},"output":[{"result":"` + strings.Repeat("A", 3<<19) + `"}],"model":"gpt-5","usage":{"input_tokens":7,"output_tokens":2}}`,
			"gpt-5 7/2 cached 0 [failed] error_event"},
		{"a large response with a usage of something inside at its end", responsesPath, responsesStreamBody, eventsContent,
			`data: {"type":"response.completed","response":{"id":"r","model":"gpt-5","output":[{"result":"` + strings.Repeat("A", 3<<19) + `"}]},"tool":{"id":"t","usage":{"input_tokens":9999,"output_tokens":9999}}}` + "\n\n",
			"gpt-5 ?/? cached 0 [] "},
		{"a large response before other members", responsesPath, responsesStreamBody, eventsContent,
			`data: {"response":{"model":"gpt-5","usage":{"input_tokens":7,"output_tokens":2}},"type":"response.completed","extra":"` + strings.Repeat("A", 3<<19) + `"}` + "\n\n",
			"gpt-5 7/2 cached 0 [] "},
		{"tools and metadata after the usage of a large response", responsesPath, responsesStreamBody, eventsContent,
			`data: {"type":"response.completed","response":{"id":"r","status":"completed","model":"gpt-5","output":[{"result":"` + strings.Repeat("A", 3<<19) + `"}],"tools":[` +
				strings.TrimSuffix(strings.Repeat(`{"type":"function","parameters":{"type":"object","properties":{"a":{"type":"string"}}}},`, 20), ",") +
				`],"usage":{"input_tokens":11,"output_tokens":7},"metadata":{` + strings.TrimSuffix(strings.Repeat(`"a\"usage":"x\"usage",`, 16), ",") + `}}}` + "\nid: 7\n\n",
			"gpt-5 11/7 cached 0 [completed] "},
		{"text after [DONE]", completionsPath, completionsStreamBody, eventsContent, "data: [DONE]\n\n: after [DONE]\n\n", " ?/? cached 0 [] "},
		{"a gateway's zeros with a total first", messagesPath, messagesStreamBody, eventsContent,
			startBegin + `{"type":"message_start","message":{"model":"c","usage":{"input_tokens":0,"output_tokens":0,"total_tokens":0,"cache_read_input_tokens":0}}}` + "\n\n" +
				deltaBegin + `{"type":"message_delta","usage":{"input_tokens":10,"cache_read_input_tokens":100,"output_tokens":5}}` + "\n\n" + messageEnd,
			"c 110/5 cached 100 [] "},
		{"zeros of the cache at the end", messagesPath, messagesStreamBody, eventsContent,
			startBegin + `{"type":"message_start","message":{"model":"c","usage":{"input_tokens":10,"cache_read_input_tokens":100,"cache_creation_input_tokens":5,"output_tokens":1}}}` + "\n\n" +
				deltaBegin + `{"type":"message_delta","usage":{"input_tokens":10,"cache_read_input_tokens":0,"cache_creation_input_tokens":0,"output_tokens":9}}` + "\n\n" + messageEnd,
			"c 115/9 cached 100 [] "},
		{"an input that only the total tells", completionsPath, completionsJSONBody, jsonContent,
			`{"model":"m-1","choices":[],"usage":{"output_tokens":5,"total_tokens":115,"cache_read_input_tokens":100}}`, "m-1 110/5 cached 100 [] "},
		{"parts first, the whole later", completionsPath, completionsStreamBody, eventsContent,
			`data: {"model":"m-1","choices":[],"usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":1}}` + "\n\n" +
				`data: {"model":"m-1","choices":[],"usage":{"prompt_tokens":15,"completion_tokens":7}}` + "\n\ndata: [DONE]\n\n",
			"m-1 15/7 cached 0 [] "},
		{"a finish reason in every event", completionsPath, completionsStreamBody, eventsContent,
			strings.Repeat(`data: {"model":"m-1","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}`+"\n\n", 3), "m-1 ?/? cached 0 [stop] "},
		{"a document with the type of an event", messagesPath, messagesStreamBody, jsonContent,
			`{"type":"message-end","model":"m-1","usage":{"input_tokens":11,"output_tokens":7}}`, "m-1 11/7 cached 0 [] "},
		{"NVIDIA: events after the finish reason", completionsPath, completionsStreamBody, eventsContent,
			`data: {"model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" + `data: {"model":"m-1","choices":[{"index":0,"delta":{"content":"b"},"finish_reason":null}]}` + "\n\n",
			"m-1 ?/? cached 0 [stop] "},
	}
	for _, test := range tests {
		for _, packet := range []int{0, 1, 100} {
			if packet == 1 && len(test.body) > 1<<20 {
				packet = 1000
			}
			c := recordedCall(t, test.path, test.request, test.contentType, test.body, packet)
			usage := &c.Response.Usage
			counts := []string{"?", "?"}
			if usage.InputKnown {
				counts[0] = fmt.Sprint(usage.InputTokens)
			}
			if usage.OutputKnown {
				counts[1] = fmt.Sprint(usage.OutputTokens)
			}
			got := fmt.Sprintf("%s %s cached %d %v %s", c.Response.Model, strings.Join(counts, "/"), usage.CacheReadInputTokens, c.Response.FinishReasons, c.ErrorType)
			if got != test.want {
				t.Errorf("%s, in packets of %d bytes: %q, want %q", test.name, packet, got, test.want)
			}
		}
	}
}

func TestStreamOfGovernedPassthroughIsRecorded(t *testing.T) {
	for request, want := range map[string]bool{
		messagesStreamBody: true,
		`{"model":"m","max_tokens":64,"messages":[{"role":"user","content":"Hi"}]}`: false,
		`{"model":"m","stream":false,"prompt":"Hi"}`:                                false,
		`{"model":"m","stream":null,"prompt":"Hi"}`:                                 false,
		`{"model":"m","prompt":{"stream":true}}`:                                    false,
		`{"model":"m", "\u0073tream" : true }`:                                      true,
	} {
		if got := recordedCall(t, messagesPath, request, jsonContent, "{}", 0).Request.Stream; got != want {
			t.Errorf("%s: stream %t, want %t", request, got, want)
		}
	}
}
