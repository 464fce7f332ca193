package chatcompletion

// openAIDefaults is the preset without Config.Provider: OpenAI's API as published.
var openAIDefaults = &preset{genAIName: "openai", basePath: "/v1", authHeader: authorization, streamUsage: true, strict: true}

// preset is the built-in knowledge of a provider: its address and its variant of OpenAI's API.
type preset struct {
	name           string // in Config.Provider
	genAIName      string // gen_ai.provider.name
	host           string // default host; empty: none, each user has another one
	port           int    // default port; 0: that of the scheme
	plaintext      bool   // no TLS by default
	basePath       string // prefix of its paths, such as /v1 in /v1/chat/completions
	authHeader     string // header of the key; Authorization has the prefix Bearer
	tokenLimitName string // the only spelling of the token limit to send; empty: both are accepted
	streamUsage    bool   // usage may be requested for streams
	strict         bool   // values outside the published schema are refused

	modelNames  []string // parameters other than model that name models
	tokenLimits []string // parameters other than OpenAI's that limit tokens
}

// presets are the providers that Config.Provider can name. The columns are the fields of preset in
// order. docs/configuration.md links the provider's documentation for each row, and provider_presets_test.go
// states its effect on a request.
//
// tokenLimit is set where a provider rejects the other spelling (OpenAI and Azure for some models,
// Mistral), ignores it and with it the limit (DeepSeek, Ollama, older llama.cpp), or does not
// document it. streamUsage is false where the request for usage is rejected (Mistral), undocumented
// (Cohere) or without effect (OpenRouter).
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

// versionSegment begins OpenAI's paths, after any prefix that a router has.
const versionSegment = "/v1/"

// The two spellings of one parameter. OpenAI's newer models accept only the second, most other
// providers the first.
const (
	maxTokens           = "max_tokens"
	maxCompletionTokens = "max_completion_tokens"
)

// maxOutputTokens is the token limit of the Responses API.
const maxOutputTokens = "max_output_tokens"

// contentMaxTokens is the token limit of Gemini's generateContent.
const contentMaxTokens = "maxOutputTokens"

// authorization is the default of Config.AuthHeader.Name.
const authorization = "Authorization"
