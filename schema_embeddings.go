package chatcompletion

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
)

// inputsMax is the maximum number of texts, or of arrays of tokens, in one request to OpenAI. A
// single array of tokens is one input, whose length only the model limits.
const inputsMax = 2048

// embeddingsParameters returns the request schema of OpenAI's embeddings, as published with its
// SDKs.
func embeddingsParameters() []*parameter {
	return []*parameter{
		modelID: ofString("model"),
		{name: "input", starts: `"[`, article: "a string or an array", check: checkInput, required: true},
		ofInteger("dimensions", 1, math.MaxFloat64),
		ofString("encoding_format", "float", "base64"),
		ofString("user"),
	}
}

// checkInput checks the input: a text, an array of texts, an array of tokens, or an array of arrays
// of tokens. Clients send hundreds of thousands of tokens, which are not decoded: encoding/json has
// validated the JSON, so that the characters decide. An empty text is accepted, because providers
// differ on it.
func checkInput(name string, value json.RawMessage) *apiError {
	switch {
	case value[0] == '"':
		return nil
	case value[0] == '[' && bytes.IndexByte(value, '"') >= 0:
		return checkTexts(name, value)
	case value[0] == '[':
		return checkTokens(name, value)
	}
	return wrongInput(name, value)
}

func wrongInput(name string, value json.RawMessage) *apiError {
	return wrongType(name, "a string, or an array of strings, of integers, or of arrays of integers", value)
}

// checkTexts checks an array that contains a string: all elements must be strings.
func checkTexts(name string, value json.RawMessage) *apiError {
	count := bytes.Count(coverEscapes(value), quote) / 2
	if count > inputsMax {
		return tooMany(name, "elements", inputsMax, count)
	}
	var texts []string
	if json.Unmarshal(value, &texts) != nil || len(texts) != count { // encoding/json decodes null as a text
		return wrongInput(name, value)
	}
	return nil
}

// tokenCharacters are the characters of arrays of tokens.
const tokenCharacters = "-0123456789,[]"

// whiteSpace removes the white space of JSON.
var whiteSpace = strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "")

// checkTokens checks an array without strings. An array of arrays of integers begins and ends with
// two brackets, and between those, every opening bracket follows a closing bracket and a comma.
func checkTokens(name string, value json.RawMessage) *apiError {
	text := whiteSpace.Replace(string(value))
	if strings.Contains(text, "[]") {
		return emptyArray(name)
	}
	brackets := strings.Count(text, "[")
	arrays := strings.Count(text, "],[") + 1
	nested := strings.HasPrefix(text, "[[") && strings.HasSuffix(text, "]]") && brackets == arrays+1
	if strings.TrimLeft(text, tokenCharacters) != "" || (brackets > 1 && !nested) {
		return wrongInput(name, value)
	}
	if nested && arrays > inputsMax {
		return tooMany(name, "elements", inputsMax, arrays)
	}
	return nil
}
