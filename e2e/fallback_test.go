package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestFallbacks checks which requests fail over, which do not, and what each provider receives.
func TestFallbacks(t *testing.T) {
	g := startForwarding(t, "SECOND_KEY=sk-second")
	t.Run("other answers are not repeated", func(t *testing.T) { otherResponsesAreNotRepeated(t, g) })
	t.Run("an answer that has begun is not repeated", func(t *testing.T) { begunResponsesAreNotRepeated(t, g) })
	t.Run("all providers fail", func(t *testing.T) { allProvidersFail(t, g) })
	t.Run("keys go to their providers only", func(t *testing.T) { keysGoToTheirProvidersOnly(t, g) })
	t.Run("a client that leaves starts no other attempt", func(t *testing.T) { leavingStartsNoOtherAttempt(t, g) })
	t.Run("the last provider is never skipped", func(t *testing.T) { lastProviderIsNeverSkipped(t, g) })
	t.Run("every kind of endpoint falls back", func(t *testing.T) { everyKindFallsBack(t, g) })
	t.Run("every attempt has a record", func(t *testing.T) { everyAttemptHasARecord(t, g) })
	t.Run("each provider gets the whole request", func(t *testing.T) { eachProviderGetsTheWholeRequest(t, g) })
	checkNoErrors(t, g)
}

// otherResponsesAreNotRepeated has responses that do not cause a failover.
func otherResponsesAreNotRepeated(t *testing.T, g *gateway.Gateway) {
	statuses := []int{200, 201, 301, 400, 401, 403, 404, 408, 413, 422}
	var status atomic.Int64
	const refusal = `{"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}`
	first := newFake(t, "first", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		responding(int(status.Load()), refusal, "Location", "/elsewhere").ServeHTTP(rw, r)
	}))
	second := newFake(t, "second", counting(0))
	configure(t, g, hosted(map[string]map[string]any{"chat": fallingBack(t, first.URL, deepSeek(t, second.URL))}))
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, want := range statuses {
		status.Store(int64(want))
		response, err := do(t.Context(), client, g.URL+"/chat"+chatPath, plainBody, nil)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != want || string(content) != refusal || err != nil {
			t.Errorf("status %d, %q, %v, want the provider's own %d", response.StatusCode, content, err, want)
		}
	}
	if got := len(first.saw()); got != len(statuses) {
		t.Errorf("the first provider received %d requests, want %d", got, len(statuses))
	}
	if got := len(second.saw()); got != 0 {
		t.Errorf("the second provider received %d requests, want none", got)
	}
}

// begunResponsesAreNotRepeated breaks and delays responses whose first byte has arrived.
func begunResponsesAreNotRepeated(t *testing.T, g *gateway.Gateway) {
	tests := []struct {
		name      string
		body      string
		first     http.HandlerFunc
		errorType string
		begins    string
		ends      string
		broken    bool
	}{
		{name: "stream-that-breaks", body: plainStream, first: ofLength(eventType, oneEvent, 0), errorType: "provider_cut", begins: oneEvent, broken: true},
		{name: "stream-that-pauses", body: plainStream, first: pausing, begins: "data: ", ends: "data: [DONE]\n\n"},
		{name: "stream-of-a-comment", body: plainStream, first: ofLength(eventType, ": wait\n\n", 0), errorType: "provider_cut", begins: ": wait", broken: true},
		{name: "document-that-breaks", body: plainBody, first: ofLength(jsonType, `{"choices":[`, 0), errorType: "provider_cut", begins: `{"choices":[`, broken: true},
		{name: "stream-with-an-error", body: plainStream, first: complete(eventType, "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n"), errorType: "error_event", begins: "data: {\"error\""},
	}
	second := newFake(t, "second", counting(0))
	middlewares := map[string]map[string]any{}
	for _, test := range tests {
		middlewares[test.name] = fallingBack(t, newFake(t, "first", test.first).URL, deepSeek(t, second.URL))
	}
	configure(t, g, hosted(middlewares))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			number := nextNumber()
			got := fetch(t, g.URL+"/"+test.name+chatPath, test.body, map[string]string{numberHeader: strconv.Itoa(number)})
			if got.provider() != "first" || !strings.HasPrefix(got.body, test.begins) || !strings.HasSuffix(got.body, test.ends) {
				t.Errorf("status %d from %q: %q, want the first provider's %q ... %q", got.status, got.provider(), got.body, test.begins, test.ends)
			}
			if broken := got.err != nil; broken != test.broken {
				t.Errorf("the response ends with %v, want broken = %t", got.err, test.broken)
			}
			line := loggedCall(t, g, number)
			if got := line["downstream_"+attemptsHeader]; got != "openai=200" {
				t.Errorf("the access log has the attempts %q, want openai=200", got)
			}
			if got, _ := line["downstream_X-Ai-Error-Type"].(string); got != test.errorType {
				t.Errorf("the access log has the error type %q, want %q", got, test.errorType)
			}
		})
	}
	if got := len(second.saw()); got != 0 {
		t.Errorf("the second provider received %d requests, want none", got)
	}
}

