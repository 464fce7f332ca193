package chatcompletion

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cacheNames numbers the middlewares of tests, whose stored responses outlive them.
var cacheNames atomic.Int64

// newCacheMiddleware returns a middleware with a name of its own, and the number of requests that its provider gets.
func newCacheMiddleware(t *testing.T, next http.Handler, config *Config) (*middleware, *callSink, *atomic.Int64) {
	t.Helper()
	return newNamedCacheMiddleware(t, "cache-"+strconv.FormatInt(cacheNames.Add(1), 10), next, config)
}

// newNamedCacheMiddleware is newCacheMiddleware for a middleware whose name another one has, too.
func newNamedCacheMiddleware(t *testing.T, name string, next http.Handler, config *Config) (*middleware, *callSink, *atomic.Int64) {
	t.Helper()
	if config.Cache.Scope == "" {
		config.Cache.Scope = scopeAll
	}
	calls := &atomic.Int64{}
	counted := http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		calls.Add(1)
		next.ServeHTTP(rw, req)
	})
	return cacheMiddleware(t, counted, config, name, calls)
}

func cacheMiddleware(t *testing.T, next http.Handler, config *Config, name string, calls *atomic.Int64) (*middleware, *callSink, *atomic.Int64) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	handler, err := New(ctx, next, config, name)
	if err != nil {
		t.Fatal(err)
	}
	m, sink := handler.(*middleware), &callSink{}
	m.policy.telemetry.registry = newRegistry()
	m.policy.cache.counters = useCacheCounters(m.policy.telemetry.registry, name)
	m.policy.telemetry.sinks = append(m.policy.telemetry.sinks, sink)
	for _, group := range m.policy.groups {
		group.telemetry = m.policy.telemetry
	}
	return m, sink, calls
}

// cacheRequest sends a request, and returns the response and whether it was aborted.
func cacheRequest(handler http.Handler, target, body string, header ...string) (rw *httptest.ResponseRecorder, isAborted bool) {
	req := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	rw = httptest.NewRecorder()
	defer func() { isAborted = recover() != nil }()
	handler.ServeHTTP(rw, req)
	return rw, false
}

const (
	chatPath    = "/v1/chat/completions"
	contentPath = "/v1beta/models/gemini-2.5-flash:generateContent"
	streamPath  = "/v1beta/models/gemini-2.5-flash:streamGenerateContent"

	chatBody       = `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`
	chatStreamBody = `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}`
	chatUsageBody  = `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}],"stream_options":{"include_usage":true}}`
	messagesBody   = `{"model":"m","max_tokens":10,"messages":[{"role":"user","content":"Hi"}]}`
	messagesStream = `{"model":"m","max_tokens":10,"stream":true,"messages":[{"role":"user","content":"Hi"}]}`
	contentBody    = `{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}`

	chatDocument = `{"id":"chatcmpl-1","object":"chat.completion","model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"Hello","refusal":null},"finish_reason":"stop"}],` +
		`"usage":{"prompt_tokens":20,"completion_tokens":17,"total_tokens":37}}` + "\n"
	chatEvents = "data: {\"id\":\"c\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"He\"},\"finish_reason\":null}],\"usage\":null}\n\n" +
		"data: {\"id\":\"c\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"llo\"},\"finish_reason\":null}],\"usage\":null}\n\n" +
		"data: {\"id\":\"c\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n"
	chatUsageEvent = "data: {\"id\":\"c\",\"model\":\"m-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":17,\"total_tokens\":37}}\n\n"
	doneEvent      = "data: [DONE]\n\n"

	responseDocument = `{"id":"resp_1","object":"response","status":"completed","model":"m-1","error":null,"incomplete_details":null,"output":[{"type":"message","status":"completed","content":[{"type":"output_text","text":"Hello"}]}],` +
		`"usage":{"input_tokens":20,"output_tokens":17,"total_tokens":37}}`
	responseStream = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\",\"model\":\"m-1\",\"error\":null,\"incomplete_details\":null}}\n\n" +
		"event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"Hello\"}\n\n" +
		"event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"model\":\"m-1\",\"error\":null,\"incomplete_details\":null,\"usage\":{\"input_tokens\":20,\"output_tokens\":17,\"total_tokens\":37}}}\n\n"
	messageDocument = `{"id":"msg_1","type":"message","role":"assistant","model":"m-1","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":20,"output_tokens":17}}`
	messageEvents   = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"model\":\"m-1\",\"stop_reason\":null,\"usage\":{\"input_tokens\":20,\"output_tokens\":1}}}\n\n" +
		"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n" +
		"event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":17}}\n\n" +
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	contentDocument = `{"candidates":[{"content":{"parts":[{"text":"Hello"}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":20,"candidatesTokenCount":17,"totalTokenCount":37},"modelVersion":"m-1"}`
	contentEvents   = "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"He\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":20,\"totalTokenCount\":20},\"modelVersion\":\"m-1\"}\r\n\r\n" +
		"data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"llo\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":20,\"candidatesTokenCount\":17,\"totalTokenCount\":37},\"modelVersion\":\"m-1\"}\r\n\r\n"
	contentArray = "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"He\"}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":20,\"totalTokenCount\":20},\"modelVersion\":\"m-1\"}\n,\r\n" +
		"{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"llo\"}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":20,\"candidatesTokenCount\":17,\"totalTokenCount\":37},\"modelVersion\":\"m-1\"}\n]\n"
	embeddingsDocument = `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,0.2]}],"model":"m-1","usage":{"prompt_tokens":20,"total_tokens":20}}`
	embedDocument      = `{"embedding":{"values":[0.1,0.2]}}`

	jsonBytes  = "application/json"
	eventBytes = "text/event-stream; charset=utf-8"
)

var allCachedRoutes = map[string]string{
	chatPath: "completions", "/v1/embeddings": "embeddings", responsesPath: "responses", messagesPath: "messages", "/v1/messages/count_tokens": "countTokens",
	"/v1beta/models/*": "generateContent", "*": "passthrough: governed",
}

// provided is what a provider responds with.
func provided(contentType, body string, header ...string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		rw.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(header); i += 2 {
			rw.Header().Set(header[i], header[i+1])
		}
		for _, part := range strings.SplitAfter(body, "\n\n") {
			_, _ = io.WriteString(rw, part)
		}
	})
}

