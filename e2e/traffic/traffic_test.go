package traffic

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/demo"
)

// seen records the requests that reach a provider, by team and path, and how often it has had a body.
type seen struct {
	mutex  sync.Mutex
	calls  map[string]int
	bodies map[string]int
}

func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + r.Header.Get("X-Api-Key") + r.Header.Get("X-Goog-Api-Key")
	body, _ := io.ReadAll(r.Body) // a body that is not whole is one more
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.mutex.Lock()
	s.calls[key+" "+r.URL.Path]++
	s.bodies[r.URL.Path+string(body)]++
	s.mutex.Unlock()
	demo.Handler(demo.Options{Models: append([]string{"fast"}, demo.Models...)}).ServeHTTP(w, r)
}

// TestTrafficIsMixed makes calls twice with one seed, and looks at where they arrive.
func TestTrafficIsMixed(t *testing.T) {
	const calls = 600
	var all []map[string]int
	for range 2 {
		provider := &seen{calls: map[string]int{}, bodies: map[string]int{}}
		server := httptest.NewServer(provider)
		summary, err := Run(t.Context(), Options{Base: server.URL, Calls: calls, Seed: 1})
		server.Close()
		if err != nil || summary.Calls() != calls {
			t.Errorf("%d calls and %v, want %d", summary.Calls(), err, calls)
		}
		for _, want := range []string{"shop 200", "support 200", "support 0", "research 200", "unknown 200", "shop 404"} {
			if summary.Statuses[want] == 0 {
				t.Errorf("no calls of %s among %v", want, summary.Statuses)
			}
		}
		if repeated := calls - len(provider.bodies); repeated < calls/20 || repeated > calls/3 {
			t.Errorf("%d of %d calls repeat another one, want some", repeated, calls)
		}
		all = append(all, provider.calls)
	}
	if !maps.Equal(all[0], all[1]) {
		t.Errorf("one seed makes different calls:\n%v\n%v", all[0], all[1])
	}
	paths := slices.Sorted(maps.Keys(all[0]))
	for _, want := range []string{
		Shop.Key + " /v1/chat/completions", Shop.Key + " /v1/embeddings", Shop.Key + " /v1/moderations", Shop.Key + " /v1/models",
		Support.Key + " /v1/messages", Support.Key + " /v1/audio/transcriptions", Support.Key + " /v1beta/models/gemini-2.5-flash:streamGenerateContent",
		Research.Key + " /v1/responses", Research.Key + " /v1/messages", Research.Key + " /v1beta/models/gemini-2.5-pro:generateContent",
		Research.Key + " /v1/messages/count_tokens", stranger.Key + " /v1/chat/completions",
	} {
		if !slices.Contains(paths, want) {
			t.Errorf("no call %q among %q", want, paths)
		}
	}
}

// TestTrafficReportsAGatewayThatIsNotThere makes calls to a server that has ended.
func TestTrafficReportsAGatewayThatIsNotThere(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	if _, err := Run(t.Context(), Options{Base: server.URL, Calls: 100}); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("error = %v, want that the connection was refused", err)
	}
}
