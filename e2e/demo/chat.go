package demo

import (
	"encoding/json"
	"strings"
)

// chatRequest is what the provider reads of a chat-completion request.
type chatRequest struct {
	Model    string `json:"model"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Stream        bool `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	Tools []struct {
		Function struct {
			Name       string          `json:"name"`
			Parameters json.RawMessage `json:"parameters"`
		} `json:"function"`
	} `json:"tools"`
	ToolChoice     json.RawMessage `json:"tool_choice"`
	ResponseFormat struct {
		Type       string `json:"type"`
		JSONSchema struct {
			Schema json.RawMessage `json:"schema"`
		} `json:"json_schema"`
	} `json:"response_format"`
}

// answer is a chat completion before it is written as one document or as events.
type answer struct {
	id, model    string
	content      string
	tool         string // the function to call; empty: the answer is content
	arguments    string
	inputTokens  int
	outputTokens int
}

func (r *chatRequest) answer(id string) answer {
	var prompt []string
	for _, message := range r.Messages {
		prompt = append(prompt, contentText(message.Content))
	}
	a := answer{id: id, model: r.Model, inputTokens: tokens(strings.Join(prompt, " "))}
	switch tool := r.calledTool(); {
	case tool >= 0:
		a.tool = r.Tools[tool].Function.Name
		a.arguments = example(r.Tools[tool].Function.Parameters)
	case r.ResponseFormat.Type == "json_schema":
		a.content = example(r.ResponseFormat.JSONSchema.Schema)
	case len(prompt) > 0:
		a.content = r.Model + " heard: " + prompt[len(prompt)-1]
	default:
		a.content = r.Model + " heard nothing"
	}
	a.outputTokens = tokens(a.content + a.arguments)
	return a
}

// calledTool is the index of the tool that tool_choice demands, -1 if it demands none.
func (r *chatRequest) calledTool() int {
	var mode string
	if json.Unmarshal(r.ToolChoice, &mode) == nil {
		if mode == "required" && len(r.Tools) > 0 {
			return 0
		}
		return -1
	}
	var named struct {
		Function struct {
			Name string `json:"name"`
		} `json:"function"`
	}
	if json.Unmarshal(r.ToolChoice, &named) != nil {
		return -1
	}
	for i, tool := range r.Tools {
		if tool.Function.Name == named.Function.Name {
			return i
		}
	}
	return -1
}

func (a answer) finishReason() string {
	if a.tool != "" {
		return "tool_calls"
	}
	return "stop"
}

func (a answer) usage() map[string]any {
	return map[string]any{
		"prompt_tokens":             a.inputTokens,
		"completion_tokens":         a.outputTokens,
		"total_tokens":              a.inputTokens + a.outputTokens,
		"prompt_tokens_details":     map[string]any{"cached_tokens": 0},
		"completion_tokens_details": map[string]any{"reasoning_tokens": 0},
	}
}

// document is the answer to a request that does not stream.
func (a answer) document() map[string]any {
	message := map[string]any{"role": "assistant", "content": a.content, "refusal": nil}
	if a.tool != "" {
		message["content"] = nil
		message["tool_calls"] = []any{map[string]any{
			"id": "call_" + a.id, "type": "function",
			"function": map[string]any{"name": a.tool, "arguments": a.arguments},
		}}
	}
	return map[string]any{
		"id": a.id, "object": "chat.completion", "created": created, "model": a.model,
		"choices": []any{map[string]any{
			"index": 0, "message": message, "logprobs": nil, "finish_reason": a.finishReason(),
		}},
		"usage": a.usage(),
	}
}
