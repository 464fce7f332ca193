package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestChainedInstancesRecordOneCall chains two instances: the first one governs, the second one has
// the key and the preset.
func TestChainedInstancesRecordOneCall(t *testing.T) {
	const rounds = 9
	providers, children := threeProviders(t)
	routes := []struct{ model, provider, attribute, path string }{
		{openAIModel, "openai", "openai", "/v1/chat/completions"},
		{deepSeekModel, "deepseek", "deepseek", "/chat/completions"},
		{geminiModel, "gemini", "gcp.gemini", "/v1beta/openai/chat/completions"},
	}
	for i, preset := range []string{"openai", "deepseek", "gemini"} {
		children[i].plugin = map[string]any{"token": "sk-of-" + children[i].name, "provider": preset}
	}
	g := start(t, gateway.Options{AccessLog: true, AccessLogHeaders: []string{numberHeader, modelHeader, "X-Ai-Policy", "X-Ai-Input-Tokens", "X-Ai-Error-Type"}})
	configure(t, g, routed(map[string]any{
		"allowedModels": []string{openAIModel, deepSeekModel, "gemini-*"},
		"params":        map[string]any{"temperature": 0.5},
		"telemetry":     map[string]any{"log": "stdout", "labels": map[string]string{"team": "$(headers.x-team)"}},
	}, children...))

	var kinds []callKind
	for _, k := range callKinds {
		if k.path == "" {
			kinds = append(kinds, k)
		}
	}
	known, byProvider := newLedger(), totals{}
	var mutex sync.Mutex
	calls := rounds * len(kinds)
	inParallel(t, calls, 8, func(client *http.Client, number int) error {
		k, route, team := kinds[number/rounds], routes[number%len(routes)], teams[number/len(routes)%len(teams)]
		k.body = of(route.model, k.body)
		if err := k.call(t.Context(), client, g.URL, number, team); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		known.enter(k, number, team)
		if !k.refused() {
			mutex.Lock()
			byProvider[route.attribute]++
			mutex.Unlock()
		}
		return nil
	})

	awaitTotals(t, "calls", known.calls, func() totals { return exposed(t, g, callsSeries, "error_type") })
	awaitTotals(t, "tokens", known.tokens, func() totals { return exposed(t, g, tokensSeries, "gen_ai_token_type", "team") })
	awaitTotals(t, "calls with tokens", known.usages, func() totals { return exposed(t, g, usagesSeries, "gen_ai_token_type") })
	awaitTotals(t, "first chunks", totals{"": known.firsts}, func() totals { return exposed(t, g, firstSeries) })
	decisions := totals{
		"temperature=set":      float64(calls) - known.calls["invalid_json"] - known.calls["model_not_found"],
		"refused=invalid_json": known.calls["invalid_json"], "refused=model_not_found": known.calls["model_not_found"],
	}
	awaitTotals(t, "decisions", decisions, func() totals { return exposed(t, g, decisionsSeries, "chat_completion_decision") })
	awaitTotals(t, "calls that reached a provider", byProvider, func() totals {
		reached := exposed(t, g, callsSeries, "gen_ai_provider_name")
		reached["openai"] -= known.calls["invalid_json"] + known.calls["model_not_found"] // rejected before a provider is known
		return reached
	})
	await(t, "one line of the log for each call", func() bool { return len(callLines(t, g.LogPath)) == calls })

	for _, route := range routes {
		saw := providers[route.provider].saw()
		if got := float64(len(saw)); got != byProvider[route.attribute] {
			t.Errorf("%s received %v requests, want %v", route.provider, got, byProvider[route.attribute])
		}
		for _, request := range saw {
			if got, want := request.header.Values("Authorization"), "Bearer sk-of-"+route.provider; len(got) != 1 || got[0] != want {
				t.Errorf("%s gets the key %q, want %q", route.provider, got, want)
			}
			if request.target != route.path {
				t.Errorf("%s received %s, want %s", route.provider, request.target, route.path)
			}
			if got := strings.Count(request.body, "stream_options"); got > 1 {
				t.Errorf("%s sees stream_options %d times: %s", route.provider, got, request.body)
			}
		}
	}
	policies := totals{}
	for number := range calls {
		k, line := kinds[number/rounds], loggedCall(t, g, number)
		policy, _ := line["downstream_X-Ai-Policy"].(string)
		policies[policy]++
		if tokens, _ := line["downstream_X-Ai-Input-Tokens"].(string); k.usage && tokens != strconv.Itoa(inputTokens(number)) {
			t.Errorf("%s: the access log has %q input tokens, want %d", k.name, tokens, inputTokens(number))
		}
		if errorType, _ := line["downstream_X-Ai-Error-Type"].(string); errorType != k.errorType {
			t.Errorf("%s: the access log has the error type %q, want %q", k.name, errorType, k.errorType)
		}
		if model, _ := line["downstream_X-Ai-Model"].(string); !k.refused() && model != routes[number%len(routes)].model {
			t.Errorf("%s: the access log has the model %q, want %q", k.name, model, routes[number%len(routes)].model)
		}
	}
	if !maps.Equal(policies, decisions) {
		t.Errorf("the access log has the policies %v, want %v", policies, decisions)
	}
	checkNoErrors(t, g)
}

