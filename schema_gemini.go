package chatcompletion

import (
	"encoding/json"
	"math"
	"regexp"
	"strings"
)

// generateContentParameters returns the request schema of Google's generateContent and
// streamGenerateContent, as published with its SDKs, for the Gemini API and for Vertex AI. The model
// is in the path; some clients repeat it in the body. Google accepts a single object in place of an
// array of objects, which its examples make use of.
func generateContentParameters() []*parameter {
	return inBothSpellings([]*parameter{
		modelID: ofString("model"),
		{name: "contents", starts: "[{", article: "an array", check: checkContents, looseCheck: checkContents, required: true, elementsMax: elementsMax},
		ofString("cachedContent"),
		ofObject("generationConfig", nil),
		ofObject("labels", nil),
		ofObject("modelArmorConfig", nil),
		ofSeveralTypes("safetySettings", checkObjectOrObjects),
		ofString("serviceTier"),
		ofBoolean("store"),
		ofObject("systemInstruction", nil),
		ofObject("toolConfig", nil),
		ofSeveralTypes("tools", checkObjectOrObjects),
	})
}

// generationConfigParameters returns the schema of generationConfig. Only its model is not Google's:
// every set of parameters begins with one.
func generationConfigParameters() []*parameter {
	unbounded := math.MaxFloat64
	return inBothSpellings([]*parameter{
		modelID: ofString("model"),
		ofBoolean("audioTimestamp"),
		ofObject("audioTranscriptionConfig", nil),
		ofInteger("candidateCount", 1, unbounded),
		ofBoolean("enableEnhancedCivicAnswers"),
		ofNumber("frequencyPenalty", -2, 2),
		ofObject("imageConfig", nil),
		ofInteger("logprobs", 0, unbounded),
		ofInteger("maxOutputTokens", 1, unbounded),
		ofAnyType("mediaResolution"), // the name or the number of an enumerated value
		ofObject("modelConfig", nil),
		ofNumber("presencePenalty", -2, 2),
		ofAnyType("responseJsonSchema"),
		ofBoolean("responseLogprobs"),
		ofString("responseMimeType"),
		ofSeveralTypes("responseModalities", checkTextOrTexts),
		ofObject("responseSchema", nil),
		bypassingRules(ofObject("routingConfig", nil)), // names the model in manualMode
		ofInteger("seed", math.MinInt64, math.MaxInt64),
		ofObject("speechConfig", nil),
		ofSeveralTypes("stopSequences", checkTextOrTexts),
		ofNumber("temperature", 0, 2),
		ofObject("thinkingConfig", nil),
		ofNumber("topK", 0, unbounded),
		ofNumber("topP", 0, 1),
	})
}

// inBothSpellings returns parameters that may be written in snake_case, too. Google's SDKs write
// lowerCamelCase, and many of its examples snake_case.
func inBothSpellings(parameters []*parameter) []*parameter {
	for _, p := range parameters {
		if snake := strings.ToLower(capital.ReplaceAllString(p.name, "_$0")); snake != p.name {
			p.otherName = snake
		}
	}
	return parameters
}

var capital = regexp.MustCompile(`[A-Z]`)

// countContentsParameters returns the request schema of Google's countTokens. Instead of contents, it
// may have a whole request in generateContentRequest.
func countContentsParameters() []*parameter {
	return inBothSpellings([]*parameter{
		modelID: ofString("model"),
		{name: "contents", starts: "[{", article: "an array", check: checkContents, looseCheck: checkContents, elementsMax: elementsMax},
		ofObject("generateContentRequest", nil),
		ofObject("generationConfig", nil),
		ofObject("systemInstruction", nil),
		ofSeveralTypes("tools", checkObjectOrObjects),
	})
}

// embedContentParameters returns the request schema of Google's embedContent.
func embedContentParameters() []*parameter {
	return inBothSpellings([]*parameter{
		modelID: ofString("model"),
		{name: "content", starts: "{", article: "an object", check: checkOneContent, required: true},
		ofObject("embedContentConfig", nil),
		ofInteger("outputDimensionality", 1, math.MaxFloat64),
		ofAnyType("taskType"), // as mediaResolution
		ofString("title"),
	})
}

// embedRequestsMax is the maximum number of requests in a batch that Google accepts.
const embedRequestsMax = 100

// batchEmbedParameters returns the request schema of Google's batchEmbedContents, whose requests
// repeat the model.
func batchEmbedParameters() []*parameter {
	return []*parameter{
		modelID: ofString("model"),
		{name: "requests", starts: "[", article: "an array", check: checkEmbedRequests, required: true},
	}
}

// geminiContent holds the members that all contents have. There are many kinds of parts, and new ones
// appear all the time, so it is enough that parts are objects, and they are not decoded.
type geminiContent struct {
	Role  any             `json:"role"`
	Parts json.RawMessage `json:"parts"`
}

