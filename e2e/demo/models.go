package demo

import (
	"net/http"
	"strings"
	"time"
)

func (u *upstream) models(w http.ResponseWriter, r *http.Request) {
	u.log.record(r, nil)
	if !u.admits(w, r) {
		return
	}
	data := []any{}
	for _, name := range u.names {
		data = append(data, model(r, name))
	}
	if protocolOf(r) == anthropic {
		writeJSON(w, http.StatusOK, map[string]any{
			"data": data, "has_more": false, "first_id": u.names[0], "last_id": u.names[len(u.names)-1],
		})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": data})
}

func (u *upstream) model(w http.ResponseWriter, r *http.Request) {
	u.log.record(r, nil)
	if name := r.PathValue("name"); u.admits(w, r) && u.knows(w, r, name) {
		writeJSON(w, http.StatusOK, model(r, name))
	}
}

func model(r *http.Request, name string) map[string]any {
	if protocolOf(r) == anthropic {
		return map[string]any{
			"type": "model", "id": name, "display_name": name, "created_at": time.Unix(created, 0).UTC().Format(time.RFC3339),
			"max_input_tokens": 200_000, "max_tokens": 64_000, "capabilities": nil,
		}
	}
	return map[string]any{"id": name, "object": "model", "created": created, "owned_by": "demo"}
}

func (u *upstream) geminiModels(w http.ResponseWriter, r *http.Request) {
	u.log.record(r, nil)
	if !u.admits(w, r) {
		return
	}
	models := []any{}
	for _, name := range u.names {
		models = append(models, geminiModel(name))
	}
	writeJSON(w, http.StatusOK, map[string]any{"models": models})
}

func (u *upstream) geminiModel(w http.ResponseWriter, r *http.Request) {
	u.log.record(r, nil)
	if name := r.PathValue("name"); u.admits(w, r) && u.knows(w, r, name) {
		writeJSON(w, http.StatusOK, geminiModel(name))
	}
}

func geminiModel(name string) map[string]any {
	methods := []string{"generateContent", "countTokens"}
	if strings.Contains(name, "embedding") {
		methods = []string{"embedContent", "countTokens"}
	}
	return map[string]any{
		"name": "models/" + name, "baseModelId": name, "version": "001", "displayName": name,
		"inputTokenLimit": 1_048_576, "outputTokenLimit": 65_536, "supportedGenerationMethods": methods,
	}
}