// refused reports whether the plugin rejects calls of the kind.
func (k callKind) refused() bool { return strings.HasPrefix(k.name, "refused") }

// TestChainedInstances chains a second instance to the one of the router that selects the model.
func TestChainedInstances(t *testing.T) {
	g := start(t, gateway.Options{AccessLog: true, AccessLogHeaders: []string{numberHeader, modelHeader, attemptsHeader, "X-Ai-Policy"}})
	t.Run("its own rules hold for what the first decided", func(t *testing.T) { ownRulesHoldForWhatTheFirstDecided(t, g) })
	t.Run("its provider is asked for nothing that it refuses", func(t *testing.T) { unsupportedParamsAreNotSent(t, g) })
	t.Run("it may forward by itself", func(t *testing.T) { secondMayForwardByItself(t, g) })
	checkNoErrors(t, g)
}

// ownRulesHoldForWhatTheFirstDecided checks that the second instance's rules apply to the first
// one's result.
func ownRulesHoldForWhatTheFirstDecided(t *testing.T, g *gateway.Gateway) {
	providers, children := threeProviders(t)
	children[0].plugin = map[string]any{
		"token": "sk-of-openai", "limits": map[string]any{"maxTokens": 50}, "modelAliases": map[string]string{openAIModel: "gpt-4o-2024-11-20"},
	}
	children[1].plugin = map[string]any{"token": "sk-of-deepseek", "allowedModels": []string{"deepseek-reasoner"}}
	configure(t, g, routed(map[string]any{"limits": map[string]any{"maxTokens": 100}}, children...))

	t.Run("a lower ceiling and an alias", func(t *testing.T) {
		got := fetch(t, g.URL+chatPath, `{"model":"gpt-4o","max_tokens":500,"messages":[{"role":"user","content":"Hi"}]}`, map[string]string{numberHeader: "10001"})
		if got.status != http.StatusOK {
			t.Fatalf("status %d: %s", got.status, got.body)
		}
		saw := providers["openai"].last(t)
		var body struct {
			Model     string
			MaxTokens int `json:"max_tokens"`
		}
		if err := json.Unmarshal([]byte(saw.body), &body); err != nil {
			t.Fatal(err)
		}
		if body.Model != "gpt-4o-2024-11-20" || body.MaxTokens != 50 {
			t.Errorf("the provider sees %+v, want gpt-4o-2024-11-20 with 50 tokens", body)
		}
		if got := saw.header.Values(modelHeader); len(got) != 1 || got[0] != body.Model {
			t.Errorf("the provider sees %s %q, want %q", modelHeader, got, body.Model)
		}
		line := loggedCall(t, g, 10001)
		if got := line["downstream_"+modelHeader]; got != body.Model {
			t.Errorf("the access log has the model %q, want %q", got, body.Model)
		}
		if got, _ := line["downstream_X-Ai-Policy"].(string); !strings.Contains(got, "max_tokens=limited") || !strings.Contains(got, "model=aliased") {
			t.Errorf("the access log has the policy %q, want the decisions of both", got)
		}
	})
	t.Run("a model that the second refuses", func(t *testing.T) {
		got := fetch(t, g.URL+chatPath, asking(deepSeekModel), map[string]string{numberHeader: "10002"})
		checkOpenAIError(t, got, http.StatusNotFound, "invalid_request_error", "model_not_found")
		if n := len(providers["deepseek"].saw()); n > 0 {
			t.Errorf("the provider received %d requests, want none", n)
		}
		if got, _ := loggedCall(t, g, 10002)["downstream_X-Ai-Policy"].(string); !strings.HasSuffix(got, "refused=model_not_found") {
			t.Errorf("the access log has the policy %q, want one that ends with refused=model_not_found", got)
		}
	})
	t.Run("none", func(t *testing.T) {
		if got := fetch(t, g.URL+chatPath, asking(geminiModel), nil); got.provider() != "gemini" {
			t.Errorf("status %d from %q, want gemini: %s", got.status, got.provider(), got.body)
		}
	})
	awaitTotals(t, "calls", totals{"gpt-4o-2024-11-20/": 1, "_OTHER/model_not_found": 1, geminiModel + "/": 1}, func() totals {
		return exposed(t, g, callsSeries, "gen_ai_request_model", "error_type")
	})
}

