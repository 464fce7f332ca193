package chatcompletion

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
)

// plantedKey is a secret that rules find.
const plantedKey = "sk-abcdefghij0123456789abcd"

// transportFunc responds to requests by their host.
type transportFunc func(host string) (int, string)

func (f transportFunc) RoundTrip(req *http.Request) (*http.Response, error) {
	_, _ = io.Copy(io.Discard, req.Body)
	status, body := f(req.URL.Host)
	return &http.Response{
		StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, ProtoMajor: 1, ProtoMinor: 1, ContentLength: -1,
		Body: io.NopCloser(strings.NewReader(body)), Request: req,
	}, nil
}

// What rules find in a response that is discarded for a fallback is not listed: only the client's response is.
func TestGuardListsDecisionsOnTheClientsResponse(t *testing.T) {
	const format = `{"choices":[{"index":0,"message":{"content":"%s"},"finish_reason":"stop"}]}`
	for _, c := range []struct {
		name           string
		statuses       [2]int
		texts          [2]string
		want           int
		policy, client string
	}{
		{"blocked, discarded", [2]int{503, 200}, [2]string{plantedKey, "fine"}, 200, "", "fine"},
		{"masked, discarded, masked", [2]int{429, 200}, [2]string{"jo@example.com", "4111111111111111"}, 200, "guard_response_mask=cards", "************1111"},
		{"the last one failed, masked", [2]int{503, 503}, [2]string{plantedKey, "jo@example.com"}, 503, "guard_response_mask=mails", "**************"},
		{"blocked, no fallback", [2]int{200, 200}, [2]string{plantedKey, "fine"}, 400, "guard_response_block=keys", "content_blocked"},
	} {
		config := guardConfig(maskCards, maskMails, blockKeys)
		config.Token = ""
		config.Host = "first.example"
		config.Fallbacks = []Fallback{{Host: "second.example"}}
		ctx, cancel := context.WithCancel(context.Background())
		handler, err := New(ctx, http.NotFoundHandler(), config, "guard@file")
		if err != nil {
			t.Fatal(err)
		}
		p := handler.(*middleware).policy
		transport := transportFunc(func(host string) (int, string) {
			place := 0
			if strings.HasPrefix(host, "second") {
				place = 1
			}
			return c.statuses[place], fmt.Sprintf(format, c.texts[place])
		})
		for _, pr := range p.providers {
			pr.handler = guardResponses(p, &httputil.ReverseProxy{Transport: transport, Rewrite: director(pr.upstream), ModifyResponse: acceptResponse, ErrorHandler: failProxy})
		}
		got := sendRequest(handler, `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`)
		cancel()
		if policy := got.Header().Get("X-Ai-Policy"); got.Code != c.want || policy != c.policy || !strings.Contains(got.Body.String(), c.client) {
			t.Errorf("%s: got %d, X-Ai-Policy %q, %s, want %d, %q, %s", c.name, got.Code, policy, got.Body, c.want, c.policy, c.client)
		}
	}
}

