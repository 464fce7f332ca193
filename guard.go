package chatcompletion

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	texttemplate "text/template"
	"time"
)

// errorPanic is the error.type of a call that a fault of this code has ended, or one of the code behind it.
const errorPanic = "panic"

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

// ignorePanic takes a step after which others have to come, whatever becomes of it.
func ignorePanic(step func()) {
	defer func() { _ = recover() }()
	step()
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

// recoverGoroutine is deferred in a goroutine that serves a key of the configuration: a panic that left it would end the whole of
// Traefik.
func recoverGoroutine(name string) {
	if cause := recover(); cause != nil {
		logWarn("%s: a panic: %s", name, causeText(cause))
	}
}

// write500 answers for a fault, in the place of an answer that may have begun to be prepared.
func write500(rw http.ResponseWriter) {
	removeRepresentation(rw.Header())
	writeAPIError(rw, &apiError{http.StatusInternalServerError, serverError, "internal_error", "",
		"The gateway had an internal error while it processed your request. Sorry about that."})
}

// representationHeaders are headers of an answer that say something of its body.
var representationHeaders = []string{
	"Content-Encoding", "Content-Length", "Content-Range", "Content-Language", "Content-Location", "Content-Disposition",
	"Accept-Ranges", "Cache-Control", "Etag", "Expires", "Last-Modified", "Trailer",
}

func removeRepresentation(header http.Header) {
	for _, name := range representationHeaders {
		delete(header, name)
	}
}

// plainCause is a text of the language's runtime and of reflection, which names types and numbers: those of Yaegi's panics.
// Another text could have something of a request in it.
var plainCause = regexp.MustCompile(`^(runtime error|reflect|interface conversion)\b`)

// causeMaxBytes bounds what is told of a panic.
const causeMaxBytes = 200

// logPanic makes a fault known to the operator.
func logPanic(name string, cause any) {
	logWarn("middleware %q: a panic, in the plugin or behind it: %s", name, causeText(cause))
}

// causeText returns what can be told of a panic.
func causeText(cause any) string {
	text := ""
	ignorePanic(func() {
		if err, isError := cause.(error); isError {
			text = err.Error() // which may panic, too
		} else if said, isText := cause.(string); isText {
			text = said
		}
	})
	if !plainCause.MatchString(text) {
		return fmt.Sprintf("a value of the type %T", cause)
	}
	return truncated(text, causeMaxBytes)
}

// isAbort tells whether a panic is that of a reverse proxy whose answer broke off.
func isAbort(cause any) bool {
	is := false
	ignorePanic(func() {
		err, isError := cause.(error)
		is = isError && errors.Is(err, http.ErrAbortHandler) // whose methods may panic, too
	})
	return is
}

// abort breaks an answer off, as a reverse proxy does whose answer broke off: nobody tells of that panic. It has to come from
// compiled code, such as Must: one of interpreted code has another value, and would be in Traefik's log with every frame.
func abort() {
	_ = texttemplate.Must(nil, http.ErrAbortHandler)
}
