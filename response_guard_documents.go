package chatcompletion

import (
	"bytes"
	"encoding/json"
	"net/http"
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
	if !mayHoldMatch(g.rules.all, body) {
		return body, true
	}
	return guardMembers(g, body)
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

// guardElements takes a chunk of a streamed array, and sends the elements that have been decided on.
func guardElements(g *responseGuard, chunk []byte, last bool) {
	g.buffer = append(g.buffer, chunk...)
	if len(g.buffer) > maxGuardedBytes {
		blockUninspected(g)
		sendRest(g, nil)
		return
	}
	text := bytes.TrimLeft(g.buffer, "\ufeff \t\r\n[,")
	start := len(g.buffer) - len(text)
	ending := len(g.buffer)
	if trimmed := bytes.TrimRight(text, " \t\r\n"); bytes.HasSuffix(trimmed, arrayEnd) {
		text = trimmed[:len(trimmed)-1]
		if ending = start + len(text); !json.Valid(asArray(text)) {
			text = g.buffer[start:]
			ending = len(g.buffer)
		}
	}
	elements, rest := completeElements(text)
	if elements != nil && len(bytes.TrimSpace(text)) > 0 {
		end := ending - len(rest)
		event := &heldEvent{raw: append([]byte(nil), g.buffer[:end]...)}
		g.buffer = append([]byte(nil), g.buffer[end:]...)
		g.stream.queue = append(g.stream.queue, event)
		g.stream.held += len(event.raw)
		if !guardJSON(g, event, event.raw[start:], start, "") {
			sendRest(g, nil)
			return
		}
		passDecided(g)
		sendPassed(g)
	}
	if last && len(g.buffer) > 0 && g.form == guardsEvents {
		endElements(g)
	}
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
