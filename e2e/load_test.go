package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// loadCalls is the number of calls, by loadClients clients, with the same number of each kind.
const loadCalls, loadClients = 1000, 32

// callKind is a kind of call: what a client sends, and the expected outcome.
type callKind struct {
	name      string
	path      string
	body      string
	ending    string
	status    int
	errorType string
	stream    bool // the response is a stream
	asks      bool // the client requests usage
	usage     bool // the provider reports usage
}

const (
	plainBody       = `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`
	plainStream     = `{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hi"}]}`
	streamWithUsage = `{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]}`
)

var callKinds = []callKind{
	{name: "JSON answer", body: plainBody, status: 200, usage: true},
	{name: "stream, usage asked for", body: streamWithUsage, status: 200, stream: true, asks: true, usage: true},
	{name: "stream, usage not asked for", body: plainStream, status: 200, stream: true, usage: true},
	{name: "refused: not JSON", body: `{"messages":[}`, status: 400, errorType: "invalid_json"},
	{name: "refused: model", body: `{"model":"o9","messages":[{"role":"user","content":"Hi"}]}`, status: 404, errorType: "model_not_found"},
	{name: "provider's 429", body: plainBody, ending: "429", status: 429, errorType: "429"},
	{name: "provider's 500", body: plainStream, ending: "500", status: 500, errorType: "500"},
	{name: "cut by the provider", body: plainStream, ending: endingCut, status: 200, errorType: "provider_cut", stream: true},
	{name: "cut by the provider after the usage", body: plainStream, ending: endingCutUsage, status: 200, errorType: "provider_cut", stream: true, usage: true},
	{name: "left by the client", body: plainStream, ending: endingLeave, status: 200, errorType: "client_gone", stream: true},
	{name: "ended by an error", body: plainStream, ending: endingErrorData, status: 200, errorType: "error_event", stream: true},
	{name: "dead provider", path: "/dead", body: plainBody, status: 502, errorType: deadProvider},
}

var teams = []string{"blue", "green", "red"}

// ledger holds the clients' counts of their calls.
type ledger struct {
	mutex  sync.Mutex
	calls  totals // by error.type
	tokens totals // by token type and team
	usages totals // number of calls with tokens, by token type
	firsts float64
	total  int
}

func newLedger() *ledger { return &ledger{calls: totals{}, tokens: totals{}, usages: totals{}} }

func (l *ledger) enter(k callKind, number int, team string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.total++
	l.calls[k.errorType]++
	if k.stream {
		l.firsts++
	}
	if k.usage {
		l.tokens["input/"+team] += float64(inputTokens(number))
		l.tokens["output/"+team] += float64(outputTokens(number))
		l.usages["input"]++
		l.usages["output"]++
	}
}

// call makes one call and checks the response.
func (k callKind) call(ctx context.Context, client *http.Client, base string, number int, team string) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	response, err := do(ctx, client, base+k.path+chatPath, k.body, map[string]string{
		numberHeader: strconv.Itoa(number), endingHeader: k.ending, "X-Team": team,
	})
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != k.status {
		return fmt.Errorf("status = %d, want %d", response.StatusCode, k.status)
	}
	if !k.stream {
		_, err := io.Copy(io.Discard, response.Body)
		return err
	}
	lines := bufio.NewReader(response.Body)
	if k.ending == endingLeave {
		_, err := readEvent(lines)
		return err
	}
	return k.readStream(lines, number)
}

// readStream reads to the end and checks that it is the one of the kind.
func (k callKind) readStream(lines *bufio.Reader, number int) error {
	usages, last := 0, ""
	for {
		data, err := readEvent(lines)
		if err != nil {
			broken := k.ending == endingCut || k.ending == endingCutUsage
			if broken == errors.Is(err, io.EOF) {
				return fmt.Errorf("the stream ends with %w", err)
			}
			break
		}
		last = data
		var event struct {
			Usage *struct {
				Input int `json:"prompt_tokens"`
			}
		}
		if json.Unmarshal([]byte(data), &event) == nil && event.Usage != nil {
			usages++
			if event.Usage.Input != inputTokens(number) {
				return fmt.Errorf("usage of %d tokens, want %d", event.Usage.Input, inputTokens(number))
			}
		}
	}
	if got, want := usages == 1, k.asks; got != want || usages > 1 {
		return fmt.Errorf("%d events with usage, requested = %t", usages, want)
	}
	if got, want := last == "[DONE]", k.errorType == ""; got != want {
		return fmt.Errorf("the last event is %s", last)
	}
	return nil
}

