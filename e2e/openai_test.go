package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/demo"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// Providers that OpenAI's SDK calls through the gateway, and their models.
var sdkModels = map[string][]string{
	"openai":   {"gpt-3.5-turbo", "gpt-4", "gpt-4.1", "gpt-4o", "gpt-4o-mini", "o4-mini", "gpt-4o-transcribe", "text-embedding-3-small", "text-embedding-ada-002"},
	"mistral":  {"mistral-medium-2505"},
	"deepseek": {"deepseek-chat"},
}

// startForSDKs runs a gateway with the routes that the tests of OpenAI's SDKs use, and the providers behind it.
func startForSDKs(t *testing.T) (*gateway.Gateway, map[string]*fake) {
	t.Helper()
	authority := newAuthority(t)
	providers := map[string]*fake{}
	for name, models := range sdkModels {
		providers[name] = newSecureFake(t, name, demo.Handler(demo.Options{Models: models}), authority)
	}
	g := start(t, gateway.Options{
		Env:       []string{"OPENAI_API_KEY=sk-openai", "MISTRAL_API_KEY=sk-mistral", "DEEPSEEK_API_KEY=sk-deepseek"},
		AccessLog: true,
		Static:    map[string]any{"accessLog": map[string]any{"addInternals": true}},
	})
	configure(t, g, sdkRoutes(t, providers, authority.File))
	return g, providers
}

// TestOpenAISDK runs the tests in openai against a gateway.
func TestOpenAISDK(t *testing.T) {
	g, providers := startForSDKs(t)
	tests := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "./...")
	tests.Dir = "openai"
	tests.Env = append(os.Environ(), "GATEWAY_URL="+g.URL)
	output, err := tests.CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%s", output)

	checkProvidersKeys(t, providers)
	operations := exposed(t, g, usagesSeries, "gen_ai_operation_name", "gen_ai_token_type")
	for _, name := range []string{"chat/input", "chat/output", "embeddings/input"} {
		if operations[name] == 0 {
			t.Errorf("no calls with tokens of %s among %v", name, operations)
		}
	}
	if got := operations["embeddings/output"]; got != 0 {
		t.Errorf("%v embeddings calls have output tokens, want none", got)
	}
	checkArrived(t, g)
	checkUnknownGroupLogged(t, g)
}

// checkProvidersKeys fails if a provider gets another key than its own.
func checkProvidersKeys(t *testing.T, providers map[string]*fake) {
	t.Helper()
	for name, provider := range providers {
		paths := map[string]bool{}
		for _, request := range provider.saw() {
			path, _, _ := strings.Cut(request.target, "?")
			paths[path] = true
			if got, want := request.header.Get("Authorization"), "Bearer sk-"+name; got != want {
				t.Errorf("%s gets the key %q at %s, want %q", name, got, path, want)
			}
			if sent := fmt.Sprint(request.header); strings.Contains(sent, "sk-key-of-the-client") || strings.Contains(sent, "sk-consumer") {
				t.Errorf("%s gets the client's key: %v", name, request.header)
			}
		}
		t.Logf("%s received requests for %q", name, slices.Sorted(maps.Keys(paths)))
	}
}

// checkUnknownGroupLogged fails if Traefik logged anything else than that a consumer's group is unknown.
func checkUnknownGroupLogged(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	if logged, err := g.Errors(); err != nil || len(logged) != 1 || !strings.Contains(logged[0], `does not have the group "engineering"`) {
		t.Errorf("Traefik logged %q, want only that a group is unknown (%v)", logged, err)
	}
}

// checkArrived compares the requests that arrived from an SDK with the calls that it made: it tries
// again only what may succeed.
func checkArrived(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	want := map[string]string{
		"/consumers-unknown": "401 once", "/consumers-models": "404 once", "/consumers-group": "403 once",
		"/quota-spent":  "200 once, 429 once",
		"/quota-second": "200 3 times, 429 some times",
	}
	got := map[string]string{}
	await(t, "the access log has all requests", func() bool {
		for route := range want {
			got[route] = arrived(accessLog(t, g), route)
		}
		return maps.Equal(got, want)
	})
}

// statuses counts the requests of a route by their status.
func statuses(log []map[string]any, route string) map[int]int {
	counts := map[int]int{}
	for _, line := range log {
		if path, _ := line["RequestPath"].(string); strings.HasPrefix(path, route+"/") {
			status, _ := line["DownstreamStatus"].(float64)
			counts[int(status)]++
		}
	}
	return counts
}

// arrived says how many requests of a route had each status.
func arrived(log []map[string]any, route string) string {
	counts := statuses(log, route)
	var texts []string
	for _, status := range slices.Sorted(maps.Keys(counts)) {
		times := fmt.Sprint(counts[status], " times")
		switch {
		case counts[status] == 1 && route != "/quota-second":
			times = "once"
		case status == http.StatusTooManyRequests && route == "/quota-second":
			times = "some times" // of three calls, at least two are in a second of another
		}
		texts = append(texts, fmt.Sprint(status, " ", times))
	}
	return strings.Join(texts, ", ")
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
			"modelAliases":  map[string]string{"fast": "gpt-4o-mini", "whisper-1": "gpt-4o-transcribe"},
			"params":        map[string]any{"temperature": 0.5},
			"limits":        map[string]any{"maxTokens": 256},
			"routes": map[string]string{
				"/v1/chat/completions": "completions", "/v1/embeddings": "embeddings", "/v1/responses": "responses", "/v1/models": "models",
				"/v1/audio/transcriptions": "passthrough: governed", "*": "deny",
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
	for name, keys := range accountRoutes(t) {
		keys["provider"], keys["token"], keys["model"], keys["allowModelOverride"] = "openai", "urn:env:OPENAI_API_KEY", "gpt-4o-mini", true
		dynamic.Middlewares[name] = gateway.Plugin(hosting("openai", keys))
		dynamic.Routers[name] = gateway.Router{Rule: "PathPrefix(`/" + name + "/`)", Middlewares: []string{name}, Service: "noop@internal"}
	}
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

// accountRoutes returns the routes with consumers and quotas.
func accountRoutes(t *testing.T) map[string]map[string]any {
	restricted, grouped := consumersOf("blue"), consumersOf("blue")
	restricted["list"].([]any)[0].(map[string]any)["allowedModels"] = []string{"gpt-4o-mini"}
	sum := sha256.Sum256([]byte(consumerKey("blue")))
	file := filepath.Join(t.TempDir(), "consumers.json")
	write(t, file, `[{"name": "blue", "group": "engineering", "key": "sha256:`+hex.EncodeToString(sum[:])+`"}]`)
	grouped["from"] = "urn:file:" + file
	delete(grouped, "list")
	grouped["groups"] = map[string]any{"sales": map[string]any{"model": "gpt-4o"}}
	limited := func(window string) []any {
		return []any{map[string]any{"name": "requests", "unit": "requests", "limit": 1, "window": window}}
	}
	return map[string]map[string]any{
		"consumers-unknown": {"consumers": consumersOf("blue")},
		"consumers-models":  {"consumers": restricted},
		"consumers-group":   {"consumers": grouped},
		"quota-spent":       {"consumers": consumersOf("blue"), "quotas": limited(accountWindow)},
		"quota-second":      {"consumers": consumersOf("blue"), "quotas": limited("1s")},
	}
}
