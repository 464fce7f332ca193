package chatcompletion

import (
	"bytes"
	"net/http"
)

// Some providers declare an event stream as application/json, or not at all. If the client requested
// a stream, the first bytes of the response decide: no JSON begins like an event stream.

// eventFields are what a line of an event stream begins with; the last one begins a comment.
var eventFields = [][]byte{[]byte("data:"), []byte("event:"), []byte("id:"), []byte("retry:"), []byte(":")}

// holdHeader holds the header of a response until its first bytes, and reports whether it has to: the
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

// detectStream decides whether a response is an event stream, and returns what is to be written: the
// chunk, after what was held of the chunks before. White space decides nothing, and is not held, since
// providers send it to keep a connection open.
func detectStream(w *responseWriter, chunk []byte) []byte {
	if w.heldBytes != nil {
		chunk = append(w.heldBytes, chunk...)
		w.heldBytes = nil
	}
	text := bytes.TrimLeft(chunk, " \t\r\n\ufeff")
	header := w.ResponseWriter.Header()
	switch {
	case len(chunk) == 0:
	case len(text) == 0:
		delete(header, "Content-Length") // it may still be a stream
		sendHeldHeader(w)
	case beginsEvent(text) || (text[0] == '[' && isGemini(w.reader.kind)):
		w.mayBeStream = false
		w.window.Reset()
		w.arrivals = w.arrivals[:0]
		if text[0] == '[' {
			beginArray(w)
		} else {
			beginStream(w, header)
		}
		w.flush = http.NewResponseController(w.ResponseWriter).Flush
		sendHeldHeader(w)
		openStream(w)
	case mayBeginEvent(text):
		w.heldBytes = append([]byte(nil), chunk...)
		w.needsCleanup = true
		return nil
	default:
		endDetection(w)
	}
	return chunk
}

// beginArray prepares for the elements of a streamed array.
func beginArray(w *responseWriter) {
	w.reader.stream = true
	w.reader.array = true
	w.fastPath = false
}

// endDetection ends the detection of a response that is no event stream.
func endDetection(w *responseWriter) {
	if w.mayBeStream {
		w.mayBeStream = false
		w.fastPath = w.decoder == nil
		sendHeldHeader(w)
	}
}

// writeHeldBytes writes what is held of a response that ends before its first bytes decide.
func writeHeldBytes(w *responseWriter) {
	endDetection(w)
	if held := w.heldBytes; held != nil {
		w.heldBytes = nil
		_, w.writeErr = w.out.Write(held)
	}
}

// beginsEvent reports whether a text begins with a line of an event stream.
func beginsEvent(text []byte) bool {
	for _, field := range eventFields {
		if bytes.HasPrefix(text, field) {
			return true
		}
	}
	return false
}

// mayBeginEvent reports whether a text is the beginning of a field of an event stream, or of the mark
// before it.
func mayBeginEvent(text []byte) bool {
	if bytes.HasPrefix(byteOrderMark, text) {
		return true
	}
	for _, field := range eventFields {
		if bytes.HasPrefix(field, text) {
			return true
		}
	}
	return false
}
