package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const modelHeader = "X-Ai-Model"

// child is a router below the one that decides on the model.
type child struct {
	name   string
	rule   string
	plugin map[string]any // nil: none
	url    string         // of its service; empty: the plugin forwards by itself
}

// routed is a dynamic configuration whose router with the plugin decides on the model, and whose children take it from there.
func routed(configuration map[string]any, children ...child) gateway.Dynamic {
	dynamic := metered(configuration, "")
	delete(dynamic.Services, "provider")
	dynamic.Routers["chat"] = gateway.Router{Rule: "PathPrefix(`/v1`)", Middlewares: []string{"governed"}}
	for _, c := range children {
		router := gateway.Router{Rule: c.rule, ParentRefs: []string{"chat"}, Service: c.name}
		if c.plugin != nil {
			dynamic.Middlewares[c.name] = gateway.Plugin(c.plugin)
			router.Middlewares = []string{c.name}
		}
		if c.url == "" {
			router.Service = "noop@internal"
		} else {
			dynamic.Services[c.name] = c.url
		}
		dynamic.Routers[c.name] = router
	}
	return dynamic
}

// asking is a chat completion with the model.
func asking(model string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"Hi"}]}`, model)
}

// of is the body with another model than gpt-4o.
func of(model, body string) string { return strings.Replace(body, `"gpt-4o"`, strconv.Quote(model), 1) }

// Models of three providers, by which the tests route.
const (
	openAIModel   = "gpt-4o"
	deepSeekModel = "deepseek-chat"
	geminiModel   = "gemini-2.5-flash"
)

// threeProviders are counting providers, and a child for each.
func threeProviders(t *testing.T) (providers map[string]*fake, children []child) {
	t.Helper()
	providers = map[string]*fake{}
	for _, c := range []child{
		{name: "openai", rule: "Header(`X-Ai-Model`, `" + openAIModel + "`)"},
		{name: "deepseek", rule: "Header(`X-Ai-Model`, `" + deepSeekModel + "`)"},
		{name: "gemini", rule: "HeaderRegexp(`X-Ai-Model`, `^gemini`)"},
	} {
		providers[c.name] = newFake(t, c.name, counting(0))
		c.url = providers[c.name].URL
		children = append(children, c)
	}
	return providers, children
}

// TestRequestsGoWhereTheirModelIs sends a thousand requests over three models, each with a header that claims another, and
// some with a model that no router takes.
func TestRequestsGoWhereTheirModelIs(t *testing.T) {
	providers, children := threeProviders(t)
	g := start(t, gateway.Options{})
	configure(t, g, routed(map[string]any{"modelAliases": map[string]string{"fast": deepSeekModel}}, children...))
	routes := []struct{ model, final, provider, claimed string }{
		{openAIModel, openAIModel, "openai", deepSeekModel},
		{deepSeekModel, deepSeekModel, "deepseek", geminiModel},
		{geminiModel, geminiModel, "gemini", openAIModel},
		{"fast", deepSeekModel, "deepseek", openAIModel},
	}
	want := map[string]int{}
	for number := range loadCalls {
		want[routes[number%len(routes)].provider]++
	}
	inParallel(t, loadCalls, loadClients, func(client *http.Client, number int) error {
		route := routes[number%len(routes)]
		body := plainBody
		if number/len(routes)%2 == 0 {
			body = plainStream
		}
		response, err := do(t.Context(), client, g.URL+chatPath, of(route.model, body), map[string]string{
			modelHeader: route.claimed, numberHeader: strconv.Itoa(number),
		})
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		answer, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if got := response.Header.Get(providerHeader); response.StatusCode != http.StatusOK || got != route.provider {
			return fmt.Errorf("%s: status %d from %q, want 200 from %q: %s", route.model, response.StatusCode, got, route.provider, answer)
		}
		if !strings.Contains(string(answer), datedModel(route.final)) {
			return fmt.Errorf("%s: the answer is not from %s: %s", route.model, route.final, answer)
		}
		return nil
	})
	if got := fetch(t, g.URL+chatPath, asking("o9"), nil); got.status != http.StatusNotFound {
		t.Errorf("a model that no router takes: status %d, want 404", got.status)
	}
	listed := routed(map[string]any{"allowedModels": []string{openAIModel, deepSeekModel, geminiModel}}, children...)
	configure(t, g, listed)
	checkOpenAIError(t, fetch(t, g.URL+chatPath, asking("o9"), nil), http.StatusNotFound, "invalid_request_error", "model_not_found")
	awaitTotals(t, "calls", totals{"": loadCalls, "404": 1, "model_not_found": 1}, func() totals { return exposed(t, g, callsSeries, "error_type") })
	for name, provider := range providers {
		saw := provider.saw()
		if len(saw) != want[name] {
			t.Errorf("%s saw %d requests, want %d", name, len(saw), want[name])
		}
		for _, request := range saw {
			if header := request.header.Values(modelHeader); len(header) != 1 || header[0] != request.model() {
				t.Errorf("%s: %s is %q for the model %q", name, modelHeader, header, request.model())
			}
		}
	}
	checkNoErrors(t, g)
}

// TestClientsOwnModelHeaderRoutesNothing writes requests by hand, since clients of the library do not spell as they like.
func TestClientsOwnModelHeaderRoutesNothing(t *testing.T) {
	providers, children := threeProviders(t)
	g := start(t, gateway.Options{})
	configure(t, g, routed(map[string]any{"routes": map[string]string{
		"/v1/chat/completions": "completions", "/v1/images/generations": "passthrough: governed", "/v1/admin": "deny", "*": "passthrough",
	}}, children...))
	const claim = ": " + openAIModel + "\r\n"
	tests := []struct {
		name   string
		line   string // method and target
		header string
		body   string
		tail   string // behind the last chunk; if set, the body is sent in chunks
		status int
		want   string // who is asked
	}{
		{name: "as it is written", header: "X-Ai-Model" + claim, body: asking(deepSeekModel), status: 200, want: "deepseek"},
		{name: "small letters", header: "x-ai-model" + claim, body: asking(deepSeekModel), status: 200, want: "deepseek"},
		{name: "capitals", header: "X-AI-MODEL" + claim, body: asking(deepSeekModel), status: 200, want: "deepseek"},
		{name: "mixed", header: "x-Ai-mODEL" + claim, body: asking(deepSeekModel), status: 200, want: "deepseek"},
		{name: "underscores", header: "X_Ai_Model" + claim, body: asking(deepSeekModel), status: 200, want: "deepseek"},
		{name: "twice", header: "X-Ai-Model" + claim + "x-ai-model" + claim, body: asking(deepSeekModel), status: 200, want: "deepseek"},
		{name: "before and behind the right one", header: "X-Ai-Model: " + deepSeekModel + "\r\nX-Ai-Model" + claim, body: asking(deepSeekModel), status: 200, want: "deepseek"},
		{name: "named by Connection", header: "X-Ai-Model" + claim + "Connection: X-Ai-Model\r\n", body: asking(deepSeekModel), status: 200, want: "deepseek"},
		{name: "Connection alone", header: "Connection: X-Ai-Model\r\n", body: asking(deepSeekModel), status: 200, want: "deepseek"},
		{name: "trailer", header: "Trailer: X-Ai-Model\r\n", body: asking(deepSeekModel), tail: "X-Ai-Model" + claim, status: 200, want: "deepseek"},
		{name: "trailer that is not announced", body: asking(deepSeekModel), tail: "X-Ai-Model" + claim, status: 200, want: "deepseek"},
		{name: "governed passthrough", line: "POST /v1/images/generations", header: "X-Ai-Model" + claim, body: `{"model":"` + geminiModel + `","prompt":"A gate"}`, status: 200, want: "gemini"},
		{name: "model that no router takes", header: "X-Ai-Model" + claim, body: asking("o9"), status: 404},
		{name: "no model", header: "X-Ai-Model" + claim, body: `{"messages":[{"role":"user","content":"Hi"}]}`, status: 400},
		{name: "no JSON", header: "X-Ai-Model" + claim, body: `{"model"`, status: 400},
		{name: "passthrough", line: "POST /v1/files", header: "x-ai-model" + claim, body: asking(openAIModel), status: 404},
		{name: "passthrough without a body", line: "GET /v1/files", header: "X-Ai-Model" + claim, status: 404},
		{name: "OPTIONS", line: "OPTIONS " + chatPath, header: "X-Ai-Model" + claim, status: 404},
		{name: "denied", line: "POST /v1/admin", header: "X-Ai-Model" + claim, body: asking(openAIModel), status: 403},
		{name: "method that is refused", line: "PUT " + chatPath, header: "X-Ai-Model" + claim, body: asking(openAIModel), status: 405},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := sawOf(providers)
			line := test.line
			if line == "" {
				line = "POST " + chatPath
			}
			framing := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(test.body), test.body)
			if test.tail != "" {
				framing = fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n%s\r\n", len(test.body), test.body, test.tail)
			}
			if got := rawStatus(t, g.URL, line+" HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"+test.header+framing); got != test.status {
				t.Errorf("status = %d, want %d", got, test.status)
			}
			want := maps.Clone(before)
			if test.want != "" {
				want[test.want]++
			}
			if got := sawOf(providers); !maps.Equal(got, want) {
				t.Errorf("the providers were asked %v, want %v", got, want)
			}
		})
	}
	t.Run("HTTP/2", func(t *testing.T) {
		response, err := do(t.Context(), overHTTP2(), g.URL+chatPath, asking(deepSeekModel), map[string]string{modelHeader: openAIModel})
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get(providerHeader); got != "deepseek" {
			t.Errorf("status %d from %q, want deepseek", response.StatusCode, got)
		}
	})
	checkNoErrors(t, g)
}

// sawOf is how many requests each provider saw.
func sawOf(providers map[string]*fake) map[string]int {
	counts := map[string]int{}
	for name, provider := range providers {
		counts[name] = len(provider.saw())
	}
	return counts
}

// rawStatus writes the request as it is, and returns the status of the answer.
func rawStatus(t *testing.T, base, request string) int {
	t.Helper()
	address, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := net.Dial("tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connection.Close() }()
	if err := connection.SetDeadline(time.Now().Add(conditionTimeout)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(connection, request); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(request, " ")
	response, err := http.ReadResponse(bufio.NewReader(connection), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response.StatusCode
}

// TestTwoInstancesOnOnePathAreOneCall has a second instance with the key and the preset below the one that governs.
func TestTwoInstancesOnOnePathAreOneCall(t *testing.T) {
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
		reached["openai"] -= known.calls["invalid_json"] + known.calls["model_not_found"] // refused: no provider is known
		return reached
	})
	await(t, "one line of the log for each call", func() bool { return len(callLines(t, g.LogPath)) == calls })

	for _, route := range routes {
		saw := providers[route.provider].saw()
		if got := float64(len(saw)); got != byProvider[route.attribute] {
			t.Errorf("%s was asked %v times, want %v", route.provider, got, byProvider[route.attribute])
		}
		for _, request := range saw {
			if got, want := request.header.Values("Authorization"), "Bearer sk-of-"+route.provider; len(got) != 1 || got[0] != want {
				t.Errorf("%s sees the key %q, want %q", route.provider, got, want)
			}
			if request.target != route.path {
				t.Errorf("%s was asked for %s, want %s", route.provider, request.target, route.path)
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

// refused tells whether the plugin refuses such calls.
func (k callKind) refused() bool { return strings.HasPrefix(k.name, "refused") }

// TestSecondInstance has a second instance below the router that decides on the model.
func TestSecondInstance(t *testing.T) {
	g := start(t, gateway.Options{AccessLog: true, AccessLogHeaders: []string{numberHeader, modelHeader, attemptsHeader, "X-Ai-Policy"}})
	t.Run("its own rules hold for what the first decided", func(t *testing.T) { ownRulesHoldForWhatTheFirstDecided(t, g) })
	t.Run("its provider is asked for nothing that it refuses", func(t *testing.T) { providerIsAskedForNothingThatItRefuses(t, g) })
	t.Run("it may forward by itself", func(t *testing.T) { secondMayForwardByItself(t, g) })
	checkNoErrors(t, g)
}

// ownRulesHoldForWhatTheFirstDecided has rules below the router that decides on the model.
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
			t.Errorf("the provider was asked %d times, want never", n)
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

// providerIsAskedForNothingThatItRefuses has a provider that does not know stream_options below a router that asks for usage.
func providerIsAskedForNothingThatItRefuses(t *testing.T, g *gateway.Gateway) {
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

// secondMayForwardByItself has a provider, and one to fall back to, below the router that decides on the model.
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
			t.Errorf("the client did not ask for usage and gets it: %s", got.body)
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

// TestRoutingByModelCostsOnePass compares the CPU of requests that are routed by model with that of the same requests on a
// plain router.
func TestRoutingByModelCostsOnePass(t *testing.T) {
	const (
		rounds  = 3
		calls   = 300
		allowed = 2 // twice would be another pass
	)
	_, children := threeProviders(t)
	g := start(t, gateway.Options{})
	governed := map[string]any{"allowedModels": []string{openAIModel, deepSeekModel, geminiModel}, "params": map[string]any{"temperature": 0.5}}
	dynamic := routed(governed, children...)
	dynamic.Routers["plain"] = gateway.Router{Rule: "PathPrefix(`/plain/`)", Middlewares: []string{"governed"}, Service: "openai"}
	dynamic.Middlewares["key"] = gateway.Plugin(map[string]any{"token": "sk-of-openai", "provider": "openai"})
	dynamic.Routers["two"] = gateway.Router{Rule: "PathPrefix(`/two/`)", Middlewares: []string{"governed"}}
	dynamic.Routers["two-openai"] = gateway.Router{
		Rule: "Header(`X-Ai-Model`, `gpt-4o`)", ParentRefs: []string{"two"}, Middlewares: []string{"key"}, Service: "openai",
	}
	configure(t, g, dynamic)
	routes := []string{"/plain", "", "/two"}
	used := map[string]time.Duration{}
	callAll(t, g.URL, 300, routes...)
	for range rounds {
		for _, route := range routes {
			before := cpu(t, g)
			callAll(t, g.URL, calls, route)
			used[route] += cpu(t, g) - before
		}
	}
	each := func(route string) time.Duration { return used[route] / (rounds * calls) }
	byModel, withSecond := float64(used[""])/float64(used["/plain"]), float64(used["/two"])/float64(used["/plain"])
	t.Logf("CPU of a request: %v on a plain router, %v routed by model (%.2f times), %v with a second instance below (%.2f times)",
		each("/plain"), each(""), byModel, each("/two"), withSecond)
	if byModel > allowed {
		t.Errorf("routing by model costs %.2f times a plain router, want less than %d times", byModel, allowed)
	}
}
