package chatcompletion

import "testing"

// TestSmallResponseSpanDetails checks details that are read only when the span of a small response is exported.
func TestSmallResponseSpanDetails(t *testing.T) {
	for details, attribute := range map[string]string{
		`"prompt_tokens_details":{"cached_tokens":3}`:        "gen_ai.usage.cache_read.input_tokens",
		`"prompt_tokens_details":{"cache_write_tokens":3}`:   "gen_ai.usage.cache_creation.input_tokens",
		`"completion_tokens_details":{"reasoning_tokens":3}`: "gen_ai.usage.reasoning.output_tokens",
	} {
		t.Run(attribute, func(t *testing.T) {
			c := newTestCollector(t, nil)
			handler := newExportingMiddleware(t, c, CreateConfig(), respondWith(`{"id":"chatcmpl-1","model":"m","choices":[{"finish_reason":"stop"}],`+
				`"usage":{"prompt_tokens":6,"completion_tokens":4,`+details+`}}`))
			sendRequest(handler, chatRequest)
			eventually(t, "the span is exported", func() bool { _, spans, _ := c.counts(); return spans == 1 })
			got := c.attributes[0]
			if id := got["gen_ai.response.id"]; id != "chatcmpl-1" {
				t.Errorf("gen_ai.response.id %q, want chatcmpl-1", id)
			}
			for _, name := range []string{"gen_ai.response.finish_reasons", attribute} {
				if _, has := got[name]; !has {
					t.Errorf("attributes %v, want %s in them", got, name)
				}
			}
		})
	}
}
