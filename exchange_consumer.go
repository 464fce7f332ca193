package chatcompletion

import (
	"context"
	"net/http"
	"time"
)

// identify finds out who sends a request, before anything else of it is looked at, and has the policy
// of the consumer's group applied. It returns the request, or nil if it has responded.
func identify(x *exchange, req *http.Request) *http.Request {
	p := x.firstPolicy
	c := commonConsumer(p.consumers, req)
	if c == nil {
		return identifyUncommonly(x, p, req)
	}
	call, who := x.call, c.caller // as setConsumer
	x.consumer = c
	call.Consumer = who.name
	call.Group = who.group
	call.Labels = c.labels
	if p.appliesConsumer || c.allowed != nil {
		return applyConsumer(x, p, req, nil)
	}
	return req
}

// setConsumer sets the consumer of an exchange.
func setConsumer(x *exchange, c *consumer) {
	call, who := x.call, c.caller
	x.consumer = c
	call.Consumer = who.name
	call.Group = who.group
	call.Labels = c.labels
}

// identifyUncommonly is identify for requests whose consumer takes more steps to find, or is not valid.
func identifyUncommonly(x *exchange, p *policy, req *http.Request) *http.Request {
	c, apiErr := identifyUncommon(p.consumers, req, x.call.Start)
	if c == nil {
		c, apiErr = passedConsumer(req, apiErr)
	}
	if c != nil {
		setConsumer(x, c)
		return applyConsumer(x, p, req, apiErr)
	}
	if apiErr != nil {
		rejectExchange(x, apiErr)
		return nil
	}
	return req // it is unknown, and not required
}

// applyConsumer applies what is particular to the consumer of a request. It returns the request, or
// nil if the consumer is refused.
func applyConsumer(x *exchange, p *policy, req *http.Request, apiErr *apiError) *http.Request {
	if apiErr == nil && p.groups != nil && x.call.Group != "" {
		apiErr = enterGroup(x, p)
	}
	if apiErr != nil {
		rejectExchange(x, apiErr)
		return nil
	}
	x.restricted = x.consumer.allowed != nil || x.firstPolicy.restrictsModels
	if p.namesConsumer {
		req = withCaller(x.consumer, req)
	}
	return req
}

// passedConsumer returns the consumer that an instance before has identified for a request that it has
// passed through; nil and the error: there is none.
func passedConsumer(req *http.Request, apiErr *apiError) (*consumer, *apiError) {
	if who := callerOf(req); who != nil {
		return newConsumer(who.name, who.group), nil
	}
	return nil, apiErr
}

// enterGroup has the policy of the consumer's group applied.
func enterGroup(x *exchange, p *policy) *apiError {
	if lacksGroup(p, x.call.Group) {
		return unknownGroup()
	}
	if own := p.groups[x.call.Group]; own != nil {
		x.firstPolicy = own
		x.latestPolicy = own
		x.provider = own.providers[0]
	}
	return nil
}

// lacksGroup reports whether a policy that identifies consumers does not have the group of one.
func lacksGroup(p *policy, group string) bool {
	if group == "" || p.groups == nil || p.groups[group] != nil || p.consumers.onlyGroups {
		return false
	}
	logWarnOnce("middleware %q: consumers.groups does not have the group %q of a consumer; its requests get status 403", p.name, group)
	return true
}

// withCaller returns a request whose templates can refer to its consumer.
func withCaller(c *consumer, req *http.Request) *http.Request {
	if c == nil {
		return req
	}
	return req.WithContext(context.WithValue(req.Context(), callerKey, c.caller))
}

// serveUngovernedConsumer is serveUngoverned where a consumer must be identified.
func serveUngovernedConsumer(p *policy, k kind, start time.Time, rw http.ResponseWriter, req *http.Request) bool {
	x := newExchange(p, p.providers[0].endpoints[k], start, rw, req)
	if req = identifyUngoverned(x, req); req == nil {
		return true
	}
	c := x.consumer
	if c == nil && k != ownUsage {
		return forwardUngoverned(p, k, start, rw, req)
	}
	isServed := true // also if the response breaks off
	if c == nil {
		rejectExchange(x, unknownConsumer("The gateway does not know the consumer that sends the request."))
		return isServed
	}
	defer func() {
		if isServed {
			setConsumerHeaders(rw.Header(), x.call)
		}
	}()
	own := consumerPolicy(x.firstPolicy, c)
	if k == ownUsage {
		reportUsage(x, own, rw, withCaller(c, req))
		return isServed
	}
	if k == passthrough && own.restrictsModels && !own.reportOnly {
		rejectExchange(x, passthroughDenied())
		return isServed
	}
	isServed = forwardUngoverned(own, k, start, rw, withCaller(c, req))
	return isServed
}

