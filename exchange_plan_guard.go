package chatcompletion

import "net/http"

// planWithGuard is planUncommon for an endpoint that inspects requests.
func planWithGuard(x *exchange, p *policy, pr *provider, ep *endpoint, req *http.Request) (*plan, *apiError) {
	switch {
	case ep.kind == realtime && !p.reportOnly:
		return x.plan, notInspected(ep.guard, "it is a WebSocket")
	case x.plan != nil && pr != p.providers[0]:
		return planGuardedFallback(x, p, pr, ep, req)
	case x.plan != nil:
		return reapply(x, p, pr, ep, req)
	case ep.takesForms && isForm(req.Header):
		return planUpload(x, p, ep, req)
	}
	pl, apiErr := planGuarded(ep, req)
	x.guarded = nil
	if apiErr != nil {
		x.guarded = pl.guarded
	} else if x.restricted {
		apiErr = checkConsumerModel(x, p, ep, pl.decision)
	}
	if p.reportOnly {
		return asReport(ep.models, pl, apiErr), nil
	}
	return pl, apiErr
}

// noteGuarded keeps which rules for contents refuse a request.
func noteGuarded(x *exchange, pl *plan, apiErr *apiError) {
	x.guarded = nil
	if apiErr != nil {
		x.guarded = pl.guarded
	}
}

// planGuardedFallback is planFallback where the body has been inspected for the first provider.
func planGuardedFallback(x *exchange, p *policy, pr *provider, ep *endpoint, req *http.Request) (*plan, *apiError) {
	pl, apiErr := planFallback(x, p, pr, ep, req)
	if apiErr == nil && !x.reportOnly && !p.reportOnly {
		pl.guarded = x.plan.guarded
		reportGuarded(pl, nil)
	}
	return pl, apiErr
}
