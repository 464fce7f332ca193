package e2e_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// expectedMetric is what is known of a metric.
type expectedMetric struct {
	unit              string
	bounds            []float64 // nil: a counter
	always, sometimes []string
}

// tokenCounter counts tokens, of all outcomes together.
var tokenCounter = expectedMetric{
	"{token}", nil, []string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.token.modality", "team"},
	[]string{"gen_ai.request.model", "gen_ai.response.model"},
}

// instruments are the plugin's metrics, according to the GenAI semantic conventions. All points
// have the attributes in always, and may have those in sometimes. The store's exist with Redis only.
var instruments = map[string]expectedMetric{
	"gen_ai.client.token.usage": {
		"{token}", []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "gen_ai.token.type", "team"}, []string{"error.type"},
	},
	"gen_ai.client.operation.duration": {
		"s", []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "team"},
		[]string{"gen_ai.request.model", "gen_ai.response.model", "error.type"},
	},
	"gen_ai.client.operation.time_to_first_chunk": {
		"s", []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 60},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "team"}, []string{"error.type"},
	},
	"gen_ai.client.operation.time_per_output_chunk": {
		"s", []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "team"}, []string{"error.type"},
	},
	"gen_ai.client.inference.duration": {
		"s", []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "team"},
		[]string{"gen_ai.request.model", "gen_ai.response.model", "error.type"},
	},
	"gen_ai.client.inference.time_to_first_chunk": {
		"s", []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 60},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "team"}, []string{"error.type"},
	},
	"gen_ai.client.inference.time_per_output_chunk": {
		"s", []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "team"}, []string{"error.type"},
	},
	"gen_ai.client.inference.operation.input_tokens": {
		"{token}", []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "team"}, []string{"error.type"},
	},
	"gen_ai.client.inference.operation.output_tokens": {
		"{token}", []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "team"}, []string{"error.type"},
	},
	"gen_ai.client.inference.usage.input_tokens":             tokenCounter,
	"gen_ai.client.inference.usage.output_tokens":            tokenCounter,
	"gen_ai.client.inference.usage.cache_read.input_tokens":  tokenCounter,
	"gen_ai.client.inference.usage.cache_write.input_tokens": tokenCounter,
	"gen_ai.client.inference.usage.reasoning.output_tokens":  tokenCounter,
	"chat_completion.gateway.duration": {
		"s", []float64{0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "team"},
		[]string{"gen_ai.request.model", "gen_ai.response.model", "error.type"},
	},
	"chat_completion.policy.decisions": {
		"{decision}", nil, []string{"chat_completion.decision", "chat_completion.mode"},
		[]string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "team"},
	},
	"chat_completion.active_streams":    {"{stream}", nil, nil, nil},
	"chat_completion.telemetry.dropped": {"{record}", nil, []string{"chat_completion.record"}, nil},
	"chat_completion.cost": {
		"{USD}", nil, []string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "team"}, nil,
	},
	"chat_completion.cost.unknown": {
		"{call}", nil, []string{"chat_completion.reason"}, []string{"gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "team"},
	},
	"chat_completion.quota.used":    {"1", nil, []string{"chat_completion.quota.name", "chat_completion.quota.unit", "chat_completion.middleware"}, nil},
	"chat_completion.quota.limit":   {"1", nil, []string{"chat_completion.quota.name", "chat_completion.quota.unit", "chat_completion.middleware"}, nil},
	"chat_completion.quota.refused": {"{request}", nil, []string{"chat_completion.quota.name", "chat_completion.quota.unit", "chat_completion.middleware", "chat_completion.mode"}, nil},
}

// gauges are the instruments whose values may fall.
var gauges = []string{"chat_completion.active_streams", "chat_completion.quota.used", "chat_completion.quota.limit"}

const (
	pause       = 100 * time.Millisecond // a busy machine delays an event by less
	traceID     = "0af7651916cd43dd8448eb211c80319c"
	parentID    = "00f067aa0ba902b7"
	traceparent = "00-" + traceID + "-" + parentID + "-01"
	fullBody    = `{"model":"gpt-4o","temperature":0.5,"max_tokens":64,"seed":7,"messages":[{"role":"user","content":"Hi"}]}`
)

