package e2e_test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/demo"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// Providers that OpenAI's SDK calls through the gateway, and their models.
var sdkModels = map[string][]string{
	"openai":   {"gpt-3.5-turbo", "gpt-4", "gpt-4.1", "gpt-4o", "gpt-4o-mini", "o4-mini", "text-embedding-3-small", "text-embedding-ada-002"},
	"mistral":  {"mistral-medium-2505"},
	"deepseek": {"deepseek-chat"},
}

// TestOpenAISDK runs the tests in openai against a gateway.
func TestOpenAISDK(t *testing.T) {
	authority := newAuthority(t)
	providers := map[string]*fake{}
	for name, models := range sdkModels {
		providers[name] = newSecureFake(t, name, demo.Handler(demo.Options{Models: models}), authority)
	}
	g := start(t, gateway.Options{Env: []string{"OPENAI_API_KEY=sk-openai", "MISTRAL_API_KEY=sk-mistral", "DEEPSEEK_API_KEY=sk-deepseek"}})
	configure(t, g, sdkRoutes(t, providers, authority.File))

	tests := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "./...")
	tests.Dir = "openai"
	tests.Env = append(os.Environ(), "GATEWAY_URL="+g.URL)
	output, err := tests.CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%s", output)

	for name, provider := range providers {
		paths := map[string]bool{}
		for _, request := range provider.saw() {
			path, _, _ := strings.Cut(request.target, "?")
			paths[path] = true
			if got, want := request.header.Get("Authorization"), "Bearer sk-"+name; got != want {
				t.Errorf("%s gets the key %q at %s, want %q", name, got, path, want)
			}
			if strings.Contains(fmt.Sprint(request.header), "sk-key-of-the-client") {
				t.Errorf("%s gets the client's key: %v", name, request.header)
			}
		}
		t.Logf("%s received requests for %q", name, slices.Sorted(maps.Keys(paths)))
	}
	operations := exposed(t, g, usagesSeries, "gen_ai_operation_name", "gen_ai_token_type")
	for _, name := range []string{"chat/input", "chat/output", "embeddings/input"} {
		if operations[name] == 0 {
			t.Errorf("no calls with tokens of %s among %v", name, operations)
		}
	}
	if got := operations["embeddings/output"]; got != 0 {
		t.Errorf("%v embeddings calls have output tokens, want none", got)
	}
	checkNoErrors(t, g)
}

// sdkRoutes returns the routes that the tests in openai use.
func sdkRoutes(t *testing.T, providers map[string]*fake, caFile string) gateway.Dynamic {
	t.Helper()
	// hosting returns the configuration with the provider's address. The provider's certificate is
	// for localhost.
	hosting := func(name string, configuration map[string]any) map[string]any {
		configuration["tls"] = map[string]any{"caFile": caFile}
		return at(t, strings.Replace(providers[name].URL, "127.0.0.1", "localhost", 1), configuration)
	}
	dynamic := hosted(map[string]map[string]any{
		// agentgateway: OpenAI-compatible providers.
		"mistral":  hosting("mistral", map[string]any{"token": "urn:env:MISTRAL_API_KEY", "model": "mistral-medium-2505", "path": "/v1/chat/completions"}),
		"deepseek": hosting("deepseek", map[string]any{"token": "urn:env:DEEPSEEK_API_KEY", "model": "deepseek-chat", "path": "/v1/chat/completions"}),
		// Every governed kind of endpoint.
		"governed": hosting("openai", map[string]any{
			"provider":      "openai",
			"token":         "urn:env:OPENAI_API_KEY",
			"allowedModels": []string{"gpt-4o*", "gpt-4.1", "text-embedding-3-*"},
			"modelAliases":  map[string]string{"fast": "gpt-4o-mini"},
			"params":        map[string]any{"temperature": 0.5},
			"limits":        map[string]any{"maxTokens": 256},
			"routes": map[string]string{
				"/v1/chat/completions": "completions", "/v1/embeddings": "embeddings", "/v1/responses": "responses", "/v1/models": "models", "*": "deny",
			},
		}),
		"exact": hosting("openai", map[string]any{
			"provider":      "openai",
			"token":         "urn:env:OPENAI_API_KEY",
			"allowedModels": []string{"gpt-4o-mini", "gpt-4o"},
			"modelAliases":  map[string]string{"best": "gpt-4o"},
			"routes":        map[string]string{"/v1/chat/completions": "completions", "/v1/models": "models"},
		}),
	})
	// Kong: the model is in the path.
	dynamic.Middlewares["kong"] = gateway.Plugin(hosting("openai", map[string]any{
		"provider": "openai", "token": "urn:env:OPENAI_API_KEY", "model": "$(uri_captures.model)", "modelPattern": "~/(?<model>[^#?/]+)/chat/completions$",
	}))
	dynamic.Routers["kong"] = gateway.Router{Rule: "PathRegexp(`^/gpt-[^/]+/chat/completions$`) && Method(`POST`)", Middlewares: []string{"kong"}, Service: "noop@internal"}

	// With a Traefik service instead of a host.
	dynamic.Middlewares["chat"] = gateway.Plugin(map[string]any{
		"token":               "urn:env:OPENAI_API_KEY",
		"model":               "gpt-4o-mini",
		"allowModelOverride":  true,
		"allowedModels":       []string{"gpt-4o*"},
		"allowParamsOverride": true,
		"params":              map[string]any{"temperature": 0.5},
	})
	dynamic.Routers["chat"] = gateway.Router{Rule: "PathPrefix(`/v1`)", Middlewares: []string{"chat"}, Service: "openai"}
	// agentgateway: multiple endpoints.
	dynamic.Middlewares["endpoints"] = gateway.Plugin(map[string]any{
		"provider": "openai",
		"token":    "urn:env:OPENAI_API_KEY",
		"model":    "gpt-3.5-turbo",
		"routes": map[string]string{
			"/v1/chat/completions": "completions", "/v1/embeddings": "passthrough", "/v1/models": "passthrough", "*": "passthrough",
		},
	})
	dynamic.Routers["endpoints"] = gateway.Router{Rule: "PathPrefix(`/openai`)", Middlewares: []string{"endpoints"}, Service: "openai"}
	dynamic.RawServices = map[string]any{"openai": map[string]any{"loadBalancer": map[string]any{
		"servers": []any{map[string]any{"url": providers["openai"].URL}}, "serversTransport": "trusting",
	}}}
	dynamic.ServersTransports = map[string]any{"trusting": map[string]any{"rootCAs": []string{caFile}}}
	return dynamic
}
