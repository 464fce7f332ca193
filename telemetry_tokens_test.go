package chatcompletion

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"
)

// namesOf returns the names of the conventions' instruments that have points.
func namesOf(r *registry, semconv string) map[string]int {
	names := map[string]int{}
	for _, m := range collect(r, semconv) {
		if strings.HasPrefix(m.instrument.name, "gen_ai.") && len(m.points) > 0 {
			names[strings.TrimPrefix(m.instrument.name, "gen_ai.client.")] = len(m.points)
		}
	}
	return names
}

func TestSemconvSelectsMetrics(t *testing.T) {
	r := newRegistry()
	for _, operation := range []string{chatOperation, generateOperation, embeddingsOperation, passthroughOperation, countOperation, realtimeOperation} {
		recordCall(r, newTestCall(func(c *Call) {
			c.Target = &Target{Operation: operation, Provider: "openai", MaxSeries: 10, key: operation}
			if operation == countOperation {
				return
			}
			c.Response.Usage = Usage{InputKnown: true, InputTokens: 3}
			if operation != chatOperation {
				return
			}
			c.Response.Usage.OutputKnown, c.FirstChunk = true, time.Second
			c.Chunks = &ChunkTimes{Counts: make([]int64, len(chunkTime.bounds)+1), Sum: time.Second}
			c.Chunks.Counts[0] = 1
		}))
	}
	legacy := map[string]int{"token.usage": 6, "operation.duration": 6, "operation.time_to_first_chunk": 1, "operation.time_per_output_chunk": 1}
	v01 := map[string]int{
		"inference.duration": 2, "inference.time_to_first_chunk": 1, "inference.time_per_output_chunk": 1,
		"inference.operation.input_tokens": 5, "inference.operation.output_tokens": 1,
		"inference.usage.input_tokens": 5, "inference.usage.output_tokens": 4,
	}
	both := map[string]int{}
	for _, names := range []map[string]int{legacy, v01} {
		for name, points := range names {
			both[name] = points
		}
	}
	v01["operation.duration"] = 4 // of operations that are not inferences
	for semconv, want := range map[string]map[string]int{semconvLegacy: legacy, semconvV01: v01, semconvBoth: both} {
		if got := namesOf(r, semconv); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v", semconv, got, want)
		}
	}
}

func TestBothNamesHaveTheSameValues(t *testing.T) {
	r := exposedRegistry()
	for _, pair := range [][2]*instrument{{operationDuration, inferenceDuration}, {timeToFirstChunk, inferenceFirstChunk}, {chunkTime, inferenceChunkTime}} {
		if got, want := pointsOf(r, pair[1]), pointsOf(r, pair[0]); !reflect.DeepEqual(got, want) || len(want) == 0 {
			t.Errorf("%s: %v, want those of %s: %v", pair[1].name, got, pair[0].name, want)
		}
		if !reflect.DeepEqual(pair[0].bounds, pair[1].bounds) {
			t.Errorf("%s has the bounds %v, want %v", pair[1].name, pair[1].bounds, pair[0].bounds)
		}
	}
}

