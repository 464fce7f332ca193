package e2e_test

import (
	"bufio"
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

// faultHeader names the row of the matrix to which a call belongs. The metrics have it as a label.
const faultHeader = "X-Test-Fault"

// matrixClients is the number of clients that make calls of the matrix concurrently.
const matrixClients = 32

// The routes to a provider.
const (
	byService   = "service"
	byHost      = "host"
	byFallback  = "fallback" // a host, and a fallback without faults
	behindRetry = "retry"    // Traefik's Retry, then the service
	byTwo       = "two"      // two instances of the middleware, then the service
	inReport    = "report"   // report mode, then the service
)

// matrixWays returns a configuration with a router for each route to the provider, and the metrics.
func matrixWays(t *testing.T, provider, second string) gateway.Dynamic {
	t.Helper()
	dynamic := exposing()
	with := func(settings map[string]any) any {
		settings["model"] = openAIModel
		settings["routes"] = map[string]string{chatPath: "completions", responsesPath: "responses"}
		settings["telemetry"] = map[string]any{"labels": map[string]string{"fault": "$(headers." + faultHeader + ")"}}
		return gateway.Plugin(settings)
	}
	dynamic.Services["provider"] = provider
	dynamic.Middlewares[byService] = with(map[string]any{})
	dynamic.Middlewares[byHost] = with(at(t, provider, map[string]any{}))
	dynamic.Middlewares[byFallback] = with(at(t, provider, map[string]any{"provider": "openai", "fallbacks": []any{deepSeek(t, second)}}))
	dynamic.Middlewares[inReport] = with(map[string]any{"mode": "report"})
	dynamic.Middlewares[behindRetry] = map[string]any{"retry": map[string]any{"attempts": 3}}
	dynamic.Middlewares["later"] = gateway.Plugin(map[string]any{"token": "sk-provider"})
	for way, middlewares := range map[string][]string{
		byService: {byService}, byHost: {byHost}, byFallback: {byFallback}, inReport: {inReport},
		behindRetry: {behindRetry, byService}, byTwo: {byService, "later"},
	} {
		dynamic.Routers[way] = gateway.Router{Rule: "PathPrefix(`/" + way + "/`)", Middlewares: middlewares, Service: "provider"}
	}
	return dynamic
}

// cutCall is one call of the matrix: on a route, the provider's connection ends, by a close or a
// reset, at a byte of the response.
type cutCall struct {
	cutResponse
	way    string
	reset  bool // otherwise the connection is closed normally
	offset int
}

func (c cutCall) row() string {
	how := "ends"
	if c.reset {
		how = "is-reset"
	}
	return fmt.Sprintf("%s/%s/%s", c.way, c.name, how)
}

// cutCalls returns all of them: every byte of every response, closed and reset, by service and by
// host; and every byte of the two common responses, reset, by all other routes.
func cutCalls() []cutCall {
	var calls []cutCall
	add := func(response cutResponse, way string, reset bool) {
		for offset := range len(response.raw) + 1 {
			calls = append(calls, cutCall{response, way, reset, offset})
		}
	}
	for _, response := range cutResponses {
		for _, way := range []string{byService, byHost} {
			add(response, way, false)
			add(response, way, true)
		}
		for _, way := range []string{byFallback, behindRetry, byTwo} {
			if response.isUsual {
				add(response, way, true)
			}
		}
	}
	return calls
}

// cutting returns the URL of a provider that ends its connection as specified by the call whose
// number is in the request.
func cutting(t *testing.T, calls []cutCall) string {
	t.Helper()
	return listening(t, func(connection net.Conn) {
		requests := bufio.NewReader(connection)
		for {
			request, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			number, err := strconv.Atoi(request.Header.Get(numberHeader))
			if err != nil {
				return
			}
			c := calls[number]
			_, _ = io.WriteString(connection, c.raw[:c.offset])
			if c.offset == len(c.raw) && !c.untilEnd {
				continue // the next request uses the same connection
			}
			if c.reset {
				reset(connection)
			}
			return
		}
	})
}

// outcome is the response as the client sees it.
type outcome struct {
	status int // 0: no header arrived
	header http.Header
	body   string
	broken bool
}

// read makes a call and reads as much of the response as it can.
func read(t *testing.T, client *http.Client, address, body string, header map[string]string) outcome {
	response, err := do(t.Context(), client, address, body, header)
	if err != nil {
		return outcome{broken: true}
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return outcome{response.StatusCode, response.Header, string(text), err != nil}
}

// TestProviderDisconnectAtAnyByte ends the provider's connection at every byte of its response,
// including the header. It compares the client's view, the access log and the metrics with what
// Go's own client reads from the same bytes.
func TestProviderDisconnectAtAnyByte(t *testing.T) {
	calls := cutCalls()
	second := newFake(t, "second", counting(0))
	g := startForwarding(t)
	configure(t, g, matrixWays(t, cutting(t, calls), second.URL))

	began := time.Now()
	inParallel(t, len(calls), matrixClients, func(client *http.Client, number int) error {
		c := calls[number]
		path := c.path
		if path == "" {
			path = chatPath
		}
		got := read(t, client, g.URL+"/"+c.way+path, c.body, map[string]string{numberHeader: strconv.Itoa(number), faultHeader: c.row()})
		if err := c.check(got); err != nil {
			return fmt.Errorf("%s at byte %d of %d: %w", c.row(), c.offset, len(c.raw), err)
		}
		return nil
	})

	t.Logf("%d calls took %v", len(calls), time.Since(began))

	counts, used := totals{}, totals{}
	for number, c := range calls {
		ending := c.cutAt(c.offset, c.reset)
		if c.fallsBack() {
			counts[c.row()+"/openai/"+deadProvider]++
			counts[c.row()+"/deepseek/"]++
			used.add(float64(inputTokens(number)), []string{c.row(), "input"})
			used.add(float64(outputTokens(number)), []string{c.row(), "output"})
			continue
		}
		counts[c.row()+"/openai/"+ending.errorType]++
		if ending.used {
			used.add(matrixInput, []string{c.row(), "input"})
			used.add(matrixOutput, []string{c.row(), "output"})
		}
	}
	awaitTotals(t, "calls", counts, func() totals { return exposed(t, g, callsSeries, "fault", "gen_ai_provider_name", "error_type") })
	awaitTotals(t, "tokens", used, func() totals { return exposed(t, g, tokensSeries, "fault", "gen_ai_token_type") })
	checkCutCallsInTheAccessLog(t, g, calls)
	await(t, "no goroutine of the plugin is left", func() bool { return pluginGoroutines(t, g) == 0 })
	checkNoErrors(t, g)
	checkAlive(t, g)
}

// fallsBack reports whether the second provider must respond: the first one has sent no byte of a
// body.
func (c cutCall) fallsBack() bool {
	ending := c.cutAt(c.offset, c.reset)
	return c.way == byFallback && (!ending.begun || ending.broken && ending.body == "")
}

// check compares the client's outcome with the expected ending.
func (c cutCall) check(got outcome) error {
	want := c.cutAt(c.offset, c.reset)
	switch {
	case c.fallsBack():
		if got.status != http.StatusOK || got.broken || got.header.Get(providerHeader) != "second" || !strings.Contains(got.body, datedModel(deepSeekModel)) {
			return fmt.Errorf("the client sees %+v, want the response of the second provider", got)
		}
	case !want.begun:
		if got.status < http.StatusInternalServerError || got.broken || strings.Contains(got.body, openAIModel) {
			return fmt.Errorf("the client sees %+v, want an error", got)
		}
		if isOurs := strings.Contains(got.body, `"code":"provider_unreachable"`); isOurs != (c.way == byHost) {
			return fmt.Errorf("the client sees %q, want the plugin's own error, because a host is configured", got.body)
		}
	case !want.broken:
		if got.status != http.StatusOK || got.broken || got.body != want.body {
			return fmt.Errorf("the client sees %+v, want %+v", got, want)
		}
	case !got.broken:
		return fmt.Errorf("the client sees the complete %+v, want an incomplete %+v", got, want)
	case !strings.HasPrefix(want.body, got.body):
		return fmt.Errorf("the client sees %q, want a beginning of %q", got.body, want.body)
	case c.done != "" && got.body != want.body:
		return fmt.Errorf("the client sees %q of a stream, want everything that arrived: %q", got.body, want.body)
	}
	return nil
}

// checkCutCallsInTheAccessLog compares each call's line with the expected ending.
func checkCutCallsInTheAccessLog(t *testing.T, g *gateway.Gateway, calls []cutCall) {
	t.Helper()
	awaitAccessLog(t, g, len(calls))
	logged := 0
	for _, line := range accessLog(t, g) {
		text, _ := line["request_"+numberHeader].(string)
		number, err := strconv.Atoi(text)
		if err != nil {
			continue // the metrics
		}
		logged++
		c := calls[number]
		want := c.cutAt(c.offset, c.reset)
		if c.fallsBack() {
			want.errorType = ""
		}
		errorType, _ := line["downstream_X-Ai-Error-Type"].(string)
		_, used := line["downstream_X-Ai-Input-Tokens"]
		if errorType != want.errorType || used != (want.used || c.fallsBack()) {
			t.Errorf("%s at byte %d: the access log has the error type %q and tokens: %t, want %q, %t", c.row(), c.offset, errorType, used, want.errorType, want.used)
		}
	}
	if logged != len(calls) {
		t.Errorf("the access log has %d calls, want %d", logged, len(calls))
	}
}
