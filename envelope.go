package chatcompletion

import (
	"bytes"
	"encoding/json"
	"io"
	"sort"
	"strings"
)

// Bodies from skeletonMinBytes on are parsed as a skeleton, without the insides of long strings, if the ends of their
// strings are on average at least skeletonMinQuoteDistanceBytes apart: below either figure, finding the strings from interpreted code
// costs more than letting encoding/json read it all (measured with make bench).
const (
	skeletonMinBytes              = 4 << 10
	skeletonMinQuoteDistanceBytes = 40
	// skeletonKeepBytes is the length up to which the inside of a string stays in the skeleton. Names of parameters,
	// roles and enumerated values are all shorter.
	skeletonKeepBytes = 64
	// skeletonFiller stands in the skeleton for the inside of a long string. It is no name of anything.
	skeletonFiller = "\u2026"
)

var (
	quote            = []byte{'"'}
	escapedBackslash = []byte(`\\`)
	escapedQuote     = []byte(`\"`)
	twoFillerBytes   = []byte("..")
)

// envelope is the top level of a JSON object: its members in their order, and where they stand in the body.
// Offsets are those of the skeleton; bodyOffset turns one into the body's.
type envelope struct {
	body     []byte
	skeleton []byte
	cutEnds  []int // where in the skeleton each filler ends
	cutBytes []int // how many bytes the skeleton lacks up to there
	members  []member
	found    []int // place in members, plus one, of each parameter: see validate
}

// member is one name and value of the object, and what is to become of it.
type member struct {
	name        string
	start       int // of the value
	end         int
	replacement []byte // the value that is sent instead
	removed     bool
}

// parseEnvelope reads the members of the one JSON object that body holds. encoding/json decides what is JSON, but for
// the insides of long strings, which the skeleton leaves out.
func parseEnvelope(body []byte) (*envelope, *refusal) {
	e := &envelope{body: body, skeleton: body, members: make([]member, 0, 8)}
	if len(body) >= skeletonMinBytes {
		cutLongStrings(e)
	}
	decoder := json.NewDecoder(bytes.NewReader(e.skeleton))
	token, err := decoder.Token()
	if err != nil || token != json.Delim('{') {
		return nil, refuseJSON(e, decoder, err)
	}
	var value json.RawMessage
	for {
		token, err = decoder.Token()
		name, isName := token.(string)
		if !isName {
			break // the closing brace, or an error: inside an object all other tokens are names
		}
		if err = decoder.Decode(&value); err != nil {
			break
		}
		end := int(decoder.InputOffset())
		e.members = append(e.members, member{name: name, start: end - len(value), end: end})
	}
	if err == nil {
		if _, err = decoder.Token(); err == io.EOF {
			return e, nil
		}
	}
	return nil, refuseJSON(e, decoder, err)
}

// refuseJSON says why the body is not the JSON of one object, and where it stops being so.
func refuseJSON(e *envelope, decoder *json.Decoder, err error) *refusal {
	offset := int(decoder.InputOffset())
	reason := "it must be one JSON object, and nothing else"
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		reason = "it ends too early"
		offset = len(e.skeleton)
	} else if err != nil {
		reason = err.Error()
	}
	if syntax, ok := err.(*json.SyntaxError); ok && int(syntax.Offset) > offset {
		offset = int(syntax.Offset)
	}
	return invalidJSON(reason, bodyOffset(e, offset))
}

// cutLongStrings makes e.skeleton: the body without the insides of its long strings. Where a string ends is the one
// thing that every JSON parser agrees on: at the first quote that no backslash escapes. Escapes are covered first, so
// that every quote left is a delimiter; then one compiled call finds them all. Bodies whose strings are mostly short
// stay whole.
func cutLongStrings(e *envelope) {
	stringEnds := bytes.Count(e.body, quote) - bytes.Count(e.body, escapedQuote)
	if stringEnds*skeletonMinQuoteDistanceBytes > len(e.body) {
		return
	}
	covered := e.body
	if bytes.Contains(covered, escapedBackslash) {
		covered = bytes.ReplaceAll(covered, escapedBackslash, twoFillerBytes)
	}
	if bytes.Contains(covered, escapedQuote) {
		covered = bytes.ReplaceAll(covered, escapedQuote, twoFillerBytes)
	}
	pieces := bytes.Split(covered, quote)
	skeleton := make([]byte, 0, skeletonMinBytes)
	copied, offset, missing := 0, 0, 0
	for i := 1; i < len(pieces); i += 2 {
		offset += len(pieces[i-1]) + 1
		length := len(pieces[i])
		if length > skeletonKeepBytes {
			skeleton = append(skeleton, e.body[copied:offset]...)
			skeleton = append(skeleton, skeletonFiller...)
			copied = offset + length
			missing += length - len(skeletonFiller)
			e.cutEnds = append(e.cutEnds, len(skeleton))
			e.cutBytes = append(e.cutBytes, missing)
		}
		offset += length + 1
	}
	skeleton = append(skeleton, e.body[copied:]...)
	e.skeleton = skeleton
}

