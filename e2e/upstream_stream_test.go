package e2e_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// compressedResponsesAreRead has a provider that compresses if the request accepts it.
func compressedResponsesAreRead(t *testing.T, g *gateway.Gateway) {
	const document = `{"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}`
	provider := newFake(t, "provider", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", jsonType)
		if r.Header.Get("Accept-Encoding") != "gzip" {
			_, _ = io.WriteString(rw, document)
			return
		}
		rw.Header().Set("Content-Encoding", "gzip")
		compressed := gzip.NewWriter(rw)
		_, _ = io.WriteString(compressed, document)
		_ = compressed.Close()
	}))
	configuration := at(t, provider.URL, map[string]any{"telemetry": map[string]any{"labels": map[string]string{"fault": "compressed"}}})
	configure(t, g, hosted(map[string]map[string]any{"chat": configuration}))
	for _, accepted := range []string{"gzip", "br", "identity"} {
		got := fetch(t, g.URL+"/chat"+chatPath, plainBody, map[string]string{"Accept-Encoding": accepted})
		if got.body != document || got.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: the client gets %q as %q, want %q", accepted, got.body, got.header.Get("Content-Encoding"), document)
		}
		if saw := provider.last(t).header.Get("Accept-Encoding"); saw != "gzip" {
			t.Errorf("%s: the provider gets Accept-Encoding %q, want gzip", accepted, saw)
		}
	}
	awaitTotals(t, "tokens", totals{"input": 3 * 7, "output": 3 * 3}, func() totals {
		return labelled(exposed(t, g, tokensSeries, "fault", "gen_ai_token_type"), "compressed")
	})
}

// eventsArriveWhenTheyAreSent measures the delay of each event, over HTTP/1.1 and HTTP/2, and after
// a failover.
func eventsArriveWhenTheyAreSent(t *testing.T, g *gateway.Gateway) {
	provider := newStepping(10)
	authority := newAuthority(t)
	plain, secure := newFake(t, "plain", provider), newSecureFake(t, "secure", provider, authority)
	withAuthority := at(t, secure.URL, map[string]any{"model": openAIModel, "tls": map[string]any{"caFile": authority.File}})
	falling := fallingBack(t, dead(), withAuthority)
	falling["model"] = openAIModel
	dynamic := hosted(map[string]map[string]any{
		"plain":    at(t, plain.URL, map[string]any{"model": openAIModel}),
		"secure":   withAuthority,
		"fallback": falling,
	})
	dynamic.Routers["bare"] = gateway.Router{Rule: "PathPrefix(`/bare/`)", Service: "plain"}
	dynamic.Services["plain"] = plain.URL
	configure(t, g, dynamic)
	for _, name := range []string{"plain", "secure", "fallback"} {
		t.Run(name, func(t *testing.T) { provider.checkEventsAreNotDelayed(t, g.URL+"/"+name, g.URL+"/bare") })
	}
}

// headerArrivesBeforeTheFirstEvent is for providers whose first event takes long: without
// fallbacks, the header is forwarded immediately.
func headerArrivesBeforeTheFirstEvent(t *testing.T, g *gateway.Gateway) {
	arrived := make(chan struct{})
	provider := newFake(t, "provider", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", eventType)
		_ = http.NewResponseController(rw).Flush()
		select {
		case <-arrived: // the event follows only now
		case <-r.Context().Done():
			return
		}
		_ = sendEvent(rw, "word")
	}))
	configure(t, g, hosted(map[string]map[string]any{"chat": at(t, provider.URL, map[string]any{"model": openAIModel})}))
	lines := openStream(t.Context(), t, g.URL+"/chat")
	close(arrived)
	if _, err := readEvent(lines); err != nil {
		t.Fatal(err)
	}
}

