package chatcompletion

import (
	"math"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the registry, in addition to Telemetry.MaxSeries.
const (
	// aggregatedCalls is the number of calls that the registry aggregates at a time. In interpreted
	// code, entering a function is expensive; a batch pays for it once.
	aggregatedCalls = 16
	// maxKnownModels bounds the models that count as known because a provider has served them, and
	// those that count because a provider's responses name them.
	maxKnownModels = 1000
	// maxPolicyTexts bounds the combinations of decisions that are counted as one text. Beyond it,
	// the decisions are counted one by one.
	maxPolicyTexts = 1000
)

// Kinds of telemetry that can be lost.
const (
	lostSeries = "series" // a call counted as _OTHER, since there are too many series
	lostUsage  = "usage"  // of a response in an unsupported encoding
	lostSpan   = "span"
	lostExport = "export" // of metrics; the next one includes its values
)

// registry holds the state of all instruments. All middlewares of a Traefik share one. It lives as
// long as the process, so that a new configuration does not reset the metrics.
type registry struct {
	mu             sync.Mutex
	started        time.Time // zero until the first middleware
	pending        []*Call   // not yet aggregated
	series         map[string]*series
	ordered        []*series // in order of creation
	consumers      map[string]*consumerSeries
	knownModels    map[string]bool           // models of requests that a provider has served
	responseModels map[string]bool           // models that those responses name
	enforced       map[string]int64          // calls by Request.Policy in enforce mode
	reported       map[string]int64          // the same in report mode
	lost           map[string]int64          // by kind
	unknownCosts   map[string]int64          // calls without a cost, by reason and model
	caches         map[string]*cacheCounters // by middleware
	streams        atomic.Int64              // open event streams
	keepsCalls     bool                      // a dashboard shows the latest calls
	hasContent     bool                      // calls may have content, which the latest are kept without
	recent         []*Call                   // the latest, the last of which is the newest; of a batch, all are
	kept           int64                     // calls that ever were among them
	quotas         *memoryStore              // whose counters are metrics, too; nil: none
}

func newRegistry() *registry {
	return &registry{
		series:         map[string]*series{},
		consumers:      map[string]*consumerSeries{},
		knownModels:    map[string]bool{},
		responseModels: map[string]bool{},
		enforced:       map[string]int64{},
		reported:       map[string]int64{},
		lost:           map[string]int64{},
		unknownCosts:   map[string]int64{},
		caches:         map[string]*cacheCounters{},
	}
}

// startMetrics starts the metrics with the first middleware.
func startMetrics(r *registry) {
	r.mu.Lock()
	if r.started.IsZero() {
		r.started = time.Now()
		r.quotas = theMemoryStore
		for _, kind := range []string{lostSeries, lostUsage, lostSpan, lostExport} {
			r.lost[kind] += 0 // so that the first loss shows as an increase
		}
	}
	r.mu.Unlock()
}

// Indexes of the histograms of a series.
const (
	durationHistogram = iota
	gatewayHistogram
	firstChunkHistogram
	inputHistogram
	outputHistogram
	chunkHistogram
	histogramKinds // their number
)

// noValue is the value of a histogram that a call does not have.
const noValue = -1

// series holds the histograms of one combination of attributes.
type series struct {
	attributes []string // alternating names and values
	histograms []*histogram
	parts      []int64          // tokens by kind of part; nil: none were read
	isPriced   bool             // the cost of a call is known
	cost       int64            // of these calls, in picodollars
	results    map[string]int64 // calls by Call.Cache; nil: no cache was asked
}

type histogram struct {
	bounds []float64
	counts []int64 // one more than bounds
	sum    float64
}

// recordCall adds a call to the metrics, at once or in a batch with later calls.
func recordCall(r *registry, c *Call) {
	r.mu.Lock()
	r.pending = append(r.pending, c)
	if len(r.pending) >= aggregatedCalls {
		aggregateAndUnlock(r)
		return
	}
	r.mu.Unlock()
}

// aggregateAndUnlock unlocks the registry even after a panic: one faulty call must not block all
// others.
func aggregateAndUnlock(r *registry) {
	defer r.mu.Unlock()
	aggregate(r)
}

// countLost counts lost telemetry of a kind.
func countLost(r *registry, kind string, count int64) {
	r.mu.Lock()
	r.lost[kind] += count
	r.mu.Unlock()
}

// countUnknownCost counts a call whose cost is unknown, by the model whose price would count.
func countUnknownCost(r *registry, c *Call, reason string) {
	model := c.Response.Model
	if model == "" {
		model = c.Request.Model
	}
	if !attributeText(model) {
		model = other
	}
	key := reason + "\x00" + model
	r.mu.Lock()
	if _, isKnown := r.unknownCosts[key]; !isKnown && len(r.unknownCosts) >= maxKnownModels {
		key = reason + "\x00" + other
	}
	r.unknownCosts[key]++
	r.mu.Unlock()
}

// aggregate adds the pending calls to their series. The caller holds the lock. It is one long loop,
// since interpreted calls are expensive.
func aggregate(r *registry) {
	calls := r.pending
	r.pending = make([]*Call, 0, aggregatedCalls)
	for _, c := range calls {
		request, resp := c.Request, &c.Response
		model, responseModel := request.Model, resp.Model
		if !request.ConfiguredModel && model != "" {
			model = boundedModel(r.knownModels, model, c.Status)
		}
		if responseModel != model && !r.responseModels[responseModel] { // most calls are spared the function
			responseModel = boundedModel(r.responseModels, responseModel, c.Status)
		}
		key := c.Target.key + "\x00" + model + "\x00" + responseModel + "\x00" + c.ErrorType
		if c.Labels != nil {
			key += "\x00" + strings.Join(c.Labels, "\x00")
		}
		s := r.series[key]
		if s == nil {
			s = seriesOf(r, c, model, responseModel)
		}
		values := []float64{float64(c.Duration) / 1e9, float64(c.GatewayDuration) / 1e9, float64(c.FirstChunk) / 1e9,
			float64(resp.Usage.InputTokens), float64(resp.Usage.OutputTokens)} // not * 1e-9: 60 ms would be more than 0.06
		if c.FirstChunk == 0 {
			values[firstChunkHistogram] = noValue
		}
		if !resp.Usage.InputKnown {
			values[inputHistogram] = noValue
		}
		if !resp.Usage.OutputKnown {
			values[outputHistogram] = noValue
		}
		for place, value := range values {
			if value == noValue {
				continue
			}
			h := s.histograms[place]
			h.counts[sort.SearchFloat64s(h.bounds, value)]++
			h.sum += value
		}
		if c.Cost.Known {
			s.isPriced = true
			if s.cost += c.Cost.Picodollars; s.cost < 0 { // as addSaturated
				s.cost = math.MaxInt64
			}
		}
		if c.Chunks != nil {
			addChunks(s.histograms[chunkHistogram], c.Chunks)
		}
		if c.Target.readsParts {
			addParts(s, c)
		}
		if c.Cache != "" {
			if s.results == nil {
				s.results = map[string]int64{}
			}
			s.results[c.Cache]++
		}
		if request.Policy != "" {
			if request.ReportOnly {
				r.reported[request.Policy]++
			} else {
				r.enforced[request.Policy]++
			}
		}
	}
	if r.keepsCalls {
		keepCalls(r, calls)
	}
	if len(r.enforced) > maxPolicyTexts || len(r.reported) > maxPolicyTexts {
		r.enforced, r.reported = countDecisions(r.enforced), countDecisions(r.reported)
	}
}

// boundedModel returns the attribute for a model that the configuration does not name: the model
// itself if it is known, or becomes known because a provider has served it, else _OTHER. Clients and
// providers could make up any number of names.
func boundedModel(known map[string]bool, model string, status int) string {
	if known[model] || model == "" {
		return model
	}
	if status < 200 || status >= 300 || len(known) >= maxKnownModels {
		return other
	}
	known[model] = true
	return model
}

// seriesOf returns the series of a call that the look-up by its unmodified values did not find.
// Beyond Telemetry.MaxSeries, models and labels become _OTHER; the remaining values come from the
// configuration, this code, and the statuses of providers, all of which are bounded.
func seriesOf(r *registry, c *Call, model, responseModel string) *series {
	target, labels := c.Target, append([]string(nil), c.Labels...)
	if !attributeText(responseModel) {
		responseModel = other
	}
	key := seriesKey(target.key, model, responseModel, c.ErrorType, labels)
	if r.series[key] == nil && len(r.series) >= target.MaxSeries {
		r.lost[lostSeries]++
		loseConsumer(r, c)
		model, responseModel = otherOf(model), otherOf(responseModel)
		for i := 1; i < len(labels); i += 2 {
			labels[i] = other
		}
		key = seriesKey(target.key, model, responseModel, c.ErrorType, labels)
	}
	if s := r.series[key]; s != nil {
		return s
	}
	s := &series{attributes: []string{operationAttribute, target.Operation, providerAttribute, target.Provider}}
	for _, a := range [][2]string{
		{requestModelAttribute, model}, {responseModelAttribute, responseModel}, {errorTypeAttribute, c.ErrorType},
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
	indexConsumer(r, c, s)
	return s
}

// seriesKey returns the key of a series. aggregate builds the same key: no two series may have
// equal attributes.
func seriesKey(target, model, responseModel, errorType string, labels []string) string {
	return strings.Join(append([]string{target, model, responseModel, errorType}, labels...), "\x00")
}

// otherOf returns _OTHER for a value, and "" for none.
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

// countDecisions splits texts into their decisions and counts these. Most calls have one of a few
// texts, but clients can produce many combinations of the few decisions.
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

// collect returns the state of all instruments under the names that semconv selects, including all
// calls so far. It holds the lock for one series at a time, so that many series do not delay
// requests.
func collect(r *registry, semconv string) []metric {
	r.mu.Lock()
	aggregateAndUnlock(r)
	all, decisions, lost := collectCounters(r)
	points := make([][]point, histogramKinds)
	var costs []point
	totals := &tokenTotals{places: map[string]int{}}
	for _, s := range all {
		collectSeries(r, s, points)
		costs = appendCost(r, s, costs)
		if semconv != semconvLegacy {
			addTotals(r, s, totals)
		}
	}
	metrics := append(callMetrics(points, totals, semconv), []metric{
		{gatewayDuration, points[gatewayHistogram]},
		{callCost, costs},
		{unknownCosts, unknownCostPoints(r)},
		{cacheRequests, cachePoints(r)},
		{policyDecisions, decisions},
		{activeStreams, []point{{count: r.streams.Load()}}},
		{telemetryDropped, lost},
		{lookUpFailures, failurePoints(r)},
	}...)
	if r.quotas != nil {
		metrics = append(metrics, quotaMetrics(quotaStates(r.quotas, time.Now().UnixMilli()))...)
		metrics = append(metrics, storeMetrics()...)
	}
	return metrics
}

// failurePoints returns the counts of failed look-ups by configuration key. They are those of the
// process, as theRegistry is; other registries have none.
func failurePoints(r *registry) []point {
	if r != theRegistry {
		return nil
	}
	counts := documentFailureCounts()
	var points []point
	for _, key := range sortedKeys(counts) {
		points = append(points, point{attributes: []string{keyAttribute, key}, count: counts[key]})
	}
	return points
}

// collectCounters returns all series and the points of the counters.
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

// collectSeries appends the histograms of a series to the points of each kind.
func collectSeries(r *registry, s *series, points [][]point) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for kind, h := range s.histograms {
		p := point{attributes: s.attributes, counts: append([]int64(nil), h.counts...), sum: h.sum}
		for _, count := range p.counts {
			p.count += count
		}
		if p.count > 0 {
			points[kind] = append(points[kind], p)
		}
	}
}

// appendCost appends the cost of a series to the points, if one of its calls has a cost.
func appendCost(r *registry, s *series, points []point) []point {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !s.isPriced {
		return points
	}
	return append(points, point{attributes: s.attributes, count: s.cost, isMoney: true})
}

// unknownCostPoints returns the counts of calls whose cost is unknown.
func unknownCostPoints(r *registry) []point {
	r.mu.Lock()
	defer r.mu.Unlock()
	var points []point
	for _, key := range sortedKeys(r.unknownCosts) {
		reason, model, _ := strings.Cut(key, "\x00")
		attributes := []string{reasonAttribute, reason}
		if model != "" {
			attributes = append(attributes, requestModelAttribute, model)
		}
		points = append(points, point{attributes: attributes, count: r.unknownCosts[key]})
	}
	return points
}

func withAttribute(attributes []string, name, value string) []string {
	return append(append([]string(nil), attributes...), name, value)
}

// decisionPoints returns the counts of the decisions in a mode.
func decisionPoints(texts map[string]int64, mode string) []point {
	counts := countDecisions(texts)
	var points []point
	for _, decision := range sortedKeys(counts) {
		points = append(points, point{attributes: []string{decisionAttribute, decision, modeAttribute, mode}, count: counts[decision]})
	}
	return points
}
