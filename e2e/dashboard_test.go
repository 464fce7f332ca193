package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const dashboardPath = "/dashboard"

// boardState is what the dashboard shows: a snapshot, or a snapshot after some updates.
type boardState struct {
	Version     int                `json:"version"`
	Now         int64              `json:"now"`
	Started     int64              `json:"started"`
	Instance    string             `json:"instance"`
	Scope       string             `json:"scope"`
	Bounds      map[string]bounds  `json:"bounds"`
	Series      []boardSeries      `json:"series"`
	History     boardHistory       `json:"history"`
	Decisions   []boardDecision    `json:"decisions"`
	Quotas      []boardQuota       `json:"quotas"`
	Unknown     []boardUnknownCost `json:"unknownCosts"`
	OpenStreams int64              `json:"openStreams"`
	Dropped     map[string]int64   `json:"dropped"`
	Calls       []boardCall        `json:"calls"`
	Step        *boardStep         `json:"step"` // of an update
}

type bounds []float64

type boardSeries struct {
	ID              int               `json:"id"`
	Operation       string            `json:"operation"`
	Provider        string            `json:"provider"`
	RequestModel    string            `json:"requestModel"`
	ResponseModel   string            `json:"responseModel"`
	ErrorType       string            `json:"errorType"`
	Consumer        string            `json:"consumer"`
	Labels          map[string]string `json:"labels"`
	Calls           int64             `json:"calls"`
	InputTokens     *int64            `json:"inputTokens"`
	OutputTokens    *int64            `json:"outputTokens"`
	Picodollars     string            `json:"picodollars"`
	Duration        []int64           `json:"duration"`
	DurationSeconds float64           `json:"durationSeconds"`
	FirstChunk      []int64           `json:"firstChunk"`
}

type boardHistory struct {
	Steps []boardStep `json:"steps"`
}

type boardStep struct {
	Start    int64               `json:"start"`
	LengthMs int64               `json:"lengthMs"`
	Rows     [][]json.RawMessage `json:"rows"`
}

type boardDecision struct {
	Decision string `json:"decision"`
	Mode     string `json:"mode"`
	Count    int64  `json:"count"`
}

type boardQuota struct {
	Name     string          `json:"name"`
	Unit     string          `json:"unit"`
	Subject  string          `json:"subject"`
	Used     json.RawMessage `json:"used"`
	Limit    json.RawMessage `json:"limit"`
	ResetsAt int64           `json:"resetsAt"`
	Refused  int64           `json:"refused"`
	Store    string          `json:"store"`
}

type boardUnknownCost struct {
	Reason string `json:"reason"`
	Model  string `json:"model"`
	Count  int64  `json:"count"`
}

type boardCall struct {
	ID        int64             `json:"id"`
	Start     int64             `json:"start"`
	Status    int               `json:"status"`
	ErrorType string            `json:"errorType"`
	Stream    bool              `json:"stream"`
	Labels    map[string]string `json:"labels"`
}

// onDashboard adds a route with the dashboard to that with the metrics.
func onDashboard(dynamic gateway.Dynamic) gateway.Dynamic {
	dynamic.Middlewares["dashboard"] = gateway.Plugin(map[string]any{"expose": "dashboard"})
	dynamic.Routers["dashboard"] = gateway.Router{Rule: "Path(`" + dashboardPath + "`)", Middlewares: []string{"dashboard"}, Service: "noop@internal"}
	return dynamic
}

// dashboardKeys is a configuration with all that a dashboard shows.
func dashboardKeys() map[string]any {
	return map[string]any{
		"model": "gpt-4o", "allowModelOverride": true,
		"limits":    map[string]any{"maxTokens": 50},
		"prices":    map[string]any{"models": map[string]any{"gpt-4o*": map[string]any{"input": 2.5, "output": 10}}},
		"telemetry": map[string]any{"labels": map[string]string{"team": "$(headers.x-team)"}},
		"quotas": []any{
			map[string]any{"name": "daily", "unit": "tokens", "limit": 1_000_000, "window": accountWindow, "per": "$(headers.x-team)"},
			map[string]any{"name": "few", "unit": "requests", "limit": 10, "window": accountWindow, "models": []string{"o3"}},
			map[string]any{"name": "money", "unit": "cost", "limit": 20, "window": accountWindow},
		},
	}
}

