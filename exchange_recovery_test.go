package chatcompletion

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

const plainRequest = `{"model":"m","messages":[{"role":"user","content":"a secret"}]}`

// panickingBody panics on Read.
type panickingBody struct{}

func (panickingBody) Read([]byte) (int, error) { panic("a secret") }

func (panickingBody) Close() error { return nil }

// panickingClient is a ResponseWriter that panics in one of its methods, after some calls of it: once, or always from then on.
type panickingClient struct {
	*httptest.ResponseRecorder
	method      string
	callsBefore int
	always      bool
}

func (p *panickingClient) count(call string) {
	if call != p.method {
		return
	}
	if p.callsBefore--; p.callsBefore == -1 || (p.always && p.callsBefore < 0) {
		panic(errors.New("a secret"))
	}
}

func (p *panickingClient) Header() http.Header {
	p.count("Header")
	return p.ResponseRecorder.Header()
}

func (p *panickingClient) WriteHeader(status int) {
	p.count("WriteHeader")
	p.ResponseRecorder.WriteHeader(status)
}

func (p *panickingClient) Write(b []byte) (int, error) {
	p.count("Write")
	return p.ResponseRecorder.Write(b)
}

// newTestMiddleware returns a middleware with its own metrics registry.
func newTestMiddleware(t *testing.T, config *Config, next http.Handler) *middleware {
	t.Helper()
	p, err := newPolicy(config, "ai@file")
	if err != nil {
		t.Fatal(err)
	}
	p.telemetry.registry = newRegistry()
	return newPolicyMiddleware(p, next)
}

// outcome is how a handler ended.
type outcome struct {
	isAborted bool
	warnings  string
}

// serve calls a handler. A panic other than http.ErrAbortHandler fails the test.
func serve(t *testing.T, handler http.Handler, rw http.ResponseWriter, req *http.Request) outcome {
	t.Helper()
	var o outcome
	o.warnings = warnings(t, func() {
		defer func() {
			panicValue := recover()
			o.isAborted = panicValue == http.ErrAbortHandler
			if panicValue != nil && !o.isAborted {
				t.Errorf("panic %v, want none or http.ErrAbortHandler", panicValue)
			}
		}()
		handler.ServeHTTP(rw, req)
	})
	return o
}

// respondAndPanic returns a provider that responds with pieces, and then panics unless the value is nil.
func respondAndPanic(contentType string, panicValue any, pieces ...string) http.HandlerFunc {
	return func(rw http.ResponseWriter, req *http.Request) {
		_, _ = io.Copy(io.Discard, req.Body)
		rw.Header().Set("Content-Type", contentType)
		for _, piece := range pieces {
			_, _ = io.WriteString(rw, piece)
		}
		if panicValue != nil {
			panic(panicValue)
		}
	}
}

// callsOf returns the number of calls in a registry by error.type.
func callsOf(r *registry) map[string]int64 {
	calls := map[string]int64{}
	for _, p := range pointsOf(r, operationDuration) {
		errorType := ""
		for i := 0; i < len(p.attributes); i += 2 {
			if p.attributes[i] == errorTypeAttribute {
				errorType = p.attributes[i+1]
			}
		}
		calls[errorType] += p.count
	}
	return calls
}

const internalError = `{"error":{"message":"The gateway had an internal error while processing your request.","type":"server_error","param":null,"code":"internal_error"}}`

