package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
)

// spoken is what a provider responds: a text, after a thought, and before a call of a tool with arguments.
type spoken struct {
	text, thought string
	arguments     string // a JSON object
	hello         string // in the first event of a stream that has an object of the response
}

// contentProvider responds in every protocol with what the prompt in a request names, as in "say secret by 3": in a
// stream, 3 characters are in an event. Each response has an identifier of its own. After an event with lateEnd, it
// waits until the client has read that.
type contentProvider struct {
	speeches map[string]spoken
	number   atomic.Int64
	resumed  chan struct{}
}

// resumePath is that of the request with which a client says that it has read lateEnd.
const resumePath = "/resume"

// order matches what a prompt requests.
var order = regexp.MustCompile(`say ([a-z]+) by ([0-9]+)`)

// object is a JSON object, whose members are sorted.
type object map[string]any

func (p *contentProvider) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.URL.Path == resumePath {
		p.resumed <- struct{}{}
		return
	}
	ordered := order.FindStringSubmatch(string(body))
	if ordered == nil {
		http.Error(rw, "no order in "+string(body), http.StatusBadRequest)
		return
	}
	size, _ := strconv.Atoi(ordered[2]) // the expression matches a number
	said := speech{spoken: p.speeches[ordered[1]], size: size, id: fmt.Sprint("id-", p.number.Add(1))}
	said.text = strings.ReplaceAll(said.text, "IDENTIFIER", said.id)
	var whole any
	var events []string
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/chat/completions"):
		whole, events = said.completion(), said.completionEvents(strings.Contains(string(body), "include_usage"))
	case strings.HasSuffix(path, "/responses"):
		whole, events = said.response("completed", said.output("completed")), said.responseEvents()
	case strings.HasSuffix(path, "/messages"):
		whole, events = said.message(), said.messageEvents()
	default:
		whole, events = said.candidate(said.parts(), "STOP"), said.candidateEvents()
	}
	if !strings.Contains(r.URL.Path, ":streamGenerateContent") && !isStream(body) {
		rw.Header().Set("Content-Type", jsonType)
		_ = json.NewEncoder(rw).Encode(whole)
		return
	}
	rw.Header().Set("Content-Type", eventType)
	for _, event := range events {
		if _, err := io.WriteString(rw, event); err != nil {
			return
		}
		_ = http.NewResponseController(rw).Flush()
		if strings.Contains(event, lateEnd) && !strings.Contains(event, secret) {
			select {
			case <-p.resumed:
			case <-r.Context().Done():
				return
			}
		}
	}
}

// isStream reports whether a body requests a stream.
func isStream(body []byte) bool {
	var members struct{ Stream bool }
	_ = json.Unmarshal(body, &members) // else it does not
	return members.Stream
}

// speech is what one response consists of.
type speech struct {
	spoken
	size int // of the pieces, in characters
	id   string
}

// pieces cuts a text.
func (s speech) pieces(text string) []string {
	characters := []rune(text)
	var cut []string
	for len(characters) > s.size {
		cut, characters = append(cut, string(characters[:s.size])), characters[s.size:]
	}
	return append(cut, string(characters))
}

// jsonText returns a value as JSON, with escapes of what HTML reserves.
func jsonText(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // a mistake of the test
	}
	return string(text)
}

func (s speech) completion() object {
	message := object{"role": "assistant", "content": s.text, "reasoning_content": s.thought, "refusal": nil, "tool_calls": []object{
		{"id": "call_1", "type": "function", "function": object{"name": "pay", "arguments": s.arguments}},
	}}
	return object{
		"id": s.id, "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "usage": s.completionUsage(),
		"choices": []object{{"index": 0, "message": message, "logprobs": nil, "finish_reason": "tool_calls"}},
	}
}

