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

// panickingBody is a body that panics when it is read: nothing that a client sends does.
type panickingBody struct{}

func (panickingBody) Read([]byte) (int, error) { panic("a secret") }

func (panickingBody) Close() error { return nil }

// interpreted returns the middleware of a configuration, and one with the metrics of both, as Traefik's interpreter runs them.
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

// written returns what is written to Traefik's stderr meanwhile.
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
	return string(text)
}

// TestInterpretedPanicsAreRecovered has Yaegi's panics where a client cannot cause any: in reading a request, behind the
// middleware, and in an answer.
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
	told := written(t, func() {
		for range 20 { // the registry takes calls into its series by the dozen
			recorder := httptest.NewRecorder()
			governed.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, chatPath, panickingBody{}))
			if recorder.Code != http.StatusInternalServerError || !strings.Contains(recorder.Body.String(), internal) {
				t.Errorf("in reading: status %d, body %s", recorder.Code, recorder.Body)
			}
			if status, body, err := ask("before"); status != http.StatusInternalServerError || !strings.Contains(body, internal) || err != nil {
				t.Errorf("behind: status %d, error %v, body %s", status, err, body)
			}
			if status, body, err := ask("within"); status != http.StatusOK || body != oneEvent || err == nil {
				t.Errorf("in an answer: status %d, error %v, body %s", status, err, body)
			}
			if status, _, err := ask("none"); status != http.StatusOK || err != nil {
				t.Errorf("after panics: status %d, error %v", status, err)
			}
		}
	})
	if count := strings.Count(told, `chat-completion: middleware "governed@file": panic in the plugin or in a handler after it: a value of the type string`+"\n"); count != 60 {
		t.Errorf("%d panics are told, want 60:\n%.2000s", count, told)
	}
	if strings.Contains(told, "a secret") {
		t.Errorf("what was in the panic is told:\n%.2000s", told)
	}
	exposed := httptest.NewRecorder()
	metrics.ServeHTTP(exposed, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	const count = `gen_ai_client_operation_duration_seconds_count{gen_ai_operation_name="chat",gen_ai_provider_name="openai",`
	for _, want := range []string{
		count + `error_type="panic"} 20`, // in reading: nothing was decided yet
		count + `gen_ai_request_model="gpt-4o",error_type="panic"} 40`,
		count + `gen_ai_request_model="gpt-4o"} 20`,
		"chat_completion_active_streams 0",
	} {
		if !strings.Contains(exposed.Body.String(), want+"\n") {
			t.Errorf("the metrics lack %s:\n%.3000s", want, exposed.Body)
		}
	}
}

// TestAbortedResponsesLogNoErrors has answers break off in each of the ways that the middleware itself breaks them off
// in.
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
			if ending != "corrupt" { // nothing of it was sent
				t.Errorf("%s: %v", ending, err)
			}
			continue
		}
		if body, err := io.ReadAll(response.Body); err == nil {
			t.Errorf("%s: the answer is complete: %s", ending, body)
		}
		_ = response.Body.Close()
	}
	awaitTotals(t, "calls by error.type", totals{"provider_cut": 1, "response_too_large": 2, "stream_timeout": 1}, func() totals {
		return exposed(t, g, callsSeries, "error_type")
	})
	checkNoPanic(t, g)
	checkNoErrors(t, g)
}
