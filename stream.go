package chatcompletion

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"regexp"
	"time"
)

// forward has the provider answer a governed request, and meters the call.
func forward(m *middleware, w *responseWriter, req *http.Request, j *judged) {
	v, c := j.verdict, w.call
	c.Request = v.request
	c.GatewayDuration = time.Since(w.start)
	w.verdict = v
	w.asked = v.asksUsage
	way := &passage{kind: c.Answer.kind, clientPath: req.URL.Path, judged: j, isReport: w.policy.report, writer: w}
	ctx := req.Context()
	relay(m, way, w, req.WithContext(context.WithValue(ctx, passageKey, way)))
	if w.unusual {
		finish(w)
	}
	w.returned = true
	conclude(w, ctx)
}

// relay hands a request on: to the one provider, or to several until one has answered.
func relay(m *middleware, way *passage, rw http.ResponseWriter, req *http.Request) {
	if m.providers != nil {
		tryAll(m, way, rw, req)
		return
	}
	rewrite(m.policy, req, way.judged)
	m.next.ServeHTTP(rw, req)
}

// conclude leaves nothing running, and makes known what was decided and what the call used, however the answer ended.
func conclude(w *responseWriter, ctx context.Context) {
	if w.unusual {
		release(w)
	}
	c := w.call
	c.Duration = time.Since(c.Start)
	if w.window != nil {
		concludeWindow(w)
	}
	c.Status = w.status
	if c.Status != http.StatusOK || !w.returned || c.Answer.stream || c.Answer.failed {
		c.ErrorType = errorType(w, ctx)
	}
	header := w.ResponseWriter.Header()
	removeOperatorTrailers(header)
	tellOperator(header, w.verdict, c)
	report(w.policy.telemetry, c)
	w.recorded = true
}

// responseWriter hands the provider's answer on to the client, and keeps what metering needs to know. Traefik sees it
// without Flush, whatever methods it has (traefik/traefik#10269), so that it flushes by itself what must not wait. Header
// is the embedded writer's own: a compiled method, which costs a caller nothing extra.
type responseWriter struct {
	http.ResponseWriter
	plain    bool          // the header is out, there is nothing to decode, and no event is kept back in part
	hides    bool          // the usage, which the client did not ask for
	out      io.Writer     // into window and to client
	client   io.Writer     // the embedded writer, behind the gate if there is one
	window   *bytes.Buffer // what of the body has not been looked at yet; nil: it cannot be read
	flush    func() error  // after every write, if the answer cannot wait; else nil
	decoder  *decoder      // of an answer that the provider compressed unasked
	hider    *hider        // if hides
	encoded  bool          // the answer is in an encoding that is not ours: nothing of it is known
	trailers bool          // the provider announced some
	bound    *bound        // nil: the answer may be as long and as large as it is
	streams  bool          // it is an event stream that is counted as open
	unusual  bool          // any of decoder, hides, encoded, trailers, bound, streams and attempts

	policy     *policy // which meters the call
	verdict    *verdict
	credential *credential // of the provider that answers
	attempts   []string    // what became of each, of providers that the middleware forwards to
	tries      bool        // the next one may have to answer instead
	failure    string      // error.type of an answer that is our own

	call      *Call
	start     time.Time       // of the call
	asked     bool            // the provider was asked for a usage that the client did not ask for
	status    int             // 0: no answer
	bare      bool            // the answer is no provider's: Traefik could not reach one
	arrivals  []time.Duration // when the chunks in window came, from the start of the call
	lastChunk time.Duration   // when the last chunk before those came
	writeErr  error           // of the client's connection
	returned  bool            // the answer is complete, as far as HTTP can tell
	recorded  bool            // so is the call
}

