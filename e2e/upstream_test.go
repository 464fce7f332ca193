package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestForwarding has middlewares with their own providers, without a Traefik service.
func TestForwarding(t *testing.T) {
	g := startForwarding(t)
	t.Run("certificates are verified", func(t *testing.T) { certificatesAreVerified(t, g) })
	t.Run("connections are reused", func(t *testing.T) { connectionsAreReused(t, g) })
	t.Run("connections may end", func(t *testing.T) { connectionsMayEnd(t, g) })
	t.Run("query and path reach the provider", func(t *testing.T) { queryAndPathReachTheProvider(t, g) })
	t.Run("the provider does not see where the client is", func(t *testing.T) { providerDoesNotSeeWhereTheClientIs(t, g) })
	t.Run("compressed answers are read", func(t *testing.T) { compressedResponsesAreRead(t, g) })
	t.Run("events arrive when they are sent", func(t *testing.T) { eventsArriveWhenTheyAreSent(t, g) })
	t.Run("the header arrives before the first event", func(t *testing.T) { headerArrivesBeforeTheFirstEvent(t, g) })
	t.Run("WebSockets pass", func(t *testing.T) { webSocketsPass(t, g) })
	t.Run("a provider that hangs is a timeout", func(t *testing.T) { hangingProviderIsATimeout(t, g) })
	t.Run("metrics tell which server was asked", func(t *testing.T) { metricsHaveServerAddress(t, g) })
	t.Run("the service of the router is not asked", func(t *testing.T) { routerServiceIsUnused(t, g) })
	checkNoErrors(t, g)
}

// certificatesAreVerified has providers whose certificate is valid, invalid, and not verified.
func certificatesAreVerified(t *testing.T, g *gateway.Gateway) {
	authority, stranger := newAuthority(t), newAuthority(t)
	provider := newSecureFake(t, "provider", counting(0), authority)
	plain := newFake(t, "plain", counting(0))
	byName := strings.Replace(provider.URL, "127.0.0.1", "localhost", 1)
	tests := []struct {
		name       string
		address    string
		tls        map[string]any
		serverName string // that the provider sees
		refused    bool
	}{
		{name: "authority-of-its-own", address: byName, tls: map[string]any{"caFile": authority.File}, serverName: "localhost"},
		{name: "address", address: provider.URL, tls: map[string]any{"caFile": authority.File}},
		{name: "name-of-its-own", address: provider.URL, tls: map[string]any{"caFile": authority.File, "serverName": "localhost"}, serverName: "localhost"},
		{name: "not-verified", address: provider.URL, tls: map[string]any{"insecureSkipVerify": true}},
		{name: "not-verified-as-text", address: byName, tls: map[string]any{"insecureSkipVerify": "true"}, serverName: "localhost"},
		{name: "unknown-authority", address: byName, refused: true},
		{name: "other-authority", address: byName, tls: map[string]any{"caFile": stranger.File}, refused: true},
		{name: "other-name", address: provider.URL, tls: map[string]any{"caFile": authority.File, "serverName": "api.example.com"}, refused: true},
		{name: "no-TLS-there", address: strings.Replace(plain.URL, "http:", "https:", 1), tls: map[string]any{"insecureSkipVerify": true}, refused: true},
	}
	middlewares := map[string]map[string]any{}
	for _, test := range tests {
		middlewares[test.name] = at(t, test.address, map[string]any{"token": "sk-provider"})
		if test.tls != nil {
			middlewares[test.name]["tls"] = test.tls
		}
	}
	configure(t, g, hosted(middlewares))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before, number := len(provider.saw()), nextNumber()
			got := fetch(t, g.URL+"/"+test.name+chatPath, plainBody, map[string]string{numberHeader: strconv.Itoa(number)})
			if test.refused {
				checkOpenAIError(t, got, http.StatusBadGateway, "server_error", "provider_unreachable")
				if received := len(provider.saw()) - before; received != 0 {
					t.Errorf("the provider received %d requests, want none", received)
				}
				if got := loggedCall(t, g, number)["downstream_X-Ai-Error-Type"]; got != deadProvider {
					t.Errorf("the access log has the error type %q, want %q", got, deadProvider)
				}
				return
			}
			if got.status != http.StatusOK || got.provider() != "provider" {
				t.Fatalf("status %d from %q, want 200: %s", got.status, got.provider(), got.body)
			}
			if saw := provider.last(t); saw.serverName != test.serverName || saw.proto != "HTTP/2.0" {
				t.Errorf("the provider gets the server name %q over %s, want %q over HTTP/2.0", saw.serverName, saw.proto, test.serverName)
			}
		})
	}
}

