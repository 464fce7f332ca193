package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestInventedModelsAndLabelsDoNotMultiplySeries has clients send a different model and a different
// label with every call.
func TestInventedModelsAndLabelsDoNotMultiplySeries(t *testing.T) {
	const (
		calls     = 20_000
		maxSeries = 300
		overflow  = 5 // series with _OTHER
		mayGrow   = 32 << 20
	)
	g := start(t, gateway.Options{})
	configure(t, g, metered(map[string]any{
		"telemetry": map[string]any{"maxSeries": maxSeries, "labels": map[string]string{"team": "$(headers.x-team)"}},
	}, upstream(t, counting(0)).URL))
	invent := func(from, n int) {
		inParallel(t, n, faultClients, func(client *http.Client, number int) error {
			number += from
			body := fmt.Sprintf(`{"model":"invented-%d","messages":[{"role":"user","content":"Hi"}]}`, number)
			response, err := do(t.Context(), client, g.URL+chatPath, body, map[string]string{"X-Team": fmt.Sprint("team-", number)})
			if err != nil {
				return err
			}
			defer func() { _ = response.Body.Close() }()
			_, err = io.Copy(io.Discard, response.Body)
			return err
		})
	}
	invent(0, calls/10) // growth that happens only once
	memory := settledRSS(t, g)
	invent(calls/10, calls-calls/10)

	awaitTotals(t, "calls", totals{"": calls}, func() totals { return exposed(t, g, callsSeries) })
	series := 0
	for _, sample := range exposition(t, g) {
		if sample.Labels["__name__"] == callsSeries { // all other metrics share its attributes
			series++
		}
	}
	t.Logf("%d series", series)
	if series > maxSeries+overflow {
		t.Errorf("%d series, want at most %d, and %d with _OTHER", series, maxSeries, overflow)
	}
	if got := exposed(t, g, callsSeries, "team")["_OTHER"]; got < calls-maxSeries {
		t.Errorf("%v calls have the team _OTHER, want at least %d", got, calls-maxSeries)
	}
	if dropped(t, g, "series") == 0 {
		t.Error("no overflow was counted")
	}
	await(t, fmt.Sprintf("memory falls to %d MiB over the %d MiB of before", mayGrow>>20, memory>>20), func() bool {
		return settledRSS(t, g) < memory+mayGrow
	})
	checkNoErrors(t, g)
}
