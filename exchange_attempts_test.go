package chatcompletion

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
	"time"
)

// errConnectionRefused is the error of a dial to a closed port.
var errConnectionRefused = &net.OpError{Op: "dial", Err: errors.New("connection refused")}

// failingTransport fails every request with an error, and keeps its traceparent.
type failingTransport struct {
	err          error
	traceparents []string
}

func (f *failingTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	f.traceparents = append(f.traceparents, req.Header.Get("Traceparent"))
	return nil, f.err
}

// newFailoverMiddleware returns a middleware whose providers are unreachable, the sink that keeps its records, and the transport.
func newFailoverMiddleware(t *testing.T, config *Config) (*middleware, *callSink, *failingTransport) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	handler, err := New(ctx, http.NotFoundHandler(), config, "test")
	if err != nil {
		t.Fatal(err)
	}
	m, sink, transport := handler.(*middleware), &callSink{}, &failingTransport{err: errConnectionRefused}
	m.policy.telemetry.spans = true
	m.policy.telemetry.sinks = append(m.policy.telemetry.sinks, sink)
	for _, provider := range m.policy.providers {
		provider.handler.(*httputil.ReverseProxy).Transport = transport
	}
	return m, sink, transport
}

// sendChatRequest sends a request for a chat completion.
func sendChatRequest(ctx context.Context, handler http.Handler) {
	body := strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`)
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/chat/completions", body).WithContext(ctx))
}

// TestEachAttemptHasSpan includes an attempt that sends nothing: the key of the last provider is unavailable.
func TestEachAttemptHasSpan(t *testing.T) {
	config := CreateConfig()
	config.Host = "first.example"
	config.Fallbacks = []Fallback{{Host: "second.example", Token: "urn:env:CHAT_COMPLETION_NO_SUCH_KEY"}}
	m, sink, _ := newFailoverMiddleware(t, config)
	sendChatRequest(context.Background(), m)
	if len(sink.calls) != 2 {
		t.Fatalf("%d records, want 2", len(sink.calls))
	}
	first, last := sink.calls[0], sink.calls[1]
	if first.ErrorType != errorConnectionFailed || last.ErrorType != "credentials_unavailable" {
		t.Errorf("error.type of the attempts %q and %q, want %q and credentials_unavailable", first.ErrorType, last.ErrorType, errorConnectionFailed)
	}
	if first.Trace.TraceID != last.Trace.TraceID || first.Trace.SpanID == last.Trace.SpanID || !last.Start.After(first.Start) {
		t.Errorf("span %+v at %v, then %+v at %v, want consecutive spans of one trace", first.Trace, first.Start, last.Trace, last.Start)
	}
}

// TestAttemptSpansNameProvider uses report mode, in which all providers get the same request.
func TestAttemptSpansNameProvider(t *testing.T) {
	config := CreateConfig()
	config.Mode = modeReport
	config.Host = "first.example"
	config.Fallbacks = []Fallback{{Host: "second.example"}}
	m, sink, _ := newFailoverMiddleware(t, config)
	sendChatRequest(context.Background(), m)
	got := string(spanPayload(nil, semconvBoth, requestTexts{}, sink.calls))
	for _, host := range []string{"first.example", "second.example"} {
		if strings.Count(got, `"`+host+`"`) != 1 {
			t.Errorf("spans %s, want one with %s", got, host)
		}
	}
}

// TestTraceparentOfEachAttempt: each provider is sent the span of its own attempt, also after several fallbacks.
func TestTraceparentOfEachAttempt(t *testing.T) {
	config := CreateConfig()
	config.Host = "first.example"
	config.Fallbacks = []Fallback{{Host: "second.example"}, {Host: "third.example"}, {Host: "fourth.example"}}
	m, sink, transport := newFailoverMiddleware(t, config)
	sendChatRequest(context.Background(), m)
	if len(sink.calls) != 4 || len(transport.traceparents) != 4 {
		t.Fatalf("%d records and %d requests, want 4 of each", len(sink.calls), len(transport.traceparents))
	}
	for i, call := range sink.calls {
		want := "00-" + call.Trace.TraceID + "-" + call.Trace.SpanID + "-01"
		if got := transport.traceparents[i]; got != want {
			t.Errorf("attempt %d: traceparent %q, want %q", i+1, got, want)
		}
	}
}

// TestCircuitIgnoresClientDisconnect checks that a request whose client disconnects does not count as a failure.
func TestCircuitIgnoresClientDisconnect(t *testing.T) {
	config := CreateConfig()
	config.Host = "first.example"
	config.Fallbacks = []Fallback{{Host: "second.example"}}
	m, _, transport := newFailoverMiddleware(t, config)
	sendChatRequest(context.Background(), m)
	sendChatRequest(context.Background(), m)
	gone, disconnect := context.WithCancel(context.Background())
	disconnect()
	transport.err = context.Canceled
	sendChatRequest(gone, m)
	if got := m.policy.providers[0].circuit.failures; got != 2 {
		t.Errorf("%d consecutive failures, want 2", got)
	}
}

func TestProviderRetryAfterIsBounded(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, "60": time.Minute, "61": time.Minute, "86400": time.Minute, "99999999999999999999": 0,
		"-1": 0, "1.5": 0, "soon": 0, " 7": 0,
		"Sun, 22 Nov 2026 12:00:09 GMT": 9 * time.Second, "Sun, 22 Nov 2026 11:59:00 GMT": 0, "Mon, 23 Nov 2026 12:00:00 GMT": time.Minute,
	} {
		if got := parseRetryAfter(text, now); got != want {
			t.Errorf("parseRetryAfter(%q) = %v, want %v", text, got, want)
		}
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "7", "-1", "2147483648", "Sun, 22 Nov 2026 12:00:09 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"} {
		f.Add(seed, int64(1795000000))
	}
	f.Fuzz(func(t *testing.T, text string, now int64) {
		if got := parseRetryAfter(text, time.Unix(now, 0)); got < 0 || got > maxRetryAfter {
			t.Errorf("parseRetryAfter(%q) = %v, want 0 to %v", text, got, maxRetryAfter)
		}
	})
}
