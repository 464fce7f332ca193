package chatcompletion

import (
	"encoding/json"
	"math"
)

// messagesParameters returns the request schema of Anthropic's Messages API, as published with its
// SDKs, those of betas included. max_tokens may be 0: such a request fills the prompt cache.
func messagesParameters() []*parameter {
	return append(countMessagesParameters(),
		&parameter{name: maxTokens, starts: "-0123456789", article: "an integer", number: true, integer: true, minimum: 0, maximum: math.MaxFloat64, required: true},
		ofSeveralTypes("container", checkTextOrObject),
		ofObject("diagnostics", nil),
		ofSeveralTypes("fallback_credit_token", checkTextOrObject),
		bypassingRules(namingModels(ofSeveralTypes("fallbacks", checkFallbacks))),
		ofString("inference_geo"),
		ofObject("metadata", checkCallerMetadata),
		ofString("service_tier", "auto", "standard_only"),
		ofArray("stop_sequences", checkStrings),
		ofBoolean("stream"),
		ofNumber("temperature", 0, 1),
		ofObject("thread", nil),
		ofInteger("top_k", 0, math.MaxFloat64),
		ofNumber("top_p", 0, 1),
	)
}

// countMessagesParameters returns the request schema of Anthropic's count_tokens, which generates
// nothing.
func countMessagesParameters() []*parameter {
	return []*parameter{
		modelID: ofString("model"),
		{
			name: "messages", starts: "[", article: "an array", check: checkAnthropicMessages, looseCheck: checkAnthropicMessages, required: true,
			elementsMax: elementsMax, objectsMax: blocksMax,
		},
		ofObject("cache_control", nil),
		ofObject("compaction", nil),
		ofObject("context_management", nil),
		ofArray("mcp_servers", checkTypedObjects),
		ofObject("output_config", checkOutputConfig),
		ofObject("output_format", nil),
		ofString("speed", "standard", "fast"),
		ofSeveralTypes("system", checkSystem),
		ofObject("thinking", checkType),
		ofObject("tool_choice", checkType),
		namingModels(ofArray("tools", checkAnthropicTools)),
	}
}

// blocksMax bounds the content blocks of all messages, which are checked one by one.
const blocksMax = 4 * elementsMax

// anthropicRoles are the roles of messages. Instructions in the course of a conversation have the
// role system.
var anthropicRoles = []string{"user", "assistant", "system"}

// anthropicMessage holds the members that all messages have. The content is decoded apart, so that
// a block with large objects costs nothing.
type anthropicMessage struct {
	Role    any             `json:"role"`
	Content json.RawMessage `json:"content"`
}

// typedBlock holds the type, which all content blocks have. There are many types, and new ones
// appear all the time, so that a block's other members are not checked.
type typedBlock struct {
	Type any `json:"type"`
}

// checkAnthropicMessages checks each message by itself, and bounds on all of them. What checkMessages
// says about messages holds here.
func checkAnthropicMessages(name string, value json.RawMessage) *apiError {
	var messages []anthropicMessage
	if json.Unmarshal(value, &messages) != nil {
		return checkObjects(name, value)
	}
	if len(messages) == 0 {
		return emptyArray(name)
	}
	if len(messages) > elementsMax {
		return tooMany(name, "elements", elementsMax, len(messages))
	}
	var contents [][]byte
	var owners []int // of contents: indexes of messages
	for i := range messages {
		m := &messages[i]
		if apiErr := checkRole(name, i, m.Role); apiErr != nil {
			return apiErr
		}
		if len(m.Content) > 0 && m.Content[0] == '[' {
			contents = append(contents, m.Content)
			owners = append(owners, i)
		} else if len(m.Content) == 0 || m.Content[0] != '"' {
			return wrongContent(elementPath(name, i)+".content", m.Content)
		}
	}
	if contents == nil {
		return nil
	}
	return checkContentBlocks(name, contents, owners)
}