// WriteHeader decides how the answer is treated, at its header. Informational answers pass.
func (w *responseWriter) WriteHeader(status int) {
	if status < http.StatusOK && status != http.StatusSwitchingProtocols {
		passInformational(w, status)
		return
	}
	events := begin(w, status, w.ResponseWriter.Header())
	if w.bound != nil && !beginBound(w) {
		return
	}
	w.ResponseWriter.WriteHeader(status)
	w.status = status // not before: a panic until here can still be answered
	if events {
		openStream(w)
	}
}

// passInformational hands an informational answer on, unless it may be of a provider whose answer nobody gets.
func passInformational(w *responseWriter, status int) {
	if !w.tries {
		removeOperatorHeaders(w.ResponseWriter.Header())
		w.ResponseWriter.WriteHeader(status)
	}
}

// openStream sends the header of a stream, which a client may wait for long before the first event.
func openStream(w *responseWriter) {
	_ = w.flush()
	if w.streams {
		return // a handler that sends its header twice
	}
	w.unusual = true
	w.streams = true
	w.policy.telemetry.registry.streams.Add(1)
	if w.bound != nil {
		startClock(w.bound)
	}
}

// closeStream counts a stream as open no more.
func closeStream(w *responseWriter) {
	if w.streams {
		w.streams = false
		w.policy.telemetry.registry.streams.Add(-1)
	}
}

// Write sends what came, at once if it cannot wait, and notes when. Every event comes this way: what is rare stands
// elsewhere, since Yaegi makes a place in memory for every expression of a function that it enters. Of an error of flush
// the next write tells.
func (w *responseWriter) Write(chunk []byte) (int, error) {
	if !w.plain || (w.hides && (!bytes.HasSuffix(chunk, blankLine) || bytes.Contains(chunk, tokensKey))) {
		return writeSpecial(w, chunk)
	}
	n, err := w.out.Write(chunk)
	if w.flush != nil {
		_ = w.flush()
	}
	w.arrivals = append(w.arrivals, time.Since(w.start))
	if n > largeChunkBytes || err != nil || len(w.arrivals) == windowChunks {
		checkWindow(w, err)
	}
	return n, err
}

// deliver sends what came of an answer that is read on the way: one that was compressed, has something to hide, or has
// had no event yet.
func deliver(w *responseWriter, chunk []byte) error {
	shown := chunk
	if w.hides {
		shown = hide(w.hider, chunk)
	}
	var err error
	if len(shown) > 0 {
		_, err = w.client.Write(shown)
		if w.flush != nil {
			_ = w.flush()
		}
	}
	if w.window == nil {
		return err
	}
	_, _ = w.window.Write(chunk)
	begun := !w.call.Answer.stream || w.call.FirstChunk > 0
	if begun {
		w.arrivals = append(w.arrivals, time.Since(w.start))
	} else {
		meterFirstChunk(w)
	}
	w.plain = begun && w.decoder == nil && (!w.hides || !w.hider.holds)
	if err != nil || len(w.arrivals) >= windowChunks || w.window.Len() > windowBytes {
		fullWindow(w, err)
	}
	return err
}

// release ends the clock and the decoder, removes what a provider's trailers say in our name, sends what was kept back of a
// stream, and tells of attempts.
func release(w *responseWriter) {
	closeStream(w)
	if w.bound != nil {
		endBound(w, true)
	}
	if w.decoder != nil {
		_ = w.decoder.close()
	}
	if w.encoded {
		lose(w.policy.telemetry.registry, lostUsage, 1)
	}
	if w.trailers {
		removeOperatorHeaders(w.ResponseWriter.Header())
	}
	sendHeld(w)
	if w.attempts != nil {
		tellAttempts(w.ResponseWriter.Header(), w.attempts)
	}
}

// sendHeld sends what was kept back of a stream that has ended.
func sendHeld(w *responseWriter) {
	if !w.hides {
		return
	}
	if held := rest(w.hider); len(held) > 0 && w.writeErr == nil {
		_, w.writeErr = w.client.Write(held)
		_ = w.flush()
	}
}

// eventStreamType is the type of an event stream, in any case.
var eventStreamType = regexp.MustCompile(`(?i)^text/event-stream`)

