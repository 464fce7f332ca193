package chatcompletion

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// redisPace is when a store is tended.
type redisPace struct {
	open   time.Duration // from a failure until Redis is tried again
	merge  time.Duration // until a settlement that failed is sent again
	rest   time.Duration // between two looks at connections and users
	idle   time.Duration // after which a connection that is not needed is closed
	linger time.Duration // how long a store without users waits for a new one
}

var defaultRedisPace = redisPace{
	open: openDuration, merge: time.Second, rest: 5 * time.Second, idle: 5 * time.Minute, linger: time.Minute,
}

// theRedisStores are the stores that accept users, by the keys of their settings.
var (
	theRedisStoresMu sync.Mutex
	theRedisStores   = map[string]*redisStore{}
)

// useRedisStore returns the store for settings. The caller is a user of it until ctx is done.
func useRedisStore(ctx context.Context, settings *redisSettings) *redisStore {
	theRedisStoresMu.Lock()
	defer theRedisStoresMu.Unlock()
	s := theRedisStores[settings.key]
	if s == nil {
		s = newRedisStore(settings, defaultRedisPace, healthOf(settings.endpoint), theMemoryStore)
		theRedisStores[settings.key] = s
		s.health.stores.Add(1)
	}
	s.mu.Lock()
	s.users = append(s.users, ctx)
	s.unused = time.Time{}
	tendSoon(s, 0)
	s.mu.Unlock()
	return s
}

// tendSoon has the store tended after a delay at the latest. The caller holds the lock.
func tendSoon(s *redisStore, delay time.Duration) {
	due := time.Now().Add(delay)
	switch {
	case s.timer == nil:
		s.timer = time.AfterFunc(delay, tender(s))
	case !due.Before(s.due):
		return
	case !s.tending:
		s.timer.Reset(delay)
	}
	s.due = due
}

// tender returns the function that the timer calls.
func tender(s *redisStore) func() {
	return func() {
		defer recoverGoroutine("redis")
		tendRedis(s)
	}
}

// tendRedis sends what was not sent, finds a Redis that is back, opens and closes connections, and
// ends a store that nobody uses.
func tendRedis(s *redisStore) {
	s.mu.Lock()
	isDue := !s.tending
	s.tending = true
	now := time.Now()
	s.due = now.Add(s.pace.rest)
	isProbe := s.failures.Load() >= failuresToOpen
	mayTry := !isProbe || !now.Before(s.probe)
	s.mu.Unlock()
	if !isDue {
		return
	}
	defer endTending(s)
	if mayTry {
		mergeDeltas(s, isProbe)
	}
	tidyConnections(s, now)
}

// endTending sets the timer for the next time, or ends the store.
func endTending(s *redisStore) {
	theRedisStoresMu.Lock()
	defer theRedisStoresMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tending = false
	now := time.Now()
	hasWork := len(s.deltas)+len(s.unsure) > 0
	if s.failures.Load() >= failuresToOpen {
		s.due = earlier(s.due, s.probe)
	} else if hasWork {
		s.due = earlier(s.due, now.Add(s.pace.merge))
	}
	s.users = activeUsers(s.users)
	if len(s.users) > 0 {
		s.timer.Reset(time.Until(s.due))
		return
	}
	if s.unused.IsZero() {
		s.unused = now
	}
	if hasWork || now.Sub(s.unused) < s.pace.linger {
		s.timer.Reset(time.Until(s.due))
		return
	}
	s.timer = nil
	retireRedis(s)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// retireRedis ends a store. An exchange that still has it can use it: each of its commands has a
// connection of its own. The caller holds both locks.
func retireRedis(s *redisStore) {
	closePool(s.pool)
	if theRedisStores[s.settings.key] != s {
		return
	}
	delete(theRedisStores, s.settings.key)
	s.release()
	s.health.stores.Add(-1)
	if s.failures.Load() >= failuresToOpen {
		s.failures.Store(0)
		s.health.down.Add(-1)
	}
}

// mergeDeltas sends the settlements whose outcome is unknown, and the use that was kept. After that
// Redis is complete, and counts as available. With isProbe it sends something in any case.
func mergeDeltas(s *redisStore, isProbe bool) {
	for {
		next := nextSettlement(s, isProbe)
		if next == nil {
			return
		}
		failure := sendSettlement(s, next)
		if failure != nil {
			s.health.errors.Add(1)
			s.mu.Lock()
			s.probe = time.Now().Add(s.pace.open)
			s.mu.Unlock()
			return
		}
		isProbe = false
		s.mu.Lock()
		s.unsure = s.unsure[1:]
		s.mu.Unlock()
	}
}

// nextSettlement returns the settlement to send next. If there is none, Redis is complete.
func nextSettlement(s *redisStore, isProbe bool) *settlement {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.unsure) > 0 && time.Since(s.unsure[0].sent) > unsureMaxAge {
		s.unsure = s.unsure[1:]
	}
	if len(s.unsure) > 0 {
		return s.unsure[0]
	}
	if len(s.deltas) == 0 && !isProbe {
		if s.failures.Load() >= failuresToOpen {
			s.failures.Store(0)
			s.health.down.Add(-1)
			logWarn("redis: %s is available again", s.settings.endpoint)
		}
		return nil
	}
	s.unsure = []*settlement{deltaSettlement(s)}
	return s.unsure[0]
}

