package e2e_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// endingTest is a call with a certain ending: what the provider does, what the client does (nil: it
// reads to the end), and the expected access log.
type endingTest struct {
	name     string
	service  string // empty: the provider
	body     string
	provider http.HandlerFunc
	client   func(base string) error
	status   int // in the access log
	want     string
}

// waiting returns a provider that does not respond, and signals on began that it has the request.
func waiting(began chan<- struct{}) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		began <- struct{}{}
		<-r.Context().Done()
	}
}

// ofLength returns a provider that announces more of a body than it sends, then breaks the
// connection. With 0, it announces no length.
func ofLength(contentType, piece string, length int) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", contentType)
		if length > 0 {
			rw.Header().Set("Content-Length", fmt.Sprint(length))
		}
		_, _ = io.WriteString(rw, piece)
		_ = http.NewResponseController(rw).Flush()
		panic(http.ErrAbortHandler)
	}
}

func complete(contentType, body string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", contentType)
		_, _ = io.WriteString(rw, body)
	}
}

func failing(status int) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, `{"error":{"message":"no","type":"server_error","param":null,"code":null}}`)
	}
}

// endlessly is a provider that sends events, or spaces before a document, until the client
// disconnects.
func endlessly(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if bytes.Contains(body, []byte(`"stream":true`)) {
		rw.Header().Set("Content-Type", eventType)
		for sendEvent(rw, strings.Repeat("word ", 10<<10)) == nil {
			continue
		}
		return
	}
	rw.Header().Set("Content-Type", jsonType)
	rw.Header().Set("Content-Length", fmt.Sprint(1<<40))
	text := []byte(strings.Repeat(" ", 64<<10))
	for err := error(nil); err == nil; {
		_, err = rw.Write(text)
	}
}

