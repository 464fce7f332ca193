package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// A stream is read in windows of windowChunks chunks, or of about windowBytes if it is read as it is
// written: compiled code searches many events at once for those that are worth reading, so that the
// work of interpreted code does not grow with the events of a stream. A response without events is
// read when it is complete.
const windowBytes = 16 << 10

// wholeMaxBytes bounds the event, and the response without events, that is kept to be read as a
// whole: a response of the Responses API repeats tools and instructions as the client sent them.
// What is larger holds images. Of that, and of embeddings, the first and the last edgeMaxBytes are
// read.
const (
	wholeMaxBytes = 1 << 20
	edgeMaxBytes  = 64 << 10
)

// Parts of a stream that are searched for. No line can begin inside JSON.
var (
	doneMark        = []byte("[DONE]")
	dataLine        = []byte("\ndata:")
	dataAfterReturn = []byte("\rdata:")
	dataAfterMark   = []byte("\ufeffdata:")
	carriageReturn  = []byte("\r")
	returnAndFeed   = []byte("\r\n")
	byteOrderMark   = []byte("\ufeff")
)

// doneLine matches the line that ends a stream.
var doneLine = regexp.MustCompile(`\ndata:[ \t]*\[DONE\]`)

// responseReader reads the response fields of the record, window by window.
type responseReader struct {
	record       *Response // holds what has been read
	kind         kind      // of the endpoint
	stream       bool      // the response is an event stream
	wantsDetails bool      // id, finish reasons and the whole usage are wanted, for sinks or for costs
	usage        usageCounts
	partial      int              // bytes of an event that have been searched without finding its end
	head         []byte           // the first edgeMaxBytes of what is too large to be kept; nil: nothing is
	events       int              // with data, so far
	finished     bool             // a choice has ended
	endedChoices [maxChoices]bool // those whose finish reason is recorded
	done         bool             // [DONE] has arrived
	ended        bool             // [DONE], or the last event of a protocol that has one, has arrived
	closed       bool             // nothing that follows counts
	failed       bool             // the response says that it is an error
	cut          bool             // the response ended early, as far as HTTP can tell
	capture      *capture         // nil: no content is captured
	wantsParts   bool             // parts are wanted, for costs
	parts        usageParts

	// The following are Gemini's only.
	array        bool   // the stream is a JSON array, not events
	latestUsage  []byte // the text of the last event with counts, which is read at the end; nil: there was none
	begunChoices int    // candidates that have been seen
	openChoices  int    // those of them that have not ended
}

// scanWindow reads a window of a response, and returns the part that the next window has to begin
// with. The window of a stream begins with a line feed that the provider did not send, so that
// every line follows one.
func scanWindow(reader *responseReader, window []byte, last bool) []byte {
	if reader.array {
		return scanElements(reader, window, last)
	}
	if reader.stream {
		rest := scanEvents(reader, window, last)
		if last && reader.latestUsage != nil {
			finishGemini(reader)
		}
		return rest
	}
	if last {
		readDocument(reader, window)
		return nil
	}
	if len(window) > wholeBytes(reader.kind) {
		return keepHeadAndTail(reader, window)
	}
	return window
}

// wholeBytes returns the size up to which a response is read as a whole. Embeddings are numbers,
// which nothing is read of.
func wholeBytes(k kind) int {
	if k == embeddings || k == embedContent || k == batchEmbedContents {
		return 2 * edgeMaxBytes
	}
	return wholeMaxBytes
}

// scanEvents reads the complete events of a window. With the last one, an event without a blank
// line is complete, too.
func scanEvents(reader *responseReader, window []byte, last bool) []byte {
	if !last && reader.partial > len(blankLine) && isInsideEvent(reader, window) {
		return window
	}
	if bytes.IndexByte(window, '\r') >= 0 {
		window = withLineFeeds(window, last)
	}
	if reader.head != nil {
		end := bytes.Index(window, blankLine) + 1
		if end == 0 && !last {
			return keepHeadAndTail(reader, window)
		}
		window = readLargeEvent(reader, window, end)
	}
	end := len(window)
	if !last {
		end = bytes.LastIndex(window, blankLine) + 1
	}
	if end > 0 {
		scanCompleteEvents(reader, window[:end])
	}
	rest := window[end:]
	reader.partial = len(rest)
	if len(rest) > wholeMaxBytes {
		return keepHeadAndTail(reader, rest)
	}
	return rest
}