// sendSettlement sends a settlement, for the first time or again.
func sendSettlement(s *redisStore, sent *settlement) *redisFailure {
	c, err := acquireConn(s.pool)
	if err != nil {
		return &redisFailure{text: networkProblem(err)}
	}
	_, failure := runScript(s.pool, c, settleScript, sent.words, sent.tail)
	return failure
}

// tidyConnections closes connections that have long been idle, and opens those that shall be.
func tidyConnections(s *redisStore, now time.Time) {
	p := s.pool
	var old []*redisConn
	p.mu.Lock()
	for len(p.idle) > p.settings.minIdle && now.Sub(p.idle[0].used) > s.pace.idle {
		old = append(old, p.idle[0])
		p.idle = p.idle[1:]
	}
	missing := p.settings.minIdle - len(p.idle)
	if p.closed || s.failures.Load() > 0 {
		missing = 0
	}
	p.mu.Unlock()
	for _, c := range old {
		_ = c.conn.Close()
	}
	for ; missing > 0; missing-- {
		p.mu.Lock()
		isFree := takeSlot(p)
		p.mu.Unlock()
		if !isFree {
			return
		}
		c, err := openConn(p, time.Now().Add(p.settings.dialTimeout))
		if err != nil {
			releaseSlot(p)
			return
		}
		releaseConn(p, c)
	}
}

// storeHealth is the state of the stores at an endpoint, for the metrics. It outlives them.
type storeHealth struct {
	endpoint  string
	stores    atomic.Int64
	down      atomic.Int64 // of these
	errors    atomic.Int64 // commands that failed
	fallbacks atomic.Int64 // requests that Redis did not decide
}

// theHealth holds the state of each endpoint.
var (
	theHealthMu sync.Mutex
	theHealth   = map[string]*storeHealth{}
)

// healthOf returns the state of an endpoint.
func healthOf(endpoint string) *storeHealth {
	theHealthMu.Lock()
	defer theHealthMu.Unlock()
	h := theHealth[endpoint]
	if h == nil {
		h = &storeHealth{endpoint: endpoint}
		theHealth[endpoint] = h
	}
	return h
}

// storeMetrics returns the metrics of all stores; none if there never was one.
func storeMetrics() []metric {
	theHealthMu.Lock()
	defer theHealthMu.Unlock()
	var up, failed, fallbacks []point
	for _, endpoint := range sortedKeys(theHealth) {
		h := theHealth[endpoint]
		host, port, _ := net.SplitHostPort(endpoint)
		attributes := []string{serverAddressAttribute, host, serverPortAttribute, port}
		if h.stores.Load() > 0 {
			p := point{attributes: attributes}
			if h.down.Load() <= 0 {
				p.count = 1
			}
			up = append(up, p)
		}
		failed = append(failed, point{attributes: attributes, count: h.errors.Load()})
		fallbacks = append(fallbacks, point{attributes: attributes, count: h.fallbacks.Load()})
	}
	if failed == nil {
		return nil
	}
	return []metric{{storeUp, up}, {storeErrors, failed}, {storeFallbacks, fallbacks}}
}