// connectionsAreReused counts the connections of sequential and of concurrent requests, from two
// middlewares.
func connectionsAreReused(t *testing.T, g *gateway.Gateway) {
	const calls, clients = 200, 16
	authority := newAuthority(t)
	tests := []struct {
		name     string
		provider *fake
		tls      map[string]any
		proto    string
		most     int // connections, for concurrent requests
	}{
		{"plain", newFake(t, "plain", counting(0)), map[string]any{"enabled": false}, "HTTP/1.1", 2 * clients}, // a request may dial, then use a connection that became idle
		{"secure", newSecureFake(t, "secure", counting(0), authority), map[string]any{"caFile": authority.File}, "HTTP/2.0", 2},
	}
	middlewares := map[string]map[string]any{}
	for _, test := range tests {
		for i, model := range []string{openAIModel, deepSeekModel} {
			middlewares[test.name+strconv.Itoa(i)] = at(t, test.provider.URL, map[string]any{"model": model, "token": "sk-" + model, "tls": test.tls})
		}
	}
	configure(t, g, hosted(middlewares))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for number := range 20 {
				body := []string{plainBody, plainStream}[number/2%2]
				if got := fetch(t, g.URL+"/"+test.name+strconv.Itoa(number%2)+chatPath, body, nil); got.status != http.StatusOK {
					t.Fatalf("call %d: status %d, want 200: %s", number, got.status, got.body)
				}
			}
			if opened, _ := test.provider.connections(); opened != 1 {
				t.Errorf("%d connections for sequential requests, want 1", opened)
			}
			inParallel(t, calls, clients, func(client *http.Client, number int) error {
				return completes(client, g.URL+"/"+test.name+strconv.Itoa(number%2)+chatPath, number)
			})
			opened, _ := test.provider.connections()
			t.Logf("%d connections for %d requests, %d of them concurrent", opened, calls, clients)
			if opened > test.most {
				t.Errorf("%d connections for %d concurrent requests, want at most %d", opened, clients, test.most)
			}
			if got := test.provider.last(t).proto; got != test.proto {
				t.Errorf("the provider is called over %s, want %s", got, test.proto)
			}
		})
	}
}

// connectionsMayEnd has a provider that ends its HTTP/2 connection with GOAWAY after each response.
// It reports requests in flight as unprocessed.
func connectionsMayEnd(t *testing.T, g *gateway.Gateway) {
	const calls, clients = 200, 8
	authority := newAuthority(t)
	provider := newSecureFake(t, "provider", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Connection", "close")
		counting(0).ServeHTTP(rw, r)
	}), authority)
	configure(t, g, hosted(map[string]map[string]any{
		"chat": at(t, provider.URL, map[string]any{"token": "sk-provider", "tls": map[string]any{"caFile": authority.File}}),
	}))
	inParallel(t, calls, clients, func(client *http.Client, number int) error {
		return completes(client, g.URL+"/chat"+chatPath, number)
	})
	opened, _ := provider.connections()
	t.Logf("%d connections for %d requests", opened, calls)
	if received := len(provider.saw()); received != calls {
		t.Errorf("the provider received %d requests, want %d", received, calls)
	}
}

