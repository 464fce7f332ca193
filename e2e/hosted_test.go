package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const (
	// firstByte is the timeout of the tests, after which a provider that is silent is given up.
	firstByte = 300 * time.Millisecond

	// allowedDelay is what may pass beside that.
	allowedDelay = 50 * time.Millisecond
)

// fallingBack is the configuration of a middleware with a first provider, OpenAI's, and then others.
func fallingBack(t *testing.T, first string, others ...map[string]any) map[string]any {
	t.Helper()
	return at(t, first, map[string]any{
		"provider": "openai", "token": "sk-first", "timeouts": map[string]any{"firstByte": firstByte.String(), "connect": firstByte.String()}, "fallbacks": others,
	})
}

// deepSeek is the configuration of a provider to fall back to.
func deepSeek(t *testing.T, address string) map[string]any {
	t.Helper()
	return at(t, address, map[string]any{"provider": "deepseek", "token": "sk-second", "model": deepSeekModel})
}

// hosted has the metrics, and a route for each middleware with a provider of its own, below its name.
func hosted(middlewares map[string]map[string]any) gateway.Dynamic {
	dynamic := exposing()
	for name, configuration := range middlewares {
		dynamic.Middlewares[name] = gateway.Plugin(configuration)
		dynamic.Routers[name] = gateway.Router{Rule: "PathPrefix(`/" + name + "/`)", Middlewares: []string{name}, Service: "noop@internal"}
	}
	return dynamic
}

// startForwarding runs a gateway for middlewares that forward by themselves. Traefik logs requests to services of its own,
// such as noop, only if told to.
func startForwarding(t *testing.T, environment ...string) *gateway.Gateway {
	t.Helper()
	return start(t, gateway.Options{
		AccessLog:        true,
		AccessLogHeaders: []string{numberHeader, modelHeader, attemptsHeader, "X-Ai-Error-Type", "X-Ai-Policy", "X-Ai-Input-Tokens"},
		Static:           map[string]any{"accessLog": map[string]any{"addInternals": true}},
		Env:              environment,
	})
}

// labelled are the totals that begin with the label, without it.
func labelled(all totals, label string) totals {
	some := totals{}
	for name, value := range all {
		if rest, has := strings.CutPrefix(name, label+"/"); has {
			some[rest] = value
		}
	}
	return some
}
