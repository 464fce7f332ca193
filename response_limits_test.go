package chatcompletion

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// streamTime is the maximum stream duration in tests that exceed it by elapse.
const streamTime = time.Minute

// newTimedStreamMiddleware returns a middleware with a maximum stream duration.
func newTimedStreamMiddleware(t *testing.T, maxDuration time.Duration, next http.Handler) *middleware {
	t.Helper()
	m := newTestMiddleware(t, CreateConfig(), next)
	m.policy.maxStreamDuration = maxDuration
	m.policy.providers[0].handler = limitResponses(m.policy, next)
	return m
}

// elapse ends the maximum duration of a stream now. What a provider does before and after it thus does not depend on the speed of
// the machine.
func elapse(req *http.Request) { exchangeOf(req.Context()).response.limit.timer.Reset(0) }

const streamRequest = `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}`

func TestMaxStreamDurationEndsStream(t *testing.T) {
	const event, done = "data: {\"choices\":[]}\n\n", "data: [DONE]\n\n"
	const stop = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n"
	timeoutEvent := "data: " + string(openAIErrorBody(streamTimeout(streamTime))) + "\n\n"
	tests := []struct {
		name       string
		wantsUsage bool   // the client requests the usage: no event is filtered
		events     string // before the maximum duration
		isBusy     bool   // events continue until then
		panicValue any    // panic value of the provider's proxy at that time; nil: it returns normally
		isAborted  bool
		errorType  string
		after      string // what the client gets after the events
	}{
		{name: "silent", events: event, panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "silent from the start", panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "silent from the start, with usage", wantsUsage: true, panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "silent in an event, with usage", wantsUsage: true, events: event + "da", panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout},
		{name: "busy", events: event, isBusy: true, panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "lines that end in CRLF", events: "data: {}\r\n\r\n", panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout,
			after: timeoutEvent},
		{name: "in an event too large to buffer", events: "data: " + strings.Repeat("x", bufferedMaxBytes), panicValue: http.ErrAbortHandler, isAborted: true,
			errorType: errorStreamTimeout},
		{name: "proxy that returns without a panic", events: event, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "complete, connection still open", events: event + done, panicValue: http.ErrAbortHandler, isAborted: true},
		{name: "complete", events: event + stop},
		{name: "finish reason without [DONE], aborted", events: event + stop, panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "panic", events: event, panicValue: "reflect", isAborted: true, errorType: errorPanic},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var open int64
			var m *middleware
			m = newTimedStreamMiddleware(t, streamTime, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
				rw.Header().Set("Content-Type", "text/event-stream")
				rw.WriteHeader(http.StatusOK)
				_, _ = io.WriteString(rw, test.events)
				open = m.policy.telemetry.registry.streams.Load()
				elapse(req)
				for test.isBusy && req.Context().Err() == nil {
					_, _ = io.WriteString(rw, test.events)
				}
				<-req.Context().Done()
				if test.panicValue != nil {
					panic(test.panicValue)
				}
			}))
			body := streamRequest
			if test.wantsUsage {
				body = strings.Replace(body, "{", `{"stream_options":{"include_usage":true},`, 1)
			}
			client := httptest.NewRecorder()
			got := serve(t, m, client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
			if got.isAborted != test.isAborted {
				t.Errorf("aborted %t, want %t", got.isAborted, test.isAborted)
			}
			response := client.Body.String()
			if test.isBusy {
				response = test.events + strings.ReplaceAll(response, test.events, "")
			}
			if want := test.events + test.after; response != want {
				t.Errorf("body %.300q, want %.300q", response, want)
			}
			registry := m.policy.telemetry.registry
			if calls, want := callsOf(registry), map[string]int64{test.errorType: 1}; !reflect.DeepEqual(calls, want) {
				t.Errorf("calls by error.type: %v, want %v", calls, want)
			}
			if open != 1 || registry.streams.Load() != 0 {
				t.Errorf("%d open streams during the response, %d after it, want 1, 0", open, registry.streams.Load())
			}
		})
	}
}

func TestMaxStreamDurationIsForStreamsOnly(t *testing.T) {
	const shortTime = 20 * time.Millisecond
	m := newTimedStreamMiddleware(t, shortTime, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, "{")
		select {
		case <-req.Context().Done():
			t.Error("request is canceled, want it to continue")
		case <-time.After(5 * shortTime):
		}
		_, _ = io.WriteString(rw, "}")
	}))
	client := httptest.NewRecorder()
	if got := serve(t, m, client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(plainRequest))); got.isAborted || client.Body.String() != "{}" {
		t.Errorf("aborted %t, body %q, want false, %q", got.isAborted, client.Body, "{}")
	}
}

// TestClientDisconnectBeforeMaxStreamDuration checks that a disconnect counts as client_gone, even if the request to the provider
// ends only at the maximum duration.
func TestClientDisconnectBeforeMaxStreamDuration(t *testing.T) {
	m := newTimedStreamMiddleware(t, streamTime, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		rw.WriteHeader(http.StatusOK)
		if _, err := io.WriteString(rw, "data: {}\n\n"); err == nil {
			t.Error("write succeeds, want an error after the disconnect")
		}
		elapse(req)
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	}))
	client := &disconnectingClient{httptest.NewRecorder(), 0}
	serve(t, m, client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(streamRequest)))
	if calls, want := callsOf(m.policy.telemetry.registry), map[string]int64{errorClientGone: 1}; !reflect.DeepEqual(calls, want) {
		t.Errorf("calls by error.type: %v, want %v", calls, want)
	}
}

// TestMaxResponseBytesIgnoresHEAD uses HEAD, whose response has a Content-Length but no body.
func TestMaxResponseBytesIgnoresHEAD(t *testing.T) {
	config := CreateConfig()
	config.Routes = map[string]string{"*": "passthrough: governed"}
	config.MaxResponseBytes = 4
	for method, want := range map[string]int{http.MethodHead: http.StatusOK, http.MethodPost: http.StatusBadGateway} {
		m := newTestMiddleware(t, config, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "1000")
			rw.WriteHeader(http.StatusOK)
		}))
		client := httptest.NewRecorder()
		serve(t, m, client, httptest.NewRequest(method, "/v1/images", strings.NewReader(`{"model":"m"}`)))
		if client.Code != want {
			t.Errorf("%s: status %d, want %d", method, client.Code, want)
		}
	}
}

// TestMaxResponseBytesStopsWrites checks that a proxy that continues after a failed write sends nothing more to the client.
func TestMaxResponseBytesStopsWrites(t *testing.T) {
	config := CreateConfig()
	config.MaxResponseBytes = 4
	m := newTestMiddleware(t, config, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		for i, want := range []error{nil, nil, errLimit, errLimit} {
			if _, err := io.WriteString(rw, "12"[:2-i/3]); !errors.Is(err, want) {
				t.Errorf("piece %d: %v, want %v", i, err, want)
			}
		}
	}))
	client := httptest.NewRecorder()
	got := serve(t, m, client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(plainRequest)))
	if !got.isAborted || client.Body.String() != "1212" {
		t.Errorf("aborted %t, body %q, want true, 1212", got.isAborted, client.Body)
	}
	if calls, want := callsOf(m.policy.telemetry.registry), map[string]int64{errorResponseTooLarge: 1}; !reflect.DeepEqual(calls, want) {
		t.Errorf("calls by error.type: %v, want %v", calls, want)
	}
}
