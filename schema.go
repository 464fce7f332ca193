package chatcompletion

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonType is the type that a parameter's value must have.
type jsonType int

const (
	anyType jsonType = iota
	booleanType
	integerType
	numberType
	stringType
	objectType
	arrayType
)

// parameter is what the published schema says of one member of a request. Null counts as left out everywhere.
type parameter struct {
	jsonType jsonType
	minimum  float64 // of numbers
	maximum  float64
	oneOf    []string // of strings; empty: any
	whole    bool     // the check looks into long strings, which the skeleton lacks
	check    func(name string, value json.RawMessage) *refusal
}

var (
	noMinimum = math.Inf(-1)
	noMaximum = math.Inf(1)
)

// chatParameters is the request schema of OpenAI's chat completions, as published with its SDKs. Members that it does
// not name pass unchecked.
func chatParameters() map[string]parameter {
	anyOf := func(t jsonType) parameter { return parameter{jsonType: t, minimum: noMinimum, maximum: noMaximum} }
	between := func(t jsonType, minimum, maximum float64) parameter {
		return parameter{jsonType: t, minimum: minimum, maximum: maximum}
	}
	oneOf := func(values ...string) parameter { return parameter{jsonType: stringType, oneOf: values} }
	checked := func(t jsonType, check func(string, json.RawMessage) *refusal) parameter {
		return parameter{jsonType: t, check: check}
	}
	return map[string]parameter{
		"audio":                  checked(objectType, checkAudio),
		"frequency_penalty":      between(numberType, -2, 2),
		"function_call":          checked(anyType, checkFunctionCall),
		"functions":              checked(arrayType, checkFunctions),
		"logit_bias":             checked(objectType, checkLogitBias),
		"logprobs":               anyOf(booleanType),
		"max_completion_tokens":  between(integerType, 1, noMaximum),
		"max_tokens":             between(integerType, 1, noMaximum),
		"messages":               checked(arrayType, checkMessages),
		"metadata":               {jsonType: objectType, check: checkMetadata, whole: true},
		"modalities":             checked(arrayType, checkModalities),
		"model":                  {jsonType: stringType, check: checkModel, whole: true},
		"moderation":             anyOf(objectType),
		"n":                      between(integerType, 1, 128),
		"parallel_tool_calls":    anyOf(booleanType),
		"prediction":             checked(objectType, checkPrediction),
		"presence_penalty":       between(numberType, -2, 2),
		"prompt_cache_key":       anyOf(stringType),
		"prompt_cache_options":   anyOf(objectType),
		"prompt_cache_retention": oneOf("in_memory", "in-memory", "24h"),
		"reasoning_effort":       oneOf("none", "minimal", "low", "medium", "high", "xhigh", "max"),
		"response_format":        checked(objectType, checkResponseFormat),
		"safety_identifier":      anyOf(stringType),
		"seed":                   between(integerType, math.MinInt64, math.MaxInt64),
		"service_tier":           oneOf("auto", "default", "flex", "scale", "priority", "fast"),
		"stop":                   checked(anyType, checkStop),
		"store":                  anyOf(booleanType),
		"stream":                 anyOf(booleanType),
		"stream_options":         checked(objectType, checkStreamOptions),
		"temperature":            between(numberType, 0, 2),
		"tool_choice":            checked(anyType, checkToolChoice),
		"tools":                  checked(arrayType, checkTools),
		"top_logprobs":           between(integerType, 0, 20),
		"top_p":                  between(numberType, 0, 1),
		"user":                   anyOf(stringType),
		"verbosity":              oneOf("low", "medium", "high"),
		"web_search_options":     checked(objectType, checkWebSearchOptions),
	}
}

// validate checks the members that the schema knows, in their order.
func validate(e *envelope, schema map[string]parameter) *refusal {
	messagesSent := false
	for i := range e.members {
		m := e.members[i]
		p, published := schema[m.name]
		value := skeletonValue(e, m)
		if !published || value[0] == 'n' {
			continue
		}
		if p.whole {
			value = bodyValue(e, m)
		}
		if r := checkParameter(m.name, p, value); r != nil {
			return r
		}
		messagesSent = messagesSent || m.name == "messages"
	}
	if !messagesSent {
		return missing("messages")
	}
	return nil
}

