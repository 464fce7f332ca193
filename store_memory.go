package chatcompletion

import (
	"math"
	"sync"
	"time"
)

// Bounds of the memory store.
const (
	// maxSubjects bounds the counters of a quota. Further subjects share one.
	maxSubjects = 1 << 16
	// maxCounterGroups bounds the quotas that former configurations have left behind.
	maxCounterGroups = 10000
	// maxIdleCounters bounds the counters without a window that are kept though nothing is reserved.
	maxIdleCounters = 1 << 10
)

// minuteMs is the length of a minute: reservations are kept by the minute in which they began.
const minuteMs = 60_000

// memoryStore holds the counters of this Traefik. It lives as long as the process, so that a new
// configuration does not reset them.
type memoryStore struct {
	mu      sync.Mutex
	groups  map[string]*counterGroup // by key
	series  map[string]*quotaSeries  // by the key of a counter
	ordered []*quotaSeries           // in order of creation
}

// theMemoryStore is the store of this Traefik process.
var theMemoryStore = newMemoryStore()

func newMemoryStore() *memoryStore {
	return &memoryStore{groups: map[string]*counterGroup{}, series: map[string]*quotaSeries{}}
}

// counterGroup holds the counters of one quota in one window. At the end of the window it drops all of
// them at once: nothing has to search for those that are idle.
type counterGroup struct {
	key       string // what the keys of its counters begin with
	name      string // of the quota
	scope     string // name of the middleware; empty: the quota is shared
	unit      string
	maxSeries int
	hold      time.Duration // of the charges
	redis     any           // the *redisStore that has the counters, and what it says is here; nil: none (any: trap 30 of CONTRIBUTING.md)
	window    *window
	startMs   int64 // of the window; Unix time
	endMs     int64
	counters  map[string]*counter
}

// counter is what one subject has used of a quota in the present window.
type counter struct {
	taken   int64           // used, and reserved by requests that have not ended
	validMs int64           // until then it changes by requests only; Unix time
	latest  *reservations   // of the present minute
	earlier []*reservations // of the minutes before
	limit   int64           // the latest
}

// reservations are those of a counter that began in one minute.
type reservations struct {
	minute  int64 // Unix time
	amount  int64
	expired bool // they are no longer in the counter
}

// useGroup returns the counters of a quota, those of the configuration before if there are any.
func useGroup(m *memoryStore, g *counterGroup) *counterGroup {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.groups[g.key]
	if known == nil {
		if len(m.groups) >= maxCounterGroups {
			dropGroups(m, time.Now().UnixMilli())
		}
		g.counters = map[string]*counter{}
		g.endMs = math.MaxInt64
		if g.window != nil {
			g.endMs = 0 // the first request begins the window
		}
		m.groups[g.key] = g
		return g
	}
	known.maxSeries = g.maxSeries
	known.hold = g.hold
	known.redis = g.redis
	return known
}

// dropGroups drops the quotas whose last window is over.
func dropGroups(m *memoryStore, ms int64) {
	for key, g := range m.groups {
		if ms >= g.endMs || len(g.counters) == 0 {
			delete(m.groups, key)
		}
	}
}

// reserveMemory reserves all charges of a request, or none if an enforced one has nothing left. It
// reports whether any has nothing left.
func reserveMemory(m *memoryStore, charges []charge, amounts []int64, ms int64) bool {
	m.mu.Lock()
	for i := range charges {
		c := &charges[i]
		g := c.group
		k := g.counters[c.key]
		if k == nil || ms >= k.validMs || ms < k.validMs-minuteMs {
			k = currentCounter(m, c, ms)
		}
		reserved := amounts[c.reserves]
		if k.taken >= c.limit-reserved { // a sum could be more than an integer holds
			return reserveLast(m, charges, amounts, ms, i)
		}
		c.counter = k
		c.nowMs = ms
		c.resetMs = g.endMs
		c.used = k.taken
		c.reserved = reserved
		k.taken += reserved
		r := k.latest
		r.amount += reserved
		c.reservations = r
	}
	m.mu.Unlock()
	return false
}

// reserveLast reserves the charges from a place on, the first of which takes what is left or more. It
// unlocks the store.
func reserveLast(m *memoryStore, charges []charge, amounts []int64, ms int64, from int) bool {
	isOver := false
	for i := from; i < len(charges); i++ {
		c := &charges[i]
		k := c.group.counters[c.key]
		if k == nil || ms >= k.validMs || ms < k.validMs-minuteMs {
			k = currentCounter(m, c, ms)
		}
		c.counter = k
		c.nowMs = ms
		c.resetMs = c.group.endMs
		c.used = k.taken
		c.reserved = amounts[c.reserves]
		if c.used >= c.limit-c.reserved && reserveRest(c) {
			isOver = true
			if c.enforce {
				undoCharges(m, charges, i, ms)
				break
			}
		}
		k.taken += c.reserved
		k.latest.amount += c.reserved
		c.reservations = k.latest
	}
	m.mu.Unlock()
	return isOver
}

