package chatcompletion

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// compressors are the supported compressions by Content-Encoding. They are reused, because creating one is slow.
var compressors = []struct {
	encoding string
	writer   interface {
		io.WriteCloser
		Reset(io.Writer)
	}
}{
	{"gzip", gzip.NewWriter(nil)},
	{"deflate", zlib.NewWriter(nil)},
	{"deflate", rawDeflate()},
	{"x-gzip", gzip.NewWriter(nil)},
}

func rawDeflate() *flate.Writer {
	w, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		panic(err)
	}
	return w
}

// compressed returns the text compressed by the chosen compressor, and its Content-Encoding.
func compressed(text []byte, choice uint8) (body []byte, encoding string) {
	c := compressors[int(choice)%len(compressors)]
	var b bytes.Buffer
	c.writer.Reset(&b)
	_, _ = c.writer.Write(text)
	_ = c.writer.Close()
	return b.Bytes(), c.encoding
}

// FuzzRequestDecompression decompresses valid and corrupt bodies: the result never exceeds the limit.
func FuzzRequestDecompression(f *testing.F) {
	for i := range compressors {
		f.Add([]byte(`{"model":"gpt-4o"}`), uint8(i), uint16(100), uint16(0), byte(0))
		f.Add(bytes.Repeat([]byte(" "), 10000), uint8(i), uint16(1000), uint16(5), byte(1))
		f.Add([]byte("x"), uint8(i), uint16(1), uint16(3), byte(0xff))
		f.Add([]byte(""), uint8(i), uint16(1), uint16(0), byte(0))
	}
	f.Fuzz(func(t *testing.T, text []byte, choice uint8, limit, corruptAt uint16, corruption byte) {
		intact, encoding := compressed(text, choice)
		header := http.Header{"Content-Encoding": {encoding}}
		maxBytes := int64(limit) + 1

		plain, apiErr := decompress(header, intact, maxBytes)
		switch {
		case int64(len(text)) > maxBytes:
			if apiErr == nil || apiErr.status != http.StatusRequestEntityTooLarge {
				t.Errorf("%d bytes, limit %d: error %v, want status 413", len(text), maxBytes, apiErr)
			}
		case apiErr != nil:
			t.Errorf("error %q, want none", apiErr.message)
		case !bytes.Equal(plain, text):
			t.Errorf("decompressed to %.100q, want %.100q", plain, text)
		}

		for _, corrupt := range [][]byte{text, flipped(intact, int(corruptAt), corruption), intact[:int(corruptAt)%(len(intact)+1)]} {
			plain, apiErr := decompress(header, corrupt, maxBytes)
			if apiErr == nil && int64(len(plain)) > maxBytes {
				t.Errorf("decompressed to %d bytes, want at most %d", len(plain), maxBytes)
			}
			if apiErr != nil && apiErr.status != http.StatusBadRequest && apiErr.status != http.StatusRequestEntityTooLarge {
				t.Errorf("status %d, want 400 or 413", apiErr.status)
			}
		}
	})
}

func flipped(body []byte, at int, corruption byte) []byte {
	corrupt := append([]byte{}, body...)
	if len(corrupt) > 0 {
		corrupt[at%len(corrupt)] ^= corruption
	}
	return corrupt
}

const chatRequest = `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`

// roundTrip sends a request through a middleware to the provider, and reports whether the middleware aborted the response.
func roundTrip(t *testing.T, provider http.HandlerFunc) (response *httptest.ResponseRecorder, aborted bool) {
	t.Helper()
	handler, err := New(context.Background(), provider, CreateConfig(), "fuzz")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader([]byte(chatRequest))).WithContext(ctx)
	response = httptest.NewRecorder()
	defer func() {
		if r := recover(); r != nil {
			if r != http.ErrAbortHandler {
				panic(r)
			}
			aborted = true
		}
	}()
	handler.ServeHTTP(response, req)
	return response, false
}

// FuzzResponseDecoder has a provider compress its response, although the request does not accept that, and write it in arbitrary
// chunks: the client gets the same plain bytes. A corrupt or truncated response is aborted, or has the plain bytes anyway.
func FuzzResponseDecoder(f *testing.F) {
	for i := range compressors {
		f.Add([]byte(`{"object":"chat.completion"}`), uint8(i), uint16(1), uint16(0), byte(0))
		f.Add(bytes.Repeat([]byte("data: {}\n\n"), 500), uint8(i), uint16(7), uint16(9), byte(4))
		f.Add(bytes.Repeat([]byte("0123456789abcdef"), 5000), uint8(i), uint16(1000), uint16(300), byte(255))
		f.Add([]byte(""), uint8(i), uint16(3), uint16(0), byte(1))
	}
	f.Fuzz(func(t *testing.T, text []byte, choice uint8, chunk, corruptAt uint16, corruption byte) {
		intact, encoding := compressed(text, choice)
		chunkBytes := int(chunk)%4096 + 1
		provider := func(body []byte) http.HandlerFunc {
			return func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Encoding", encoding)
				rw.Header().Set("Content-Length", "9")
				if choice >= 128 {
					rw.Header().Set("Content-Type", "text/event-stream")
				}
				for len(body) > 0 {
					n := chunkBytes
					if n > len(body) {
						n = len(body)
					}
					if _, err := rw.Write(body[:n]); err != nil {
						panic(http.ErrAbortHandler) // as a reverse proxy does
					}
					body = body[n:]
				}
			}
		}

		response, aborted := roundTrip(t, provider(intact))
		if aborted || !bytes.Equal(response.Body.Bytes(), text) {
			t.Fatalf("aborted %t, body %.200q, want false, %.200q", aborted, response.Body, text)
		}
		if h := response.Header(); len(intact) > 0 && (h.Get("Content-Encoding") != "" || h.Get("Content-Length") != "") {
			t.Errorf("response headers %v, want no Content-Encoding and no Content-Length", h)
		}

		response, aborted = roundTrip(t, provider(intact[:int(corruptAt)%len(intact)]))
		if !aborted && int(corruptAt)%len(intact) != 0 && response.Body.Len() != len(text) {
			t.Errorf("truncated response is not aborted: body %.200q", response.Body)
		}
		if !bytes.HasPrefix(text, response.Body.Bytes()) {
			t.Errorf("truncated response: body %.200q, want a prefix of %.200q", response.Body, text)
		}
		roundTrip(t, provider(flipped(intact, int(corruptAt), corruption))) // must not hang or panic
	})
}

// TestResponseDecoderEndsOnClientDisconnect has a provider continue to write a compressed response after the client
// disconnects: the handler must return, or it leaks together with the connection to the provider.
func TestResponseDecoderEndsOnClientDisconnect(t *testing.T) {
	response, encoding := compressed(bytes.Repeat([]byte("data: {}\n\n"), 100), 1)
	for i := 0; i < 200; i++ {
		ctx, disconnect := context.WithCancel(context.Background())
		provider := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Encoding", encoding)
			_, _ = rw.Write(response[:10])
			disconnect()
			for _, b := range response[10:] {
				_, _ = rw.Write([]byte{b})
			}
		})
		handler, err := New(context.Background(), provider, CreateConfig(), "test")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer func() { _ = recover() }() // http.ErrAbortHandler
			req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader([]byte(chatRequest))).WithContext(ctx)
			handler.ServeHTTP(httptest.NewRecorder(), req)
		}()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Fatal("handler has not returned, want it to return from Write")
		}
		disconnect()
	}
}
