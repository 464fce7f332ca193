package chatcompletion

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
)

// jsonObject is the top level of a JSON object: its members in order, and their offsets. Requests
// of one application differ mainly in their texts. So that one decision holds for all of them, and
// because texts are long, the decision is made on the skeleton: the body without the content of
// long strings and of free texts. Offsets are those of the skeleton.
type jsonObject struct {
	body     []byte
	skeleton []byte
	elided   []int // bytes that the skeleton lacks before its first placeholder, its second, ..., and after its last one
	members  []member
	found    []int // index in members, plus one, of each parameter; see validate
	partial  bool  // the decision depends on more than the skeleton
	outlined bool  // the decision is to have an outline
}

// member is one name and value of the object, and the change to it.
type member struct {
	name        string
	start       int // of the value
	end         int
	replacement []byte // value that is sent instead; nil: unchanged
	newName     string // sent instead of name; empty: unchanged
	removed     bool
}

// skeletonMaxEnds bounds the string ends of a body for which a skeleton is made: finding a string
// in interpreted code costs about as much as encoding/json needs to read 40 bytes. Tool schemas
// have one every 8 bytes, and are still read in less than half of the time, since the decision on
// their skeleton is cached (measured with make bench).
const skeletonMaxEnds = 64 << 10

// Strings longer than inlineMaxBytes are left out of the skeleton. Parameter names, roles and
// enumerated values are all shorter.
const inlineMaxBytes = 24

// Bounds on the work for one body, in addition to its size: encoding/json allocates far more memory
// for many small values than they take in a body. Long texts do not count. The published schema has
// about 40 members.
const (
	maxMembers       = 500
	maxNameBytes     = 4 << 10
	maxValues        = 64 << 10
	maxSkeletonBytes = 512 << 10
)

// inlineLimits are the bounds on values of some names, instead of inlineMaxBytes. Free texts are left
// out however short they are: no decision depends on them, and they differ from request to request.
// So do the names of tools that are called, and the ids of the calls.
var inlineLimits = map[string]int{
	"model":   64,
	"content": freeText, "text": freeText, "input": freeText, "output": freeText, "instructions": freeText, "arguments": freeText,
	"user": freeText, "safety_identifier": freeText, "prompt_cache_key": freeText,
	"name": freeText, "id": freeText, "call_id": freeText, "tool_call_id": freeText,
}

const freeText = -1

