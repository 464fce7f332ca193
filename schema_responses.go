package chatcompletion

import (
	"encoding/json"
	"math"
	"strconv"
)

// responsesParameters returns the request schema of OpenAI's Responses API, as published with its
// SDKs. The input is not required: a conversation, a previous response or a prompt can replace it.
func responsesParameters() []*parameter {
	unbounded := math.MaxFloat64
	return []*parameter{
		modelID: ofString("model"),
		{name: "input", starts: `"[`, article: "a string or an array", check: checkItems, elementsMax: elementsMax},
		ofObject("access_programs", nil),
		ofBoolean("background"),
		ofArray("context_management", checkTypedObjects),
		ofSeveralTypes("conversation", checkConversation),
		ofArray("include", checkStrings),
		ofString("instructions"),
		ofInteger(maxOutputTokens, 1, unbounded),
		ofInteger("max_tool_calls", 1, unbounded),
		{name: "metadata", starts: "{", article: "an object", check: checkMetadata, whole: true},
		ofObject("moderation", nil),
		ofBoolean("parallel_tool_calls"),
		ofString("previous_response_id"),
		ofObject("prompt", checkPrompt),
		ofString("prompt_cache_key"),
		ofObject("prompt_cache_options", nil),
		ofString("prompt_cache_retention", "in_memory", "in-memory", "24h"),
		ofObject("reasoning", checkReasoning),
		ofString("safety_identifier"),
		ofString("service_tier", "auto", "default", "flex", "scale", "priority", "fast", "ultrafast"),
		ofBoolean("store"),
		ofBoolean("stream"),
		{name: streamOptions, starts: "{", article: "an object", check: checkStreamOptions, whole: true},
		ofNumber("temperature", 0, 2),
		ofObject("text", checkTextConfig),
		ofSeveralTypes("tool_choice", checkChoiceOfTool),
		ofArray("tools", checkTypedObjects),
		ofInteger("top_logprobs", 0, 20),
		ofNumber("top_p", 0, 1),
		ofString("truncation", "auto", "disabled"),
		ofString("user"),
	}
}

// countResponsesParameters returns the request schema of OpenAI's counter of input tokens, which
// generates nothing.
func countResponsesParameters() []*parameter {
	return []*parameter{
		modelID: ofString("model"),
		{name: "input", starts: `"[`, article: "a string or an array", check: checkItems, elementsMax: elementsMax},
		ofSeveralTypes("conversation", checkConversation),
		ofString("instructions"),
		ofBoolean("parallel_tool_calls"),
		ofAnyType("personality"),
		ofString("previous_response_id"),
		ofObject("reasoning", checkReasoning),
		ofObject("text", checkTextConfig),
		ofSeveralTypes("tool_choice", checkChoiceOfTool),
		ofArray("tools", checkTypedObjects),
		ofString("truncation", "auto", "disabled"),
	}
}

// checkItems checks the input: a text or an array of items. There are many types of items, and new
// ones appear all the time, so it is enough that items are objects, and they are not decoded. What
// checkMessages says about messages holds for items.
func checkItems(name string, value json.RawMessage) *apiError {
	switch value[0] {
	case '"':
		return nil
	case '[':
		var items []struct{}
		if json.Unmarshal(value, &items) != nil {
			return checkObjects(name, value)
		}
		if len(items) > elementsMax {
			return tooMany(name, "elements", elementsMax, len(items))
		}
		return nil
	}
	return wrongType(name, "a string or an array", value)
}

// typedObject holds the type, which all tools have, and the name, which a function requires.
type typedObject struct {
	Type any `json:"type"`
	Name any `json:"name"`
}

// checkTypedObjects checks an array of objects with a type.
func checkTypedObjects(name string, value json.RawMessage) *apiError {
	var objects []typedObject
	if json.Unmarshal(value, &objects) != nil {
		return checkObjects(name, value)
	}
	if len(objects) > elementsMax {
		return tooMany(name, "elements", elementsMax, len(objects))
	}
	for i := range objects {
		at := name + "[" + strconv.Itoa(i) + "]"
		if apiErr := checkText(at+".type", objects[i].Type); apiErr != nil {
			return apiErr
		}
		if isText(objects[i].Type, "function") {
			if apiErr := checkText(at+".name", objects[i].Name); apiErr != nil {
				return apiErr
			}
		}
	}
	return nil
}

func checkConversation(name string, value json.RawMessage) *apiError {
	switch value[0] {
	case '"':
		return nil
	case '{':
		return checkText(name+".id", object(value)["id"])
	}
	return wrongType(name, "a string or an object", value)
}

func checkStrings(name string, value json.RawMessage) *apiError {
	var texts []string
	if json.Unmarshal(value, &texts) != nil {
		return wrongType(name, "an array of strings", value)
	}
	if len(texts) > elementsMax {
		return tooMany(name, "elements", elementsMax, len(texts))
	}
	return nil
}

func checkPrompt(name string, value json.RawMessage) *apiError {
	prompt := object(value)
	if apiErr := checkText(name+".id", prompt["id"]); apiErr != nil {
		return apiErr
	}
	return checkOptionalText(name+".version", prompt["version"])
}

func checkReasoning(name string, value json.RawMessage) *apiError {
	reasoning := object(value)
	if apiErr := checkOptionalChoice(name+".effort", reasoning["effort"], reasoningEfforts...); apiErr != nil {
		return apiErr
	}
	return checkOptionalChoice(name+".summary", reasoning["summary"], "auto", "concise", "detailed")
}

// checkTextConfig checks the settings of the output text.
func checkTextConfig(name string, value json.RawMessage) *apiError {
	config := object(value)
	if apiErr := checkOptionalChoice(name+".verbosity", config["verbosity"], "low", "medium", "high"); apiErr != nil {
		return apiErr
	}
	at := name + ".format"
	if config["format"] == nil {
		return nil
	}
	format, isObject := config["format"].(map[string]any)
	if !isObject {
		return wrongGoType(at, "an object", config["format"])
	}
	if apiErr := checkChoice(at+".type", format["type"], "text", "json_object", "json_schema"); apiErr != nil {
		return apiErr
	}
	if !isText(format["type"], "json_schema") {
		return nil
	}
	if apiErr := checkText(at+".name", format["name"]); apiErr != nil {
		return apiErr
	}
	if format["schema"] == nil {
		return missingParameter(at + ".schema")
	}
	if _, isObject = format["schema"].(map[string]any); !isObject {
		return wrongGoType(at+".schema", "an object", format["schema"])
	}
	return nil
}

func checkChoiceOfTool(name string, value json.RawMessage) *apiError {
	switch value[0] {
	case '"':
		return checkOneOf(name, unquote(value), []string{"none", "auto", "required"})
	case '{':
		return checkText(name+".type", object(value)["type"])
	}
	return wrongType(name, "a string or an object", value)
}
