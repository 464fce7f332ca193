package chatcompletion

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// quickPace is that of a dashboard in a test.
var quickPace = dashboardPace{poll: time.Millisecond, update: 4 * time.Millisecond, ping: time.Hour, refresh: time.Hour, linger: 20 * time.Millisecond}

// newTestDashboard returns a dashboard with one instance, until the end of the test.
func newTestDashboard(t *testing.T, r *registry, pace dashboardPace) *dashboard {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	d := newDashboard(r, pace)
	useDashboard(ctx, d)
	t.Cleanup(func() {
		cancel()
		eventually(t, "the goroutine of the dashboard ends", func() bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return !d.running || pace.linger > time.Second
		})
	})
	return d
}

// newTestBoard returns the board of a registry that keeps its calls, with a history that begins at noon.
func newTestBoard(r *registry) *board {
	setKeeping(r, true)
	return newBoard(r, noon.UnixMilli())
}

// boardRegistry is exposedRegistry with a call that has a cost, a consumer, and an unknown cost.
func boardRegistry(keeps bool) *registry {
	r := newRegistry()
	r.started = noon.Add(-time.Hour)
	r.keepsCalls = keeps
	recordCall(r, newTestCall(func(c *Call) {
		c.Start = noon
		c.Response.Usage = Usage{InputKnown: true, InputTokens: 20}
		c.FirstChunk = 500 * time.Millisecond
		c.Cost = Cost{Known: true, Picodollars: 9007199254740993, Source: costFromTable}
		c.Consumer, c.Group = "blue", "staff"
		c.Labels = []string{consumerLabel, "blue", groupLabel, "staff", "team", "<b>"}
		c.Request.Policy, c.Request.Stream = "model=set,max_tokens=limited", true
		c.Target.ServerAddress, c.Target.ServerPort = "api.example", "443"
		c.Trace = &Trace{TraceID: "4bf92f3577b34da6a3ce929d0e0e4736"}
	}))
	refused := newTestCall(func(c *Call) {
		c.Start = noon
		c.Request.Model, c.Response.Model, c.Status, c.ErrorType, c.Quota = "", "", 429, "insufficient_quota", "daily"
		c.Duration, c.GatewayDuration = 500*time.Microsecond, 500*time.Microsecond
		c.Request.Policy, c.Request.ReportOnly = "refused=insufficient_quota", true
	})
	recordCall(r, refused)
	countUnknownCost(r, refused, "no_price")
	countLost(r, lostSpan, 3)
	r.streams.Add(2)
	return r
}

// membersOf returns the members of a JSON object as text.
func membersOf(t *testing.T, document []byte) map[string]string {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(document, &members); err != nil {
		t.Fatalf("%v in %s", err, document)
	}
	texts := map[string]string{}
	for name, value := range members {
		texts[name] = string(value)
	}
	return texts
}

