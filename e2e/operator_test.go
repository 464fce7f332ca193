package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const governedBody = `{"model":"gpt-5","messages":[{"role":"user","content":"Hi"}]}`

var governedWithToken = map[string]any{"model": "gpt-4o", "token": "sk-canary"}

// TestProviderKeyIsNotInAccessLog has the access log keep the header that carries the key to the
// provider.
func TestProviderKeyIsNotInAccessLog(t *testing.T) {
	var seen string
	provider := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { seen = req.Header.Get("Authorization") })
	g := serve(t, governedWithToken, provider, "Authorization")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+chatPath, strings.NewReader(governedBody))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer client")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if want := "Bearer sk-canary"; seen != want {
		t.Errorf("the provider gets Authorization %q, want %q", seen, want)
	}
	awaitAccessLog(t, g, 1)
	for _, line := range accessLog(t, g) {
		if got, want := line["request_Authorization"], "Bearer client"; got != want {
			t.Errorf("the access log has Authorization %q, want the client's own %q", got, want)
		}
	}
}

// TestAbortedResponseKeepsAccessLogHeaders has the provider break the connection during a response.
func TestAbortedResponseKeepsAccessLogHeaders(t *testing.T) {
	provider := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: {}\n\n")
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	})
	g := serve(t, governedWithToken, provider, "X-Ai-Model", "X-Ai-Policy")
	res, err := http.Post(g.URL+chatPath, "application/json", strings.NewReader(governedBody))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("the response looks complete, want it broken")
	}
	_ = res.Body.Close()
	awaitAccessLog(t, g, 1)
	for _, line := range accessLog(t, g) {
		if line["downstream_X-Ai-Model"] != "gpt-4o" || line["downstream_X-Ai-Policy"] != "model=enforced" {
			t.Errorf("the access log has model %q and policy %q, want gpt-4o and model=enforced",
				line["downstream_X-Ai-Model"], line["downstream_X-Ai-Policy"])
		}
	}
	checkNoErrors(t, g)
}

// TestTraefikRetryOfUnreachableProvider has Traefik's Retry handle a connection error.
func TestTraefikRetryOfUnreachableProvider(t *testing.T) {
	dead := httptest.NewServer(http.NotFoundHandler())
	dead.Close()
	g := start(t, gateway.Options{})
	retry := map[string]any{"retry": map[string]any{"attempts": 3}}
	for name, middlewares := range map[string][]string{"in front": {"retry", "governed"}, "behind": {"governed", "retry"}} {
		err := g.Load(t.Context(), gateway.Dynamic{
			Routers:     map[string]gateway.Router{"chat": {Rule: "PathPrefix(`/`)", Middlewares: middlewares, Service: "provider"}},
			Middlewares: map[string]any{"retry": retry, "governed": gateway.Plugin(map[string]any{"model": "gpt-4o"})},
			Services:    map[string]string{"provider": dead.URL},
		})
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.Post(g.URL+chatPath, "application/json", strings.NewReader(governedBody))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusBadGateway {
			t.Errorf("retry %s: status %d, want 502", name, res.StatusCode)
		}
	}
}
