package chatcompletion

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// message holds the members of a message that the schema defines. They are of type any so that one
// call of encoding/json reads all messages, and our own checks report what is wrong and where.
type message struct {
	Role         any `json:"role"`
	Content      any `json:"content"`
	Refusal      any `json:"refusal"`
	Audio        any `json:"audio"`
	ToolCalls    any `json:"tool_calls"`
	ToolCallID   any `json:"tool_call_id"`
	FunctionCall any `json:"function_call"`
	Name         any `json:"name"`
}

// Limits of arrays. OpenAI accepts messagesMax messages. elementsMax bounds the interpreted work
// for arrays that the schema does not bound. objectsMax bounds the memory that encoding/json needs
// for all messages: three objects per content part or tool call, and one per message.
const (
	messagesMax = 2048
	elementsMax = 4096
	objectsMax  = messagesMax + 3*elementsMax
)

var openingBrace = []byte{'{'}

var roles = []string{"developer", "system", "user", "assistant", "tool", "function"}

// readMessages parses an array of at least one and at most messagesMax objects.
func readMessages(name string, value json.RawMessage) ([]message, *apiError) {
	if objects := bytes.Count(value, openingBrace); objects > objectsMax {
		return nil, tooMany(name, "objects", objectsMax, objects)
	}
	var messages []message
	if json.Unmarshal(value, &messages) != nil {
		return nil, checkObjects(name, value)
	}
	if len(messages) == 0 {
		return nil, emptyArray(name)
	}
	if len(messages) > messagesMax {
		return nil, tooMany(name, "elements", messagesMax, len(messages))
	}
	return messages, nil
}

// checkMessages checks each message by itself, and bounds on all of them. A check of one message must
// depend on that message alone, because a conversationMemory leaves others out; a new bound on all
// needs its place in counts.
func checkMessages(name string, value json.RawMessage) *apiError {
	messages, apiErr := readMessages(name, value)
	if apiErr != nil {
		return apiErr
	}
	elements := 0
	for i := range messages {
		m := &messages[i]
		_, isText := m.Content.(string)
		role, hasRole := m.Role.(string) // Yaegi panics in a switch on an any
		if isText && hasRole && m.ToolCalls == nil && m.Name == nil {
			switch role {
			case "user", "assistant", "system", "developer":
				continue // most messages; there is nothing else to check
			}
		}
		if elements += elementsOf(m); elements > elementsMax {
			return tooMany(name, "content parts and tool calls", elementsMax, elements)
		}
		if apiErr := checkMessage(name+"["+strconv.Itoa(i)+"]", m); apiErr != nil {
			return apiErr
		}
	}
	return nil
}

// checkLooseMessages checks what all providers agree on: messages are objects with a role, and not
// too many.
func checkLooseMessages(name string, value json.RawMessage) *apiError {
	messages, apiErr := readMessages(name, value)
	if apiErr != nil {
		return apiErr
	}
	for i := range messages {
		if _, isText := messages[i].Role.(string); !isText {
			return checkText(name+"["+strconv.Itoa(i)+"].role", messages[i].Role)
		}
	}
	return nil
}

// elementsOf returns the number of content parts and tool calls of a message that are checked. All of
// them are objects, or the message is rejected: a conversationMemory counts them by their braces.
func elementsOf(m *message) int {
	elements := 0
	if parts, isArray := m.Content.([]any); isArray {
		elements = len(parts)
	}
	if calls, isArray := m.ToolCalls.([]any); isArray && m.Role == "assistant" {
		elements += len(calls)
	}
	return elements
}

// checkObjects returns the error for a value that is not an array of objects. It names the first
// element that is not an object.
func checkObjects(name string, value json.RawMessage) *apiError {
	if value[0] != '[' {
		return wrongType(name, "an array", value)
	}
	var elements []json.RawMessage
	if json.Unmarshal(value, &elements) != nil {
		return wrongType(name, "an array of objects", value)
	}
	for i, element := range elements {
		if i == elementsMax {
			break
		}
		if element[0] != '{' {
			return wrongType(name+"["+strconv.Itoa(i)+"]", "an object", element)
		}
	}
	return wrongType(name, "an array of objects", value)
}

func emptyArray(name string) *apiError {
	return invalidRequest("empty_array", name, "Invalid '"+name+
		"': empty array. Expected an array with minimum length 1, but got an empty array instead.")
}

