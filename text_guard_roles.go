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
	return roleOfPath(in, path)
}

// Which structure tells whose texts those of a conversation are: what a provider does not read, such as the
// type of a chat message, must not change it.
const (
	chatTurns    = "chat"     // messages with a role
	itemTurns    = "items"    // items with a type, of which messages have a role
	blockTurns   = "blocks"   // messages with a role, whose blocks have a type
	contentTurns = "contents" // contents with a role, whose parts are named by a member
	unknownTurns = "unknown"  // any of these
)

// anyoneRole is the role of texts to which rules for any role apply.
const anyoneRole = ""

// rolesOfMembers are whose texts the members of a request have, apart from conversations.
var rolesOfMembers = map[string]string{
	"system": roleSystem, "instructions": roleSystem, "systemInstruction": roleSystem, "system_instruction": roleSystem, "tools": roleSystem,
	"functions": roleSystem, "response_format": roleSystem, "text": roleSystem, "tool_choice": roleSystem, "toolConfig": roleSystem,
	"tool_config": roleSystem, "generationConfig": roleSystem, "generation_config": roleSystem, "output_config": roleSystem,
	"input": roleUser, "content": roleUser, "requests": roleUser, "prompt": roleUser, "instances": roleUser, "query": roleUser,
	"documents": roleUser, "prediction": roleAssistant,
}

func roleOfPath(in *inspection, path []jsonStep) string {
	if len(path) == 0 {
		return anyoneRole
	}
	switch name := path[0].name; name {
	case "generateContentRequest", "generate_content_request":
		return roleOfPath(in, path[1:])
	case "messages", "contents", "input":
		if len(path) > 1 && path[1].name == "" && path[1].value[0] == '{' {
			return roleOfElement(in.rules.turns, path[1:])
		}
		return rolesOfMembers[name]
	default:
		return rolesOfMembers[name]
	}
}

// roleOfElement returns whose text is at the end of a path that begins with an element of a conversation.
func roleOfElement(turns string, path []jsonStep) string {
	own := readRole(path[0].value)
	switch turns {
	case chatTurns:
		return own.role
	case itemTurns:
		return roleOfItem(own, path)
	case blockTurns:
		return roleOfBlock(own.role, path)
	case contentTurns:
		return roleOfPart(own.role, path)
	}
	role := roleOfItem(own, path)
	if roleOfBlock(role, path) == role && roleOfPart(role, path) == role {
		return role
	}
	return anyoneRole
}

// roleOfName returns the role that a message names; anyoneRole: it names none, or in a way that providers may
// read differently.
func roleOfName(name string) string {
	switch name {
	case "system", "developer":
		return roleSystem
	case "user":
		return roleUser
	case "assistant", "model":
		return roleAssistant
	case "tool", "function":
		return roleTool
	}
	return anyoneRole
}

// roleOfItem returns whose text is in an item of the Responses API. Its type tells, unless it has a role, too.
func roleOfItem(own *ownRole, path []jsonStep) string {
	isCall := strings.HasSuffix(own.kind, "_call")
	isResult := strings.HasSuffix(own.kind, "_output") || (isCall && len(path) > 1 && containsText(resultMembers, path[1].name))
	switch {
	case own.kind == "message" || !own.hasKind:
		return own.role
	case own.hasRole:
		return anyoneRole
	case isResult:
		return roleTool
	case isCall || own.kind == "reasoning":
		return roleAssistant
	}
	return anyoneRole
}

// resultMembers are the members of a call that the tool has written.
var resultMembers = []string{"output", "outputs", "results", "error"}

// roleOfBlock returns whose text is in a message of Anthropic's: that of its role, or of a tool if it is in a
// block with the result of one.
func roleOfBlock(role string, path []jsonStep) string {
	if len(path) < 3 || path[1].name != "content" || path[2].name != "" || path[2].value[0] != '{' {
		return role
	}
	kind := readRole(path[2].value).kind
	switch {
	case strings.HasSuffix(kind, "tool_result"):
		return roleTool
	case kind == "":
		return anyoneRole
	}
	return role
}

// toolMembers are the members of a part in Gemini's protocol that tools have written.
var toolMembers = []string{"functionResponse", "function_response", "codeExecutionResult", "code_execution_result", "toolResponse"}

// roleOfPart returns whose text is in a content of Gemini's protocol: that of its role, or of a tool if it is in
// the member of a part for what tools write.
func roleOfPart(role string, path []jsonStep) string {
	if len(path) > 3 && path[1].name == "parts" && containsText(toolMembers, path[3].name) {
		return roleTool
	}
	return role
}

// ownRole is what an object says about whose texts it has.
type ownRole struct {
	role    string // anyoneRole: it says none
	kind    string // its type; empty: it says none
	hasRole bool
	hasKind bool
}

// maxRoleMembers bounds the members of an object that are read for its role.
const maxRoleMembers = 64

// readRole reads what an object says about whose texts it has. What it says twice or in another spelling, each
// provider may read differently: it says that, but nothing by it.
func readRole(object []byte) *ownRole {
	decoder := json.NewDecoder(bytes.NewReader(object))
	_, _ = decoder.Token()
	own := &ownRole{}
	var value json.RawMessage
	for members := 0; decoder.More(); members++ {
		token, _ := decoder.Token()
		name, isText := token.(string)
		if !isText || members == maxRoleMembers || decoder.Decode(&value) != nil {
			return &ownRole{hasRole: true, hasKind: true}
		}
		switch fold(name) {
		case "role":
			own.role = roleOfName(soleText(name == "role" && !own.hasRole, value))
			own.hasRole = true
		case "type":
			own.kind = soleText(name == "type" && !own.hasKind, value)
			own.hasKind = true
		}
	}
	return own
}

// soleText returns the text of a value; empty: it is no text, or not the only one.
func soleText(isSole bool, value []byte) string {
	if !isSole || value[0] != '"' {
		return ""
	}
	return unquote(value)
}

// dataMembers are the members of calls and results whose own members are data: their names and types are no
// words of the protocol.
var dataMembers = []string{"input", "args", "response", "arguments"}

// isInData reports whether a path leads into the arguments or the result of a call, or into metadata.
func isInData(path []jsonStep) bool {
	for i, step := range path {
		switch {
		case step.name == "tools" || (i == 0 && rolesOfMembers[step.name] == roleSystem):
			return false // a schema, in which names are parameters
		case i == 0 && (step.name == "metadata" || step.name == "labels"):
			return true
		case i > 0 && step.value[0] == '{' && containsText(dataMembers, step.name):
			return true
		}
	}
	return false
}
