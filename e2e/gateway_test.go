// Package e2e_test tests the plugin in a real Traefik, with real clients, providers and telemetry
// backends.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// conditionTimeout bounds every wait for a condition, most of which take less than a second. Only a test that
// fails waits as long.
const conditionTimeout = time.Minute

const chatPath = "/v1/chat/completions"

// programs are the programs that the tests need.
var programs = backends.Programs

// TestMain builds all programs before any test runs, so that no test's time includes a build.
func TestMain(m *testing.M) {
	if err := backends.Build(context.Background(), os.Stderr, programs); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// start runs a gateway until the end of the test.
func start(t *testing.T, options gateway.Options) *gateway.Gateway {
	t.Helper()
	g, err := gateway.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logged, err := g.Errors()
			t.Logf("errors in Traefik's log: %q %v", logged, err)
		}
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
	})
	return g
}

// serve runs a gateway that sends every request through the plugin to the provider. Its access log keeps the headers.
func serve(t *testing.T, configuration map[string]any, provider http.Handler, kept ...string) *gateway.Gateway {
	t.Helper()
	upstream := httptest.NewServer(provider)
	t.Cleanup(upstream.Close)
	g := start(t, gateway.Options{AccessLog: true, AccessLogHeaders: kept})
	err := g.Load(t.Context(), gateway.Dynamic{
		Routers: map[string]gateway.Router{
			"chat": {Rule: "PathPrefix(`/`)", Middlewares: []string{"governed"}, Service: "provider"},
		},
		Middlewares: map[string]any{"governed": gateway.Plugin(configuration)},
		Services:    map[string]string{"provider": upstream.URL},
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// await waits until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(conditionTimeout); !holds(); {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("timed out after %v: %s", conditionTimeout, what)
		}
	}
}

// awaitAccessLog waits until Traefik has logged the number of requests.
func awaitAccessLog(t *testing.T, g *gateway.Gateway, requests int) {
	t.Helper()
	await(t, fmt.Sprintf("%d requests in the access log", requests), func() bool {
		return len(accessLog(t, g)) >= requests
	})
}

// accessLog returns the complete lines of Traefik's access log.
func accessLog(t *testing.T, g *gateway.Gateway) []map[string]any {
	t.Helper()
	content, err := os.ReadFile(g.AccessLogPath)
	if err != nil {
		t.Fatal(err)
	}
	var entries []map[string]any
	for line := range bytes.Lines(content) {
		var entry map[string]any
		if json.Unmarshal(line, &entry) == nil {
			entries = append(entries, entry)
		}
	}
	return entries
}

// checkNoErrors fails if Traefik logged an error.
func checkNoErrors(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	logged, err := g.Errors()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range logged {
		t.Errorf("Traefik logged an error: %s", line)
	}
}

// checkAlive fails if Traefik has exited.
func checkAlive(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	select {
	case <-g.Done():
		t.Fatal("Traefik has exited")
	default:
	}
}

// receive receives from the channel within conditionTimeout.
func receive[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(conditionTimeout):
		t.Fatalf("timed out after %v: %s", conditionTimeout, what)
		panic("unreachable")
	}
}
