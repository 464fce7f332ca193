package chatcompletion

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"
)

// tryProviders calls the providers of a policy in their order until one has responded. What comes
// before the first byte of a response costs the client only time.
func tryProviders(x *exchange, p *policy, rw http.ResponseWriter, req *http.Request) {
	for i, pr := range p.providers {
		isLast := i == len(p.providers)-1 || x.plan.invalid || x.plan.streams // the rest of the body can be read only once
		if tryProvider(x, p, pr, isLast, rw, req) {
			return
		}
	}
}

// tryProvider reports whether the client has its response, from a provider or without one.
func tryProvider(x *exchange, p *policy, pr *provider, isLast bool, rw http.ResponseWriter, req *http.Request) bool {
	x.call.Target = pr.endpoints[x.kind].target
	if !isLast && isOpen(pr.circuit, time.Now()) {
		addAttempt(x, outcomeSkipped)
		return false
	}
	start := time.Now()
	var apiErr *apiError
	pl, out := x.plan, cloneRequest(req)
	if pr != p.providers[0] {
		pl, apiErr = planFor(x, p, pr, req)
	}
	if apiErr == nil {
		apiErr = addressProvider(pr, x.kind, pl, out)
	}
	if x.attempt != nil {
		startNextAttempt(x.call, start, out.Header)
	}
	if apiErr != nil {
		return rejectAttempt(x, apiErr, isLast, rw)
	}
	x.provider = pr
	x.response.start = x.call.Start
	applyPlan(x, pl)
	if x.tunnel != nil {
		writeHandshake(pl, out, p.modelHeader)
	} else {
		writePlan(pl, out, p.modelHeader)
	}
	if pl.pieces != nil {
		out.GetBody = replayBody(pl.pieces)
	}
	x.attempt = &attempt{clientContext: req.Context(), isLast: isLast}
	return callProvider(x, pr, rw, out)
}

// callProvider forwards to a provider, and reports whether the client has its response.
func callProvider(x *exchange, pr *provider, rw http.ResponseWriter, out *http.Request) bool {
	a := x.attempt
	ctx, cancel := context.WithCancel(a.clientContext)
	defer cancel()
	a.firstByteTimer = time.AfterFunc(pr.upstream.firstByte, cancel)
	defer a.firstByteTimer.Stop()
	x.response.mayRetry = !a.isLast
	pr.handler.ServeHTTP(rw, out.WithContext(ctx))
	if !a.tryNext {
		if a.err == nil { // a response came; else the client has left, or the last provider failed
			resetCircuit(pr.circuit)
		}
		return true
	}
	if isProviderFault(pr, a) {
		recordCircuitFailure(pr.circuit, a.retryAfter, time.Now())
	}
	recordAttempt(x)
	return false
}

// attempt is one call of a provider, one of several that may respond.
type attempt struct {
	clientContext  context.Context // of the client's request, which outlives the attempt
	firstByteTimer *time.Timer     // ends the attempt unless the response begins before
	isLast         bool            // the client gets its response, whatever it is
	status         int             // of the response; 0: there is none
	retryAfter     string          // the header of the response
	err            error           // why there is no response
	tryNext        bool            // the next provider is tried
	outcome        string          // the status, or why there is none
}

// outcomeSkipped is the outcome of a provider whose circuit is open; others have a status or an
// error.type.
const outcomeSkipped = "skipped"

// isProviderFault reports whether a failure concerns all clients. Other failures may be due to one
// client: to a request that the provider cannot handle, or to the rate limit of the client's own
// key.
func isProviderFault(pr *provider, a *attempt) bool {
	switch a.status {
	case 0:
		var failed *net.OpError
		return a.outcome == errorTimeout || (errors.As(a.err, &failed) && failed.Op == "dial")
	case http.StatusTooManyRequests:
		return pr.auth.credential != nil
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// addAttempt notes the outcome of an attempt at the call's target for the access log.
func addAttempt(x *exchange, outcome string) {
	x.attempts = append(x.attempts, x.call.Target.Provider+"="+outcome)
}

// rejectAttempt skips a provider that cannot be called. If it was the last one, it responds with
// the error and reports true.
func rejectAttempt(x *exchange, apiErr *apiError, isLast bool, rw http.ResponseWriter) bool {
	addAttempt(x, apiErr.code)
	if isLast {
		rejectPlanned(x, apiErr, rw)
	}
	return isLast
}

// recordAttempt records a failed attempt. The next one has its own record.
func recordAttempt(x *exchange) {
	call := *x.call
	call.Duration = time.Since(call.Start)
	call.Status = x.attempt.status
	call.ErrorType = x.attempt.outcome
	publish(x.firstPolicy.telemetry, &call)
}

// startNextAttempt turns the record of a call into that of the next attempt, with its own span.
func startNextAttempt(c *Call, start time.Time, header http.Header) {
	c.Start = start
	c.GatewayDuration = time.Since(start)
	if c.Trace != nil {
		c.Trace = siblingTrace(c.Trace, header)
	}
}

// cloneRequest returns a copy of a request whose header and URL can be changed.
func cloneRequest(req *http.Request) *http.Request {
	out := req.WithContext(req.Context())
	url := *req.URL
	out.URL = &url
	out.Header = req.Header.Clone()
	return out
}