// sentCall is a call of the tests below, numbered for the counting provider.
type sentCall struct {
	body, ending, traceparent string
	status                    int
}

var sentCalls = []sentCall{
	{body: fullBody, traceparent: traceparent, status: 200},
	{body: plainBody, status: 200},
	{body: plainStream, status: 200},
	{body: streamWithUsage, status: 200},
	{body: plainBody, ending: "500", status: 500},
	{body: `{"model":"o9","messages":[{"role":"user","content":"Hi"}]}`, status: 404},
}

// send makes the calls, and returns the start of the first and the end of the last.
func send(t *testing.T, base string) (began, ended time.Time) {
	t.Helper()
	began = time.Now()
	for i, call := range sentCalls {
		header := map[string]string{numberHeader: strconv.Itoa(100 + i), endingHeader: call.ending, "X-Team": "blue"}
		if call.traceparent != "" {
			header["Traceparent"] = call.traceparent
		}
		response, err := do(t.Context(), http.DefaultClient, base+chatPath, call.body, header)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode != call.status || err != nil {
			t.Fatalf("call %d: status %d, want %d: %v", i, response.StatusCode, call.status, err)
		}
		for name := range response.Header {
			if strings.HasPrefix(name, "X-Ai-") && strings.HasSuffix(name, "-Tokens") {
				t.Errorf("call %d: the client gets %s", i, name)
			}
		}
	}
	return began, time.Now()
}

func sentTokens() totals {
	sums := totals{}
	for i := range 4 { // the other calls have no usage
		sums["input"] += float64(inputTokens(100 + i))
		sums["output"] += float64(outputTokens(100 + i))
	}
	return sums
}

func TestCollectorReceivesGenAIMetrics(t *testing.T) {
	collector := startCollector(t)
	g := start(t, gateway.Options{Env: []string{
		"OTEL_SERVICE_NAME=ai-gateway", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test",
	}})
	configure(t, g, metered(map[string]any{
		"model": "gpt-4o", "allowModelOverride": true, "allowedModels": []string{"gpt-4o"}, "telemetry": otlp(collector.URL),
		"prices": map[string]any{"models": map[string]any{"gpt-4o": map[string]any{"input": "1000000", "output": "1000000"}}},
		"quotas": []any{map[string]any{"name": "all", "unit": "tokens", "limit": 1000000, "window": "8784h"}},
	}, upstream(t, counting(pause)).URL))
	began, ended := send(t, g.URL)

	awaitTotals(t, "tokens", sentTokens(), func() totals {
		return received(t, collector, "gen_ai.client.token.usage", pointSum, "gen_ai.token.type")
	})
	awaitTotals(t, "calls", totals{"": 4, "500": 1, "model_not_found": 1}, func() totals {
		return received(t, collector, "gen_ai.client.operation.duration", pointCount, "error.type")
	})
	counts := totals{}
	for _, point := range points(t, collector) {
		counts[point.Metric] += float64(point.Count) + point.Value
		checkPoint(t, point, began, ended)
	}
	for metric, want := range map[string]float64{
		"gen_ai.client.token.usage":                       8,
		"gen_ai.client.operation.duration":                6,
		"gen_ai.client.operation.time_to_first_chunk":     2,
		"gen_ai.client.inference.duration":                6,
		"gen_ai.client.inference.time_to_first_chunk":     2,
		"gen_ai.client.inference.operation.input_tokens":  4,
		"gen_ai.client.inference.operation.output_tokens": 4,
		"gen_ai.client.inference.usage.input_tokens":      sentTokens()["input"],
		"gen_ai.client.inference.usage.output_tokens":     sentTokens()["output"],
		"chat_completion.gateway.duration":                6,
		"chat_completion.policy.decisions":                1,
		"chat_completion.cost":                            sentTokens()["input"] + sentTokens()["output"], // a dollar a token
		"chat_completion.quota.used":                      sentTokens()["input"] + sentTokens()["output"],
		"chat_completion.quota.limit":                     1000000,
	} {
		if got := counts[metric]; got != want {
			t.Errorf("%s: %v values, want %v", metric, got, want)
		}
	}
	// The event with the usage and the end marker may or may not count as chunks.
	if got, low, high := counts["gen_ai.client.operation.time_per_output_chunk"], 2.0*contentEvents, 2.0*(contentEvents+2); got < low || got > high {
		t.Errorf("time_per_output_chunk: %v values, want %v to %v", got, low, high)
	}
	decisions := received(t, collector, "chat_completion.policy.decisions", pointValue, "chat_completion.decision", "chat_completion.mode")
	if want := (totals{"refused=model_not_found/enforce": 1}); !reflect.DeepEqual(decisions, want) {
		t.Errorf("decisions: got %v, want %v", decisions, want)
	}

	awaitTotals(t, "spans", totals{"": float64(len(sentCalls))}, func() totals {
		return totals{"": float64(len(chatSpans(t, collector)))}
	})
	checkSpans(t, chatSpans(t, collector), began, ended)
	checkNoErrors(t, g)
}

