package chatcompletion

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"math/rand"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds of an exporter.
const (
	spanQueueMax      = 2048     // spans that wait
	spanQueueMaxBytes = 32 << 20 // of prompts and answers in them
	spanBatch         = 512      // spans of one request
	spanBatchMaxBytes = 4 << 20  // of prompts and answers in them
	spanMaxWait       = 5 * time.Second
	pointBatch        = 1000 // points of metrics of one request, which are about a megabyte

	exportAttempts   = 5
	exportBackoff    = time.Second // before the second attempt
	maxRetryAfter    = time.Minute // that a collector can ask for
	exporterLinger   = 2 * time.Second
	collectorMaxText = 64 << 10 // bytes that are read of a collector's answer
)

// exporter sends metrics and spans to a collector. All middlewares with equal settings share one. It lives as long as one
// of them does, and a little longer: when Traefik loads a configuration, the old middlewares go before the new ones come,
// and streams of the old ones may flow for minutes. What an exporter without users gets is sent, too.
//
// Its goroutine waits at one channel only, at which a timer, a full queue and the last user wake it: Yaegi does not come
// back from some selects.
type exporter struct {
	settings *otlpSettings
	registry *registry
	client   *http.Client
	wakes    chan bool // of one place, which is free while the exporter is not awake

	mu          sync.Mutex
	users       int
	left        time.Time // when the last user went
	running     bool      // there is a goroutine
	awake       bool
	queue       []*Call
	queuedBytes int

	// What follows is the goroutine's own.

	pending     *spanRequest // that failed, and is sent again
	spansDue    time.Time
	metricsDue  time.Time       // the next attempt
	intervalEnd time.Time       // when metrics are due at the latest
	attempts    int             // to send metrics since they were due
	failing     map[string]bool // by the name of the signal
	texts       requestTexts
}

// spanRequest is a request with spans.
type spanRequest struct {
	body     []byte
	spans    int64
	attempts int
	due      time.Time // the next attempt
}

// theExporters are those that take users, by the key of their settings.
var (
	theExportersMu sync.Mutex
	theExporters   = map[string]*exporter{}
)

// useExporter returns the exporter for settings. It is the caller's until ctx is done.
func useExporter(ctx context.Context, s *otlpSettings, r *registry) *exporter {
	theExportersMu.Lock()
	e := theExporters[s.key]
	if e == nil {
		e = newExporter(s, r)
		theExporters[s.key] = e
	}
	e.mu.Lock()
	e.users++
	startWorker(e)
	e.mu.Unlock()
	theExportersMu.Unlock()
	if done := ctx.Done(); done != nil {
		go leave(e, done)
	}
	return e
}

func newExporter(s *otlpSettings, r *registry) *exporter {
	now := time.Now()
	return &exporter{
		settings: s,
		registry: r,
		wakes:    make(chan bool, 1),
		spansDue: now.Add(s.spanWait), metricsDue: now.Add(s.interval), intervalEnd: now.Add(s.interval),
		failing: map[string]bool{}, texts: requestTexts{},
		client: &http.Client{
			// The headers hold keys, which are for the configured address.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport: &http.Transport{
				Proxy:                  http.ProxyFromEnvironment,
				ForceAttemptHTTP2:      true,
				DisableCompression:     true,
				MaxIdleConnsPerHost:    1,
				IdleConnTimeout:        90 * time.Second,
				TLSHandshakeTimeout:    10 * time.Second,
				MaxResponseHeaderBytes: collectorMaxText,
			},
		},
	}
}

// startWorker sees to it that there is a goroutine. The caller holds the lock.
func startWorker(e *exporter) {
	if !e.running {
		e.running = true
		go work(e)
	}
}

// leave waits until a user is done.
func leave(e *exporter, done <-chan struct{}) {
	defer func() { _ = recover() }()
	<-done
	e.mu.Lock()
	e.users--
	e.left = time.Now()
	wake(e)
	e.mu.Unlock()
}

// Consume queues a call whose span is to be sent.
func (e *exporter) Consume(c *Call) {
	if c.Trace == nil {
		return
	}
	size := len(c.Input) + len(c.Answer.Content)
	e.mu.Lock()
	isFull := len(e.queue) >= spanQueueMax || e.queuedBytes+size > spanQueueMaxBytes
	if !isFull {
		e.queue = append(e.queue, c)
		e.queuedBytes += size
		if !e.running {
			e.left = time.Now()
			startWorker(e)
		}
		if len(e.queue) == spanBatch {
			wake(e)
		}
	}
	e.mu.Unlock()
	if isFull {
		lose(e.registry, lostSpan, 1)
	}
}

// wake lets the goroutine look what there is to do. It does not block. The caller holds the lock.
func wake(e *exporter) {
	if !e.awake {
		e.awake = true
		e.wakes <- true
	}
}

// waker returns what a timer calls.
func waker(e *exporter) func() {
	return func() {
		defer func() { _ = recover() }()
		e.mu.Lock()
		wake(e)
		e.mu.Unlock()
	}
}

