package e2e_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// Names of series in Prometheus, however it gets them.
const (
	callsSeries     = "gen_ai_client_operation_duration_seconds_count"
	tokensSeries    = "gen_ai_client_token_usage_sum"
	usagesSeries    = "gen_ai_client_token_usage_count"
	firstSeries     = "gen_ai_client_operation_time_to_first_chunk_seconds_count"
	decisionsSeries = "chat_completion_policy_decisions_total"
	droppedSeries   = "chat_completion_telemetry_dropped_total"
)

const metricsPath = "/metrics"

// deadProvider is the error.type of a call whose provider cannot be reached.
const deadProvider = "connection_failed"

// exposing returns a dynamic configuration with a route that exposes the metrics of all others.
func exposing() gateway.Dynamic {
	return gateway.Dynamic{
		Routers: map[string]gateway.Router{
			"metrics": {Rule: "Path(`" + metricsPath + "`)", Middlewares: []string{"exposed"}, Service: "noop@internal"},
		},
		Middlewares: map[string]any{"exposed": gateway.Plugin(map[string]any{"expose": "prometheus"})},
		Services:    map[string]string{},
	}
}

// metered adds a metered route to the provider.
func metered(configuration map[string]any, provider string) gateway.Dynamic {
	dynamic := exposing()
	dynamic.Routers["chat"] = gateway.Router{Rule: "PathPrefix(`/v1`)", Middlewares: []string{"governed"}, Service: "provider"}
	dynamic.Middlewares["governed"] = gateway.Plugin(configuration)
	dynamic.Services["provider"] = provider
	return dynamic
}

// otlp returns the configuration of telemetry with the label team that is exported to the endpoint
// every second.
func otlp(endpoint string) map[string]any {
	return map[string]any{
		"otlp":   map[string]any{"endpoint": endpoint, "interval": "1s"},
		"labels": map[string]string{"team": "$(headers.x-team)"},
	}
}

// upstream serves the handler until the end of the test.
func upstream(t *testing.T, handler http.Handler) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// dead returns the URL of a stopped server.
func dead() string {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return server.URL
}

// configure replaces the gateway's dynamic configuration.
func configure(t *testing.T, g *gateway.Gateway, dynamic gateway.Dynamic) {
	t.Helper()
	if err := g.Load(t.Context(), dynamic); err != nil {
		t.Fatal(err)
	}
}

// closeAtEnd closes a backend at the end of the test.
func closeAtEnd(t *testing.T, c io.Closer) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
}

// startCollector runs a Collector until the end of the test.
func startCollector(t *testing.T, configurations ...string) *backends.Collector {
	t.Helper()
	c, err := backends.StartCollector(t.Context(), configurations...)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, c)
	return c
}

// startPrometheus runs a Prometheus until the end of the test.
func startPrometheus(t *testing.T, configuration string, flags ...string) *backends.Prometheus {
	t.Helper()
	p, err := backends.StartPrometheus(t.Context(), configuration, flags...)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, p)
	return p
}

// scraping returns a Prometheus configuration that scrapes the URL's /metrics often.
func scraping(base string) string {
	return `
global: {scrape_interval: 250ms}
scrape_configs: [{job_name: scrape, static_configs: [{targets: ["` + strings.TrimPrefix(base, "http://") + `"]}]}]
`
}

// totals are values by attribute, or by several attributes joined with slashes.
type totals map[string]float64

// awaitTotals waits until the totals are as wanted, and fails on timeout.
func awaitTotals(t *testing.T, what string, want totals, read func() totals) {
	t.Helper()
	ticker := time.NewTicker(50 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(conditionTimeout); ; {
		got := read()
		if maps.Equal(got, want) {
			return
		}
		select {
		case <-ticker.C:
		case <-deadline:
			same := func(name string, _ float64) bool { return got[name] == want[name] }
			differs, wanted := maps.Clone(got), maps.Clone(want)
			maps.DeleteFunc(differs, same)
			maps.DeleteFunc(wanted, same)
			t.Errorf("%s: got %v, want %v; %d others are correct", what, differs, wanted, len(want)-len(wanted))
			return
		}
	}
}

// exposition returns the samples that the middleware with expose serves.
func exposition(t *testing.T, g *gateway.Gateway) []backends.Sample {
	t.Helper()
	return scrape(t, g.URL+metricsPath)
}

// scrape reads an exposition. The label __name__ of a sample is the name of its series.
func scrape(t *testing.T, address string) []backends.Sample {
	t.Helper()
	response, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: status = %d, want 200", address, response.StatusCode)
	}
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	var samples []backends.Sample
	for _, family := range families {
		for _, metric := range family.Metric {
			samples = append(samples, flat(family.GetName(), metric)...)
		}
	}
	return samples
}