// TestCollectorReceivesVersion01 exports with the names of version 0.1.0 of the conventions alone.
// The details of usages are read, although nothing else needs them.
func TestCollectorReceivesVersion01(t *testing.T) {
	collector := startCollector(t)
	g := start(t, gateway.Options{Env: []string{
		"OTEL_SERVICE_NAME=ai-gateway", "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=test",
	}})
	telemetry := otlp(collector.URL)
	telemetry["semconv"] = "v0.1"
	telemetry["otlp"].(map[string]any)["traces"] = false
	configure(t, g, metered(map[string]any{
		"model": "gpt-4o", "allowModelOverride": true, "allowedModels": []string{"gpt-4o"}, "telemetry": telemetry,
	}, upstream(t, counting(pause)).URL))
	began, ended := send(t, g.URL)

	for direction, want := range sentTokens() {
		metric := "gen_ai.client.inference.usage." + direction + "_tokens"
		awaitTotals(t, metric, totals{"unknown": want}, func() totals {
			return received(t, collector, metric, pointValue, "gen_ai.token.modality")
		})
	}
	awaitTotals(t, "calls", totals{"": 4, "500": 1, "model_not_found": 1}, func() totals {
		return received(t, collector, "gen_ai.client.inference.duration", pointCount, "error.type")
	})
	seen := map[string]bool{}
	for _, point := range points(t, collector) {
		seen[point.Metric] = true
		checkPoint(t, point, began, ended)
	}
	for metric := range instruments {
		isLegacy := strings.HasPrefix(metric, "gen_ai.client.token.") || strings.HasPrefix(metric, "gen_ai.client.operation.")
		if strings.HasPrefix(metric, "gen_ai.") && seen[metric] == isLegacy {
			t.Errorf("%s was received: %t, want %t", metric, seen[metric], !isLegacy)
		}
	}
	checkNoErrors(t, g)
}

// checkPoint checks a point against its instrument.
func checkPoint(t *testing.T, p backends.Point, began, ended time.Time) {
	t.Helper()
	instrument, known := instruments[p.Metric]
	if !known {
		t.Errorf("unexpected metric %s", p.Metric)
		return
	}
	if p.Unit != instrument.unit || !reflect.DeepEqual(p.Bounds, instrument.bounds) || p.Description == "" {
		t.Errorf("%s: unit %q, bounds %v, description %q, want %q, %v and some text", p.Metric, p.Unit, p.Bounds, p.Description, instrument.unit, instrument.bounds)
	}
	isCounter := instrument.bounds == nil && !slices.Contains(gauges, p.Metric)
	if !p.Cumulative || p.Monotonic != isCounter || p.Histogram != (instrument.bounds != nil) {
		t.Errorf("%s: cumulative %t, histogram %t, monotonic %t, want a cumulative histogram, counter or gauge", p.Metric, p.Cumulative, p.Histogram, p.Monotonic)
	}
	if p.Start <= 0 || p.Start > p.Time {
		t.Errorf("%s: from %d to %d", p.Metric, p.Start, p.Time)
	}
	if p.Histogram {
		checkBuckets(t, p, ended.Sub(began))
	}
	for _, name := range instrument.always {
		if p.Attributes.Text(name) == "" {
			t.Errorf("%s %v: no %s", p.Metric, p.Attributes, name)
		}
	}
	for name, value := range p.Attributes {
		if !slices.Contains(instrument.always, name) && !slices.Contains(instrument.sometimes, name) {
			t.Errorf("%s %v: unexpected %s", p.Metric, p.Attributes, name)
		}
		wants := map[string]any{
			"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "team": "blue", "gen_ai.response.model": datedModel("gpt-4o"),
		}
		if want := wants[name]; want != nil && value != want {
			t.Errorf("%s: %s = %v, want %v", p.Metric, name, value, want)
		}
	}
	for name, want := range map[string]any{"service.name": "ai-gateway", "deployment.environment.name": "test"} {
		if got := p.Resource[name]; got != want {
			t.Errorf("resource: %s = %v, want %v", name, got, want)
		}
	}
}

