package chatcompletion

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// Headers that are set when the answer is complete. They do not reach the client, unless a middleware in front holds the
// answer back, as Traefik's Buffering does; Traefik's access log and its spans can show them to the operator.
const (
	modelUsedHeader = "X-Ai-Model"
	policyHeader    = "X-Ai-Policy"
)

// forward has the provider answer.
func forward(next http.Handler, rw http.ResponseWriter, req *http.Request, v *verdict) {
	w := &responseWriter{ResponseWriter: rw}
	defer conclude(w, v)
	next.ServeHTTP(w, req)
	if w.decoder != nil {
		finish(w)
	}
}

// conclude leaves nothing running, and notes for the operator what was decided, however the answer ended.
func conclude(w *responseWriter, v *verdict) {
	if w.decoder != nil {
		_ = w.decoder.close()
	}
	header := w.ResponseWriter.Header()
	delete(header, modelUsedHeader) // a provider's trailer
	delete(header, policyHeader)
	if v.model != nil {
		header[modelUsedHeader] = v.model
	}
	if v.policy != nil {
		header[policyHeader] = v.policy
	}
}

// responseWriter hands the provider's answer on to the client. Traefik sees it without Flush, whatever methods it has
// (traefik/traefik#10269), so that it flushes by itself what must not wait. Header is the embedded writer's own: a
// compiled method, which costs a caller nothing extra.
type responseWriter struct {
	http.ResponseWriter
	flowing bool         // the header is out, and there is nothing to decode
	flush   func() error // after every write, if the answer cannot wait; else nil
	decoder *decoder     // of an answer that the provider compressed unasked
}

// WriteHeader decides how the answer is treated, at its header. Informational answers pass.
func (w *responseWriter) WriteHeader(status int) {
	events := false
	if status >= http.StatusOK || status == http.StatusSwitchingProtocols {
		events = begin(w, status, w.ResponseWriter.Header())
	}
	w.ResponseWriter.WriteHeader(status)
	if events {
		_ = w.flush() // a client may wait for the header long before the first event
	}
}

// Write sends what came, at once if it cannot wait. Of an error of flush the next write tells.
func (w *responseWriter) Write(chunk []byte) (int, error) {
	if !w.flowing {
		return writeSpecial(w, chunk)
	}
	n, err := w.ResponseWriter.Write(chunk)
	if w.flush != nil {
		_ = w.flush()
	}
	return n, err
}

// begin prepares for the body of an answer, and tells whether it is an event stream. Errors are not flushed: Traefik's Retry in front takes a flush for the
// decision that this answer is the one, and its status for 200.
func begin(w *responseWriter, status int, header http.Header) bool {
	w.flowing = true
	// They are ours: nobody else writes into the operator's log.
	delete(header, modelUsedHeader)
	delete(header, policyHeader)
	if header["Content-Encoding"] != nil {
		decode(w, header)
	}
	events := strings.HasPrefix(header.Get("Content-Type"), "text/event-stream")
	if events || (header["Content-Length"] == nil && status < http.StatusBadRequest) {
		w.flush = http.NewResponseController(w.ResponseWriter).Flush
	}
	return events
}

// decode undoes a compression that nobody asked for. Other encodings than ours pass untouched.
func decode(w *responseWriter, header http.Header) {
	encoding := contentEncoding(header)
	if canDecompress(encoding) {
		w.flowing = false
		w.decoder = newDecoder(encoding, w)
		delete(header, "Content-Encoding")
		delete(header, "Content-Length")
	}
}

// writeSpecial writes to an answer that has no header yet, or is to be decoded.
func writeSpecial(w *responseWriter, chunk []byte) (int, error) {
	if w.decoder == nil {
		w.WriteHeader(http.StatusOK)
		if w.flowing {
			return w.Write(chunk)
		}
	}
	return w.decoder.write(chunk)
}

// finish ends an answer that is decoded. One whose compressed bytes stop early or are corrupt must look broken: a deadline
// in the past keeps the server from ending it properly. A panic with http.ErrAbortHandler would do the same, but Yaegi
// writes those of interpreted code to the log, with every frame.
func finish(w *responseWriter) {
	if w.decoder.close() == nil {
		return
	}
	if http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Unix(1, 0)) != nil {
		panic(http.ErrAbortHandler)
	}
}

// decoder decompresses what is pushed into it, although Go's decompressors pull. They run in a goroutine that works only
// while the handler waits for it: nothing here runs at the same time as the handler, and all that can be decoded has
// been sent when write returns. There is no select: Yaegi does not come back from some.
type decoder struct {
	chunks chan []byte // to the goroutine; closed at the end
	turns  chan bool   // from the goroutine: it needs more (true), or has ended (false) with err
	err    error
	rest   []byte
	begun  bool // there was something to decode
	ended  bool
}

// decoderBufferBytes is how much plain text is sent at a time at the most.
const decoderBufferBytes = 32 << 10

var errDecoder = errors.New("the decompression of the provider's answer was interrupted")

func newDecoder(encoding string, w *responseWriter) *decoder {
	d := &decoder{chunks: make(chan []byte), turns: make(chan bool), err: errDecoder}
	go d.run(encoding, w)
	d.wait()
	return d
}

// run is the goroutine. A panic that left it would end the whole of Traefik.
func (d *decoder) run(encoding string, w *responseWriter) {
	defer func() {
		_ = recover()
		d.turns <- false
	}()
	d.err = pump(d, encoding, w)
}

// pump sends the plain text until its end, which is no error, or until it cannot go on.
func pump(d *decoder, encoding string, w *responseWriter) error {
	plain, err := decompressor(encoding, d)
	if err != nil {
		return err
	}
	buffer := make([]byte, decoderBufferBytes)
	for {
		n, end := plain.Read(buffer)
		if n > 0 {
			if _, err = w.ResponseWriter.Write(buffer[:n]); err != nil {
				return err
			}
			if w.flush != nil {
				_ = w.flush()
			}
		}
		if end == io.EOF {
			return nil
		}
		if end != nil {
			return end
		}
	}
}

// Read gives the decompressor the bytes of the last write, and waits for the next one.
func (d *decoder) Read(p []byte) (int, error) {
	if len(d.rest) == 0 {
		d.turns <- true
		chunk, more := <-d.chunks
		if !more {
			return 0, io.EOF
		}
		d.rest = chunk
	}
	n := copy(p, d.rest)
	d.rest = d.rest[n:]
	return n, nil
}

// wait returns when the goroutine needs more or has ended.
func (d *decoder) wait() {
	d.ended = !<-d.turns
}

func (d *decoder) write(chunk []byte) (int, error) {
	if !d.ended && len(chunk) > 0 {
		d.begun = true
		d.chunks <- chunk
		d.wait()
	}
	if d.ended && d.err != nil {
		return 0, d.err
	}
	return len(chunk), nil
}

// close ends the goroutine, and tells whether it came to the end of the compressed bytes.
func (d *decoder) close() error {
	if !d.ended {
		close(d.chunks)
		for !d.ended {
			d.wait()
		}
	}
	if !d.begun {
		return nil // an answer without a body
	}
	return d.err
}
