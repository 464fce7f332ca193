package chatcompletion

import (
	"context"
	"errors"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// finish stops what still runs, sets the access-log headers, and records the call, however the
// response ended.
func finish(x *exchange, ctx context.Context) {
	w, c := x.response, x.call
	if w.upload != nil {
		settleUpload(x)
	}
	if w.needsCleanup {
		cleanupExchange(x)
	}
	c.Duration = time.Since(c.Start)
	if w.window != nil {
		finishWindow(w)
	}
	c.Status = w.status
	if c.Status != http.StatusOK || !w.complete || w.reader.stream || w.reader.failed {
		c.ErrorType = endedBy(x, ctx)
		x.isUncommon = true
	}
	header, p := w.ResponseWriter.Header(), x.firstPolicy
	removeLogTrailers(header)
	if p.prices != nil {
		settlePriced(x, p.prices, header)
	} else if w.charges != nil {
		settleQuotas(x)
	}
	setLogHeaders(header, x.decision, c)
	if c.Consumer != "" {
		setConsumerHeaders(header, c)
	}
	if x.attempts != nil {
		setAttemptsHeader(header, x.attempts)
	}
	publish(p.telemetry, c)
	x.recorded = true
}

// cleanupExchange is what finish does first for responses that need it.
func cleanupExchange(x *exchange) {
	cleanup(x.response)
	if x.response.recording != nil {
		finishCaching(x)
	}
}

// rejectExchange responds with an error before a provider is called, and records the call.
func rejectExchange(x *exchange, apiErr *apiError) {
	w, c := x.response, x.call
	if w.charges != nil || w.refused != nil {
		setLimitHeaders(w.ResponseWriter.Header(), w.errors, w.charges, w.refused)
	}
	if x.kind == realtime {
		setHandshakeHeaders(w.ResponseWriter.Header(), apiErr)
	}
	writePolicyError(w.ResponseWriter, w.errors, apiErr)
	policy := refusalOf(x, apiErr)
	w.ResponseWriter.Header()[policyHeader] = []string{policy}
	w.status = apiErr.status
	if w.charges != nil {
		settleUncommon(x)
	}
	if c.Quota != "" {
		w.ResponseWriter.Header()[quotaHeader] = []string{c.Quota}
	}
	w.complete = true
	w.ResponseWriter.Header()[errorTypeHeader] = []string{apiErr.code}
	if c.Consumer != "" {
		setConsumerHeaders(w.ResponseWriter.Header(), c)
	}
	c.Duration = time.Since(c.Start)
	c.GatewayDuration = c.Duration
	c.Status = apiErr.status
	c.ErrorType = apiErr.code
	c.Request = &Request{Policy: policy, ReportOnly: x.reportOnly}
	publish(x.firstPolicy.telemetry, c)
	x.recorded = true
}

// rejectPlanned responds with an error after the first instance has decided. The first instance
// records the call.
func rejectPlanned(x *exchange, apiErr *apiError, rw http.ResponseWriter) {
	x.errorType = apiErr.code
	x.decision = refusedLater(x.decision, refusalOf(x, apiErr))
	x.call.Request = x.decision.request
	writeAPIError(rw, x.response.errors, apiErr)
}

// refusedLater returns a decision on a request that was refused after it.
func refusedLater(before *decision, refusal string) *decision {
	return mergeDecisions(before, &decision{model: before.model, policyValue: []string{refusal}, request: before.request})
}

// refusalOf returns what X-Ai-Policy says about a request that is refused.
func refusalOf(x *exchange, apiErr *apiError) string {
	return strings.Join(append(append([]string{}, x.guarded...), "refused="+apiErr.code), ",")
}

// maxStatus is the last status that HTTP has a class for.
const maxStatus = 599

// endedBy returns the error.type of an exchange, "" if it ended as it should.
func endedBy(x *exchange, ctx context.Context) string {
	w := x.response
	reader := w.reader
	switch {
	case w.errorType != "":
		return w.errorType
	case x.errorType != "":
		return x.errorType
	case w.fromTraefik:
		return traefikErrorType(w.status)
	case w.status > maxStatus:
		return other
	case w.status >= http.StatusBadRequest:
		return providerErrorType(x)
	case reader.failed:
		return errorErrorEvent
	case w.writeErr == nil && (reader.ended || (w.complete && (!reader.stream || reader.finished))):
		return ""
	case errors.Is(w.writeErr, os.ErrDeadlineExceeded) || ctx.Err() == context.DeadlineExceeded:
		return errorTimeout
	case w.writeErr != nil || ctx.Err() != nil:
		return errorClientGone
	}
	return errorProviderCut
}

// providerErrorType returns the provider's status. After 401, the key is looked up again.
func providerErrorType(x *exchange) string {
	if x.response.status == http.StatusUnauthorized {
		credentialRejected(x.provider.auth.credential, x.call.Start)
	}
	return strconv.Itoa(x.response.status)
}

// traefikErrorType returns why Traefik responded instead of a provider.
func traefikErrorType(status int) string {
	switch status {
	case statusClientClosedRequest:
		return errorClientGone
	case http.StatusGatewayTimeout:
		return errorTimeout
	}
	return errorConnectionFailed
}
