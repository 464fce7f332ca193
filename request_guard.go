package chatcompletion

import (
	"net/http"
	"strings"
)

// requestGuard is what an endpoint looks for in requests.
type requestGuard struct {
	rules      *guardRules
	reportOnly bool          // matches are reported, and nothing else
	turns      *guardedTurns // in which rules have matched; nil: requests are no conversations
	status     int           // of the error for what is blocked
	message    string        // of that error; empty: the default text
}

// Codes of errors for requests that are blocked.
const (
	contentBlocked      = "content_blocked"
	contentNotInspected = "content_not_inspected"
)

// turnsOf returns which structure tells the roles in requests of a kind.
func turnsOf(k kind) string {
	switch k {
	case completions:
		return chatTurns
	case responses, countResponses:
		return itemTurns
	case messages, countMessages:
		return blockTurns
	case generateContent, streamGenerateContent, countContents:
		return contentTurns
	}
	return unknownTurns
}

// planGuarded is planRequest for an endpoint with a guard: what follows is decided on the body in which
// everything is masked that the rules mask.
func planGuarded(ep *endpoint, req *http.Request) (*plan, *apiError) {
	if req.Method != http.MethodPost || ep.kind == realtime || ep.kind == deny {
		if ep.kind == realtime {
			return planRequest(ep, req) // in report mode
		}
		if apiErr := methodError(ep.kind, req.Method); apiErr != nil {
			return new(plan), apiErr
		}
	}
	body, apiErr := readBody(req, ep.maxRequestBodyBytes)
	pl := &plan{raw: body, decoded: body}
	if apiErr != nil || req.Header["Content-Encoding"] != nil {
		return planGuardedEncoded(ep, req, apiErr, pl)
	}
	return planGuardedBody(ep, req, pl)
}

// planGuardedEncoded is planEncoded for an endpoint with a guard.
func planGuardedEncoded(ep *endpoint, req *http.Request, apiErr *apiError, pl *plan) (*plan, *apiError) {
	pl.decoded = nil
	if apiErr != nil {
		return pl, apiErr
	}
	body, apiErr := decompress(req.Header, pl.raw, ep.maxRequestBodyBytes)
	if apiErr != nil {
		return pl, apiErr
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
		return planMatched(ep, req, pl)
	}
	return planBody(ep, req, pl)
}

// planMatched is planInspected for a body in which something may match.
func planMatched(ep *endpoint, req *http.Request, pl *plan) (*plan, *apiError) {
	in := inspectJSON(ep.guard.rules, pl.decoded, true)
	if apiErr := applyInspection(ep, req, pl, in); apiErr != nil {
		return pl, apiErr
	}
	if !ep.guard.reportOnly {
		pl.decoded = applyGuardEdits(pl.decoded, in.edits)
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
		pl.guarded = nil
	default:
		pl.guarded = guardDecisions(ep.guard, pl.guarded, in.matched)
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

// guardDecisions returns what X-Ai-Policy says about all rules that have matched, in the order of the
// configuration: some are listed already.
func guardDecisions(g *requestGuard, listed []string, matched []*guardRule) []string {
	for _, r := range matched {
		listed = append(listed, guardDecision(r))
	}
	var all []string
	for _, r := range g.rules.rules {
		if reason := guardDecision(r); containsText(listed, reason) {
			all = append(all, reason)
		}
	}
	return all
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

// planGuardedTurn is planInspected for a body that may continue a conversation. What the memory knows has been
// inspected: only the rest is. The client repeats texts that were masked; what they were replaced by is
// remembered, and replaces them again before anything else.
func planGuardedTurn(ep *endpoint, req *http.Request, pl *plan) (*plan, *apiError) {
	body := pl.decoded
	x := newExcerpt(ep.memory, body)
	isClean := x.turn != nil && len(x.text) <= lookNearBytes && !mayHoldMatch(ep.guard.rules, x.text)
	turn := guardedTurnOf(ep, x, isClean)
	if turn != nil {
		pl.guarded = foundDecisions(ep.guard, turn)
		if turn.edits != nil {
			pl.decoded = applyGuardEdits(body, turn.edits)
			x = newExcerpt(ep.memory, pl.decoded)
		}
	}
	if !isClean && mayHoldMatch(ep.guard.rules, x.text) {
		in := inspectJSON(ep.guard.rules, x.text, true)
		if apiErr := applyInspection(ep, req, pl, in); apiErr != nil {
			return pl, apiErr
		}
		if in.matched != nil {
			turn = continueTurn(ep.guard, turn, x, in)
			if in.edits != nil && !ep.guard.reportOnly {
				pl.decoded = applyGuardEdits(body, turn.edits)
				x = newExcerpt(ep.memory, pl.decoded)
			}
			x.isReported = stays(ep.guard, in.matched)
		}
	}
	apiErr := planExcerpt(ep, req, x, pl)
	if apiErr != nil && x.gaps != nil {
		return planMatched(ep, req, pl) // what was left out has not been what it seemed
	}
	if apiErr == nil && turn != nil {
		rememberGuarded(ep, body, turn, x)
	}
	if pl.guarded != nil {
		reportGuarded(pl, apiErr)
	}
	return pl, apiErr
}

// stays reports whether something that rules have matched is not masked.
func stays(g *requestGuard, matched []*guardRule) bool {
	for _, r := range matched {
		if g.reportOnly || r.action == actionReport {
			return true
		}
	}
	return false
}
