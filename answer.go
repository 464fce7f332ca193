package chatcompletion

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// An answer is read in windows of windowChunks chunks, or of about windowBytes if it is read on the way in any case, and
// never kept longer: compiled code looks for a few names in many bytes at once, so that the work of interpreted code does
// not grow with the events of a stream. What a window ends in the middle of stays for the next one, up to overlapBytes.
const (
	windowBytes  = 16 << 10
	overlapBytes = 4 << 10
)

// maxHits bounds how many places of a window are looked at for one name: a provider could write thousands.
const maxHits = 16

// Names and values that are looked for. In a JSON string their quotes would be escaped: no text of a client or a model can
// look like them. What follows them is then checked.
var (
	modelStart        = []byte(`"model":"`)
	modelKey          = []byte(`"model"`)
	idKey             = []byte(`"id"`)
	usageKey          = []byte(`"usage"`)
	tokensKey         = []byte(`_tokens"`) // ends the names of all members of a usage
	finishReasonStart = []byte(`"finish_reason":"`)
	finishReasonKey   = []byte(`"finish_reason"`)
	errorKey          = []byte(`"error"`)
	doneMark          = []byte("[DONE]")
	dataLine          = []byte("\ndata:")
	dataAfterReturn   = []byte("\rdata:")
	dataAfterMark     = []byte("\ufeffdata:")
	errorLine         = []byte("\nevent: error")
	blankLine         = []byte("\n\n")
	lineFeed          = []byte("\n")
	carriageReturn    = []byte("\r")
	returnAndFeed     = []byte("\r\n")
	byteOrderMark     = []byte("\ufeff")
)

// look reads a window of an answer, and returns what of it the next one has to begin with. The window of a stream begins
// with a line feed that is not the provider's, so that every line does.
func look(a *Answer, window []byte, last bool) []byte {
	if a.stream && bytes.IndexByte(window, '\r') >= 0 {
		window = bytes.ReplaceAll(bytes.ReplaceAll(window, returnAndFeed, lineFeed), carriageReturn, lineFeed)
	}
	end := len(window)
	if !last {
		end = windowEnd(a, window)
	}
	rest := window[end:]
	if end == len(window) && !last && end > overlapBytes {
		rest = window[end-overlapBytes:]
	}
	lookForAll(a, window[:end])
	if a.stream {
		lookAtEvents(a, window[:end])
	}
	if a.details {
		lookForDetails(a, window[:end])
	}
	return rest
}

// smallAnswerBytes is up to which size encoding/json reads a whole answer in less time than interpreted code needs to look
// for what it wants to know.
const smallAnswerBytes = 4 << 10

// smallAnswer is what is read of a small answer.
type smallAnswer struct {
	ID      string          `json:"id"`
	Model   string          `json:"model"`
	Usage   smallUsage      `json:"usage"`
	Error   json.RawMessage `json:"error"`
	Choices []smallChoice   `json:"choices"`
}

type smallChoice struct {
	FinishReason string `json:"finish_reason"`
}

type smallUsage struct {
	PromptTokens     int64        `json:"prompt_tokens"`
	CompletionTokens int64        `json:"completion_tokens"`
	TotalTokens      int64        `json:"total_tokens"`
	Prompt           usageDetails `json:"prompt_tokens_details"`
	Completion       usageDetails `json:"completion_tokens_details"`
}

// readSmallAnswer reads an answer as most are, and tells whether it is one: with a plain usage, and no error.
func readSmallAnswer(a *Answer, body []byte) bool {
	members := &smallAnswer{}
	if json.Unmarshal(body, members) != nil || members.Error != nil {
		return false
	}
	input, output := members.Usage.PromptTokens, members.Usage.CompletionTokens
	if input <= 0 || output <= 0 || input > maxTokenCount || output > maxTokenCount ||
		members.Usage.TotalTokens > input+output || len(members.Model) > modelMaxBytes {
		return false
	}
	a.Model = members.Model
	a.Usage.Known = true
	a.Usage.InputTokens = input
	a.Usage.OutputTokens = output
	if a.details {
		takeSmallDetails(a, members)
	}
	return true
}

// takeSmallDetails takes over what only spans and log lines hold.
func takeSmallDetails(a *Answer, members *smallAnswer) {
	if len(members.ID) <= modelMaxBytes {
		a.ID = members.ID
	}
	for i := range members.Choices {
		if reason := members.Choices[i].FinishReason; reason != "" && len(reason) <= modelMaxBytes && i < maxHits {
			a.FinishReasons = append(a.FinishReasons, reason)
		}
	}
	takeUsageDetails(a, &members.Usage.Prompt, &members.Usage.Completion)
}

