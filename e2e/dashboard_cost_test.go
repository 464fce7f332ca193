package e2e_test

import (
	"context"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/e2e/local"
	"github.com/modelroute/chatcompletion/e2e/traffic"
)

// TestDashboardCostsNothingUnseen compares the CPU time of two idle Traefiks that have had the same
// traffic, one of which has a dashboard that nobody looks at. Its history goes on.
func TestDashboardCostsNothingUnseen(t *testing.T) {
	const (
		calls    = 600
		duration = 25 * time.Second // two steps of the history
		most     = 0.002            // of a core
	)
	seen := startCompany(t)
	without := startCompany(t, "expose: dashboard", "expose: prometheus")
	gateways := []*gateway.Gateway{seen, without}
	for _, g := range gateways {
		if _, err := traffic.Run(t.Context(), traffic.Options{Base: g.URL + local.CompanyPath, Calls: calls, Concurrency: 8, Seed: 1}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, leave := context.WithCancel(t.Context())
	page := getForm(ctx, t, seen.URL+local.DashboardPath, "text/event-stream") // which is open no more
	leave()
	_ = page.Body.Close()
	checkShare(t, most, func() float64 {
		used := make([]time.Duration, len(gateways))
		for i, g := range gateways {
			used[i] = -cpu(t, g)
		}
		time.Sleep(duration)
		for i, g := range gateways {
			used[i] += cpu(t, g)
		}
		t.Logf("idle for %v, Traefik uses %v with a dashboard that nobody sees, %v without", duration, used[0], used[1])
		return float64(used[0]-used[1]) / float64(duration)
	})
}

// checkShare fails if something costs more than a share of a core in each of several tries. A collection of
// garbage, which Go starts every two minutes, costs more than that in one of them.
func checkShare(t *testing.T, most float64, measure func() float64) {
	t.Helper()
	const tries = 3
	for try := 1; ; try++ {
		share := measure()
		t.Logf("the dashboard costs %.2f %% of a core", 100*share)
		if share <= most {
			return
		}
		if try == tries {
			t.Errorf("the dashboard costs %.2f %% of a core, want at most %.2f %%", 100*share, 100*most)
			return
		}
	}
}
