package e2e_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const reloads = 100

// TestSeriesSurviveReloads replaces the configuration again and again in the midst of calls.
func TestSeriesSurviveReloads(t *testing.T) {
	const (
		mayGrow       = 32 << 20
		mayGoroutines = 20
	)
	collector := startCollector(t)
	provider := upstream(t, counting(0))
	g := start(t, gateway.Options{})
	without := metered(map[string]any{"model": "gpt-4o"}, provider.URL)
	// with is another configuration at each turn.
	with := func(turn int) gateway.Dynamic {
		return metered(map[string]any{
			"model": "gpt-4o", "params": map[string]any{"maxTokens": 100 + turn}, "telemetry": otlp(collector.URL),
		}, provider.URL)
	}

	configure(t, g, without)
	callAll(t, g.URL, 200, "")
	own := func() int { return interpretedGoroutines(t, g) }
	await(t, "the calls' goroutines end", func() bool { return own() == 0 })
	configure(t, g, with(0))
	callAll(t, g.URL, 200, "")
	await(t, "the exporter runs", func() bool { return own() > 0 })
	exporters := own()
	goroutines, memory := allGoroutines(t, g), settledRSS(t, g)

	ctx, stop := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	var made int
	calls.Add(1)
	go func() {
		defer calls.Done()
		for ; ctx.Err() == nil; made++ {
			if err := answered(http.DefaultClient, g.URL+chatPath, made); err != nil {
				t.Errorf("call %d: %v", made, err)
			}
		}
	}()
	before := exposed(t, g, callsSeries, "gen_ai_request_model")
	for turn := 1; turn <= reloads; turn++ {
		configure(t, g, with(turn))
		after := exposed(t, g, callsSeries, "gen_ai_request_model")
		for model, count := range before {
			if after[model] < count {
				t.Fatalf("reload %d: %v calls of %q, %v before", turn, after[model], model, count)
			}
		}
		before = after
	}
	stop()
	calls.Wait()
	awaitTotals(t, "calls", totals{"": float64(400 + made)}, func() totals { return exposed(t, g, callsSeries) })

	await(t, fmt.Sprintf("%d goroutines of the exporter, and not many more than %d of all", exporters, goroutines), func() bool {
		return own() == exporters && allGoroutines(t, g) < goroutines+mayGoroutines
	})
	await(t, fmt.Sprintf("memory falls to %d MiB over the %d MiB of before", mayGrow>>20, memory>>20), func() bool {
		return settledRSS(t, g) < memory+mayGrow
	})
	configure(t, g, without)
	await(t, "the exporter ends with the last configuration that wants it", func() bool { return own() == 0 })
	awaitTotals(t, "calls", totals{"": float64(400 + made)}, func() totals { return exposed(t, g, callsSeries) })
	checkNoErrors(t, g)
}

// allGoroutines is how many goroutines the gateway has.
func allGoroutines(t *testing.T, g *gateway.Gateway) int {
	t.Helper()
	return strings.Count(goroutineDump(t, g), "\ngoroutine ")
}

// interpretedGoroutines is how many goroutines the plugin has started by itself: not those that serve a request.
func interpretedGoroutines(t *testing.T, g *gateway.Gateway) int {
	t.Helper()
	found := 0
	for _, stack := range strings.Split(goroutineDump(t, g), "\n\n") {
		if strings.Contains(stack, "traefik/yaegi/interp.") && !strings.Contains(stack, "net/http.(*conn).serve") {
			found++
		}
	}
	return found
}

func goroutineDump(t *testing.T, g *gateway.Gateway) string {
	t.Helper()
	response, err := http.Get(g.API + "/debug/pprof/goroutine?debug=2")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	dump, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return "\n" + string(dump)
}

// checkNoPanic fails if Traefik logged a panic; errors such as of an export may be there.
func checkNoPanic(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	checkAlive(t, g)
	logged, err := g.Errors()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range logged {
		if strings.Contains(line, "panic") {
			t.Errorf("Traefik logged a panic: %s", line)
		}
	}
}
