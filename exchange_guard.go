package chatcompletion

import (
	"context"
	"net/http"
	"strings"
)

// guardResponses inspects the responses to governed requests under the rules of a policy. It is only there
// if there are rules: it costs others nothing.
func guardResponses(p *policy, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		x := exchangeOf(req.Context())
		if x == nil || x.models != nil {
			next.ServeHTTP(rw, req)
			return
		}
		serveInspected(x, p, next, rw, req)
	})
}

// serveInspected forwards a request, and inspects the response.
func serveInspected(x *exchange, p *policy, next http.Handler, rw http.ResponseWriter, req *http.Request) {
	ctx, cancel := context.WithCancel(req.Context())
	g := &responseGuard{ResponseWriter: rw, w: x.response, rules: p.responseRules, cancel: cancel}
	defer endBroken(x, g)
	outer := x.guard
	x.guard = g
	next.ServeHTTP(g, req.WithContext(ctx))
	x.guard = outer
	endInspection(x, g, true)
	if g.isCorrupt {
		abort() // it must look broken to the client, see endUncommon
	}
}

// isHeldByGuard reports whether a guard holds a response until it has been inspected.
func isHeldByGuard(x *exchange) bool {
	return x.guard != nil && x.guard.status != 0
}

// endBroken is deferred. If the inspection has not ended, the response has broken off.
func endBroken(x *exchange, g *responseGuard) {
	if !g.isEnded {
		endInspection(x, g, false)
	}
	g.cancel()
}

// endInspection decides on what is held of a response, and adds the decisions to those on the request.
func endInspection(x *exchange, g *responseGuard, isWhole bool) {
	g.isEnded = true
	endGuard(g, isWhole)
	if len(g.decisions) > 0 {
		addDecisions(x, g.decisions)
	}
}

// addDecisions adds what a guard has decided on a response to the decision on the request.
func addDecisions(x *exchange, decisions []string) {
	d := copyDecision(x.decision)
	d.request.Policy = strings.Join(append(append([]string{}, d.policyValue...), decisions...), ",")
	d.policyValue = []string{d.request.Policy}
	x.decision = d
	x.call.Request = d.request
}
