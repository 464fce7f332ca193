package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const (
	// firstByte is the upstream timeout in the tests.
	firstByte = 300 * time.Millisecond

	// allowedDelay is the time that other work may add to it, besides that of calls without a fault.
	allowedDelay = 50 * time.Millisecond
)

// usual returns how long calls to the address take at the moment: several times as long as a call,
// because a call beside it may be slower.
func usual(t *testing.T, address string) time.Duration {
	t.Helper()
	got := fetch(t, address, plainBody, nil)
	if got.status != http.StatusOK {
		t.Fatalf("a call without a fault: status %d, want 200: %s", got.status, got.body)
	}
	return 5 * got.took
}

// fallingBack returns the configuration of a middleware with OpenAI as the first provider, and
// fallbacks.
func fallingBack(t *testing.T, first string, others ...map[string]any) map[string]any {
	t.Helper()
	return at(t, first, map[string]any{
		"provider": "openai", "token": "sk-first", "timeouts": map[string]any{"firstByte": firstByte.String(), "connect": firstByte.String()}, "fallbacks": others,
	})
}

// deepSeek returns the configuration of a fallback.
func deepSeek(t *testing.T, address string) map[string]any {
	t.Helper()
	return at(t, address, map[string]any{"provider": "deepseek", "token": "sk-second", "model": deepSeekModel})
}

// hosted returns a configuration with the metrics, and a route below its name for each middleware
// with its own provider.
func hosted(middlewares map[string]map[string]any) gateway.Dynamic {
	dynamic := exposing()
	for name, configuration := range middlewares {
		dynamic.Middlewares[name] = gateway.Plugin(configuration)
		dynamic.Routers[name] = gateway.Router{Rule: "PathPrefix(`/" + name + "/`)", Middlewares: []string{name}, Service: "noop@internal"}
	}
	return dynamic
}

// startForwarding runs a gateway for middlewares with their own provider. Traefik logs requests to
// its internal services, such as noop, only if configured to.
func startForwarding(t *testing.T, environment ...string) *gateway.Gateway {
	t.Helper()
	return start(t, gateway.Options{
		AccessLog:        true,
		AccessLogHeaders: []string{numberHeader, modelHeader, attemptsHeader, "X-Ai-Error-Type", "X-Ai-Policy", "X-Ai-Input-Tokens"},
		Static:           map[string]any{"accessLog": map[string]any{"addInternals": true}},
		Env:              environment,
	})
}

// labelled returns the totals whose key begins with the label, keyed without it.
func labelled(all totals, label string) totals {
	some := totals{}
	for name, value := range all {
		if rest, has := strings.CutPrefix(name, label+"/"); has {
			some[rest] = value
		}
	}
	return some
}