// checkParameter says what is wrong with the value of a parameter, in OpenAI's words.
func checkParameter(name string, p parameter, value json.RawMessage) *refusal {
	first := value[0]
	switch p.jsonType {
	case booleanType:
		if first != 't' && first != 'f' {
			return wrongType(name, "a boolean", value)
		}
	case integerType, numberType:
		return checkNumber(name, p, value)
	case stringType:
		if first != '"' {
			return wrongType(name, "a string", value)
		}
		if len(p.oneOf) > 0 {
			return checkOneOf(name, unquote(value), p.oneOf)
		}
	case objectType:
		if first != '{' {
			return wrongType(name, "an object", value)
		}
	case arrayType:
		if first != '[' {
			return wrongType(name, "an array", value)
		}
	}
	if p.check != nil {
		return p.check(name, value)
	}
	return nil
}

func checkNumber(name string, p parameter, value json.RawMessage) *refusal {
	word := "decimal"
	if p.jsonType == integerType {
		word = "integer"
	}
	if c := value[0]; c != '-' && (c < '0' || c > '9') {
		if word == "integer" {
			return wrongType(name, "an integer", value)
		}
		return wrongType(name, "a decimal", value)
	}
	text := string(value)
	number, err := strconv.ParseFloat(text, 64)
	if p.jsonType == integerType && err == nil && number != math.Trunc(number) {
		return wrongType(name, "an integer", value)
	}
	if number < p.minimum || (err != nil && number < 0) {
		return invalidRequest(word+"_below_min_value", name, "Invalid '"+name+"': "+word+" below minimum value. Expected a value >= "+
			formatNumber(p.minimum)+", but got "+shortened(text)+" instead.")
	}
	if number > p.maximum || err != nil {
		return invalidRequest(word+"_above_max_value", name, "Invalid '"+name+"': "+word+" above maximum value. Expected a value <= "+
			formatNumber(p.maximum)+", but got "+shortened(text)+" instead.")
	}
	return nil
}

func formatNumber(number float64) string {
	if math.IsInf(number, 0) {
		number = math.Copysign(math.MaxFloat64, number)
	}
	return strconv.FormatFloat(number, 'g', -1, 64)
}

func checkOneOf(name, got string, values []string) *refusal {
	for _, value := range values {
		if got == value {
			return nil
		}
	}
	return invalidRequest("invalid_value", name, "Invalid value: "+quoted(got)+". Supported values are: '"+strings.Join(values, "', '")+"'.")
}

// unquote returns the text of a JSON string that has been parsed before.
func unquote(value json.RawMessage) string {
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1])
	}
	var text string
	if json.Unmarshal(value, &text) != nil {
		return ""
	}
	return text
}

func wrongType(name, expected string, value json.RawMessage) *refusal {
	return invalidRequest("invalid_type", name, "Invalid type for '"+name+"': expected "+expected+", but got "+typeName(value)+" instead.")
}

// typeName names the type of a JSON value with its article.
func typeName(value json.RawMessage) string {
	if len(value) == 0 {
		return "nothing"
	}
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

func missing(name string) *refusal {
	return invalidRequest("missing_required_parameter", name, "Missing required parameter: '"+name+"'.")
}

// modelMaxBytes bounds a model's name: it goes into a header and into telemetry.
const modelMaxBytes = 256

// controlCharacters may stand in no name that becomes a header's value.
const controlCharacters = "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f" +
	"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"

func checkModel(name string, value json.RawMessage) *refusal {
	return checkModelName(name, unquote(value))
}

// checkModelName refuses what cannot be the name of a model, wherever it came from.
func checkModelName(name, model string) *refusal {
	if len(model) > modelMaxBytes {
		return invalidRequest("string_above_max_length", name, "Invalid '"+name+"': string too long. Expected a string with maximum length "+
			strconv.Itoa(modelMaxBytes)+", but got a string with length "+strconv.Itoa(len(model))+" instead.")
	}
	if strings.ContainsAny(model, controlCharacters) || !utf8.ValidString(model) {
		return invalidRequest("invalid_value", name, "Invalid '"+name+"': the name of a model is UTF-8 without control characters.")
	}
	return nil
}
