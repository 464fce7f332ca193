package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// An answer is read in windows of windowChunks chunks, or of about windowBytes if it is read on the way in any case, and
// never kept longer: compiled code looks for a few names in many bytes at once, so that the work of interpreted code does
// not grow with the events of a stream. What a window ends in the middle of stays for the next one, up to overlapBytes.
const (
	windowBytes  = 16 << 10
	overlapBytes = 4 << 10
)

// maxMatches bounds how many places of a window are looked at for one name: a provider could write thousands.
const maxMatches = 16

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
	carriageReturn    = []byte("\r")
	returnAndFeed     = []byte("\r\n")
	byteOrderMark     = []byte("\ufeff")
)

// scanWindow reads a window of an answer, and returns what of it the next one has to begin with. The window of a stream begins
// with a line feed that is not the provider's, so that every line does.
func scanWindow(resp *Response, window []byte, last bool) []byte {
	if resp.kind == responses && !last && isInsideEvent(resp, window) {
		return window
	}
	if resp.stream && bytes.IndexByte(window, '\r') >= 0 {
		window = withLineFeeds(window, last)
	}
	end := len(window)
	if !last {
		end = windowEnd(resp, window)
	}
	counted := end // what is counted must not be so twice
	if end == len(window) && !last && end > overlapBytes {
		counted = end - overlapBytes
	}
	if resp.stream {
		resp.events += bytes.Count(window[:counted], dataLine)
	}
	if resp.kind == responses {
		scanResponses(resp, window[:end], last)
		resp.partial = len(window) - counted
		return window[counted:]
	}
	scanCommon(resp, window[:end])
	if resp.stream {
		scanEvents(resp, window[:end])
	}
	if resp.wantsDetails {
		scanDetails(resp, window[:counted])
	}
	return window[counted:]
}

// withLineFeeds ends the lines of a window in line feeds only. A carriage return at its end waits for the line feed that may
// come next.
func withLineFeeds(window []byte, last bool) []byte {
	end := len(window)
	if !last && window[end-1] == '\r' {
		end--
	}
	text := bytes.ReplaceAll(bytes.ReplaceAll(window[:end], returnAndFeed, lineFeed), carriageReturn, lineFeed)
	return append(text, window[end:]...)
}

// smallResponseMaxBytes is up to which size encoding/json reads a whole answer in less time than interpreted code needs to look
// for what it wants to know.
const smallResponseMaxBytes = 4 << 10

