package chatcompletion

import (
	"bytes"
	"net/http"
	"strings"
)

// requestGuard is what an endpoint looks for in requests.
type requestGuard struct {
	rules      *guardRules
	reportOnly bool                // matches are reported, and nothing else
	masked     *conversationMemory // turns with masked texts; nil: requests are no conversations
	edits      int                 // of its recent generation
	status     int                 // of the error for what is blocked
	message    string              // of that error; empty: the default text
}

// Codes of errors for requests that are blocked.
const (
	contentBlocked      = "content_blocked"
	contentNotInspected = "content_not_inspected"
)

// planGuarded is planRequest for an endpoint with a guard: what follows is decided on the body in which
// everything is masked that the rules mask.
func planGuarded(ep *endpoint, req *http.Request) (*plan, *apiError) {
	if ep.kind == realtime {
		return new(plan), notInspected(ep.guard, "it is a WebSocket")
	}
	if apiErr := methodError(ep.kind, req.Method); apiErr != nil {
		return new(plan), apiErr
	}
	body, apiErr := readBody(req, ep.maxRequestBodyBytes)
	pl := &plan{raw: body}
	if apiErr != nil {
		return pl, apiErr
	}
	if req.Header["Content-Encoding"] != nil {
		if body, apiErr = decompress(req.Header, body, ep.maxRequestBodyBytes); apiErr != nil {
			return pl, apiErr
		}
	}
	pl.decoded = body
	return planGuardedBody(ep, req, pl)
}

// planGuardedBody is planBody for an endpoint with a guard.
func planGuardedBody(ep *endpoint, req *http.Request, pl *plan) (*plan, *apiError) {
	if len(pl.decoded) >= excerptMinBytes && mayContinue(ep, pl.decoded) {
		return planGuardedTurn(ep, req, pl)
	}
	return planInspected(ep, req, pl)
}

// planInspected inspects the whole body, and plans for it.
func planInspected(ep *endpoint, req *http.Request, pl *plan) (*plan, *apiError) {
	if mayHoldMatch(ep.guard.rules, pl.decoded) {
		in := inspectJSON(ep.guard.rules, pl.decoded, true)
		if apiErr := applyInspection(ep, req, pl, in); apiErr != nil {
			return pl, apiErr
		}
		if in.edits != nil && !ep.guard.reportOnly {
			pl.decoded = applyGuardEdits(pl.decoded, in.edits)
		}
	}
	pl, apiErr := planBody(ep, req, pl)
	reportGuarded(pl, apiErr)
	return pl, apiErr
}

// applyInspection notes what has matched in a plan, and returns the error if the request is blocked. A
// request that is refused anyway is not blocked.
func applyInspection(ep *endpoint, req *http.Request, pl *plan, in *inspection) *apiError {
	var blocked *apiError
	switch {
	case in.blocking != nil:
		blocked = blockedBy(ep.guard, in.blocking)
		pl.guarded = []string{guardDecision(in.blocking)}
	case in.isLimit:
		blocked = notInspected(ep.guard, "it has too many places that may match, or texts that are not valid")
	default:
		for _, r := range in.matched {
			if reason := guardDecision(r); !containsText(pl.guarded, reason) {
				pl.guarded = append(pl.guarded, reason)
			}
		}
		return nil
	}
	if _, apiErr := decide(ep, req, newJSONObject(pl.decoded)); apiErr != nil {
		pl.guarded = nil
		return apiErr
	}
	return blocked
}

// guardDecision returns what X-Ai-Policy says about a rule that has matched in a request.
func guardDecision(r *guardRule) string {
	return "guard_" + r.action + "=" + r.name
}

// reportGuarded adds what has matched to the decision of a plan, which other requests may share.
func reportGuarded(pl *plan, apiErr *apiError) {
	if apiErr != nil || pl.guarded == nil {
		return
	}
	own := *pl.decision
	request := *own.request
	request.Policy = strings.Join(append(append([]string{}, own.policyValue...), pl.guarded...), ",")
	own.request = &request
	own.policyValue = []string{request.Policy}
	pl.decision = &own
}

