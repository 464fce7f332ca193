package chatcompletion

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// newExportingMiddleware returns a middleware like New, except that it exports spans to the collector at once.
func newExportingMiddleware(t *testing.T, c *testCollector, config *Config, next http.Handler) http.Handler {
	t.Helper()
	config.Telemetry.OTLP = OTLP{Endpoint: c.URL, Metrics: false}
	p, err := newPolicy(config, "test")
	if err != nil {
		t.Fatal(err)
	}
	p.telemetry.registry = newRegistry()
	s := p.telemetry.otlp
	s.spanWait, s.linger = time.Millisecond, time.Millisecond
	s.key += t.Name()
	ctx, cancel := context.WithCancel(context.Background())
	startTelemetry(ctx, p.telemetry)
	t.Cleanup(func() {
		cancel()
		eventually(t, "the exporter has ended", func() bool { return hasEnded(p.telemetry.exporter) })
	})
	return newPolicyMiddleware(p, next)
}

// sendRequest sends a body to a handler and returns the response.
func sendRequest(handler http.Handler, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rw := httptest.NewRecorder()
	handler.ServeHTTP(rw, req)
	return rw
}

// respondWith returns a provider that responds with pieces: JSON, or a stream if the first piece is an event or a comment.
func respondWith(pieces ...string) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		kind := "application/json"
		if strings.HasPrefix(pieces[0], "data:") || strings.HasPrefix(pieces[0], ":") {
			kind = "text/event-stream"
		}
		rw.Header().Set("Content-Type", kind)
		for _, piece := range pieces {
			_, _ = io.WriteString(rw, piece)
		}
	})
}

// delta returns an event with a part of a choice.
func delta(index int, content, finishReason string) string {
	reason := "null"
	if finishReason != "" {
		reason = strconv.Quote(finishReason)
	}
	return fmt.Sprintf(`data: {"choices":[{"index":%d,"delta":{"content":%q},"finish_reason":%s}]}`, index, content, reason) + "\n\n"
}

// textMessage returns a message in the format of the semantic conventions.
func textMessage(role, text string) string {
	return `{"role":"` + role + `","parts":[{"type":"text","content":"` + text + `"}]}`
}

// textResponse returns an output message in the format of the semantic conventions.
func textResponse(text, finishReason string) string {
	return `{"role":"assistant","parts":[{"type":"text","content":"` + text + `"}],"finish_reason":"` + finishReason + `"}`
}

