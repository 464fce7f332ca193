package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/browser"
	"github.com/modelroute/chatcompletion/e2e/demo"
	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/e2e/local"
	"github.com/modelroute/chatcompletion/e2e/traffic"
)

const (
	// trafficCalls is the number of calls whose figures the page must show.
	trafficCalls = 2000

	// hostileModel is the name of a model that would run a script if it were not text.
	hostileModel = `<img src=x onerror=alert(1)>`

	// liveWithin is how soon a page shows a call.
	liveWithin = time.Second

	// liveSlack is what a machine that runs Traefik and Chromium on few cores may add to it, and stallSlack
	// what it may add to one call of several.
	liveSlack  = 500 * time.Millisecond
	stallSlack = 5 * time.Second
)

// Views of the page.
var (
	desktop = browser.View{Width: 1280, Height: 900}
	phone   = browser.View{Width: 360, Height: 740}
)

// startChromium runs a Chromium until the end of the test.
func startChromium(t *testing.T) *browser.Browser {
	t.Helper()
	binary, err := backends.ChromiumBinary(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	b, err := browser.Start(t.Context(), binary)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// pageTimeout bounds what a test does in a browser; axe-core alone may take half a minute.
const pageTimeout = 2 * time.Minute

// within returns a context that bounds what a test does in a browser.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pageTimeout)
	t.Cleanup(cancel)
	return ctx
}

// open opens the address in a tab until the end of the test, and waits until the page shows figures.
func open(t *testing.T, b *browser.Browser, address string, view browser.View) *browser.Page {
	t.Helper()
	p, err := b.Open(within(t), address, view)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	awaitOnPage(t, p, "document.body.dataset.state === 'live' && document.body.dataset.now")
	return p
}

func awaitOnPage(t *testing.T, p *browser.Page, expression string) {
	t.Helper()
	if err := p.Await(within(t), expression); err != nil {
		t.Fatalf("%v; the console has %q", err, p.Problems())
	}
}

func evaluate[T any](t *testing.T, p *browser.Page, expression string) T {
	t.Helper()
	var value T
	if err := p.Evaluate(within(t), expression, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

// startCompany runs examples/local with a demo provider that also has the hostile model, and with limits
// that so many calls in so short a time do not reach.
func startCompany(t *testing.T, replacements ...string) *gateway.Gateway {
	t.Helper()
	provider := upstream(t, demo.Handler(demo.Options{Models: append([]string{hostileModel}, demo.Models...)}))
	folder, web := filepath.Join(examples(t), "local"), freeAddress(t)
	dynamic := readReplaced(t, filepath.Join(folder, "dynamic.yml"), append([]string{
		"allowedModels: [gpt-*-mini,", `allowedModels: ["<img*", gpt-*-mini,`,
		"              gpt-4o: {input", "              \"<img*\": {input: \"1\", output: \"2\"}\n              gpt-4o: {input",
		"limit: 150,", "limit: 1500,", "limit: 60,", "limit: 600,",
	}, replacements...)...)
	static := readReplaced(t, filepath.Join(folder, "traefik.yml"), "127.0.0.1:8000", web,
		"X-Ai-Error-Type: keep", "X-Ai-Error-Type: keep\n        X-Ai-Consumer: keep\n        X-Ai-Cost: keep")
	traefik := launch(t, static, dynamic,
		"UPSTREAM="+provider.URL, "DEMO_API_KEY=sk-provider")
	g := &gateway.Gateway{Process: traefik, URL: "http://" + web, AccessLogPath: filepath.Join(traefik.Dir, "access.log")}
	await(t, "the example serves", func() bool {
		response, err := http.Get(g.URL + metricsPath)
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	checkNoErrors(t, g)
	return g
}

// callHostile makes a call of the hostile model.
func callHostile(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"model": hostileModel, "messages": []any{map[string]any{"role": "user", "content": "Hi!"}}})
	if err != nil {
		t.Fatal(err)
	}
	got := fetch(t, g.URL+local.CompanyPath+chatPath, string(body), map[string]string{"Authorization": "Bearer " + traffic.Shop.Key})
	if got.status != http.StatusOK {
		t.Fatalf("status = %d, want 200: %s", got.status, got.body)
	}
}

// TestDashboardInChromium makes mixed calls, and holds the page to what the registry and the counters of
// the quotas have then.
func TestDashboardInChromium(t *testing.T) {
	for name, withRedis := range map[string]bool{"counters in memory": false, "counters in Redis": true} {
		t.Run(name, func(t *testing.T) { dashboardInChromium(t, withRedis) })
	}
}

func dashboardInChromium(t *testing.T, withRedis bool) {
	var replacements []string
	var redis *backends.Redis
	if withRedis {
		redis = startRedis(t)
		replacements = append(replacements,
			"consumers: &teams", "redis: &redis {endpoints: [\""+redis.Address+"\"]}\n          consumers: &teams",
			"consumers: *teams", "redis: *redis\n          consumers: *teams",
		)
	}
	g, b := startCompany(t, replacements...), startChromium(t)
	page := open(t, b, g.URL+local.DashboardPath+"#range=start&by=consumer", desktop)
	summary, err := traffic.Run(t.Context(), traffic.Options{Base: g.URL + local.CompanyPath, Calls: trafficCalls, Concurrency: 16, Seed: 1})
	if err != nil || summary.Calls() != trafficCalls {
		t.Fatalf("%d calls, want %d: %v", summary.Calls(), trafficCalls, err)
	}
	t.Logf("calls by team and status: %v, and at caches: %v", summary.Statuses, summary.Cached)
	callHostile(t, g)
	callCached(t, g, summary.Cached)

	checkPageFigures(t, g, page, "consumer")
	checkCachedConsumers(t, page, summary.Cached)
	if withRedis {
		checkCounters(t, page, redis)
		checkNothingElse(t, g, page)
		return
	}
	for _, by := range []string{"model", "provider", "operation"} {
		checkPageFigures(t, g, open(t, b, g.URL+local.DashboardPath+"#range=start&by="+by, desktop), by)
	}
	t.Run("last calls", func(t *testing.T) { checkLastCalls(t, g, page) })
	t.Run("hostile model", func(t *testing.T) { checkHostileModel(t, page) })
	t.Run("keyboard", func(t *testing.T) { checkKeyboard(t, b, g) })
	t.Run("narrow", func(t *testing.T) { checkNarrow(t, b, g) })
	t.Run("accessible", func(t *testing.T) { checkAccessible(t, b, g) })
	t.Run("live", func(t *testing.T) { checkPageIsLive(t, g, page) })
	t.Run("repeated step", func(t *testing.T) { checkRepeatedStep(t, page) })
	checkPageFigures(t, g, page, "consumer")
	checkNothingElse(t, g, page)
	checkNoErrors(t, g)
}

// pageScript defines figuresOfPage, which returns all that the page shows as exact values, by what it
// is, such as "figure calls value" or "row model gpt-4o cost".
const pageScript = `
window.figuresOfPage = () => {
  document.querySelectorAll('[data-more]:not([hidden])[aria-expanded=false]').forEach((button) => button.click());
  const found = {};
  const put = (name, value) => { if (value !== null && value !== undefined) { found[name] = value; } };
  for (const node of document.querySelectorAll('[data-figure]')) {
    put('figure ' + node.dataset.figure + ' value', node.dataset.value);
    put('figure ' + node.dataset.figure + ' total', node.dataset.total);
  }
  for (const chart of document.querySelectorAll('[data-chart]')) {
    put('chart ' + chart.dataset.chart + ' sum', chart.dataset.sum);
    for (const path of chart.querySelectorAll('path[data-name]')) {
      put('chart ' + chart.dataset.chart + ' ' + path.dataset.name + ' sum', path.dataset.sum);
    }
  }
  for (const table of document.querySelectorAll('[data-table]:not([hidden])')) {
    if (table.dataset.table === 'call' || table.closest('[hidden]')) { continue; }
    for (const row of table.querySelectorAll('tbody tr')) {
      const key = ['row', row.dataset.gap || table.dataset.table, row.dataset.name, table.dataset.table === 'decision' ? row.dataset.badge : undefined, row.dataset.unit, row.dataset.subject, row.dataset.model]
        .filter((part) => part !== undefined).join('|');
      for (const cell of row.querySelectorAll('[data-column]')) { put(key + '|' + cell.dataset.column, cell.dataset.value); }
      const bar = row.querySelector('[data-bar]');
      if (bar) { put(key + '|bar', bar.dataset.value); }
    }
  }
  return found;
};
`

// checkPageFigures compares every figure, bar and row of a page that shows all since the start with the
// exposition.
func checkPageFigures(t *testing.T, g *gateway.Gateway, page *browser.Page, by string) {
	t.Helper()
	if err := page.Run(within(t), pageScript); err != nil {
		t.Fatal(err)
	}
	var got, want map[string]string
	deadline := time.Now().Add(conditionTimeout)
	for {
		want = expectedFigures(families(t, g), by)
		got = evaluate[map[string]string](t, page, "figuresOfPage()")
		foldOthers(got, want)
		foldCacheRows(got)
		differs := differences(got, want)
		if len(differs) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Errorf("by %s, %d of %d figures of the page differ from the exposition:\n%s", by, len(differs), len(want), strings.Join(differs, "\n"))
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("by %s, %d figures, bars and cells of the page equal the exposition", by, len(want))
	checkBars(t, page)
}

// chartColors is the number of names that a chart shows apart. The others share a color.
const chartColors = 7

// foldOthers adds up what the page should show in charts of the names that share a color.
func foldOthers(got, want map[string]string) {
	for chart, names := range chartNames(want) {
		if len(names) <= chartColors {
			continue
		}
		shown, others := chartNames(got)[chart], int64(0)
		for _, name := range names {
			if key := "chart " + chart + " " + name + " sum"; !slices.Contains(shown, name) {
				value, _ := strconv.ParseInt(want[key], 10, 64)
				others += value
				delete(want, key)
			}
		}
		want["chart "+chart+" _OTHER sum"] = strconv.FormatInt(others, 10)
	}
}

// chartNames returns the names whose values each chart shows.
func chartNames(figures map[string]string) map[string][]string {
	names := map[string][]string{}
	for figure := range figures {
		text, isChart := strings.CutPrefix(strings.TrimSuffix(figure, " sum"), "chart ")
		if chart, name, isOfName := strings.Cut(text, " "); isChart && isOfName {
			names[chart] = append(names[chart], name)
		}
	}
	return names
}

// differences compares what the page shows with what it should. Quantiles are floating-point numbers.
func differences(got, want map[string]string) []string {
	var all []string
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		g, isShown := got[name]
		w, isWanted := want[name]
		if isShown == isWanted && (g == w || closeTo(g, w)) {
			continue
		}
		if strings.HasSuffix(name, "|resetsAt") || !isWanted && g == "0" && strings.Contains(name, "|quota|") {
			continue // the exposition has no time, and no quota that is unused
		}
		all = append(all, fmt.Sprintf("%s: the page has %q (%v), want %q (%v)", name, g, isShown, w, isWanted))
	}
	return all
}

func closeTo(a, b string) bool {
	x, err := strconv.ParseFloat(a, 64)
	y, otherErr := strconv.ParseFloat(b, 64)
	return err == nil && otherErr == nil && strings.ContainsAny(a+b, ".e") && math.Abs(x-y) <= 1e-9*math.Abs(y)
}

// families returns the exposition of the metrics.
func families(t *testing.T, g *gateway.Gateway) map[string]*dto.MetricFamily {
	t.Helper()
	response, err := http.Get(g.URL + metricsPath)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var parser expfmt.TextParser
	all, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Labels of the exposition, by the name that the page has for a dimension.
var dimensionLabels = map[string]string{
	"model": "gen_ai_request_model", "consumer": "consumer", "provider": "gen_ai_provider_name", "operation": "gen_ai_operation_name",
}

// tally sums up what the exposition has, as text.
type tally map[string]int64

func (s tally) add(name string, value float64) { s[name] += int64(math.Round(value)) }

// expectedFigures returns what a page should show that shows all since the start, by the names of
// figuresOfPage.
func expectedFigures(all map[string]*dto.MetricFamily, by string) map[string]string {
	sums, want := tally{}, map[string]string{}
	addCalls(sums, all, by)
	for _, family := range []struct{ name, row string }{
		{"chat_completion_policy_decisions_total", "row|decision|chat_completion_decision|chat_completion_mode|count"},
		{"chat_completion_cost_unknown_total", "row|unknownCost|chat_completion_reason|gen_ai_request_model|count"},
		{"chat_completion_telemetry_dropped_total", "row|dropped|chat_completion_record||count"},
	} {
		for _, metric := range all[family.name].GetMetric() {
			addRow(sums, metric, family.row, metric.GetCounter().GetValue())
		}
	}
	addQuotas(sums, all)
	for _, metric := range all["chat_completion_cache_total"].GetMetric() {
		column := cacheColumns[labelOf(metric, "chat_completion_cache_result")]
		sums.add("figure "+column+" value", metric.GetCounter().GetValue())
		sums.add("rows of cache "+column, metric.GetCounter().GetValue())
		if column == "hits" {
			sums.add("rows of cache bar", metric.GetCounter().GetValue())
		}
	}
	if hits, asked := sums["figure hits value"], sums["figure hits value"]+sums["figure misses value"]; asked > 0 {
		want["figure hitRate value"] = strconv.FormatFloat(float64(hits)/float64(asked), 'g', -1, 64)
	}
	for name, value := range sums {
		if value == 0 && strings.HasPrefix(name, "row|dropped|") {
			continue // no gap
		}
		want[name] = strconv.FormatInt(value, 10)
	}
	for _, metric := range all["chat_completion_active_streams"].GetMetric() {
		want["figure openStreams value"] = strconv.FormatFloat(metric.GetGauge().GetValue(), 'f', -1, 64)
	}
	addQuantiles(want, all, by)
	return want
}

// cacheColumns are the columns of a table of the page, by the results of caches.
var cacheColumns = map[string]string{"hit": "hits", "miss": "misses", "bypass": "bypasses"}

// foldCacheRows adds up the rows of the table of caches: the exposition has no models of caches, and no
// consumers.
func foldCacheRows(got map[string]string) {
	sums := tally{}
	for figure, value := range maps.Clone(got) {
		if row, isCache := strings.CutPrefix(figure, "row|cache|"); isCache {
			delete(got, figure)
			if column := row[strings.LastIndex(row, "|")+1:]; column != "hitRate" {
				count, _ := strconv.ParseFloat(value, 64)
				sums.add("rows of cache "+column, count)
			}
		}
	}
	for name, sum := range sums {
		got[name] = strconv.FormatInt(sum, 10)
	}
}

// callCached makes calls of two teams that a cache serves, and some that it does not take. It adds them
// to the counts.
func callCached(t *testing.T, g *gateway.Gateway, counts map[string]int) {
	t.Helper()
	const body = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"When are you open?"}]}`
	for _, call := range []struct {
		team    traffic.Team
		control string
		want    string
	}{
		{traffic.Shop, "", "miss"}, {traffic.Shop, "", "hit"}, {traffic.Shop, "", "hit"}, {traffic.Shop, "", "hit"},
		{traffic.Research, "", "miss"}, {traffic.Research, "", "hit"}, {traffic.Research, "", "hit"},
		{traffic.Shop, "no-store", "bypass"}, {traffic.Research, "no-store", "bypass"},
	} {
		got := fetch(t, g.URL+local.CompanyPath+chatPath, body, map[string]string{"Authorization": "Bearer " + call.team.Key, "Cache-Control": call.control})
		if result := got.header.Get("X-Ai-Cache"); got.status != http.StatusOK || result != call.want {
			t.Fatalf("%s: status %d, X-Ai-Cache %q, want 200 and %q", call.team.Name, got.status, result, call.want)
		}
		counts[call.team.Name+" "+call.want]++
	}
}

// checkCachedConsumers compares the hits and bypasses on a page by consumer with what clients saw.
func checkCachedConsumers(t *testing.T, page *browser.Page, counts map[string]int) {
	t.Helper()
	got := evaluate[map[string]string](t, page, `Object.fromEntries([...document.querySelectorAll('[data-table=cache] tbody tr')].map((row) =>
  [row.dataset.name, ['hits', 'bypasses'].map((name) => row.querySelector('[data-column=' + name + ']').dataset.value).join(' ')]))`)
	for _, team := range []traffic.Team{traffic.Shop, traffic.Support, traffic.Research} {
		want := fmt.Sprintf("%d %d", counts[team.Name+" hit"], counts[team.Name+" bypass"])
		if got[team.Name] != want {
			t.Errorf("%s: hits and bypasses %q, want %q; all: %v", team.Name, got[team.Name], want, got)
		}
	}
}

// labelOf returns the value of a label.
func labelOf(metric *dto.Metric, name string) string {
	for _, label := range metric.GetLabel() {
		if label.GetName() == name {
			return label.GetValue()
		}
	}
	return ""
}

// addRow adds the value of a row whose name has labels in its middle.
func addRow(sums tally, metric *dto.Metric, row string, value float64) {
	parts := strings.Split(row, "|")
	for i := 2; i < len(parts)-1; i++ {
		parts[i] = labelOf(metric, parts[i])
	}
	name := strings.Join(parts, "|")
	sums.add(name, value)
	if parts[1] == "decision" {
		sums.add(strings.Join(parts[:len(parts)-1], "|")+"|bar", value)
	}
}

// addCalls adds the figures of calls, tokens and costs, in all, and by each dimension.
func addCalls(sums tally, all map[string]*dto.MetricFamily, by string) {
	put := func(metric *dto.Metric, column string, value float64) {
		sums.add("figure "+column+" value", value)
		sums.add("figure "+column+" total", value)
		for dimension, label := range dimensionLabels {
			row := "row|" + dimension + "|" + labelOf(metric, label) + "|"
			sums.add(row+column, value)
			if column == "calls" {
				sums.add(row+"failed", 0)
				sums.add(row+"bar", value)
			}
		}
		if chart := map[string]string{"calls": "calls", "inputTokens": "tokens", "outputTokens": "tokens", "cost": "cost"}[column]; chart != "" {
			sums.add("chart "+chart+" sum", value)
			if value > 0 {
				sums.add("chart "+chart+" "+labelOf(metric, dimensionLabels[by])+" sum", value)
			}
		}
	}
	for _, metric := range all["gen_ai_client_operation_duration_seconds"].GetMetric() {
		calls := float64(metric.GetHistogram().GetSampleCount())
		put(metric, "calls", calls)
		if ended := labelOf(metric, "error_type"); ended != "" {
			put(metric, "failed", calls)
			sums.add("row|error|"+ended+"|count", calls)
			sums.add("row|error|"+ended+"|bar", calls)
		}
	}
	for _, metric := range all["gen_ai_client_token_usage"].GetMetric() {
		put(metric, labelOf(metric, "gen_ai_token_type")+"Tokens", metric.GetHistogram().GetSampleSum())
	}
	for _, metric := range all["chat_completion_cost_total"].GetMetric() {
		put(metric, "cost", metric.GetCounter().GetValue()*1e12)
	}
}

// addQuotas adds the rows of quotas. Money is in picodollars.
func addQuotas(sums tally, all map[string]*dto.MetricFamily) {
	const row = "row|quota|chat_completion_quota_name|chat_completion_quota_unit|chat_completion_quota_subject|"
	amounts := map[string]float64{}
	for column, name := range map[string]string{"used": "chat_completion_quota_used", "limit": "chat_completion_quota_limit"} {
		for _, metric := range all[name].GetMetric() {
			value := metric.GetGauge().GetValue()
			if labelOf(metric, "chat_completion_quota_unit") == "cost" {
				value *= 1e12
			}
			addRow(sums, metric, row+column, value)
			key := labelOf(metric, "chat_completion_quota_name") + labelOf(metric, "chat_completion_quota_subject")
			amounts[column+key] = value
			if used, limit := amounts["used"+key], amounts["limit"+key]; limit > 0 {
				sums[rowName(metric, row+"left")] = int64(math.Round(max(0, limit-used)))
			}
			if column == "used" {
				sums.add(rowName(metric, row+"bar"), value)
			}
		}
	}
	for _, metric := range all["chat_completion_quota_refused_total"].GetMetric() {
		column := "refused"
		if labelOf(metric, "chat_completion_mode") == "report" {
			column = "over"
		}
		addRow(sums, metric, row+column, metric.GetCounter().GetValue())
	}
}

func rowName(metric *dto.Metric, row string) string {
	parts := strings.Split(row, "|")
	for i := 2; i < len(parts)-1; i++ {
		parts[i] = labelOf(metric, parts[i])
	}
	return strings.Join(parts, "|")
}

// addQuantiles adds the quantiles of successful calls, in all and by the dimension.
func addQuantiles(want map[string]string, all map[string]*dto.MetricFamily, by string) {
	for figure, name := range map[string]string{
		"duration": "gen_ai_client_operation_duration_seconds", "firstChunk": "gen_ai_client_operation_time_to_first_chunk_seconds",
	} {
		buckets := map[string]map[float64]float64{"": {}}
		whole := buckets[""]
		byName := map[string]map[float64]float64{}
		for _, metric := range all[name].GetMetric() {
			if labelOf(metric, "error_type") != "" {
				continue
			}
			key := labelOf(metric, dimensionLabels[by])
			if byName[key] == nil {
				byName[key] = map[float64]float64{}
			}
			if figure == "duration" {
				row := "row|latency|" + key + "|calls"
				before, _ := strconv.ParseInt(want[row], 10, 64)
				want[row] = strconv.FormatInt(before+int64(metric.GetHistogram().GetSampleCount()), 10)
			}
			for _, bucket := range metric.GetHistogram().GetBucket() {
				whole[bucket.GetUpperBound()] += float64(bucket.GetCumulativeCount())
				byName[key][bucket.GetUpperBound()] += float64(bucket.GetCumulativeCount())
			}
		}
		for suffix, q := range map[string]float64{"P50": 0.5, "P95": 0.95} {
			if value, isKnown := quantileOf(whole, q); isKnown {
				want["figure "+figure+suffix+" value"] = value
			}
			for key, counts := range byName {
				if value, isKnown := quantileOf(counts, q); isKnown {
					want["row|latency|"+key+"|"+figure+suffix] = value
				}
			}
		}
	}
}

// quantileOf returns what Prometheus' histogram_quantile does, except beyond the last bound.
func quantileOf(cumulative map[float64]float64, q float64) (string, bool) {
	bounds := slices.Sorted(maps.Keys(cumulative))
	if len(bounds) == 0 || cumulative[bounds[len(bounds)-1]] == 0 {
		return "", false
	}
	rank := q * cumulative[bounds[len(bounds)-1]]
	low, before := 0.0, 0.0
	for _, bound := range bounds {
		if count := cumulative[bound]; count >= rank && count > before {
			if math.IsInf(bound, 1) {
				return "Infinity", true
			}
			return strconv.FormatFloat(low+(bound-low)*(rank-before)/(count-before), 'g', -1, 64), true
		}
		low, before = bound, cumulative[bound]
	}
	return "", false
}

// checkCounters compares the quotas of a page with their counters in Redis.
func checkCounters(t *testing.T, page *browser.Page, redis *backends.Redis) {
	t.Helper()
	var got, want map[string]string
	for deadline := time.Now().Add(conditionTimeout); ; time.Sleep(100 * time.Millisecond) {
		got, want = map[string]string{}, map[string]string{}
		for name, value := range evaluate[map[string]string](t, page, "figuresOfPage()") {
			parts := strings.Split(name, "|")
			if strings.HasPrefix(name, "row|quota|") && parts[len(parts)-1] == "used" && value != "0" {
				got[parts[2]+"/"+parts[4]] = value
			}
		}
		for name, counter := range accountsIn(t, redis) {
			want[name] = strconv.FormatInt(counter.used+counter.reserved, 10)
		}
		if maps.Equal(got, want) && len(want) > 0 {
			t.Logf("%d quotas of the page equal their counters in Redis", len(want))
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("the page shows the quotas %v, Redis has %v", got, want)
			return
		}
	}
}

// barScript returns what is wrong with bars: whether the values of a chart's bars add up to their sum,
// whether there is a bar for each value, and whether bars are as long as their values say.
const barScript = `(() => {
  const wrong = [];
  for (const chart of document.querySelectorAll('[data-chart]')) {
    const heights = [];
    for (const path of chart.querySelectorAll('path[data-name]')) {
      const values = path.dataset.values.split(' ').map(BigInt), name = chart.dataset.chart + ' ' + path.dataset.name;
      const sum = values.reduce((total, value) => total + value, 0n);
      if (String(sum) !== path.dataset.sum) { wrong.push(name + ': bars add up to ' + sum + ', not ' + path.dataset.sum); }
      const bars = [...path.getAttribute('d').matchAll(/M[\d.]+ ([\d.]+)V([\d.]+)H/g)].map((found) => found[1] - found[2]);
      const known = values.map((value, bin) => [value, bin]).filter(([value]) => value > 0n);
      if (bars.length !== known.length) { wrong.push(name + ': ' + bars.length + ' bars for ' + known.length + ' values'); }
      known.forEach(([value, bin], i) => heights.push({ name, bin, value: Number(value), height: bars[i] }));
    }
    for (const one of heights) {
      for (const other of heights.filter((candidate) => candidate.bin === one.bin)) {
        if (Math.abs(one.height * other.value - other.height * one.value) > 0.3 * Math.max(one.value, other.value)) {
          wrong.push(one.name + ' and ' + other.name + ': heights ' + one.height + ' and ' + other.height + ' for ' + one.value + ' and ' + other.value);
        }
      }
    }
  }
  for (const table of document.querySelectorAll('[data-table]:not([data-table=quota])')) {
    const bars = [...table.querySelectorAll('[data-bar][data-value]')].map((bar) => ({
      value: Number(bar.dataset.value), share: bar.querySelector('.fill').getBoundingClientRect().width / bar.getBoundingClientRect().width }));
    const most = Math.max(...bars.map((bar) => bar.value));
    for (const { value, share } of bars) {
      if (bars[0] && Math.abs(share - value / most) > 0.01) { wrong.push(table.dataset.table + ': a bar of ' + share + ' for ' + value + ' of ' + most); }
    }
  }
  for (const row of document.querySelectorAll('[data-table=quota] tbody tr')) {
    const bar = row.querySelector('[data-bar]'), share = bar.querySelector('.fill').getBoundingClientRect().width / bar.getBoundingClientRect().width;
    const used = Number(bar.dataset.value), limit = Number(row.querySelector('[data-column=limit]').dataset.value);
    if (Math.abs(share - Math.min(1, used / limit)) > 0.01) { wrong.push('quota ' + row.dataset.name + ': a bar of ' + share + ' for ' + used + ' of ' + limit); }
  }
  return { wrong, bars: document.querySelectorAll('[data-bar][data-value]').length, paths: document.querySelectorAll('[data-chart] path[data-name]').length };
})()`

func checkBars(t *testing.T, page *browser.Page) {
	t.Helper()
	got := evaluate[struct {
		Wrong       []string
		Bars, Paths int
	}](t, page, barScript)
	if len(got.Wrong) > 0 || got.Bars == 0 || got.Paths == 0 {
		t.Errorf("%d bars, %d groups of bars in charts: %s", got.Bars, got.Paths, strings.Join(got.Wrong, "\n"))
	}
}

// lastCalls is the number of calls that the page lists.
const lastCalls = 200

// callsScript returns the rows of the last calls, the newest first, as what the access log has of them.
const callsScript = `(() => {
  document.querySelectorAll('#calls [data-more]:not([hidden])[aria-expanded=false]').forEach((button) => button.click());
  return [...document.querySelectorAll('[data-table=call] tbody[data-call]')].map((body) => {
    const cell = (name) => body.querySelector('[data-column=' + name + ']');
    const text = (name) => cell(name).textContent === '–' ? '' : cell(name).textContent;
    const value = (name) => cell(name).textContent.startsWith('~') ? '' : cell(name).dataset.value ?? ''; // not an estimate
    return [text('consumer'), text('outcome'), value('inputTokens'), value('outputTokens'), value('cost')].join('|');
  });
})()`

// checkLastCalls makes as many calls as the page lists, and compares its rows with the access log.
func checkLastCalls(t *testing.T, g *gateway.Gateway, page *browser.Page) {
	before := evaluate[int64](t, page, "Number(document.querySelector('[data-figure=calls]').dataset.total)")
	_, err := traffic.Run(t.Context(), traffic.Options{Base: g.URL + local.CompanyPath, Calls: lastCalls + lastCalls/8, Concurrency: 1, Seed: 2})
	if err != nil {
		t.Fatal(err)
	}
	callHostile(t, g)
	var got, want []string
	holds := func() bool {
		got = evaluate[[]string](t, page, callsScript)
		want = loggedCalls(t, g, len(got))
		if len(got) != lastCalls || len(want) != lastCalls || got[0] != want[0] {
			return false
		}
		slices.Sort(got) // calls whose clients left are listed when they have ended
		slices.Sort(want)
		return slices.Equal(got, want)
	}
	for deadline := time.Now().Add(conditionTimeout); !holds(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(deadline) {
			for i := range min(len(got), len(want)) {
				if got[i] != want[i] {
					t.Errorf("row %d of the page is %q, the access log has %q", i, got[i], want[i])
				}
			}
			t.Fatalf("%d rows, the access log has %d of the calls, want %d; %d calls before", len(got), len(want), lastCalls, before)
		}
	}
}

// loggedCalls returns the metered calls that ended last as callsScript does, from the access log.
func loggedCalls(t *testing.T, g *gateway.Gateway, count int) []string {
	t.Helper()
	var calls []string
	for _, line := range slices.Backward(accessLog(t, g)) {
		path, _ := line["RequestPath"].(string)
		if !strings.HasPrefix(path, local.CompanyPath) || strings.HasSuffix(path, "/models") || len(calls) == count {
			continue
		}
		text := func(name string) string {
			value, _ := line["downstream_X-Ai-"+name].(string)
			return value
		}
		status, _ := line["DownstreamStatus"].(float64)
		outcome := strconv.Itoa(int(status))
		if ended := text("Error-Type"); ended != "" && ended != outcome {
			outcome += " " + ended
		}
		calls = append(calls, strings.Join([]string{text("Consumer"), outcome, text("Input-Tokens"), text("Output-Tokens"), exactAmount(t, text("Cost"))}, "|"))
	}
	return calls
}

// exactAmount returns an amount in USD as a whole number of picodollars.
func exactAmount(t *testing.T, dollars string) string {
	t.Helper()
	if dollars == "" {
		return ""
	}
	whole, fraction, _ := strings.Cut(dollars, ".")
	amount, err := strconv.ParseInt(whole+(fraction + strings.Repeat("0", 12))[:12], 10, 64)
	if err != nil || len(fraction) > 12 {
		t.Fatalf("the cost %q is no amount of picodollars: %v", dollars, err)
	}
	return strconv.FormatInt(amount, 10)
}

// checkHostileModel looks for the name of the model wherever names are, and for what it would have made.
func checkHostileModel(t *testing.T, page *browser.Page) {
	got := evaluate[map[string]any](t, page, `(() => {
  const name = `+strconv.Quote(hostileModel)+`, first = document.querySelector('[data-table=call] tbody[data-call]');
  first.querySelector('button').click();
  const has = (selector) => [...document.querySelectorAll(selector)].some((node) => node.textContent.trim() === name);
  const found = {
    row: has('[data-table=model] tr [class~=name]'), filter: has('select[name=model] option'), call: has('[data-table=call] [data-column=model] *'),
    record: [...first.querySelectorAll('dd')].some((node) => node.textContent === name),
    elements: document.querySelectorAll('img, iframe, object, embed, script[src], [onerror]').length,
  };
  first.querySelector('button').click();
  return found;
})()`)
	want := map[string]any{"row": true, "filter": true, "call": true, "record": true, "elements": 0.0}
	if !maps.Equal(got, want) {
		t.Errorf("the name of the model is in %v, want %v", got, want)
	}
	for _, problem := range page.Problems() {
		t.Errorf("the console has %q", problem)
	}
}

// checkKeyboard reaches a call with Tab, unfolds and folds it, and looks at the outline of whatever has
// the focus.
func checkKeyboard(t *testing.T, b *browser.Browser, g *gateway.Gateway) {
	page := open(t, b, g.URL+local.DashboardPath+"#range=start", desktop)
	const mostStops = 300
	var unseen []string
	for stop := 1; ; stop++ {
		if err := page.Press(within(t), kb.Tab); err != nil {
			t.Fatal(err)
		}
		at := evaluate[struct {
			IsCall, IsSeen bool
			HTML           string
		}](t, page, `(() => {
  const node = document.activeElement, shown = node.matches('.switch input') ? node.nextElementSibling : node, style = getComputedStyle(shown);
  return {
    isCall: Boolean(node.closest('[data-table=call] tbody')), html: node.outerHTML.slice(0, 120),
    isSeen: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== 'none',
  };
})()`)
		if !at.IsSeen {
			unseen = append(unseen, at.HTML)
		}
		if at.IsCall {
			t.Logf("a call is reached with %d tab stops", stop)
			break
		}
		if stop == mostStops {
			t.Fatalf("no call is reached with %d tab stops; the last is %s", stop, at.HTML)
		}
	}
	if len(unseen) > 0 {
		t.Errorf("the focus cannot be seen at %q", unseen)
	}
	const call = "document.activeElement.closest('tbody')"
	for _, key := range []string{kb.Enter, " "} {
		if err := page.Press(within(t), key); err != nil {
			t.Fatal(err)
		}
		awaitOnPage(t, page, "document.activeElement.ariaExpanded === 'true' && "+call+".querySelector('.record dl').getBoundingClientRect().height > 40")
		if err := page.Press(within(t), key); err != nil {
			t.Fatal(err)
		}
		awaitOnPage(t, page, "document.activeElement.ariaExpanded === 'false' && !"+call+".querySelector('.record')")
	}
}

// unfold shows all rows of the tables but the last calls, and the records of three calls.
const unfold = `(() => {
  document.querySelectorAll('.card:not(#calls) [data-more]:not([hidden])[aria-expanded=false]').forEach((button) => button.click());
  [...document.querySelectorAll('[data-table=call] tbody button[aria-expanded=false]')].slice(0, 3).forEach((button) => button.click());
})()`

// checkNarrow looks for anything that is wider than a phone.
func checkNarrow(t *testing.T, b *browser.Browser, g *gateway.Gateway) {
	page := open(t, b, g.URL+local.DashboardPath+"#range=start", phone)
	for _, script := range []string{"null", unfold} {
		evaluate[any](t, page, script)
		wide := evaluate[[]string](t, page, `new Promise((done) => setTimeout(() => done([
  ...(document.documentElement.scrollWidth > innerWidth ? ['the page: ' + document.documentElement.scrollWidth + ' of ' + innerWidth] : []),
  ...[...document.querySelectorAll('body *')].filter((node) => {
    const box = node.getBoundingClientRect();
    return box.width > 0 && box.right > innerWidth + 0.5 && !node.closest('.hidden, [hidden]') && getComputedStyle(node).position !== 'fixed';
  }).map((node) => node.outerHTML.slice(0, 100))]), 300))`)
		if len(wide) > 0 {
			t.Errorf("%d elements are beyond %d pixels: %q", len(wide), phone.Width, wide[:min(len(wide), 5)])
		}
	}
}

// checkAccessible runs axe-core on the page, light and dark, wide and narrow.
func checkAccessible(t *testing.T, b *browser.Browser, g *gateway.Gateway) {
	packages, err := backends.ClientPackages(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	axe, err := os.ReadFile(filepath.Join(packages, "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	for _, view := range []browser.View{desktop, phone} {
		for _, dark := range []bool{false, true} {
			view.Dark = dark
			t.Run(fmt.Sprintf("%d pixels, dark %v", view.Width, dark), func(t *testing.T) {
				page := open(t, b, g.URL+local.DashboardPath+"#range=start", view)
				evaluate[any](t, page, unfold)
				if err := page.Run(within(t), string(axe)); err != nil {
					t.Fatal(err)
				}
				type finding struct {
					ID, Impact, Help string
					Nodes            []struct{ HTML, FailureSummary string }
				}
				got := evaluate[struct {
					Violations, Incomplete []finding
					Passes                 int
				}](t, page, `axe.run(document, { resultTypes: ['violations', 'incomplete'] }).then(
  ({ violations, incomplete, passes }) => ({ violations, incomplete, passes: passes.length }))`)
				for _, found := range got.Violations {
					t.Errorf("%s (%s), %s: %d times, such as %.300s", found.ID, found.Impact, found.Help, len(found.Nodes), fmt.Sprint(found.Nodes[0]))
				}
				for _, found := range got.Incomplete {
					t.Logf("axe-core cannot decide %s: %d times, such as %.300s", found.ID, len(found.Nodes), fmt.Sprint(found.Nodes[0]))
				}
				if got.Passes == 0 {
					t.Error("no rule passed")
				}
			})
		}
	}
}

// checkPageIsLive makes calls, and measures how soon an open page shows each.
func checkPageIsLive(t *testing.T, g *gateway.Gateway, page *browser.Page) {
	total := "Number(document.querySelector('[data-figure=calls]').dataset.total)"
	known := evaluate[int64](t, page, total)
	checkLive(t, 8, func(call int) time.Duration {
		time.Sleep(time.Duration(call) * 170 * time.Millisecond) // each at another time of a second
		callHostile(t, g)
		ended := time.Now()
		known++
		awaitOnPage(t, page, fmt.Sprintf("%s === %d", total, known))
		return time.Since(ended)
	})
}

// checkRepeatedStep has the page get a step of the history again, after the step that follows it.
func checkRepeatedStep(t *testing.T, page *browser.Page) {
	t.Helper()
	calls := evaluate[[]int](t, page, `(() => {
  const calls = () => steps.flatMap(({ rows }) => rows).reduce((sum, [, [calls]]) => sum + calls, 0);
  const last = steps.findLast(({ rows }) => rows.length > 0);
  const before = calls();
  takeStep({ start: last.start + 10000, lengthMs: 10000, rows: [] });
  takeStep({ ...last, rows: last.rows.map(([id, values]) => [id, ...values]) });
  return [before, calls()];
})()`)
	if len(calls) != 2 || calls[0] == 0 || calls[0] != calls[1] {
		t.Errorf("the steps have %d calls before and after, want the same", calls)
	}
}

// scriptSource matches the only sources of scripts and styles that a policy may have.
var scriptSource = regexp.MustCompile(`^(script|style)-src( 'sha256-[A-Za-z0-9+/=]+')+$`)

// checkNothingElse fails if the page has requested anything elsewhere, if its console has an error, or if
// its policy would allow more than its own script and style.
func checkNothingElse(t *testing.T, g *gateway.Gateway, page *browser.Page) {
	t.Helper()
	requests := page.Requests()
	for _, address := range requests {
		if !strings.HasPrefix(address, g.URL+local.DashboardPath) && !strings.HasPrefix(address, "data:") {
			t.Errorf("the page requested %s", address)
		}
	}
	if len(requests) < 2 {
		t.Errorf("requests %q, want the page and its events", requests)
	}
	for _, problem := range page.Problems() {
		t.Errorf("the console has %q", problem)
	}
	policy := page.Header("Content-Security-Policy")
	for _, directive := range strings.Split(policy, ";") {
		directive = strings.TrimSpace(directive)
		if isSource := strings.HasPrefix(directive, "script-src") || strings.HasPrefix(directive, "style-src"); isSource && !scriptSource.MatchString(directive) {
			t.Errorf("the policy has %q, want hashes only", directive)
		}
	}
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-", "connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q lacks %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe-") {
		t.Errorf("the policy %q is unsafe", policy)
	}
	for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"} {
		if got := page.Header(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}