func (s speech) completionUsage() object {
	return object{"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8}
}

func (s speech) completionEvents(withUsage bool) []string {
	var events []string
	add := func(delta object, finish any) {
		events = append(events, "data: "+jsonText(object{
			"id": s.id, "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini",
			"choices": []object{{"index": 0, "delta": delta, "logprobs": nil, "finish_reason": finish}},
		})+"\n\n")
	}
	for _, piece := range s.pieces(s.thought) {
		add(object{"role": "assistant", "reasoning_content": piece}, nil)
	}
	for _, piece := range s.pieces(s.text) {
		add(object{"content": piece}, nil)
	}
	add(object{"tool_calls": []object{{"index": 0, "id": "call_1", "type": "function", "function": object{"name": "pay", "arguments": ""}}}}, nil)
	for _, piece := range s.pieces(s.arguments) {
		add(object{"tool_calls": []object{{"index": 0, "function": object{"arguments": piece}}}}, nil)
	}
	add(object{}, "tool_calls")
	if withUsage {
		events = append(events, "data: "+jsonText(object{
			"id": s.id, "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini", "choices": []object{}, "usage": s.completionUsage(),
		})+"\n\n")
	}
	return append(events, "data: [DONE]\n\n")
}

func (s speech) response(status string, output []object) object {
	response := object{
		"id": s.id, "object": "response", "created_at": 1, "status": status, "model": "gpt-5-mini", "output": output, "instructions": s.hello,
		"error": nil, "incomplete_details": nil, "parallel_tool_calls": true, "tool_choice": "auto", "tools": []object{}, "metadata": object{}, "temperature": 1, "top_p": 1,
	}
	if status == "completed" {
		response["usage"] = object{
			"input_tokens": 3, "output_tokens": 5, "total_tokens": 8, "input_tokens_details": object{"cached_tokens": 0}, "output_tokens_details": object{"reasoning_tokens": 0},
		}
	}
	return response
}

// output returns the items of a response.
func (s speech) output(status string) []object {
	return []object{
		{"type": "reasoning", "id": "rs_1", "summary": []object{{"type": "summary_text", "text": s.thought}}},
		{"type": "message", "id": "msg_1", "role": "assistant", "status": status, "content": []object{{"type": "output_text", "text": s.text, "annotations": []object{}, "logprobs": []object{}}}},
		{"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "pay", "arguments": s.arguments, "status": status},
	}
}

func (s speech) responseEvents() []string {
	var events []string
	add := func(name string, members object) {
		members["type"], members["sequence_number"] = "response."+name, len(events)
		events = append(events, "event: response."+name+"\ndata: "+jsonText(members)+"\n\n")
	}
	empty := speech{id: s.id}.output("in_progress")
	empty[0]["summary"], empty[1]["content"] = []object{}, []object{}
	full := s.output("completed")
	add("created", object{"response": s.response("in_progress", []object{})})
	add("in_progress", object{"response": s.response("in_progress", []object{})})

	thought := func(more object) object {
		more["item_id"], more["output_index"], more["summary_index"] = "rs_1", 0, 0
		return more
	}
	add("output_item.added", object{"output_index": 0, "item": empty[0]})
	add("reasoning_summary_part.added", thought(object{"part": object{"type": "summary_text", "text": ""}}))
	for _, piece := range s.pieces(s.thought) {
		add("reasoning_summary_text.delta", thought(object{"delta": piece}))
	}
	add("reasoning_summary_text.done", thought(object{"text": s.thought}))
	add("reasoning_summary_part.done", thought(object{"part": object{"type": "summary_text", "text": s.thought}}))
	add("output_item.done", object{"output_index": 0, "item": full[0]})

	text := func(more object) object {
		more["item_id"], more["output_index"], more["content_index"] = "msg_1", 1, 0
		return more
	}
	part := func(text string) object {
		return object{"type": "output_text", "text": text, "annotations": []object{}, "logprobs": []object{}}
	}
	add("output_item.added", object{"output_index": 1, "item": empty[1]})
	add("content_part.added", text(object{"part": part("")}))
	for _, piece := range s.pieces(s.text) {
		add("output_text.delta", text(object{"delta": piece, "logprobs": []object{}}))
	}
	add("output_text.done", text(object{"text": s.text, "logprobs": []object{}}))
	add("content_part.done", text(object{"part": part(s.text)}))
	add("output_item.done", object{"output_index": 1, "item": full[1]})

	add("output_item.added", object{"output_index": 2, "item": empty[2]})
	for _, piece := range s.pieces(s.arguments) {
		add("function_call_arguments.delta", object{"item_id": "fc_1", "output_index": 2, "delta": piece})
	}
	add("function_call_arguments.done", object{"item_id": "fc_1", "output_index": 2, "name": "pay", "arguments": s.arguments})
	add("output_item.done", object{"output_index": 2, "item": full[2]})
	add("completed", object{"response": s.response("completed", full)})
	return events
}

func (s speech) message() object {
	return object{
		"id": s.id, "type": "message", "role": "assistant", "model": "claude-sonnet-5-5", "stop_reason": "tool_use", "stop_sequence": nil,
		"usage": object{"input_tokens": 3, "output_tokens": 5},
		"content": []object{
			{"type": "thinking", "thinking": s.thought, "signature": "c2lnbmF0dXJl"},
			{"type": "text", "text": s.text},
			{"type": "tool_use", "id": "toolu_1", "name": "pay", "input": json.RawMessage(s.arguments)},
		},
	}
}

func (s speech) messageEvents() []string {
	var events []string
	add := func(name string, members object) {
		members["type"] = name
		events = append(events, "event: "+name+"\ndata: "+jsonText(members)+"\n\n")
	}
	block := func(index int, start object, kind, member, text string, last ...object) {
		add("content_block_start", object{"index": index, "content_block": start})
		for _, piece := range s.pieces(text) {
			add("content_block_delta", object{"index": index, "delta": object{"type": kind, member: piece}})
		}
		for _, delta := range last {
			add("content_block_delta", object{"index": index, "delta": delta})
		}
		add("content_block_stop", object{"index": index})
	}
	content := []object{}
	if s.hello != "" {
		content = append(content, object{"type": "text", "text": s.hello})
	}
	start := s.message()
	start["content"], start["stop_reason"], start["usage"] = content, nil, object{"input_tokens": 3, "output_tokens": 1}
	add("message_start", object{"message": start})
	block(0, object{"type": "thinking", "thinking": "", "signature": ""}, "thinking_delta", "thinking", s.thought, object{"type": "signature_delta", "signature": "c2lnbmF0dXJl"})
	block(1, object{"type": "text", "text": ""}, "text_delta", "text", s.text)
	block(2, object{"type": "tool_use", "id": "toolu_1", "name": "pay", "input": object{}}, "input_json_delta", "partial_json", s.arguments)
	add("message_delta", object{"delta": object{"stop_reason": "tool_use", "stop_sequence": nil}, "usage": object{"output_tokens": 5}})
	add("message_stop", object{})
	return events
}

// parts returns those of a response of Gemini's.
func (s speech) parts() []object {
	return []object{{"text": s.thought, "thought": true}, {"text": s.text}, s.call()}
}

func (s speech) call() object {
	return object{"functionCall": object{"name": "pay", "args": json.RawMessage(s.arguments)}}
}

func (s speech) candidate(parts []object, finish string) object {
	candidate := object{"index": 0, "content": object{"role": "model", "parts": parts}}
	if finish != "" {
		candidate["finishReason"] = finish
	}
	return object{
		"candidates": []object{candidate}, "modelVersion": "gemini-2.5-flash", "responseId": s.id,
		"usageMetadata": object{"promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8},
	}
}

func (s speech) candidateEvents() []string {
	var events []string
	add := func(part object, finish string) {
		events = append(events, "data: "+jsonText(s.candidate([]object{part}, finish))+"\n\n")
	}
	for _, piece := range s.pieces(s.thought) {
		add(object{"text": piece, "thought": true}, "")
	}
	for _, piece := range s.pieces(s.text) {
		add(object{"text": piece}, "")
	}
	add(s.call(), "STOP")
	return events
}