// webSocketsPass has an upgrade, then data in both directions.
func webSocketsPass(t *testing.T, g *gateway.Gateway) {
	authority := newAuthority(t)
	plain, secure := newFake(t, "plain", http.HandlerFunc(echo)), newSecureFake(t, "secure", http.HandlerFunc(echo), authority)
	routes := map[string]string{"/v1/chat/completions": "completions", "*": "passthrough"}
	configure(t, g, hosted(map[string]map[string]any{
		"plain":  at(t, plain.URL, map[string]any{"token": "sk-provider", "routes": routes}),
		"secure": at(t, secure.URL, map[string]any{"token": "sk-provider", "routes": routes, "tls": map[string]any{"caFile": authority.File}}),
	}))
	for _, provider := range []*fake{plain, secure} {
		t.Run(provider.name, func(t *testing.T) {
			connection := dial(t, g.URL)
			target := "/" + provider.name + "/v1/realtime?model=gpt-4o-realtime"
			if _, err := fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\nSec-WebSocket-Version: 13\r\n\r\n", target); err != nil {
				t.Fatal(err)
			}
			reader := bufio.NewReader(connection)
			response, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusSwitchingProtocols {
				t.Fatalf("status %d, want 101", response.StatusCode)
			}
			for i := range 3 {
				want := fmt.Sprintf("word %d\n", i)
				if _, err := io.WriteString(connection, want); err != nil {
					t.Fatal(err)
				}
				if got, err := reader.ReadString('\n'); got != want || err != nil {
					t.Errorf("the provider responds %q, %v, want %q", got, err, want)
				}
			}
			saw := provider.last(t)
			if got, want := saw.target, "/v1/realtime?model=gpt-4o-realtime"; got != want {
				t.Errorf("the provider receives %s, want %s", got, want)
			}
			if got, want := saw.header.Get("Authorization"), "Bearer sk-provider"; got != want {
				t.Errorf("the provider sees the key %q, want %q", got, want)
			}
		})
	}
}

// echo accepts an upgrade and echoes everything that it receives.
func echo(rw http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" || !strings.EqualFold(r.Header.Get("Connection"), "upgrade") {
		http.Error(rw, "no upgrade", http.StatusBadRequest)
		return
	}
	connection, buffered, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		panic(err)
	}
	defer func() { _ = connection.Close() }()
	_, _ = io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	_, _ = io.Copy(connection, buffered)
}

// hangingProviderIsATimeout measures when the client gets the timeout error.
func hangingProviderIsATimeout(t *testing.T, g *gateway.Gateway) {
	late, well := newFake(t, "pausing", http.HandlerFunc(pausing)), newFake(t, "well", counting(0))
	hanging := silent(t)
	secure := at(t, strings.Replace(hanging, "http:", "https:", 1), map[string]any{"timeouts": map[string]any{"connect": firstByte.String()}})
	configure(t, g, hosted(map[string]map[string]any{
		"hanging": fallingBack(t, hanging), "pausing": fallingBack(t, late.URL), "handshake": secure, "well": fallingBack(t, well.URL),
	}))
	timesOut := func(name string) {
		var got reply
		allowed := firstByte + allowedDelay
		for try := 0; try < 3 && (try == 0 || got.took > allowed); try++ { // a busy machine may delay one
			allowed = firstByte + allowedDelay + usual(t, g.URL+"/well"+chatPath)
			got = fetch(t, g.URL+"/"+name+chatPath, plainBody, nil)
			checkOpenAIError(t, got, http.StatusGatewayTimeout, "server_error", "provider_timeout")
			if got.took < firstByte {
				t.Errorf("%s: the error took %v, want at least %v", name, got.took, firstByte)
			}
		}
		if got.took > allowed {
			t.Errorf("%s: the error took %v, want at most %v", name, got.took, allowed)
		}
	}
	timesOut("hanging")
	timesOut("handshake")
	got := fetch(t, g.URL+"/hanging"+chatPath, largeBody, nil) // which the provider does not read: without the timeout, there is no end
	checkOpenAIError(t, got, http.StatusGatewayTimeout, "server_error", "provider_timeout")
	if allowed := conditionTimeout / 4; got.took > allowed {
		t.Errorf("the error for a large request took %v, want at most %v", got.took, allowed)
	}
	if got := fetch(t, g.URL+"/pausing"+chatPath, plainStream, nil); got.err != nil || !strings.HasSuffix(got.body, "data: [DONE]\n\n") {
		t.Errorf("paused stream ends with %v: %s", got.err, got.body)
	}
}