func TestCapturedPromptAndResponse(t *testing.T) {
	const (
		prompt = `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`
		plain  = `{"choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}`
		done   = "data: [DONE]\n\n"
	)
	messages := func(list string) string { return `{"model":"m","messages":[` + list + `]}` }
	tests := []struct {
		name     string
		maxBytes any
		request  string
		response []string
		input    string
		output   string
	}{
		{"texts", nil, prompt, []string{plain}, "[" + textMessage("user", "Hi") + "]", "[" + textResponse("Hello", "stop") + "]"},
		{"a conversation", nil, messages(`{"role":"system","content":"Be short."},{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello"},{"role":"user","content":"Bye"}`),
			[]string{plain},
			"[" + textMessage("system", "Be short.") + "," + textMessage("user", "Hi") + "," + textMessage("assistant", "Hello") + "," + textMessage("user", "Bye") + "]",
			"[" + textResponse("Hello", "stop") + "]"},
		{"parts, an image with its type only", nil,
			messages(`{"role":"user","content":[{"type":"text","text":"What is it?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}},{"type":"text","text":"Say it."}]}`),
			[]string{plain},
			`[{"role":"user","parts":[{"type":"text","content":"What is it?"},{"type":"image_url"},{"type":"text","content":"Say it."}]}]`,
			"[" + textResponse("Hello", "stop") + "]"},
		{"tool calls", nil,
			messages(`{"role":"user","content":"Weather?"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"place\":\"Rome\"}"}}]},{"role":"tool","tool_call_id":"c1","content":"sunny"}`),
			[]string{`{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"c2","type":"function","function":{"name":"clock","arguments":"{}"}},{"id":"c3","type":"function","function":{"name":"map","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`},
			"[" + textMessage("user", "Weather?") + `,{"role":"assistant","parts":[{"type":"tool_call","name":"weather"}]},` + textMessage("tool", "sunny") + "]",
			`[{"role":"assistant","parts":[{"type":"tool_call","name":"clock"},{"type":"tool_call","name":"map"}],"finish_reason":"tool_calls"}]`},
		{"tool calls in a stream", nil, prompt, []string{
			`data: {"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"c2","function":{"name":"clock","arguments":""}}]},"finish_reason":null}]}` + "\n\n",
			`data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},"finish_reason":null}]}` + "\n\n",
			`data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}` + "\n\n", done},
			"[" + textMessage("user", "Hi") + "]",
			`[{"role":"assistant","parts":[{"type":"tool_call","name":"clock"}],"finish_reason":"tool_calls"}]`},
		{"several choices", nil, prompt,
			[]string{`{"choices":[{"index":1,"message":{"content":"B"},"finish_reason":"length"},{"index":0,"message":{"content":"A"},"finish_reason":"stop"}]}`},
			"[" + textMessage("user", "Hi") + "]", "[" + textResponse("A", "stop") + "," + textResponse("B", "length") + "]"},
		{"several choices in a stream, the second one ends first", nil, prompt,
			[]string{delta(0, "A", ""), delta(1, "B", ""), delta(1, "C", "length"), delta(0, "D", "stop"), done},
			"[" + textMessage("user", "Hi") + "]", "[" + textResponse("AD", "stop") + "," + textResponse("BC", "length") + "]"},
		{"a stream", nil, prompt, []string{": wait\n\n", delta(0, "Hel", ""), delta(0, "lo", "") + delta(0, "", "stop") + done},
			"[" + textMessage("user", "Hi") + "]", "[" + textResponse("Hello", "stop") + "]"},
		{"a stream in small packets", nil, prompt, split(delta(0, "Hel", "")+delta(0, "lo", "")+delta(0, "", "stop")+done, 7),
			"[" + textMessage("user", "Hi") + "]", "[" + textResponse("Hello", "stop") + "]"},
		{"a stream of many windows", 1 << 20, prompt, strings.SplitAfter(strings.Repeat(delta(0, "Hello", ""), 5000)+delta(0, "", "stop")+done, "\n\n"),
			"[" + textMessage("user", "Hi") + "]", "[" + textResponse(strings.Repeat("Hello", 5000), "stop") + "]"},
		{"parts in the response, thinking omitted", nil, prompt,
			[]string{`{"choices":[{"index":0,"message":{"content":[{"type":"thinking","thinking":[]},{"type":"text","text":"Hello"}]},"finish_reason":"stop"}]}`},
			"[" + textMessage("user", "Hi") + "]", "[" + textResponse("Hello", "stop") + "]"},
		{"multi-byte letters", nil, messages(`{"role":"user","content":"h\u00e9 \ud83d\ude00 <&>"}`), []string{delta(0, "é😀", "stop"), done},
			"[" + textMessage("user", "hé 😀 <&>") + "]", "[" + textResponse("é😀", "stop") + "]"},
		{"an error", nil, prompt, []string{`{"error":{"message":"no"}}`}, "[" + textMessage("user", "Hi") + "]", "[]"},
		{"response that is not JSON", nil, prompt, []string{"no"}, "[" + textMessage("user", "Hi") + "]", "[]"},

		{"bound within a letter", 5, messages(`{"role":"user","content":"äöü"}`), []string{`{"choices":[{"index":0,"message":{"content":"äöü"},"finish_reason":"stop"}]}`},
			"[" + textMessage("user", "äö") + "]", "[" + textResponse("äö", "stop") + "]"},
		{"bound within a letter of a stream", 5, prompt, []string{delta(0, "ä", ""), delta(0, "😀", ""), delta(0, "x", ""), delta(0, "", "stop"), done},
			"[" + textMessage("user", "Hi") + "]", "[" + textResponse("äx", "stop") + "]"},
		{"bound of one byte", 1, messages(`{"role":"user","content":"Hi"}`), []string{delta(0, "Hello", ""), delta(0, "", "stop"), done},
			"[" + textMessage("user", "H") + "]", "[" + textResponse("H", "stop") + "]"},
		{"bound keeps the last messages of the prompt", 7, messages(`{"role":"system","content":"Be short."},{"role":"user","content":"Hello"},{"role":"user","content":"Bye"}`),
			[]string{plain}, "[" + textMessage("user", "Hell") + "," + textMessage("user", "Bye") + "]", "[" + textResponse("Hello", "stop") + "]"},
		{"bound keeps the last message of the prompt only", 3, messages(`{"role":"user","content":"Hello"},{"role":"user","content":"Bye"}`), []string{plain},
			"[" + textMessage("user", "Bye") + "]", "[" + textResponse("Hel", "stop") + "]"},
		{"bound between parts", 4, messages(`{"role":"user","content":[{"type":"text","text":"What"},{"type":"text","text":"ever"}]}`), []string{plain},
			`[{"role":"user","parts":[{"type":"text","content":"What"},{"type":"text"}]}]`, "[" + textResponse("Hell", "stop") + "]"},
		{"bound shared by all choices", 3, prompt, []string{`{"choices":[{"index":0,"message":{"content":"AB"}},{"index":1,"message":{"content":"CD"}}]}`},
			"[" + textMessage("user", "Hi") + "]",
			`[{"role":"assistant","parts":[{"type":"text","content":"AB"}]},{"role":"assistant","parts":[{"type":"text","content":"C"}]}]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newTestCollector(t, nil)
			config := CreateConfig()
			config.Telemetry.Traces.CaptureContent = true
			config.Telemetry.Traces.ContentMaxBytes = test.maxBytes
			handler := newExportingMiddleware(t, c, config, respondWith(test.response...))
			if got, want := sendRequest(handler, test.request).Body.String(), strings.Join(test.response, ""); got != want {
				t.Errorf("body %q, want %q", got, want)
			}
			eventually(t, "the span is exported", func() bool { _, spans, _ := c.counts(); return spans == 1 })
			if got := c.attributes[0]["gen_ai.input.messages"]; got != test.input {
				t.Errorf("input\n%s\nwant\n%s", got, test.input)
			}
			if got := c.attributes[0]["gen_ai.output.messages"]; got != test.output {
				t.Errorf("output\n%.300s\nwant\n%.300s", got, test.output)
			}
		})
	}
}

// split splits a text into packets of a size.
func split(text string, size int) []string {
	var packets []string
	for len(text) > size {
		packets = append(packets, text[:size])
		text = text[size:]
	}
	return append(packets, text)
}

// TestCaptureUsesForwardedRequest checks that the prompt is the one after the policy, decompressed.
func TestCaptureUsesForwardedRequest(t *testing.T) {
	compressed := compressBody(&exporter{}, &otlpSignal{gzip: true}, []byte(`{"messages":[{"role":"user","content":"Hi"}]}`))
	for _, mode := range []string{modeEnforce, modeReport} {
		t.Run(mode, func(t *testing.T) {
			c := newTestCollector(t, nil)
			config := CreateConfig()
			config.Model = "gpt-4o"
			config.Mode = mode
			config.Telemetry.Traces.CaptureContent = "true"
			handler := newExportingMiddleware(t, c, config, respondWith(`{"choices":[]}`))
			sendRequest(handler, string(compressed), "Content-Encoding", "gzip")
			eventually(t, "the span is exported", func() bool { _, spans, _ := c.counts(); return spans == 1 })
			if got, want := c.attributes[0]["gen_ai.input.messages"], "["+textMessage("user", "Hi")+"]"; got != want {
				t.Errorf("input %s, want %s", got, want)
			}
		})
	}
}

// TestContentCaptureIsOptIn puts canaries into the prompt and the response.
func TestContentCaptureIsOptIn(t *testing.T) {
	const (
		prompt   = `{"model":"m","messages":[{"role":"user","content":"canary"}]}`
		response = `{"choices":[{"index":0,"message":{"role":"assistant","content":"canary"},"finish_reason":"stop"}]}`
	)
	for _, off := range []any{nil, false, "false", ""} {
		c := newTestCollector(t, nil)
		config := CreateConfig()
		config.Telemetry.Traces.CaptureContent = off
		sendRequest(newExportingMiddleware(t, c, config, respondWith(response)), prompt)
		eventually(t, "the span is exported", func() bool { _, spans, _ := c.counts(); return spans == 1 })
		if text := fmt.Sprint(c.attributes); strings.Contains(text, "canary") || strings.Contains(text, "messages") {
			t.Errorf("captureContent %v: attributes %s, want no content", off, text)
		}
	}

	config := CreateConfig()
	config.Telemetry.Traces.CaptureContent = true
	handler, sink := newRecordingMiddleware(t, config, respondWith(response))
	handler.(*middleware).policy.telemetry.spans = true
	sendRequest(handler, prompt, "Traceparent", callersParent+"-00")
	sendRequest(handler, prompt, "Traceparent", callersParent+"-01")
	for i, sampled := range []bool{false, true} {
		call := sink.calls[i]
		if got := call.Input != nil && call.Response.Content != nil; got != sampled {
			t.Errorf("sampled %t: input %q and output %q", sampled, call.Input, call.Response.Content)
		}
		if line := string(newLine(call, semconvBoth)); strings.Contains(line, "canary") {
			t.Errorf("log line %s, want no content", line)
		}
	}
}

// TestPromptsStayOutOfMetricsAndLogs puts a canary wherever a client or a provider may write text, and captures the content.
func TestPromptsStayOutOfMetricsAndLogs(t *testing.T) {
	config := CreateConfig()
	config.AllowedModels = []string{"m"}
	config.Telemetry.Traces.CaptureContent = true
	handler, sink := newRecordingMiddleware(t, config, respondWith(
		`data: {"id":"c","model":"m","choices":[{"index":0,"delta":{"content":"canary","tool_calls":[{"function":{"name":"canary"}}]}}]}`+"\n\n",
		`data: {"error":{"message":"canary","type":"canary","code":"canary"}}`+"\n\n"))
	p := handler.(*middleware).policy
	p.telemetry.spans = true
	refused := 0
	logged := logOutput(t, func() {
		for _, body := range []string{
			`{"model":"m","stream":true,"messages":[{"role":"user","content":"canary"}],"user":"canary","metadata":{"canary":"canary"},"stop":"canary","canary":"canary"}`,
			`{"model":"m","messages":[{"role":"canary","content":"canary"}]}`,
			`{"model":"m","messages":"canary"}`,
			`{"model":"canary","messages":[{"role":"user","content":"canary"}]}`,
			`{"model":"m","model":"m","messages":[{"role":"user","content":"canary"}]}`,
			`{"canary`,
		} {
			rw := sendRequest(handler, body)
			if rw.Code != http.StatusOK {
				refused++
			}
			for name, values := range rw.Header() {
				if strings.Contains(fmt.Sprint(name, values), "canary") {
					t.Errorf("Response header %q = %q, want no content", name, values)
				}
			}
		}
	})
	if len(sink.calls) != 6 || refused != 5 || sink.calls[0].Input == nil || sink.calls[0].ErrorType != "error_event" {
		t.Fatalf("%d calls, %d refused, want 6 and 5, and content of the first one: %+v", len(sink.calls), refused, sink.calls[0])
	}
	for _, call := range sink.calls {
		logged += string(newLine(call, semconvBoth))
	}
	for what, text := range map[string]string{"log": logged, "exposition": scrape(t, p.telemetry.registry, http.MethodGet).Body.String()} {
		if at := strings.Index(text, "canary"); at >= 0 {
			t.Errorf("%s contains %q, want no content", what, text[:at+6])
		}
	}
}

