package chatcompletion

import (
	"bytes"
	"hash/maphash"
	"net/http"
)

// excerpt is a body without what its endpoint's memory knows. It is a body itself: the beginning of
// the conversation is missing, and each known value is replaced by its filler. What the policy
// decides on it holds for the whole body, unless it rejects it: then the whole body decides.
//
// Why that is so: a turn is known by the hash of every byte from the beginning of the body. So it
// ends where one ended in a valid body, after an element of the conversation, and all elements
// before have been validated by the same rules, which depend on nothing else in the body. A large
// value has been validated as the value of the same parameter, and the decision on the excerpt
// shows that its filler is the value of that parameter.
type excerpt struct {
	body   []byte // the whole
	text   []byte // what is left to read
	gaps   []gap  // in the order of the text
	counts counts // of all gaps, and of what is covered
	turn   *known // nil: none is known
	hash   *maphash.Hash
	hashed int // bytes of the body that the hash is of

	covers  bool   // arguments of calls are covered, see coverAll
	covered counts // of what is covered

	remembered int  // where the turn ends that has been remembered; 0: none has
	isReported bool // rules for contents have matched in it: values are to be inspected again
}

// gap is where something is missing in an excerpt, and how many bytes more the body has there.
type gap struct {
	at    int
	bytes int
	value *largeValue // nil: a turn
}

// known is a part of a body that has been found good: a large value, or a turn without what is
// before its first element, and with the comma after its last one.
type known struct {
	from   int
	to     int
	value  *largeValue
	filler []byte // what stands for it; nil: nothing does
	counts counts
}

// Bodies that are shorter, or have fewer strings, cost less to read than to recognise. One with fewer
// objects, itself included, does not continue a conversation: that takes a message, its response and
// the next message.
const (
	excerptMinBytes   = 4 << 10
	excerptMinQuotes  = 200
	excerptMinObjects = 4
)

// Bounds on the search for what is known.
const (
	lookBackBytes = 128 << 10 // of the end of a body
	lookAtBytes   = 32 << 10  // of its beginning
	lookNearBytes = 16 << 10  // of the end at first; each further part is lookFartherBy times as long
	lookFartherBy = 8
	turnTries     = 40 // ends of objects
	turnHashes    = 3  // hashes of a body up to there
	valueTries    = 4  // places of a name
)

// jsonSpace is the white space of JSON.
const jsonSpace = " \t\r\n"

// mayContinue reports whether a body may be worth an excerpt.
func mayContinue(ep *endpoint, body []byte) bool {
	return ep.memory != nil && bytes.Count(body, quote) >= excerptMinQuotes && bytes.Count(body, openingBrace) >= excerptMinObjects
}

// planContinued plans for a body that may continue a conversation.
func planContinued(ep *endpoint, req *http.Request, pl *plan) (*plan, *apiError) {
	x := newExcerpt(ep.memory, pl.decoded)
	apiErr := planExcerpt(ep, req, x, pl)
	if apiErr != nil && (x.gaps != nil || x.covers) {
		apiErr = planExcerpt(ep, req, wholeExcerpt(ep.memory, pl.decoded), pl)
	}
	return pl, apiErr
}

// planExcerpt decides on an excerpt, and remembers what is good. Any error for an excerpt that lacks something
// means that the whole body is to be read.
func planExcerpt(ep *endpoint, req *http.Request, x *excerpt, pl *plan) *apiError {
	obj := newJSONObject(x.text)
	obj.outlined = true
	if x.covers {
		coverAll(ep.memory, x, obj)
	}
	d := lookupDecision(ep.cache, obj)
	if d == nil || d.outline == nil {
		var apiErr *apiError
		if d, apiErr = decide(ep, req, obj); apiErr != nil {
			pl.decision = nil
			return apiErr
		}
	}
	if (x.gaps != nil || x.covers) && !holdsForWhole(ep.memory, x, obj, d.outline) {
		return tooManyValues()
	}
	pl.decision = d
	pl.pieces = spliceExcerpt(x, obj, d.edits)
	rememberGood(ep.memory, x, obj, d.outline)
	return nil
}