func TestSnapshotHasRegistry(t *testing.T) {
	b := newTestBoard(boardRegistry(true))
	readBoard(b, noon.UnixMilli()+1500)
	got := membersOf(t, snapshotJSON(b, noon.UnixMilli()+1500, b.callID))
	delete(got, "instance")
	ms := fmt.Sprint(noon.UnixMilli())
	want := map[string]string{
		"version": "1", "scope": `"traefik"`, "now": fmt.Sprint(noon.UnixMilli() + 1500), "started": fmt.Sprint(noon.Add(-time.Hour).UnixMilli()),
		"bounds": `{"duration":[0.01,0.02,0.04,0.08,0.16,0.32,0.64,1.28,2.56,5.12,10.24,20.48,40.96,81.92],` +
			`"firstChunk":[0.001,0.005,0.01,0.02,0.04,0.06,0.08,0.1,0.25,0.5,0.75,1,2.5,5,7.5,10,20,40,60]}`,
		"openStreams": "2",
		"series": `[{"id":0,"operation":"chat","provider":"openai","requestModel":"gpt-4o","responseModel":"gpt-4o-2024-11-20","serverAddress":"api.example","serverPort":"443",` +
			`"consumer":"blue","group":"staff","labels":{"consumer":"blue","group":"staff","team":"<b>"},"calls":1,"inputTokens":20,"picodollars":"9007199254740993",` +
			`"duration":[0,0,0,0,0,0,0,1,0,0,0,0,0,0,0],"durationSeconds":1,"firstChunk":[0,0,0,0,0,0,0,0,0,1,0,0,0,0,0,0,0,0,0,0]},` +
			`{"id":1,"operation":"chat","provider":"openai","errorType":"insufficient_quota","calls":1,"duration":[1,0,0,0,0,0,0,0,0,0,0,0,0,0,0],"durationSeconds":0.0005}]`,
		"history": `{"steps":[{"start":` + ms + `,"lengthMs":1500,"rows":[]}]}`, // the calls are older than it
		"decisions": `[{"decision":"max_tokens=limited","mode":"enforce","count":1},{"decision":"model=set","mode":"enforce","count":1},` +
			`{"decision":"refused=insufficient_quota","mode":"report","count":1}]`,
		"quotas": "[]", "unknownCosts": `[{"reason":"no_price","model":"_OTHER","count":1}]`, "dropped": `{"span":3}`, "lookUpFailures": "{}",
		"calls": `[{"id":2,"start":` + ms + `,"durationMs":0.5,"gatewayMs":0.5,"operation":"chat","provider":"openai","status":429,"errorType":"insufficient_quota","stream":false,` +
			`"policy":"refused=insufficient_quota","reportOnly":true,"quota":"daily"},` +
			`{"id":1,"start":` + ms + `,"durationMs":1000,"gatewayMs":1,"firstChunkMs":500,"operation":"chat","provider":"openai","serverAddress":"api.example","requestModel":"gpt-4o",` +
			`"responseModel":"gpt-4o-2024-11-20","status":200,"consumer":"blue","group":"staff","labels":{"consumer":"blue","group":"staff","team":"<b>"},"stream":true,` +
			`"policy":"model=set,max_tokens=limited","inputTokens":20,"picodollars":"9007199254740993","costSource":"local","traceId":"4bf92f3577b34da6a3ce929d0e0e4736"}]`,
	}
	want["unknownCosts"] = strings.Replace(want["unknownCosts"], `"model":"_OTHER",`, "", 1) // the call has no model
	for name, text := range want {
		if got[name] != text {
			t.Errorf("%s: got %s\nwant %s", name, got[name], text)
		}
	}
	for name, text := range got {
		if _, wanted := want[name]; !wanted {
			t.Errorf("%s: got %s, want no such member", name, text)
		}
	}
}

// TestSnapshotHasQuotas checks what a snapshot has of counters: in memory and in Redis, of money, without a
// window, and of a window that is over.
func TestSnapshotHasQuotas(t *testing.T) {
	m := newMemoryStore()
	reset := noon.Truncate(24 * time.Hour).Add(24 * time.Hour).UnixMilli()
	add := func(name, subject, unit string, w *window, limit, used int64, change func(g *counterGroup)) charge {
		g := &counterGroup{key: name + ":", name: name, unit: unit, scope: "ai@file", window: w, maxSeries: 10}
		if change != nil {
			change(g)
		}
		c := charge{key: name + ":" + subject, window: w, limit: limit, reserves: countInput, counts: countTokens, enforce: true, hold: time.Hour, quota: &quota{name: name}}
		c.group = useGroup(m, g)
		reserveTokens(m, []charge{c}, used, noon)
		return c
	}
	day := &window{lengthMs: dayMs}
	blue := add("daily", "blue", unitTokens, day, 100, 30, nil)
	add("money", "", unitCost, day, 9007199254740993, 9007199254740991, func(g *counterGroup) { g.redis = &redisStore{}; g.scope = "" })
	add("open", "", unitConcurrent, nil, 4, 1, nil)
	countRefused(m, &blue)
	reported := blue
	reported.enforce = false
	countRefused(m, &reported)
	const shown = `,"store":"memory"}`
	daily := `{"name":"daily","unit":"tokens","subject":"blue","middleware":"ai@file"`
	for _, test := range []struct {
		name string
		at   time.Time
		want []string
	}{
		{"in the window", noon, []string{
			daily + fmt.Sprintf(`,"used":30,"limit":100,"resetsAt":%d,"refused":1,"over":1`, reset) + shown,
			fmt.Sprintf(`{"name":"money","unit":"cost","used":"9007199254740991","limit":"9007199254740993","resetsAt":%d,"refused":0,"over":0,"store":"redis"}`, reset),
			`{"name":"open","unit":"concurrent","middleware":"ai@file","used":1,"limit":4,"refused":0,"over":0` + shown,
		}},
		{"after it", noon.Add(24 * time.Hour), []string{
			daily + `,"refused":1,"over":1` + shown,
			`{"name":"money","unit":"cost","refused":0,"over":0,"store":"redis"}`,
			`{"name":"open","unit":"concurrent","middleware":"ai@file","used":1,"limit":4,"refused":0,"over":0` + shown,
		}},
	} {
		got := quotasJSON(readQuotas(m, nil, test.at.UnixMilli()))
		for i, want := range test.want {
			if i >= len(got) || string(got[i]) != want {
				t.Errorf("%s, quota %d: got %s\nwant %s", test.name, i, got, want)
			}
		}
	}
	rows := readQuotas(m, nil, noon.UnixMilli())
	first := string(arrayJSON(quotasJSON(rows)))
	settleTokens(m, []charge{blue}[:0], 0)
	if again := string(arrayJSON(quotasJSON(readQuotas(m, rows, noon.UnixMilli())))); again != first {
		t.Errorf("unchanged quotas: got %s, want %s", again, first)
	}
	reserveTokens(m, []charge{blue}, 5, noon)
	if again := string(arrayJSON(quotasJSON(readQuotas(m, rows, noon.UnixMilli())))); !strings.Contains(again, `"used":35`) {
		t.Errorf("changed quotas: got %s, want 35 used", again)
	}
}

