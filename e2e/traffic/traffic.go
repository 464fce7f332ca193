// Package traffic makes calls as the three teams of examples/local would: a shop with many small calls
// in bursts, a support desk with streamed conversations, and researchers whose agents send long
// prompts to expensive models. Customers ask the same questions again and again. Some calls are refused,
// some fail, and some clients leave early.
package traffic

import (
	"cmp"
	"context"
	"io"
	"math"
	"math/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

const (
	// defaultConcurrency is the default of Options.Concurrency.
	defaultConcurrency = 32

	// wave is the period in which the rate rises and falls.
	wave = 90 * time.Second

	// swing is how much of the mean the rate rises and falls.
	swing = 0.6

	// longestBurst is the largest number of calls that follow each other at once.
	longestBurst = 12
)

// Options configure the traffic.
type Options struct {
	// Base is the URL before the paths of the protocols, such as http://127.0.0.1:8000/company.
	Base string

	// Rate is the mean number of calls per second. Default: as many as Concurrency allows.
	Rate float64

	// Calls is the number of calls after which the traffic ends. Default: none.
	Calls int

	// Concurrency bounds the calls that are open at the same time. Default: 32.
	Concurrency int

	// Seed selects the calls. Equal seeds make equal calls in the same order.
	Seed int64

	// Realistic has the demo provider respond as late as a model of that size would.
	Realistic bool
}

// Summary counts calls.
type Summary struct {
	// Statuses maps the name of a team, a space and a status to the number of its calls. The status
	// of a call whose client left is 0.
	Statuses map[string]int

	// Cached maps the name of a team, a space and hit, miss or bypass to the number of its calls whose
	// response has that in X-Ai-Cache.
	Cached map[string]int
}

// Calls returns the number of all calls.
func (s Summary) Calls() int {
	sum := 0
	for _, count := range s.Statuses {
		sum += count
	}
	return sum
}

// driver makes the calls.
type driver struct {
	Options
	client *http.Client
	open   chan struct{} // a token for each open call
	calls  sync.WaitGroup

	mutex   sync.Mutex
	summary Summary
	problem error // the first failure to reach the gateway
}

// Run makes calls until ctx ends or all of Options.Calls have ended. It returns an error if the gateway
// cannot be reached.
func Run(ctx context.Context, options Options) (Summary, error) {
	concurrency := cmp.Or(options.Concurrency, defaultConcurrency)
	d := &driver{
		Options: options, open: make(chan struct{}, concurrency), summary: Summary{map[string]int{}, map[string]int{}},
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: concurrency}},
	}
	defer d.client.CloseIdleConnections()
	d.send(ctx)
	d.calls.Wait()
	return d.summary, d.problem
}

// send starts the calls.
func (d *driver) send(ctx context.Context) {
	w := newWriter(d.Seed, d.Realistic)
	began, burst := time.Now(), 0
	for n := 0; d.Calls == 0 || n < d.Calls; n++ {
		next := w.call()
		if burst > 0 {
			burst--
			next = w.shopping()
		} else if w.chance(0.02) {
			burst = 1 + w.Intn(longestBurst)
		}
		if burst == 0 && !d.pause(ctx, w.Rand, time.Since(began)) || !d.admit(ctx) {
			return
		}
		d.calls.Add(1)
		go func() {
			defer d.calls.Done()
			status, cached := d.make(ctx, next)
			d.count(next.team, status, cached)
			<-d.open
		}()
	}
}

// admit waits until another call may be open, and reports whether the traffic goes on.
func (d *driver) admit(ctx context.Context) bool {
	select {
	case d.open <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	d.mutex.Lock()
	defer d.mutex.Unlock()
	return d.problem == nil
}

// pause waits as long as it takes until the next call at the rate of that moment, and reports whether
// the traffic goes on.
func (d *driver) pause(ctx context.Context, random *rand.Rand, elapsed time.Duration) bool {
	if d.Rate <= 0 {
		return ctx.Err() == nil
	}
	rate := d.Rate * (1 + swing*math.Sin(2*math.Pi*float64(elapsed)/float64(wave)))
	timer := time.NewTimer(time.Duration(random.ExpFloat64() / rate * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// make makes a call, reads its response, and returns the status, or 0 if the client left, and what a
// cache did.
func (d *driver) make(ctx context.Context, c call) (status int, cached string) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	request, err := http.NewRequestWithContext(ctx, c.method(), d.Base+c.path, strings.NewReader(c.body))
	if err != nil {
		d.fail(err)
		return 0, ""
	}
	for name, value := range c.header {
		request.Header.Set(name, value)
	}
	response, err := d.client.Do(request)
	if err != nil {
		if ctx.Err() == nil {
			d.fail(err)
		}
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	cached = response.Header.Get("X-Ai-Cache")
	if c.leaves {
		_, _ = io.ReadFull(response.Body, make([]byte, 200))
		return 0, cached
	}
	_, _ = io.Copy(io.Discard, response.Body) // how it ends is what the gateway shows
	return response.StatusCode, cached
}

func (d *driver) fail(err error) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if d.problem == nil {
		d.problem = err
	}
}

func (d *driver) count(team string, status int, cached string) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.summary.Statuses[team+" "+statusText(status)]++
	if cached != "" {
		d.summary.Cached[team+" "+cached]++
	}
}
