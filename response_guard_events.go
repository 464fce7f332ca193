package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// guardedStream is what a guard holds of a stream.
type guardedStream struct {
	array    bool         // the stream is a JSON array, and its elements are the events
	element  elementScan  // of the array, after those that are complete
	queue    []*heldEvent // in the order in which they have arrived
	held     int          // bytes of these
	channels []*textChannel
	byKey    map[string]*textChannel
	latest   map[string][]*textChannel // by group: those that had pieces in the latest event with some
	ending   []*textChannel            // said to have ended: they have, if another text follows
	shapes   []*eventShape
	known    *eventShape       // of the latest event; nil: it has none
	steady   *eventShape       // of the events of the one text that the stream goes on with; nil: events are inspected one by one
	marks    *strings.Replacer // marks where matches of all rules may begin in that text; nil: it takes more to find out
	waiting  []byte            // events with that shape that wait, instead of the queue
	passed   []byte            // events that have been decided on, before those that wait
}

func newGuardedStream(array bool) *guardedStream {
	return &guardedStream{array: array, byKey: map[string]*textChannel{}, latest: map[string][]*textChannel{}}
}

// maxGuardChannels bounds the texts that a stream may have.
const maxGuardChannels = 1000

// Lines of an event that have data, and those of providers that send an error in a line of its own kind.
var (
	dataField  = regexp.MustCompile(`(?:^\x{feff}?|[\r\n])data:[ ]?([^\r\n]*)`)
	errorField = regexp.MustCompile(`(?:^\x{feff}?|[\r\n])error:[ ]?([^\r\n]*)`)
)

// guardEvents takes a chunk of a stream, and sends what has been decided on.
func guardEvents(g *responseGuard, chunk []byte) {
	events := chunk
	if len(g.buffer) > 0 {
		seen := len(g.buffer) - 3 // it may end in the middle of the event's end
		if seen < 0 {
			seen = 0
		}
		g.buffer = append(g.buffer, chunk...)
		if lastEventEnd(g.buffer[seen:]) == 0 {
			if !boundHeld(g, 0) {
				sendRest(g, nil)
			}
			return
		}
		events = g.buffer
		g.buffer = nil
	}
	for len(events) > 0 {
		length := completeEvent(events)
		if length == 0 {
			g.buffer = append([]byte(nil), events...)
			break
		}
		if (g.stream.steady == nil || !guardSteady(g, events[:length])) && !guardNext(g, append([]byte(nil), events[:length]...)) {
			sendRest(g, events[length:])
			return
		}
		events = events[length:]
	}
	if boundHeld(g, 0) {
		sendPassed(g)
	}
	sendRest(g, nil)
}

// guardNext inspects the next event, and reports whether the stream continues.
func guardNext(g *responseGuard, raw []byte) bool {
	queueWaiting(g)
	g.stream.known = nil
	if !boundHeld(g, len(raw)) {
		return false
	}
	isKnown, goesOn := guardKnownEvent(g, raw)
	if !isKnown {
		goesOn = guardEvent(g, raw)
	}
	if goesOn {
		passDecided(g.stream)
		findSteady(g)
	}
	return goesOn
}

// completeEvent returns the length of the event that a text begins with; 0: it is not complete.
func completeEvent(text []byte) int {
	end := bytes.Index(text, blankLine)
	if end >= 0 && bytes.IndexByte(text[:end], '\r') < 0 {
		return end + len(blankLine)
	}
	if lastEventEnd(text) == 0 {
		return 0
	}
	return firstEventEnd(text)
}

// boundHeld reports whether what is held of a stream is no more than may be, with the event that follows, of which
// nextBytes have arrived beside those in the buffer: however it arrives, the result is the same.
func boundHeld(g *responseGuard, nextBytes int) bool {
	st := g.stream
	held := st.held + len(st.waiting)
	if (held > 0 && held+len(g.buffer)+nextBytes > g.rules.maxHold) || len(g.buffer) > maxGuardedBytes {
		return blockUninspected(g)
	}
	return true
}

// guardEvent inspects an event, and reports whether the stream continues.
func guardEvent(g *responseGuard, raw []byte) bool {
	event := &heldEvent{raw: raw}
	g.stream.queue = append(g.stream.queue, event)
	g.stream.held += len(raw)
	data, start, others := splitEvent(event)
	trimmed := bytes.TrimSpace(data)
	switch {
	case len(trimmed) == 0:
		return guardLines(g, others)
	case bytes.Equal(trimmed, doneMark):
		return guardLines(g, others) && endChannels(g)
	case !json.Valid(trimmed) && trimmed[0] == '{':
		return blockUninspected(g)
	case !json.Valid(trimmed):
		return guardLines(g, others) && guardPlainData(g, event, data, start)
	}
	return guardJSON(g, event, data, start, others)
}

