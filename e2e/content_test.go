package e2e_test

import (
	"context"
	"net/http"
	"runtime"
	"testing"
)

// TestSpanContentIsOptIn checks that interpreted code captures prompts and responses only if
// configured to.
func TestSpanContentIsOptIn(t *testing.T) {
	const (
		input  = `[{"role":"system","parts":[{"type":"text","content":"Be "}]},{"role":"user","parts":[{"type":"text","content":"What is it?"},{"type":"image_url"}]},{"role":"assistant","parts":[{"type":"tool_call","name":"zoom"}]},{"role":"tool","parts":[{"type":"text","content":"a cat"}]}]`
		plain  = `[{"role":"assistant","parts":[{"type":"text","content":"Hi"}],"finish_reason":"stop"}]`
		stream = `[{"role":"assistant","parts":[{"type":"text","content":"Hi"}],"finish_reason":"length"}]`
		body   = `"messages":[{"role":"system","content":"Be short."},{"role":"user","content":[{"type":"text","text":"What is it?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},` +
			`{"role":"assistant","content":null,"tool_calls":[{"id":"c","type":"function","function":{"name":"zoom","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"a cat"}]}`
	)
	builder := loadThisPlugin(t)
	for _, captures := range []bool{true, false} {
		c := newCollector(t)
		configuration := c.configuration()
		before := runtime.NumGoroutine()
		want := map[string][2]any{"plain": {nil, nil}, "stream": {nil, nil}}
		if captures {
			configuration["telemetry"].(map[string]any)["traces"] = map[string]any{"captureContent": "true", "contentMaxBytes": "23"}
			want = map[string][2]any{"plain": {input, plain}, "stream": {input, stream}}
		}
		ctx, cancel := context.WithCancel(context.Background())
		handler := construct(t, ctx, builder, configuration, http.HandlerFunc(openAI))
		chat(handler, `{"model":"plain",`+body)
		chat(handler, `{"model":"stream","stream":true,`+body)
		await(t, "two spans arrive", func() bool { return c.spanCount() == 2 })
		cancel()
		await(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
		for model, contents := range want {
			got := attributes(c.span("chat "+model, http.StatusOK).Attributes)
			for i, name := range []string{"gen_ai.input.messages", "gen_ai.output.messages"} {
				if got[name] != contents[i] {
					t.Errorf("captured %t: %s of the %s is\n%v\nwant\n%v", captures, name, model, got[name], contents[i])
				}
			}
		}
	}
}
