package chatcompletion

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

const (
	callersTrace  = "0af7651916cd43dd8448eb211c80319c"
	callersSpan   = "b7ad6b7169203331"
	callersParent = "00-" + callersTrace + "-" + callersSpan
)

// everySpan samples all roots.
var everySpan = &sampler{bound: 1 << 63}

// sentParent matches a traceparent of version 0 of the specification.
var sentParent = regexp.MustCompile(`^00-[0-9a-f]{32}-[0-9a-f]{16}-0[0-3]$`)

// What happens to a caller's traceparent.
const (
	isContinued = "continued" // the call is part of the caller's trace
	isForwarded = "forwarded" // the call has no span, and the provider gets what the caller sent
	isReplaced  = "replaced"  // the call starts a trace
)

func TestTraceparentParsing(t *testing.T) {
	tests := []struct {
		name    string
		parents []string
		want    string
		flags   string // in the forwarded header, if the trace is continued
	}{
		{"none", nil, isReplaced, ""},
		{"empty", []string{""}, isReplaced, ""},
		{"sampled", []string{callersParent + "-01"}, isContinued, "01"},
		{"not sampled", []string{callersParent + "-00"}, isForwarded, ""},
		{"sampled, with a random trace id", []string{callersParent + "-03"}, isContinued, "03"},
		{"not sampled, with a random trace id", []string{callersParent + "-02"}, isForwarded, ""},
		{"all flags", []string{callersParent + "-ff"}, isContinued, "03"},
		{"unknown flags", []string{callersParent + "-fc"}, isForwarded, ""},
		{"later version", []string{"01" + callersParent[2:] + "-01"}, isContinued, "01"},
		{"later version with more parts", []string{"cc" + callersParent[2:] + "-01-what-the-future-brings"}, isContinued, "01"},
		{"later version with an empty part", []string{"01" + callersParent[2:] + "-01-"}, isContinued, "01"},
		{"later version, not sampled", []string{"cc" + callersParent[2:] + "-00-what-the-future-brings"}, isForwarded, ""},
		{"later version with a longer part", []string{"01" + callersParent[2:] + "-01x"}, isReplaced, ""},
		{"version 0 with more parts", []string{callersParent + "-01-more"}, isReplaced, ""},
		{"version 0 with an empty part", []string{callersParent + "-01-"}, isReplaced, ""},
		{"version ff", []string{"ff" + callersParent[2:] + "-01"}, isReplaced, ""},
		{"version in upper case", []string{"0A" + callersParent[2:] + "-01"}, isReplaced, ""},
		{"no version", []string{callersTrace + "-" + callersSpan + "-01"}, isReplaced, ""},
		{"trace of zeros", []string{"00-" + strings.Repeat("0", 32) + "-" + callersSpan + "-01"}, isReplaced, ""},
		{"span of zeros", []string{"00-" + callersTrace + "-" + strings.Repeat("0", 16) + "-01"}, isReplaced, ""},
		{"trace in upper case", []string{"00-" + strings.ToUpper(callersTrace) + "-" + callersSpan + "-01"}, isReplaced, ""},
		{"span in upper case", []string{"00-" + callersTrace + "-" + strings.ToUpper(callersSpan) + "-01"}, isReplaced, ""},
		{"flags in upper case", []string{callersParent + "-0B"}, isReplaced, ""},
		{"no hexadecimal digits", []string{"00-" + strings.Repeat("g", 32) + "-" + callersSpan + "-01"}, isReplaced, ""},
		{"trace too short", []string{"00-" + callersTrace[1:] + "-" + callersSpan + "-01"}, isReplaced, ""},
		{"trace too long", []string{"00-0" + callersTrace + "-" + callersSpan + "-01"}, isReplaced, ""},
		{"span too short", []string{"00-" + callersTrace + "-" + callersSpan[1:] + "-01"}, isReplaced, ""},
		{"flags too short", []string{callersParent + "-1"}, isReplaced, ""},
		{"flags too long", []string{callersParent + "-001"}, isReplaced, ""},
		{"no flags", []string{callersParent}, isReplaced, ""},
		{"underscores", []string{strings.ReplaceAll(callersParent, "-", "_") + "_01"}, isReplaced, ""},
		{"text before", []string{"x" + callersParent + "-01"}, isReplaced, ""},
		{"white space before", []string{" " + callersParent + "-01"}, isReplaced, ""},
		{"line feed after", []string{callersParent + "-01\n"}, isReplaced, ""},
		{"two headers", []string{callersParent + "-01", callersParent + "-01"}, isReplaced, ""},
		{"two in one header", []string{callersParent + "-01," + callersParent + "-01"}, isReplaced, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{"Tracestate": {"vendor=1"}}
			if test.parents != nil {
				header["Traceparent"] = test.parents
			}
			trace := startTrace(everySpan, header)
			sent := strings.Join(header["Traceparent"], ",")
			got := ""
			switch {
			case trace == nil && sent == strings.Join(test.parents, ","):
				got = isForwarded
			case trace != nil && trace.ParentID == callersSpan && trace.TraceID == callersTrace:
				got = isContinued
			case trace != nil && trace.ParentID == "" && trace.TraceID != callersTrace:
				got = isReplaced
			}
			if got != test.want {
				t.Fatalf("trace %+v, Request header Traceparent = %q, want it %s", trace, sent, test.want)
			}
			wantState := "vendor=1"
			if test.want == isReplaced {
				wantState = ""
				test.flags = "01"
			}
			if state := strings.Join(header["Tracestate"], ","); state != wantState {
				t.Errorf("Request header Tracestate = %q, want %q", state, wantState)
			}
			if trace == nil {
				return
			}
			if want := "00-" + trace.TraceID + "-" + trace.SpanID + "-" + test.flags; sent != want || !sentParent.MatchString(sent) {
				t.Errorf("Request header Traceparent = %q, want %q", sent, want)
			}
			if trace.SpanID == callersSpan || trace.SpanID == noSpanID || trace.TraceID == noTraceID || trace.State != wantState {
				t.Errorf("span %+v, want new IDs and the state %q", trace, wantState)
			}
		})
	}
}