// mixedCalls makes calls of three teams: streams, documents, errors, and refused ones.
func mixedCalls(t *testing.T, g *gateway.Gateway, count int) {
	t.Helper()
	for i := range count {
		model := []string{"gpt-4o", "gpt-4o-mini", "o3", "unpriced"}[i%4]
		body := fmt.Sprintf(`{"model":%q,"stream":%t,"max_tokens":100,"messages":[{"role":"user","content":"Hi"}]}`, model, i%3 == 0)
		if i%11 == 0 {
			body = "{"
		}
		header := map[string]string{"X-Team": []string{"red", "green", "blue <b>"}[i%3], numberHeader: strconv.Itoa(i)}
		if i%7 == 0 {
			header[endingHeader] = "500"
		}
		response, err := do(t.Context(), http.DefaultClient, g.URL+chatPath, body, header)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
}

// readBoard reads the dashboard as JSON.
func readBoard(t *testing.T, g *gateway.Gateway) boardState {
	t.Helper()
	response := getForm(t.Context(), t, g.URL+dashboardPath, "application/json")
	defer func() { _ = response.Body.Close() }()
	var state boardState
	if err := json.NewDecoder(response.Body).Decode(&state); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v, want 200 and JSON", response.StatusCode, err)
	}
	return state
}

// getForm requests a form of the dashboard. The caller closes the body.
func getForm(ctx context.Context, t *testing.T, address, accept string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// figures are values by what they are of.
type figures map[string]string

// scrapedFigures reads the metrics as figures: each bucket, sum and counter.
func scrapedFigures(t *testing.T, g *gateway.Gateway) figures {
	t.Helper()
	response := getForm(t.Context(), t, g.URL+metricsPath, "text/plain")
	defer func() { _ = response.Body.Close() }()
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	found := figures{}
	for _, family := range families {
		for _, metric := range family.Metric {
			labels := map[string]string{}
			for _, label := range metric.Label {
				labels[label.GetName()] = label.GetValue()
			}
			addScraped(found, family.GetName(), labels, metric)
		}
	}
	return found
}

func seriesName(labels map[string]string) string {
	return fmt.Sprint([]string{
		labels["gen_ai_operation_name"], labels["gen_ai_provider_name"], labels["gen_ai_request_model"], labels["gen_ai_response_model"],
		labels["error_type"], labels["team"],
	})
}

func addScraped(found figures, name string, labels map[string]string, metric *dto.Metric) {
	value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue()
	switch name {
	case "gen_ai_client_operation_duration_seconds":
		found["duration "+seriesName(labels)] = fmt.Sprint(inBuckets(metric.Histogram), metric.Histogram.GetSampleSum(), metric.Histogram.GetSampleCount())
	case "gen_ai_client_operation_time_to_first_chunk_seconds":
		found["first chunk "+seriesName(labels)] = fmt.Sprint(inBuckets(metric.Histogram))
	case "gen_ai_client_token_usage":
		found[labels["gen_ai_token_type"]+" "+seriesName(labels)] = fmt.Sprint(int64(metric.Histogram.GetSampleSum()))
	case "chat_completion_cost_total":
		found["cost "+seriesName(labels)] = fmt.Sprint(int64(math.Round(value * 1e12)))
	case "chat_completion_policy_decisions_total":
		found["decision "+labels["chat_completion_decision"]+" "+labels["chat_completion_mode"]] = fmt.Sprint(value)
	case "chat_completion_cost_unknown_total":
		found["unknown cost "+labels["chat_completion_reason"]+" "+labels["gen_ai_request_model"]] = fmt.Sprint(value)
	case droppedSeries:
		found["dropped "+labels["chat_completion_record"]] = fmt.Sprint(value)
	case "chat_completion_active_streams":
		found["streams"] = fmt.Sprint(value)
	case "chat_completion_quota_used", "chat_completion_quota_limit", "chat_completion_quota_refused_total":
		if labels["chat_completion_quota_unit"] == "cost" && name != "chat_completion_quota_refused_total" {
			value = math.Round(value * 1e12)
		}
		found[name+" "+labels["chat_completion_quota_name"]+" "+labels["chat_completion_quota_subject"]] = fmt.Sprint(int64(value))
	}
}

// inBuckets returns the number of values in each bucket.
func inBuckets(h *dto.Histogram) []int64 {
	var counts []int64
	below := uint64(0)
	for _, bucket := range h.Bucket {
		counts = append(counts, int64(bucket.GetCumulativeCount()-below))
		below = bucket.GetCumulativeCount()
	}
	return counts
}

// shownFigures returns what a dashboard shows as figures.
func shownFigures(state boardState) figures {
	shown := figures{}
	for _, s := range state.Series {
		name := fmt.Sprint([]string{s.Operation, s.Provider, s.RequestModel, s.ResponseModel, s.ErrorType, s.Labels["team"]})
		shown["duration "+name] = fmt.Sprint(s.Duration, s.DurationSeconds, s.Calls)
		if s.FirstChunk != nil {
			shown["first chunk "+name] = fmt.Sprint(s.FirstChunk)
		}
		for kind, tokens := range map[string]*int64{"input": s.InputTokens, "output": s.OutputTokens} {
			if tokens != nil {
				shown[kind+" "+name] = fmt.Sprint(*tokens)
			}
		}
		if s.Picodollars != "" {
			shown["cost "+name] = s.Picodollars
		}
	}
	for _, d := range state.Decisions {
		shown["decision "+d.Decision+" "+d.Mode] = fmt.Sprint(float64(d.Count))
	}
	for _, u := range state.Unknown {
		shown["unknown cost "+u.Reason+" "+u.Model] = fmt.Sprint(float64(u.Count))
	}
	for kind, count := range state.Dropped {
		shown["dropped "+kind] = fmt.Sprint(float64(count))
	}
	shown["streams"] = fmt.Sprint(float64(state.OpenStreams))
	for _, q := range state.Quotas {
		if q.Used != nil {
			shown["chat_completion_quota_used "+q.Name+" "+q.Subject] = strings.Trim(string(q.Used), `"`)
			shown["chat_completion_quota_limit "+q.Name+" "+q.Subject] = strings.Trim(string(q.Limit), `"`)
		}
		shown["chat_completion_quota_refused_total "+q.Name+" "+q.Subject] = fmt.Sprint(q.Refused)
	}
	return shown
}

// checkFigures fails for figures that differ.
func checkFigures(t *testing.T, got, want figures) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: got %q, want %q", key, got[key], want[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, wanted := want[key]; !wanted {
			t.Errorf("%s: got %q, want nothing", key, got[key])
		}
	}
}

