package chatcompletion

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// writeRecorder records the order of writes and flushes of a response.
type writeRecorder struct {
	header http.Header
	calls  []string
}

func (r *writeRecorder) Header() http.Header { return r.header }

func (r *writeRecorder) WriteHeader(status int) { r.calls = append(r.calls, fmt.Sprint(status)) }

func (r *writeRecorder) Write(chunk []byte) (int, error) {
	r.calls = append(r.calls, string(chunk))
	return len(chunk), nil
}

func (r *writeRecorder) Flush() { r.calls = append(r.calls, "flush") }

// newTestWriter returns a responseWriter that writes to a client.
func newTestWriter(t *testing.T, rw http.ResponseWriter) *responseWriter {
	t.Helper()
	call := &Call{}
	return &responseWriter{ResponseWriter: rw, client: rw, registry: newRegistry(), call: call, reader: &responseReader{record: &call.Response}}
}

func TestResponseFlushing(t *testing.T) {
	tests := []struct {
		name   string
		header http.Header
		want   string
	}{
		{"event stream", http.Header{"Content-Type": {"text/event-stream; charset=utf-8"}}, "200 flush a flush b flush"},
		{"event stream of known length", http.Header{"Content-Type": {"text/event-stream"}, "Content-Length": {"2"}}, "200 flush a flush b flush"},
		{"unknown length", http.Header{"Content-Type": {"application/json"}}, "200 a flush b flush"},
		{"known length", http.Header{"Content-Type": {"application/json"}, "Content-Length": {"2"}}, "200 a b"},
		{"compressed in an encoding that is not decoded", http.Header{"Content-Encoding": {"br"}, "Content-Length": {"2"}}, "200 a b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := &writeRecorder{header: test.header}
			w := newTestWriter(t, r)
			w.WriteHeader(http.StatusOK)
			for _, chunk := range []string{"a", "b"} {
				if _, err := w.Write([]byte(chunk)); err != nil {
					t.Fatal(err)
				}
			}
			if got := strings.Join(r.calls, " "); got != test.want {
				t.Errorf("calls %q, want %q", got, test.want)
			}
		})
	}
}

func TestInformationalResponsesPass(t *testing.T) {
	r := &writeRecorder{header: http.Header{}}
	w := newTestWriter(t, r)
	w.WriteHeader(http.StatusEarlyHints)
	r.header.Set("Content-Length", "1")
	if _, err := w.Write([]byte("a")); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(r.calls, " "), "103 200 a"; got != want {
		t.Errorf("calls %q, want %q", got, want)
	}
}

// TestConcurrentRequestsNeverMix sends requests with the same skeleton, for JSON and streams, each with a unique marker.
func TestConcurrentRequestsNeverMix(t *testing.T) {
	const clients, requests = 64, 20
	provider := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		marker := req.Header.Get("X-Marker")
		if strings.Count(string(body), marker) != 40 || strings.Count(string(body), "marker-") != 40 {
			t.Errorf("request of %s contains another marker: %.200s", marker, body)
		}
		if req.Header.Get("Authorization") != "Bearer sk-provider" {
			t.Errorf("Request header Authorization = %q, want Bearer sk-provider", req.Header.Get("Authorization"))
		}
		if strings.Contains(string(body), `"stream":true`) {
			rw.Header().Set("Content-Type", "text/event-stream")
			for i := 0; i < 5; i++ {
				_, _ = fmt.Fprintf(rw, "data: %s %d\n\n", marker, i)
				rw.(http.Flusher).Flush()
			}
			return
		}
		_, _ = fmt.Fprintf(rw, "%s", marker)
	}))
	defer provider.Close()
	target, err := url.Parse(provider.URL)
	if err != nil {
		t.Fatal(err)
	}
	config := CreateConfig()
	config.Token = "sk-provider"
	config.Model = "gpt-4o"
	config.Params.Temperature = 0.5
	config.DropParams = []string{"seed"}
	handler, err := New(context.Background(), httputil.NewSingleHostReverseProxy(target), config, "test")
	if err != nil {
		t.Fatal(err)
	}
	gateway := httptest.NewServer(handler)
	defer gateway.Close()

	var group sync.WaitGroup
	for client := 0; client < clients; client++ {
		group.Add(1)
		go func(client int) {
			defer group.Done()
			for i := 0; i < requests; i++ {
				marker := fmt.Sprintf("marker-%d-%d-", client, i)
				stream := (client+i)%2 == 0
				if response := sendMarked(t, gateway.URL, marker, stream); strings.Count(response, "marker-") != strings.Count(response, marker) ||
					!strings.Contains(response, marker) || (stream && strings.Count(response, marker) != 5) {
					t.Errorf("response to %s: %q, want its marker only", marker, response)
				}
			}
		}(client)
	}
	group.Wait()
}

func sendMarked(t *testing.T, gateway, marker string, stream bool) string {
	body := fmt.Sprintf(`{"seed":1,"messages":[{"role":"user","content":"%s"}],"stream":%t}`, strings.Repeat(marker, 40), stream)
	req, err := http.NewRequest(http.MethodPost, gateway, strings.NewReader(body))
	if err != nil {
		t.Error(err)
		return ""
	}
	req.Header.Set("X-Marker", marker)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer func() { _ = res.Body.Close() }()
	response, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	return string(response)
}