func TestPanicRecovery(t *testing.T) {
	event := "data: {\"choices\":[]}\n\n"
	tests := []struct {
		name      string
		body      io.Reader
		client    *panickingClient
		next      http.HandlerFunc
		status    int
		isAborted bool
		errorType string
		logged    string // panic value in the log; empty: nothing is logged
	}{
		{name: "none", next: respondAndPanic("application/json", nil, "{}"), status: 200},
		{name: "while reading the request", body: panickingBody{}, status: 500, errorType: errorPanic, logged: "a value of the type string"},
		{name: "in the provider, before its response", next: respondAndPanic("", errors.New("a secret")), status: 500, errorType: errorPanic, logged: "a value of the type *errors.errorString"},
		{name: "in the provider, runtime error", next: func(_ http.ResponseWriter, req *http.Request) { _ = req.TransferEncoding[0] }, status: 500, errorType: errorPanic,
			logged: "runtime error: index out of range [0] with length 0"},
		{name: "in the provider, reflection", next: respondAndPanic("", "reflect: call of nothing"), status: 500, errorType: errorPanic, logged: "reflect: call of nothing"},
		{name: "in a response", next: respondAndPanic("application/json", "a secret", "{"), status: 200, isAborted: true, errorType: errorPanic, logged: "a value of the type string"},
		{name: "in a stream", next: respondAndPanic("text/event-stream", &runtime.PanicNilError{}, event), status: 200, isAborted: true, errorType: errorPanic,
			logged: "a value of the type *runtime.PanicNilError"},
		{name: "aborted response", next: respondAndPanic("application/json", http.ErrAbortHandler, "{"), status: 200, isAborted: true, errorType: errorProviderCut},
		{name: "aborted before the response", next: respondAndPanic("application/json", http.ErrAbortHandler), isAborted: true, errorType: errorProviderCut},
		{name: "in Header", client: &panickingClient{method: "Header", callsBefore: 1}, next: respondAndPanic("", nil, "{}"), status: 500, errorType: errorPanic,
			logged: "a value of the type *errors.errorString"},
		{name: "in WriteHeader", client: &panickingClient{method: "WriteHeader"}, next: respondAndPanic("", nil, "{}"), status: 500, errorType: errorPanic,
			logged: "a value of the type *errors.errorString"},
		{name: "in every WriteHeader", client: &panickingClient{method: "WriteHeader", always: true}, next: respondAndPanic("", nil, "{}"), isAborted: true, errorType: errorPanic,
			logged: "a value of the type *errors.errorString"},
		{name: "in WriteHeader of a refusal", body: strings.NewReader("["), client: &panickingClient{method: "WriteHeader"}, status: 500, errorType: errorPanic,
			logged: "a value of the type *errors.errorString"},
		{name: "in Write", client: &panickingClient{method: "Write"}, next: respondAndPanic("", nil, "{}"), status: 200, isAborted: true, errorType: errorPanic,
			logged: "a value of the type *errors.errorString"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newTestMiddleware(t, CreateConfig(), test.next)
			if test.body == nil {
				test.body = strings.NewReader(plainRequest)
			}
			if test.client == nil {
				test.client = &panickingClient{}
			}
			client := test.client
			client.ResponseRecorder = httptest.NewRecorder()
			client.Code = 0
			got := serve(t, m, client, httptest.NewRequest(http.MethodPost, "/v1/chat/completions", test.body))
			if got.isAborted != test.isAborted {
				t.Errorf("aborted %t, want %t", got.isAborted, test.isAborted)
			}
			if client.Code != test.status {
				t.Errorf("status %d, want %d", client.Code, test.status)
			}
			if response := client.Body.String(); (test.status == 500) != (response == internalError) {
				t.Errorf("body %s, want %s only with status 500", response, internalError)
			}
			want := ""
			if test.logged != "" {
				want = `chat-completion: middleware "ai@file": panic in the plugin or in a handler after it: ` + test.logged + "\n"
			}
			if got.warnings != want {
				t.Errorf("logged %q, want %q", got.warnings, want)
			}
			if calls, want := callsOf(m.policy.telemetry.registry), map[string]int64{test.errorType: 1}; !reflect.DeepEqual(calls, want) {
				t.Errorf("calls by error.type: %v, want %v", calls, want)
			}
			if open := m.policy.telemetry.registry.streams.Load(); open != 0 {
				t.Errorf("%d open streams, want 0", open)
			}
			if test.client.method == "" && client.ResponseRecorder.Header().Get(errorTypeHeader) != test.errorType {
				t.Errorf("Response header %q = %q, want %q", errorTypeHeader, client.ResponseRecorder.Header().Get(errorTypeHeader), test.errorType)
			}
		})
	}
}

func TestRequestAfterPanicIsServed(t *testing.T) {
	m := newTestMiddleware(t, CreateConfig(), respondAndPanic("application/json", nil, `{"model":"m"}`))
	for i := 0; i < 2*aggregatedCalls; i++ { // the registry aggregates them together
		body := io.Reader(strings.NewReader(plainRequest))
		want := http.StatusOK
		if i%2 == 0 {
			body, want = panickingBody{}, http.StatusInternalServerError
		}
		client := httptest.NewRecorder()
		serve(t, m, client, httptest.NewRequest(http.MethodPost, "/v1/chat/completions", body))
		if client.Code != want {
			t.Fatalf("request %d: status %d, want %d", i, client.Code, want)
		}
	}
	if got, want := callsOf(m.policy.telemetry.registry), map[string]int64{"": aggregatedCalls, errorPanic: aggregatedCalls}; !reflect.DeepEqual(got, want) {
		t.Errorf("calls by error.type: %v, want %v", got, want)
	}
}

// TestPanicResponseDropsRepresentationHeaders checks that headers about the body that the provider did not send are not sent
// with the body of the gateway.
func TestPanicResponseDropsRepresentationHeaders(t *testing.T) {
	m := newTestMiddleware(t, CreateConfig(), http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		for _, name := range representationHeaders {
			rw.Header().Set(name, "7")
		}
		rw.Header().Set("X-Request-Id", "7")
		panic("early")
	}))
	client := httptest.NewRecorder()
	serve(t, m, client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(plainRequest)))
	want := http.Header{"Content-Type": {"application/json"}, "Content-Length": {fmt.Sprint(len(internalError))}, "X-Request-Id": {"7"}}
	if got := client.Result().Header; !reflect.DeepEqual(got, want) {
		t.Errorf("response headers %v, want %v", got, want)
	}
}

