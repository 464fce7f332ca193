package chatcompletion

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"sort"
	"strings"
	"unicode/utf8"
)

// guardDocument inspects a response as a whole, and returns it with what is masked. It reports whether
// it may be sent.
func guardDocument(g *responseGuard, body []byte) ([]byte, bool) {
	if len(bytes.TrimSpace(body)) == 0 {
		return body, true
	}
	isJSON := isJSONText(body)
	if !isJSON && (beginsJSON(body) || isJSONType(g.ResponseWriter.Header())) && g.status < http.StatusBadRequest {
		return nil, blockUninspected(g)
	}
	if !utf8.Valid(body) {
		if !isJSON && !isTextType(g.ResponseWriter.Header()) {
			return nil, blockUninspected(g)
		}
		body = []byte(string([]rune(string(body)))) // as clients decode it
	}
	if !isJSON {
		return guardText(g, body)
	}
	if !json.Valid(bytes.TrimSpace(bytes.TrimPrefix(body, byteOrderMark))) {
		return guardJSONLines(g, body)
	}
	if bytes.Count(body, partName) > 1 && mayJoinMatch(g, body) {
		masked, goesOn := guardAsEvents(g, [][]byte{body})
		if !goesOn {
			return nil, false
		}
		body = masked
	}
	if !mayHoldMatch(g.rules.all, body) {
		return body, true
	}
	return guardMembers(g, body)
}

// The texts of a document that clients may join, such as those of the blocks of a message, and what is between the
// contents of two of them if nothing else is there.
var (
	partName  = []byte(`"text"`)
	partText  = regexp.MustCompile(`"text"[ \t\r\n]*:[ \t\r\n]*"(?:[^"\\]|\\.)*"`)
	partStart = regexp.MustCompile(`"?"text"[ \t\r\n]*:[ \t\r\n]*"`)
)

// mayJoinMatch reports whether the texts of a document that clients may join may hold a match as one JSON string.
func mayJoinMatch(g *responseGuard, body []byte) bool {
	texts := partText.FindAll(body, -1)
	if len(texts) < 2 {
		return false
	}
	joined := partStart.ReplaceAll(bytes.Join(texts, nil), nil)
	return mayHoldMatch(g.rules.all, append([]byte{'"'}, joined...))
}

// guardJSONLines inspects a response with a JSON text in each line.
func guardJSONLines(g *responseGuard, body []byte) ([]byte, bool) {
	return guardAsEvents(g, bytes.SplitAfter(body, lineFeed))
}

// guardAsEvents inspects JSON texts as if they were the events of a stream, which joins what clients join.
func guardAsEvents(g *responseGuard, texts [][]byte) ([]byte, bool) {
	st := newGuardedStream(false)
	g.stream = st
	goesOn := true
	for _, text := range texts {
		event := &heldEvent{raw: text}
		st.queue = append(st.queue, event)
		if len(bytes.TrimSpace(text)) > 0 {
			goesOn = goesOn && guardJSON(g, event, text, 0, "")
		}
	}
	goesOn = goesOn && endChannels(g)
	g.stream = nil
	if !goesOn {
		return nil, false
	}
	passDecided(st)
	return st.passed, true
}

// isJSONText reports whether a response is a JSON text, or one in each line.
func isJSONText(body []byte) bool {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, byteOrderMark))
	return json.Valid(body) || json.Valid(asArray(bytes.ReplaceAll(body, lineFeed, comma)))
}

// beginsJSON reports whether a response begins like a JSON object or array.
func beginsJSON(body []byte) bool {
	text := bytes.TrimLeft(body, " \t\r\n\ufeff")
	return text[0] == '{' || text[0] == '['
}

func isJSONType(header http.Header) bool {
	return strings.Contains(strings.ToLower(header.Get("Content-Type")), "json")
}

func isTextType(header http.Header) bool {
	return strings.HasPrefix(strings.ToLower(header.Get("Content-Type")), "text/")
}

// guardText inspects a response that is text.
func guardText(g *responseGuard, body []byte) ([]byte, bool) {
	text := string(body)
	if !matchesAnyLevel(g.rules.all, text) {
		return body, true
	}
	in := &inspection{rules: g.rules.all, body: body}
	inspectText(in, 0, len(body))
	edits, goesOn := applyFindings(g, in)
	if !goesOn || edits == nil {
		return body, goesOn
	}
	return applyGuardEdits(body, edits), true
}

// guardMembers inspects the texts of a JSON document.
func guardMembers(g *responseGuard, body []byte) ([]byte, bool) {
	edits, goesOn := applyFindings(g, inspectJSON(g.rules.all, body, false))
	if !goesOn || edits == nil {
		return body, goesOn
	}
	found := findStrings(body)
	if found == nil {
		return nil, blockUninspected(g)
	}
	edits = append(edits, nullEdits(body, found.nulls)...)
	sort.SliceStable(edits, func(i, j int) bool { return edits[i].from < edits[j].from })
	return applyGuardEdits(body, edits), true
}