// TestContentCaptureIsForChatCompletions checks that nothing is captured at other endpoints, whose bodies have another format.
func TestContentCaptureIsForChatCompletions(t *testing.T) {
	config := CreateConfig()
	config.Routes = map[string]string{"/v1/responses": "responses"}
	config.Telemetry.Traces.CaptureContent = true
	handler, sink := newRecordingMiddleware(t, config, respondWith(`{"object":"response","output":[]}`))
	handler.(*middleware).policy.telemetry.spans = true
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/responses", strings.NewReader(`{"model":"m","input":"Hi"}`)))
	if call := sink.calls[0]; call.Trace == nil || call.Input != nil || call.Response.Content != nil {
		t.Errorf("input %q and output %q, want none", call.Input, call.Response.Content)
	}
}

func TestTruncatedKeepsWholeCharacters(t *testing.T) {
	const text = "aä€😀z" // 1, 2, 3, 4 and 1 bytes
	for most, want := range []string{"", "a", "a", "aä", "aä", "aä", "aä€", "aä€", "aä€", "aä€", "aä€😀", text, text} {
		if got := truncated(text, most); got != want {
			t.Errorf("truncated to %d bytes: %q, want %q", most, got, want)
		}
	}
	if got := truncated(text, -1); got != "" {
		t.Errorf("truncated to -1 bytes: %q, want nothing", got)
	}
}