// checkBuckets fails if the buckets contradict count and sum, or if the sum of times exceeds the
// total duration.
func checkBuckets(t *testing.T, p backends.Point, took time.Duration) {
	t.Helper()
	count, low, high := int64(0), 0.0, 0.0
	for i, n := range p.Counts {
		count += n
		upper, lower := math.Inf(1), 0.0
		if i < len(p.Bounds) {
			upper = p.Bounds[i]
		}
		if i > 0 {
			lower = p.Bounds[i-1]
		}
		if n > 0 {
			low += float64(n) * lower
			high += float64(n) * upper
		}
	}
	if len(p.Counts) != len(p.Bounds)+1 || count != p.Count || p.Count == 0 || p.Sum < low || p.Sum > high {
		t.Errorf("%s: buckets %v of %d values with the sum %v", p.Metric, p.Counts, p.Count, p.Sum)
	}
	if p.Unit == "s" && p.Sum > took.Seconds() {
		t.Errorf("%s: %v s, want at most the total duration %v", p.Metric, p.Sum, took)
	}
	if strings.HasSuffix(p.Metric, ".time_per_output_chunk") && p.Sum < 2*(contentEvents*pause).Seconds()*0.8 {
		t.Errorf("%s: %v s, want about %v, the provider's pauses", p.Metric, p.Sum, 2*contentEvents*pause)
	}
}

func checkSpans(t *testing.T, spans []backends.Span, began, ended time.Time) {
	t.Helper()
	ids, errors := map[string]bool{}, map[string]int{}
	for _, span := range spans {
		ids[span.SpanID] = true
		errors[fmt.Sprintf("%s %d", span.Attributes.Text("error.type"), span.Status)]++
		if span.Kind != backends.KindClient || !strings.HasPrefix(span.Name, "chat") {
			t.Errorf("span %q of kind %d, want chat of kind %d", span.Name, span.Kind, backends.KindClient)
		}
		if span.Start < began.UnixNano() || span.End > ended.UnixNano() || span.Start >= span.End {
			t.Errorf("span %q from %d to %d, want within %d to %d", span.Name, span.Start, span.End, began.UnixNano(), ended.UnixNano())
		}
		if got := span.Resource["service.name"]; got != "ai-gateway" {
			t.Errorf("span %q: service.name = %v, want ai-gateway", span.Name, got)
		}
	}
	if len(ids) != len(spans) {
		t.Errorf("%d spans have %d ids", len(spans), len(ids))
	}
	if want := map[string]int{" 0": 4, "500 2": 1, "model_not_found 2": 1}; !reflect.DeepEqual(errors, want) {
		t.Errorf("error.type and status: got %v, want %v", errors, want)
	}

	first := slices.IndexFunc(spans, func(s backends.Span) bool { return s.TraceID == traceID })
	if first < 0 {
		t.Fatalf("no span in the client's trace")
	}
	span := spans[first]
	if span.Name != "chat gpt-4o" || span.ParentID != parentID {
		t.Errorf("span %q, child of %q, want chat gpt-4o, child of %s", span.Name, span.ParentID, parentID)
	}
	want := backends.Attributes{
		"gen_ai.operation.name":                "chat",
		"gen_ai.provider.name":                 "openai",
		"gen_ai.request.model":                 "gpt-4o",
		"gen_ai.request.temperature":           0.5,
		"gen_ai.request.max_tokens":            int64(64),
		"gen_ai.request.seed":                  int64(7),
		"gen_ai.response.id":                   "chatcmpl-100",
		"gen_ai.response.model":                datedModel("gpt-4o"),
		"gen_ai.response.finish_reasons":       []any{"stop"},
		"gen_ai.usage.input_tokens":            int64(inputTokens(100)),
		"gen_ai.usage.output_tokens":           int64(outputTokens(100)),
		"gen_ai.usage.cache_read.input_tokens": int64(cachedTokens(100)),
		"gen_ai.usage.reasoning.output_tokens": int64(reasoningTokens(100)),
		"team":                                 "blue",
	}
	for name, value := range want {
		if !reflect.DeepEqual(span.Attributes[name], value) {
			t.Errorf("span: %s = %#v, want %#v", name, span.Attributes[name], value)
		}
	}
	for name := range span.Attributes {
		if strings.Contains(name, "messages") {
			t.Errorf("span has %s, want no content", name)
		}
	}
	for _, span := range spans {
		if span.TraceID != traceID && span.ParentID != "" {
			t.Errorf("span %q has the parent %s, want none", span.Name, span.ParentID)
		}
	}
}

