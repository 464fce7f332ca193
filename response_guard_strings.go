package chatcompletion

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// guardedString is a string value in a JSON text, and where it is.
type guardedString struct {
	text string
	as   *unescapedText // how its escapes are decoded
	name string         // of the member; of an element of an array: that of the array
	node int            // of the object or the array that it is in
	from int            // of what is between its quotes
	to   int
}

// jsonNode is an object or an array in a JSON text.
type jsonNode struct {
	parent  int    // below 0: none
	path    string // the names of the members that lead to it
	name    string // of the member that it is the value of
	isArray bool
	place   int    // in the array that it is in
	count   int    // of commas in it, if it is an array
	index   string // of the members that say which of several it is: index, output_index and others
	isSet   string // the names of members that are true
}

// jsonStrings are the strings of a JSON text.
type jsonStrings struct {
	nodes   []jsonNode
	strings []guardedString
	nulls   []jsonPlace // where log probabilities are, which repeat a text in another form
}

// jsonPlace is a value in a JSON text.
type jsonPlace struct {
	from int
	to   int
}

// maxGuardTokens bounds the names, values and brackets of a JSON text in which something matches: each is
// looked at.
const maxGuardTokens = 200000

// jsonToken matches what JSON consists of.
var jsonToken = regexp.MustCompile(`"(?:[^"\\]|\\(?s:.))*"|[{}\[\]:,]|[^ \t\r\n"{}\[\]:,]+`)

// findStrings returns the strings of valid JSON texts; nil: they are too many.
func findStrings(data []byte) *jsonStrings {
	places := jsonToken.FindAllIndex(data, maxGuardTokens+1)
	if len(places) > maxGuardTokens {
		return nil
	}
	found := &jsonStrings{nodes: []jsonNode{{parent: -1}}}
	top, name, isName, logStart := 0, "", false, -1
	for i, place := range places {
		node := &found.nodes[top]
		switch data[place[0]] {
		case '{', '[':
			if logProbsNames[name] && logStart < 0 {
				logStart = place[0]
			}
			path := node.path
			if name != "" && !node.isArray {
				path += "/" + name
			}
			found.nodes = append(found.nodes, jsonNode{parent: top, path: path, name: name, isArray: data[place[0]] == '[', place: node.count})
			top = len(found.nodes) - 1
			isName = data[place[0]] == '{'
		case '}', ']':
			if node.parent >= 0 {
				top = node.parent
			}
			if logStart >= 0 && logProbsNames[node.name] && !logProbsNames[found.nodes[top].name] {
				found.nulls = append(found.nulls, jsonPlace{logStart, place[1]})
				logStart = -1
			}
			name = found.nodes[top].name
			isName = false
		case ':':
			isName = false
		case ',':
			if node.isArray {
				node.count++
			} else {
				isName = node.parent >= 0
			}
		case '"':
			if isName && i+1 < len(places) && data[places[i+1][0]] == ':' {
				name = string(data[place[0]+1 : place[1]-1])
				continue
			}
			addString(found, data, top, name, place)
		default:
			addScalar(node, name, data[place[0]:place[1]])
		}
	}
	return found
}

// logProbsNames are the members that repeat a text as tokens, and their bytes as numbers.
var logProbsNames = map[string]bool{"logprobs": true, "logprobsResult": true}

// addString adds a string value.
func addString(found *jsonStrings, data []byte, top int, name string, place []int) {
	node := &found.nodes[top]
	decoded := decodeEscapes(string(data[place[0]+1 : place[1]-1]))
	text := guardedString{text: decoded.text, as: decoded, name: name, node: top, from: place[0] + 1, to: place[1] - 1}
	if name == "item_id" {
		node.index += "/" + text.text
	}
	found.strings = append(found.strings, text)
}

// addScalar keeps what a number or a literal says about its object.
func addScalar(node *jsonNode, name string, value []byte) {
	if strings.HasSuffix(name, "index") {
		node.index += "/" + name + string(value)
	} else if value[0] == 't' {
		node.isSet += "/" + name
	}
}

// maskEdits returns the edits that mask parts of a string whose text begins at an offset of a text.
func maskEdits(s *guardedString, textStart int, spans []maskedSpan) []guardEdit {
	var edits []guardEdit
	for _, span := range spans {
		from, to := span.from-textStart, span.to-textStart
		if from < 0 {
			from = 0
		}
		if to > len(s.text) {
			to = len(s.text)
		}
		if from >= to {
			continue
		}
		characters := utf8.RuneCountInString(s.text[from:to])
		start := rawOffset(s.as, from)
		end := rawOffset(s.as, to)
		edits = append(edits, guardEdit{s.from + start, s.from + end, []byte(strings.Repeat(span.char, characters))})
	}
	return edits
}

// nullEdits returns the edits that empty log probabilities.
func nullEdits(data []byte, places []jsonPlace) []guardEdit {
	var edits []guardEdit
	for _, place := range places {
		empty := []byte("null")
		if data[place.from] == '[' {
			empty = []byte("[]")
		}
		edits = append(edits, guardEdit{place.from, place.to, empty})
	}
	return edits
}
