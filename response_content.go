package chatcompletion

import (
	"bytes"
	"encoding/json"
)

// capturedMaxEvents bounds the events of a stream that are captured, since each is decoded.
const capturedMaxEvents = 10000

// capture collects the content of a response's choices.
type capture struct {
	kind    kind // of the endpoint
	left    int  // bytes that it still takes
	events  int  // that have been read
	choices []capturedChoice
}

// capturedChoice is what has arrived of a choice.
type capturedChoice struct {
	reasoning    string
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
		switch {
		case capt.kind == messages:
			captureMessage(capt, line)
		case isGemini(capt.kind):
			captureCandidates(capt, line)
		default:
			captureChoices(capt, line)
		}
	}
}

// captureChoices captures the choices of chat completions. Of a text that is more than JSON, the JSON at
// its beginning is read, and a member of another type does not keep the rest from being read.
func captureChoices(capt *capture, line []byte) {
	var response responseChoices
	_ = json.NewDecoder(bytes.NewReader(line)).Decode(&response)
	for i, choice := range response.Choices {
		if i == maxChoices {
			break
		}
		to := capturedAt(capt, choice.Index)
		if to == nil {
			continue
		}
		captureReason(to, choice.FinishReason)
		capturePiece(capt, to, &choice.Message)
		capturePiece(capt, to, &choice.Delta)
	}
}

// capturedAt returns what has arrived of a choice; nil: there can be none with this index.
func capturedAt(capt *capture, index int) *capturedChoice {
	if index < 0 || index >= maxChoices {
		return nil
	}
	for len(capt.choices) <= index {
		capt.choices = append(capt.choices, capturedChoice{})
	}
	return &capt.choices[index]
}

// captureReason keeps why a choice has ended.
func captureReason(to *capturedChoice, reason string) {
	if reason != "" && len(reason) <= modelMaxBytes {
		to.finishReason = reason
	}
}

// capturePiece adds a message, or a piece of one, to its choice.
func capturePiece(capt *capture, to *capturedChoice, piece *chatMessage) {
	parts := contentParts(piece.Content)
	for i := range parts {
		capturePart(capt, to, &parts[i])
	}
	for i, call := range piece.ToolCalls {
		if i == capturedMaxParts {
			break
		}
		capturePart(capt, to, &contentPart{Name: call.Function.Name})
	}
}

// capturePart adds a part of a message to its choice.
func capturePart(capt *capture, to *capturedChoice, part *contentPart) {
	capt.left = boundPart(part, capt.left)
	if part.Type == reasoningPart {
		to.reasoning += part.Content
	} else {
		to.text += part.Content
	}
	if part.Name != "" {
		to.calls = append(to.calls, part.Name)
	}
}

// messageContent is what is captured of a response of Anthropic's Messages, or of one of its events.
type messageContent struct {
	Content    json.RawMessage `json:"content"`
	StopReason string          `json:"stop_reason"`
	Block      *contentBlock   `json:"content_block"`
	Delta      *messageDelta   `json:"delta"`
}

// messageDelta is a piece of a block, or the end of the message.
type messageDelta struct {
	Text       string `json:"text"`
	Thinking   string `json:"thinking"`
	StopReason string `json:"stop_reason"`
}

// captureMessage captures the content of a response of Anthropic's Messages.
func captureMessage(capt *capture, line []byte) {
	response := &messageContent{}
	_ = json.NewDecoder(bytes.NewReader(line)).Decode(response)
	parts := contentParts(response.Content)
	reason := response.StopReason
	if response.Block != nil {
		parts = append(parts, blockPart(response.Block))
	}
	if delta := response.Delta; delta != nil {
		parts = append(parts, contentPart{Type: reasoningPart, Content: delta.Thinking}, contentPart{Type: textPart, Content: delta.Text})
		reason = delta.StopReason
	}
	if len(parts) == 0 && reason == "" {
		return // an event without content, such as a ping
	}
	to := capturedAt(capt, 0)
	captureReason(to, reason)
	captureParts(capt, to, parts)
}

// captureParts adds the texts and the calls of tools among parts to their choice.
func captureParts(capt *capture, to *capturedChoice, parts []contentPart) {
	for i := range parts {
		part := &parts[i]
		if part.Type == textPart || part.Type == reasoningPart || part.Type == callPart {
			capturePart(capt, to, part)
		}
	}
}

// candidatesContent is what is captured of a response of Gemini's, or of a part of a streamed one.
type candidatesContent struct {
	Candidates []struct {
		Index        int            `json:"index"`
		Content      *geminiMessage `json:"content"`
		FinishReason string         `json:"finishReason"`
	} `json:"candidates"`
}

// captureCandidates captures the candidates of Gemini's.
func captureCandidates(capt *capture, line []byte) {
	response := &candidatesContent{}
	_ = json.NewDecoder(bytes.NewReader(line)).Decode(response)
	for i := range response.Candidates {
		if i == maxChoices {
			break
		}
		candidate := &response.Candidates[i]
		to := capturedAt(capt, candidate.Index)
		if to == nil {
			continue
		}
		captureReason(to, candidate.FinishReason)
		if candidate.Content != nil {
			captureParts(capt, to, geminiParts(candidate.Content))
		}
	}
}

// captureElements captures the content of complete elements of an array.
func captureElements(capt *capture, elements []byte) {
	var list []json.RawMessage
	_ = json.Unmarshal(elements, &list)
	for _, element := range list {
		captureWindow(capt, element, false)
	}
}

// captured returns the content of a response as messages.
func captured(reader *responseReader) []byte {
	list := []contentMessage{}
	for _, choice := range reader.capture.choices {
		message := contentMessage{Role: assistantRole, Parts: []contentPart{}, FinishReason: choice.finishReason}
		if choice.reasoning != "" {
			message.Parts = append(message.Parts, contentPart{Type: reasoningPart, Content: choice.reasoning})
		}
		if choice.text != "" {
			message.Parts = append(message.Parts, contentPart{Type: textPart, Content: choice.text})
		}
		for _, name := range choice.calls {
			message.Parts = append(message.Parts, contentPart{Type: callPart, Name: name})
		}
		list = append(list, message)
	}
	if len(list) == 1 && len(reader.record.FinishReasons) > 0 {
		list[0].FinishReason = reader.record.FinishReasons[0] // which is read after the captured part, too
	}
	return marshal(list)
}
