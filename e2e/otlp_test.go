package e2e_test

import (
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/traefik/traefik/v3/pkg/plugins"
	metricservice "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	traceservice "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	metrics "go.opentelemetry.io/proto/otlp/metrics/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// collector accepts OTLP as JSON, and reports any deviation from the format.
type collector struct {
	*httptest.Server
	t *testing.T

	mu       sync.Mutex
	exports  int
	spans    map[string]*trace.Span // by ID
	metrics  map[string]*metrics.Metric
	resource map[string]any
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t, spans: map[string]*trace.Span{}, metrics: map[string]*metrics.Metric{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *collector) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	rw.Header().Set("Content-Type", "application/json")
	if err := c.take(req); err != nil {
		c.t.Errorf("%s %s: %v", req.Method, req.URL, err)
		rw.WriteHeader(http.StatusBadRequest)
	}
	_, _ = io.WriteString(rw, "{}")
}

func (c *collector) take(req *http.Request) error {
	for name, want := range map[string]string{"Content-Type": "application/json", "Content-Encoding": "gzip", "X-Key": "collector-key"} {
		if got := req.Header.Get(name); got != want {
			return fmt.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	plain, err := gzip.NewReader(req.Body)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(plain)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exports++
	switch req.URL.Path {
	case "/base/v1/traces":
		var message traceservice.ExportTraceServiceRequest
		if err := decodeOTLP(body, &message); err != nil {
			return err
		}
		for _, resource := range message.ResourceSpans {
			c.resource = attributes(resource.Resource.Attributes)
			for _, scope := range resource.ScopeSpans {
				for _, span := range scope.Spans {
					c.spans[hex.EncodeToString(span.SpanId)] = span
				}
			}
		}
	case "/base/v1/metrics":
		var message metricservice.ExportMetricsServiceRequest
		if err := decodeOTLP(body, &message); err != nil {
			return err
		}
		for _, resource := range message.ResourceMetrics {
			for _, scope := range resource.ScopeMetrics {
				for _, metric := range scope.Metrics {
					c.metrics[metric.Name] = metric
				}
			}
		}
	default:
		return fmt.Errorf("path %q", req.URL.Path)
	}
	return nil
}

// decodeOTLP decodes with the published schema, and fails unless encoding with that schema yields
// the same JSON: 64-bit integers as strings, enumerations as numbers, and no unknown names. Only
// the encoding of IDs differs from proto3's JSON mapping.
func decodeOTLP(body []byte, message proto.Message) error {
	var sent any
	if err := json.Unmarshal(body, &sent); err != nil {
		return err
	}
	sent = idsAsBase64(sent)
	mapped, err := json.Marshal(sent)
	if err != nil {
		return err
	}
	if err := protojson.Unmarshal(mapped, message); err != nil {
		return fmt.Errorf("%w: %s", err, body)
	}
	canonical, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(message)
	if err != nil {
		return err
	}
	var want any
	if err := json.Unmarshal(canonical, &want); err != nil {
		return err
	}
	if !reflect.DeepEqual(sent, want) {
		return fmt.Errorf("got\n%s\nwant\n%s", mapped, canonical)
	}
	return nil
}

func idsAsBase64(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = idsAsBase64(v[i])
		}
	case map[string]any:
		for name, member := range v {
			v[name] = idsAsBase64(member)
			if name == "traceId" || name == "spanId" || name == "parentSpanId" {
				id, err := hex.DecodeString(member.(string))
				if err != nil {
					id = []byte("no hexadecimal digits")
				}
				v[name] = base64.StdEncoding.EncodeToString(id)
			}
		}
	}
	return value
}

// attributes returns attributes by name. Numbers keep their type.
func attributes(pairs []*common.KeyValue) map[string]any {
	found := map[string]any{}
	for _, pair := range pairs {
		if _, twice := found[pair.Key]; twice {
			found[pair.Key] = "is there twice"
			continue
		}
		switch value := pair.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			found[pair.Key] = value.StringValue
		case *common.AnyValue_IntValue:
			found[pair.Key] = value.IntValue
		case *common.AnyValue_DoubleValue:
			found[pair.Key] = value.DoubleValue
		case *common.AnyValue_BoolValue:
			found[pair.Key] = value.BoolValue
		case *common.AnyValue_ArrayValue:
			var texts []string
			for _, element := range value.ArrayValue.Values {
				texts = append(texts, element.GetStringValue())
			}
			found[pair.Key] = texts
		}
	}
	return found
}

// span returns the only span with the name and the response status, or nil if it has not arrived
// yet.
func (c *collector) span(name string, status int64) *trace.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found *trace.Span
	for _, span := range c.spans {
		if span.Name == name && attributes(span.Attributes)["http.response.status_code"] == status {
			if found != nil {
				c.t.Errorf("several spans %q with status %d", name, status)
			}
			found = span
		}
	}
	return found
}

func (c *collector) spanCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.spans)
}

func (c *collector) metric(name string) *metrics.Metric {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.metrics[name]
}

