package chatcompletion

import (
	"net/http"
	"time"
)

// recoverExchange is deferred. It takes care of a call that is not recorded when its handler ends: a panic is under way.
func recoverExchange(w *responseWriter, req *http.Request) {
	if !w.recorded {
		endPanicked(w, req, recover())
	}
}

// endPanicked ends a call in the midst of which there was a panic: that of a reverse proxy whose answer broke off, or a fault.
func endPanicked(w *responseWriter, req *http.Request, cause any) {
	if isAbort(cause) {
		finishAborted(w, req)
		if w.limit == nil || !w.limit.replaced {
			abort()
		}
		return
	}
	logPanic(w.policy.name, cause)
	isWhole := w.complete
	ignorePanic(func() { recordPanic(w) })
	ignorePanic(func() {
		if w.status == 0 {
			write500(w.ResponseWriter)
			isWhole = true
		}
		w.ResponseWriter.Header()[errorTypeHeader] = []string{errorPanic}
	})
	if !isWhole {
		abort()
	}
}

// finishAborted makes known what an answer used that broke off.
func finishAborted(w *responseWriter, req *http.Request) {
	defer recoverExchange(w, req)
	finish(w, req.Context())
}

// recordPanic leaves nothing running of a call, and counts it. Sinks may be what has failed, if they have been reached.
func recordPanic(w *responseWriter) {
	c := w.call
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
	w.recorded = true
	closeStream(w)
	if w.limit != nil && w.limit.timer != nil {
		w.limit.timer.Stop()
	}
	if w.decoder != nil {
		_ = w.decoder.close()
	}
	if reached {
		recordCall(w.policy.telemetry.registry, c)
	} else {
		publish(w.policy.telemetry, c)
	}
}

// recoverUngoverned is deferred where a request is not governed, and has not been handed on.
func recoverUngoverned(name string, rw http.ResponseWriter) {
	cause := recover()
	if cause == nil {
		return
	}
	if isAbort(cause) {
		abort()
	}
	logPanic(name, cause)
	write500(rw)
}
