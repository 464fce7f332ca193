package chatcompletion

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// Content types of responses.
const (
	streamContent = "text/event-stream"
	jsonContent   = "application/json"
)

// completionsPath is a path of completions.
const completionsPath = "/v1/chat/completions"

// Requests for JSON and, by endpoint, for a stream.
const (
	completionsJSONBody   = `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`
	completionsStreamBody = `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}`
	messagesStreamBody    = `{"model":"m","max_tokens":64,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`
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
		{"Azure, a first event without names", completionsPath, completionsStreamBody, streamContent, azureFirstEvent + azureEvent + azureLastEvents,
			"gpt-4o-2024-11-20", "c1", "stop"},
		{"Azure, 60 events", completionsPath, completionsStreamBody, streamContent, azureFirstEvent + strings.Repeat(azureEvent, 60) + azureLastEvents,
			"gpt-4o-2024-11-20", "c1", "stop"},
		{"many events without names", completionsPath, completionsStreamBody, streamContent, strings.Repeat(azureFirstEvent, 60) + azureEvent + azureLastEvents,
			"gpt-4o-2024-11-20", "c1", "stop"},
		{"names of null", completionsPath, completionsStreamBody, streamContent, `data: {"id":null,"model":null,"choices":[]}` + "\n\n" + azureEvent + azureLastEvents,
			"gpt-4o-2024-11-20", "c1", "stop"},
		{"white space", completionsPath, completionsStreamBody, streamContent, `data: { "id" : "", "model" : "" , "choices" : [] }` + "\n\n" + strings.ReplaceAll(azureEvent+azureLastEvents, `":`, `" : `),
			"gpt-4o-2024-11-20", "c1", "stop"},
		{"CR LF, no space after data", completionsPath, completionsStreamBody, streamContent,
			strings.ReplaceAll(strings.ReplaceAll(azureFirstEvent+azureEvent+azureLastEvents, "data: ", "data:"), "\n", "\r\n"), "gpt-4o-2024-11-20", "c1", "stop"},
		{"data in several lines", completionsPath, completionsStreamBody, streamContent, azureFirstEvent +
			`data: {"id":` + "\n" + `data: "c1","model":` + "\n" + `data:"m-1",` + "\n" + `data: "choices":[{"index":0,"delta":{},"finish_reason":` + "\n" + `data:"stop"}]}` + "\n\n",
			"m-1", "c1", "stop"},
		{"model and id in different events", completionsPath, completionsStreamBody, streamContent, `data: {"id":"c1","model":"","choices":[]}` + "\n\n" +
			`data: {"id":"","model":"m-1","choices":[]}` + "\n\n" + `data: {"id":"c1","model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n",
			"m-1", "c1", "stop"},
		{"no names at all", completionsPath, completionsStreamBody, streamContent, azureFirstEvent + "data: [DONE]\n\n", "", "", ""},
		{"an escaped slash", completionsPath, completionsStreamBody, streamContent, escapedModelStream, "meta-llama/Llama-3", "c", "stop"},
		{"an escaped slash, white space", completionsPath, completionsStreamBody, streamContent, strings.ReplaceAll(escapedModelStream, `":`, `" : `), "meta-llama/Llama-3", "c", "stop"},
		{"escaped letters", completionsPath, completionsStreamBody, streamContent, strings.ReplaceAll(escapedModelStream, `\/`, `\u002f`), "meta-llama/Llama-3", "c", "stop"},
		{"an escaped slash in an id", completionsPath, completionsStreamBody, streamContent, `data: {"id":"a\/b","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n", "m", "a/b", "stop"},
		{"an escaped slash, JSON", completionsPath, completionsJSONBody, jsonContent, `{"id":"c\/1","model":"meta-llama\/Llama-3","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}],` +
			`"usage":{"prompt_tokens":6,"completion_tokens":4}}`, "meta-llama/Llama-3", "c/1", "stop"},
		{"an escaped slash, JSON without usage", completionsPath, completionsJSONBody, jsonContent,
			`{"id":"c","model":"meta-llama\/Llama-3","choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}`, "meta-llama/Llama-3", "c", "stop"},
		{"an escaped slash, long JSON", completionsPath, completionsJSONBody, jsonContent, `{"choices":[{"index":0,"message":{"content":"` + strings.Repeat("a", 100000) +
			`"},"finish_reason":"stop"}],"id":"c","model":"meta-llama\/Llama-3"}`, "meta-llama/Llama-3", "c", "stop"},
		{"an escaped slash, Responses API", "/v1/responses", responsesStreamBody, streamContent,
			`data: {"response":{"id":"r","model":"meta-llama\/Llama-3","status":"completed"},"type":"response.completed"}` + "\n\n", "meta-llama/Llama-3", "r", "completed"},
		{"Responses API, names of its last event only", "/v1/responses", responsesStreamBody, streamContent, `data: {"response":{"id":"","model":""},"type":"response.created"}` + "\n\n" +
			`data: {"response":{"status":"completed","model":"m-1","id":"r"},"type":"response.completed"}` + "\n\n", "m-1", "r", "completed"},
		{"Responses API, a tool with a model and an id before", "/v1/responses", responsesStreamBody, streamContent,
			`data: {"response":{"tools":[{"id":"t","model":"gpt-image-1"}],"id":"r","model":"m-1","status":"completed"},"type":"response.completed"}` + "\n\n", "m-1", "r", "completed"},
		{"Anthropic", "/v1/messages", messagesStreamBody, streamContent,
			"event: message_start\n" + `data: {"type":"message_start","message":{"id":"msg_1","role":"assistant","content":[],"model":"claude-x","usage":{"input_tokens":25,"output_tokens":1}}}` + "\n\n" +
				"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n", "claude-x", "msg_1", ""},
		{"Anthropic, the type last", "/v1/messages", messagesStreamBody, streamContent,
			`data: {"message":{"usage":{"input_tokens":25,"output_tokens":1},"model":"claude\/x","id":"msg_1"},"type":"message_start"}` + "\n\n" + `data: {"type":"message_stop"}` + "\n\n",
			"claude/x", "msg_1", ""},
		{"names of something inside, before", completionsPath, completionsStreamBody, streamContent,
			`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"id":"call_1","model":"inner"}]},"finish_reason":"tool_calls"}],"model":"m-1","id":"c1"}` + "\n\n", "m-1", "c1", "tool_calls"},
		{"names of something inside, only", completionsPath, completionsStreamBody, streamContent,
			`data: {"choices":[{"index":0,"delta":{"tool":{"id":"call_1","model":"inner"}},"finish_reason":"stop"}]}` + "\n\n", "", "", "stop"},
		{"names of something inside, JSON", completionsPath, completionsJSONBody, jsonContent,
			`{"choices":[{"index":0,"message":{"tool":{"id":"call_1","model":"inner","finish_reason":"x"}},"finish_reason":"stop"}],"model":"m-1","id":"c1"}`, "m-1", "c1", "stop"},
		{"an empty finish reason until the end", completionsPath, completionsStreamBody, streamContent, strings.Repeat(`data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":""}]}`+"\n\n", 3) +
			`data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}` + "\n\n", "m", "c", "length"},
		{"a finish reason, then null", completionsPath, completionsStreamBody, streamContent, `data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" +
			strings.Repeat(`data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":null}]}`+"\n\n", 40), "m", "c", "stop"},
		{"two choices", completionsPath, completionsStreamBody, streamContent, `data: {"id":"c","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"},{"index":1,"delta":{},"finish_reason":null}]}` + "\n\n" +
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
			got := recordedCall(t, "/v1/messages", messagesStreamBody, streamContent, body, 0).Response.Usage
			counts := []int64{got.InputTokens, got.OutputTokens, got.CacheReadInputTokens, got.CacheCreationInputTokens}
			if want := []int64{2160, 40, 2048, 100}; !reflect.DeepEqual(counts, want) {
				t.Errorf("input, output, cache read and cache creation %d, want %d", counts, want)
			}
		})
	}
}

