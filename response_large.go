package chatcompletion

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
)

// Bounds of the work on a large object: the members that are read of its head, and the attempts to find
// one in its tail.
const (
	headMaxMembers = 256
	maxTailMatches = 64
)

// Members that are searched for at the end of a large object.
var tailKeys = []*regexp.Regexp{tailKey("usage"), tailKey("model"), tailKey("error"), tailKey("status"), tailKey("type")}

// tailKey returns what matches the name of a member after what may be before it, which is nothing of a
// string.
func tailKey(name string) *regexp.Regexp {
	return regexp.MustCompile(`[{, \t\n]"` + name + `"[ \t\n]*:`)
}

// containers are the members of events that have members which are read. That of choices is not
// among them: no event with choices is large.
var containers = map[string]bool{"response": true, "message": true}

// keepHeadAndTail keeps the beginning of an event or of a response that is too large to be kept as a
// whole, and returns its end so far.
func keepHeadAndTail(reader *responseReader, window []byte) []byte {
	if reader.head == nil {
		reader.head = append([]byte(nil), window[:edgeMaxBytes]...)
		reader.partial = 0
	}
	skipped := len(window) - edgeMaxBytes
	if skipped <= 0 {
		return window
	}
	if reader.stream {
		reader.events += bytes.Count(window[:skipped+len(dataLine)-1], dataLine)
	} else if reader.wantsParts {
		countImages(&reader.parts, window, skipped)
	}
	return window[skipped:]
}

// readLargeEvent reads an event that is too large to be kept as a whole, and returns the rest of the
// window. end is where the event ends; 0: with the stream.
func readLargeEvent(reader *responseReader, window []byte, end int) []byte {
	isComplete := end > 0
	if !isComplete {
		end = len(window)
	}
	reader.events += bytes.Count(window[:end], dataLine)
	if isGemini(reader.kind) {
		readLargeGemini(reader, window[:end], isComplete)
		return window[end:]
	}
	members := largeEventMembers(reader, reader.head, window[:end])
	reader.head = nil
	if isComplete {
		recordMembers(reader, eventProtocolOf(members.Type), members)
	} else {
		recordUsage(reader, eventProtocolOf(members.Type), members)
	}
	return window[end:]
}

// linesAfterData matches the lines at the end of an event that are not data.
var linesAfterData = regexp.MustCompile("(?:\n(?:event|id|retry)?:[^\n]*)+\n*$")

// largeEventMembers returns what is read of an event with a head and a tail.
func largeEventMembers(reader *responseReader, head, tail []byte) *responseMembers {
	data := head
	if at := bytes.Index(head, dataLine); at >= 0 {
		data = head[at:]
	}
	tail = linesAfterData.ReplaceAll(tail, nil)
	members := largeMembers(reader, bytes.ReplaceAll(data, dataLine, lineFeed), bytes.ReplaceAll(tail, dataLine, lineFeed))
	if members.Type == "" {
		members.Type = eventType(head)
	}
	return members
}

// largeMembers returns the members at the beginning and at the end of a JSON object of which the rest
// is unknown, or is not worth reading. An end that is inside a container is taken to be in the one in
// which the beginning ends. An object that is cut off has no end.
func largeMembers(reader *responseReader, head, tail []byte) *responseMembers {
	members := &responseMembers{}
	if reader.cut {
		tail = nil
	}
	readTail(members, tail, "{")
	if reader.kind == embeddings && members.Model != "" && members.Usage != nil && !bytes.Contains(head, errorName) {
		return members // there are only numbers before
	}
	closed, container := closeHead(head)
	_ = unmarshalMembers(closed, members)
	if container != "" {
		readTail(members, tail, `{"`+container+`":{`)
	}
	return members
}

// readTail reads the members that the tail of an object has. opening is what the object begins with
// if they are its own: only then, the tail is valid JSON after it. That of a nested object closes one
// object too many.
func readTail(members *responseMembers, tail []byte, opening string) {
	for _, key := range tailKeys {
		matches := key.FindAllIndex(tail, -1)
		for tries := 0; tries < maxTailMatches && len(matches) > 0; tries++ {
			at := matches[len(matches)-1][0] + 1
			matches = matches[:len(matches)-1]
			text := append([]byte(opening), tail[at:]...)
			if json.Valid(text) && (len(opening) == 1 || !beginsInTail(tail[:at])) {
				_ = unmarshalMembers(text, members)
				break
			}
		}
	}
}

// Parts of JSON without escapes. Without them, the brackets of a text remain.
var (
	plainStrings = regexp.MustCompile(`"[^"]*"`)
	notBrackets  = regexp.MustCompile(`[^{}\[\]]+`)
	objectPair   = []byte("{}")
	arrayPair    = []byte("[]")
)

// tailMaxDepth bounds the nesting that is followed in a tail.
const tailMaxDepth = 64

// beginsInTail reports whether an object that is open after a text, which is outside of strings then,
// begins in the text, or may do so: then, it is not the one in which the head ends.
func beginsInTail(text []byte) bool {
	text = coverEscapes(text)
	if bytes.Count(text, quote)%2 != 0 {
		text = text[bytes.IndexByte(text, '"')+1:] // it begins in a string
	}
	text = notBrackets.ReplaceAll(plainStrings.ReplaceAll(text, nil), nil)
	for depth := 0; depth < tailMaxDepth; depth++ {
		inner := bytes.ReplaceAll(bytes.ReplaceAll(text, objectPair, nil), arrayPair, nil)
		if len(inner) == len(text) {
			return bytes.IndexByte(text, '{') >= 0 || bytes.IndexByte(text, '[') >= 0
		}
		text = inner
	}
	return true
}

// closeHead returns the complete members that the beginning of an object has, as an object, and the
// name of the container in which the beginning ends; "": in none.
func closeHead(head []byte) ([]byte, string) {
	decoder := json.NewDecoder(bytes.NewReader(head))
	token, err := decoder.Token()
	if err != nil || token != json.Delim('{') {
		return nil, ""
	}
	end, container := int(decoder.InputOffset()), ""
	for read := 0; read < headMaxMembers; read++ {
		token, err = decoder.Token()
		if err != nil || (token == json.Delim('}') && container == "") {
			break
		}
		container, err = readHeadMember(decoder, container, token)
		if err != nil {
			break
		}
		end = int(decoder.InputOffset())
	}
	closed := append(append([]byte(nil), head[:end]...), '}')
	if container != "" {
		closed = append(closed, '}')
	}
	return closed, container
}

// errArray is the reason why the rest of a head is not read.
var errArray = errors.New("a container that is an array has no members")

// readHeadMember reads the value of the member whose name is the token, or the end of the container, and
// returns the container that the next member is in: the value of a container is read member by member.
func readHeadMember(decoder *json.Decoder, container string, token json.Token) (string, error) {
	name, isName := token.(string)
	if !isName {
		return "", nil
	}
	if container != "" || !containers[name] {
		var value json.RawMessage
		return container, decoder.Decode(&value)
	}
	token, err := decoder.Token()
	if token == json.Delim('[') {
		return "", errArray
	}
	if token == json.Delim('{') {
		container = name
	}
	return container, err
}