func TestUpdateHasWhatChanged(t *testing.T) {
	r := boardRegistry(true)
	b := newTestBoard(r)
	at := noon.UnixMilli()
	update := func() map[string]string {
		at += 1000
		readBoard(b, at)
		document := takeUpdate(b, at)
		if document == nil {
			return nil
		}
		return membersOf(t, document)
	}
	names := func(members map[string]string) []string { return sortedKeys(members) }
	if got := names(update()); !reflect.DeepEqual(got, []string{"calls", "decisions", "dropped", "lookUpFailures", "now", "openStreams", "quotas", "series", "unknownCosts"}) {
		t.Errorf("the first update has %q, want everything", got)
	}
	if got := update(); got != nil {
		t.Errorf("without a change: got %q, want no update", got)
	}
	recordCall(r, newTestCall(func(c *Call) { c.Response.Model = "other" }))
	got := update()
	if want := []string{"calls", "now", "openStreams", "series", "step"}; !reflect.DeepEqual(names(got), want) {
		t.Errorf("after a call: got %q, want %q", names(got), want)
	}
	if !strings.HasPrefix(got["series"], `[{"id":2,`) || strings.Count(got["series"], `"id"`) != 1 {
		t.Errorf("after a call: series %s, want the new one", got["series"])
	}
	if !strings.HasPrefix(got["calls"], `[{"id":3,`) || strings.Count(got["calls"], `"id"`) != 1 {
		t.Errorf("after a call: calls %s, want the new one", got["calls"])
	}
	if want := fmt.Sprintf(`{"start":%d,"lengthMs":3000,"rows":[[2,1,0,0,"0"]]}`, noon.UnixMilli()); got["step"] != want {
		t.Errorf("after a call: step %s, want %s", got["step"], want)
	}
	for name, change := range map[string]func(){
		"dropped":      func() { countLost(r, lostSpan, 1) },
		"unknownCosts": func() { countUnknownCost(r, newTestCall(nil), "no_usage") },
		"openStreams":  func() { r.streams.Add(1) },
	} {
		change()
		want := []string{"now", "openStreams"}
		if name != "openStreams" {
			want = sortedKeys(map[string]string{"now": "", "openStreams": "", name: ""})
		}
		if got := names(update()); !reflect.DeepEqual(got, want) {
			t.Errorf("after a change of %s: got %q, want %q", name, got, want)
		}
	}
	at = noon.UnixMilli() + 10_000 // the step is over
	endSteps(b, at)
	if got, want := update()["step"], fmt.Sprintf(`{"start":%d,"lengthMs":10000,"rows":[[2,1,0,0,"0"]]}`, noon.UnixMilli()); got != want {
		t.Errorf("at the end of a step: got %s, want %s", got, want)
	}
	endSteps(b, noon.UnixMilli()+20_000)
	if got := update(); got != nil {
		t.Errorf("after a step without calls: got %q, want no update", got)
	}
}