// applyFindings lists what has matched in a document, and returns the edits that mask it. It reports whether
// the document may be sent.
func applyFindings(g *responseGuard, in *inspection) ([]guardEdit, bool) {
	for _, r := range in.matched {
		if r != in.blocking {
			noteMatch(g, r)
		}
	}
	switch {
	case g.rules.reportOnly:
		return nil, true
	case in.blocking != nil:
		return nil, blockMatch(g, in.blocking)
	case in.isLimit:
		return nil, blockUninspected(g)
	}
	return in.edits, true
}

// guardElements takes a chunk of a streamed array, and sends the elements that have been decided on. However
// many chunks an element has, it is read once.
func guardElements(g *responseGuard, chunk []byte, last bool) {
	g.buffer = append(g.buffer, chunk...)
	scan := &g.stream.element
	if scan.depth > 0 && !last && !endsElement(scan, chunk) {
		if scan.isTooDeep {
			blockUninspected(g)
		} else {
			boundHeld(g, 0)
		}
		sendRest(g, nil)
		return
	}
	isOpen := guardWholeElements(g)
	if isOpen {
		passDecided(g.stream)
		isOpen = boundHeld(g, 0)
	}
	if !isOpen {
		sendRest(g, nil)
		return
	}
	sendPassed(g)
	if last && len(g.buffer) > 0 {
		endElements(g)
	}
}

// guardWholeElements inspects the complete elements that the buffer begins with, and reports whether the stream
// continues.
func guardWholeElements(g *responseGuard) bool {
	text := bytes.TrimLeft(g.buffer, "\ufeff \t\r\n[,")
	start := len(g.buffer) - len(text)
	g.stream.element = elementScan{}
	if len(bytes.Trim(text, " \t\r\n]")) == 0 {
		return len(g.buffer) <= edgeMaxBytes || blockUninspected(g)
	}
	length := elementsLength(text)
	if rest := bytes.TrimLeft(text[length:], " \t\r\n,"); len(rest) > 0 && rest[0] != ']' {
		endsElement(&g.stream.element, rest)
		if g.stream.element.depth == 0 {
			return blockUninspected(g) // it is no object
		}
	}
	if length == 0 {
		return true
	}
	end := start + length
	event := &heldEvent{raw: append([]byte(nil), g.buffer[:end]...)}
	g.buffer = append([]byte(nil), g.buffer[end:]...)
	g.stream.queue = append(g.stream.queue, event)
	g.stream.held += len(event.raw)
	return guardJSON(g, event, event.raw[start:], start, "")
}

// maxElements bounds the elements of an array that are looked for one by one.
const maxElements = 1000

// elementsLength returns the length of the complete elements at the beginning of a text; 0: there are none.
func elementsLength(text []byte) int {
	all := text
	if trimmed := bytes.TrimRight(text, " \t\r\n"); bytes.HasSuffix(trimmed, arrayEnd) {
		all = trimmed[:len(trimmed)-1]
	}
	if elements, rest := completeElements(all); elements != nil {
		return len(all) - len(rest)
	}
	decoder := json.NewDecoder(io.MultiReader(bytes.NewReader(arrayStart), bytes.NewReader(text)))
	_, _ = decoder.Token()
	length := 0
	for count := 0; count < maxElements && decoder.More(); count++ {
		var element json.RawMessage
		if decoder.Decode(&element) != nil {
			break
		}
		length = int(decoder.InputOffset()) - len(arrayStart)
	}
	return length
}

// arrayStart is the beginning of an array.
var arrayStart = []byte("[")

// elementScan is what has arrived of an element of a streamed array.
type elementScan struct {
	depth     int    // the objects and arrays that have no end yet
	open      string // what stands for a string that has none
	isTooDeep bool
}

// Strings of JSON, and objects and arrays without others in them.
var (
	wholeStrings = regexp.MustCompile(`"(?:[^"\\]|\\(?s:.))*"`)
	wholeNodes   = regexp.MustCompile(`[\[{][^\[\]{}]*[\]}]`)
)

// endsElement scans more of an element, and reports whether it has ended. Compiled code does the work: it takes
// out strings, and then, level by level, objects and arrays.
func endsElement(scan *elementScan, chunk []byte) bool {
	text := wholeStrings.ReplaceAll(append([]byte(scan.open), chunk...), nil)
	scan.open = ""
	if at := bytes.IndexByte(text, '"'); at >= 0 {
		scan.open = `"`
		if trimmed := bytes.TrimRight(text[at:], `\`); (len(text)-at-len(trimmed))%2 == 1 {
			scan.open = `"\`
		}
		text = text[:at]
	}
	for level := 0; wholeNodes.Match(text); level++ {
		if level == maxGuardDepth {
			scan.isTooDeep = true
			return false
		}
		text = wholeNodes.ReplaceAll(text, nil)
	}
	ends := bytes.Count(text, []byte("]")) + bytes.Count(text, []byte("}"))
	begins := bytes.Count(text, []byte("[")) + bytes.Count(text, []byte("{"))
	isEnd := ends >= scan.depth
	scan.depth += begins - ends
	return isEnd
}

// endElements decides on what follows the last complete element of an array that has ended.
func endElements(g *responseGuard) {
	if len(bytes.Trim(g.buffer, " \t\r\n,[]")) > 0 {
		blockUninspected(g)
		return
	}
	g.stream.queue = append(g.stream.queue, &heldEvent{raw: g.buffer})
	g.buffer = nil
}