// lookForAll reads what all answers have, streams or not.
func lookForAll(a *Answer, window []byte) {
	if a.Model == "" {
		if at := bytes.Index(window, modelStart); at >= 0 {
			text := window[at+len(modelStart):]
			if end := bytes.IndexByte(text, '"'); end >= 0 && end <= modelMaxBytes {
				a.Model = string(text[:end])
			}
		} else {
			a.Model = textBehind(window, bytes.Index(window, modelKey), modelKey)
		}
	}
	if hit := bytes.LastIndex(window, tokensKey); hit >= 0 {
		findUsage(a, window, hit)
	}
	if bytes.Contains(window, errorKey) {
		a.failed = a.failed || isFailure(window)
	}
	if a.capture != nil {
		captureWindow(a.capture, window, a.stream)
	}
}

// windowEnd returns where a window is cut so that the next one begins with a whole event: its end if there is no good
// place.
func windowEnd(a *Answer, window []byte) int {
	if a.stream {
		if end := bytes.LastIndex(window, blankLine) + 1; len(window)-end <= overlapBytes {
			return end
		}
		return len(window)
	}
	return len(window)
}

func lookAtEvents(a *Answer, window []byte) {
	a.events += bytes.Count(window, dataLine)
	if at := bytes.LastIndex(window, doneMark); at >= 0 && !a.done {
		line := window[bytes.LastIndexByte(window[:at], '\n')+1 : at]
		a.done = string(bytes.TrimSpace(line)) == "data:"
	}
	if !a.finished {
		a.finished = bytes.Contains(window, finishReasonStart) || textBehind(window, bytes.LastIndex(window, finishReasonKey), finishReasonKey) != ""
	}
	a.failed = a.failed || bytes.Contains(window, errorLine)
}

// lookForDetails reads what spans and log lines hold beside.
func lookForDetails(a *Answer, window []byte) {
	if a.ID == "" {
		a.ID = textBehind(window, bytes.Index(window, idKey), idKey)
	}
	if a.stream && !a.finished {
		return
	}
	// From the end: in most events of a stream, the reason is null.
	var reasons []string
	for hits := 0; hits < maxHits; hits++ {
		at := bytes.LastIndex(window, finishReasonKey)
		if at < 0 {
			break
		}
		if reason := textBehind(window, at, finishReasonKey); reason != "" {
			reasons = append([]string{reason}, reasons...)
		}
		window = window[:at]
	}
	if len(a.FinishReasons) < maxHits {
		a.FinishReasons = append(a.FinishReasons, reasons...)
	}
}

// textBehind returns the text that is the value of the name at a place of the window; "" if it is none, or there is none.
func textBehind(window []byte, at int, name []byte) string {
	if at < 0 {
		return ""
	}
	value := valueBehind(window[at+len(name):])
	if len(value) == 0 || value[0] != '"' {
		return ""
	}
	end := bytes.IndexByte(value[1:], '"')
	if end < 0 || end > modelMaxBytes {
		return ""
	}
	text := string(value[1 : 1+end])
	if strings.ContainsAny(text, notInAnswers) || !isModelName(text) {
		return ""
	}
	return text
}

