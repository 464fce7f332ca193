package chatcompletion

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
)

// inputsMax is how many texts, or arrays of tokens, OpenAI embeds at once. An array of tokens alone is one input, and may
// have as many as the model reads.
const inputsMax = 2048

// embeddingsParameters is the request schema of OpenAI's embeddings, as published with its SDKs.
func embeddingsParameters() []*parameter {
	return []*parameter{
		modelID: ofString("model"),
		{name: "input", starts: `"[`, article: "a string or an array", check: checkInput, required: true},
		ofInteger("dimensions", 1, math.MaxFloat64),
		ofString("encoding_format", "float", "base64"),
		ofString("user"),
	}
}

// checkInput checks what is to be embedded: a text, texts, tokens, or arrays of tokens. Clients send hundreds of thousands
// of tokens: since encoding/json has seen that the value is JSON, its characters tell the rest, and nobody has to make a
// value of each. An empty text passes, as providers differ on it.
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

// checkTexts checks an array that has a string somewhere: then every element has to be one.
func checkTexts(name string, value json.RawMessage) *apiError {
	count := bytes.Count(coverEscapes(value), quote) / 2
	if count > inputsMax {
		return tooMany(name, "elements", inputsMax, count)
	}
	var texts []string
	if json.Unmarshal(value, &texts) != nil || len(texts) != count { // encoding/json takes null for a text
		return wrongInput(name, value)
	}
	return nil
}

// What arrays of tokens are written with, and whiteSpace to be left out.
const tokenCharacters = "-0123456789,[]"

var whiteSpace = strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "")

// checkTokens checks an array that has no string. In one of arrays of integers, two brackets stand at either end, and
// between them every bracket that opens follows one that closes.
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
