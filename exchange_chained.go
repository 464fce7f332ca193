package chatcompletion

import (
	"net/http"
	"net/url"
	"strings"
)

// serveChained serves a request that another instance has governed and meters.
func serveChained(x *exchange, p *policy, rw http.ResponseWriter, req *http.Request) {
	if x.models != nil {
		if out := serveChainedModels(x, p, rw, req); out != nil {
			p.providers[0].handler.ServeHTTP(rw, out)
		}
		return
	}
	if p.modelHeader != x.firstPolicy.modelHeader {
		delete(req.Header, p.modelHeader)
	}
	deletePriorKey(x, req.Header)
	forgetRefusal(x)
	if p.consumers != nil || p.groups != nil {
		var apiErr *apiError
		if p, apiErr = chainedPolicy(x, p, req); apiErr != nil {
			rejectPlanned(x, apiErr, rw)
			return
		}
	}
	if p.namesConsumer {
		req = withCaller(x.consumer, req)
	}
	if !x.latestPolicy.reportOnly {
		x.enforced = append(x.enforced, x.provider)
	}
	pr, promptsBefore := p.providers[0], promptsIn(x.plan)
	x.latestPolicy = p
	x.provider = pr
	setKind(x, chainedKind(p, x, req.URL))
	pl, apiErr := planFor(x, p, pr, req)
	if apiErr == nil {
		x.plan = pl // also if it cannot be sent: a failover service may call another instance with the same exchange
	}
	x.call.Target = pr.endpoints[x.kind].target
	reservedBefore := len(x.response.charges)
	if apiErr == nil && p.quotas != nil {
		apiErr = reserveUncommon(x, p, pl, rw, req)
	}
	if apiErr == nil && pr.upstream == nil {
		apiErr = addressProvider(pr, x.kind, pl, req)
	}
	if apiErr != nil {
		rejectPlanned(x, apiErr, rw)
	} else {
		applyPlan(x, pl)
		send(x, p, rw, req)
	}
	if x.response.upload == nil && len(x.response.charges) > reservedBefore {
		releaseUnserved(x, reservedBefore)
	}
	withdrawPrompts(x, promptsBefore)
}

// deletePriorKey deletes the key of the provider of the instance before. Where the protocol is that of the
// client, it may be in any header that carries keys, none of which has the client's anymore.
func deletePriorKey(x *exchange, header http.Header) {
	prior := x.provider.endpoints[x.kind]
	if prior.auth.credential == nil {
		return
	}
	delete(header, prior.auth.credential.header)
	if prior.protocol == nil {
		for _, auth := range x.provider.auths {
			delete(header, auth.header)
		}
	}
}

// forgetRefusal forgets what an instance has responded whose response a failover service has discarded.
func forgetRefusal(x *exchange) {
	x.errorType = ""
	if x.response.refused != nil {
		x.response.refused = nil
		x.call.Quota = ""
	}
}

// chainedKind returns the kind of endpoint that a request is for at a chained instance. A request
// that an instance before has governed stays governed, and a request that is denied under the
// client's path or the present one is denied.
func chainedKind(p *policy, x *exchange, target *url.URL) kind {
	own := kindOf(p.chainedRoutes, target)
	if own == ownUsage {
		return deny // usage reports have no body that could be governed
	}
	if !p.reportOnly && (own == deny || kindOf(p.chainedRoutes, &url.URL{Path: x.clientPath}) == deny) {
		return deny
	}
	if x.kind == governedPassthrough && p.providers[0].endpoints[own].postOnly && (p.hasRules || own != generateContent) {
		return own
	}
	return x.kind
}

// serveChainedModels responds to a request for models that another instance has let pass, or
// returns what is to be forwarded.
func serveChainedModels(x *exchange, p *policy, rw http.ResponseWriter, req *http.Request) (out *http.Request) {
	out = nil
	defer recoverUngoverned(p.name, rw)
	prior := x.models
	delete(req.Header, prior.keyHeader)
	if p.consumers != nil || p.groups != nil {
		var apiErr *apiError
		if p, apiErr = chainedPolicy(x, p, req); apiErr != nil {
			writePolicyError(rw, errorsFor(req), apiErr)
			return out
		}
		if x.consumer != nil {
			p = consumerPolicy(p, x.consumer)
		}
	}
	name, _ := url.PathUnescape(strings.TrimPrefix(prior.suffix, "/"))
	switch {
	case kindOf(p.chainedRoutes, &url.URL{Path: strings.TrimSuffix(req.URL.Path, "/"+name)}) == deny && !p.reportOnly:
		writePolicyError(rw, errorsFor(req), denied())
	case name != "" && !isAllowed(p.models, name) && !p.reportOnly:
		writePolicyError(rw, errorsFor(req), modelNotFound(name))
	case (p.models.allowed != nil || p.models.consumers != nil) && prior.suffix == "" && !p.reportOnly:
		filterModels(p, rw, req, "")
	default:
		out = forwardedModels(p, rw, req, prior.suffix)
	}
	return out
}
