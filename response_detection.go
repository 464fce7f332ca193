package chatcompletion

import (
	"bytes"
	"net/http"
)

// Some providers declare an event stream as application/json or as nothing. If the client requested
// a stream, the first bytes of the response tell: JSON does not begin like an event stream.

// eventFields are what a line of an event stream begins with; the last one begins a comment.
var eventFields = [][]byte{[]byte("data:"), []byte("event:"), []byte("id:"), []byte("retry:"), []byte(":")}

// holdHeader keeps the header of a response until its first bytes, and reports whether it has to: the
// header announces a length, and the usage event will be removed if the response is a stream.
func holdHeader(w *responseWriter, status int) bool {
	if !w.unrequestedUsage || w.ResponseWriter.Header()["Content-Length"] == nil {
		return false
	}
	w.heldStatus = status
	w.needsCleanup = true
	return true
}

// sendHeldHeader sends a header that is held.
func sendHeldHeader(w *responseWriter) {
	if status := w.heldStatus; status != 0 {
		w.heldStatus = 0
		w.ResponseWriter.WriteHeader(status)
		w.status = status
	}
}

// detectStream decides, with the first chunk that is not white space, whether a response is an event
// stream.
func detectStream(w *responseWriter, chunk []byte) {
	text := bytes.TrimLeft(chunk, " \t\r\n\ufeff")
	isEvents := beginsEvent(text)
	header := w.ResponseWriter.Header()
	if len(text) == 0 {
		delete(header, "Content-Length") // it may still be a stream
		sendHeldHeader(w)
		return
	}
	w.mayBeStream = false
	if !isEvents {
		w.fastPath = w.decoder == nil
		sendHeldHeader(w)
		return
	}
	w.window.Reset()
	beginStream(w, header)
	w.flush = http.NewResponseController(w.ResponseWriter).Flush
	sendHeldHeader(w)
	openStream(w)
}

// beginsEvent reports whether a text begins, as far as it goes, with a line of an event stream.
func beginsEvent(text []byte) bool {
	for _, field := range eventFields {
		if bytes.HasPrefix(text, field) || (len(text) > 0 && bytes.HasPrefix(field, text)) {
			return true
		}
	}
	return false
}
