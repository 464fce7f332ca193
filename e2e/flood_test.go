package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// flood is a provider's response with too much of something: head, then piece repeated the number
// of times, then end.
type flood struct {
	name             string
	head, piece, end string
	times            int
	status           int  // 0: no response
	broken           bool // the body ends in an error
}

const (
	okLine   = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	lastBody = "Content-Length: 2\r\n\r\n{}"
)

var floods = []flood{
	{name: "2,000 headers", head: okLine, piece: "X-Flood: 0123456789\r\n", times: 2000, end: lastBody, status: 200},
	{name: "12 MB of headers", head: okLine, piece: "X-Flood: " + strings.Repeat("x", 10_000) + "\r\n", times: 1200, end: lastBody, status: 502},
	{name: "a header of 12 MB", head: okLine + "X-Flood: ", piece: strings.Repeat("x", 10_000), times: 1200, end: "\r\n" + lastBody, status: 502},
	{name: "a status line of 12 MB", head: "HTTP/1.1 200 ", piece: strings.Repeat("x", 10_000), times: 1200, end: "\r\n" + lastBody, status: 502},
	{name: "12 MB of trailers", head: okLine + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", piece: "X-Flood: " + strings.Repeat("x", 10_000) + "\r\n", times: 1200, end: "\r\n", status: 200, broken: true},
	{name: "12 MB of announced trailers", head: okLine + "Transfer-Encoding: chunked\r\nTrailer: X-Ai-Model\r\n\r\n2\r\n{}\r\n0\r\n", piece: "X-Ai-Model: " + strings.Repeat("x", 10_000) + "\r\n", times: 1200, end: "\r\n", status: 200, broken: true},
	{name: "a chunk extension of 12 MB", head: okLine + "Transfer-Encoding: chunked\r\n\r\n2;", piece: strings.Repeat("x", 10_000), times: 1200, end: "\r\n{}\r\n0\r\n\r\n", broken: true},
	{name: "20,000 informational answers", piece: "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n", times: 20_000, end: okLine + lastBody, status: 200},
}

// respondRaw writes the response to a request, byte for byte.
func (f flood) respondRaw(connection net.Conn) {
	request, err := http.ReadRequest(bufio.NewReader(connection))
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, request.Body)
	out := bufio.NewWriter(connection)
	_, _ = out.WriteString(f.head)
	for range f.times {
		if _, err := out.WriteString(f.piece); err != nil {
			return
		}
	}
	_, _ = out.WriteString(f.end)
	_ = out.Flush()
}

// TestProviderHeaderFloodsAreBounded has a provider send too much header data around a response, as
// a service and as a host.
func TestProviderHeaderFloodsAreBounded(t *testing.T) {
	const mayGrow = 192 * mebibyte
	dynamic := hosted(nil)
	dynamic.Middlewares["governed"] = gateway.Plugin(map[string]any{"model": "gpt-4o"})
	for i, f := range floods {
		name := fmt.Sprint(i)
		provider := listening(t, f.respondRaw)
		dynamic.Services[name] = provider
		dynamic.Routers["service-"+name] = gateway.Router{Rule: "PathPrefix(`/service/" + name + "/`)", Middlewares: []string{"governed"}, Service: name}
		dynamic.Middlewares["host-"+name] = gateway.Plugin(at(t, provider, map[string]any{"model": "gpt-4o"}))
		dynamic.Routers["host-"+name] = gateway.Router{Rule: "PathPrefix(`/host/" + name + "/`)", Middlewares: []string{"host-" + name}, Service: "noop@internal"}
	}
	g := start(t, gateway.Options{Env: collectingOften})
	configure(t, g, dynamic)
	counts := totals{}
	for i, f := range floods {
		for _, route := range []string{"/service", "/host"} {
			t.Run(f.name+route, func(t *testing.T) {
				wanted := f
				if f.status == http.StatusBadGateway && route == "/service" {
					wanted.status = http.StatusInternalServerError // Traefik's own status
				}
				checkMemory(t, g, mayGrow, func() { wanted.check(t, fmt.Sprint(g.URL, route, "/", i, chatPath)) })
			})
			switch {
			case f.status == http.StatusBadGateway:
				counts["connection_failed"]++
			case f.broken:
				counts["provider_cut"]++
			default:
				counts[""]++
			}
		}
	}
	awaitTotals(t, "calls", counts, func() totals { return exposed(t, g, callsSeries, "error_type") })
	checkNoErrors(t, g)
}