// FuzzCapturedContent captures arbitrary messages and responses, and checks the bound.
func FuzzCapturedContent(f *testing.F) {
	f.Add([]byte(`{"messages":[{"role":"user","content":"äöü"},{"role":"user","content":[{"type":"text","text":"Hi"}]}],"choices":[{"index":3,"message":{"content":"Hi"}}]}`), 3)
	f.Add([]byte("\ndata: {\"choices\":[{\"index\":15,\"delta\":{\"content\":\"Hi\",\"tool_calls\":[{\"function\":{\"name\":\"n\"}}]}}]}\n\ndata: [DONE]\n\n"), 100)
	f.Add([]byte(`{"choices":[{"index":-1},{"index":16},{"index":"x","delta":{"content":[{}]}}],"messages":[null,1,"a"]}`), 0)
	f.Fuzz(func(t *testing.T, text []byte, most int) {
		if most < 1 || most > 1<<20 {
			most = 10
		}
		for _, k := range []kind{completions, messages, generateContent} {
			checkCaptured(t, k, text, most)
		}
	})
}

// checkCaptured captures a text as a request and as a response of a kind, and checks the bound.
func checkCaptured(t *testing.T, k kind, text []byte, most int) {
	t.Helper()
	if got := captureInput(k, text, most); got != nil && !utf8.Valid(got) {
		t.Errorf("%s: input %q, want UTF-8", k, got)
	}
	for _, stream := range []bool{false, true} {
		reader := &responseReader{record: &Response{}, capture: &capture{kind: k, left: most}}
		captureWindow(reader.capture, text, stream)
		captureWindow(reader.capture, text, stream)
		sum := 0
		for _, choice := range reader.capture.choices {
			sum += len(choice.text) + len(choice.reasoning) + len(strings.Join(choice.calls, ""))
		}
		if sum > most || len(reader.capture.choices) > maxChoices || !utf8.Valid(captured(reader)) {
			t.Errorf("%s, stream %t: %d bytes in %d choices, want at most %d in %d", k, stream, sum, len(reader.capture.choices), most, maxChoices)
		}
	}
}

