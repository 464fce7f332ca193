package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/demo"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const reloads = 100

// TestSeriesSurviveReloads replaces the configuration repeatedly during calls.
func TestSeriesSurviveReloads(t *testing.T) {
	const (
		mayGrow       = 32 << 20
		mayGoroutines = 20
	)
	collector := startCollector(t)
	provider := upstream(t, counting(0))
	g := start(t, gateway.Options{})
	without := metered(map[string]any{"model": "gpt-4o"}, provider.URL)
	// with returns a different configuration for each turn.
	with := func(turn int) gateway.Dynamic {
		return metered(map[string]any{
			"model": "gpt-4o", "params": map[string]any{"maxTokens": 100 + turn}, "telemetry": otlp(collector.URL),
		}, provider.URL)
	}

	configure(t, g, without)
	callAll(t, g.URL, 200, "")
	own := func() int { return pluginGoroutines(t, g) }
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
			if err := completes(http.DefaultClient, g.URL+chatPath, made); err != nil {
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
	await(t, "the exporter ends with the last configuration that uses it", func() bool { return own() == 0 })
	awaitTotals(t, "calls", totals{"": float64(400 + made)}, func() totals { return exposed(t, g, callsSeries) })
	checkNoErrors(t, g)
}

// turnKey returns the key of a team's provider in a turn's configuration. Each turn has its own
// token limit.
func turnKey(team string, turn int) (key string, maxTokens int) {
	return fmt.Sprintf("sk-%s-%d", team, turn), 100 + turn
}

// teamOf returns the team of a client from the number in its marker.
func teamOf(client int) string { return teams[client%len(teams)] }

// TestReloadsNeverMixConfigurations replaces the configuration every 100 ms during calls and
// streams that outlive it. Each configuration has its own keys, and a limit that identifies it.
func TestReloadsNeverMixConfigurations(t *testing.T) {
	const clients, turns, interval = 24, 30, 100 * time.Millisecond
	handler := demo.Handler(demo.Options{Chunks: 20, Interval: interval / 5})
	provider := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = checkTurn(r, body)
		}
		if err != nil {
			t.Errorf("provider: %v", err)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		rw.Header().Set(markerHeader, r.Header.Get(markerHeader))
		handler.ServeHTTP(rw, r)
	}))
	// The first team's provider is the service, the second team's a host, and the third team's the
	// fallback of a dead host.
	configuration := func(turn int) gateway.Dynamic {
		dynamic := exposing()
		dynamic.Services["provider"] = provider.URL
		for i, team := range teams {
			key, maxTokens := turnKey(team, turn)
			keys := map[string]any{
				"token": key, "model": "gpt-4o-mini", "path": chatPath, "params": map[string]any{"maxTokens": maxTokens},
				"telemetry": map[string]any{"labels": map[string]string{"team": team}},
			}
			switch i {
			case 1:
				keys = at(t, provider.URL, keys)
			case 2:
				keys["fallbacks"] = []any{at(t, provider.URL, map[string]any{"token": key, "provider": "openai-compatible", "path": chatPath})}
				keys["token"] = "sk-of-nobody"
				keys = at(t, dead(), keys)
			}
			dynamic.Middlewares[team] = gateway.Plugin(keys)
			dynamic.Routers[team] = gateway.Router{Rule: "PathPrefix(`/" + team + "/`)", Middlewares: []string{team}, Service: "provider"}
		}
		return dynamic
	}
	g := start(t, gateway.Options{})
	configure(t, g, configuration(0))

	ctx, stop := context.WithCancel(t.Context())
	connections := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	t.Cleanup(connections.CloseIdleConnections)
	calls, tokens := totals{}, totals{}
	var mutex sync.Mutex
	var running sync.WaitGroup
	for client := range clients {
		running.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				marker := fmt.Sprintf("marker-%d-%d-", client, i)
				if err := exchange(connections, g.URL+"/"+teamOf(client), marker, (client+i)%2 == 0); err != nil {
					t.Errorf("client %d, request %d: %v", client, i, err)
				}
				mutex.Lock()
				calls[teamOf(client)+"/"]++
				tokens[teamOf(client)+"/input"] += demoTokens(prompt(marker))
				tokens[teamOf(client)+"/output"] += demoTokens("gpt-4o-mini heard: " + prompt(marker))
				mutex.Unlock()
			}
		})
	}
	ticks := time.NewTicker(interval)
	defer ticks.Stop()
	for turn := range turns {
		configure(t, g, configuration(turn+1))
		<-ticks.C
	}
	stop()
	running.Wait()

	attempts := exposed(t, g, callsSeries, "team", "error_type")
	t.Logf("%d configurations, calls %v", turns, attempts)
	calls[teams[2]+"/"+deadProvider] = attempts[teams[2]+"/"+deadProvider] // some calls skip the dead provider
	awaitTotals(t, "calls", calls, func() totals { return exposed(t, g, callsSeries, "team", "error_type") })
	awaitTotals(t, "tokens", tokens, func() totals { return exposed(t, g, tokensSeries, "team", "gen_ai_token_type") })
	await(t, "no goroutine of the plugin is left", func() bool { return pluginGoroutines(t, g) == 0 })
	checkNoErrors(t, g)
}

// demoTokens returns the number of tokens of a text as the demo provider counts them.
func demoTokens(text string) float64 { return float64((len(text) + 3) / 4) }

// checkTurn returns an error unless a request has the key and the limit of the same configuration
// and of its client's team.
func checkTurn(r *http.Request, body []byte) error {
	marker := r.Header.Get(markerHeader)
	var client, number int
	if _, err := fmt.Sscanf(marker, "marker-%d-%d-", &client, &number); err != nil {
		return fmt.Errorf("%q: %w", marker, err)
	}
	var request struct {
		MaxTokens int `json:"max_tokens"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return fmt.Errorf("%s: %w", marker, err)
	}
	want, _ := turnKey(teamOf(client), request.MaxTokens-100)
	if got := r.Header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer "+want {
		return fmt.Errorf("%s: Authorization = %q with max_tokens %d, want %q", marker, got, request.MaxTokens, want)
	}
	return onlyMarker(string(body), marker, prompt(marker))
}

// allGoroutines returns the number of the gateway's goroutines.
func allGoroutines(t *testing.T, g *gateway.Gateway) int {
	t.Helper()
	return strings.Count(goroutineDump(t, g), "\ngoroutine ")
}

// pluginGoroutines returns the number of goroutines that the plugin has started, excluding
// those that serve requests.
func pluginGoroutines(t *testing.T, g *gateway.Gateway) int {
	t.Helper()
	found := 0
	for _, stack := range strings.Split(goroutineDump(t, g), "\n\n") {
		runs := strings.Contains(stack, "traefik/yaegi/interp.") || strings.Contains(stack, gateway.Module+".") // interpreted, compiled
		if runs && !strings.Contains(stack, "net/http.(*conn).serve") {
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

// checkNoPanic fails if Traefik logged a panic. Other errors, such as failed exports, are allowed.
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