// bodyOffset returns where in the body the given offset of the skeleton is.
func bodyOffset(e *envelope, offset int) int {
	if len(e.cutEnds) == 0 {
		return offset
	}
	cuts := sort.SearchInts(e.cutEnds, offset+1)
	if cuts == 0 {
		return offset
	}
	return offset + e.cutBytes[cuts-1]
}

// skeletonValue returns a member's value as the skeleton has it: whole but for the insides of long strings.
func skeletonValue(e *envelope, m *member) []byte {
	return e.skeleton[m.start:m.end]
}

// bodyValue returns a member's value as the client wrote it.
func bodyValue(e *envelope, m *member) []byte {
	return e.body[bodyOffset(e, m.start):bodyOffset(e, m.end)]
}

// otherSpelling returns the parameter that the name of a member, which is none, might be taken for. A name that the
// skeleton left out is read for that, and kept.
func otherSpelling(e *envelope, set *parameterSet, i int) (id int, found bool) {
	m := &e.members[i]
	if m.name == skeletonFiller {
		m.name = longName(e, i)
	}
	id, found = set.folded[fold(m.name)]
	return id, found
}

// ambiguousName refuses a second member for a parameter, or one in another spelling.
func ambiguousName(name, meant string) *refusal {
	if name == meant {
		return invalidRequest("duplicate_parameter", name, "The parameter '"+name+"' is given more than once. Send it once.")
	}
	return invalidRequest("ambiguous_parameter", meant, "Unknown parameter: "+quoted(name)+". Did you mean '"+meant+"'?")
}

// longName returns the name of a member whose name the skeleton left out.
func longName(e *envelope, i int) string {
	var name string
	start := bodyOffset(e, nameStart(e, i))
	if err := json.NewDecoder(bytes.NewReader(e.body[start:])).Decode(&name); err != nil {
		return skeletonFiller // not a string that encoding/json reads: no known name
	}
	return name
}

// nameStart returns where in the skeleton the name of a member begins: at the first quote behind the member before.
func nameStart(e *envelope, i int) int {
	from := 0
	if i > 0 {
		from = e.members[i-1].end
	}
	return from + bytes.IndexByte(e.skeleton[from:], '"')
}

// fold returns what is common to all spellings of a name that some JSON reader takes for the same. Upper case first
// folds the long s, lower case the Kelvin sign, as encoding/json does.
func fold(name string) string {
	if nul := strings.IndexByte(name, 0); nul >= 0 {
		name = name[:nul]
	}
	return strings.ReplaceAll(strings.ToLower(strings.ToUpper(name)), "_", "")
}

// splice returns the body with the replacements and removals noted in its members, and the additions behind the last
// one, as pieces of the client's own bytes and of ours. All other bytes stay as they came. At least one member stays. An
// addition begins with its comma.
func splice(e *envelope, additions [][]byte) [][]byte {
	pieces := make([][]byte, 0, 8)
	copied := 0
	nothingBefore := true
	for i := range e.members {
		m := &e.members[i]
		if m.removed {
			from, to := removal(e, i, nothingBefore)
			pieces = append(pieces, e.body[copied:from])
			copied = to
			continue
		}
		nothingBefore = false
		if m.replacement != nil {
			pieces = append(pieces, e.body[copied:bodyOffset(e, m.start)], m.replacement)
			copied = bodyOffset(e, m.end)
		}
	}
	if len(additions) > 0 {
		end := bodyOffset(e, e.members[len(e.members)-1].end)
		if end > copied {
			pieces = append(pieces, e.body[copied:end])
			copied = end
		}
		pieces = append(pieces, additions...)
	}
	return append(pieces, e.body[copied:])
}

// removal returns the part of the body that goes with a member: it and one comma, the one before, or the one behind if
// nothing stays before.
func removal(e *envelope, i int, nothingBefore bool) (from, to int) {
	if !nothingBefore {
		return bodyOffset(e, e.members[i-1].end), bodyOffset(e, e.members[i].end)
	}
	from = bodyOffset(e, nameStart(e, i))
	if i+1 < len(e.members) {
		return from, bodyOffset(e, nameStart(e, i+1))
	}
	return from, bodyOffset(e, e.members[i].end)
}
