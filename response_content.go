package chatcompletion

import (
	"bytes"
	"encoding/json"
)

// capturedMaxEvents bounds the events of a stream that are captured, since each is decoded.
const capturedMaxEvents = 10000

// capture collects the content of a response's choices.
type capture struct {
	left    int // bytes that it still takes
	events  int // that have been read
	choices []capturedChoice
}

// capturedChoice is what has arrived of a choice.
type capturedChoice struct {
	text         string
	calls        []string // names of the tools that are called
	finishReason string
}

// responseChoices is what is captured of a response, or of one of its events.
type responseChoices struct {
	Choices []struct {
		Index        int         `json:"index"`
		Message      chatMessage `json:"message"`
		Delta        chatMessage `json:"delta"`
		FinishReason string      `json:"finish_reason"`
	} `json:"choices"`
}

// captureWindow captures the content of a window of complete events, or of a response.
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
		var response responseChoices
		_ = json.NewDecoder(bytes.NewReader(line)).Decode(&response) // members of other types do not keep the rest from being read
		for i, choice := range response.Choices {
			if i == maxChoices {
				break
			}
			if choice.Index < 0 || choice.Index >= maxChoices {
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

// capturePiece adds a message, or a piece of one, to its choice.
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

// captured returns the content of a response as messages.
func captured(reader *responseReader) []byte {
	messages := []contentMessage{}
	for _, choice := range reader.capture.choices {
		message := contentMessage{Role: "assistant", Parts: []contentPart{}, FinishReason: choice.finishReason}
		if choice.text != "" {
			message.Parts = append(message.Parts, contentPart{Type: "text", Content: choice.text})
		}
		for _, name := range choice.calls {
			message.Parts = append(message.Parts, contentPart{Type: "tool_call", Name: name})
		}
		messages = append(messages, message)
	}
	if len(messages) == 1 && len(reader.record.FinishReasons) > 0 {
		messages[0].FinishReason = reader.record.FinishReasons[0] // which is read after the captured part, too
	}
	return marshal(messages)
}
