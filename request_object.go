package chatcompletion

import (
	"bytes"
	"encoding/json"
	"io"
	"strconv"
	"strings"
)

// skeletonMaxEnds is how many ends of strings a body may have for its skeleton to be made: finding a string from interpreted
// code costs about as much as encoding/json needs to read 40 bytes. Schemas of tools have one every 8 bytes, and are still read
// in less than half of the time, since their skeleton is remembered (measured with make bench).
const skeletonMaxEnds = 64 << 10

// Strings longer than inlineMaxBytes are left out of the skeleton, names of models longer than inlineModelMaxBytes. Names of
// parameters, roles and enumerated values are all shorter.
const (
	inlineMaxBytes      = 24
	inlineModelMaxBytes = 64
)

// freeTexts are names whose values are left out however short they are: no decision depends on them, and they differ
// from request to request.
var freeTexts = map[string]bool{
	"content": true, "text": true, "input": true, "output": true, "instructions": true, "arguments": true, "user": true,
	"safety_identifier": true, "prompt_cache_key": true,
}

// escapesAndControls is what makes a text one that encoding/json has to see: control characters and escapes.
const escapesAndControls = controlCharacters + `\`

// What stands between a name and its value, as JSON is written by machines.
const (
	colon      = ":"
	colonSpace = ": "
)

var colons = map[string]bool{colon: true, colonSpace: true}

var (
	escapedBackslash = []byte(`\\`)
	escapedQuote     = []byte(`\"`)
	escapedSlash     = []byte(`\/`)
	// backslashesAndQuote may be an escaped backslash at the end of a string. Without it, every backslash before a quote
	// escapes that quote.
	backslashesAndQuote = []byte(`\\"`)
	modelName           = []byte("model")
)

// jsonObject is the top level of a JSON object: its members in their order, and where they stand. Requests of one
// application look alike but for their texts. So that a decision holds for all of them, and because texts are long, it
// is taken on the skeleton: the body without the insides of long strings and of short texts. Offsets are those of the
// skeleton.
type jsonObject struct {
	body     []byte
	skeleton []byte
	elided   []int // how many bytes the skeleton lacks before its first filler, its second, ..., and behind its last one
	members  []member
	found    []int // place in members, plus one, of each parameter: see validate
	partial  bool  // the decision needed more than the skeleton
}

// What bounds the work for one body, beside its size: encoding/json makes far more memory of many small values than they
// take in a body. Long texts do not count. The published schema has about 40 members.
const (
	maxMembers       = 500
	maxNameBytes     = 4 << 10
	maxValues        = 64 << 10
	maxSkeletonBytes = 512 << 10
)

// member is one name and value of the object, and what is to become of it.
type member struct {
	name        string
	start       int // of the value
	end         int
	replacement []byte // the value that is sent instead
	newName     string // that is sent instead of name; empty: none
	removed     bool
}

// newJSONObject makes the skeleton of a body, or takes the body for it if its strings are many and short.
func newJSONObject(body []byte) *jsonObject {
	obj := &jsonObject{body: body, skeleton: body, elided: []int{0}} // as wholeJSONObject, whose call would cost every request
	covered := body
	if bytes.IndexByte(body, '\\') >= 0 {
		covered = coverEscapes(body)
	}
	if bytes.Count(covered, quote) > skeletonMaxEnds {
		obj.partial = true
		return obj
	}
	cutLongStrings(obj, covered)
	return obj
}

// wholeJSONObject makes an envelope whose skeleton is the body.
func wholeJSONObject(body []byte) *jsonObject {
	return &jsonObject{body: body, skeleton: body, elided: []int{0}}
}

// coverEscapes writes another escape over those that could hide the end of a string, so that every quote left ends one.
// Where a string ends is the one thing that every JSON parser agrees on.
func coverEscapes(body []byte) []byte {
	if bytes.Contains(body, backslashesAndQuote) {
		body = bytes.ReplaceAll(body, escapedBackslash, escapedSlash)
	}
	if bytes.Contains(body, escapedQuote) {
		body = bytes.ReplaceAll(body, escapedQuote, escapedSlash)
	}
	return body
}