// check requests the response and compares the outcome.
func (f flood) check(t *testing.T, address string) {
	var hints atomic.Int64
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(int, textproto.MIMEHeader) error {
		hints.Add(1)
		return nil
	}})
	response, err := do(ctx, http.DefaultClient, address, plainBody, nil)
	if err != nil {
		if f.status != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("no response: %v, want status %d", err, f.status)
		}
		return
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if response.StatusCode != f.status || (err != nil) != f.broken {
		t.Errorf("status %d, body ends with %v, want %d, broken = %t: %.100q", response.StatusCode, err, f.status, f.broken, body)
	}
	if f.status == http.StatusOK && string(body) != "{}" {
		t.Errorf("the client gets %.100q, want {}", body)
	}
	if strings.Contains(f.piece, " 103 ") && hints.Load() != int64(f.times) {
		t.Errorf("%d informational responses passed, want %d", hints.Load(), f.times)
	}
	if trailer := response.Trailer.Get(modelHeader); trailer != "" {
		t.Errorf("the client gets the trailer %s %.20q", modelHeader, trailer)
	}
}

// TestQueryCredentialsStayInGateway sends keys as query parameters. With a token, none may reach
// the provider, and none may appear in anything that the plugin writes.
func TestQueryCredentialsStayInGateway(t *testing.T) {
	const canary = "sk-canary-of-the-query"
	var collectorSaw witness
	collector := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		collectorSaw.add(string(body))
	}))
	provider := newFake(t, "provider", counting(0))
	settings := func(more map[string]any) map[string]any {
		settings := map[string]any{
			"token": "sk-provider", "model": "gpt-4o", "routes": map[string]string{"/v1/chat/completions": "completions", "/v1/images": "passthrough: governed", "*": "passthrough"},
			"telemetry": map[string]any{
				"log": "stdout", "labels": map[string]string{"team": "$(query_params.team)"}, "traces": map[string]any{"captureContent": true},
				"otlp": map[string]any{"endpoint": collector.URL, "interval": "1s", "compression": "none"},
			},
		}
		for key, value := range more {
			settings[key] = value
		}
		return settings
	}
	dynamic := hosted(map[string]map[string]any{"host": settings(at(t, provider.URL, nil))})
	dynamic.Routers["service"] = gateway.Router{Rule: "PathPrefix(`/service/`)", Middlewares: []string{"governed"}, Service: "provider"}
	dynamic.Middlewares["governed"] = gateway.Plugin(settings(nil))
	dynamic.Services["provider"] = provider.URL
	g := start(t, gateway.Options{})
	configure(t, g, dynamic)
	calls := 0
	for _, route := range []string{"/service", "/host"} {
		for _, path := range []string{chatPath, "/v1/images", "/v1/files"} {
			for _, query := range []string{
				"key=", "api_key=", "api-key=", "apikey=", "token=", "access_token=", "API_KEY=", "Token=", "%6bey=", "api%5Fkey=", "x=1;key=", "api_key=a&api_key=",
			} {
				calls++
				fetch(t, g.URL+route+path+"?team=blue&"+query+canary+"&kept=%20x+y", plainBody, nil)
				if len(provider.saw()) != calls {
					t.Fatalf("the provider received %d requests, want %d", len(provider.saw()), calls)
				}
				saw := provider.last(t)
				if strings.Contains(saw.target, canary) || !strings.Contains(saw.target, "?team=blue") || !strings.HasSuffix(saw.target, "&kept=%20x+y") {
					t.Errorf("%s%s?%s: the provider receives %s", route, path, query, saw.target)
				}
			}
		}
	}
	fetch(t, g.URL+"/service"+chatPath+"?key="+canary, `{"model":`, nil) // gets an error
	await(t, "spans and metrics", func() bool {
		return strings.Contains(collectorSaw.text(), "resourceSpans") && strings.Contains(collectorSaw.text(), "resourceMetrics")
	})
	for what, text := range map[string]string{
		"spans or metrics": collectorSaw.text(), "Traefik's log": readText(t, g.LogPath), "the exposition": getText(t, g.URL+metricsPath),
	} {
		if strings.Contains(text, canary) || !strings.Contains(text, "blue") {
			t.Errorf("%s contain a key from a query, or lack the label", what)
		}
	}
}
