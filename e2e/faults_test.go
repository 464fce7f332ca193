package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// faultCalls are made beside each fault, by faultClients clients: more than may wait to be sent.
const faultCalls, faultClients = 4000, 16

// durations are times of calls by their route.
type durations struct {
	mutex sync.Mutex
	of    map[string][]time.Duration
}

func (d *durations) add(route string, took time.Duration) {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	d.of[route] = append(d.of[route], took)
}

func (d *durations) p99(route string) time.Duration {
	all := d.of[route]
	slices.Sort(all)
	return all[len(all)*99/100]
}

// callAll calls the routes by turns, each call with an answer of 200, and returns how long they took.
func callAll(t *testing.T, base string, calls int, routes ...string) *durations {
	t.Helper()
	took := &durations{of: map[string][]time.Duration{}}
	inParallel(t, calls, faultClients, func(client *http.Client, number int) error {
		route := routes[number%len(routes)]
		began := time.Now()
		if err := answered(client, base+route+chatPath, number); err != nil {
			return fmt.Errorf("%s: %w", route, err)
		}
		took.add(route, time.Since(began))
		return nil
	})
	return took
}

// answered fails unless a chat completion is answered with 200, completely.
func answered(client *http.Client, address string, number int) error {
	request, err := http.NewRequest(http.MethodPost, address, strings.NewReader(plainBody))
	if err != nil {
		return err
	}
	request.Header.Set(numberHeader, strconv.Itoa(number))
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("status = %d, want 200", response.StatusCode)
	}
	return nil
}

// silent accepts connections and never answers.
func silent(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mutex sync.Mutex
	var accepted []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			mutex.Lock()
			accepted = append(accepted, connection)
			mutex.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
		for _, connection := range accepted {
			_ = connection.Close()
		}
	})
	return "http://" + listener.Addr().String()
}

// TestRequestsDoNotSufferFromTheCollector has a route that sends spans to a Collector with a fault beside one that sends
// none.
func TestRequestsDoNotSufferFromTheCollector(t *testing.T) {
	failing := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) }))
	tests := []struct{ name, endpoint string }{
		{"down", dead()},
		{"silent", silent(t)},
		{"answering 500", failing.URL},
	}
	provider := upstream(t, counting(0))
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			g := start(t, gateway.Options{})
			configure(t, g, besideEachOther(test.endpoint, provider.URL))
			took := callAll(t, g.URL, faultCalls, "/with", "/without")
			with, without := took.p99("/with"), took.p99("/without")
			t.Logf("p99 %v with the fault, %v without", with, without)
			if allowed := 3*without + 50*time.Millisecond; with > allowed {
				t.Errorf("p99 = %v, want at most %v beside %v without spans", with, allowed, without)
			}
			await(t, "lost spans are counted", func() bool { return dropped(t, g, "span") > 0 })
			if lost := dropped(t, g, "span"); lost > faultCalls/2 {
				t.Errorf("%v spans were lost, want at most %d", lost, faultCalls/2)
			}
			checkNoPanic(t, g)
		})
	}
}

// besideEachOther routes /with to the provider, spans sent to the endpoint, and /without without them.
func besideEachOther(endpoint, provider string) gateway.Dynamic {
	dynamic := metered(map[string]any{"model": "gpt-4o"}, provider)
	telemetry := otlp(endpoint)
	telemetry["otlp"].(map[string]any)["timeout"] = "500ms"
	dynamic.Middlewares["sending"] = gateway.Plugin(map[string]any{"model": "gpt-4o", "telemetry": telemetry})
	dynamic.Routers["with"] = gateway.Router{Rule: "PathPrefix(`/with/`)", Middlewares: []string{"sending"}, Service: "provider"}
	dynamic.Routers["without"] = gateway.Router{Rule: "PathPrefix(`/without/`)", Middlewares: []string{"governed"}, Service: "provider"}
	return dynamic
}

// TestDeliveryResumesWhenTheCollectorIsBack stops a Collector in the midst of calls, and starts it again.
func TestDeliveryResumesWhenTheCollectorIsBack(t *testing.T) {
	collector := startCollector(t)
	g := start(t, gateway.Options{})
	configure(t, g, besideEachOther(collector.URL, upstream(t, counting(0)).URL))
	sent := 0.0
	calls := func() {
		callAll(t, g.URL, 300, "/with")
		sent += 300
	}

	calls()
	await(t, "spans in the Collector", func() bool { return len(chatSpans(t, collector)) > 0 })
	collector.Stop()
	calls()
	if err := collector.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	calls()
	awaitTotals(t, "spans and lost spans", totals{"": sent}, func() totals {
		return totals{"": float64(len(chatSpans(t, collector))) + dropped(t, g, "span")}
	})
	if delivered := len(chatSpans(t, collector)); delivered < 600 {
		t.Errorf("%d spans were delivered, want at least the 600 of the time with a Collector", delivered)
	}
	// Metrics count from the start: nothing of them is lost.
	awaitTotals(t, "calls", totals{"": sent}, func() totals {
		return received(t, collector, "gen_ai.client.operation.duration", pointCount)
	})
	checkNoPanic(t, g)
}
