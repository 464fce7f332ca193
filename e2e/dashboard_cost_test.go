package e2e_test

import (
	"bufio"
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/e2e/local"
	"github.com/modelroute/chatcompletion/e2e/traffic"
)

const (
	// openPages is the number of pages that are open at the same time.
	openPages = 50

	// mostOfACore is the largest part of a core that these pages may cost.
	mostOfACore = 0.02

	// measured is how long each part of a measurement takes.
	measured = 12 * time.Second

	// rate is the number of calls per second meanwhile.
	measuredRate = 5
)

// pages are event streams of the dashboard, as pages have them.
type pages struct {
	close  context.CancelFunc
	ended  sync.WaitGroup
	events atomic.Int64
}

// openStreams opens the event streams, and returns once each has had its first event.
func openStreams(t *testing.T, g *gateway.Gateway, count int) *pages {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	p := &pages{close: leave}
	t.Cleanup(p.stop)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	for range count {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+local.DashboardPath, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "text/event-stream")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		p.ended.Go(func() {
			defer func() { _ = response.Body.Close() }()
			lines := bufio.NewReader(response.Body)
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				if strings.HasPrefix(line, "event:") {
					p.events.Add(1)
				}
			}
		})
	}
	await(t, "each page has its first event", func() bool { return p.events.Load() >= int64(count) })
	return p
}

// stop closes the pages.
func (p *pages) stop() {
	p.close()
	p.ended.Wait()
}

// coreShare returns the part of a core that Traefik uses while there is traffic.
func coreShare(t *testing.T, g *gateway.Gateway, seed int64) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), measured)
	defer cancel()
	before, err := g.CPU()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := traffic.Run(ctx, traffic.Options{Base: g.URL + local.CompanyPath, Rate: measuredRate, Seed: seed}); err != nil {
		t.Fatal(err)
	}
	after, err := g.CPU()
	if err != nil {
		t.Fatal(err)
	}
	return float64(after-before) / float64(time.Since(began))
}

// TestDashboardCosts compares the CPU time of Traefik with and without open pages, in one run and with
// the same traffic.
func TestDashboardCosts(t *testing.T) {
	g := startCompany(t)
	if _, err := traffic.Run(t.Context(), traffic.Options{Base: g.URL + local.CompanyPath, Calls: 400, Concurrency: 8, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	var without, with []float64
	for round := range 2 {
		without = append(without, coreShare(t, g, int64(round)))
		p := openStreams(t, g, openPages)
		started := p.events.Load()
		with = append(with, coreShare(t, g, int64(round)))
		if events := p.events.Load() - started; events < openPages*int64(measured/time.Second)/2 {
			t.Errorf("%d pages had %d events in %v, want about one per second each", openPages, events, measured)
		}
		p.stop()
	}
	cost := (with[0] + with[1] - without[0] - without[1]) / 2
	t.Logf("of a core: %.2f %% and %.2f %% without a page, %.2f %% and %.2f %% with %d; the pages cost %.2f %%",
		100*without[0], 100*without[1], 100*with[0], 100*with[1], openPages, 100*cost)
	if cost > mostOfACore {
		t.Errorf("%d open pages cost %.2f %% of a core, want at most %.0f %%", openPages, 100*cost, 100*mostOfACore)
	}
	checkNoErrors(t, g)
}