func checkRole(name string, i int, role any) *apiError {
	text, isString := role.(string)
	if isString && (text == "user" || text == "assistant") {
		return nil
	}
	return checkChoice(elementPath(name, i)+".role", role, anthropicRoles...)
}

// wrongContent returns the error for content that is missing, or neither a text nor an array.
func wrongContent(path string, value json.RawMessage) *apiError {
	if len(value) == 0 || value[0] == 'n' {
		return missingParameter(path)
	}
	return wrongType(path, "a string or an array of content blocks", value)
}

// checkContentBlocks checks the arrays of content blocks of some messages, with one call of
// encoding/json for all of them.
func checkContentBlocks(name string, contents [][]byte, owners []int) *apiError {
	var lists [][]typedBlock
	if json.Unmarshal(jsonArray(contents), &lists) != nil {
		return wrongBlocks(name, contents, owners)
	}
	blocks := 0
	for i, list := range lists {
		if blocks += len(list); blocks > blocksMax {
			return tooMany(name, "content blocks", blocksMax, blocks)
		}
		if apiErr := checkBlockTypes(name, owners[i], list); apiErr != nil {
			return apiErr
		}
	}
	return nil
}

func checkBlockTypes(name string, owner int, blocks []typedBlock) *apiError {
	for i := range blocks {
		if _, isString := blocks[i].Type.(string); !isString {
			return checkText(elementPath(elementPath(name, owner)+".content", i)+".type", blocks[i].Type)
		}
	}
	return nil
}

// wrongBlocks returns the error for the first content that is not an array of objects.
func wrongBlocks(name string, contents [][]byte, owners []int) *apiError {
	for i, content := range contents {
		var blocks []typedBlock
		if json.Unmarshal(content, &blocks) != nil {
			return checkObjects(elementPath(name, owners[i])+".content", content)
		}
	}
	return wrongType(name, "an array of objects", openingBracket) // not reached: one of them is at fault
}

// checkSystem checks the system prompt: a text or an array of content blocks.
func checkSystem(name string, value json.RawMessage) *apiError {
	switch value[0] {
	case '"':
		return nil
	case '[':
		return checkTypedObjects(name, value)
	}
	return wrongType(name, "a string or an array of content blocks", value)
}

// checkAnthropicTools checks the tools. Those that the client defines have a name, and need no type.
func checkAnthropicTools(name string, value json.RawMessage) *apiError {
	var tools []typedObject
	if json.Unmarshal(value, &tools) != nil {
		return checkObjects(name, value)
	}
	if len(tools) > elementsMax {
		return tooMany(name, "elements", elementsMax, len(tools))
	}
	for i := range tools {
		at := elementPath(name, i)
		if apiErr := checkOptionalText(at+".type", tools[i].Type); apiErr != nil {
			return apiErr
		}
		if tools[i].Type == nil || isText(tools[i].Type, "custom") {
			if apiErr := checkText(at+".name", tools[i].Name); apiErr != nil {
				return apiErr
			}
		}
	}
	return nil
}

// checkType checks that an object has a type.
func checkType(name string, value json.RawMessage) *apiError {
	return checkText(name+".type", object(value)["type"])
}

func checkOutputConfig(name string, value json.RawMessage) *apiError {
	return checkOptionalText(name+".effort", object(value)["effort"])
}

func checkCallerMetadata(name string, value json.RawMessage) *apiError {
	return checkOptionalText(name+".user_id", object(value)["user_id"])
}

func checkTextOrObject(name string, value json.RawMessage) *apiError {
	if value[0] == '"' || value[0] == '{' {
		return nil
	}
	return wrongType(name, "a string or an object", value)
}

// checkFallbacks checks the models that Anthropic itself tries if the first one declines.
func checkFallbacks(name string, value json.RawMessage) *apiError {
	switch value[0] {
	case '"':
		return nil
	case '[':
		return checkItems(name, value)
	}
	return wrongType(name, "a string or an array", value)
}
