package chatcompletion

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

// newTestCall returns the record of a successful call with a configured model.
func newTestCall(change func(c *Call)) *Call {
	c := &Call{
		Target:   &Target{Operation: chatOperation, Provider: "openai", MaxSeries: defaultMaxSeries},
		Request:  &Request{Model: "gpt-4o", ConfiguredModel: true},
		Response: Response{Model: "gpt-4o-2024-11-20"},
		Status:   200, Duration: time.Second, GatewayDuration: time.Millisecond,
	}
	if change != nil {
		change(c)
	}
	return c
}

// pointsOf returns the points of an instrument.
func pointsOf(r *registry, wanted *instrument) []point {
	for _, m := range collect(r, semconvBoth) {
		if m.instrument == wanted {
			return m.points
		}
	}
	return nil
}

// countsOf returns the counts of an instrument's points by their attributes, written as name=value.
func countsOf(r *registry, wanted *instrument) map[string]int64 {
	counts := map[string]int64{}
	for _, p := range pointsOf(r, wanted) {
		var pairs []string
		for i := 0; i < len(p.attributes); i += 2 {
			if name := p.attributes[i]; name != operationAttribute && name != providerAttribute {
				pairs = append(pairs, name+"="+p.attributes[i+1])
			}
		}
		counts[strings.Join(pairs, " ")] += p.count
	}
	return counts
}

func TestHistogramBuckets(t *testing.T) {
	for _, i := range []*instrument{operationDuration, gatewayDuration, timeToFirstChunk} {
		for bucket, bound := range i.bounds {
			at := time.Duration(bound*1e9 + 0.5)
			for _, test := range []struct {
				value time.Duration
				want  int
			}{{at, bucket}, {at + 1, bucket + 1}} {
				r := newRegistry()
				recordCall(r, newTestCall(func(c *Call) {
					c.Duration, c.GatewayDuration, c.FirstChunk = test.value, test.value, test.value
				}))
				want := make([]int64, len(i.bounds)+1)
				want[test.want] = 1
				p := pointsOf(r, i)[0]
				if !reflect.DeepEqual(p.counts, want) {
					t.Errorf("%s of %s: buckets %v, want %v", i.name, test.value, p.counts, want)
				}
				if seconds := float64(test.value) / 1e9; p.count != 1 || p.sum != seconds {
					t.Errorf("%s of %s: count %d and sum %v, want 1 and %v", i.name, test.value, p.count, p.sum, seconds)
				}
			}
		}
	}
}

