package chatcompletion

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestBodyPiecesCanBeReplayed reads what the transport sends, and then what it would send over another connection.
func TestBodyPiecesCanBeReplayed(t *testing.T) {
	pieces := [][]byte{[]byte(`{"model":`), []byte(`"m"`), []byte("}")}
	const want = `{"model":"m"}`
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	setBodyPieces(req, pieces)
	if req.ContentLength != int64(len(want)) {
		t.Errorf("the length is %d, want %d", req.ContentLength, len(want))
	}
	bodies := []io.ReadCloser{req.Body}
	for i := 0; i < 2; i++ {
		if got, err := io.ReadAll(bodies[i]); string(got) != want || err != nil {
			t.Errorf("body %d is %q, %v, want %q", i, got, err, want)
		}
		again, err := replayBody(pieces)()
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, again)
	}
}

// TestForwardedRequestCanBeReplayed: the transport does, over another connection, where one turns out to be closed.
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
				t.Error("the body cannot be had again")
				return
			}
			again, err := req.GetBody()
			if err != nil {
				t.Error(err)
				return
			}
			if second, err := io.ReadAll(again); string(second) != string(first) || len(first) < length || err != nil {
				t.Errorf("the second body has %d bytes, %v, want the %d of the first", len(second), err, len(first))
			}
		})
		sendRequest(handler, strings.Replace(chatRequest, "{", `{"user":"`+strings.Repeat("a", length)+`",`, 1))
		if !forwarded {
			t.Error("the provider is not asked")
		}
	}
}

// TestIncompleteBodyIsRefused tells a body that somebody in front has read from one that breaks off.
func TestIncompleteBodyIsRefused(t *testing.T) {
	for received, want := range map[string]string{"": "body_already_read", `{"model"`: "incomplete_body"} {
		req := httptest.NewRequest(http.MethodPost, "/", io.NopCloser(strings.NewReader(received)))
		req.ContentLength = int64(len(chatRequest))
		if _, apiErr := readBody(req, defaultMaxRequestBodyBytes); apiErr == nil || apiErr.code != want {
			t.Errorf("%q of a longer body: %v, want %s", received, apiErr, want)
		}
	}
}