// TestTokenCounters counts calls of one series with a counter, two if it has audio. error.type does not divide counters.
func TestTokenCounters(t *testing.T) {
	read := &Target{Operation: chatOperation, Provider: "openai", MaxSeries: 10, readsParts: true}
	embeddings := &Target{Operation: embeddingsOperation, Provider: "openai", MaxSeries: 10, readsParts: true}
	failed := func(c *Call) { c.Status, c.ErrorType = 500, "500" }
	used := func(target *Target, u Usage) func(c *Call) {
		return func(c *Call) { c.Target, c.Response.Usage = target, u }
	}
	unread := &Target{Operation: chatOperation, Provider: "openai", MaxSeries: 10}
	whole := Usage{InputKnown: true, OutputKnown: true, InputTokens: 10, OutputTokens: 7, CacheReadInputTokens: 4, CacheCreationInputTokens: 2,
		ReasoningOutputTokens: 5, InputAudioTokens: 3, OutputAudioTokens: 1}
	for _, test := range []struct {
		name  string
		calls []func(c *Call)
		want  map[string]int64
	}{
		{"a failed call", []func(c *Call){failed}, map[string]int64{"usage.input_tokens unknown": 0, "usage.output_tokens unknown": 0}},
		{"a failed call whose parts are read", []func(c *Call){func(c *Call) { failed(c); c.Target = read }}, map[string]int64{
			"usage.input_tokens unknown": 0, "usage.output_tokens unknown": 0, "usage.cache_read.input_tokens unknown": 0,
			"usage.cache_write.input_tokens unknown": 0, "usage.reasoning.output_tokens unknown": 0,
		}},
		{"parts that are not read", []func(c *Call){used(unread, whole)}, map[string]int64{"usage.input_tokens unknown": 10, "usage.output_tokens unknown": 7}},
		{"parts, failures and usages", []func(c *Call){used(read, whole), used(read, whole), failed}, map[string]int64{
			"usage.input_tokens unknown": 14, "usage.input_tokens audio": 6, "usage.output_tokens unknown": 12, "usage.output_tokens audio": 2,
			"usage.cache_read.input_tokens unknown": 8, "usage.cache_write.input_tokens unknown": 4, "usage.reasoning.output_tokens unknown": 10,
		}},
		{"parts that are more than the whole", []func(c *Call){used(read, Usage{InputKnown: true, InputTokens: 2, InputAudioTokens: 3, CacheReadInputTokens: 5, OutputAudioTokens: 1})},
			map[string]int64{
				"usage.input_tokens unknown": 0, "usage.input_tokens audio": 2, "usage.output_tokens unknown": 0,
				"usage.cache_read.input_tokens unknown": 2, "usage.cache_write.input_tokens unknown": 0, "usage.reasoning.output_tokens unknown": 0,
			}},
		{"embeddings, which have no output", []func(c *Call){used(embeddings, Usage{InputKnown: true, InputTokens: 9})}, map[string]int64{
			"usage.input_tokens unknown": 9, "usage.cache_read.input_tokens unknown": 0, "usage.cache_write.input_tokens unknown": 0,
		}},
		{"an estimate for quotas", []func(c *Call){used(read, Usage{InputTokens: 9, OutputTokens: 8, Estimated: true})}, map[string]int64{
			"usage.input_tokens unknown": 0, "usage.output_tokens unknown": 0, "usage.cache_read.input_tokens unknown": 0,
			"usage.cache_write.input_tokens unknown": 0, "usage.reasoning.output_tokens unknown": 0,
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRegistry()
			for _, change := range test.calls {
				recordCall(r, newTestCall(change))
			}
			got := map[string]int64{}
			for _, m := range collect(r, semconvV01) {
				if !strings.HasPrefix(m.instrument.name, "gen_ai.client.inference.usage.") {
					continue
				}
				for _, p := range m.points {
					key := strings.TrimPrefix(m.instrument.name, "gen_ai.client.inference.") + " " + p.attributes[len(p.attributes)-1]
					if _, isKnown := got[key]; isKnown {
						t.Errorf("two points of %s, want one", key)
					}
					got[key] = p.count
				}
			}
			if !reflect.DeepEqual(got, test.want) {
				t.Errorf("counters %v, want %v", got, test.want)
			}
		})
	}
}