// TestSeriesHaveResultsOfCaches makes calls with and without a cache, and reads how much each series has grown.
func TestSeriesHaveResultsOfCaches(t *testing.T) {
	r := boardRegistry(true)
	b := newTestBoard(r)
	at := noon.UnixMilli()
	for _, step := range []struct{ results, wantSeries, wantRow string }{
		{"", "", `[2,1,0,0,"0"]`},
		{cacheMiss, `"cache":{"hits":0,"misses":1,"bypasses":0}`, `[2,2,0,0,"0",0,1,0]`},
		{cacheHit + " " + cacheHit + " " + cacheBypass, `"cache":{"hits":2,"misses":1,"bypasses":1}`, `[2,5,0,0,"0",2,1,1]`},
	} {
		for _, result := range strings.Split(step.results, " ") {
			recordCall(r, newTestCall(func(c *Call) {
				c.Response.Model = "other"
				c.Cache = result
			}))
		}
		at += 1000
		readBoard(b, at)
		got := membersOf(t, takeUpdate(b, at))
		if !strings.Contains(got["series"], step.wantSeries) || (step.wantSeries == "") != !strings.Contains(got["series"], "cache") {
			t.Errorf("after %q: series %s, want %s", step.results, got["series"], step.wantSeries)
		}
		if !strings.Contains(got["step"], `"rows":[`+step.wantRow+`]`) {
			t.Errorf("after %q: step %s, want the row %s", step.results, got["step"], step.wantRow)
		}
		if calls := got["calls"]; step.results != "" && !strings.Contains(calls, `"cache":"`+cacheMiss+`"`) && !strings.Contains(calls, `"cache":"`+cacheHit+`"`) {
			t.Errorf("after %q: calls %s", step.results, calls)
		}
	}
}

// TestHistoryHasEveryCallOnce makes calls for 26 hours, with a pause, and sums up the history now and then.
func TestHistoryHasEveryCallOnce(t *testing.T) {
	r := newRegistry()
	b := newTestBoard(r)
	made := map[int64]int64{} // by ten seconds
	for second := int64(0); second < 26*3600; second += 10 {
		at := noon.UnixMilli() + second*1000
		if second%7200 < 3600 {
			for range make([]int, 1+second%3) {
				recordCall(r, newTestCall(func(c *Call) { c.Response.Usage = Usage{InputKnown: true, InputTokens: 2} }))
				made[second]++
			}
		}
		endSteps(b, at+10_003) // timers are late
		if second%3000 != 0 {
			continue
		}
		var history struct {
			Steps []struct {
				Start, LengthMs int64
				Rows            [][]any
			}
		}
		document := append(append([]byte(`{"steps":`), arrayJSON(historyJSON(b.levels, at+10_003))...), '}')
		if err := json.Unmarshal(document, &history); err != nil {
			t.Fatal(err)
		}
		end := history.Steps[0].Start
		for _, step := range history.Steps {
			if step.Start != end {
				t.Fatalf("after %d s: a step begins at %d, want %d", second, step.Start, end)
			}
			end = step.Start + step.LengthMs
			got, want := int64(0), int64(0)
			for _, row := range step.Rows {
				got += int64(row[1].(float64))
			}
			for from := (step.Start - noon.UnixMilli()) / 1000; from < (end-noon.UnixMilli())/1000; from += 10 {
				want += made[from]
			}
			if got != want {
				t.Fatalf("after %d s: %d calls in the step from %d, want %d", second, got, step.Start, want)
			}
		}
		oldest := at + 10_003 - longSpanMs
		if oldest < noon.UnixMilli() {
			oldest = noon.UnixMilli()
		}
		if first := history.Steps[0].Start; end != at+10_003 || first > oldest+longStepMs || first < oldest-longStepMs {
			t.Fatalf("after %d s: the history is from %d to %d, want from %d to %d", second, first, end, oldest, at+10_003)
		}
		if most := 24*12 + 60*6 + 32; len(history.Steps) > most {
			t.Fatalf("after %d s: %d steps, want at most %d", second, len(history.Steps), most)
		}
	}
}