// work is the goroutine of an exporter.
func work(e *exporter) {
	for turn(e) {
	}
}

// turn waits until something is due, does it, and tells whether the goroutine goes on. A panic that left it would end the
// whole of Traefik.
func turn(e *exporter) (goesOn bool) {
	goesOn = true
	defer func() {
		if recover() != nil {
			goesOn = recoverWorker(e)
		}
	}()
	awaitDue(e)
	now := time.Now()
	if retire(e, now) {
		flush(e)
		return !endWork(e)
	}
	if e.settings.traces != nil {
		exportSpans(e, now)
	}
	if e.settings.metrics != nil && !now.Before(e.metricsDue) {
		exportMetrics(e, now)
	}
	return true
}

// awaitDue returns when something may be due.
func awaitDue(e *exporter) {
	e.mu.Lock()
	next := e.spansDue
	if e.pending != nil {
		next = e.pending.due
	} else if len(e.queue) >= spanBatch {
		next = time.Time{}
	}
	if e.settings.traces == nil || (e.settings.metrics != nil && e.metricsDue.Before(next)) {
		next = e.metricsDue
	}
	if end := e.left.Add(e.settings.linger); e.users == 0 && end.Before(next) {
		next = end
	}
	e.mu.Unlock()
	delay := time.Until(next)
	if delay <= 0 {
		return
	}
	timer := time.AfterFunc(delay, waker(e))
	<-e.wakes
	timer.Stop()
	e.mu.Lock()
	e.awake = false
	e.mu.Unlock()
}

// retire tells whether the exporter has had no user for long enough, and sees to it that there will be none.
func retire(e *exporter, now time.Time) bool {
	theExportersMu.Lock()
	e.mu.Lock()
	isOver := e.users == 0 && !now.Before(e.left.Add(e.settings.linger))
	if isOver && theExporters[e.settings.key] == e {
		delete(theExporters, e.settings.key)
	}
	e.mu.Unlock()
	theExportersMu.Unlock()
	return isOver
}

// endWork ends the goroutine, unless there is something to send again.
func endWork(e *exporter) bool {
	e.client.CloseIdleConnections()
	e.mu.Lock()
	isEnd := len(e.queue) == 0
	e.running = !isEnd
	e.left = time.Now()
	e.mu.Unlock()
	return isEnd
}

// recoverWorker goes on after a panic, without what may have led to it, and without it at the end.
func recoverWorker(e *exporter) bool {
	tell(e, "telemetry", "anywhere", "an error in the plugin")
	e.pending = nil
	e.spansDue = time.Now().Add(e.settings.spanWait)
	nextInterval(e, time.Now())
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.users == 0 {
		e.queue = nil
		e.queuedBytes = 0
		e.running = false
	}
	return e.running
}

// exportSpans sends spans if they are due: those of the request that failed before others.
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
	lose(e.registry, lostSpan, request.spans)
}

// takeSpans makes a request of the calls that have waited longest; nil: there are none.
func takeSpans(e *exporter) *spanRequest {
	e.mu.Lock()
	count, size := 0, 0
	for count < len(e.queue) && count < spanBatch && size < spanBatchMaxBytes {
		size += len(e.queue[count].Input) + len(e.queue[count].Answer.Content)
		count++
	}
	calls := e.queue[:count]
	e.queue = append([]*Call(nil), e.queue[count:]...)
	e.queuedBytes -= size
	e.mu.Unlock()
	if count == 0 {
		return nil
	}
	if len(e.texts) > maxRequestTexts {
		e.texts = requestTexts{}
	}
	return &spanRequest{body: encoded(e.settings.traces, spanPayload(e.settings.resource, e.texts, calls)), spans: int64(count)}
}

func sendSpans(ctx context.Context, e *exporter, request *spanRequest) *delivery {
	d := send(ctx, e, e.settings.traces, request.body)
	if d.rejected > 0 {
		lose(e.registry, lostSpan, d.rejected)
	}
	return d
}

// exportMetrics sends the metrics. If that fails, it is tried again with newer ones until they are due anyway: they count
// from the beginning, and nothing is lost by one export that fails.
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
		lose(e.registry, lostExport, 1)
	}
	nextInterval(e, now)
}

// nextInterval sets when metrics are due next.
func nextInterval(e *exporter, now time.Time) {
	e.intervalEnd = e.intervalEnd.Add(e.settings.interval)
	if e.intervalEnd.Before(now) {
		e.intervalEnd = now.Add(e.settings.interval)
	}
	e.metricsDue = e.intervalEnd
	e.attempts = 0
}

// sendMetrics sends all metrics as they are now, in as many requests as it takes, up to the first that fails.
func sendMetrics(ctx context.Context, e *exporter) *delivery {
	now := time.Now()
	all := &delivery{accepted: true}
	texts := attributeTexts{}
	for _, metrics := range metricRequests(collect(e.registry), pointBatch) {
		body := metricPayload(e.settings.resource, texts, metrics, e.registry.began, now)
		d := send(ctx, e, e.settings.metrics, encoded(e.settings.metrics, body))
		if !d.accepted {
			return d
		}
		all.rejected += d.rejected
	}
	return all
}

