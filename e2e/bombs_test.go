package e2e_test

import (
	"bytes"
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// bomb is a compressed run of zeros. It repeats one compressed piece, so that it is cheap to
// produce.
type bomb struct {
	encoding string
	head     []byte
	piece    []byte // decompresses to pieceBytes zeros
}

// pieceBytes is the decompressed size of a piece.
const pieceBytes = 16 * mebibyte

// gzipHead and zlibHead precede the compressed bytes.
var (
	gzipHead = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}
	zlibHead = []byte{0x78, 0x9c}
)

// bombs returns a bomb for each encoding.
func bombs(t *testing.T) map[string]bomb {
	t.Helper()
	var piece bytes.Buffer
	w, err := flate.NewWriter(&piece, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.Write(make([]byte, pieceBytes))
	if err := w.Flush(); err != nil { // ends on a byte boundary
		t.Fatal(err)
	}
	return map[string]bomb{
		"gzip":    {encoding: "gzip", head: gzipHead, piece: piece.Bytes()},
		"zlib":    {encoding: "deflate", head: zlibHead, piece: piece.Bytes()},
		"deflate": {encoding: "deflate", piece: piece.Bytes()},
	}
}

// write writes a bomb of the decompressed size, until a write fails.
func (b bomb) write(w io.Writer, size int) {
	if _, err := w.Write(b.head); err != nil {
		return
	}
	for range size / pieceBytes {
		if _, err := w.Write(b.piece); err != nil {
			return
		}
	}
}

// TestCompressedRequestsStopAtTheLimit sends bombs of two gigabytes, some of them concurrently.
func TestCompressedRequestsStopAtTheLimit(t *testing.T) {
	const (
		size    = 2 << 30
		clients = 4
		limit   = 10 * mebibyte
		mayGrow = clients * 12 * limit // a doubling buffer, its predecessors, and the bytes as received
	)
	provider := newFake(t, "provider", counting(0))
	g := start(t, gateway.Options{Env: collectingOften})
	configure(t, g, metered(map[string]any{"model": "gpt-4o"}, provider.URL))
	if got := fetch(t, g.URL+chatPath, plainBody, nil); got.status != http.StatusOK {
		t.Fatalf("status %d, want 200", got.status)
	}
	for name, b := range bombs(t) {
		t.Run(name, func(t *testing.T) {
			var body bytes.Buffer
			b.write(&body, size)
			checkMemory(t, g, mayGrow, func() {
				inParallel(t, clients, clients, func(client *http.Client, _ int) error {
					return refusedAsTooLarge(client, g.URL, b.encoding, body.Bytes())
				})
			})
		})
	}
	if got := len(provider.saw()); got != 1 {
		t.Errorf("the provider received %d requests, want 1", got)
	}
	checkNoErrors(t, g)
}

// refusedAsTooLarge returns an error unless a compressed body gets a 413.
func refusedAsTooLarge(client *http.Client, base, encoding string, body []byte) error {
	request, err := http.NewRequest(http.MethodPost, base+chatPath, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Encoding", encoding)
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(text), `"request_too_large"`) {
		return errors.Join(err, fmt.Errorf("status %d, want 413: %.200s", response.StatusCode, text))
	}
	return err
}

// TestCompressedResponsesAreDecodedInBoundedMemory has a provider send bombs, whether or not the
// client accepts the encoding: to a client that reads everything, to one that reads nothing, and as
// a list of models.
func TestCompressedResponsesAreDecodedInBoundedMemory(t *testing.T) {
	all := bombs(t)
	provider := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		b := all[r.Header.Get(endingHeader)]
		rw.Header().Set("Content-Type", jsonType)
		rw.Header().Set("Content-Encoding", b.encoding)
		b.write(rw, largeBytes)
	}))
	routes := map[string]string{"/v1/models": "models", "*": "completions"}
	dynamic := metered(map[string]any{"allowedModels": []string{"gpt-*"}, "routes": routes}, provider.URL)
	dynamic.Middlewares["host"] = gateway.Plugin(at(t, provider.URL, map[string]any{"allowedModels": []string{"gpt-*"}, "routes": routes}))
	dynamic.Routers["host"] = gateway.Router{Rule: "PathPrefix(`/host/`)", Middlewares: []string{"host"}, Service: "noop@internal"}
	g := start(t, gateway.Options{Env: collectingOften})
	configure(t, g, dynamic)
	for name := range all {
		for _, route := range []string{"", "/host"} {
			t.Run(name+route, func(t *testing.T) {
				checkMemory(t, g, boundedGrowth, func() {
					response, err := do(t.Context(), http.DefaultClient, g.URL+route+chatPath, plainBody, map[string]string{endingHeader: name})
					if err != nil {
						t.Error(err)
						return
					}
					defer func() { _ = response.Body.Close() }()
					got, err := io.Copy(io.Discard, response.Body)
					if got != largeBytes || err == nil { // the compressed stream lacks its end
						t.Errorf("the client gets %d bytes and error %v, want %d and a broken response", got, err, largeBytes)
					}
				})
				checkMemory(t, g, boundedGrowth, func() {
					ctx, leave := context.WithCancel(t.Context())
					defer leave()
					response, err := do(ctx, http.DefaultClient, g.URL+route+chatPath, plainBody, map[string]string{endingHeader: name})
					if err != nil {
						t.Error(err)
						return
					}
					timer := time.NewTimer(300 * time.Millisecond) // for what the gateway reads ahead
					defer timer.Stop()
					<-timer.C
					leave()
					_ = response.Body.Close()
				})
				checkMemory(t, g, boundedGrowth, func() {
					request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+route+"/v1/models", nil)
					if err != nil {
						t.Error(err)
						return
					}
					request.Header.Set(endingHeader, name)
					response, err := http.DefaultClient.Do(request)
					if err != nil {
						t.Error(err)
						return
					}
					_ = response.Body.Close()
					if response.StatusCode != http.StatusBadGateway {
						t.Errorf("list of models: status = %d, want 502", response.StatusCode)
					}
				})
			})
		}
	}
	checkNoPanic(t, g)
	checkAlive(t, g)
}