// queryAndPathReachTheProvider compares the client's request target with the one that the provider
// gets.
func queryAndPathReachTheProvider(t *testing.T, g *gateway.Gateway) {
	provider := newFake(t, "provider", complete(jsonType, `{"choices":[],"data":[]}`))
	open := map[string]string{"/v1/chat/completions": "completions", "*": "passthrough"}
	configure(t, g, hosted(map[string]map[string]any{
		"plain":  at(t, provider.URL, map[string]any{"token": "sk-provider", "routes": open}),
		"gemini": at(t, provider.URL, map[string]any{"provider": "gemini", "token": "sk-provider", "routes": open}),
		"fixed":  at(t, provider.URL, map[string]any{"provider": "azure", "token": "sk-provider", "path": "/deployments/x/chat"}),
	}))
	tests := []struct{ method, requested, want string }{
		{"POST", "/plain/v1/chat/completions", "/v1/chat/completions"},
		{"POST", "/plain/v1/chat/completions?api-version=2024-10-21", "/v1/chat/completions?api-version=2024-10-21"},
		{"POST", "/plain/v1/chat/completions?a=1&a=2&b=%20x+y&c&=d&e=%2F", "/v1/chat/completions?a=1&a=2&b=%20x+y&c&=d&e=%2F"},
		{"POST", "/plain/v1/chat/completions?note=100%", "/v1/chat/completions?note=100%"},
		{"GET", "/plain/v1/files/file-1/content?x=%C3%A9", "/v1/files/file-1/content?x=%C3%A9"},
		{"DELETE", "/plain/v1/files/file-1", "/v1/files/file-1"},
		{"GET", "/plain/health", "/plain/health"},
		{"POST", "/gemini/v1/chat/completions?x=1", "/v1beta/openai/chat/completions?x=1"},
		{"GET", "/gemini/v1/files/file-1?x=1", "/v1beta/openai/files/file-1?x=1"},
		{"POST", "/fixed/v1/chat/completions?api-version=2024-10-21", "/deployments/x/chat?api-version=2024-10-21"},
	}
	for _, test := range tests {
		var body io.Reader
		if test.method == http.MethodPost {
			body = strings.NewReader(plainBody)
		}
		request, err := http.NewRequestWithContext(t.Context(), test.method, g.URL+test.requested, body)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("%s %s: status %d, want 200", test.method, test.requested, response.StatusCode)
			continue
		}
		saw := provider.last(t)
		if saw.method != test.method || saw.target != test.want {
			t.Errorf("%s %s: the provider gets %s %s, want %s", test.method, test.requested, saw.method, saw.target, test.want)
		}
		if want := strings.TrimPrefix(provider.URL, "http://"); saw.host != want {
			t.Errorf("%s %s: the provider gets the host %s, want %s", test.method, test.requested, saw.host, want)
		}
	}
}

// providerDoesNotSeeWhereTheClientIs checks the headers that Traefik adds, and hop-by-hop headers.
func providerDoesNotSeeWhereTheClientIs(t *testing.T, g *gateway.Gateway) {
	provider := newFake(t, "provider", counting(0))
	configuration := at(t, provider.URL, map[string]any{"token": "sk-provider", "routes": map[string]string{"/v1/chat/completions": "completions", "*": "passthrough"}})
	configure(t, g, hosted(map[string]map[string]any{"chat": configuration}))
	for _, path := range []string{chatPath, "/v1/audio"} {
		got := fetch(t, g.URL+"/chat"+path, plainBody, map[string]string{
			"X-Forwarded-For": "192.0.2.1", "X-Forwarded-Host": "secret.example.com", "X-Real-Ip": "192.0.2.1", "Forwarded": "for=192.0.2.1",
			"Proxy-Authorization": "Basic c2VjcmV0", "Proxy-Connection": "keep-alive", "Te": "trailers", "Connection": "X-Hop", "X-Hop": "1",
			"Authorization": "Bearer sk-client", "Cookie": "session=1", "User-Agent": "OpenAI/Go 3.0", "X-Stainless-Lang": "go",
		})
		if got.status != http.StatusOK {
			t.Fatalf("%s: status %d, want 200: %s", path, got.status, got.body)
		}
		saw := provider.last(t).header
		for name := range saw {
			if strings.HasPrefix(name, "X-Forwarded") || strings.HasPrefix(name, "Proxy-") {
				t.Errorf("%s: the provider sees %s: %q", path, name, saw[name])
			}
		}
		for _, name := range []string{"X-Real-Ip", "Forwarded", "X-Hop", "Cookie", "Connection"} {
			if value, has := saw[name]; has {
				t.Errorf("%s: the provider sees %s: %q", path, name, value)
			}
		}
		for name, want := range map[string]string{
			"Authorization": "Bearer sk-provider", "User-Agent": "OpenAI/Go 3.0", "X-Stainless-Lang": "go", "Content-Type": jsonType,
		} {
			if got := saw.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%s: the provider sees %s %q, want %q", path, name, got, want)
			}
		}
	}
}