// TestStoredResponsesAreTheProviders: a hit has the bytes that the provider has sent, in every protocol and form.
func TestStoredResponsesAreTheProviders(t *testing.T) {
	for _, test := range []struct {
		name, target, body, contentType, response, want string
		header                                          []string
	}{
		{name: "chat", target: chatPath, body: chatBody, contentType: jsonBytes, response: chatDocument},
		{name: "chat stream", target: chatPath, body: chatStreamBody, contentType: eventBytes, response: chatEvents + chatUsageEvent + doneEvent, want: chatEvents + doneEvent},
		{name: "chat stream with usage", target: chatPath, body: chatUsageBody, contentType: eventBytes, response: chatEvents + chatUsageEvent + doneEvent},
		{name: "chat stream with carriage returns", target: chatPath, body: chatUsageBody, contentType: eventBytes,
			response: strings.ReplaceAll(chatEvents+chatUsageEvent+doneEvent, "\n", "\r\n")},
		{name: "chat stream declared as JSON", target: chatPath, body: chatUsageBody, contentType: jsonBytes, response: chatEvents + chatUsageEvent + doneEvent},
		{name: "compressed", target: chatPath, body: chatBody, contentType: jsonBytes, response: zipped(chatDocument), want: chatDocument, header: []string{"Content-Encoding", "gzip"}},
		{name: "compressed stream", target: chatPath, body: chatUsageBody, contentType: eventBytes, response: zipped(chatEvents + doneEvent), want: chatEvents + doneEvent,
			header: []string{"Content-Encoding", "gzip"}},
		{name: "responses", target: responsesPath, body: `{"model":"m","input":"Hi"}`, contentType: jsonBytes, response: responseDocument},
		{name: "responses stream", target: responsesPath, body: `{"model":"m","stream":true,"input":"Hi"}`, contentType: eventBytes, response: responseStream},
		{name: "messages", target: messagesPath, body: messagesBody, contentType: jsonBytes, response: messageDocument},
		{name: "messages stream", target: messagesPath, body: messagesStream, contentType: eventBytes, response: messageEvents},
		{name: "content", target: contentPath, body: contentBody, contentType: jsonBytes, response: contentDocument},
		{name: "content stream", target: streamPath + "?alt=sse", body: contentBody, contentType: "text/event-stream", response: contentEvents},
		{name: "content array", target: streamPath, body: contentBody, contentType: jsonBytes, response: contentArray},
		{name: "embeddings", target: "/v1/embeddings", body: `{"model":"m","input":"Hi"}`, contentType: jsonBytes, response: embeddingsDocument},
		{name: "embed content", target: "/v1beta/models/e:embedContent", body: `{"content":{"parts":[{"text":"Hi"}]}}`, contentType: jsonBytes, response: embedDocument},
	} {
		want := test.want
		if want == "" {
			want = test.response
		}
		config := CreateConfig()
		config.Routes = allCachedRoutes
		m, sink, calls := newCacheMiddleware(t, provided(test.contentType, test.response, append(test.header, "X-Request-Id", "req_1", "X-Ai-Cache", "forged")...), config)
		for i, result := range []string{cacheMiss, cacheHit, cacheHit} {
			got, isAborted := cacheRequest(m, test.target, test.body)
			if got.Body.String() != want || got.Code != http.StatusOK || isAborted {
				t.Errorf("%s: response %d is %d %q, want %q", test.name, i, got.Code, got.Body, want)
			}
			if values := got.Result().Header["X-Ai-Cache"]; len(values) != 1 || values[0] != result {
				t.Errorf("%s: response %d has X-Ai-Cache %q, want %q", test.name, i, values, result)
			}
			if age := got.Result().Header.Get("Age"); (age == "0") != (result == cacheHit) {
				t.Errorf("%s: response %d has the age %q", test.name, i, age)
			}
			if kind := got.Result().Header.Get("Content-Type"); kind != test.contentType {
				t.Errorf("%s: response %d has the type %q, want %q", test.name, i, kind, test.contentType)
			}
			if id := got.Result().Header.Get("X-Request-Id"); (id == "") != (result == cacheHit) {
				t.Errorf("%s: response %d has the id %q of a request", test.name, i, id)
			}
			call := sink.calls[i]
			if call.Cache != result || call.ErrorType != "" || call.Status != http.StatusOK {
				t.Errorf("%s: call %d has the result %q, error %q, status %d", test.name, i, call.Cache, call.ErrorType, call.Status)
			}
			if result == cacheHit && call.Response.Usage != (Usage{}) {
				t.Errorf("%s: call %d has the usage %+v, want none", test.name, i, call.Response.Usage)
			}
			if i > 0 && call.Response.Model != sink.calls[0].Response.Model {
				t.Errorf("%s: call %d has the model %q, want %q", test.name, i, call.Response.Model, sink.calls[0].Response.Model)
			}
		}
		if calls.Load() != 1 {
			t.Errorf("%s: the provider got %d requests, want 1", test.name, calls.Load())
		}
	}
}

func zipped(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return out.String()
}

// TestUsageEventIsTheClients: clients that request usage, and those that do not, share a stream, and each gets its own.
func TestUsageEventIsTheClients(t *testing.T) {
	m, _, calls := newCacheMiddleware(t, provided(eventBytes, chatEvents+chatUsageEvent+doneEvent), CreateConfig())
	for i := 0; i < 2; i++ {
		for body, want := range map[string]string{chatStreamBody: chatEvents + doneEvent, chatUsageBody: chatEvents + chatUsageEvent + doneEvent,
			strings.Replace(chatUsageBody, `:{"include_usage":true}`, `: {"include_usage": true }`, 1):              chatEvents + chatUsageEvent + doneEvent,
			strings.Replace(chatUsageBody, `"model":"m",`, `"model":"m","user":"someone","metadata":{"a":"b"},`, 1): chatEvents + chatUsageEvent + doneEvent} {
			if got, _ := cacheRequest(m, chatPath, body); got.Body.String() != want {
				t.Errorf("%s: got %q, want %q", body, got.Body, want)
			}
		}
	}
	if calls.Load() != 1 {
		t.Errorf("the provider got %d requests, want 1", calls.Load())
	}
}

// TestStreamOptionsCount: requests with other stream options share nothing, and white space in the options does not count.
func TestStreamOptionsCount(t *testing.T) {
	config := CreateConfig()
	config.StreamUsage = streamUsageNever
	m, _, _ := newCacheMiddleware(t, provided(eventBytes, chatEvents+doneEvent), config)
	for _, test := range []struct{ body, want string }{
		{chatStreamBody, cacheMiss},
		{chatUsageBody, cacheMiss},
		{strings.Replace(chatUsageBody, `{"include_usage":true}`, `{ "include_usage": true}`, 1), cacheHit},
		{strings.Replace(chatUsageBody, "true}}", "false}}", 1), cacheMiss},
		{strings.Replace(chatUsageBody, "include_usage", "include_obfuscation", 1), cacheMiss},
		{strings.Replace(chatUsageBody, `{"include_usage":true}`, "null", 1), cacheHit},
	} {
		if got, _ := cacheRequest(m, chatPath, test.body); got.Result().Header.Get(cacheHeader) != test.want {
			t.Errorf("%s is a %s, want a %s: %s", test.body, got.Result().Header.Get(cacheHeader), test.want, got.Body)
		}
	}
}