// TestUndeclaredStreamHasFirstChunk checks what the cases cannot compare: the time to the first event of a stream.
func TestUndeclaredStreamHasFirstChunk(t *testing.T) {
	streams := map[string]string{
		"data":              azureEvent + azureLastEvents,
		"a comment":         ": keep-alive\n\n" + azureEvent + azureLastEvents,
		"an event line":     "event: message\n" + azureEvent + azureLastEvents,
		"an id":             "id: 1\n" + azureEvent + azureLastEvents,
		"a time to retry":   "retry: 1000\n\n" + azureEvent + azureLastEvents,
		"white space first": "\n" + azureEvent + azureLastEvents,
		"CR LF":             strings.ReplaceAll(azureEvent+azureLastEvents, "\n", "\r\n"),
		"data, and its end": azureEvent,
	}
	for name, body := range streams {
		for _, contentType := range []string{jsonContent, jsonContent + "; charset=utf-8", "text/plain", ""} {
			for _, packet := range []int{0, 1, 100} {
				if call := recordedCall(t, completionsPath, completionsStreamBody, contentType, body, packet); call.FirstChunk <= 0 {
					t.Errorf("%s of type %q in packets of %d bytes: no time to the first event", name, contentType, packet)
				}
			}
		}
	}
	documents := map[string]string{
		"JSON": `{"id":"c","choices":[{"index":0,"message":{"content":"\ndata: x\n\n"},"finish_reason":"stop"}]}`, "text": "database is starting\n\n",
		"a text that begins like a field": "dat", "nothing": "", "only a comment": ": keep-alive\n\n",
	}
	for name, body := range documents {
		if call := recordedCall(t, completionsPath, completionsStreamBody, jsonContent, body, 1); call.FirstChunk != 0 {
			t.Errorf("%s: %s to the first event, want none", name, call.FirstChunk)
		}
	}
	if call := recordedCall(t, completionsPath, completionsJSONBody, jsonContent, azureEvent, 0); call.FirstChunk != 0 {
		t.Errorf("nobody asked for a stream: %s to the first event, want none", call.FirstChunk)
	}
}
