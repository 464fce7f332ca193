package chatcompletion

import (
	"bytes"
	"encoding/json"
	"io"
	"sort"
	"strings"
)

// Bodies from skeletonMinBytes on are parsed as a skeleton, without the insides of long strings, if their quotes are on
// average at least skeletonMinQuoteDistanceBytes apart: below either figure, finding the strings from interpreted code
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
	body      []byte
	skeleton  []byte
	cutEnds   []int // where in the skeleton each filler ends
	cutBytes  []int // how many bytes the skeleton lacks up to there
	firstByte int   // just behind the opening brace
	members   []member
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
	e := &envelope{body: body, skeleton: body}
	if len(body) >= skeletonMinBytes && bytes.Count(body, quote)*skeletonMinQuoteDistanceBytes < len(body) {
		cutLongStrings(e)
	}
	decoder := json.NewDecoder(bytes.NewReader(e.skeleton))
	token, err := decoder.Token()
	if err != nil {
		return nil, refuseJSON(e, err, decoder.InputOffset())
	}
	if delim, ok := token.(json.Delim); !ok || delim != '{' {
		return nil, invalidRequest("invalid_json", "", "The body of the request must be one JSON object.")
	}
	e.firstByte = int(decoder.InputOffset())
	var value json.RawMessage
	for {
		token, err = decoder.Token()
		if err != nil {
			return nil, refuseJSON(e, err, decoder.InputOffset())
		}
		name, ok := token.(string)
		if !ok {
			break // the closing brace: inside an object, all other tokens are names or errors
		}
		if err = decoder.Decode(&value); err != nil {
			return nil, refuseJSON(e, err, decoder.InputOffset())
		}
		end := int(decoder.InputOffset())
		e.members = append(e.members, member{name: name, start: end - len(value), end: end})
	}
	if len(bytes.TrimSpace(e.skeleton[decoder.InputOffset():])) > 0 {
		return nil, invalidRequest("invalid_json", "", "The body of the request must be one JSON object; there is more behind its end.")
	}
	return e, nil
}

// cutLongStrings makes e.skeleton: the body without the insides of its long strings. Where a string ends is the one
// thing that every JSON parser agrees on: at the first quote that no backslash escapes. Escapes are covered first, so
// that every quote left is a delimiter; then one compiled call finds them all.
func cutLongStrings(e *envelope) {
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
	e.skeleton = append(skeleton, e.body[copied:]...)
}

// bodyOffset returns where in the body the given offset of the skeleton is.
func bodyOffset(e *envelope, offset int) int {
	cuts := sort.SearchInts(e.cutEnds, offset+1)
	if cuts == 0 {
		return offset
	}
	return offset + e.cutBytes[cuts-1]
}

// skeletonValue returns a member's value as the skeleton has it: whole but for the insides of long strings.
func skeletonValue(e *envelope, m member) []byte {
	return e.skeleton[m.start:m.end]
}

// bodyValue returns a member's value as the client wrote it.
func bodyValue(e *envelope, m member) []byte {
	return e.body[bodyOffset(e, m.start):bodyOffset(e, m.end)]
}

// index returns the place in e.members of each known name. A known name that one parser might find twice, or find
// where another finds none, is refused: given twice, or in another spelling that some providers take for the same
// (Go providers ignore case, protocol buffers take lowerCamelCase, C strings end at a NUL).
func index(e *envelope, known map[string]string) (map[string]int, *refusal) {
	found := make(map[string]int, len(e.members))
	for i, m := range e.members {
		name := m.name
		if name == skeletonFiller {
			name = longName(e, i)
		}
		if known[name] == name {
			if _, twice := found[name]; twice {
				return nil, invalidRequest("duplicate_parameter", name, "The parameter '"+name+"' is given more than once. Send it once.")
			}
			found[name] = i
			continue
		}
		if meant := known[fold(name)]; meant != "" {
			return nil, invalidRequest("ambiguous_parameter", meant, "Unknown parameter: "+quoted(name)+". Did you mean '"+meant+"'?")
		}
	}
	return found, nil
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
	from := e.firstByte
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

// foldedNames returns the table that index looks names up in: every name and its folded spelling.
func foldedNames(names []string) map[string]string {
	known := make(map[string]string, 2*len(names))
	for _, name := range names {
		known[fold(name)] = name
	}
	for _, name := range names {
		known[name] = name
	}
	return known
}

// addition is a member that the client did not send.
type addition struct {
	name  string
	value []byte
}

// splice returns the body with the replacements and removals noted in its members, and the additions behind the last
// one, as pieces of the client's own bytes and of ours. All other bytes stay as they came. At least one member stays.
func splice(e *envelope, additions []addition) [][]byte {
	pieces := make([][]byte, 0, 8)
	copied := 0
	last := len(e.members) - 1
	nothingBefore := true
	for i := range e.members {
		m := &e.members[i]
		if m.replacement != nil {
			pieces = append(pieces, e.body[copied:bodyOffset(e, m.start)], m.replacement)
			copied = bodyOffset(e, m.end)
		}
		if m.removed {
			// A comma goes with the member: the one before it, or the one behind if nothing stays before.
			from, to := 0, bodyOffset(e, m.end)
			if nothingBefore {
				from = bodyOffset(e, nameStart(e, i))
				if i < last {
					to = bodyOffset(e, nameStart(e, i+1))
				}
			} else {
				from = bodyOffset(e, e.members[i-1].end)
			}
			pieces = append(pieces, e.body[copied:from])
			copied = to
			continue
		}
		nothingBefore = false
	}
	if len(additions) > 0 {
		if end := bodyOffset(e, e.members[last].end); end > copied {
			pieces = append(pieces, e.body[copied:end])
			copied = end
		}
		var added []byte
		for _, a := range additions {
			added = append(added, `,"`...)
			added = append(added, a.name...)
			added = append(added, `":`...)
			added = append(added, a.value...)
		}
		pieces = append(pieces, added)
	}
	return append(pieces, e.body[copied:])
}

// refuseJSON says where the body stops being JSON. An offset behind a cut is that of the body.
func refuseJSON(e *envelope, err error, offset int64) *refusal {
	reason := err.Error()
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		reason = "it ends too early"
		offset = int64(len(e.skeleton))
	}
	if syntax, ok := err.(*json.SyntaxError); ok && syntax.Offset > offset {
		offset = syntax.Offset
	}
	return invalidJSON(reason, bodyOffset(e, int(offset)))
}