// TestOnlyWholeResponsesAreStored covers what is never stored.
func TestOnlyWholeResponsesAreStored(t *testing.T) {
	chat := func(reason string) string { return strings.Replace(chatDocument, `"stop"`, `"`+reason+`"`, 1) }
	message := func(reason string) string { return strings.Replace(messageDocument, "end_turn", reason, 1) }
	content := func(reason string) string { return strings.Replace(contentDocument, "STOP", reason, 1) }
	second := func(reason string) string {
		return strings.Replace(chatDocument, `"finish_reason":"stop"}]`, `"finish_reason":"stop"},{"index":1,"message":{},"finish_reason":"`+reason+`"}]`, 1)
	}
	many := `{"choices":[` + strings.Repeat(`{"finish_reason":"stop"},`, 100) + `{"finish_reason":"content_filter"}]}`
	for _, test := range []struct {
		name, target, body, contentType, response string
		header                                    []string
		status                                    int
	}{
		{name: "content filter", response: chat("content_filter")},
		{name: "token limit", response: chat("length")},
		{name: "unknown reason", response: chat("insufficient_system_resource")},
		{name: "error reason", response: chat("error")},
		{name: "content filter of the second choice", response: second("content_filter")},
		{name: "content filter of the last of many choices", response: many},
		{name: "no reason", response: `{"choices":[{"message":{"content":"x"}}]}`},
		{name: "refusal", response: strings.Replace(chatDocument, `"refusal":null`, `"refusal":"I can't"`, 1)},
		{name: "error with status 200", response: `{"error":{"message":"overloaded"},"choices":[{"finish_reason":"stop"}]}`},
		{name: "status 201", response: chatDocument, status: 201},
		{name: "status 206", response: chatDocument, status: 206},
		{name: "status 400", response: chatDocument, status: 400},
		{name: "status 500", response: chatDocument, status: 500},
		{name: "cut document", response: strings.TrimSuffix(chatDocument, "}\n")},
		{name: "two documents", response: chatDocument + chatDocument},
		{name: "array", response: "[" + chatDocument + "]"},
		{name: "text", response: `"finish_reason":"stop"`},
		{name: "nothing", response: " "},
		{name: "trailers", response: chatDocument, header: []string{"Trailer", "X-Sum"}},
		{name: "unknown encoding", response: chatDocument, header: []string{"Content-Encoding", "br"}},
		{name: "cut compression", response: zipped(chatDocument)[:40], header: []string{"Content-Encoding", "gzip"}},
		{name: "too large", response: strings.Replace(chatDocument, "Hello", strings.Repeat("x", 2000), 1)},
		{name: "stream without an end", body: chatStreamBody, contentType: eventBytes, response: chatEvents},
		{name: "stream that is too large", body: chatStreamBody, contentType: eventBytes, response: strings.Repeat(chatEvents, 10) + doneEvent},
		{name: "stream with an error", body: chatStreamBody, contentType: eventBytes, response: chatEvents + "data: {\"error\":{\"message\":\"overloaded\"}}\n\n" + doneEvent},
		{name: "stream that was filtered", body: chatStreamBody, contentType: eventBytes, response: strings.Replace(chatEvents, `"stop"`, `"content_filter"`, 1) + doneEvent},
		{name: "stream without a reason", body: chatStreamBody, contentType: eventBytes, response: strings.Replace(chatEvents, `"stop"`, `null`, 1) + doneEvent},
		{name: "stream with a refusal", body: chatStreamBody, contentType: eventBytes, response: strings.Replace(chatEvents, `"content":"He"`, `"refusal":"No"`, 1) + doneEvent},
		{name: "messages refusal", target: messagesPath, body: messagesBody, response: message("refusal")},
		{name: "messages limit", target: messagesPath, body: messagesBody, response: message("max_tokens")},
		{name: "messages pause", target: messagesPath, body: messagesBody, response: message("pause_turn")},
		{name: "messages error", target: messagesPath, body: messagesBody, response: `{"type":"error","error":{"type":"overloaded_error"},"stop_reason":"end_turn"}`},
		{name: "messages stream without an end", target: messagesPath, body: messagesStream, contentType: eventBytes, response: strings.Split(messageEvents, "event: message_stop")[0]},
		{name: "messages stream that was refused", target: messagesPath, body: messagesStream, contentType: eventBytes, response: strings.Replace(messageEvents, "end_turn", "refusal", 1)},
		{name: "messages stream with an error", target: messagesPath, body: messagesStream, contentType: eventBytes,
			response: messageEvents + "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n"},
		{name: "responses incomplete", target: responsesPath, body: `{"model":"m","input":"Hi"}`,
			response: strings.Replace(strings.Replace(responseDocument, `"completed"`, `"incomplete"`, 1), `"incomplete_details":null`, `"incomplete_details":{"reason":"content_filter"}`, 1)},
		{name: "responses queued", target: responsesPath, body: `{"model":"m","input":"Hi"}`, response: strings.Replace(responseDocument, `"completed"`, `"queued"`, 1)},
		{name: "responses refusal", target: responsesPath, body: `{"model":"m","input":"Hi"}`, response: strings.Replace(responseDocument, "output_text", "refusal", 1)},
		{name: "responses stream that failed", target: responsesPath, body: `{"model":"m","stream":true,"input":"Hi"}`, contentType: eventBytes,
			response: strings.ReplaceAll(strings.ReplaceAll(responseStream, "response.completed", "response.failed"), `"completed"`, `"failed"`)},
		{name: "responses stream that is incomplete", target: responsesPath, body: `{"model":"m","stream":true,"input":"Hi"}`, contentType: eventBytes,
			response: strings.ReplaceAll(strings.ReplaceAll(responseStream, "response.completed", "response.incomplete"), `"completed"`, `"incomplete"`)},
		{name: "content safety", target: contentPath, body: contentBody, response: content("SAFETY")},
		{name: "content limit", target: contentPath, body: contentBody, response: content("MAX_TOKENS")},
		{name: "content blocked prompt", target: contentPath, body: contentBody, response: `{"promptFeedback":{"blockReason":"SAFETY"},"candidates":[{"finishReason":"STOP"}]}`},
		{name: "content stream without an end", target: streamPath + "?alt=sse", body: contentBody, contentType: eventBytes, response: strings.Split(contentEvents, "\r\n\r\n")[0] + "\r\n\r\n"},
		{name: "content array without an end", target: streamPath, body: contentBody, response: strings.TrimSuffix(contentArray, "]\n")},
		{name: "embeddings without any", target: "/v1/embeddings", body: `{"model":"m","input":"Hi"}`, response: `{"object":"list"}`},
		{name: "token count", target: "/v1/messages/count_tokens", body: `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, response: `{"input_tokens":5}`},
		{name: "governed passthrough", target: "/v1/moderations", body: `{"model":"m","input":"Hi"}`, response: chatDocument},
		{name: "predict", target: "/v1beta/models/imagen:predict", body: `{"instances":[]}`, response: contentDocument},
	} {
		if test.target == "" {
			test.target = chatPath
		}
		if test.body == "" {
			test.body = chatBody
		}
		if test.contentType == "" {
			test.contentType = jsonBytes
		}
		config := CreateConfig()
		config.Routes = allCachedRoutes
		config.Cache.MaxBytes = 1500
		config.StreamUsage = streamUsageNever
		next := provided(test.contentType, test.response, test.header...)
		m, _, calls := newCacheMiddleware(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if test.status != 0 {
				rw.Header().Set("Content-Type", test.contentType)
				rw.WriteHeader(test.status)
			}
			next.ServeHTTP(rw, req)
		}), config)
		for i := 0; i < 2; i++ {
			if got, _ := cacheRequest(m, test.target, test.body); got.Result().Header.Get(cacheHeader) == cacheHit {
				t.Errorf("%s: response %d is a hit", test.name, i)
			}
		}
		if calls.Load() != 2 {
			t.Errorf("%s: the provider got %d requests, want 2", test.name, calls.Load())
		}
	}
}

// brokenWriter is the connection of a client that leaves after some bytes.
type brokenWriter struct {
	*httptest.ResponseRecorder
	left int
}

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, io.ErrClosedPipe
	}
	return b.ResponseRecorder.Write(p)
}

// TestBrokenResponsesAreNotStored covers a provider that breaks off, a client that leaves, and a limit.
func TestBrokenResponsesAreNotStored(t *testing.T) {
	aborting := func(after string) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			provided(eventBytes, after).ServeHTTP(rw, req)
			panic(http.ErrAbortHandler)
		})
	}
	for _, test := range []struct {
		name string
		next http.Handler
		body string
		left int
		size any
	}{
		{name: "provider that breaks off", next: aborting(chatEvents), body: chatStreamBody, left: 1 << 20},
		{name: "provider that breaks off after the end", next: aborting(chatEvents + doneEvent), body: chatStreamBody, left: 1 << 20},
		{name: "client that leaves in a stream", next: provided(eventBytes, chatEvents+doneEvent), body: chatStreamBody, left: 200},
		{name: "client that leaves in a document", next: provided(jsonBytes, chatDocument), body: chatBody, left: 20},
		{name: "limit", next: provided(jsonBytes, chatDocument), body: chatBody, left: 1 << 20, size: 100},
	} {
		config := CreateConfig()
		config.MaxResponseBytes = test.size
		m, _, calls := newCacheMiddleware(t, test.next, config)
		for i := 0; i < 2; i++ {
			req := httptest.NewRequest(http.MethodPost, chatPath, strings.NewReader(test.body))
			func() {
				defer func() { _ = recover() }()
				m.ServeHTTP(&brokenWriter{httptest.NewRecorder(), test.left}, req)
			}()
		}
		if calls.Load() != 2 {
			t.Errorf("%s: the provider got %d requests, want 2", test.name, calls.Load())
		}
	}
}

// TestClientsWish covers Cache-Control, and requests that no cache has a response for.
func TestClientsWish(t *testing.T) {
	for _, test := range []struct {
		name          string
		first, second []string // headers of two requests
		body          string
		wantFirst     string
		wantSecond    string
	}{
		{name: "none", wantFirst: cacheMiss, wantSecond: cacheHit},
		{name: "no-store", second: []string{"Cache-Control", "no-store"}, wantFirst: cacheMiss, wantSecond: cacheBypass},
		{name: "no-store before", first: []string{"Cache-Control", "max-age=5, No-Store"}, wantFirst: cacheBypass, wantSecond: cacheMiss},
		{name: "no-cache", second: []string{"Cache-Control", "no-cache"}, wantFirst: cacheMiss, wantSecond: cacheMiss},
		{name: "no-cache before", first: []string{"Cache-Control", "no-cache"}, wantFirst: cacheMiss, wantSecond: cacheHit},
		{name: "several headers", second: []string{"Cache-Control", "private", "Cache-Control", "no-store"}, wantFirst: cacheMiss, wantSecond: cacheBypass},
		{name: "max-age 0", second: []string{"Cache-Control", "max-age=0"}, wantFirst: cacheMiss, wantSecond: cacheMiss},
		{name: "max-age", second: []string{"Cache-Control", "max-age=60"}, wantFirst: cacheMiss, wantSecond: cacheHit},
		{name: "pragma", second: []string{"Pragma", "no-cache"}, wantFirst: cacheMiss, wantSecond: cacheMiss},
		{name: "another directive", second: []string{"Cache-Control", "x-no-store-y, no-transform"}, wantFirst: cacheMiss, wantSecond: cacheHit},
		{name: "range", second: []string{"Range", "bytes=0-10"}, wantFirst: cacheMiss, wantSecond: cacheBypass},
		{name: "condition", second: []string{"If-None-Match", "*"}, wantFirst: cacheMiss, wantSecond: cacheBypass},
		{name: "conversation", body: `{"model":"m","messages":[{"role":"user","content":"Hi"}],"conversation" : "conv_1"}`, wantFirst: cacheBypass, wantSecond: cacheBypass},
	} {
		config := CreateConfig()
		config.Provider = "openrouter" // takes unknown parameters
		if test.body == "" {
			test.body = chatBody
		}
		m, _, _ := newCacheMiddleware(t, provided(jsonBytes, chatDocument), config)
		first, _ := cacheRequest(m, chatPath, test.body, test.first...)
		second, _ := cacheRequest(m, chatPath, test.body, test.second...)
		if got := first.Result().Header.Get(cacheHeader); got != test.wantFirst {
			t.Errorf("%s: first %q, want %q", test.name, got, test.wantFirst)
		}
		if got := second.Result().Header.Get(cacheHeader); got != test.wantSecond {
			t.Errorf("%s: second %q, want %q", test.name, got, test.wantSecond)
		}
		if first.Body.String() != chatDocument || second.Body.String() != chatDocument {
			t.Errorf("%s: got %q and %q", test.name, first.Body, second.Body)
		}
	}
}

// ageResponses makes what a cache has stored older.
func ageResponses(m *memoryCache, by time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.byKey {
		r.stored = r.stored.Add(-by)
		r.expires = r.expires.Add(-by)
	}
}

func TestResponsesExpire(t *testing.T) {
	config := CreateConfig()
	config.Cache.TTL = "1m"
	m, _, calls := newCacheMiddleware(t, provided(jsonBytes, chatDocument), config)
	_, _ = cacheRequest(m, chatPath, chatBody)
	memory := m.policy.cache.memory
	ageResponses(memory, 59*time.Second)
	got, _ := cacheRequest(m, chatPath, chatBody)
	if age := got.Result().Header.Get("Age"); age != "59" || calls.Load() != 1 {
		t.Errorf("age %q after %d calls, want 59 after 1", age, calls.Load())
	}
	got, _ = cacheRequest(m, chatPath, chatBody, "Cache-Control", "max-age=30")
	if got.Result().Header.Get(cacheHeader) != cacheMiss || calls.Load() != 2 {
		t.Errorf("a client that wants a newer response got an old one")
	}
	ageResponses(memory, 60*time.Second)
	got, _ = cacheRequest(m, chatPath, chatBody)
	if got.Result().Header.Get(cacheHeader) != cacheMiss || calls.Load() != 3 {
		t.Errorf("a response was served after its time")
	}
	ageResponses(memory, 61*time.Second)
	if more := sweepCache(memory, time.Now()); more || len(memory.byKey) != 0 || memory.bytes != 0 || memory.used.Len() != 0 || memory.timer != nil {
		t.Errorf("%d responses with %d bytes stay in memory after their time", len(memory.byKey), memory.bytes)
	}
}

// TestCacheIsBounded: the number of responses and their bytes are bounded, and those that were used least recently go.
func TestCacheIsBounded(t *testing.T) {
	m := newMemoryCache()
	m.maxEntries, m.maxBytes = 3, 10000
	put := func(key string, size int) {
		storeInto(m, &cachedResponse{key: key, body: make([]byte, size), expires: time.Now().Add(time.Hour)})
	}
	keys := func() string {
		text := ""
		for e := m.used.Front(); e != nil; e = e.Next() {
			text += entryAt(e).key
		}
		return text
	}
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() { put("a", 1); put("b", 1); put("c", 1) }, "cba"},
		{func() { findInMemory(m, "a") }, "acb"},
		{func() { put("d", 1) }, "dac"},
		{func() { put("c", 1) }, "cda"},
		{func() { put("e", 5000) }, "ecd"},
		{func() { put("f", 8500) }, "f"},
		{func() { put("g", 20000) }, ""},
	} {
		step.do()
		if got := keys(); got != step.want {
			t.Errorf("got %q, want %q", got, step.want)
		}
		sum := 0
		for _, r := range m.byKey {
			sum += len(r.body) + entryOwnBytes
		}
		if sum != m.bytes || m.aged.Len() != len(m.byKey) || m.used.Len() != len(m.byKey) {
			t.Errorf("%d bytes in %d entries, counted %d in %d and %d", sum, len(m.byKey), m.bytes, m.used.Len(), m.aged.Len())
		}
	}
}

// TestResponsesOutliveReloads: a new instance of the same name has what the old one has stored, and settings of its own.
func TestResponsesOutliveReloads(t *testing.T) {
	m, _, calls := newCacheMiddleware(t, provided(jsonBytes, chatDocument), CreateConfig())
	_, _ = cacheRequest(m, chatPath, chatBody)
	config := CreateConfig()
	config.Cache = Cache{Scope: scopeAll, MaxEntries: 1}
	again, _, _ := cacheMiddleware(t, provided(jsonBytes, "other"), config, m.policy.name, calls)
	got, _ := cacheRequest(again, chatPath, chatBody)
	if got.Body.String() != chatDocument {
		t.Errorf("after a reload: %q", got.Body)
	}
	if memory := again.policy.cache.memory; memory.maxEntries != 1 || memory != m.policy.cache.memory {
		t.Errorf("the cache has %d entries at most, want 1", memory.maxEntries)
	}
	other, _, _ := newCacheMiddleware(t, provided(jsonBytes, chatDocument), CreateConfig())
	if got, _ = cacheRequest(other, chatPath, chatBody); got.Result().Header.Get(cacheHeader) != cacheMiss {
		t.Error("another middleware has served the response")
	}
}

// TestAbandonedCachesAreDropped: what middlewares of former configurations have stored does not stay.
func TestAbandonedCachesAreDropped(t *testing.T) {
	ctx, end := context.WithCancel(context.Background())
	c := &responseCache{middleware: t.Name(), maxBytes: 1000, maxEntries: 10}
	m := useMemoryCache(ctx, c)
	storeInto(m, &cachedResponse{key: "a", expires: time.Now().Add(time.Millisecond)})
	end()
	eventually(t, "the response expires", func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.byKey) == 0
	})
	useMemoryCache(context.Background(), &responseCache{middleware: t.Name() + " other", maxBytes: 1000, maxEntries: 10})
	theMemoryCachesMu.Lock()
	defer theMemoryCachesMu.Unlock()
	if theMemoryCaches[t.Name()] != nil {
		t.Error("the cache stays")
	}
	delete(theMemoryCaches, t.Name()+" other")
}

// TestHitCostsARequest: quotas and costs of hits, misses, and requests that bypass.
func TestHitCostsARequest(t *testing.T) {
	for _, test := range []struct {
		name, body, contentType, response string
	}{
		{"document", quotaBody, jsonBytes, chatDocument},
		{"stream", strings.Replace(quotaBody, `"model":"m"`, `"model":"m","stream":true`, 1), eventBytes, chatEvents + chatUsageEvent + doneEvent},
	} {
		for _, isPriced := range []bool{false, true} {
			config := CreateConfig()
			config.Quotas = []Quota{{Unit: unitRequests, Limit: 1000, Window: "1M"}, {Unit: unitTokens, Limit: 1 << 40, Window: "1M", Reserve: reserveFull}, {Unit: unitConcurrent, Limit: 5}}
			if isPriced {
				config.Quotas = append(config.Quotas, Quota{Unit: unitCost, Limit: "5", Window: "1M"})
				config.Prices.Models = map[string]Price{"*": {Input: "1", Output: "2"}}
			}
			for i := range config.Quotas {
				config.Quotas[i].Name = "test-" + strconv.FormatInt(quotaNames.Add(1), 10)
			}
			m, sink, calls := newCacheMiddleware(t, provided(test.contentType, test.response), config)
			for i := 0; i < 5; i++ {
				got, _ := cacheRequest(m, chatPath, test.body)
				wantCost := Cost{}
				if isPriced {
					wantCost = Cost{Known: true, Picodollars: 20*1e6 + 17*2e6, Source: costFromTable}
				}
				if isPriced && i > 0 {
					wantCost = Cost{Known: true, Source: costFromCache}
				}
				if cost := sink.calls[i].Cost; cost != wantCost {
					t.Errorf("%s: call %d costs %+v, want %+v", test.name, i, cost, wantCost)
				}
				if header := got.Header().Get(costHeader); isPriced && header != dollars(wantCost.Picodollars) {
					t.Errorf("%s: call %d has X-Ai-Cost %q", test.name, i, header)
				}
				if tokens := got.Header().Get(inputTokensHeader); (tokens == "") != (i > 0) {
					t.Errorf("%s: call %d has X-Ai-Input-Tokens %q", test.name, i, tokens)
				}
			}
			wants := []int64{5, 37, 0}
			if isPriced {
				wants = append(wants, 20*1e6+17*2e6)
			}
			for place, want := range wants {
				if used, reserved := usedOf(m, place, ""); used != want || reserved != 0 {
					t.Errorf("%s, prices %t: quota %d has %d used, %d of it reserved, want %d and none", test.name, isPriced, place, used, reserved, want)
				}
			}
			if calls.Load() != 1 {
				t.Errorf("%s: the provider got %d requests, want 1", test.name, calls.Load())
			}
			if got, want := fmt.Sprint(cachePoints(m.policy.telemetry.registry)), fmt.Sprint([]point{
				{attributes: []string{middlewareAttribute, m.policy.name, cacheResultAttribute, cacheHit}, count: 4},
				{attributes: []string{middlewareAttribute, m.policy.name, cacheResultAttribute, cacheMiss}, count: 1},
			}); got != want {
				t.Errorf("%s: counted %s, want %s", test.name, got, want)
			}
		}
	}
}

// TestRefusedRequestGetsNothingStored: a quota refuses before the cache is asked, and a hit to which nothing is left is refused, too.
func TestRefusedRequestGetsNothingStored(t *testing.T) {
	config := CreateConfig()
	config.Quotas = []Quota{{Name: "test-" + strconv.FormatInt(quotaNames.Add(1), 10), Unit: unitRequests, Limit: 2, Window: "1M"}}
	m, _, _ := newCacheMiddleware(t, provided(jsonBytes, chatDocument), config)
	for i, want := range []int{200, 200, 429} {
		if got, _ := cacheRequest(m, chatPath, chatBody); got.Code != want || (want == 429 && got.Result().Header.Get(cacheHeader) != "") {
			t.Errorf("response %d is %d, want %d", i, got.Code, want)
		}
	}
}

// cacheVariation is a request, of a consumer.
type cacheVariation struct {
	target string
	body   string
	header []string
}

func (v *cacheVariation) copied() *cacheVariation {
	own := *v
	own.header = append([]string(nil), v.header...)
	return &own
}

// echo responds with what identifies the request that the provider gets.
func echo(rw http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	rw.Header().Set("Content-Type", jsonBytes)
	_, _ = rw.Write(marshal(map[string]any{
		"choices": []any{map[string]any{"message": map[string]any{"content": fmt.Sprintf("%s %q %x", req.URL, req.Header, body)}, "finish_reason": "stop"}},
		"status":  "completed", "stop_reason": "end_turn", "candidates": []any{map[string]any{"finishReason": "STOP"}}, "data": []any{},
	}))
}

// TestRequestsThatDifferShareNothing compares 10,000 pairs of requests that differ in one thing. Those that are equal share.
func TestRequestsThatDifferShareNothing(t *testing.T) {
	random := rand.New(rand.NewSource(18))
	const texts = "abcdefghijklmnopqrstuvwxyz0123456789 .,:;<>&\u00e9\u4e16"
	text := func() string {
		runes, out := []rune(texts), ""
		for i := 0; i < 5+random.Intn(60); i++ {
			out += string(runes[random.Intn(len(runes))])
		}
		return out
	}
	config := CreateConfig()
	config.Token = "sk-provider"
	config.Routes = allCachedRoutes
	config.Cache = Cache{Scope: scopeConsumer, MaxEntries: 20000, Vary: []string{"X-Team"}}
	config.Consumers.List = nil
	for i, name := range []string{"ann", "anna", "bob", "carl"} {
		config.Consumers.List = append(config.Consumers.List, Consumer{Name: name, Key: keyID("key-" + name), Group: []string{"red", "blue"}[i%2]})
	}
	provider := http.HandlerFunc(echo)
	consumers := []string{"ann", "anna", "bob", "carl"}
	byScope := map[string]*middleware{}
	for _, scope := range []string{scopeConsumer, scopeGroup, scopeAll} {
		own := *config
		own.Cache.Scope = scope
		m, _, _ := newCacheMiddleware(t, provider, &own)
		byScope[scope] = m
	}
	groups := map[string]string{"ann": "red", "anna": "blue", "bob": "red", "carl": "blue"}
	result := func(m *middleware, v *cacheVariation, consumer string) (string, string) {
		got, _ := cacheRequest(m, v.target, v.body, append([]string{"Authorization", "Bearer key-" + consumer}, v.header...)...)
		return got.Result().Header.Get(cacheHeader), got.Body.String()
	}
	base := func(i int) *cacheVariation {
		one, two := strconv.Quote(text()+strconv.Itoa(i)), strconv.Quote(text())
		switch i % 4 {
		case 0:
			return &cacheVariation{chatPath, `{"model":"m","temperature":0.5,"messages":[{"role":"system","content":` + one + `},{"role":"user","content":` + two + `}]}`, nil}
		case 1:
			return &cacheVariation{responsesPath, `{"model":"m","temperature":0.5,"input":[{"role":"user","content":` + one + `},{"role":"user","content":` + two + `}]}`, nil}
		case 2:
			return &cacheVariation{messagesPath, `{"model":"m","temperature":0.5,"max_tokens":9,"messages":[{"role":"user","content":` + one + `},{"role":"assistant","content":` + two + `}]}`, nil}
		}
		return &cacheVariation{contentPath, `{"contents":[{"role":"user","parts":[{"text":` + one + `},{"text":` + two + `}]}],"generationConfig":{"temperature":0.5}}`, nil}
	}
	swapped := func(body string) string {
		first := strings.Index(body, `":[{`) + 3
		last := strings.LastIndex(body, "}]")
		middle := strings.Index(body[first:], "},{") + first
		if strings.Contains(body, "parts") {
			first = strings.Index(body, `"parts":[`) + 9
			last = strings.Index(body, "}]}]")
			middle = strings.Index(body, "},{")
		}
		return body[:first] + body[middle+2:last+1] + "," + body[first:middle+1] + body[last+1:]
	}
	changes := map[string]func(v *cacheVariation){
		"model": func(v *cacheVariation) {
			v.body = strings.Replace(v.body, `"model":"m"`, `"model":"n"`, 1)
			v.target = strings.Replace(v.target, "gemini-2.5-flash", "gemini-2.5-pro", 1)
		},
		"parameter": func(v *cacheVariation) { v.body = strings.Replace(v.body, "0.5", "0.6", 1) },
		"new parameter": func(v *cacheVariation) {
			v.body = strings.Replace(v.body, `"temperature":0.5`, `"temperature":0.5,"top_p":0.5`, 1)
		},
		"stream": func(v *cacheVariation) {
			if v.target == contentPath {
				v.target = streamPath
			} else {
				v.body = strings.Replace(v.body, `"model":`, `"stream":true,"model":`, 1)
			}
		},
		"query":  func(v *cacheVariation) { v.target += "?beta=true" },
		"prefix": func(v *cacheVariation) { v.target = "/other" + v.target },
		"header": func(v *cacheVariation) {
			name := []string{"Anthropic-Beta", "Openai-Beta", "X-Goog-User-Project", "Accept", "X-Team", "Accept-Language"}[random.Intn(6)]
			v.header = append(v.header, name, "other")
		},
		"message byte": func(v *cacheVariation) {
			place := strings.Index(v.body, `text":"`)
			if place < 0 {
				place = strings.Index(v.body, `content":"`) + 3
			}
			place += 7
			changed := byte('a')
			if v.body[place] == changed {
				changed++
			}
			if v.body[place] == '\\' || v.body[place] == '"' || v.body[place] >= 0x80 {
				v.body = v.body[:place] + "Q" + v.body[place:]
			} else {
				v.body = v.body[:place] + string(changed) + v.body[place+1:]
			}
		},
		"order":       func(v *cacheVariation) { v.body = swapped(v.body) },
		"white space": func(v *cacheVariation) { v.body = strings.Replace(v.body, `":`, `": `, 1) },
	}
	names := sortedKeys(changes)
	pairs := 0
	for i := 0; pairs < 10000; i++ {
		v, scope := base(i), []string{scopeConsumer, scopeGroup, scopeAll}[random.Intn(3)]
		m, who := byScope[scope], consumers[random.Intn(4)]
		first, body := result(m, v, who)
		if first != cacheMiss {
			t.Fatalf("%s: a new request is a %s: %+v", scope, first, v)
		}
		if again, same := result(m, v, who); again != cacheHit || same != body {
			t.Fatalf("%s: the same request is a %s, and got %s: %+v", scope, again, same, v)
		}
		subject := func(consumer string) string {
			return map[string]string{scopeConsumer: consumer, scopeGroup: groups[consumer]}[scope]
		}
		isStored := map[string]bool{subject(who): true}
		for _, other := range consumers {
			want := cacheMiss
			if isStored[subject(other)] {
				want = cacheHit
			} else {
				pairs++
			}
			isStored[subject(other)] = true
			if again, same := result(m, v, other); again != want || same != body {
				t.Fatalf("%s: a request of %s after one of %s is a %s, and got %s: %+v", scope, other, who, again, same, v)
			}
		}
		for _, place := range random.Perm(len(names))[:3] {
			name := names[place]
			changed := v.copied()
			changes[name](changed)
			if changed.body == v.body && changed.target == v.target && len(changed.header) == len(v.header) {
				continue
			}
			again, _ := result(m, changed, who)
			if again == cacheHit {
				t.Fatalf("%s: requests that differ in %s share:\n%+v\n%+v", scope, name, v, changed)
			}
			pairs++
		}
		if scope != scopeConsumer {
			if again, _ := result(byScope[scopeConsumer], v, who); again != cacheMiss {
				t.Fatalf("two middlewares share: %+v", v)
			}
			pairs++
		}
	}
}

// TestTargetsShareNothing: with a host, requests with one body differ in their targets alone.
func TestTargetsShareNothing(t *testing.T) {
	for _, scope := range []string{scopeAll, scopeConsumer} {
		config := CreateConfig()
		config.Routes = allCachedRoutes
		config.Host, config.Port, config.TLS.Enabled = "127.0.0.1", cacheProvider(t, echo), false
		config.Token = "sk-provider"
		config.Cache.Scope = scope
		config.Consumers.List = []Consumer{{Name: "ann", Key: keyID("key-ann")}}
		m, _, _ := newCacheMiddleware(t, nil, config)
		for _, target := range []string{
			contentPath, strings.Replace(contentPath, "flash", "pro", 1), contentPath + "?alt=json", contentPath + "?quotaUser=a", contentPath + "?quotaUser=b", streamPath + "?alt=sse", streamPath,
		} {
			for _, want := range []string{cacheMiss, cacheHit} {
				got, _ := cacheRequest(m, target, contentBody, "Authorization", "Bearer key-ann")
				if result := got.Result().Header.Get(cacheHeader); result != want && (want == cacheMiss || !strings.HasPrefix(target, streamPath)) {
					t.Errorf("%s: %s is a %s, want a %s: %d %s", scope, target, result, want, got.Code, got.Body)
				}
			}
		}
	}
}

// TestRoutersShareNothing: without a host, requests to two names may be for two services.
func TestRoutersShareNothing(t *testing.T) {
	m, _, _ := newCacheMiddleware(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		provided(jsonBytes, strings.Replace(chatDocument, "Hello", req.Host, 1)).ServeHTTP(rw, req)
	}), CreateConfig())
	for _, want := range []string{cacheMiss, cacheHit} {
		for _, host := range []string{"a.example", "b.example"} {
			req := httptest.NewRequest(http.MethodPost, "http://"+host+chatPath, strings.NewReader(chatBody))
			req.RequestURI = chatPath // as a server has it
			req.Header.Set("Content-Type", jsonBytes)
			got := httptest.NewRecorder()
			m.ServeHTTP(got, req)
			if result := got.Result().Header.Get(cacheHeader); result != want || !strings.Contains(got.Body.String(), host) {
				t.Errorf("%s: a %s, want a %s: %s", host, result, want, got.Body)
			}
		}
	}
}