// What is blocked or masked is in no record, header, log line or metric, wherever the provider puts it.
func TestGuardedTextIsInNoRecord(t *testing.T) {
	event := func(text string) string {
		return "data: " + strings.NewReplacer("KEY", plantedKey, "FIRST", plantedKey[:9], "REST", plantedKey[9:]).Replace(text) + "\n\n"
	}
	for path, chunks := range map[string][]string{
		"/v1/chat/completions": {
			event(`{"id":"KEY","model":"KEY","system_fingerprint":"KEY","choices":[{"index":0,"delta":{"role":"KEY","content":"a FIRST"}}]}`), event(`{"choices":[{"index":0,"delta":{"content":"REST"}}]}`),
			event(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"KEY","function":{"name":"KEY","arguments":"{\"a\":\"FIRST"}}]}}]}`), event(`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"REST\"}"}}]}}]}`),
			event(`{"choices":[{"index":0,"delta":{},"finish_reason":"KEY"}]}`), event(`{"error":{"message":"KEY","code":"KEY","type":"KEY"}}`),
		},
		"/v1/messages": {
			event(`{"type":"message_start","message":{"id":"KEY","model":"KEY","usage":{"input_tokens":3,"output_tokens":1,"service_tier":"KEY"}}}`),
			event(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"FIRST"}}`), event(`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"REST"}}`),
			event(`{"type":"message_delta","delta":{"stop_reason":"KEY","stop_sequence":"KEY"},"usage":{"output_tokens":5}}`), event(`{"type":"error","error":{"type":"KEY","message":"KEY"}}`),
		},
		"/v1/responses": {
			event(`{"type":"response.created","response":{"id":"KEY","model":"KEY"}}`),
			event(`{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"FIRST"}`), event(`{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"REST"}`),
			event(`{"type":"response.failed","response":{"status":"failed","error":{"code":"KEY","message":"KEY"}}}`),
		},
		"/v1beta/models/m:streamGenerateContent?alt=sse": {
			event(`{"responseId":"KEY","modelVersion":"KEY","candidates":[{"content":{"parts":[{"text":"FIRST"}]}}]}`), event(`{"candidates":[{"content":{"parts":[{"text":"REST"}]},"finishReason":"KEY"}],"promptFeedback":{"blockReason":"KEY"}}`),
		},
	} {
		for _, action := range []string{"block", "mask"} {
			checkNoRecord(t, path, action, chunks)
			for _, chunk := range chunks {
				checkNoRecord(t, path, action, []string{": hi\n\n", chunk})
			}
		}
	}
}

func checkNoRecord(t *testing.T, path, action string, chunks []string) {
	t.Helper()
	config := guardConfig(GuardRule{Name: "keys", Builtin: "secretKey", Action: action})
	config.Telemetry.Traces.CaptureContent = true
	handler, sink := newRecordingMiddleware(t, config, respondWith(append([]string{": hi\n\n"}, chunks...)...))
	registry := handler.(*middleware).policy.telemetry.registry
	handler.(*middleware).policy.telemetry.spans = true
	body := `{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"Hi"}],"input":"Hi"}`
	if strings.Contains(path, "v1beta") {
		body = `{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}`
	}
	rec := httptest.NewRecorder()
	texts := map[string]string{"log": logOutput(t, func() {
		handler.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, path, strings.NewReader(body)))
	})}
	if len(sink.calls) != 1 {
		t.Fatalf("%s, %s: %d records, want 1", path, action, len(sink.calls))
	}
	record, _ := json.Marshal(sink.calls[0])
	texts["client"] = rec.Body.String()
	texts["header"] = fmt.Sprint(rec.Header())
	texts["record"] = string(record) + string(newLine(sink.calls[0], semconvBoth)) + string(sink.calls[0].Response.Content) + string(spanPayload(nil, semconvBoth, requestTexts{}, sink.calls))
	texts["exposition"] = scrape(t, registry, http.MethodGet).Body.String()
	isWhole := chunks[0] != ": hi\n\n" // both pieces of each key are there
	for what, text := range texts {
		if strings.Contains(text, plantedKey) || (isWhole && strings.Contains(text, plantedKey[9:])) {
			t.Errorf("%s, %s of %q: the %s has the key: %s", path, action, chunks, what, text)
		}
	}
}

