package chatcompletion

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Accept headers of Prometheus.
const (
	acceptPrometheus25 = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
	acceptPrometheus2  = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
	acceptPrometheus3  = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
	acceptProtobuf     = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6," + acceptPrometheus2
)

// exposedRegistry returns a registry with a stream, a refused request and lost spans.
func exposedRegistry() *registry {
	r := newRegistry()
	recordCall(r, newTestCall(func(c *Call) {
		c.Response.Usage = Usage{InputKnown: true, OutputKnown: true, InputTokens: 20, OutputTokens: 70000000}
		c.Duration, c.GatewayDuration, c.FirstChunk = 1500*time.Millisecond, 250*time.Microsecond, 500*time.Millisecond
		c.Chunks = &ChunkTimes{Counts: make([]int64, len(chunkTime.bounds)+1), Sum: time.Second}
		c.Chunks.Counts[0], c.Chunks.Counts[4], c.Chunks.Counts[13] = 3, 2, 1
		c.Request.Policy = "model=set,max_tokens=limited"
		c.Labels = []string{"team.name", `a "b"\c`}
	}))
	recordCall(r, newTestCall(func(c *Call) {
		c.Request.Model, c.Response.Model, c.Status, c.ErrorType = "", "", 400, "invalid_json"
		c.Duration, c.GatewayDuration = 500*time.Microsecond, 500*time.Microsecond
		c.Request.Policy = "refused=invalid_json"
	}))
	countLost(r, lostSpan, 12345678)
	r.streams.Add(3)
	return r
}

// scrape sends a request to an exposition; headers are alternating names and values.
func scrape(t *testing.T, r *registry, method string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	req := httptest.NewRequest(method, "/metrics", nil)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	recorder := httptest.NewRecorder()
	(&exposition{registry: r}).ServeHTTP(recorder, req)
	return recorder
}

func TestExpositionFormats(t *testing.T) {
	for _, test := range []struct{ file, accept string }{
		{"text.txt", "text/plain"},
		{"openmetrics.txt", "application/openmetrics-text"},
	} {
		want, err := os.ReadFile(filepath.Join("testdata", "exposition", test.file))
		if err != nil {
			t.Fatal(err)
		}
		got := strings.SplitAfter(scrape(t, exposedRegistry(), http.MethodGet, "Accept", test.accept).Body.String(), "\n")
		for i, line := range strings.SplitAfter(string(want), "\n") {
			if i >= len(got) {
				t.Fatalf("%s: %d lines, want %q next", test.file, len(got), line)
			}
			if got[i] != line {
				t.Fatalf("%s, line %d: got %q, want %q", test.file, i+1, got[i], line)
			}
		}
		if lines := len(strings.SplitAfter(string(want), "\n")); len(got) > lines {
			t.Errorf("%s: %q after the last line, want nothing", test.file, got[lines:])
		}
	}
}

func TestEmptyRegistryExposition(t *testing.T) {
	help := "# HELP chat_completion_active_streams Open event streams.\n"
	kind := "# TYPE chat_completion_active_streams gauge\n"
	const value = "chat_completion_active_streams 0\n"
	for accept, want := range map[string]string{"": help + kind + value, "application/openmetrics-text": kind + help + value + "# EOF\n"} {
		if got := scrape(t, newRegistry(), http.MethodGet, "Accept", accept).Body.String(); got != want {
			t.Errorf("Accept %q: body %q, want %q", accept, got, want)
		}
	}
}