const (
	jsonType  = "application/json"
	eventType = "text/event-stream"
	oneEvent  = `data: {"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}` + "\n\n"
	stopEvent = `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
)

// leaves returns a client that disconnects after the number of events; with 0, once the provider
// has the request.
func leaves(client *http.Client, body string, events int, began <-chan struct{}) func(base string) error {
	return func(base string) error {
		ctx, leave := context.WithCancel(context.Background())
		defer leave()
		if events == 0 {
			go func() {
				<-began
				leave()
			}()
		}
		response, err := do(ctx, client, base+chatPath, body, nil)
		if events == 0 && errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		if events == 0 {
			return fmt.Errorf("status = %d, want no response", response.StatusCode)
		}
		for lines := bufio.NewReader(response.Body); events > 0; events-- {
			if _, err := readEvent(lines); err != nil {
				return err
			}
		}
		return nil
	}
}

// overHTTP2 returns a client that speaks only HTTP/2.
func overHTTP2() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}}
}

func endingTests() []endingTest {
	began, beganHTTP2, beganSlow := make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{}, 1)
	return []endingTest{
		{name: "JSON", body: plainBody, provider: complete(jsonType, `{"choices":[]}`), status: 200},
		{name: "stream", body: plainStream, provider: complete(eventType, oneEvent+stopEvent+"data: [DONE]\n\n"), status: 200},
		{name: "stream without the end marker", body: plainStream, provider: complete(eventType, oneEvent+stopEvent), status: 200},
		{name: "stream without any end", body: plainStream, provider: complete(eventType, oneEvent), status: 200, want: "provider_cut"},
		{name: "JSON that breaks off", body: plainBody, provider: ofLength(jsonType, `{"choices":[`, 0), status: 200, want: "provider_cut"},
		{name: "JSON shorter than announced", body: plainBody, provider: ofLength(jsonType, `{"choices":[`, 1000), status: 200, want: "provider_cut"},
		{name: "stream that breaks off", body: plainStream, provider: ofLength(eventType, oneEvent, 0), status: 200, want: "provider_cut"},
		{name: "provider's 429", body: plainBody, provider: failing(429), status: 429, want: "429"},
		{name: "provider's 500", body: plainStream, provider: failing(500), status: 500, want: "500"},
		{name: "provider's 503", body: plainBody, provider: failing(503), status: 503, want: "503"},
		{name: "provider's 529", body: plainBody, provider: failing(529), status: 529, want: "529"},
		{name: "provider that closes the connection", body: plainBody, provider: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, status: 502, want: deadProvider},
		{name: "dead provider", service: "dead", body: plainBody, status: 502, want: deadProvider},
		{name: "no provider", service: "nobody", body: plainBody, status: 503, want: deadProvider},
		{name: "provider that is too slow", service: "slow", body: plainBody, provider: waiting(beganSlow), status: 504, want: "timeout"},
		{name: "client that leaves before the answer", body: plainStream, provider: waiting(began), client: leaves(http.DefaultClient, plainStream, 0, began), status: 499, want: "client_gone"},
		{name: "client that leaves a stream", body: plainStream, provider: endlessly, client: leaves(http.DefaultClient, plainStream, 1, nil), status: 200, want: "client_gone"},
		{name: "client of HTTP/2", body: plainStream, provider: complete(eventType, oneEvent+stopEvent+"data: [DONE]\n\n"), client: reads(overHTTP2(), plainStream), status: 200},
		{name: "client of HTTP/2 that leaves before the answer", body: plainBody, provider: waiting(beganHTTP2), client: leaves(overHTTP2(), plainBody, 0, beganHTTP2), status: 499, want: "client_gone"},
		{name: "client of HTTP/2 that leaves a stream", body: plainStream, provider: endlessly, client: leaves(overHTTP2(), plainStream, 1, nil), status: 200, want: "client_gone"},
	}
}

// reads is a client that reads until any kind of end. The end can precede the header, if the header
// was not flushed.
func reads(client *http.Client, body string) func(base string) error {
	return func(base string) error {
		response, err := do(context.Background(), client, base+chatPath, body, nil)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		return response.Body.Close()
	}
}

// TestEveryEndingHasItsErrorType checks the error type of each ending in the access log and in the
// metrics.
func TestEveryEndingHasItsErrorType(t *testing.T) {
	tests := endingTests()
	mux := http.NewServeMux()
	for i, test := range tests {
		if test.provider != nil {
			mux.HandleFunc(fmt.Sprintf("/v1/%d/", i), test.provider)
		}
	}
	provider := upstream(t, mux).URL
	g := start(t, gateway.Options{AccessLog: true, AccessLogHeaders: []string{"X-Ai-Error-Type"}})
	dynamic := metered(map[string]any{"model": "gpt-4o"}, provider)
	dynamic.Services["dead"] = dead()
	dynamic.RawServices = map[string]any{
		"nobody": map[string]any{"loadBalancer": map[string]any{"servers": []any{}}},
		"slow": map[string]any{"loadBalancer": map[string]any{
			"servers": []any{map[string]any{"url": provider}}, "serversTransport": "impatient",
		}},
	}
	dynamic.ServersTransports = map[string]any{
		"impatient": map[string]any{"forwardingTimeouts": map[string]any{"responseHeaderTimeout": "200ms"}},
	}
	for i, test := range tests {
		if test.service != "" {
			name := fmt.Sprint("ending-", i)
			dynamic.Routers[name] = gateway.Router{Rule: fmt.Sprintf("PathPrefix(`/v1/%d/`)", i), Middlewares: []string{"governed"}, Service: test.service}
		}
	}
	configure(t, g, dynamic)

	counts := totals{}
	for i, test := range tests {
		client := test.client
		if client == nil {
			client = reads(http.DefaultClient, test.body)
		}
		if err := client(fmt.Sprintf("%s/v1/%d", g.URL, i)); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		counts[test.want]++
	}
	awaitAccessLog(t, g, len(tests))
	for _, line := range accessLog(t, g) {
		var i int
		path, _ := line["RequestPath"].(string)
		if _, err := fmt.Sscanf(path, "/v1/%d/", &i); err != nil {
			continue // the metrics
		}
		got, _ := line["downstream_X-Ai-Error-Type"].(string)
		if status := line["DownstreamStatus"]; got != tests[i].want || status != float64(tests[i].status) {
			t.Errorf("%s: the access log has %q and status %v, want %q and %d", tests[i].name, got, status, tests[i].want, tests[i].status)
		}
	}
	awaitTotals(t, "calls by error.type", counts, func() totals { return exposed(t, g, callsSeries, "error_type") })
	checkNoErrors(t, g)
	checkAlive(t, g)
}

// TestStalledClientIsTimeout has Traefik's writeTimeout end responses that the client does not
// read.
func TestStalledClientIsTimeout(t *testing.T) {
	g := start(t, gateway.Options{AccessLog: true, AccessLogHeaders: []string{"X-Ai-Error-Type"}, WriteTimeout: "1s"})
	configure(t, g, metered(map[string]any{"model": "gpt-4o"}, upstream(t, http.HandlerFunc(endlessly)).URL))
	address, err := url.Parse(g.URL)
	if err != nil {
		t.Fatal(err)
	}
	bodies := []string{plainStream, plainBody}
	for _, body := range bodies {
		connection, err := net.Dial("tcp", address.Host)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = connection.Close() }()
		if _, err := fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", chatPath, address.Host, len(body), body); err != nil {
			t.Fatal(err)
		}
	}
	awaitTotals(t, "calls by error.type", totals{"timeout": float64(len(bodies))}, func() totals { return exposed(t, g, callsSeries, "error_type") })
	calls := func() []map[string]any {
		return slices.DeleteFunc(accessLog(t, g), func(line map[string]any) bool { return line["RequestPath"] != chatPath })
	}
	await(t, "all calls in the access log", func() bool { return len(calls()) == len(bodies) })
	for _, line := range calls() {
		if got := line["downstream_X-Ai-Error-Type"]; got != "timeout" {
			t.Errorf("the access log has %q, want timeout", got)
		}
	}
	checkAlive(t, g)
}
