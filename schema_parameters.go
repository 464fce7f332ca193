package chatcompletion

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// Limits of the published schema.
const (
	stopMaxSequences      = 4
	functionsMax          = 128
	metadataMaxPairs      = 16
	metadataMaxKeyRunes   = 64
	metadataMaxValueRunes = 512
	logitBiasBound        = 100
)

// object decodes a JSON object. It returns nil if encoding/json refuses a value in it.
func object(value json.RawMessage) map[string]any {
	var members map[string]any
	if json.Unmarshal(value, &members) != nil {
		return nil
	}
	return members
}

// isText reports whether value is the string want. Yaegi panics when an any is compared with a
// constant, and in a loop, x, _ := v.(string) keeps the value of an earlier iteration.
func isText(value any, want string) bool {
	text, is := value.(string)
	return is && text == want
}

func checkTools(name string, value json.RawMessage) *apiError {
	var tools []map[string]any
	if json.Unmarshal(value, &tools) != nil {
		return checkObjects(name, value)
	}
	if len(tools) > elementsMax {
		return tooMany(name, "elements", elementsMax, len(tools))
	}
	for i, tool := range tools {
		if apiErr := checkNamedFunction(name+"["+strconv.Itoa(i)+"]", tool); apiErr != nil {
			return apiErr
		}
	}
	return nil
}

// checkNamedFunction checks an object such as {"type":"function","function":{"name":"..."}}: a
// tool, a tool call, or the choice of a tool.
func checkNamedFunction(path string, holder map[string]any) *apiError {
	if apiErr := checkChoice(path+".type", holder["type"], "function", "custom"); apiErr != nil {
		return apiErr
	}
	kind := "function"
	if isText(holder["type"], "custom") {
		kind = "custom"
	}
	at := path + "." + kind
	if holder[kind] == nil {
		return missingParameter(at)
	}
	function, isObject := holder[kind].(map[string]any)
	if !isObject {
		return wrongGoType(at, "an object", holder[kind])
	}
	return checkFunction(at, function)
}

func checkFunction(path string, function map[string]any) *apiError {
	if apiErr := checkText(path+".name", function["name"]); apiErr != nil {
		return apiErr
	}
	if apiErr := checkOptionalText(path+".description", function["description"]); apiErr != nil {
		return apiErr
	}
	if parameters := function["parameters"]; parameters != nil {
		if _, isObject := parameters.(map[string]any); !isObject {
			return wrongGoType(path+".parameters", "an object", parameters)
		}
	}
	return nil
}

func checkToolChoice(name string, value json.RawMessage) *apiError {
	switch value[0] {
	case '"':
		return checkOneOf(name, unquote(value), []string{"none", "auto", "required"})
	case '{':
		choice := object(value)
		if isText(choice["type"], "allowed_tools") {
			return nil
		}
		return checkNamedFunction(name, choice)
	}
	return wrongType(name, "a string or an object", value)
}

func checkFunctions(name string, value json.RawMessage) *apiError {
	var functions []map[string]any
	if json.Unmarshal(value, &functions) != nil {
		return checkObjects(name, value)
	}
	if len(functions) == 0 {
		return emptyArray(name)
	}
	if len(functions) > functionsMax {
		return tooMany(name, "elements", functionsMax, len(functions))
	}
	for i, function := range functions {
		if apiErr := checkFunction(name+"["+strconv.Itoa(i)+"]", function); apiErr != nil {
			return apiErr
		}
	}
	return nil
}

func checkFunctionCall(name string, value json.RawMessage) *apiError {
	switch value[0] {
	case '"':
		return checkOneOf(name, unquote(value), []string{"none", "auto"})
	case '{':
		return checkFunction(name, object(value))
	}
	return wrongType(name, "a string or an object", value)
}

func checkResponseFormat(name string, value json.RawMessage) *apiError {
	format := object(value)
	if apiErr := checkChoice(name+".type", format["type"], "text", "json_object", "json_schema"); apiErr != nil {
		return apiErr
	}
	if !isText(format["type"], "json_schema") {
		return nil
	}
	at := name + ".json_schema"
	if format["json_schema"] == nil {
		return missingParameter(at)
	}
	schema, isObject := format["json_schema"].(map[string]any)
	if !isObject {
		return wrongGoType(at, "an object", format["json_schema"])
	}
	return checkText(at+".name", schema["name"])
}

func checkStop(name string, value json.RawMessage) *apiError {
	switch value[0] {
	case '"':
		return nil
	case '[':
		var sequences []string
		if json.Unmarshal(value, &sequences) != nil {
			return wrongType(name, "a string or an array of strings", value)
		}
		if len(sequences) > stopMaxSequences {
			return tooMany(name, "elements", stopMaxSequences, len(sequences))
		}
		return nil
	}
	return wrongType(name, "a string or an array of strings", value)
}