// TestDashboardEqualsMetrics compares the dashboard with the metrics, and the history and the calls with
// both.
func TestDashboardEqualsMetrics(t *testing.T) {
	provider := upstream(t, counting(0))
	g := start(t, gateway.Options{})
	configure(t, g, onDashboard(metered(dashboardKeys(), provider.URL)))
	const calls = 250
	mixedCalls(t, g, calls)
	awaitTotals(t, "calls", totals{"": calls}, func() totals { return exposed(t, g, callsSeries) })
	state := readBoard(t, g)
	checkFigures(t, shownFigures(state), scrapedFigures(t, g))
	if len(state.Calls) != 200 || state.Calls[0].ID != calls || state.Calls[199].ID != calls-199 {
		t.Errorf("%d calls, want the last 200, newest first", len(state.Calls))
	}
	checkHistory(t, state)
	checkNoErrors(t, g)
}

// checkHistory compares the sums of the history with the totals of the series.
func checkHistory(t *testing.T, state boardState) {
	t.Helper()
	got, want := map[int][]string{}, map[int][]string{}
	sums := map[int][]*big.Int{}
	latest := int64(0)
	for _, step := range state.History.Steps {
		if step.Start < latest || step.LengthMs <= 0 {
			t.Errorf("a step of %d ms begins at %d, want after %d", step.LengthMs, step.Start, latest)
		}
		latest = step.Start + step.LengthMs
		for _, row := range step.Rows {
			id, _ := strconv.Atoi(string(row[0]))
			for i, value := range row[1:] {
				if sums[id] == nil {
					sums[id] = []*big.Int{new(big.Int), new(big.Int), new(big.Int), new(big.Int)}
				}
				number, _ := new(big.Int).SetString(strings.Trim(string(value), `"`), 10)
				sums[id][i].Add(sums[id][i], number)
			}
		}
	}
	for id, all := range sums {
		got[id] = []string{all[0].String(), all[1].String(), all[2].String(), all[3].String()}
	}
	number := func(known *int64) string {
		if known == nil {
			return "0"
		}
		return strconv.FormatInt(*known, 10)
	}
	for _, s := range state.Series {
		cost := s.Picodollars
		if cost == "" {
			cost = "0"
		}
		want[s.ID] = []string{number(&s.Calls), number(s.InputTokens), number(s.OutputTokens), cost}
	}
	for id := range want {
		if !slices.Equal(got[id], want[id]) {
			t.Errorf("history of series %d: got %q, want %q", id, got[id], want[id])
		}
	}
}

