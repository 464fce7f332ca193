package chatcompletion

import (
	"bytes"
	"regexp"
	"strings"
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
// the events, counts of tokens, and characters that hide the length of the piece.
var variedParts = regexp.MustCompile(`("(?:sequence_number|created|created_at|[a-zA-Z]*TokenCount|tokenCount|[a-z]+_tokens)": ?)[0-9]+|("` + noiseName + `": ?")[A-Za-z0-9_-]*"`)

// noiseName is the member that hides the length of a piece: it is no text.
const noiseName = "obfuscation"

// addShape remembers the shape of an event that has one piece of a text and nothing else to decide on.
func addShape(g *responseGuard, event *heldEvent, piece *guardedString, ch *textChannel) {
	raw := event.raw
	if g.stream.array || event.edits != nil || len(raw) > maxShapeBytes || !bytes.HasSuffix(raw, blankLine) || bytes.IndexByte(raw, '\r') >= 0 {
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
}

// newShape returns the shape of an event with a piece between two offsets.
func newShape(raw []byte, from, to int) *eventShape {
	start, end := from, to
	var pattern strings.Builder
	isPlaced := false
	for _, place := range variedParts.FindAllSubmatchIndex(raw, -1) {
		varied := "[0-9]+"
		first, last := place[3], place[1]
		if place[4] >= 0 {
			varied = "[A-Za-z0-9_-]*"
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

// guardKnownEvents takes a chunk that consists of events of one known shape, and reports whether it does.
// However many they are, they are inspected at once, unless something may match.
func guardKnownEvents(g *responseGuard, chunk []byte) bool {
	st := g.stream
	if len(g.buffer) > 0 || len(st.shapes) == 0 || len(st.queue) > 0 {
		return false
	}
	s := st.shapes[0]
	if s.differs != nil || !bytes.HasPrefix(chunk, s.before) || !bytes.HasSuffix(chunk, s.after) || len(chunk) < len(s.between) {
		return false
	}
	ch := s.channel
	text := string(bytes.ReplaceAll(chunk[len(s.before):len(chunk)-len(s.after)], s.between, nil))
	if strings.ContainsAny(text, "\"\\\n\r") || (ch.group != "" && st.latest[ch.group] != ch) {
		return false
	}
	if !passesBoth(g, ch, text) {
		return false
	}
	sendInspected(g, chunk)
	return true
}

// passesBoth reports whether no rule may match in a text that a channel continues with, and moves on if so.
func passesBoth(g *responseGuard, ch *textChannel, text string) bool {
	rules := g.rules
	if rules.enforced != nil && !passes(rules.enforced, &ch.enforced, text) {
		return false
	}
	if rules.reported != nil && !passes(rules.reported, &ch.reported, text) {
		return false
	}
	if rules.enforced != nil {
		keepInView(&ch.enforced, text, rules.overlap)
	}
	if rules.reported != nil {
		keepInView(&ch.reported, text, rules.overlap)
	}
	return true
}

// passes reports whether no rule may match in a text without escapes that follows another one, and that
// no match begins in it.
func passes(rules *streamRules, tail *textTail, text string) bool {
	if tail.text != "" || tail.hasEscape {
		return false
	}
	p := rules.patterns
	start := len(tail.before)
	view := tail.before + text
	if start > 0 {
		start-- // what is required before a match concerns ASCII only
	}
	if p.heads != nil && !p.heads.MatchString(view[start:]) {
		return true
	}
	return p.open.FindStringIndex(view[start:])[0] == len(view)-start
}

// keepInView adds a text to what has been decided on, and keeps the end of that in view.
func keepInView(tail *textTail, text string, overlap int) {
	before := tail.before + text
	if len(before) > overlap {
		before = before[len(before)-overlap:]
	}
	tail.before = before
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
		ch := s.channel
		if ch.group != "" && st.latest[ch.group] != ch {
			return false, true
		}
		return guardPiece(g, s, raw, from, to)
	}
	return false, true
}

// guardPiece inspects an event of which nothing but a piece of a text is new.
func guardPiece(g *responseGuard, s *eventShape, raw []byte, from, to int) (isKnown, goesOn bool) {
	st := g.stream
	text := string(raw[from:to])
	if strings.ContainsAny(text, "\\\"\n") {
		if s.differs == nil && isCutByQuote(text) {
			return false, true
		}
	} else if len(st.queue) == 0 && passesBoth(g, s.channel, text) {
		st.passed = append(st.passed, raw...)
		return true, true
	}
	if text == "" {
		return false, true
	}
	event := &heldEvent{raw: append([]byte(nil), raw...)}
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