// checkContents checks each content by itself, and a bound on their number. What checkMessages says
// about messages holds here.
func checkContents(name string, value json.RawMessage) *apiError {
	switch value[0] {
	case '{':
		return checkOneContent(name, value)
	case '[':
		return checkContentList(name, value)
	}
	return wrongType(name, "an array", value)
}

func checkContentList(name string, value json.RawMessage) *apiError {
	var contents []*geminiContent
	if json.Unmarshal(value, &contents) != nil {
		return checkObjects(name, value)
	}
	if len(contents) == 0 {
		return emptyArray(name)
	}
	if len(contents) > elementsMax {
		return tooMany(name, "elements", elementsMax, len(contents))
	}
	var parts [][]byte
	for i, c := range contents {
		if c == nil {
			return wrongType(elementPath(name, i), "an object", jsonNull)
		}
		if _, isString := c.Role.(string); !isString && c.Role != nil {
			return checkOptionalText(elementPath(name, i)+".role", c.Role)
		}
		if len(c.Parts) > 0 && c.Parts[0] == '[' {
			parts = append(parts, c.Parts)
		} else if apiErr := checkOnePart(name, i, c.Parts); apiErr != nil {
			return apiErr
		}
	}
	return checkParts(name, parts, contents)
}

var jsonNull = []byte("null")

// checkOnePart checks parts that are not an array: one part, or none.
func checkOnePart(name string, i int, value json.RawMessage) *apiError {
	if len(value) == 0 || value[0] == '{' || value[0] == 'n' {
		return nil
	}
	return wrongType(elementPath(name, i)+".parts", "an array", value)
}

// checkParts checks arrays of parts with one call of encoding/json for all of them.
func checkParts(name string, parts [][]byte, contents []*geminiContent) *apiError {
	if parts == nil {
		return nil
	}
	var lists [][]struct{}
	if json.Unmarshal(jsonArray(parts), &lists) == nil {
		return nil
	}
	for i, c := range contents {
		var list []struct{}
		if len(c.Parts) > 0 && c.Parts[0] == '[' && json.Unmarshal(c.Parts, &list) != nil {
			return checkObjects(elementPath(name, i)+".parts", c.Parts)
		}
	}
	return nil // not reached: one of them is at fault
}

// checkOneContent checks a content that is not in an array.
func checkOneContent(name string, value json.RawMessage) *apiError {
	var one geminiContent
	if json.Unmarshal(value, &one) != nil {
		return wrongType(name, "an object", value)
	}
	if apiErr := checkOptionalText(name+".role", one.Role); apiErr != nil {
		return apiErr
	}
	if len(one.Parts) == 0 || one.Parts[0] == 'n' {
		return nil
	}
	return checkObjectOrObjects(name+".parts", one.Parts)
}

// checkObjectOrObjects checks an array of objects, in whose place there may be one object.
func checkObjectOrObjects(name string, value json.RawMessage) *apiError {
	if value[0] == '{' {
		return nil
	}
	if value[0] != '[' {
		return wrongType(name, "an array", value)
	}
	return checkItems(name, value)
}

// checkTextOrTexts checks an array of texts, in whose place there may be one text.
func checkTextOrTexts(name string, value json.RawMessage) *apiError {
	switch value[0] {
	case '"':
		return nil
	case '[':
		return checkStrings(name, value)
	}
	return wrongType(name, "an array of strings", value)
}

// embedRequest holds the members of a request in a batch that are checked.
type embedRequest struct {
	Model   any             `json:"model"`
	Content json.RawMessage `json:"content"`
}

// checkEmbedRequests checks that each request names a model, and has a content.
func checkEmbedRequests(name string, value json.RawMessage) *apiError {
	var requests []embedRequest
	if json.Unmarshal(value, &requests) != nil {
		return checkObjects(name, value)
	}
	if len(requests) == 0 {
		return emptyArray(name)
	}
	if len(requests) > embedRequestsMax {
		return tooMany(name, "elements", embedRequestsMax, len(requests))
	}
	for i := range requests {
		if apiErr := checkEmbedRequest(elementPath(name, i), &requests[i]); apiErr != nil {
			return apiErr
		}
	}
	return nil
}

func checkEmbedRequest(path string, r *embedRequest) *apiError {
	if apiErr := checkText(path+".model", r.Model); apiErr != nil {
		return apiErr
	}
	if len(r.Content) == 0 || r.Content[0] == 'n' {
		return missingParameter(path + ".content")
	}
	if r.Content[0] != '{' {
		return wrongType(path+".content", "an object", r.Content)
	}
	return checkOneContent(path+".content", r.Content)
}