// reserveRest reduces a charge to what is left, and reports whether nothing is. Charges that are not
// enforced count all the same.
func reserveRest(c *charge) bool {
	left := c.limit - c.used
	if left <= 0 {
		c.refused = true
		left = 0
	}
	if c.enforce && c.reserved > left {
		c.reserved = left
	} else if c.reserved > math.MaxInt64-c.used {
		c.reserved = math.MaxInt64 - c.used
	}
	return c.refused
}

// undoCharges takes back the charges before a refused one, and looks up the counters of those after
// it, since the client is told what is left of all.
func undoCharges(m *memoryStore, charges []charge, refused int, ms int64) {
	for i := range charges {
		c := &charges[i]
		if i < refused {
			c.counter.taken -= c.reserved
			c.reservations.amount -= c.reserved
			c.reserved = 0
		} else if i > refused {
			c.used = currentCounter(m, c, ms).taken
			c.nowMs = ms
			c.resetMs = c.group.endMs
		}
	}
}

// currentCounter returns the counter of a charge when it is new, its window has ended, or a minute
// has begun.
func currentCounter(m *memoryStore, c *charge, ms int64) *counter {
	g := c.group
	// A request that has waited for the lock is no reason to go back, but a clock that was set is.
	if g.window != nil && (ms >= g.endMs || ms < g.startMs-minuteMs) {
		g.startMs, g.endMs = windowBounds(g.window, ms)
		g.counters = map[string]*counter{}
	}
	key := c.key
	k := g.counters[key]
	if k == nil && len(g.counters) >= maxSubjects {
		key = g.key + other
		k = g.counters[key]
	}
	if k == nil {
		k = &counter{}
		g.counters[key] = k
		s := useSeries(m, g, key)
		s.group = g
		s.counter = k
		s.startMs = g.startMs
	}
	k.limit = c.limit
	beginMinute(k, ms, c.hold)
	if k.validMs > g.endMs {
		k.validMs = g.endMs
	}
	return k
}

// beginMinute begins the reservations of a minute, and drops those that have expired: their requests
// have ended without a settlement, or will settle what they have used.
func beginMinute(k *counter, ms int64, hold time.Duration) {
	minute := ms / minuteMs
	k.validMs = (minute + 1) * minuteMs
	latest := k.latest
	switch {
	case latest == nil:
		k.latest = &reservations{minute: minute}
		return
	case latest.minute == minute:
		return
	}
	var kept []*reservations
	for _, r := range append(k.earlier, latest) {
		switch {
		case r.amount == 0:
		case r.minute <= (ms-hold.Milliseconds())/minuteMs:
			r.expired = true
			k.taken -= r.amount
		default:
			kept = append(kept, r)
		}
	}
	k.earlier = kept
	k.latest = &reservations{minute: minute}
}

// readMemory is readCharges for the counters of this Traefik.
func readMemory(m *memoryStore, charges []charge, ms int64) []bool {
	isKnown := make([]bool, len(charges))
	m.mu.Lock()
	for i := range charges {
		c := &charges[i]
		g := c.group
		c.used = 0
		c.resetMs = g.endMs
		isKnown[i] = !isSharedCounter(c)
		if g.window != nil && (ms >= g.endMs || ms < g.startMs-minuteMs) { // as in currentCounter
			_, c.resetMs = windowBounds(g.window, ms)
			continue
		}
		if k := g.counters[c.key]; k != nil {
			c.used = k.taken - expiredAmount(k, ms, c.hold)
		} else if len(g.counters) >= maxSubjects {
			isKnown[i] = false
		}
	}
	m.mu.Unlock()
	return isKnown
}

// expiredAmount returns what beginMinute would release of a counter.
func expiredAmount(k *counter, ms int64, hold time.Duration) int64 {
	expired := int64(0)
	for _, r := range append([]*reservations{k.latest}, k.earlier...) {
		if r != nil && r.minute <= (ms-hold.Milliseconds())/minuteMs {
			expired += r.amount
		}
	}
	return expired
}

// settleMemory releases the reservations of charges, and adds what counts. Counters of a window that
// has ended take it, too, which nobody reads.
func settleMemory(m *memoryStore, charges []charge, amounts []int64) {
	m.mu.Lock()
	for i := range charges {
		c := &charges[i]
		r, k := c.reservations, c.counter
		if r.expired {
			c.reserved = 0
		}
		r.amount -= c.reserved
		k.taken += amounts[c.counts] - c.reserved
		if k.taken <= 0 {
			settleEmpty(c)
		}
	}
	m.mu.Unlock()
}

// settleEmpty treats a counter that has nothing, or more than an integer holds: it stays above any limit.
func settleEmpty(c *charge) {
	if c.counter.taken < 0 {
		c.counter.taken = math.MaxInt64
	} else if c.window == nil {
		dropIdle(c)
	}
}

// dropIdle drops a counter without a window that nothing is reserved on, if there are many.
func dropIdle(c *charge) {
	if len(c.group.counters) > maxIdleCounters && c.group.counters[c.key] == c.counter {
		delete(c.group.counters, c.key)
	}
}
