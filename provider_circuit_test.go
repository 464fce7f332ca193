package chatcompletion_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestCircuitOpensForProviderFaultsOnly checks that a single client cannot open the circuit of a provider for all others.
func TestCircuitOpensForProviderFaultsOnly(t *testing.T) {
	overHTTP2 := httptest.NewUnstartedServer(http.HandlerFunc(respondOK))
	overHTTP2.EnableHTTP2 = true
	overHTTP2.Config.MaxHeaderBytes = 16 << 10
	overHTTP2.StartTLS()
	t.Cleanup(overHTTP2.Close)

	rateLimited := func(key string) http.HandlerFunc {
		return func(rw http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") == "Bearer "+key {
				rw.Header().Set("Retry-After", "60")
				rw.WriteHeader(http.StatusTooManyRequests)
			}
			respondOK(rw, req)
		}
	}
	failing := func(status int) http.HandlerFunc {
		return func(rw http.ResponseWriter, req *http.Request) {
			if strings.Contains(req.Header.Get("Authorization"), "mallory") {
				rw.WriteHeader(status)
			}
			respondOK(rw, req)
		}
	}
	hangingUp := func(rw http.ResponseWriter, req *http.Request) {
		if req.ContentLength > 1<<20 {
			connection, _, err := http.NewResponseController(rw).Hijack()
			if err == nil {
				_ = connection.(*net.TCPConn).SetLinger(0)
				_ = connection.Close()
			}
			return
		}
		respondOK(rw, req)
	}
	large := strings.Replace(chatBody, "Hi", strings.Repeat("a", 8<<20), 1)

	tests := []struct {
		name         string
		port         int
		more         map[string]any
		target, body string // default: an ordinary request
		header       []string
		want         string // X-Ai-Attempts of a later ordinary request of another client
	}{
		{name: "rate limit for the client's key", port: startProvider(t, rateLimited("mallory")), want: "vllm=200"},
		{name: "rate limit for the configured key", port: startProvider(t, rateLimited("sk")), more: map[string]any{"token": "sk"}, want: "vllm=skipped,mistral_ai=200"},
		{name: "internal error for one client's requests", port: startProvider(t, failing(http.StatusInternalServerError)), want: "vllm=200"},
		{name: "provider unavailable", port: startProvider(t, failing(http.StatusServiceUnavailable)), want: "vllm=skipped,mistral_ai=200"},
		{name: "connection refused", port: 1, want: "vllm=skipped,mistral_ai=200"},
		{
			name: "header too large for the provider", port: portOf(overHTTP2), header: []string{"X-Large", strings.Repeat("a", 100<<10)},
			more: map[string]any{"tls": map[string]any{"enabled": true, "insecureSkipVerify": true}}, want: "vllm=200",
		},
		{name: "body too large for the provider", port: startProvider(t, hangingUp), body: large, want: "vllm=200"},
		{name: "opaque request target", port: startProvider(t, respondOK), target: "http:v1/chat/completions", want: "vllm=200"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := providerConfig(test.port, test.more)
			second := providerConfig(startProvider(t, respondOK), map[string]any{"provider": "mistral", "tls": map[string]any{"enabled": false}})
			config["fallbacks"] = []any{second}
			handler := newMiddleware(t, config, nil)
			target, body := test.target, test.body
			if target == "" {
				target = chatPath
			}
			if body == "" {
				body = chatBody
			}
			sendRequest(t, handler, http.MethodPost, chatPath, chatBody) // an HTTP/2 provider then has announced its limits
			for i := 0; i < 3; i++ {
				sendRequest(t, handler, http.MethodPost, target, body, append([]string{"Authorization", "Bearer mallory"}, test.header...)...)
			}
			got := sendRequest(t, handler, http.MethodPost, chatPath, chatBody, "Authorization", "Bearer alice").Header().Get("X-Ai-Attempts")
			if got != test.want {
				t.Errorf("attempts for the next client %q, want %q", got, test.want)
			}
		})
	}
}
