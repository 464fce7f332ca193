package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
)

// systemElements are the elements of a conversation that are system messages of the client. Offsets are
// those of the skeleton.
type systemElements struct {
	isRead       bool   // else only start is known
	start        int    // of the elements
	leading      int    // how many there are at the beginning
	leadingEnd   int    // of the last one of them
	afterLeading int    // where what follows them begins: after a comma
	isAll        bool   // there are no other elements
	isInner      bool   // there are others than the leading ones
	runs         []edit // which remove them; nil: they stay, or there are none
	first        string // the path of the first one; empty: there is none
	only         string // the path of one that is in the place of an array, and cannot be removed
}

// conversationPrompts finds the system messages of the client in a conversation, as far as the mode of a
// policy depends on them. It looks at elements one by one only if there may be such messages.
func conversationPrompts(sp *systemPrompt, obj *jsonObject, mode string, forbids bool) (*systemElements, *apiError) {
	found := &systemElements{}
	m := promptMember(sp, obj, sp.place.elements)
	if m == nil {
		return found, nil
	}
	found.start = m.start + 1
	found.afterLeading = found.start
	readsAll := forbids || mode == promptReplace
	if !readsAll && mode != promptIfAbsent && (sp.place.form != promptMessage || sp.with == nil || len(sp.with.after) == 0) {
		return found, nil
	}
	found.isRead = true
	value := skeletonValue(obj, m)
	if !mayHaveSystem(value) {
		return found, nil
	}
	if value[0] == '{' {
		isSystem, apiErr := isSystemElement(obj, m.start, value)
		if isSystem {
			found.first = m.name
			found.only = m.name
		}
		return found, apiErr
	}
	if value[0] != '[' {
		return found, nil
	}
	return found, findSystemElements(found, obj, m, readsAll, mode == promptReplace)
}

// Where a skeleton lacks a part of what it takes to tell a role.
var (
	hiddenRoleName = regexp.MustCompile(`\x7f"[ \t\r\n]*:`)
	hiddenRole     = regexp.MustCompile(`role"[ \t\r\n]*:[ \t\r\n]*"\x7f`)
)

var (
	systemText    = []byte("system")
	developerText = []byte("developer")
)

// mayHaveSystem reports whether a value in a skeleton may have the role of a system message in it.
func mayHaveSystem(value []byte) bool {
	lower := bytes.ToLower(value)
	return bytes.Contains(lower, systemText) || bytes.Contains(lower, developerText) || bytes.Contains(lower, unicodeEscape) ||
		hiddenRoleName.Match(lower) || hiddenRole.Match(lower)
}

// restTries is after how many system messages it is worth to see whether there may be more.
const restTries = 4

// systemRun is a run of system messages in an array, by its offsets in that.
type systemRun struct {
	from   int // -1: there is none
	to     int
	keptTo int // where the element before ends; -1: there is none
}

// findSystemElements finds the system messages in an array: all of them, or those at its beginning. It
// ends where there cannot be more.
func findSystemElements(found *systemElements, obj *jsonObject, m *member, readsAll, removes bool) *apiError {
	value := skeletonValue(obj, m)
	decoder := json.NewDecoder(bytes.NewReader(value))
	_, _ = decoder.Token()
	run, tries := &systemRun{from: -1, keptTo: -1}, restTries
	var element json.RawMessage
	for i := 0; decoder.More(); i++ {
		if i == elementsMax {
			return tooMany(m.name, "elements", elementsMax, i+1)
		}
		if err := decoder.Decode(&element); err != nil {
			return invalidJSON(err.Error(), bodyOffset(obj, m.start))
		}
		end := int(decoder.InputOffset())
		isSystem, apiErr := isSystemElement(obj, m.start+end-len(element), element)
		if apiErr != nil {
			return apiErr
		}
		if isSystem {
			addToRun(found, m, run, i, end-len(element), end)
			continue
		}
		closed := run.from >= 0
		if closed {
			closeRun(found, m, run, run.to+bytes.IndexByte(value[run.to:], ',')+1, removes)
		}
		run.keptTo = end
		if !readsAll {
			return nil
		}
		if closed && tries > 0 {
			tries--
			if !mayHaveSystem(value[end:]) {
				return nil
			}
		}
	}
	if run.from >= 0 {
		endRun(found, m, run, removes)
	}
	return nil
}

// addToRun adds a system message to a run.
func addToRun(found *systemElements, m *member, run *systemRun, i, from, to int) {
	if run.from < 0 {
		run.from = from
	}
	run.to = to
	if found.first == "" {
		found.first = elementPath(m.name, i)
	}
	if run.keptTo < 0 {
		found.leading++
		found.leadingEnd = m.start + to
	} else {
		found.isInner = true
	}
}

// closeRun ends a run that an element follows, which begins after a comma.
func closeRun(found *systemElements, m *member, run *systemRun, after int, removes bool) {
	if run.keptTo < 0 {
		found.afterLeading = m.start + after
	}
	if removes {
		found.runs = append(found.runs, edit{from: m.start + run.from, to: m.start + after})
	}
	run.from = -1
}

// endRun ends a run at the end of the array.
func endRun(found *systemElements, m *member, run *systemRun, removes bool) {
	from := run.from
	found.isAll = run.keptTo < 0
	if !found.isAll {
		from = run.keptTo // with the comma before
	}
	if removes {
		found.runs = append(found.runs, edit{from: m.start + from, to: m.start + run.to})
	}
}

// isSystemElement reports whether an element, which begins at an offset of the skeleton, has the role of
// a system message. Where two parsers could read two roles, one of them is enough.
func isSystemElement(obj *jsonObject, at int, element []byte) (bool, *apiError) {
	if element[0] != '{' || !mayHaveSystem(element) {
		return false, nil
	}
	inner := wholeJSONObject(element)
	if apiErr := readMembers(inner); apiErr != nil {
		return false, apiErr
	}
	for i := range inner.members {
		m := &inner.members[i]
		name := m.name
		if strings.ContainsAny(name, elidedInNames) {
			name = textInBody(obj, at+nameStart(inner, i), at+m.start)
		}
		if fold(name) != "role" || element[m.start] != '"' {
			continue
		}
		role := unquote(element[m.start:m.end])
		if bytes.ContainsAny(element[m.start:m.end], elidedInValues) {
			role = textInBody(obj, at+m.start, at+m.end)
		}
		role = strings.ToLower(strings.TrimSpace(role))
		if role == "system" || role == "developer" {
			return true, nil
		}
	}
	return false, nil
}

// textInBody returns the string at the beginning of a part of the body, given by offsets in the
// skeleton; "" if it is invalid.
func textInBody(obj *jsonObject, from, to int) string {
	obj.partial = true
	var text string
	if json.NewDecoder(bytes.NewReader(obj.body[bodyOffset(obj, from):bodyOffset(obj, to)])).Decode(&text) != nil {
		return ""
	}
	return text
}