// TestOTLPAndScrapedSeriesAreEqual has one Prometheus scrape the metrics and receive them over
// OTLP.
func TestOTLPAndScrapedSeriesAreEqual(t *testing.T) {
	g := start(t, gateway.Options{})
	prometheus := startPrometheus(t, scraping(g.URL), "--web.enable-otlp-receiver")
	telemetry := otlp(prometheus.URL + "/api/v1/otlp")
	telemetry["otlp"].(map[string]any)["traces"] = false
	configure(t, g, metered(map[string]any{
		"model": "gpt-4o", "allowModelOverride": true, "allowedModels": []string{"gpt-4o"}, "telemetry": telemetry,
	}, upstream(t, counting(pause)).URL))
	send(t, g.URL)

	series := func(job string) map[string]float64 {
		samples, err := prometheus.Query(t.Context(), `{__name__=~"(gen_ai|chat_completion)_.+",`+job+`}`)
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]float64{}
		for _, sample := range samples {
			var labels []string
			for name, value := range sample.Labels {
				if name == "le" {
					value = bound(t, value)
				}
				if name != "job" && name != "instance" {
					labels = append(labels, fmt.Sprintf("%s=%q", name, value))
				}
			}
			slices.Sort(labels)
			found[strings.Join(labels, ",")] = sample.Value
		}
		return found
	}
	await(t, "calls scraped and over OTLP", func() bool {
		return stored(t, prometheus, callsSeries)[""] == 2*float64(len(sentCalls))
	})
	scraped, pushed := map[string]float64{}, map[string]float64{}
	differences := []string{"nothing has been compared"}
	defer func() {
		for _, difference := range differences[:min(len(differences), 5)] {
			t.Log(difference)
		}
		t.Logf("%d series, %d differences", len(scraped), len(differences))
	}()
	// An export may arrive in several requests.
	await(t, "series that are scraped and sent are equal", func() bool {
		scraped, pushed = series(`job="scrape"`), series(`job!="scrape"`)
		differences = nil
		for name, value := range scraped {
			if other, has := pushed[name]; !has || other != value {
				differences = append(differences, fmt.Sprintf("%s is scraped as %v, and sent as %v (%t)", name, value, other, has))
			}
		}
		for name := range pushed {
			if _, has := scraped[name]; !has {
				differences = append(differences, name+" is only sent")
			}
		}
		return len(scraped) > 0 && len(differences) == 0
	})
	checkNoErrors(t, g)
}

// bound normalizes a bucket bound: Prometheus writes 1.0 for a scraped bound, and 1 for one from
// OTLP.
func bound(t *testing.T, le string) string {
	t.Helper()
	number, err := strconv.ParseFloat(le, 64)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(number)
}
