package chatcompletion

import (
	"bytes"
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
	header   http.Header   // of the response
	body     *bytes.Buffer // of the response, decompressed; nil: it is not recorded
	plain    io.Writer     // the out of the writer, without the recording
}

// wantedEntry is a cache that wants a response, and the key under which it stores it.
type wantedEntry struct {
	cache *responseCache
	key   string
}

// noteResult notes what a cache did with the request whose response is to come.
func noteResult(w *responseWriter, result string) {
	if w.recording == nil {
		w.recording = &recording{}
		w.treated = true
		w.needsCleanup = true
	}
	w.call.Cache = result
}

// wantResponse has the response recorded for a cache.
func wantResponse(w *responseWriter, wanted wantedEntry) {
	noteResult(w, cacheMiss)
	r := w.recording
	r.wanted = append(r.wanted, wanted)
	if r.maxBytes < wanted.cache.maxBytes {
		r.maxBytes = wanted.cache.maxBytes
	}
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
	r.header = header.Clone()
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
	if w.window != nil {
		finishWindow(w)
		w.scanned += w.window.Len()
		w.window = nil
	}
}

// recordedForm returns the form of a response that has been recorded as a whole, "" if it is not whole, has
// failed, or has not ended as it should: it is refused, or cut at a limit.
func recordedForm(w *responseWriter) string {
	r, reader := w.recording, w.reader
	if w.status != http.StatusOK || !w.complete || w.writeErr != nil || w.errorType != "" || w.opaque {
		return ""
	}
	finishEarly(w)
	body := r.body.Bytes()
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
	case isJSONObject(body):
		return formDocument
	}
	return ""
}

// isJSONObject reports whether a text is one whole JSON object.
func isJSONObject(text []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(text, " \t\r\n\ufeff"), objectStart) && validJSON(text)
}