// metricsHaveServerAddress checks the address and the port in the attributes.
func metricsHaveServerAddress(t *testing.T, g *gateway.Gateway) {
	provider := newFake(t, "provider", counting(0))
	byName := strings.Replace(provider.URL, "127.0.0.1", "localhost", 1)
	configure(t, g, hosted(map[string]map[string]any{
		"address": at(t, provider.URL, map[string]any{"provider": "groq"}), "name": at(t, byName, map[string]any{"telemetry": map[string]any{"provider": "mine"}}),
	}))
	for _, name := range []string{"address", "name", "name"} {
		if got := fetch(t, g.URL+"/"+name+chatPath, plainBody, nil); got.status != http.StatusOK {
			t.Errorf("%s: status %d, want 200: %s", name, got.status, got.body)
		}
	}
	awaitTotals(t, "calls", totals{"groq/127.0.0.1": 1, "mine/localhost": 2}, func() totals {
		return labelled(exposed(t, g, callsSeries, "server_port", "gen_ai_provider_name", "server_address"), port(t, provider.URL))
	})
}

// TestReloadsLeakNoConnections replaces the configuration repeatedly, with calls in between.
func TestReloadsLeakNoConnections(t *testing.T) {
	const (
		turns         = 50
		clients       = 4
		mayGoroutines = 2*2*2*clients + 10 // two for each idle connection
	)
	provider, second := newFake(t, "provider", counting(0)), newFake(t, "second", counting(0))
	g := start(t, gateway.Options{})
	with := func(turn int) gateway.Dynamic {
		configuration := fallingBack(t, provider.URL, deepSeek(t, second.URL))
		configuration["params"] = map[string]any{"maxTokens": 100 + turn}
		return hosted(map[string]map[string]any{"chat": configuration, "down": fallingBack(t, dead(), deepSeek(t, second.URL))})
	}
	call := func() {
		inParallel(t, 40, clients, func(client *http.Client, number int) error {
			return completes(client, g.URL+[]string{"/chat", "/down"}[number%2]+chatPath, number)
		})
	}
	configure(t, g, hosted(nil))
	before := allGoroutines(t, g)
	configure(t, g, with(0))
	call()
	for turn := 1; turn <= turns; turn++ {
		configure(t, g, with(turn))
		for number, route := range []string{"/chat", "/down"} {
			if err := completes(http.DefaultClient, g.URL+route+chatPath, number); err != nil {
				t.Errorf("reload %d, %s: %v", turn, route, err)
			}
		}
	}
	call()
	for _, f := range []*fake{provider, second} {
		opened, open := f.connections()
		t.Logf("%s: %d connections were opened, %d are open", f.name, opened, open)
		if open > 2*clients {
			t.Errorf("%s: %d connections are open, want at most %d", f.name, open, 2*clients)
		}
	}
	configure(t, g, hosted(nil))
	await(t, fmt.Sprintf("not many more than the %d goroutines of before", before), func() bool {
		return allGoroutines(t, g) < before+mayGoroutines
	})
	if leaked := pluginGoroutines(t, g); leaked != 0 {
		t.Errorf("%d goroutines of the plugin are running, want none", leaked)
	}
	checkNoPanic(t, g)
}

// routerServiceIsUnused has a router's service in addition to a host.
func routerServiceIsUnused(t *testing.T, g *gateway.Gateway) {
	provider, service := newFake(t, "provider", counting(0)), newFake(t, "service", counting(0))
	dynamic := metered(at(t, provider.URL, map[string]any{"routes": map[string]string{
		"/v1/chat/completions": "completions", "/v1/models": "models", "*": "passthrough",
	}}), service.URL)
	configure(t, g, dynamic)
	for _, path := range []string{chatPath, "/v1/audio"} {
		if got := fetch(t, g.URL+path, plainBody, nil); got.provider() != "provider" {
			t.Errorf("%s: status %d from %q, want provider", path, got.status, got.provider())
		}
	}
	if got := len(service.saw()); got != 0 {
		t.Errorf("the service received %d requests, want none", got)
	}
}
