package demo

import (
	"io"
	"net/http"
	"time"
)

const eventType = "text/event-stream; charset=utf-8"

// send writes server-sent events and flushes each, until the client disconnects.
func (u *upstream) send(w http.ResponseWriter, r *http.Request, events []string) {
	u.write(w, r, eventType, events)
}

// write writes the parts of a body and flushes each, until the client disconnects.
func (u *upstream) write(w http.ResponseWriter, r *http.Request, mediaType string, parts []string) {
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Cache-Control", "no-cache")
	flush := http.NewResponseController(w).Flush
	for i, part := range parts {
		if i > 0 && !pause(r, u.interval) {
			return
		}
		if _, err := io.WriteString(w, part); err != nil {
			return
		}
		if err := flush(); err != nil {
			return
		}
	}
}

// pause waits for the interval and reports whether the client is still connected.
func pause(r *http.Request, interval time.Duration) bool {
	if interval <= 0 {
		return r.Context().Err() == nil
	}
	timer := time.NewTimer(interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.Context().Done():
		return false
	}
}

// events returns the events of the stream: the role, the content or the call's arguments in pieces,
// the finish reason, the usage if it was requested, and the end marker.
func (c completion) events(chunks int, withUsage bool) []string {
	first := map[string]any{"role": "assistant", "content": ""}
	if c.tool != "" {
		first = map[string]any{"role": "assistant", "content": nil, "tool_calls": []any{map[string]any{
			"index": 0, "id": "call_" + c.id, "type": "function",
			"function": map[string]any{"name": c.tool, "arguments": ""},
		}}}
	}
	events := []string{c.chunk(first, nil, withUsage)}
	for _, piece := range pieces(c.content, chunks) {
		events = append(events, c.chunk(map[string]any{"content": piece}, nil, withUsage))
	}
	for _, piece := range pieces(c.arguments, chunks) {
		events = append(events, c.chunk(map[string]any{"tool_calls": []any{map[string]any{
			"index": 0, "function": map[string]any{"arguments": piece},
		}}}, nil, withUsage))
	}
	events = append(events, c.chunk(map[string]any{}, c.finishReason(), withUsage))
	if withUsage {
		events = append(events, c.event([]any{}, map[string]any{"usage": c.usage()}))
	}
	return append(events, "data: [DONE]\n\n")
}

// chunk returns an event with one choice. A stream that ends with usage has "usage": null until
// then.
func (c completion) chunk(delta map[string]any, finish any, withUsage bool) string {
	extra := map[string]any{}
	if withUsage {
		extra["usage"] = nil
	}
	return c.event([]any{map[string]any{
		"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish,
	}}, extra)
}

func (c completion) event(choices []any, extra map[string]any) string {
	event := map[string]any{
		"id": c.id, "object": "chat.completion.chunk", "created": created, "model": c.model, "choices": choices,
	}
	for name, value := range extra {
		event[name] = value
	}
	return "data: " + encoded(event) + "\n\n"
}

// eventsOf builds a stream of events that have their type both in the data and in a line of its own.
type eventsOf struct {
	texts    []string
	numbered bool // each event has its number
}

func (e *eventsOf) add(kind string, members map[string]any) {
	members["type"] = kind
	if e.numbered {
		members["sequence_number"] = len(e.texts)
	}
	e.texts = append(e.texts, "event: "+kind+"\ndata: "+encoded(members)+"\n\n")
}
