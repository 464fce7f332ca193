package chatcompletion

import (
	"compress/gzip"
	"context"
	"net/http"
	"sync"
	"time"
)

// Bounds of an exporter.
const (
	spanQueueMax      = 2048     // queued spans
	spanQueueMaxBytes = 32 << 20 // of prompts and responses in the queue
	spanBatch         = 512      // spans per request
	spanBatchMaxBytes = 4 << 20  // of prompts and responses per request
	spanMaxWait       = 5 * time.Second
	pointBatch        = 1000 // metric points per request, about 1 MB

	exportAttempts   = 5
	exportBackoff    = time.Second // before the second attempt
	exporterLinger   = 2 * time.Second
	collectorMaxText = 64 << 10 // bytes read of a collector's response
)

// exporter sends metrics and spans to a collector. All middlewares with equal settings share one.
// It outlives the last of them a little: when Traefik loads a configuration, the old middlewares go
// before the new ones come, and streams of the old ones may last for minutes. Spans that arrive
// after the last user has gone are sent, too.
//
// Its goroutine waits on a single channel, on which a timer, a full queue and the last user notify
// it: some selects hang in Yaegi.
type exporter struct {
	settings      *otlpSettings
	registry      *registry
	client        *http.Client
	notifications chan bool          // capacity 1; empty unless notified is set
	release       context.CancelFunc // ends the look-ups of the secrets in headers

	mu          sync.Mutex
	users       int
	left        time.Time // when the last user left
	running     bool      // the goroutine runs
	notified    bool
	queue       []*Call
	queuedBytes int

	// Only the goroutine uses the fields below.

	pending     *spanRequest // failed and waiting for its next attempt; nil: none
	spansDue    time.Time
	metricsDue  time.Time       // the next attempt
	intervalEnd time.Time       // the end of the current export interval
	attempts    int             // to send metrics in this interval
	failing     map[string]bool // by signal name; its failure has been logged
	texts       requestTexts
	compressor  *gzip.Writer // nil until first used
}

// spanRequest is an export request with spans.
type spanRequest struct {
	body     []byte
	spans    int64
	attempts int
	due      time.Time // the next attempt
}

// theExporters are the exporters that accept users, by the key of their settings.
var (
	theExportersMu sync.Mutex
	theExporters   = map[string]*exporter{}
)

// useExporter returns the exporter for settings. The caller is a user of it until ctx is done.
func useExporter(ctx context.Context, s *otlpSettings, r *registry) *exporter {
	e := sharedExporter(s, r)
	if done := ctx.Done(); done != nil {
		go unsubscribe(e, done)
	}
	return e
}

