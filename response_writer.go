package chatcompletion

import (
	"bytes"
	"io"
	"net/http"
	"regexp"
	"time"
)

// responseWriter streams the provider's response to the client, and keeps what metering needs.
// Traefik sees no Flush method, whatever methods the type has (traefik/traefik#10269), so the
// writer flushes by itself what must not wait. Header is the method of the embedded writer, which
// is compiled and costs a caller nothing extra.
type responseWriter struct {
	http.ResponseWriter
	fastPath          bool           // the header is sent, nothing has to be decoded, and no event is buffered in part
	filtersUsage      bool           // the usage event is removed: the client did not request it
	out               io.Writer      // writes into window, then to client
	client            io.Writer      // the embedded writer, or the limitWriter around it
	window            *bytes.Buffer  // part of the body that has not been scanned; nil: it is not scanned
	flush             func() error   // called after every write; nil: the response can wait
	decoder           *decoder       // of a response that the provider compressed although not requested to
	filter            *usageFilter   // set if filtersUsage
	opaque            bool           // the response has an encoding that decoder does not support: its usage is lost
	mayBeStream       bool           // the client requested a stream, and the response is not declared as one: its first bytes decide
	heldStatus        int            // of a header that is held until they do; 0: none is held
	heldBytes         []byte         // first bytes that do not decide yet; nil: there are none
	announcesTrailers bool           // the provider announced trailers
	limit             *responseLimit // nil: the response is unlimited
	countedOpen       bool           // the response is in the count of open streams
	recording         *recording     // nil: there is no cache
	treated           bool           // limit or recording is set
	needsCleanup      bool           // decoder, filtersUsage, opaque, heldStatus, heldBytes, announcesTrailers, limit, recording or countedOpen is set

	errors    errorFormat // of the client's protocol
	instance  string      // name of the middleware instance, for log lines
	registry  *registry   // counts open streams
	mayRetry  bool        // a fallback may replace this response
	errorType string      // error.type of a response that the middleware ended or replaced; empty: it did neither

	blockedStatus int // of a response that a guard has ended or replaced; 0: none has

	charges          []charge // what is reserved on quotas; nil: none have been looked at
	refused          []charge // those of which one has refused the request
	upload           *upload  // the body streams to the provider; nil: it has been read whole
	call             *Call
	reader           *responseReader
	start            time.Time       // of the call
	streamRequested  bool            // the client requested a stream
	unrequestedUsage bool            // the usage was requested from the provider, but not by the client
	status           int             // 0: no header has been sent
	fromTraefik      bool            // Traefik responded itself, since it could not reach the provider
	arrivals         []time.Duration // when the chunks in window arrived, since start
	lastChunk        time.Duration   // when the last chunk before those arrived, since start
	writeErr         error           // of the client's connection
	complete         bool            // the response is complete, as far as HTTP can tell
	scanned          int             // bytes that have been in window
}

// WriteHeader decides from the header how the response is handled. Informational responses pass
// through.
func (w *responseWriter) WriteHeader(status int) {
	if status < http.StatusOK && status != http.StatusSwitchingProtocols {
		forwardInformational(w, status)
		return
	}
	if w.heldStatus != 0 {
		return // the first one counts
	}
	if w.upload != nil {
		if apiErr := endUpload(w.upload); apiErr != nil {
			rejectUpload(w, apiErr)
			return
		}
	}
	events := beginResponse(w, status, w.ResponseWriter.Header())
	if w.treated && !beginTreated(w, status) {
		return
	}
	if w.mayBeStream && holdHeader(w, status) {
		return
	}
	w.ResponseWriter.WriteHeader(status)
	w.status = status // set last: a panic before this still gets an error response
	if events {
		openStream(w)
	}
}

// forwardInformational forwards an informational response, unless a fallback may replace the
// response that it belongs to, or it asks for the body, which the client has already sent.
func forwardInformational(w *responseWriter, status int) {
	if !w.mayRetry && status != http.StatusContinue {
		removeLogHeaders(w.ResponseWriter.Header())
		if w.charges != nil {
			removeLimits(w.ResponseWriter.Header())
		}
		w.ResponseWriter.WriteHeader(status)
	}
}

// openStream sends the header of a stream at once, since a client may wait for it long before the
// first event. It counts the stream as open, and starts its timer.
func openStream(w *responseWriter) {
	_ = w.flush()
	if w.countedOpen {
		return // the handler sent the header twice
	}
	w.needsCleanup = true
	w.countedOpen = true
	w.registry.streams.Add(1)
	if w.limit != nil {
		startTimer(w.limit)
	}
}

// uncountStream takes a stream off the count of open streams.
func uncountStream(w *responseWriter) {
	if w.countedOpen {
		w.countedOpen = false
		w.registry.streams.Add(-1)
	}
}

