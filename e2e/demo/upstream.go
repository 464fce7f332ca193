// Package demo is a small OpenAI-compatible provider that shows what reaches it. It answers with the
// client's own words, needs no model, and accepts every key.
package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Models are the names that the provider knows.
var Models = []string{"gpt-4o", "gpt-4o-mini", "gpt-5-mini", "o4-mini", "llama3.2"}

// created is when every model and answer was made; a fixed time keeps answers reproducible.
const created = 1735689600

// Options of the provider. The zero value answers at once and logs nothing.
type Options struct {
	// Interval is the time between two events of a stream. Default: none.
	Interval time.Duration

	// Chunks is the number of content events of a stream. Default: 8.
	Chunks int

	// Models are the names that the provider knows. Default: Models.
	Models []string

	// Log receives a few lines for every request. Default: none.
	Log io.Writer
}

type upstream struct {
	interval time.Duration
	chunks   int
	names    []string
	log      *requestLog
	answered atomic.Int64
}

// Handler serves POST /v1/chat/completions, /v1/embeddings and /v1/responses, and GET /v1/models with the models one by one.
func Handler(options Options) http.Handler {
	u := &upstream{interval: options.Interval, chunks: options.Chunks}
	if u.chunks <= 0 {
		u.chunks = 8
	}
	if u.names = options.Models; u.names == nil {
		u.names = Models
	}
	if options.Log != nil {
		u.log = &requestLog{writer: options.Log}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", u.completions)
	mux.HandleFunc("POST /v1/embeddings", u.embeddings)
	mux.HandleFunc("POST /v1/responses", u.responses)
	mux.HandleFunc("GET /v1/models", u.models)
	mux.HandleFunc("GET /v1/models/{name}", u.model)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		u.log.record(r, nil)
		writeError(w, http.StatusNotFound, "", "unknown_url", "Unknown request URL: %s %s.", r.Method, r.URL.Path)
	})
	return mux
}

func (u *upstream) models(w http.ResponseWriter, r *http.Request) {
	u.log.record(r, nil)
	data := []any{}
	for _, name := range u.names {
		data = append(data, model(name))
	}
	writeJSON(w, http.StatusOK, map[string]any{"object": "list", "data": data})
}

func (u *upstream) model(w http.ResponseWriter, r *http.Request) {
	u.log.record(r, nil)
	if name := r.PathValue("name"); u.knows(w, name) {
		writeJSON(w, http.StatusOK, model(name))
	}
}

func model(name string) map[string]any {
	return map[string]any{"id": name, "object": "model", "created": created, "owned_by": "demo"}
}

func (u *upstream) completions(w http.ResponseWriter, r *http.Request) {
	var request chatRequest
	if !u.read(w, r, &request) || !u.knows(w, request.Model) {
		return
	}
	answer := request.answer(fmt.Sprintf("chatcmpl-demo-%d", u.answered.Add(1)))
	if request.Stream {
		u.send(w, r, answer.events(u.chunks, request.StreamOptions.IncludeUsage))
		return
	}
	writeJSON(w, http.StatusOK, answer.document())
}

// read reads the request, and reports whether there is one to answer.
func (u *upstream) read(w http.ResponseWriter, r *http.Request, request any) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false // the client is gone
	}
	u.log.record(r, body)
	if err := json.Unmarshal(body, request); err != nil {
		writeError(w, http.StatusBadRequest, "", "", "We could not parse the JSON body of your request: %v", err)
		return false
	}
	return true
}

// knows answers with an error if there is no such model, and reports whether there is.
func (u *upstream) knows(w http.ResponseWriter, model string) bool {
	if slices.Contains(u.names, model) {
		return true
	}
	writeError(w, http.StatusNotFound, "model", "model_not_found",
		"The model `%s` does not exist or you do not have access to it.", model)
	return false
}

func writeJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document)
}

// writeError answers as OpenAI does; an empty param or code is null.
func writeError(w http.ResponseWriter, status int, param, code, format string, values ...any) {
	writeJSON(w, status, map[string]any{"error": map[string]any{
		"message": fmt.Sprintf(format, values...),
		"type":    "invalid_request_error",
		"param":   orNull(param),
		"code":    orNull(code),
	}})
}

func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// tokens is a plain estimate: four bytes a token.
func tokens(text string) int { return (len(text) + 3) / 4 }

// pieces cuts the text into at most n parts of whole characters.
func pieces(text string, n int) []string {
	characters := []rune(text)
	size := max((len(characters)+n-1)/n, 1)
	var parts []string
	for start := 0; start < len(characters); start += size {
		parts = append(parts, string(characters[start:min(start+size, len(characters))]))
	}
	return parts
}

// contentText is the text of a message's content: a string, or the text parts of a list.
func contentText(content json.RawMessage) string {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(content, &parts) // anything else has no text
	var texts []string
	for _, part := range parts {
		if part.Text != "" {
			texts = append(texts, part.Text)
		}
	}
	return strings.Join(texts, " ")
}