// inParallel calls do for the numbers below n, from the given number of goroutines.
func inParallel(t *testing.T, n, clients int, do func(client *http.Client, number int) error) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients}}
	defer client.CloseIdleConnections()
	numbers := make(chan int)
	var running sync.WaitGroup
	for range clients {
		running.Add(1)
		go func() {
			defer running.Done()
			for number := range numbers {
				if err := do(client, number); err != nil {
					t.Errorf("call %d: %v", number, err)
				}
			}
		}()
	}
	for number := range n {
		numbers <- number
	}
	close(numbers)
	running.Wait()
}

// TestEveryCallIsCountedOnce compares the clients' counts of calls with those in the exposition, a
// Prometheus and a Collector.
func TestEveryCallIsCountedOnce(t *testing.T) {
	collector := startCollector(t)
	g := start(t, gateway.Options{})
	dynamic := metered(map[string]any{
		"token": "sk-provider", "model": "gpt-4o", "allowModelOverride": true, "allowedModels": []string{"gpt-4o*"},
		"telemetry": otlp(collector.URL),
	}, upstream(t, counting(0)).URL)
	dynamic.Routers["dead"] = gateway.Router{Rule: "PathPrefix(`/dead`)", Middlewares: []string{"governed"}, Service: "dead"}
	dynamic.Services["dead"] = dead()
	configure(t, g, dynamic)
	prometheus := startPrometheus(t, scraping(g.URL))

	known := newLedger()
	inParallel(t, loadCalls, loadClients, func(client *http.Client, number int) error {
		k, team := callKinds[number%len(callKinds)], teams[number/len(callKinds)%len(teams)]
		if err := k.call(t.Context(), client, g.URL, number, team); err != nil {
			return fmt.Errorf("%s: %w", k.name, err)
		}
		known.enter(k, number, team)
		return nil
	})

	t.Run("exposition", func(t *testing.T) {
		awaitTotals(t, "calls", known.calls, func() totals { return exposed(t, g, callsSeries, "error_type") })
		awaitTotals(t, "tokens", known.tokens, func() totals { return exposed(t, g, tokensSeries, "gen_ai_token_type", "team") })
		awaitTotals(t, "calls with tokens", known.usages, func() totals { return exposed(t, g, usagesSeries, "gen_ai_token_type") })
		awaitTotals(t, "first chunks", totals{"": known.firsts}, func() totals { return exposed(t, g, firstSeries) })
		for _, code := range []string{"invalid_json", "model_not_found"} {
			if got, want := exposed(t, g, decisionsSeries, "chat_completion_decision")["refused="+code], known.calls[code]; got != want {
				t.Errorf("%v decisions refused=%s, want %v", got, code, want)
			}
		}
	})
	t.Run("Prometheus", func(t *testing.T) {
		awaitTotals(t, "calls", known.calls, func() totals { return stored(t, prometheus, callsSeries, "error_type") })
		awaitTotals(t, "tokens", known.tokens, func() totals { return stored(t, prometheus, tokensSeries, "gen_ai_token_type", "team") })
		awaitTotals(t, "calls with tokens", known.usages, func() totals { return stored(t, prometheus, usagesSeries, "gen_ai_token_type") })
		awaitTotals(t, "first chunks", totals{"": known.firsts}, func() totals { return stored(t, prometheus, firstSeries) })
	})
	t.Run("Collector", func(t *testing.T) {
		awaitTotals(t, "calls", known.calls, func() totals {
			return received(t, collector, "gen_ai.client.operation.duration", pointCount, "error.type")
		})
		awaitTotals(t, "tokens", known.tokens, func() totals {
			return received(t, collector, "gen_ai.client.token.usage", pointSum, "gen_ai.token.type", "team")
		})
		awaitTotals(t, "calls with tokens", known.usages, func() totals {
			return received(t, collector, "gen_ai.client.token.usage", pointCount, "gen_ai.token.type")
		})
		awaitTotals(t, "first chunks", totals{"": known.firsts}, func() totals {
			return received(t, collector, "gen_ai.client.operation.time_to_first_chunk", pointCount)
		})
		awaitTotals(t, "spans and lost spans", totals{"": float64(known.total)}, func() totals {
			return totals{"": float64(len(chatSpans(t, collector))) + dropped(t, g, "span")}
		})
		t.Logf("%v of %d spans were lost", dropped(t, g, "span"), known.total)
	})
	checkNoErrors(t, g)
}
