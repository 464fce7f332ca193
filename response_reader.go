package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// A response is scanned in windows of windowChunks chunks, or of about windowBytes if it is scanned
// as it streams, and is never kept longer: compiled code searches many bytes at once for a few
// names, so that the work of interpreted code does not grow with the events of a stream. What is
// incomplete at the end of a window stays for the next one, up to overlapBytes.
const (
	windowBytes  = 16 << 10
	overlapBytes = 4 << 10
)

// Names and values that are searched for. In a JSON string their quotes would be escaped, so that
// no text of a client or a model can look like them. What follows a match is then checked.
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

// responseReader reads the response fields of the record, window by window.
type responseReader struct {
	record       *Response // holds what has been read
	kind         kind      // of the endpoint
	stream       bool      // the response is an event stream
	wantsDetails bool      // id, finish reasons and the whole usage are wanted
	partial      int       // bytes of an event that have been scanned without finding its end
	events       int       // with data, so far
	finished     bool      // a choice has ended, or the last event of a Responses stream is complete
	ending       string    // type of the last event, once its beginning has arrived
	done         bool      // [DONE] has arrived
	failed       bool      // the response says that it is an error
	capture      *capture  // nil: no content is captured
}

// scanWindow scans a window of a response, and returns the part that the next window has to begin
// with. The window of a stream begins with a line feed that the provider did not send, so that
// every line follows one.
func scanWindow(reader *responseReader, window []byte, last bool) []byte {
	if reader.kind == responses && !last && isInsideEvent(reader, window) {
		return window
	}
	if reader.stream && bytes.IndexByte(window, '\r') >= 0 {
		window = withLineFeeds(window, last)
	}
	end := len(window)
	if !last {
		end = windowEnd(reader, window)
	}
	counted := end // what is counted must not be in the next window, too
	if end == len(window) && !last && end > overlapBytes {
		counted = end - overlapBytes
	}
	if reader.stream {
		reader.events += bytes.Count(window[:counted], dataLine)
	}
	if reader.kind == responses {
		scanResponses(reader, window[:end], last)
		reader.partial = len(window) - counted
		return window[counted:]
	}
	scanCommon(reader, window[:end])
	if reader.stream {
		scanEvents(reader, window[:end])
	}
	if reader.wantsDetails {
		scanDetails(reader, window[:counted])
	}
	return window[counted:]
}

// withLineFeeds turns all line ends of a window into line feeds. A carriage return at the end of
// the window stays until the next window shows whether a line feed follows.
func withLineFeeds(window []byte, last bool) []byte {
	end := len(window)
	if !last && window[end-1] == '\r' {
		end--
	}
	text := bytes.ReplaceAll(bytes.ReplaceAll(window[:end], returnAndFeed, lineFeed), carriageReturn, lineFeed)
	return append(text, window[end:]...)
}

// smallResponseMaxBytes is the size up to which encoding/json reads a whole response in less time
// than interpreted code needs to search it.
const smallResponseMaxBytes = 4 << 10

// readSmallResponse reads a response of the most common form, and reports whether body is one:
// usage without oddities, and no error.
func readSmallResponse(reader *responseReader, body []byte) bool {
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
	reader.record.Model = members.Model
	reader.record.Usage = Usage{Known: true, InputTokens: input, OutputTokens: output}
	if reader.wantsDetails {
		reader.record.details = members
	}
	return true
}

// scanCommon scans for the fields that streams and other responses share.
func scanCommon(reader *responseReader, window []byte) {
	if reader.record.Model == "" {
		findModel(reader, window)
	}
	if match := bytes.LastIndex(window, tokensKey); match >= 0 {
		findUsage(reader, window, match)
	}
	if bytes.Contains(window, errorKey) {
		reader.failed = reader.failed || isFailure(window)
	}
	if reader.capture != nil {
		captureWindow(reader.capture, window, reader.stream)
	}
}

// findModel reads the first model that a window names.
func findModel(reader *responseReader, window []byte) {
	if at := bytes.Index(window, modelStart); at >= 0 {
		text := window[at+len(modelStart):]
		if end := bytes.IndexByte(text, '"'); end >= 0 && end <= modelMaxBytes {
			reader.record.Model = string(text[:end])
		}
		return
	}
	reader.record.Model = textAfter(window, bytes.Index(window, modelKey), modelKey)
}

// windowEnd returns where to cut a window so that the next one begins with a whole event; the end
// of the window if there is no such place.
func windowEnd(reader *responseReader, window []byte) int {
	kept := overlapBytes
	if reader.kind == responses {
		kept = responseMaxBytes
	}
	if reader.stream {
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

func scanEvents(reader *responseReader, window []byte) {
	if at := bytes.LastIndex(window, doneMark); at >= 0 && !reader.done {
		line := window[bytes.LastIndexByte(window[:at], '\n')+1 : at]
		reader.done = string(bytes.TrimSpace(line)) == "data:"
	}
	if !reader.finished {
		reader.finished = bytes.Contains(window, finishReasonStart) || textAfter(window, bytes.LastIndex(window, finishReasonKey), finishReasonKey) != ""
	}
	reader.failed = reader.failed || bytes.Contains(window, errorLine)
}

// scanDetails scans for the fields that only spans and log lines have.
func scanDetails(reader *responseReader, window []byte) {
	if reader.record.ID == "" {
		reader.record.ID = textAfter(window, bytes.Index(window, idKey), idKey)
	}
	if reader.stream && !reader.finished {
		return
	}
	// From the end: in most events of a stream, the reason is null.
	var reasons []string
	for matches := 0; matches < maxMatches; matches++ {
		at := bytes.LastIndex(window, finishReasonKey)
		if at < 0 {
			break
		}
		if reason := textAfter(window, at, finishReasonKey); reason != "" {
			reasons = append([]string{reason}, reasons...)
		}
		window = window[:at]
	}
	if len(reader.record.FinishReasons) < maxMatches {
		reader.record.FinishReasons = append(reader.record.FinishReasons, reasons...)
	}
}

// textAfter returns the string that is the value of name, which is at offset at of the window. It
// returns "" if at is negative, or if the value is not a string, has escapes, or is not valid as a
// model name.
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

// escapeStart begins an escape: models, ids and finish reasons have none.
const escapeStart = `\`

// valueAfter returns what follows a name and its colon; nil if there is no colon.
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

// isFailure reports whether a response says that it is an error, as some providers do after a
// status of 200: with a member error that is not empty, or with the value error of object or
// finish_reason.
func isFailure(window []byte) bool {
	for matches := 0; matches < maxMatches; matches++ {
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

// emptyError matches the beginning of values that mean that there is no error. contentFilterError
// matches the error of Azure's content filter, which comes with a valid response.
var (
	emptyError         = regexp.MustCompile(`^(null|false|0|""|\{\s*\}|\[\s*\])`)
	contentFilterError = regexp.MustCompile(`^\{[^{}]*"content_filter_error"`)
)

// holdsError reports whether the value of a member error describes an error.
func holdsError(value []byte) bool {
	return len(value) > 0 && !emptyError.Match(value) && !contentFilterError.Match(value)
}

// isErrorValue reports whether before ends in a name and a colon that the value error may follow.
func isErrorValue(before []byte) bool {
	before = bytes.TrimRight(before, " ")
	if !bytes.HasSuffix(before, []byte(":")) {
		return false
	}
	before = bytes.TrimRight(before[:len(before)-1], " ")
	return bytes.HasSuffix(before, finishReasonKey) || bytes.HasSuffix(before, []byte(`"object"`))
}
