package chatcompletion

import (
	"fmt"
	"math"
	"time"
)

// Values of Config.Redis.OnError.
const (
	onErrorLocal = "local"
	onErrorDeny  = "deny"
	onErrorAllow = "allow"
)

// Bounds of what a store remembers in an outage.
const (
	maxDeltas      = 1 << 16
	maxUnsure      = 1 << 10
	unsureMaxAge   = 23 * time.Hour // Redis remembers a settlement for a day
	mergedCounters = 100            // in one settlement
)

// useDelta is use of a counter that Redis does not know yet.
type useDelta struct {
	charge charge // one of those that it is of: with the counter, its window, and the end of that
	used   int64
}

// reserveShared reserves charges in Redis or, while Redis is unavailable, as Config.Redis.OnError
// says. It reports whether any has nothing left, as reserveMemory does, and whether the request must
// be denied because there is no store.
func reserveShared(s *redisStore, charges []charge, amounts []int64, ms int64) (bool, bool) {
	if len(charges) == 0 {
		return false, false // no quota applies to the request
	}
	failures := s.failures.Load()
	if failures >= failuresToOpen {
		return reserveWithoutRedis(s, charges, amounts, ms)
	}
	isOver, failure := reserveRedis(s, charges, amounts)
	if failure != nil {
		recordStoreFailure(s, failure)
		return reserveWithoutRedis(s, charges, amounts, ms)
	}
	if failures > 0 {
		s.failures.CompareAndSwap(failures, 0)
	}
	return isOver, false
}

// readShared is readCharges for counters in Redis. While Redis is unavailable, the counters of this Traefik are
// not what all have used.
func readShared(s *redisStore, charges []charge) []bool {
	unknown := make([]bool, len(charges))
	failures := s.failures.Load()
	if len(charges) == 0 || failures >= failuresToOpen {
		return unknown
	}
	isKnown, failure := readRedis(s, charges)
	if failure != nil {
		recordStoreFailure(s, failure)
		return unknown
	}
	if failures > 0 {
		s.failures.CompareAndSwap(failures, 0)
	}
	return isKnown
}

// reserveWithoutRedis does what Config.Redis.OnError says. Quotas in report mode deny nothing.
func reserveWithoutRedis(s *redisStore, charges []charge, amounts []int64, ms int64) (bool, bool) {
	s.health.fallbacks.Add(1)
	place := nowhere
	if s.settings.onError == onErrorLocal {
		place = inOutage
	}
	for i := range charges {
		c := &charges[i]
		if c.enforce && s.settings.onError == onErrorDeny {
			return false, true
		}
		c.redis = s
		c.place = place
		c.nowMs = ms
		if c.window != nil {
			c.windowStartMs, c.resetMs = windowBounds(c.window, ms)
		}
	}
	if place == nowhere {
		return false, false
	}
	forgetConcurrent(s.memory, charges)
	return reserveMemory(s.memory, charges, amounts, ms), false
}

// mirrorCharges has the memory store show what Redis says, so that its counters go on from there in
// an outage.
func mirrorCharges(m *memoryStore, charges []charge) {
	m.mu.Lock()
	for i := range charges {
		c := &charges[i]
		k := c.group.counters[c.key]
		if k == nil || c.nowMs >= k.validMs || c.nowMs < k.validMs-minuteMs {
			k = currentCounter(m, c, c.nowMs)
		}
		if k.latest.amount != 0 || k.earlier != nil {
			forgetReservations(k)
		}
		if k.taken = c.used + c.reserved; k.taken < 0 {
			k.taken = math.MaxInt64
		}
		c.counter = k
	}
	m.mu.Unlock()
}

// forgetReservations drops what an outage has left behind. Those requests settle in Redis.
func forgetReservations(k *counter) {
	for _, r := range append(k.earlier, k.latest) {
		r.expired = true
	}
	k.earlier = nil
	k.latest = &reservations{minute: k.latest.minute}
}

// mirrorSettled has the memory store show what a settlement changes in Redis.
func mirrorSettled(m *memoryStore, charges []charge, amounts []int64) {
	m.mu.Lock()
	for i := range charges {
		c := &charges[i]
		k := c.counter
		if k.taken += amounts[c.counts] - c.reserved; k.taken < 0 {
			k.taken = 0
		}
	}
	m.mu.Unlock()
}

// forgetConcurrent resets what Redis said about counters without windows to what is reserved in the
// outage: nobody would release the rest.
func forgetConcurrent(m *memoryStore, charges []charge) {
	m.mu.Lock()
	for i := range charges {
		c := &charges[i]
		k := c.group.counters[c.key]
		if c.window != nil || k == nil {
			continue
		}
		k.taken = k.latest.amount
		for _, r := range k.earlier {
			k.taken += r.amount
		}
	}
	m.mu.Unlock()
}

