package demo

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// geminiRequest has the fields of Gemini API requests that the provider reads.
type geminiRequest struct {
	Contents          []geminiContent `json:"contents"`
	SystemInstruction geminiContent   `json:"systemInstruction"`
	CachedContent     string          `json:"cachedContent"`
	Tools             []struct {
		FunctionDeclarations []struct {
			Name                 string          `json:"name"`
			Parameters           json.RawMessage `json:"parameters"`
			ParametersJSONSchema json.RawMessage `json:"parametersJsonSchema"`
		} `json:"functionDeclarations"`
	} `json:"tools"`
	ToolConfig struct {
		FunctionCallingConfig struct {
			Mode                 string   `json:"mode"`
			AllowedFunctionNames []string `json:"allowedFunctionNames"`
		} `json:"functionCallingConfig"`
	} `json:"toolConfig"`
	GenerationConfig struct {
		ResponseSchema     json.RawMessage `json:"responseSchema"`
		ResponseJSONSchema json.RawMessage `json:"responseJsonSchema"`
		ThinkingConfig     *struct {
			IncludeThoughts bool `json:"includeThoughts"`
			ThinkingBudget  *int `json:"thinkingBudget"`
		} `json:"thinkingConfig"`
	} `json:"generationConfig"`
}

// geminiContent is a turn of a conversation.
type geminiContent struct {
	Parts []struct {
		Text       string `json:"text"`
		InlineData *struct {
			MIMEType string `json:"mimeType"`
		} `json:"inlineData"`
		FunctionResponse *struct {
			Response json.RawMessage `json:"response"`
		} `json:"functionResponse"`
	} `json:"parts"`
}

// text returns the texts of the parts, and the results of functions.
func (c geminiContent) text() string {
	var texts []string
	for _, part := range c.Parts {
		if part.Text != "" {
			texts = append(texts, part.Text)
		}
		if part.FunctionResponse != nil {
			texts = append(texts, string(part.FunctionResponse.Response))
		}
	}
	return strings.Join(texts, " ")
}

func (c geminiContent) images() int {
	count := 0
	for _, part := range c.Parts {
		if part.InlineData != nil && strings.HasPrefix(part.InlineData.MIMEType, "image/") {
			count++
		}
	}
	return count
}

// cachedTokens is what a cached content counts in a prompt.
const cachedTokens = 1024

// gemini serves the methods of a model, which are in the last segment of the path with it.
func (u *upstream) gemini(w http.ResponseWriter, r *http.Request) {
	model, method, _ := strings.Cut(r.PathValue("call"), ":")
	methods := map[string]func(http.ResponseWriter, *http.Request, string){
		"generateContent": u.generateContent, "streamGenerateContent": u.streamGenerateContent, "countTokens": u.countTokens,
		"embedContent": u.embedContent, "batchEmbedContents": u.batchEmbedContents,
	}
	serve, ok := methods[method]
	if !ok {
		u.log.record(r, nil)
		failAsGemini(w, failure{status: http.StatusNotFound, message: fmt.Sprintf("models have no method %q", method)})
		return
	}
	serve(w, r, model)
}

// generate reads a request and returns the response to it, or nil after an error.
func (u *upstream) generate(w http.ResponseWriter, r *http.Request, model string) *geminiResponse {
	var request geminiRequest
	if !u.read(w, r, &request) || !u.knows(w, r, model) {
		return nil
	}
	if len(request.Contents) == 0 {
		failAsGemini(w, failure{status: http.StatusBadRequest, message: "* GenerateContentRequest.contents: contents is not specified"})
		return nil
	}
	return request.response(model, u.id(""))
}

func (u *upstream) generateContent(w http.ResponseWriter, r *http.Request, model string) {
	if reply := u.generate(w, r, model); reply != nil {
		writeJSON(w, http.StatusOK, reply.chunk(reply.parts(), reply.outputTokens, tokens(reply.thought), true))
	}
}

// streamGenerateContent writes events if the client wants them, and otherwise one JSON array.
func (u *upstream) streamGenerateContent(w http.ResponseWriter, r *http.Request, model string) {
	reply := u.generate(w, r, model)
	if reply == nil {
		return
	}
	chunks, mediaType := reply.chunks(u.chunks), "application/json; charset=UTF-8"
	if r.URL.Query().Get("alt") == "sse" {
		mediaType = eventType
		for i := range chunks {
			chunks[i] = "data: " + chunks[i] + "\r\n\r\n"
		}
	} else {
		for i := range chunks {
			chunks[i] = ",\r\n" + chunks[i]
		}
		chunks[0] = "[" + strings.TrimPrefix(chunks[0], ",\r\n")
		chunks = append(chunks, "\r\n]\r\n")
	}
	u.write(w, r, mediaType, chunks)
}

func (u *upstream) countTokens(w http.ResponseWriter, r *http.Request, model string) {
	var request struct {
		geminiRequest
		GenerateContentRequest geminiRequest `json:"generateContentRequest"`
	}
	if !u.read(w, r, &request) || !u.knows(w, r, model) {
		return
	}
	counted := request.geminiRequest
	if len(counted.Contents) == 0 {
		counted = request.GenerateContentRequest
	}
	texts, images := counted.counts()
	writeJSON(w, http.StatusOK, map[string]any{"totalTokens": texts + images, "promptTokensDetails": modalities(texts, images)})
}