// configuration returns the configuration of a middleware that exports to the collector.
func (c *collector) configuration() map[string]any {
	return map[string]any{
		"token": "sk-provider",
		"telemetry": map[string]any{
			"labels": map[string]any{"team": "$(headers.X-Team)"},
			"otlp": map[string]any{
				"endpoint": c.URL + "/base/", "interval": "1s", "timeout": "5s", "headers": map[string]any{"X-Key": "collector-key"},
			},
		},
	}
}

func construct(t *testing.T, ctx context.Context, builder *plugins.Builder, configuration map[string]any, next http.Handler) http.Handler {
	t.Helper()
	build, err := builder.Build("plugin", configuration, "governed@file")
	if err != nil {
		t.Fatal(err)
	}
	handler, err := build(ctx, next)
	if err != nil {
		t.Fatal(err)
	}
	return handler
}

// openAI responds like the demo provider, without pauses, with a stream if requested.
func openAI(rw http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	if strings.Contains(string(body), `"stream":true`) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, `data: {"id":"chatcmpl-2","model":"gpt-4o-2024","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]}`+"\n\n")
		_, _ = io.WriteString(rw, `data: {"id":"chatcmpl-2","model":"gpt-4o-2024","choices":[{"index":0,"delta":{},"finish_reason":"length"}]}`+"\n\n")
		_, _ = io.WriteString(rw, `data: {"id":"chatcmpl-2","model":"gpt-4o-2024","choices":[],"usage":{"prompt_tokens":8,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}}`+"\n\ndata: [DONE]\n\n")
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(rw, `{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4o-2024","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":3,"total_tokens":11}}`)
}

func chat(handler http.Handler, body string, header ...string) {
	req := httptest.NewRequest(http.MethodPost, chatPath, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	handler.ServeHTTP(httptest.NewRecorder(), req)
}

// TestOTLPExport checks what interpreted code exports about a few calls.
func TestOTLPExport(t *testing.T) {
	builder := loadThisPlugin(t)
	c := newCollector(t)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var parent string
	handler := construct(t, ctx, builder, c.configuration(), http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		parent = req.Header.Get("Traceparent")
		openAI(rw, req)
	}))

	chat(handler, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}],"temperature":1,"max_tokens":100,"seed":7,"stop":"END","top_p":0.5,"reasoning_effort":"low"}`,
		"Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "Tracestate", "vendor=1", "X-Team", "search")
	plainParent := parent
	chat(handler, `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hi"}],"stream":true,"stop":["a","b"]}`)
	chat(handler, `{"model":"gpt-4o","messages":[]}`)
	chat(handler, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`, "Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
	// An export may arrive in several requests, the first one before all calls.
	await(t, "three spans and the metrics arrive", func() bool {
		return c.spanCount() == 3 && c.metric("gen_ai.client.token.usage") != nil && c.metric("chat_completion.policy.decisions") != nil
	})

	plain, stream, refusal := c.span("chat gpt-4o", 200), c.span("chat gpt-4o-mini", 200), c.span("chat", 400)
	if plain == nil || stream == nil || refusal == nil {
		t.Fatalf("spans %v", c.spans)
	}
	want := map[string]any{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o", "gen_ai.response.model": "gpt-4o-2024",
		"gen_ai.response.id": "chatcmpl-1", "gen_ai.response.finish_reasons": []string{"stop"}, "http.response.status_code": int64(200),
		"gen_ai.usage.input_tokens": int64(8), "gen_ai.usage.output_tokens": int64(3), "team": "search",
		"gen_ai.request.temperature": 1.0, "gen_ai.request.max_tokens": int64(100), "gen_ai.request.seed": int64(7), "gen_ai.request.top_p": 0.5,
		"gen_ai.request.stop_sequences": []string{"END"}, "gen_ai.request.reasoning.level": "low",
	}
	if got := attributes(plain.Attributes); !reflect.DeepEqual(got, want) {
		t.Errorf("attributes of the call\n%v\nwant\n%v", got, want)
	}
	if got, want := fmt.Sprintf("00-%x-%x-01", plain.TraceId, plain.SpanId), plainParent; got != want {
		t.Errorf("the span is %s, but the provider got %s", got, want)
	}
	if got, want := fmt.Sprintf("%x %x %s", plain.TraceId, plain.ParentSpanId, plain.TraceState), "0af7651916cd43dd8448eb211c80319c b7ad6b7169203331 vendor=1"; got != want {
		t.Errorf("trace, parent and state of the span: %s, want %s", got, want)
	}
	if plain.Kind != trace.Span_SPAN_KIND_CLIENT || plain.Status != nil || plain.Events != nil || plain.EndTimeUnixNano <= plain.StartTimeUnixNano {
		t.Errorf("span %v", plain)
	}

	got := attributes(stream.Attributes)
	if first, ok := got["gen_ai.response.time_to_first_chunk"].(float64); !ok || first <= 0 || first > 5 {
		t.Errorf("time to first chunk: %v", got["gen_ai.response.time_to_first_chunk"])
	}
	delete(got, "gen_ai.response.time_to_first_chunk")
	want = map[string]any{
		"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o-mini", "gen_ai.response.model": "gpt-4o-2024",
		"gen_ai.response.id": "chatcmpl-2", "gen_ai.response.finish_reasons": []string{"length"}, "http.response.status_code": int64(200),
		"gen_ai.usage.input_tokens": int64(8), "gen_ai.usage.output_tokens": int64(5), "gen_ai.usage.cache_read.input_tokens": int64(4),
		"gen_ai.request.stop_sequences": []string{"a", "b"}, "gen_ai.request.stream": true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("attributes of the stream\n%v\nwant\n%v", got, want)
	}
	if len(stream.Events) != 1 || stream.Events[0].Name != "gen_ai.first_chunk" || stream.Events[0].TimeUnixNano <= stream.StartTimeUnixNano {
		t.Errorf("events of the stream: %v", stream.Events)
	}

	if refusal.Status.GetCode() != trace.Status_STATUS_CODE_ERROR || refusal.Status.GetMessage() != attributes(refusal.Attributes)["error.type"] {
		t.Errorf("span of the rejected call: %v", refusal)
	}
	if c.resource["service.name"] != "traefik" || c.resource["service.instance.id"] == "" {
		t.Errorf("resource %v", c.resource)
	}

	usage := c.metric("gen_ai.client.token.usage")
	points := usage.GetHistogram().GetDataPoints()
	if usage.Unit != "{token}" || usage.GetHistogram().AggregationTemporality != metrics.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE || len(points) == 0 {
		t.Fatalf("usage %v", usage)
	}
	if got := len(points[0].BucketCounts) - len(points[0].ExplicitBounds); got != 1 {
		t.Errorf("%d more counts than bounds, want 1", got)
	}
	decisions := c.metric("chat_completion.policy.decisions").GetSum()
	if !decisions.GetIsMonotonic() || len(decisions.GetDataPoints()) == 0 || decisions.DataPoints[0].GetAsInt() < 1 {
		t.Errorf("decisions %v", decisions)
	}

	cancel()
	await(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// TestConcurrentCallsExportEverySpan makes enough calls that full batches trigger exports.
func TestConcurrentCallsExportEverySpan(t *testing.T) {
	const clients, requests = 8, 150
	builder := loadThisPlugin(t)
	c := newCollector(t)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	handlers := make([]http.Handler, clients)
	for i := range handlers {
		handlers[i] = construct(t, ctx, builder, c.configuration(), http.HandlerFunc(openAI))
	}
	var running sync.WaitGroup
	for _, handler := range handlers {
		running.Add(1)
		go func() {
			defer running.Done()
			for range requests {
				chat(handler, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`)
			}
		}()
	}
	running.Wait()
	await(t, "all spans arrive", func() bool { return c.spanCount() == clients*requests })
	cancel()
	await(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
	t.Logf("%d exports", c.exports)
}

