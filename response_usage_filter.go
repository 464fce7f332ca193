package chatcompletion

import (
	"bytes"
	"encoding/json"
)

// bufferedMaxBytes bounds the partial event that is buffered until it is complete; a client could
// not use it earlier either. A larger event is not a usage event, and passes in pieces.
const bufferedMaxBytes = 64 << 10

// usageMaxLines bounds the lines of an event that may be the usage event, since each is examined.
// As indented JSON, that event has about 20, which count twice if they end in two bytes.
const usageMaxLines = 100

// tokensKey ends the names of most members of a usage.
var tokensKey = []byte(`_tokens"`)

// usageFilter removes the usage event from the stream of a client that did not request it.
type usageFilter struct {
	midEvent  bool   // the next chunk does not start with an event
	buffered  []byte // the beginning of an event whose end has not arrived
	largeTail []byte // the last bytes sent of an event too large to buffer; nil: no such event is open
	pendingLF pendingLF
	// beganInLarge is set if the latest chunk began inside a large event.
	beganInLarge bool
}

// pendingLF says what to do with a line feed that arrives next: with the carriage return before it,
// it ends the same line.
type pendingLF int

const (
	noLF   pendingLF = iota
	passLF           // it belongs to an event that was sent
	dropLF           // it belongs to a usage event that was removed
)

// filterUsage takes a chunk of a stream, and returns what the client gets: all complete events
// except usage events. It buffers the beginning of an event.
func filterUsage(f *usageFilter, chunk []byte) []byte {
	if len(chunk) == 0 {
		return nil
	}
	var shown []byte
	if f.pendingLF != noLF && chunk[0] == '\n' {
		if f.pendingLF == passLF {
			shown = append(shown, '\n')
		}
		chunk = chunk[1:]
	}
	f.pendingLF = noLF
	f.beganInLarge = f.largeTail != nil
	if f.largeTail != nil {
		end := largeEventEnd(f, chunk)
		shown = append(shown, chunk[:end]...)
		chunk = chunk[end:]
	}
	if len(chunk) > 0 {
		shown = append(shown, filterEvents(f, chunk)...)
	}
	f.midEvent = len(f.buffered) > 0 || f.largeTail != nil || f.pendingLF != noLF
	return shown
}

// filterEvents returns the events that are complete with a chunk, without usage events, and buffers the
// rest. What is buffered has no end, and is neither searched nor copied again with every chunk.
func filterEvents(f *usageFilter, chunk []byte) []byte {
	seen := len(f.buffered) - 3 // it may end in the middle of the event's end
	if seen < 0 {
		seen = 0
	}
	f.buffered = append(f.buffered, chunk...)
	var shown []byte
	if end := lastEventEnd(f.buffered[seen:]); end > 0 {
		events := f.buffered[:seen+end]
		f.buffered = append([]byte(nil), f.buffered[seen+end:]...)
		shown = removeUsageEvents(f, events)
	}
	if len(f.buffered) > bufferedMaxBytes {
		shown = append(shown, f.buffered...)
		f.largeTail = lastBytes(f.buffered)
		f.buffered = nil
	}
	return shown
}

// largeEventEnd returns where in a chunk a large event ends; the end of the chunk if the event
// continues.
func largeEventEnd(f *usageFilter, chunk []byte) int {
	data := append(append([]byte(nil), f.largeTail...), chunk...)
	end := firstEventEnd(data)
	if end == len(data) && lastEventEnd(data) != end {
		f.largeTail = lastBytes(data)
		return len(chunk)
	}
	if end == len(data) && data[end-1] == '\r' {
		f.pendingLF = passLF
	}
	end -= len(f.largeTail)
	f.largeTail = nil
	return end
}

// lastBytes returns as many bytes as the end of an event can have before its last byte.
func lastBytes(data []byte) []byte {
	return append([]byte(nil), data[len(data)-3:]...)
}

// flushFilter returns what is buffered at the end of the stream: an event without its blank line,
// which may be the usage event.
func flushFilter(f *usageFilter) []byte {
	buffered := f.buffered
	f.buffered = nil
	return filteredEvent(buffered)
}

