package e2e_test

import (
	"net/http"
	"testing"
)

// TestHTTP2PathSpellingsAreGoverned sends spellings of a governed path over HTTP/2, where the path
// is a pseudo-header. Every request at the provider must have the configured model.
func TestHTTP2PathSpellingsAreGoverned(t *testing.T) {
	g := startForwarding(t)
	provider := newFake(t, "provider", counting(0))
	configure(t, g, hosted(map[string]map[string]any{"h2": at(t, provider.URL, map[string]any{
		"provider": "openai", "token": "sk-provider", "model": openAIModel,
		"routes": map[string]any{"/v1/chat/completions": "completions", "*": "passthrough"},
	})}))
	client := overHTTP2()
	for _, spelling := range []string{
		"/h2/v1/chat/completions", "/h2/V1/Chat/COMPLETIONS", "/h2/v1/chat/completions/", "/h2//v1//chat/completions", "/h2/v1/chat/./completions",
		"/h2/v1/x/../chat/completions", "/h2/v1/chat%2fcompletions", "/h2/v1/ch%61t/completions", "/h2/v1/chat/completions;x=1", "/h2/v1/chat/completions.",
		"/h2/v1/chat/completions%20", "/h2/v1/chat%5ccompletions", "/h2/v1/chat/completions%00", "/h2/v1/%2563hat/completions", "/h2/v1beta/openai/chat/completions",
	} {
		before := len(provider.saw())
		response, err := do(t.Context(), client, g.URL+spelling, asking(deepSeekModel), nil)
		if err != nil {
			t.Errorf("%s: %v", spelling, err)
			continue
		}
		_ = response.Body.Close()
		if response.ProtoMajor != 2 {
			t.Fatalf("%s used %s", spelling, response.Proto)
		}
		received := provider.saw()[before:]
		if spelling == "/h2/v1/chat/completions" && (len(received) != 1 || response.StatusCode != http.StatusOK) {
			t.Errorf("%s: status %d, and %d requests at the provider", spelling, response.StatusCode, len(received))
		}
		for _, one := range received {
			if got := one.model(); got != openAIModel {
				t.Errorf("%s reaches the provider with the model %q, want %q", spelling, got, openAIModel)
			}
		}
	}
}
