package chatcompletion

import (
	"bytes"
	"encoding/json"
	"strings"
)

// Values of GuardRule.Roles.
const (
	roleSystem    = "system"
	roleUser      = "user"
	roleAssistant = "assistant"
	roleTool      = "tool"
)

// jsonStep is one step from a JSON document to a place in it: a member, or an element of an array.
type jsonStep struct {
	name  string // of the member; empty: an element
	start int    // of the value, in that of the step before
	value []byte
}

// pathAt returns the steps to a place in a document, and reports whether they could be found within the
// bounds: each step reads the value that it begins at, and whose text it is takes that again.
func pathAt(in *inspection, place int) (path []jsonStep, isFound bool) {
	path = nil
	body := in.body
	for {
		if in.read += 2 * len(body); in.read > maxPathBytes {
			return nil, false
		}
		step := stepAt(body, place)
		if step == nil {
			return path, true
		}
		path = append(path, *step)
		body = step.value
		place -= step.start
	}
}

// stepAt returns the member or the element of a value that has a place; nil: there is none.
func stepAt(value []byte, place int) *jsonStep {
	decoder := json.NewDecoder(bytes.NewReader(value))
	token, err := decoder.Token()
	isObject := token == json.Delim('{')
	if err != nil || (!isObject && token != json.Delim('[')) {
		return nil
	}
	var inner json.RawMessage
	name := ""
	for decoder.More() {
		if isObject {
			token, _ = decoder.Token()
			text, isText := token.(string)
			if !isText {
				return nil
			}
			name = text
		}
		if decoder.Decode(&inner) != nil {
			return nil
		}
		end := int(decoder.InputOffset())
		if start := end - len(inner); place < start {
			return nil // in the name
		} else if place < end {
			return &jsonStep{name, start, value[start:end]}
		}
	}
	return nil
}

// roleAt returns whose text is at a place in a request; empty: it may be anybody's.
func roleAt(in *inspection, place int) string {
	path, isFound := pathAt(in, place)
	if !isFound {
		return ""
	}
	return roleOfPath(path)
}

// rolesOfMembers are whose texts the members of a request have, apart from conversations.
var rolesOfMembers = map[string]string{
	"system": roleSystem, "instructions": roleSystem, "systemInstruction": roleSystem, "system_instruction": roleSystem, "tools": roleSystem,
	"functions": roleSystem, "response_format": roleSystem, "text": roleSystem, "tool_choice": roleSystem, "toolConfig": roleSystem,
	"tool_config": roleSystem, "generationConfig": roleSystem, "generation_config": roleSystem, "output_config": roleSystem,
	"input": roleUser, "content": roleUser, "requests": roleUser, "prompt": roleUser, "instances": roleUser, "query": roleUser,
	"documents": roleUser, "prediction": roleAssistant,
}

func roleOfPath(path []jsonStep) string {
	if len(path) == 0 {
		return ""
	}
	switch name := path[0].name; name {
	case "generateContentRequest", "generate_content_request":
		return roleOfPath(path[1:])
	case "messages", "contents", "input":
		if len(path) > 1 && path[1].name == "" && path[1].value[0] == '{' {
			return roleOfElement(path[1:])
		}
		return rolesOfMembers[name]
	default:
		return rolesOfMembers[name]
	}
}

// toolMembers are the members of a part in Gemini's protocol that tools have written.
var toolMembers = []string{"functionResponse", "function_response", "codeExecutionResult", "code_execution_result", "toolResponse"}

// roleOfElement returns whose text is at the end of a path that begins with an element of a
// conversation: that of its role, unless the step to it leads to a result of a tool.
func roleOfElement(path []jsonStep) string {
	for _, step := range path {
		if containsText(toolMembers, step.name) || strings.HasSuffix(textMember(step.value, "type"), "tool_result") {
			return roleTool
		}
	}
	switch kind := textMember(path[0].value, "type"); {
	case strings.HasSuffix(kind, "_output"):
		return roleTool
	case strings.HasSuffix(kind, "_call") || kind == "reasoning":
		return roleAssistant
	}
	switch textMember(path[0].value, "role") {
	case "system", "developer":
		return roleSystem
	case "user":
		return roleUser
	case "assistant", "model":
		return roleAssistant
	case "tool", "function":
		return roleTool
	}
	return ""
}

// textMember returns the text of a member of an object; empty: there is none.
func textMember(object []byte, name string) string {
	var members map[string]json.RawMessage
	if object[0] != '{' || json.Unmarshal(object, &members) != nil {
		return ""
	}
	value := members[name]
	if len(value) == 0 || value[0] != '"' {
		return ""
	}
	return unquote(value)
}
