package demo

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/gorilla/websocket"
)

// sockets accepts the clients of any origin: the provider is for trying things out.
var sockets = websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, Subprotocols: []string{"realtime"}}

// realtime serves a conversation over a WebSocket, in text.
func (u *upstream) realtime(w http.ResponseWriter, r *http.Request) {
	u.log.record(r, nil)
	model := r.URL.Query().Get("model")
	if !u.admits(w, r) || !u.knows(w, r, model) {
		return
	}
	socket, err := sockets.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has written the error
	}
	defer func() { _ = socket.Close() }()
	talk := &conversation{socket: socket, model: model}
	talk.send("session.created", map[string]any{"session": talk.session()})
	for talk.err == nil {
		var event realtimeEvent
		if _, text, err := socket.ReadMessage(); err != nil || json.Unmarshal(text, &event) != nil {
			return
		}
		u.answer(r, talk, event)
	}
}

// realtimeEvent has the fields of a client's event that the provider reads.
type realtimeEvent struct {
	Type string `json:"type"`
	Item struct {
		ID      string          `json:"id"`
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"item"`
}

// conversation is what the provider knows about a WebSocket.
type conversation struct {
	socket *websocket.Conn
	model  string
	heard  string // the last item
	input  int    // tokens of all items
	items  int
	sent   int
	err    error
}

func (c *conversation) session() map[string]any {
	return map[string]any{
		"type": "realtime", "object": "realtime.session", "id": "sess_demo", "model": c.model, "output_modalities": []string{"text"},
		"instructions": "", "tools": []any{}, "tool_choice": "auto", "max_output_tokens": "inf",
	}
}

// send writes an event, unless an earlier one could not be written.
func (c *conversation) send(kind string, members map[string]any) {
	if c.err != nil {
		return
	}
	c.sent++
	members["type"], members["event_id"] = kind, fmt.Sprintf("event_demo_%d", c.sent)
	c.err = c.socket.WriteJSON(members)
}

func (u *upstream) answer(r *http.Request, c *conversation, event realtimeEvent) {
	switch event.Type {
	case "session.update":
		c.send("session.updated", map[string]any{"session": c.session()})
	case "conversation.item.create":
		c.items++
		c.heard = contentText(event.Item.Content)
		c.input += tokens(c.heard)
		item := map[string]any{
			"id": fmt.Sprintf("item_demo_%d", c.items), "object": "realtime.item", "type": "message", "status": "completed", "role": event.Item.Role,
			"content": event.Item.Content,
		}
		c.send("conversation.item.added", map[string]any{"previous_item_id": nil, "item": item})
		c.send("conversation.item.done", map[string]any{"previous_item_id": nil, "item": item})
	case "response.create":
		u.speak(r, c)
	default:
		c.send("error", map[string]any{"error": map[string]any{
			"type": "invalid_request_error", "code": "invalid_value", "message": fmt.Sprintf("Invalid value: '%s'.", event.Type), "param": "type", "event_id": nil,
		}})
	}
}

// speak sends the events of a response.
func (u *upstream) speak(r *http.Request, c *conversation) {
	text := c.model + " heard: " + c.heard
	c.items++
	id, itemID := u.id("resp_demo_"), fmt.Sprintf("item_demo_%d", c.items)
	item := func(status string, content ...any) map[string]any {
		return map[string]any{
			"id": itemID, "object": "realtime.item", "type": "message", "status": status, "role": "assistant", "content": append([]any{}, content...),
		}
	}
	response := func(status string, usage any, output ...any) map[string]any {
		return map[string]any{"response": map[string]any{
			"id": id, "object": "realtime.response", "status": status, "status_details": nil, "output": append([]any{}, output...), "usage": usage,
			"conversation_id": "conv_demo", "output_modalities": []string{"text"}, "max_output_tokens": "inf", "metadata": nil,
		}}
	}
	in := func(members map[string]any) map[string]any {
		members["response_id"], members["item_id"], members["output_index"], members["content_index"] = id, itemID, 0, 0
		return members
	}
	c.send("response.created", response("in_progress", nil))
	c.send("response.output_item.added", map[string]any{"response_id": id, "output_index": 0, "item": item("in_progress")})
	c.send("conversation.item.added", map[string]any{"previous_item_id": nil, "item": item("in_progress")})
	c.send("response.content_part.added", in(map[string]any{"part": map[string]any{"type": "text", "text": ""}}))
	for _, piece := range pieces(text, u.chunks) {
		if !pause(r, u.interval) {
			return
		}
		c.send("response.output_text.delta", in(map[string]any{"delta": piece}))
	}
	part := map[string]any{"type": "output_text", "text": text}
	c.send("response.output_text.done", in(map[string]any{"text": text}))
	c.send("response.content_part.done", in(map[string]any{"part": map[string]any{"type": "text", "text": text}}))
	c.send("response.output_item.done", map[string]any{"response_id": id, "output_index": 0, "item": item("completed", part)})
	c.send("conversation.item.done", map[string]any{"previous_item_id": nil, "item": item("completed", part)})
	output := tokens(text)
	c.send("response.done", response("completed", map[string]any{
		"total_tokens": c.input + output, "input_tokens": c.input, "output_tokens": output,
		"input_token_details": map[string]any{
			"text_tokens": c.input, "audio_tokens": 0, "image_tokens": 0, "cached_tokens": 0,
			"cached_tokens_details": map[string]any{"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
		},
		"output_token_details": map[string]any{"text_tokens": output, "audio_tokens": 0},
	}, item("completed", part)))
	c.input += output // the conversation goes on with it
}
