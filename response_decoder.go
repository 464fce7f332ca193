package chatcompletion

import (
	"errors"
	"io"
)

// decoder decompresses bytes that are pushed into it, although Go's decompressors pull. They run in
// a goroutine that works only while the handler waits for it: the two never run at the same time,
// and all that can be decoded has been sent when write returns. There is no select: Yaegi does not
// return from some.
type decoder struct {
	chunks    chan []byte              // to the goroutine; closed at the end
	needsMore chan bool                // from the goroutine: true if it needs more, false if it has ended with err
	sink      func(chunk []byte) error // gets what has been decompressed
	err       error
	unread    []byte
	started   bool // there was something to decode
	ended     bool
}

// decoderBufferBytes bounds the decompressed bytes that are sent at once.
const decoderBufferBytes = 32 << 10

var errDecoder = errors.New("the decompression of the provider's response was interrupted")

// newDecoder returns a decoder that sends what it has decompressed to a sink. An error of the sink ends it.
func newDecoder(encoding string, w *responseWriter, sink func(chunk []byte) error) *decoder {
	d := &decoder{chunks: make(chan []byte), needsMore: make(chan bool), sink: sink, err: errDecoder}
	go d.run(encoding, w)
	d.wait()
	return d
}

// run is the goroutine. A panic that left it would end the whole Traefik process.
func (d *decoder) run(encoding string, w *responseWriter) {
	defer func() {
		if cause := recover(); cause != nil {
			w.errorType = errorPanic
			logPanic(w.instance, cause)
		}
		d.needsMore <- false
	}()
	d.err = pump(d, encoding)
}

// pump sends the decompressed bytes until their end, which is not an error, or until it cannot
// continue.
func pump(d *decoder, encoding string) error {
	plain, err := decompressor(encoding, d)
	if err != nil {
		return err
	}
	buffer := make([]byte, decoderBufferBytes)
	for {
		n, end := plain.Read(buffer)
		if n > 0 {
			if err = d.sink(buffer[:n]); err != nil {
				return err
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
	if len(d.unread) == 0 {
		d.needsMore <- true
		chunk, more := <-d.chunks
		if !more {
			return 0, io.EOF
		}
		d.unread = chunk
	}
	n := copy(p, d.unread)
	d.unread = d.unread[n:]
	return n, nil
}

// wait returns when the goroutine needs more or has ended.
func (d *decoder) wait() {
	d.ended = !<-d.needsMore
}

func (d *decoder) write(chunk []byte) (int, error) {
	if !d.ended && len(chunk) > 0 {
		d.started = true
		d.chunks <- chunk
		d.wait()
	}
	if d.ended && d.err != nil {
		return 0, d.err
	}
	return len(chunk), nil
}

// close ends the goroutine, and returns an error if that did not reach the end of the compressed
// bytes.
func (d *decoder) close() error {
	if !d.ended {
		close(d.chunks)
		for !d.ended {
			d.wait()
		}
	}
	if !d.started {
		return nil // a response without a body
	}
	return d.err
}
