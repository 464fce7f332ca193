package chatcompletion

import (
	"strings"
	"unicode/utf8"
)

// quotaSeries is what the metrics show of a counter. It outlives the counter, so that what was
// refused is never lost.
type quotaSeries struct {
	group   *counterGroup
	subject string
	counter *counter // the latest; nil: beyond the limit of distinct values, none is shown
	startMs int64    // of the window of the counter
	refused int64    // requests
	over    int64    // requests that would have been refused, but in report mode
}

// useSeries returns the series of a counter. Beyond Telemetry.MaxSeries, the subjects of a quota share
// one. The caller holds the lock.
func useSeries(m *memoryStore, g *counterGroup, key string) *quotaSeries {
	s := m.series[key]
	if s != nil {
		return s
	}
	subject := key[len(g.key):]
	if len(m.series) >= g.maxSeries || !utf8.ValidString(subject) || strings.ContainsAny(subject, controlCharacters) {
		subject = other
		key = g.key + subject
		if s = m.series[key]; s != nil {
			return s
		}
	}
	s = &quotaSeries{group: g, subject: subject}
	m.series[key] = s
	m.ordered = append(m.ordered, s)
	return s
}

// countRefused counts a charge that had nothing left.
func countRefused(m *memoryStore, c *charge) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := useSeries(m, c.group, c.key)
	if c.enforce {
		s.refused++
	} else {
		s.over++
	}
}

// quotaState is a series at one instant.
type quotaState struct {
	name    string
	scope   string
	unit    string
	subject string
	shown   bool // there is a counter of the present window
	used    int64
	limit   int64
	refused int64
	over    int64
}

// quotaStates returns all series. It holds the lock for one at a time, so that many do not delay
// requests.
func quotaStates(m *memoryStore, ms int64) []quotaState {
	m.mu.Lock()
	all := append([]*quotaSeries(nil), m.ordered...)
	m.mu.Unlock()
	states := make([]quotaState, len(all))
	for i, s := range all {
		m.mu.Lock()
		g := s.group
		state := quotaState{name: g.name, scope: g.scope, unit: g.unit, subject: s.subject, refused: s.refused, over: s.over}
		if s.counter != nil && s.subject != other && ms < g.endMs && s.startMs == g.startMs { // else the window is over
			state.shown = true
			state.limit = s.counter.limit
			state.used = s.counter.taken
		}
		m.mu.Unlock()
		states[i] = state
	}
	return states
}
