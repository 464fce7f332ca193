// Package chatcompletion is a Traefik middleware that turns a route into a governed, metered AI
// endpoint.
//
// It validates requests of OpenAI's, Anthropic's and Google's APIs, blocks or masks contents, enforces or
// defaults the model, the system prompt and the parameters by rewriting the body or the path, swaps the
// client's key for the provider's, fails over between providers or serves a stored response, streams the
// response back, and records every call. [New] returns the middleware for a [Config]. A [Sink] receives
// the [Call] of each request.
//
// # Life of a request
//
//  1. ServeHTTP finds out whether another instance has governed the request, and which kind of endpoint it is for.
//  2. serveUngoverned serves what is not governed: preflights, lists of models, usage reports, and passthrough.
//  3. newExchange begins the exchange of a governed request. Its state until the record is in it.
//  4. identify finds out which consumer sends the request, and which policy that consumer's group has.
//  5. planFor decides what the provider is sent: it validates the body, inspects its texts, applies the rules to model and parameters, and inserts the system prompt.
//  6. reserveQuotas reserves what the request may use, or refuses it because a quota has nothing left.
//  7. addressProvider sets the path and the key of the provider.
//  8. send forwards the plan to the provider, or to several in turn until one responds. Where cacheResponses has a stored response, that takes the place of the provider's.
//  9. responseWriter streams the response to the client, and scans it for usage, model, errors and its end.
//  10. finish prices the usage, settles the quotas, and publishes the record of the call to metrics, spans and sinks.
//
// # Layers
//
// A file belongs to the layer that the beginning of its name says, and refers only to its own layer
// and those before:
//
//   - base: errors, log, text, config_values
//   - record: metrics, record
//   - provider: provider, secrets
//   - request: routes, template, request, schema, governance
//   - account: consumers, prices, quotas, store, redis
//   - telemetry: telemetry, sink, otlp, spans
//   - response: response
//   - config: config
//   - flow: exchange, plugin
//
// # Interpreted code
//
// Traefik interprets the package with Yaegi: compiled code of the standard library touches the
// bytes, and interpreted code makes the decisions. Where a line looks odd for Yaegi's sake, a
// comment says so. The rules, what each step costs, and the traps are in [CONTRIBUTING];
// docs/architecture.md has the picture.
//
// [CONTRIBUTING]: https://github.com/modelroute/chatcompletion/blob/main/CONTRIBUTING.md#rules-for-interpreted-code
package chatcompletion

import (
	"context"
	"net/http"
	"time"
)

// New returns the middleware, which calls next for the router's service. An error names every
// problem of the configuration with its key.
func New(ctx context.Context, next http.Handler, config *Config, name string) (http.Handler, error) {
	logStart()
	p, err := newPolicy(config, name)
	if err != nil {
		return nil, err
	}
	startTelemetry(ctx, p.telemetry)
	switch p.exposes {
	case exposePrometheus:
		return &exposition{registry: p.telemetry.registry, semconv: p.telemetry.semconv, name: name}, nil
	case exposeDashboard:
		d := sharedDashboard()
		useDashboard(ctx, d)
		return &dashboardHandler{dashboard: d, name: name}, nil
	}
	startPrices(ctx, p.prices)
	startPrompt(ctx, p.prompt)
	startStore(ctx, p)
	for i, pr := range p.providers {
		for _, auth := range pr.auths {
			startCredential(ctx, auth.credential)
		}
		pr.handler = newHandler(p, pr, next)
		pr.tunnel = newServiceTunnel(next)
		for _, group := range p.groups {
			group.providers[i].handler = pr.handler
			group.providers[i].tunnel = pr.tunnel
		}
	}
	startConsumers(ctx, p.consumers)
	return &middleware{policy: p}, nil
}

// startStore connects a policy, and those of its groups, with their counters and stored responses.
func startStore(ctx context.Context, p *policy) {
	if p.redis != nil {
		p.store = useRedisStore(ctx, p.redis)
	}
	if p.cache != nil {
		startCache(ctx, p)
	}
	useCounters(p)
	for _, group := range p.groups {
		group.store = p.store
		useCounters(group)
	}
}

// middleware is one instance: a policy that is applied to the requests of its routers.
type middleware struct {
	policy *policy
}

// newHandler returns the handler that forwards to a provider: next is the router's service.
func newHandler(p *policy, pr *provider, next http.Handler) http.Handler {
	if pr.upstream != nil {
		next = newProxy(pr.upstream)
	}
	if p.cache != nil && !p.reportOnly {
		next = cacheResponses(p, pr, next)
	}
	if p.maxResponseBytes > 0 || p.maxStreamDuration > 0 {
		next = limitResponses(p, next)
	}
	if p.responseRules != nil {
		next = guardResponses(p, next)
	}
	return next
}

// ServeHTTP serves one request: which instance is it, which endpoint is it for, and is that governed?
func (m *middleware) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	p := m.policy
	// As exchangeOf, whose call would cost every request.
	if x, isChained := req.Context().Value(exchangeKey).(*exchange); isChained {
		serveChained(x, p, rw, req)
		return
	}
	start := time.Now()
	delete(req.Header, p.modelHeader)
	k := completions
	if p.routes != nil {
		k = cachedKindOf(p.kinds, p.routes, req.URL)
	}
	ep := p.providers[0].endpoints[k]
	if !ep.postOnly || req.Method != http.MethodPost {
		if serveUngoverned(p, k, start, rw, req) {
			return
		}
	}
	serveGoverned(newExchange(p, ep, start, rw, req), req)
}

// serveGoverned is the life of a governed request: its consumer is identified, what the provider is
// sent is decided, what it may use is reserved, the provider is called, and the call is settled and
// recorded.
func serveGoverned(x *exchange, req *http.Request) {
	defer recoverExchange(x, req)
	if x.firstPolicy.consumers != nil {
		if req = identify(x, req); req == nil {
			return
		}
	}
	p, pr, call := x.firstPolicy, x.provider, x.call
	t := p.telemetry
	if t.labels != nil {
		call.Labels = labelsOf(t.labels, req, call.Labels)
	}
	pl, apiErr := planFor(x, p, pr, req)
	if apiErr == nil && p.quotas != nil {
		apiErr = reserveQuotas(x, p, pl, req)
	}
	if apiErr == nil && pr.upstream == nil {
		apiErr = addressProvider(pr, x.kind, pl, req)
	}
	if t.spans {
		startSpan(t, x, pl, req.Header)
	}
	if apiErr != nil {
		rejectExchange(x, apiErr)
		return
	}
	applyPlan(x, pl)
	x.plan = pl
	call.GatewayDuration = time.Since(call.Start)
	ctx := req.Context()
	send(x, p, x.response, req.WithContext(context.WithValue(ctx, exchangeKey, x)))
	endResponse(x.response)
	finish(x, ctx)
}
