package demo

import "net/http"

// embedRequest asks for the vector of a content.
type embedRequest struct {
	Content              geminiContent `json:"content"`
	OutputDimensionality int           `json:"outputDimensionality"`
}

func (r embedRequest) vector() map[string]any {
	count := r.OutputDimensionality
	if count == 0 {
		count = dimensions
	}
	return map[string]any{"values": embedding(r.Content.text(), count)}
}

func (r embedRequest) tokens() int { return tokens(r.Content.text()) }

func (u *upstream) embedContent(w http.ResponseWriter, r *http.Request, model string) {
	var request embedRequest
	if u.read(w, r, &request) && u.knows(w, r, model) {
		writeJSON(w, http.StatusOK, map[string]any{"embedding": request.vector(), "usageMetadata": map[string]any{"promptTokenCount": request.tokens()}})
	}
}

func (u *upstream) batchEmbedContents(w http.ResponseWriter, r *http.Request, model string) {
	var batch struct {
		Requests []embedRequest `json:"requests"`
	}
	if !u.read(w, r, &batch) || !u.knows(w, r, model) {
		return
	}
	vectors, input := []any{}, 0
	for _, request := range batch.Requests {
		vectors = append(vectors, request.vector())
		input += request.tokens()
	}
	writeJSON(w, http.StatusOK, map[string]any{"embeddings": vectors, "usageMetadata": map[string]any{"promptTokenCount": input}})
}