// blockedBy returns the error for a request that a rule blocks.
func blockedBy(g *requestGuard, r *guardRule) *apiError {
	message := g.message
	if message == "" {
		message = "The request was blocked by the content rule `" + r.name + "`. Remove what the rule matches, and try again."
	}
	return &apiError{g.status, invalidRequestError, contentBlocked, "", message}
}

// notInspected returns the error for a request that cannot be inspected.
func notInspected(g *requestGuard, reason string) *apiError {
	return &apiError{g.status, invalidRequestError, contentNotInspected, "", "The request was blocked, since its content cannot be inspected: " + reason + "."}
}

// planGuardedTurn is planInspected for a body that may continue a conversation. Of what the memory
// knows, nothing matches: only the rest is inspected. The client repeats texts that were masked; what
// they were replaced by is remembered, and replaces them again before anything else.
func planGuardedTurn(ep *endpoint, req *http.Request, pl *plan) (*plan, *apiError) {
	body := pl.decoded
	known := maskedTurn(ep, body)
	if known != nil {
		pl.decoded = applyGuardEdits(body, known)
	}
	x := newExcerpt(ep.memory, pl.decoded)
	if mayHoldMatch(ep.guard.rules, x.text) {
		in := inspectJSON(ep.guard.rules, x.text, true)
		if apiErr := applyInspection(ep, req, pl, in); apiErr != nil {
			return pl, apiErr
		}
		if in.edits != nil && !ep.guard.reportOnly {
			known = addEdits(known, x, in.edits)
			pl.decoded = applyGuardEdits(body, known)
			x = newExcerpt(ep.memory, pl.decoded)
		}
	}
	apiErr := planExcerpt(ep, req, x, pl)
	if apiErr != nil && x.gaps != nil {
		return planInspected(ep, req, pl) // what was left out has not been what it seemed
	}
	if apiErr == nil && known != nil {
		rememberMasked(ep, body, known, x, pl.decision.outline)
	}
	reportGuarded(pl, apiErr)
	return pl, apiErr
}

// Bounds of the edits that are remembered: with one turn, and with all turns of a generation.
const (
	maxTurnEdits       = 64
	maxGenerationEdits = 32 << 10
)

// maskedTurn returns the edits of the longest known turn with masked texts with which a body begins; nil:
// there is none.
func maskedTurn(ep *endpoint, body []byte) []guardEdit {
	m := ep.guard.masked
	m.mu.RLock()
	isEmpty := len(m.recent.turns)+len(m.older.turns) == 0
	m.mu.RUnlock()
	if isEmpty {
		return nil
	}
	x, form := wholeExcerpt(m, body), spellingOf(body)
	before := len(body) // where the tools begin, as in newExcerpt
	after := before
	for _, v := range seenValues(ep.memory) {
		if value := findValue(ep.memory, body, v, form.colon); v.name == toolsName && value != nil {
			before, after = value.from, value.to
		}
	}
	turn := findTurn(m, x, form.separator, 0, before)
	if turn == nil && after < len(body) {
		turn = findTurn(m, x, form.separator, after, len(body))
	}
	if turn == nil {
		return nil
	}
	found, _ := lookupTurn(m, x.hash.Sum64())
	return found.edits
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
	m.mu.Lock()
	ep.guard.edits += len(within)
	if ep.guard.edits > maxGenerationEdits {
		forgetOldest(m)
		ep.guard.edits = len(within)
	}
	m.mu.Unlock()
	whole := wholeExcerpt(m, body)
	_, _ = whole.hash.Write(body[:end])
	storeTurn(m, whole.hash.Sum64(), end, endKey(m, body, end), knownTurn{edits: within})
}