// allProvidersFail checks what the client gets if all providers fail.
func allProvidersFail(t *testing.T, g *gateway.Gateway) {
	busy := newFake(t, "busy", responding(429, `{"error":{"message":"slow down"}}`))
	tests := []struct {
		name           string
		configuration  map[string]any
		status         int
		code, attempts string
		errorType      string
	}{
		{"unreachable", fallingBack(t, dead(), deepSeek(t, dead())), 502, "provider_unreachable", "openai=connection_failed,deepseek=connection_failed", "connection_failed"},
		{"silent", fallingBack(t, silent(t), deepSeek(t, silent(t))), 504, "provider_timeout", "openai=timeout,deepseek=timeout", "timeout"},
		{"busy-and-unreachable", fallingBack(t, busy.URL, deepSeek(t, dead())), 502, "provider_unreachable", "openai=429,deepseek=connection_failed", "connection_failed"},
		{"unreachable-and-silent", fallingBack(t, dead(), deepSeek(t, silent(t))), 504, "provider_timeout", "openai=connection_failed,deepseek=timeout", "timeout"},
		{"one-unreachable", fallingBack(t, dead()), 502, "provider_unreachable", "openai=connection_failed", "connection_failed"},
		{"one-silent", fallingBack(t, silent(t)), 504, "provider_timeout", "openai=timeout", "timeout"},
	}
	middlewares := map[string]map[string]any{}
	for _, test := range tests {
		middlewares[test.name] = test.configuration
	}
	configure(t, g, hosted(middlewares))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, body := range []string{plainBody, plainStream} {
				number := nextNumber()
				got := fetch(t, g.URL+"/"+test.name+chatPath, body, map[string]string{numberHeader: strconv.Itoa(number)})
				checkOpenAIError(t, got, test.status, "server_error", test.code)
				line := loggedCall(t, g, number)
				if got, _ := line["downstream_"+attemptsHeader].(string); got != test.attempts {
					t.Errorf("the access log has the attempts %q, want %q", got, test.attempts)
				}
				if got := line["downstream_X-Ai-Error-Type"]; got != test.errorType {
					t.Errorf("the access log has the error type %q, want %q", got, test.errorType)
				}
			}
		})
	}
}

// keysGoToTheirProvidersOnly has providers with a key, without one, and with a different header.
func keysGoToTheirProvidersOnly(t *testing.T, g *gateway.Gateway) {
	own := map[string]string{
		"Authorization": "Bearer sk-of-the-client", "X-Api-Key": "sk-of-the-client", "X-Goog-Api-Key": "sk-of-the-client", "Cookie": "session=sk-of-the-client",
	}
	var providers [4]*fake
	for i := range providers {
		handler := responding(503, "{}")
		if i == len(providers)-1 {
			handler = counting(0).ServeHTTP
		}
		providers[i] = newFake(t, fmt.Sprint(i), handler)
	}
	others := func() []map[string]any {
		return []map[string]any{
			at(t, providers[1].URL, map[string]any{"provider": "deepseek", "token": "urn:env:SECOND_KEY"}),
			at(t, providers[2].URL, map[string]any{"provider": "ollama"}),
			at(t, providers[3].URL, map[string]any{"provider": "openai-compatible", "token": "sk-fourth", "authHeader": map[string]any{"name": "X-Key", "prefix": "Key "}, "path": "/chat"}),
		}
	}
	withKey := fallingBack(t, providers[0].URL, others()...)
	withoutKey := fallingBack(t, providers[0].URL, others()...)
	delete(withoutKey, "token")
	configure(t, g, hosted(map[string]map[string]any{"with-key": withKey, "without-key": withoutKey}))
	keyHeaders := []string{"Authorization", "Api-Key", "X-Api-Key", "X-Goog-Api-Key", "X-Key", "Cookie"}
	for i, test := range []struct{ route, first string }{{"with-key", "Bearer sk-first"}, {"without-key", "Bearer sk-of-the-client"}} {
		got := fetch(t, g.URL+"/"+test.route+chatPath, plainBody, own)
		if got.provider() != "3" {
			t.Fatalf("%s: status %d from %q, want 200 from the last provider: %s", test.route, got.status, got.provider(), got.body)
		}
		want := []map[string]string{{"Authorization": test.first}, {"Authorization": "Bearer sk-second"}, {}, {"X-Key": "Key sk-fourth"}}
		for n, provider := range providers {
			saw := provider.saw()
			if len(saw) != i+1 {
				t.Fatalf("%s: provider %d received %d requests, want %d", test.route, n, len(saw), i+1)
			}
			keys := map[string]string{}
			for _, name := range keyHeaders {
				if value := saw[i].header.Get(name); value != "" && (n > 0 || test.route == "with-key" || name == "Authorization") {
					keys[name] = value
				}
			}
			if !maps.Equal(keys, want[n]) {
				t.Errorf("%s: provider %d sees the keys %v, want %v", test.route, n, keys, want[n])
			}
		}
	}
	if got := providers[3].last(t).target; got != "/chat" {
		t.Errorf("the last provider received %s, want its own path /chat", got)
	}
}

