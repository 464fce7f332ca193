package chatcompletion

import (
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the registry, beside Telemetry.MaxSeries.
const (
	// aggregatedCalls is after how many calls the registry takes them into its series. Interpreted code is cheaper by the
	// dozen: what a function costs to be entered is paid once.
	aggregatedCalls = 16
	// maxKnownModels bounds the models that are remembered because a provider has answered for them.
	maxKnownModels = 1000
	// maxPolicyTexts is how many combinations of decisions are counted as one text; others are counted one by one.
	maxPolicyTexts = 1000
)

// Kinds of telemetry that can be lost.
const (
	lostSeries = "series" // a call that has become part of _OTHER, for there are too many series
	lostUsage  = "usage"  // of an answer in an encoding that is not ours
	lostSpan   = "span"
	lostExport = "export" // of metrics; the next one makes up for it
)

// registry holds the state of all instruments. There is one for all middlewares of a Traefik, which lives as long as the
// process does, so that a new configuration does not set the metrics back.
type registry struct {
	mu          sync.Mutex
	started     time.Time // zero until the first middleware
	pending     []*Call   // not yet in the series
	series      map[string]*series
	ordered     []*series        // as they came
	knownModels map[string]bool  // models that a provider has answered for
	enforced    map[string]int64 // how often each text of Request.Policy was, in enforce mode
	reported    map[string]int64 // the same in report mode
	lost        map[string]int64 // by kind
	streams     atomic.Int64     // event streams that are open
}

func newRegistry() *registry {
	return &registry{
		series:      map[string]*series{},
		knownModels: map[string]bool{},
		enforced:    map[string]int64{},
		reported:    map[string]int64{},
		lost:        map[string]int64{},
	}
}

// startMetrics notes when the metrics begin: with the first middleware.
func startMetrics(r *registry) {
	r.mu.Lock()
	if r.started.IsZero() {
		r.started = time.Now()
		for _, kind := range []string{lostSeries, lostUsage, lostSpan, lostExport} {
			r.lost[kind] += 0 // so that the first loss shows as an increase
		}
	}
	r.mu.Unlock()
}

// Places of the histograms of a series.
const (
	durationHistogram = iota
	gatewayHistogram
	firstChunkHistogram
	inputHistogram
	outputHistogram
	chunkHistogram
	histogramKinds // how many there are
)

// series is the state of the histograms for one combination of attributes.
type series struct {
	attributes []string // names and values by turns
	histograms []*histogram
}

type histogram struct {
	bounds []float64
	counts []int64 // one more than bounds
	sum    float64
}

// recordCall makes a call part of the metrics, at once or together with the next ones.
func recordCall(r *registry, c *Call) {
	r.mu.Lock()
	r.pending = append(r.pending, c)
	if len(r.pending) >= aggregatedCalls {
		aggregateAndUnlock(r)
		return
	}
	r.mu.Unlock()
}

// aggregateAndUnlock unlocks the registry in any case: a call that cannot be settled must not hold up all others.
func aggregateAndUnlock(r *registry) {
	defer r.mu.Unlock()
	aggregate(r)
}

// countLost counts telemetry that is lost.
func countLost(r *registry, kind string, count int64) {
	r.mu.Lock()
	r.lost[kind] += count
	r.mu.Unlock()
}

// aggregate takes the waiting calls into the series. The caller holds the lock. It is one long loop, since interpreted calls
// are dear.
func aggregate(r *registry) {
	calls := r.pending
	r.pending = make([]*Call, 0, aggregatedCalls)
	for _, c := range calls {
		request, answer := c.Request, &c.Response
		model := request.Model
		if !request.ConfiguredModel && model != "" {
			model = boundedModel(r, c)
		}
		key := c.Target.key + "\x00" + model + "\x00" + answer.Model + "\x00" + c.ErrorType
		if c.Labels != nil {
			key += "\x00" + strings.Join(c.Labels, "\x00")
		}
		s := r.series[key]
		if s == nil {
			s = seriesOf(r, c, model)
		}
		values := []float64{float64(c.Duration) / 1e9, float64(c.GatewayDuration) / 1e9, float64(c.FirstChunk) / 1e9,
			float64(answer.Usage.InputTokens), float64(answer.Usage.OutputTokens)} // not * 1e-9: 60 ms would be more than 0.06
		for place, value := range values {
			if (place == firstChunkHistogram && value == 0) || (place >= inputHistogram && !answer.Usage.Known) ||
				(place == outputHistogram && answer.Usage.InputOnly) {
				continue
			}
			h := s.histograms[place]
			h.counts[sort.SearchFloat64s(h.bounds, value)]++
			h.sum += value
		}
		if c.Chunks != nil {
			addChunks(s.histograms[chunkHistogram], c.Chunks)
		}
		if request.Policy != "" {
			if request.ReportOnly {
				r.reported[request.Policy]++
			} else {
				r.enforced[request.Policy]++
			}
		}
	}
	if len(r.enforced) > maxPolicyTexts || len(r.reported) > maxPolicyTexts {
		r.enforced, r.reported = countDecisions(r.enforced), countDecisions(r.reported)
	}
}

// boundedModel returns the model of a call that the configuration does not name: itself if a provider has answered for it,
// else _OTHER. Clients could make up any number of names.
func boundedModel(r *registry, c *Call) string {
	model := c.Request.Model
	if r.knownModels[model] {
		return model
	}
	if c.Status < 200 || c.Status >= 300 || len(r.knownModels) >= maxKnownModels {
		return other
	}
	r.knownModels[model] = true
	return model
}

// seriesOf returns the series of a call for which there is none by its very values. Beyond the configured number, models
// and labels become _OTHER; what is left are values of the configuration and of this code, and statuses of providers.
func seriesOf(r *registry, c *Call, model string) *series {
	target, answered, labels := c.Target, c.Response.Model, append([]string(nil), c.Labels...)
	if !attributeText(answered) {
		answered = other
	}
	key := seriesKey(target.key, model, answered, c.ErrorType, labels)
	if r.series[key] == nil && len(r.series) >= target.MaxSeries {
		r.lost[lostSeries]++
		model, answered = otherOf(model), otherOf(answered)
		for i := 1; i < len(labels); i += 2 {
			labels[i] = other
		}
		key = seriesKey(target.key, model, answered, c.ErrorType, labels)
	}
	if s := r.series[key]; s != nil {
		return s
	}
	s := &series{attributes: []string{operationAttribute, target.Operation, providerAttribute, target.Provider}}
	for _, a := range [][2]string{
		{requestModelAttribute, model}, {responseModelAttribute, answered}, {errorTypeAttribute, c.ErrorType},
		{serverAddressAttribute, target.ServerAddress}, {serverPortAttribute, target.ServerPort},
	} {
		if a[1] != "" {
			s.attributes = append(s.attributes, a[0], a[1])
		}
	}
	s.attributes = append(s.attributes, labels...)
	for _, i := range []*instrument{operationDuration, gatewayDuration, timeToFirstChunk, tokenUsage, tokenUsage, chunkTime} {
		s.histograms = append(s.histograms, &histogram{bounds: i.bounds, counts: make([]int64, len(i.bounds)+1)})
	}
	r.series[key] = s
	r.ordered = append(r.ordered, s)
	return s
}

// seriesKey returns what settle has as a key, too: no two series may have the same attributes.
func seriesKey(target, model, answered, errorType string, labels []string) string {
	return strings.Join(append([]string{target, model, answered, errorType}, labels...), "\x00")
}

// otherOf returns what stands for a value when there are too many.
func otherOf(value string) string {
	if value == "" {
		return ""
	}
	return other
}

func addChunks(h *histogram, times *ChunkTimes) {
	for i, count := range times.Counts {
		h.counts[i] += count
	}
	h.sum += float64(times.Sum) / 1e9
}

// countDecisions takes texts of several decisions apart: most calls have one of a few texts, but clients can make many of
// the few decisions.
func countDecisions(texts map[string]int64) map[string]int64 {
	counts := map[string]int64{}
	for text, count := range texts {
		for _, decision := range strings.Split(text, ",") {
			if decision != reportDecision {
				counts[decision] += count
			}
		}
	}
	return counts
}

// collect returns the state of all instruments, with all calls so far. It locks the registry for a moment at a time only:
// many series must not hold up requests.
func collect(r *registry) []metric {
	r.mu.Lock()
	aggregateAndUnlock(r)
	all, decisions, lost := collectCounters(r)
	points := make([][]point, histogramKinds)
	for _, s := range all {
		collectSeries(r, s, points)
	}
	metrics := []metric{
		{tokenUsage, append(points[inputHistogram], points[outputHistogram]...)},
		{operationDuration, points[durationHistogram]},
		{timeToFirstChunk, points[firstChunkHistogram]},
		{chunkTime, points[chunkHistogram]},
		{gatewayDuration, points[gatewayHistogram]},
		{policyDecisions, decisions},
		{activeStreams, []point{{count: r.streams.Load()}}},
		{telemetryDropped, lost},
	}
	return metrics
}

// collectCounters returns all series, and the points of the counters.
func collectCounters(r *registry) (all []*series, decisions, lost []point) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all = append([]*series(nil), r.ordered...)
	decisions = append(decisionPoints(r.enforced, modeEnforce), decisionPoints(r.reported, modeReport)...)
	lost = nil
	for _, kind := range sortedKeys(r.lost) {
		lost = append(lost, point{attributes: []string{recordAttribute, kind}, count: r.lost[kind]})
	}
	return all, decisions, lost
}

// collectSeries adds what the histograms of a series hold to the points of each kind.
func collectSeries(r *registry, s *series, points [][]point) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for kind, h := range s.histograms {
		p := point{attributes: s.attributes, counts: append([]int64(nil), h.counts...), sum: h.sum}
		for _, count := range p.counts {
			p.count += count
		}
		if p.count == 0 {
			continue
		}
		switch kind {
		case inputHistogram:
			p.attributes = withAttribute(s.attributes, tokenTypeAttribute, "input")
		case outputHistogram:
			p.attributes = withAttribute(s.attributes, tokenTypeAttribute, "output")
		}
		points[kind] = append(points[kind], p)
	}
}

func withAttribute(attributes []string, name, value string) []string {
	return append(append([]string(nil), attributes...), name, value)
}

// decisionPoints are the counts of decisions in a mode.
func decisionPoints(texts map[string]int64, mode string) []point {
	counts := countDecisions(texts)
	var points []point
	for _, decision := range sortedKeys(counts) {
		points = append(points, point{attributes: []string{decisionAttribute, decision, modeAttribute, mode}, count: counts[decision]})
	}
	return points
}
