package chatcompletion

import (
	"bytes"
	"encoding/json"
)

// Chat completions have the arguments of a call as text, which a skeleton does not have. In other protocols they
// are objects, and each call has others: without their insides, one decision holds for many calls. Nothing
// that is decided depends on them.

// maxCoveredArguments bounds the objects that are covered in one skeleton. A body with more is the first one of
// a conversation, whose skeleton is like no other.
const maxCoveredArguments = 16

// coveredArguments stands for the arguments of a call: an object, in which a placeholder stands for the rest.
var coveredArguments = []byte("{\"\":\"\x7f\"}")

// coverAll covers the objects of all names that an endpoint has for arguments, and for results of calls. The
// bounds on a body count them all the same.
func coverAll(m *conversationMemory, x *excerpt, obj *jsonObject) {
	if obj.partial && (len(obj.elided) == 1 || bytes.Contains(obj.skeleton, notUTF8)) {
		return // the skeleton is the body, or has placeholders of the client's
	}
	for _, name := range m.arguments {
		if count := bytes.Count(obj.skeleton, name); count > 0 && count <= maxCoveredArguments {
			coverArguments(x, obj, name)
		}
	}
	addCounts(&x.counts, &x.covered)
}

// coverArguments removes the insides of the objects that are values of a name from a skeleton. encoding/json
// decides where they end, and whether they are valid.
func coverArguments(x *excerpt, obj *jsonObject, name []byte) {
	text, before := obj.skeleton, obj.elided
	var kept, covered [][]byte
	elided := []int{0}
	from, copied, passed, gone := 0, 0, 0, 0 // passed: placeholders up to copied; gone: bytes that are missing before
	for {
		found := bytes.Index(text[from:], name)
		if found < 0 {
			break
		}
		from += found + len(name)
		value := bytes.TrimLeft(text[from:], jsonSpace)
		if len(value) == 0 || value[0] != '{' {
			continue
		}
		start := len(text) - len(value)
		var object json.RawMessage
		if json.NewDecoder(bytes.NewReader(value)).Decode(&object) != nil {
			return
		}
		from = start + len(object)
		elided = appendPlaces(elided, before[passed+1:passed+1+bytes.Count(text[copied:start], placeholder)], gone)
		passed += bytes.Count(text[copied:from], placeholder)
		gone += len(object) - len(coveredArguments)
		elided = append(elided, before[passed]+gone)
		kept = append(kept, text[copied:start], coveredArguments)
		covered = append(covered, object)
		copied = from
	}
	if covered == nil {
		return
	}
	obj.elided = appendPlaces(elided, before[passed+1:], gone)
	obj.skeleton = bytes.Join(append(kept, text[copied:]), nil)
	obj.partial = bytes.Contains(obj.skeleton, escapedSlash) // as in cutLongStrings
	addElements(&x.covered, bytes.Join(covered, nil))
}

// appendPlaces appends the places of placeholders before which more is missing.
func appendPlaces(elided, more []int, gone int) []int {
	for _, missing := range more {
		elided = append(elided, missing+gone)
	}
	return elided
}

// addElements adds what the bounds count in a part of the conversation.
func addElements(sum *counts, part []byte) {
	more := skeletonCounts(part)
	more.objects = int32(bytes.Count(part, openingBrace))
	addCounts(sum, &more)
}