// unsupportedParamsAreNotSent has a second instance whose provider does not support stream_options,
// after one that requests usage.
func unsupportedParamsAreNotSent(t *testing.T, g *gateway.Gateway) {
	provider := newFake(t, "mistral", counting(0))
	configure(t, g, routed(map[string]any{}, child{
		name: "mistral", rule: "HeaderRegexp(`X-Ai-Model`, `^mistral`)", plugin: map[string]any{"token": "sk-of-mistral", "provider": "mistral"}, url: provider.URL,
	}))
	body := of("mistral-small-latest", plainStream)
	got := fetch(t, g.URL+chatPath, body, nil)
	if got.status != http.StatusOK || !strings.HasSuffix(got.body, "data: [DONE]\n\n") || got.err != nil {
		t.Errorf("status %d: %s %v", got.status, got.body, got.err)
	}
	if saw := provider.last(t); saw.body != body {
		t.Errorf("the provider sees %s, want what the client sent: %s", saw.body, body)
	}
}

// secondMayForwardByItself has a second instance with its own provider and a fallback.
func secondMayForwardByItself(t *testing.T, g *gateway.Gateway) {
	first, second := newFake(t, "first", failing(http.StatusServiceUnavailable)), newFake(t, "second", counting(0))
	configure(t, g, routed(
		map[string]any{"params": map[string]any{"temperature": 0.5}, "telemetry": map[string]any{"labels": map[string]string{"team": "$(headers.x-team)"}}},
		child{name: "openai", rule: "Header(`X-Ai-Model`, `gpt-4o`)", plugin: at(t, first.URL, map[string]any{
			"provider": "openai", "token": "sk-first",
			"fallbacks": []any{at(t, second.URL, map[string]any{"provider": "deepseek", "token": "sk-second", "model": deepSeekModel})},
		})},
	))
	var input, output float64
	for _, body := range []string{plainBody, plainStream} {
		number := nextNumber()
		input += float64(inputTokens(number))
		output += float64(outputTokens(number))
		got := fetch(t, g.URL+chatPath, body, map[string]string{numberHeader: strconv.Itoa(number), "X-Team": "blue"})
		if got.status != http.StatusOK || got.provider() != "second" || got.err != nil {
			t.Fatalf("status %d from %q, want 200 from second: %s %v", got.status, got.provider(), got.body, got.err)
		}
		if strings.Contains(got.body, `"usage"`) && body == plainStream {
			t.Errorf("the client gets usage that it did not request: %s", got.body)
		}
		line := loggedCall(t, g, number)
		if got, want := line["downstream_X-Ai-Attempts"], "openai=503,deepseek=200"; got != want {
			t.Errorf("the access log has the attempts %q, want %q", got, want)
		}
		if got, _ := line["downstream_X-Ai-Policy"].(string); !strings.Contains(got, "temperature=set") {
			t.Errorf("the access log has the policy %q, want one with temperature=set", got)
		}
		for _, provider := range []*fake{first, second} {
			if saw := provider.last(t).body; !strings.Contains(saw, `"temperature":0.5`) {
				t.Errorf("%s sees %s, want the temperature that the first instance sets", provider.name, saw)
			}
		}
	}
	awaitTotals(t, "attempts", totals{"openai/503": 2, "deepseek/": 2}, func() totals {
		return labelled(exposed(t, g, callsSeries, "team", "gen_ai_provider_name", "error_type"), "blue")
	})
	awaitTotals(t, "tokens", totals{"input": input, "output": output}, func() totals {
		return labelled(exposed(t, g, tokensSeries, "team", "gen_ai_token_type"), "blue")
	})
}
