package chatcompletion

import (
	"encoding/json"
	"strconv"
)

// maxFinishReasons bounds the finish reasons that a record keeps: a provider could send thousands
// of choices.
const maxFinishReasons = 16

// nullText is the finish reason of choices that continue, with some providers.
const nullText = "null"

// smallResponse is what is read of a small response.
type smallResponse struct {
	ID      string        `json:"id"`
	Model   string        `json:"model"`
	Usage   smallUsage    `json:"usage"`
	Choices []smallChoice `json:"choices"`
	// ServiceTier counts for costs only.
	ServiceTier string `json:"service_tier"`
}

type smallChoice struct {
	FinishReason string `json:"finish_reason"`
}

type smallUsage struct {
	PromptTokens     int64        `json:"prompt_tokens"`
	CompletionTokens int64        `json:"completion_tokens"`
	TotalTokens      int64        `json:"total_tokens"`
	CacheCreation    float64      `json:"cache_creation_input_tokens"`
	CacheRead        float64      `json:"cache_read_input_tokens"`
	Prompt           usageDetails `json:"prompt_tokens_details"`
	Completion       usageDetails `json:"completion_tokens_details"`
	// The following count for costs only.
	CacheWrites cacheWriteMembers `json:"cache_creation"`
	Cost        *json.RawMessage  `json:"cost"` // a pointer, so that usages can be compared
}

// cacheWriteMembers are the members that say how long a cache keeps what was written to it.
type cacheWriteMembers struct {
	For5m float64 `json:"ephemeral_5m_input_tokens"`
	For1h float64 `json:"ephemeral_1h_input_tokens"`
}

// smallItems is what is read of a small response of the Responses API: the members below that
// chat completions do not have, and those that decide whether it is one without oddities.
type smallItems struct {
	ID           string            `json:"id"`
	Model        string            `json:"model"`
	Status       string            `json:"status"`
	Usage        json.RawMessage   `json:"usage"`
	Object       string            `json:"object"`
	Type         string            `json:"type"`
	StopReason   string            `json:"stop_reason"`
	FinishReason string            `json:"finish_reason"`
	Error        any               `json:"error"`
	Choices      []json.RawMessage `json:"choices"`
	XGroq        json.RawMessage   `json:"x_groq"`
	Response     json.RawMessage   `json:"response"`
	Delta        json.RawMessage   `json:"delta"`
	ServiceTier  string            `json:"service_tier"` // counts for costs only
}

type smallItemsUsage struct {
	InputTokens  int64            `json:"input_tokens"`
	OutputTokens int64            `json:"output_tokens"`
	TotalTokens  int64            `json:"total_tokens"`
	Input        usageDetails     `json:"input_tokens_details"`
	Output       usageDetails     `json:"output_tokens_details"`
	Cost         *json.RawMessage `json:"cost"` // counts for costs only
	// What usages of other protocols have.
	PromptTokens     any `json:"prompt_tokens"`
	CompletionTokens any `json:"completion_tokens"`
	Prompt           any `json:"prompt_tokens_details"`
	Completion       any `json:"completion_tokens_details"`
	CacheCreation    any `json:"cache_creation_input_tokens"`
	CacheRead        any `json:"cache_read_input_tokens"`
}

// fillDetails sets the fields of small responses that only spans and log lines have. It is kept out
// of the handling of requests where it can be, since it costs less for many calls at once.
func fillDetails(calls []*Call) {
	for _, c := range calls {
		resp, members := &c.Response, c.Response.details
		if members == nil {
			continue
		}
		resp.details = nil
		if len(members.ID) <= modelMaxBytes {
			resp.ID = members.ID
		}
		for i, choice := range members.Choices {
			if choice.FinishReason != "" && choice.FinishReason != nullText && len(choice.FinishReason) <= modelMaxBytes && i < maxFinishReasons {
				resp.FinishReasons = append(resp.FinishReasons, choice.FinishReason)
			}
		}
		u := &members.Usage
		if u.Prompt.CachedTokens+u.Prompt.CacheCreationTokens+u.Prompt.CacheWriteTokens+u.Completion.ReasoningTokens+u.CacheRead+u.CacheCreation > 0 {
			takeSmallUsage(&resp.Usage, u)
		}
	}
}

// takeSmallUsage takes the parts of the usage of a small response. It does not change that: the
// metrics and the exporter read it at the same time.
func takeSmallUsage(usage *Usage, u *smallUsage) {
	prompt := u.Prompt
	if prompt.CachedTokens == 0 {
		prompt.CachedTokens = u.CacheRead // some gateways report both
	}
	if prompt.CacheCreationTokens == 0 {
		prompt.CacheCreationTokens = u.CacheCreation
	}
	takeUsageDetails(usage, &prompt, &u.Completion)
}

// usageDetails are members of a usage that count a part of its tokens.
type usageDetails struct {
	CachedTokens        float64 `json:"cached_tokens"`
	CacheCreationTokens float64 `json:"cache_creation_tokens"`
	CacheWriteTokens    float64 `json:"cache_write_tokens"`
	ReasoningTokens     float64 `json:"reasoning_tokens"`
	ThinkingTokens      float64 `json:"thinking_tokens"` // Anthropic's name of the same
	AudioTokens         float64 `json:"audio_tokens"`
}

// takeUsageDetails takes the counts that are possible as a part of the tokens.
func takeUsageDetails(u *Usage, prompt, completion *usageDetails) {
	input, output := float64(u.InputTokens), float64(u.OutputTokens)
	if count := prompt.CachedTokens; count > 0 && count <= input {
		u.CacheReadInputTokens = int64(count)
	}
	if count := prompt.CacheCreationTokens + prompt.CacheWriteTokens; count > 0 && count <= input {
		u.CacheCreationInputTokens = int64(count)
	}
	count := completion.ReasoningTokens
	if count == 0 {
		count = completion.ThinkingTokens
	}
	if count > 0 && count <= output {
		u.ReasoningOutputTokens = int64(count)
	}
}

// errorReason is the finish reason, in version 0.1.0 of the conventions, of a choice that has not
// ended.
const errorReason = "error"

// withErrorReason returns a call with the finish reason of a choice that was cut; the call itself if
// there is none.
func withErrorReason(c *Call) *Call {
	reasons := c.Response.FinishReasons
	if c.Status < 200 || c.Status >= 300 || len(reasons) >= choiceCount(c.Request) {
		return c
	}
	cut := *c
	cut.Response.FinishReasons = append(append([]string(nil), reasons...), errorReason)
	return &cut
}

// choiceCount returns the number of choices that a request wants.
func choiceCount(request *Request) int {
	for _, p := range request.Parameters {
		if p.Name == choiceCountParameter {
			if count, err := strconv.Atoi(p.Value); err == nil {
				return count
			}
		}
	}
	return 1
}

// choiceCountParameter is the name of the parameter with the number of choices.
const choiceCountParameter = "gen_ai.request.choice.count"
