package demo

import (
	"encoding/json"
	"strings"
)

// chatRequest has the fields of a chat-completion request that the provider reads.
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

// completion is what a model generates, before it is written as one document or as events.
type completion struct {
	id, model    string
	thought      string // what precedes the rest, where a protocol shows it
	content      string
	tool         string // the function to call; if empty, the completion is content
	arguments    string
	inputTokens  int
	outputTokens int
}

func (r *chatRequest) completion(id string) completion {
	var prompt []string
	pictures := 0
	for _, message := range r.Messages {
		text, images := contentParts(message.Content)
		prompt = append(prompt, text)
		pictures += images
	}
	c := completion{id: id, model: r.Model, inputTokens: tokens(strings.Join(prompt, " ")) + pictures*imageTokens}
	switch tool := r.calledTool(); {
	case tool >= 0:
		c.tool = r.Tools[tool].Function.Name
		c.arguments = example(r.Tools[tool].Function.Parameters)
	case r.ResponseFormat.Type == "json_schema":
		c.content = example(r.ResponseFormat.JSONSchema.Schema)
	case len(prompt) > 0:
		c.content = r.Model + " heard: " + prompt[len(prompt)-1]
	default:
		c.content = r.Model + " heard nothing"
	}
	c.outputTokens = tokens(c.content + c.arguments)
	return c
}

// calledTool returns the index of the tool that tool_choice requires, or -1.
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

func (c completion) finishReason() string {
	if c.tool != "" {
		return "tool_calls"
	}
	return "stop"
}

func (c completion) usage() map[string]any {
	return map[string]any{
		"prompt_tokens":             c.inputTokens,
		"completion_tokens":         c.outputTokens,
		"total_tokens":              c.inputTokens + c.outputTokens,
		"prompt_tokens_details":     map[string]any{"cached_tokens": 0},
		"completion_tokens_details": map[string]any{"reasoning_tokens": 0},
	}
}

// document returns the response to a non-streaming request.
func (c completion) document() map[string]any {
	message := map[string]any{"role": "assistant", "content": c.content, "refusal": nil}
	if c.tool != "" {
		message["content"] = nil
		message["tool_calls"] = []any{map[string]any{
			"id": "call_" + c.id, "type": "function",
			"function": map[string]any{"name": c.tool, "arguments": c.arguments},
		}}
	}
	return map[string]any{
		"id": c.id, "object": "chat.completion", "created": created, "model": c.model,
		"choices": []any{map[string]any{
			"index": 0, "message": message, "logprobs": nil, "finish_reason": c.finishReason(),
		}},
		"usage": c.usage(),
	}
}