// TestScopesShareNothing: when a new configuration has another scope, a consumer gets nothing of a group with its name.
func TestScopesShareNothing(t *testing.T) {
	name := "cache-" + strconv.FormatInt(cacheNames.Add(1), 10)
	for _, scope := range []string{scopeGroup, scopeConsumer, scopeAll} {
		config := CreateConfig()
		config.Token = "sk-provider"
		config.Cache.Scope = scope
		config.Consumers.List = []Consumer{{Name: "ann", Key: keyID("key-ann"), Group: "red"}, {Name: "red", Key: keyID("key-red"), Group: "blue"}}
		m, _, _ := newNamedCacheMiddleware(t, name, provided(jsonBytes, chatDocument), config)
		for i, consumer := range []string{"ann", "red"} {
			got, _ := cacheRequest(m, chatPath, chatBody, "Authorization", "Bearer key-"+consumer)
			want := cacheMiss
			if scope == scopeAll && i > 0 {
				want = cacheHit
			}
			if result := got.Result().Header.Get(cacheHeader); result != want {
				t.Errorf("%s: the request of %s is a %s, want a %s", scope, consumer, result, want)
			}
		}
	}
}

// TestClientsCredentialsShareNothing: a client's own key, which the provider gets, is part of the key of a response.
func TestClientsCredentialsShareNothing(t *testing.T) {
	for _, names := range [][]string{clientCredentials, {"Proxy-Authorization", "X-My-Key"}} {
		for _, name := range names {
			config := CreateConfig()
			config.AuthHeader.Name = "X-My-Key"
			m, _, calls := newCacheMiddleware(t, provided(jsonBytes, chatDocument), config)
			for i, value := range []string{"a", "b", "a", "b"} {
				got, _ := cacheRequest(m, chatPath, chatBody, name, value)
				if want := []string{cacheMiss, cacheMiss, cacheHit, cacheHit}[i]; got.Result().Header.Get(cacheHeader) != want {
					t.Errorf("%s: response %d is a %s, want %s", name, i, got.Result().Header.Get(cacheHeader), want)
				}
			}
			if calls.Load() != 2 {
				t.Errorf("%s: the provider got %d requests, want 2", name, calls.Load())
			}
		}
	}
	m, _, _ := newCacheMiddleware(t, provided(jsonBytes, contentDocument), &Config{Routes: allCachedRoutes, ModelHeader: defaultModelHeader})
	for i, key := range []string{"a", "b"} {
		if got, _ := cacheRequest(m, contentPath+"?key="+key, contentBody); got.Result().Header.Get(cacheHeader) != cacheMiss {
			t.Errorf("request %d with a key in the query is a hit", i)
		}
	}
}

