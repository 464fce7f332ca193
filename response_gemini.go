package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
	"sort"
)

// geminiMembers are the members of a response, or of a part of a streamed one, that are read. Every part
// has the counts of the response so far.
type geminiMembers struct {
	Candidates   [maxChoices]*candidateMembers `json:"candidates"`
	Usage        *geminiUsage                  `json:"usageMetadata"`
	Feedback     *feedbackMembers              `json:"promptFeedback"`
	ModelVersion string                        `json:"modelVersion"`
	ResponseID   string                        `json:"responseId"`
	Error        json.RawMessage               `json:"error"`
}

// candidateMembers are the members that are read of a candidate.
type candidateMembers struct {
	Index        *int   `json:"index"`
	FinishReason string `json:"finishReason"`
}

// feedbackMembers is the member that says why there is no candidate.
type feedbackMembers struct {
	BlockReason string `json:"blockReason"`
}

// geminiUsage are the members of a usage. The prompt includes what is cached, and neither it nor the
// candidates include the other two. A count of 0 is left out.
type geminiUsage struct {
	Prompt     any `json:"promptTokenCount"`
	ToolUse    any `json:"toolUsePromptTokenCount"`
	Candidates any `json:"candidatesTokenCount"`
	Thoughts   any `json:"thoughtsTokenCount"`
	Cached     any `json:"cachedContentTokenCount"`
	Total      any `json:"totalTokenCount"`
	// The following count for costs only. Vertex AI has its tier in the type of the traffic.
	PromptDetails    json.RawMessage `json:"promptTokensDetails"`
	ToolUseDetails   json.RawMessage `json:"toolUsePromptTokensDetails"`
	CandidateDetails json.RawMessage `json:"candidatesTokensDetails"`
	CachedDetails    json.RawMessage `json:"cacheTokensDetails"`
	ServiceTier      string          `json:"serviceTier"`
	TrafficType      string          `json:"trafficType"`
}

// usageModalities are the parts of a count.
type usageModalities struct {
	list [maxModalities]*modalityMembers
}

// modalityMembers is a part of a count: the tokens of text, of images, of audio.
type modalityMembers struct {
	Modality   string  `json:"modality"`
	TokenCount float64 `json:"tokenCount"`
}

// maxModalities bounds the modalities that are read of a count.
const maxModalities = 8

// audioModality is the modality with prices of its own.
const audioModality = "AUDIO"

// audioName is part of every count that has a part of it.
var audioName = []byte(`"AUDIO"`)

// noReason is a finish reason that is none.
const noReason = "FINISH_REASON_UNSPECIFIED"

// unmarshalGemini is unmarshalMembers for Gemini's protocol.
func unmarshalGemini(text []byte, members *geminiMembers) bool {
	err := json.Unmarshal(text, members)
	_, isType := err.(*json.UnmarshalTypeError)
	return err == nil || isType
}

// recordGemini records what a whole response, or a part of one, says about the response, except its
// usage.
func recordGemini(reader *responseReader, members *geminiMembers) {
	recordGeminiIdentity(reader, members)
	if members.Error != nil && !emptyValue.Match(members.Error) {
		reader.failed = true
	}
	if members.Candidates[0] != nil {
		recordCandidates(reader, members)
	}
	if members.Feedback != nil && members.Feedback.BlockReason != "" {
		if !reader.finished && reader.wantsDetails {
			recordFinishReasons(reader.record, members.Feedback.BlockReason)
		}
		reader.finished = true
	}
}

// recordGeminiIdentity records the model and the id.
func recordGeminiIdentity(reader *responseReader, members *geminiMembers) {
	resp := reader.record
	if resp.Model == "" {
		resp.Model = firstLabel(members.ModelVersion)
	}
	if reader.wantsDetails && resp.ID == "" {
		resp.ID = firstLabel(members.ResponseID)
	}
}

// recordCandidates records how the candidates have ended. All of those that have been seen must have.
func recordCandidates(reader *responseReader, members *geminiMembers) {
	for i := 0; i < len(members.Candidates) && members.Candidates[i] != nil; i++ {
		c := members.Candidates[i]
		place := i
		if c.Index != nil && *c.Index >= 0 && *c.Index < maxChoices {
			place = *c.Index
		}
		for reader.begunChoices <= place {
			reader.begunChoices++ // those before it have begun, too
			reader.openChoices++
		}
		if c.FinishReason == "" || c.FinishReason == noReason || reader.endedChoices[place] {
			continue
		}
		reader.endedChoices[place] = true
		reader.openChoices--
		if reader.wantsDetails {
			recordFinishReasons(reader.record, c.FinishReason)
		}
	}
	reader.finished = reader.openChoices == 0
}

