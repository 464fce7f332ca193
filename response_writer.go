package chatcompletion

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"time"
)

// responseWriter hands the provider's answer on to the client, and keeps what metering needs to know. Traefik sees it
// without Flush, whatever methods it has (traefik/traefik#10269), so that it flushes by itself what must not wait. Header
// is the embedded writer's own: a compiled method, which costs a caller nothing extra.
type responseWriter struct {
	http.ResponseWriter
	fastPath          bool           // the header is out, there is nothing to decode, and no event is kept back in part
	filtersUsage      bool           // the usage, which the client did not ask for
	out               io.Writer      // into window and to client
	client            io.Writer      // the embedded writer, behind the gate if there is one
	window            *bytes.Buffer  // what of the body has not been looked at yet; nil: it cannot be read
	flush             func() error   // after every write, if the answer cannot wait; else nil
	decoder           *decoder       // of an answer that the provider compressed unasked
	filter            *usageFilter   // if hides
	opaque            bool           // the answer is in an encoding that is not ours: nothing of it is known
	announcesTrailers bool           // the provider announced some
	limit             *responseLimit // nil: the answer may be as long and as large as it is
	countedOpen       bool           // it is an event stream that is counted as open
	needsCleanup      bool           // any of decoder, hides, encoded, trailers, bound, streams and attempts

	instance string    // the name of the middleware, for log lines
	registry *registry // that counts open streams
	mayRetry bool      // another provider may have to respond instead
	failure  string    // error.type of a response that was ended or replaced here

	call        *Call
	reader      responseReader
	start       time.Time       // of the call
	usageAdded  bool            // the provider was asked for a usage that the client did not ask for
	status      int             // 0: no answer
	fromTraefik bool            // the answer is no provider's: Traefik could not reach one
	arrivals    []time.Duration // when the chunks in window came, from the start of the call
	lastChunk   time.Duration   // when the last chunk before those came
	writeErr    error           // of the client's connection
	complete    bool            // the answer is complete, as far as HTTP can tell
}

// WriteHeader decides how the answer is treated, at its header. Informational answers pass.
func (w *responseWriter) WriteHeader(status int) {
	if status < http.StatusOK && status != http.StatusSwitchingProtocols {
		forwardInformational(w, status)
		return
	}
	events := beginResponse(w, status, w.ResponseWriter.Header())
	if w.limit != nil && !beginLimit(w) {
		return
	}
	w.ResponseWriter.WriteHeader(status)
	w.status = status // not before: a panic until here can still be answered
	if events {
		openStream(w)
	}
}

// forwardInformational hands an informational answer on, unless it may be of a provider whose answer nobody gets.
func forwardInformational(w *responseWriter, status int) {
	if !w.mayRetry {
		removeLogHeaders(w.ResponseWriter.Header())
		w.ResponseWriter.WriteHeader(status)
	}
}

// openStream sends the header of a stream, which a client may wait for long before the first event.
func openStream(w *responseWriter) {
	_ = w.flush()
	if w.countedOpen {
		return // a handler that sends its header twice
	}
	w.needsCleanup = true
	w.countedOpen = true
	w.registry.streams.Add(1)
	if w.limit != nil {
		startTimer(w.limit)
	}
}

// closeStream counts a stream as open no more.
func closeStream(w *responseWriter) {
	if w.countedOpen {
		w.countedOpen = false
		w.registry.streams.Add(-1)
	}
}

