package chatcompletion

import "sync"

// guardedTurns remembers the turns of an endpoint in which rules have matched: clients send these texts again with
// each request. Of a body up to the end of its last element, it keeps the hash, what was masked where, and which
// rules have matched.
type guardedTurns struct {
	memory *conversationMemory // by which turns are found

	mu     sync.RWMutex
	recent map[uint64]*guardedTurn // by the hash of the turn
	older  map[uint64]*guardedTurn // the generation before
	edits  int                     // in recent, and one for each turn
}

// guardedTurn is what rules have matched in a turn.
type guardedTurn struct {
	edits []guardEdit // of the client's body
	found []foundRule
}

// foundRule is a rule that has matched in a body of the client, and where the first text is.
type foundRule struct {
	rule *guardRule
	at   int
}

// Bounds of the edits that are remembered: those of one turn, and of all turns of a generation.
const (
	maxTurnEdits       = 64
	maxGenerationEdits = 32 << 10
)

// newGuardedTurns returns the guarded turns of an endpoint; nil: its requests are no conversations.
func newGuardedTurns(ep *endpoint, array string) *guardedTurns {
	m := newConversationMemory(ep, array)
	if m == nil {
		return nil
	}
	m.seed = ep.memory.seed // so that a turn has the same hash in both
	return &guardedTurns{memory: m, recent: map[uint64]*guardedTurn{}}
}

// storeGuarded remembers what was found in a turn.
func storeGuarded(m *guardedTurns, hash uint64, turn *guardedTurn) {
	m.mu.Lock()
	if m.edits+len(turn.edits) >= maxGenerationEdits {
		m.older = m.recent
		m.recent = map[uint64]*guardedTurn{}
		m.edits = 0
	}
	m.edits += len(turn.edits) + 1
	m.recent[hash] = turn
	m.mu.Unlock()
}

// lookupGuarded returns what was found in a turn; nil: it is not known.
func lookupGuarded(m *guardedTurns, hash uint64) *guardedTurn {
	m.mu.RLock()
	turn := m.recent[hash]
	if turn == nil {
		turn = m.older[hash]
	}
	m.mu.RUnlock()
	return turn
}

// guardedTurnOf returns the longest known turn in which rules have matched and with which a body begins; nil:
// there is none. If nothing matches in what the memory has not found good, that turn is the one which the memory
// knows: it has no other texts that would have to be masked.
func guardedTurnOf(ep *endpoint, x *excerpt, isClean bool) *guardedTurn {
	m := ep.guard.turns
	m.mu.RLock()
	isEmpty := m.edits == 0
	m.mu.RUnlock()
	if isEmpty {
		return nil
	}
	if !isClean {
		if turn := findGuardedTurn(ep, x.body); turn != nil {
			return turn
		}
	}
	if x.turn == nil {
		return nil
	}
	return lookupGuarded(m, x.hash.Sum64())
}

// findGuardedTurn returns the longest known turn in which rules have matched and with which a body begins, and
// that is near its end; nil: there is none.
func findGuardedTurn(ep *endpoint, body []byte) *guardedTurn {
	m := ep.guard.turns
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
	return lookupGuarded(m, x.hash.Sum64())
}

// continueTurn returns what rules have matched in a turn, and in an excerpt of its masked body.
func continueTurn(g *requestGuard, before *guardedTurn, x *excerpt, in *inspection) *guardedTurn {
	turn := &guardedTurn{}
	if before != nil {
		turn.edits = append(turn.edits, before.edits...)
		turn.found = append(turn.found, before.found...)
	}
	masked := turn.edits
	for i, r := range in.matched {
		at, _ := placeBefore(masked, bodyPlace(x, in.places[i]))
		turn.found = append(turn.found, foundRule{r, at})
	}
	if g.reportOnly {
		return turn
	}
	for _, e := range in.edits {
		from, _ := placeBefore(masked, bodyPlace(x, e.from))
		_, to := placeBefore(masked, bodyPlace(x, e.to))
		turn.edits = append(turn.edits, guardEdit{from, to, e.value})
	}
	turn.edits = mergeEdits(turn.edits)
	return turn
}

// foundDecisions returns what X-Ai-Policy says about the rules that have matched in a turn.
func foundDecisions(g *requestGuard, turn *guardedTurn) []string {
	var matched []*guardRule
	for _, found := range turn.found {
		matched = append(matched, found.rule)
	}
	return guardDecisions(g, nil, matched)
}

// beginningOfTurn returns what of a turn is before a place of the client's body; nil: nothing.
func beginningOfTurn(turn *guardedTurn, end int) *guardedTurn {
	within := &guardedTurn{}
	for _, e := range turn.edits {
		if e.to <= end {
			within.edits = append(within.edits, e)
		}
	}
	var rules []*guardRule
	for _, found := range turn.found {
		if found.at < end && !containsRule(rules, found.rule) {
			rules = append(rules, found.rule)
			within.found = append(within.found, found)
		}
	}
	if within.found == nil {
		return nil
	}
	return within
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

// rememberGuarded remembers what was found in the turn of a body, after the memory has remembered the masked one.
func rememberGuarded(ep *endpoint, body []byte, turn *guardedTurn, x *excerpt) {
	if x.remembered == 0 || len(turn.edits) > maxTurnEdits {
		return
	}
	_, end := placeBefore(turn.edits, x.remembered)
	within := beginningOfTurn(turn, end)
	if within == nil || end < endBytes {
		return
	}
	m := ep.guard.turns
	whole := wholeExcerpt(m.memory, body)
	_, _ = whole.hash.Write(body[:end])
	hash := whole.hash.Sum64()
	storeGuarded(m, hash, within)
	storeTurn(m.memory, hash, end, endKey(m.memory, body, end), knownTurn{})
}
