package chatcompletion

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// eventuallyTimeout bounds every wait for a condition. A machine may be slow; only a failure waits that long.
const eventuallyTimeout = 30 * time.Second

// eventually waits for a condition.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(eventuallyTimeout); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", eventuallyTimeout, what)
		}
	}
}

// testCollector responds to each export by a function, or with 200 if it is nil.
type testCollector struct {
	*httptest.Server
	response func(rw http.ResponseWriter, req *http.Request, attempt int)

	mu         sync.Mutex
	attempts   int                 // number of export attempts
	spans      []string            // IDs of accepted spans
	attributes []map[string]string // text attributes of accepted spans
	metrics    int                 // accepted exports of metrics
	headers    []http.Header       // of all attempts
}

func newTestCollector(t *testing.T, response func(rw http.ResponseWriter, req *http.Request, attempt int)) *testCollector {
	c := &testCollector{response: response}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *testCollector) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	var body io.Reader = req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(req.Body)
	}
	var message struct {
		ResourceSpans []struct {
			ScopeSpans []struct {
				Spans []struct {
					SpanID     string
					Attributes []struct {
						Key   string
						Value struct{ StringValue string }
					}
				}
			}
		}
	}
	err := json.NewDecoder(body).Decode(&message)
	_, _ = io.Copy(io.Discard, req.Body)
	c.mu.Lock()
	c.attempts++
	attempt := c.attempts
	c.headers = append(c.headers, req.Header)
	c.mu.Unlock()
	recorder := httptest.NewRecorder()
	if c.response != nil {
		c.response(recorder, req, attempt)
	}
	if err != nil {
		recorder.Code = http.StatusBadRequest
	}
	if recorder.Code == http.StatusOK {
		c.mu.Lock()
		if req.URL.Path == "/v1/metrics" {
			c.metrics++
		}
		for _, resource := range message.ResourceSpans {
			for _, span := range resource.ScopeSpans[0].Spans {
				c.spans = append(c.spans, span.SpanID)
				texts := map[string]string{}
				for _, attribute := range span.Attributes {
					texts[attribute.Key] = attribute.Value.StringValue
				}
				c.attributes = append(c.attributes, texts)
			}
		}
		c.mu.Unlock()
	}
	for name, values := range recorder.Header() {
		rw.Header()[name] = values
	}
	rw.WriteHeader(recorder.Code)
	_, _ = rw.Write(recorder.Body.Bytes())
}

func (c *testCollector) counts() (attempts, spans, metrics int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.attempts, len(c.spans), c.metrics
}

// fastSettings returns settings that export spans at once, and metrics only at the end.
func fastSettings(t *testing.T, config OTLP) *otlpSettings {
	t.Helper()
	config.Interval = "1h"
	s := readSettings(t, config, environment())
	s.spanWait = time.Millisecond
	s.linger = time.Millisecond
	s.backoff = time.Millisecond
	return s
}

// startTestExporter returns an exporter, and a function that ends its use and waits until it has stopped.
func startTestExporter(t *testing.T, s *otlpSettings, r *registry) (*exporter, func()) {
	t.Helper()
	startMetrics(r)
	r.quotas = newMemoryStore() // that of the process has the counters of other tests, for which an export may take two requests
	ctx, cancel := context.WithCancel(context.Background())
	e := useExporter(ctx, s, r)
	disconnect := func() {
		cancel()
		eventually(t, "the exporter has ended", func() bool { return hasEnded(e) })
	}
	t.Cleanup(disconnect)
	return e, disconnect
}

func hasEnded(e *exporter) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return !e.running
}

func lostOf(r *registry, kind string) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost[kind]
}

func tracedCall(id int) *Call {
	return &Call{Start: time.Now(), Target: &Target{Operation: chatOperation, Provider: "openai", MaxSeries: 10}, Request: &Request{}, Status: 200,
		Trace: &Trace{TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: fmt.Sprintf("%016x", id)}}
}

func TestExportSpansAndFinalMetrics(t *testing.T) {
	c := newTestCollector(t, nil)
	r := newRegistry()
	e, end := startTestExporter(t, fastSettings(t, OTLP{Endpoint: c.URL, Headers: map[string]string{"Api-Key": "k"}}), r)
	untraced := tracedCall(0)
	untraced.Trace = nil
	publish(&telemetry{registry: newRegistry(), exporter: e}, untraced)
	for i := 1; i <= 3; i++ {
		recordCall(r, tracedCall(i))
		queueSpan(e, tracedCall(i))
	}
	eventually(t, "three spans are exported", func() bool { _, spans, _ := c.counts(); return spans == 3 })
	end()
	if _, spans, metrics := c.counts(); spans != 3 || metrics != 1 {
		t.Errorf("%d spans and %d exports of metrics, want 3 and 1", spans, metrics)
	}
	for _, header := range c.headers {
		if header.Get("Content-Type") != "application/json" || header.Get("Content-Encoding") != "gzip" || header.Get("Api-Key") != "k" {
			t.Errorf("request headers %v, want JSON, gzip and the key", header)
		}
	}
}

