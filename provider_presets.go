package chatcompletion

// openAIDefaults is the provider where none is named: it is spoken to as OpenAI's API is published.
var openAIDefaults = &preset{genAIName: "openai", basePath: "/v1", authHeader: authorization, streamUsage: true, strict: true}

// preset is what is known of a provider: where it is, and how it wants to be spoken to.
type preset struct {
	name        string // in Config.Provider
	genAIName   string // gen_ai.provider.name
	host        string // empty: everybody has an own one
	port        int    // 0: that of the scheme
	plaintext   bool   // spoken to without TLS unless configured otherwise
	basePath    string // of its paths: /v1 in /v1/chat/completions
	authHeader  string // that carries the key; in Authorization, behind Bearer
	tokenLimit  string // its only spelling of the token limit; empty: it takes both
	streamUsage bool   // it may be asked for the usage of a stream
	strict      bool   // its values are those of the published schema

	modelNames  []string // other parameters than model that name models
	tokenLimits []string // other parameters than those of OpenAI that limit tokens
}

// presets are the providers that Config.Provider can name, in rows of the type's order. docs/configuration.md names the
// document behind each row, and presets_test.go what it is to do to a request.
//
// A spelling of the token limit stands where a provider refuses the other (OpenAI and Azure for some models, Mistral),
// ignores it and so the limit (DeepSeek, Ollama, older llama.cpp), or does not document it. Usage is not asked for where
// that is refused (Mistral), undocumented (Cohere) or without effect (OpenRouter).
var presets = []preset{
	{"openai", "openai", "api.openai.com", 0, false, "/v1", authorization, maxCompletionTokens, true, true, nil, nil},
	{"azure", "azure.ai.openai", "", 0, false, "/openai/v1", "Api-Key", maxCompletionTokens, true, true, nil, nil},
	{"gemini", "gcp.gemini", "generativelanguage.googleapis.com", 0, false, "/v1beta/openai", authorization, "", true, false, nil, nil},
	{"mistral", "mistral_ai", "api.mistral.ai", 0, false, "/v1", authorization, maxTokens, false, false, nil, nil},
	{"deepseek", "deepseek", "api.deepseek.com", 0, false, "", authorization, maxTokens, true, false, nil, nil},
	{"groq", "groq", "api.groq.com", 0, false, "/openai/v1", authorization, "", true, false, nil, nil},
	{"xai", "x_ai", "api.x.ai", 0, false, "/v1", authorization, "", true, false, nil, nil},
	{"openrouter", "openrouter", "openrouter.ai", 0, false, "/api/v1", authorization, "", false, false, []string{"models", "route", "preset"}, nil},
	{"together", "together", "api.together.ai", 0, false, "/v1", authorization, maxTokens, true, false, nil, nil},
	{"fireworks", "fireworks", "api.fireworks.ai", 0, false, "/inference/v1", authorization, "", true, false, nil, nil},
	{"cohere", "cohere", "api.cohere.ai", 0, false, "/compatibility/v1", authorization, maxTokens, false, false, nil, nil},
	{"perplexity", "perplexity", "api.perplexity.ai", 0, false, "/v1", authorization, "", true, false, nil, nil},
	{"deepinfra", "deepinfra", "api.deepinfra.com", 0, false, "/v1/openai", authorization, maxTokens, true, false, nil, nil},
	{"anthropic", "anthropic", "api.anthropic.com", 0, false, "/v1", authorization, "", true, false, nil, nil},
	{"ollama", "ollama", "", 11434, true, "/v1", authorization, maxTokens, true, false, nil, nil},
	{"vllm", "vllm", "", 8000, true, "/v1", authorization, "", true, false, nil, nil},
	{"llamacpp", "llama_cpp", "", 8080, true, "/v1", authorization, maxTokens, true, false, nil, []string{"n_predict"}},
	{"openai-compatible", "openai", "", 0, false, "/v1", authorization, "", true, false, nil, nil},
}

// versionSegment is where OpenAI's paths begin, behind whatever a router has before them.
const versionSegment = "/v1/"

// The two spellings of one parameter. OpenAI's newer models take only the second, most other providers know the first.
const (
	maxTokens           = "max_tokens"
	maxCompletionTokens = "max_completion_tokens"
)

// maxOutputTokens is the token limit of the Responses API.
const maxOutputTokens = "max_output_tokens"

// Defaults of the configuration.
const authorization = "Authorization"
