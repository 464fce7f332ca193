package e2e_test

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestRetriedRequestsAreCountedOnce has requests that Traefik's Retry or the transport sends again.
func TestRetriedRequestsAreCountedOnce(t *testing.T) {
	g := start(t, gateway.Options{})
	t.Run("Retry", func(t *testing.T) { retriesAreCounted(t, g) })
	t.Run("connections that turn out to be closed", func(t *testing.T) { closedConnectionsAreCounted(t, g) })
	checkNoErrors(t, g)
}

// retriesAreCounted has Traefik's Retry before and after the middleware, with dead and healthy
// providers. After it, all attempts are one call. Before it, each attempt is a call, and only the
// last one can have a response.
func retriesAreCounted(t *testing.T, g *gateway.Gateway) {
	provider := newFake(t, "provider", counting(0))
	dynamic := exposing()
	dynamic.RawServices = map[string]any{}
	dynamic.Services = map[string]string{"well": provider.URL, "dead": dead()}
	dynamic.RawServices["by turns"] = map[string]any{"loadBalancer": map[string]any{"servers": []any{
		map[string]any{"url": dead()}, map[string]any{"url": provider.URL},
	}}}
	dynamic.Middlewares["retry"] = map[string]any{"retry": map[string]any{"attempts": 3}}
	tests := []struct {
		name, service string
		middlewares   []string // nil: only the governing one
		status        int
		want          totals
	}{
		{name: "front-well", service: "well", middlewares: []string{"retry", "front-well"}, status: 200, want: totals{"": 1}},
		{name: "front-dead", service: "dead", middlewares: []string{"retry", "front-dead"}, status: 502, want: totals{deadProvider: 1, "body_already_read": 1}},
		{name: "behind-well", service: "well", middlewares: []string{"behind-well", "retry"}, status: 200, want: totals{"": 1}},
		{name: "behind-dead", service: "dead", middlewares: []string{"behind-dead", "retry"}, status: 502, want: totals{deadProvider: 1}},
		{name: "behind-by-turns", service: "by turns", middlewares: []string{"behind-by-turns", "retry"}, status: 200, want: totals{"": 1}},
	}
	for _, test := range tests {
		dynamic.Middlewares[test.name] = gateway.Plugin(map[string]any{"model": openAIModel, "telemetry": map[string]any{"labels": map[string]string{"fault": test.name}}})
		dynamic.Routers[test.name] = gateway.Router{Rule: "PathPrefix(`/" + test.name + "/`)", Middlewares: test.middlewares, Service: test.service}
	}
	configure(t, g, dynamic)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			const calls = 4 // two for each of the alternating servers
			before := len(provider.saw())
			wanted, tokens := totals{}, totals{}
			for range calls {
				number := nextNumber()
				got := fetch(t, g.URL+"/"+test.name+chatPath, plainBody, map[string]string{numberHeader: strconv.Itoa(number)})
				if got.status != test.status || got.err != nil {
					t.Errorf("status %d, %v, want %d: %s", got.status, got.err, test.status, got.body)
				}
				if test.status == http.StatusOK {
					tokens.add(float64(inputTokens(number)), []string{"input"})
					tokens.add(float64(outputTokens(number)), []string{"output"})
				}
			}
			for errorType, count := range test.want {
				wanted[errorType] = calls * count
			}
			awaitTotals(t, "calls", wanted, func() totals { return labelled(exposed(t, g, callsSeries, "fault", "error_type"), test.name) })
			awaitTotals(t, "tokens", tokens, func() totals { return labelled(exposed(t, g, tokensSeries, "fault", "gen_ai_token_type"), test.name) })
			if received := len(provider.saw()) - before; float64(received) != wanted[""] {
				t.Errorf("the provider received %d requests, want %v", received, wanted[""])
			}
		})
	}
}

// closedConnectionsAreCounted has a provider that closes each connection when the second request on
// it arrives. Go's transport sends a request again if the client allows it with an Idempotency-Key;
// otherwise the call fails.
func closedConnectionsAreCounted(t *testing.T, g *gateway.Gateway) {
	const calls = 10
	for _, test := range []struct {
		name, way string
		header    map[string]string
		received  int64
		want      totals
	}{
		{"by-service", byService, nil, calls, totals{"": calls / 2, deadProvider: calls / 2}},
		{"by-host", byHost, nil, calls, totals{"": calls / 2, deadProvider: calls / 2}},
		{"idempotent", byHost, map[string]string{"Idempotency-Key": "1"}, 2*calls - 1, totals{"": calls}},
	} {
		t.Run(test.name, func(t *testing.T) {
			address, received := closingTheSecond(t)
			configure(t, g, matrixWays(t, address, dead()))
			header := map[string]string{faultHeader: test.name}
			maps.Copy(header, test.header)
			for range calls {
				fetch(t, g.URL+"/"+test.way+chatPath, plainBody, header)
			}
			if got := received.Load(); got != test.received {
				t.Errorf("the provider received %d requests, want %d", got, test.received)
			}
			awaitTotals(t, "calls", test.want, func() totals { return labelled(exposed(t, g, callsSeries, "fault", "error_type"), test.name) })
			tokens := totals{"input": matrixInput * test.want[""], "output": matrixOutput * test.want[""]}
			awaitTotals(t, "tokens", tokens, func() totals { return labelled(exposed(t, g, tokensSeries, "fault", "gen_ai_token_type"), test.name) })
		})
	}
}

// closingTheSecond returns the URL of a provider that responds to the first request of each
// connection and closes the connection at the second one, and the number of its requests.
func closingTheSecond(t *testing.T) (string, *atomic.Int64) {
	t.Helper()
	received := &atomic.Int64{}
	address := listening(t, func(connection net.Conn) {
		requests := bufio.NewReader(connection)
		for isFirst := true; ; isFirst = false {
			request, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			received.Add(1)
			if !isFirst {
				return
			}
			_, _ = io.WriteString(connection, withLength(jsonType, matrixDocument))
		}
	})
	return address, received
}