// settleShared settles charges of one store that reserveShared has reserved at one place.
func settleShared(s *redisStore, charges []charge, amounts []int64) {
	switch charges[0].place {
	case nowhere:
		return
	case inOutage:
		settleMemory(s.memory, charges, amounts)
		for i := range charges {
			charges[i].reserved = 0 // there is nothing to release in Redis
		}
	default:
		mirrorSettled(s.memory, charges, amounts)
	}
	failures := s.failures.Load()
	if failures < failuresToOpen {
		failure := settleRedis(s, charges, amounts)
		if failure == nil {
			if failures > 0 {
				s.failures.CompareAndSwap(failures, 0)
			}
			return
		}
		recordStoreFailure(s, failure)
		if failure.isUncertain {
			return // it is kept, and will be sent again
		}
	}
	keepDeltas(s, charges, amounts)
}

// keepDeltas keeps what charges used until Redis is back. Their reservations in Redis expire.
func keepDeltas(s *redisStore, charges []charge, amounts []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range charges {
		if c := &charges[i]; amounts[c.counts] > 0 {
			addDelta(s, c, amounts[c.counts])
		}
	}
	tendSoon(s, s.pace.merge)
}

// addDelta adds to the use of a counter that Redis does not know. The caller holds the lock.
func addDelta(s *redisStore, c *charge, used int64) {
	id := fmt.Sprintf("%d %s", c.windowStartMs, c.key)
	d := s.deltas[id]
	if d == nil && len(s.deltas) >= maxDeltas {
		dropDeltas(s)
	}
	if d == nil && len(s.deltas) < maxDeltas {
		d = &useDelta{charge: *c}
		s.deltas[id] = d
	}
	if d == nil {
		countLostUse(s)
	} else if d.used += used; d.used < 0 {
		d.used = math.MaxInt64
	}
}

// countLostUse counts use that is not kept, and logs that once. The caller holds the lock.
func countLostUse(s *redisStore) {
	s.health.errors.Add(1)
	if !s.logged {
		s.logged = true
		logWarn("redis: more than %d counters have changed while %s is unavailable; the use of further ones is lost", maxDeltas, s.settings.endpoint)
	}
}

// dropDeltas drops the use of windows that have ended. The caller holds the lock.
func dropDeltas(s *redisStore) {
	now := time.Now().UnixMilli() - minuteMs // since clocks differ
	for id, d := range s.deltas {
		if d.charge.resetMs < now {
			delete(s.deltas, id)
		}
	}
}

// deltaSettlement takes the use of some counters, and returns its settlement. The caller holds the
// lock.
func deltaSettlement(s *redisStore) *settlement {
	dropDeltas(s)
	var charges []charge
	var used []int64
	for id, d := range s.deltas {
		if len(charges) == mergedCounters {
			break
		}
		c := d.charge
		c.reserved = 0 // its reservation expires
		c.counts = amountKind(len(used))
		charges = append(charges, c)
		used = append(used, d.used)
		delete(s.deltas, id)
	}
	s.merges++
	return &settlement{len(charges) + settleWords, settlementTail(s, charges, used, s.pool.name, s.merges), time.Now()}
}

// keepSettlement keeps a settlement whose outcome is unknown.
func keepSettlement(s *redisStore, sent *settlement) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unsure) < maxUnsure {
		s.unsure = append(s.unsure, sent)
	} else {
		countLostUse(s)
	}
	tendSoon(s, s.pace.merge)
}

// recordStoreFailure counts a failure of Redis. From the third in a row on, requests do not try it
// until tendRedis has found it back.
func recordStoreFailure(s *redisStore, failure *redisFailure) {
	s.health.errors.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures.Add(1) != failuresToOpen {
		return
	}
	s.health.down.Add(1)
	logWarn("redis: %s is unavailable: %s; %s", s.settings.endpoint, failure.text, consequences[s.settings.onError])
	s.probe = time.Now().Add(s.pace.open)
	tendSoon(s, s.pace.open)
}

// consequences of an outage, for the log.
var consequences = map[string]string{
	onErrorLocal: "the counters of this Traefik apply until it is back",
	onErrorDeny:  "requests with quotas are denied until it is back",
	onErrorAllow: "no quota applies until it is back",
}

// refreshMirrors has the memory store show what the counters of charges in Redis are: other Traefiks change
// them, too, and the replies to requests at the same time may have been mirrored in another order. It is for
// people only, so its failures do not decide whether Redis counts as available.
func refreshMirrors(s *redisStore, charges []charge) {
	theRedisStoresMu.Lock()
	isInUse := theRedisStores[s.settings.key] == s
	theRedisStoresMu.Unlock()
	if !isInUse || s.failures.Load() >= failuresToOpen {
		return
	}
	if _, failure := readRedis(s, charges); failure == nil {
		mirrorCharges(s.memory, charges)
	}
}