// identifyUngoverned is identify for a request that may not be governed, whose panics nobody else
// recovers.
func identifyUngoverned(x *exchange, req *http.Request) (identified *http.Request) {
	identified = nil
	defer func() {
		if cause := recover(); cause != nil {
			endPanicked(x, req, cause)
		}
	}()
	identified = identify(x, req)
	return identified
}

// consumerPolicy returns a policy for requests of a consumer that are not governed: its models are
// those that the consumer may use.
func consumerPolicy(p *policy, c *consumer) *policy {
	if c.allowed == nil {
		return p
	}
	own, rules := *p, *p.models
	rules.consumers = c.allowed
	own.models = &rules
	own.restrictsModels = true
	return &own
}

func passthroughDenied() *apiError {
	apiErr := denied()
	apiErr.message = "Access to this endpoint is denied, since the gateway cannot tell which model it uses, and your models are restricted."
	return apiErr
}

// planConsumer is planRequest for a consumer that may use some models only.
func planConsumer(x *exchange, p *policy, ep *endpoint, req *http.Request) (*plan, *apiError) {
	pl, apiErr := planRequest(ep, req)
	if apiErr == nil {
		apiErr = checkConsumerModel(x, p, ep, pl.decision)
	}
	return pl, apiErr
}

// checkConsumerModel returns the error for a model that a consumer may not use, nil if it may.
func checkConsumerModel(x *exchange, p *policy, ep *endpoint, d *decision) *apiError {
	c := x.consumer
	switch {
	case d.model == nil && (ep.kind == governedPassthrough || ep.kind == realtime) && (p.restrictsModels || c.allowed != nil):
		return noModel()
	case d.model == nil || matchesModel(c.allowed, d.model[0]):
		return checkConsumerModels(c, d.otherModels)
	}
	return modelNotAllowed(ep.models, d.requestedModel, d.model[0], c.allowedText)
}

// checkConsumerModels returns the error for a model that a consumer may not use, among those that a
// request names in addition to its own.
func checkConsumerModels(c *consumer, models []string) *apiError {
	for _, model := range models {
		if !matchesModel(c.allowed, model) {
			apiErr := modelNotFound(model)
			apiErr.message += " Use one of: " + c.allowedText + "."
			return apiErr
		}
	}
	return nil
}

// chainedPolicy returns the policy of a chained instance for a request: that of the consumer's group,
// if it has one. The first instance with consumers identifies.
func chainedPolicy(x *exchange, p *policy, req *http.Request) (*policy, *apiError) {
	if x.consumer == nil {
		if who := callerOf(req); who != nil {
			x.consumer = newConsumer(who.name, who.group)
		} else if p.consumers != nil {
			if apiErr := identifyChained(x, p, req); apiErr != nil {
				return p, apiErr
			}
		}
	}
	if c := x.consumer; c != nil && p.groups[c.caller.group] != nil {
		return p.groups[c.caller.group], nil
	}
	return p, nil
}

// identifyChained identifies the consumer of a request after an instance that has not. The instance
// then does what the first one does else: it needs the group, and enforces the models.
func identifyChained(x *exchange, p *policy, req *http.Request) *apiError {
	c, apiErr := identifyConsumer(p.consumers, req, time.Now())
	if c != nil && apiErr == nil && lacksGroup(p, c.caller.group) {
		apiErr = unknownGroup()
	}
	if apiErr == nil {
		x.consumer = c // else a failover service would call another instance with a consumer that is not valid
		x.foundLate = c != nil
	}
	if c == nil || x.call == nil {
		return apiErr
	}
	x.call.Consumer, x.call.Group = c.caller.name, c.caller.group
	if !containsText(x.call.Labels, consumerLabel) && !containsText(x.call.Labels, groupLabel) {
		x.call.Labels = append(append([]string{}, c.labels...), x.call.Labels...)
	}
	return apiErr
}
