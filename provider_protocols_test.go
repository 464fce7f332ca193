package chatcompletion

import (
	"net/http"
	"testing"
)

// documentedProtocols is what the documentation of the providers says about protocols other than
// OpenAI's, written out independently of protocolPresets. A provider that is not documented has the
// path of its preset and the header of the protocol.
var documentedProtocols = []struct {
	provider, source string
	protocol         *protocol
	base             string
	header, key      string // for the token sk-test
}{
	{"anthropic", "https://platform.claude.com/docs/en/api/overview", anthropicProtocol, "/v1", "X-Api-Key", "sk-test"},
	{"azure", "https://platform.claude.com/docs/en/build-with-claude/claude-in-microsoft-foundry", anthropicProtocol, "/anthropic/v1", "X-Api-Key", "sk-test"},
	{"deepseek", "https://api-docs.deepseek.com/guides/anthropic_api", anthropicProtocol, "/anthropic/v1", "X-Api-Key", "sk-test"},
	{"fireworks", "https://docs.fireworks.ai/tools-sdks/anthropic-compatibility", anthropicProtocol, "/inference/v1", "Authorization", "Bearer sk-test"},
	{"llamacpp", "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md", anthropicProtocol, "/v1", "Authorization", "Bearer sk-test"},
	{"ollama", "https://docs.ollama.com/api/anthropic-compatibility", anthropicProtocol, "/v1", "Authorization", "Bearer sk-test"},
	{"openrouter", "https://openrouter.ai/docs/api/api-reference/anthropic-messages/create-messages", anthropicProtocol, "/api/v1", "Authorization", "Bearer sk-test"},
	{"vllm", "https://docs.vllm.ai/en/stable/serving/integrations/claude_code/", anthropicProtocol, "/v1", "Authorization", "Bearer sk-test"},
	{"openai-compatible", "not documented", anthropicProtocol, "/v1", "X-Api-Key", "sk-test"},
	{"gemini", "https://ai.google.dev/api", geminiProtocol, "/v1beta", "X-Goog-Api-Key", "sk-test"},
	{"openai-compatible", "not documented", geminiProtocol, "/v1beta", "X-Goog-Api-Key", "sk-test"},
}

func TestProtocolPathsAndCredentials(t *testing.T) {
	targets := map[*protocol][][3]string{ // target, body, and path after the base
		anthropicProtocol: {
			{"/any/v1/messages?x=1", `{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}`, "/messages"},
			{"/any/v1/messages/count_tokens?x=1", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`, "/messages/count_tokens"},
		},
		geminiProtocol: {
			{"/any/v1beta/models/m:generateContent?x=1", `{"contents":[{"parts":[{"text":"hi"}]}]}`, "/models/m:generateContent"},
			{"/any/v1beta/models/m:streamGenerateContent?x=1", `{"contents":{"parts":{"text":"hi"}}}`, "/models/m:streamGenerateContent"},
			{"/any/v1beta/models/m:countTokens?x=1", `{"contents":[{"parts":[{"text":"hi"}]}]}`, "/models/m:countTokens"},
			{"/any/v1beta/models/m:embedContent?x=1", `{"content":{"parts":[{"text":"hi"}]}}`, "/models/m:embedContent"},
		},
	}
	for _, want := range documentedProtocols {
		for _, target := range targets[want.protocol] {
			t.Run(want.provider+target[0], func(t *testing.T) {
				got, body := forwardedRequest(t, want.provider, http.MethodPost, target[0], target[1])
				if got.URL.Path != want.base+target[2] || got.URL.RawQuery != "x=1" {
					t.Errorf("forwarded URL %s?%s, want %s?x=1 (%s)", got.URL.Path, got.URL.RawQuery, want.base+target[2], want.source)
				}
				if key := got.Header.Get(want.header); key != want.key {
					t.Errorf("Request header %q = %q, want %q (%s)", want.header, key, want.key, want.source)
				}
				if body != target[1] {
					t.Errorf("forwarded body %s, want %s", body, target[1])
				}
			})
		}
	}
}