// boardPage is an open page: what it shows after each event.
type boardPage struct {
	state  boardState
	events chan boardEvent
	times  []time.Time // of updates
	leave  context.CancelFunc
}

type boardEvent struct {
	name, data string
	at         time.Time
}

// openBoard opens a page, which has its snapshot.
func openBoard(t *testing.T, g *gateway.Gateway) *boardPage {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	t.Cleanup(leave)
	response := getForm(ctx, t, g.URL+dashboardPath, "text/event-stream")
	t.Cleanup(func() { _ = response.Body.Close() })
	if got := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Fatalf("status %d, Content-Type %q, want 200 and text/event-stream", response.StatusCode, got)
	}
	p := &boardPage{events: make(chan boardEvent, 1000), leave: leave}
	go func() {
		defer close(p.events)
		event := boardEvent{}
		lines := bufio.NewScanner(response.Body)
		lines.Buffer(nil, 64<<20)
		for lines.Scan() {
			line := lines.Text()
			switch {
			case line == "" && event.name != "":
				event.at = time.Now()
				p.events <- event
				event = boardEvent{}
			case strings.HasPrefix(line, "event: "):
				event.name = line[7:]
			case strings.HasPrefix(line, "data: "):
				event.data = line[6:]
			}
		}
	}()
	if name := p.next(t).name; name != "snapshot" {
		t.Fatalf("the first event is %q, want snapshot", name)
	}
	return p
}

// next applies the next event to the state of the page.
func (p *boardPage) next(t *testing.T) boardEvent {
	t.Helper()
	event := receive(t, "an event", p.events)
	var change boardState
	if err := json.Unmarshal([]byte(event.data), &change); err != nil {
		t.Fatalf("%v in event %q: %.200s", err, event.name, event.data)
	}
	if event.name == "snapshot" {
		p.state = change
		return event
	}
	p.state.Now, p.state.OpenStreams = change.Now, change.OpenStreams
	for _, s := range change.Series {
		if s.ID == len(p.state.Series) {
			p.state.Series = append(p.state.Series, s)
		} else {
			p.state.Series[s.ID] = s
		}
	}
	if change.Decisions != nil {
		p.state.Decisions = change.Decisions
	}
	if change.Quotas != nil {
		p.state.Quotas = change.Quotas
	}
	if change.Unknown != nil {
		p.state.Unknown = change.Unknown
	}
	if change.Dropped != nil {
		p.state.Dropped = change.Dropped
	}
	if len(change.Calls) > 0 && len(p.state.Calls) > 0 && change.Calls[len(change.Calls)-1].ID <= p.state.Calls[0].ID {
		t.Errorf("the update has call %d again", change.Calls[len(change.Calls)-1].ID)
	}
	p.state.Calls = append(change.Calls, p.state.Calls...)
	if step := change.Step; step != nil {
		steps := p.state.History.Steps
		if last := len(steps) - 1; last >= 0 && steps[last].Start == step.Start {
			steps = steps[:last]
		}
		steps = append(steps, *step)
		p.state.History.Steps = steps
	}
	return event
}

// settle applies events until the page shows as many calls, and returns the last of them.
func (p *boardPage) settle(t *testing.T, calls int64) boardEvent {
	t.Helper()
	event := boardEvent{}
	for {
		sum := int64(0)
		for _, s := range p.state.Series {
			sum += s.Calls
		}
		known := int64(0)
		for _, step := range p.state.History.Steps {
			for _, row := range step.Rows {
				count, _ := strconv.Atoi(string(row[1]))
				known += int64(count)
			}
		}
		if sum >= calls && known >= calls && p.state.OpenStreams == 0 {
			return event
		}
		event = p.next(t)
		p.times = append(p.times, event.at)
	}
}

