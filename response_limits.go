package chatcompletion

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// errLimit is returned to a reverse proxy that writes more than the limit allows.
var errLimit = errors.New("the response exceeds maxResponseBytes")

// responseLimit bounds the duration and the size of a response. Of chained instances, the lowest
// limits apply.
type responseLimit struct {
	maxDuration time.Duration      // of a stream; 0: unlimited
	maxBytes    int64              // of the response; 0: unlimited
	cancel      context.CancelFunc // cancels the request to the provider
	remaining   int64              // bytes, for a response that does not announce its length
	timer       *time.Timer        // of a stream, calls cancel; nil: not running
	replaced    bool               // the response announced too many bytes: the client got an error instead
	aborted     bool               // the response was ended at a limit
}

// applyLimit applies the limits of an instance to the response; 0: unlimited.
func applyLimit(w *responseWriter, maxBytes int64, maxDuration time.Duration, cancel context.CancelFunc) {
	limit := w.limit
	if limit == nil {
		limit = &responseLimit{}
		w.limit = limit
		w.treated = true
		w.needsCleanup = true
	}
	limit.cancel = cancel
	if maxDuration > 0 && (limit.maxDuration == 0 || maxDuration < limit.maxDuration) {
		limit.maxDuration = maxDuration
	}
	if maxBytes > 0 && (limit.maxBytes == 0 || maxBytes < limit.maxBytes) {
		limit.maxBytes = maxBytes
	}
}

// beginLimit checks the header of a response, and reports whether the response is forwarded. One
// that announces its length needs no limitWriter: it cannot become longer.
func beginLimit(w *responseWriter) bool {
	limit := w.limit
	if limit.maxBytes == 0 {
		return true
	}
	length, err := strconv.ParseInt(w.ResponseWriter.Header().Get("Content-Length"), 10, 64)
	if err == nil && length <= limit.maxBytes {
		return true
	}
	if err == nil {
		rejectResponse(w)
		return false
	}
	limit.remaining = limit.maxBytes
	w.client = &limitWriter{w: w, next: w.ResponseWriter}
	w.out = &limitWriter{w: w, next: w.out}
	return true
}

// startTimer starts the timer that ends a stream after maxDuration. The timer calls compiled code.
func startTimer(limit *responseLimit) {
	if limit.maxDuration > 0 {
		limit.timer = time.AfterFunc(limit.maxDuration, limit.cancel)
	}
}

// rejectResponse responds with an error in place of a response that announces too many bytes.
func rejectResponse(w *responseWriter) {
	w.limit.replaced = true
	w.fastPath = true
	w.out = &limitWriter{w: w, next: w.ResponseWriter} // nothing remains: what the provider sends is dropped
	w.window = nil
	w.reader.stream = false
	w.errorType = errorResponseTooLarge
	removeRepresentation(w.ResponseWriter.Header())
	writeAPIError(w.ResponseWriter, w.errors, responseTooLarge(w.limit.maxBytes))
	w.status = http.StatusBadGateway
}

func responseTooLarge(maxBytes int64) *apiError {
	return &apiError{http.StatusBadGateway, serverError, errorResponseTooLarge, "",
		"The provider's response exceeds the limit of " + strconv.FormatInt(maxBytes, 10) + " bytes for this endpoint. Request a shorter response."}
}

// limitWriter forwards the bytes of a response that fit in its limit.
type limitWriter struct {
	w    *responseWriter
	next io.Writer
}

// Write forwards a chunk that fits. A chunk that does not fit ends the response.
func (l *limitWriter) Write(chunk []byte) (int, error) {
	limit := l.w.limit
	if int64(len(chunk)) > limit.remaining {
		return 0, truncate(l.w, chunk)
	}
	limit.remaining -= int64(len(chunk))
	return l.next.Write(chunk)
}

// truncate ends a response with the part of a chunk that fits.
func truncate(w *responseWriter, chunk []byte) error {
	limit := w.limit
	if limit.aborted || limit.replaced {
		return errLimit
	}
	fits := chunk[:limit.remaining]
	limit.remaining = 0
	_, _ = w.ResponseWriter.Write(fits)
	abortStream(w, responseTooLarge(limit.maxBytes), isBetweenEvents(w, fits))
	return errLimit
}

// abortStream ends a response for a reason. In an event stream, an event with the reason follows if
// the client can read it there.
func abortStream(w *responseWriter, reason *apiError, isBetween bool) {
	w.limit.aborted = true
	w.errorType = reason.code
	if isBetween {
		_, _ = w.ResponseWriter.Write(errorEvent(w.errors, reason))
	}
	if w.flush != nil {
		_ = w.flush()
	}
}

// isBetweenEvents reports whether what the client has received of a stream ends with a complete
// event: the window and the last chunk. What the usage filter has buffered is discarded.
func isBetweenEvents(w *responseWriter, last []byte) bool {
	if !w.reader.stream || w.reader.array || w.window == nil {
		return false
	}
	if w.filtersUsage {
		w.filter.buffered = nil
		return w.filter.largeTail == nil && lastEventEnd(last) == len(last) && (len(last) > 0 || !w.filter.beganInLarge)
	}
	text := append(append([]byte(nil), w.window.Bytes()...), last...)
	return len(text) <= 1 || lastEventEnd(text) == len(text)
}

// endLimit stops the timer of a stream that has ended. If the timer has ended the stream, the
// client gets the reason. isBroken is set if the reverse proxy aborted the response: a finish
// reason alone then does not make a stream complete.
func endLimit(w *responseWriter, isBroken bool) {
	timer := w.limit.timer
	w.limit.timer = nil
	if timer == nil || timer.Stop() || w.writeErr != nil || w.limit.aborted {
		return
	}
	scanFullWindow(w, nil)
	reader := w.reader
	if reader.ended || (reader.finished && !isBroken) {
		return
	}
	abortStream(w, streamTimeout(w.limit.maxDuration), isBetweenEvents(w, nil))
}

func streamTimeout(limit time.Duration) *apiError {
	return &apiError{http.StatusGatewayTimeout, serverError, errorStreamTimeout, "",
		"The stream exceeded the limit of " + limit.String() + " for this endpoint. Request a shorter response, or split the request."}
}
