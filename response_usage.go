package chatcompletion

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// usageMaxBytes bounds how much of a usage is read. Known ones have less than a kilobyte.
const usageMaxBytes = 8 << 10

// maxMatches bounds the matches of one name that are examined in a window: a provider could send
// thousands.
const maxMatches = 16

// findUsage reads the last usage of a window; hit is where the name of one of its members may end.
// The usage may be in a separate event, in a choice (Moonshot), or in a member that the provider
// adds (Groq).
func findUsage(reader *responseReader, window []byte, match int) {
	for matches := 0; match >= 0 && matches < maxMatches; matches++ {
		at := bytes.LastIndex(window[:match], usageKey)
		if at < 0 {
			return
		}
		value := window[at+len(usageKey):]
		if open := bytes.IndexByte(value, '{'); open == 1 {
			value = value[1:]
		} else {
			value = valueAfter(value)
		}
		if len(value) > usageMaxBytes {
			value = value[:usageMaxBytes] // else each of many unterminated ones would be read up to the end of the window
		}
		if len(value) > 0 && value[0] == '{' && readUsage(reader, value) {
			if !reader.stream && bytes.LastIndex(window[:at], usageKey) >= 0 {
				preferOwnUsage(reader, window)
			}
			return
		}
		match = bytes.LastIndex(window[:at], tokensKey)
	}
}

// preferOwnUsage reads the top-level usage of a response if it has nested ones, such as that of a
// provider's tool.
func preferOwnUsage(reader *responseReader, window []byte) {
	var members struct {
		Usage json.RawMessage `json:"usage"`
	}
	if json.Unmarshal(window, &members) == nil && len(members.Usage) > 0 && members.Usage[0] == '{' {
		readUsage(reader, members.Usage)
	}
}

// readUsage reads the usage that value begins with, and reports whether it is one. Tokens in
// total_tokens beyond the sum are output: Gemini and xAI omit reasoning tokens from
// completion_tokens.
func readUsage(reader *responseReader, value []byte) bool {
	if reader.kind == embeddings {
		return readInputUsage(reader, value)
	}
	var counts map[string]int64
	// Members that are not integers, such as prompt_tokens_details, cause an error, which does not
	// keep the others from being read.
	_ = json.NewDecoder(bytes.NewReader(value)).Decode(&counts)
	input, output := counts["prompt_tokens"], counts["completion_tokens"]
	if input <= 0 || output <= 0 || input > maxTokenCount || output > maxTokenCount {
		return readUncommonUsage(reader, value)
	}
	if total := counts["total_tokens"]; total > input+output && total <= maxTokenCount {
		output = total - input
	}
	keepUsage(reader, value, input, output)
	return true
}

// keepUsage records a usage.
func keepUsage(reader *responseReader, value []byte, input, output int64) {
	reader.record.Usage = Usage{Known: true, InputTokens: input, OutputTokens: output}
	if reader.wantsDetails {
		readUsageDetails(reader, value)
	}
}

// maxTokenCount is more than any model reads: a larger count is invalid.
const maxTokenCount = 1e12

// readUncommonUsage reads a usage that has zeros, other names, fractions, or several data lines in its
// event. It reports whether value is one.
func readUncommonUsage(reader *responseReader, value []byte) bool {
	if bytes.Contains(value, dataLine) {
		value = bytes.ReplaceAll(value, dataLine, lineFeed)
	}
	var counts map[string]json.RawMessage
	if json.NewDecoder(bytes.NewReader(value)).Decode(&counts) != nil {
		return false
	}
	input, hasInput := tokenCount(counts["prompt_tokens"], counts["input_tokens"])
	output, hasOutput := tokenCount(counts["completion_tokens"], counts["output_tokens"])
	if (!hasInput && !hasOutput) || input < 0 || output < 0 {
		return false
	}
	if total, hasTotal := tokenCount(counts["total_tokens"], nil); hasTotal && hasInput && total > input+output {
		output = total - input
	}
	keepUsage(reader, value, input, output)
	return true
}

// readInputUsage reads the usage of embeddings, which have no output. Some providers report only
// the total. It reports whether value is a usage.
func readInputUsage(reader *responseReader, value []byte) bool {
	var counts map[string]json.RawMessage
	if json.NewDecoder(bytes.NewReader(value)).Decode(&counts) != nil {
		return false
	}
	input, hasInput := tokenCount(counts["prompt_tokens"], counts["input_tokens"])
	if !hasInput {
		input, hasInput = tokenCount(counts["total_tokens"], nil)
	}
	if !hasInput || input < 0 {
		return false
	}
	reader.record.Usage = Usage{Known: true, InputOnly: true, InputTokens: input}
	return true
}

// tokenCount reads a token count from the first of two values that is present, and reports whether
// one is. An invalid count is -1.
func tokenCount(value, otherValue json.RawMessage) (int64, bool) {
	if value == nil {
		value = otherValue
	}
	if value == nil {
		return 0, false
	}
	count, err := strconv.ParseFloat(string(value), 64)
	if err != nil || count < 0 || count > maxTokenCount {
		return -1, true
	}
	return int64(count), true
}

// readUsageDetails reads the counts that only spans and log lines have.
func readUsageDetails(reader *responseReader, value []byte) {
	var details struct {
		Prompt     usageDetails `json:"prompt_tokens_details"`
		Completion usageDetails `json:"completion_tokens_details"`
		Input      usageDetails `json:"input_tokens_details"`
		Output     usageDetails `json:"output_tokens_details"`
	}
	_ = json.NewDecoder(bytes.NewReader(value)).Decode(&details)
	takeUsageDetails(&reader.record.Usage, &details.Prompt, &details.Completion)
	takeUsageDetails(&reader.record.Usage, &details.Input, &details.Output)
}
