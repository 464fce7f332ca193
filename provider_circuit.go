package chatcompletion

import (
	"sync"
	"time"
)

// Bounds of a circuit. The times are short, so that a provider that has recovered is soon tried
// again.
const (
	failuresToOpen = 3               // consecutive failures that open a circuit without Retry-After
	openDuration   = 5 * time.Second // how long it then stays open
)

// circuit is the circuit breaker of a provider. A provider whose circuit is open is skipped.
type circuit struct {
	mu       sync.Mutex
	failures int       // consecutive
	until    time.Time // the circuit is open before
}

// isOpen reports whether a circuit is open.
func isOpen(c *circuit, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.until)
}

// resetCircuit resets the failures after a success. A pause that the provider requested lasts.
func resetCircuit(c *circuit) {
	c.mu.Lock()
	c.failures = 0
	c.mu.Unlock()
}

// recordCircuitFailure counts a failure of a provider, and opens the circuit if there were too many
// or the provider sent Retry-After.
func recordCircuitFailure(c *circuit, retryAfter string, now time.Time) {
	pause := parseRetryAfter(retryAfter, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures++
	if pause == 0 && c.failures >= failuresToOpen {
		pause = openDuration
	}
	if until := now.Add(pause); until.After(c.until) {
		c.until = until
	}
}