func TestTracestateIsKept(t *testing.T) {
	long := "vendor=" + strings.Repeat("x", traceStateMaxBytes)
	tests := []struct {
		name string
		sent []string
		want string // of the span
	}{
		{"none", nil, ""},
		{"one", []string{"a=1,b=2"}, "a=1,b=2"},
		{"several headers are one list", []string{"a=1", "b=2"}, "a=1,b=2"},
		{"the longest", []string{long[:traceStateMaxBytes]}, long[:traceStateMaxBytes]},
		{"too long for a span", []string{long}, ""},
	}
	for _, test := range tests {
		header := http.Header{"Traceparent": {callersParent + "-01"}}
		if test.sent != nil {
			header["Tracestate"] = test.sent
		}
		trace := startTrace(everySpan, header)
		if trace == nil || trace.State != test.want {
			t.Errorf("%s: span %+v, want the state %q", test.name, trace, test.want)
		}
		if got := header["Tracestate"]; !reflect.DeepEqual(got, test.sent) {
			t.Errorf("%s: Request header Tracestate = %q, want %q", test.name, got, test.sent)
		}
	}
}

// TestSamplingRatioAppliesToRootsOnly counts which of 10,000 calls become spans. The bounds are six standard deviations wide.
func TestSamplingRatioAppliesToRootsOnly(t *testing.T) {
	const roots = 10_000
	tests := []struct {
		ratio       any
		least, most int
	}{
		{nil, roots, roots},
		{"", roots, roots},
		{1, roots, roots},
		{"1.0", roots, roots},
		{0, 0, 0},
		{"0", 0, 0},
		{0.5, 4700, 5300},
		{"0.1", 820, 1180},
	}
	for _, test := range tests {
		bad := &problems{}
		s := parseSampler(bad, test.ratio)
		if bad.found != nil {
			t.Fatalf("ratio %v: problems %q, want none", test.ratio, bad.found)
		}
		sampled, ids := 0, map[string]bool{}
		for i := 0; i < roots; i++ {
			header := http.Header{}
			trace := startTrace(s, header)
			sent := header.Get("Traceparent")
			ids[sent[3:35]] = true
			if !sentParent.MatchString(sent) || (trace != nil) != strings.HasSuffix(sent, "-01") || (trace == nil) != strings.HasSuffix(sent, "-00") {
				t.Fatalf("ratio %v: Request header Traceparent = %q, trace %+v", test.ratio, sent, trace)
			}
			if trace != nil {
				sampled++
			}
		}
		if sampled < test.least || sampled > test.most {
			t.Errorf("ratio %v: %d of %d calls have spans, want %d to %d", test.ratio, sampled, roots, test.least, test.most)
		}
		if len(ids) != roots {
			t.Errorf("ratio %v: %d calls have %d trace IDs, want one each", test.ratio, roots, len(ids))
		}
		if startTrace(s, http.Header{"Traceparent": {callersParent + "-01"}}) == nil {
			t.Errorf("ratio %v: no span for a sampled caller, want one", test.ratio)
		}
		if startTrace(s, http.Header{"Traceparent": {callersParent + "-00"}}) != nil {
			t.Errorf("ratio %v: span for a caller that is not sampled, want none", test.ratio)
		}
	}
}