func TestMetricsOmitUnknownValues(t *testing.T) {
	tests := []struct {
		name   string
		change func(c *Call)
		want   map[*instrument]map[string]int64
	}{
		{"no usage, no stream", nil, map[*instrument]map[string]int64{
			operationDuration: {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20": 1},
			gatewayDuration:   {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20": 1},
		}},
		{"a usage of no tokens", func(c *Call) { c.Response.Usage.InputKnown, c.Response.Usage.OutputKnown = true, true }, map[*instrument]map[string]int64{
			tokenUsage: {
				"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20 gen_ai.token.type=input":  1,
				"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20 gen_ai.token.type=output": 1,
			},
			operationDuration: {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20": 1},
			gatewayDuration:   {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20": 1},
		}},
		{"a usage without output", func(c *Call) { c.Response.Usage = Usage{InputKnown: true, InputTokens: 8} }, map[*instrument]map[string]int64{
			tokenUsage:        {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20 gen_ai.token.type=input": 1},
			operationDuration: {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20": 1},
			gatewayDuration:   {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20": 1},
		}},
		{"a stream of three events", func(c *Call) {
			c.FirstChunk = time.Second
			c.Chunks = &ChunkTimes{Counts: make([]int64, len(chunkTime.bounds)+1), Sum: time.Second}
			c.Chunks.Counts[0] = 2
		}, map[*instrument]map[string]int64{
			operationDuration: {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20": 1},
			gatewayDuration:   {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20": 1},
			timeToFirstChunk:  {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20": 1},
			chunkTime:         {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20": 2},
		}},
		{"a request without a model, refused", func(c *Call) {
			c.Request.Model, c.Response.Model, c.Request.ConfiguredModel, c.Status, c.ErrorType = "", "", false, 400, "invalid_json"
		}, map[*instrument]map[string]int64{
			operationDuration: {"error.type=invalid_json": 1},
			gatewayDuration:   {"error.type=invalid_json": 1},
		}},
		{"labels", func(c *Call) { c.Labels = []string{"app", "search", "team.name", "blue"} }, map[*instrument]map[string]int64{
			operationDuration: {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20 app=search team.name=blue": 1},
			gatewayDuration:   {"gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o-2024-11-20 app=search team.name=blue": 1},
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRegistry()
			recordCall(r, newTestCall(test.change))
			for _, m := range collect(r, semconvLegacy) {
				want := test.want[m.instrument]
				if want == nil && m.instrument != activeStreams {
					want = map[string]int64{}
				} else if want == nil {
					want = map[string]int64{"": 0}
				}
				if got := countsOf(r, m.instrument); !reflect.DeepEqual(got, want) {
					t.Errorf("%s: %v, want %v", m.instrument.name, got, want)
				}
			}
		})
	}
}

func TestClientModelIsNamedAfterSuccess(t *testing.T) {
	r := newRegistry()
	steps := []struct {
		name       string
		model      string
		configured bool
		status     int
		want       string
	}{
		{"an unknown model that the provider does not have", "gpt-x", false, 404, other},
		{"an unknown model while the provider is down", "gpt-x", false, 503, other},
		{"an unknown model that the provider has", "gpt-x", false, 200, "gpt-x"},
		{"an error for a model after success", "gpt-x", false, 429, "gpt-x"},
		{"another unknown model", "gpt-y", false, 400, other},
		{"a configured model that the provider does not have", "gpt-z", true, 404, "gpt-z"},
	}
	want := map[string]int64{}
	for _, step := range steps {
		recordCall(r, newTestCall(func(c *Call) {
			c.Request.Model, c.Request.ConfiguredModel, c.Status, c.Response.Model = step.model, step.configured, step.status, ""
		}))
		want["gen_ai.request.model="+step.want]++
		if got := countsOf(r, operationDuration); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", step.name, got, want)
		}
	}
}

func TestKnownModelsAreBounded(t *testing.T) {
	r := newRegistry()
	for i := 0; i < 2*maxKnownModels; i++ {
		recordCall(r, newTestCall(func(c *Call) {
			c.Request.Model, c.Request.ConfiguredModel, c.Response.Model, c.Target.MaxSeries = fmt.Sprint("model-", i), false, "", 100000
		}))
	}
	counts := countsOf(r, operationDuration)
	if got := len(r.knownModels); got != maxKnownModels {
		t.Errorf("%d known models, want %d", got, maxKnownModels)
	}
	if got := counts["gen_ai.request.model="+other]; got != maxKnownModels {
		t.Errorf("%d calls of further models, want %d", got, maxKnownModels)
	}
}

// TestModelsOfResponsesAreBounded has a provider make up a model for each response: neither the series nor the models of
// requests are used up.
func TestModelsOfResponsesAreBounded(t *testing.T) {
	r := newRegistry()
	for i := 0; i < 2*maxKnownModels; i++ {
		recordCall(r, newTestCall(func(c *Call) {
			c.Response.Model, c.Target.MaxSeries = fmt.Sprint("made-up-", i), 100000
		}))
	}
	recordCall(r, newTestCall(func(c *Call) { c.Response.Model, c.Target.MaxSeries = c.Request.Model, 100000 }))
	counts := countsOf(r, operationDuration)
	if got := counts["gen_ai.request.model=gpt-4o gen_ai.response.model="+other]; got != maxKnownModels {
		t.Errorf("%d calls with further models of responses, want %d", got, maxKnownModels)
	}
	if got := counts["gen_ai.request.model=gpt-4o gen_ai.response.model=gpt-4o"]; got != 1 {
		t.Errorf("%d calls whose response names the model of the request, want 1", got)
	}
	if got := len(r.series); got != maxKnownModels+2 {
		t.Errorf("%d series, want %d", got, maxKnownModels+2)
	}
	if got := len(r.knownModels); got != 0 {
		t.Errorf("%d known models of requests, want 0", got)
	}
}

func TestSeriesBeyondBoundBecomeOther(t *testing.T) {
	call := func(model, app, errorType string) *Call {
		return newTestCall(func(c *Call) {
			c.Request.Model, c.ErrorType, c.Target.MaxSeries = model, errorType, 2
			c.Labels = []string{"app", app}
		})
	}
	r := newRegistry()
	for _, c := range []*Call{
		call("a", "one", ""), call("b", "one", ""),
		call("a", "two", ""), call("c", "one", ""), call("c", "one", ""), call("c", "one", "timeout"),
		call("a", "one", ""), call("b", "one", ""),
	} {
		recordCall(r, c)
	}
	want := map[string]int64{
		"gen_ai.request.model=a gen_ai.response.model=gpt-4o-2024-11-20 app=one":                 2,
		"gen_ai.request.model=b gen_ai.response.model=gpt-4o-2024-11-20 app=one":                 2,
		"gen_ai.request.model=_OTHER gen_ai.response.model=_OTHER app=_OTHER":                    3,
		"gen_ai.request.model=_OTHER gen_ai.response.model=_OTHER error.type=timeout app=_OTHER": 1,
	}
	if got := countsOf(r, operationDuration); !reflect.DeepEqual(got, want) {
		t.Errorf("calls %v, want %v", got, want)
	}
	if got := countsOf(r, telemetryDropped); !reflect.DeepEqual(got, map[string]int64{"chat_completion.record=series": 4}) {
		t.Errorf("lost records %v, want 4 series", got)
	}
}

// TestSeriesAttributesAreUnique checks that no two series have the same attributes, which Prometheus refuses: attributes become
// _OTHER in several ways.
func TestSeriesAttributesAreUnique(t *testing.T) {
	unconfirmed := func(c *Call) {
		c.Request.Model, c.Request.ConfiguredModel, c.Response.Model, c.Status, c.ErrorType = "x", false, "", 404, "404"
	}
	configured := func(c *Call) {
		c.Request.Model, c.Response.Model, c.Status, c.ErrorType = "y", "", 404, "404"
	}
	longResponse := func(c *Call) { c.Response.Model = strings.Repeat("a", labelMaxBytes+1) }
	longerResponse := func(c *Call) { c.Response.Model = strings.Repeat("a", labelMaxBytes+2) }
	otherResponse := func(c *Call) { c.Response.Model = other }
	tests := []struct {
		name      string
		maxSeries int
		calls     []func(c *Call)
		want      int
		lost      int64
	}{
		{"unconfirmed model, then a series beyond the bound", 2, []func(c *Call){unconfirmed, nil, configured}, 2, 1},
		{"series beyond the bound, then an unconfirmed model", 1, []func(c *Call){nil, configured, unconfirmed}, 2, 1},
		{"invalid models in responses", 5, []func(c *Call){longResponse, longerResponse, longResponse, otherResponse}, 1, 0},
		{"invalid models in responses at the bound", 2, []func(c *Call){longResponse, nil, longerResponse}, 2, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := newRegistry()
			for _, change := range test.calls {
				c := newTestCall(change)
				c.Target.MaxSeries = test.maxSeries
				recordCall(r, c)
			}
			if got, different := len(pointsOf(r, operationDuration)), len(countsOf(r, operationDuration)); got != test.want || different != test.want {
				t.Errorf("%d points with %d combinations of attributes, want %d of both", got, different, test.want)
			}
			if got := r.lost[lostSeries]; got != test.lost {
				t.Errorf("%d lost series, want %d", got, test.lost)
			}
		})
	}
}

func TestSeriesAreBoundedWhateverClientsSend(t *testing.T) {
	const calls, bound = 100000, 50
	r := newRegistry()
	for i := 0; i < calls; i++ {
		recordCall(r, newTestCall(func(c *Call) {
			c.Request.Model, c.Response.Model = fmt.Sprint("model-", i), fmt.Sprint("answer-", i)
			c.Request.ConfiguredModel = i%2 == 0
			c.Labels = []string{"app", fmt.Sprint("app-", i)}
			c.Status = 200 + i%2*204
			c.Target.MaxSeries = bound
		}))
	}
	total := int64(0)
	for _, count := range countsOf(r, operationDuration) {
		total += count
	}
	if total != calls {
		t.Errorf("%d counted calls, want %d", total, calls)
	}
	if got, want := len(r.series), bound+1; got != want {
		t.Errorf("%d series, want %d: the bound, and one for the rest", got, want)
	}
	if got, want := r.lost[lostSeries], int64(calls-bound); got != want {
		t.Errorf("%d lost series, want %d", got, want)
	}
	if got := len(r.knownModels); got > maxKnownModels {
		t.Errorf("%d known models, want at most %d", got, maxKnownModels)
	}
}

func TestEveryDecisionIsCounted(t *testing.T) {
	r := newRegistry()
	for _, c := range []struct {
		policy string
		report bool
	}{
		{"", false}, {"model=set", false}, {"model=set,max_tokens=limited", false}, {"refused=model_not_found", false}, {"model=set", false},
		{"mode=report", true}, {"mode=report,model=enforced", true}, {"mode=report,refused=model_not_found", true},
		{"refused=credentials_unavailable", true},
	} {
		recordCall(r, newTestCall(func(call *Call) { call.Request.Policy, call.Request.ReportOnly = c.policy, c.report }))
	}
	want := map[string]int64{
		"chat_completion.decision=model=set chat_completion.mode=enforce":                      3,
		"chat_completion.decision=max_tokens=limited chat_completion.mode=enforce":             1,
		"chat_completion.decision=refused=model_not_found chat_completion.mode=enforce":        1,
		"chat_completion.decision=model=enforced chat_completion.mode=report":                  1,
		"chat_completion.decision=refused=model_not_found chat_completion.mode=report":         1,
		"chat_completion.decision=refused=credentials_unavailable chat_completion.mode=report": 1,
	}
	if got := countsOf(r, policyDecisions); !reflect.DeepEqual(got, want) {
		t.Errorf("decisions %v, want %v", got, want)
	}
}

func TestDecisionsAreCountedBeyondCombinationBound(t *testing.T) {
	r := newRegistry()
	const calls, parameters = 4096, 12 // all combinations of the parameters
	for i := 0; i < calls; i++ {
		decisions := []string{"model=set"}
		for bit := 0; bit < parameters; bit++ {
			if i>>bit&1 == 1 {
				decisions = append(decisions, fmt.Sprint("p", bit, "=dropped"))
			}
		}
		recordCall(r, newTestCall(func(c *Call) { c.Request.Policy = strings.Join(decisions, ",") }))
	}
	want := map[string]int64{"chat_completion.decision=model=set chat_completion.mode=enforce": calls}
	for bit := 0; bit < parameters; bit++ {
		want[fmt.Sprint("chat_completion.decision=p", bit, "=dropped chat_completion.mode=enforce")] = calls / 2
	}
	if got := countsOf(r, policyDecisions); !reflect.DeepEqual(got, want) {
		t.Errorf("decisions %v, want %v", got, want)
	}
	if got, most := len(r.enforced), maxPolicyTexts+parameters+1; got > most {
		t.Errorf("%d policy texts, want at most %d", got, most)
	}
}

func TestConcurrentCallsAreCountedExactly(t *testing.T) {
	const writers, callsEach = 16, 500
	r := newRegistry()
	stop := make(chan struct{})
	var reader, all sync.WaitGroup
	reader.Add(1)
	go func() {
		defer reader.Done()
		before := int64(0)
		for {
			total := int64(0)
			for _, p := range pointsOf(r, operationDuration) {
				inBuckets := int64(0)
				for _, count := range p.counts {
					inBuckets += count
				}
				if inBuckets != p.count {
					t.Errorf("%d values in buckets, want %d", inBuckets, p.count)
				}
				total += p.count
			}
			if total < before {
				t.Errorf("%d calls after %d", total, before)
			}
			before = total
			select {
			case <-stop:
				return
			default:
			}
		}
	}()
	for i := 0; i < writers; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			for n := 0; n < callsEach; n++ {
				recordCall(r, newTestCall(func(c *Call) {
					c.Request.Model = fmt.Sprint("model-", n%7)
					c.Response.Usage = Usage{InputKnown: true, OutputKnown: true, InputTokens: int64(i), OutputTokens: 3}
					c.Request.Policy = "model=set"
				}))
				if n%100 == 0 {
					countLost(r, lostSpan, 1)
				}
			}
		}(i)
	}
	all.Wait()
	close(stop)
	reader.Wait()

	sums := map[string]float64{}
	for _, p := range pointsOf(r, tokenUsage) {
		sums[p.attributes[len(p.attributes)-1]] += p.sum
	}
	for _, p := range pointsOf(r, operationDuration) {
		sums["seconds"] += p.sum
	}
	for _, i := range []*instrument{policyDecisions, telemetryDropped} {
		for attributes, count := range countsOf(r, i) {
			sums[attributes] += float64(count)
		}
	}
	want := map[string]float64{
		"input": callsEach * writers * (writers - 1) / 2, "output": 3 * callsEach * writers, "seconds": callsEach * writers,
		"chat_completion.decision=model=set chat_completion.mode=enforce": callsEach * writers,
		"chat_completion.record=span":                                     writers * callsEach / 100,
	}
	if !reflect.DeepEqual(sums, want) {
		t.Errorf("sums %v, want %v", sums, want)
	}
}

func TestCollectedPointsAreSnapshots(t *testing.T) {
	r := newRegistry()
	recordCall(r, newTestCall(nil))
	before := pointsOf(r, operationDuration)
	recordCall(r, newTestCall(nil))
	_ = collect(r, semconvBoth)
	if p := before[0]; p.count != 1 || p.counts[7] != 1 {
		t.Errorf("count %d and buckets %v after another call, want those of 1", p.count, p.counts)
	}
}

// TestBrokenRecordDoesNotBlockOthers records a call without a target, which cannot occur: later calls are still counted.
func TestBrokenRecordDoesNotBlockOthers(t *testing.T) {
	r := newRegistry()
	broken := newTestCall(func(call *Call) { call.Target = nil })
	func() {
		defer func() {
			if recover() == nil {
				t.Error("collect does not panic, want a panic for a call without a target")
			}
		}()
		recordCall(r, broken)
		collect(r, semconvBoth)
	}()
	recordCall(r, newTestCall(nil))
	if got := len(pointsOf(r, operationDuration)); got != 1 {
		t.Errorf("%d series after the call, want 1", got)
	}
}