// cutLongStrings makes the skeleton of a body whose quotes all end strings: then every second piece between quotes is
// the inside of a string.
func cutLongStrings(obj *jsonObject, covered []byte) {
	pieces := bytes.Split(covered, quote)
	gone, missing := 0, obj.elided
	for i := 1; i < len(pieces); i += 2 {
		length := len(pieces[i])
		if length <= inlineMaxBytes {
			if i < 3 || !freeTexts[string(pieces[i-2])] || !colons[string(pieces[i-1])] || bytes.ContainsAny(pieces[i], escapesAndControls) {
				continue
			}
		} else if length <= inlineModelMaxBytes && i >= 3 && bytes.Equal(pieces[i-2], modelName) {
			continue
		}
		gone += length - len(placeholder)
		missing = append(missing, gone)
		pieces[i] = placeholder
	}
	skeleton := bytes.Join(pieces, quote)
	if bytes.Count(skeleton, placeholder) != len(missing)-1 {
		obj.partial = true // the client wrote the filler itself, and bodyOffset could not tell: the body is read whole
		return
	}
	obj.skeleton = skeleton
	obj.elided = missing
	obj.partial = bytes.Contains(skeleton, escapedSlash) // it may cover another escape
}

// bodyOffset returns where in the body the given offset of the skeleton is.
func bodyOffset(obj *jsonObject, offset int) int {
	return offset + obj.elided[placeholdersBefore(obj, offset)]
}

// placeholdersBefore counts the fillers before an offset of the skeleton.
func placeholdersBefore(obj *jsonObject, offset int) int {
	if len(obj.elided) == 1 {
		return 0 // the skeleton is the body, which may have the filler itself
	}
	return bytes.Count(obj.skeleton[:offset], placeholder)
}

// skeletonValue returns a member's value as the skeleton has it: whole but for the insides of long strings, and with
// some escapes covered.
func skeletonValue(obj *jsonObject, m *member) []byte {
	return obj.skeleton[m.start:m.end]
}

// bodyValue returns a member's value as the client wrote it. If the skeleton has less, the decision is not to be
// remembered.
func bodyValue(obj *jsonObject, m *member) []byte {
	value := obj.body[bodyOffset(obj, m.start):bodyOffset(obj, m.end)]
	obj.partial = obj.partial || !bytes.Equal(value, obj.skeleton[m.start:m.end])
	return value
}

// readMembers reads the members of the one JSON object that the body holds. encoding/json decides what is JSON, but for
// the insides of long strings.
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
	return invalidRequest("too_many_values", "", "The body of the request has too many small values: without its long texts it may have "+
		strconv.Itoa(maxSkeletonBytes)+" bytes and "+strconv.Itoa(maxValues)+" values.")
}

func tooManyMembers() *apiError {
	return invalidRequest("too_many_parameters", "", "The body of the request has more than "+strconv.Itoa(maxMembers)+" parameters.")
}

// jsonError says why the body is not the JSON of one object, and where it stops being so.
func jsonError(obj *jsonObject, decoder *json.Decoder, err error) *apiError {
	offset := int(decoder.InputOffset())
	reason := "it must be one JSON object, and nothing else"
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		reason = "it ends too early"
		offset = len(obj.skeleton)
	} else if err != nil {
		reason = err.Error()
	}
	if syntax, ok := err.(*json.SyntaxError); ok && int(syntax.Offset) > offset {
		offset = int(syntax.Offset)
	}
	return invalidJSON(reason, bodyOffset(obj, offset))
}

// elidedInNames is what shows in a name that the skeleton has not as it is: the filler, and a covered escape.
const elidedInNames = "\x7f/"