// removeUsageEvents removes usage events from complete events. It searches for the names of token
// counts from the end, where the usage is, and examines at most maxEventsRead events.
func removeUsageEvents(f *usageFilter, events []byte) []byte {
	if events[len(events)-1] == '\r' {
		f.pendingLF = passLF
	}
	var after []byte // what remains of the events that have been examined
	before := events
	for matches := 0; matches < maxEventsRead; matches++ {
		match := bytes.LastIndex(before, tokensKey)
		if match < 0 {
			break
		}
		start := lastEventEnd(before[:match])
		end := start + firstEventEnd(before[start:])
		kept := filteredEvent(before[start:end])
		if len(kept) != end-start && end == len(events) && before[end-1] == '\r' {
			f.pendingLF = dropLF
		}
		after = bytes.Join([][]byte{kept, before[end:], after}, nil)
		before = before[:start]
	}
	if after == nil {
		return before
	}
	return append(before[:len(before):len(before)], after...)
}

// The ends of an event: the end of a line, and an empty line after it. A line ends in a line feed,
// a carriage return, or both.
var eventEnds = [][]byte{blankLine, []byte("\n\r"), []byte("\r\r")}

// lastEventEnd returns where the last complete event ends; 0 if there is none.
func lastEventEnd(data []byte) int {
	end := bytes.LastIndex(data, blankLine) + len(blankLine)
	if bytes.IndexByte(data, '\r') >= 0 {
		for _, mark := range eventEnds {
			if at := bytes.LastIndex(data, mark) + len(mark); at > end {
				end = at
			}
		}
	}
	if end < len(blankLine) {
		return 0
	}
	return skipLF(data, end)
}

// firstEventEnd returns where the first complete event ends.
func firstEventEnd(data []byte) int {
	end := len(data)
	for _, mark := range eventEnds {
		if at := bytes.Index(data[:end], mark); at >= 0 {
			end = at + len(mark)
		}
	}
	return skipLF(data, end)
}

// skipLF moves an end that is between a carriage return and its line feed past the line feed.
func skipLF(data []byte, end int) int {
	if end < len(data) && data[end-1] == '\r' && data[end] == '\n' {
		return end + 1
	}
	return end
}

// filteredEvent returns what the client gets of an event: nothing of the one that include_usage adds,
// which has usage and no choices; if it has members that no other event has, the event without its
// usage; and all of any other. OpenAI's other events have a usage of null, and Azure's first one has no
// choices.
func filteredEvent(event []byte) []byte {
	if !bytes.Contains(event, tokensKey) {
		return event
	}
	text := bytes.ReplaceAll(bytes.TrimPrefix(event, byteOrderMark), carriageReturn, lineFeed)
	if bytes.Count(text, lineFeed) > usageMaxLines {
		return event
	}
	data := eventData(append([]byte{'\n'}, text...))
	var members struct {
		Choices []json.RawMessage `json:"choices"`
		Usage   *json.RawMessage  `json:"usage"`
	}
	if json.Unmarshal(data, &members) != nil || members.Usage == nil || len(members.Choices) > 0 || saysError(data) {
		return event
	}
	return eventWithoutUsage(data)
}

// saysError reports whether the data of an event is an error, which the client must see.
func saysError(data []byte) bool {
	members := &responseMembers{}
	return bytes.Contains(data, errorName) && unmarshalMembers(data, members) && isFailed(&responseReader{}, &eventProtocols[0], members)
}

// commonMembers are the members of a usage event that the client can do without: other events have
// them, too, or they are part of the usage.
var commonMembers = map[string]bool{
	"id": true, "object": true, "created": true, "model": true, "choices": true, "usage": true, "system_fingerprint": true,
	"service_tier": true, "obfuscation": true, "provider": true, "x_groq": true, "usage_breakdown": true,
}

// maxEventMembers bounds the members of a usage event that are examined. More are never common.
const maxEventMembers = 50

// choiceOfNothing is for clients that expect a choice in every event, as they get without usage.
var choiceOfNothing = json.RawMessage(`[{"index":0,"delta":{},"finish_reason":null}]`)

// eventWithoutUsage returns a usage event without its usage if it has members that no other event has,
// such as the timings of llama.cpp; nil: it has none.
func eventWithoutUsage(data []byte) []byte {
	members := map[string]json.RawMessage{}
	if json.Unmarshal(data, &members) != nil || !hasOwnMembers(members) {
		return nil
	}
	delete(members, "usage")
	members["choices"] = choiceOfNothing
	return bytes.Join([][]byte{[]byte("data: "), marshal(members), blankLine}, nil)
}

// hasOwnMembers reports whether a usage event has members that no other event has.
func hasOwnMembers(members map[string]json.RawMessage) bool {
	if len(members) > maxEventMembers {
		return true
	}
	for name, value := range members {
		if !commonMembers[name] && !emptyValue.Match(value) {
			return true
		}
	}
	return false
}
