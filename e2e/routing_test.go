package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const modelHeader = "X-Ai-Model"

// child is a child of the router that selects the model.
type child struct {
	name   string
	rule   string
	plugin map[string]any // nil: no instance of the plugin
	url    string         // of its service; empty: the plugin has its own provider
}

// routed returns a dynamic configuration whose router with the plugin selects the model, and whose
// child routers match it.
func routed(configuration map[string]any, children ...child) gateway.Dynamic {
	dynamic := exposing()
	dynamic.Middlewares["governed"] = gateway.Plugin(configuration)
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

// asking returns a chat completion that requests the model.
func asking(model string) string {
	return fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"Hi"}]}`, model)
}

// of returns the body with the model instead of gpt-4o.
func of(model, body string) string { return strings.Replace(body, `"gpt-4o"`, strconv.Quote(model), 1) }

// Models of three providers, by which the tests route requests.
const (
	openAIModel   = "gpt-4o"
	deepSeekModel = "deepseek-chat"
	geminiModel   = "gemini-2.5-flash"
)

// threeProviders returns three counting providers and a child router for each.
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

// TestRoutingByModel sends a thousand requests for three models, each with a header that claims
// another model, and some for a model that no router matches.
func TestRoutingByModel(t *testing.T) {
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
		content, err := io.ReadAll(response.Body)
		if err != nil {
			return err
		}
		if got := response.Header.Get(providerHeader); response.StatusCode != http.StatusOK || got != route.provider {
			return fmt.Errorf("%s: status %d from %q, want 200 from %q: %s", route.model, response.StatusCode, got, route.provider, content)
		}
		if !strings.Contains(string(content), datedModel(route.final)) {
			return fmt.Errorf("%s: the response is not from %s: %s", route.model, route.final, content)
		}
		return nil
	})
	if got := fetch(t, g.URL+chatPath, asking("o9"), nil); got.status != http.StatusNotFound {
		t.Errorf("a model that no router matches: status %d, want 404", got.status)
	}
	listed := routed(map[string]any{"allowedModels": []string{openAIModel, deepSeekModel, geminiModel}}, children...)
	configure(t, g, listed)
	checkOpenAIError(t, fetch(t, g.URL+chatPath, asking("o9"), nil), http.StatusNotFound, "invalid_request_error", "model_not_found")
	awaitTotals(t, "calls", totals{"": loadCalls, "404": 1, "model_not_found": 1}, func() totals { return exposed(t, g, callsSeries, "error_type") })
	for name, provider := range providers {
		saw := provider.saw()
		if len(saw) != want[name] {
			t.Errorf("%s received %d requests, want %d", name, len(saw), want[name])
		}
		for _, request := range saw {
			if header := request.header.Values(modelHeader); len(header) != 1 || header[0] != request.model() {
				t.Errorf("%s: %s is %q for the model %q", name, modelHeader, header, request.model())
			}
		}
	}
	checkNoErrors(t, g)
}

// TestForgedModelHeaderIsIgnored writes raw requests, because net/http's client normalizes header
// names.
func TestForgedModelHeaderIsIgnored(t *testing.T) {
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
		tail   string // after the last chunk; if set, the body is chunked
		status int
		want   string // the provider that receives the request
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
				t.Errorf("providers that received requests: %v, want %v", got, want)
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

// sawOf returns the number of requests that each provider received.
func sawOf(providers map[string]*fake) map[string]int {
	counts := map[string]int{}
	for name, provider := range providers {
		counts[name] = len(provider.saw())
	}
	return counts
}

// dial opens a connection to a gateway and closes it at the end of the test.
func dial(t *testing.T, base string) net.Conn {
	t.Helper()
	address, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	connection, err := net.Dial("tcp", address.Host)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = connection.Close() })
	if err := connection.SetDeadline(time.Now().Add(conditionTimeout)); err != nil {
		t.Fatal(err)
	}
	return connection
}

// rawStatus writes the request unchanged and returns the status of the response.
func rawStatus(t *testing.T, base, request string) int {
	t.Helper()
	connection := dial(t, base)
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

// TestRoutingByModelCostsOnePass compares the CPU time of requests that are routed by model with
// that of the same requests on a plain router.
func TestRoutingByModelCostsOnePass(t *testing.T) {
	const (
		rounds  = 3
		calls   = 300
		allowed = 2 // twice the cost would mean a second pass
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
