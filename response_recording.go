package chatcompletion

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
)

// cacheHeader tells the client and the access log what a cache did.
const cacheHeader = "X-Ai-Cache"

// recording is what a cache keeps of a response while it streams, and for whom. Of chained instances,
// several may want it.
type recording struct {
	wanted   []wantedEntry // nil: nobody wants the response
	maxBytes int           // the most that one of them takes
	header   http.Header   // of the response: what is stored of it
	body     *bytes.Buffer // of the response, decompressed; nil: it is not recorded
	plain    io.Writer     // the out of the writer, without the recording
}

// wantedEntry is a cache that wants a response, and the key under which it stores it.
type wantedEntry struct {
	cache *responseCache
	key   string
}

// beginCaching prepares a response for what a cache does with it.
func beginCaching(w *responseWriter) {
	w.recording = &recording{}
	w.treated = true
	w.needsCleanup = true
}

// beginTreated sets what a recording or a limit need at the header of a response, and reports whether
// the response is forwarded. What is recorded passes the limit.
func beginTreated(w *responseWriter, status int) bool {
	if w.recording != nil {
		beginRecording(w, status)
	}
	return w.limit == nil || beginLimit(w)
}

// beginRecording sets the header of caches, and begins to record a response that may be stored. Bytes
// are recorded first: what does not reach a client that left belongs to the response, too.
func beginRecording(w *responseWriter, status int) {
	r, header := w.recording, w.ResponseWriter.Header()
	header[cacheHeader] = []string{w.call.Cache}
	if r.body != nil || status != http.StatusOK || w.window == nil || w.announcesTrailers {
		r.wanted = nil // with a second header, what is recorded has no beginning
	}
	if r.wanted == nil {
		return
	}
	r.header = keptOf(header)
	r.body = new(bytes.Buffer)
	r.plain = w.out
	w.out = io.MultiWriter(r.body, w.out)
}

// boundRecording gives up recording a response that is too large. It is called for each window.
func boundRecording(w *responseWriter) {
	r := w.recording
	if r.body != nil && r.wanted != nil && r.body.Len() > r.maxBytes {
		r.wanted = nil
		r.body = new(bytes.Buffer)
		w.out = r.plain
	}
}

// recordChunk records a chunk that is not written to out.
func recordChunk(r *recording, chunk []byte) {
	if r.wanted != nil && r.body != nil {
		_, _ = r.body.Write(chunk)
	}
}

// finishEarly reads the last window before the exchange ends.
func finishEarly(w *responseWriter) {
	finishWindow(w)
	w.scanned += w.window.Len()
	w.window = nil
}

// recordedForm returns the form of a response that has been recorded as a whole, "" if it is not whole, has
// failed, or has not ended as it should: it is refused, or cut at a limit.
func recordedForm(w *responseWriter) string {
	reader := w.reader
	if w.status != http.StatusOK || !w.complete || w.writeErr != nil || w.errorType != "" || w.opaque {
		return ""
	}
	if w.window != nil {
		finishEarly(w)
	}
	body := w.recording.body.Bytes()
	if reader.failed || !endsWell(reader.kind, body) {
		return ""
	}
	switch {
	case reader.stream && !reader.ended:
		return ""
	case reader.array:
		return formArray
	case reader.stream:
		return formEvents
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(body, byteOrderMark), " \t\r\n")
	if bytes.HasPrefix(text, objectStart) && json.Valid(text) {
		return formDocument
	}
	return ""
}
