package demo

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// categories are what the provider moderates.
var categories = []string{
	"harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm", "self-harm/instructions",
	"self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
}

// moderations flags texts with the word violence.
func (u *upstream) moderations(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model string          `json:"model"`
		Input json.RawMessage `json:"input"`
	}
	if !u.read(w, r, &request) || !u.knows(w, r, request.Model) {
		return
	}
	results := []any{}
	for _, text := range inputs(request.Input) {
		violent := strings.Contains(strings.ToLower(text), "violence")
		flags, scores, kinds := map[string]any{}, map[string]any{}, map[string]any{}
		for _, category := range categories {
			flags[category] = violent && category == "violence"
			scores[category] = 0.01
			kinds[category] = []string{"text"}
		}
		results = append(results, map[string]any{"flagged": violent, "categories": flags, "category_scores": scores, "category_applied_input_types": kinds})
	}
	writeJSON(w, http.StatusOK, map[string]any{"id": u.id("modr-demo-"), "model": request.Model, "results": results})
}

// rerank orders documents by the share of the query's words that they have.
func (u *upstream) rerank(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Model     string   `json:"model"`
		Query     string   `json:"query"`
		Documents []string `json:"documents"`
		TopN      int      `json:"top_n"`
	}
	if !u.read(w, r, &request) || !u.knows(w, r, request.Model) {
		return
	}
	type result struct {
		Index int     `json:"index"`
		Score float64 `json:"relevance_score"`
	}
	results, count := []result{}, tokens(request.Query)
	words := strings.Fields(strings.ToLower(request.Query))
	for i, document := range request.Documents {
		count += tokens(document)
		shared := 0
		for _, word := range words {
			if slices.Contains(strings.Fields(strings.ToLower(document)), word) {
				shared++
			}
		}
		results = append(results, result{i, float64(shared) / float64(max(len(words), 1))})
	}
	slices.SortStableFunc(results, func(a, b result) int {
		switch {
		case a.Score > b.Score:
			return -1
		case a.Score < b.Score:
			return 1
		}
		return 0
	})
	if request.TopN > 0 && request.TopN < len(results) {
		results = results[:request.TopN]
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"id": u.id("rerank-demo-"), "model": request.Model, "results": results, "usage": map[string]any{"total_tokens": count},
		"meta": map[string]any{"billed_units": map[string]any{"search_units": 1}},
	})
}