func TestLabelsAndHelpAreEscaped(t *testing.T) {
	metrics := []metric{{
		&instrument{name: "a.b", description: `say "\"` + "\n", unit: "{x}"},
		[]point{{attributes: []string{"c.d", "%d" + `"\` + "\n" + `é`, "e_f", ""}, count: -1}},
	}}
	for _, test := range []struct {
		open bool
		want string
	}{
		{false, `# HELP a_b_total say "\\"\n` + "\n# TYPE a_b_total counter\n" + `a_b_total{c_d="%d\"\\\né",e_f=""} -1` + "\n"},
		{true, "# TYPE a_b counter\n" + `# HELP a_b say \"\\\"\n` + "\n" + `a_b_total{c_d="%d\"\\\né",e_f=""} -1` + "\n# EOF\n"},
	} {
		var got bytes.Buffer
		expose(&got, metrics, test.open)
		if got.String() != test.want {
			t.Errorf("OpenMetrics %t: %s\nwant %s", test.open, got.String(), test.want)
		}
	}
}

func TestExpositionFormatNegotiation(t *testing.T) {
	tests := []struct {
		name   string
		accept []string
		want   string
	}{
		{"no header", nil, textFormat},
		{"an empty header", []string{""}, textFormat},
		{"any type, as from curl", []string{"*/*"}, textFormat},
		{"a browser", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}, textFormat},
		{"Prometheus 2.5", []string{acceptPrometheus25}, openFormat},
		{"Prometheus 2", []string{acceptPrometheus2}, openFormat},
		{"Prometheus 3", []string{acceptPrometheus3}, openFormat},
		{"Prometheus with native histograms", []string{acceptProtobuf}, openFormat},
		{"Prometheus configured for text", []string{"text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.2"}, textFormat},
		{"OpenMetrics without a version", []string{"application/openmetrics-text"}, openFormat},
		{"OpenMetrics in mixed case", []string{"Application/OpenMetrics-Text; Version=1.0.0"}, openFormat},
		{"unsupported version", []string{"application/openmetrics-text;version=2.0.0"}, textFormat},
		{"unsupported and supported version", []string{"application/openmetrics-text;version=2.0.0,application/openmetrics-text;version=1.0.0;q=0.2,text/plain;q=0.1"}, openFormat},
		{"same quality", []string{"text/plain, application/openmetrics-text"}, openFormat},
		{"text/* with higher quality", []string{"text/*, application/openmetrics-text;q=0.9"}, textFormat},
		{"*/* with higher quality", []string{"application/openmetrics-text;q=0.9, */*"}, textFormat},
		{"several header lines", []string{"text/plain;q=0.5", "application/openmetrics-text;q=0.7"}, openFormat},
		{"quality of zero", []string{"application/openmetrics-text;q=0"}, textFormat},
		{"invalid quality", []string{"application/openmetrics-text;q=much"}, textFormat},
		{"NaN and Inf as qualities", []string{"application/openmetrics-text;q=NaN, text/plain;q=Inf"}, textFormat},
		{"quality above 1", []string{"application/openmetrics-text;q=2, text/plain;q=0.1"}, textFormat},
		{"invalid elements before a valid one", []string{"a/b/c;;, ;q=1, application/openmetrics-text"}, openFormat},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var headers []string
			for _, line := range test.accept {
				headers = append(headers, "Accept", line)
			}
			response := scrape(t, exposedRegistry(), http.MethodGet, headers...)
			if got := response.Header().Get("Content-Type"); got != test.want {
				t.Errorf("Response header Content-Type = %q, want %q", got, test.want)
			}
			if ends, want := strings.HasSuffix(response.Body.String(), "\n# EOF\n"), test.want == openFormat; ends != want {
				t.Errorf("body ends in # EOF %t, want %t", ends, want)
			}
		})
	}
}

func TestExpositionCompression(t *testing.T) {
	plain := scrape(t, exposedRegistry(), http.MethodGet).Body.String()
	for acceptEncoding, want := range map[string]bool{
		"": false, "identity": false, "br, zstd": false, "gzip;q=0": false, "*;q=0": false, "gzip;q=0, *": false,
		"gzip": true, "br;q=1.0, GZIP;q=0.2": true, "*": true, "deflate, gzip;q=1.0, *;q=0.5": true,
	} {
		t.Run(acceptEncoding, func(t *testing.T) {
			response := scrape(t, exposedRegistry(), http.MethodGet, "Accept-Encoding", acceptEncoding)
			body := response.Body.String()
			if got, length := response.Header().Get("Content-Length"), strconv.Itoa(len(body)); got != length {
				t.Errorf("Response header Content-Length = %q, want %q", got, length)
			}
			if got := response.Header().Get("Content-Encoding") == "gzip"; got != want {
				t.Fatalf("compressed %t, want %t", got, want)
			}
			if want {
				decompressor, err := gzip.NewReader(strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				decompressed, err := io.ReadAll(decompressor)
				if err != nil {
					t.Fatal(err)
				}
				body = string(decompressed)
			}
			if body != plain {
				t.Errorf("body %q, want %q", body, plain)
			}
		})
	}
}

func TestExpositionMethods(t *testing.T) {
	scraped := scrape(t, exposedRegistry(), http.MethodGet)
	length := strconv.Itoa(len(scraped.Body.String()))
	tests := []struct {
		method string
		status int
		header http.Header
		body   bool
	}{
		{http.MethodGet, 200, http.Header{"Content-Length": {length}, "Cache-Control": {"no-store"}}, true},
		{http.MethodHead, 200, http.Header{"Content-Length": {length}, "Cache-Control": {"no-store"}, "Content-Type": {textFormat}}, false},
		{http.MethodPost, 405, http.Header{"Allow": {"GET, HEAD"}}, true},
		{http.MethodDelete, 405, http.Header{"Allow": {"GET, HEAD"}}, true},
		{http.MethodOptions, 405, http.Header{"Allow": {"GET, HEAD"}}, true},
		{"get", 405, http.Header{"Allow": {"GET, HEAD"}}, true},
	}
	for _, test := range tests {
		t.Run(test.method, func(t *testing.T) {
			response := scrape(t, exposedRegistry(), test.method)
			if response.Code != test.status {
				t.Errorf("status %d, want %d", response.Code, test.status)
			}
			for name, want := range test.header {
				if got := response.Header().Get(name); got != want[0] {
					t.Errorf("Response header %q = %q, want %q", name, got, want[0])
				}
			}
			if got := response.Body.String() != ""; got != test.body {
				t.Errorf("has a body %t, want %t", got, test.body)
			}
		})
	}
}

// slowWriter checks on each write whether the registry is locked.
type slowWriter struct {
	http.ResponseWriter
	registry *registry
	locked   bool
}

func (w *slowWriter) Write(b []byte) (int, error) {
	if !w.registry.mu.TryLock() {
		w.locked = true
	} else {
		w.registry.mu.Unlock()
	}
	return w.ResponseWriter.Write(b)
}

func TestSlowScrapeDoesNotLockRegistry(t *testing.T) {
	for _, encoding := range []string{"", "gzip"} {
		r := exposedRegistry()
		req := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		req.Header.Set("Accept-Encoding", encoding)
		w := &slowWriter{ResponseWriter: httptest.NewRecorder(), registry: r}
		(&exposition{registry: r}).ServeHTTP(w, req)
		if w.locked {
			t.Errorf("Accept-Encoding %q: registry is locked during a write, want it unlocked", encoding)
		}
	}
}

func TestExpositionCoversAllMiddlewares(t *testing.T) {
	provider := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"model":"m","usage":{"prompt_tokens":3,"completion_tokens":4}}`)
	})
	for _, name := range []string{"all-one", "all-two"} {
		config := CreateConfig()
		config.Model = "gpt-4o"
		config.Telemetry.Provider = name
		config.Telemetry.MaxSeries = 100000
		governed, err := New(context.Background(), provider, config, name)
		if err != nil {
			t.Fatal(err)
		}
		governed.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"messages":[{"role":"user","content":"Hi"}]}`)))
	}
	config := CreateConfig()
	config.Expose = "prometheus"
	exposed, err := New(context.Background(), provider, config, "metrics")
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	exposed.ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, name := range []string{"all-one", "all-two"} {
		want := `gen_ai_client_token_usage_sum{gen_ai_operation_name="chat",gen_ai_provider_name="` + name +
			`",gen_ai_request_model="gpt-4o",gen_ai_response_model="m",gen_ai_token_type="output"} 4` + "\n"
		if !strings.Contains(recorder.Body.String(), want) {
			t.Errorf("exposition lacks %s", want)
		}
	}
}

