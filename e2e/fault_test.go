package e2e_test

import (
	"io"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// headerOnly sends the header of a response and nothing else.
func headerOnly(contentType string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", contentType)
		rw.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	}
}

// pausing delays the second event of a stream by more than the timeout of the first.
func pausing(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", eventType)
	_ = sendEvent(rw, "word")
	timer := time.NewTimer(2 * firstByte)
	defer timer.Stop()
	<-timer.C
	_, _ = io.WriteString(rw, stopEvent+"data: [DONE]\n\n")
}

// breaking closes the connection after the text. Without a text, it resets the connection.
func breaking(text string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			panic(err)
		}
		if tcp, isTCP := connection.(*net.TCPConn); isTCP && text == "" {
			_ = tcp.SetLinger(0)
		}
		_, _ = io.WriteString(connection, text)
		_ = connection.Close()
	}
}

// responding returns a provider that responds with the status and with headers, given as alternating
// names and values.
func responding(status int, body string, header ...string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", jsonType)
		for pair := range slices.Chunk(header, 2) {
			rw.Header().Set(pair[0], pair[1])
		}
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, body)
	}
}

// fault is a fault of the first provider.
type fault struct {
	name    string
	handler http.HandlerFunc
	address func(t *testing.T) string // instead of a handler
	waits   bool                      // the gateway waits for the timeout
	want    string                    // the attempt's error.type
}

var faults = []fault{
	{name: "accepts-and-is-silent", address: silent, waits: true, want: "timeout"},
	{name: "reads-and-is-silent", handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, waits: true, want: "timeout"},
	{name: "header-of-a-stream-only", handler: headerOnly(eventType), waits: true, want: "timeout"},
	{name: "header-of-a-document-only", handler: headerOnly(jsonType), waits: true, want: "timeout"},
	{name: "refuses-the-connection", address: func(*testing.T) string { return dead() }, want: "connection_failed"},
	{name: "resets-the-connection", handler: breaking(""), want: "connection_failed"},
	{name: "closes-the-connection", handler: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, want: "connection_failed"},
	{name: "closes-after-the-header", handler: breaking("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"), want: "connection_failed"},
	{name: "is-no-HTTP", handler: breaking("SSH-2.0-OpenSSH_9.2\r\n"), want: "connection_failed"},
	{name: "answers-503", handler: responding(503, `{"error":{"message":"overloaded"}}`), want: "503"},
	{name: "answers-529", handler: responding(529, `{"error":{"message":"overloaded"}}`), want: "529"},
	{name: "answers-429", handler: responding(429, `{"error":{"message":"slow down"}}`), want: "429"},
	{name: "answers-500-with-a-large-body", handler: responding(500, strings.Repeat("sorry ", 2<<20)), want: "500"},
}