// notInAnswers is an escape: models, ids and reasons have none.
const notInAnswers = `\`

// valueBehind returns what stands behind a name and its colon, nil if there is no colon.
func valueBehind(rest []byte) []byte {
	if len(rest) > 1 && rest[0] == ':' && rest[1] > ' ' {
		return rest[1:]
	}
	rest = bytes.TrimLeft(rest, " \t\n")
	if len(rest) == 0 || rest[0] != ':' {
		return nil
	}
	return bytes.TrimLeft(rest[1:], " \t\n")
}

// isFailure tells whether an answer says that it is an error, as providers do it after a status of 200: by a member error
// that holds something, or by the value error of object, type or finish_reason.
func isFailure(window []byte) bool {
	for hits := 0; hits < maxHits; hits++ {
		at := bytes.Index(window, errorKey)
		if at < 0 {
			return false
		}
		value := valueBehind(window[at+len(errorKey):])
		if len(value) > 0 && value[0] != 'n' && value[0] != 'f' {
			return true
		}
		if isErrorValue(window[:at]) {
			return true
		}
		window = window[at+len(errorKey):]
	}
	return false
}

// isErrorValue tells whether the name that before ends in can have the value error.
func isErrorValue(before []byte) bool {
	before = bytes.TrimRight(before, " ")
	if !bytes.HasSuffix(before, []byte(":")) {
		return false
	}
	before = bytes.TrimRight(before[:len(before)-1], " ")
	return bytes.HasSuffix(before, finishReasonKey) || bytes.HasSuffix(before, []byte(`"object"`))
}

// findUsage reads the last usage of a window; hit is where the name of one of its members may end. It may stand in an
// event of its own, in a choice (Moonshot), or below a member of the provider's (Groq).
func findUsage(a *Answer, window []byte, hit int) {
	for hits := 0; hit >= 0 && hits < maxHits; hits++ {
		at := bytes.LastIndex(window[:hit], usageKey)
		if at < 0 {
			return
		}
		value := window[at+len(usageKey):]
		if open := bytes.IndexByte(value, '{'); open == 1 {
			value = value[1:]
		} else {
			value = valueBehind(value)
		}
		if len(value) > 0 && value[0] == '{' && readUsage(a, value) {
			if !a.stream && bytes.LastIndex(window[:at], usageKey) >= 0 {
				preferOwnUsage(a, window)
			}
			return
		}
		hit = bytes.LastIndex(window[:at], tokensKey)
	}
}

// preferOwnUsage takes the usage of an answer itself if others stand inside of it, such as that of a provider's tool.
func preferOwnUsage(a *Answer, window []byte) {
	var members struct {
		Usage json.RawMessage `json:"usage"`
	}
	if json.Unmarshal(window, &members) == nil && len(members.Usage) > 0 && members.Usage[0] == '{' {
		readUsage(a, members.Usage)
	}
}

// readUsage reads the usage that value begins with. What total_tokens has beyond the sum is output: Gemini and xAI leave
// the tokens of reasoning out of completion_tokens.
func readUsage(a *Answer, value []byte) bool {
	var counts map[string]int64
	// Members that are no whole numbers, such as prompt_tokens_details, make an error, and do not keep the others from being
	// read.
	_ = json.NewDecoder(bytes.NewReader(value)).Decode(&counts)
	input, output := counts["prompt_tokens"], counts["completion_tokens"]
	if input <= 0 || output <= 0 || input > maxTokenCount || output > maxTokenCount {
		return readOddUsage(a, value)
	}
	if total := counts["total_tokens"]; total > input+output && total < maxTokenCount {
		output = total - input
	}
	a.Usage = Usage{Known: true, InputTokens: input, OutputTokens: output}
	if a.details {
		readUsageDetails(a, value)
	}
	return true
}

// maxTokenCount is more than any model reads; a provider that says more is not believed.
const maxTokenCount = 1e12

// readOddUsage reads a usage that has zeros, other names, fractions, or several lines of data in its event.
func readOddUsage(a *Answer, value []byte) bool {
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
	a.Usage = Usage{Known: true, InputTokens: input, OutputTokens: output}
	if a.details {
		readUsageDetails(a, value)
	}
	return true
}

// tokenCount reads a number of tokens under the first of two names that has a value. What can be none is -1.
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

// usageDetails are members that tell what a part of the tokens was.
type usageDetails struct {
	CachedTokens        float64 `json:"cached_tokens"`
	CacheCreationTokens float64 `json:"cache_creation_tokens"`
	CacheWriteTokens    float64 `json:"cache_write_tokens"`
	ReasoningTokens     float64 `json:"reasoning_tokens"`
}

// readUsageDetails reads what only spans and log lines hold.
func readUsageDetails(a *Answer, value []byte) {
	var details struct {
		Prompt     usageDetails `json:"prompt_tokens_details"`
		Completion usageDetails `json:"completion_tokens_details"`
	}
	_ = json.NewDecoder(bytes.NewReader(value)).Decode(&details)
	takeUsageDetails(a, &details.Prompt, &details.Completion)
}

// takeUsageDetails takes over parts of the tokens that can be parts.
func takeUsageDetails(a *Answer, prompt, completion *usageDetails) {
	u := &a.Usage
	input, output := float64(u.InputTokens), float64(u.OutputTokens)
	if count := prompt.CachedTokens; count > 0 && count <= input {
		u.CacheReadInputTokens = int64(count)
	}
	if count := prompt.CacheCreationTokens + prompt.CacheWriteTokens; count > 0 && count <= input {
		u.CacheCreationInputTokens = int64(count)
	}
	if count := completion.ReasoningTokens; count > 0 && count <= output {
		u.ReasoningOutputTokens = int64(count)
	}
}
