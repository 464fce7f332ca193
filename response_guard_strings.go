package chatcompletion

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"strconv"
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
	depth   int    // how many it is in
	path    string // the names of the members that lead to it, so far as it is no longer than a protocol's
	name    string // of the member that it is the value of
	isArray bool
	place   int         // in the array that it is in
	count   int         // of commas in it, if it is an array
	index   string      // of the members that say which of several it is, see identities
	isSet   string      // the member that sets thoughts apart from a text, if it is true
	indexes []jsonIndex // what index consists of
}

// jsonIndex is a member that says which of several an object is.
type jsonIndex struct {
	name  string
	value string
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

// Bounds on the work for a JSON text in which something matches, or that is an event: each name, value and
// bracket is looked at, and each string is known by the names that lead to it.
const (
	maxGuardTokens    = 200000
	maxGuardDepth     = 64
	maxGuardPathBytes = 256
	maxGuardNameBytes = 32
)

// jsonToken matches what JSON consists of.
var jsonToken = regexp.MustCompile(`"(?:[^"\\]|\\(?s:.))*"|[{}\[\]:,]|[^ \t\r\n"{}\[\]:,]+`)

// findStrings returns the strings of valid JSON texts; nil: they are too many, or too deep.
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
			if node.depth == maxGuardDepth {
				return nil
			}
			isName = data[place[0]] == '{'
			top = addNode(found, top, name, !isName)
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
				name = memberName(data[place[0]+1 : place[1]-1])
				continue
			}
			addString(found, data, top, name, place)
		default:
			addScalar(node, name, string(data[place[0]:place[1]]))
		}
	}
	return found
}

// logProbsNames are the members that repeat a text as tokens, and their bytes as numbers.
var logProbsNames = map[string]bool{"logprobs": true, "logprobsResult": true}

// addNode adds an object or an array, and returns its number.
func addNode(found *jsonStrings, parent int, name string, isArray bool) int {
	in := &found.nodes[parent]
	path := in.path
	if name != "" && !in.isArray && len(path) < maxGuardPathBytes {
		path += "/" + name
	}
	found.nodes = append(found.nodes, jsonNode{parent: parent, depth: in.depth + 1, path: path, name: name, isArray: isArray, place: in.count})
	return len(found.nodes) - 1
}

// memberName returns the name of a member, or what stands for one that is longer than those of protocols.
func memberName(name []byte) string {
	if len(name) <= maxGuardNameBytes && bytes.IndexByte(name, '\\') < 0 {
		return string(name)
	}
	return unusualName(string(name))
}

// unusualName is memberName for a name that is long, or has escapes.
func unusualName(name string) string {
	name = decodeEscapes(name).text
	if len(name) <= maxGuardNameBytes {
		return name
	}
	hash := sha256.Sum256([]byte(name))
	return hex.EncodeToString(hash[:maxGuardNameBytes/2])
}

// addString adds a string value.
func addString(found *jsonStrings, data []byte, top int, name string, place []int) {
	decoded := decodeEscapes(string(data[place[0]+1 : place[1]-1]))
	text := guardedString{text: decoded.text, as: decoded, name: name, node: top, from: place[0] + 1, to: place[1] - 1}
	if identities[name] {
		addIndex(&found.nodes[top], name, decoded.text)
	}
	found.strings = append(found.strings, text)
}

// identities are the members that say which of several an object is. That of an item is another one in each
// event of some providers: where there is a number, it is left out.
var identities = map[string]bool{"index": true, "output_index": true, "content_index": true, "summary_index": true, itemID: true}

const itemID = "item_id"

// addScalar keeps what a number or a literal says about its object.
func addScalar(node *jsonNode, name, value string) {
	if identities[name] {
		addIndex(node, name, value)
	} else if name == "thought" && value == "true" {
		node.isSet = "/" + name
	}
}

// addIndex keeps a member that says which of several its object is. Of two with one name, the last one
// counts.
func addIndex(node *jsonNode, name, value string) {
	if name != itemID {
		number, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return
		}
		value = strconv.FormatFloat(number, 'f', -1, 64)
	}
	one := jsonIndex{name, memberName([]byte(value))}
	at := 0
	for at < len(node.indexes) && node.indexes[at].name < name {
		at++
	}
	if at < len(node.indexes) && node.indexes[at].name == name {
		node.indexes[at] = one
	} else {
		node.indexes = append(node.indexes[:at], append([]jsonIndex{one}, node.indexes[at:]...)...)
	}
	joinIndexes(node)
}

// joinIndexes sets the index of an object.
func joinIndexes(node *jsonNode) {
	node.index = ""
	hasNumber := len(node.indexes) > 1 || node.indexes[0].name != itemID
	for _, one := range node.indexes {
		if one.name != itemID || !hasNumber {
			node.index += "/" + one.name + one.value
		}
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

// nullEdits returns the edits that empty log probabilities; nil: they are empty.
func nullEdits(data []byte, places []jsonPlace) []guardEdit {
	var edits []guardEdit
	for _, place := range places {
		empty := []byte("null")
		if data[place.from] == '[' {
			empty = []byte("[]")
		}
		if !bytes.Equal(data[place.from:place.to], empty) {
			edits = append(edits, guardEdit{place.from, place.to, empty})
		}
	}
	return edits
}
