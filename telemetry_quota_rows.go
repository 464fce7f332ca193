package chatcompletion

import (
	"encoding/json"
	"math"
	"strconv"
	"time"
)

// Values of quotaFigures.Store.
const (
	storeMemory = "memory"
	storeRedis  = "redis"
)

// quotaFigures is a quota of one subject as the dashboard shows it. What is unknown is left out.
type quotaFigures struct {
	Name       string          `json:"name"`
	Unit       string          `json:"unit"`
	Subject    string          `json:"subject,omitempty"`
	Middleware string          `json:"middleware,omitempty"`
	Used       json.RawMessage `json:"used,omitempty"`
	Limit      json.RawMessage `json:"limit,omitempty"`
	ResetsAtMs int64           `json:"resetsAt,omitempty"`
	Refused    int64           `json:"refused"`
	Over       int64           `json:"over"`
	Store      string          `json:"store"`
}

// quotaRow is what a dashboard knows of a quota of one subject.
type quotaRow struct {
	source  *quotaSeries
	group   *counterGroup
	used    int64 // noValue: there is no counter of the present window
	limit   int64
	endMs   int64 // of the window
	refused int64
	over    int64
	redis   any // the *redisStore that has the counter; nil: this Traefik has it
	hold    time.Duration
	encoded []byte // nil: the values have changed
}

// readQuotas returns the JSON of all quotas. It holds the lock for some at a time, so that many do not
// delay requests.
func readQuotas(m *memoryStore, rows []*quotaRow, ms int64) []*quotaRow {
	m.mu.Lock()
	added := append([]*quotaSeries(nil), m.ordered[len(rows):]...)
	m.mu.Unlock()
	for _, source := range added {
		rows = append(rows, &quotaRow{source: source, used: noValue, refused: noValue})
	}
	for from := 0; from < len(rows); from += rowsAtATime {
		readSomeQuotas(m, rows[from:rowsEnd(from, len(rows))], ms)
	}
	return rows
}

func readSomeQuotas(m *memoryStore, rows []*quotaRow, ms int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range rows {
		s := row.source
		g, k := s.group, s.counter
		used, limit, end := int64(noValue), int64(0), int64(0)
		if k != nil && s.subject != other && ms < g.endMs && s.startMs == g.startMs { // else the window is over
			used = k.taken
			limit = k.limit
			end = g.endMs
		}
		if used != row.used || limit != row.limit || end != row.endMs || s.refused != row.refused || s.over != row.over || g.redis != row.redis {
			row.group = g
			row.used = used
			row.limit = limit
			row.endMs = end
			row.refused = s.refused
			row.over = s.over
			row.redis = g.redis
			row.hold = g.hold
			row.encoded = nil
		}
	}
}

// quotasJSON returns the JSON of quotas, one by one.
func quotasJSON(rows []*quotaRow) [][]byte {
	encoded := make([][]byte, len(rows))
	for i, row := range rows {
		if row.encoded == nil {
			row.encoded = quotaJSON(row)
		}
		encoded[i] = row.encoded
	}
	return encoded
}

func quotaJSON(row *quotaRow) []byte {
	g := row.group // what is read of it does not change
	figures := &quotaFigures{
		Name: g.name, Unit: g.unit, Subject: row.source.subject, Middleware: g.scope, Refused: row.refused, Over: row.over, Store: storeMemory,
	}
	if row.redis != nil {
		figures.Store = storeRedis
	}
	if row.used != noValue {
		figures.Used = figureJSON(g.unit, row.used)
		figures.Limit = figureJSON(g.unit, row.limit)
		if row.endMs != math.MaxInt64 {
			figures.ResetsAtMs = row.endMs
		}
	}
	return marshal(figures)
}

// figureJSON returns an amount as the dashboard has it: money in picodollars as text, since a number would lose digits.
func figureJSON(unit string, amount int64) json.RawMessage {
	text := strconv.FormatInt(amount, 10)
	if unit == unitCost {
		text = `"` + text + `"`
	}
	return json.RawMessage(text)
}

// Bounds of a refresh of the counters from Redis.
const (
	refreshedCounters = 100 // counters in a command
	refreshCommands   = 3
)

// mirrorRefresh is the refresh of counters of one store.
type mirrorRefresh struct {
	redis   *redisStore
	charges []charge
}

// nextRefreshes returns the refreshes of counters in Redis that are shown, from one row on, and the row from which
// to go on. Many counters take several refreshes.
func nextRefreshes(rows []*quotaRow, from int) ([]*mirrorRefresh, int) {
	var refreshes []*mirrorRefresh
	for range rows {
		if from >= len(rows) {
			from = 0
		}
		row := rows[from]
		if row.redis != nil && row.used != noValue {
			s := row.redis.(*redisStore)
			next := refreshOf(refreshes, s)
			if next == nil && len(refreshes) == refreshCommands {
				break
			}
			if next == nil {
				next = &mirrorRefresh{redis: s}
				refreshes = append(refreshes, next)
			}
			g := row.group
			next.charges = append(next.charges, charge{key: g.key + row.source.subject, window: g.window, limit: row.limit, hold: row.hold, group: g})
		}
		from++
	}
	return refreshes, from
}

// refreshOf returns the refresh of a store that takes another counter; nil: there is none.
func refreshOf(refreshes []*mirrorRefresh, s *redisStore) *mirrorRefresh {
	for _, next := range refreshes {
		if next.redis == s && len(next.charges) < refreshedCounters {
			return next
		}
	}
	return nil
}
