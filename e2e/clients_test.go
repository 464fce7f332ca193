package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/demo"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// everyRoute has the endpoints of all protocols: one route for everything.
var everyRoute = map[string]string{
	"/v1/chat/completions": "completions", "/v1/embeddings": "embeddings",
	"/v1/responses": "responses", "/v1/responses/input_tokens": "countTokens",
	"/v1/messages": "messages", "/v1/messages/count_tokens": "countTokens",
	"/v1beta/models/*": "generateContent", "/v1beta/models": "models", "/v1/models": "models",
	"/v1/completions": "passthrough: governed", "/v1/moderations": "passthrough: governed", "/v1/rerank": "passthrough: governed",
	"/v1/images/generations": "passthrough: governed", "/v1/images/edits": "passthrough: governed", "/v1/audio/speech": "passthrough: governed",
	"/v1/audio/transcriptions": "passthrough: governed", "/v1/audio/translations": "passthrough: governed",
	"/v1/realtime": "realtime", "*": "deny",
}

// startForClients runs a gateway with the routes that the clients of all protocols use, and the provider behind it, which
// knows no key but its own.
func startForClients(t *testing.T) (*gateway.Gateway, *fake) {
	t.Helper()
	provider := newFake(t, "demo", demo.Handler(demo.Options{Key: "sk-provider"}))
	g := start(t, gateway.Options{AccessLog: true, AccessLogHeaders: []string{"X-Ai-Policy"}, Static: map[string]any{"accessLog": map[string]any{"addInternals": true}}})
	configure(t, g, clientRoutes(t, provider))
	return g, provider
}

// clientRoutes returns a route for everything, and routes below names that refuse requests.
func clientRoutes(t *testing.T, provider *fake) gateway.Dynamic {
	t.Helper()
	configuration := func(more map[string]any) map[string]any {
		keys := map[string]any{"token": "sk-provider", "allowModelOverride": true, "routes": everyRoute, "consumers": consumersOf("blue")}
		maps.Copy(keys, more)
		return keys
	}
	dynamic := exposing()
	dynamic.Services = map[string]string{"demo": provider.URL}
	dynamic.Middlewares["everything"] = gateway.Plugin(at(t, provider.URL, configuration(nil)))
	dynamic.Routers["everything"] = gateway.Router{Rule: "PathPrefix(`/v1`) || PathPrefix(`/v1beta`)", Middlewares: []string{"everything"}, Service: "noop@internal"}

	refusing := accountRoutes(t)
	refusing["consumers-models"]["allowedModels"] = []string{"gpt-4o-mini", "gpt-5-mini", "claude-sonnet-5-5", "claude-haiku-4-5", "gemini-2.5-flash"}
	refusing["consumers-models"]["consumers"] = consumersOf("blue")
	for _, client := range []string{
		"endpoints", "anthropic", "google", "ai", "langchain-openai", "langchain-responses", "langchain-anthropic", "langchain-google", "messages", "gemini",
	} {
		refusing["quota-spent-"+client] = refusing["quota-spent"]
	}
	refusing["house-rule"] = map[string]any{"prompt": map[string]any{"system": map[string]any{"text": "Answer in one sentence."}, "forbidClientSystem": true}}
	refusing["quota-second-anthropic"] = refusing["quota-second"]
	for name, keys := range refusing {
		dynamic.Middlewares[name] = gateway.Plugin(configuration(keys))
		dynamic.Middlewares["strip-"+name] = map[string]any{"stripPrefix": map[string]any{"prefixes": []string{"/" + name}}}
		dynamic.Routers[name] = gateway.Router{Rule: "PathPrefix(`/" + name + "/`)", Middlewares: []string{"strip-" + name, name}, Service: "demo"}
	}
	return dynamic
}