// splitEvent returns the data of an event, where it begins, and the text of the other lines.
func splitEvent(event *heldEvent) (data []byte, start int, others string) {
	raw := event.raw
	if !utf8.Valid(raw) {
		raw = []byte(string([]rune(string(raw)))) // as clients decode it
		event.plain = raw
	}
	fields := dataField.FindAllSubmatchIndex(raw, -1)
	if fields == nil {
		fields = errorField.FindAllSubmatchIndex(raw, -1)
	}
	if fields == nil {
		if at := bytes.IndexAny(raw, "{["); at >= 0 && len(bytes.TrimLeft(raw[:at], " \t\r\n\ufeff")) == 0 {
			return raw[at:], at, ""
		}
		return nil, 0, string(raw)
	}
	first := fields[0]
	if len(fields) == 1 {
		return raw[first[2]:first[3]], first[2], string(raw[:first[0]]) + "\n" + string(raw[first[3]:])
	}
	return joinFields(event, raw, fields)
}

// joinFields is splitEvent for an event with data in several lines, which are one line if it is edited.
func joinFields(event *heldEvent, raw []byte, fields [][]int) ([]byte, int, string) {
	var lines [][]byte
	other := append([]byte(nil), raw[:fields[0][0]]...)
	for i, field := range fields {
		lines = append(lines, raw[field[2]:field[3]])
		next := len(raw)
		if i+1 < len(fields) {
			next = fields[i+1][0]
		}
		other = append(other, raw[field[3]:next]...)
	}
	data := bytes.Join(lines, []byte("\n"))
	before := bytes.TrimRight(other, "\r\n")
	if len(before) > 0 {
		before = append(before, '\n')
	}
	before = append(before, "data: "...)
	start := len(before)
	event.plain = append(append(before, bytes.ReplaceAll(data, lineFeed, space)...), "\n\n"...)
	return data, start, string(other)
}

// guardLines inspects what no client takes for a text. It cannot be masked.
func guardLines(g *responseGuard, text string) bool {
	if strings.Trim(text, " \r\n") == "" || !matchesAny(g.rules.all, text) {
		return true
	}
	matches, complete := findMatches(g.rules.all, text, "")
	if !complete {
		return blockUninspected(g)
	}
	for _, m := range matches {
		if isEnforced(g, m.rule) {
			return blockMatch(g, m.rule)
		}
		noteMatch(g, m.rule)
	}
	return true
}

// guardPlainData inspects data that is not JSON: it is a piece of one text.
func guardPlainData(g *responseGuard, event *heldEvent, data []byte, start int) bool {
	text := string(data)
	value := &guardedString{text: text, as: &unescapedText{text: text}, from: start, to: start + len(data)}
	ch := channelOf(g, &textChannel{key: "data"})
	if ch == nil {
		return blockUninspected(g)
	}
	addPiece(g, ch, event, value)
	return decideChannel(g, ch, false)
}

// guardJSON inspects the data of an event: its pieces of texts in their channels, and other strings as they
// are. start is where the data begins in the event.
func guardJSON(g *responseGuard, event *heldEvent, data []byte, start int, others string) bool {
	found := findStrings(data)
	if found == nil {
		return blockUninspected(g)
	}
	event.nulls = nullEdits(data, found.nulls)
	shiftEdits(event.nulls, start)
	eventType := stringMember(found, 1, "type")
	var pieces, apart []*guardedString // apart: from what is inspected as a whole
	hasDelta := hasNode(found, "delta")
	for i := range found.strings {
		s := &found.strings[i]
		s.from += start
		s.to += start
		switch isMessage := strings.HasPrefix(found.nodes[s.node].path, "/choices/message"); {
		case hasDelta && isMessage:
			event.repeats = append(event.repeats, s)
		case isMessage: // it may be all of the text so far
			pieces = append(pieces, s)
		case !notPieces[s.name] && isPiece(found, s, eventType):
			pieces = append(pieces, s)
			apart = append(apart, s)
		}
	}
	if len(pieces) > maxInspectedStrings {
		return blockUninspected(g)
	}
	if !guardLines(g, others) || !guardWhole(g, event, data, start, apart) {
		return false
	}
	channels := channelsOf(g, found, pieces, eventType)
	if channels == nil {
		return blockUninspected(g)
	}
	if !settleBefore(g, channels, pieces) {
		return false
	}
	for i, s := range pieces {
		if s.text == "" {
			continue
		}
		addPiece(g, channels[i], event, s)
		if !decideChannel(g, channels[i], false) {
			return false
		}
	}
	if !endText(g, found, eventType) {
		return false
	}
	if len(pieces) == 1 && event.plain == nil && event.repeats == nil {
		addShape(g, event, pieces[0], channels[0])
	}
	return true
}

