package chatcompletion

import (
	"bytes"
	"strings"
)

// eventShape is what the events of one text have in common: all but the piece of the text. It has been
// inspected.
type eventShape struct {
	before  []byte
	after   []byte
	between []byte // after, and before the next piece
	channel *textChannel
	name    string // of the member that is the piece
}

// maxShapes bounds the shapes that are known at a time.
const maxShapes = 4

// addShape remembers the shape of an event that has one piece of a text and nothing else to decide on.
func addShape(g *responseGuard, event *heldEvent, piece *guardedString, ch *textChannel) {
	if g.stream.array || event.edits != nil {
		return
	}
	s := &eventShape{before: event.raw[:piece.from], after: event.raw[piece.to:], channel: ch, name: piece.name}
	s.between = append(append([]byte(nil), s.after...), s.before...)
	shapes := []*eventShape{s}
	for _, known := range g.stream.shapes {
		if len(shapes) < maxShapes {
			shapes = append(shapes, known)
		}
	}
	g.stream.shapes = shapes
}

// guardKnownEvents takes a chunk of a stream whose events have all the same known shape, and reports
// whether it is one. However many they are, they are inspected at once. If nothing is held and nothing
// may match, they are sent.
func guardKnownEvents(g *responseGuard, chunk []byte) bool {
	st := g.stream
	if len(st.queue) > 0 || len(g.buffer) > 0 || len(st.shapes) == 0 {
		return false
	}
	s := st.shapes[0]
	if !bytes.HasPrefix(chunk, s.before) || !bytes.HasSuffix(chunk, s.after) || len(chunk) < len(s.between) {
		return false
	}
	ch := s.channel
	text := string(bytes.ReplaceAll(chunk[len(s.before):len(chunk)-len(s.after)], s.between, nil))
	if strings.ContainsAny(text, "\"\\\n\r") || strings.IndexByte(ch.enforced.before, '\\') >= 0 || (ch.group != "" && st.latest[ch.group] != ch) {
		return false
	}
	if !passesKnown(g.rules.enforced, &ch.enforced, text, g.rules.overlap) || !passesKnown(g.rules.reported, &ch.reported, text, g.rules.overlap) {
		return false
	}
	sendGuarded(g, chunk)
	return true
}

// passesKnown reports whether no rule may match in a text that follows another one, and begins to do so
// neither in it nor at its end.
func passesKnown(rules *streamRules, tail *textTail, text string, overlap int) bool {
	if rules == nil {
		return true
	}
	heads := rules.patterns.heads
	if tail.text != "" || heads == nil {
		return false
	}
	before := tail.before + text
	start := len(tail.before)
	if start > 0 {
		start--
	}
	if heads.MatchString(before[start:]) {
		return false
	}
	if len(before) > overlap {
		before = before[len(before)-overlap:]
	}
	tail.before = before
	return true
}