// FuzzAcceptHeader parses arbitrary headers: qualities are within bounds and follow RFC 9110, whatever else the header contains.
func FuzzAcceptHeader(f *testing.F) {
	for _, accept := range []string{
		"", "*/*", acceptPrometheus25, acceptPrometheus2, acceptPrometheus3, acceptProtobuf, "gzip;q=0.5, *;q=0", "a/b;c=\"d,e\";q=0.1",
		"text/plain;q=1e-3;q=2", "application/openmetrics-text;version=\"1.0.0\"", ";;;,,,===", "x;q=\x00", strings.Repeat("a/b,", 400),
	} {
		f.Add(accept)
	}
	f.Fuzz(func(t *testing.T, accept string) {
		for name, quality := range qualities([]string{accept}) {
			if !(quality >= 0 && quality <= 1) {
				t.Errorf("quality of %q is %v, want 0 to 1", name, quality)
			}
			if !strings.Contains(strings.ToLower(accept), name) {
				t.Errorf("qualities contain %q, want only names of the header", name)
			}
		}
		if !prefersOpenMetrics([]string{openMetricsType, accept}) {
			t.Error("OpenMetrics has quality 1 but is not preferred")
		}
		if !strings.Contains(accept, ",") && prefersOpenMetrics([]string{accept, "text/plain"}) != prefersOpenMetrics([]string{"text/plain", accept}) &&
			len(accept) < acceptMaxBytes/2 {
			t.Error("order of the header lines changes the format")
		}
		if acceptsGzip([]string{"gzip;q=0"}) || !acceptsGzip([]string{"gzip", accept}) {
			t.Error("acceptsGzip ignores the first header line")
		}
	})
}
