package chatcompletion

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// What a circuit allows itself. It is short: a provider that is back is soon asked again.
const (
	maxPause       = time.Minute     // that a provider is left alone because it says so
	failuresToOpen = 3               // after which a provider is left alone that says nothing
	openDuration   = 5 * time.Second // for which it is, then
)

// circuit leaves a provider alone for a while that cannot answer.
type circuit struct {
	mu       sync.Mutex
	failures int // in a row
	until    time.Time
}

// isOpen tells whether a provider is left alone.
func isOpen(c *circuit, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Before(c.until)
}

func closeCircuit(c *circuit) {
	c.mu.Lock()
	c.failures = 0
	c.mu.Unlock()
}

// recordCircuitFailure notes that a provider has failed, and what it says of when to ask again.
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

// parseRetryAfter returns for how long a provider wants to be left alone: it says so in seconds or with a date.
func parseRetryAfter(text string, now time.Time) time.Duration {
	pause := time.Duration(0)
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		pause = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(text); err == nil {
		pause = date.Sub(now)
	}
	if pause > maxPause {
		return maxPause
	}
	if pause < 0 {
		return 0
	}
	return pause
}