// TestDashboardPagesAreLive opens pages before and during calls. Each shows what the metrics have, a call
// within a second, and events not more often than that needs.
func TestDashboardPagesAreLive(t *testing.T) {
	provider := upstream(t, counting(0))
	g := start(t, gateway.Options{})
	configure(t, g, onDashboard(metered(dashboardKeys(), provider.URL)))
	pages := []*boardPage{openBoard(t, g), openBoard(t, g)}
	mixedCalls(t, g, 100)
	pages = append(pages, openBoard(t, g))
	mixedCalls(t, g, 100)
	for _, p := range pages[:2] {
		p.settle(t, 200)
	}
	calls := int64(200)
	checkLive(t, 5, func(int) time.Duration {
		mixedCalls(t, g, 1)
		ended := time.Now()
		calls++
		return pages[0].settle(t, calls).at.Sub(ended)
	})
	for _, p := range pages[1:] {
		p.settle(t, calls)
	}
	mixedCalls(t, g, 300)
	for i, p := range pages {
		t.Run(fmt.Sprint("page ", i), func(t *testing.T) {
			p.settle(t, calls+300)
			checkFigures(t, shownFigures(p.state), scrapedFigures(t, g))
			checkHistory(t, p.state)
			// On a busy machine, two updates may be read at once.
			span, updates := p.times[len(p.times)-1].Sub(p.times[0]), time.Duration(len(p.times)-1)
			if most := span/(600*time.Millisecond) + 3; updates > most {
				t.Errorf("%d updates in %v, want at most %d: one in about 750 ms", updates, span, most)
			}
		})
	}
	checkNoErrors(t, g)
}

// checkLive measures how soon a page shows each of several calls: a fraction of liveWithin after most. A busy
// machine delays them at times, but a page that is late is late in each of several tries.
func checkLive(t *testing.T, calls int, shown func(call int) time.Duration) {
	t.Helper()
	const tries = 3
	for try := 1; ; try++ {
		var took []time.Duration
		for call := range calls {
			took = append(took, shown(call).Round(time.Millisecond))
		}
		t.Logf("calls are shown after %v", took)
		slices.Sort(took)
		typical, slowest := took[calls/2], took[calls-1]
		if typical <= liveWithin+liveSlack && slowest <= liveWithin+stallSlack {
			return
		}
		if try == tries {
			t.Errorf("a call is shown after %v, at most %v, want within %v", typical, slowest, liveWithin)
			return
		}
	}
}

// TestDashboardSurvivesReloads replaces the configuration while a page is open.
func TestDashboardSurvivesReloads(t *testing.T) {
	provider := upstream(t, counting(0))
	g := start(t, gateway.Options{})
	configuration := func(turn int) gateway.Dynamic {
		keys := dashboardKeys()
		keys["limits"] = map[string]any{"maxTokens": 50 + turn}
		dynamic := onDashboard(metered(keys, provider.URL))
		dynamic.Middlewares["dashboard"] = gateway.Plugin(map[string]any{"expose": "dashboard", "telemetry": map[string]any{"maxSeries": 1000 + turn}})
		return dynamic
	}
	configure(t, g, configuration(0))
	p := openBoard(t, g)
	for turn := range 3 {
		mixedCalls(t, g, 20)
		configure(t, g, configuration(turn+1))
	}
	without := configuration(4)
	delete(without.Routers, "dashboard")
	configure(t, g, without) // the page is what is left
	mixedCalls(t, g, 20)
	p.settle(t, 80)
	checkFigures(t, shownFigures(p.state), scrapedFigures(t, g))
	configure(t, g, configuration(5))
	state := readBoard(t, g)
	checkHistory(t, state)
	if len(state.Calls) != 80 {
		t.Errorf("%d calls after reloads, want 80", len(state.Calls))
	}
	checkNoErrors(t, g)
}

