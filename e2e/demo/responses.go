package demo

import (
	"encoding/json"
	"net/http"
	"strings"
)

// responsesRequest has the fields of a Responses API request that the provider reads.
type responsesRequest struct {
	Model           string          `json:"model"`
	Instructions    string          `json:"instructions"`
	Input           json.RawMessage `json:"input"`
	Stream          bool            `json:"stream"`
	Store           *bool           `json:"store"`
	Temperature     *float64        `json:"temperature"`
	MaxOutputTokens *int            `json:"max_output_tokens"`
	Reasoning       *struct {
		Effort  string `json:"effort"`
		Summary string `json:"summary"`
	} `json:"reasoning"`
	Tools []struct {
		Type       string          `json:"type"`
		Name       string          `json:"name"`
		Parameters json.RawMessage `json:"parameters"`
	} `json:"tools"`
	ToolChoice json.RawMessage `json:"tool_choice"`
	Text       struct {
		Format struct {
			Type   string          `json:"type"`
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"text"`
}

func (u *upstream) responses(w http.ResponseWriter, r *http.Request) {
	var request responsesRequest
	if !u.read(w, r, &request) || !u.knows(w, r, request.Model) {
		return
	}
	reply := request.response(u.id(""))
	if request.Stream {
		u.send(w, r, reply.events(u.chunks))
		return
	}
	writeJSON(w, http.StatusOK, reply.document("completed"))
}

// responsesTokens counts the tokens of a request.
func (u *upstream) responsesTokens(w http.ResponseWriter, r *http.Request) {
	var request responsesRequest
	if !u.read(w, r, &request) || !u.knows(w, r, request.Model) {
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "response.input_tokens", "input_tokens": request.inputTokens()})
}

// response is a Responses API response before it is written as one document or as events.
type response struct {
	completion
	request *responsesRequest
}

func (r *responsesRequest) response(id string) response {
	heard := r.texts()
	c := completion{id: id, model: r.Model, inputTokens: r.inputTokens()}
	if r.Reasoning != nil && r.Reasoning.Effort != "" && r.Reasoning.Effort != "none" {
		c.thought = "Thinking with " + r.Reasoning.Effort + " effort."
	}
	switch tool := r.calledTool(); {
	case tool >= 0:
		c.tool, c.arguments = r.Tools[tool].Name, example(r.Tools[tool].Parameters)
	case r.Text.Format.Type == "json_schema":
		c.content = example(r.Text.Format.Schema)
	default:
		c.content = r.Model + " heard: " + heard[len(heard)-1]
	}
	c.outputTokens = tokens(c.thought) + tokens(c.content+c.arguments)
	return response{completion: c, request: r}
}

// items returns the input as a list.
func (r *responsesRequest) items() (items []struct {
	Content json.RawMessage `json:"content"`
	Output  json.RawMessage `json:"output"` // of a tool
}) {
	_ = json.Unmarshal(r.Input, &items) // a string is no list
	return items
}

// texts returns the text of the input, a string or a list of items, after that of the instructions.
func (r *responsesRequest) texts() []string {
	texts := []string{r.Instructions}
	items := r.items()
	for _, item := range items {
		if text := contentText(item.Content) + contentText(item.Output); text != "" {
			texts = append(texts, text)
		}
	}
	if items == nil {
		texts = append(texts, contentText(r.Input))
	}
	return texts
}

func (r *responsesRequest) inputTokens() int {
	pictures := 0
	for _, item := range r.items() {
		_, images := contentParts(item.Content)
		pictures += images
	}
	return tokens(strings.TrimSpace(strings.Join(r.texts(), " "))) + pictures*imageTokens
}

// calledTool returns the index of the function that tool_choice requires, or -1.
func (r *responsesRequest) calledTool() int {
	choice := string(r.ToolChoice)
	var named struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(r.ToolChoice, &named) // a mode has no name
	for i, tool := range r.Tools {
		if tool.Type == "function" && (choice == `"required"` || named.Name != "" && tool.Name == named.Name) {
			return i
		}
	}
	return -1
}

// document returns the response with the status. It contains output and usage only if the status is
// completed.
func (r response) document(status string) map[string]any {
	document := map[string]any{
		"id": "resp_demo_" + r.id, "object": "response", "created_at": created, "status": status, "model": r.model,
		"error": nil, "incomplete_details": nil, "instructions": orNull(r.request.Instructions), "metadata": map[string]any{}, "output": []any{}, "usage": nil,
		"parallel_tool_calls": true, "previous_response_id": nil, "reasoning": map[string]any{"effort": nil, "summary": nil},
		"store": r.request.Store == nil || *r.request.Store, "temperature": orDefault(r.request.Temperature, 1), "top_p": 1,
		"max_output_tokens": r.request.MaxOutputTokens, "text": map[string]any{"format": map[string]any{"type": "text"}},
		"tool_choice": "auto", "tools": []any{}, "truncation": "disabled", "user": nil,
	}
	if status == "completed" {
		document["output"] = r.output()
		document["usage"] = map[string]any{
			"input_tokens": r.inputTokens, "input_tokens_details": map[string]any{"cached_tokens": 0},
			"output_tokens": r.outputTokens, "output_tokens_details": map[string]any{"reasoning_tokens": tokens(r.thought)},
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

// output returns the items of a completed response.
func (r response) output() []any {
	var items []any
	if r.thought != "" {
		items = append(items, r.reasoning("completed", r.thought))
	}
	if r.tool != "" {
		return append(items, r.call("completed", r.arguments))
	}
	return append(items, r.message("completed", r.part(r.content)))
}

func (r response) reasoning(status, summary string) map[string]any {
	parts := []any{}
	if summary != "" {
		parts = append(parts, map[string]any{"type": "summary_text", "text": summary})
	}
	return map[string]any{"id": "rs_demo_" + r.id, "type": "reasoning", "status": status, "summary": parts, "encrypted_content": nil}
}

func (r response) call(status, arguments string) map[string]any {
	return map[string]any{"id": "fc_demo_" + r.id, "type": "function_call", "status": status, "call_id": "call_" + r.id, "name": r.tool, "arguments": arguments}
}

func (r response) message(status string, content ...any) map[string]any {
	return map[string]any{"id": "msg_demo_" + r.id, "type": "message", "status": status, "role": "assistant", "content": append([]any{}, content...)}
}

func (r response) part(text string) any {
	return map[string]any{"type": "output_text", "text": text, "annotations": []any{}, "logprobs": []any{}}
}

// events returns the events of the stream: the beginning of the response, its items in pieces, and the
// end of the response.
func (r response) events(chunks int) []string {
	events := &eventsOf{numbered: true}
	events.add("response.created", map[string]any{"response": r.document("in_progress")})
	events.add("response.in_progress", map[string]any{"response": r.document("in_progress")})
	index := 0
	if r.thought != "" {
		r.addReasoning(events, chunks)
		index++
	}
	if r.tool != "" {
		r.addCall(events, index, chunks)
	} else {
		r.addMessage(events, index, chunks)
	}
	events.add("response.completed", map[string]any{"response": r.document("completed")})
	return events.texts
}

func (r response) addReasoning(events *eventsOf, chunks int) {
	in := func(members map[string]any) map[string]any {
		members["item_id"], members["output_index"], members["summary_index"] = "rs_demo_"+r.id, 0, 0
		return members
	}
	whole := map[string]any{"type": "summary_text", "text": r.thought}
	events.add("response.output_item.added", map[string]any{"output_index": 0, "item": r.reasoning("in_progress", "")})
	events.add("response.reasoning_summary_part.added", in(map[string]any{"part": map[string]any{"type": "summary_text", "text": ""}}))
	for _, piece := range pieces(r.thought, chunks) {
		events.add("response.reasoning_summary_text.delta", in(map[string]any{"delta": piece}))
	}
	events.add("response.reasoning_summary_text.done", in(map[string]any{"text": r.thought}))
	events.add("response.reasoning_summary_part.done", in(map[string]any{"part": whole}))
	events.add("response.output_item.done", map[string]any{"output_index": 0, "item": r.reasoning("completed", r.thought)})
}

func (r response) addCall(events *eventsOf, index, chunks int) {
	in := func(members map[string]any) map[string]any {
		members["item_id"], members["output_index"] = "fc_demo_"+r.id, index
		return members
	}
	events.add("response.output_item.added", map[string]any{"output_index": index, "item": r.call("in_progress", "")})
	for _, piece := range pieces(r.arguments, chunks) {
		events.add("response.function_call_arguments.delta", in(map[string]any{"delta": piece}))
	}
	events.add("response.function_call_arguments.done", in(map[string]any{"name": r.tool, "arguments": r.arguments}))
	events.add("response.output_item.done", map[string]any{"output_index": index, "item": r.call("completed", r.arguments)})
}

func (r response) addMessage(events *eventsOf, index, chunks int) {
	in := func(members map[string]any) map[string]any {
		members["item_id"], members["output_index"], members["content_index"] = "msg_demo_"+r.id, index, 0
		return members
	}
	events.add("response.output_item.added", map[string]any{"output_index": index, "item": r.message("in_progress")})
	events.add("response.content_part.added", in(map[string]any{"part": r.part("")}))
	for _, piece := range pieces(r.content, chunks) {
		events.add("response.output_text.delta", in(map[string]any{"delta": piece, "logprobs": []any{}}))
	}
	events.add("response.output_text.done", in(map[string]any{"text": r.content, "logprobs": []any{}}))
	events.add("response.content_part.done", in(map[string]any{"part": r.part(r.content)}))
	events.add("response.output_item.done", map[string]any{"output_index": index, "item": r.message("completed", r.part(r.content))})
}
