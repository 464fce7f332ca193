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
	used := make([]time.Duration, len(gateways))
	for i, g := range gateways {
		before, err := g.CPU()
		if err != nil {
			t.Fatal(err)
		}
		used[i] = -before
	}
	time.Sleep(duration)
	for i, g := range gateways {
		after, err := g.CPU()
		if err != nil {
			t.Fatal(err)
		}
		used[i] += after
	}
	share := float64(used[0]-used[1]) / float64(duration)
	t.Logf("idle for %v, Traefik uses %v with a dashboard that nobody sees, %v without: %.2f %% of a core", duration, used[0], used[1], 100*share)
	if share > most {
		t.Errorf("a dashboard that nobody sees costs %.2f %% of a core, want at most %.2f %%", 100*share, 100*most)
	}
}
