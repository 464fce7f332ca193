package chatcompletion

import (
	"encoding/json"
	"math"
)

// smallMessage is what is read of a small response of Anthropic's Messages API.
type smallMessage struct {
	ID         string          `json:"id"`
	Type       string          `json:"type"`
	Model      string          `json:"model"`
	StopReason string          `json:"stop_reason"`
	Usage      json.RawMessage `json:"usage"`
	// What responses of other protocols have.
	Error        any             `json:"error"`
	Object       json.RawMessage `json:"object"`
	Choices      json.RawMessage `json:"choices"`
	XGroq        json.RawMessage `json:"x_groq"`
	FinishReason json.RawMessage `json:"finish_reason"`
	ServiceTier  json.RawMessage `json:"service_tier"`
}

// smallMessageUsage is its usage, with those members beside it that usages of other protocols, or of
// several iterations, have.
type smallMessageUsage struct {
	InputTokens   int64             `json:"input_tokens"`
	OutputTokens  int64             `json:"output_tokens"`
	CacheCreation int64             `json:"cache_creation_input_tokens"`
	CacheRead     int64             `json:"cache_read_input_tokens"`
	Output        usageDetails      `json:"output_tokens_details"`
	ServiceTier   string            `json:"service_tier"`
	CacheWrites   cacheWriteMembers `json:"cache_creation"`

	Iterations       []json.RawMessage `json:"iterations"`
	PromptTokens     json.RawMessage   `json:"prompt_tokens"`
	CompletionTokens json.RawMessage   `json:"completion_tokens"`
	TotalTokens      json.RawMessage   `json:"total_tokens"`
	Billed           json.RawMessage   `json:"billed_units"`
	Cost             json.RawMessage   `json:"cost"`
	Prompt           json.RawMessage   `json:"prompt_tokens_details"`
	Completion       json.RawMessage   `json:"completion_tokens_details"`
	Input            json.RawMessage   `json:"input_tokens_details"`
	Seconds          json.RawMessage   `json:"seconds"`
}

// readSmallMessage is readSmallResponse for Anthropic's Messages API.
func readSmallMessage(reader *responseReader, body []byte) bool {
	members, u := &smallMessage{}, &smallMessageUsage{}
	if json.Unmarshal(body, members) != nil || json.Unmarshal(members.Usage, u) != nil || !isUsualMessage(members, u) {
		return false
	}
	input := u.InputTokens + u.CacheCreation + u.CacheRead
	reader.record.Model = members.Model
	reader.record.Usage = Usage{InputKnown: true, OutputKnown: true, InputTokens: input, OutputTokens: u.OutputTokens}
	if reader.wantsDetails {
		completion := usageDetails{ReasoningTokens: u.Output.ThinkingTokens}
		reader.record.details = &smallResponse{
			ID: members.ID, ServiceTier: u.ServiceTier, Choices: []smallChoice{{FinishReason: members.StopReason}},
			Usage: smallUsage{
				PromptTokens: input, CompletionTokens: u.OutputTokens,
				CacheCreation: float64(u.CacheCreation), CacheRead: float64(u.CacheRead), CacheWrites: u.CacheWrites, Completion: completion,
			},
		}
	}
	return true
}

// isUsualMessage reports whether a response is a message with usage without oddities, and has nothing
// that another protocol has.
func isUsualMessage(members *smallMessage, u *smallMessageUsage) bool {
	input, output := u.InputTokens, u.OutputTokens
	return members.Type == "message" && members.Error == nil && members.Object == nil && members.Choices == nil && members.XGroq == nil &&
		members.FinishReason == nil && members.ServiceTier == nil && input > 0 && output > 0 && u.CacheCreation >= 0 && u.CacheRead >= 0 &&
		input <= maxTokenCount && output <= maxTokenCount && u.CacheCreation <= maxTokenCount && u.CacheRead <= maxTokenCount &&
		u.Iterations == nil && u.PromptTokens == nil && u.CompletionTokens == nil && u.TotalTokens == nil && u.Billed == nil && u.Cost == nil &&
		u.Prompt == nil && u.Completion == nil && u.Input == nil && u.Seconds == nil && u.CacheWrites.For5m+u.CacheWrites.For1h <= float64(u.CacheCreation) &&
		u.Output.ReasoningTokens+u.Output.AudioTokens == 0 &&
		isModelName(members.Model) && isModelName(members.ID) && isModelName(members.StopReason) && isModelName(u.ServiceTier)
}

// maxIterations bounds the iterations of a usage that are added up.
const maxIterations = 128

// usageIterations are the iterations of a usage: what each sampling of one call has used.
type usageIterations struct {
	list [maxIterations]*iterationMembers
}

// iterationMembers are the members that are read of an iteration. Some types have counts that those of
// the usage do not include.
type iterationMembers struct {
	Type          string            `json:"type"`
	InputTokens   float64           `json:"input_tokens"`
	OutputTokens  float64           `json:"output_tokens"`
	CacheCreation float64           `json:"cache_creation_input_tokens"`
	CacheRead     float64           `json:"cache_read_input_tokens"`
	CacheWrites   cacheWriteMembers `json:"cache_creation"`
}

// isBeside reports whether the counts of an iteration are beside those of the usage: those of a
// compaction, and of a model that was consulted.
func isBeside(it *iterationMembers) bool {
	return it.Type == "compaction" || it.Type == "advisor_message"
}

// addIterations adds to the counts of a usage those of the iterations that it does not include. What is
// billed is the sum of all iterations.
func addIterations(members *usageMembers) {
	iterations := &usageIterations{}
	if json.Unmarshal(members.Iterations, &iterations.list) != nil {
		return
	}
	all, beside := &iterationMembers{}, &iterationMembers{}
	for i := 0; i < maxIterations && iterations.list[i] != nil; i++ {
		it := iterations.list[i]
		if it.InputTokens < 0 || it.OutputTokens < 0 || it.CacheCreation < 0 || it.CacheRead < 0 {
			return
		}
		addIteration(all, it)
		if isBeside(it) {
			addIteration(beside, it)
		}
	}
	members.InputTokens = wholeCount(members.InputTokens, all.InputTokens, beside.InputTokens)
	members.OutputTokens = wholeCount(members.OutputTokens, all.OutputTokens, beside.OutputTokens)
	members.CacheCreation = wholeCount(members.CacheCreation, all.CacheCreation, beside.CacheCreation)
	members.CacheRead = wholeCount(members.CacheRead, all.CacheRead, beside.CacheRead)
	writes, wholeOf := &members.CacheWrites, &all.CacheWrites
	writes.For5m = math.Max(writes.For5m+beside.CacheWrites.For5m, wholeOf.For5m)
	writes.For1h = math.Max(writes.For1h+beside.CacheWrites.For1h, wholeOf.For1h)
}

// addIteration adds the counts of an iteration to a sum.
func addIteration(sum, it *iterationMembers) {
	sum.InputTokens += it.InputTokens
	sum.OutputTokens += it.OutputTokens
	sum.CacheCreation += it.CacheCreation
	sum.CacheRead += it.CacheRead
	sum.CacheWrites.For5m += it.CacheWrites.For5m
	sum.CacheWrites.For1h += it.CacheWrites.For1h
}

// wholeCount returns a count of a usage with what is beside it, at least the sum of all iterations. A
// count that is not a number stays so, and one that is nowhere stays absent.
func wholeCount(count any, all, beside float64) any {
	number, isNumber := count.(float64)
	if (count == nil && all == 0) || (count != nil && (!isNumber || number < 0)) {
		return count
	}
	if count == nil {
		return all
	}
	return math.Max(number+beside, all)
}
