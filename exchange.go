package chatcompletion

import (
	"context"
	"net/http"
	"time"
)

// exchange is a governed request on its way to the provider. It is in the request's context, where no client can put it, for
// those who meet the request later: another instance of the middleware on its path, and the callbacks of a reverse proxy.
//
// Of several instances, as in model-based routing, the first one reads the body, meters the call and treats the stream. A
// later one governs what the one before made of the body, if it has rules, and has its own provider answer.
type exchange struct {
	kind            kind   // if it is models, the request is not governed, and there is nothing else here
	clientPath      string // as the first instance got it
	plan            *plan
	before          *decision // of the instance before; nil: there is none, or it has enforced nothing
	reportOnly      bool      // nothing has been enforced so far
	response        *responseWriter
	attempt         *attempt // at a provider that the middleware forwards to; nil: there was none so far
	modelSuffix     string   // of models: what stands behind the path of the list
	modelsKeyHeader string   // of models: the header with the key of the provider of the instance before
}

// exchangeKey is that of a passage in a context: a pointer, since Yaegi takes types of the same shape for one.
var exchangeKey = new(int)

// exchangeOf returns the passage in a context; nil: there is none yet.
func exchangeOf(ctx context.Context) *exchange {
	x, has := ctx.Value(exchangeKey).(*exchange)
	if !has {
		return nil
	}
	return x
}

// serveExchange has the provider answer a governed request, and meters the call.
func serveExchange(m *middleware, w *responseWriter, req *http.Request, pl *plan) {
	d, c := pl.decision, w.call
	c.Request = d.request
	c.GatewayDuration = time.Since(w.start)
	w.decision = d
	w.usageAdded = d.addsUsage
	x := &exchange{kind: c.Response.kind, clientPath: req.URL.Path, plan: pl, reportOnly: w.policy.reportOnly, response: w}
	ctx := req.Context()
	sendPlan(m, x, w, req.WithContext(context.WithValue(ctx, exchangeKey, x)))
	if w.needsCleanup {
		completeResponse(w)
	}
	w.complete = true
	finish(w, ctx)
}

// sendPlan hands a request on: to the one provider, or to several until one has answered.
func sendPlan(m *middleware, x *exchange, rw http.ResponseWriter, req *http.Request) {
	if m.providers != nil {
		tryProviders(m, x, rw, req)
		return
	}
	writePlan(m.policy, req, x.plan)
	m.next.ServeHTTP(rw, req)
}

// finish leaves nothing running, and makes known what was decided and what the call used, however the answer ended.
func finish(w *responseWriter, ctx context.Context) {
	if w.needsCleanup {
		cleanup(w)
	}
	c := w.call
	c.Duration = time.Since(c.Start)
	if w.window != nil {
		finishWindow(w)
	}
	c.Status = w.status
	if c.Status != http.StatusOK || !w.complete || c.Response.stream || c.Response.failed {
		c.ErrorType = callErrorType(w, ctx)
	}
	header := w.ResponseWriter.Header()
	removeLogTrailers(header)
	setLogHeaders(header, w.decision, c)
	publish(w.policy.telemetry, c)
	w.recorded = true
}

// applyDecision has the answer treated, and told of, as a verdict says.
func applyDecision(w *responseWriter, pl *plan) {
	w.usageAdded = pl.usageAdded || pl.decision.addsUsage
	w.decision = pl.decision
	w.call.Request = pl.decision.request
}

// rejectExchange answers with the refusal, and records the call.
func rejectExchange(w *responseWriter, apiErr *apiError) {
	c, rw := w.call, w.ResponseWriter
	writePolicyError(rw, apiErr)
	w.status = apiErr.status
	w.complete = true
	rw.Header()[errorTypeHeader] = []string{apiErr.code}
	c.Duration = time.Since(c.Start)
	c.GatewayDuration = c.Duration
	c.Status = apiErr.status
	c.ErrorType = apiErr.code
	c.Request = &Request{Policy: "refused=" + apiErr.code}
	publish(w.policy.telemetry, c)
	w.recorded = true
}
