package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	autoscaling "k8s.io/api/autoscaling/v2"
	"sigs.k8s.io/yaml"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// scalingGuide returns the text of docs/scaling.md.
func scalingGuide(t *testing.T) string {
	t.Helper()
	return readReplaced(t, filepath.Join(filepath.Dir(examples(t)), "docs", "scaling.md"))
}

// combinations are kinds of calls, each with its own team and the name of its row in
// docs/scaling.md.
var combinations = []struct {
	team, row          string
	path, body, ending string
}{
	{"json", "chat completions or responses, JSON", chatPath, plainBody, ""},
	{"stream", "the same, also streams", chatPath, plainStream, ""},
	{"embeddings", "embeddings", "/v1/embeddings", `{"model":"gpt-4o","input":"Hi"}`, ""},
	{"refused", "refused, or failed before its response began", chatPath, `{"model":"o9","messages":[{"role":"user","content":"Hi"}]}`, ""},
	{"failed", "refused, or failed before its response began", chatPath, plainBody, "503"},
	{"cut", "streams that broke off before their usage came", chatPath, plainStream, endingCut},
}

// TestScalingGuideMatchesPrometheus has a Prometheus scrape a Traefik as the Prometheus Operator
// would, and compares the series with docs/scaling.md and with the autoscaling examples.
func TestScalingGuideMatchesPrometheus(t *testing.T) {
	g := start(t, gateway.Options{})
	configure(t, g, metered(map[string]any{
		"allowedModels": []string{"gpt-4o"},
		"routes":        map[string]string{"/v1/embeddings": "embeddings", "/v1/chat/completions": "completions"},
		"telemetry":     map[string]any{"labels": map[string]string{"team": "$(headers.x-team)"}},
	}, upstream(t, counting(0)).URL))
	prometheus := startPrometheus(t, strings.Replace(scraping(g.URL), `"]`, `"], labels: {namespace: traefik, pod: traefik-0}`, 1))
	callAndStay(t, g)
	series := func(team string) float64 { return one(t, prometheus, fmt.Sprintf("count({team=%q})", team)) }
	await(t, "Prometheus has all calls", func() bool { return series("cut") > 0 })
	callAndStay(t, g) // a rate needs an earlier sample

	for _, c := range combinations {
		t.Run("series of "+c.team, func(t *testing.T) {
			row := regexp.MustCompile(`(?m)^\| ` + regexp.QuoteMeta(c.row) + ` \|.*\| (\d+) \| (\d+) \| (\d+) \|$`).FindStringSubmatch(scalingGuide(t))
			if row == nil {
				t.Fatalf("docs/scaling.md has no row %q", c.row)
			}
			for i, selected := range []string{
				`count({team=%q,__name__!~"gen_ai_client_inference_.+"})`, // legacy
				`count({team=%[1]q,__name__!~"gen_ai_client_(token_usage|operation)_.+"})` + // v0.1
					` + (count({team=%[1]q,__name__=~"gen_ai_client_operation_duration_.+",gen_ai_operation_name="embeddings"}) or vector(0))`,
				`count({team=%q})`, // both
			} {
				got := one(t, prometheus, fmt.Sprintf(selected, c.team))
				if want, _ := strconv.ParseFloat(row[i+1], 64); got != want {
					t.Errorf("%v series by %s, but docs/scaling.md says %v", got, selected, want)
				}
			}
		})
	}
	for i, block := range regexp.MustCompile("(?s)```promql\n(.*?)```").FindAllStringSubmatch(scalingGuide(t), -1) {
		for _, expression := range regexp.MustCompile(`(?m)^[^#\n].*$`).FindAllString(block[1], -1) {
			t.Run(fmt.Sprint("query ", i), func(t *testing.T) {
				await(t, "a result of "+expression, func() bool { return hasResult(t, prometheus, query{expression: expression}) })
			})
		}
	}
	t.Run("autoscaling", func(t *testing.T) { autoscalingHasItsMetrics(t, prometheus) })
}

// callAndStay makes a call of each kind, and keeps one more stream open.
func callAndStay(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	call := func(ctx context.Context, path, body, ending, team string) io.ReadCloser {
		response, err := do(ctx, http.DefaultClient, g.URL+path, body, map[string]string{endingHeader: ending, "X-Team": team})
		if err != nil {
			t.Fatal(err)
		}
		return response.Body
	}
	for _, c := range combinations {
		body := call(t.Context(), c.path, c.body, c.ending, c.team)
		_, _ = io.Copy(io.Discard, body) // one response is cut
		_ = body.Close()
	}
	ctx, leave := context.WithCancel(t.Context())
	stays := call(ctx, chatPath, plainStream, endingLeave, "stays")
	t.Cleanup(func() {
		leave()
		_ = stays.Close()
	})
	if _, err := readEvent(bufio.NewReader(stays)); err != nil {
		t.Fatal(err)
	}
}

// one returns the only number of a result, or 0 if the result is empty.
func one(t *testing.T, p *backends.Prometheus, expression string) float64 {
	t.Helper()
	samples, err := p.Query(t.Context(), expression)
	if err != nil || len(samples) > 1 {
		t.Fatalf("%s: %v, %v", expression, samples, err)
	}
	if len(samples) == 0 {
		return 0
	}
	return samples[0].Value
}

// autoscalingHasItsMetrics runs the adapter's query for each metric of the example's autoscaler.
func autoscalingHasItsMetrics(t *testing.T, p *backends.Prometheus) {
	folder := filepath.Join(examples(t), "kubernetes")
	manifest, _, _ := strings.Cut(readReplaced(t, filepath.Join(folder, "autoscaling.yaml")), "\n---\n")
	var autoscaler autoscaling.HorizontalPodAutoscaler
	if err := yaml.UnmarshalStrict([]byte(manifest), &autoscaler); err != nil {
		t.Fatal(err)
	}
	var values struct {
		Rules struct {
			Custom []struct {
				SeriesQuery, MetricsQuery string
				Name                      struct{ As string }
			}
		}
	}
	if err := yaml.Unmarshal([]byte(readReplaced(t, filepath.Join(folder, "prometheus-adapter-values.yaml"))), &values); err != nil {
		t.Fatal(err)
	}
	queries := map[string]string{}
	for _, rule := range values.Rules.Custom {
		series, _, _ := strings.Cut(rule.SeriesQuery, "{")
		name := rule.Name.As
		if name == "" {
			name = series
		}
		if !hasResult(t, p, query{expression: rule.SeriesQuery}) {
			t.Errorf("the adapter finds no series by %s", rule.SeriesQuery)
		}
		queries[name] = strings.NewReplacer("<<.Series>>", series, "<<.LabelMatchers>>", `namespace="traefik",pod=~"traefik-0|traefik-1"`,
			"<<.GroupBy>>", "pod").Replace(rule.MetricsQuery)
	}
	for _, metric := range autoscaler.Spec.Metrics {
		if metric.Pods == nil {
			continue
		}
		expression := queries[metric.Pods.Metric.Name]
		delete(queries, metric.Pods.Metric.Name)
		await(t, "a result of "+expression, func() bool { return hasResult(t, p, query{expression: expression, legend: "{{pod}}"}) })
	}
	if len(queries) > 0 {
		t.Errorf("the autoscaler does not use %v", queries)
	}
}
