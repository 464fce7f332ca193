package e2e_test

import (
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// usageHeaders are the access-log headers with the usage of a call.
var usageHeaders = []string{"X-Ai-Input-Tokens", "X-Ai-Output-Tokens", "X-Ai-Ttft-Ms", "X-Ai-Error-Type"}

// someTime stands for any duration in milliseconds.
const someTime = "some time"

var usageTests = []struct {
	name   string
	body   string
	ending string
	want   map[string]string // all other headers must be absent
}{
	{"JSON answer", plainBody, "", map[string]string{"X-Ai-Input-Tokens": "", "X-Ai-Output-Tokens": ""}},
	{"stream", plainStream, "", map[string]string{"X-Ai-Input-Tokens": "", "X-Ai-Output-Tokens": "", "X-Ai-Ttft-Ms": someTime}},
	{"cut stream", plainStream, endingCut, map[string]string{"X-Ai-Ttft-Ms": someTime, "X-Ai-Error-Type": "provider_cut"}},
	{"provider's error", plainBody, "429", map[string]string{"X-Ai-Error-Type": "429"}},
	{"refused", `{"messages":[}`, "", map[string]string{"X-Ai-Error-Type": "invalid_json"}},
}

// callUsageTest makes the call of a test. Its token counts follow from the number.
func callUsageTest(t *testing.T, base string, number int) {
	t.Helper()
	test := usageTests[number]
	response, err := do(context.Background(), http.DefaultClient, base+chatPath, test.body, map[string]string{
		numberHeader: strconv.Itoa(number), endingHeader: test.ending,
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, response.Body) // the response may be cut
	_ = response.Body.Close()
	for _, name := range usageHeaders {
		if value, has := response.Header[name]; has {
			t.Errorf("%s: the client gets %s: %s", test.name, name, value)
		}
	}
}

// checkUsage checks the access log of the call with the number.
func checkUsage(t *testing.T, number int, operator func(name string) (value string, has bool)) {
	t.Helper()
	test := usageTests[number]
	for _, name := range usageHeaders {
		got, has := operator(name)
		want, wanted := test.want[name]
		switch {
		case name == "X-Ai-Input-Tokens" && wanted:
			want = strconv.Itoa(inputTokens(number))
		case name == "X-Ai-Output-Tokens" && wanted:
			want = strconv.Itoa(outputTokens(number))
		case want == someTime:
			if _, err := strconv.ParseFloat(got, 64); err == nil {
				want = got
			}
		}
		if has != wanted || got != want {
			t.Errorf("%s: the access log has %s %q (%t), want %q (%t)", test.name, name, got, has, want, wanted)
		}
	}
}

func TestAccessLogUsage(t *testing.T) {
	g := serve(t, map[string]any{"model": "gpt-4o"}, counting(0), usageHeaders...)
	for number := range usageTests {
		callUsageTest(t, g.URL, number)
		awaitAccessLog(t, g, number+1)
	}
	for number, line := range accessLog(t, g) {
		checkUsage(t, number, func(name string) (string, bool) {
			value, has := line["downstream_"+name].(string)
			return value, has
		})
	}
}

// TestTraefikSpanUsage enables Traefik's own tracing. Traefik does not finish its span for a
// response that breaks.
func TestTraefikSpanUsage(t *testing.T) {
	collector := startCollector(t)
	g := start(t, gateway.Options{
		Env: []string{"OTEL_BSP_SCHEDULE_DELAY=50"}, // Traefik's own exporter waits for 5 s otherwise
		Static: map[string]any{"tracing": map[string]any{
			"otlp":                    map[string]any{"http": map[string]any{"endpoint": collector.URL + "/v1/traces"}},
			"capturedResponseHeaders": usageHeaders,
		}},
	})
	configure(t, g, metered(map[string]any{"model": "gpt-4o"}, upstream(t, counting(0)).URL))
	seen := 0
	for number, test := range usageTests {
		if test.ending == endingCut {
			continue
		}
		callUsageTest(t, g.URL, number)
		seen++
		var spans []backends.Span
		await(t, "Traefik's span of the call", func() bool {
			spans = serverSpans(t, collector)
			return len(spans) == seen
		})
		checkUsage(t, number, func(name string) (string, bool) {
			values, has := spans[seen-1].Attributes["http.response.header."+strings.ToLower(name)].([]any)
			if !has || len(values) != 1 {
				return "", has
			}
			value, isText := values[0].(string)
			return value, isText
		})
	}
}

// serverSpans returns Traefik's server spans of chat completions.
func serverSpans(t *testing.T, c *backends.Collector) []backends.Span {
	t.Helper()
	all, err := c.Spans()
	if err != nil {
		t.Fatal(err)
	}
	var found []backends.Span
	for _, span := range all {
		if span.Kind == backends.KindServer && span.Attributes["url.path"] == chatPath {
			found = append(found, span)
		}
	}
	return found
}