// escapesAndControls are characters that only encoding/json may interpret: control characters and
// escapes.
const escapesAndControls = controlCharacters + `\`

// Separators between a name and its value, as machines write JSON.
const (
	colon      = ":"
	colonSpace = ": "
)

var colons = map[string]bool{colon: true, colonSpace: true}

// notUTF8 covers placeholders: as part of an escape or between values, it is as invalid as they are.
var notUTF8 = []byte{0xff}

// newJSONObject makes the skeleton of a body. A body with very many strings is its own skeleton.
func newJSONObject(body []byte) *jsonObject {
	obj := &jsonObject{body: body, skeleton: body, elided: []int{0}} // as wholeJSONObject, whose call would cost every request
	covered := body
	if bytes.IndexByte(body, '\\') >= 0 {
		if len(body) >= splitMinBytes && cutAroundTexts(obj) {
			return obj
		}
		covered = coverEscapes(body)
	}
	if bytes.Count(covered, quote) > skeletonMaxEnds {
		obj.partial = true
		return obj
	}
	cutLongStrings(obj, bytes.Split(covered, quote))
	return obj
}

// wholeJSONObject returns a jsonObject whose skeleton is the body.
func wholeJSONObject(body []byte) *jsonObject {
	return &jsonObject{body: body, skeleton: body, elided: []int{0}}
}

// A body of at least splitMinBytes is examined in about splitParts parts.
const (
	splitMinBytes = 64 << 10
	splitParts    = 8
)

// cutAroundTexts makes the skeleton of a large body without a copy of it for coverEscapes, and
// reports whether it could. A part without quotes that begin or end a string is inside of one piece,
// which need not be covered: it is the content of a long string, or is not JSON.
func cutAroundTexts(obj *jsonObject) bool {
	body := obj.body
	if bytes.Count(body, quote) > skeletonMaxEnds {
		return false
	}
	s := &splitBody{body: body}
	from, found := 0, false // from: of what is not split yet
	for at := 0; at < len(body); {
		end := partEnd(body, at)
		if isInsideString(body[at:end]) {
			addPieces(s, from, at)
			from = end
			found = true
		}
		at = end
	}
	if found {
		addPieces(s, from, len(body))
		cutLongStrings(obj, s.pieces)
	}
	return found
}

// partEnd returns where the part of a large body ends that begins at an offset: not after a
// backslash, which may escape what follows.
func partEnd(body []byte, at int) int {
	end := at + len(body)/splitParts + 1
	if end >= len(body) {
		return len(body)
	}
	end = at + len(bytes.TrimRight(body[at:end], `\`))
	if end == at {
		return len(body)
	}
	return end
}

// isInsideString reports whether all quotes of a part are escaped.
func isInsideString(part []byte) bool {
	first := bytes.IndexByte(part, '"')
	if first <= 0 || part[first-1] != '\\' {
		return first < 0
	}
	return !bytes.Contains(part, backslashesAndQuote) && bytes.Count(part, quote) == bytes.Count(part, escapedQuote)
}

// splitBody is a body that is being split at the quotes that begin or end a string.
type splitBody struct {
	body   []byte
	pieces [][]byte
	start  int // of the last piece
}

// addPieces splits a part of the body. All quotes between the last piece and the part are escaped:
// the last piece goes on to the first quote of the part.
func addPieces(s *splitBody, from, to int) {
	pieces := bytes.Split(coverEscapes(s.body[from:to]), quote)
	last := len(s.pieces) - 1
	if last < 0 {
		s.pieces = pieces
	} else {
		s.pieces[last] = s.body[s.start : from+len(pieces[0])]
		s.pieces = append(s.pieces, pieces[1:]...)
	}
	if last < 0 || len(pieces) > 1 {
		s.start = to - len(pieces[len(pieces)-1])
	}
}

// cutLongStrings makes the skeleton of a body from the pieces between the quotes that begin or end a
// string: every second one is the content of a string.
func cutLongStrings(obj *jsonObject, pieces [][]byte) {
	gone, elided := 0, obj.elided
	limit, special := 0, 0 // not in the loop: the interpreter would allocate them for each string
	for i := 1; i < len(pieces); i += 2 {
		length := len(pieces[i])
		limit = inlineMaxBytes
		if i > 2 {
			special = inlineLimits[string(pieces[i-2])]
			if special != 0 && colons[string(pieces[i-1])] {
				limit = special
			}
		}
		if length <= limit || (length <= inlineMaxBytes && bytes.ContainsAny(pieces[i], escapesAndControls)) {
			continue
		}
		gone += length - placeholderBytes
		elided = append(elided, gone)
		pieces[i] = placeholder
	}
	skeleton := bytes.Join(pieces, quote)
	if bytes.Count(skeleton, placeholder) >= len(elided) {
		cutAroundPlaceholders(obj)
		return
	}
	obj.skeleton = skeleton
	obj.elided = elided
	obj.partial = bytes.Contains(skeleton, escapedSlash) // it may cover another escape
}

// cutAroundPlaceholders makes the skeleton of a body with placeholders of the client's own in what
// stays, which bodyOffset would count. They are covered with a byte that no text has. Since the
// skeleton is then that of other bodies, too, the decision must not be cached.
func cutAroundPlaceholders(obj *jsonObject) {
	covered := bytes.ReplaceAll(coverEscapes(obj.body), placeholder, notUTF8)
	cutLongStrings(obj, bytes.Split(covered, quote))
	obj.partial = true
}

// bodyOffset returns the offset in the body of an offset in the skeleton.
func bodyOffset(obj *jsonObject, offset int) int {
	return offset + obj.elided[placeholdersBefore(obj, offset)]
}

// placeholdersBefore counts the placeholders before an offset in the skeleton.
func placeholdersBefore(obj *jsonObject, offset int) int {
	if len(obj.elided) == 1 {
		return 0 // the skeleton may be the body, in which the client may have sent the placeholder
	}
	return bytes.Count(obj.skeleton[:offset], placeholder)
}

// skeletonValue returns a member's value as it is in the skeleton: complete except for the content
// of long strings, and with some escapes covered.
func skeletonValue(obj *jsonObject, m *member) []byte {
	return obj.skeleton[m.start:m.end]
}

// bodyValue returns a member's value as the client sent it. If the skeleton has less, the decision
// must not be cached.
func bodyValue(obj *jsonObject, m *member) []byte {
	value := obj.skeleton[m.start:m.end]
	if !obj.partial && !bytes.ContainsAny(value, elidedInValues) {
		return value
	}
	return valueInBody(obj, m)
}

// elidedInValues are the characters of a value of which the skeleton may not have everything: the
// placeholder, and a covered escape.
const elidedInValues = "\x7f/"

func valueInBody(obj *jsonObject, m *member) []byte {
	value := obj.body[bodyOffset(obj, m.start):bodyOffset(obj, m.end)]
	obj.partial = obj.partial || !bytes.Equal(value, obj.skeleton[m.start:m.end])
	return value
}

// readMembers reads the members of the one JSON object in the body. encoding/json decides what is
// valid JSON, except for the content of long strings.
func readMembers(obj *jsonObject) *apiError {
	decoder := json.NewDecoder(bytes.NewReader(obj.skeleton))
	token, err := decoder.Token()
	if err != nil || token != json.Delim('{') {
		return jsonError(obj, decoder, err)
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
		if len(obj.members) == maxMembers {
			return tooManyMembers()
		}
		end := int(decoder.InputOffset())
		obj.members = append(obj.members, member{name: name, start: end - len(value), end: end})
	}
	if err == nil {
		if _, err = decoder.Token(); err == io.EOF {
			return nil
		}
	}
	return jsonError(obj, decoder, err)
}

func tooManyValues() *apiError {
	return invalidRequest("too_many_values", "", "The request body has too many small values: without its long texts, it must have at most "+
		strconv.Itoa(maxSkeletonBytes)+" bytes and "+strconv.Itoa(maxValues)+" values.")
}

func tooManyMembers() *apiError {
	return invalidRequest("too_many_parameters", "", "The request body has more than "+strconv.Itoa(maxMembers)+" parameters.")
}

// jsonError returns the error for a body that is not one JSON object: the reason, and the offset in
// the body.
func jsonError(obj *jsonObject, decoder *json.Decoder, err error) *apiError {
	offset := int(decoder.InputOffset())
	reason := "it must be exactly one JSON object"
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		reason = "it ends before the JSON is complete"
		offset = len(obj.skeleton)
	} else if err != nil {
		reason = err.Error()
	}
	if syntax, ok := err.(*json.SyntaxError); ok && int(syntax.Offset) > offset {
		offset = int(syntax.Offset)
	}
	return invalidJSON(reason, bodyOffset(obj, offset))
}

// elidedInNames are the characters in a name that show that the skeleton does not have it in full:
// the placeholder, a covered escape, and a covered placeholder as encoding/json reads it.
const elidedInNames = "\x7f/\ufffd"

// readName reads the name of a member that the skeleton does not have in full, and stores it. It
// rejects a name that parsers read differently, because it is not UTF-8 or has half a surrogate
// pair.
func readName(obj *jsonObject, i int) *apiError {
	m := &obj.members[i]
	if strings.ContainsAny(m.name, elidedInNames) {
		obj.partial = true
		start := bodyOffset(obj, nameStart(obj, i))
		if bodyOffset(obj, m.start)-start > maxNameBytes {
			return invalidRequest("string_above_max_length", "", "A parameter name is longer than "+strconv.Itoa(maxNameBytes)+" bytes.")
		}
		if err := json.NewDecoder(bytes.NewReader(obj.body[start:])).Decode(&m.name); err != nil {
			return invalidJSON(err.Error(), start)
		}
	}
	if strings.ContainsRune(m.name, '\ufffd') {
		return invalidRequest("ambiguous_parameter", "", "Unknown parameter: "+quoted(m.name)+". Its name is not valid UTF-8.")
	}
	return nil
}

// ambiguousName is the error for a second member with the name of a parameter, or for one in
// another spelling.
func ambiguousName(name, meant string) *apiError {
	if name == meant {
		return invalidRequest("duplicate_parameter", name, "The parameter '"+name+"' is given more than once. Send it once.")
	}
	return invalidRequest("ambiguous_parameter", meant, "Unknown parameter: "+quoted(name)+". Did you mean '"+meant+"'?")
}

// nameStart returns where in the skeleton the name of a member begins: at the first quote after the
// previous member.
func nameStart(obj *jsonObject, i int) int {
	from := 0
	if i > 0 {
		from = obj.members[i-1].end
	}
	return from + bytes.IndexByte(obj.skeleton[from:], '"')
}

// edit replaces a part of the body with a value, or removes it. All bodies with one skeleton have
// the same number of placeholders before that part.
type edit struct {
	from             int
	to               int
	value            []byte
	bare             []byte // the value without inserted system prompts, if the edits of the decision insert any
	fromPlaceholders int
	toPlaceholders   int
}

// edits turns the changes to the members, and additions after the last one, into edits in the order
// of the body. The additions begin with a comma.
func edits(obj *jsonObject, additions []byte) []edit {
	var list []edit
	if removesAll(obj) {
		return replaceAll(obj, additions)
	}
	nothingBefore := true
	for i := range obj.members {
		m := &obj.members[i]
		if m.removed {
			list = append(list, removal(obj, i, nothingBefore))
			continue
		}
		nothingBefore = false
		if m.newName != "" {
			list = append(list, renaming(obj, i))
		} else if m.replacement != nil {
			list = append(list, edit{from: m.start, to: m.end, value: m.replacement})
		}
	}
	if len(additions) > 0 {
		end := obj.members[len(obj.members)-1].end
		list = append(list, edit{from: end, to: end, value: additions})
	}
	return countPlaceholders(obj, list)
}

// replaceAll returns the edit that replaces all members, if there are any, by additions.
func replaceAll(obj *jsonObject, additions []byte) []edit {
	end := bytes.LastIndexByte(obj.skeleton, '}')
	start := end
	if len(obj.members) > 0 {
		start = nameStart(obj, 0)
	}
	return countPlaceholders(obj, []edit{{from: start, to: end, value: bytes.TrimPrefix(additions, comma)}})
}

// removesAll reports whether all members are removed, or there are none.
func removesAll(obj *jsonObject) bool {
	for i := range obj.members {
		if !obj.members[i].removed {
			return false
		}
	}
	return true
}

// countPlaceholders records in each edit how many placeholders are before it.
func countPlaceholders(obj *jsonObject, list []edit) []edit {
	if len(obj.elided) == 1 {
		return list // as in placeholdersBefore, whose calls would cost more
	}
	for i := range list {
		e := &list[i]
		e.fromPlaceholders = bytes.Count(obj.skeleton[:e.from], placeholder)
		e.toPlaceholders = bytes.Count(obj.skeleton[:e.to], placeholder)
	}
	return list
}

// renaming returns the edit that replaces a member with one that has the new name.
func renaming(obj *jsonObject, i int) edit {
	m := &obj.members[i]
	value := m.replacement
	if value == nil {
		value = bodyValue(obj, m)
	}
	return edit{from: nameStart(obj, i), to: m.end, value: append([]byte(`"`+m.newName+`":`), value...)}
}

// removal returns the edit that removes a member and one comma: the one before, or the one after if
// no member remains before.
func removal(obj *jsonObject, i int, nothingBefore bool) edit {
	if !nothingBefore {
		return edit{from: obj.members[i-1].end, to: obj.members[i].end}
	}
	if i+1 < len(obj.members) {
		return edit{from: nameStart(obj, i), to: nameStart(obj, i+1)}
	}
	return edit{from: nameStart(obj, i), to: obj.members[i].end}
}

// splice applies the edits to the body, and returns it as pieces of the client's bytes and of new
// values. All other bytes stay unchanged.
func splice(obj *jsonObject, list []edit) [][]byte {
	pieces := make([][]byte, 0, 2*len(list)+1)
	copied := 0
	for i := range list {
		change := &list[i]
		pieces = append(pieces, obj.body[copied:change.from+obj.elided[change.fromPlaceholders]], change.value)
		copied = change.to + obj.elided[change.toPlaceholders]
	}
	return append(pieces, obj.body[copied:])
}
