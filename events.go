package chatcompletion

import (
	"bytes"
	"encoding/json"
)

// heldMaxBytes bounds the begun event that is kept back until it is complete: a client could do nothing with it either. A
// larger event is no usage, and passes in pieces.
const heldMaxBytes = 64 << 10

// usageMaxLines bounds the lines of an event that may be that of the usage, since each is looked at. Indented JSON of it has
// about 20, which count twice if they end in two bytes.
const usageMaxLines = 100

// hider keeps the event with the usage from a client that did not ask for it.
type hider struct {
	holds bool   // the next chunk does not begin an event
	held  []byte // the beginning of an event
	large []byte // the last bytes that were sent of an event too large to be kept back; nil: there is none
	feed  feed
	// endsLarge tells that the last chunk began inside of a large event.
	endsLarge bool
}

// feed is what becomes of a line feed that comes next: with the carriage return before it, it ends the same line.
type feed int

const (
	feedIsNone   feed = iota
	feedPasses        // it belongs to an event that was sent
	feedIsHidden      // it belongs to the usage
)

// hide takes what came of a stream, and returns what of it is for the client: all whole events but those with the usage
// only. What it keeps back is the beginning of an event.
func hide(h *hider, chunk []byte) []byte {
	if len(chunk) == 0 {
		return nil
	}
	var shown []byte
	if h.feed != feedIsNone && chunk[0] == '\n' {
		if h.feed == feedPasses {
			shown = append(shown, '\n')
		}
		chunk = chunk[1:]
	}
	h.feed = feedIsNone
	h.endsLarge = h.large != nil
	if h.large != nil {
		end := largeEventEnd(h, chunk)
		shown = append(shown, chunk[:end]...)
		chunk = chunk[end:]
	}
	if len(chunk) > 0 {
		shown = append(shown, hideEvents(h, append(h.held, chunk...))...)
	}
	h.holds = len(h.held) > 0 || h.large != nil || h.feed != feedIsNone
	return shown
}

// hideEvents returns the whole events in data without the usage, and keeps the rest back.
func hideEvents(h *hider, data []byte) []byte {
	end := lastEventEnd(data)
	h.held = append([]byte(nil), data[end:]...)
	shown := data[:end]
	if end > 0 {
		shown = withoutUsage(h, shown)
	}
	if len(h.held) > heldMaxBytes {
		shown = append(shown, h.held...)
		h.large = lastBytes(h.held)
		h.held = nil
	}
	return shown
}

// largeEventEnd returns where in a chunk a large event ends: at its end if the event goes on.
func largeEventEnd(h *hider, chunk []byte) int {
	data := append(append([]byte(nil), h.large...), chunk...)
	end := firstEventEnd(data)
	if end == len(data) && lastEventEnd(data) != end {
		h.large = lastBytes(data)
		return len(chunk)
	}
	if end == len(data) && data[end-1] == '\r' {
		h.feed = feedPasses
	}
	end -= len(h.large)
	h.large = nil
	return end
}

// lastBytes returns as many bytes as the end of an event can have before its last one.
func lastBytes(data []byte) []byte {
	return append([]byte(nil), data[len(data)-3:]...)
}

// rest returns what is kept back at the end of the stream, unless it is the usage without its blank line.
func rest(h *hider) []byte {
	held := h.held
	h.held = nil
	if isUsageOnly(held) {
		return nil
	}
	return held
}

// withoutUsage removes from whole events those that hold the usage only. It looks for the names of tokens from the end,
// where the usage stands, and not at more than maxHits events.
func withoutUsage(h *hider, events []byte) []byte {
	if events[len(events)-1] == '\r' {
		h.feed = feedPasses
	}
	var behind []byte // what stays of the events that have been looked at
	before := events
	for hits := 0; hits < maxHits; hits++ {
		hit := bytes.LastIndex(before, tokensKey)
		if hit < 0 {
			break
		}
		start := lastEventEnd(before[:hit])
		end := start + firstEventEnd(before[start:])
		kept := start
		if !isUsageOnly(before[start:end]) {
			kept = end
		} else if end == len(events) && before[end-1] == '\r' {
			h.feed = feedIsHidden
		}
		behind = bytes.Join([][]byte{before[start:kept], before[end:], behind}, nil)
		before = before[:start]
	}
	if behind == nil {
		return before
	}
	return append(before[:len(before):len(before)], behind...)
}

// The ends of an event: the end of a line, and an empty line behind it. A line ends in a line feed, a carriage return, or
// both.
var eventEnds = [][]byte{blankLine, []byte("\n\r"), []byte("\r\r")}

// lastEventEnd returns where the last whole event ends, 0 if there is none.
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
	return behindReturn(data, end)
}

// firstEventEnd returns where the first of whole events ends.
func firstEventEnd(data []byte) int {
	end := len(data)
	for _, mark := range eventEnds {
		if at := bytes.Index(data[:end], mark); at >= 0 {
			end = at + len(mark)
		}
	}
	return behindReturn(data, end)
}

// behindReturn moves an end that lies between a carriage return and its line feed.
func behindReturn(data []byte, end int) int {
	if end < len(data) && data[end-1] == '\r' && data[end] == '\n' {
		return end + 1
	}
	return end
}

// isUsageOnly tells whether an event is the one that include_usage adds: it has usage, and no choices. OpenAI's other
// events have a usage of null, and Azure's first one has no choices.
func isUsageOnly(event []byte) bool {
	if !bytes.Contains(event, tokensKey) {
		return false
	}
	var data []byte
	text := bytes.ReplaceAll(bytes.TrimPrefix(event, byteOrderMark), carriageReturn, lineFeed)
	if bytes.Count(text, lineFeed) > usageMaxLines {
		return false
	}
	for _, line := range bytes.Split(text, lineFeed) {
		if bytes.HasPrefix(line, dataLine[1:]) {
			data = append(append(data, line[len(dataLine)-1:]...), '\n')
		}
	}
	var members struct {
		Choices []json.RawMessage `json:"choices"`
		Usage   *json.RawMessage  `json:"usage"`
		Error   *json.RawMessage  `json:"error"`
	}
	if json.Unmarshal(data, &members) != nil {
		return false
	}
	return members.Usage != nil && members.Error == nil && len(members.Choices) == 0
}
