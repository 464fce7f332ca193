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

// shortTime is how long streams may last in tests of what happens then.
const shortTime = 20 * time.Millisecond

// boundedStream returns a middleware whose streams last shortTime, at one client.
func newTimedStreamMiddleware(t *testing.T, next http.Handler) *middleware {
	t.Helper()
	m := newTestMiddleware(t, CreateConfig(), next)
	m.policy.maxStreamDuration = shortTime
	m.policy.providers[0].handler = limitResponses(m.policy, next)
	return m
}

const streamRequest = `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}`

func TestMaxStreamDurationEndsStream(t *testing.T) {
	const event, done = "data: {\"choices\":[]}\n\n", "data: [DONE]\n\n"
	const stop = "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n"
	timeoutEvent := "data: " + string(errorJSON(streamTimeout(shortTime))) + "\n\n"
	tests := []struct {
		name       string
		wantsUsage bool   // the client asks for the usage: nothing is kept from it
		events     string // before the time is over
		isBusy     bool   // events come until it is
		panicValue any    // what the provider's proxy panics with then; nil: it returns as if all was well
		isAborted  bool
		errorType  string
		after      string // what the client gets behind the events
	}{
		{name: "silent", events: event, panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "silent from the beginning", panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "silent from the beginning, with usage", wantsUsage: true, panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "silent in an event, with usage", wantsUsage: true, events: event + "da", panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout},
		{name: "busy", events: event, isBusy: true, panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "lines that end in two bytes", events: "data: {}\r\n\r\n", panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout,
			after: timeoutEvent},
		{name: "in an event too large to be kept back", events: "data: " + strings.Repeat("x", bufferedMaxBytes), panicValue: http.ErrAbortHandler, isAborted: true,
			errorType: errorStreamTimeout},
		{name: "a proxy that does not tell", events: event, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "complete, but for the end of the connection", events: event + done, panicValue: http.ErrAbortHandler, isAborted: true},
		{name: "complete", events: event + stop},
		{name: "without its end", events: event + stop, panicValue: http.ErrAbortHandler, isAborted: true, errorType: errorStreamTimeout, after: timeoutEvent},
		{name: "a fault", events: event, panicValue: "reflect", isAborted: true, errorType: errorPanic},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var open int64
			var m *middleware
			m = newTimedStreamMiddleware(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
				rw.Header().Set("Content-Type", "text/event-stream")
				rw.WriteHeader(http.StatusOK)
				_, _ = io.WriteString(rw, test.events)
				open = m.policy.telemetry.registry.streams.Load()
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
				t.Errorf("broken off: %t, want %t", got.isAborted, test.isAborted)
			}
			response := client.Body.String()
			if test.isBusy {
				response = test.events + strings.ReplaceAll(response, test.events, "")
			}
			if want := test.events + test.after; response != want {
				t.Errorf("the answer is %.300q, want %.300q", response, want)
			}
			registry := m.policy.telemetry.registry
			if calls, want := callsOf(registry), map[string]int64{test.errorType: 1}; !reflect.DeepEqual(calls, want) {
				t.Errorf("calls by error.type: %v, want %v", calls, want)
			}
			if open != 1 || registry.streams.Load() != 0 {
				t.Errorf("%d streams are open meanwhile, and %d then, want 1 and 0", open, registry.streams.Load())
			}
		})
	}
}

func TestMaxStreamDurationIsForStreamsOnly(t *testing.T) {
	m := newTimedStreamMiddleware(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, "{")
		select {
		case <-req.Context().Done():
			t.Error("the request is given up")
		case <-time.After(5 * shortTime):
		}
		_, _ = io.WriteString(rw, "}")
	}))
	client := httptest.NewRecorder()
	if got := serve(t, m, client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(plainRequest))); got.isAborted || client.Body.String() != "{}" {
		t.Errorf("broken off %t with %q", got.isAborted, client.Body)
	}
}

// A client that leaves is gone, also if its provider is given up only when the time is over.
func TestClientDisconnectBeforeMaxStreamDuration(t *testing.T) {
	m := newTimedStreamMiddleware(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		rw.WriteHeader(http.StatusOK)
		if _, err := io.WriteString(rw, "data: {}\n\n"); err == nil {
			t.Error("the client has not left")
		}
		<-req.Context().Done()
		panic(http.ErrAbortHandler)
	}))
	client := &disconnectingClient{httptest.NewRecorder(), 0}
	serve(t, m, client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(streamRequest)))
	if calls, want := callsOf(m.policy.telemetry.registry), map[string]int64{errorClientGone: 1}; !reflect.DeepEqual(calls, want) {
		t.Errorf("calls by error.type: %v, want %v", calls, want)
	}
}

// The answer to HEAD announces a body that does not come.
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

// A proxy that goes on although it cannot write gets nothing more to the client.
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
		t.Errorf("broken off %t with %q, want true with 1212", got.isAborted, client.Body)
	}
	if calls, want := callsOf(m.policy.telemetry.registry), map[string]int64{errorResponseTooLarge: 1}; !reflect.DeepEqual(calls, want) {
		t.Errorf("calls by error.type: %v, want %v", calls, want)
	}
}
