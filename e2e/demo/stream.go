package demo

import (
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// send writes server-sent events, each flushed, until the client leaves.
func (u *upstream) send(w http.ResponseWriter, r *http.Request, events []string) {
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache")
	flush := http.NewResponseController(w).Flush
	for i, event := range events {
		if i > 0 && !pause(r, u.interval) {
			return
		}
		if _, err := io.WriteString(w, event); err != nil {
			return
		}
		if err := flush(); err != nil {
			return
		}
	}
}

// pause reports whether the client is still there after the interval.
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

// events are those of the stream: the role, the content or the call's arguments in pieces, the
// reason of the end, the usage if it was asked for, and the end marker.
func (a answer) events(chunks int, withUsage bool) []string {
	first := map[string]any{"role": "assistant", "content": ""}
	if a.tool != "" {
		first = map[string]any{"role": "assistant", "content": nil, "tool_calls": []any{map[string]any{
			"index": 0, "id": "call_" + a.id, "type": "function",
			"function": map[string]any{"name": a.tool, "arguments": ""},
		}}}
	}
	events := []string{a.chunk(first, nil, withUsage)}
	for _, piece := range pieces(a.content, chunks) {
		events = append(events, a.chunk(map[string]any{"content": piece}, nil, withUsage))
	}
	for _, piece := range pieces(a.arguments, chunks) {
		events = append(events, a.chunk(map[string]any{"tool_calls": []any{map[string]any{
			"index": 0, "function": map[string]any{"arguments": piece},
		}}}, nil, withUsage))
	}
	events = append(events, a.chunk(map[string]any{}, a.finishReason(), withUsage))
	if withUsage {
		events = append(events, a.event([]any{}, map[string]any{"usage": a.usage()}))
	}
	return append(events, "data: [DONE]\n\n")
}

// chunk is an event with one choice. A stream that ends with usage has "usage": null until then.
func (a answer) chunk(delta map[string]any, finish any, withUsage bool) string {
	extra := map[string]any{}
	if withUsage {
		extra["usage"] = nil
	}
	return a.event([]any{map[string]any{
		"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish,
	}}, extra)
}

func (a answer) event(choices []any, extra map[string]any) string {
	event := map[string]any{
		"id": a.id, "object": "chat.completion.chunk", "created": created, "model": a.model, "choices": choices,
	}
	for name, value := range extra {
		event[name] = value
	}
	encoded, err := json.Marshal(event)
	if err != nil {
		panic(err) // plain strings and numbers always encode
	}
	return "data: " + string(encoded) + "\n\n"
}
