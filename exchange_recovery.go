package chatcompletion

import (
	"net/http"
	"time"
)

// recoverExchange is deferred. If the call has no record when its handler ends, a panic is under way.
func recoverExchange(x *exchange, req *http.Request) {
	if !x.recorded {
		endPanicked(x, req, recover())
	}
}

// endPanicked ends an exchange after a panic: that of a reverse proxy whose response broke off, or
// a fault.
func endPanicked(x *exchange, req *http.Request, cause any) {
	w := x.response
	if isAbort(cause) {
		finishAborted(x, req)
		if w.blockedStatus == 0 && (w.limit == nil || !w.limit.replaced) {
			abort()
		}
		return
	}
	logPanic(x.firstPolicy.name, cause)
	isWhole := w.complete
	ignorePanic(func() { settlePanicked(x) })
	ignorePanic(func() { recordPanic(x) })
	ignorePanic(func() {
		if w.status == 0 {
			write500(w.ResponseWriter, w.errors)
			isWhole = true
		}
		w.ResponseWriter.Header()[errorTypeHeader] = []string{errorPanic}
	})
	if !isWhole {
		abort()
	}
}

// finishAborted records a call whose response broke off.
func finishAborted(x *exchange, req *http.Request) {
	defer recoverExchange(x, req)
	finish(x, req.Context())
}

// recordPanic stops what still runs of an exchange, and records it. If the sinks have been reached,
// they may be what panicked.
func recordPanic(x *exchange) {
	w, c := x.response, x.call
	reached := c.Status > 0
	c.Duration = time.Since(c.Start)
	c.ErrorType = errorPanic
	c.Chunks = nil
	if c.Status = w.status; c.Status == 0 {
		c.Status = http.StatusInternalServerError
	}
	if c.Request == nil {
		c.Request = &Request{}
	}
	x.recorded = true
	if w.upload != nil {
		endUpload(w.upload)
	}
	uncountStream(w)
	if w.limit != nil && w.limit.timer != nil {
		w.limit.timer.Stop()
	}
	if w.decoder != nil {
		_ = w.decoder.close()
	}
	if reached {
		recordCall(x.firstPolicy.telemetry.registry, c)
	} else {
		publish(x.firstPolicy.telemetry, c)
	}
}
