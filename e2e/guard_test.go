package e2e_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// panickingBody is a body that panics when it is read. No client can cause that.
type panickingBody struct{}

func (panickingBody) Read([]byte) (int, error) { panic("a secret") }

func (panickingBody) Close() error { return nil }

// interpreted returns an interpreted middleware with the configuration, and one that exposes the
// metrics of both.
func interpreted(t *testing.T, config map[string]any, next http.Handler) (governed, metrics http.Handler) {
	t.Helper()
	builder := loadThisPlugin(t)
	build := func(name string, settings map[string]any) http.Handler {
		construct, err := builder.Build("plugin", settings, name)
		if err != nil {
			t.Fatal(err)
		}
		handler, err := construct(t.Context(), next)
		if err != nil {
			t.Fatal(err)
		}
		return handler
	}
	return build("governed@file", config), build("metrics@file", map[string]any{"expose": "prometheus"})
}

// written returns the text written to stderr while do runs, without the line that every start writes.
func written(t *testing.T, do func()) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = stderr }()
	do()
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "chat-completion: the plugin is interpreted\n", "")
}

// TestInterpretedPanicsAreRecovered causes panics in interpreted code at points where no client
// can: while reading a request, after the middleware, and within a response.
func TestInterpretedPanicsAreRecovered(t *testing.T) {
	governed, metrics := interpreted(t, map[string]any{"model": "gpt-4o"}, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.Header.Get(endingHeader) {
		case "before":
			panic("a secret")
		case "within":
			rw.Header().Set("Content-Type", eventType)
			_, _ = io.WriteString(rw, oneEvent)
			panic("a secret")
		}
		complete(jsonType, `{"choices":[]}`)(rw, r)
	}))
	server := httptest.NewServer(governed)
	defer server.Close()
	ask := func(ending string) (status int, body string, err error) {
		response, err := do(t.Context(), http.DefaultClient, server.URL+chatPath, plainBody, map[string]string{endingHeader: ending})
		if err != nil {
			return 0, "", err
		}
		defer func() { _ = response.Body.Close() }()
		text, err := io.ReadAll(response.Body)
		return response.StatusCode, string(text), err
	}
	const internal = `"code":"internal_error"`
	logged := written(t, func() {
		for range 20 { // the registry moves calls into its series in batches
			recorder := httptest.NewRecorder()
			governed.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, chatPath, panickingBody{}))
			if recorder.Code != http.StatusInternalServerError || !strings.Contains(recorder.Body.String(), internal) {
				t.Errorf("panic while reading: status %d, body %s", recorder.Code, recorder.Body)
			}
			if status, body, err := ask("before"); status != http.StatusInternalServerError || !strings.Contains(body, internal) || err != nil {
				t.Errorf("panic after the middleware: status %d, error %v, body %s", status, err, body)
			}
			if status, body, err := ask("within"); status != http.StatusOK || body != oneEvent || err == nil {
				t.Errorf("panic within a response: status %d, error %v, body %s", status, err, body)
			}
			if status, _, err := ask("none"); status != http.StatusOK || err != nil {
				t.Errorf("after panics: status %d, error %v", status, err)
			}
		}
	})
	if count := strings.Count(logged, `chat-completion: middleware "governed@file": panic in the plugin or in a handler after it: a value of the type string`+"\n"); count != 60 {
		t.Errorf("%d panics in the log, want 60:\n%.2000s", count, logged)
	}
	if strings.Contains(logged, "a secret") {
		t.Errorf("the log contains the value of the panic:\n%.2000s", logged)
	}
	exposed := httptest.NewRecorder()
	metrics.ServeHTTP(exposed, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	const count = `gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="chat",gen_ai_provider_name="openai",`
	for _, want := range []string{
		count + `error_type="panic"} 20`, // while reading, before any decision
		count + `gen_ai_request_model="gpt-4o",error_type="panic"} 40`,
		count + `gen_ai_request_model="gpt-4o"} 20`,
		"chat_completion_active_streams 0",
	} {
		if !strings.Contains(exposed.Body.String(), want+"\n") {
			t.Errorf("the metrics lack %s:\n%.3000s", want, exposed.Body)
		}
	}
}

// TestAbortedResponsesLogNoErrors aborts responses in each way in which the middleware does.
func TestAbortedResponsesLogNoErrors(t *testing.T) {
	provider := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		switch r.Header.Get(endingHeader) {
		case "corrupt":
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = io.WriteString(rw, "this is not gzip")
		case "large":
			_, _ = io.WriteString(rw, strings.Repeat("{", 20))
			_ = http.NewResponseController(rw).Flush()
			_, _ = io.WriteString(rw, strings.Repeat("{", 21))
		case "late":
			headerOnly(eventType)(rw, r)
		case "busy":
			rw.Header().Set("Content-Type", eventType)
			for sendEvent(rw, "") == nil {
				continue
			}
		}
	}))
	g := start(t, gateway.Options{})
	configure(t, g, metered(map[string]any{"model": "gpt-4o", "streamUsage": "never", "maxResponseBytes": 40, "maxStreamDuration": "1s"}, provider.URL))
	for _, ending := range []string{"corrupt", "large", "late", "busy"} {
		response, err := do(t.Context(), http.DefaultClient, g.URL+chatPath, plainBody, map[string]string{endingHeader: ending})
		if err != nil {
			if ending != "corrupt" { // no byte of that response was sent
				t.Errorf("%s: %v", ending, err)
			}
			continue
		}
		if body, err := io.ReadAll(response.Body); err == nil {
			t.Errorf("%s: the response is complete: %s", ending, body)
		}
		_ = response.Body.Close()
	}
	awaitTotals(t, "calls by error.type", totals{"provider_cut": 1, "response_too_large": 2, "stream_timeout": 1}, func() totals {
		return exposed(t, g, callsSeries, "error_type")
	})
	checkNoPanic(t, g)
	checkNoErrors(t, g)
}