// Write sends a chunk, at once if the response must not wait, and records its arrival. Every event
// passes through here, and Yaegi allocates memory for every expression of a function that it
// enters: rare cases are therefore in other functions. An error of flush shows at the next write.
func (w *responseWriter) Write(chunk []byte) (int, error) {
	if !w.fastPath {
		return writeUncommon(w, chunk)
	}
	if w.filtersUsage {
		if bytes.Contains(chunk, tokensKey) || !bytes.HasSuffix(chunk, blankLine) {
			return writeUncommon(w, chunk)
		}
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

// writeScanned writes a chunk of a response that is scanned as it streams: one that was compressed,
// has usage to filter, or has had no event yet.
func writeScanned(w *responseWriter, chunk []byte) error {
	if w.mayBeStream {
		chunk = detectStream(w, chunk)
		if chunk == nil {
			return nil
		}
	}
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
	if w.recording != nil {
		recordChunk(w.recording, chunk)
	}
	begun := !w.reader.stream || w.call.FirstChunk > 0
	if begun {
		w.arrivals = append(w.arrivals, time.Since(w.start))
	} else {
		meterFirstChunk(w)
	}
	w.fastPath = begun && !w.mayBeStream && w.decoder == nil && (!w.filtersUsage || !w.filter.midEvent)
	if err != nil || len(w.arrivals) >= windowChunks || w.window.Len() > windowBytes {
		scanFullWindow(w, err)
	}
	return err
}

// cleanup stops the timer and the decoder, counts usage that is lost, removes access-log headers
// from the provider's trailers, and sends what is buffered of a stream.
func cleanup(w *responseWriter) {
	if w.countedOpen {
		uncountStream(w)
	}
	if w.limit != nil {
		endLimit(w, true)
	}
	if w.decoder != nil {
		_ = w.decoder.close()
	}
	if w.heldStatus != 0 {
		w.status = w.heldStatus // it was aborted before its first byte
	}
	if w.opaque {
		countLost(w.registry, lostUsage, 1)
	}
	if w.announcesTrailers {
		removeLogHeaders(w.ResponseWriter.Header())
		if w.recording != nil {
			w.ResponseWriter.Header()[cacheHeader] = []string{w.call.Cache}
		}
	}
	if w.filtersUsage {
		flushBuffered(w)
	}
}

// flushBuffered sends what the usage filter has buffered of a stream that has ended.
func flushBuffered(w *responseWriter) {
	if buffered := flushFilter(w.filter); len(buffered) > 0 && w.writeErr == nil {
		_, w.writeErr = w.client.Write(buffered)
		_ = w.flush()
	}
}

// eventStreamType matches the media type of an event stream, in any case.
var eventStreamType = regexp.MustCompile(`(?i)^text/event-stream`)

// beginResponse prepares for the body of a response, and reports whether it is an event stream.
func beginResponse(w *responseWriter, status int, header http.Header) bool {
	removeLogHeaders(header)
	if w.charges != nil || w.refused != nil {
		setLimitHeaders(header, w.errors, w.charges, w.refused)
	}
	types := header["Content-Type"]
	if status != http.StatusOK || len(types) != 1 || types[0] != "application/json" ||
		header["Trailer"] != nil || header["Content-Encoding"] != nil || w.streamRequested {
		return beginUncommon(w, status, header)
	}
	w.fastPath = true
	w.window = new(bytes.Buffer)
	w.out = io.MultiWriter(w.window, w.client) // window first: what does not reach a client that left was used, too
	if header["Content-Length"] == nil {
		w.flush = http.NewResponseController(w.ResponseWriter).Flush
	}
	return false
}

// beginUncommon is beginResponse for all but plain JSON responses. Errors are not flushed: a
// Traefik Retry middleware placed before this one takes a flush as the decision for this response,
// and its status as 200.
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

// isTraefikError reports whether an error is Traefik's own: it has neither a date nor a length, and
// no content type except the one that http.Error sets for the text "no available server".
func isTraefikError(header http.Header) bool {
	return header["Date"] == nil && header["Content-Length"] == nil &&
		(header["Content-Type"] == nil || header["X-Content-Type-Options"] != nil)
}

// beginWindow prepares for scanning a response that is not an error.
func beginWindow(w *responseWriter, status int, events bool, header http.Header) {
	if status >= http.StatusBadRequest {
		return
	}
	w.window = new(bytes.Buffer)
	w.out = io.MultiWriter(w.window, w.client) // as in beginResponse
	if events {
		beginStream(w, header)
	} else if w.streamRequested {
		w.mayBeStream = true
		w.fastPath = false
	}
}

// beginStream prepares for the events of a stream.
func beginStream(w *responseWriter, header http.Header) {
	w.reader.stream = true
	w.fastPath = false
	_ = w.window.WriteByte('\n') // see scanWindow
	if w.unrequestedUsage {
		w.filtersUsage = true
		w.needsCleanup = true
		w.filter = &usageFilter{}
		delete(header, "Content-Length")
	}
}

// decode undoes a compression that was not requested, and reports whether the response can be
// scanned. Encodings that canDecompress does not know pass through unchanged.
func decode(w *responseWriter, header http.Header) bool {
	encoding := contentEncoding(header)
	if !canDecompress(encoding) {
		return encoding == "" || encoding == "identity"
	}
	w.fastPath = false
	w.needsCleanup = true
	w.decoder = newDecoder(encoding, w, func(chunk []byte) error { return writeScanned(w, chunk) })
	delete(header, "Content-Encoding")
	delete(header, "Content-Length")
	return true
}

// writeUncommon is Write for a response that has no header yet, has to be decoded, or may have
// usage to filter in this chunk.
func writeUncommon(w *responseWriter, chunk []byte) (int, error) {
	if w.status == 0 && w.heldStatus == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.decoder != nil {
		return w.decoder.write(chunk)
	}
	if w.window != nil && (w.reader.stream || w.mayBeStream) {
		return len(chunk), writeScanned(w, chunk)
	}
	return w.Write(chunk)
}

// endResponse marks a response whose handler has returned as complete.
func endResponse(w *responseWriter) {
	if w.needsCleanup {
		endUncommon(w)
	}
	w.complete = true
}

// endUncommon ends a response that is decoded or limited. A response whose compressed bytes
// end early or are corrupt must look broken to the client, and so must one that a limit has
// aborted.
func endUncommon(w *responseWriter) {
	if w.decoder != nil && w.decoder.close() != nil {
		abort()
	}
	if w.mayBeStream || w.heldBytes != nil {
		writeHeldBytes(w)
	}
	if w.limit != nil {
		endLimit(w, false)
		if w.limit.aborted {
			abort()
		}
	}
}