// TestFallbackRespondsInTime gives the first provider each fault, and measures when the client gets
// the second provider's response.
func TestFallbackRespondsInTime(t *testing.T) {
	second := newFake(t, "second", counting(0))
	firsts, middlewares := map[string]*fake{}, map[string]map[string]any{}
	for _, f := range faults {
		address := ""
		if f.handler == nil {
			address = f.address(t)
		} else {
			firsts[f.name] = newFake(t, "first", f.handler)
			address = firsts[f.name].URL
		}
		middlewares[f.name] = fallingBack(t, address, deepSeek(t, second.URL))
		middlewares[f.name]["telemetry"] = map[string]any{"labels": map[string]string{"fault": f.name}}
	}
	middlewares["none"] = fallingBack(t, newFake(t, "none", counting(0)).URL)
	g := startForwarding(t)
	configure(t, g, hosted(middlewares))
	none := g.URL + "/none" + chatPath
	usual(t, none) // the first call takes longer

	number := 0
	for _, f := range faults {
		allowed := allowedDelay
		if f.waits {
			allowed += firstByte
		}
		t.Run(f.name, func(t *testing.T) {
			fastest, beside := time.Duration(math.MaxInt64), time.Duration(0) // a busy machine may delay one of the two
			for _, body := range []string{plainBody, streamWithUsage} {
				number++
				beside = max(beside, usual(t, none))
				got := fetch(t, g.URL+"/"+f.name+chatPath, body, map[string]string{numberHeader: strconv.Itoa(number), "Authorization": "Bearer sk-of-the-client"})
				if got.status != http.StatusOK || got.provider() != "second" || got.err != nil || !strings.Contains(got.body, datedModel(deepSeekModel)) {
					t.Errorf("status %d from %q, want 200 from second: %s %v", got.status, got.provider(), got.body, got.err)
				}
				if attempts, has := got.header[attemptsHeader]; has {
					t.Errorf("the client gets %s %q", attemptsHeader, attempts)
				}
				t.Logf("the second provider's response took %v", got.took)
				fastest = min(fastest, got.took)
				if f.waits && got.took < firstByte {
					t.Errorf("the response took %v, want at least %v", got.took, firstByte)
				}
				line := loggedCall(t, g, number)
				if got, want := line["downstream_"+attemptsHeader], "openai="+f.want+",deepseek=200"; got != want {
					t.Errorf("the access log has the attempts %q, want %q", got, want)
				}
				if got, has := line["downstream_X-Ai-Error-Type"]; has {
					t.Errorf("the access log has the error type %q, want none for a successful call", got)
				}
				if got := line["downstream_"+modelHeader]; got != deepSeekModel {
					t.Errorf("the access log has the model %q, want %q", got, deepSeekModel)
				}
			}
			if fastest > allowed+beside {
				t.Errorf("the fastest response took %v, want at most %v", fastest, allowed+beside)
			}
			want := totals{"openai/gpt-4o/" + f.want: 2, "deepseek/" + deepSeekModel + "/": 2}
			awaitTotals(t, "attempts", want, func() totals {
				return labelled(exposed(t, g, callsSeries, "fault", "gen_ai_provider_name", "gen_ai_request_model", "error_type"), f.name)
			})
			awaitTotals(t, "tokens", totals{"deepseek/input": float64(inputTokens(number-1) + inputTokens(number)), "deepseek/output": float64(outputTokens(number-1) + outputTokens(number))}, func() totals {
				return labelled(exposed(t, g, tokensSeries, "fault", "gen_ai_provider_name", "gen_ai_token_type"), f.name)
			})
			if first := firsts[f.name]; first != nil {
				checkKeys(t, first, 2, "Bearer sk-first", openAIModel)
			}
		})
	}
	checkKeys(t, second, 2*len(faults), "", "")
	for _, request := range second.saw() {
		if got, want := request.header.Get("Authorization"), "Bearer sk-second"; got != want || request.model() != deepSeekModel {
			t.Errorf("the second provider sees the key %q and the model %q, want %q and %q", got, request.model(), want, deepSeekModel)
		}
		if got := request.header.Get(modelHeader); got != deepSeekModel {
			t.Errorf("the second provider sees %s %q, want %q", modelHeader, got, deepSeekModel)
		}
	}
	checkNoPanic(t, g)
}

// checkKeys fails unless the provider received the number of requests, each with the key and the
// model, unless these are empty.
func checkKeys(t *testing.T, provider *fake, times int, key, model string) {
	t.Helper()
	saw := provider.saw()
	if len(saw) != times {
		t.Errorf("%s received %d requests, want %d", provider.name, len(saw), times)
	}
	for _, request := range saw {
		if got := request.header.Values("Authorization"); key != "" && (len(got) != 1 || got[0] != key) {
			t.Errorf("%s sees the key %q, want %q", provider.name, got, key)
		}
		if got := request.model(); model != "" && got != model {
			t.Errorf("%s sees the model %q, want %q", provider.name, got, model)
		}
	}
}
