package e2e_test

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// TestOpenCircuitSkipsProvider checks after how many failures the circuit opens, and when it
// closes.
func TestOpenCircuitSkipsProvider(t *testing.T) {
	// A busy machine may add seconds. Each bound is below the next longer time for which a circuit stays open: the default of 5 s,
	// and twice that.
	const soon, later = 4900 * time.Millisecond, 9900 * time.Millisecond
	tests := []struct {
		name     string
		status   int
		after    func() string // Retry-After; nil: none
		failures int           // failures that open the circuit
		earliest time.Duration
		latest   time.Duration // 0: do not wait for it
	}{
		{name: "seconds", status: 429, after: func() string { return "2" }, failures: 1, earliest: 2 * time.Second, latest: soon},
		{name: "date", status: 503, after: func() string { return time.Now().Add(3 * time.Second).UTC().Format(http.TimeFormat) }, failures: 1, earliest: 2 * time.Second, latest: soon},
		{name: "three-in-a-row", status: 502, failures: 3, earliest: 5 * time.Second, latest: later},
		{name: "no-time", status: 429, after: func() string { return "soon" }, failures: 3, earliest: 5 * time.Second, latest: later},
		{name: "past", status: 429, after: func() string { return "Mon, 02 Jan 2006 15:04:05 GMT" }, failures: 3, earliest: 5 * time.Second, latest: later},
		{name: "an-hour", status: 503, after: func() string { return "3600" }, failures: 1},
	}
	second := newFake(t, "second", counting(0))
	middlewares := map[string]map[string]any{}
	firsts := make([]*fake, len(tests))
	for i, test := range tests {
		var received atomic.Int64
		firsts[i] = newFake(t, "first", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if received.Add(1) > int64(test.failures) {
				counting(0).ServeHTTP(rw, r)
				return
			}
			if test.after != nil {
				rw.Header().Set("Retry-After", test.after())
			}
			responding(test.status, "{}").ServeHTTP(rw, r)
		}))
		middlewares[test.name] = fallingBack(t, firsts[i].URL, deepSeek(t, second.URL))
	}
	g := startForwarding(t)
	configure(t, g, hosted(middlewares))
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // most of the time is waiting
			address := g.URL + "/" + test.name + chatPath
			var failed time.Time // before the failure that opens the circuit
			for call := range test.failures {
				failed = time.Now()
				if got := fetch(t, address, plainBody, nil); got.provider() != "second" {
					t.Fatalf("failure %d: status %d from %q, want 200 from second", call, got.status, got.provider())
				}
			}
			number := nextNumber()
			if got := fetch(t, address, plainBody, map[string]string{numberHeader: strconv.Itoa(number)}); got.provider() != "second" {
				t.Errorf("after %d failures: status %d from %q, want 200 from second", test.failures, got.status, got.provider())
			}
			if got := len(firsts[i].saw()); got != test.failures {
				t.Errorf("the first provider received %d requests, want %d before the circuit opens", got, test.failures)
			}
			if got, want := loggedCall(t, g, number)["downstream_"+attemptsHeader], "openai=skipped,deepseek=200"; got != want {
				t.Errorf("the access log has the attempts %q, want %q", got, want)
			}
			if test.latest == 0 {
				return
			}
			await(t, "the first provider is tried again", func() bool { return fetch(t, address, plainBody, nil).provider() == "first" })
			if took := time.Since(failed); took < test.earliest || took > test.latest {
				t.Errorf("the first provider was tried again after %v, want between %v and %v", took, test.earliest, test.latest)
			}
		})
	}
}
