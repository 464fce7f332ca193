package demo

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// protocol is what the endpoints of one provider's API have in common.
type protocol struct {
	// key returns the API key of a request.
	key func(*http.Request) string

	// unauthorized is the error for a request without the right key.
	unauthorized failure

	// fail writes an error.
	fail func(http.ResponseWriter, failure)
}

// failure is an error before it is written in the format of a protocol.
type failure struct {
	status  int
	param   string // OpenAI's only
	code    string // OpenAI's only
	message string
}

var (
	openAI = &protocol{
		key:          bearerKey,
		unauthorized: failure{http.StatusUnauthorized, "", "invalid_api_key", "Incorrect API key provided."},
		fail:         failAsOpenAI,
	}
	anthropic = &protocol{
		key:          anthropicKey,
		unauthorized: failure{http.StatusUnauthorized, "", "", "invalid x-api-key"},
		fail:         failAsAnthropic,
	}
	gemini = &protocol{
		key:          geminiKey,
		unauthorized: failure{http.StatusBadRequest, "", "", "API key not valid. Please pass a valid API key."},
		fail:         failAsGemini,
	}
)

// versions are those of Anthropic's API.
var versions = []string{"2023-06-01", "2026-10-21"}

// protocolOf returns the protocol of a request. Anthropic's clients are known by their version where
// OpenAI has the same paths.
func protocolOf(r *http.Request) *protocol {
	switch {
	case strings.HasPrefix(r.URL.Path, "/v1beta/"):
		return gemini
	case strings.HasPrefix(r.URL.Path, "/v1/messages"), r.Header.Get("Anthropic-Version") != "":
		return anthropic
	}
	return openAI
}

// admits reports whether the request has the right key, and the headers that its protocol requires. If
// it does not, admits writes an error.
func (u *upstream) admits(w http.ResponseWriter, r *http.Request) bool {
	p := protocolOf(r)
	if u.key != "" && p.key(r) != u.key {
		p.fail(w, p.unauthorized)
		return false
	}
	if p == anthropic && !slices.Contains(versions, r.Header.Get("Anthropic-Version")) {
		p.fail(w, failure{http.StatusBadRequest, "", "", "anthropic-version: header is required, with one of " + strings.Join(versions, ", ")})
		return false
	}
	return true
}

// knows reports whether the model exists. If it does not, knows writes an error.
func (u *upstream) knows(w http.ResponseWriter, r *http.Request, model string) bool {
	if slices.Contains(u.names, model) {
		return true
	}
	p := protocolOf(r)
	message := fmt.Sprintf("The model `%s` does not exist or you do not have access to it.", model)
	switch p {
	case anthropic:
		message = "model: " + model
	case gemini:
		message = fmt.Sprintf("models/%s is not found for API version v1beta, or is not supported for this method.", model)
	}
	p.fail(w, failure{http.StatusNotFound, "model", "model_not_found", message})
	return false
}

func bearerKey(r *http.Request) string {
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return key
}

// anthropicKey returns the key from either header: clients of the newer version of the API send it as
// OpenAI's do.
func anthropicKey(r *http.Request) string {
	if key := r.Header.Get("X-Api-Key"); key != "" {
		return key
	}
	return bearerKey(r)
}

func geminiKey(r *http.Request) string {
	if key := r.Header.Get("X-Goog-Api-Key"); key != "" {
		return key
	}
	return r.URL.Query().Get("key")
}

func failAsOpenAI(w http.ResponseWriter, f failure) {
	writeJSON(w, f.status, map[string]any{"error": map[string]any{
		"message": f.message, "type": "invalid_request_error", "param": orNull(f.param), "code": orNull(f.code),
	}})
}

// overloaded is a status that only Anthropic has.
const overloaded = 529

// anthropicTypes are the types of Anthropic's errors.
var anthropicTypes = map[int]string{
	http.StatusBadRequest: "invalid_request_error", http.StatusUnauthorized: "authentication_error", http.StatusNotFound: "not_found_error",
	http.StatusTooManyRequests: "rate_limit_error", http.StatusInternalServerError: "api_error", overloaded: "overloaded_error",
}

func failAsAnthropic(w http.ResponseWriter, f failure) {
	const id = "req_demo"
	w.Header().Set("Request-Id", id)
	writeJSON(w, f.status, map[string]any{
		"type": "error", "request_id": id,
		"error": map[string]any{"type": anthropicTypes[f.status], "message": f.message},
	})
}

// googleStatuses are the names that Google has for statuses.
var googleStatuses = map[int]string{
	http.StatusBadRequest: "INVALID_ARGUMENT", http.StatusNotFound: "NOT_FOUND",
	http.StatusTooManyRequests: "RESOURCE_EXHAUSTED", http.StatusInternalServerError: "INTERNAL", http.StatusServiceUnavailable: "UNAVAILABLE",
}

func failAsGemini(w http.ResponseWriter, f failure) {
	writeJSON(w, f.status, map[string]any{"error": map[string]any{
		"code": f.status, "message": f.message, "status": googleStatuses[f.status],
	}})
}