// recordGeminiUsage records a usage, and reports whether it has counts. Tokens in the total beyond the sum
// are output. A part without a count has none if the total says so.
func recordGeminiUsage(reader *responseReader, u *geminiUsage) bool {
	input, toolUse := tokenCount(u.Prompt), tokenCount(u.ToolUse)
	candidates, thoughts, total := tokenCount(u.Candidates), tokenCount(u.Thoughts), tokenCount(u.Total)
	if input == invalidCount || toolUse == invalidCount || candidates == invalidCount || thoughts == invalidCount {
		return false
	}
	if toolUse > 0 {
		input = knownCount(input) + toolUse
	}
	output := candidates
	if thoughts > 0 && (candidates < thoughts || total != input+candidates) {
		output = knownCount(candidates) + thoughts
	}
	if input >= 0 && total >= input && total > input+output { // an unknown output is below 0
		output = total - input
	}
	if input < 0 && output < 0 {
		return false
	}
	setGeminiUsage(reader, u, input, output)
	return true
}

// knownCount returns a count, 0 if it is unknown.
func knownCount(count float64) float64 {
	if count < 0 {
		return 0
	}
	return count
}

// setGeminiUsage sets the usage of the record. Embeddings have no output.
func setGeminiUsage(reader *responseReader, u *geminiUsage, input, output float64) {
	usage := &Usage{}
	if input >= 0 {
		usage.InputKnown = true
		usage.InputTokens = int64(input)
	}
	if output >= 0 && generatesContent(reader.kind) {
		usage.OutputKnown = true
		usage.OutputTokens = int64(output)
	}
	if reader.wantsDetails {
		prompt := &usageDetails{CachedTokens: tokenCount(u.Cached)}
		takeUsageDetails(usage, prompt, &usageDetails{ReasoningTokens: tokenCount(u.Thoughts)})
	}
	reader.record.Usage = *usage
	if reader.wantsParts {
		recordGeminiParts(&reader.parts, u)
	}
}

// recordGeminiParts records what only costs depend on. Audio of the prompt includes what is cached of it.
func recordGeminiParts(parts *usageParts, u *geminiUsage) {
	if tier := firstLabel(u.ServiceTier, u.TrafficType); tier != "" {
		parts.serviceTier = tier
	}
	input := audioCount(u.PromptDetails) - audioCount(u.CachedDetails)
	setCount(&parts.inputAudio, knownCount(input)+audioCount(u.ToolUseDetails))
	setCount(&parts.outputAudio, audioCount(u.CandidateDetails))
}

// audioCount returns the tokens of audio in the parts of a count.
func audioCount(details json.RawMessage) float64 {
	if !bytes.Contains(details, audioName) {
		return 0
	}
	parts := &usageModalities{}
	_ = json.Unmarshal(details, &parts.list)
	count := 0.0
	for i := 0; i < maxModalities && parts.list[i] != nil; i++ {
		if part := parts.list[i]; part.Modality == audioModality && part.TokenCount > 0 {
			count += part.TokenCount
		}
	}
	return count
}

// smallContents is what is read of a small response, with those members that decide whether it is one without
// oddities.
type smallContents struct {
	ModelVersion string             `json:"modelVersion"`
	ResponseID   string             `json:"responseId"`
	Candidates   []smallCandidate   `json:"candidates"`
	Usage        smallContentsUsage `json:"usageMetadata"`
	Feedback     json.RawMessage    `json:"promptFeedback"`
	Error        json.RawMessage    `json:"error"`
}

type smallCandidate struct {
	Index        int    `json:"index"`
	FinishReason string `json:"finishReason"`
}

type smallContentsUsage struct {
	Prompt     int64           `json:"promptTokenCount"`
	Candidates int64           `json:"candidatesTokenCount"`
	Thoughts   int64           `json:"thoughtsTokenCount"`
	Cached     int64           `json:"cachedContentTokenCount"`
	Total      int64           `json:"totalTokenCount"`
	ToolUse    json.RawMessage `json:"toolUsePromptTokenCount"`
}