// leavingStartsNoOtherAttempt has clients disconnect while the first provider is silent.
func leavingStartsNoOtherAttempt(t *testing.T, g *gateway.Gateway) {
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	first := newFake(t, "first", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		began <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	second := newFake(t, "second", counting(0))
	configuration := fallingBack(t, first.URL, deepSeek(t, second.URL))
	configuration["timeouts"] = map[string]any{"firstByte": conditionTimeout.String()}
	configuration["telemetry"] = map[string]any{"labels": map[string]string{"fault": "client-leaves"}}
	configure(t, g, hosted(map[string]map[string]any{"chat": configuration}))
	bodies := []string{plainBody, plainStream, plainBody, plainStream} // more than three: a client's disconnect must not open the circuit
	for _, body := range bodies {
		number := nextNumber()
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			response, err := do(ctx, http.DefaultClient, g.URL+"/chat"+chatPath, body, map[string]string{numberHeader: strconv.Itoa(number)})
			if err == nil {
				_ = response.Body.Close()
			}
			left <- err
		}()
		receive(t, "the request reaches the first provider", began)
		leave()
		receive(t, "the first provider's request ends", ended)
		if err := receive(t, "the client has disconnected", left); !errors.Is(err, context.Canceled) {
			t.Errorf("the client's request ended by %v, want %v", err, context.Canceled)
		}
		if line := loggedCall(t, g, number); line["downstream_X-Ai-Error-Type"] != "client_gone" {
			t.Errorf("the access log has the error type %q, want client_gone", line["downstream_X-Ai-Error-Type"])
		}
	}
	awaitTotals(t, "calls", totals{"openai/client_gone": float64(len(bodies))}, func() totals {
		return labelled(exposed(t, g, callsSeries, "fault", "gen_ai_provider_name", "error_type"), "client-leaves")
	})
	if got := len(second.saw()); got != 0 {
		t.Errorf("the second provider received %d requests, want none", got)
	}
}

// lastProviderIsNeverSkipped has the last provider fail repeatedly, and an earlier one fail with
// errors that a client may have caused.
func lastProviderIsNeverSkipped(t *testing.T, g *gateway.Gateway) {
	const calls = 6
	first := newFake(t, "first", responding(500, `{"error":{"message":"first"}}`))
	second := newFake(t, "second", responding(503, `{"error":{"message":"second"}}`, "Retry-After", "60"))
	only := newFake(t, "only", responding(503, `{"error":{"message":"only"}}`, "Retry-After", "60"))
	configure(t, g, hosted(map[string]map[string]any{"two": fallingBack(t, first.URL, deepSeek(t, second.URL)), "one": fallingBack(t, only.URL)}))
	for call := range calls {
		for route, want := range map[string]string{"two": "second", "one": "only"} {
			got := fetch(t, g.URL+"/"+route+chatPath, plainBody, nil)
			if got.status != http.StatusServiceUnavailable || got.body != `{"error":{"message":"`+want+`"}}` || got.header.Get("Retry-After") != "60" {
				t.Errorf("%s, call %d: status %d, %s, want the unmodified response of %s", route, call, got.status, got.body, want)
			}
		}
	}
	for _, provider := range []*fake{first, second, only} {
		if got := len(provider.saw()); got != calls {
			t.Errorf("%s received %d requests, want %d", provider.name, got, calls)
		}
	}
}

// everyKindFallsBack checks paths and models of endpoints other than chat completions.
func everyKindFallsBack(t *testing.T, g *gateway.Gateway) {
	first, second := newFake(t, "first", responding(503, "{}")), newFake(t, "second", complete(jsonType, `{"object":"list","data":[]}`))
	configuration := fallingBack(t, first.URL, deepSeek(t, second.URL))
	configuration["routes"] = map[string]string{"/v1/embeddings": "embeddings", "/v1/responses": "responses", "/v1/images/generations": "passthrough: governed"}
	for _, test := range []struct{ path, body string }{
		{"/embeddings", `{"model":"gpt-4o","input":"Hi"}`},
		{"/responses", `{"model":"gpt-4o","input":"Hi"}`},
		{"/images/generations", `{"model":"gpt-4o","prompt":"A gate"}`},
	} {
		configure(t, g, hosted(map[string]map[string]any{"kinds": configuration})) // a new configuration closes the circuit
		got := fetch(t, g.URL+"/kinds/v1"+test.path, test.body, nil)
		if got.status != http.StatusOK || got.provider() != "second" {
			t.Errorf("%s: status %d from %q, want 200 from second: %s", test.path, got.status, got.provider(), got.body)
			continue
		}
		if saw := first.last(t); saw.target != "/v1"+test.path || saw.body != test.body {
			t.Errorf("the first provider receives %s: %s, want /v1%s: %s", saw.target, saw.body, test.path, test.body)
		}
		if saw, want := second.last(t), of(deepSeekModel, test.body); saw.target != test.path || saw.body != want {
			t.Errorf("the second provider receives %s: %s, want %s: %s", saw.target, saw.body, test.path, want)
		}
	}
}