// isInsideEvent reports whether a window still holds only the beginning of an event, as it did at
// the last scan. Such a window may become large, and is not searched from its beginning each time.
func isInsideEvent(reader *responseReader, window []byte) bool {
	if reader.head != nil || len(window) > wholeMaxBytes {
		return false
	}
	if lastEventEnd(window[reader.partial-3:]) > 0 { // the window may have ended in the middle of the event's end
		return false
	}
	reader.partial = len(window)
	return true
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

// scanCompleteEvents counts the events of a window, and reads those that are worth it.
func scanCompleteEvents(reader *responseReader, window []byte) {
	reader.events += bytes.Count(window, dataLine)
	if !reader.done && bytes.Contains(window, doneMark) && doneLine.Match(window) {
		reader.done = true
		reader.ended = true
	}
	if isGemini(reader.kind) {
		readGeminiEvents(reader, window)
	} else {
		readEvents(reader, window)
	}
	if reader.capture != nil {
		captureWindow(reader.capture, window, true)
	}
}

// smallResponseMaxBytes is the size up to which encoding/json reads a whole response in less time
// than interpreted code needs to choose what to read.
const smallResponseMaxBytes = 4 << 10

// readSmallResponse reads a response of the most common form, and reports whether body is one:
// usage without oddities, and no error.
func readSmallResponse(reader *responseReader, body []byte) bool {
	members := &smallResponse{}
	if bytes.Contains(body, errorName) || json.Unmarshal(body, members) != nil {
		return false
	}
	u := &members.Usage
	input, output := u.PromptTokens, u.CompletionTokens
	if input <= 0 || output <= 0 || input > maxTokenCount || output > maxTokenCount || u.TotalTokens > input+output ||
		len(members.Model) > modelMaxBytes {
		return false
	}
	reader.record.Model = members.Model
	reader.record.Usage = Usage{InputKnown: true, OutputKnown: true, InputTokens: input, OutputTokens: output}
	if reader.wantsDetails {
		reader.record.details = members
	}
	return true
}

// readSmallItems is readSmallResponse for the Responses API.
func readSmallItems(reader *responseReader, body []byte) bool {
	members, u := &smallItems{}, &smallItemsUsage{}
	if json.Unmarshal(body, members) != nil || json.Unmarshal(members.Usage, u) != nil || !areUsualItems(members, u) {
		return false
	}
	reader.record.Model = members.Model
	reader.record.Usage = Usage{InputKnown: true, OutputKnown: true, InputTokens: u.InputTokens, OutputTokens: u.OutputTokens}
	if reader.wantsDetails {
		reader.record.details = &smallResponse{
			ID: members.ID, ServiceTier: members.ServiceTier, Choices: []smallChoice{{FinishReason: members.Status}},
			Usage: smallUsage{PromptTokens: u.InputTokens, CompletionTokens: u.OutputTokens, Prompt: u.Input, Completion: u.Output, Cost: u.Cost},
		}
	}
	return true
}

// areUsualItems reports whether a response of the Responses API is complete, and has nothing that
// another protocol has, and usage without oddities.
func areUsualItems(members *smallItems, u *smallItemsUsage) bool {
	input, output := u.InputTokens, u.OutputTokens
	return members.Status == "completed" && members.Error == nil && members.Object != errorValue && members.Type+members.StopReason+members.FinishReason == "" &&
		len(members.Choices)+len(members.XGroq)+len(members.Response)+len(members.Delta) == 0 &&
		input > 0 && output > 0 && input <= maxTokenCount && output <= maxTokenCount && u.TotalTokens <= input+output &&
		u.PromptTokens == nil && u.CompletionTokens == nil && u.Prompt == nil && u.Completion == nil && u.CacheCreation == nil && u.CacheRead == nil &&
		isModelName(members.Model) && isModelName(members.ID)
}

// errorName is part of every response that says that it is an error.
var errorName = []byte(`"error"`)

// readDocument reads a complete response without events.
func readDocument(reader *responseReader, body []byte) {
	members := &responseMembers{}
	if reader.head == nil && len(body) > wholeBytes(reader.kind) {
		body = keepHeadAndTail(reader, body)
	}
	if isGemini(reader.kind) {
		readGeminiDocument(reader, body)
		return
	}
	switch {
	case reader.head != nil:
		members = largeMembers(reader, reader.head, body)
	case reader.kind == embeddings && len(body) > smallResponseMaxBytes:
		members = largeMembers(reader, body, body)
	case !unmarshalMembers(body, members):
		members = largeMembers(reader, body, nil) // it is not JSON, or it is cut off
	}
	recordMembers(reader, &eventProtocols[0], members)
	if reader.wantsParts && reader.kind == governedPassthrough {
		recordMedia(reader, members, body)
	}
	if reader.wantsDetails && isResponseObject(reader, members) {
		recordFinishReasons(reader.record, members.Status)
	}
	if reader.capture != nil {
		captureWindow(reader.capture, body, false)
	}
}