func TestHistoryIsBounded(t *testing.T) {
	levels := newLevels(noon.UnixMilli())
	l := levels[shortLevel]
	var rows []*seriesRow
	for id := range [2500]int{} {
		row := newSeriesRow(id, &series{})
		row.amounts = &amounts{calls: math.MaxInt64, input: math.MaxInt64, output: math.MaxInt64, picodollars: math.MaxInt64}
		row.bases = []*amounts{{}, {}}
		row.inStep = make([]bool, levelKinds)
		rows = append(rows, row)
	}
	for step := range [40]int{} {
		l.changed = rows
		for _, row := range rows {
			row.bases[shortLevel] = &amounts{}
		}
		endStep(levels, shortLevel, noon.UnixMilli()+int64(step+1)*shortStepMs)
		if l.bytes > levelMaxBytes {
			t.Fatalf("step %d: %d bytes of history, want at most %d", step, l.bytes, levelMaxBytes)
		}
	}
	if got := len(l.steps); got < 10 || got >= 40 || l.steps[got-1].endMs != noon.UnixMilli()+40*shortStepMs {
		t.Errorf("%d steps, want the latest, as many as there is space for", got)
	}
}

// TestClockMaySetHistory checks that a clock that is set neither loses later calls nor counts any twice.
func TestClockMaySetHistory(t *testing.T) {
	for _, test := range []struct {
		name string
		to   time.Duration
	}{{"an hour back", -time.Hour}, {"an hour ahead", time.Hour}} {
		r := newRegistry()
		b := newTestBoard(r)
		recordCall(r, newTestCall(nil))
		endSteps(b, noon.UnixMilli()+10_000)
		at := noon.Add(test.to).UnixMilli()
		endSteps(b, at)
		recordCall(r, newTestCall(nil))
		endSteps(b, at+10_000)
		steps := b.levels[shortLevel].steps
		if last := string(steps[len(steps)-1].encoded); !strings.Contains(last, `"lengthMs":10000,"rows":[[0,1,`) {
			t.Errorf("%s: the last step is %s, want one call in 10 s", test.name, last)
		}
	}
}

func TestLatestCallsAreKept(t *testing.T) {
	for _, test := range []struct {
		calls       int
		first, last int64
		keeps       bool
	}{
		{0, 0, 0, true}, {5, 1, 5, true}, {200, 1, 200, true}, {201, 2, 201, true}, {5000, 4801, 5000, true}, {100, 0, 0, false},
	} {
		r := newRegistry()
		r.keepsCalls = test.keeps
		b := newBoard(r, noon.UnixMilli())
		expectContent(r)
		content := []byte("a prompt")
		for range make([]int, test.calls) {
			recordCall(r, newTestCall(func(c *Call) { c.Input, c.Response.Content = content, content }))
		}
		readBoard(b, noon.UnixMilli())
		var got []struct{ ID int64 }
		document := arrayJSON(latestCalls(b, 0, b.callID))
		if err := json.Unmarshal(document, &got); err != nil {
			t.Fatal(err)
		}
		first, last := int64(0), int64(0)
		if len(got) > 0 {
			first, last = got[len(got)-1].ID, got[0].ID
		}
		if first != test.first || last != test.last || (len(got) > 0 && int64(len(got)) != last-first+1) {
			t.Errorf("%d calls: %d are shown, from %d to %d, want from %d to %d", test.calls, len(got), first, last, test.first, test.last)
		}
		if len(r.recent) > 2*recentCalls || (!test.keeps && r.recent != nil) {
			t.Errorf("%d calls: %d are kept", test.calls, len(r.recent))
		}
		for _, c := range r.recent {
			if c.Input != nil || c.Response.Content != nil {
				t.Fatalf("%d calls: one is kept with its content", test.calls)
			}
		}
		if bytes.Contains(document, content) {
			t.Errorf("%d calls: %s contains content", test.calls, document)
		}
	}
}

