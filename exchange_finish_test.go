package chatcompletion

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// newPolicyMiddleware returns a middleware with a policy, whose first provider is next.
func newPolicyMiddleware(p *policy, next http.Handler) *middleware {
	p.providers[0].handler = newHandler(p, p.providers[0], next)
	return &middleware{policy: p}
}

// enableDetails makes a policy record the details of responses.
func enableDetails(p *policy) {
	p.telemetry.wantsDetails = true
	for _, ep := range p.providers[0].endpoints {
		if ep.parameters != nil {
			ep.shown = sentParameters(ep, spanParameters)
		}
	}
}

// newSinkMiddleware returns a middleware with its own registry, and a sink that keeps its records.
func newSinkMiddleware(t *testing.T, next http.HandlerFunc, config *Config) (*middleware, *callSink) {
	t.Helper()
	handler, err := New(context.Background(), next, config, "test")
	if err != nil {
		t.Fatal(err)
	}
	m, sink := handler.(*middleware), &callSink{}
	m.policy.telemetry.registry = newRegistry()
	m.policy.telemetry.sinks = append(m.policy.telemetry.sinks, sink)
	return m, sink
}

// sendStreamRequest returns the response to a request for a stream, and whether the middleware aborted it.
func sendStreamRequest(m *middleware) (got *httptest.ResponseRecorder, isAborted bool) {
	got = httptest.NewRecorder()
	defer func() { isAborted = recover() != nil }()
	m.ServeHTTP(got, httptest.NewRequest(http.MethodPost, "/v1/chat/completions",
		strings.NewReader(`{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}`)))
	return got, false
}

func startEventStream(rw http.ResponseWriter) {
	rw.Header().Set("Content-Type", "text/event-stream")
	rw.WriteHeader(http.StatusOK)
}

// TestMisbehavingHandlerIsRecordedOnce includes panic values whose methods panic.
func TestMisbehavingHandlerIsRecordedOnce(t *testing.T) {
	var unreadable *net.OpError
	for name, test := range map[string]struct {
		next          http.HandlerFunc
		wantStatus    int
		wantAborted   bool
		wantErrorType string
	}{
		"panic":                         {func(http.ResponseWriter, *http.Request) { panic("x") }, 500, false, errorPanic},
		"panic with a nil *net.OpError": {func(http.ResponseWriter, *http.Request) { panic(error(unreadable)) }, 500, false, errorPanic},
		"panic with a nil *net.OpError in a stream": {func(rw http.ResponseWriter, _ *http.Request) { startEventStream(rw); panic(error(unreadable)) }, 200, true, errorPanic},
		"header of a stream written twice":          {func(rw http.ResponseWriter, _ *http.Request) { startEventStream(rw); startEventStream(rw) }, 200, false, errorProviderCut},
		"empty write of a response whose length exceeds the limit": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "11")
			_, _ = rw.Write(nil)
		}, 502, false, errorResponseTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			config := CreateConfig()
			config.MaxResponseBytes = 10
			m, sink := newSinkMiddleware(t, test.next, config)
			got, isAborted := sendStreamRequest(m)
			if got.Code != test.wantStatus || isAborted != test.wantAborted {
				t.Errorf("status %d, aborted %t, want %d, %t", got.Code, isAborted, test.wantStatus, test.wantAborted)
			}
			if len(sink.calls) != 1 || sink.calls[0].ErrorType != test.wantErrorType {
				t.Errorf("records %+v, want one with error.type %q", sink.calls, test.wantErrorType)
			}
			if open := m.policy.telemetry.registry.streams.Load(); open != 0 {
				t.Errorf("%d open streams, want 0", open)
			}
		})
	}
}

// TestNoErrorEventWithinOpenEvent reaches the limit at the end of a packet, within an event that is too large to buffer. The
// next packet ends the event.
func TestNoErrorEventWithinOpenEvent(t *testing.T) {
	partial := "data: " + strings.Repeat("x", bufferedMaxBytes)
	config := CreateConfig()
	config.MaxResponseBytes = len(partial)
	m, _ := newSinkMiddleware(t, func(rw http.ResponseWriter, _ *http.Request) {
		startEventStream(rw)
		_, _ = rw.Write([]byte(partial))
		_, _ = rw.Write([]byte("x\n\n"))
	}, config)
	if got, isAborted := sendStreamRequest(m); got.Body.String() != partial || !isAborted {
		t.Errorf("aborted %t, body after the limit %.200q, want true and none", isAborted, strings.TrimPrefix(got.Body.String(), partial))
	}
}