// TestSinkPanicKeepsResponse checks that a sink that panics neither changes the response nor loses the call in the metrics.
func TestSinkPanicKeepsResponse(t *testing.T) {
	for body, status := range map[string]int{plainRequest: http.StatusOK, "[": http.StatusBadRequest} {
		m := newTestMiddleware(t, CreateConfig(), respondAndPanic("application/json", nil, "{}"))
		consumed := 0
		m.policy.telemetry.sinks = []Sink{sinkFunc(func(*Call) { consumed++; panic("reflect: in a sink") })}
		client := httptest.NewRecorder()
		got := serve(t, m, client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		if client.Code != status || got.isAborted {
			t.Errorf("%s: status %d, aborted %t, want %d, false", body, client.Code, got.isAborted, status)
		}
		if calls, want := callsOf(m.policy.telemetry.registry), map[string]int64{errorPanic: 1}; !reflect.DeepEqual(calls, want) || consumed != 1 {
			t.Errorf("%s: calls by error.type: %v, consumed %d times, want %v and once", body, calls, consumed, want)
		}
	}
}

func TestDecoderPanicAbortsResponse(t *testing.T) {
	m := newTestMiddleware(t, CreateConfig(), http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Encoding", "gzip")
		compressed := compressBody(&exporter{}, &otlpSignal{gzip: true}, bytes.Repeat([]byte("a"), 1<<20))
		if _, err := rw.Write(compressed); err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	client := &panickingClient{ResponseRecorder: httptest.NewRecorder(), method: "Write", callsBefore: 1}
	got := serve(t, m, client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(plainRequest)))
	if calls, want := callsOf(m.policy.telemetry.registry), map[string]int64{errorPanic: 1}; !got.isAborted || !reflect.DeepEqual(calls, want) {
		t.Errorf("aborted %t, calls by error.type %v, want true, %v", got.isAborted, calls, want)
	}
	if count := strings.Count(got.warnings, ": panic"); count != 1 {
		t.Errorf("%d logged panics, want 1: %s", count, got.warnings)
	}
}

// TestChainedInstancePanicIsHandledOnce checks that the first of two chained instances handles the panic.
func TestChainedInstancePanicIsHandledOnce(t *testing.T) {
	second := newTestMiddleware(t, CreateConfig(), respondAndPanic("", "reflect: behind both"))
	first := newTestMiddleware(t, CreateConfig(), second)
	client := httptest.NewRecorder()
	got := serve(t, first, client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(plainRequest)))
	if client.Code != http.StatusInternalServerError || client.Body.String() != internalError || strings.Count(got.warnings, "\n") != 1 {
		t.Errorf("status %d, logged %q, body %s", client.Code, got.warnings, client.Body)
	}
	if calls := callsOf(second.policy.telemetry.registry); len(calls) != 0 {
		t.Errorf("second instance counts %v, want none", calls)
	}
}

func TestUngovernedRoutePanicReturns500(t *testing.T) {
	withoutSecret := func(p *policy) { p.providers[0].auth.credential = &credential{source: &secretSource{}} }
	withoutPattern := func(p *policy) { p.listedModel = nil }
	tests := []struct {
		name, path string
		fault      func(p *policy)
	}{
		{"passthrough", "/v1/files", withoutSecret},
		{"list of models", "/v1/models", withoutPattern},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := CreateConfig()
			config.AllowedModels = []string{"m"}
			config.Routes = map[string]string{"/v1/models": "models", "/v1/files": "passthrough"}
			m := newTestMiddleware(t, config, http.NotFoundHandler())
			test.fault(m.policy)
			client := httptest.NewRecorder()
			got := serve(t, m, client, httptest.NewRequest(http.MethodGet, test.path, nil))
			if client.Code != http.StatusInternalServerError || client.Body.String() != internalError || strings.Count(got.warnings, "\n") != 1 {
				t.Errorf("status %d, logged %q, body %s", client.Code, got.warnings, client.Body)
			}
		})
	}
}

func TestExpositionPanicReturns500(t *testing.T) {
	client := httptest.NewRecorder()
	got := serve(t, &exposition{name: "metrics@file"}, client, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if client.Code != http.StatusInternalServerError || client.Body.String() != internalError || !strings.Contains(got.warnings, "metrics@file") {
		t.Errorf("status %d, logged %q, body %s", client.Code, got.warnings, client.Body)
	}
}

func TestBackgroundPanicIsRecovered(t *testing.T) {
	for name, do := range map[string]func(){
		"telemetry.otlp": notifier(nil),
		"the token":      refreshFunc(&secret{source: &secretSource{key: "the token"}, timer: time.NewTimer(time.Hour), users: []context.Context{context.Background()}}),
	} {
		if got := warnings(t, do); !strings.HasPrefix(got, "chat-completion: "+name+": panic: runtime error") {
			t.Errorf("%s: logged %q, want its panic", name, got)
		}
	}
}

func TestRegistryIsUnlockedAfterPanic(t *testing.T) {
	r := newRegistry()
	recordCall(r, newTestCall(nil))
	collect(r, semconvBoth)
	r.ordered[0].histograms = append(r.ordered[0].histograms, &histogram{counts: []int64{1}}) // one too many
	func() {
		defer func() {
			if recover() == nil {
				t.Error("collect does not panic, want a panic for the extra histogram")
			}
		}()
		collect(r, semconvBoth)
	}()
	if !r.mu.TryLock() {
		t.Error("registry is locked, want it unlocked")
	}
}
