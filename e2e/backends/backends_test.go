package backends_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
)

// export sends an OTLP request in JSON.
func export(t *testing.T, address, body string) {
	t.Helper()
	response, err := http.Post(address, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("%s: status = %d, want 200", address, response.StatusCode)
	}
}

// await waits until the condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(20 * time.Second); !holds(); {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// counter returns an export of a counter with the attribute team.
func counter(value, time int) string {
	return fmt.Sprintf(`{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"test"}}]},
"scopeMetrics":[{"scope":{"name":"scope"},"metrics":[{"name":"test.decisions","unit":"{decision}","sum":{
"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[
{"attributes":[{"key":"team","value":{"stringValue":"blue"}}],"startTimeUnixNano":"1","timeUnixNano":"%d","asInt":"%d"}]}}]}]}]}`, time, value)
}

const exportedSpan = `{"resourceSpans":[{"resource":{},"scopeSpans":[{"scope":{"name":"scope"},"spans":[{
"traceId":"0af7651916cd43dd8448eb211c80319c","spanId":"b7ad6b7169203331","parentSpanId":"00f067aa0ba902b7",
"name":"chat gpt-4o","kind":3,"startTimeUnixNano":"5","endTimeUnixNano":"7","status":{"code":2},
"attributes":[{"key":"number","value":{"intValue":"9007199254740993"}},{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"stop"}]}}}]}]}]}]}`

func TestCollectorKeepsDataAcrossRestarts(t *testing.T) {
	c, err := backends.StartCollector(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	export(t, c.URL+"/v1/metrics", counter(3, 10))
	export(t, c.URL+"/v1/traces", exportedSpan)
	c.Stop()
	if connection, err := net.Dial("tcp", strings.TrimPrefix(c.URL, "http://")); err == nil {
		_ = connection.Close()
		t.Error("a stopped Collector still listens")
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	export(t, c.URL+"/v1/metrics", counter(5, 20))

	want := backends.Point{
		Metric: "test.decisions", Unit: "{decision}", Scope: "scope",
		Resource:   backends.Attributes{"service.name": "test"},
		Attributes: backends.Attributes{"team": "blue"},
		Cumulative: true, Monotonic: true, Start: 1, Time: 20, Value: 5,
	}
	var got []backends.Point
	await(t, "the latest value", func() bool {
		if got, err = c.Metrics(); err != nil {
			t.Fatal(err)
		}
		return len(got) == 1 && got[0].Value == 5
	})
	if !reflect.DeepEqual(got[0], want) {
		t.Errorf("got %+v, want %+v", got[0], want)
	}

	spans, err := c.Spans()
	if err != nil {
		t.Fatal(err)
	}
	wantSpans := []backends.Span{{
		TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: "b7ad6b7169203331", ParentID: "00f067aa0ba902b7",
		Name: "chat gpt-4o", Kind: backends.KindClient, Start: 5, End: 7, Status: backends.StatusError, Scope: "scope",
		Attributes: backends.Attributes{"number": int64(9007199254740993), "list": []any{"stop"}},
		Resource:   backends.Attributes{},
	}}
	if !reflect.DeepEqual(spans, wantSpans) {
		t.Errorf("got %+v, want %+v", spans, wantSpans)
	}
}

func TestPrometheusScrapesAndTakesOTLP(t *testing.T) {
	exposition := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = rw.Write([]byte("# TYPE test_decisions_total counter\ntest_decisions_total{team=\"blue\"} 3\n"))
	}))
	t.Cleanup(exposition.Close)
	p, err := backends.StartPrometheus(t.Context(), `
global: {scrape_interval: 100ms}
scrape_configs: [{job_name: scraped, static_configs: [{targets: ["`+strings.TrimPrefix(exposition.URL, "http://")+`"]}]}]
`, "--web.enable-otlp-receiver")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	export(t, p.URL+"/api/v1/otlp/v1/metrics", counter(5, int(time.Now().UnixNano())))

	got := map[string]float64{}
	await(t, "both series", func() bool {
		samples, err := p.Query(context.Background(), `test_decisions_total{team="blue"}`)
		if err != nil {
			t.Fatal(err)
		}
		for _, sample := range samples {
			got[sample.Labels["job"]] = sample.Value
		}
		return len(got) == 2
	})
	if want := map[string]float64{"scraped": 3, "test": 5}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := p.Query(t.Context(), "sum("); err == nil {
		t.Error("an invalid query returned no error")
	}
}
