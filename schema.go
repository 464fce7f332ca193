package chatcompletion

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// parameter is the schema of one member of a request. A member that is null counts as missing.
type parameter struct {
	name      string
	otherName string // a second spelling that its provider publishes; empty: there is none
	starts    string // first bytes of values of its type
	article   string // its type in error messages, with its article
	number    bool
	integer   bool
	minimum   float64  // of a number
	maximum   float64  // of a number
	oneOf     []string // allowed strings; empty: all
	check     func(name string, value json.RawMessage) *apiError
	// looseCheck replaces check for providers other than the one that publishes the schema; nil: there
	// is none.
	looseCheck func(name string, value json.RawMessage) *apiError

	whole    bool // the check reads long strings, which the skeleton does not contain
	required bool // requests without it, or with null, are refused
	noUsage  bool // a provider that knows it refuses a request for usage beside it
	bypasses bool // it names models, or limits tokens, in addition to those that rules decide on
	naming   bool // its elements may name models

	// Of an array that holds a conversation: how many elements it may have, and how many objects in
	// them. 0: any number.
	elementsMax int
	objectsMax  int
}

// parameterSet is the known parameters of an endpoint: those of the schema and those of the
// configuration. Each may occur in a request only once, and in one spelling.
type parameterSet struct {
	list     []*parameter
	ids      map[string]int // index in list by name
	folded   map[string]int // index in list by folded name
	required []int          // indexes in list
	noUsage  []int          // indexes in list
}

func newParameterSet(parameters []*parameter) *parameterSet {
	set := &parameterSet{ids: map[string]int{}, folded: map[string]int{}}
	for _, p := range parameters {
		addParameter(set, p)
	}
	return set
}

func addParameter(set *parameterSet, p *parameter) {
	if p.required {
		set.required = append(set.required, len(set.list))
	}
	if p.noUsage {
		set.noUsage = append(set.noUsage, len(set.list))
	}
	set.ids[p.name] = len(set.list)
	if p.otherName != "" {
		set.ids[p.otherName] = len(set.list)
	}
	set.folded[fold(p.name)] = len(set.list)
	set.list = append(set.list, p)
}

// ofAnyType returns a parameter of any JSON type, and each function after it one of the type in its
// name. An integer is a number without a fraction.
func ofAnyType(name string) *parameter {
	return &parameter{name: name, starts: `"{[tf-0123456789`, article: "any value"}
}

func ofBoolean(name string) *parameter {
	return &parameter{name: name, starts: "tf", article: "a boolean"}
}

func ofNumber(name string, minimum, maximum float64) *parameter {
	return &parameter{name: name, starts: "-0123456789", article: "a decimal", number: true, minimum: minimum, maximum: maximum}
}

func ofInteger(name string, minimum, maximum float64) *parameter {
	return &parameter{name: name, starts: "-0123456789", article: "an integer", number: true, integer: true, minimum: minimum, maximum: maximum}
}

func ofString(name string, oneOf ...string) *parameter {
	return &parameter{name: name, starts: `"`, article: "a string", oneOf: oneOf, whole: len(oneOf) > 0}
}

func ofObject(name string, check func(string, json.RawMessage) *apiError) *parameter {
	return &parameter{name: name, starts: "{", article: "an object", check: check}
}

func ofArray(name string, check func(string, json.RawMessage) *apiError) *parameter {
	return &parameter{name: name, starts: "[", article: "an array", check: check}
}

func ofSeveralTypes(name string, check func(string, json.RawMessage) *apiError) *parameter {
	p := ofAnyType(name)
	p.check = check
	return p
}

// withoutUsage returns a parameter beside which the usage of a stream is not requested.
func withoutUsage(p *parameter) *parameter {
	p.noUsage = true
	return p
}

// bypassingRules returns a parameter that is dropped where rules restrict models or tokens.
func bypassingRules(p *parameter) *parameter {
	p.bypasses = true
	return p
}

// namingModels returns a parameter whose elements may name models, which are checked.
func namingModels(p *parameter) *parameter {
	p.naming = true
	return p
}

// modelID is the index of the model in every set of parameters: found[modelID] is where the client
// sent it.
const modelID = 0

// modelParameters returns the schema of requests of which only the model is known.
func modelParameters() []*parameter {
	return []*parameter{modelID: ofString("model")}
}

// reasoningEfforts are the reasoning efforts of chat completions and of the Responses API.
var reasoningEfforts = []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}

// chatParameters returns the request schema of OpenAI's chat completions, as published with its
// SDKs, and the parameters of other providers that decide what may be added to a request. Members
// that it does not name are not checked. decideModel checks the value of model.
func chatParameters() []*parameter {
	unbounded := math.MaxFloat64
	return []*parameter{
		modelID: ofString("model"),
		{name: "messages", starts: "[", article: "an array", check: checkMessages, looseCheck: checkLooseMessages, required: true, elementsMax: messagesMax, objectsMax: elementsMax},
		ofObject("audio", checkAudio),
		withoutUsage(ofAnyType("dataSources")), // of older versions of Azure; the name that is listed last is the one to configure
		withoutUsage(ofAnyType("data_sources")),
		ofNumber("frequency_penalty", -2, 2),
		ofSeveralTypes("function_call", checkFunctionCall),
		ofArray("functions", checkFunctions),
		ofObject("logit_bias", checkLogitBias),
		ofBoolean("logprobs"),
		ofInteger(maxCompletionTokens, 1, unbounded),
		ofInteger(maxTokens, 1, unbounded),
		{name: "metadata", starts: "{", article: "an object", check: checkMetadata, whole: true},
		ofArray("modalities", checkModalities),
		ofObject("moderation", nil),
		ofInteger("n", 1, 128),
		ofBoolean("parallel_tool_calls"),
		ofObject("prediction", checkPrediction),
		ofNumber("presence_penalty", -2, 2),
		ofString("prompt_cache_key"),
		ofObject("prompt_cache_options", nil),
		ofString("prompt_cache_retention", "in_memory", "in-memory", "24h"),
		ofString("reasoning_effort", reasoningEfforts...),
		ofObject("response_format", checkResponseFormat),
		ofString("safety_identifier"),
		ofInteger("seed", math.MinInt64, math.MaxInt64),
		ofString("service_tier", "auto", "default", "flex", "scale", "priority", "fast"),
		ofSeveralTypes("stop", checkStop),
		ofBoolean("store"),
		ofBoolean("stream"),
		{name: streamOptions, starts: "{", article: "an object", check: checkStreamOptions, whole: true},
		ofNumber("temperature", 0, 2),
		ofSeveralTypes("tool_choice", checkToolChoice),
		ofArray("tools", checkTools),
		ofInteger("top_logprobs", 0, 20),
		ofNumber("top_p", 0, 1),
		ofString("user"),
		ofString("verbosity", "low", "medium", "high"),
		ofObject("web_search_options", checkWebSearchOptions),
	}
}