func TestCallsHaveWhatIsKnown(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(c *Call)
		want   string
		not    string
	}{
		{"no usage", nil, `"stream":false}`, "Tokens"},
		{"a known 0", func(c *Call) { c.Response.Usage = Usage{InputKnown: true, OutputKnown: true, InputTokens: 5} }, `"inputTokens":5,"outputTokens":0}`, ""},
		{"an estimate", func(c *Call) { c.Response.Usage = Usage{Estimated: true, InputTokens: 7} }, `"inputTokens":7,"estimated":true}`, "outputTokens"},
		{"parts", func(c *Call) {
			c.Response.Usage = Usage{InputKnown: true, OutputKnown: true, InputTokens: 5, OutputTokens: 6}
			c.Response.details = &smallResponse{Usage: smallUsage{Prompt: usageDetails{CachedTokens: 3}, Completion: usageDetails{ReasoningTokens: 4}}}
		}, `"inputTokens":5,"outputTokens":6,"cachedInputTokens":3,"reasoningTokens":4}`, ""},
		{"a reported cost", func(c *Call) { c.Cost = Cost{Known: true, Source: costFromProvider} }, `"picodollars":"0","costSource":"provider"}`, ""},
		{"a stored response", func(c *Call) { c.Cache = cacheHit }, `"cache":"hit"}`, "Tokens"},
		{"HTML", func(c *Call) { c.Response.Model = "<script>\n\u2028\xff" }, `"responseModel":"<script>\n\u2028\ufffd"`, "\n"},
	} {
		got := string(callJSON(newTestCall(test.change), 1))
		if !strings.Contains(got, test.want) || (test.not != "" && strings.Contains(got, test.not)) {
			t.Errorf("%s: got %s, want %s and no %q", test.name, got, test.want, test.not)
		}
	}
}

// TestRequestsDoNotWaitForDashboard records calls, and reads the metrics, while a dashboard is busy.
func TestRequestsDoNotWaitForDashboard(t *testing.T) {
	r := boardRegistry(false)
	d := newTestDashboard(t, r, quickPace)
	d.turn.Lock()
	d.mu.Lock()
	done := make(chan bool)
	go func() {
		for range make([]int, 5*aggregatedCalls) {
			recordCall(r, newTestCall(nil))
		}
		collect(r, semconvBoth)
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(eventuallyTimeout):
		t.Error("requests wait for the dashboard")
	}
	d.mu.Unlock()
	d.turn.Unlock()
}

// testPage is a page that a test has open.
type testPage struct {
	body  io.ReadCloser
	leave context.CancelFunc
}

func openTestPage(t *testing.T, address string) *testPage {
	t.Helper()
	ctx, leave := context.WithCancel(context.Background())
	t.Cleanup(leave)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", eventsForm)
	response, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != eventsForm {
		t.Fatalf("status %d, Content-Type %q, want 200 and %q", response.StatusCode, response.Header.Get("Content-Type"), eventsForm)
	}
	return &testPage{response.Body, leave}
}

// readUntil reads until a text has come, and returns all of it.
func (p *testPage) readUntil(t *testing.T, text string) string {
	t.Helper()
	var got bytes.Buffer
	chunk := make([]byte, 1<<16)
	for !strings.Contains(got.String(), text) {
		n, err := p.body.Read(chunk)
		got.Write(chunk[:n])
		if err != nil {
			t.Fatalf("%v after %.500q, want %q", err, got.String(), text)
		}
	}
	return got.String()
}

func TestPagesGetEvents(t *testing.T) {
	r := boardRegistry(false)
	pace := quickPace
	pace.ping = 10 * time.Millisecond
	d := newTestDashboard(t, r, pace)
	server := httptest.NewServer(&dashboardHandler{dashboard: d, name: "test"})
	defer server.Close()
	first := openTestPage(t, server.URL)
	if got := first.readUntil(t, "\n\n: ping\n\n"); !strings.HasPrefix(got, "retry: 2000\n\nevent: snapshot\ndata: {\"version\":1,") {
		t.Errorf("the first event is %.200q, want a snapshot", got)
	}
	second := openTestPage(t, server.URL)
	second.readUntil(t, "snapshot")
	recordCall(r, newTestCall(func(c *Call) { c.ErrorType = "news" }))
	for _, p := range []*testPage{first, second} {
		if got := p.readUntil(t, "news"); !strings.Contains(got, "event: update\ndata: {") {
			t.Errorf("after a call: got %q, want an update", got)
		}
		p.leave()
	}
	eventually(t, "no page is open", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.viewers == 0 })
}