// Write sends what came, at once if it cannot wait, and notes when. Every event comes this way: what is rare stands
// elsewhere, since Yaegi makes a place in memory for every expression of a function that it enters. Of an error of flush
// the next write tells.
func (w *responseWriter) Write(chunk []byte) (int, error) {
	if !w.fastPath || (w.filtersUsage && (!bytes.HasSuffix(chunk, blankLine) || bytes.Contains(chunk, tokensKey))) {
		return writeUncommon(w, chunk)
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

// writeScanned sends what came of an answer that is read on the way: one that was compressed, has something to hide, or has
// had no event yet.
func writeScanned(w *responseWriter, chunk []byte) error {
	shown := chunk
	if w.filtersUsage {
		shown = filterUsage(w.filter, chunk)
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
	begun := !w.reader.stream || w.call.FirstChunk > 0
	if begun {
		w.arrivals = append(w.arrivals, time.Since(w.start))
	} else {
		meterFirstChunk(w)
	}
	w.fastPath = begun && w.decoder == nil && (!w.filtersUsage || !w.filter.midEvent)
	if err != nil || len(w.arrivals) >= windowChunks || w.window.Len() > windowBytes {
		scanFullWindow(w, err)
	}
	return err
}

// cleanup ends the clock and the decoder, removes what a provider's trailers say in our name, sends what was kept back of a
// stream, and tells of attempts.
func cleanup(w *responseWriter) {
	closeStream(w)
	if w.limit != nil {
		endLimit(w, true)
	}
	if w.decoder != nil {
		_ = w.decoder.close()
	}
	if w.opaque {
		countLost(w.registry, lostUsage, 1)
	}
	if w.announcesTrailers {
		removeLogHeaders(w.ResponseWriter.Header())
	}
	flushBuffered(w)
}

// flushBuffered sends what was kept back of a stream that has ended.
func flushBuffered(w *responseWriter) {
	if !w.filtersUsage {
		return
	}
	if held := flushFilter(w.filter); len(held) > 0 && w.writeErr == nil {
		_, w.writeErr = w.client.Write(held)
		_ = w.flush()
	}
}

// eventStreamType is the type of an event stream, in any case.
var eventStreamType = regexp.MustCompile(`(?i)^text/event-stream`)

// beginResponse prepares for the body of an answer, and tells whether it is an event stream.
func beginResponse(w *responseWriter, status int, header http.Header) bool {
	removeLogHeaders(header)
	types := header["Content-Type"]
	if status != http.StatusOK || len(types) != 1 || types[0] != "application/json" ||
		header["Trailer"] != nil || header["Content-Encoding"] != nil {
		return beginUncommon(w, status, header)
	}
	w.fastPath = true
	w.window = &bytes.Buffer{}
	w.out = io.MultiWriter(w.window, w.client) // in this order: what a client that left does not get was used, too
	if header["Content-Length"] == nil {
		w.flush = http.NewResponseController(w.ResponseWriter).Flush
	}
	return false
}

// beginUncommon prepares for the body of an answer that is not as most are. Errors are not flushed: Traefik's Retry in front takes
// a flush for the decision that this answer is the one, and its status for 200.
func beginUncommon(w *responseWriter, status int, header http.Header) bool {
	w.fastPath = true
	w.out = w.client
	if header["Trailer"] != nil {
		w.announcesTrailers = true
		w.needsCleanup = true
		removeAnnouncedLogHeaders(header)
	}
	events := eventStreamType.MatchString(header.Get("Content-Type"))
	if header["Content-Encoding"] == nil || decode(w, header) {
		beginWindow(w, status, events, header)
	} else if status < http.StatusBadRequest {
		w.opaque = true
		w.needsCleanup = true
	}
	if status >= http.StatusInternalServerError || status == statusClientClosedRequest {
		w.fromTraefik = isTraefikError(header)
	}
	if events || (header["Content-Length"] == nil && status < http.StatusBadRequest) {
		w.flush = http.NewResponseController(w.ResponseWriter).Flush
	}
	return events
}

// isTraefikError tells whether an error is Traefik's own: it has neither a date nor a length, and no type but the one that
// http.Error gives to the words "no available server".
func isTraefikError(header http.Header) bool {
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
	w.reader.stream = true
	w.fastPath = false
	_ = w.window.WriteByte('\n') // see look
	if w.usageAdded {
		w.filtersUsage = true
		w.needsCleanup = true
		w.filter = &usageFilter{}
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
	w.fastPath = false
	w.needsCleanup = true
	w.decoder = newDecoder(encoding, w)
	delete(header, "Content-Encoding")
	delete(header, "Content-Length")
	return true
}

// writeUncommon writes to an answer that has no header yet, is to be decoded, or may have something to hide.
func writeUncommon(w *responseWriter, chunk []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.decoder != nil {
		return w.decoder.write(chunk)
	}
	if w.window != nil && w.reader.stream {
		return len(chunk), writeScanned(w, chunk)
	}
	return w.Write(chunk)
}

// complete notes that the provider's handler has returned.
func complete(w *responseWriter) {
	if w.needsCleanup {
		completeUncommon(w)
	}
	w.complete = true
}

// completeUncommon ends a response that is decoded or limited. One whose compressed bytes stop early or are corrupt must look
// broken, and so must one that was aborted.
func completeUncommon(w *responseWriter) {
	if w.decoder != nil && w.decoder.close() != nil {
		abort()
	}
	if w.limit != nil {
		endLimit(w, false)
		if w.limit.aborted {
			abort()
		}
	}
}
