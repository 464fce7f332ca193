package chatcompletion

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"time"
)

// Values of error.type, and codes of errors, of answers that end at a bound.
const (
	errorStreamTimeout    = "stream_timeout"
	errorResponseTooLarge = "response_too_large"
)

// errBound is what a provider's proxy gets that writes more than fits.
var errBound = errors.New("the answer is larger than maxResponseBytes")

// parseBounds reads Config.MaxResponseBytes and Config.MaxStreamDuration.
func parseBounds(bad *problems, config *Config, p *policy) {
	if !isUnset(config.MaxResponseBytes) {
		p.maxResponseBytes = int64(parseWhole(bad, "maxResponseBytes", config.MaxResponseBytes, 0, math.MaxInt32, "bytes"))
	}
	p.maxStreamDuration = parseDuration(bad, "maxStreamDuration", config.MaxStreamDuration, time.Second, 24*time.Hour, "from 1s to 24h")
}

// bound is how long and how large an answer may be. Of several instances of the middleware, the least counts.
type bound struct {
	duration  time.Duration      // of a stream; 0: as long as there are events
	bytes     int64              // of an answer; 0: as many as there are
	cancel    context.CancelFunc // gives the provider's connection up
	left      int64              // of bytes, where an answer does not announce its length
	clock     *time.Timer        // of a stream, which cancels; nil: there is none
	isRefused bool               // the answer announced too much, and the client got an error instead
	isCut     bool               // it was ended
}

// bounded has governed requests answered within the bounds of a policy. It is there only if there are some: it costs others
// nothing.
func bounded(p *policy, next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		way := passageOf(req.Context())
		if way == nil || way.writer == nil {
			next.ServeHTTP(rw, req)
			return
		}
		ctx, cancel := context.WithCancel(req.Context())
		defer cancel()
		useBound(way.writer, p, req.Method, cancel)
		next.ServeHTTP(rw, req.WithContext(ctx))
	})
}

// useBound applies the bounds of a policy to the answer that comes.
func useBound(w *responseWriter, p *policy, method string, cancel context.CancelFunc) {
	b := w.bound
	if b == nil {
		b = &bound{}
		w.bound = b
		w.unusual = true
	}
	b.cancel = cancel
	if p.maxStreamDuration > 0 && (b.duration == 0 || p.maxStreamDuration < b.duration) {
		b.duration = p.maxStreamDuration
	}
	// The answer to HEAD announces the length of a body that does not come.
	if p.maxResponseBytes > 0 && (b.bytes == 0 || p.maxResponseBytes < b.bytes) && method != http.MethodHead {
		b.bytes = p.maxResponseBytes
	}
}

// beginBound looks at the header of an answer, and tells whether it is handed on. One that announces its length needs no gate:
// no more of it can come.
func beginBound(w *responseWriter) bool {
	b := w.bound
	if b.bytes == 0 {
		return true
	}
	length, err := strconv.ParseInt(w.ResponseWriter.Header().Get("Content-Length"), 10, 64)
	if err == nil && length <= b.bytes {
		return true
	}
	if err == nil {
		refuseAnswer(w)
		return false
	}
	b.left = b.bytes
	w.client = &gate{w: w, behind: w.ResponseWriter}
	w.out = &gate{w: w, behind: w.out}
	return true
}

// startClock ends a stream that has begun when its time is over. It is compiled code that does.
func startClock(b *bound) {
	if b.duration > 0 {
		b.clock = time.AfterFunc(b.duration, b.cancel)
	}
}

// refuseAnswer answers instead of a provider that announces too much.
func refuseAnswer(w *responseWriter) {
	w.bound.isRefused = true
	w.plain = true
	w.out = &gate{w: w, behind: w.ResponseWriter} // nothing is left
	w.window = nil
	w.call.Answer.stream = false
	w.failure = errorResponseTooLarge
	removeRepresentation(w.ResponseWriter.Header())
	writeError(w.ResponseWriter, responseTooLarge(w.bound.bytes))
	w.status = http.StatusBadGateway
}

func responseTooLarge(maxBytes int64) *refusal {
	return &refusal{http.StatusBadGateway, serverError, errorResponseTooLarge, "",
		"The provider's answer is larger than the " + strconv.FormatInt(maxBytes, 10) + " bytes that this endpoint hands on. Ask for less."}
}

// gate lets pass what fits of an answer.
type gate struct {
	w      *responseWriter
	behind io.Writer
}

// Write hands on a piece that fits. At one that does not, the answer ends.
func (g *gate) Write(chunk []byte) (int, error) {
	b := g.w.bound
	if int64(len(chunk)) > b.left {
		return 0, shut(g.w, chunk)
	}
	b.left -= int64(len(chunk))
	return g.behind.Write(chunk)
}

// shut ends an answer with what fits of a piece.
func shut(w *responseWriter, chunk []byte) error {
	b := w.bound
	if b.isCut || b.isRefused {
		return errBound
	}
	fits := chunk[:b.left]
	b.left = 0
	_, _ = w.ResponseWriter.Write(fits)
	cut(w, responseTooLarge(b.bytes), isBetweenEvents(w, fits))
	return errBound
}

// cut ends an answer for a reason, of which an event stream tells if the client can read it there.
func cut(w *responseWriter, reason *refusal, isBetween bool) {
	w.bound.isCut = true
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
	if !w.call.Answer.stream || w.window == nil {
		return false
	}
	if w.hides {
		w.hider.held = nil
		return w.hider.large == nil && lastEventEnd(last) == len(last) && (len(last) > 0 || !w.hider.endsLarge)
	}
	text := append(append([]byte(nil), w.window.Bytes()...), last...)
	return len(text) <= 1 || lastEventEnd(text) == len(text)
}

// endBound stops the clock of a stream that has ended, and tells of one that it has ended. isBroken is whether its proxy
// says that the answer broke off; what is complete then does not matter.
func endBound(w *responseWriter, isBroken bool) {
	clock := w.bound.clock
	w.bound.clock = nil
	if clock == nil || clock.Stop() || w.writeErr != nil || w.bound.isCut {
		return
	}
	fullWindow(w, nil)
	a := &w.call.Answer
	if a.done || (a.finished && (a.ending != "" || !isBroken)) {
		return
	}
	cut(w, streamTimeout(w.bound.duration), isBetweenEvents(w, nil))
}

func streamTimeout(limit time.Duration) *refusal {
	return &refusal{http.StatusOK, serverError, errorStreamTimeout, "",
		"The stream took longer than the " + limit.String() + " that this endpoint allows. Ask for less, or in several requests."}
}