// TestScopeNeedsASubject: without a consumer, or a group, nothing is shared or stored.
func TestScopeNeedsASubject(t *testing.T) {
	for _, scope := range []string{scopeConsumer, scopeGroup} {
		config := CreateConfig()
		config.Cache.Scope = scope
		config.Consumers.Header = "X-Consumer"
		m, _, calls := newCacheMiddleware(t, provided(jsonBytes, chatDocument), config)
		for i := 0; i < 2; i++ {
			if got, _ := cacheRequest(m, chatPath, chatBody); got.Result().Header.Get(cacheHeader) != cacheBypass {
				t.Errorf("%s: response %d is a %q", scope, i, got.Result().Header.Get(cacheHeader))
			}
		}
		if scope == scopeGroup {
			_, _ = cacheRequest(m, chatPath, chatBody, "X-Consumer", "a") // without a group
			_, _ = cacheRequest(m, chatPath, chatBody, "X-Consumer", "a")
		}
		if want := map[string]int64{scopeConsumer: 2, scopeGroup: 4}[scope]; calls.Load() != want {
			t.Errorf("%s: the provider got %d requests, want %d", scope, calls.Load(), want)
		}
	}
}

// TestReportModeCachesNothing: an instance that enforces nothing calls the provider.
func TestReportModeCachesNothing(t *testing.T) {
	config := CreateConfig()
	config.Mode = modeReport
	m, _, calls := newCacheMiddleware(t, provided(jsonBytes, chatDocument), config)
	for i := 0; i < 2; i++ {
		if got, _ := cacheRequest(m, chatPath, chatBody); got.Result().Header.Get(cacheHeader) != "" {
			t.Errorf("response %d has X-Ai-Cache %q", i, got.Result().Header.Get(cacheHeader))
		}
	}
	if calls.Load() != 2 {
		t.Errorf("the provider got %d requests, want 2", calls.Load())
	}
}

