package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestReadTimeoutEndsSlowBodies sends bodies byte by byte, without an end, or not at all. Traefik's
// readTimeout must end them, and nothing may be forwarded.
func TestReadTimeoutEndsSlowBodies(t *testing.T) {
	const readTimeout = time.Second
	provider := newFake(t, "provider", counting(0))
	g := start(t, gateway.Options{ReadTimeout: readTimeout.String()})
	dynamic := hosted(map[string]map[string]any{"host": at(t, provider.URL, map[string]any{"model": "gpt-4o"})})
	dynamic.Routers["service"] = gateway.Router{Rule: "PathPrefix(`/service/`)", Middlewares: []string{"governed"}, Service: "provider"}
	dynamic.Middlewares["governed"] = gateway.Plugin(map[string]any{"model": "gpt-4o"})
	dynamic.Services["provider"] = provider.URL
	configure(t, g, dynamic)

	tests := []struct{ name, header, chunk string }{
		{"a byte at a time", lengthOf(strings.Repeat(" ", 100_000)), " "},
		{"a byte in each chunk", inTransfer, "1\r\n \r\n"},
		{"nothing", lengthOf(clientsBody), ""},
		{"nothing in chunks", inTransfer, ""},
		{"compressed, nothing", "Content-Encoding: gzip\r\n" + lengthOf(clientsBody), ""},
	}
	var running sync.WaitGroup
	for _, test := range tests {
		for _, route := range []string{"/service", "/host"} {
			running.Add(1)
			go func() {
				defer running.Done()
				began := time.Now()
				status, body := trickle(t, g.URL, strings.ReplaceAll(posting(test.header, ""), "TARGET", route+chatPath), test.chunk)
				took := time.Since(began)
				if status != http.StatusBadRequest || !strings.Contains(body, `"incomplete_body"`) || took < readTimeout/2 {
					t.Errorf("%s%s: status %d after %v, want 400 after %v: %s", test.name, route, status, took, readTimeout, body)
				}
			}()
		}
	}
	running.Wait()
	if got := len(provider.saw()); got != 0 {
		t.Errorf("the provider received %d requests, want none", got)
	}
	awaitTotals(t, "calls", totals{"incomplete_body": float64(2 * len(tests))}, func() totals { return exposed(t, g, callsSeries, "error_type") })
	checkNoErrors(t, g)
}

// trickle writes a request, then a chunk repeatedly until a response arrives.
func trickle(t *testing.T, base, request, chunk string) (status int, body string) {
	connection := dial(t, base)
	if _, err := io.WriteString(connection, request); err != nil {
		t.Error(err)
		return 0, ""
	}
	responded := make(chan struct{})
	defer close(responded)
	go func() {
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-responded:
				return
			case <-ticker.C:
				_, _ = io.WriteString(connection, chunk)
			}
		}
	}()
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		t.Errorf("no response: %v", err)
		return 0, ""
	}
	defer func() { _ = response.Body.Close() }()
	content, _ := io.ReadAll(response.Body)
	return response.StatusCode, string(content)
}

// TestStalledClientsHoldLittleMemory has clients request endless streams and read nothing of them.
func TestStalledClientsHoldLittleMemory(t *testing.T) {
	const (
		clients = 100
		mayGrow = clients * 2 * mebibyte // 32 packets of 32 KiB in a doubling buffer
	)
	var sent atomic.Int64
	event := []byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + strings.Repeat("word ", 2000) + "\"}}]}\n\n")
	provider := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", eventType)
		for {
			n, err := rw.Write(event)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	g := start(t, gateway.Options{Env: collectingOften})
	configure(t, g, metered(map[string]any{"model": "gpt-4o"}, provider.URL))
	goroutines := allGoroutines(t, g)
	var connections []net.Conn
	checkMemory(t, g, mayGrow, func() {
		for i := range clients {
			connection := dial(t, g.URL)
			connections = append(connections, connection)
			if err := connection.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
				t.Error(err)
			}
			body := plainStream
			if i%2 == 0 {
				body = streamWithUsage
			}
			if _, err := fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: gateway\r\nContent-Length: %d\r\n\r\n%s", chatPath, len(body), body); err != nil {
				t.Error(err)
			}
		}
		last, same := int64(0), 0
		await(t, "the provider's writes block", func() bool {
			now := sent.Load()
			if now != last {
				same = 0
			}
			last, same = now, same+1
			return now > clients*int64(len(event)) && same == 25
		})
		t.Logf("%d streams are stalled at %d MiB", clients, settledRSS(t, g)/mebibyte)
		for _, connection := range connections {
			_ = connection.Close()
		}
		awaitTotals(t, "calls", totals{"client_gone": clients}, func() totals { return exposed(t, g, callsSeries, "error_type") })
	})
	await(t, "the goroutines of the streams end", func() bool { return allGoroutines(t, g) < goroutines+clients/2 })
	checkNoErrors(t, g)
}

// TestEndlessStreamIsMeteredInBoundedMemory reads a large stream with the usage at its end.
func TestEndlessStreamIsMeteredInBoundedMemory(t *testing.T) {
	event := []byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + strings.Repeat("word ", 2000) + "\"},\"finish_reason\":null}],\"usage\":null}\n\n")
	provider := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", eventType)
		for range largeBytes / len(event) {
			if _, err := rw.Write(event); err != nil {
				return
			}
		}
		_, _ = io.WriteString(rw, stopEvent+`data: {"choices":[],"usage":{"prompt_tokens":6,"completion_tokens":4}}`+"\n\ndata: [DONE]\n\n")
	}))
	g := start(t, gateway.Options{Env: collectingOften})
	configure(t, g, metered(map[string]any{"model": "gpt-4o"}, provider.URL))
	for calls, body := range []string{plainStream, streamWithUsage} {
		checkMemory(t, g, boundedGrowth, func() {
			response, err := do(t.Context(), http.DefaultClient, g.URL+chatPath, body, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = response.Body.Close() }()
			if got, err := io.Copy(io.Discard, response.Body); got < largeBytes-int64(len(event)) || err != nil {
				t.Errorf("the client gets %d bytes and %v, want %d", got, err, largeBytes)
			}
		})
		want := totals{"input": float64(6 * (calls + 1)), "output": float64(4 * (calls + 1))}
		awaitTotals(t, "tokens", want, func() totals { return exposed(t, g, tokensSeries, "gen_ai_token_type") })
	}
	awaitTotals(t, "calls", totals{"": 2}, func() totals { return exposed(t, g, callsSeries, "error_type") })
	checkNoErrors(t, g)
}
