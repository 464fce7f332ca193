package chatcompletion

import "net/http"

// planFor decides what a provider is sent, and nothing else does: the first instance decides on the
// request, a chained instance reapplies its own rules to the plan of the one before, and a fallback
// decides on what the first provider was to be sent.
func planFor(x *exchange, p *policy, pr *provider, req *http.Request) (*plan, *apiError) {
	ep := pr.endpoints[x.kind]
	if x.plan != nil || p.reportOnly || x.restricted || ep.isUncommon {
		return planUncommon(x, p, pr, ep, req)
	}
	return planRequest(ep, req)
}

// planUncommon is planFor for all but the usual case: the first decision on a JSON body that names the model,
// by a policy that enforces it and restricts no consumer.
func planUncommon(x *exchange, p *policy, pr *provider, ep *endpoint, req *http.Request) (*plan, *apiError) {
	if ep.isModelPath && req.Method == http.MethodPost {
		var apiErr *apiError
		if ep, apiErr = pathEndpoint(pr.modelPaths, req); apiErr != nil {
			return planUnknownPath(x, p, pr, apiErr)
		}
		setKind(x, ep.kind)
		x.call.Target = ep.target
	}
	if ep.isVersioned {
		ep = versionEndpoint(pr, ep, req)
	}
	if ep.prompt != nil || x.plan != nil {
		var apiErr *apiError
		if ep, apiErr = promptedEndpoint(x, p, pr, ep); apiErr != nil {
			return planWithoutPrompt(x, apiErr)
		}
	}
	if ep.guard != nil {
		return planWithGuard(x, p, pr, ep, req)
	}
	switch {
	case x.plan == nil && ep.takesForms && isForm(req.Header):
		return planUpload(x, p, ep, req)
	case x.plan == nil && p.reportOnly:
		return planReport(x, p, ep, req)
	case x.plan == nil && x.restricted:
		return planConsumer(x, p, ep, req)
	case x.plan == nil:
		return planRequest(ep, req)
	case pr != p.providers[0]:
		return planFallback(x, p, pr, ep, req)
	}
	return reapply(x, p, pr, ep, req)
}

// versionEndpoint returns the endpoint for the version of the protocol that a request names: versions are
// dates, and the first one is what requests without a version get.
func versionEndpoint(pr *provider, ep *endpoint, req *http.Request) *endpoint {
	version := req.Header[ep.protocol.defaultHeader]
	if version != nil && version[0] > ep.protocol.defaultValue {
		return pr.laterVersions[ep.kind]
	}
	return ep
}

// promptedEndpoint returns the endpoint that inserts the current system prompt of a policy, and again those
// of the instances before; the error: there is no prompt yet.
func promptedEndpoint(x *exchange, p *policy, pr *provider, ep *endpoint) (*endpoint, *apiError) {
	var own *promptText
	if ep.prompt != nil {
		var apiErr *apiError
		if own, apiErr = promptOf(p.prompt); apiErr != nil && !p.reportOnly {
			return ep, apiErr
		}
	}
	return promptEndpoint(ep, own, priorPrompts(x, p, pr)), nil
}

// priorPrompts returns the prompts that the instances before have inserted; nil: there are none.
func priorPrompts(x *exchange, p *policy, pr *provider) *insertedPrompts {
	switch {
	case x.plan == nil:
		return nil
	case pr != p.providers[0]:
		return x.plan.prompts
	}
	return promptsIn(x.plan)
}

// withdrawPrompts has the next instance go on without what instances have inserted that have returned. A
// failover service may call another one, and Retry the same one again.
func withdrawPrompts(x *exchange, before *insertedPrompts) {
	if promptsIn(x.plan) != before {
		own := *x.plan
		own.prompts = before
		own.withdrawn = true
		x.plan = &own
	}
}

// planWithoutPrompt plans for a request that is refused because there is no system prompt for it.
func planWithoutPrompt(x *exchange, apiErr *apiError) (*plan, *apiError) {
	if x.plan != nil {
		return x.plan, apiErr
	}
	return &plan{}, apiErr
}

// planUnknownPath plans for a path that does not name a model and an action, which is refused unless
// nothing is enforced.
func planUnknownPath(x *exchange, p *policy, pr *provider, apiErr *apiError) (*plan, *apiError) {
	pl := x.plan
	if pl == nil {
		pl = &plan{}
	}
	if !p.reportOnly || !x.reportOnly {
		return pl, apiErr
	}
	return asReport(pr.endpoints[x.kind].models, pl, apiErr), nil
}

