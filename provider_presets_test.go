package chatcompletion

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// documented is what the documentation of the providers says, written out independently of presets.
var documented = []struct {
	provider, source  string
	genAIName         string // gen_ai.provider.name
	header, key       string // for the token sk-test
	chat, embeddings  string // path; empty: not documented
	models, responses string
	tokenLimit        string // empty: unchanged
	omitsStreamUsage  bool   // no stream_options are added
}{
	{
		provider: "openai", source: "https://platform.openai.com/docs/api-reference/chat/create",
		genAIName: "openai", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1/chat/completions", embeddings: "/v1/embeddings", models: "/v1/models", responses: "/v1/responses",
		tokenLimit: "max_completion_tokens",
	},
	{
		provider: "azure", source: "https://learn.microsoft.com/en-us/azure/ai-foundry/openai/latest",
		genAIName: "azure.ai.openai", header: "Api-Key", key: "sk-test",
		chat: "/openai/v1/chat/completions", embeddings: "/openai/v1/embeddings",
		models: "/openai/v1/models", responses: "/openai/v1/responses",
		tokenLimit: "max_completion_tokens",
	},
	{
		provider: "gemini", source: "https://ai.google.dev/gemini-api/docs/openai",
		genAIName: "gcp.gemini", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1beta/openai/chat/completions", embeddings: "/v1beta/openai/embeddings", models: "/v1beta/openai/models",
	},
	{
		provider: "mistral", source: "https://docs.mistral.ai/api/",
		genAIName: "mistral_ai", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1/chat/completions", embeddings: "/v1/embeddings", models: "/v1/models",
		tokenLimit: "max_tokens", omitsStreamUsage: true,
	},
	{
		provider: "deepseek", source: "https://api-docs.deepseek.com/api/create-chat-completion",
		genAIName: "deepseek", header: "Authorization", key: "Bearer sk-test",
		chat: "/chat/completions", models: "/models",
		tokenLimit: "max_tokens",
	},
	{
		provider: "groq", source: "https://console.groq.com/docs/api-reference",
		genAIName: "groq", header: "Authorization", key: "Bearer sk-test",
		chat: "/openai/v1/chat/completions", models: "/openai/v1/models", responses: "/openai/v1/responses",
	},
	{
		provider: "xai", source: "https://docs.x.ai/developers/rest-api-reference/inference",
		genAIName: "x_ai", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1/chat/completions", models: "/v1/models", responses: "/v1/responses",
	},
	{
		provider: "openrouter", source: "https://openrouter.ai/docs/api-reference/overview",
		genAIName: "openrouter", header: "Authorization", key: "Bearer sk-test",
		chat: "/api/v1/chat/completions", embeddings: "/api/v1/embeddings", models: "/api/v1/models", responses: "/api/v1/responses",
		omitsStreamUsage: true,
	},
	{
		provider: "together", source: "https://docs.together.ai/docs/inference/openai-compatibility",
		genAIName: "together", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1/chat/completions", embeddings: "/v1/embeddings", models: "/v1/models",
		tokenLimit: "max_tokens",
	},
	{
		provider: "fireworks", source: "https://docs.fireworks.ai/api-reference/post-chatcompletions",
		genAIName: "fireworks", header: "Authorization", key: "Bearer sk-test",
		chat: "/inference/v1/chat/completions", embeddings: "/inference/v1/embeddings", responses: "/inference/v1/responses",
	},
	{
		provider: "cohere", source: "https://docs.cohere.com/docs/compatibility-api",
		genAIName: "cohere", header: "Authorization", key: "Bearer sk-test",
		chat: "/compatibility/v1/chat/completions", embeddings: "/compatibility/v1/embeddings",
		tokenLimit: "max_tokens", omitsStreamUsage: true,
	},
	{
		provider: "perplexity", source: "https://docs.perplexity.ai/docs/grounded-llm/openai-compatibility",
		genAIName: "perplexity", header: "Authorization", key: "Bearer sk-test",
		embeddings: "/v1/embeddings", models: "/v1/models", responses: "/v1/responses",
	},
	{
		provider: "deepinfra", source: "https://docs.deepinfra.com/chat/overview",
		genAIName: "deepinfra", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1/openai/chat/completions", embeddings: "/v1/openai/embeddings",
		tokenLimit: "max_tokens",
	},
	{
		provider: "anthropic", source: "https://platform.claude.com/docs/en/api/openai-sdk",
		genAIName: "anthropic", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1/chat/completions",
	},
	{
		provider: "ollama", source: "https://docs.ollama.com/api/openai-compatibility",
		genAIName: "ollama", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1/chat/completions", embeddings: "/v1/embeddings", models: "/v1/models", responses: "/v1/responses",
		tokenLimit: "max_tokens",
	},
	{
		provider: "vllm", source: "https://docs.vllm.ai/en/stable/serving/online_serving.html",
		genAIName: "vllm", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1/chat/completions", embeddings: "/v1/embeddings", models: "/v1/models", responses: "/v1/responses",
	},
	{
		provider: "llamacpp", source: "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
		genAIName: "llama_cpp", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1/chat/completions", embeddings: "/v1/embeddings", models: "/v1/models",
		tokenLimit: "max_tokens",
	},
	{
		provider: "openai-compatible", source: "common behavior of servers with a base URL that ends in /v1",
		genAIName: "openai", header: "Authorization", key: "Bearer sk-test",
		chat: "/v1/chat/completions", embeddings: "/v1/embeddings", models: "/v1/models", responses: "/v1/responses",
	},
}

