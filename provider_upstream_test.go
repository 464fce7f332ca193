package chatcompletion_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion"
)

// chatBody is the body of an ordinary request.
const chatBody = `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`

// testTimeout ends a test that hangs.
const testTimeout = 30 * time.Second

// newMiddleware returns a middleware.
func newMiddleware(t *testing.T, config map[string]any, next http.Handler) http.Handler {
	t.Helper()
	decoded, err := decodeConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	handler, err := chatcompletion.New(context.Background(), next, decoded, "test")
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// providerConfig returns the configuration of a provider at a port of this host, with further members.
func providerConfig(port int, more map[string]any) map[string]any {
	config := map[string]any{"provider": "vllm", "host": "127.0.0.1", "port": port}
	for key, value := range more {
		config[key] = value
	}
	return config
}

// portOf returns the port of a server.
func portOf(s *httptest.Server) int {
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// startProvider starts a provider and returns its port.
func startProvider(t *testing.T, handler http.HandlerFunc) int {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return portOf(s)
}

// respondOK responds with an empty JSON object.
func respondOK(rw http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	_, _ = io.WriteString(rw, "{}")
}

// startTCPProvider starts a provider that is a function on connections, and returns its port. The connections stay open until
// the test ends.
func startTCPProvider(t *testing.T, speak func(net.Conn)) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections := make(chan net.Conn, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connections <- connection
			go speak(connection)
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
		close(connections)
		for connection := range connections {
			_ = connection.Close()
		}
	})
	return listener.Addr().(*net.TCPAddr).Port
}

// respondRaw responds to the first request of a connection with a raw text.
func respondRaw(text string) func(net.Conn) {
	return func(connection net.Conn) {
		request, err := http.ReadRequest(bufio.NewReader(connection))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		_, _ = io.WriteString(connection, text)
	}
}

// sendRequest sends a request to a handler, which must neither hang nor panic.
func sendRequest(t *testing.T, handler http.Handler, method, target, body string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	ctx = context.WithValue(ctx, http.ServerContextKey, &http.Server{}) // a reverse proxy panics only in a server
	req := httptest.NewRequest(method, target, strings.NewReader(body)).WithContext(ctx)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rw := httptest.NewRecorder()
	ended := make(chan any, 1)
	go func() {
		defer func() { ended <- recover() }()
		handler.ServeHTTP(rw, req)
	}()
	select {
	case panicked := <-ended:
		if panicked != nil {
			t.Errorf("%s %s: panic: %v", method, target, panicked)
		}
		return rw
	case <-time.After(2 * testTimeout):
		t.Fatalf("%s %s: no response in time", method, target)
		return nil
	}
}

func TestInvalidResponseStatusIsConnectionFailure(t *testing.T) {
	second := startProvider(t, respondOK)
	for _, status := range []string{
		"000 None\r\nContent-Length: 0", "099 None\r\nContent-Length: 0",
		"101 Switching Protocols", "101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket",
	} {
		first := startTCPProvider(t, respondRaw("HTTP/1.1 "+status+"\r\n\r\n"))
		for _, test := range []struct {
			fallbacks    []any
			wantStatus   int
			wantAttempts string
		}{
			{nil, http.StatusBadGateway, "vllm=connection_failed"},
			{[]any{providerConfig(second, nil)}, http.StatusOK, "vllm=connection_failed,vllm=200"},
		} {
			handler := newMiddleware(t, providerConfig(first, map[string]any{"timeouts": map[string]any{"firstByte": "2s"}, "fallbacks": test.fallbacks}), nil)
			got := sendRequest(t, handler, http.MethodPost, chatPath, chatBody)
			if attempts := got.Header().Get("X-Ai-Attempts"); got.Code != test.wantStatus || attempts != test.wantAttempts {
				t.Errorf("%q with %d fallbacks: status %d, attempts %q, want %d, %q", status, len(test.fallbacks), got.Code, attempts, test.wantStatus, test.wantAttempts)
			}
		}
	}
}

// TestOpaqueRequestTargetUsesEndpointPath calls the handler with a target such as http:v1: Go's server accepts it, but Go's
// client cannot send it.
func TestOpaqueRequestTargetUsesEndpointPath(t *testing.T) {
	targets := make(chan string, 1)
	provider := startProvider(t, func(rw http.ResponseWriter, req *http.Request) {
		targets <- req.RequestURI
		respondOK(rw, req)
	})
	got := sendRequest(t, newMiddleware(t, providerConfig(provider, nil), nil), http.MethodPost, "http:v1/images", chatBody)
	if got.Code != http.StatusOK {
		t.Fatalf("status %d, want 200: %s", got.Code, got.Body)
	}
	if target := <-targets; target != chatPath {
		t.Errorf("forwarded target %q, want %q", target, chatPath)
	}
}

