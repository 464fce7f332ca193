package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode/utf8"
)

// eventShape is what the events of one text have in common: all but the piece of the text, and numbers and
// noise that mean nothing to the client. It has been inspected, so that only the piece has to be.
type eventShape struct {
	before  []byte         // what precedes what differs
	after   []byte         // what follows it
	between []byte         // after and before
	differs *regexp.Regexp // what differs, with a group for the piece; nil: it is the piece
	channel *textChannel
	name    string // of the member that is the piece
}

// maxShapes bounds the shapes that are known at a time: the latest ones of a stream.
const maxShapes = 4

// maxShapeBytes bounds the size of an event with a shape.
const maxShapeBytes = 2 << 10

// variedParts matches the parts of an event that differ from event to event, beside the piece: numbers of
// the events, counts of tokens, and characters that hide the length of the piece. They are too short for most
// of what rules match.
var variedParts = regexp.MustCompile(`("(?:sequence_number|created|created_at|[a-zA-Z]*TokenCount|tokenCount|[a-z]+_tokens)": ?)[0-9]{1,12}|("` + noiseName + `": ?")[A-Za-z0-9_-]{0,16}"`)

// noiseName is the member that hides the length of a piece: it is no text.
const noiseName = "obfuscation"

// addShape remembers the shape of an event that has one piece of a text and nothing else to decide on.
func addShape(g *responseGuard, event *heldEvent, piece *guardedString, ch *textChannel) {
	raw := event.raw
	if g.stream.array || piece.name == noiseName || event.edits != nil || event.nulls != nil || len(raw) > maxShapeBytes || !bytes.HasSuffix(raw, blankLine) || bytes.IndexByte(raw, '\r') >= 0 {
		return
	}
	s := newShape(raw, piece.from, piece.to)
	s.channel = ch
	s.name = piece.name
	shapes := []*eventShape{s}
	for _, known := range g.stream.shapes {
		if len(shapes) < maxShapes {
			shapes = append(shapes, known)
		}
	}
	g.stream.shapes = shapes
	g.stream.known = s
}

// newShape returns the shape of an event with a piece between two offsets.
func newShape(raw []byte, from, to int) *eventShape {
	start, end := from, to
	var pattern strings.Builder
	isPlaced := false
	for _, place := range variedParts.FindAllSubmatchIndex(raw, -1) {
		varied := "[0-9]{1,12}"
		first, last := place[3], place[1]
		if place[4] >= 0 {
			varied = "[A-Za-z0-9_-]{0,16}"
			first = place[5]
			last--
		}
		if !isPlaced && first > from { // the piece comes before it
			if pattern.Len() > 0 {
				pattern.WriteString(regexp.QuoteMeta(string(raw[end:from])))
			}
			pattern.WriteString(pieceGroup)
			isPlaced = true
			end = to
		}
		if pattern.Len() == 0 {
			start = first
		} else {
			pattern.WriteString(regexp.QuoteMeta(string(raw[end:first])))
		}
		pattern.WriteString(varied)
		end = last
	}
	if !isPlaced && pattern.Len() > 0 {
		pattern.WriteString(regexp.QuoteMeta(string(raw[end:from])) + pieceGroup)
		end = to
	}
	s := &eventShape{before: raw[:start], after: raw[end:]}
	s.between = append(append([]byte(nil), s.after...), s.before...)
	if pattern.Len() > 0 {
		s.differs, _ = regexp.Compile(`\A` + pattern.String() + `\z`)
	}
	return s
}

// pieceGroup matches the piece of a text, as JSON has it.
const pieceGroup = `((?:[^"\\]|\\.)*)`

// pieceIn returns where an event of a shape has its piece; below 0: it has another shape.
func pieceIn(s *eventShape, event []byte) (int, int) {
	first, last := len(s.before), len(event)-len(s.after)
	if last < first || !bytes.HasPrefix(event, s.before) || !bytes.HasSuffix(event, s.after) {
		return -1, -1
	}
	if s.differs == nil {
		return first, last
	}
	place := s.differs.FindSubmatchIndex(event[first:last])
	if place == nil {
		return -1, -1
	}
	return first + place[2], first + place[3]
}

// specialCharacters end a JSON string, begin an escape in it, or end a line.
const specialCharacters = "\"\\\r\n"

// unusualMarks are what ends that a text is plain: where a match may begin, and what JSON does not have as it is.
const unusualMarks = openMark + mayMark + specialCharacters