// begin prepares for the body of an answer, and tells whether it is an event stream.
func begin(w *responseWriter, status int, header http.Header) bool {
	removeOperatorHeaders(header)
	types := header["Content-Type"]
	if status != http.StatusOK || len(types) != 1 || types[0] != "application/json" ||
		header["Trailer"] != nil || header["Content-Encoding"] != nil {
		return beginOther(w, status, header)
	}
	w.plain = true
	w.window = &bytes.Buffer{}
	w.out = io.MultiWriter(w.window, w.client) // in this order: what a client that left does not get was used, too
	if header["Content-Length"] == nil {
		w.flush = http.NewResponseController(w.ResponseWriter).Flush
	}
	return false
}

// beginOther prepares for the body of an answer that is not as most are. Errors are not flushed: Traefik's Retry in front takes
// a flush for the decision that this answer is the one, and its status for 200.
func beginOther(w *responseWriter, status int, header http.Header) bool {
	w.plain = true
	w.out = w.client
	if header["Trailer"] != nil {
		w.trailers = true
		w.unusual = true
		keepFromTrailers(header)
	}
	events := eventStreamType.MatchString(header.Get("Content-Type"))
	if header["Content-Encoding"] == nil || decode(w, header) {
		beginWindow(w, status, events, header)
	} else if status < http.StatusBadRequest {
		w.encoded = true
		w.unusual = true
	}
	if status >= http.StatusInternalServerError || status == statusClientClosedRequest {
		w.bare = isTraefiks(header)
	}
	if events || (header["Content-Length"] == nil && status < http.StatusBadRequest) {
		w.flush = http.NewResponseController(w.ResponseWriter).Flush
	}
	return events
}

// isTraefiks tells whether an error is Traefik's own: it has neither a date nor a length, and no type but the one that
// http.Error gives to the words "no available server".
func isTraefiks(header http.Header) bool {
	return header["Date"] == nil && header["Content-Length"] == nil &&
		(header["Content-Type"] == nil || header["X-Content-Type-Options"] != nil)
}

// beginWindow prepares for the reading of an answer that is no error.
func beginWindow(w *responseWriter, status int, events bool, header http.Header) {
	if status >= http.StatusBadRequest {
		return
	}
	w.window = &bytes.Buffer{}
	w.out = io.MultiWriter(w.window, w.client) // as in begin
	if events {
		beginStream(w, header)
	}
}

// beginStream prepares for events.
func beginStream(w *responseWriter, header http.Header) {
	w.call.Answer.stream = true
	w.plain = false
	_ = w.window.WriteByte('\n') // see look
	if w.asked {
		w.hides = true
		w.unusual = true
		w.hider = &hider{}
		delete(header, "Content-Length")
	}
}

// decode undoes a compression that nobody asked for, and tells whether the answer can be read. Other encodings than ours
// pass untouched.
func decode(w *responseWriter, header http.Header) bool {
	encoding := contentEncoding(header)
	if !canDecompress(encoding) {
		return encoding == "" || encoding == "identity"
	}
	w.plain = false
	w.unusual = true
	w.decoder = newDecoder(encoding, w)
	delete(header, "Content-Encoding")
	delete(header, "Content-Length")
	return true
}

// writeSpecial writes to an answer that has no header yet, is to be decoded, or may have something to hide.
func writeSpecial(w *responseWriter, chunk []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.decoder != nil {
		return w.decoder.write(chunk)
	}
	if w.window != nil && w.call.Answer.stream {
		return len(chunk), deliver(w, chunk)
	}
	return w.Write(chunk)
}

// finish ends an answer that is decoded or bounded. One whose compressed bytes stop early or are corrupt must look broken, and
// so must one that is cut.
func finish(w *responseWriter) {
	if w.decoder != nil && w.decoder.close() != nil {
		abort()
	}
	if w.bound != nil {
		endBound(w, false)
		if w.bound.isCut {
			abort()
		}
	}
}
