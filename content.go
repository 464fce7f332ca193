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

// contentPart is a part of a message; of others than texts, only the type is kept.
type contentPart struct {
	Type    string `json:"type"`
	Content string `json:"content,omitempty"`
}

// chatMessage is a message as chat completions have it.
type chatMessage struct {
	Role    string          `json:"role"`
	Content json.RawMessage `json:"content"`
}

// captureInput returns the messages of a request with at most maxBytes of text: that of the last messages, since the first
// ones repeat from call to call.
func captureInput(body []byte, maxBytes int) []byte {
	var request struct {
		Messages []chatMessage `json:"messages"`
	}
	if json.Unmarshal(body, &request) != nil {
		return nil
	}
	var messages []contentMessage
	for i := len(request.Messages) - 1; i >= 0 && maxBytes > 0; i-- {
		message := contentMessage{Role: request.Messages[i].Role, Parts: contentParts(request.Messages[i].Content)}
		for j := range message.Parts {
			message.Parts[j].Content = truncated(message.Parts[j].Content, maxBytes)
			maxBytes -= len(message.Parts[j].Content)
		}
		messages = append([]contentMessage{message}, messages...)
	}
	return marshal(messages)
}

// contentParts returns the parts of a message's content, which is a text or a list of parts.
func contentParts(content json.RawMessage) []contentPart {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return []contentPart{{Type: "text", Content: text}}
	}
	var list []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	_ = json.Unmarshal(content, &list)
	parts := []contentPart{}
	for _, part := range list {
		parts = append(parts, contentPart{Type: part.Type, Content: part.Text})
	}
	return parts
}

// truncated returns at most maxBytes of a text, in whole characters.
func truncated(text string, maxBytes int) string {
	if maxBytes < 0 {
		maxBytes = 0
	}
	if len(text) <= maxBytes {
		return text
	}
	for maxBytes > 0 && text[maxBytes]&0xc0 == 0x80 {
		maxBytes--
	}
	return text[:maxBytes]
}

// capture collects the texts of an answer's choices.
type capture struct {
	left  int // how many bytes it still takes
	texts []string
}

// answerChoices is what is captured of an answer, or of an event of one.
type answerChoices struct {
	Choices []struct {
		Index   int `json:"index"`
		Message struct {
			Content string `json:"content"`
		} `json:"message"`
		Delta struct {
			Content string `json:"content"`
		} `json:"delta"`
	} `json:"choices"`
}

// captureWindow takes the texts of a window of whole events, or of an answer.
func captureWindow(c *capture, window []byte, stream bool) {
	lines := [][]byte{window}
	if stream {
		lines = bytes.Split(window, dataLine)[1:]
	}
	for _, line := range lines {
		if c.left <= 0 {
			return
		}
		var choices answerChoices
		if json.NewDecoder(bytes.NewReader(line)).Decode(&choices) != nil {
			continue
		}
		for _, choice := range choices.Choices {
			if choice.Index < 0 || choice.Index >= maxHits {
				continue
			}
			for len(c.texts) <= choice.Index {
				c.texts = append(c.texts, "")
			}
			text := truncated(choice.Message.Content+choice.Delta.Content, c.left)
			c.texts[choice.Index] += text
			c.left -= len(text)
		}
	}
}

// captured returns the texts of an answer as messages.
func captured(a *Answer) []byte {
	messages := []contentMessage{}
	for i, text := range a.capture.texts {
		message := contentMessage{Role: "assistant", Parts: []contentPart{{Type: "text", Content: text}}}
		if i < len(a.FinishReasons) {
			message.FinishReason = a.FinishReasons[i]
		}
		messages = append(messages, message)
	}
	return marshal(messages)
}