// cacheProvider starts a provider, and returns its port.
func cacheProvider(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL[strings.LastIndexByte(server.URL, ':')+1:]
}

// TestFallbackStoresUnderItsOwnKey: the response of a fallback is not that of the first provider.
func TestFallbackStoresUnderItsOwnKey(t *testing.T) {
	var isDown atomic.Bool
	var first, second atomic.Int64
	firstPort := cacheProvider(t, func(rw http.ResponseWriter, req *http.Request) {
		if first.Add(1); isDown.Load() {
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		provided(jsonBytes, strings.Replace(chatDocument, "Hello", "first", 1)).ServeHTTP(rw, req)
	})
	secondPort := cacheProvider(t, func(rw http.ResponseWriter, req *http.Request) {
		second.Add(1)
		provided(jsonBytes, strings.Replace(chatDocument, "Hello", "second", 1)).ServeHTTP(rw, req)
	})
	config := CreateConfig()
	config.Host, config.Port, config.TLS.Enabled = "127.0.0.1", firstPort, false
	config.Fallbacks = []Fallback{{Host: "127.0.0.1", Port: secondPort, TLS: TLS{Enabled: false}}}
	m, sink, _ := newCacheMiddleware(t, http.NotFoundHandler(), config)
	isDown.Store(true)
	for i, want := range []struct{ text, result, attempts string }{
		{"second", cacheMiss, "openai=503,openai=200"}, {"second", cacheHit, "openai=503,openai=cached"},
		{"first", cacheMiss, "openai=200"}, {"first", cacheHit, "openai=cached"}, {"first", cacheHit, "openai=cached"},
	} {
		if i == 2 {
			isDown.Store(false)
			m.policy.providers[0].circuit.failures = 0
		}
		got, _ := cacheRequest(m, chatPath, chatBody)
		if !strings.Contains(got.Body.String(), want.text) || got.Result().Header.Get(cacheHeader) != want.result || got.Header().Get(attemptsHeader) != want.attempts {
			t.Errorf("response %d: %s %s %s, want %+v", i, got.Body, got.Result().Header.Get(cacheHeader), got.Header().Get(attemptsHeader), want)
		}
	}
	if first.Load() != 3 || second.Load() != 1 {
		t.Errorf("the providers got %d and %d requests, want 3 and 1", first.Load(), second.Load())
	}
	for i, c := range sink.calls {
		if (c.Cache == cacheHit) != (i == 3 || i == 5 || i == 6) { // with those of attempts that failed
			t.Errorf("call %d has the result %q", i, c.Cache)
		}
	}
}

// TestHitSaysNothingAboutTheProvider: it neither resets a circuit nor fails it.
func TestHitSaysNothingAboutTheProvider(t *testing.T) {
	config := CreateConfig()
	config.Host, config.Port, config.TLS.Enabled = "127.0.0.1", cacheProvider(t, provided(jsonBytes, chatDocument).ServeHTTP), false
	m, _, _ := newCacheMiddleware(t, http.NotFoundHandler(), config)
	_, _ = cacheRequest(m, chatPath, chatBody)
	circuit := m.policy.providers[0].circuit
	circuit.failures = 2
	if got, _ := cacheRequest(m, chatPath, chatBody); got.Result().Header.Get(cacheHeader) != cacheHit || circuit.failures != 2 {
		t.Errorf("%s, %d failures, want 2", got.Result().Header.Get(cacheHeader), circuit.failures)
	}
}

// TestChainedInstancesStoreTheirOwn: each instance with a cache stores under its own key, and a hit of one is not stored by another.
func TestChainedInstancesStoreTheirOwn(t *testing.T) {
	config := CreateConfig()
	config.Cache.Scope = scopeAll
	second, _, calls := newCacheMiddleware(t, provided(eventBytes, chatEvents+chatUsageEvent+doneEvent), config)
	other := CreateConfig()
	other.Cache.Scope = scopeAll
	first, sink, _ := newCacheMiddleware(t, second, other)
	forget := func(m *middleware) {
		memory := m.policy.cache.memory
		for len(memory.byKey) > 0 {
			removeEntry(memory, entryAt(memory.used.Back()))
		}
	}
	for i, step := range []struct {
		before func()
		result string
		calls  int64
		first  int
		second int
	}{
		{func() {}, cacheMiss, 1, 1, 1},
		{func() {}, cacheHit, 1, 1, 1},
		{func() { forget(first) }, cacheHit, 1, 0, 1},
		{func() { forget(second) }, cacheMiss, 2, 1, 1},
		{func() { forget(second) }, cacheHit, 2, 1, 0},
	} {
		step.before()
		got, _ := cacheRequest(first, chatPath, chatStreamBody)
		if got.Body.String() != chatEvents+doneEvent || got.Result().Header.Get(cacheHeader) != step.result || calls.Load() != step.calls {
			t.Errorf("step %d: %s after %d calls, want %s after %d; %q", i, got.Result().Header.Get(cacheHeader), calls.Load(), step.result, step.calls, got.Body)
		}
		if a, b := len(first.policy.cache.memory.byKey), len(second.policy.cache.memory.byKey); a != step.first || b != step.second {
			t.Errorf("step %d: the instances have %d and %d responses, want %d and %d", i, a, b, step.first, step.second)
		}
		if sink.calls[i].Cache != step.result {
			t.Errorf("step %d: the record has the result %q, want %q", i, sink.calls[i].Cache, step.result)
		}
	}
}

// TestDiscardedResponseIsNotStored: a service between two instances discards a response, and another instance responds.
func TestDiscardedResponseIsNotStored(t *testing.T) {
	own := func() *Config {
		config := CreateConfig()
		config.Cache.Scope = scopeAll
		return config
	}
	failing, _, _ := newCacheMiddleware(t, provided(jsonBytes, strings.Replace(chatDocument, "Hello", "discarded", 1)), own())
	serving, _, _ := newCacheMiddleware(t, provided(jsonBytes, strings.Replace(chatDocument, "Hello", "served", 1)), own())
	failover := http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		for i, instance := range []http.Handler{failing, serving} {
			to := rw
			if i == 0 {
				to = httptest.NewRecorder()
			}
			out := req.Clone(req.Context())
			out.Body = io.NopCloser(bytes.NewReader(body))
			instance.ServeHTTP(to, out)
		}
	})
	first, _, _ := newCacheMiddleware(t, failover, &Config{ModelHeader: defaultModelHeader, Cache: Cache{Scope: scopeConsumer}})
	got, _ := cacheRequest(first, chatPath, chatBody)
	if !strings.Contains(got.Body.String(), "served") {
		t.Fatalf("got %s", got.Body)
	}
	if n := len(failing.policy.cache.memory.byKey); n != 0 {
		t.Errorf("the instance whose response was discarded has stored %d", n)
	}
	if n := len(serving.policy.cache.memory.byKey); n != 1 {
		t.Errorf("the instance that has served has stored %d, want 1", n)
	}
}

