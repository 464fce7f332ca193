// Package demo is a small OpenAI-compatible provider for trying the plugin without a model or an
// account. It echoes the client's prompt, accepts every key, and logs the requests that reach it.
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

// Models are the default names of the models that the provider serves.
var Models = []string{"gpt-4o", "gpt-4o-mini", "gpt-5-mini", "o4-mini", "llama3.2"}

// created is the creation time of every model and response. A fixed time keeps responses
// reproducible.
const created = 1735689600

// Options configure the provider. The zero value responds immediately and logs nothing.
type Options struct {
	// Interval is the pause between two events of a stream. Default: none.
	Interval time.Duration

	// Chunks is the number of content events of a stream. Default: 8.
	Chunks int

	// Models are the names of the models that the provider serves. Default: Models.
	Models []string

	// Log receives a few lines per request. Default: none.
	Log io.Writer
}

type upstream struct {
	interval time.Duration
	chunks   int
	names    []string
	log      *requestLog
	served   atomic.Int64
}

// Handler serves POST /v1/chat/completions, /v1/embeddings, /v1/responses and
// /v1/audio/transcriptions, GET /v1/models, and each model below it.
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
	mux.HandleFunc("POST /v1/audio/transcriptions", u.transcriptions)
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
	completion := request.completion(fmt.Sprintf("chatcmpl-demo-%d", u.served.Add(1)))
	if request.Stream {
		u.send(w, r, completion.events(u.chunks, request.StreamOptions.IncludeUsage))
		return
	}
	writeJSON(w, http.StatusOK, completion.document())
}

// read decodes the request and reports whether the handler should respond to it.
func (u *upstream) read(w http.ResponseWriter, r *http.Request, request any) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false // the client has disconnected
	}
	u.log.record(r, body)
	if err := json.Unmarshal(body, request); err != nil {
		writeError(w, http.StatusBadRequest, "", "", "We could not parse the JSON body of your request: %v", err)
		return false
	}
	return true
}

// knows reports whether the model exists. If it does not, knows writes an error response.
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

// writeError writes an error in OpenAI's format. An empty param or code becomes null.
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

// tokens estimates the number of tokens: one per four bytes.
func tokens(text string) int { return (len(text) + 3) / 4 }

// pieces splits the text into at most n parts of whole characters.
func pieces(text string, n int) []string {
	characters := []rune(text)
	size := max((len(characters)+n-1)/n, 1)
	var parts []string
	for start := 0; start < len(characters); start += size {
		parts = append(parts, string(characters[start:min(start+size, len(characters))]))
	}
	return parts
}

// contentText returns the text of a message's content: a string, or the text parts of a list.
func contentText(content json.RawMessage) string {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return text
	}
	var parts []struct {
		Text string `json:"text"`
	}
	_ = json.Unmarshal(content, &parts) // any other content has no text
	var texts []string
	for _, part := range parts {
		if part.Text != "" {
			texts = append(texts, part.Text)
		}
	}
	return strings.Join(texts, " ")
}
