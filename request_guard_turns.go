package chatcompletion

import (
	"bytes"
	"sync"
)

// maskedTurns remembers the turns of an endpoint with masked texts: clients send these texts again with
// each request. Of a body up to the end of its last element, it keeps the hash, and what was masked where.
type maskedTurns struct {
	memory *conversationMemory // by which turns are found

	mu     sync.RWMutex
	recent map[uint64][]guardEdit // by the hash of the turn
	older  map[uint64][]guardEdit // the generation before
	edits  int                    // in recent
}

// Bounds of the edits that are remembered: those of one turn, and of all turns of a generation.
const (
	maxTurnEdits       = 64
	maxGenerationEdits = 32 << 10
)

// newMaskedTurns returns the masked turns of an endpoint; nil: its requests are no conversations.
func newMaskedTurns(ep *endpoint, array string) *maskedTurns {
	m := newConversationMemory(ep, array)
	if m == nil {
		return nil
	}
	return &maskedTurns{memory: m, recent: map[uint64][]guardEdit{}}
}

// storeEdits remembers what was masked in a turn.
func storeEdits(m *maskedTurns, hash uint64, edits []guardEdit) {
	m.mu.Lock()
	if m.edits+len(edits) > maxGenerationEdits {
		m.older = m.recent
		m.recent = map[uint64][]guardEdit{}
		m.edits = 0
	}
	m.edits += len(edits)
	m.recent[hash] = edits
	m.mu.Unlock()
}

// lookupEdits returns what was masked in a turn; nil: it is not known.
func lookupEdits(m *maskedTurns, hash uint64) []guardEdit {
	m.mu.RLock()
	edits := m.recent[hash]
	if edits == nil {
		edits = m.older[hash]
	}
	m.mu.RUnlock()
	return edits
}

// maskedTurn returns the edits of the longest known turn with masked texts with which a body begins; nil:
// there is none.
func maskedTurn(ep *endpoint, body []byte) []guardEdit {
	m := ep.guard.masked
	m.mu.RLock()
	isEmpty := m.edits == 0
	m.mu.RUnlock()
	if isEmpty {
		return nil
	}
	x, form := wholeExcerpt(m.memory, body), spellingOf(body)
	before := len(body) // where the tools begin, as in newExcerpt
	after := before
	for _, v := range seenValues(ep.memory) {
		if value := findValue(ep.memory, body, v, form.colon); v.name == toolsName && value != nil {
			before, after = value.from, value.to
		}
	}
	turn := findTurn(m.memory, x, form.separator, 0, before)
	if turn == nil && after < len(body) {
		turn = findTurn(m.memory, x, form.separator, after, len(body))
	}
	if turn == nil {
		return nil
	}
	return lookupEdits(m, x.hash.Sum64())
}

// addEdits adds edits of an excerpt of a masked body to those that have masked it: all are those of the
// body of the client.
func addEdits(known []guardEdit, x *excerpt, edits []guardEdit) []guardEdit {
	all := append([]guardEdit{}, known...)
	for _, e := range edits {
		from, _ := placeBefore(known, bodyPlace(x, e.from))
		_, to := placeBefore(known, bodyPlace(x, e.to))
		all = append(all, guardEdit{from, to, e.value})
	}
	return mergeEdits(all)
}

// placeBefore returns the place in a body before its edits of a place after them. If that is inside of what
// an edit has inserted, it returns the ends of what the edit has replaced.
func placeBefore(edits []guardEdit, place int) (from, to int) {
	for i := range edits {
		e := &edits[i]
		if place <= e.from {
			break
		}
		if place < e.from+len(e.value) {
			return e.from, e.to
		}
		place += e.to - e.from - len(e.value)
	}
	return place, place
}

// rememberMasked remembers the turn of a body and its edits, after the excerpt of the masked body has been
// found good.
func rememberMasked(ep *endpoint, body []byte, edits []guardEdit, x *excerpt, o *outline) {
	if o == nil || o.inside.elements == 0 || len(edits) > maxTurnEdits {
		return
	}
	obj := newJSONObject(x.text)
	end := bodyPlace(x, o.elements.to+obj.elided[o.elements.toPlaceholders])
	_, end = placeBefore(edits, len(bytes.TrimRight(x.body[:end], jsonSpace)))
	if end < endBytes || body[end-1] != '}' {
		return
	}
	var within []guardEdit
	for _, e := range edits {
		if e.to <= end {
			within = append(within, e)
		}
	}
	if within == nil {
		return
	}
	m := ep.guard.masked
	whole := wholeExcerpt(m.memory, body)
	_, _ = whole.hash.Write(body[:end])
	hash := whole.hash.Sum64()
	storeEdits(m, hash, within)
	storeTurn(m.memory, hash, end, endKey(m.memory, body, end), knownTurn{})
}