// hasNode reports whether a JSON text has an object or an array with a name.
func hasNode(found *jsonStrings, name string) bool {
	for i := range found.nodes {
		if found.nodes[i].name == name {
			return true
		}
	}
	return false
}

// channelsOf returns the channels of pieces; nil: there would be too many, or a member has two values, of
// which clients take one or the other.
func channelsOf(g *responseGuard, found *jsonStrings, pieces []*guardedString, eventType string) []*textChannel {
	channels := []*textChannel{}
	has := map[string]bool{}
	for _, s := range pieces {
		member := strconv.Itoa(s.node) + "/" + s.name
		if has[member] && !found.nodes[s.node].isArray {
			return nil
		}
		has[member] = true
		place := channelPlace(found, s, eventType)
		ch := channelOf(g, place)
		if ch == nil {
			return nil
		}
		ch.block = place.block
		channels = append(channels, ch)
	}
	return channels
}

// shiftEdits moves edits of the data of an event to where it begins in the event.
func shiftEdits(edits []guardEdit, start int) {
	for i := range edits {
		edits[i].from += start
		edits[i].to += start
	}
}

// guardWhole inspects the texts of an event that are no pieces: those are cut out of it. start is where the
// data begins in the event.
func guardWhole(g *responseGuard, event *heldEvent, data []byte, start int, pieces []*guardedString) bool {
	data = withoutPieces(data, start, pieces)
	if !mayHoldMatch(g.rules.all, data) {
		return true
	}
	edits, goesOn := applyFindings(g, inspectJSON(g.rules.all, data, false))
	if !goesOn {
		return false
	}
	shiftEdits(edits, start)
	placeEdits(edits, pieces)
	event.edits = append(event.edits, edits...)
	return true
}

// withoutPieces returns the data of an event in which pieces are empty strings.
func withoutPieces(data []byte, start int, pieces []*guardedString) []byte {
	if len(pieces) == 0 {
		return data
	}
	kept := make([][]byte, 0, len(pieces)+1)
	at := 0
	for _, s := range pieces {
		kept = append(kept, data[at:s.from-start])
		at = s.to - start
	}
	return bytes.Join(append(kept, data[at:]), nil)
}

// placeEdits moves edits of an event without pieces to where they are in the event. Both are in order.
func placeEdits(edits []guardEdit, pieces []*guardedString) {
	cut, next := 0, 0
	for i := range edits {
		for next < len(pieces) && pieces[next].from < edits[i].from+cut {
			cut += pieces[next].to - pieces[next].from
			next++
		}
		edits[i].from += cut
		edits[i].to += cut
	}
}

// passDecided passes the events of the queue up to the first one that has not been decided on.
func passDecided(st *guardedStream) {
	count := 0
	for _, event := range st.queue {
		if event.open > 0 {
			break
		}
		st.passed = append(st.passed, textOfEvent(event)...)
		st.held -= len(event.raw)
		count++
	}
	if count > 0 {
		st.queue = append([]*heldEvent(nil), st.queue[count:]...)
	}
}

// sendPassed sends the events that have been decided on.
func sendPassed(g *responseGuard) {
	passed := g.stream.passed
	g.stream.passed = nil
	if len(passed) > 0 {
		sendInspected(g, passed)
	}
}

// textOfEvent returns an event as it is sent.
func textOfEvent(event *heldEvent) []byte {
	if event.edits == nil {
		return event.raw
	}
	text := event.raw
	if event.plain != nil {
		text = event.plain
	}
	edits := append(append([]guardEdit(nil), event.edits...), event.nulls...)
	sort.SliceStable(edits, func(i, j int) bool { return edits[i].from < edits[j].from })
	return applyGuardEdits(text, edits)
}

// notPieces are strings beside the pieces of texts that are no pieces.
var notPieces = map[string]bool{
	"role": true, "type": true, "id": true, "object": true, "status": true, "model": true, "finish_reason": true, "native_finish_reason": true,
	"stop_reason": true, "stop_sequence": true, "signature": true, "encrypted_content": true, "data": true, "format": true,
}

// isPiece reports whether a string of an event that is none of notPieces is a piece of a text.
func isPiece(found *jsonStrings, s *guardedString, eventType string) bool {
	if s.name == "delta" && s.node == 1 {
		return !strings.Contains(eventType, "audio") || strings.Contains(eventType, "transcript")
	}
	path := found.nodes[s.node].path
	switch {
	case strings.Contains(path, "/citation") || strings.Contains(path, "/annotations"):
		return false
	case strings.Contains(path+"/", "/delta/"):
		return true
	case path == "/content_block": // of Anthropic's: what a text begins with
		return s.name == "text" || s.name == "thinking"
	case path == "/message": // of Ollama's own protocol
		return s.name == "content" || s.name == "thinking"
	case path == "/content": // of a document of Anthropic's
		return s.name == "text" || s.name == "thinking"
	case path == "/output/content": // of a document of the Responses API
		return s.name == "text" || s.name == "refusal"
	case strings.HasPrefix(path, "/choices"):
		return s.name == "text" && path == "/choices"
	}
	return strings.HasPrefix(path, "/candidates/content/parts") && (s.name == "text" || s.name == "stringValue")
}