// readSmallContents is readSmallResponse for Gemini's protocol, without what counts for costs only.
func readSmallContents(reader *responseReader, body []byte) bool {
	members := &smallContents{}
	if json.Unmarshal(body, members) != nil || len(members.Candidates) != 1 || !areUsualContents(members) {
		return false
	}
	u, reason := &members.Usage, members.Candidates[0].FinishReason
	reader.record.Model = members.ModelVersion
	reader.record.Usage = Usage{InputKnown: true, OutputKnown: true, InputTokens: u.Prompt, OutputTokens: u.Total - u.Prompt}
	if reader.wantsDetails {
		reader.record.details = &smallResponse{
			ID: members.ResponseID, Choices: []smallChoice{{FinishReason: reason}},
			Usage: smallUsage{CacheRead: float64(u.Cached), Completion: usageDetails{ReasoningTokens: float64(u.Thoughts)}},
		}
	}
	return true
}

// areUsualContents reports whether a response has one candidate that has ended, and usage without oddities.
func areUsualContents(members *smallContents) bool {
	c, u := &members.Candidates[0], &members.Usage
	return members.Error == nil && members.Feedback == nil && c.Index == 0 && c.FinishReason != "" && c.FinishReason != noReason && c.FinishReason != nullText &&
		u.Prompt > 0 && u.Candidates > 0 && u.Thoughts >= 0 && u.Cached >= 0 && u.Total == u.Prompt+u.Candidates+u.Thoughts && u.Total <= maxTokenCount &&
		u.ToolUse == nil && isModelName(members.ModelVersion) && isModelName(members.ResponseID) && isModelName(c.FinishReason)
}

// Parts of responses that are searched for. In a JSON string their quotes would be escaped.
var (
	countKey    = []byte(`TokenCount"`) // of any count of a usage
	reasonKey   = []byte(`Reason"`)     // of a finish reason, or of a block reason
	versionKey  = []byte(`"modelVersion"`)
	indexKey    = []byte(`"index"`)
	firstIndex  = []byte(`"index":0`)
	spacedIndex = []byte(`"index": 0`)

	reasonMark = regexp.MustCompile(`"(?:finish|block)Reason"`)
	indexMark  = regexp.MustCompile(`"index"` + between + ":" + between + "[1-9]")
	errorMark  = regexp.MustCompile(`"error"`)
)

// readGeminiEvents reads the events of a window that are worth it: the first with a model, the last with a
// finish reason and, as long as candidates have not ended, those before it, and those with an error. Of
// the usage, which every event has, the last one is kept until the end of the stream.
func readGeminiEvents(reader *responseReader, window []byte) {
	if reader.record.Model == "" {
		readGeminiModel(reader, window)
	}
	if start := lastEventWith(window, countKey); start >= 0 {
		reader.latestUsage = append(reader.latestUsage[:0], geminiEvent(window, start)...)
	}
	end := lastEventWith(window, reasonKey)
	if end >= 0 || bytes.Contains(window, errorName) || hasSeveralCandidates(window) {
		recordGeminiEvents(reader, window, end)
	}
	reader.ended = reader.done || (end >= 0 && reader.finished && end == lastStart(window))
}

// lastEventWith returns where the last event with a part starts, not counting one that is cut off, which
// only the last one of a stream can be; below 0: there is none.
func lastEventWith(window, part []byte) int {
	at := bytes.LastIndex(window, part)
	if at < 0 {
		return at
	}
	start := eventStart(window, at)
	event := geminiEvent(window, start)
	if bytes.HasSuffix(event, lineFeed) || json.Valid(eventData(event)) {
		return start
	}
	if at = bytes.LastIndex(window[:start], part); at < 0 {
		return at
	}
	return eventStart(window, at)
}

// hasSeveralCandidates reports whether a text may have candidates beside the first one.
func hasSeveralCandidates(text []byte) bool {
	count := bytes.Count(text, indexKey)
	return count > 0 && count != bytes.Count(text, firstIndex)+bytes.Count(text, spacedIndex)
}

// lastStart returns where the last event of a window starts.
func lastStart(window []byte) int {
	return eventStart(window, len(bytes.TrimRight(window, "\n"))-1)
}

// geminiEvent returns the event that starts at an offset of a window.
func geminiEvent(window []byte, start int) []byte {
	if length := bytes.Index(window[start+1:], blankLine); length >= 0 {
		return window[start : start+1+length+1]
	}
	return window[start:]
}

// readGeminiModel reads the first events with a model until one names it at its place.
func readGeminiModel(reader *responseReader, window []byte) {
	for tries := 0; tries < maxEventsRead && reader.record.Model == ""; tries++ {
		at := bytes.Index(window, versionKey)
		if at < 0 {
			return
		}
		event := geminiEvent(window, eventStart(window, at))
		if members := decodeGemini(event); members != nil {
			recordGeminiIdentity(reader, members)
		}
		window = window[eventStart(window, at)+len(event):]
	}
}