// holdsForWhole reports whether a decision on an excerpt with gaps is one on the whole body: the
// gaps are where the decision finds the elements and the values, and the whole keeps the bounds.
func holdsForWhole(m *conversationMemory, x *excerpt, obj *jsonObject, o *outline) bool {
	for i := range x.gaps {
		g := &x.gaps[i]
		place := &o.elements
		if g.value != nil {
			place = placeOfValue(o, g.value)
		}
		if g.at != place.from+obj.elided[place.fromPlaceholders] {
			return false
		}
	}
	return areBounded(m, &x.counts, &o.counts)
}

// wholeExcerpt returns an excerpt that lacks nothing.
func wholeExcerpt(m *conversationMemory, body []byte) *excerpt {
	x := &excerpt{body: body, text: body, hash: &maphash.Hash{}}
	x.hash.SetSeed(m.seed)
	return x
}

// newExcerpt leaves out what the memory knows of a body.
func newExcerpt(m *conversationMemory, body []byte) *excerpt {
	x := wholeExcerpt(m, body)
	x.covers = m.arguments != nil
	form := spellingOf(body)
	var parts []*known
	before := len(body) // where the tools begin: elements are sought before them, and after them
	after := before
	for _, v := range seenValues(m) {
		value := findValue(m, body, v, form.colon)
		if value == nil {
			continue
		}
		if v.name == toolsName {
			before, after = value.from, value.to
		}
		if value.filler != nil {
			parts = addKnown(parts, value)
		}
	}
	if before > len(body)-after { // the conversation is rather in the larger part
		x.turn = findTurn(m, x, form.separator, 0, before)
	}
	if x.turn == nil && after < len(body) {
		x.turn = findTurn(m, x, form.separator, after, len(body))
	}
	if x.turn == nil && before <= len(body)-after {
		x.turn = findTurn(m, x, form.separator, 0, before)
	}
	if x.turn != nil {
		parts = addKnown(parts, x.turn)
	}
	if parts != nil {
		leaveOut(x, parts)
	}
	return x
}

// spelling is how a body is written.
type spelling struct {
	separator []byte // between two elements of a conversation
	colon     string // between a name and its value
}

var (
	compactSpelling = &spelling{[]byte(`},{"`), colon}
	spacedSpelling  = &spelling{[]byte(`}, {"`), colonSpace}
)

// spellingOf returns how a body is written, as machines write JSON: without spaces, with one, or
// indented.
func spellingOf(body []byte) *spelling {
	if body[1] == '\n' {
		return indentedSpelling(body)
	}
	if bytes.HasPrefix(body[1+bytes.IndexByte(body, ':'):], space) {
		return spacedSpelling
	}
	return compactSpelling
}

// indentedSpelling returns the spelling of a body whose members begin in lines of their own.
func indentedSpelling(body []byte) *spelling {
	indent := body[1 : 1+bytes.IndexByte(body[1:], '"')]
	if len(indent) < 2 || len(indent) > maxIndent || len(bytes.Trim(indent, jsonSpace)) > 0 {
		return spacedSpelling
	}
	return &spelling{bytes.Join([][]byte{[]byte("},"), indent, indent[1:], openingBrace}, nil), colonSpace}
}

const maxIndent = 16

// findValue returns a large value that is known and need not be read; nil if the body has no such
// value. If none is known, it returns where the last one that was tried begins, and ends if that is
// known, too.
func findValue(m *conversationMemory, body []byte, v *largeValue, colon string) *known {
	pattern := []byte(`"` + v.name + `"` + colon)
	var found *known
	at := 0
	for tries := 0; tries < valueTries; tries++ {
		at = findName(body, pattern, at)
		if at < 0 || len(body)-at < largeValueMinBytes {
			return found
		}
		found = lookupValue(m, v, body, at)
		if found.to > at {
			return found
		}
	}
	return found
}

// findName returns the end of the next occurrence of a name, which is near the beginning or the end
// of a body; -1 if there is none.
func findName(body, name []byte, at int) int {
	if at < lookAtBytes && at < len(body)-lookBackBytes {
		if i := bytes.Index(body[at:lookAtBytes], name); i >= 0 {
			return at + i + len(name)
		}
	}
	if at < len(body)-lookBackBytes {
		at = len(body) - lookBackBytes
	}
	if i := bytes.Index(body[at:], name); i >= 0 {
		return at + i + len(name)
	}
	return -1
}