func checkMessage(path string, m *message) *apiError {
	if apiErr := checkChoice(path+".role", m.Role, roles...); apiErr != nil {
		return apiErr
	}
	role, _ := m.Role.(string) // checked above
	if apiErr := checkOptionalText(path+".name", m.Name); apiErr != nil {
		return apiErr
	}
	switch role {
	case "tool":
		if apiErr := checkText(path+".tool_call_id", m.ToolCallID); apiErr != nil {
			return apiErr
		}
	case "function":
		if m.Name == nil {
			return missingParameter(path + ".name")
		}
		if m.Content == nil {
			return nil
		}
	case "assistant":
		if m.ToolCalls != nil {
			if apiErr := checkToolCalls(path+".tool_calls", m.ToolCalls); apiErr != nil {
				return apiErr
			}
		}
		if m.Content == nil && (m.ToolCalls != nil || m.FunctionCall != nil || m.Refusal != nil || m.Audio != nil) {
			return nil
		}
	}
	return checkContent(path+".content", role, m.Content)
}

func checkToolCalls(path string, value any) *apiError {
	calls, isArray := value.([]any)
	if !isArray {
		return wrongGoType(path, "an array", value)
	}
	for i, element := range calls {
		at := path + "[" + strconv.Itoa(i) + "]"
		call, isObject := element.(map[string]any)
		if !isObject {
			return wrongGoType(at, "an object", element)
		}
		if call["id"] == nil {
			return missingParameter(at + ".id")
		}
		if apiErr := checkNamedFunction(at, call); apiErr != nil {
			return apiErr
		}
	}
	return nil
}

// partTypes returns the types of content parts that messages of a role may have.
func partTypes(role string) []string {
	switch role {
	case "user":
		return []string{"text", "image_url", "input_audio", "file"}
	case "assistant":
		return []string{"text", "refusal"}
	}
	return []string{"text"}
}

func checkContent(path, role string, value any) *apiError {
	if value == nil {
		return missingParameter(path)
	}
	if _, isString := value.(string); isString {
		return nil
	}
	parts, isArray := value.([]any)
	if !isArray {
		return wrongGoType(path, "a string or an array of content parts", value)
	}
	if len(parts) == 0 {
		return emptyArray(path)
	}
	if len(parts) > elementsMax {
		return tooMany(path, "content parts", elementsMax, len(parts))
	}
	for i, element := range parts {
		at := path + "[" + strconv.Itoa(i) + "]"
		part, isObject := element.(map[string]any)
		if !isObject {
			return wrongGoType(at, "an object", element)
		}
		if apiErr := checkChoice(at+".type", part["type"], partTypes(role)...); apiErr != nil {
			return apiErr
		}
		kind := part["type"].(string) // checked above
		if apiErr := checkPart(at+"."+kind, kind, part[kind]); apiErr != nil {
			return apiErr
		}
	}
	return nil
}

// checkPart checks the member of a content part that is named as its type.
func checkPart(path, kind string, value any) *apiError {
	if kind == "text" || kind == "refusal" {
		return checkText(path, value)
	}
	if value == nil {
		return missingParameter(path)
	}
	object, isObject := value.(map[string]any)
	if !isObject {
		return wrongGoType(path, "an object", value)
	}
	switch kind {
	case "image_url":
		if apiErr := checkText(path+".url", object["url"]); apiErr != nil {
			return apiErr
		}
		return checkOptionalChoice(path+".detail", object["detail"], "auto", "low", "high", "original")
	case "input_audio":
		if object["data"] == nil {
			return missingParameter(path + ".data")
		}
		return checkChoice(path+".format", object["format"], "wav", "mp3")
	}
	return nil
}

// checkText checks a required string, checkOptionalText an optional one.
func checkText(path string, value any) *apiError {
	if value == nil {
		return missingParameter(path)
	}
	return checkOptionalText(path, value)
}

func checkOptionalText(path string, value any) *apiError {
	if value == nil {
		return nil
	}
	if _, isString := value.(string); !isString {
		return wrongGoType(path, "a string", value)
	}
	return nil
}

// checkChoice checks a required string that must be one of values, checkOptionalChoice an optional
// one.
func checkChoice(path string, value any, values ...string) *apiError {
	if value == nil {
		return missingParameter(path)
	}
	return checkOptionalChoice(path, value, values...)
}

func checkOptionalChoice(path string, value any, values ...string) *apiError {
	if value == nil {
		return nil
	}
	text, isString := value.(string)
	if !isString {
		return wrongGoType(path, "a string", value)
	}
	return checkOneOf(path, text, values)
}

// wrongGoType is wrongType for a value that encoding/json has decoded.
func wrongGoType(path, expected string, value any) *apiError {
	return wrongType(path, expected, marshal(value))
}
