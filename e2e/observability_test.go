package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/demo"
	"github.com/modelroute/chatcompletion/e2e/program"
)

// observability returns the path of a file of the example.
func observability(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(examples(t), "observability", name)
}

// readExample reads a file of the example and replaces texts in it, given as alternating old and
// new texts. Each old text must occur.
func readExample(t *testing.T, name string, replacements ...string) string {
	t.Helper()
	return readReplaced(t, observability(t, name), replacements...)
}

func freeAddress(t *testing.T) string {
	t.Helper()
	address, err := program.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

// promtool runs promtool and fails if it reports a problem.
func promtool(t *testing.T, input io.Reader, arguments ...string) {
	t.Helper()
	binary, err := backends.PromtoolBinary(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, arguments...)
	cmd.Stdin = input
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments[:2], " "), err, output)
	}
}

func TestPrometheusRules(t *testing.T) {
	promtool(t, nil, "check", "config", observability(t, "prometheus.yml"))
	promtool(t, nil, "check", "rules", observability(t, "rules.yml"))
	promtool(t, nil, "test", "rules", observability(t, "rules_test.yml"))
}

// query is a PromQL expression of the example.
type query struct {
	name, expression, legend string
}

// mayBeEmpty maps queries that may have no result in TestExampleQueriesHaveResults to the reason.
var mayBeEmpty = map[string]string{
	"alert ChatCompletionSeriesCapReached": "so few series do not reach the cap",
}

// dashboard has the fields of a Grafana dashboard that the tests check.
type dashboard struct {
	SchemaVersion int `json:"schemaVersion"`
	Templating    struct {
		List []struct {
			Name, Type string
		}
	}
	Panels []struct {
		ID         int
		Type       string
		Title      string
		Datasource *struct{ UID string }
		GridPos    struct{ X, Y, W, H int }
		Targets    []struct {
			Expr         string
			LegendFormat string
			RefID        string `json:"refId"`
		}
	}
}

