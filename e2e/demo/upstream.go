// Package demo is a small provider for trying the plugin without a model or an account. It speaks the
// protocols of OpenAI, Anthropic and Gemini, echoes the client's prompt, and logs the requests that
// reach it. Equal requests get equal responses, but for their ids, and one token is four bytes, so that
// a client can predict its usage.
package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Models are the default names of the models that the provider serves, each at every endpoint.
var Models = []string{
	"gpt-4o", "gpt-4o-mini", "gpt-5-mini", "o4-mini", "llama3.2", "text-embedding-3-small",
	"claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5",
	"gemini-2.5-pro", "gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-embedding-001",
	"whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-tts", "gpt-image-1", "omni-moderation-latest", "rerank-v3.5", "gpt-realtime",
}

// created is the creation time of every model and response. A fixed time keeps responses
// reproducible.
const created = 1735689600

// imageTokens is what each image in a prompt counts.
const imageTokens = 258

// Options configure the provider. The zero value responds immediately and logs nothing.
type Options struct {
	// Interval is the pause between two events of a stream. Default: none.
	Interval time.Duration

	// Chunks is the number of content events of a stream. Default: 8.
	Chunks int

	// Models are the names of the models that the provider serves. Default: Models.
	Models []string

	// Key is the only accepted API key, in the header of the request's protocol. Default: all keys
	// are accepted, and so are requests without one.
	Key string

	// Log receives a few lines per request. Default: none.
	Log io.Writer
}

type upstream struct {
	interval time.Duration
	chunks   int
	names    []string
	key      string
	log      *requestLog
	served   atomic.Int64

	mutex  sync.Mutex
	cached map[string]bool // prefixes of prompts in the prompt cache
}

// Handler serves the endpoints of the three protocols.
func Handler(options Options) http.Handler {
	u := &upstream{interval: options.Interval, chunks: options.Chunks, names: options.Models, key: options.Key, cached: map[string]bool{}}
	if u.chunks <= 0 {
		u.chunks = 8
	}
	if u.names == nil {
		u.names = Models
	}
	if options.Log != nil {
		u.log = &requestLog{writer: options.Log}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", u.completions)
	mux.HandleFunc("POST /v1/completions", u.texts)
	mux.HandleFunc("POST /v1/embeddings", u.embeddings)
	mux.HandleFunc("POST /v1/responses", u.responses)
	mux.HandleFunc("POST /v1/responses/input_tokens", u.responsesTokens)
	mux.HandleFunc("POST /v1/audio/transcriptions", u.transcriptions)
	mux.HandleFunc("POST /v1/audio/translations", u.transcriptions)
	mux.HandleFunc("POST /v1/audio/speech", u.speech)
	mux.HandleFunc("POST /v1/images/generations", u.images)
	mux.HandleFunc("POST /v1/images/edits", u.editedImages)
	mux.HandleFunc("POST /v1/moderations", u.moderations)
	mux.HandleFunc("POST /v1/rerank", u.rerank)
	mux.HandleFunc("GET /v1/realtime", u.realtime)
	mux.HandleFunc("GET /v1/models", u.models)
	mux.HandleFunc("GET /v1/models/{name}", u.model)

	mux.HandleFunc("POST /v1/messages", u.messages)
	mux.HandleFunc("POST /v1/messages/count_tokens", u.messagesTokens)

	mux.HandleFunc("POST /v1beta/models/{call}", u.gemini)
	mux.HandleFunc("GET /v1beta/models", u.geminiModels)
	mux.HandleFunc("GET /v1beta/models/{name}", u.geminiModel)

	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		u.log.record(r, nil)
		protocolOf(r).fail(w, failure{http.StatusNotFound, "", "unknown_url", fmt.Sprintf("Unknown request URL: %s %s.", r.Method, r.URL.Path)})
	})
	return u.obeying(mux)
}

func (u *upstream) completions(w http.ResponseWriter, r *http.Request) {
	var request chatRequest
	if !u.read(w, r, &request) || !u.knows(w, r, request.Model) {
		return
	}
	completion := request.completion(u.id("chatcmpl-demo-"))
	if request.Stream {
		u.send(w, r, completion.events(u.chunks, request.StreamOptions.IncludeUsage))
		return
	}
	writeJSON(w, http.StatusOK, completion.document())
}

// id returns an id that no other response has.
func (u *upstream) id(prefix string) string { return fmt.Sprintf("%s%d", prefix, u.served.Add(1)) }

// read decodes the request and reports whether the handler should respond to it.
func (u *upstream) read(w http.ResponseWriter, r *http.Request, request any) bool {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false // the client has disconnected
	}
	u.log.record(r, body)
	if !u.admits(w, r) {
		return false
	}
	if err := json.Unmarshal(body, request); err != nil {
		protocolOf(r).fail(w, failure{http.StatusBadRequest, "", "", fmt.Sprintf("We could not parse the JSON body of your request: %v", err)})
		return false
	}
	return true
}

func writeJSON(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document)
}

// encoded returns the JSON text of a value that always has one.
func encoded(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return string(text)
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
	text, _ := contentParts(content)
	return text
}

// contentParts returns the text of a message's content, and the number of images in it.
func contentParts(content json.RawMessage) (text string, images int) {
	if json.Unmarshal(content, &text) == nil {
		return text, 0
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	_ = json.Unmarshal(content, &parts) // any other content has no text
	var texts []string
	for _, part := range parts {
		if part.Text != "" {
			texts = append(texts, part.Text)
		}
		if strings.Contains(part.Type, "image") {
			images++
		}
	}
	return strings.Join(texts, " "), images
}