// counts returns the tokens of the prompt's texts and those of its images.
func (r *geminiRequest) counts() (texts, images int) {
	var all []string
	for _, content := range append([]geminiContent{r.SystemInstruction}, r.Contents...) {
		if text := content.text(); text != "" {
			all = append(all, text)
		}
		images += content.images() * imageTokens
	}
	return tokens(strings.Join(all, " ")), images
}

func modalities(texts, images int) []any {
	details := []any{map[string]any{"modality": "TEXT", "tokenCount": texts}}
	if images > 0 {
		details = append(details, map[string]any{"modality": "IMAGE", "tokenCount": images})
	}
	return details
}

// geminiResponse is a response before it is written as one document or as several.
type geminiResponse struct {
	completion
	shows  bool // the client wants to see the thought
	texts  int  // tokens of texts in the prompt
	images int
	cached int
}

func (r *geminiRequest) response(model, id string) *geminiResponse {
	reply := &geminiResponse{completion: completion{id: id, model: model}}
	reply.texts, reply.images = r.counts()
	if r.CachedContent != "" {
		reply.cached = cachedTokens
	}
	if thinking := r.GenerationConfig.ThinkingConfig; thinking != nil && (thinking.ThinkingBudget == nil || *thinking.ThinkingBudget != 0) {
		reply.thought, reply.shows = "Thinking about it.", thinking.IncludeThoughts
	}
	schema := r.GenerationConfig.ResponseJSONSchema
	if schema == nil {
		schema = r.GenerationConfig.ResponseSchema
	}
	switch name, parameters := r.calledFunction(); {
	case name != "":
		reply.tool, reply.arguments = name, example(parameters)
	case schema != nil:
		reply.content = example(schema)
	default:
		reply.content = model + " heard: " + r.Contents[len(r.Contents)-1].text()
	}
	reply.outputTokens = tokens(reply.content + reply.arguments)
	return reply
}

// calledFunction returns the first function that the configuration requires.
func (r *geminiRequest) calledFunction() (name string, parameters json.RawMessage) {
	config := r.ToolConfig.FunctionCallingConfig
	if config.Mode != "ANY" {
		return "", nil
	}
	for _, tool := range r.Tools {
		for _, function := range tool.FunctionDeclarations {
			if len(config.AllowedFunctionNames) > 0 && !slices.Contains(config.AllowedFunctionNames, function.Name) {
				continue
			}
			if function.ParametersJSONSchema != nil {
				return function.Name, function.ParametersJSONSchema
			}
			return function.Name, function.Parameters
		}
	}
	return "", nil
}

func (r *geminiResponse) parts() []any {
	parts := []any{}
	if r.shows {
		parts = append(parts, map[string]any{"text": r.thought, "thought": true})
	}
	if r.tool != "" {
		return append(parts, r.call())
	}
	return append(parts, map[string]any{"text": r.content})
}

func (r *geminiResponse) call() map[string]any {
	return map[string]any{
		"functionCall":     map[string]any{"id": "call_" + r.id, "name": r.tool, "args": json.RawMessage(r.arguments)},
		"thoughtSignature": base64.StdEncoding.EncodeToString([]byte("signature of " + r.id)),
	}
}

// chunk returns a document with the parts and the usage so far. The last one has a finish reason.
func (r *geminiResponse) chunk(parts []any, output, thoughts int, last bool) map[string]any {
	candidate := map[string]any{"content": map[string]any{"role": "model", "parts": parts}, "index": 0}
	if last {
		candidate["finishReason"] = "STOP"
	}
	prompt := r.texts + r.images + r.cached
	usage := map[string]any{
		"promptTokenCount": prompt, "candidatesTokenCount": output, "totalTokenCount": prompt + output + thoughts,
		"promptTokensDetails": modalities(r.texts+r.cached, r.images),
	}
	if thoughts > 0 {
		usage["thoughtsTokenCount"] = thoughts
	}
	if r.cached > 0 {
		usage["cachedContentTokenCount"] = r.cached
		usage["cacheTokensDetails"] = modalities(r.cached, 0)
	}
	return map[string]any{
		"candidates": []any{candidate}, "usageMetadata": usage, "modelVersion": r.model, "responseId": "demo_" + r.id,
	}
}

// chunks returns the documents of a stream.
func (r *geminiResponse) chunks(count int) []string {
	var chunks []string
	thoughts := tokens(r.thought)
	if r.shows {
		chunks = append(chunks, encoded(r.chunk([]any{map[string]any{"text": r.thought, "thought": true}}, 0, thoughts, false)))
	}
	if r.tool != "" {
		return append(chunks, encoded(r.chunk([]any{r.call()}, r.outputTokens, thoughts, true)))
	}
	texts, so := pieces(r.content, count), ""
	for i, text := range texts {
		so += text
		chunks = append(chunks, encoded(r.chunk([]any{map[string]any{"text": text}}, tokens(so), thoughts, i == len(texts)-1)))
	}
	return chunks
}