// guardSteady inspects an event that continues the one text that the stream goes on with, and reports whether no
// rule that is enforced matches so far: then it is passed, or waits since a match may begin at its end. Every
// event passes through here. It is one function, since interpreted calls are expensive; what is rare is in others.
func guardSteady(g *responseGuard, chunk []byte) bool {
	st := g.stream
	s := st.steady
	inner, isShaped := bytes.CutPrefix(chunk, s.before)
	if isShaped {
		inner, isShaped = bytes.CutSuffix(inner, s.after)
	}
	if !isShaped || len(st.waiting)+len(chunk) > g.rules.maxHold {
		return false
	}
	text := string(inner)
	if s.differs != nil {
		found := s.differs.FindStringSubmatch(text)
		if found == nil {
			return false
		}
		text = found[1]
	}
	if st.marks == nil {
		return guardSteadyText(g, chunk, text)
	}
	tail := &s.channel.enforced
	all := tail.text + text
	marked := st.marks.Replace(digitReplacer.Replace(tail.before[len(tail.before)-1:]+all) + endOfText) // as plainEnd
	end := strings.IndexAny(marked, unusualMarks)
	switch {
	case end < 0:
		st.passed = append(append(st.passed, st.waiting...), chunk...)
		st.waiting = nil
		end = len(all)
	case marked[end] == openMark[0] && end > len(tail.text):
		st.passed = append(st.passed, st.waiting...)
		st.waiting = append([]byte(nil), chunk...)
		end-- // the character before all
	default:
		return guardSteadyText(g, chunk, text)
	}
	if len(tail.before) > maxSteadyBytes {
		moveTail(tail, all, end, g.rules.overlap)
		return true
	}
	tail.before += all[:end]
	tail.text = all[end:]
	return true
}

// maxSteadyBytes is how much of a steady text is kept, about: to shorten it at each event would take more steps.
const maxSteadyBytes = 4 << 10

// guardSteadyText is guardSteady for whole events, however many, and for any text between the beginning of the
// first piece and the end of the last one.
func guardSteadyText(g *responseGuard, chunk []byte, text string) bool {
	s := g.stream.steady
	lastBytes := 0
	if strings.ContainsAny(text, specialCharacters) {
		if text, lastBytes = joinedPieces(s, text); lastBytes < 0 {
			return false
		}
	}
	if g.rules.enforced == nil {
		g.stream.passed = append(g.stream.passed, chunk...)
	} else if !continueText(g, chunk, text, lastBytes) {
		return false
	}
	if g.rules.reported != nil {
		s.channel.reported.text += text
		reportChannel(g, s.channel, false)
	}
	return true
}

// joinedPieces returns the text of what is between the beginning of the first piece and the end of the last
// one, and the length of the last one; 0: there is one; below 0: it takes more to find out.
func joinedPieces(s *eventShape, text string) (string, int) {
	if strings.IndexByte(text, '\\') >= 0 {
		decoded := ""
		if !utf8.ValidString(text) || json.Unmarshal([]byte(`"`+text+`"`), &decoded) != nil || strings.IndexByte(decoded, '\\') >= 0 {
			return "", -1
		}
		return decoded, 0
	}
	pieces := strings.Split(text, string(s.between))
	text = strings.Join(pieces, "")
	if strings.ContainsAny(text, specialCharacters) {
		return "", -1
	}
	lastBytes := len(pieces[len(pieces)-1]) // Yaegi panics if the call of len is returned beside a parameter
	return text, lastBytes
}

// continueText passes events whose pieces are a text, if nothing matches and no match begins in it, or has
// them wait, and reports whether it could. lastBytes is the length of the last piece of several; 0: there is
// one.
func continueText(g *responseGuard, chunk []byte, text string, lastBytes int) bool {
	st, rules := g.stream, g.rules
	tail := &st.steady.channel.enforced
	all := tail.text + text
	if end := plainEnd(rules.enforced.patterns, tail.before, all); end < len(all) || tail.hasEscape {
		return holdText(g, chunk, all, end, lastBytes)
	}
	st.passed = append(append(st.passed, st.waiting...), chunk...)
	st.waiting = nil
	moveTail(tail, all, len(all), rules.overlap)
	return true
}