// TestStreamIsReplayedEventByEvent counts the writes of a hit.
func TestStreamIsReplayedEventByEvent(t *testing.T) {
	for body, want := range map[string]int{
		chatEvents + chatUsageEvent + doneEvent: 5, strings.ReplaceAll(chatEvents+doneEvent, "\n", "\r\n"): 4, strings.ReplaceAll(chatEvents+doneEvent, "\n", "\r"): 4,
		": comment\n\n" + chatEvents + "data: [DONE]": 5,
	} {
		parts := storedParts(&cachedResponse{form: formEvents, body: []byte(body)})
		if got := string(bytes.Join(parts, nil)); got != body || len(parts) != want {
			t.Errorf("%d parts of %q, want %d", len(parts), got, want)
		}
	}
	if parts := storedParts(&cachedResponse{form: formArray, body: []byte(contentArray)}); len(parts) != 2 || string(bytes.Join(parts, nil)) != contentArray {
		t.Errorf("%d parts of an array, want 2: %q", len(parts), parts)
	}
}

// TestLimitsApplyToHits: a response that was stored before a limit was lowered is subject to it.
func TestLimitsApplyToHits(t *testing.T) {
	m, _, calls := newCacheMiddleware(t, provided(jsonBytes, chatDocument), CreateConfig())
	_, _ = cacheRequest(m, chatPath, chatBody)
	config := CreateConfig()
	config.Cache.Scope = scopeAll
	config.MaxResponseBytes = 50
	again, sink, _ := cacheMiddleware(t, provided(jsonBytes, chatDocument), config, m.policy.name, calls)
	got, _ := cacheRequest(again, chatPath, chatBody)
	if got.Code != http.StatusBadGateway || sink.calls[0].Cache != cacheHit || sink.calls[0].ErrorType != errorResponseTooLarge {
		t.Errorf("status %d, %+v", got.Code, sink.calls[0])
	}
}