// TestClientsOfAllProtocols makes calls with clients of npm: they must see through the gateway what they see without it,
// and type the errors of the gateway as they type those of their own provider.
func TestClientsOfAllProtocols(t *testing.T) {
	g, provider := startForClients(t)
	for _, script := range clientScripts {
		t.Run(script, func(t *testing.T) {
			got := callWithClients(t, g.URL, script, "served", "broken", "refused")
			for name, want := range directly(t, script) {
				if !slices.Equal(slices.Sorted(maps.Keys(got[name])), slices.Sorted(maps.Keys(want))) || !maps.Equal(got[name], want) {
					t.Errorf("%s:\ngot  %v\nwant %v, as without the gateway", name, got[name], want)
				}
			}
			compareOutcomes(t, got, refusals[script])
			if again, ok := got["messages: quota spent"]; ok && (again["status"] != 429.0 || again["requests"] != 3.0) {
				t.Errorf("messages: quota spent: %v, want status 429 after three requests", again)
			}
			if again, ok := got["quota of a second"]; ok && (again["error"] != nil || again["requests"].(float64) < 2) {
				t.Errorf("quota of a second: %v, want success after another try", again)
			}
		})
	}
	checkDemoKeys(t, provider)
}

// refusals are what calls of the group refused come to, by script. Each makes one request: no client but the AI SDK, which
// tries every 429 twice again, tries in vain.
var refusals = map[string]map[string]string{
	"endpoints": {
		"unknown key":             `{"error":"AuthenticationError","status":401,"type":"invalid_request_error","code":"invalid_api_key","requests":1}`,
		"refused model":           `{"error":"NotFoundError","status":404,"type":"invalid_request_error","code":"model_not_found","requests":1}`,
		"refused model, streamed": `{"error":"NotFoundError","status":404,"type":"invalid_request_error","code":"model_not_found","requests":1}`,
		"refused model, counted":  `{"error":"NotFoundError","status":404,"type":"invalid_request_error","code":"model_not_found","requests":1}`,
		"refused model, realtime": `{"error":"unexpected-response","status":404,"type":"invalid_request_error","code":"model_not_found","requests":0}`,
		"unknown key, realtime":   `{"error":"unexpected-response","status":401,"type":"invalid_request_error","code":"invalid_api_key","requests":0}`,
		"invalid":                 `{"error":"BadRequestError","status":400,"type":"invalid_request_error","code":"decimal_above_max_value","requests":1}`,
		"unknown group":           `{"error":"PermissionDeniedError","status":403,"type":"invalid_request_error","code":"unknown_group","requests":1}`,
		"quota not spent":         `{"content":"gpt-4o-mini heard: Hello!","model":"gpt-4o-mini","finish":"completed","input":2,"output":7,"reasoning":0,"total":9,"requests":1}`,
		"quota spent":             `{"error":"RateLimitError","status":429,"type":"insufficient_quota","code":"insufficient_quota","requests":1}`,
	},
	"anthropic": {
		"unknown key":             `{"error":"AuthenticationError","status":401,"type":"authentication_error","shouldRetry":"","requests":1}`,
		"refused model":           `{"error":"NotFoundError","status":404,"type":"not_found_error","shouldRetry":"","requests":1}`,
		"refused model, streamed": `{"error":"NotFoundError","status":404,"type":"not_found_error","shouldRetry":"","requests":1}`,
		"refused model, counted":  `{"error":"NotFoundError","status":404,"type":"not_found_error","shouldRetry":"","requests":1}`,
		"invalid":                 `{"error":"BadRequestError","status":400,"type":"invalid_request_error","shouldRetry":"","requests":1}`,
		"unknown group":           `{"error":"PermissionDeniedError","status":403,"type":"permission_error","shouldRetry":"","requests":1}`,
		"quota spent":             `{"error":"RateLimitError","status":429,"type":"rate_limit_error","shouldRetry":"false","requests":1}`,
	},
	"google": {
		"unknown key":             `{"error":"ApiError","status":401,"type":"UNAUTHENTICATED","code":"401","requests":1}`,
		"refused model":           `{"error":"ApiError","status":404,"type":"NOT_FOUND","code":"404","requests":1}`,
		"refused model, streamed": `{"error":"ApiError","status":404,"type":"NOT_FOUND","code":"404","requests":1}`,
		"refused model, counted":  `{"error":"ApiError","status":404,"type":"NOT_FOUND","code":"404","requests":1}`,
		"invalid":                 `{"error":"ApiError","status":400,"type":"INVALID_ARGUMENT","code":"400","requests":1}`,
		"unknown group":           `{"error":"ApiError","status":403,"type":"PERMISSION_DENIED","code":"403","requests":1}`,
		"quota spent":             `{"error":"ApiError","status":429,"type":"RESOURCE_EXHAUSTED","code":"429","requests":1}`,
	},
	"ai":        refusalsByKind(aiRefusal, []int{401, 403, 404}, "responses", "chat", "messages", "gemini"),
	"langchain": refusalsByKind(langChainRefusal, []int{401, 403, 404, 429}, "openai", "responses", "anthropic", "google"),
}