func tooMany(name, what string, maximum, got int) *apiError {
	return invalidRequest("array_above_max_length", name, "Invalid '"+name+"': too many "+what+". Expected at most "+
		strconv.Itoa(maximum)+", but got "+strconv.Itoa(got)+" instead.")
}

// checkStreamOptions checks the options of a stream. All parsers must agree on whether the client
// requested usage, because metering depends on it.
func checkStreamOptions(name string, value json.RawMessage) *apiError {
	options := wholeJSONObject(value)
	if apiErr := readMembers(options); apiErr != nil {
		return apiErr
	}
	given := map[string]bool{}
	for i := range options.members {
		option := &options.members[i]
		meant := booleanOptions[fold(option.name)]
		if meant == "" {
			continue
		}
		if given[meant] || option.name != meant {
			return ambiguousName(name+"."+option.name, name+"."+meant)
		}
		given[meant] = true
		if first := value[option.start]; first != 't' && first != 'f' && first != 'n' {
			return wrongType(name+"."+meant, "a boolean", value[option.start:option.end])
		}
	}
	return nil
}

// booleanOptions maps the folded names of the known stream options to their names.
var booleanOptions = map[string]string{"includeusage": includeUsage, "includeobfuscation": "include_obfuscation"}

func checkModalities(name string, value json.RawMessage) *apiError {
	var modalities []string
	if json.Unmarshal(value, &modalities) != nil {
		return wrongType(name, "an array of strings", value)
	}
	if len(modalities) > elementsMax {
		return tooMany(name, "elements", elementsMax, len(modalities))
	}
	for i, modality := range modalities {
		if apiErr := checkOneOf(name+"["+strconv.Itoa(i)+"]", modality, []string{"text", "audio"}); apiErr != nil {
			return apiErr
		}
	}
	return nil
}

func checkAudio(name string, value json.RawMessage) *apiError {
	audio := object(value)
	if audio["voice"] == nil {
		return missingParameter(name + ".voice")
	}
	return checkChoice(name+".format", audio["format"], "wav", "aac", "mp3", "flac", "opus", "pcm16")
}

func checkPrediction(name string, value json.RawMessage) *apiError {
	prediction := object(value)
	if apiErr := checkChoice(name+".type", prediction["type"], "content"); apiErr != nil {
		return apiErr
	}
	return checkContent(name+".content", "system", prediction["content"])
}

func checkWebSearchOptions(name string, value json.RawMessage) *apiError {
	return checkOptionalChoice(name+".search_context_size", object(value)["search_context_size"], "low", "medium", "high")
}

func checkMetadata(name string, value json.RawMessage) *apiError {
	members := object(value)
	if members == nil {
		return wrongType(name, "an object of strings without invalid escapes", value)
	}
	if len(members) > metadataMaxPairs {
		return tooMany(name, "pairs", metadataMaxPairs, len(members))
	}
	for key, member := range members {
		text, isString := member.(string)
		if !isString {
			return wrongGoType(name+"."+shortened(key), "a string", member)
		}
		if utf8.RuneCountInString(key) > metadataMaxKeyRunes || utf8.RuneCountInString(text) > metadataMaxValueRunes {
			return invalidRequest("string_above_max_length", name+"."+shortened(key), "Invalid '"+name+
				"': string too long. Expected keys of at most "+strconv.Itoa(metadataMaxKeyRunes)+" characters and values of at most "+
				strconv.Itoa(metadataMaxValueRunes)+".")
		}
	}
	return nil
}

func checkLogitBias(name string, value json.RawMessage) *apiError {
	var biases map[string]float64
	if json.Unmarshal(value, &biases) != nil {
		return wrongType(name, "an object with a number for each token", value)
	}
	if len(biases) > elementsMax {
		return tooMany(name, "tokens", elementsMax, len(biases))
	}
	for token, bias := range biases {
		if bias < -logitBiasBound || bias > logitBiasBound {
			return invalidRequest("decimal_out_of_range", name+"."+shortened(token), "Invalid '"+name+
				"': expected a value from -100 to 100, but got "+formatNumber(bias)+" instead.")
		}
	}
	return nil
}

// elementPath returns the name of an element of an array in error messages.
func elementPath(name string, i int) string {
	return name + "[" + strconv.Itoa(i) + "]"
}

// jsonArray returns a JSON array of JSON values.
func jsonArray(values [][]byte) []byte {
	joined := bytes.Join(values, comma)
	return bytes.Join([][]byte{openingBracket, joined, closingBracket}, nil)
}

var (
	openingBracket = []byte{'['}
	closingBracket = []byte{']'}
)