// recordGeminiEvents reads the events with an error, and those with a finish reason: the last one, since some
// models send one with every event, and those before it if it is none. If there are several candidates,
// it reads all of those, and all of candidates beside the first one. end is where the last one starts;
// below 0: there is none.
func recordGeminiEvents(reader *responseReader, window []byte, end int) {
	w := &eventWindow{text: window}
	starts := markedStarts(w, errorMark)
	if hasSeveralCandidates(window) || reader.begunChoices > 1 {
		starts = append(append(starts, markedStarts(w, indexMark)...), markedStarts(w, reasonMark)...)
	}
	sort.Ints(starts)
	for i, start := range starts {
		if i == 0 || start != starts[i-1] {
			recordGeminiEvent(reader, window, start)
		}
	}
	for tries := 0; tries < maxEventsRead && end >= 0 && !reader.finished && reader.begunChoices < 2; tries++ {
		recordGeminiEvent(reader, window, end)
		end = lastEventWith(window[:end], reasonKey)
	}
}

// recordGeminiEvent records what the event that starts at an offset says, except its usage.
func recordGeminiEvent(reader *responseReader, window []byte, start int) {
	if members := decodeGemini(geminiEvent(window, start)); members != nil {
		recordGemini(reader, members)
	}
}

// decodeGemini returns what is read of an event; nil: it has no JSON object.
func decodeGemini(event []byte) *geminiMembers {
	if len(event) > wholeMaxBytes {
		return largeGemini(event[:edgeMaxBytes], event[len(event)-edgeMaxBytes:])
	}
	members := &geminiMembers{}
	if !unmarshalGemini(eventData(event), members) {
		return nil
	}
	return members
}

// readLargeGemini reads an event that is too large to be kept as a whole.
func readLargeGemini(reader *responseReader, tail []byte, isComplete bool) {
	members := largeGemini(reader.head, tail)
	reader.head = nil
	if isComplete {
		recordGemini(reader, members)
	}
	if members.Usage != nil && recordGeminiUsage(reader, members.Usage) {
		reader.latestUsage = nil
	}
	reader.ended = reader.finished
}

// finishGemini reads the usage of a stream that has ended.
func finishGemini(reader *responseReader) {
	if members := decodeGemini(reader.latestUsage); members != nil && members.Usage != nil {
		recordGeminiUsage(reader, members.Usage)
	}
	reader.latestUsage = nil
}

// readGeminiDocument reads a complete response that is not an event stream.
func readGeminiDocument(reader *responseReader, body []byte) {
	members := &geminiMembers{}
	switch {
	case reader.head != nil:
		members = largeGemini(reader.head, body)
	case isArray(body):
		scanElements(reader, body, true)
		return // what is captured has been
	case !unmarshalGemini(body, members):
		members = largeGemini(body, nil) // it is not JSON, or it is cut off
	}
	recordGemini(reader, members)
	if members.Usage != nil {
		recordGeminiUsage(reader, members.Usage)
	}
	if reader.capture != nil {
		captureWindow(reader.capture, body, false)
	}
}

// geminiTails are the members that are searched for at the end of a large response, with what the response
// begins with if they are its own.
var geminiTails = []geminiTail{
	{`{"candidates":[{`, tailKey("finishReason")}, {"{", tailKey("promptFeedback")}, {"{", tailKey("usageMetadata")},
	{"{", tailKey("modelVersion")}, {"{", tailKey("responseId")}, {"{", tailKey("error")},
}

type geminiTail struct {
	opening string
	key     *regexp.Regexp
}

// largeGemini is largeMembers for Gemini's protocol.
func largeGemini(head, tail []byte) *geminiMembers {
	members := &geminiMembers{}
	data := eventData(append([]byte{'\n'}, head...))
	closed, _ := closeHead(bytes.TrimLeft(data, "[, \t\r\n"))
	_ = unmarshalGemini(closed, members)
	tail = bytes.TrimRight(linesAfterData.ReplaceAll(tail, nil), " \t\r\n")
	for i := range geminiTails {
		t := &geminiTails[i]
		matches := t.key.FindAllIndex(tail, -1)
		for tries := 0; tries < maxTailMatches && len(matches) > 0; tries++ {
			text := append([]byte(t.opening), tail[matches[len(matches)-1][0]+1:]...)
			matches = matches[:len(matches)-1]
			if json.Valid(text) {
				_ = unmarshalGemini(text, members)
				break
			}
		}
	}
	return members
}
