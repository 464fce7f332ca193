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
	settings      *otlpSettings
	registry      *registry
	client        *http.Client
	notifications chan bool          // of one place, which is free while the exporter is not awake
	release       context.CancelFunc // of the secrets in headers

	mu          sync.Mutex
	users       int
	left        time.Time // when the last user went
	running     bool      // there is a goroutine
	notified    bool
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
	compressor  *gzip.Writer // nil until it is needed
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
	e := sharedExporter(s, r)
	if done := ctx.Done(); done != nil {
		go unsubscribe(e, done)
	}
	return e
}

// sharedExporter returns the exporter for settings, with one more user.
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

// startHeaders begins to look up the keys that are sent along.
func startHeaders(ctx context.Context, signal *otlpSignal) {
	if signal == nil {
		return
	}
	for _, header := range signal.headers {
		startCredential(ctx, header)
	}
}

// startWorker sees to it that there is a goroutine. The caller holds the lock.
func startWorker(e *exporter) {
	if !e.running {
		e.running = true
		go run(e)
	}
}

// unsubscribe waits until a user is done.
func unsubscribe(e *exporter, done <-chan struct{}) {
	defer recoverGoroutine("telemetry.otlp")
	<-done
	e.mu.Lock()
	e.users--
	e.left = time.Now()
	notify(e)
	e.mu.Unlock()
}

// queueSpan queues a call whose span is to be sent.
func queueSpan(e *exporter, c *Call) {
	e.mu.Lock()
	if !e.running || len(e.queue) >= spanBatch-1 || c.Input != nil || c.Response.Content != nil {
		queueAndUnlock(e, c)
		return
	}
	e.queue = append(e.queue, c)
	e.mu.Unlock()
}

// queueAndUnlock queues a call that the goroutine may have to be told of, or that may be too much. The caller holds the lock.
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

// notify lets the goroutine look what there is to do. It does not block. The caller holds the lock.
func notify(e *exporter) {
	if !e.notified {
		e.notified = true
		e.notifications <- true
	}
}

// notifier returns what a timer calls.
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
	for step(e) {
	}
}

// step waits until something is due, does it, and tells whether the goroutine goes on. A panic that left it would end the
// whole of Traefik.
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
	timer := time.AfterFunc(delay, notifier(e))
	<-e.notifications
	timer.Stop()
	e.mu.Lock()
	e.notified = false
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
	if isOver {
		e.release()
	}
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
func recoverWorker(e *exporter, cause any) bool {
	logFailure(e, "telemetry", "anywhere", "a panic: "+causeText(cause))
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