// Random rules: a stream that is cut at random is masked and blocked as the whole text is.
func TestGuardedStreamsAreAsWholeTexts(t *testing.T) {
	for seed := int64(0); seed < 120; seed++ {
		random := rand.New(rand.NewSource(seed))
		var rules []GuardRule
		for i := 0; i <= random.Intn(3); i++ {
			rules = append(rules, GuardRule{Name: fmt.Sprintf("r%d", i), Pattern: randomPattern(random, 3), Action: actionMask})
		}
		rules[0].Action = []string{actionMask, actionBlock}[random.Intn(2)]
		p := protocolStreams[random.Intn(len(protocolStreams))]
		h := &guardedProvider{}
		handler, err := New(context.Background(), http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", h.contentType)
			for _, chunk := range h.chunks {
				_, _ = rw.Write([]byte(chunk))
			}
		}), guardConfig(rules...), "guard@file")
		if err != nil {
			continue // it matches the empty text
		}
		h.handler = handler
		all := handler.(*middleware).policy.guard.response
		if empty := p.begin + p.piece("      ") + p.end; callGuarded(t, h, p.path, "text/event-stream", empty).body != empty {
			continue // it matches what is around the text, too
		}
		for tries := 0; tries < 10; tries++ {
			compareWithWhole(t, h, all, &p, randomText(random, "aab \nb-", random.Intn(14)), random)
		}
	}
}

// compareWithWhole sends a text in pieces, and compares what the client gets with the text masked as a whole.
func compareWithWhole(t *testing.T, h *guardedProvider, all *guardRules, p *protocolStream, text string, random *rand.Rand) {
	t.Helper()
	matches, _ := findMatches(all, text, "")
	want := maskedText(text, matches)
	chunks := []string{p.begin}
	for rest := text; rest != ""; {
		length := 1 + random.Intn(3)
		if length > len(rest) {
			length = len(rest)
		}
		chunks = append(chunks, p.piece(escapedText(random, rest[:length])))
		rest = rest[length:]
	}
	call := callGuarded(t, h, p.path, "text/event-stream", append(chunks, p.end)...)
	if blockingRule(matches) != nil {
		if call.status == http.StatusOK {
			checkBlocked(t, *p, call, want[:firstBlocked(matches)])
		}
		return
	}
	if got := p.texts(t, call.body); call.status != http.StatusOK || got != want {
		t.Errorf("%s: %q in %q: got %d %q, want %q", p.name, text, chunks, call.status, got, want)
	}
}

// Chained instances apply their rules one after the other, beside the removal of usage that the client did not
// request, however the stream is cut.
func TestChainedGuardsAndUsage(t *testing.T) {
	usage := `data: {"id":"c","object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7}}` + "\n\n"
	p := protocolStreams[0]
	last := `data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	stream := p.begin + p.piece("Pay 4111 1111 ") + p.piece("1111 1111, ask jo@exa") + p.piece("mple.com and aurora-1") + p.piece("7.") + last + usage + "data: [DONE]\n\n"
	for size := 1; size < len(stream); size = size*2 + 1 {
		next := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			for rest := stream; rest != ""; {
				length := size
				if length > len(rest) {
					length = len(rest)
				}
				_, _ = io.WriteString(rw, rest[:length])
				rest = rest[length:]
			}
		})
		var handler http.Handler = next
		for i, rule := range []GuardRule{maskWord, maskMails, maskCards} {
			var err error
			if handler, err = New(context.Background(), handler, guardConfig(rule), fmt.Sprintf("guard%d@file", i)); err != nil {
				t.Fatal(err)
			}
		}
		rec := sendRequest(handler, `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}`, "Content-Type", "application/json")
		got, want := p.texts(t, rec.Body.String()), "Pay ***************1111, ask ************** and #########."
		if got != want || strings.Contains(rec.Body.String(), "usage") || rec.Header().Get("X-Ai-Output-Tokens") != "4" {
			t.Errorf("packets of %d bytes: got %q, %v\n%s\nwant %q", size, got, rec.Header(), rec.Body, want)
		}
		if policy := rec.Header().Get("X-Ai-Policy"); !strings.HasSuffix(policy, "guard_response_mask=word,guard_response_mask=mails,guard_response_mask=cards") {
			t.Errorf("packets of %d bytes: X-Ai-Policy is %q", size, policy)
		}
	}
}