// planReport decides on a request, and plans to send it unchanged.
func planReport(x *exchange, p *policy, ep *endpoint, req *http.Request) (*plan, *apiError) {
	if x.restricted {
		pl, apiErr := planConsumer(x, p, ep, req)
		return asReport(ep.models, pl, apiErr), nil
	}
	pl, apiErr := planRequest(ep, req)
	return asReport(ep.models, pl, apiErr), nil
}

// planFallback decides what a fallback is sent instead of the plan for the first provider.
func planFallback(x *exchange, p *policy, pr *provider, ep *endpoint, req *http.Request) (*plan, *apiError) {
	own := *x.plan
	if x.reportOnly || p.reportOnly {
		own.decision = copyDecision(x.decision)
	}
	if x.reportOnly {
		return &own, nil
	}
	if own.form != nil {
		return planFormFallback(x, p, pr, ep, req)
	}
	body, added := withoutUnsupportedUsage(ep, withoutBypassParams(x, pr, x.plan.decoded), x.plan.usageAdded)
	pl := &plan{decision: own.decision, decoded: body, pieces: [][]byte{body}, usageAdded: added, prompts: own.prompts}
	if p.reportOnly {
		if own.prompts != nil {
			setPromptedBody(x, pr, ep, pl, &own)
		}
		return pl, nil
	}
	pl, apiErr := planBody(ep, req, pl)
	if apiErr == nil && x.priorDecision != nil {
		pl.decision = mergeDecisions(x.priorDecision, pl.decision)
	}
	return pl, apiErr
}

// withoutBypassParams returns a body without the parameters that would bypass the rules of the
// instances before at a provider.
func withoutBypassParams(x *exchange, pr *provider, body []byte) []byte {
	names := enforcedNames(x, pr)
	if names == nil {
		return body
	}
	return removeMembers(body, names)
}

// enforcedNames returns the parameters that would bypass the rules of the instances before at a provider.
func enforcedNames(x *exchange, pr *provider) []string {
	var names []string
	for _, prior := range x.enforced {
		names = append(names, bypassParams(prior.endpoints[x.kind], pr.preset)...)
	}
	return names
}

// copyDecision returns a copy with its own request: the exporter caches the text of a request
// together with its provider.
func copyDecision(d *decision) *decision {
	own := *d
	request := *d.request
	own.request = &request
	return &own
}

// reapply applies the rules of a chained instance to the plan of the instance before.
func reapply(x *exchange, p *policy, pr *provider, ep *endpoint, req *http.Request) (*plan, *apiError) {
	prior := x.plan
	x.priorDecision = prior.decision
	if ep.kind == deny {
		return prior, denied()
	}
	var pl *plan
	var apiErr *apiError
	switch {
	case prior.form != nil || (ep.takesForms && isForm(req.Header)):
		pl, apiErr = reapplyUpload(x, p, pr, ep, req)
	case x.reportOnly && ep.guard != nil:
		pl, apiErr = planGuarded(ep, req)
	case x.reportOnly:
		pl, apiErr = planRequest(ep, req)
	default:
		pl, apiErr = reapplyBody(x, p, pr, ep, req)
	}
	noteGuarded(x, pl, apiErr)
	if apiErr == nil && x.foundLate && !isPending(pl) {
		apiErr = checkConsumerModel(x, p, ep, pl.decision)
	}
	if p.reportOnly {
		pl = asReport(ep.models, pl, apiErr)
		apiErr = nil // not in one assignment with pl: Yaegi drops a nil there
		if !x.reportOnly && !pl.streams {
			pl.pieces = [][]byte{pl.decoded}
			if pl.prompts != nil || prior.withdrawn {
				setPromptedBody(x, pr, ep, pl, prior)
			}
		}
	}
	if apiErr != nil {
		return prior, apiErr
	}
	if x.reportOnly && !p.reportOnly {
		x.priorDecision = nil // nothing that it decided was enforced
	} else {
		pl.decision = mergeDecisions(prior.decision, pl.decision)
	}
	if pl.stream != nil {
		startUpload(x, p, ep, pl, req)
	}
	x.reportOnly = x.reportOnly && p.reportOnly
	return pl, nil
}