func readDashboard(t *testing.T) dashboard {
	t.Helper()
	var d dashboard
	if err := json.Unmarshal([]byte(readExample(t, "dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// panelQueries returns the dashboard's queries as Grafana sends them for all models.
func panelQueries(t *testing.T) []query {
	t.Helper()
	variables := strings.NewReplacer("$__rate_interval", "1m", "$__range", "5m", "$model", ".*")
	var queries []query
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			expression := variables.Replace(target.Expr)
			if strings.Contains(expression, "$") {
				t.Errorf("panel %q has an unknown variable: %s", panel.Title, expression)
			}
			queries = append(queries, query{"panel " + panel.Title + " " + target.RefID, expression, target.LegendFormat})
		}
	}
	return queries
}

// ruleQueries returns the queries of the rules: recorded expressions, and for alerts the value that
// is compared with a threshold.
func ruleQueries(t *testing.T) []query {
	t.Helper()
	var rules struct {
		Groups []struct {
			Rules []struct{ Record, Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal([]byte(readExample(t, "rules.yml")), &rules); err != nil {
		t.Fatal(err)
	}
	threshold := regexp.MustCompile(`\s(>=?|==)\s[0-9.]+\s*$`)
	var queries []query
	for _, group := range rules.Groups {
		for _, rule := range group.Rules {
			switch {
			case rule.Record != "":
				queries = append(queries, query{name: "record " + rule.Record, expression: rule.Record})
			case !threshold.MatchString(rule.Expr):
				t.Errorf("alert %s has no threshold at its end", rule.Alert)
			default:
				queries = append(queries, query{name: "alert " + rule.Alert, expression: threshold.ReplaceAllString(rule.Expr, "")})
			}
		}
	}
	return queries
}

func TestDashboardIsValid(t *testing.T) {
	d := readDashboard(t)
	if d.SchemaVersion < 39 || len(d.Templating.List) == 0 || d.Templating.List[0].Type != "datasource" {
		t.Errorf("schema version %d, variables %v, want at least 39, and first the data source", d.SchemaVersion, d.Templating.List)
	}
	ids, taken := map[int]bool{}, map[[2]int]string{}
	for _, panel := range d.Panels {
		if ids[panel.ID] {
			t.Errorf("panel %q: duplicate id %d", panel.Title, panel.ID)
		}
		ids[panel.ID] = true
		if panel.Type != "row" && (panel.Datasource == nil || panel.Datasource.UID != "${datasource}" || len(panel.Targets) == 0) {
			t.Errorf("panel %q: data source %v and %d queries, want ${datasource} and at least one", panel.Title, panel.Datasource, len(panel.Targets))
		}
		grid := panel.GridPos
		if grid.X < 0 || grid.X+grid.W > 24 {
			t.Errorf("panel %q lies outside the 24 columns: %v", panel.Title, grid)
		}
		for x := grid.X; x < grid.X+grid.W; x++ {
			for y := grid.Y; y < grid.Y+grid.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("panels %q and %q overlap", panel.Title, other)
				}
				taken[[2]int{x, y}] = panel.Title
			}
		}
	}
}

// startExample runs Traefik with the example before the provider. base is the URL for requests,
// metrics the one of the metrics.
func startExample(t *testing.T, provider, collector string, environment ...string) (base, metrics string) {
	t.Helper()
	web, metricsAddress := freeAddress(t), freeAddress(t)
	launch(t, readExample(t, "traefik.yml", "127.0.0.1:8000", web, "127.0.0.1:8082", metricsAddress), readExample(t, "dynamic.yml", "interval: 15s", "interval: 1s"),
		append(environment, "UPSTREAM="+provider, "COLLECTOR_URL="+collector)...)
	base, metrics = "http://"+web, "http://"+metricsAddress
	await(t, "the example serves", func() bool {
		response, err := http.Get(metrics + metricsPath)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	return base, metrics
}

// demonstration returns the demo provider, with other endings for requests that select them.
func demonstration() http.Handler {
	handler, failures := demo.Handler(demo.Options{Interval: 5 * time.Millisecond}), counting(0)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get(endingHeader) != "" {
			failures.ServeHTTP(rw, r)
			return
		}
		handler.ServeHTTP(rw, r)
	})
}

// exampleCalls makes calls of all kinds and returns their number.
func exampleCalls(t *testing.T, base string) int {
	t.Helper()
	calls := []struct{ body, ending string }{
		{plainBody, ""},
		{`{"messages":[{"role":"user","content":"Hi"}]}`, ""},
		{plainStream, ""},
		{streamWithUsage, ""},
		{`{"messages":[}`, ""},
		{`{"model":"o9","messages":[{"role":"user","content":"Hi"}]}`, ""},
		{plainBody, "429"},
		{plainBody, "503"},
		{plainStream, endingCut},
		{plainStream, endingErrorData},
	}
	for i, call := range calls {
		response, err := do(t.Context(), http.DefaultClient, base+chatPath, call.body, map[string]string{
			endingHeader: call.ending, "X-Team": teams[i%len(teams)],
		})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body) // some responses are cut
		_ = response.Body.Close()
	}
	return len(calls)
}

// TestExampleQueriesHaveResults runs the example as its README describes, but without a Collector,
// so that some telemetry is lost: with both names of metrics, and with those that the environment
// selects.
func TestExampleQueriesHaveResults(t *testing.T) {
	for name, test := range map[string]struct{ environment, calls string }{
		"both": {"", callsSeries},
		"v0.1": {"OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental", "gen_ai_client_inference_duration_seconds_count"},
	} {
		t.Run(name, func(t *testing.T) { exampleQueriesHaveResults(t, test.environment, test.calls) })
	}
}

func exampleQueriesHaveResults(t *testing.T, environment, callsSeries string) {
	t.Helper()
	base, metrics := startExample(t, upstream(t, demonstration()).URL, dead(), environment)
	prometheus := startPrometheus(t, readExample(t, "prometheus.yml",
		"127.0.0.1:8082", strings.TrimPrefix(metrics, "http://"),
		"scrape_interval: 15s", "scrape_interval: 250ms",
		"evaluation_interval: 15s", "evaluation_interval: 1s",
		"- rules.yml", "- "+observability(t, "rules.yml")))
	calls := 0
	// A rate needs an earlier sample.
	for range 2 {
		calls += exampleCalls(t, base)
		await(t, fmt.Sprintf("Prometheus knows %d calls", calls), func() bool {
			return stored(t, prometheus, callsSeries)[""] == float64(calls)
		})
	}
	if legacy := stored(t, prometheus, tokensSeries); (len(legacy) == 0) != (environment != "") {
		t.Errorf("legacy series %v with the environment %q", legacy, environment)
	}
	for _, q := range append(panelQueries(t), ruleQueries(t)...) {
		t.Run(q.name, func(t *testing.T) {
			if reason, may := mayBeEmpty[q.name]; may {
				if _, err := prometheus.Query(t.Context(), q.expression); err != nil {
					t.Error(err)
				}
				t.Log("no result:", reason)
				return
			}
			await(t, "a result of "+q.expression, func() bool { return hasResult(t, prometheus, q) })
		})
	}
	checkExposition(t, metrics)
}

// hasResult returns an error unless the query returns a number and the labels of the legend.
func hasResult(t *testing.T, p *backends.Prometheus, q query) bool {
	t.Helper()
	samples, err := p.Query(t.Context(), q.expression)
	if err != nil {
		t.Fatal(err)
	}
	seen, numbers := map[string]bool{}, 0
	for _, sample := range samples {
		if !math.IsNaN(sample.Value) {
			numbers++
		}
		for name := range sample.Labels {
			seen[name] = true
		}
	}
	for _, label := range regexp.MustCompile(`\{\{(\w+)\}\}`).FindAllStringSubmatch(q.legend, -1) {
		if !seen[label[1]] {
			return false
		}
	}
	return numbers > 0
}

// checkExposition has promtool check names, units and help texts.
func checkExposition(t *testing.T, metrics string) {
	t.Helper()
	response, err := http.Get(metrics + metricsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if kind := response.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("Content-Type = %q, want text/plain", kind)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, bytes.NewReader(content), "check", "metrics")
}

// TestExampleCollectorKeepsMetricNames compares the metrics that the Collector exposes to
// Prometheus with those that Traefik exposes.
func TestExampleCollectorKeepsMetricNames(t *testing.T) {
	published := freeAddress(t)
	collector := startCollector(t, observability(t, "collector.yml"), "yaml:exporters::prometheus::endpoint: "+published)
	base, metrics := startExample(t, upstream(t, demonstration()).URL, collector.URL)
	exampleCalls(t, base)
	names := func(address string) []string {
		found := map[string]bool{}
		for _, sample := range scrape(t, address) {
			name := sample.Labels["__name__"]
			if strings.HasPrefix(name, "gen_ai_") || strings.HasPrefix(name, "chat_completion_") {
				found[name] = true
			}
		}
		return slices.Sorted(maps.Keys(found))
	}
	var got, want []string
	defer func() {
		if t.Failed() {
			t.Logf("the Collector exposes %v, want %v", got, want)
		}
	}()
	// The Collector may get an export in several requests, and expose those that it has.
	await(t, "the Collector exposes the metrics that Traefik exposes", func() bool {
		got, want = names("http://"+published+metricsPath), names(metrics+metricsPath)
		return len(want) > 0 && slices.Equal(got, want)
	})
}