// flat returns the samples of a metric, without the buckets of a histogram.
func flat(name string, metric *dto.Metric) []backends.Sample {
	sample := func(suffix string, value float64) backends.Sample {
		labels := map[string]string{"__name__": name + suffix}
		for _, label := range metric.Label {
			labels[label.GetName()] = label.GetValue()
		}
		return backends.Sample{Labels: labels, Value: value}
	}
	if histogram := metric.Histogram; histogram != nil {
		return []backends.Sample{
			sample("_count", float64(histogram.GetSampleCount())), sample("_sum", histogram.GetSampleSum()),
		}
	}
	return []backends.Sample{sample("", metric.GetCounter().GetValue()+metric.GetGauge().GetValue()+metric.GetUntyped().GetValue())}
}

// exposed returns the totals of a series in the exposition.
func exposed(t *testing.T, g *gateway.Gateway, series string, by ...string) totals {
	t.Helper()
	sums := totals{}
	for _, sample := range exposition(t, g) {
		if sample.Labels["__name__"] == series {
			sums.add(sample.Value, values(by, func(name string) string { return sample.Labels[name] }))
		}
	}
	return sums
}

// stored returns the totals of a series in Prometheus.
func stored(t *testing.T, p *backends.Prometheus, series string, by ...string) totals {
	t.Helper()
	samples, err := p.Query(t.Context(), fmt.Sprintf("sum by (%s) (%s)", strings.Join(by, ", "), series))
	if err != nil {
		t.Fatal(err)
	}
	sums := totals{}
	for _, sample := range samples {
		sums.add(sample.Value, values(by, func(name string) string { return sample.Labels[name] }))
	}
	return sums
}

// received returns the totals of a metric in the Collector, by attributes. value selects the summed
// value of a point.
func received(t *testing.T, c *backends.Collector, metric string, value func(backends.Point) float64, by ...string) totals {
	t.Helper()
	sums := totals{}
	for _, point := range points(t, c) {
		if point.Metric == metric {
			sums.add(value(point), values(by, point.Attributes.Text))
		}
	}
	return sums
}

func pointCount(p backends.Point) float64 { return float64(p.Count) }

func pointSum(p backends.Point) float64 { return p.Sum }

func pointValue(p backends.Point) float64 { return p.Value }

func points(t *testing.T, c *backends.Collector) []backends.Point {
	t.Helper()
	all, err := c.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// chatSpans returns the plugin's spans in the Collector, without Traefik's.
func chatSpans(t *testing.T, c *backends.Collector) []backends.Span {
	t.Helper()
	all, err := c.Spans()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(s backends.Span) bool { return s.Attributes["gen_ai.operation.name"] == nil })
}

func (sums totals) add(value float64, by []string) {
	if value != 0 { // a counter may start at 0
		sums[strings.Join(by, "/")] += value
	}
}

func values(names []string, value func(string) string) []string {
	all := make([]string, 0, len(names))
	for _, name := range names {
		all = append(all, value(name))
	}
	return all
}

// dropped returns the number of records of a kind that were lost so far.
func dropped(t *testing.T, g *gateway.Gateway, record string) float64 {
	t.Helper()
	return exposed(t, g, droppedSeries, "chat_completion_record")[record]
}

// do sends a chat completion with the header and returns the response. The caller closes its body.
func do(ctx context.Context, client *http.Client, address, body string, header map[string]string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	for name, value := range header {
		request.Header.Set(name, value)
	}
	return client.Do(request)
}