// TestPartsCountWhereTheyAreRead: small responses, other responses and streams, with parts that something else reads, or version
// 0.1.0 of the conventions.
func TestPartsCountWhereTheyAreRead(t *testing.T) {
	const usage = `"usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":4,"cache_write_tokens":2},` +
		`"completion_tokens_details":{"reasoning_tokens":3}}`
	responses := map[string]http.Handler{
		"small":    respondWith(`{"id":"c","object":"chat.completion","model":"m","choices":[{"finish_reason":"stop"}],` + usage + `}`),
		"uncommon": respondWith(`{"id":"c","error":null,"model":"m","choices":[{"finish_reason":"stop"}],` + usage + `}`),
		"stream":   respondWith("data: {\"id\":\"c\",\"model\":\"m\",\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[]," + usage + "}\n\ndata: [DONE]\n\n"),
	}
	for _, test := range []struct {
		name   string
		change func(c *Config)
		want   map[string]int64
	}{
		{"default", func(_ *Config) {}, map[string]int64{}},
		{"legacy", func(c *Config) { c.Telemetry.Semconv = semconvLegacy }, map[string]int64{}},
		{"v0.1", func(c *Config) { c.Telemetry.Semconv = semconvV01 }, map[string]int64{"cache_read": 4, "cache_write": 2, "reasoning": 3}},
		{"prices", func(c *Config) {
			c.Prices.Models = map[string]Price{"*": {Input: "1", Output: "2"}}
		}, map[string]int64{"cache_read": 4, "cache_write": 2, "reasoning": 3}},
	} {
		for kind, response := range responses {
			t.Run(test.name+"/"+kind, func(t *testing.T) {
				config := CreateConfig()
				test.change(config)
				m := newTestMiddleware(t, config, response)
				r := newRegistry()
				m.policy.telemetry.registry = r
				sendRequest(m, chatRequest)
				got := map[string]int64{}
				for name, i := range map[string]*instrument{"cache_read": cacheReadTokens, "cache_write": cacheWriteTokens, "reasoning": reasoningTokens} {
					for _, p := range pointsOf(r, i) {
						got[name] += p.count
					}
				}
				if !reflect.DeepEqual(got, test.want) {
					t.Errorf("parts %v, want %v", got, test.want)
				}
			})
		}
	}
}

// TestPartsAreReadWhileSpansAreExported: the registry and an exporter read the details of the same calls.
func TestPartsAreReadWhileSpansAreExported(t *testing.T) {
	c := newTestCollector(t, nil)
	handler := newExportingMiddleware(t, c, CreateConfig(), respondWith(`{"id":"c","model":"m","choices":[{"finish_reason":"stop"}],`+
		`"usage":{"prompt_tokens":6,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":3}}}`))
	const calls = 4 * aggregatedCalls
	for i := 0; i < calls; i++ {
		sendRequest(handler, chatRequest)
	}
	eventually(t, "all spans are exported", func() bool { _, spans, _ := c.counts(); return spans == calls })
	cached := int64(0)
	for _, p := range pointsOf(handler.(*middleware).policy.telemetry.registry, cacheReadTokens) {
		cached += p.count
	}
	if cached != 3*calls {
		t.Errorf("%d tokens of a cache, want %d", cached, 3*calls)
	}
	for _, attributes := range c.attributes {
		if _, has := attributes["gen_ai.usage.cache_read.input_tokens"]; !has {
			t.Fatalf("attributes %v, want gen_ai.usage.cache_read.input_tokens in them", attributes)
		}
	}
}

func TestEnvironmentSelectsSemconv(t *testing.T) {
	for value, want := range map[string]string{
		"": semconvBoth, "http": semconvBoth, "gen_ai_latest_experimental": semconvV01, "http/dup, gen_ai_latest_experimental": semconvV01,
		"gen_ai_latest_experimental/dup": semconvBoth, "gen_ai_latest_experimental,gen_ai_latest_experimental/dup": semconvBoth,
		"GEN_AI_LATEST_EXPERIMENTAL": semconvBoth, "gen_ai_latest_experimental_2": semconvBoth,
	} {
		getenv := environment("OTEL_SEMCONV_STABILITY_OPT_IN", value)
		if got := parseSemconv(&problems{}, "", getenv); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
		for _, configured := range []string{semconvLegacy, semconvV01, semconvBoth} {
			if got := parseSemconv(&problems{}, configured, getenv); got != configured {
				t.Errorf("%q with %s configured: %s", value, configured, got)
			}
		}
	}
}

