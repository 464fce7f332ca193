package chatcompletion

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// middlewareTo returns a middleware whose first provider is a handler.
func newPolicyMiddleware(p *policy, next http.Handler) *middleware {
	p.providers[0].handler = newHandler(p, p.providers[0], next)
	return &middleware{policy: p}
}

// wantDetails has a policy read and record what sinks with details want.
func enableDetails(p *policy) {
	p.telemetry.wantsDetails = true
	for _, ep := range p.providers[0].endpoints {
		ep.wantsDetails = true
	}
}

// inFrontOf returns a middleware in front of a handler, which keeps the records of its calls.
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

// answered is what a client gets for a stream, and whether it breaks off.
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

// TestMisbehavingHandlerIsRecordedOnce also where the value of a panic cannot even be looked at.
func TestMisbehavingHandlerIsRecordedOnce(t *testing.T) {
	var unreadable *net.OpError
	for name, test := range map[string]struct {
		next          http.HandlerFunc
		wantStatus    int
		wantAborted   bool
		wantErrorType string
	}{
		"panic":                          {func(http.ResponseWriter, *http.Request) { panic("x") }, 500, false, errorPanic},
		"panic of an unreadable error":   {func(http.ResponseWriter, *http.Request) { panic(error(unreadable)) }, 500, false, errorPanic},
		"the same in a stream":           {func(rw http.ResponseWriter, _ *http.Request) { startEventStream(rw); panic(error(unreadable)) }, 200, true, errorPanic},
		"header of a stream given twice": {func(rw http.ResponseWriter, _ *http.Request) { startEventStream(rw); startEventStream(rw) }, 200, false, errorProviderCut},
		"nothing of an answer that is too large": {func(rw http.ResponseWriter, _ *http.Request) {
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
				t.Errorf("got %d, broken %t, want %d, %t", got.Code, isAborted, test.wantStatus, test.wantAborted)
			}
			if len(sink.calls) != 1 || sink.calls[0].ErrorType != test.wantErrorType {
				t.Errorf("got records %+v, want one with %s", sink.calls, test.wantErrorType)
			}
			if open := m.policy.telemetry.registry.streams.Load(); open != 0 {
				t.Errorf("%d streams stay open", open)
			}
		})
	}
}

// TestNoErrorEventWithinOpenEvent where the limit is reached within an event that is too large to be kept back, at the end
// of a packet, and the next one ends it.
func TestNoErrorEventWithinOpenEvent(t *testing.T) {
	begun := "data: " + strings.Repeat("x", bufferedMaxBytes)
	config := CreateConfig()
	config.MaxResponseBytes = len(begun)
	m, _ := newSinkMiddleware(t, func(rw http.ResponseWriter, _ *http.Request) {
		startEventStream(rw)
		_, _ = rw.Write([]byte(begun))
		_, _ = rw.Write([]byte("x\n\n"))
	}, config)
	if got, isAborted := sendStreamRequest(m); got.Body.String() != begun || !isAborted {
		t.Errorf("broken %t, with %.200q behind the limit, want nothing there", isAborted, strings.TrimPrefix(got.Body.String(), begun))
	}
}