// TestCallOutlivingReloadIsExported has a call end after its middleware's exporter has stopped.
func TestCallOutlivingReloadIsExported(t *testing.T) {
	builder := loadThisPlugin(t)
	c := newCollector(t)
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(context.Background())
	goOn := make(chan bool)
	handler := construct(t, ctx, builder, c.configuration(), http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		<-goOn
		openAI(rw, req)
	}))
	go chat(handler, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`)
	cancel()
	await(t, "only the call is still running", func() bool { return runtime.NumGoroutine() <= before+1 })
	close(goOn)
	await(t, "its span arrives", func() bool { return c.spanCount() == 1 })
	await(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// TestRedirectedExportIsCounted has interpreted code refuse to follow a collector's redirects, which would take its key
// elsewhere: what is lost is counted, and one line for each signal says why.
func TestRedirectedExportIsCounted(t *testing.T) {
	other := upstream(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the exporter follows a redirect") }))
	c := upstream(t, http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	config := map[string]any{"telemetry": map[string]any{"otlp": map[string]any{"endpoint": c.URL, "interval": "1s"}}}
	lost := func(page, record string) bool {
		return regexp.MustCompile(`(?m)^chat_completion_telemetry_dropped_total\{chat_completion_record="` + record + `"\} [1-9]`).MatchString(page)
	}
	told := written(t, func() {
		governed, metrics := interpreted(t, config, http.HandlerFunc(openAI))
		chat(governed, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`)
		await(t, "a span and an export are lost", func() bool {
			exposed := httptest.NewRecorder()
			metrics.ServeHTTP(exposed, httptest.NewRequest(http.MethodGet, "/metrics", nil))
			return lost(exposed.Body.String(), "span") && lost(exposed.Body.String(), "export")
		})
	})
	for _, signal := range []string{"metrics", "traces"} {
		line := "chat-completion: cannot export " + signal + " to " + c.URL + "/v1/" + signal + ": response status 307; further failures are not logged until an export succeeds\n"
		if !strings.Contains(told, line) {
			t.Errorf("the operator is told\n%swithout\n%s", told, line)
		}
	}
	if lines := strings.Count(told, "\n"); lines != 2 {
		t.Errorf("the operator is told %d lines, want 2:\n%s", lines, told)
	}
}