// refusalsByKind returns the refusals that a script meets with each kind of client.
func refusalsByKind(refusal func(kind string, status int) string, statuses []int, kinds ...string) map[string]string {
	names := map[int][]string{401: {"unknown key"}, 403: {"unknown group"}, 404: {"refused model", "refused model, streamed"}, 429: {"quota spent"}}
	texts := map[string]string{}
	for _, kind := range kinds {
		for _, status := range statuses {
			for _, name := range names[status] {
				texts[kind+": "+name] = refusal(kind, status)
			}
		}
	}
	return texts
}

// aiRefusal returns an error as the AI SDK reads it from the body.
func aiRefusal(kind string, status int) string {
	errorType, code := "invalid_request_error", map[int]string{401: "invalid_api_key", 403: "unknown_group", 404: "model_not_found"}[status]
	switch kind {
	case "messages":
		errorType, code = map[int]string{401: "authentication_error", 403: "permission_error", 404: "not_found_error"}[status], ""
	case "gemini":
		errorType, code = map[int]string{401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}[status], fmt.Sprint(status)
	}
	return fmt.Sprintf(`{"error":"AI_APICallError","status":%d,"type":%q,"code":%q,"message":true,"requests":1}`, status, errorType, code)
}

// langChainRefusal returns an error of the SDK that LangChain's package uses.
func langChainRefusal(kind string, status int) string {
	name := map[int]string{401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError", 429: "RateLimitError"}[status]
	if kind == "google" {
		name = "GoogleGenerativeAIFetchError"
	}
	return fmt.Sprintf(`{"error":%q,"status":%d,"requests":1}`, name, status)
}

// TestClientsForGo runs the tests in clients against a gateway.
func TestClientsForGo(t *testing.T) {
	g, provider := startForClients(t)
	tests := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "./...")
	tests.Dir = "clients"
	tests.Env = append(os.Environ(), "GATEWAY_URL="+g.URL)
	output, err := tests.CombinedOutput()
	if err != nil {
		t.Error(err)
	}
	t.Logf("%s", output)
	checkDemoKeys(t, provider)
	// Two calls of each SDK are refused, one of them a stream. None is tried again.
	want := map[string]map[int]int{
		"/consumers-unknown": {401: 4}, "/consumers-models": {404: 4}, "/consumers-group": {403: 4},
		"/quota-spent-messages": {200: 1, 429: 1}, "/quota-spent-gemini": {200: 1, 429: 1},
	}
	got := map[string]map[int]int{}
	await(t, fmt.Sprintf("the access log has %v", want), func() bool {
		log := accessLog(t, g)
		for route := range want {
			got[route] = statuses(log, route)
		}
		return reflect.DeepEqual(got, want)
	})
}

// checkDemoKeys fails if the provider gets another key than its own, or gets it in another header than that of the
// request's protocol.
func checkDemoKeys(t *testing.T, provider *fake) {
	t.Helper()
	paths := map[string]bool{}
	for _, request := range provider.saw() {
		path, _, _ := strings.Cut(request.target, "?")
		paths[path] = true
		header, want := "Authorization", "Bearer sk-provider"
		switch {
		case strings.HasPrefix(path, "/v1beta/"):
			header, want = "X-Goog-Api-Key", "sk-provider"
		case strings.HasPrefix(path, "/v1/messages"), request.header.Get("Anthropic-Version") != "":
			header, want = "X-Api-Key", "sk-provider"
		}
		if got := request.header.Get(header); got != want {
			t.Errorf("%s: %s is %q, want %q", request.target, header, got, want)
		}
		sent := http.Header{}
		for name, values := range request.header {
			if name != header {
				sent[name] = values
			}
		}
		if text := request.target + sent.Get("Authorization") + sent.Get("X-Api-Key") + sent.Get("X-Goog-Api-Key") + sent.Get("Api-Key"); strings.Contains(text, "sk-") {
			t.Errorf("%s: there is a key elsewhere, too: %v", request.target, request.header)
		}
	}
	t.Logf("the provider received requests for %q", slices.Sorted(maps.Keys(paths)))
}
