package chatcompletion

import "testing"

func TestGenerateContentSchema(t *testing.T) {
	checkValues(t, generateContentParameters(), []valueTest{
		{"model", `"models/m"`, ""},
		{"model", `1`, "invalid_type model"},
		{"contents", `[{"role":"user","parts":[{"text":"Hi"}]},{"parts":[{"functionCall":{"name":"f","args":{"a":[1]}}}],"role":"model"},{"role":"function","parts":[{"functionResponse":{}}]}]`, ""},
		{"contents", `[{"parts":[{"text":"Hi"}]}]`, ""},
		{"contents", `[{"parts":{"text":"Hi"}}]`, ""},
		{"contents", `{"parts":{"text":"Hi"}}`, ""},
		{"contents", `{"role":"USER","parts":[{"text":"Hi"}]}`, ""},
		{"contents", `[{"role":"model"},{"role":"model","parts":[]},{"role":null,"parts":null},{}]`, ""},
		{"contents", `[{"parts":[{"of_a_later_version":1}]}]`, ""},
		{"contents", `[]`, "empty_array contents"},
		{"contents", `"Hi"`, "invalid_type contents"},
		{"contents", `["Hi"]`, "invalid_type contents[0]"},
		{"contents", `[{"parts":[]},null]`, "invalid_type contents[1]"},
		{"contents", `[{"role":1}]`, "invalid_type contents[0].role"},
		{"contents", `[{"parts":"Hi"}]`, "invalid_type contents[0].parts"},
		{"contents", `[{"parts":[{}]},{"parts":{}},{"parts":[{},"Hi"]}]`, "invalid_type contents[2].parts[1]"},
		{"contents", `{"role":1}`, "invalid_type contents.role"},
		{"contents", `{"parts":1}`, "invalid_type contents.parts"},
		{"contents", `{"parts":["Hi"]}`, "invalid_type contents.parts[0]"},
		{"contents", list(`{"parts":[{"text":"Hi"}]}`, elementsMax), ""},
		{"contents", list(`{"parts":[{"text":"Hi"}]}`, elementsMax+1), "array_above_max_length contents"},
		{"cachedContent", `"cachedContents/c"`, ""},
		{"cachedContent", `{}`, "invalid_type cachedContent"},
		{"generationConfig", `{"temperature":1}`, ""},
		{"generationConfig", `[]`, "invalid_type generationConfig"},
		{"labels", `{"team":"blue"}`, ""},
		{"labels", `[]`, "invalid_type labels"},
		{"modelArmorConfig", `{}`, ""},
		{"modelArmorConfig", `1`, "invalid_type modelArmorConfig"},
		{"safetySettings", `[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}]`, ""},
		{"safetySettings", `{"category":"HARM_CATEGORY_HARASSMENT"}`, ""},
		{"safetySettings", `[1]`, "invalid_type safetySettings[0]"},
		{"safetySettings", `"none"`, "invalid_type safetySettings"},
		{"serviceTier", `"flex"`, ""},
		{"serviceTier", `{}`, "invalid_type serviceTier"},
		{"store", `true`, ""},
		{"store", `1`, "invalid_type store"},
		{"systemInstruction", `{"parts":{"text":"Be brief."}}`, ""},
		{"systemInstruction", `"Be brief."`, "invalid_type systemInstruction"},
		{"toolConfig", `{"functionCallingConfig":{"mode":"ANY"}}`, ""},
		{"toolConfig", `[]`, "invalid_type toolConfig"},
		{"tools", `[{"functionDeclarations":[{"name":"f"}]},{"googleSearch":{}}]`, ""},
		{"tools", `{"googleSearch":{}}`, ""},
		{"tools", `["googleSearch"]`, "invalid_type tools[0]"},
		{"tools", list("{}", elementsMax+1), "array_above_max_length tools"},
		{"tools", `1`, "invalid_type tools"},
	})
}