// readName reads the name of a member that the skeleton has not as it is, and keeps it. A name that parsers read
// differently, for it is not UTF-8 or has half a surrogate pair, is refused.
func readName(obj *jsonObject, i int) *apiError {
	m := &obj.members[i]
	if strings.ContainsAny(m.name, elidedInNames) {
		obj.partial = true
		start := bodyOffset(obj, nameStart(obj, i))
		if bodyOffset(obj, m.start)-start > maxNameBytes {
			return invalidRequest("string_above_max_length", "", "The name of a parameter has more than "+strconv.Itoa(maxNameBytes)+" bytes.")
		}
		if err := json.NewDecoder(bytes.NewReader(obj.body[start:])).Decode(&m.name); err != nil {
			return invalidJSON(err.Error(), start)
		}
	}
	if strings.ContainsRune(m.name, '\ufffd') {
		return invalidRequest("ambiguous_parameter", "", "Unknown parameter: "+quoted(m.name)+". Its name is not UTF-8.")
	}
	return nil
}

// ambiguousName refuses a second member for a parameter, or one in another spelling.
func ambiguousName(name, meant string) *apiError {
	if name == meant {
		return invalidRequest("duplicate_parameter", name, "The parameter '"+name+"' is given more than once. Send it once.")
	}
	return invalidRequest("ambiguous_parameter", meant, "Unknown parameter: "+quoted(name)+". Did you mean '"+meant+"'?")
}

// nameStart returns where in the skeleton the name of a member begins: at the first quote behind the member before.
func nameStart(obj *jsonObject, i int) int {
	from := 0
	if i > 0 {
		from = obj.members[i-1].end
	}
	return from + bytes.IndexByte(obj.skeleton[from:], '"')
}

// edit puts a value, or nothing, in the place of a part of the body. All bodies with one skeleton have as many fillers
// before that place.
type edit struct {
	from             int
	to               int
	value            []byte
	fromPlaceholders int
	toPlaceholders   int
}

// edits turns what is noted in the members, and additions behind the last one, into edits in their order. The additions
// begin with a comma.
func edits(obj *jsonObject, additions []byte) []edit {
	var list []edit
	if removesAll(obj) {
		end := bytes.LastIndexByte(obj.skeleton, '}')
		start := end
		if len(obj.members) > 0 {
			start = nameStart(obj, 0)
		}
		return countPlaceholders(obj, []edit{{from: start, to: end, value: bytes.TrimPrefix(additions, comma)}})
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

// removesAll tells whether all members are removed, or there is none.
func removesAll(obj *jsonObject) bool {
	for i := range obj.members {
		if !obj.members[i].removed {
			return false
		}
	}
	return true
}

// countPlaceholders notes in edits how many fillers are before them.
func countPlaceholders(obj *jsonObject, list []edit) []edit {
	for i := range list {
		list[i].fromPlaceholders = placeholdersBefore(obj, list[i].from)
		list[i].toPlaceholders = placeholdersBefore(obj, list[i].to)
	}
	return list
}

// renaming puts a member with the new name in the place of one.
func renaming(obj *jsonObject, i int) edit {
	m := &obj.members[i]
	value := m.replacement
	if value == nil {
		value = bodyValue(obj, m)
	}
	return edit{from: nameStart(obj, i), to: m.end, value: append([]byte(`"`+m.newName+`":`), value...)}
}

// removal takes a member away and one comma, the one before, or the one behind if nothing stays before.
func removal(obj *jsonObject, i int, nothingBefore bool) edit {
	if !nothingBefore {
		return edit{from: obj.members[i-1].end, to: obj.members[i].end}
	}
	if i+1 < len(obj.members) {
		return edit{from: nameStart(obj, i), to: nameStart(obj, i+1)}
	}
	return edit{from: nameStart(obj, i), to: obj.members[i].end}
}

// splice applies the edits to the body, and returns it as pieces of the client's own bytes and of ours. All other bytes
// stay as they came.
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
