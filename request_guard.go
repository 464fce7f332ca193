package chatcompletion

import (
	"net/http"
	"strings"
)

// requestGuard is what an endpoint looks for in requests.
type requestGuard struct {
	rules      *guardRules
	reportOnly bool         // matches are reported, and nothing else
	masked     *maskedTurns // nil: requests are no conversations
	status     int          // of the error for what is blocked
	message    string       // of that error; empty: the default text
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
	if ep.kind == realtime {
		return planRequest(ep, req) // in report mode
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