// holdText is continueText for a text of which nothing is certain from end on: the last event waits, or all.
func holdText(g *responseGuard, chunk []byte, all string, end, lastBytes int) bool {
	st, rules := g.stream, g.rules
	tail := &st.steady.channel.enforced
	last, lastText := 0, len(tail.text) // where the last event begins, and its piece
	if lastBytes > 0 {
		last = len(chunk) - lastBytes - len(st.steady.between)
		lastText = len(all) - lastBytes
	}
	switch {
	case end < 0 || tail.hasEscape || len(all)-end > rules.window:
		return false
	case end >= lastText:
		st.passed = append(append(st.passed, st.waiting...), chunk[:last]...)
		st.waiting = append([]byte(nil), chunk[last:]...)
	case end == 0:
		st.waiting = append(st.waiting, chunk...)
	default:
		return false
	}
	moveTail(tail, all, end, rules.overlap)
	return true
}

// findSteady looks whether the stream goes on with one text, of which at most the last event waits.
func findSteady(g *responseGuard) {
	st := g.stream
	s := st.known
	if s == nil || isFollowed(st, s.channel) || strings.IndexByte(s.channel.enforced.text, '\\') >= 0 {
		return // what is open may end in a part of an escape
	}
	if len(st.queue) == 0 {
		beginSteady(g, s)
		return
	}
	event, pieces := st.queue[0], s.channel.pieces
	if len(st.queue) > 1 || len(pieces) != 1 || pieces[0].event != event || event.open != 1 || event.edits != nil || event.nulls != nil || event.plain != nil {
		return
	}
	if from, _ := pieceIn(s, event.raw); from < 0 {
		return
	}
	beginSteady(g, s)
	st.waiting = event.raw
	st.queue = nil
	st.held = 0
	s.channel.pieces = nil
}

// beginSteady notes that the stream goes on with one text, and whether the beginnings of matches are all that its
// events have to be searched for.
func beginSteady(g *responseGuard, s *eventShape) {
	st, tail := g.stream, &s.channel.enforced
	st.steady = s
	st.marks = nil
	if rules := g.rules.enforced; rules != nil && g.rules.reported == nil && tail.before != "" && !tail.hasEscape {
		if p := rules.patterns; p.anywhere == nil && p.addresses == nil {
			st.marks = p.beginnings
		}
	}
}

// queueWaiting ends that the stream goes on with one text: what waits gets its place in the queue.
func queueWaiting(g *responseGuard) {
	st := g.stream
	s, waiting := st.steady, st.waiting
	st.steady = nil
	st.waiting = nil
	if s != nil {
		tail := &s.channel.enforced
		moveTail(tail, tail.text, 0, g.rules.overlap)
	}
	if waiting == nil {
		return
	}
	ch, length := s.channel, 0
	for len(waiting) > 0 {
		event := &heldEvent{raw: waiting[:completeEvent(waiting)], open: 1}
		waiting = waiting[len(event.raw):]
		from, to := pieceIn(s, event.raw)
		decoded := decodeEscapes(string(event.raw[from:to]))
		value := guardedString{text: decoded.text, as: decoded, name: s.name, from: from, to: to}
		ch.pieces = append(ch.pieces, &textPiece{event: event, value: value, at: length})
		length += len(decoded.text)
		st.queue = append(st.queue, event)
		st.held += len(event.raw)
	}
	for _, piece := range ch.pieces {
		piece.at += len(ch.enforced.text) - length
	}
}

// guardKnownEvent inspects an event that has a known shape, and reports whether it has one, and whether the
// stream continues.
func guardKnownEvent(g *responseGuard, raw []byte) (isKnown, goesOn bool) {
	st := g.stream
	for _, s := range st.shapes {
		from, to := pieceIn(s, raw)
		if from < 0 {
			continue
		}
		if isFollowed(st, s.channel) {
			return false, true
		}
		return guardPiece(g, s, raw, from, to)
	}
	return false, true
}

// guardPiece inspects an event of which nothing but a piece of a text is new.
func guardPiece(g *responseGuard, s *eventShape, raw []byte, from, to int) (isKnown, goesOn bool) {
	text := string(raw[from:to])
	if text == "" || (s.differs == nil && isCutByQuote(text)) {
		return false, true
	}
	st := g.stream
	st.known = s
	event := &heldEvent{raw: raw}
	st.queue = append(st.queue, event)
	st.held += len(raw)
	decoded := decodeEscapes(text)
	addPiece(g, s.channel, event, &guardedString{text: decoded.text, as: decoded, name: s.name, from: from, to: to})
	return true, decideChannel(g, s.channel, false)
}

// quoteInText matches what ends a string of JSON, or cannot be in one.
var quoteInText = regexp.MustCompile(`\A(?:[^"\\\n]|\\.)*["\n]`)

// isCutByQuote reports whether a text is more than the inside of a JSON string.
func isCutByQuote(text string) bool {
	return quoteInText.MatchString(text)
}