func TestExportWithoutCompression(t *testing.T) {
	c := newTestCollector(t, nil)
	e, end := startTestExporter(t, fastSettings(t, OTLP{Endpoint: c.URL, Compression: "none"}), newRegistry())
	queueSpan(e, tracedCall(1))
	end()
	if _, spans, _ := c.counts(); spans != 1 || c.headers[0].Get("Content-Encoding") != "" {
		t.Errorf("%d spans, request headers %v, want 1, no Content-Encoding", spans, c.headers[0])
	}
}

func TestMetricsExportInterval(t *testing.T) {
	c := newTestCollector(t, nil)
	s := fastSettings(t, OTLP{Endpoint: c.URL, Traces: false})
	s.interval = 5 * time.Millisecond
	r := newRegistry()
	recordCall(r, tracedCall(1))
	startTestExporter(t, s, r)
	eventually(t, "metrics are exported several times", func() bool { _, _, metrics := c.counts(); return metrics >= 3 })
}

func TestEqualSettingsShareExporter(t *testing.T) {
	c := newTestCollector(t, nil)
	r := newRegistry()
	settings := func() *otlpSettings { return fastSettings(t, OTLP{Endpoint: c.URL}) }
	first, cancelFirst := context.WithCancel(context.Background())
	second, cancelSecond := context.WithCancel(context.Background())
	defer cancelFirst()
	startMetrics(r)
	e := useExporter(first, settings(), r)
	if got := useExporter(second, settings(), r); got != e {
		t.Error("equal settings have different exporters, want a shared one")
	}
	other := settings()
	other.key += "other"
	if got, _ := startTestExporter(t, other, r); got == e {
		t.Error("different settings share an exporter, want another")
	}
	cancelSecond()
	eventually(t, "one user is left", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return e.users == 1 })
	queueSpan(e, tracedCall(1))
	eventually(t, "the span is exported", func() bool { _, spans, _ := c.counts(); return spans == 1 })
	if hasEnded(e) {
		t.Error("exporter has ended, want it to run until its last user ends")
	}
	cancelFirst()
	eventually(t, "the exporter has ended", func() bool { return hasEnded(e) })
	if got, _ := startTestExporter(t, settings(), r); got == e {
		t.Error("new user has the old exporter, want a new one")
	}
}

func TestExporterLingersForNextUser(t *testing.T) {
	c := newTestCollector(t, nil)
	settings := func() *otlpSettings {
		s := fastSettings(t, OTLP{Endpoint: c.URL})
		s.linger = time.Hour
		return s
	}
	r := newRegistry()
	startMetrics(r)
	ctx, cancel := context.WithCancel(context.Background())
	e := useExporter(ctx, settings(), r)
	cancel()
	eventually(t, "the exporter has no user", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return e.users == 0 })
	if got, _ := startTestExporter(t, settings(), r); got != e {
		t.Error("next user has another exporter, want the same")
	}
	e.mu.Lock()
	e.settings.linger = time.Millisecond
	e.mu.Unlock()
}

func TestNewExporterDuringFinalFlush(t *testing.T) {
	flushing, goOn := make(chan bool), make(chan bool)
	c := newTestCollector(t, func(_ http.ResponseWriter, _ *http.Request, attempt int) {
		if attempt == 1 {
			close(flushing)
			<-goOn
		}
	})
	r := newRegistry()
	s := fastSettings(t, OTLP{Endpoint: c.URL})
	s.spanWait = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	startMetrics(r)
	e := useExporter(ctx, s, r)
	queueSpan(e, tracedCall(1))
	cancel()
	<-flushing
	next, _ := startTestExporter(t, s, r)
	if next == e {
		t.Error("new user has the exporter that ends, want a new one")
	}
	queueSpan(e, tracedCall(2)) // of a call that outlives its configuration
	close(goOn)
	eventually(t, "the old exporter has ended", func() bool { return hasEnded(e) })
	if _, spans, _ := c.counts(); spans != 2 {
		t.Errorf("%d spans, want 2", spans)
	}
}

