package chatcompletion

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// Gemini streams a JSON array unless the client requests events: each element arrives when it is
// complete.

// isArray reports whether a text begins like a JSON array.
func isArray(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n\ufeff")
	return len(text) > 0 && text[0] == '['
}

// elementEnd matches what may be the end of an element, with the beginning of the next one, which may be cut
// off.
var elementEnd = regexp.MustCompile(`\}[ \t\r\n]*,[ \t\r\n]*\{[ \t\r\n]*(?:"(?:candidates|usageMetadata|promptFeedback|modelVersion|responseId|createTime|error)"|"?[a-zA-Z]*$)`)

// maxElementTries bounds the attempts to find the end of the last complete element.
const maxElementTries = 16

// scanElements reads the complete elements of a window of an array, and returns the rest.
func scanElements(reader *responseReader, window []byte, last bool) []byte {
	if reader.head != nil {
		return scanLargeElement(reader, window, last)
	}
	if !last && reader.partial > windowBytes && len(window) < 2*reader.partial {
		return window // it was searched for an end when it had half the size
	}
	text := bytes.TrimLeft(window, "\ufeff \t\r\n[,")
	isClosed := false
	if last {
		text = bytes.TrimRight(text, " \t\r\n")
		isClosed = bytes.HasSuffix(text, arrayEnd)
		text = bytes.TrimSuffix(text, arrayEnd)
	}
	elements, rest := completeElements(text)
	if elements != nil {
		readElements(reader, elements)
	}
	reader.partial = len(rest)
	reader.ended = isClosed && rest == nil && reader.finished
	if last {
		reader.finished = reader.ended
		return nil
	}
	if len(rest) > wholeMaxBytes {
		return keepHeadAndTail(reader, rest)
	}
	return rest
}

// arrayEnd is the end of an array.
var arrayEnd = []byte("]")

// completeElements returns the complete elements at the beginning of a text, as an array, and the rest of
// the text; nil: none is complete. Only what JSON takes for an array of whole elements is one.
func completeElements(text []byte) (elements, rest []byte) {
	elements = nil
	rest = text
	if all := asArray(bytes.TrimRight(text, ", \t\r\n")); json.Valid(all) {
		elements = all
		rest = nil
		return elements, rest
	}
	matches := elementEnd.FindAllIndex(text, -1)
	for tries := 0; tries < maxElementTries && len(matches) > 0; tries++ {
		end := matches[len(matches)-1][0] + 1
		matches = matches[:len(matches)-1]
		if all := asArray(text[:end]); json.Valid(all) {
			elements = all
			rest = text[end:]
			return elements, rest
		}
	}
	return elements, rest
}

// asArray returns elements as an array.
func asArray(elements []byte) []byte {
	return append(append([]byte{'['}, elements...), ']')
}

// readElements reads complete elements: the model of the first one, the usage of the last one with counts
// and, if some have a finish reason, an error or candidates beside the first one, how the candidates have
// ended. Of each kind, it reads at most the last maxEventsRead.
func readElements(reader *responseReader, elements []byte) {
	var list []*geminiMembers
	_ = json.Unmarshal(elements, &list) // a member of another type does not keep the rest from being read
	reader.events += len(list)
	if reader.record.Model == "" && len(list) > 0 && list[0] != nil {
		recordGeminiIdentity(reader, list[0])
	}
	if len(list) > maxEventsRead {
		list = list[len(list)-maxEventsRead:]
	}
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] != nil && list[i].Usage != nil && recordGeminiUsage(reader, list[i].Usage) {
			break
		}
	}
	if bytes.Contains(elements, reasonKey) || bytes.Contains(elements, errorName) || hasSeveralCandidates(elements) {
		for _, members := range list {
			if members != nil {
				recordGemini(reader, members)
			}
		}
	}
	if reader.capture != nil {
		captureElements(reader.capture, elements)
	}
}

// scanLargeElement keeps the end of an element that is too large to be kept as a whole, and of all that
// follow it, and reads it when the array ends.
func scanLargeElement(reader *responseReader, window []byte, last bool) []byte {
	if !last {
		return keepHeadAndTail(reader, window)
	}
	text := bytes.TrimRight(window, " \t\r\n")
	isClosed := bytes.HasSuffix(text, arrayEnd)
	members := largeGemini(reader.head, bytes.TrimSuffix(text, arrayEnd))
	reader.head = nil
	reader.events++
	recordGemini(reader, members)
	if members.Usage != nil {
		recordGeminiUsage(reader, members.Usage)
	}
	reader.ended = isClosed && reader.finished
	reader.finished = reader.ended
	return nil
}
