package demo

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"math"
	"net/http"
)

// dimensions is the default number of dimensions of a vector.
const dimensions = 8

func (u *upstream) embeddings(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model          string          `json:"model"`
		Input          json.RawMessage `json:"input"`
		Dimensions     int             `json:"dimensions"`
		EncodingFormat string          `json:"encoding_format"`
	}
	if !u.read(w, r, &request) || !u.knows(w, r, request.Model) {
		return
	}
	if request.Dimensions == 0 {
		request.Dimensions = dimensions
	}
	data, inputTokens := []any{}, 0
	for i, text := range inputs(request.Input) {
		inputTokens += tokens(text)
		vector := embedding(text, request.Dimensions)
		var value any = vector
		if request.EncodingFormat == "base64" {
			value = packed(vector)
		}
		data = append(data, map[string]any{"object": "embedding", "index": i, "embedding": value})
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"object": "list", "data": data, "model": request.Model,
		"usage": map[string]any{"prompt_tokens": inputTokens, "total_tokens": inputTokens},
	})
}

// inputs returns the texts to embed: one, or a list. Tokens, single or in lists, are treated as
// text.
func inputs(input json.RawMessage) []string {
	var text string
	if json.Unmarshal(input, &text) == nil {
		return []string{text}
	}
	var texts []string
	if json.Unmarshal(input, &texts) == nil {
		return texts
	}
	return []string{string(input)}
}

// embedding returns a vector of length 1 that is derived from the text.
func embedding(text string, dimensions int) []float32 {
	vector := make([]float32, dimensions)
	var length float64
	for i := range vector {
		sum := fnv.New32a()
		_, _ = sum.Write([]byte{byte(i), byte(i >> 8)})
		_, _ = sum.Write([]byte(text))
		vector[i] = float32(sum.Sum32())/math.MaxUint32 - 0.5
		length += float64(vector[i]) * float64(vector[i])
	}
	for i := range vector {
		vector[i] /= float32(math.Sqrt(length))
	}
	return vector
}

// packed encodes the vector as OpenAI does: four little-endian bytes per number, in base64.
func packed(vector []float32) string {
	var content []byte
	for _, number := range vector {
		content = binary.LittleEndian.AppendUint32(content, math.Float32bits(number))
	}
	return base64.StdEncoding.EncodeToString(content)
}