func TestLateCallRestartsExporter(t *testing.T) {
	c := newTestCollector(t, nil)
	e, end := startTestExporter(t, fastSettings(t, OTLP{Endpoint: c.URL}), newRegistry())
	end()
	queueSpan(e, tracedCall(1))
	eventually(t, "the span is exported", func() bool { _, spans, _ := c.counts(); return spans == 1 })
	eventually(t, "the exporter has ended again", func() bool { return hasEnded(e) })
}

func TestFullBatchDoesNotWait(t *testing.T) {
	c := newTestCollector(t, nil)
	s := fastSettings(t, OTLP{Endpoint: c.URL, Metrics: false})
	s.spanWait = time.Hour
	e, _ := startTestExporter(t, s, newRegistry())
	for i := 0; i < 2*spanBatch+1; i++ {
		queueSpan(e, tracedCall(i))
	}
	eventually(t, "two batches are exported", func() bool { _, spans, _ := c.counts(); return spans == 2*spanBatch })
	if attempts, _, _ := c.counts(); attempts != 2 {
		t.Errorf("%d requests, want 2", attempts)
	}
}

func TestFullQueueCountsDroppedSpans(t *testing.T) {
	goOn := make(chan bool)
	c := newTestCollector(t, func(http.ResponseWriter, *http.Request, int) { <-goOn })
	s := fastSettings(t, OTLP{Endpoint: c.URL})
	r := newRegistry()
	e, end := startTestExporter(t, s, r)
	queueSpan(e, tracedCall(0))
	eventually(t, "a request is in flight", func() bool { attempts, _, _ := c.counts(); return attempts == 1 })
	for i := 0; i < spanQueueMax+7; i++ {
		queueSpan(e, tracedCall(1+i))
	}
	if got := lostOf(r, lostSpan); got != 7 {
		t.Errorf("%d lost spans, want 7", got)
	}
	close(goOn)
	end()
	if _, spans, _ := c.counts(); spans != 1+spanQueueMax {
		t.Errorf("%d exported spans, want %d", spans, 1+spanQueueMax)
	}
}

func TestSpanQueueBytesAreBounded(t *testing.T) {
	const size = 3 << 20
	r := newRegistry()
	e := newExporter(readSettings(t, OTLP{Endpoint: "http://c", Compression: "none"}, environment()), r)
	e.running = true // so that nothing removes the calls from the queue
	for i := 0; i <= spanQueueMaxBytes/size; i++ {
		call := tracedCall(i)
		call.Input = bytes.Repeat([]byte("a"), size)
		queueSpan(e, call)
	}
	if got := lostOf(r, lostSpan); got != 1 {
		t.Errorf("%d lost spans, want 1", got)
	}
	if got := takeSpans(e).spans; got != 2 {
		t.Errorf("%d spans in a request, want 2", got)
	}
	if got, want := e.queuedBytes, size*(spanQueueMaxBytes/size-2); got != want {
		t.Errorf("%d queued bytes, want %d", got, want)
	}
}

func TestTransientExportFailureIsRetried(t *testing.T) {
	for _, status := range []int{429, 502, 503, 504, 0} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			c := newTestCollector(t, func(rw http.ResponseWriter, _ *http.Request, attempt int) {
				if attempt < exportAttempts && status == 0 {
					panic(http.ErrAbortHandler)
				} else if attempt < exportAttempts {
					rw.WriteHeader(status)
				}
			})
			r := newRegistry()
			logged := warnings(t, func() {
				e, end := startTestExporter(t, fastSettings(t, OTLP{Endpoint: c.URL, Metrics: false}), r)
				queueSpan(e, tracedCall(1))
				eventually(t, "the span is exported", func() bool { _, spans, _ := c.counts(); return spans == 1 })
				end()
			})
			if attempts, _, _ := c.counts(); attempts != exportAttempts || lostOf(r, lostSpan) != 0 {
				t.Errorf("%d attempts, %d lost spans, want %d and none", attempts, lostOf(r, lostSpan), exportAttempts)
			}
			if lines := strings.Count(logged, "\n"); lines != 1 || !strings.Contains(logged, "cannot export traces to "+c.URL+"/v1/traces: ") {
				t.Errorf("log %q, want one line", logged)
			}
		})
	}
}