// flush sends what there is for the last time, within the time that one request has.
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
			lose(e.registry, lostSpan, request.spans)
		}
	}
	if e.settings.metrics == nil {
		return
	}
	if d := sendMetrics(ctx, e); !d.accepted || d.rejected > 0 {
		lose(e.registry, lostExport, 1)
	}
}

// lastSpans returns the next request that is sent once more or for the first time, nil if there is none.
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

// retryDelay returns how long to wait after so many attempts. What the collector asks for is the least.
func retryDelay(e *exporter, attempts int, after time.Duration) time.Duration {
	delay := e.settings.backoff << (attempts - 1)
	delay = delay/2 + time.Duration(rand.Int63n(int64(delay))) // many Traefiks see the same collector fail
	if delay < after {
		return after
	}
	return delay
}

// delivery is what became of a request.
type delivery struct {
	accepted bool
	rejected int64         // of its spans or points
	again    bool          // it may succeed later
	after    time.Duration // not before
}

// encoded returns a body as it is sent.
func encoded(s *otlpSignal, body []byte) []byte {
	if !s.gzip {
		return body
	}
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	_, _ = writer.Write(body)
	_ = writer.Close()
	return compressed.Bytes()
}

// send posts a body to the collector, and tells the operator if that begins to fail.
func send(ctx context.Context, e *exporter, s *otlpSignal, body []byte) *delivery {
	d := &delivery{}
	problem := post(ctx, e, s, body, d)
	if problem != "" {
		tell(e, s.name, s.url, problem)
	} else {
		e.failing[s.name] = false
	}
	return d
}

// post returns what is wrong, "" if nothing is.
func post(ctx context.Context, e *exporter, s *otlpSignal, body []byte, d *delivery) string {
	bounded, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(bounded, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return "the URL cannot be used"
	}
	req.Header.Set("User-Agent", "chat-completion")
	for _, header := range s.headers {
		value := currentValue(header)
		if value == "" {
			d.again = true
			return "there is no value for the header " + header.header
		}
		req.Header[header.header] = []string{value}
	}
	req.Header.Set("Content-Type", "application/json")
	if s.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	res, err := e.client.Do(req)
	if err != nil {
		d.again = true
		if bounded.Err() != nil {
			return "no answer within " + s.timeout.String()
		}
		return problemText(err)
	}
	answer, _ := io.ReadAll(io.LimitReader(res.Body, collectorMaxText))
	_ = res.Body.Close()
	return readAnswer(res, answer, d)
}

// currentValue returns the value of a header as it is now, "" if there is none.
func currentValue(c *credential) string {
	if c.path != "" {
		return c.fromFile()
	}
	return c.value
}

// problemText returns what an error says, without the URL and without the password of a proxy.
func problemText(err error) string {
	if inner, ok := err.(*url.Error); ok {
		err = inner.Err
	}
	text := err.Error()
	if strings.Contains(text, "proxy address") {
		return "the proxy's address cannot be used"
	}
	return text
}

// readAnswer notes what a collector says, and returns what is wrong.
func readAnswer(res *http.Response, answer []byte, d *delivery) string {
	switch res.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		d.again = true
		d.after = retryAfter(res.Header.Get("Retry-After"))
	}
	d.accepted = res.StatusCode >= http.StatusOK && res.StatusCode < http.StatusMultipleChoices
	if !d.accepted {
		return "the answer has status " + strconv.Itoa(res.StatusCode)
	}
	var members struct {
		PartialSuccess struct {
			RejectedSpans      json.Number `json:"rejectedSpans"`
			RejectedDataPoints json.Number `json:"rejectedDataPoints"`
			ErrorMessage       string      `json:"errorMessage"`
		} `json:"partialSuccess"`
	}
	if json.Unmarshal(answer, &members) != nil {
		return ""
	}
	for _, number := range []json.Number{members.PartialSuccess.RejectedSpans, members.PartialSuccess.RejectedDataPoints} {
		if count, err := number.Int64(); err == nil && count > 0 {
			d.rejected += count
		}
	}
	if d.rejected == 0 {
		return ""
	}
	return strconv.FormatInt(d.rejected, 10) + " are refused: " + strconv.Quote(shortened(members.PartialSuccess.ErrorMessage))
}

// retryAfter reads a Retry-After, seconds or a date.
func retryAfter(text string) time.Duration {
	after := time.Duration(0)
	if seconds, err := strconv.Atoi(text); err == nil {
		after = maxRetryAfter
		if seconds < int(maxRetryAfter/time.Second) {
			after = time.Duration(seconds) * time.Second
		}
	} else if date, err := http.ParseTime(text); err == nil {
		after = time.Until(date)
	}
	if after > maxRetryAfter {
		return maxRetryAfter
	}
	return after
}

// tell makes a failure known, once until something has been sent again.
func tell(e *exporter, name, address, problem string) {
	if !e.failing[name] {
		e.failing[name] = true
		warn("%s cannot be sent to %s: %s", name, address, problem)
	}
}
