package chatcompletion

import "net/http"

// planUpload decides on a form. One that does not fit in memory is decided on while it streams.
func planUpload(x *exchange, p *policy, ep *endpoint, req *http.Request) (*plan, *apiError) {
	pl, apiErr := readUpload(x, p, ep, req, nil)
	noteGuarded(x, pl, apiErr)
	if apiErr == nil && x.restricted && !isPending(pl) {
		apiErr = checkConsumerModel(x, p, ep, pl.decision)
	}
	if p.reportOnly {
		pl = asReport(ep.models, pl, apiErr)
		apiErr = nil // not in one assignment with pl: Yaegi drops a nil there
	}
	if apiErr == nil && pl.stream != nil {
		startUpload(x, p, ep, pl, req)
	}
	return pl, apiErr
}

// readUpload reads a form, and decides on it by the rules of a policy. names are of fields that other
// instances refuse.
func readUpload(x *exchange, p *policy, ep *endpoint, req *http.Request, names []string) (*plan, *apiError) {
	f, apiErr := newForm(req.Header)
	if apiErr != nil {
		return new(plan), apiErr
	}
	setFormRules(x, p, ep, f, names)
	return planForm(ep, req, f)
}

// setFormRules sets what a policy says about the fields of a form.
func setFormRules(x *exchange, p *policy, ep *endpoint, f *form, names []string) {
	f.reserved = names
	for _, r := range ep.rules {
		f.reserved = append(f.reserved, r.name)
	}
	isRestricted := (x.restricted || x.foundLate) && (p.restrictsModels || x.consumer.allowed != nil)
	f.needsModel = isRestricted || hasModelRules(ep.models)
	f.reportOnly = p.reportOnly
	f.guard = ep.guard
}

// formFor returns a form with the rules of another provider or instance.
func formFor(x *exchange, p *policy, pr *provider, ep *endpoint, f *form) *form {
	own := &form{contentType: f.contentType, delimiter: f.delimiter}
	setFormRules(x, p, ep, own, enforcedNames(x, pr))
	return own
}

// reapplyUpload applies the rules of a chained instance to the form that the instance before sends.
func reapplyUpload(x *exchange, p *policy, pr *provider, ep *endpoint, req *http.Request) (*plan, *apiError) {
	prior, names := x.plan, enforcedNames(x, pr)
	switch {
	case !ep.takesForms:
		return &plan{raw: prior.raw, streams: prior.streams}, invalidJSON("this endpoint does not take forms", 0)
	case x.reportOnly || (prior.streams && (p.hasRules || names != nil || x.foundLate)):
		return readUpload(x, p, ep, req, names)
	case prior.streams:
		return &plan{decision: prior.decision, form: prior.form, streams: true}, nil
	}
	body := joinedBody(prior)
	return planHeldForm(ep, req, &plan{decoded: body, form: formFor(x, p, pr, ep, prior.form)})
}

// planFormFallback decides what a fallback is sent of a form instead of the plan for the first provider.
func planFormFallback(x *exchange, p *policy, pr *provider, ep *endpoint, req *http.Request) (*plan, *apiError) {
	first := x.plan
	pl := &plan{decision: first.decision, decoded: first.decoded, pieces: [][]byte{first.decoded}, form: formFor(x, p, pr, ep, first.form)}
	if p.reportOnly {
		return pl, nil
	}
	pl, apiErr := planHeldForm(ep, req, pl)
	if apiErr == nil && x.priorDecision != nil {
		pl.decision = mergeDecisions(x.priorDecision, pl.decision)
	}
	return pl, apiErr
}

// startUpload has the rest of a form decided on while it streams.
func startUpload(x *exchange, p *policy, ep *endpoint, pl *plan, req *http.Request) {
	w, s := x.response, pl.stream
	if w.upload == nil {
		w.upload = &upload{header: http.Header{}}
	}
	u := w.upload
	u.decision = pl.decision
	late := &lateDecision{x: x, policy: p, ep: ep, plan: pl, upload: u}
	late.merges = x.plan != nil && (!x.reportOnly || p.reportOnly)
	s.refuse = func(apiErr *apiError) { refuseLate(late, apiErr) }
	if !isPending(pl) {
		return
	}
	late.req = cloneRequest(req)
	late.isRestricted = x.restricted || x.foundLate
	late.reserves = p.quotas != nil && p.quotas.vary
	s.decide = func(requested string) (string, *apiError) { return decideLate(late, requested) }
}

// lateDecision is what a decision on the model of a form needs that streams already.
type lateDecision struct {
	x            *exchange
	policy       *policy
	ep           *endpoint
	plan         *plan
	upload       *upload
	req          *http.Request // as it was before the provider's key was set
	isRestricted bool          // the consumer may use some models only
	merges       bool          // an instance before has decided
	reserves     bool          // quotas depend on the model
}

// decideLate decides on the model of a form that streams, unless the response has begun: it is too late for
// another one.
func decideLate(late *lateDecision, requested string) (string, *apiError) {
	x, p, f := late.x, late.policy, late.plan.form
	d, apiErr := decideForm(late.ep, late.req, f, requested)
	if apiErr == nil && late.isRestricted {
		apiErr = checkConsumerModel(x, p, late.ep, d)
	}
	if apiErr != nil {
		return "", apiErr
	}
	if f.reportOnly {
		d = asReport(late.ep.models, &plan{decision: d}, nil).decision
	}
	u := late.upload
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended {
		return "", incompleteBody()
	}
	if late.reserves {
		pl := &plan{decision: d, textBytes: late.plan.textBytes, form: f}
		apiErr = reserveUncommon(x, p, pl, &bufferedResponse{header: u.header}, late.req)
		if apiErr != nil {
			return "", apiErr
		}
	}
	setLateDecision(late, d)
	return sentModel(f, d), nil
}

// setLateDecision sets the decision on a form that streams.
func setLateDecision(late *lateDecision, d *decision) {
	if late.merges {
		d = mergeDecisions(late.upload.decision, d)
	}
	late.upload.decision = d
}

// refuseLate keeps why a form that streams was refused.
func refuseLate(late *lateDecision, apiErr *apiError) {
	u := late.upload
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended || u.apiErr != nil {
		return
	}
	if late.plan.form.reportOnly {
		setLateDecision(late, asReport(late.ep.models, new(plan), apiErr).decision)
		return
	}
	u.apiErr = apiErr
}

// settleUpload takes over what was found out while a form streamed.
func settleUpload(x *exchange) {
	w := x.response
	u := w.upload
	apiErr := endUpload(u)
	if u.decision != nil && x.decision != u.decision {
		x.decision = u.decision
	}
	if apiErr != nil {
		x.decision = refusedLater(x.decision, refusalOf(x, apiErr))
		if w.status == 0 {
			rejectUpload(w, apiErr)
		}
	}
	x.call.Request = x.decision.request
}
