package chatcompletion

import "encoding/json"

// contentMessage is a message of gen_ai.input.messages and gen_ai.output.messages.
type contentMessage struct {
	Role         string        `json:"role"`
	Parts        []contentPart `json:"parts"`
	FinishReason string        `json:"finish_reason,omitempty"`
}

// contentPart is a part of a message. A tool call keeps only its name, and a part that is not text
// only its type.
type contentPart struct {
	Type    string `json:"type"`
	Content string `json:"content,omitempty"`
	Name    string `json:"name,omitempty"`
}

// chatMessage is a message of chat completions, or a piece of one.
type chatMessage struct {
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	ToolCalls []struct {
		Function struct {
			Name string `json:"name"` // in a stream, only the first piece of a call has it
		} `json:"function"`
	} `json:"tool_calls"`
}

// Bounds of the messages of a request, and of the parts and tool calls of one message, that are
// captured: each is examined.
const (
	capturedMaxMessages = 100
	capturedMaxParts    = 100
)

// captureInput returns the messages of a request with at most maxBytes of text: the text of the
// last messages, since the first ones repeat from call to call.
func captureInput(body []byte, maxBytes int) []byte {
	var request struct {
		Messages []chatMessage `json:"messages"`
	}
	if json.Unmarshal(body, &request) != nil {
		return nil
	}
	messages := make([]contentMessage, len(request.Messages))
	first := len(messages)
	for first > 0 && maxBytes > 0 && len(messages)-first < capturedMaxMessages {
		first--
		sent := &request.Messages[first]
		parts := contentParts(sent.Content)
		for i := range parts {
			parts[i].Content = truncated(parts[i].Content, maxBytes)
			maxBytes -= len(parts[i].Content)
		}
		for i, call := range sent.ToolCalls {
			if i == capturedMaxParts {
				break
			}
			name := truncated(call.Function.Name, maxBytes)
			maxBytes -= len(name)
			parts = append(parts, contentPart{Type: "tool_call", Name: name})
		}
		messages[first] = contentMessage{Role: sent.Role, Parts: parts}
	}
	return marshal(messages[first:])
}

// contentParts returns the parts of a message's content, which is a text, a list of parts, or null.
func contentParts(content json.RawMessage) []contentPart {
	parts := []contentPart{}
	if len(content) == 0 || content[0] == 'n' {
		return parts
	}
	var text string
	if json.Unmarshal(content, &text) == nil {
		return append(parts, contentPart{Type: "text", Content: text})
	}
	var list []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	_ = json.Unmarshal(content, &list)
	for i, part := range list {
		if i == capturedMaxParts {
			break
		}
		parts = append(parts, contentPart{Type: part.Type, Content: part.Text})
	}
	return parts
}