// smallResponse is what is read of a small answer.
type smallResponse struct {
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

// readSmallResponse reads an answer as most are, and tells whether it is one: with a plain usage, and no error.
func readSmallResponse(resp *Response, body []byte) bool {
	members := &smallResponse{}
	if json.Unmarshal(body, members) != nil || members.Error != nil {
		return false
	}
	u := &members.Usage
	input, output := u.PromptTokens, u.CompletionTokens
	if input <= 0 || output <= 0 || input > maxTokenCount || output > maxTokenCount || u.TotalTokens > input+output ||
		len(members.Model) > modelMaxBytes {
		return false
	}
	resp.Model = members.Model
	resp.Usage = Usage{Known: true, InputTokens: input, OutputTokens: output}
	if resp.wantsDetails {
		resp.small = members
	}
	return true
}

// fillDetails takes over what only spans and log lines hold of small answers. It is not part of a request, since it costs
// little for many calls at once.
func fillDetails(calls []*Call) {
	for _, c := range calls {
		resp, members := &c.Response, c.Response.small
		if members == nil {
			continue
		}
		resp.small = nil
		if len(members.ID) <= modelMaxBytes {
			resp.ID = members.ID
		}
		for i, choice := range members.Choices {
			if choice.FinishReason != "" && len(choice.FinishReason) <= modelMaxBytes && i < maxMatches {
				resp.FinishReasons = append(resp.FinishReasons, choice.FinishReason)
			}
		}
		prompt, completion := &members.Usage.Prompt, &members.Usage.Completion
		if prompt.CachedTokens+prompt.CacheCreationTokens+prompt.CacheWriteTokens+completion.ReasoningTokens > 0 {
			takeUsageDetails(resp, prompt, completion)
		}
	}
}

// scanCommon reads what all answers have, streams or not.
func scanCommon(resp *Response, window []byte) {
	if resp.Model == "" {
		findModel(resp, window)
	}
	if hit := bytes.LastIndex(window, tokensKey); hit >= 0 {
		findUsage(resp, window, hit)
	}
	if bytes.Contains(window, errorKey) {
		resp.failed = resp.failed || isFailure(window)
	}
	if resp.capture != nil {
		captureWindow(resp.capture, window, resp.stream)
	}
}

// findModel reads the first model that a window names.
func findModel(resp *Response, window []byte) {
	if at := bytes.Index(window, modelStart); at >= 0 {
		text := window[at+len(modelStart):]
		if end := bytes.IndexByte(text, '"'); end >= 0 && end <= modelMaxBytes {
			resp.Model = string(text[:end])
		}
		return
	}
	resp.Model = textAfter(window, bytes.Index(window, modelKey), modelKey)
}

// windowEnd returns where a window is cut so that the next one begins with a whole event: its end if there is no good
// place.
func windowEnd(resp *Response, window []byte) int {
	kept := overlapBytes
	if resp.kind == responses {
		kept = responseMaxBytes
	}
	if resp.stream {
		if end := bytes.LastIndex(window, blankLine) + 1; len(window)-end <= kept {
			return end
		}
		return len(window)
	}
	if len(window) <= kept {
		return 0 // many small packets: a name may begin in one and end in the next
	}
	return len(window)
}

func scanEvents(resp *Response, window []byte) {
	if at := bytes.LastIndex(window, doneMark); at >= 0 && !resp.done {
		line := window[bytes.LastIndexByte(window[:at], '\n')+1 : at]
		resp.done = string(bytes.TrimSpace(line)) == "data:"
	}
	if !resp.finished {
		resp.finished = bytes.Contains(window, finishReasonStart) || textAfter(window, bytes.LastIndex(window, finishReasonKey), finishReasonKey) != ""
	}
	resp.failed = resp.failed || bytes.Contains(window, errorLine)
}

// scanDetails reads what spans and log lines hold beside.
func scanDetails(resp *Response, window []byte) {
	if resp.ID == "" {
		resp.ID = textAfter(window, bytes.Index(window, idKey), idKey)
	}
	if resp.stream && !resp.finished {
		return
	}
	// From the end: in most events of a stream, the reason is null.
	var reasons []string
	for hits := 0; hits < maxMatches; hits++ {
		at := bytes.LastIndex(window, finishReasonKey)
		if at < 0 {
			break
		}
		if reason := textAfter(window, at, finishReasonKey); reason != "" {
			reasons = append([]string{reason}, reasons...)
		}
		window = window[:at]
	}
	if len(resp.FinishReasons) < maxMatches {
		resp.FinishReasons = append(resp.FinishReasons, reasons...)
	}
}

// textAfter returns the text that is the value of the name at a place of the window; "" if it is none, or there is none.
func textAfter(window []byte, at int, name []byte) string {
	if at < 0 {
		return ""
	}
	value := valueAfter(window[at+len(name):])
	if len(value) == 0 || value[0] != '"' {
		return ""
	}
	end := bytes.IndexByte(value[1:], '"')
	if end < 0 || end > modelMaxBytes {
		return ""
	}
	text := string(value[1 : 1+end])
	if strings.ContainsAny(text, escapeStart) || !isModelName(text) {
		return ""
	}
	return text
}

// escapeStart is an escape: models, ids and reasons have none.
const escapeStart = `\`

// valueAfter returns what stands behind a name and its colon, nil if there is no colon.
func valueAfter(rest []byte) []byte {
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
	for hits := 0; hits < maxMatches; hits++ {
		at := bytes.Index(window, errorKey)
		if at < 0 {
			return false
		}
		if holdsError(valueAfter(window[at+len(errorKey):])) || isErrorValue(window[:at]) {
			return true
		}
		window = window[at+len(errorKey):]
	}
	return false
}

// emptyError is how the values begin that say that there is no error; contentFilterError is that of Azure's filter, which
// stands beside an answer that is as it should be.
var (
	emptyError         = regexp.MustCompile(`^(null|false|0|""|\{\s*\}|\[\s*\])`)
	contentFilterError = regexp.MustCompile(`^\{[^{}]*"content_filter_error"`)
)

// holdsError tells whether the value of a member error is one.
func holdsError(value []byte) bool {
	return len(value) > 0 && !emptyError.Match(value) && !contentFilterError.Match(value)
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