// forwardedRequest returns the request that reaches the provider, and its body.
func forwardedRequest(t *testing.T, provider, method, target, body string) (*http.Request, string) {
	t.Helper()
	config := CreateConfig()
	config.Provider = provider
	config.Token = "sk-test"
	config.Routes = map[string]string{
		"/v1/chat/completions": "completions", "/v1/embeddings": "embeddings", "/v1/models": "models", "/v1/responses": "responses",
		"/v1/messages": "messages", "/v1/messages/count_tokens": "countTokens", "/v1beta/models/*": "generateContent",
	}
	var got *http.Request
	var gotBody []byte
	next := http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		got = req.Clone(context.Background())
		gotBody, _ = io.ReadAll(req.Body)
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"object":"list","data":[]}`)
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	handler, err := New(ctx, next, config, "test")
	if err != nil {
		t.Fatal(err)
	}
	rw := httptest.NewRecorder()
	handler.ServeHTTP(rw, httptest.NewRequest(method, target, strings.NewReader(body)))
	if got == nil {
		t.Fatalf("%s %s is not forwarded: status %d, body %s", method, target, rw.Code, rw.Body)
	}
	return got, string(gotBody)
}

func TestPresetPathsAndCredentials(t *testing.T) {
	for _, want := range documented {
		for _, endpoint := range []struct{ method, target, body, path string }{
			{http.MethodPost, "/any/v1/chat/completions?x=1", `{"model":"m","messages":[{"role":"user","content":"hi"}]}`, want.chat},
			{http.MethodPost, "/any/v1/embeddings?x=1", `{"model":"m","input":"hi"}`, want.embeddings},
			{http.MethodGet, "/any/v1/models?x=1", "", want.models},
			{http.MethodPost, "/any/v1/responses?x=1", `{"model":"m","input":"hi"}`, want.responses},
		} {
			if endpoint.path == "" {
				continue
			}
			t.Run(want.provider+endpoint.target, func(t *testing.T) {
				got, body := forwardedRequest(t, want.provider, endpoint.method, endpoint.target, endpoint.body)
				if got.URL.Path != endpoint.path || got.URL.RawQuery != "x=1" {
					t.Errorf("forwarded URL %s?%s, want %s?x=1 (%s)", got.URL.Path, got.URL.RawQuery, endpoint.path, want.source)
				}
				if key := got.Header.Get(want.header); key != want.key {
					t.Errorf("Request header %q = %q, want %q", want.header, key, want.key)
				}
				if body != endpoint.body {
					t.Errorf("forwarded body %s, want %s", body, endpoint.body)
				}
			})
		}
	}
}

func TestPresetTokenLimitAndStreamOptions(t *testing.T) {
	const start, end = `{"model":"m","messages":[{"role":"user","content":"hi"}],"`, `":5,"stream":true`
	for _, want := range documented {
		for _, spelling := range []string{"max_tokens", "max_completion_tokens"} {
			wantBody := start + spelling + end
			if want.tokenLimit != "" {
				wantBody = start + want.tokenLimit + end
			}
			if !want.omitsStreamUsage {
				wantBody += `,"stream_options":{"include_usage":true}`
			}
			wantBody += `}`
			_, got := forwardedRequest(t, want.provider, http.MethodPost, "/any/v1/chat/completions?x=1", start+spelling+end+`}`)
			if got != wantBody {
				t.Errorf("%s: forwarded body %s, want %s (%s)", want.provider, got, wantBody, want.source)
			}
		}
	}
}

func TestPresetGenAIName(t *testing.T) {
	for _, want := range documented {
		config := CreateConfig()
		config.Provider = want.provider
		p, err := newPolicy(config, "test")
		if err != nil {
			t.Fatal(err)
		}
		if got := p.providers[0].endpoints[completions].target.Provider; got != want.genAIName {
			t.Errorf("%s: gen_ai.provider.name %q, want %q", want.provider, got, want.genAIName)
		}
	}
}

func TestPresetHosts(t *testing.T) {
	addresses := map[string]string{
		"openai": "https://api.openai.com", "azure": "https://own", "gemini": "https://generativelanguage.googleapis.com",
		"mistral": "https://api.mistral.ai", "deepseek": "https://api.deepseek.com", "groq": "https://api.groq.com",
		"xai": "https://api.x.ai", "openrouter": "https://openrouter.ai", "together": "https://api.together.ai",
		"fireworks": "https://api.fireworks.ai", "cohere": "https://api.cohere.ai", "perplexity": "https://api.perplexity.ai",
		"deepinfra": "https://api.deepinfra.com", "anthropic": "https://api.anthropic.com",
		"ollama": "http://own:11434", "vllm": "http://own:8000", "llamacpp": "http://own:8080", "openai-compatible": "https://own",
	}
	for _, row := range documented {
		config := CreateConfig()
		config.Host = "first.example.com"
		fallback := Fallback{Provider: row.provider}
		want := addresses[row.provider]
		if strings.Contains(want, "//own") {
			fallback.Host = "own"
		}
		config.Fallbacks = []Fallback{fallback}
		p, err := newPolicy(config, "test")
		if err != nil {
			t.Errorf("%s: %v", row.provider, err)
			continue
		}
		if u := p.providers[1].upstream; u.scheme+"://"+u.authority != want {
			t.Errorf("%s: upstream %s://%s, want %s", row.provider, u.scheme, u.authority, want)
		}
	}
}

func TestEveryPresetIsDocumentedOnce(t *testing.T) {
	if len(documented) != len(presets) {
		t.Errorf("%d rows, want one for each of %d presets", len(documented), len(presets))
	}
	for i, p := range presets {
		if i < len(documented) && p.name != documented[i].provider {
			t.Errorf("preset %d is %s, but row %d is %s", i, p.name, i, documented[i].provider)
		}
		if p.basePath != "" && normalizePath(p.basePath) != p.basePath {
			t.Errorf("base path %q of %s is not normalized", p.basePath, p.name)
		}
		if http.CanonicalHeaderKey(p.authHeader) != p.authHeader {
			t.Errorf("%s: auth header %q, want it in canonical form", p.name, p.authHeader)
		}
		if strings.ContainsAny(p.host, ":/") {
			t.Errorf("host %q of %s, want no port or path", p.host, p.name)
		}
	}
}