func TestSpansAndLinesOfVersion01(t *testing.T) {
	newCall := func(change func(c *Call)) *Call {
		c := newTestCall(change)
		c.Trace = &Trace{TraceID: "0af7651916cd43dd8448eb211c80319c", SpanID: "b7ad6b7169203331"}
		return c
	}
	cut := func(reasons ...string) *Call {
		return newCall(func(c *Call) { c.ErrorType, c.Response.FinishReasons = errorProviderCut, reasons })
	}
	twoChoices := cut("stop")
	twoChoices.Request.Parameters = []Parameter{{Name: choiceCountParameter, Value: "2"}}
	parts := newCall(func(c *Call) {
		c.Response.Usage = Usage{InputKnown: true, OutputKnown: true, InputTokens: 9, OutputTokens: 9, CacheCreationInputTokens: 3, InputAudioTokens: 2, OutputAudioTokens: 1}
	})
	const finish = `gen_ai.response.finish_reasons","value":{"arrayValue":{"values":[{"stringValue":"`
	for _, test := range []struct {
		name             string
		call             *Call
		semconv          string
		span, line, none string
	}{
		{"parts", parts, semconvV01, `gen_ai.usage.cache_write.input_tokens","value":{"intValue":"3"}`, `"gen_ai.usage.cache_write.input_tokens":3`, "cache_creation"},
		{"parts", parts, semconvBoth, `gen_ai.usage.cache_creation.input_tokens","value":{"intValue":"3"}`, `"gen_ai.usage.cache_creation.input_tokens":3`, "cache_write"},
		{"audio", parts, semconvV01, `gen_ai.usage.audio.input_tokens","value":{"intValue":"2"}},{"key":"gen_ai.usage.audio.output_tokens","value":{"intValue":"1"}`, "", "cache_creation"},
		{"audio", parts, semconvLegacy, "", "", "audio"},
		{"a cut stream", cut(), semconvV01, finish + `error"}]`, `"gen_ai.response.finish_reasons":["error"]`, "stop"},
		{"a cut stream", cut(), semconvBoth, "", "", "finish_reasons"},
		{"a cut choice", twoChoices, semconvV01, finish + `stop"},{"stringValue":"error"}]`, `"gen_ai.response.finish_reasons":["stop","error"]`, "length"},
		{"a cut after the choice", cut("stop"), semconvV01, finish + `stop"}]`, `"gen_ai.response.finish_reasons":["stop"]`, `"error"`},
		{"a refused request", newCall(func(c *Call) { c.Status, c.ErrorType = 400, "invalid_json" }), semconvV01, "", "", "finish_reasons"},
	} {
		t.Run(test.name+"/"+test.semconv, func(t *testing.T) {
			span := string(spanPayload(testResource, test.semconv, requestTexts{}, []*Call{test.call}))
			line := string(newLine(test.call, test.semconv))
			if !strings.Contains(span, test.span) || strings.Contains(span, test.none) {
				t.Errorf("span %s, want %s in it, and not %s", span, test.span, test.none)
			}
			if !strings.Contains(line, test.line) || strings.Contains(line, test.none) {
				t.Errorf("line %s, want %s in it, and not %s", line, test.line, test.none)
			}
		})
	}
}

// TestReasoningLevelOfResponses: the effort of the Responses API is in an object.
func TestReasoningLevelOfResponses(t *testing.T) {
	const body = `{"model":"gpt-5","input":"hi","reasoning":{"effort":"low","summary":"auto"}}`
	for semconv, want := range map[string]string{semconvV01: `{"effort":"low","summary":"auto"}`, semconvBoth: ""} {
		config := CreateConfig()
		config.Telemetry.Semconv = semconv
		config.Routes = map[string]string{"/v1/responses": "responses"}
		sink := &callSink{}
		m := newTestMiddleware(t, config, respondWith(`{}`))
		m.policy.telemetry.sinks = []Sink{sink}
		for _, ep := range m.policy.providers[0].endpoints {
			if ep.parameters != nil {
				ep.shown = sentParameters(ep, shownParameters(semconv))
			}
		}
		m.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/responses", strings.NewReader(body)))
		got := ""
		for _, p := range sink.calls[0].Request.Parameters {
			if p.Name == reasoningLevelParameter {
				got = p.Value
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", semconv, got, want)
		}
	}
	for value, want := range map[string]string{`{"effort":"low"}`: `,{"key":"gen_ai.request.reasoning.level","value":{"stringValue":"low"}}`, `{"thinkingLevel":"low"}`: `,{"key":"gen_ai.request.reasoning.level","value":{"stringValue":"low"}}`, `{"summary":"auto"}`: "", `{"effort":1}`: ""} {
		if got := parameterAttribute(Parameter{Name: reasoningLevelParameter, Value: value}); got != want {
			t.Errorf("%s: %s, want %s", value, got, want)
		}
	}
}