func TestPermanentExportFailureIsCounted(t *testing.T) {
	tests := []struct {
		name     string
		status   int
		attempts int
	}{
		{"bad request", 400, 1},
		{"unauthorized", 401, 1},
		{"server error", 500, 1},
		{"redirect", 307, 1},
		{"unavailable in all attempts", 503, exportAttempts},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newTestCollector(t, func(rw http.ResponseWriter, _ *http.Request, _ int) {
				rw.Header().Set("Location", "/v1/traces")
				rw.WriteHeader(test.status)
			})
			r := newRegistry()
			logged := warnings(t, func() {
				e, end := startTestExporter(t, fastSettings(t, OTLP{Endpoint: c.URL, Metrics: false, Headers: map[string]string{"Api-Key": "canary"}}), r)
				for i := 1; i <= 3; i++ {
					queueSpan(e, tracedCall(i))
					eventually(t, "the span is lost", func() bool { return lostOf(r, lostSpan) == int64(i) })
				}
				end()
			})
			if attempts, _, _ := c.counts(); attempts != 3*test.attempts {
				t.Errorf("%d attempts, want %d", attempts, 3*test.attempts)
			}
			if want := fmt.Sprintf(": response status %d; further failures are not logged until an export succeeds\n", test.status); strings.Count(logged, "\n") != 1 || !strings.HasSuffix(logged, want) {
				t.Errorf("log %q, want one line with the suffix %q", logged, want)
			}
			if strings.Contains(logged, "canary") {
				t.Errorf("log %q, want no key", logged)
			}
		})
	}
}

func TestExportWarnsOncePerFailureStreak(t *testing.T) {
	c := newTestCollector(t, func(rw http.ResponseWriter, _ *http.Request, attempt int) {
		if attempt != 3 {
			rw.WriteHeader(http.StatusBadRequest)
		}
	})
	logged := warnings(t, func() {
		e, end := startTestExporter(t, fastSettings(t, OTLP{Endpoint: c.URL, Metrics: false}), newRegistry())
		for i := 1; i <= 5; i++ {
			queueSpan(e, tracedCall(i))
			eventually(t, "the export is attempted", func() bool { attempts, _, _ := c.counts(); return attempts == i })
		}
		end()
	})
	if got := strings.Count(logged, "\n"); got != 2 {
		t.Errorf("log %q, want two lines", logged)
	}
}

func TestPartialSuccessIsCounted(t *testing.T) {
	c := newTestCollector(t, func(rw http.ResponseWriter, req *http.Request, _ int) {
		if strings.HasSuffix(req.URL.Path, "traces") {
			_, _ = io.WriteString(rw, `{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}`)
		} else {
			_, _ = io.WriteString(rw, `{"partialSuccess":{"rejectedDataPoints":1}}`)
		}
	})
	r := newRegistry()
	logged := warnings(t, func() {
		e, end := startTestExporter(t, fastSettings(t, OTLP{Endpoint: c.URL}), r)
		recordCall(r, tracedCall(1))
		queueSpan(e, tracedCall(1))
		end()
	})
	if spans, exports := lostOf(r, lostSpan), lostOf(r, lostExport); spans != 2 || exports != 1 {
		t.Errorf("%d lost spans and %d lost exports, want 2 and 1", spans, exports)
	}
	if !strings.Contains(logged, `2 rejected by the collector: "too old"`) {
		t.Errorf("log %q, want the rejected spans in it", logged)
	}
}

func TestExportRetryAfterIsBounded(t *testing.T) {
	tests := []struct {
		text        string
		least, most time.Duration
	}{
		{"", 0, 0},
		{"7", 7 * time.Second, 7 * time.Second},
		{"100000000000", time.Minute, time.Minute},
		{"99999999999999999999", 0, 0},
		{"soon", 0, 0},
		{time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat), 20 * time.Second, 30 * time.Second},
		{time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), time.Minute, time.Minute},
	}
	for _, test := range tests {
		if got := parseRetryAfter(test.text, time.Now()); got < test.least || got > test.most {
			t.Errorf("parseRetryAfter(%q) = %v, want %v to %v", test.text, got, test.least, test.most)
		}
	}
	e := &exporter{settings: &otlpSettings{backoff: time.Second}}
	for attempt, least := range []time.Duration{0, time.Second / 2, time.Second, 2 * time.Second, 4 * time.Second} {
		if attempt == 0 {
			continue
		}
		if got := retryDelay(e, attempt, 0); got < least || got > 3*least {
			t.Errorf("after %d attempts: delay %v, want %v to %v", attempt, got, least, 3*least)
		}
	}
	if got := retryDelay(e, 1, 20*time.Second); got != 20*time.Second {
		t.Errorf("delay %v, want the Retry-After of 20s", got)
	}
}