func TestGenerationConfigSchema(t *testing.T) {
	checkValues(t, generationConfigParameters(), []valueTest{
		{"audioTimestamp", `true`, ""},
		{"candidateCount", `1`, ""},
		{"candidateCount", `0`, "integer_below_min_value candidateCount"},
		{"frequencyPenalty", `-2.1`, "decimal_below_min_value frequencyPenalty"},
		{"imageConfig", `{"aspectRatio":"1:1"}`, ""},
		{"logprobs", `5`, ""},
		{"logprobs", `true`, "invalid_type logprobs"},
		{"maxOutputTokens", `1`, ""},
		{"maxOutputTokens", `0`, "integer_below_min_value maxOutputTokens"},
		{"maxOutputTokens", `"100"`, "invalid_type maxOutputTokens"},
		{"maxOutputTokens", `1.5`, "invalid_type maxOutputTokens"},
		{"mediaResolution", `"MEDIA_RESOLUTION_LOW"`, ""},
		{"presencePenalty", `2.1`, "decimal_above_max_value presencePenalty"},
		{"responseJsonSchema", `true`, ""},
		{"responseLogprobs", `1`, "invalid_type responseLogprobs"},
		{"responseMimeType", `"application/json"`, ""},
		{"responseMimeType", `1`, "invalid_type responseMimeType"},
		{"responseModalities", `["TEXT","IMAGE"]`, ""},
		{"responseModalities", `"TEXT"`, ""},
		{"responseModalities", `{}`, "invalid_type responseModalities"},
		{"responseSchema", `{"type":"OBJECT"}`, ""},
		{"responseSchema", `true`, "invalid_type responseSchema"},
		{"routingConfig", `{"manualMode":{"modelName":"m"}}`, ""},
		{"seed", `-1`, ""},
		{"seed", `1.5`, "invalid_type seed"},
		{"speechConfig", `{}`, ""},
		{"stopSequences", `["a"]`, ""},
		{"stopSequences", `[1]`, "invalid_type stopSequences"},
		{"stopSequences", list(`"a"`, elementsMax+1), "array_above_max_length stopSequences"},
		{"temperature", `2`, ""},
		{"temperature", `2.1`, "decimal_above_max_value temperature"},
		{"thinkingConfig", `{"thinkingBudget":0}`, ""},
		{"thinkingConfig", `1`, "invalid_type thinkingConfig"},
		{"topK", `40.0`, ""},
		{"topK", `-1`, "decimal_below_min_value topK"},
		{"topP", `1.1`, "decimal_above_max_value topP"},
	})
}

func TestEmbedContentSchema(t *testing.T) {
	checkValues(t, embedContentParameters(), []valueTest{
		{"content", `{"parts":[{"text":"Hi"}]}`, ""},
		{"content", `"Hi"`, "invalid_type content"},
		{"content", `{"parts":"Hi"}`, "invalid_type content.parts"},
		{"outputDimensionality", `768`, ""},
		{"outputDimensionality", `0`, "integer_below_min_value outputDimensionality"},
		{"taskType", `"RETRIEVAL_QUERY"`, ""},
		{"title", `"t"`, ""},
		{"title", `1`, "invalid_type title"},
	})
	const request = `{"model":"models/m","content":{"parts":[{"text":"Hi"}]}}`
	checkValues(t, batchEmbedParameters(), []valueTest{
		{"requests", list(request, embedRequestsMax), ""},
		{"requests", list(request, embedRequestsMax+1), "array_above_max_length requests"},
		{"requests", `[]`, "empty_array requests"},
		{"requests", `{}`, "invalid_type requests"},
		{"requests", `[1]`, "invalid_type requests[0]"},
		{"requests", `[null]`, "missing_required_parameter requests[0].model"},
		{"requests", `[` + request + `,{"content":{}}]`, "missing_required_parameter requests[1].model"},
		{"requests", `[{"model":1,"content":{}}]`, "invalid_type requests[0].model"},
		{"requests", `[{"model":"m"}]`, "missing_required_parameter requests[0].content"},
		{"requests", `[{"model":"m","content":null}]`, "missing_required_parameter requests[0].content"},
		{"requests", `[{"model":"m","content":"Hi"}]`, "invalid_type requests[0].content"},
		{"requests", `[{"model":"m","content":{"parts":["Hi"]}}]`, "invalid_type requests[0].content.parts[0]"},
	})
}

func TestCountersSchema(t *testing.T) {
	checkValues(t, countContentsParameters(), []valueTest{
		{"contents", `[{"parts":[{"text":"Hi"}]}]`, ""},
		{"contents", `[1]`, "invalid_type contents[0]"},
		{"generateContentRequest", `{"model":"models/m","contents":[]}`, ""},
		{"generateContentRequest", `[]`, "invalid_type generateContentRequest"},
	})
	checkValues(t, countResponsesParameters(), []valueTest{
		{"input", `"Hi"`, ""},
		{"input", `[{"role":"user","content":"Hi"}]`, ""},
		{"input", `1`, "invalid_type input"},
		{"conversation", `{}`, "missing_required_parameter conversation.id"},
		{"tools", `[{}]`, "missing_required_parameter tools[0].type"},
		{"truncation", `"auto"`, ""},
	})
}
