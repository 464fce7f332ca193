package chatcompletion

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// failoverService calls the first handler, and the second one if the first responds with 503, with the same request context.
func failoverService(first, second http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		recorder := httptest.NewRecorder()
		first.ServeHTTP(recorder, req.Clone(req.Context()))
		if recorder.Code == http.StatusServiceUnavailable {
			second.ServeHTTP(rw, req)
		}
	})
}

func newInstance(t *testing.T, config *Config, next http.Handler) http.Handler {
	t.Helper()
	handler, err := New(context.Background(), next, config, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// TestFailoverBetweenChainedInstances: a chained instance without a key leaves the exchange so that another one can go on with it.
func TestFailoverBetweenChainedInstances(t *testing.T) {
	var compressed bytes.Buffer
	compressor := gzip.NewWriter(&compressed)
	_, _ = compressor.Write([]byte(plainRequest))
	_ = compressor.Close()
	for _, mode := range []string{modeEnforce, modeReport} {
		for _, encoding := range []string{"", "gzip"} {
			got := ""
			provider := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				body, _ := io.ReadAll(req.Body)
				got = string(body)
			})
			without, with, outer := CreateConfig(), CreateConfig(), CreateConfig()
			without.Token = "urn:env:CHAT_COMPLETION_NO_SUCH_KEY"
			with.Token = "sk"
			outer.Mode = mode
			var handler http.Handler
			logOutput(t, func() {
				handler = newInstance(t, outer, failoverService(newInstance(t, without, provider), newInstance(t, with, provider)))
			})
			body := plainRequest
			if encoding != "" {
				body = compressed.String()
			}
			req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body))
			if encoding != "" {
				req.Header.Set("Content-Encoding", encoding)
			}
			handler.ServeHTTP(httptest.NewRecorder(), req)
			if got != plainRequest {
				t.Errorf("mode %s, encoding %q: the provider gets %q, want %q", mode, encoding, got, plainRequest)
			}
		}
	}
}

// TestUsageAfterFailoverOfKinds: usage is read as that of the endpoint that the latest instance took the request for.
func TestUsageAfterFailoverOfKinds(t *testing.T) {
	service := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		writeJSON(rw, http.StatusOK, []byte(`{"usage":{"prompt_tokens":9,"total_tokens":9}}`))
	})
	inner, outer := CreateConfig(), CreateConfig()
	inner.Token = "urn:env:CHAT_COMPLETION_NO_SUCH_KEY"
	inner.Routes = map[string]string{"/v1/x": "embeddings"}
	outer.Routes = map[string]string{"/v1/x": "passthrough: governed"}
	var handler http.Handler
	logOutput(t, func() { handler = newInstance(t, outer, failoverService(newInstance(t, inner, service), service)) })
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/v1/x", strings.NewReader(`{"model":"m","input":"Hi"}`)))
	if got := recorder.Result().Header.Get(inputTokensHeader); got != "" {
		t.Errorf("the client gets %s %q, want none", inputTokensHeader, got)
	}
	if got, has := recorder.Header()[outputTokensHeader]; has || recorder.Header().Get(inputTokensHeader) != "9" {
		t.Errorf("access-log headers %v with output %v, want an input of 9 and no output", recorder.Header(), got)
	}
}

// TestFailoverAfterRefusedConsumer: what one chained instance has refused a consumer, the next one does not serve.
func TestFailoverAfterRefusedConsumer(t *testing.T) {
	tests := map[string]Consumer{
		"disabled":   {Name: "blue", Key: keyID("sk-blue"), Disabled: true},
		"restricted": {Name: "blue", Key: keyID("sk-blue"), AllowedModels: []string{"o1"}},
	}
	for name, who := range tests {
		t.Run(name, func(t *testing.T) {
			config := CreateConfig()
			config.Token = "sk-provider"
			config.Consumers.List = []Consumer{who}
			served := 0
			provider := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served++ })
			first, second := newInstance(t, config, provider), newInstance(t, config, provider)
			code := 0
			handler := newInstance(t, CreateConfig(), http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				for _, instance := range []http.Handler{first, second} {
					rw := httptest.NewRecorder()
					instance.ServeHTTP(rw, req.Clone(req.Context()))
					code = rw.Code
				}
			}))
			req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(plainRequest))
			req.Header.Set("Authorization", "Bearer sk-blue")
			handler.ServeHTTP(httptest.NewRecorder(), req)
			if served != 0 || code < http.StatusBadRequest {
				t.Errorf("%d requests were served, the last status is %d", served, code)
			}
		})
	}
}