func TestExporterEndSkipsRetryDelay(t *testing.T) {
	c := newTestCollector(t, func(rw http.ResponseWriter, _ *http.Request, attempt int) {
		if attempt == 1 {
			rw.Header().Set("Retry-After", "60")
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	_ = warnings(t, func() {
		e, end := startTestExporter(t, fastSettings(t, OTLP{Endpoint: c.URL, Metrics: false}), newRegistry())
		queueSpan(e, tracedCall(1))
		eventually(t, "the export is attempted", func() bool { attempts, _, _ := c.counts(); return attempts == 1 })
		queueSpan(e, tracedCall(2))
		end() // within eventuallyTimeout, which is less than the Retry-After
	})
	if _, spans, _ := c.counts(); spans != 2 {
		t.Errorf("%d spans, want 2", spans)
	}
}

func TestSlowCollectorTimesOut(t *testing.T) {
	goOn := make(chan bool)
	defer close(goOn)
	c := newTestCollector(t, func(http.ResponseWriter, *http.Request, int) { <-goOn })
	r := newRegistry()
	logged := warnings(t, func() {
		e, end := startTestExporter(t, fastSettings(t, OTLP{Endpoint: c.URL, Timeout: "20ms"}), r)
		recordCall(r, tracedCall(1))
		queueSpan(e, tracedCall(1))
		eventually(t, "the span is lost", func() bool { return lostOf(r, lostSpan) == 1 })
		end()
	})
	if !strings.Contains(logged, "no response within 20ms") {
		t.Errorf("log %q, want the timeout in it", logged)
	}
	if got := lostOf(r, lostExport); got != 1 {
		t.Errorf("%d lost exports, want 1", got)
	}
}

func TestFailedMetricsExportRecovers(t *testing.T) {
	tests := []struct {
		name     string
		status   int // of the first two attempts
		interval time.Duration
		lost     int64
	}{
		{"unavailable", 503, time.Second, 0}, // long enough for all attempts, also on a busy machine
		{"bad request", 400, 200 * time.Millisecond, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newTestCollector(t, func(rw http.ResponseWriter, _ *http.Request, attempt int) {
				if attempt <= 2 {
					rw.WriteHeader(test.status)
				}
			})
			s := fastSettings(t, OTLP{Endpoint: c.URL, Traces: false})
			s.interval = test.interval
			r := newRegistry()
			recordCall(r, tracedCall(1))
			_ = warnings(t, func() {
				_, end := startTestExporter(t, s, r)
				eventually(t, "metrics are exported", func() bool { _, _, metrics := c.counts(); return metrics > 0 })
				end()
			})
			if got := lostOf(r, lostExport); got != test.lost {
				t.Errorf("%d lost exports, want %d", got, test.lost)
			}
		})
	}
}

func TestExportWaitsForHeaderFile(t *testing.T) {
	c := newTestCollector(t, nil)
	file := filepath.Join(t.TempDir(), "key")
	s := fastSettings(t, OTLP{Endpoint: c.URL, Metrics: false, Headers: map[string]string{"Api-Key": "urn:file:" + file}})
	s.backoff = 100 * time.Millisecond
	s.traces.headers[0].source.pace = fastPace()
	logged := logOutput(t, func() {
		e, end := startTestExporter(t, s, newRegistry())
		queueSpan(e, tracedCall(1))
		eventually(t, "the missing key is logged", func() bool {
			logged, err := os.ReadFile(os.Stderr.Name())
			return err == nil && strings.Contains(string(logged), "no value for the header")
		})
		if err := os.WriteFile(file, []byte("canary"), 0o600); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the span is exported", func() bool { _, spans, _ := c.counts(); return spans == 1 })
		end()
		awaitRetired(t, s.traces.headers[0].source)
	})
	if got := c.headers[0].Get("Api-Key"); got != "canary" {
		t.Errorf("Request header Api-Key = %q, want the content of the file", got)
	}
	if !strings.Contains(logged, "no value for the header Api-Key") || !strings.Contains(logged, "telemetry.otlp.headers.Api-Key: ") {
		t.Errorf("log %q, want the header in it", logged)
	}
}

func TestExporterPanicIsRecovered(t *testing.T) {
	c := newTestCollector(t, nil)
	s := fastSettings(t, OTLP{Endpoint: c.URL, Metrics: false})
	_ = warnings(t, func() {
		e, end := startTestExporter(t, s, newRegistry())
		broken := tracedCall(1)
		broken.Trace = nil
		e.mu.Lock()
		e.queue = append(e.queue, broken)
		e.mu.Unlock()
		eventually(t, "the queue is empty", func() bool { e.mu.Lock(); defer e.mu.Unlock(); return len(e.queue) == 0 })
		queueSpan(e, tracedCall(2))
		eventually(t, "the next span is exported", func() bool { _, spans, _ := c.counts(); return spans == 1 })
		end()
	})
}