// TestCapturedContentOfProtocols captures requests and responses of Anthropic's and Gemini's protocols, responses in one piece
// and byte by byte.
func TestCapturedContentOfProtocols(t *testing.T) {
	event := func(data string) string { return "data: " + data + "\n\n" }
	tests := []struct {
		name     string
		kind     kind
		most     int
		request  string
		response string
		input    string
		output   string
	}{
		{"Anthropic", messages, 1000,
			`{"model":"m","max_tokens":9,"system":"Be short.","messages":[{"role":"user","content":"Hi"}]}`,
			`{"type":"message","role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"s"},{"type":"text","text":"Hello"},{"type":"tool_use","id":"t","name":"clock","input":{}}],"stop_reason":"tool_use"}`,
			"[" + textMessage("system", "Be short.") + "," + textMessage("user", "Hi") + "]",
			`[{"role":"assistant","parts":[{"type":"reasoning","content":"Hm."},{"type":"text","content":"Hello"},{"type":"tool_call","name":"clock"}],"finish_reason":"tool_use"}]`},
		{"Anthropic, blocks", messages, 1000,
			`{"system":[{"type":"text","text":"Be short.","cache_control":{"type":"ephemeral"}}],"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","data":"AAAA"}},{"type":"text","text":"Time?"}]},` +
				`{"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"s"},{"type":"redacted_thinking","data":"x"},{"type":"tool_use","id":"t","name":"clock","input":{"zone":"UTC"}}]},` +
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"12"},{"type":"text","text":":00"}]},{"type":"tool_result","tool_use_id":"u","content":"no"}]}]}`,
			`{"type":"message","content":[],"stop_reason":"end_turn"}`,
			"[" + textMessage("system", "Be short.") + `,{"role":"user","parts":[{"type":"image"},{"type":"text","content":"Time?"}]},` +
				`{"role":"assistant","parts":[{"type":"reasoning","content":"Hm."},{"type":"reasoning"},{"type":"tool_call","name":"clock"}]},` +
				`{"role":"user","parts":[{"type":"tool_call_response","response":"12:00"},{"type":"tool_call_response","response":"no"}]}]`,
			`[{"role":"assistant","parts":[],"finish_reason":"end_turn"}]`},
		{"Anthropic, a stream", messages, 1000, `{"messages":[{"role":"user","content":"Hi"}]}`,
			event(`{"type":"message_start","message":{"id":"msg","role":"assistant","content":[]}}`) + event(`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`) +
				event(`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"H"}}`) + event(`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"m."}}`) +
				event(`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"x"}}`) + event(`{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}`) +
				event(`{"type":"ping"}`) + event(`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hel"}}`) + event(`{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"lo"}}`) +
				event(`{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"clock","input":{}}}`) + event(`{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{}"}}`) +
				event(`{"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":5}}`) + event(`{"type":"message_stop"}`),
			"[" + textMessage("user", "Hi") + "]",
			`[{"role":"assistant","parts":[{"type":"reasoning","content":"Hm."},{"type":"text","content":"Hello"},{"type":"tool_call","name":"clock"}],"finish_reason":"tool_use"}]`},
		{"Anthropic, bounds", messages, 5, `{"system":"Be short.","messages":[{"role":"user","content":"Hello"},{"role":"user","content":"Bye"}]}`,
			`{"type":"message","content":[{"type":"text","text":"Hello, you"}],"stop_reason":"end_turn"}`,
			"[" + textMessage("user", "He") + "," + textMessage("user", "Bye") + "]", "[" + textResponse("Hello", "end_turn") + "]"},
		{"Gemini", generateContent, 1000,
			`{"systemInstruction":{"parts":[{"text":"Be short."}]},"contents":[{"parts":[{"inlineData":{"mimeType":"image/png","data":"AAAA"}},{"fileData":{"fileUri":"gs://x"}},{"text":"Time?"}]},` +
				`{"role":"model","parts":[{"text":"Hm.","thought":true},{"functionCall":{"name":"clock","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"clock","response":{"t":"12:00"}}}]}]}`,
			`{"candidates":[{"content":{"parts":[{"text":"Hm.","thought":true},{"text":"Hello"},{"functionCall":{"name":"map","args":{}}}],"role":"model"},"finishReason":"STOP","index":0}]}`,
			"[" + textMessage("system", "Be short.") + `,{"role":"user","parts":[{"type":"blob"},{"type":"uri"},{"type":"text","content":"Time?"}]},` +
				`{"role":"assistant","parts":[{"type":"reasoning","content":"Hm."},{"type":"tool_call","name":"clock"}]},{"role":"user","parts":[{"type":"tool_call_response","name":"clock","response":"{\"t\":\"12:00\"}"}]}]`,
			`[{"role":"assistant","parts":[{"type":"reasoning","content":"Hm."},{"type":"text","content":"Hello"},{"type":"tool_call","name":"map"}],"finish_reason":"STOP"}]`},
		{"Gemini, events of two candidates", streamGenerateContent, 1000, `{"system_instruction":{"parts":[{"text":"Be short."}]},"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}`,
			event(`{"candidates":[{"content":{"parts":[{"text":"A"}]},"index":0},{"content":{"parts":[{"text":"C"}]},"index":1}]}`) + event(`{"candidates":[{"content":{"parts":[{"text":"D"}]},"finishReason":"MAX_TOKENS","index":1}]}`) +
				event(`{"candidates":[{"content":{"parts":[{"text":"B"}]},"finishReason":"STOP","index":0}]}`),
			"[" + textMessage("system", "Be short.") + "," + textMessage("user", "Hi") + "]", "[" + textResponse("AB", "STOP") + "," + textResponse("CD", "MAX_TOKENS") + "]"},
		{"Gemini, an array", streamGenerateContent, 1000, `{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}`,
			"[{\n  \"candidates\": [{\"content\": {\"parts\": [{\"text\": \"Hel\"}]}, \"index\": 0}]\n}\n,\r\n{\n  \"candidates\": [{\"content\": {\"parts\": [{\"text\": \"lo\"}]}, \"finishReason\": \"STOP\", \"index\": 0}]\n}\n]\n",
			"[" + textMessage("user", "Hi") + "]", "[" + textResponse("Hello", "STOP") + "]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string(captureInput(test.kind, []byte(test.request), test.most)); got != test.input {
				t.Errorf("input %s, want %s", got, test.input)
			}
			for _, size := range []int{1, 30, len(test.response)} {
				reader := &responseReader{record: &Response{}, kind: test.kind, capture: &capture{kind: test.kind, left: test.most}}
				reader.array = strings.HasPrefix(test.response, "[")
				reader.stream = reader.array || strings.HasPrefix(test.response, "data:")
				readPieces(reader, splitText(test.response, size)...)
				if got := string(captured(reader)); got != test.output {
					t.Errorf("in pieces of %d bytes: output %s, want %s", size, got, test.output)
				}
			}
		})
	}
}