// sharedExporter returns the exporter for settings, creating it if necessary, and adds a user.
func sharedExporter(s *otlpSettings, r *registry) *exporter {
	theExportersMu.Lock()
	defer theExportersMu.Unlock()
	e := theExporters[s.key]
	if e == nil {
		e = newExporter(s, r)
		theExporters[s.key] = e
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.users++
	startWorker(e)
	return e
}

func newExporter(s *otlpSettings, r *registry) *exporter {
	now := time.Now()
	ctx, release := context.WithCancel(context.Background())
	startHeaders(ctx, s.metrics)
	startHeaders(ctx, s.traces)
	return &exporter{
		settings:      s,
		registry:      r,
		notifications: make(chan bool, 1),
		spansDue:      now.Add(s.spanWait), metricsDue: now.Add(s.interval), intervalEnd: now.Add(s.interval),
		failing: map[string]bool{}, texts: requestTexts{},
		release: release,
		client: &http.Client{
			// The headers hold keys, which must not leave the configured address.
			CheckRedirect: func(_ *http.Request, _ []*http.Request) error { return http.ErrUseLastResponse },
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

// startHeaders starts the look-ups of the keys in a signal's headers.
func startHeaders(ctx context.Context, signal *otlpSignal) {
	if signal == nil {
		return
	}
	for _, header := range signal.headers {
		startCredential(ctx, header)
	}
}

// startWorker starts the goroutine if it is not running. The caller holds the lock.
func startWorker(e *exporter) {
	if !e.running {
		e.running = true
		go run(e)
	}
}

// unsubscribe waits until a user is done, and removes it.
func unsubscribe(e *exporter, done <-chan struct{}) {
	defer recoverGoroutine("telemetry.otlp")
	<-done
	e.mu.Lock()
	e.users--
	e.left = time.Now()
	notify(e)
	e.mu.Unlock()
}

// queueSpan queues a call to be sent as a span. It is the fast path of queueAndUnlock.
func queueSpan(e *exporter, c *Call) {
	e.mu.Lock()
	if !e.running || len(e.queue) >= spanBatch-1 || c.Input != nil || c.Response.Content != nil {
		queueAndUnlock(e, c)
		return
	}
	e.queue = append(e.queue, c)
	e.mu.Unlock()
}

// queueAndUnlock queues a call unless the queue is full, and starts or notifies the goroutine if
// necessary. The caller holds the lock.
func queueAndUnlock(e *exporter, c *Call) {
	size := len(c.Input) + len(c.Response.Content)
	isFull := len(e.queue) >= spanQueueMax || e.queuedBytes+size > spanQueueMaxBytes
	if !isFull {
		e.queue = append(e.queue, c)
		e.queuedBytes += size
		if !e.running {
			e.left = time.Now()
			startWorker(e)
		}
		if len(e.queue) == spanBatch {
			notify(e)
		}
	}
	e.mu.Unlock()
	if isFull {
		countLost(e.registry, lostSpan, 1)
	}
}

// notify wakes the goroutine. It does not block. The caller holds the lock.
func notify(e *exporter) {
	if !e.notified {
		e.notified = true
		e.notifications <- true
	}
}

// notifier returns the function that a timer calls.
func notifier(e *exporter) func() {
	return func() {
		defer recoverGoroutine("telemetry.otlp")
		e.mu.Lock()
		notify(e)
		e.mu.Unlock()
	}
}

// run is the goroutine of an exporter.
func run(e *exporter) {
	defer recoverGoroutine("telemetry.otlp")
	for step(e) {
	}
}

// step waits until an export is due, runs it, and reports whether the goroutine continues. It
// recovers from panics, since a panic that left the goroutine would end Traefik.
func step(e *exporter) (goesOn bool) {
	goesOn = true
	defer func() {
		if cause := recover(); cause != nil {
			goesOn = recoverWorker(e, cause)
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

// awaitDue blocks until an export may be due.
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
	timer := time.AfterFunc(delay, notifier(e))
	<-e.notifications
	timer.Stop()
	e.mu.Lock()
	e.notified = false
	e.mu.Unlock()
}

// retire reports whether the exporter has been without users for settings.linger. If so, it accepts
// no new users.
func retire(e *exporter, now time.Time) bool {
	theExportersMu.Lock()
	e.mu.Lock()
	isOver := e.users == 0 && !now.Before(e.left.Add(e.settings.linger))
	if isOver && theExporters[e.settings.key] == e {
		delete(theExporters, e.settings.key)
	}
	e.mu.Unlock()
	theExportersMu.Unlock()
	if isOver {
		e.release()
	}
	return isOver
}

// endWork ends the goroutine unless spans have been queued since. It reports whether the goroutine
// ends.
func endWork(e *exporter) bool {
	e.client.CloseIdleConnections()
	e.mu.Lock()
	isEnd := len(e.queue) == 0
	e.running = !isEnd
	e.left = time.Now()
	e.mu.Unlock()
	return isEnd
}

// recoverWorker continues after a panic without the request that may have caused it, and without
// the queue if there are no users. It reports whether the goroutine continues.
func recoverWorker(e *exporter, cause any) bool {
	logFailure(e, "telemetry", "the collector", "panic: "+causeText(cause))
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