// TestSlowPageGetsSnapshot checks that a page that has missed an update does not get those that follow.
func TestSlowPageGetsSnapshot(t *testing.T) {
	r := boardRegistry(false)
	pace := quickPace
	pace.poll, pace.update = time.Hour, time.Hour // the test makes the updates
	d := newTestDashboard(t, r, pace)
	p := addViewer(d)
	defer removeViewer(d)
	if got := firstFrame(d, p); !bytes.HasPrefix(got, []byte("event: snapshot\n")) {
		t.Fatalf("the first frame is %.100q, want a snapshot", got)
	}
	for i, test := range []struct {
		updates int
		want    string
	}{{1, "event: update\n"}, {2, "event: snapshot\n"}, {1, "event: update\n"}, {5, "event: snapshot\n"}} {
		for range make([]int, test.updates) {
			recordCall(r, newTestCall(nil))
			d.turn.Lock()
			updateViewers(d, time.Now())
			d.turn.Unlock()
		}
		got := nextFrame(d, p)
		if !bytes.HasPrefix(got, []byte(test.want)) {
			t.Errorf("turn %d, after %d updates: got %.100q, want %q", i, test.updates, got, test.want)
		}
	}
}

func TestTooManyPagesAreRefused(t *testing.T) {
	d := newTestDashboard(t, newRegistry(), quickPace)
	for range make([]int, maxViewers) {
		if addViewer(d) == nil {
			t.Fatal("a page is refused, want it open")
		}
	}
	rw := httptest.NewRecorder()
	serveEvents(d, rw, httptest.NewRequest(http.MethodGet, "/", nil))
	if rw.Code != http.StatusServiceUnavailable || rw.Header().Get("Retry-After") == "" {
		t.Errorf("one page more: status %d, Retry-After %q, want 503", rw.Code, rw.Header().Get("Retry-After"))
	}
	removeViewer(d)
	if addViewer(d) == nil {
		t.Error("a page is refused after another has left, want it open")
	}
	for range make([]int, maxViewers) {
		removeViewer(d)
	}
}

// TestDashboardEndsWithInstances checks what runs, and what is kept: from the first instance until a while
// after the last instance and the last page have left.
func TestDashboardEndsWithInstances(t *testing.T) {
	r := newRegistry()
	d := newDashboard(r, quickPace)
	state := func() (runs, keeps bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		return d.running, r.keepsCalls
	}
	check := func(what string, want bool) {
		t.Helper()
		if runs, keeps := state(); runs != want || keeps != want {
			t.Errorf("%s: runs %t, keeps calls %t, want %t", what, runs, keeps, want)
		}
	}
	check("before", false)
	for turn := range [2]int{} {
		first, cancelFirst := context.WithCancel(context.Background())
		useDashboard(first, d)
		check("with an instance", true)
		second, cancelSecond := context.WithCancel(context.Background())
		useDashboard(second, d)
		p := addViewer(d)
		cancelFirst()
		cancelSecond()
		eventually(t, "the instances have left", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.users == 0 })
		eventually(t, "it has lingered", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return time.Since(d.left) > 2*quickPace.linger })
		check("with a page", true)
		if firstFrame(d, p) == nil {
			t.Errorf("turn %d: a page without instances has no snapshot", turn)
		}
		removeViewer(d)
		eventually(t, "the dashboard ends", func() bool { runs, keeps := state(); return !runs && !keeps })
		if got := wholeSnapshot(d); !bytes.HasPrefix(got, []byte(`{"version":1,`)) {
			t.Errorf("turn %d: a request after the end gets %.100s, want a snapshot", turn, got)
		}
	}
}

