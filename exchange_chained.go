package chatcompletion

import (
	"net/http"
	"net/url"
	"strings"
)

// serveChained handles a request that an instance before has governed and meters.
func serveChained(m *middleware, x *exchange, rw http.ResponseWriter, req *http.Request) {
	p := m.policy
	if x.kind == models {
		if out := serveChainedModels(m, x, rw, req); out != nil {
			m.next.ServeHTTP(rw, out)
		}
		return
	}
	if p.modelHeader != x.response.policy.modelHeader {
		delete(req.Header, p.modelHeader)
	}
	if before := x.response.credential; before != nil {
		delete(req.Header, before.header) // the key of another provider
	}
	x.kind = chainedKind(p, x, req.URL.Path)
	x.response.call.Response.kind = x.kind
	ep := p.endpoints[x.kind]
	x.before = x.plan.decision
	apiErr := reapply(p, ep, x, req)
	x.plan.path = "" // the middlewares between may have set another
	x.response.call.Target = ep.target
	x.response.credential = p.credential
	if apiErr == nil && m.providers == nil {
		apiErr = addressProvider(p, ep, x.plan, req)
	}
	if apiErr != nil {
		rejectChained(x.response, apiErr)
		writeAPIError(rw, apiErr)
		return
	}
	applyDecision(x.response, x.plan)
	sendPlan(m, x, rw, req)
}

// serveChainedModels answers a request for models that an instance before has let pass, or returns what is to be handed on of it.
func serveChainedModels(m *middleware, x *exchange, rw http.ResponseWriter, req *http.Request) (out *http.Request) {
	p := m.policy
	out = nil
	defer recoverUngoverned(p.name, rw)
	delete(req.Header, x.modelsKeyHeader)
	name, _ := url.PathUnescape(strings.TrimPrefix(x.modelSuffix, "/"))
	switch {
	case kindOf(p.chainedRoutes, strings.TrimSuffix(req.URL.Path, "/"+name)) == deny && !p.reportOnly:
		writePolicyError(rw, denied())
	case name != "" && !isAllowed(p, name) && !p.reportOnly:
		writePolicyError(rw, modelNotFound(name))
	case p.allowedModels != nil && x.modelSuffix == "" && !p.reportOnly:
		filterModels(m, rw, req)
	default:
		out = modelsRequest(m, rw, req, x.modelSuffix)
	}
	return out
}

// chainedKind returns the kind of endpoint that a request is for at a later instance: what an instance before has governed
// passes nowhere ungoverned, and what is denied under the client's path or the present one is denied.
func chainedKind(p *policy, x *exchange, path string) kind {
	own := kindOf(p.chainedRoutes, path)
	if !p.reportOnly && (own == deny || kindOf(p.chainedRoutes, x.clientPath) == deny) {
		return deny
	}
	if x.kind == governedPassthrough && (own == completions || own == embeddings || own == responses) {
		return own
	}
	return x.kind
}

// chainedRoutes returns the routes for requests that an instance before has governed: those of the configuration, and behind
// them where OpenAI has the endpoints of each kind.
func chainedRoutes(routes []route) []route {
	if len(routes) > 0 && routes[len(routes)-1].suffix == anyPath {
		return routes
	}
	return append(append([]route{}, routes...),
		route{suffix: "/chat/completions", kind: completions}, route{suffix: "/embeddings", kind: embeddings},
		route{suffix: "/responses", kind: responses}, route{suffix: anyPath, kind: governedPassthrough})
}

// reapply applies the rules of a later instance to what the one before made of the request.
func reapply(p *policy, ep *endpoint, x *exchange, req *http.Request) *apiError {
	if ep.kind == deny {
		return denied()
	}
	before, pl := x.plan, &plan{}
	var apiErr *apiError
	if x.reportOnly {
		pl, apiErr = planRequest(p, ep, req)
	} else {
		pl.decision = before.decision
		body := plainBody(before)
		first := x.response.policy
		if names := bypassParams(first, first.endpoints[x.kind], p.preset); names != nil {
			body = removeMembers(body, names)
		}
		pl.decoded, pl.usageAdded = withoutUnsupportedUsage(ep, body, before.usageAdded || before.decision.addsUsage)
		pl.pieces = [][]byte{pl.decoded}
		if p.hasRules {
			pl, apiErr = planBody(p, ep, req, pl.decoded, pl)
		}
	}
	if p.reportOnly {
		pl = reportOnly(p, pl, apiErr)
		apiErr = nil // not in one assignment with j: Yaegi drops a nil there
		if !x.reportOnly {
			pl.pieces = [][]byte{pl.decoded}
		}
	}
	if apiErr != nil {
		return apiErr
	}
	if x.reportOnly && !p.reportOnly {
		x.before = nil // nothing of what it decided has been done
	} else {
		pl.decision = mergeDecisions(before.decision, pl.decision)
	}
	x.reportOnly = x.reportOnly && p.reportOnly
	x.plan = pl
	return nil
}

// withoutUnsupportedUsage returns a body as it can be sent to a provider, and whether it asks for a usage that the client did not ask for:
// some providers cannot be asked, whatever an instance before has done.
func withoutUnsupportedUsage(ep *endpoint, body []byte, asked bool) ([]byte, bool) {
	if !asked || ep.addsUsage {
		return body, asked
	}
	return removeMembers(body, []string{streamOptions}), false
}

// removeMembers returns a body without the members of some names.
func removeMembers(body []byte, names []string) []byte {
	obj := wholeJSONObject(body)
	if readMembers(obj) != nil {
		return body
	}
	for i := range obj.members {
		m := &obj.members[i]
		m.removed = containsText(names, m.name)
	}
	return plainBody(&plan{pieces: splice(obj, edits(obj, nil))})
}

// rejectChained notes that a request is refused that is metered already.
func rejectChained(w *responseWriter, apiErr *apiError) {
	w.failure = apiErr.code
	before := w.decision
	w.decision = mergeDecisions(before, &decision{model: before.model, policy: []string{"refused=" + apiErr.code}, request: before.request})
	w.call.Request = w.decision.request
}
