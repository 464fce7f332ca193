package chatcompletion

import (
	"context"
	"math/rand"
	"time"
)

// exportSpans sends spans if they are due. A request that failed is retried before others are sent.
func exportSpans(e *exporter, now time.Time) {
	request := e.pending
	if request == nil {
		e.mu.Lock()
		isDue := len(e.queue) >= spanBatch || !now.Before(e.spansDue)
		e.mu.Unlock()
		if !isDue {
			return
		}
		e.spansDue = now.Add(e.settings.spanWait)
		if request = takeSpans(e); request == nil {
			return
		}
	} else if now.Before(request.due) {
		return
	}
	e.pending = nil
	request.attempts++
	d := sendSpans(context.Background(), e, request)
	if d.accepted {
		return
	}
	if d.again && request.attempts < exportAttempts {
		request.due = time.Now().Add(retryDelay(e, request.attempts, d.after))
		e.pending = request
		return
	}
	countLost(e.registry, lostSpan, request.spans)
}

// takeSpans returns a request with the calls that were queued first, or nil if the queue is empty.
func takeSpans(e *exporter) *spanRequest {
	e.mu.Lock()
	count, size := 0, 0
	for count < len(e.queue) && count < spanBatch && size < spanBatchMaxBytes {
		size += len(e.queue[count].Input) + len(e.queue[count].Response.Content)
		count++
	}
	calls := filledCopies(e.queue[:count])
	e.queue = append([]*Call(nil), e.queue[count:]...)
	e.queuedBytes -= size
	e.mu.Unlock()
	if count == 0 {
		return nil
	}
	if len(e.texts) > maxRequestTexts {
		e.texts = requestTexts{}
	}
	return &spanRequest{body: compressBody(e, e.settings.traces, spanPayload(e.settings.resource, e.settings.semconv, e.texts, calls)), spans: int64(count)}
}

// filledCopies returns calls with their details. Those whose details were not filled in yet are
// copies: the registry reads the calls at the same time.
func filledCopies(calls []*Call) []*Call {
	filled := append([]*Call(nil), calls...)
	for i, c := range filled {
		if c.Response.details != nil {
			shallow := *c
			filled[i] = &shallow
		}
	}
	fillDetails(filled)
	return filled
}

func sendSpans(ctx context.Context, e *exporter, request *spanRequest) *delivery {
	d := postExport(ctx, e, e.settings.traces, request.body)
	if d.rejected > 0 {
		countLost(e.registry, lostSpan, d.rejected)
	}
	return d
}

// exportMetrics sends the metrics. A failed export is retried with current values until the next
// one is due. Metrics are cumulative, so one failed export loses nothing.
func exportMetrics(e *exporter, now time.Time) {
	d := sendMetrics(context.Background(), e)
	e.attempts++
	if d.again && e.attempts < exportAttempts {
		if due := time.Now().Add(retryDelay(e, e.attempts, d.after)); due.Before(e.intervalEnd.Add(e.settings.interval)) {
			e.metricsDue = due
			return
		}
	}
	if !d.accepted || d.rejected > 0 {
		countLost(e.registry, lostExport, 1)
	}
	nextInterval(e, now)
}

// nextInterval schedules the next export of metrics.
func nextInterval(e *exporter, now time.Time) {
	e.intervalEnd = e.intervalEnd.Add(e.settings.interval)
	if e.intervalEnd.Before(now) {
		e.intervalEnd = now.Add(e.settings.interval)
	}
	e.metricsDue = e.intervalEnd
	e.attempts = 0
}

// sendMetrics sends the current state of all metrics in as many requests as necessary. It stops at
// the first that fails.
func sendMetrics(ctx context.Context, e *exporter) *delivery {
	now := time.Now()
	all := &delivery{accepted: true}
	texts := attributeTexts{}
	for _, metrics := range metricRequests(collect(e.registry, e.settings.semconv), pointBatch) {
		body := metricPayload(e.settings.resource, texts, metrics, e.registry.started, now)
		d := postExport(ctx, e, e.settings.metrics, compressBody(e, e.settings.metrics, body))
		if !d.accepted {
			return d
		}
		all.rejected += d.rejected
	}
	return all
}

// flush sends the remaining spans and the metrics once, within the timeout of a single request.
func flush(e *exporter) {
	timeout := time.Duration(0)
	for _, signal := range []*otlpSignal{e.settings.traces, e.settings.metrics} {
		if signal != nil && signal.timeout > timeout {
			timeout = signal.timeout
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for request := lastSpans(e); request != nil; request = lastSpans(e) {
		if ctx.Err() != nil || !sendSpans(ctx, e, request).accepted {
			countLost(e.registry, lostSpan, request.spans)
		}
	}
	if e.settings.metrics == nil {
		return
	}
	if d := sendMetrics(ctx, e); !d.accepted || d.rejected > 0 {
		countLost(e.registry, lostExport, 1)
	}
}

// lastSpans returns the next request of a flush: the one that failed, then those with queued spans.
// It returns nil if there is none.
func lastSpans(e *exporter) *spanRequest {
	if e.settings.traces == nil {
		return nil
	}
	request := e.pending
	e.pending = nil
	if request != nil {
		return request
	}
	return takeSpans(e)
}

// retryDelay returns the delay before the next attempt: exponential backoff, but at least what the
// collector requested.
func retryDelay(e *exporter, attempts int, after time.Duration) time.Duration {
	delay := e.settings.backoff << (attempts - 1)
	delay = delay/2 + time.Duration(rand.Int63n(int64(delay))) // jitter, since many Traefiks see the same collector fail
	if delay < after {
		return after
	}
	return delay
}
