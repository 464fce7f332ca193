package chatcompletion

import (
	"math"
	"time"
)

// consumerSeries are the series of one consumer.
type consumerSeries struct {
	list         []*series
	isIncomplete bool // some of its calls are in a series of many consumers
}

// consumerKey is the key of a consumer's series: no name or group has the character between them.
func consumerKey(consumer, group string) string {
	return consumer + "\x00" + group
}

// useConsumerSeries returns the series of the consumer of a call; nil: there are too many consumers. The
// caller holds the lock.
func useConsumerSeries(r *registry, c *Call) *consumerSeries {
	key := consumerKey(c.Consumer, c.Group)
	known := r.consumers[key]
	if known == nil && len(r.consumers) < c.Target.MaxSeries {
		known = &consumerSeries{}
		r.consumers[key] = known
	}
	return known
}

// indexConsumer adds a new series to those of the consumer of its call. Not every series with the label is
// one: labels of the configuration may have its name. The caller holds the lock.
func indexConsumer(r *registry, c *Call, s *series) {
	if c.Consumer == "" || !hasLabels(s.attributes, c) {
		return
	}
	if known := useConsumerSeries(r, c); known != nil {
		known.list = append(known.list, s)
	}
}

// hasLabels reports whether attributes have the consumer of a call, and its group.
func hasLabels(attributes []string, c *Call) bool {
	consumer, group := "", ""
	for i := 0; i+1 < len(attributes); i += 2 {
		switch attributes[i] {
		case consumerLabel:
			consumer = attributes[i+1]
		case groupLabel:
			group = attributes[i+1]
		}
	}
	return consumer == c.Consumer && group == c.Group
}

// loseConsumer remembers that the series of a consumer do not have one of its calls. The caller holds the
// lock.
func loseConsumer(r *registry, c *Call) {
	if c.Consumer == "" {
		return
	}
	if known := useConsumerSeries(r, c); known != nil {
		known.isIncomplete = true
	}
}

// consumerTotals is what a consumer has used at this Traefik since it was started.
type consumerTotals struct {
	since        time.Time
	calls        int64
	inputTokens  int64 // noTotal: none were read, as for the following
	outputTokens int64
	picodollars  int64
}

// noTotal is a total of which nothing is known.
const noTotal = -1

// totalsOf returns the totals of a consumer; nil: some of its calls are in no series of its own.
func totalsOf(r *registry, consumer, group string) *consumerTotals {
	r.mu.Lock()
	aggregateAndUnlock(r)
	list, isComplete := seriesOfConsumer(r, consumerKey(consumer, group))
	if !isComplete {
		return nil
	}
	t := &consumerTotals{inputTokens: noTotal, outputTokens: noTotal, picodollars: noTotal}
	for _, s := range list {
		addSeries(r, s, t)
	}
	r.mu.Lock()
	t.since = r.started
	r.mu.Unlock()
	return t
}

// seriesOfConsumer returns the series of a consumer, and reports whether they have all of its calls. If there
// are too many series, those of a consumer that is not known are not known, either.
func seriesOfConsumer(r *registry, key string) ([]*series, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.consumers[key]
	if known == nil {
		return nil, r.lost[lostSeries] == 0
	}
	return append([]*series(nil), known.list...), !known.isIncomplete
}

// addSeries adds a series to totals.
func addSeries(r *registry, s *series, t *consumerTotals) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.calls += countOf(s.histograms[durationHistogram])
	t.inputTokens = addSum(t.inputTokens, s.histograms[inputHistogram])
	t.outputTokens = addSum(t.outputTokens, s.histograms[outputHistogram])
	if s.isPriced {
		if t.picodollars == noTotal {
			t.picodollars = 0
		}
		if t.picodollars += s.cost; t.picodollars < 0 { // as addSaturated
			t.picodollars = math.MaxInt64
		}
	}
}

// addSum adds the values of a histogram, if there are any, to a total.
func addSum(total int64, h *histogram) int64 {
	if countOf(h) == 0 {
		return total
	}
	if total == noTotal {
		total = 0
	}
	return total + int64(h.sum)
}

// countOf returns how many values a histogram has.
func countOf(h *histogram) int64 {
	count := int64(0)
	for _, inBucket := range h.counts {
		count += inBucket
	}
	return count
}
