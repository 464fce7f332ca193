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
	Type     string `json:"type"`
	Content  string `json:"content,omitempty"`
	Name     string `json:"name,omitempty"`
	Response string `json:"response,omitempty"` // of a tool
}

// Types of parts in the GenAI semantic conventions. Parts of other types keep the one that they have.
const (
	textPart      = "text"
	reasoningPart = "reasoning"
	callPart      = "tool_call"
	resultPart    = "tool_call_response"
	blobPart      = "blob" // data within the message
	uriPart       = "uri"  // a reference to data
)

// Roles of messages in the GenAI semantic conventions.
const (
	systemRole    = "system"
	userRole      = "user"
	assistantRole = "assistant"
)

// chatMessage is a message of chat completions or of Anthropic's Messages, or a piece of one.
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

// contentRequest is what is captured of a request.
type contentRequest struct {
	Messages []chatMessage   `json:"messages"`
	System   json.RawMessage `json:"system"` // Anthropic's
	// The following are Gemini's. Both names of the instruction are.
	Contents          []geminiMessage `json:"contents"`
	SystemInstruction *geminiMessage  `json:"systemInstruction"`
	Instruction       *geminiMessage  `json:"system_instruction"`
}

// captureInput returns the messages of a request to an endpoint of a kind with at most maxBytes of text: the
// text of the last messages, since the first ones repeat from call to call.
func captureInput(k kind, body []byte, maxBytes int) []byte {
	request := &contentRequest{}
	if json.Unmarshal(body, request) != nil {
		return nil
	}
	if request.SystemInstruction == nil {
		request.SystemInstruction = request.Instruction
	}
	hasContents := generatesContent(k)
	count, hasSystem := len(request.Messages), k == messages && len(request.System) > 0
	if hasContents {
		count = len(request.Contents)
		hasSystem = request.SystemInstruction != nil
	}
	if hasSystem {
		count++ // it is the first one
	}
	sent := make([]contentMessage, count)
	first := count
	for first > 0 && maxBytes > 0 && count-first < capturedMaxMessages {
		first--
		place := first
		if hasSystem {
			place--
		}
		message := sentMessage(request, hasContents, place)
		for i := range message.Parts {
			maxBytes = boundPart(&message.Parts[i], maxBytes)
		}
		sent[first] = message
	}
	return marshal(sent[first:])
}

// sentMessage returns a message of a request; -1: that of the system.
func sentMessage(request *contentRequest, hasContents bool, place int) contentMessage {
	switch {
	case hasContents && place < 0:
		return contentMessage{Role: systemRole, Parts: geminiParts(request.SystemInstruction)}
	case hasContents:
		content := &request.Contents[place]
		return contentMessage{Role: geminiRole(content.Role), Parts: geminiParts(content)}
	case place < 0:
		return contentMessage{Role: systemRole, Parts: contentParts(request.System)}
	}
	sent := &request.Messages[place]
	parts := contentParts(sent.Content)
	for i, call := range sent.ToolCalls {
		if i == capturedMaxParts {
			break
		}
		parts = append(parts, contentPart{Type: callPart, Name: call.Function.Name})
	}
	return contentMessage{Role: sent.Role, Parts: parts}
}

// boundPart truncates the texts of a part to a number of bytes, and returns how many are left.
func boundPart(part *contentPart, maxBytes int) int {
	part.Content = truncated(part.Content, maxBytes)
	maxBytes -= len(part.Content)
	part.Name = truncated(part.Name, maxBytes)
	maxBytes -= len(part.Name)
	part.Response = truncated(part.Response, maxBytes)
	return maxBytes - len(part.Response)
}

// contentBlock is a part of a message's content, in chat completions or in Anthropic's Messages.
type contentBlock struct {
	Type     string          `json:"type"`
	Text     string          `json:"text"`
	Thinking string          `json:"thinking"`
	Name     string          `json:"name"`    // of a tool
	Content  json.RawMessage `json:"content"` // of its result
}

// contentParts returns the parts of a message's content, which is a text, a list of parts, or null.
func contentParts(content json.RawMessage) []contentPart {
	parts := []contentPart{}
	if len(content) == 0 || content[0] == 'n' {
		return parts
	}
	var text string
	if json.Unmarshal(content, &text) == nil {
		return append(parts, contentPart{Type: textPart, Content: text})
	}
	var list []contentBlock
	_ = json.Unmarshal(content, &list)
	for i := range list {
		if i == capturedMaxParts {
			break
		}
		parts = append(parts, blockPart(&list[i]))
	}
	return parts
}

// blockPart returns a part of a message's content in the form of the GenAI semantic conventions.
func blockPart(block *contentBlock) contentPart {
	switch block.Type {
	case "thinking", "redacted_thinking":
		return contentPart{Type: reasoningPart, Content: block.Thinking}
	case "tool_use", "server_tool_use", "mcp_tool_use":
		return contentPart{Type: callPart, Name: block.Name}
	case "tool_result":
		return contentPart{Type: resultPart, Response: contentText(block.Content)}
	}
	return contentPart{Type: block.Type, Content: block.Text}
}

// contentText returns the text of a content, which is a text or a list of parts.
func contentText(content json.RawMessage) string {
	var text string
	if len(content) == 0 || json.Unmarshal(content, &text) == nil {
		return text
	}
	var list []contentBlock
	_ = json.Unmarshal(content, &list)
	for i := range list {
		if i == capturedMaxParts {
			break
		}
		text += list[i].Text
	}
	return text
}

// geminiMessage is a message of Gemini's, or a piece of one.
type geminiMessage struct {
	Role  string       `json:"role"`
	Parts []geminiPart `json:"parts"`
}

// geminiPart is a part of a message of Gemini's. One of its members says what it is.
type geminiPart struct {
	Text             string          `json:"text"`
	Thought          bool            `json:"thought"` // the text is reasoning
	FunctionCall     *geminiFunction `json:"functionCall"`
	FunctionResponse *geminiFunction `json:"functionResponse"`
	InlineData       json.RawMessage `json:"inlineData"`
	FileData         json.RawMessage `json:"fileData"`
}

// geminiFunction is a call of a tool, or its result.
type geminiFunction struct {
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response"`
}

// geminiRole returns a role of Gemini's in the words of the GenAI semantic conventions.
func geminiRole(role string) string {
	switch role {
	case "model":
		return assistantRole
	case "":
		return userRole
	}
	return role
}

// geminiParts returns the parts of a message of Gemini's.
func geminiParts(content *geminiMessage) []contentPart {
	parts := []contentPart{}
	for i := range content.Parts {
		if i == capturedMaxParts {
			break
		}
		parts = append(parts, partOfGemini(&content.Parts[i]))
	}
	return parts
}

// partOfGemini returns a part of a message of Gemini's in the form of the GenAI semantic conventions.
func partOfGemini(part *geminiPart) contentPart {
	switch {
	case part.FunctionCall != nil:
		return contentPart{Type: callPart, Name: part.FunctionCall.Name}
	case part.FunctionResponse != nil:
		return contentPart{Type: resultPart, Name: part.FunctionResponse.Name, Response: string(part.FunctionResponse.Response)}
	case part.InlineData != nil:
		return contentPart{Type: blobPart}
	case part.FileData != nil:
		return contentPart{Type: uriPart}
	case part.Thought:
		return contentPart{Type: reasoningPart, Content: part.Text}
	}
	return contentPart{Type: textPart, Content: part.Text}
}