// callSink is a sink that keeps the records of calls.
type callSink struct {
	calls []*Call
}

func (k *callSink) Consume(c *Call) { k.calls = append(k.calls, c) }

// newRecordingMiddleware returns a middleware and a sink that keeps its records with all details.
func newRecordingMiddleware(t *testing.T, config *Config, next http.Handler) (http.Handler, *callSink) {
	t.Helper()
	p, err := newPolicy(config, "test")
	if err != nil {
		t.Fatal(err)
	}
	sink := &callSink{}
	p.telemetry.registry = newRegistry()
	enableDetails(p)
	p.telemetry.sinks = append(p.telemetry.sinks, sink)
	return newPolicyMiddleware(p, next), sink
}

func TestTraceIsForwarded(t *testing.T) {
	tests := []struct {
		name   string
		spans  bool
		ratio  any
		header http.Header
		want   string // pattern of the traceparent
		state  string
	}{
		{"no telemetry, no traceparent", false, nil, http.Header{}, "none", ""},
		{"no telemetry", false, nil, http.Header{"Traceparent": {"anything"}, "Tracestate": {"a=1"}}, "anything", "a=1"},
		{"caller not sampled", true, 1, http.Header{"Traceparent": {callersParent + "-00"}, "Tracestate": {"a=1"}}, callersParent + "-00", "a=1"},
		{"caller sampled", true, 0, http.Header{"Traceparent": {callersParent + "-01"}, "Tracestate": {"a=1"}}, "00-" + callersTrace + "-[0-9a-f]{16}-01", "a=1"},
		{"root", true, 1, http.Header{"Tracestate": {"a=1"}}, "00-[0-9a-f]{32}-[0-9a-f]{16}-01", ""},
		{"root not sampled", true, 0, http.Header{}, "00-[0-9a-f]{32}-[0-9a-f]{16}-00", ""},
		{"invalid traceparent", true, 1, http.Header{"Traceparent": {"anything"}, "Tracestate": {"a=1"}}, "00-[0-9a-f]{32}-[0-9a-f]{16}-01", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var seen http.Header
			config := CreateConfig()
			config.Telemetry.Traces.SampleRatio = test.ratio
			handler, sink := newRecordingMiddleware(t, config, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { seen = req.Header.Clone() }))
			handler.(*middleware).policy.telemetry.spans = test.spans
			req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`))
			for name, values := range test.header {
				req.Header[name] = values
			}
			handler.ServeHTTP(httptest.NewRecorder(), req)
			got := strings.Join(append(seen["Traceparent"], "none")[:1], "")
			if !regexp.MustCompile("^"+test.want+"$").MatchString(got) || seen.Get("Traceparent") == callersParent+"-01" {
				t.Errorf("Request header Traceparent = %q, want %q", got, test.want)
			}
			if state := strings.Join(seen["Tracestate"], ","); state != test.state {
				t.Errorf("Request header Tracestate = %q, want %q", state, test.state)
			}
			if trace := sink.calls[0].Trace; trace != nil && !strings.Contains(got, trace.TraceID+"-"+trace.SpanID) {
				t.Errorf("span %+v, Request header Traceparent = %q, want its IDs", trace, got)
			}
		})
	}
}

// FuzzTraceparent compares the result for an arbitrary header with a parser that splits it, and checks that the forwarded
// header is valid.
func FuzzTraceparent(f *testing.F) {
	for _, parent := range []string{
		"", callersParent + "-01", callersParent + "-00", "01" + callersParent[2:] + "-01-more", "ff" + callersParent[2:] + "-01", callersParent + "-0B",
		callersParent + "-01-", "00-" + noTraceID + "-" + callersSpan + "-01", "00-" + callersTrace + "-" + noSpanID + "-01", "cc" + callersParent[2:] + "-03-\xff\n",
	} {
		f.Add(parent)
	}
	f.Fuzz(func(t *testing.T, parent string) {
		header := http.Header{"Traceparent": {parent}}
		trace := startTrace(everySpan, header)
		parts := strings.SplitN(parent, "-", 5)
		isValid := len(parts) >= 4 && hexDigits(parts[0], 2) && parts[0] != "ff" && hexDigits(parts[1], 32) && strings.Trim(parts[1], "0") != "" &&
			hexDigits(parts[2], 16) && strings.Trim(parts[2], "0") != "" && hexDigits(parts[3], 2) &&
			(len(parts) == 4 || (parts[0] != "00" && !strings.Contains(parts[4], "\n")))
		isSampled := isValid && strings.ContainsAny(parts[3][1:], "13579bdf")
		sent := header.Get("Traceparent")
		switch {
		case isValid && !isSampled:
			if trace != nil || sent != parent {
				t.Errorf("%q: Request header Traceparent = %q, trace %+v, want it unchanged", parent, sent, trace)
			}
		case trace == nil || !sentParent.MatchString(sent):
			t.Errorf("%q: Request header Traceparent = %q, trace %+v, want a valid one", parent, sent, trace)
		case isSampled && (trace.TraceID != parts[1] || trace.ParentID != parts[2]):
			t.Errorf("%q: trace %+v, want the caller's", parent, trace)
		case !isValid && trace.ParentID != "":
			t.Errorf("%q: trace %+v, want a new one", parent, trace)
		}
	})
}

func hexDigits(text string, count int) bool {
	return len(text) == count && strings.Trim(text, "0123456789abcdef") == ""
}

// TestSpanParametersMatchForwardedRequest also compares the parameters with the forwarded body.
func TestSpanParametersMatchForwardedRequest(t *testing.T) {
	const (
		temperature, topP, limit = "gen_ai.request.temperature", "gen_ai.request.top_p", "gen_ai.request.max_tokens"
		seed, stop, count        = "gen_ai.request.seed", "gen_ai.request.stop_sequences", "gen_ai.request.choice.count"
	)
	long := strings.Repeat("x", spanValueMaxBytes)
	tests := []struct {
		name    string
		config  func(c *Config)
		members string // of the request
		want    map[string]string
	}{
		{"none", nil, ``, map[string]string{}},
		{"as the client sent them", nil,
			`"temperature":0.50,"top_p":1,"max_tokens":64,"frequency_penalty":-1,"presence_penalty":1e0,"seed":7,"n":2,"stop":["a","b"],"reasoning_effort":"low"`,
			map[string]string{
				temperature: "0.50", topP: "1", limit: "64", "gen_ai.request.frequency_penalty": "-1", "gen_ai.request.presence_penalty": "1e0",
				seed: "7", count: "2", stop: `["a","b"]`, "gen_ai.request.reasoning.level": `"low"`,
			}},
		{"null is omitted", nil, `"temperature":null,"max_tokens":null`, map[string]string{}},
		{"text elided from the skeleton", nil, `"stop":"a text of more than twenty-four bytes"`, map[string]string{stop: `"a text of more than twenty-four bytes"`}},
		{"text too long for a span", nil, `"stop":"` + long + `"`, map[string]string{}},
		{"escapes", nil, `"stop":"\u0041\"\\"`, map[string]string{stop: `"\u0041\"\\"`}},
		{"set", func(c *Config) {
			c.Params.Temperature, c.Params.Extra = 0.5, map[string]any{"seed": "7", "stop": []any{"a"}}
		}, ``,
			map[string]string{temperature: "0.5", seed: "7", stop: `["a"]`}},
		{"set for null", func(c *Config) { c.Params.Temperature = 0.5 }, `"temperature":null`, map[string]string{temperature: "0.5"}},
		{"enforced", func(c *Config) { c.Params.Temperature = 0.5 }, `"temperature":2,"top_p":0.1`, map[string]string{temperature: "0.5", topP: "0.1"}},
		{"default", func(c *Config) { c.Params.Temperature, c.Params.TopP, c.AllowParamsOverride = 0.5, 0.9, true }, `"temperature":2`,
			map[string]string{temperature: "2", topP: "0.9"}},
		{"limited", func(c *Config) { c.Limits.Temperature, c.Limits.N = 1, 2 }, `"temperature":2,"n":9`, map[string]string{temperature: "1", count: "2"}},
		{"within the limit", func(c *Config) { c.Limits.Temperature, c.Limits.N = 1, 2 }, `"temperature":0.7`, map[string]string{temperature: "0.7"}},
		{"dropped", func(c *Config) { c.DropParams = []string{"temperature", "stop"} }, `"temperature":2,"stop":"x","seed":1`, map[string]string{seed: "1"}},
		{"the older spelling", nil, `"max_tokens":5`, map[string]string{limit: "5"}},
		{"the newer spelling", nil, `"max_completion_tokens":5`, map[string]string{limit: "5"}},
		{"both spellings", nil, `"max_completion_tokens":5,"max_tokens":6`, map[string]string{limit: "5"}},
		{"the other spelling is limited", func(c *Config) { c.Limits.MaxTokens = 100 }, `"max_completion_tokens":500`, map[string]string{limit: "100"}},
		{"the other spelling is enforced", func(c *Config) { c.Params.MaxCompletionTokens = 100 }, `"max_tokens":5`, map[string]string{limit: "100"}},
		{"both spellings limited, newer one stays", func(c *Config) { c.Limits.MaxTokens = 100 }, `"max_completion_tokens":50,"max_tokens":500`,
			map[string]string{limit: "50"}},
		{"both spellings, one null", func(c *Config) { c.Limits.MaxTokens = 100 }, `"max_completion_tokens":null,"max_tokens":500`,
			map[string]string{limit: "100"}},
		{"no limit gets the ceiling", func(c *Config) { c.Limits.MaxCompletionTokens = 100 }, ``, map[string]string{limit: "100"}},
		{"null gets the ceiling", func(c *Config) { c.Limits.MaxTokens = 100 }, `"max_completion_tokens":null`, map[string]string{limit: "100"}},
		{"both spellings are dropped", func(c *Config) { c.DropParams = []string{maxTokens, maxCompletionTokens} }, `"max_completion_tokens":5,"max_tokens":6`, map[string]string{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			config := CreateConfig()
			config.Model = "gpt-4o"
			if test.config != nil {
				test.config(config)
			}
			var sent []byte
			handler, sink := newRecordingMiddleware(t, config, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { sent, _ = io.ReadAll(req.Body) }))
			body := `{"messages":[{"role":"user","content":"Hi"}]`
			if test.members != "" {
				body += "," + test.members
			}
			for range [2]int{} { // the second one from the decision cache
				handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body+"}")))
			}
			if len(sink.calls) != 2 || sent == nil {
				t.Fatalf("%d calls, forwarded body %s", len(sink.calls), sent)
			}
			for _, call := range sink.calls {
				got := map[string]string{}
				for _, p := range call.Request.Parameters {
					got[p.Name] = p.Value // the last one wins, as for parameterAttributes
				}
				if !reflect.DeepEqual(got, test.want) {
					t.Errorf("parameters %q, want %q", got, test.want)
				}
				if provided := parametersOf(t, sent); !reflect.DeepEqual(got, provided) {
					t.Errorf("parameters %q, but the forwarded body has %q", got, provided)
				}
			}
		})
	}
}

// parametersOf returns the parameters in a forwarded body that a span shows.
func parametersOf(t *testing.T, body []byte) map[string]string {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, names := range spanParameters {
		if value := string(members[names[0]]); value != "" && value != "null" && len(value) <= spanValueMaxBytes {
			found[names[1]] = value
		}
	}
	return found
}

// TestSpanParametersAreNotCached sends requests that differ in a text only: the cached decision of the first one must not
// provide the parameters of the others.
func TestSpanParametersAreNotCached(t *testing.T) {
	handler, sink := newRecordingMiddleware(t, CreateConfig(), http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	var want []string
	for i := 0; i < 3; i++ {
		text := fmt.Sprintf(`"tenant %d does not want to be seen by others"`, i)
		want = append(want, text)
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(
			`{"model":"m","messages":[{"role":"user","content":"Hi"}],"stop":`+text+`}`)))
	}
	for i, call := range sink.calls {
		if got := call.Request.Parameters; len(got) != 1 || got[0].Value != want[i] {
			t.Errorf("call %d: parameters %v, want %s", i, got, want[i])
		}
	}
}

func TestRefusedCallHasSpanInTrace(t *testing.T) {
	handler, sink := newRecordingMiddleware(t, CreateConfig(), http.NotFoundHandler())
	handler.(*middleware).policy.telemetry.spans = true
	req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{"))
	req.Header.Set("Traceparent", callersParent+"-01")
	handler.ServeHTTP(httptest.NewRecorder(), req)
	call := sink.calls[0]
	if call.ErrorType != "invalid_json" || call.Trace == nil || call.Trace.ParentID != callersSpan {
		t.Errorf("error.type %q and trace %+v, want invalid_json and the caller's span as parent", call.ErrorType, call.Trace)
	}
}
