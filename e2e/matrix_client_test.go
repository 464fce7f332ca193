package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// cancelledWithin bounds the time from a client's disconnect to the cancellation of the provider's
// request. It takes milliseconds, on a busy machine more; without cancellation, the provider would
// continue until the test ends.
const cancelledWithin = conditionTimeout / 6

// leftResponse is a response during which the client disconnects: after each of its pieces.
type leftResponse struct {
	name, body  string
	contentType string
	pieces      []string
	used        int  // number of pieces after which the tokens count; never if there are fewer
	done        int  // number of pieces after which the response is complete
	hidden      bool // the client does not see the usage
}

// A comment after the usage shows the client that the usage has arrived, even if it is hidden.
const usageComment = ": that was the usage\n\n"

var leftResponses = []leftResponse{
	{"JSON", plainBody, jsonType, []string{matrixDocument[:20], matrixDocument[20 : len(matrixDocument)-5], matrixDocument[len(matrixDocument)-5 : len(matrixDocument)-1]}, 2, 4, false},
	{"stream-usage-hidden", plainStream, eventType, []string{wordEvent, wordEvent, finishEvent, usageEvent + usageComment, doneEvent}, 4, 5, true},
	{"stream-usage-asked-for", streamWithUsage, eventType, []string{wordEvent, wordEvent, finishEvent, usageEvent + usageComment, doneEvent}, 4, 5, false},
}

// leavingClients are the ways in which a client disconnects.
func leavingClients() map[string]*http.Client {
	dialer := &net.Dialer{}
	return map[string]*http.Client{
		"closes": {Transport: &http.Transport{DisableKeepAlives: true}},
		"resets": {Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := dialer.DialContext(ctx, network, address)
			if tcp, isTCP := connection.(*net.TCPConn); isTCP {
				_ = tcp.SetLinger(0)
			}
			return connection, err
		}}},
		"leaves-by-HTTP2": overHTTP2(),
	}
}

// leftCall is one call: on a route, a client disconnects after a number of pieces of a response; -1
// means before the header.
type leftCall struct {
	leftResponse
	way, client string
	pieces      int
	arrived     chan struct{}  // closed when the provider has the request
	ended       chan time.Time // time at which the provider's request was cancelled
}

func (c *leftCall) row() string { return fmt.Sprintf("%s/%s/%s", c.way, c.name, c.client) }

// errorType returns the expected error type of the call. A response that was forwarded completely
// has none.
func (c *leftCall) errorType() string {
	if c.pieces >= c.done {
		return ""
	}
	return "client_gone"
}

func leftCalls() []*leftCall {
	var calls []*leftCall
	for _, response := range leftResponses {
		for _, way := range []string{byService, byHost, byFallback, behindRetry, byTwo} {
			for client := range leavingClients() {
				for pieces := -1; pieces <= len(response.pieces); pieces++ {
					if pieces == 0 && (response.contentType != eventType || way == byFallback) {
						continue // a header is forwarded on its own only for a stream, and only without a fallback
					}
					calls = append(calls, &leftCall{response, way, client, pieces, make(chan struct{}), make(chan time.Time, 1)})
				}
			}
		}
	}
	return calls
}

// ServeHTTP sends the pieces, then waits until the client disconnects.
func (c *leftCall) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	close(c.arrived)
	if c.pieces >= 0 {
		rw.Header().Set("Content-Type", c.contentType)
		rw.WriteHeader(http.StatusOK)
		for _, piece := range c.leftResponse.pieces[:c.pieces] {
			_, _ = io.WriteString(rw, piece)
			_ = http.NewResponseController(rw).Flush()
		}
		_ = http.NewResponseController(rw).Flush()
	}
	<-r.Context().Done()
	c.ended <- time.Now()
}

// make makes the call and disconnects.
func (c *leftCall) make(client *http.Client, base string, number int) error {
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	if c.pieces < 0 {
		go func() {
			<-c.arrived
			leave()
		}()
	}
	response, err := do(ctx, client, base+"/"+c.way+chatPath, c.body, map[string]string{numberHeader: strconv.Itoa(number), faultHeader: c.row()})
	if ctx.Err() == nil {
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		want := strings.Join(c.leftResponse.pieces[:c.pieces], "")
		if c.hidden {
			want = strings.Replace(want, usageEvent, "", 1)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(response.Body, got); err != nil || string(got) != want {
			return fmt.Errorf("the client gets %q, %w, want %q", got, err, want)
		}
	} else if !errors.Is(err, context.Canceled) {
		return fmt.Errorf("the client gets %v, %w, want no response", response, err)
	}
	leave()
	left := time.Now()
	select {
	case ended := <-c.ended:
		if took := ended.Sub(left); took > cancelledWithin {
			return fmt.Errorf("the provider's request ended %v after the client disconnected, want at most %v", took, cancelledWithin)
		}
		return nil
	case <-time.After(conditionTimeout):
		return errors.New("the provider's request goes on without the client")
	}
}

// TestClientDisconnectAtAnyEvent disconnects after every event, before the first one, and before
// the header.
func TestClientDisconnectAtAnyEvent(t *testing.T) {
	calls, clients := leftCalls(), leavingClients()
	provider := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		number, err := strconv.Atoi(r.Header.Get(numberHeader))
		if err != nil {
			t.Errorf("call %q: %v", r.Header.Get(numberHeader), err)
			return
		}
		calls[number].ServeHTTP(rw, r)
	}))
	second := newFake(t, "second", counting(0))
	g := startForwarding(t)
	configure(t, g, matrixWays(t, provider.URL, second.URL))
	inParallel(t, len(calls), matrixClients, func(_ *http.Client, number int) error {
		c := calls[number]
		if err := c.make(clients[c.client], g.URL, number); err != nil {
			return fmt.Errorf("%s after %d pieces: %w", c.row(), c.pieces, err)
		}
		return nil
	})
	for _, client := range clients {
		client.CloseIdleConnections()
	}

	counts, used := totals{}, totals{}
	for _, c := range calls {
		counts[c.row()+"/"+c.errorType()]++
		if c.pieces >= c.used {
			used.add(matrixInput, []string{c.row(), "input"})
			used.add(matrixOutput, []string{c.row(), "output"})
		}
	}
	awaitTotals(t, "calls", counts, func() totals { return exposed(t, g, callsSeries, "fault", "error_type") })
	awaitTotals(t, "tokens", used, func() totals { return exposed(t, g, tokensSeries, "fault", "gen_ai_token_type") })
	if received := len(second.saw()); received != 0 {
		t.Errorf("the second provider received %d requests, want none", received)
	}
	await(t, "no goroutine of the plugin is left", func() bool { return pluginGoroutines(t, g) == 0 })
	checkNoErrors(t, g)
	checkAlive(t, g)
}