// readParameters reads the members of an object, and validates them as parameters.
func readParameters(obj *jsonObject, set *parameterSet) *apiError {
	if apiErr := readMembers(obj); apiErr != nil {
		return apiErr
	}
	return validate(obj, set)
}

// validate finds the parameters among the members, and checks them. It refuses parameters on which
// two parsers could disagree: duplicates, and other spellings that some providers treat as the same
// name (Go ignores case, protocol buffers accept lowerCamelCase, C strings end at a NUL). Of two
// spellings that the provider publishes, a request may have one.
func validate(obj *jsonObject, set *parameterSet) *apiError {
	obj.found = make([]int, len(set.list))
	for i := range obj.members {
		m := &obj.members[i]
		id, known := set.ids[m.name]
		if !known {
			if apiErr := readName(obj, i); apiErr != nil {
				return apiErr
			}
			id, known = set.folded[fold(m.name)]
			if !known {
				continue
			}
		}
		p := set.list[id]
		if obj.found[id] != 0 || (m.name != p.name && m.name != p.otherName) {
			return ambiguousName(m.name, p.name)
		}
		obj.found[id] = i + 1
		if obj.skeleton[m.start] == 'n' {
			if p.required {
				return missingParameter(p.name)
			}
			continue
		}
		value := obj.skeleton[m.start:m.end]
		if p.whole {
			value = bodyValue(obj, m)
		}
		if p.number { // most parameters, which are spared checkParameter
			number, err := strconv.ParseFloat(string(value), 64)
			if err == nil && number >= p.minimum && number <= p.maximum && (!p.integer || number == math.Trunc(number)) {
				continue
			}
		}
		if apiErr := checkParameter(p, p.name, value); apiErr != nil {
			return apiErr
		}
	}
	for _, id := range set.required {
		if obj.found[id] == 0 {
			return missingParameter(set.list[id].name)
		}
	}
	return nil
}

// checkParameter checks a value of a request or of the configuration. name is its name in the error
// message.
func checkParameter(p *parameter, name string, value []byte) *apiError {
	switch {
	case strings.IndexByte(p.starts, value[0]) < 0:
		return wrongType(name, p.article, value)
	case p.number && !isInRange(p, string(value)):
		return numberError(p, name, string(value))
	case p.check != nil:
		return p.check(name, value)
	case len(p.oneOf) > 0:
		return checkOneOf(name, unquote(value), p.oneOf)
	}
	return nil
}

func isInRange(p *parameter, text string) bool {
	number, err := strconv.ParseFloat(text, 64)
	return err == nil && number >= p.minimum && number <= p.maximum && (!p.integer || number == math.Trunc(number))
}

// numberError returns OpenAI's error for an invalid number.
func numberError(p *parameter, name, text string) *apiError {
	number, _ := strconv.ParseFloat(text, 64) // infinite if out of range
	word := "decimal"
	if p.integer {
		word = "integer"
	}
	switch {
	case number < p.minimum:
		return invalidRequest(word+"_below_min_value", name, "Invalid '"+name+"': "+word+" below minimum value. Expected a value >= "+
			formatNumber(p.minimum)+", but got "+shortened(text)+" instead.")
	case number > p.maximum:
		return invalidRequest(word+"_above_max_value", name, "Invalid '"+name+"': "+word+" above maximum value. Expected a value <= "+
			formatNumber(p.maximum)+", but got "+shortened(text)+" instead.")
	}
	return wrongType(name, p.article, []byte(text))
}

func formatNumber(number float64) string {
	return strconv.FormatFloat(number, 'g', -1, 64)
}

func checkOneOf(name, got string, values []string) *apiError {
	for _, value := range values {
		if got == value {
			return nil
		}
	}
	return invalidRequest("invalid_value", name, "Invalid value: "+quoted(got)+". Supported values are: '"+strings.Join(values, "', '")+"'.")
}

func wrongType(name, expected string, value json.RawMessage) *apiError {
	return invalidRequest("invalid_type", name, "Invalid type for '"+name+"': expected "+expected+", but got "+typeName(value)+" instead.")
}

// typeName returns the type of a JSON value with its article.
func typeName(value json.RawMessage) string {
	switch value[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	if bytes.ContainsAny(value, ".eE") {
		return "a decimal"
	}
	return "an integer"
}

func missingParameter(name string) *apiError {
	return invalidRequest("missing_required_parameter", name, "Missing required parameter: '"+name+"'.")
}
