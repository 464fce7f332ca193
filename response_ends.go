package chatcompletion

import (
	"bytes"
	"encoding/json"
	"errors"
)

// endMaxMembers bounds the members that are read of the beginning of a large object.
const endMaxMembers = 256

// Members that are searched for at the end of a large object.
var endKeys = [][]byte{[]byte(`"usage"`), []byte(`"model"`), []byte(`"error"`), []byte(`"status"`), []byte(`"type"`)}

// containers are the members of events that have members which are read. That of choices is not
// among them: no event with choices is large.
var containers = map[string]bool{"response": true, "message": true}

// keepEnds keeps the beginning of an event or of a response that is too large to be kept as a
// whole, and returns its end so far.
func keepEnds(reader *responseReader, window []byte) []byte {
	if reader.head == nil {
		reader.head = append([]byte(nil), window[:endMaxBytes]...)
		reader.partial = 0
	}
	cut := len(window) - endMaxBytes
	if cut <= 0 {
		return window
	}
	if reader.stream {
		reader.events += bytes.Count(window[:cut+len(dataLine)-1], dataLine)
	}
	return window[cut:]
}

// readLargeEvent reads an event that is too large to be kept as a whole, and returns the rest of
// the window. end is where the event ends; 0: with the stream.
func readLargeEvent(reader *responseReader, window []byte, end int) []byte {
	isComplete := end > 0
	if !isComplete {
		end = len(window)
	}
	reader.events += bytes.Count(window[:end], dataLine)
	head, tail := reader.head, window[:end]
	reader.head = nil
	members := endMembers(reader, largeData(head), largeData(tail))
	if members.Type == "" {
		members.Type = eventType(head)
	}
	if isComplete {
		recordMembers(reader, members)
	} else {
		recordUsage(reader, protocolOf(members.Type), members)
	}
	return window[end:]
}

// largeData returns the data in a part of a large event.
func largeData(part []byte) []byte {
	if at := bytes.Index(part, dataLine); at >= 0 {
		if before := bytes.IndexByte(part, '{'); before < 0 || before > at {
			part = part[at:]
		}
	}
	return bytes.ReplaceAll(part, dataLine, lineFeed)
}

// endMembers returns the members at the beginning and at the end of a JSON object of which the rest
// is unknown, or is not worth reading. An end that is inside a container is taken to be in the one in
// which the beginning ends. An object that is cut off has no end.
func endMembers(reader *responseReader, head, tail []byte) *responseMembers {
	members := &responseMembers{}
	if reader.cut {
		tail = nil
	}
	readTail(members, tail, "{")
	if members.Model != "" && members.Usage != nil {
		return members
	}
	closed, container := closeHead(head)
	_ = unmarshalMembers(closed, members)
	if container != "" {
		readTail(members, tail, `{"`+container+`":{`)
	}
	return members
}

// readTail reads the members that the end of an object has. opening is what the object begins with
// if they are its own: only then, the end is valid JSON after it. That of a nested object closes one
// object too many, and text in a string is not valid as a member.
func readTail(members *responseMembers, tail []byte, opening string) {
	for _, key := range endKeys {
		before := tail
		for tries := 0; tries < maxMatches; tries++ {
			at := bytes.LastIndex(before, key)
			if at < 0 {
				break
			}
			if unmarshalMembers(append([]byte(opening), tail[at:]...), members) {
				break
			}
			before = before[:at]
		}
	}
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
	for read := 0; read < endMaxMembers; read++ {
		token, err = decoder.Token()
		name, isName := token.(string)
		if err != nil || (!isName && container == "") {
			break
		}
		container, err = readHeadMember(decoder, container, name)
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

// errNotRead is the reason why the rest of the beginning of an object is not read.
var errNotRead = errors.New("a container is an array")

// readHeadMember reads the value of a member, and returns the container that the next member is in.
// A name of "" stands for the end of the container, and the value of a container is read member by
// member.
func readHeadMember(decoder *json.Decoder, container, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	if container != "" || !containers[name] {
		var value json.RawMessage
		return container, decoder.Decode(&value)
	}
	token, err := decoder.Token()
	if token == json.Delim('[') {
		return "", errNotRead
	}
	if token == json.Delim('{') {
		container = name
	}
	return container, err
}
