package demo

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKeysAndVersions sends requests with and without what each protocol requires.
func TestKeysAndVersions(t *testing.T) {
	const hello = `{"model": "gpt-4o", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello!"}], "contents": [{"parts": [{"text": "Hello!"}]}]}`
	tests := map[string]struct {
		path   string
		header map[string]string
		status int
		want   string
	}{
		"OpenAI":                     {path: "/v1/chat/completions", header: map[string]string{"Authorization": "Bearer right"}, status: 200, want: "heard: Hello!"},
		"OpenAI, wrong key":          {path: "/v1/chat/completions", header: map[string]string{"Authorization": "Bearer wrong"}, status: 401, want: `"code":"invalid_api_key"`},
		"OpenAI, another's header":   {path: "/v1/chat/completions", header: map[string]string{"X-Api-Key": "right"}, status: 401, want: `"code":"invalid_api_key"`},
		"Anthropic":                  {path: "/v1/messages", header: map[string]string{"X-Api-Key": "right", "Anthropic-Version": "2023-06-01"}, status: 200, want: "heard: Hello!"},
		"Anthropic, newer":           {path: "/v1/messages", header: map[string]string{"Authorization": "Bearer right", "Anthropic-Version": "2026-10-21"}, status: 200, want: "heard: Hello!"},
		"Anthropic, wrong key":       {path: "/v1/messages", header: map[string]string{"X-Api-Key": "wrong", "Anthropic-Version": "2023-06-01"}, status: 401, want: `"type":"authentication_error"`},
		"Anthropic, without version": {path: "/v1/messages", header: map[string]string{"X-Api-Key": "right"}, status: 400, want: "anthropic-version: header is required"},
		"Gemini":                     {path: "/v1beta/models/gpt-4o:generateContent", header: map[string]string{"X-Goog-Api-Key": "right"}, status: 200, want: "heard: Hello!"},
		"Gemini, key in the query":   {path: "/v1beta/models/gpt-4o:streamGenerateContent?key=right", status: 200, want: "[{"},
		"Gemini, wrong key":          {path: "/v1beta/models/gpt-4o:generateContent", status: 400, want: `"status":"INVALID_ARGUMENT"`},
	}
	provider := Handler(Options{Key: "right"})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			request := httptest.NewRequest(http.MethodPost, test.path, strings.NewReader(hello))
			for header, value := range test.header {
				request.Header.Set(header, value)
			}
			response := httptest.NewRecorder()
			provider.ServeHTTP(response, request)
			if response.Code != test.status || !strings.Contains(response.Body.String(), test.want) {
				t.Errorf("status %d, body %s, want %d and %s", response.Code, response.Body, test.status, test.want)
			}
		})
	}
}

// TestSamplingParametersOfVersions sends a parameter that the newer version of Anthropic's API does not have.
func TestSamplingParametersOfVersions(t *testing.T) {
	for version, want := range map[string]int{"2023-06-01": http.StatusOK, "2026-10-21": http.StatusBadRequest} {
		request := httptest.NewRequest(http.MethodPost, "/v1/messages", strings.NewReader(
			`{"model": "claude-haiku-5-5", "max_tokens": 9, "temperature": 1, "messages": [{"role": "user", "content": "Hello!"}]}`))
		request.Header.Set("Anthropic-Version", version)
		response := httptest.NewRecorder()
		Handler(Options{}).ServeHTTP(response, request)
		if response.Code != want {
			t.Errorf("%s: status %d, want %d: %s", version, response.Code, want, response.Body)
		}
	}
}

// TestOrders sends requests that order an error, in each protocol, and one that orders a delay.
func TestOrders(t *testing.T) {
	for path, test := range map[string]struct {
		status int
		want   string
	}{
		"/v1/chat/completions":                  {http.StatusServiceUnavailable, `"type":"invalid_request_error"`},
		"/v1/messages":                          {529, `"type":"overloaded_error"`},
		"/v1beta/models/gpt-4o:generateContent": {http.StatusTooManyRequests, `"status":"RESOURCE_EXHAUSTED"`},
	} {
		request := httptest.NewRequest(http.MethodPost, path, strings.NewReader("{}"))
		request.Header.Set(StatusHeader, strconv.Itoa(test.status))
		response := httptest.NewRecorder()
		Handler(Options{}).ServeHTTP(response, request)
		if response.Code != test.status || !strings.Contains(response.Body.String(), test.want) {
			t.Errorf("%s: status %d, body %s, want %d and %s", path, response.Code, response.Body, test.status, test.want)
		}
	}
	request := httptest.NewRequest(http.MethodGet, "/v1/models", nil)
	request.Header.Set(DelayHeader, "20ms")
	began, response := time.Now(), httptest.NewRecorder()
	Handler(Options{}).ServeHTTP(response, request)
	if took := time.Since(began); response.Code != http.StatusOK || took < 20*time.Millisecond {
		t.Errorf("status %d after %v, want 200 after 20ms", response.Code, took)
	}
}