// uploads are requests as sent on the connection, split before the body.
var uploads = map[string][2]string{
	"length":  {fmt.Sprintf("Content-Length: %d\r\n\r\n", len(plainBody)), plainBody},
	"chunked": {"Transfer-Encoding: chunked\r\n\r\n", fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", 20, plainBody[:20], len(plainBody)-20, plainBody[20:])},
}

// uploadCall is a request of which only the first offset bytes are sent.
type uploadCall struct {
	row, way     string
	header, body string
	offset       int
	end          func(*net.TCPConn) error
	reads        bool // the client waits for the response
}

// uploadCalls returns calls that end each request after each byte except the last one.
func uploadCalls() []uploadCall {
	ends := map[string]func(*net.TCPConn) error{
		"closes":        (*net.TCPConn).Close,
		"resets":        func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) },
		"stops-sending": (*net.TCPConn).CloseWrite,
	}
	var calls []uploadCall
	for framing, parts := range uploads {
		for _, way := range []string{byService, byHost, inReport} {
			for how, end := range ends {
				c := uploadCall{way: way, row: way + "/" + framing + "/" + how, body: parts[1], end: end, reads: how == "stops-sending"}
				c.header = "POST /" + way + chatPath + " HTTP/1.1\r\nHost: gateway\r\n" + faultHeader + ": " + c.row + "\r\n" + parts[0]
				for c.offset = range len(c.header) + len(c.body) {
					calls = append(calls, c)
				}
			}
		}
	}
	return calls
}

// isCall reports whether the middleware receives the request.
func (c uploadCall) isCall() bool { return c.offset >= len(c.header) }

func (c uploadCall) make(address string) error {
	dialed, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer func() { _ = dialed.Close() }()
	connection, isTCP := dialed.(*net.TCPConn)
	if !isTCP {
		return fmt.Errorf("%T is not a TCP connection", dialed)
	}
	_, err = io.WriteString(connection, (c.header + c.body)[:c.offset])
	if err = errors.Join(err, c.end(connection)); err != nil || !c.reads {
		return err
	}
	content, _ := io.ReadAll(connection) // until the connection ends in any way
	isRefused := strings.HasPrefix(string(content), "HTTP/1.1 400 ") && strings.Contains(string(content), `"code":"incomplete_body"`)
	if want := c.isCall() && c.way != inReport; isRefused != want {
		return fmt.Errorf("the client gets %q, want incomplete_body: %t", content, want)
	}
	return nil
}

// errorType returns the expected error type of the call. In report mode, the provider gets the
// partial body, and Traefik aborts when the body ends early.
func (c uploadCall) errorType() string {
	if c.way == inReport {
		return "client_gone"
	}
	return "incomplete_body"
}

// TestClientDisconnectWithinRequest ends the client's connection at every byte of its request.
func TestClientDisconnectWithinRequest(t *testing.T) {
	provider := newFake(t, "provider", counting(0))
	g := start(t, gateway.Options{})
	configure(t, g, matrixWays(t, provider.URL, dead()))
	address := strings.TrimPrefix(g.URL, "http://")
	calls, counts := uploadCalls(), totals{}
	inParallel(t, len(calls), matrixClients, func(_ *http.Client, number int) error {
		if err := calls[number].make(address); err != nil {
			return fmt.Errorf("%s at byte %d: %w", calls[number].row, calls[number].offset, err)
		}
		return nil
	})
	for _, c := range calls {
		if c.isCall() {
			counts[c.row+"/"+c.errorType()]++
		}
	}
	awaitTotals(t, "calls", counts, func() totals { return exposed(t, g, callsSeries, "fault", "error_type") })
	if whole := len(provider.saw()); whole != 0 {
		t.Errorf("the provider got %d complete requests, want none", whole)
	}
	checkNoErrors(t, g)
	checkAlive(t, g)
}
