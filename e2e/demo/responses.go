package demo

import (
	"encoding/json"
	"fmt"
	"net/http"
)

// responsesRequest has the fields of a Responses API request that the provider reads.
type responsesRequest struct {
	Model           string          `json:"model"`
	Input           json.RawMessage `json:"input"`
	Stream          bool            `json:"stream"`
	Temperature     *float64        `json:"temperature"`
	MaxOutputTokens *int            `json:"max_output_tokens"`
}

func (u *upstream) responses(w http.ResponseWriter, r *http.Request) {
	var request responsesRequest
	if !u.read(w, r, &request) || !u.knows(w, request.Model) {
		return
	}
	reply := request.response(fmt.Sprintf("%d", u.served.Add(1)))
	if request.Stream {
		u.send(w, r, reply.events(u.chunks))
		return
	}
	writeJSON(w, http.StatusOK, reply.response("completed"))
}

// response is a Responses API response before it is written as one document or as events.
type response struct {
	completion
	request *responsesRequest
}

func (r *responsesRequest) response(id string) response {
	heard := r.heard()
	c := completion{id: id, model: r.Model, content: r.Model + " heard: " + heard, inputTokens: tokens(heard)}
	c.outputTokens = tokens(c.content)
	return response{completion: c, request: r}
}

// heard returns the text of the input: a string, or the content of the last item of a list.
func (r *responsesRequest) heard() string {
	var items []struct {
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(r.Input, &items) == nil && len(items) > 0 {
		return contentText(items[len(items)-1].Content)
	}
	return contentText(r.Input)
}

// response returns the document with the status. It contains output and usage only if the status is
// completed.
func (r response) response(status string) map[string]any {
	document := map[string]any{
		"id": "resp_demo_" + r.id, "object": "response", "created_at": created, "status": status, "model": r.model,
		"error": nil, "incomplete_details": nil, "instructions": nil, "metadata": map[string]any{}, "output": []any{}, "usage": nil,
		"parallel_tool_calls": true, "previous_response_id": nil, "reasoning": map[string]any{"effort": nil, "summary": nil}, "store": true,
		"temperature": orDefault(r.request.Temperature, 1), "top_p": 1, "max_output_tokens": r.request.MaxOutputTokens,
		"text": map[string]any{"format": map[string]any{"type": "text"}}, "tool_choice": "auto", "tools": []any{}, "truncation": "disabled", "user": nil,
	}
	if status == "completed" {
		document["output"] = []any{r.message(status, r.part(r.content))}
		document["usage"] = map[string]any{
			"input_tokens": r.inputTokens, "input_tokens_details": map[string]any{"cached_tokens": 0},
			"output_tokens": r.outputTokens, "output_tokens_details": map[string]any{"reasoning_tokens": 0},
			"total_tokens": r.inputTokens + r.outputTokens,
		}
	}
	return document
}

func orDefault(value *float64, otherwise float64) float64 {
	if value == nil {
		return otherwise
	}
	return *value
}

func (r response) message(status string, content ...any) map[string]any {
	return map[string]any{"id": "msg_demo_" + r.id, "type": "message", "status": status, "role": "assistant", "content": append([]any{}, content...)}
}

func (r response) part(text string) any {
	return map[string]any{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}
}

// events returns the events of the stream: the beginning of the response, its only message in
// pieces, and the end of the response.
func (r response) events(chunks int) []string {
	var events []string
	event := func(kind string, members map[string]any) {
		members["type"] = kind
		members["sequence_number"] = len(events)
		encoded, err := json.Marshal(members)
		if err != nil {
			panic(err) // strings and numbers always encode
		}
		events = append(events, "event: "+kind+"\ndata: "+string(encoded)+"\n\n")
	}
	inPart := func(members map[string]any) map[string]any {
		members["item_id"], members["output_index"], members["content_index"] = "msg_demo_"+r.id, 0, 0
		return members
	}
	event("response.created", map[string]any{"response": r.response("in_progress")})
	event("response.in_progress", map[string]any{"response": r.response("in_progress")})
	event("response.output_item.added", map[string]any{"output_index": 0, "item": r.message("in_progress")})
	event("response.content_part.added", inPart(map[string]any{"part": r.part("")}))
	for _, piece := range pieces(r.content, chunks) {
		event("response.output_text.delta", inPart(map[string]any{"delta": piece, "logprobs": []any{}}))
	}
	event("response.output_text.done", inPart(map[string]any{"text": r.content, "logprobs": []any{}}))
	event("response.content_part.done", inPart(map[string]any{"part": r.part(r.content)}))
	event("response.output_item.done", map[string]any{"output_index": 0, "item": r.message("completed", r.part(r.content))})
	event("response.completed", map[string]any{"response": r.response("completed")})
	return events
}