// TestCacheOfManyClients is for the race detector: many clients, few requests, a small cache.
func TestCacheOfManyClients(t *testing.T) {
	config := CreateConfig()
	config.Routes = allCachedRoutes
	config.Cache = Cache{Scope: scopeAll, MaxEntries: 5}
	m, _, _ := newCacheMiddleware(t, http.HandlerFunc(echo), config)
	m.policy.telemetry.sinks = nil
	var running sync.WaitGroup
	for i := 0; i < 16; i++ {
		running.Add(1)
		go func(i int) {
			defer running.Done()
			for j := 0; j < 50; j++ {
				body := strings.Replace(chatBody, "Hi", "Hi "+strconv.Itoa((i+j)%10), 1)
				got, _ := cacheRequest(m, chatPath, body)
				if want := fmt.Sprintf("%x", body); !strings.Contains(got.Body.String(), want) {
					t.Errorf("got the response to another request: %s", got.Body)
				}
			}
		}(i)
	}
	running.Wait()
}

// TestProvidersHeadersShareNothing: headers by which clients choose what a provider does are part of the key of a response.
func TestProvidersHeadersShareNothing(t *testing.T) {
	for _, name := range []string{"X-Amzn-Bedrock-GuardrailIdentifier", "Extra-Parameters", "Azureml-Model-Deployment", "OpenAI-Organization", "anthropic-beta"} {
		m, _, _ := newCacheMiddleware(t, provided(jsonBytes, chatDocument), CreateConfig())
		_, _ = cacheRequest(m, chatPath, chatBody)
		if got, _ := cacheRequest(m, chatPath, chatBody, name, "other"); got.Result().Header.Get(cacheHeader) != cacheMiss {
			t.Errorf("a request with %s is a hit", name)
		}
	}
}
