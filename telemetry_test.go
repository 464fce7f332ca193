package chatcompletion

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

// parseWithLabels returns the problems of a configuration with labels, one per line.
func parseWithLabels(labels map[string]string, modelPattern string) string {
	config := CreateConfig()
	config.Model = "gpt-4o"
	config.ModelPattern = modelPattern
	config.Telemetry.Labels = labels
	if _, err := newPolicy(config, "test"); err != nil {
		return strings.ReplaceAll(strings.TrimPrefix(err.Error(), `chat-completion middleware "test": `), "; ", "\n")
	}
	return ""
}

func TestLabelValues(t *testing.T) {
	const pattern = `~/teams/(?<team>[^/]+)/(?<app>[^/]*)/chat/completions$`
	longest := strings.Repeat("x", labelMaxBytes)
	tests := []struct {
		name    string
		labels  map[string]string
		pattern string
		target  string
		header  http.Header
		want    []string
	}{
		{"none", nil, "", "/", nil, nil},
		{"fixed text", map[string]string{"site": "north"}, "", "/", nil, []string{"site", "north"}},
		{"header, in any case", map[string]string{"team": "$(headers.x-team)"}, "", "/", http.Header{"X-Team": {"blue"}}, []string{"team", "blue"}},
		{"the first of several headers", map[string]string{"team": "$(headers.x-team)"}, "", "/", http.Header{"X-Team": {"blue", "red"}}, []string{"team", "blue"}},
		{"query", map[string]string{"team": "$(query_params.team)"}, "", "/?team=a%20b", nil, []string{"team", "a b"}},
		{"path, while the model is not a template", map[string]string{"team": "$(uri_captures.team)"}, pattern, "/teams/a%2Fb/app/chat/completions", nil, []string{"team", "a/b"}},
		{"several references and text", map[string]string{"team": "$(uri_captures.team)-$(headers.X-Env)/x"}, pattern, "/teams/blue/app/chat/completions", http.Header{"X-Env": {"prod"}},
			[]string{"team", "blue-prod/x"}},
		{"sorted by name", map[string]string{"b": "2", "a": "1", "c.d": "3"}, "", "/", nil, []string{"a", "1", "b", "2", "c.d", "3"}},
		{"missing header", map[string]string{"team": "$(headers.x-team)", "site": "north"}, "", "/", nil, []string{"site", "north"}},
		{"empty header", map[string]string{"team": "$(headers.x-team)"}, "", "/", http.Header{"X-Team": {""}}, nil},
		{"one reference of two is missing", map[string]string{"team": "$(headers.x-team)-$(headers.x-env)"}, "", "/", http.Header{"X-Team": {"blue"}}, nil},
		{"a path that does not match", map[string]string{"team": "$(uri_captures.team)"}, pattern, "/v1/chat/completions", nil, nil},
		{"empty group", map[string]string{"app": "$(uri_captures.app)"}, pattern, "/teams/blue//chat/completions", nil, nil},
		{"empty text", map[string]string{"team": ""}, "", "/", nil, nil},
		{"the longest", map[string]string{"team": "$(headers.x-team)"}, "", "/", http.Header{"X-Team": {longest}}, []string{"team", longest}},
		{"too long", map[string]string{"team": "$(headers.x-team)"}, "", "/", http.Header{"X-Team": {longest + "x"}}, []string{"team", other}},
		{"too long with its prefix", map[string]string{"team": "team-$(headers.x-team)"}, "", "/", http.Header{"X-Team": {longest}}, []string{"team", other}},
		{"invalid UTF-8", map[string]string{"team": "$(headers.x-team)"}, "", "/", http.Header{"X-Team": {"\xff"}}, []string{"team", other}},
		{"a control character", map[string]string{"team": "$(query_params.team)"}, "", "/?team=a%0Ab", nil, []string{"team", other}},
		{"a NUL", map[string]string{"team": "$(query_params.team)"}, "", "/?team=%00", nil, []string{"team", other}},
		{"quotes and letters of all kinds", map[string]string{"team": "$(query_params.team)"}, "", "/?team=%22%5C%C3%A9", nil, []string{"team", `"\é`}},
		{"a value that looks like a reference", map[string]string{"team": "$(headers.x-team)"}, "", "/", http.Header{"X-Team": {"$(headers.authorization)"}, "Authorization": {"Bearer canary"}},
			[]string{"team", "$(headers.authorization)"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := CreateConfig()
			config.Model = "gpt-4o"
			config.ModelPattern = test.pattern
			config.Telemetry.Labels = test.labels
			handler, sink := newRecordingMiddleware(t, config, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			for _, body := range []string{`{"messages":[{"role":"user","content":"Hi"}]}`, `{`} { // forwarded and refused
				req := httptest.NewRequest(http.MethodPost, test.target, strings.NewReader(body))
				for name, values := range test.header {
					req.Header[name] = values
				}
				handler.ServeHTTP(httptest.NewRecorder(), req)
			}
			for _, call := range sink.calls {
				if !reflect.DeepEqual(call.Labels, test.want) {
					t.Errorf("error.type %q: labels %q, want %q", call.ErrorType, call.Labels, test.want)
				}
			}
			if len(sink.calls) != 2 {
				t.Errorf("%d calls, want 2", len(sink.calls))
			}
		})
	}
}

func TestLabelValidation(t *testing.T) {
	longest := strings.Repeat("a", 63)
	reserved := " is reserved"
	tests := []struct {
		name   string
		labels map[string]string
		want   string // empty: valid
	}{
		{"names", map[string]string{"a": "1", longest: "1", "Team_1.name": "1", "a.b.c": "1"}, ""},
		{"a name too long", map[string]string{longest + "a": "1"}, "telemetry.labels." + longest + "a: invalid label name: use at most 63 letters, digits, dots and underscores, the first a letter"},
		{"a hyphen", map[string]string{"x-team": "1"}, "telemetry.labels.x-team: invalid label name: use at most 63 letters, digits, dots and underscores, the first a letter"},
		{"a leading digit", map[string]string{"1a": "1"}, "telemetry.labels.1a: invalid label name: use at most 63 letters, digits, dots and underscores, the first a letter"},
		{"a leading underscore", map[string]string{"__name__": "1"}, "telemetry.labels.__name__: invalid label name: use at most 63 letters, digits, dots and underscores, the first a letter"},
		{"empty name", map[string]string{"": "1"}, "telemetry.labels.: invalid label name: use at most 63 letters, digits, dots and underscores, the first a letter"},
		{"letters beyond ASCII", map[string]string{"équipe": "1"}, "telemetry.labels.équipe: invalid label name: use at most 63 letters, digits, dots and underscores, the first a letter"},

		{"semantic conventions", map[string]string{"gen_ai.request.model": "1"}, `telemetry.labels.gen_ai.request.model: "gen_ai.request.model"` + reserved},
		{"semantic conventions in Prometheus spelling", map[string]string{"gen_ai_request_model": "1"}, `telemetry.labels.gen_ai_request_model: "gen_ai_request_model"` + reserved},
		{"semantic conventions with other dots", map[string]string{"gen.ai.request.model": "1"}, `telemetry.labels.gen.ai.request.model: "gen.ai.request.model"` + reserved},
		{"the plugin's own attributes", map[string]string{"chat_completion.mode": "1"}, `telemetry.labels.chat_completion.mode: "chat_completion.mode"` + reserved},
		{"OpenTelemetry", map[string]string{"otel.scope.name": "1"}, `telemetry.labels.otel.scope.name: "otel.scope.name"` + reserved},
		{"the error type", map[string]string{"error.type": "1"}, `telemetry.labels.error.type: "error.type"` + reserved},
		{"the bucket", map[string]string{"le": "1"}, `telemetry.labels.le: "le"` + reserved},
		{"the job", map[string]string{"job": "1"}, `telemetry.labels.job: "job"` + reserved},
		{"the status", map[string]string{"http.response.status_code": "1"}, `telemetry.labels.http.response.status_code: "http.response.status_code"` + reserved},
		{"names with a reserved prefix", map[string]string{"lead": "1", "jobs": "1", "error": "1"}, ""},

		{"names that are equal in Prometheus", map[string]string{"a.b": "1", "a_b": "2"}, `telemetry.labels.a_b: has the same name in Prometheus as "a.b"`},
		{"names that differ in case", map[string]string{"team": "1", "Team": "2"}, ""},

		{"the client's key", map[string]string{"key": "$(headers.authorization)"}, "telemetry.labels.key: $(headers.authorization) would publish credentials"},
		{"the client's key in capitals", map[string]string{"key": "x$(headers.AUTHORIZATION)"}, "telemetry.labels.key: $(headers.AUTHORIZATION) would publish credentials"},
		{"keys of other providers", map[string]string{"a": "$(headers.api-key)", "b": "$(headers.X-API-Key)", "c": "$(headers.x-goog-api-key)"},
			"telemetry.labels.a: $(headers.api-key) would publish credentials\ntelemetry.labels.b: $(headers.X-API-Key) would publish credentials\n" +
				"telemetry.labels.c: $(headers.x-goog-api-key) would publish credentials"},
		{"cookies and proxies", map[string]string{"a": "$(headers.cookie)", "b": "$(headers.Proxy-authorization)"},
			"telemetry.labels.a: $(headers.cookie) would publish credentials\ntelemetry.labels.b: $(headers.Proxy-authorization) would publish credentials"},
		{"query parameter of that name", map[string]string{"a": "$(query_params.authorization)"}, ""},

		{"a text too long", map[string]string{"a": strings.Repeat("x", labelMaxBytes+1)},
			`telemetry.labels.a: must be UTF-8 of at most 128 bytes without control characters, got "` + strings.Repeat("x", quotedMaxBytes) + `..."`},
		{"a text with a line feed", map[string]string{"a": "x\ny"}, `telemetry.labels.a: must be UTF-8 of at most 128 bytes without control characters, got "x\ny"`},
		{"a text that is not UTF-8", map[string]string{"a": "\xff"}, `telemetry.labels.a: must be UTF-8 of at most 128 bytes without control characters, got "\xff"`},
		{"a reference that is not closed", map[string]string{"a": "$(headers.x"}, `telemetry.labels.a: unclosed $( in "$(headers.x"`},
		{"an unknown source", map[string]string{"a": "$(header.x)"}, `telemetry.labels.a: unknown reference "$(header.x)": use $(uri_captures.name), $(headers.name), $(query_params.name) or $(consumer.name)`},
		{"a capture without a pattern", map[string]string{"a": "$(uri_captures.x)"}, `telemetry.labels.a: $(uri_captures.x) requires "modelPattern"`},
	}
	for _, test := range tests {
		if got := parseWithLabels(test.labels, ""); got != test.want {
			t.Errorf("%s: problems\n%s\nwant\n%s", test.name, got, test.want)
		}
	}
}

func TestModelPatternNeedsReference(t *testing.T) {
	const pattern = `/(?<team>[^/]+)/chat/completions$`
	tests := []struct {
		name   string
		labels map[string]string
		want   string
	}{
		{"no label", nil, `modelPattern: has no effect without $(uri_captures.name) in "model", "path", "quotas[].per" or "telemetry.labels"`},
		{"a label from another source", map[string]string{"team": "$(headers.team)"}, `modelPattern: has no effect without $(uri_captures.name) in "model", "path", "quotas[].per" or "telemetry.labels"`},
		{"a label", map[string]string{"team": "$(uri_captures.team)"}, ""},
		{"a label with another group", map[string]string{"team": "$(uri_captures.app)"}, "telemetry.labels.team: $(uri_captures.app): modelPattern has no group (?<app>...)"},
	}
	for _, test := range tests {
		if got := parseWithLabels(test.labels, pattern); got != test.want {
			t.Errorf("%s: problems %q, want %q", test.name, got, test.want)
		}
	}
}

// TestLabelsUseClientRequest checks that labels come from the client's request, before the middleware changes its headers and path.
func TestLabelsUseClientRequest(t *testing.T) {
	config := CreateConfig()
	config.Model = "gpt-4o"
	config.Token = "sk-canary"
	config.AuthHeader.Name = "X-Provider"
	config.Path = "/v1/chat/completions"
	config.ModelPattern = "^/([^/]+)/(?P<team>[^/]+)"
	config.Telemetry.Labels = map[string]string{"encoding": "$(headers.accept-encoding)", "model": "$(headers.x-ai-model)", "team": "$(uri_captures.team)"}
	handler, sink := newRecordingMiddleware(t, config, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	sendRequest(handler, `{"messages":[{"role":"user","content":"Hi"}]}`, "Accept-Encoding", "br", "X-Ai-Model", "forged", "X-Provider", "client")
	if got, want := sink.calls[0].Labels, []string{"encoding", "br", "team", "chat"}; !reflect.DeepEqual(got, want) {
		t.Errorf("labels %q, want %q", got, want)
	}
}

// TestDistinctLabelsAreDistinctSeries checks that names and values of labels are delimited.
func TestDistinctLabelsAreDistinctSeries(t *testing.T) {
	r := newRegistry()
	for _, labels := range [][]string{nil, {"a", "b"}, {"a", "b", "c", "d"}, {"ab", "c"}, {"a", "bc"}, {"c", "d", "a", "b"}} {
		for range [2]int{} {
			recordCall(r, newTestCall(func(c *Call) { c.Labels = labels }))
		}
	}
	counts := countsOf(r, operationDuration)
	for attributes, count := range counts {
		if count != 2 {
			t.Errorf("%d calls with %s, want 2", count, attributes)
		}
	}
	if len(counts) != 6 {
		t.Errorf("%d series, want 6: %v", len(counts), counts)
	}
}

// TestExposingMiddlewareExports checks that the middleware that exposes the metrics can also export them.
func TestExposingMiddlewareExports(t *testing.T) {
	c := newTestCollector(t, nil)
	config := CreateConfig()
	config.Expose = "prometheus"
	config.Telemetry.OTLP = OTLP{Endpoint: c.URL, Traces: "false", Interval: "1h"}
	ctx, cancel := context.WithCancel(context.Background())
	handler, err := New(ctx, http.NotFoundHandler(), config, "test")
	if err != nil {
		t.Fatal(err)
	}
	rw := httptest.NewRecorder()
	handler.ServeHTTP(rw, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if body, _ := io.ReadAll(rw.Body); rw.Code != http.StatusOK || !strings.Contains(string(body), "chat_completion_telemetry_dropped_total{") {
		t.Errorf("status %d, body %s, want 200 and metrics", rw.Code, body)
	}
	cancel() // the final export follows after exporterLinger
	eventually(t, "the metrics are exported", func() bool { _, _, metrics := c.counts(); return metrics == 1 })
}