// everyAttemptHasARecord has a provider that fails now and then, during many concurrent calls.
func everyAttemptHasARecord(t *testing.T, g *gateway.Gateway) {
	const calls, clients = 300, 8
	var received, failed atomic.Int64
	first := newFake(t, "first", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if received.Add(1)%3 == 0 {
			failed.Add(1)
			failing(http.StatusServiceUnavailable)(rw, r)
			return
		}
		counting(0).ServeHTTP(rw, r)
	}))
	second := newFake(t, "second", counting(0))
	configuration := fallingBack(t, first.URL, deepSeek(t, second.URL))
	configuration["telemetry"] = map[string]any{"log": "stdout", "labels": map[string]string{"fault": "now-and-then"}}
	configuration["timeouts"] = map[string]any{"firstByte": conditionTimeout.String()}
	configure(t, g, hosted(map[string]map[string]any{"chat": configuration}))
	inParallel(t, calls, clients, func(client *http.Client, number int) error {
		return completes(client, g.URL+"/chat"+chatPath, number)
	})
	ofFirst, ofSecond := len(first.saw()), len(second.saw())
	t.Logf("the first provider received %d requests and failed %d times, the second received %d requests", ofFirst, failed.Load(), ofSecond)
	if sent := ofFirst - int(failed.Load()) + ofSecond; sent != calls {
		t.Errorf("the providers sent %d responses, want %d", sent, calls)
	}
	want := totals{"openai/": float64(ofFirst) - float64(failed.Load()), "openai/503": float64(failed.Load()), "deepseek/": float64(ofSecond)}
	awaitTotals(t, "attempts", want, func() totals {
		return labelled(exposed(t, g, callsSeries, "fault", "gen_ai_provider_name", "error_type"), "now-and-then")
	})
	await(t, "a line of the log for each attempt", func() bool { return len(callLines(t, g.LogPath)) == ofFirst+ofSecond })
}

// largeBody exceeds every buffer between client and provider.
var largeBody = `{"model":"gpt-4o","messages":[{"role":"user","content":"` + strings.Repeat("0123456789abcdef", 600<<10) + `"}]}`

// eachProviderGetsTheWholeRequest has first providers that read nothing, or only a part, of a large
// body.
func eachProviderGetsTheWholeRequest(t *testing.T, g *gateway.Gateway) {
	const patience = 10 * firstByte // a large body takes time to send
	want := strings.Replace(largeBody, openAIModel, deepSeekModel, 1)
	second := newFake(t, "second", complete(jsonType, `{"choices":[]}`))
	tests := []struct{ name, address string }{
		{"reads-nothing-and-answers", impatient(t, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")},
		{"reads-a-part-and-closes", impatient(t, "")},
		{"reads-nothing-and-is-silent", silent(t)},
	}
	middlewares := map[string]map[string]any{}
	for _, test := range tests {
		middlewares[test.name] = fallingBack(t, test.address, deepSeek(t, second.URL))
		middlewares[test.name]["timeouts"] = map[string]any{"firstByte": patience.String()}
	}
	configure(t, g, hosted(middlewares))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := fetch(t, g.URL+"/"+test.name+chatPath, largeBody, nil)
			if got.status != http.StatusOK || got.provider() != "second" {
				t.Fatalf("status %d from %q, want 200 from second: %s", got.status, got.provider(), got.body)
			}
			if allowed := 2 * patience; got.took > allowed {
				t.Errorf("the response took %v, want at most %v", got.took, allowed)
			}
			if saw := second.last(t).body; saw != want {
				t.Errorf("the second provider gets %d bytes, want the client's %d with another model", len(saw), len(want))
			}
		})
	}
}

// impatient returns the URL of a server that reads the beginning of a request, writes the response,
// and closes the connection.
func impatient(t *testing.T, response string) string {
	t.Helper()
	return listening(t, func(connection net.Conn) {
		_, _ = bufio.NewReader(connection).ReadString('\n')
		_, _ = io.WriteString(connection, response)
	})
}
