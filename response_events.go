package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
	"sort"
)

// mark is what the text of an event has if it may be worth reading. Most events of a stream only
// have a piece of content, and are not read. In a JSON string the quotes of a mark would be escaped,
// so that no text of a client or a model can look like one; where it is in the event decides what
// it means. Counting takes a fraction of the time of a regular expression, which is therefore only
// used if some of the names in a window are not followed by null.
type mark struct {
	name   []byte
	null   []byte // the name with null
	spaced []byte // the same with a space, as other providers write it
	value  *regexp.Regexp
}

// between matches what may be between a name, its colon and its value: data may continue in a line of
// its own.
const between = `(?:[ \t\n]|\ndata:)*`

// modelMark is that of a model with a name.
var modelMark = regexp.MustCompile(`"model"` + between + ":" + between + `"[^"]`)

// marks are those of a usage, an error and a finish reason.
var marks = []mark{
	{[]byte(`"usage"`), []byte(`"usage":null`), []byte(`"usage": null`), regexp.MustCompile(`"usage"` + between + ":" + between + `\{`)},
	{[]byte(`"error"`), []byte(`"error":null`), []byte(`"error": null`), regexp.MustCompile(`"error"` + between + `(?:[,}\]]|:` + between + `(?:[^nf0"{\[ \t\n]|"[^"]|\{[ \t\n]*[^} \t\n]|\[[ \t\n]*[^\] \t\n]))`)},
	{[]byte(`_reason"`), []byte(`_reason":null`), []byte(`_reason": null`), regexp.MustCompile(`_reason"` + between + ":" + between + `"[^"]`)},
}

// usageMark is the index of that of a usage.
const usageMark = 0

// The types of events, in their data and in a line of its own. lastEventParts are parts of the types of
// all last events: if a window has none of them, its types are not searched.
var (
	typeKey        = []byte(`"type"`)
	eventLine      = []byte("\ne")
	lastEventParts = [][]byte{[]byte(".complete"), []byte(".incomplete"), []byte(".done"), []byte("_stop"), []byte("-end"), []byte(".failed"), []byte(".cancelled"), []byte("error")}
	lastEventMarks = []*regexp.Regexp{
		regexp.MustCompile(`"type"` + between + ":" + between + `"` + lastEventTypes + `"`),
		regexp.MustCompile("\ne(?:rror:|vent:[ \t]*" + lastEventTypes + "[ \t]*\n)"),
	}
)

// eventName matches the line with the name of an event, for events whose data does not repeat it.
// Versions of llama.cpp send an error in a line of its own kind.
var eventName = regexp.MustCompile("\n(?:event:[ \t]*([^\n]*?)[ \t]*\n|(error):)")

// dataLines matches the lines of an event that have data.
var dataLines = regexp.MustCompile("\ndata:[^\n]*")

// maxEventsRead bounds the events of one kind that are read of a window. That of a stream with an
// event in every packet has windowChunks.
const maxEventsRead = 2 * windowChunks

// eventWindow is a window of complete events, each after a line feed. It remembers what it has
// decoded last, since an event can be worth reading for several reasons.
type eventWindow struct {
	reader  *responseReader
	text    []byte
	start   int // of the event that has been decoded; -1: none
	end     int
	members *responseMembers // nil: the event has no JSON object
}

// readEvents reads the events of a window that are worth it: the first with a model, the last with
// a usage, and those with an error, a finish reason or the type of a last event. Of each kind, it
// reads at most maxEventsRead, the last ones, but the first ones with a model.
func readEvents(reader *responseReader, window []byte) {
	w := &eventWindow{reader: reader, text: window, start: -1}
	if reader.record.Model == "" && !reader.closed {
		readFirstEvents(reader, w)
	}
	var starts []int
	for i := range marks {
		m := &marks[i]
		count := bytes.Count(window, m.name)
		if count > 0 {
			count -= bytes.Count(window, m.null) + bytes.Count(window, m.spaced)
		}
		switch {
		case count == 0:
		case i == usageMark && count > 1:
			starts = usageStarts(w, m.value)
		default:
			starts = append(starts, markedStarts(w, m.value)...)
		}
	}
	if bytes.Contains(window, typeKey) || bytes.Contains(window, eventLine) {
		starts = append(starts, lastEventStarts(w)...)
	}
	if starts != nil {
		recordEvents(reader, w, starts)
	}
}

// recordEvents reads the events that start at these offsets, each once and in order.
func recordEvents(reader *responseReader, w *eventWindow, starts []int) {
	sort.Ints(starts)
	for i, start := range starts {
		if i > 0 && start == starts[i-1] {
			continue
		}
		if members := decodeEvent(w, start); members != nil {
			recordMembers(reader, eventProtocolOf(members.Type), members)
		}
	}
}