// reapplyBody is reapply for the body that the instance before sends, without the prompts in it.
func reapplyBody(x *exchange, p *policy, pr *provider, ep *endpoint, req *http.Request) (*plan, *apiError) {
	prior := x.plan
	pl := &plan{decision: prior.decision, prompts: promptsIn(prior)}
	body := joinedBody(prior)
	if pl.prompts != nil || prior.withdrawn {
		body = bareBody(prior)
	}
	body = withoutBypassParams(x, pr, body)
	pl.decoded, pl.usageAdded = withoutUnsupportedUsage(ep, body, prior.usageAdded || prior.decision.addsUsage)
	pl.pieces = [][]byte{pl.decoded}
	switch {
	case ep.guard != nil:
		return planGuardedBody(ep, req, pl)
	case p.hasRules:
		return planBody(ep, req, pl)
	case pl.prompts != nil || prior.withdrawn:
		setPromptedBody(x, pr, ep, pl, prior)
	}
	return pl, nil
}

// setPromptedBody has a plan send what the plan of the instance before sends, the prompts in it included.
func setPromptedBody(x *exchange, pr *provider, ep *endpoint, pl, prior *plan) {
	if prior.withdrawn {
		pl.pieces = [][]byte{insertPrompts(ep, pl.decoded, pl.prompts, prior.decision.request.Model)}
		return
	}
	body, _ := withoutUnsupportedUsage(ep, withoutBypassParams(x, pr, joinedBody(prior)), prior.usageAdded || prior.decision.addsUsage)
	pl.pieces = [][]byte{body}
}

// addressProvider sets the provider's path in the plan, and replaces the client's credentials with
// the provider's key.
func addressProvider(pr *provider, k kind, pl *plan, req *http.Request) *apiError {
	ep := pr.endpoints[k]
	if pr.isRebased || pr.path != "" || k == governedPassthrough || ep.isModelPath {
		if apiErr := movePath(pr, ep, pl, req); apiErr != nil {
			return apiErr
		}
	}
	if ep.protocol != openAIProtocol {
		return authorizeProtocol(pr, ep, req)
	}
	return authorize(ep.auth, req)
}

// authorizeProtocol is authorize for another protocol than OpenAI's, or for that of the client.
func authorizeProtocol(pr *provider, ep *endpoint, req *http.Request) *apiError {
	of := ep.protocol
	if of == nil {
		of = clientProtocol(req)
	}
	if ep.isModelPath && (req.URL.RawQuery != "" || req.Header[fieldMaskHeader] != nil) {
		removeSystemParameters(req)
	}
	apiErr := authorize(pr.auths[of.name], req)
	if name := of.defaultHeader; name != "" && req.Header[name] == nil {
		req.Header[name] = []string{of.defaultValue}
	}
	return apiErr
}

// movePath sets the provider's path in the plan.
func movePath(pr *provider, ep *endpoint, pl *plan, req *http.Request) *apiError {
	path, apiErr := providerPath(pr, ep, pl, req)
	pl.path = path
	return apiErr
}

// providerPath returns the provider's path for a request, escaped; "": the client's.
func providerPath(pr *provider, ep *endpoint, pl *plan, req *http.Request) (string, *apiError) {
	switch {
	case ep.isModelPath:
		return providerModelPath(pr, ep, pl, req)
	case ep.counts && pr.path != "": // a request that is not charged must not reach another endpoint
		return "", denied()
	case pr.pathTemplate != nil:
		return render(pr.pathTemplate, req)
	case pr.path != "":
		return pr.path, nil
	case pr.isRebased && ep.kind == models:
		return presetFor(pr.preset, clientProtocol(req)).basePath + ep.path, nil
	case pr.isRebased && ep.path != "":
		return ep.basePath + ep.path, nil
	}
	path := ""
	if ep.kind == governedPassthrough {
		path = canonicalPath(req.URL.Path)
	}
	if !pr.isRebased {
		return path, nil
	}
	if path == "" {
		path = req.URL.EscapedPath()
	}
	return joinBase(pr.preset.basePath, path), nil
}

// providerModelPath returns the provider's path for a request whose model is in the path. A configured path
// is what precedes the model. "": the client's path, which is only sent if nothing is enforced.
func providerModelPath(pr *provider, ep *endpoint, pl *plan, req *http.Request) (string, *apiError) {
	parsed, isOne := parseModelPath(req.URL)
	if !isOne {
		return "", nil
	}
	prefix, model := parsed.prefix, parsed.model
	if pr.path != "" {
		prefix = pr.path
	} else if pr.isRebased {
		prefix = ep.basePath
	}
	if pr.pathTemplate != nil {
		var apiErr *apiError
		if prefix, apiErr = render(pr.pathTemplate, req); apiErr != nil {
			return "", apiErr
		}
	}
	if d := pl.decision; d != nil && d.model != nil {
		model = d.model[0]
	}
	return modelPathOf(prefix, model, parsed.action), nil
}