// textDeltas matches the types of events of the Responses API with pieces of what is one text for clients,
// however many items and parts it has.
var textDeltas = regexp.MustCompile(`(?:text|refusal|transcript)\.delta$`)

// channelPlace returns the channel, without texts, of a piece.
func channelPlace(found *jsonStrings, s *guardedString, eventType string) *textChannel {
	ch := &textChannel{key: "/" + s.name}
	node := s.node
	leaf := &found.nodes[node]
	isInList := leaf.parent > 0 && found.nodes[leaf.parent].isArray
	switch {
	case leaf.isArray:
		ch.key = "/" + strconv.Itoa(len(found.strings)) + ch.key
	case isInList && leaf.name == "content" && s.name == "text": // a part of what may be a string elsewhere
		ch.key = ""
		node = leaf.parent
	case s.name == "stringValue": // of arguments of Gemini's calls
		ch.key = "/" + stringMember(found, s.node, "jsonPath") + ch.key
	}
	isOneText := s.name != "partial_json" && (s.name != "delta" || textDeltas.MatchString(eventType))
	for node > 0 {
		n := &found.nodes[node]
		if n.parent <= 0 {
			ch.block = blockOf(n)
			if isOneText {
				break
			}
		}
		name := n.name
		if name == "content_block" {
			name = "delta" // the deltas continue it
		}
		ch.key = "/" + name + identityOf(found, n) + ch.key
		if (n.name == "choices" || n.name == "candidates") && !n.isArray {
			ch.group = n.name + identityOf(found, n)
		}
		node = n.parent
	}
	if s.name == "delta" {
		ch.key = eventType + ch.key
	}
	return ch
}

// stringMember returns the value of a member of an object that is a string; empty: it has none.
func stringMember(found *jsonStrings, node int, name string) string {
	for i := range found.strings {
		if s := &found.strings[i]; s.node == node && s.name == name {
			return s.text
		}
	}
	return ""
}

// identityOf says which of several an object is.
func identityOf(found *jsonStrings, n *jsonNode) string {
	switch {
	case n.isArray:
		return ""
	case n.name == "parts": // of Gemini's: they are one text, but for thoughts
		if strings.Contains(n.isSet, "/thought") {
			return "/thought"
		}
		return ""
	case n.index != "":
		return n.index
	case n.parent > 0 && found.nodes[n.parent].isArray && isNumbered[n.name]:
		return "/index" + strconv.Itoa(n.place)
	}
	return ""
}

// isNumbered are the lists of objects that have texts of their own, even if they have no numbers.
var isNumbered = map[string]bool{"choices": true, "candidates": true, "tool_calls": true}

// blockIndex matches the number of a block or item in what identifies it.
var blockIndex = regexp.MustCompile(`/(?:output_)?index[0-9]+`)

// blockOf returns the number of the block or item that an event is about; empty: it is about none.
func blockOf(n *jsonNode) string {
	return blockIndex.FindString(n.index)
}

// Types of events that end a block or an item, or everything.
var (
	blockEnds = regexp.MustCompile(`(?:\.done|_stop|-end)$`)
	textEnds  = regexp.MustCompile(`^error$|^message_stop$|^message-end$|^response\.(?:completed|incomplete|failed|cancelled|done)$`)
)

// endText ends the channels that an event says have ended. Those of a choice or a block may be continued, since
// providers say so of each piece: they have ended if another text follows.
func endText(g *responseGuard, found *jsonStrings, eventType string) bool {
	for i := range found.strings {
		s := &found.strings[i]
		if s.name == "finish_reason" && s.text != "" && found.nodes[s.node].name == "choices" {
			noteEnding(g, "choices"+identityOf(found, &found.nodes[s.node]), "")
		}
	}
	switch {
	case eventType == "":
	case textEnds.MatchString(eventType):
		return endChannels(g)
	case blockEnds.MatchString(eventType) && len(found.nodes) > 1:
		if block := blockOf(&found.nodes[1]); block != "" {
			noteEnding(g, "", block)
		}
	}
	return true
}

// channelOf returns the channel at a place; nil: there would be too many.
func channelOf(g *responseGuard, place *textChannel) *textChannel {
	st := g.stream
	if ch := st.byKey[place.key]; ch != nil {
		return ch
	}
	if len(st.channels) == maxGuardChannels {
		return nil
	}
	st.byKey[place.key] = place
	st.channels = append(st.channels, place)
	return place
}
