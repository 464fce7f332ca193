package chatcompletion

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// errLimit is what a provider's proxy gets that writes more than fits.
var errLimit = errors.New("the answer is larger than maxResponseBytes")

// responseLimit is how long and how large an answer may be. Of several instances of the middleware, the least counts.
type responseLimit struct {
	maxDuration time.Duration      // of a stream; 0: as long as there are events
	maxBytes    int64              // of an answer; 0: as many as there are
	cancel      context.CancelFunc // gives the provider's connection up
	remaining   int64              // of bytes, where an answer does not announce its length
	timer       *time.Timer        // of a stream, which cancels; nil: there is none
	replaced    bool               // the answer announced too much, and the client got an error instead
	aborted     bool               // it was ended
}

// applyLimit applies the limits of an instance to the response; 0: unlimited.
func applyLimit(w *responseWriter, maxBytes int64, maxDuration time.Duration, cancel context.CancelFunc) {
	limit := w.limit
	if limit == nil {
		limit = &responseLimit{}
		w.limit = limit
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

// beginLimit looks at the header of an answer, and tells whether it is handed on. One that announces its length needs no gate:
// no more of it can come.
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

// startTimer ends a stream that has begun when its time is over. It is compiled code that does.
func startTimer(limit *responseLimit) {
	if limit.maxDuration > 0 {
		limit.timer = time.AfterFunc(limit.maxDuration, limit.cancel)
	}
}

// rejectResponse answers instead of a provider that announces too much.
func rejectResponse(w *responseWriter) {
	w.limit.replaced = true
	w.fastPath = true
	w.out = &limitWriter{w: w, next: w.ResponseWriter} // nothing is left
	w.window = nil
	w.reader.stream = false
	w.failure = errorResponseTooLarge
	removeRepresentation(w.ResponseWriter.Header())
	writeAPIError(w.ResponseWriter, responseTooLarge(w.limit.maxBytes))
	w.status = http.StatusBadGateway
}

func responseTooLarge(maxBytes int64) *apiError {
	return &apiError{http.StatusBadGateway, serverError, errorResponseTooLarge, "",
		"The provider's answer is larger than the " + strconv.FormatInt(maxBytes, 10) + " bytes that this endpoint hands on. Ask for less."}
}

// limitWriter lets pass what fits of an answer.
type limitWriter struct {
	w    *responseWriter
	next io.Writer
}

// Write hands on a piece that fits. At one that does not, the answer ends.
func (g *limitWriter) Write(chunk []byte) (int, error) {
	limit := g.w.limit
	if int64(len(chunk)) > limit.remaining {
		return 0, truncate(g.w, chunk)
	}
	limit.remaining -= int64(len(chunk))
	return g.next.Write(chunk)
}

// truncate ends an answer with what fits of a piece.
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

// abortStream ends an answer for a reason, of which an event stream tells if the client can read it there.
func abortStream(w *responseWriter, reason *apiError, isBetween bool) {
	w.limit.aborted = true
	w.failure = reason.code
	if isBetween {
		event := append(append([]byte("data: "), errorJSON(reason)...), blankLine...)
		_, _ = w.ResponseWriter.Write(event)
	}
	if w.flush != nil {
		_ = w.flush()
	}
}

// isBetweenEvents tells whether what a client has got of a stream ends with an event: what is in the window, and the last piece.
// What is kept back of a stream is then not sent any more.
func isBetweenEvents(w *responseWriter, last []byte) bool {
	if !w.reader.stream || w.window == nil {
		return false
	}
	if w.filtersUsage {
		w.filter.buffered = nil
		return w.filter.largeTail == nil && lastEventEnd(last) == len(last) && (len(last) > 0 || !w.filter.beganInLarge)
	}
	text := append(append([]byte(nil), w.window.Bytes()...), last...)
	return len(text) <= 1 || lastEventEnd(text) == len(text)
}

// endLimit stops the clock of a stream that has ended, and tells of one that it has ended. isBroken is whether its proxy
// says that the answer broke off; what is complete then does not matter.
func endLimit(w *responseWriter, isBroken bool) {
	clock := w.limit.timer
	w.limit.timer = nil
	if clock == nil || clock.Stop() || w.writeErr != nil || w.limit.aborted {
		return
	}
	scanFullWindow(w, nil)
	reader := &w.reader
	if reader.done || (reader.finished && (reader.ending != "" || !isBroken)) {
		return
	}
	abortStream(w, streamTimeout(w.limit.maxDuration), isBetweenEvents(w, nil))
}

func streamTimeout(limit time.Duration) *apiError {
	return &apiError{http.StatusOK, serverError, errorStreamTimeout, "",
		"The stream took longer than the " + limit.String() + " that this endpoint allows. Ask for less, or in several requests."}
}
