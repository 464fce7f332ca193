package e2e_test

import (
	"cmp"
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

// faultCalls is the number of calls during each fault, by faultClients clients. With all faults,
// they exceed the export queue.
const faultCalls, faultClients = 1500, 16

// durations are durations of calls by route.
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

// callAll calls the alternating routes and returns the durations. Each call must get a 200; a
// failure ends the test, because later results would mean nothing.
func callAll(t *testing.T, base string, calls int, routes ...string) *durations {
	t.Helper()
	took := &durations{of: map[string][]time.Duration{}}
	inParallel(t, calls, faultClients, func(client *http.Client, number int) error {
		route := routes[number%len(routes)]
		began := time.Now()
		if err := completes(client, base+route+chatPath, number); err != nil {
			return fmt.Errorf("%s: %w", route, err)
		}
		took.add(route, time.Since(began))
		return nil
	})
	if t.Failed() {
		t.FailNow()
	}
	return took
}

// completes returns an error unless a chat completion gets a complete 200.
func completes(client *http.Client, address string, number int) error {
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

// silent accepts connections, and neither reads nor responds.
func silent(t *testing.T) string {
	t.Helper()
	return listening(t, func(net.Conn) { <-t.Context().Done() })
}

// checkNoSlower fails if calls of the route with a fault take much longer than those of the other
// route, in each of several tries: a busy machine may delay those of one.
func checkNoSlower(t *testing.T, with, without string, call func() *durations) {
	t.Helper()
	const tries = 3
	for try := 1; ; try++ {
		took := call()
		slow, usual := took.p99(with), took.p99(without)
		t.Logf("p99 %v with the fault, %v without", slow, usual)
		allowed := 3*usual + 50*time.Millisecond
		if slow <= allowed {
			return
		}
		if try == tries {
			t.Errorf("p99 = %v, want at most %v; without the fault it is %v", slow, allowed, usual)
			return
		}
	}
}

// TestCollectorFaultsDoNotAffectRequests compares a route that exports spans and metrics to a
// Collector over a faulty link with a route that exports no spans. At the end, the Collector must
// have all telemetry that can be recovered.
func TestCollectorFaultsDoNotAffectRequests(t *testing.T) {
	collector, provider := startCollector(t), upstream(t, counting(0))
	toCollector := newLink(t, collector.URL)
	telemetry := otlp("http://" + toCollector.address)
	telemetry["otlp"].(map[string]any)["timeout"] = "500ms"
	g := start(t, gateway.Options{})
	configure(t, g, besideEachOther(map[string]any{"model": openAIModel, "telemetry": telemetry}, provider.URL))
	sent, tokens := 0.0, totals{}
	calls := func(t *testing.T) *durations {
		t.Helper()
		for number := range faultCalls {
			tokens["input"] += float64(inputTokens(number))
			tokens["output"] += float64(outputTokens(number))
		}
		sent += faultCalls
		return callAll(t, g.URL, faultCalls, "/with", "/without")
	}

	for _, fault := range []linkFault{linkIsDown, linkIsSilent, linkIsReset, linkIsResetLater, linkIsSlow, linkReturns500} {
		t.Run(string(fault), func(t *testing.T) {
			toCollector.set(t, fault)
			checkNoSlower(t, "/with", "/without", func() *durations { return calls(t) })
		})
	}
	await(t, "lost spans are counted", func() bool { return dropped(t, g, "span") > 0 })
	toCollector.set(t, linkIsWell)
	calls(t)

	// Metrics are cumulative, so none are lost. A span is lost, delivered, or both: its batch is
	// sent again if the response to it does not arrive.
	awaitTotals(t, "calls", totals{"": sent}, func() totals {
		return received(t, collector, "gen_ai.client.operation.duration", pointCount)
	})
	awaitTotals(t, "tokens", tokens, func() totals {
		return received(t, collector, "gen_ai.client.token.usage", pointSum, "gen_ai.token.type")
	})
	await(t, "every span is delivered or lost", func() bool {
		delivered := map[string]bool{}
		for _, span := range chatSpans(t, collector) {
			delivered[span.SpanID] = true
		}
		if n := float64(len(delivered)); n > sent/2 {
			t.Fatalf("%v spans were delivered, want at most %v", n, sent/2)
		}
		return float64(len(delivered))+dropped(t, g, "span") >= sent/2
	})
	checkFewErrors(t, g, 2*6)
}

// besideEachOther routes /with through a middleware with the configuration, and /without through
// one without it.
func besideEachOther(configuration map[string]any, provider string) gateway.Dynamic {
	dynamic := metered(map[string]any{"model": openAIModel}, provider)
	dynamic.Middlewares["with"] = gateway.Plugin(configuration)
	dynamic.Routers["with"] = gateway.Router{Rule: "PathPrefix(`/with/`)", Middlewares: []string{"with"}, Service: "provider"}
	dynamic.Routers["without"] = gateway.Router{Rule: "PathPrefix(`/without/`)", Middlewares: []string{"governed"}, Service: "provider"}
	return dynamic
}

// checkFewErrors fails if Traefik logged a panic, or more errors than there are changes of state to
// report.
func checkFewErrors(t *testing.T, g *gateway.Gateway, most int) {
	t.Helper()
	checkNoPanic(t, g)
	logged, err := g.Errors()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d lines of errors", len(logged))
	if len(logged) > most {
		t.Errorf("Traefik logged %d errors, want at most %d: %q", len(logged), most, logged)
	}
}

// TestAPIServerFaultsDoNotAffectRequests compares a route whose key is in a Secret with a route
// without a key, during faults of the API server or the link to it. The last key stays in use until
// there is a new one.
func TestAPIServerFaultsDoNotAffectRequests(t *testing.T) {
	const refresh = time.Second
	api := newSecretAPI(t)
	toAPI := newLink(t, api.URL)
	provider := newFake(t, "provider", counting(0))
	g := start(t, gateway.Options{})
	configure(t, g, besideEachOther(map[string]any{
		"model": openAIModel, "token": "urn:k8s:secret:ai-keys:openai",
		"secrets": map[string]any{
			"endpoint": "https://" + toAPI.address, "tokenFile": api.tokenFile, "caFile": api.caFile, "namespace": "ai", "refresh": refresh.String(),
		},
	}, provider.URL))
	calls := 0
	some := func(t *testing.T) *durations {
		t.Helper()
		calls += faultCalls / 10
		return callAll(t, g.URL, faultCalls/10, "/with", "/without")
	}
	some(t) // the first calls wait for the first key

	tests := []struct {
		fault  linkFault
		status int
	}{
		{fault: linkIsDown}, {fault: linkIsSilent}, {fault: linkIsReset}, {fault: linkIsResetLater}, {fault: linkIsSlow},
		{status: 401}, {status: 403}, {status: 503},
	}
	for _, test := range tests {
		t.Run(cmp.Or(string(test.fault), strconv.Itoa(test.status)), func(t *testing.T) {
			toAPI.set(t, test.fault)
			api.set("sk-one", test.status)
			checkNoSlower(t, "/with", "/without", func() *durations {
				began, took := time.Now(), some(t)
				for time.Since(began) < refresh*3/2 { // includes at least one look-up
					for route, further := range some(t).of {
						took.of[route] = append(took.of[route], further...)
					}
				}
				return took
			})
		})
	}
	checkFewErrors(t, g, 2*len(tests))

	api.set("sk-two", 0)
	toAPI.set(t, linkIsWell)
	await(t, "the new key is used", func() bool {
		some(t)
		return slices.ContainsFunc(provider.saw(), func(r seenRequest) bool { return r.header.Get("Authorization") == "Bearer sk-two" })
	})
	for _, request := range provider.saw() {
		want := []string{"", "Bearer sk-one", "Bearer sk-two"}
		if strings.HasPrefix(request.target, "/with/") {
			want = want[1:]
		}
		if got := request.header.Get("Authorization"); !slices.Contains(want, got) {
			t.Fatalf("%s: the provider gets the key %q, want one of %q", request.target, got, want)
		}
	}
	awaitTotals(t, "calls", totals{"": float64(calls)}, func() totals { return exposed(t, g, callsSeries, "error_type") })
	checkNoPanic(t, g)
}