// TestFirstByteTimeoutCoversRequestBody checks that the timeout starts before the request body is sent, which a provider
// that does not read blocks.
func TestFirstByteTimeoutCoversRequestBody(t *testing.T) {
	first := startTCPProvider(t, func(connection net.Conn) { _ = connection.(*net.TCPConn).SetReadBuffer(4 << 10) })
	second := startProvider(t, respondOK)
	body := strings.Replace(chatBody, "Hi", strings.Repeat("a", 8<<20), 1)
	for _, test := range []struct {
		fallbacks    []any
		firstByte    string // of each
		wantStatus   int
		wantAttempts string
	}{
		{nil, "50ms", http.StatusGatewayTimeout, "vllm=timeout"},
		{[]any{providerConfig(second, nil)}, "600ms", http.StatusOK, "vllm=timeout,vllm=200"},
	} {
		handler := newMiddleware(t, providerConfig(first, map[string]any{"timeouts": map[string]any{"firstByte": test.firstByte}, "fallbacks": test.fallbacks}), nil)
		got := sendRequest(t, handler, http.MethodPost, chatPath, body)
		if attempts := got.Header().Get("X-Ai-Attempts"); got.Code != test.wantStatus || attempts != test.wantAttempts {
			t.Errorf("%d fallbacks: status %d, attempts %q, want %d, %q", len(test.fallbacks), got.Code, attempts, test.wantStatus, test.wantAttempts)
		}
	}
}

// TestForgedTrailersAreDropped sends trailers without announcing them: a reverse proxy forwards them nevertheless.
func TestForgedTrailersAreDropped(t *testing.T) {
	provider := startProvider(t, func(rw http.ResponseWriter, req *http.Request) {
		respondOK(rw, req)
		for _, name := range []string{"X-Ai-Policy", "X-Ai-Attempts", "X-Other"} {
			rw.Header().Set(http.TrailerPrefix+name, "forged")
		}
		_ = http.NewResponseController(rw).Flush()
	})
	target := &url.URL{Scheme: "http", Host: "127.0.0.1:" + strconv.Itoa(provider)}
	for name, handler := range map[string]http.Handler{
		"host":          newMiddleware(t, providerConfig(provider, nil), nil),
		"last fallback": newMiddleware(t, providerConfig(1, map[string]any{"fallbacks": []any{providerConfig(provider, nil)}}), nil),
		"service":       newMiddleware(t, nil, httputil.NewSingleHostReverseProxy(target)),
	} {
		gateway := httptest.NewServer(handler)
		t.Cleanup(gateway.Close)
		response, err := http.Post(gateway.URL+chatPath, "application/json", strings.NewReader(chatBody))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if got := response.Trailer; len(got) != 1 || got.Get("X-Other") != "forged" {
			t.Errorf("%s: response trailers %v, want X-Other", name, got)
		}
	}
}

// TestForgedTrailersOverHTTP2AreDropped uses HTTP/2, which allows trailers after any body.
func TestForgedTrailersOverHTTP2AreDropped(t *testing.T) {
	provider := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Content-Length", "2")
		respondOK(rw, req)
		for _, name := range []string{"X-Ai-Policy", "X-Other"} {
			rw.Header().Set(http.TrailerPrefix+name, "forged")
		}
	}))
	provider.EnableHTTP2 = true
	provider.StartTLS()
	t.Cleanup(provider.Close)
	gateway := httptest.NewUnstartedServer(newMiddleware(t, providerConfig(portOf(provider), map[string]any{
		"tls": map[string]any{"enabled": true, "insecureSkipVerify": true},
	}), nil))
	gateway.EnableHTTP2 = true
	gateway.StartTLS()
	t.Cleanup(gateway.Close)
	response, err := gateway.Client().Post(gateway.URL+chatPath, "application/json", strings.NewReader(chatBody))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if got := response.Trailer; len(got) != 1 || got.Get("X-Other") != "forged" {
		t.Errorf("response trailers %v, want X-Other", got)
	}
}
