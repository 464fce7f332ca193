package chatcompletion

import (
	"bytes"
	"encoding/json"
)

// contentMessage is a message of gen_ai.input.messages and gen_ai.output.messages.
type contentMessage struct {
	Role         string        `json:"role"`
	Parts        []contentPart `json:"parts"`
	FinishReason string        `json:"finish_reason,omitempty"`
}

// contentPart is a part of a message. Of the call of a tool, only its name is kept, and of others than texts, only the
// type.
type contentPart struct {
	Type    string `json:"type"`
	Content string `json:"content,omitempty"`
	Name    string `json:"name,omitempty"`
}

// chatMessage is a message as chat completions have it, or a piece of one.
type chatMessage struct {
	Role      string          `json:"role"`
	Content   json.RawMessage `json:"content"`
	ToolCalls []struct {
		Function struct {
			Name string `json:"name"` // in a stream, only the first piece of a call has it
		} `json:"function"`
	} `json:"tool_calls"`
}

// What bounds the work of capturing, since each of these is looked at: messages of a request, parts and calls of tools of
// one message, and events of a stream.
const (
	capturedMaxMessages = 100
	capturedMaxParts    = 100
	capturedMaxEvents   = 10000
)

// captureInput returns the messages of a request with at most maxBytes of text: that of the last messages, since the first
// ones repeat from call to call.
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

// contentParts returns the parts of a message's content, which is a text, a list of parts, or nothing.
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

// capture collects what an answer's choices say.
type capture struct {
	left    int // how many bytes it still takes
	events  int // that have been read
	choices []capturedChoice
}

// capturedChoice is what has come of a choice.
type capturedChoice struct {
	text         string
	calls        []string // names of tools
	finishReason string
}

// responseChoices is what is captured of an answer, or of an event of one.
type responseChoices struct {
	Choices []struct {
		Index        int         `json:"index"`
		Message      chatMessage `json:"message"`
		Delta        chatMessage `json:"delta"`
		FinishReason string      `json:"finish_reason"`
	} `json:"choices"`
}

// captureWindow takes what a window of whole events, or of an answer, says.
func captureWindow(capt *capture, window []byte, stream bool) {
	lines := [][]byte{window}
	if stream {
		lines = bytes.Split(window, dataLine)[1:]
	}
	for _, line := range lines {
		if capt.left <= 0 || capt.events == capturedMaxEvents {
			return
		}
		capt.events++
		var answer responseChoices
		_ = json.NewDecoder(bytes.NewReader(line)).Decode(&answer) // what has another type does not keep the rest from being read
		for i, choice := range answer.Choices {
			if i == maxMatches {
				break
			}
			if choice.Index < 0 || choice.Index >= maxMatches {
				continue
			}
			for len(capt.choices) <= choice.Index {
				capt.choices = append(capt.choices, capturedChoice{})
			}
			to := &capt.choices[choice.Index]
			if choice.FinishReason != "" && len(choice.FinishReason) <= modelMaxBytes {
				to.finishReason = choice.FinishReason
			}
			capturePiece(capt, to, &choice.Message)
			capturePiece(capt, to, &choice.Delta)
		}
	}
}

// capturePiece adds a message, or a piece of one, to what has come of its choice.
func capturePiece(capt *capture, to *capturedChoice, piece *chatMessage) {
	for _, part := range contentParts(piece.Content) {
		text := truncated(part.Content, capt.left)
		capt.left -= len(text)
		to.text += text
	}
	for i, call := range piece.ToolCalls {
		if i == capturedMaxParts {
			break
		}
		if name := truncated(call.Function.Name, capt.left); name != "" {
			capt.left -= len(name)
			to.calls = append(to.calls, name)
		}
	}
}

// captured returns what an answer says as messages.
func captured(resp *Response) []byte {
	messages := []contentMessage{}
	for _, choice := range resp.capture.choices {
		message := contentMessage{Role: "assistant", Parts: []contentPart{}, FinishReason: choice.finishReason}
		if choice.text != "" {
			message.Parts = append(message.Parts, contentPart{Type: "text", Content: choice.text})
		}
		for _, name := range choice.calls {
			message.Parts = append(message.Parts, contentPart{Type: "tool_call", Name: name})
		}
		messages = append(messages, message)
	}
	if len(messages) == 1 && len(resp.FinishReasons) > 0 {
		messages[0].FinishReason = resp.FinishReasons[0] // which is read behind what is captured, too
	}
	return marshal(messages)
}