// TestDashboardPagesEnd opens as many pages as may be open, and one more. Nothing is left of those that
// are closed.
func TestDashboardPagesEnd(t *testing.T) {
	const most = 100
	g := start(t, gateway.Options{})
	configure(t, g, onDashboard(metered(dashboardKeys(), dead())))
	openBoard(t, g).leave()
	goroutines := func() int {
		http.DefaultClient.CloseIdleConnections()
		runtime, err := g.Runtime(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return runtime.Goroutines
	}
	var before int
	await(t, "a quiet Traefik", func() bool {
		latest := before
		before = goroutines()
		return before == latest
	})
	var pages []*boardPage
	for range most {
		pages = append(pages, openBoard(t, g))
	}
	response := getForm(t.Context(), t, g.URL+dashboardPath, "text/event-stream")
	body, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if got := response.Header.Get("Retry-After"); response.StatusCode != http.StatusServiceUnavailable || got == "" || !strings.Contains(string(body), "too_many_pages") {
		t.Errorf("one page more: status %d, Retry-After %q, body %s, want 503", response.StatusCode, got, body)
	}
	for _, p := range pages {
		p.leave()
	}
	await(t, fmt.Sprintf("not more than %d goroutines", before), func() bool { return goroutines() <= before+5 })
	openBoard(t, g)
}

// TestDashboardForms requests each form of the dashboard from Traefik.
func TestDashboardForms(t *testing.T) {
	g := start(t, gateway.Options{})
	configure(t, g, onDashboard(metered(dashboardKeys(), dead())))
	for accept, want := range map[string]string{
		"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": "text/html; charset=utf-8",
		"application/json": "application/json", "*/*": "text/html; charset=utf-8",
	} {
		response := getForm(t.Context(), t, g.URL+dashboardPath, accept)
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		header := response.Header
		if got := header.Get("Content-Type"); got != want || response.StatusCode != http.StatusOK || len(body) == 0 {
			t.Errorf("Accept %q: status %d, %q, %d bytes, want 200 and %q", accept, response.StatusCode, got, len(body), want)
		}
		got := []string{header.Get("Cache-Control"), header.Get("X-Content-Type-Options"), header.Get("Referrer-Policy"), header.Get("Vary")}
		if want := []string{"no-store", "nosniff", "no-referrer", "Accept"}; !slices.Equal(got, want) {
			t.Errorf("Accept %q: headers %q, want %q", accept, got, want)
		}
		if policy := header.Get("Content-Security-Policy"); strings.HasPrefix(want, "text/html") != strings.HasPrefix(policy, "default-src 'none'") {
			t.Errorf("Accept %q: Content-Security-Policy %q", accept, policy)
		}
	}
	response, err := do(t.Context(), http.DefaultClient, g.URL+dashboardPath, "{}", nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if got := response.Header.Get("Allow"); response.StatusCode != http.StatusMethodNotAllowed || got != "GET, HEAD" {
		t.Errorf("POST: status %d, Allow %q, want 405 and GET, HEAD", response.StatusCode, got)
	}
}

// TestDashboardCostsLittle compares the CPU time of Traefik with 50 pages that change each second to that
// without pages.
func TestDashboardCostsLittle(t *testing.T) {
	const pages, seconds = 50, 10
	provider := upstream(t, counting(0))
	g := start(t, gateway.Options{})
	configure(t, g, onDashboard(metered(dashboardKeys(), provider.URL)))
	mixedCalls(t, g, 300)
	used := func() time.Duration {
		before, err := g.CPU()
		if err != nil {
			t.Fatal(err)
		}
		for range seconds * 2 {
			next := time.After(500 * time.Millisecond)
			mixedCalls(t, g, 2)
			<-next
		}
		after, err := g.CPU()
		if err != nil {
			t.Fatal(err)
		}
		return after - before
	}
	checkShare(t, 0.02, func() float64 {
		without := used()
		var open []*boardPage
		for range pages {
			open = append(open, openBoard(t, g))
		}
		with := used()
		if events := len(open[0].events); events < seconds/2 {
			t.Errorf("%d events in %d seconds, want one a second", events, seconds)
		}
		for _, p := range open {
			p.leave()
		}
		t.Logf("%d pages: %v in %d s, and %v without", pages, with, seconds, without)
		return float64(with-without) / float64(seconds*time.Second)
	})
}

// TestDashboardShowsWhatOtherTraefiksUse makes calls through another Traefik with the same counters in Redis.
func TestDashboardShowsWhatOtherTraefiksUse(t *testing.T) {
	redis := startRedis(t)
	provider := upstream(t, counting(0))
	keys := dashboardKeys()
	keys["redis"] = map[string]any{"endpoints": []string{redis.Address}}
	gateways := []*gateway.Gateway{start(t, gateway.Options{}), start(t, gateway.Options{})}
	for _, g := range gateways {
		configure(t, g, onDashboard(metered(keys, provider.URL)))
		mixedCalls(t, g, 12)
	}
	quotas := func(state boardState) figures {
		shown := figures{}
		for _, q := range state.Quotas {
			shown[q.Name+" "+q.Subject+" in "+q.Store] = string(q.Used)
		}
		return shown
	}
	p := openBoard(t, gateways[0])
	mixedCalls(t, gateways[1], 24)
	want := quotas(readBoard(t, gateways[1]))
	if len(want) != 5 || want["daily red in redis"] == "" {
		t.Fatalf("the other Traefik shows %v, want five counters in Redis", want)
	}
	for !maps.Equal(quotas(p.state), want) {
		p.next(t)
	}
	checkFigures(t, quotas(readBoard(t, gateways[0])), want)
}
