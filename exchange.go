package chatcompletion

import (
	"context"
	"net/http"
	"time"
)

// exchange is one governed request from its arrival to its record. It is in the request's context,
// where no client can put it, for those who meet the request later: chained instances of the
// middleware, and the callbacks of a reverse proxy.
//
// Of chained instances, as in routing by model, the first one reads the body, meters the call and
// treats the response. Each further one applies its own rules to the plan of the one before, if it
// has rules, and forwards to its own provider.
type exchange struct {
	firstPolicy   *policy // which meters the call
	latestPolicy  *policy
	clientPath    string // as the first instance got it
	kind          kind   // of the endpoint, at the latest instance
	provider      *provider
	plan          *plan       // of the latest instance, for its first provider; nil: nothing has been decided
	decision      *decision   // of the plan that is sent
	priorDecision *decision   // of the instance before the latest; nil: there is none, or it has enforced nothing
	reportOnly    bool        // nothing has been enforced so far
	enforced      []*provider // of the instances before the latest that enforce their rules: whose endpoints have them
	attempt       *attempt    // at a provider that the middleware forwards to; nil: there was none so far
	attempts      []string    // the outcome of each
	response      *responseWriter
	call          *Call
	consumer      *consumer      // that sent the request; nil: it is unknown
	restricted    bool           // the consumer, or its group, may use some models only
	foundLate     bool           // a chained instance has found the consumer out
	sharesCharges bool           // charges may be in Redis
	tunnel        *tunnel        // of a request for a WebSocket; nil: it is none
	isUncommon    bool           // it has not ended with a complete response and status 200, or its quotas need more steps
	guarded       []string       // what the rules of the latest instance for contents have found, if it refuses the request
	guard         *responseGuard // of the instance whose provider responds; nil: it has none
	errorType     string         // of a response of the middleware's own; empty: the response tells
	recorded      bool           // the call has its record
	models        *modelsRequest // nil: the request is governed; else there is nothing beside this
}

// newExchange begins the exchange of a request that has arrived at an endpoint.
func newExchange(p *policy, ep *endpoint, start time.Time, rw http.ResponseWriter, req *http.Request) *exchange {
	t := p.telemetry
	call := &Call{Start: start, Target: ep.target}
	w := &responseWriter{
		ResponseWriter: rw, client: rw, errors: ep.errors, instance: p.name, registry: t.registry, call: call, start: start,
		reader: &responseReader{record: &call.Response, kind: ep.kind, wantsDetails: t.wantsDetails, wantsParts: p.wantsParts},
	}
	if ep.protocol == nil {
		w.errors = errorsFor(req)
	}
	return &exchange{firstPolicy: p, latestPolicy: p, clientPath: req.URL.Path, kind: ep.kind, provider: p.providers[0], reportOnly: p.reportOnly, response: w, call: call}
}

// exchangeKey is the key of an exchange in a context: a pointer, since Yaegi takes types of the
// same shape for one.
var exchangeKey = new(int)

// exchangeOf returns the exchange in a context; nil: there is none.
func exchangeOf(ctx context.Context) *exchange {
	x, has := ctx.Value(exchangeKey).(*exchange)
	if !has {
		return nil
	}
	return x
}

// setKind changes the kind of an exchange: what a chained instance takes its endpoint for.
func setKind(x *exchange, k kind) {
	x.kind = k
	x.response.reader.kind = k
}

// applyPlan has the response treated, and the call recorded, as a plan says.
func applyPlan(x *exchange, pl *plan) {
	d, w := pl.decision, x.response
	x.decision = d
	x.call.Request = d.request
	w.streamRequested = d.request.Stream
	w.unrequestedUsage = pl.usageAdded || d.addsUsage
}

// send sends the plan to the one provider, or to several until one has responded.
func send(x *exchange, p *policy, rw http.ResponseWriter, req *http.Request) {
	pr := p.providers[0]
	if x.kind == realtime && upgradesToWebSocket(req) {
		sendHandshake(x, p, rw, req)
		return
	}
	if pr.upstream != nil {
		tryProviders(x, p, rw, req)
		return
	}
	writePlan(x.plan, req, p.modelHeader)
	pr.handler.ServeHTTP(rw, req)
}

// limitResponses keeps the responses to governed requests within the limits of a policy. It is only
// there if there are limits: it costs others nothing.
func limitResponses(p *policy, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		x := exchangeOf(req.Context())
		if x == nil || x.models != nil {
			next.ServeHTTP(rw, req)
			return
		}
		maxBytes := p.maxResponseBytes
		if req.Method == http.MethodHead {
			maxBytes = 0 // the response announces the length of a body that does not come
		}
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		applyLimit(x.response, maxBytes, p.maxStreamDuration, cancel)
		next.ServeHTTP(rw, req.WithContext(ctx))
	})
}

// startSpan gives the call its place in a trace, and has content captured where that is configured.
func startSpan(t *telemetry, x *exchange, pl *plan, header http.Header) {
	if t.contentMaxBytes == 0 && t.sampler.isAlways && header[traceParentHeader] == nil {
		x.call.Trace = newTrace(header) // as startTrace
		return
	}
	startUncommonSpan(t, x, pl, header)
}

// startUncommonSpan is startSpan for a call that the caller may have sampled, or whose content may be
// captured.
func startUncommonSpan(t *telemetry, x *exchange, pl *plan, header http.Header) {
	x.call.Trace = startTrace(t.sampler, header)
	if t.contentMaxBytes > 0 && x.call.Trace != nil && isCaptured(x.kind) {
		captureContent(x, pl, t.contentMaxBytes)
	}
}

// captureContent keeps the prompt of a call, and has the response captured.
func captureContent(x *exchange, pl *plan, maxBytes int) {
	x.response.reader.capture = &capture{kind: x.kind, left: maxBytes}
	if pl.decision != nil && !pl.invalid { // else it may be anything, of any number of values
		x.call.Input = captureInput(x.kind, joinedBody(pl), maxBytes)
	}
}