// readFirstEvents reads the first events with a model until one names it at its place. It may not be
// the first one: that of Azure's is empty. Of a large event, such as the first one of the Responses API,
// which repeats all tools after the model, the head is tried first.
func readFirstEvents(reader *responseReader, w *eventWindow) {
	at := 0
	for tries := 0; tries < maxEventsRead && reader.record.Model == ""; tries++ {
		match := modelMark.FindIndex(w.text[at:])
		if match == nil {
			return
		}
		start := eventStart(w.text, at+match[0])
		if end := at + match[1] + modelMaxBytes; end-start > smallResponseMaxBytes && end < len(w.text) {
			head := largeEventMembers(reader, w.text[start:end], nil)
			recordIdentity(reader, eventProtocolOf(head.Type), head)
		}
		if reader.record.Model != "" {
			return
		}
		if members := decodeEvent(w, start); members != nil {
			recordIdentity(reader, eventProtocolOf(members.Type), members)
		}
		at = w.end
	}
}

// usageStart is the usual spelling of the mark of a usage.
var usageStart = []byte(`"usage":{`)

// usageStarts returns where the events with the usage of a window start: the last one, and, as long
// as they do not have it all, those before it.
func usageStarts(w *eventWindow, mark *regexp.Regexp) []int {
	last := bytes.LastIndex(w.text, usageStart)
	if last >= 0 && !mark.Match(w.text[last+1:]) {
		start := eventStart(w.text, last)
		if hasWholeUsage(decodeEvent(w, start)) {
			return []int{start}
		}
	}
	matches := mark.FindAllIndex(w.text, -1)
	var starts []int
	for len(matches) > 0 && len(starts) < maxEventsRead {
		start := eventStart(w.text, matches[len(matches)-1][0])
		starts = append(starts, start)
		if hasWholeUsage(decodeEvent(w, start)) {
			break
		}
		matches = matchesBefore(matches, start)
	}
	return starts
}

// lastEventStarts returns where the events with the type of a last event start.
func lastEventStarts(w *eventWindow) []int {
	for _, part := range lastEventParts {
		if bytes.Contains(w.text, part) {
			return append(markedStarts(w, lastEventMarks[0]), markedStarts(w, lastEventMarks[1])...)
		}
	}
	return nil
}

// markedStarts returns where the last events with a mark start, each once.
func markedStarts(w *eventWindow, mark *regexp.Regexp) []int {
	matches := mark.FindAllIndex(w.text, -1)
	var starts []int
	for len(matches) > 0 && len(starts) < maxEventsRead {
		start := eventStart(w.text, matches[len(matches)-1][0])
		starts = append(starts, start)
		matches = matchesBefore(matches, start)
	}
	return starts
}

// matchesBefore returns the matches before an offset. An event may have thousands after it.
func matchesBefore(matches [][]int, offset int) [][]int {
	return matches[:sort.Search(len(matches), func(i int) bool { return matches[i][0] >= offset })]
}

// eventStart returns where the event at an offset starts: at the line feed before its first line.
func eventStart(window []byte, at int) int {
	return bytes.LastIndex(window[:at+1], blankLine) + 1
}

// decodeEvent decodes the event that starts at an offset; nil: it has no JSON object.
func decodeEvent(w *eventWindow, start int) *responseMembers {
	if w.start != start {
		w.start = start
		w.end = len(w.text)
		if length := bytes.Index(w.text[start+1:], blankLine); length >= 0 {
			w.end = start + 1 + length + 1
		}
		w.members = eventMembers(w.reader, w.text[start:w.end])
	}
	return w.members
}

// eventMembers returns what is read of an event; nil: nothing.
func eventMembers(reader *responseReader, event []byte) *responseMembers {
	if len(event) > wholeMaxBytes {
		return largeEventMembers(reader, event[:edgeMaxBytes], event[len(event)-edgeMaxBytes:])
	}
	members := &responseMembers{}
	isObject := unmarshalMembers(eventData(event), members)
	if members.Type == "" && bytes.Contains(event, eventLine) {
		members.Type = eventType(event)
	}
	if isObject {
		return members
	}
	if members.Type == errorValue {
		return &responseMembers{Object: errorValue} // its data may be plain text, or incomplete
	}
	return nil
}

// eventType returns the type of an event that its data does not name; "": there is none.
func eventType(event []byte) string {
	match := eventName.FindSubmatch(event)
	if match == nil {
		return ""
	}
	return string(match[1]) + string(match[2])
}

// eventData returns the data of an event, which usually is in one line. An event without such a line is
// data itself: some providers send an error as JSON without any field.
func eventData(event []byte) []byte {
	at := bytes.Index(event, dataLine)
	if at < 0 {
		return bytes.TrimPrefix(bytes.TrimSpace(event), dataAfterMark)
	}
	data := event[at+len(dataLine):]
	end := bytes.IndexByte(data, '\n')
	if end < 0 || end == len(data)-1 {
		return data
	}
	if !bytes.Contains(data, dataLine) {
		return data[:end]
	}
	return bytes.ReplaceAll(bytes.Join(dataLines.FindAll(event, -1), nil), dataLine, lineFeed)
}

// hasWholeUsage reports whether a chat completion event has a usage that needs none before it.
func hasWholeUsage(members *responseMembers) bool {
	if members == nil || members.Type != "" || len(members.Usage) == 0 {
		return false
	}
	usage := &usageMembers{}
	_ = json.Unmarshal(members.Usage, usage)
	return tokenCount(usage.PromptTokens) > 0 && tokenCount(usage.CompletionTokens) > 0
}
