package e2e_test

import (
	"encoding/json"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"sync"
	"testing"

	"github.com/coder/websocket"
	"github.com/modelroute/chatcompletion"
)

// TestRealtimeLeavesNoGoroutine opens and closes 200 WebSockets in this process, in front of a reverse proxy like Traefik's and with
// a provider of the middleware's own.
func TestRealtimeLeavesNoGoroutine(t *testing.T) {
	talking := &talker{}
	provider := newFake(t, "provider", talking)
	target, err := url.Parse(provider.URL)
	if err != nil {
		t.Fatal(err)
	}
	service := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	settings := map[string]any{
		"token": "sk-provider", "allowedModels": []string{"gpt-realtime"}, "routes": map[string]string{realtimePath: "realtime"}, "maxStreamDuration": "1m",
		"quotas": []any{map[string]any{"name": "process", "unit": "tokens", "limit": 1 << 40, "window": "1d"}},
	}
	var addresses []string
	for _, configuration := range []map[string]any{settings, at(t, provider.URL, settings)} {
		text, err := json.Marshal(configuration)
		if err != nil {
			t.Fatal(err)
		}
		config := chatcompletion.CreateConfig()
		if err := json.Unmarshal(text, config); err != nil {
			t.Fatal(err)
		}
		handler, err := chatcompletion.New(t.Context(), service, config, "realtime")
		if err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(handler)
		t.Cleanup(server.Close)
		addresses = append(addresses, server.URL)
	}
	use := func(times int) {
		var running sync.WaitGroup
		for worker := range 8 {
			running.Add(1)
			go func() {
				defer running.Done()
				for i := range times {
					useConnection(t, addresses[worker%len(addresses)], i%2 == 0)
				}
			}()
		}
		running.Wait()
		await(t, "all connections are closed", func() bool { return talking.open.Load() == 0 })
	}
	use(1)
	before := runtime.NumGoroutine()
	use(25)
	await(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before+2 })
	connection := connect(t, addresses[0]+realtimePath+"?model=gpt-realtime", nil)
	say(t, connection, `{"type":"session.update","session":{"model":"gpt-5"}}`)
	if closed, _ := hearClose(t, connection); closed.Code != websocket.StatusPolicyViolation {
		t.Errorf("closed with %d, want 1008", closed.Code)
	}
}
