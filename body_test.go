package chatcompletion

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestBodyInPiecesIsWholeEachTime reads what the transport sends, and then what it would send over another connection.
func TestBodyInPiecesIsWholeEachTime(t *testing.T) {
	pieces := [][]byte{[]byte(`{"model":`), []byte(`"m"`), []byte("}")}
	const want = `{"model":"m"}`
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	sendPieces(req, pieces)
	if req.ContentLength != int64(len(want)) {
		t.Errorf("the length is %d, want %d", req.ContentLength, len(want))
	}
	bodies := []io.ReadCloser{req.Body}
	for i := 0; i < 2; i++ {
		if got, err := io.ReadAll(bodies[i]); string(got) != want || err != nil {
			t.Errorf("body %d is %q, %v, want %q", i, got, err, want)
		}
		again, err := bodyAgain(pieces)()
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, again)
	}
}