// TestDashboardSurvivesPanics has a step of the goroutine panic.
func TestDashboardSurvivesPanics(t *testing.T) {
	d := newDashboard(newRegistry(), quickPace)
	d.users = 1 // and no board
	d.viewers = 1
	if !watchStep(d) {
		t.Error("the goroutine ends after a panic, want it to continue")
	}
	useDashboard(context.Background(), d)
	eventually(t, "an update", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return d.version > 0 })
	d.mu.Lock()
	d.users = 0
	d.mu.Unlock()
	removeViewer(d)
	eventually(t, "the dashboard ends", func() bool { d.mu.Lock(); defer d.mu.Unlock(); return !d.running })
}

// TestDashboardReadsRedis changes a counter in Redis as another Traefik does: a request for JSON sees that at
// once, and a page with one of the next updates.
func TestDashboardReadsRedis(t *testing.T) {
	f := newFakeRedis(t, "")
	s := testStore(t, f, Redis{})
	theRedisStoresMu.Lock()
	theRedisStores[s.settings.key] = s
	theRedisStoresMu.Unlock()
	t.Cleanup(func() {
		theRedisStoresMu.Lock()
		delete(theRedisStores, s.settings.key)
		theRedisStoresMu.Unlock()
	})
	request(t, s, "blue", 4)
	request(t, s, "red", 5)
	m := testMemory(t)
	m.mu.Lock()
	m.groups[t.Name()+":"].redis = s
	m.groups[t.Name()+":"].hold = time.Hour
	m.mu.Unlock()
	r := newRegistry()
	r.quotas = m
	pace := quickPace
	pace.refresh = time.Millisecond
	d := newTestDashboard(t, r, pace)
	use := func(subject string, used int64) {
		f.mu.Lock()
		f.used["chat-completion:quota:"+t.Name()+":"+subject] = used
		f.mu.Unlock()
	}
	use("blue", 42)
	got := string(wholeSnapshot(d))
	for _, want := range []string{`"subject":"blue","used":42,"limit":100,`, `"subject":"red","used":5,"limit":100,`, `"store":"redis"`} {
		if !strings.Contains(got, want) {
			t.Errorf("the snapshot lacks %s: %s", want, got)
		}
	}
	p := addViewer(d)
	defer removeViewer(d)
	frame := firstFrame(d, p)
	use("blue", 43)
	for !bytes.Contains(frame, []byte(`"used":43`)) {
		frame = nextFrame(d, p)
	}
	f.stop()
	if got := string(wholeSnapshot(d)); !strings.Contains(got, `"used":43`) {
		t.Errorf("without Redis: %s, want what was seen last", got)
	}
	if got := s.failures.Load(); got != 0 {
		t.Errorf("refreshes of the dashboard count as %d failures, want none", got)
	}
}

// TestManyCountersAreReadByTurns checks what the refreshes at Redis have of more counters than one may have.
func TestManyCountersAreReadByTurns(t *testing.T) {
	first, second := &redisStore{}, &redisStore{}
	var rows []*quotaRow
	for i := range [1000]int{} {
		row := &quotaRow{source: &quotaSeries{subject: fmt.Sprint(i)}, group: &counterGroup{key: "daily:"}, redis: first, limit: 1}
		switch i % 10 {
		case 0:
			row.redis = nil
		case 1:
			row.used = noValue
		case 2:
			row.redis = second
		}
		rows = append(rows, row)
	}
	seen, from := map[string]int{}, 0
	for range [5]int{} {
		var refreshes []*mirrorRefresh
		refreshes, from = nextRefreshes(rows, from)
		for _, look := range refreshes {
			if len(look.charges) > refreshedCounters {
				t.Errorf("%d counters in a command, want at most %d", len(look.charges), refreshedCounters)
			}
			for _, c := range look.charges {
				seen[c.key]++
				if want := map[bool]*redisStore{true: second, false: first}[strings.HasSuffix(c.key, "2")]; look.redis != want {
					t.Errorf("%s is read from another store", c.key)
				}
			}
		}
	}
	if len(seen) != 800 {
		t.Errorf("%d counters are read in 5 turns, want 800", len(seen))
	}
	if refreshes, _ := nextRefreshes(nil, 3); refreshes != nil {
		t.Errorf("without quotas: %d refreshes, want none", len(refreshes))
	}
}
