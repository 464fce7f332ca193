package chatcompletion

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestBodyPiecesCanBeReplayed reads the body that the transport sends, and then the one for a retry over another connection.
func TestBodyPiecesCanBeReplayed(t *testing.T) {
	pieces := [][]byte{[]byte(`{"model":`), []byte(`"m"`), []byte("}")}
	const want = `{"model":"m"}`
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	setBodyPieces(req, pieces)
	if req.ContentLength != int64(len(want)) {
		t.Errorf("Content-Length %d, want %d", req.ContentLength, len(want))
	}
	bodies := []io.ReadCloser{req.Body}
	for i := 0; i < 2; i++ {
		if got, err := io.ReadAll(bodies[i]); string(got) != want || err != nil {
			t.Errorf("body %d: %q, %v, want %q", i, got, err, want)
		}
		again, err := replayBody(pieces)()
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, again)
	}
}

// TestForwardedRequestCanBeReplayed checks GetBody, which the transport uses for a retry if a connection turns out to be closed.
func TestForwardedRequestCanBeReplayed(t *testing.T) {
	config := CreateConfig()
	config.Host = "provider.example"
	config.Model = "gpt-4o"
	handler, err := New(context.Background(), http.NotFoundHandler(), config, "test")
	if err != nil {
		t.Fatal(err)
	}
	m, _ := handler.(*middleware)
	for _, length := range []int{1, joinMaxBytes + 1} {
		forwarded := false
		m.policy.providers[0].handler = http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
			forwarded = true
			first, _ := io.ReadAll(req.Body)
			if req.GetBody == nil {
				t.Error("GetBody is nil, want a function")
				return
			}
			again, err := req.GetBody()
			if err != nil {
				t.Error(err)
				return
			}
			if second, err := io.ReadAll(again); string(second) != string(first) || len(first) < length || err != nil {
				t.Errorf("second body has %d bytes, %v, want the %d of the first", len(second), err, len(first))
			}
		})
		sendRequest(handler, strings.Replace(chatRequest, "{", `{"user":"`+strings.Repeat("a", length)+`",`, 1))
		if !forwarded {
			t.Error("request is not forwarded")
		}
	}
}

// TestIncompleteBodyIsRefused distinguishes a body that an earlier middleware has read from one that ends early.
func TestIncompleteBodyIsRefused(t *testing.T) {
	for received, want := range map[string]string{"": "body_already_read", `{"model"`: "incomplete_body"} {
		req := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(strings.NewReader(received)))
		req.ContentLength = int64(len(chatRequest))
		if _, apiErr := readBody(req, defaultMaxRequestBodyBytes); apiErr == nil || apiErr.code != want {
			t.Errorf("body of %q, too short: error %v, want code %s", received, apiErr, want)
		}
	}
}