// findTurn returns the longest known turn that ends between two bytes of a body, and is followed by
// an element; nil if there is none. It looks at one part after the other, from the end, each with
// bytes.Split, since bytes.LastIndex takes more than ten times as long.
func findTurn(m *conversationMemory, x *excerpt, separator []byte, from, to int) *known {
	if from < to-lookBackBytes {
		from = to - lookBackBytes
	}
	if from < endBytes {
		from = endBytes
	}
	s := &turnSearch{tries: turnTries, hashes: turnHashes}
	for part := lookNearBytes; s.tries > 0 && s.hashes > 0 && from < to; part *= lookFartherBy {
		start := to - part
		if start < from {
			start = from
		}
		if turn := findTurnIn(m, x, s, separator, start, to); turn != nil {
			return turn
		}
		if start == from {
			break
		}
		to = start + len(separator) - 1 // one separator may begin in the next part
	}
	x.hash.Reset()
	return nil
}

// turnSearch is what is left of the bounds on the search for a turn.
type turnSearch struct {
	tries  int
	hashes int
}

// findTurnIn is findTurn for one part of a body.
func findTurnIn(m *conversationMemory, x *excerpt, s *turnSearch, separator []byte, from, to int) *known {
	pieces := bytes.Split(x.body[from:to], separator)
	if len(pieces)-1 > s.tries {
		pieces = pieces[len(pieces)-1-s.tries:]
	}
	s.tries -= len(pieces) - 1
	for _, end := range turnEnds(m, x.body, pieces, len(separator), to) {
		if s.hashes == 0 {
			break
		}
		s.hashes--
		x.hash.Reset()
		_, _ = x.hash.Write(x.body[:end])
		if turn, isKnown := lookupTurn(m, x.hash.Sum64()); isKnown {
			x.hashed = end
			return &known{from: turn.start, to: end + 1, counts: turn.counts}
		}
	}
	return nil
}

// addKnown inserts a part in the order of the body. Of two that overlap, the longer one stays.
func addKnown(parts []*known, part *known) []*known {
	if parts == nil {
		return []*known{part}
	}
	var before, after []*known
	for _, other := range parts {
		switch {
		case other.to <= part.from:
			before = append(before, other)
		case other.from >= part.to:
			after = append(after, other)
		case other.to-other.from > part.to-part.from:
			return parts
		}
	}
	return append(append(before, part), after...)
}

// leaveOut makes the text of an excerpt without the parts.
func leaveOut(x *excerpt, parts []*known) {
	var pieces [][]byte
	copied, at := 0, 0
	for _, part := range parts {
		filler := part.filler
		at += part.from - copied
		x.gaps = append(x.gaps, gap{at, part.to - part.from - len(filler), part.value})
		addCounts(&x.counts, &part.counts)
		pieces = append(pieces, x.body[copied:part.from], filler)
		at += len(filler)
		copied = part.to
	}
	x.text = bytes.Join(append(pieces, x.body[copied:]), nil)
}

// bodyPlace returns the offset in the body of an offset in the text of an excerpt, which is not
// inside a filler.
func bodyPlace(x *excerpt, offset int) int {
	place := offset
	for i := range x.gaps {
		if offset > x.gaps[i].at {
			place += x.gaps[i].bytes
		}
	}
	return place
}

// spliceExcerpt applies edits to the whole body of an excerpt, as splice does. It finds their places
// as bodyPlace does, whose calls would cost more.
func spliceExcerpt(x *excerpt, obj *jsonObject, list []edit) [][]byte {
	pieces := make([][]byte, 0, 2*len(list)+1)
	copied, from, to, skippedFrom, skippedTo := 0, 0, 0, 0, 0
	for i := range list {
		change := &list[i]
		from = change.from + obj.elided[change.fromPlaceholders]
		to = change.to + obj.elided[change.toPlaceholders]
		skippedFrom, skippedTo = 0, 0
		for j := range x.gaps {
			missing := &x.gaps[j]
			if from > missing.at {
				skippedFrom += missing.bytes
			}
			if to > missing.at {
				skippedTo += missing.bytes
			}
		}
		pieces = append(pieces, x.body[copied:from+skippedFrom], change.value)
		copied = to + skippedTo
	}
	return append(pieces, x.body[copied:])
}
