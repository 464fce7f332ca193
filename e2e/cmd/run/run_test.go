package main

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/local"
	"github.com/modelroute/chatcompletion/e2e/traffic"
)

// conditionTimeout bounds every wait for a condition.
const conditionTimeout = 30 * time.Second

// terminal records what run writes.
type terminal struct {
	mutex sync.Mutex
	text  bytes.Buffer
	ended chan struct{}
}

func (o *terminal) Write(text []byte) (int, error) {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.text.Write(text)
}

func (o *terminal) String() string {
	o.mutex.Lock()
	defer o.mutex.Unlock()
	return o.text.String()
}

// await waits until the terminal shows the text.
func (o *terminal) await(t *testing.T, text string) {
	t.Helper()
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(conditionTimeout); !strings.Contains(o.String(), text); {
		select {
		case <-ticker.C:
		case <-o.ended:
			t.Fatalf("run ended before the terminal showed %q:\n%s", text, o)
		case <-deadline:
			t.Fatalf("timed out before the terminal showed %q:\n%s", text, o)
		}
	}
}

// isolate sets a free port, which it returns, and an empty temporary folder, and clears the other
// environment variables that a developer may have set.
func isolate(t *testing.T) (port string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err = net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PORT", port)
	t.Setenv("TMPDIR", t.TempDir())
	for _, name := range []string{"DEMO", "UPSTREAM", "MODEL", "DEMO_API_KEY"} {
		t.Setenv(name, "")
	}
	return port
}

// begin runs the command with an environment variable until the test ends or calls stop, which returns
// run's error.
func begin(t *testing.T, variable, value string) (base string, out *terminal, stop func() error) {
	t.Helper()
	port := isolate(t)
	t.Setenv(variable, value)
	ctx, interrupt := context.WithCancel(t.Context())
	out = &terminal{ended: make(chan struct{})}
	var result error
	go func() {
		result = run(ctx, out)
		close(out.ended)
	}()
	stop = func() error {
		interrupt()
		<-out.ended
		return result
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("run: %v", err)
		}
	})
	return "http://127.0.0.1:" + port, out, stop
}

// post sends a request like the printed curl commands.
func post(t *testing.T, address, key, body string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Accept-Encoding", "br")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

func TestRunServesTheExample(t *testing.T) {
	base, out, stop := begin(t, "DEMO", "0")
	out.await(t, "Ctrl-C stops everything.")

	const teams, hello = "/teams/v1/chat/completions", `{"messages": [{"role": "user", "content": "Hello!"}]}`
	const card = `{"model": "claude-haiku-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Is 4111 1111 1111 1111 my card?"}]}`
	served := []string{"Authorization: Bearer sk-demo-key-of-the-provider"}
	tests := []struct {
		name, path, key, body string // key: empty: my-own-key
		status                int
		response              []string
		upstream              []string // nil: the request does not reach the provider
	}{
		{
			name: "without a model", path: "/v1/chat/completions",
			body:   `{"messages": [{"role": "user", "content": "Hello!"}]}`,
			status: http.StatusOK, response: []string{"gpt-4o-mini heard: Hello!"},
			upstream: []string{
				"Authorization: Bearer sk-demo-key-of-the-provider",
				`"model":"gpt-4o-mini"`, `"temperature":0.7`, `"max_tokens":256`,
			},
		},
		{
			name: "with another model than the enforced one", path: "/v1/chat/completions",
			body:   `{"model": "o4-mini", "temperature": 0.1, "messages": [{"role": "user", "content": "Hello!"}]}`,
			status: http.StatusOK, response: []string{"gpt-4o-mini heard: Hello!"},
			upstream: []string{`"model": "gpt-4o-mini"`, `"temperature": 0.1`},
		},
		{
			name: "with a model that is not allowed", path: "/choice/v1/chat/completions",
			body:   `{"model": "o4-mini", "messages": [{"role": "user", "content": "Hello!"}]}`,
			status: http.StatusNotFound, response: []string{`"code":"model_not_found"`},
		},
		{
			name: "with an alias and beyond a limit", path: "/choice/v1/chat/completions",
			body:   `{"model": "fast", "max_tokens": 5000, "messages": [{"role": "user", "content": "Hello!"}]}`,
			status: http.StatusOK, response: []string{"gpt-4o-mini heard: Hello!"},
			upstream: []string{`"model": "gpt-4o-mini"`, `"max_tokens": 1024`},
		},
		{
			name: "streaming", path: "/v1/chat/completions",
			body:   `{"stream": true, "messages": [{"role": "user", "content": "Hello!"}]}`,
			status: http.StatusOK, response: []string{"data: {", `"content":"ello"`, "data: [DONE]\n\n"},
			upstream: []string{`"stream": true`},
		},
		{
			name: "broken", path: "/v1/chat/completions", body: `{"messages": [}`,
			status: http.StatusBadRequest, response: []string{`"type":"invalid_request_error"`},
		},
		{
			name: "in Anthropic's protocol", path: "/v1/messages",
			body:   `{"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello!"}]}`,
			status: http.StatusOK, response: []string{"claude-sonnet-5-5 heard: Hello!", `"input_tokens":2`},
			upstream: []string{"X-Api-Key: sk-demo-key-of-the-provider"},
		},
		{
			name: "in Gemini's protocol", path: "/v1beta/models/gemini-2.5-flash:generateContent",
			body:   `{"contents": [{"parts": [{"text": "Hello!"}]}]}`,
			status: http.StatusOK, response: []string{"gemini-2.5-flash heard: Hello!", `"promptTokenCount":2`},
			upstream: []string{"X-Goog-Api-Key: sk-demo-key-of-the-provider", `"maxOutputTokens":32000`},
		},
		{
			name: "in OpenAI's other protocol", path: "/v1/responses", body: `{"model": "gpt-4o-mini", "input": "Hello!"}`,
			status: http.StatusOK, response: []string{"gpt-4o-mini heard: Hello!"},
			upstream: []string{"Authorization: Bearer sk-demo-key-of-the-provider", `"max_output_tokens":32000`},
		},
		{name: "at an endpoint that is denied", path: "/v1/files", body: "{}", status: http.StatusForbidden, response: []string{"endpoint_denied"}},
		{name: "without a team's key", path: teams, body: hello, status: http.StatusUnauthorized, response: []string{`"code":"invalid_api_key"`}},
		{name: "with a team's key", path: teams, key: redKey, body: hello, status: http.StatusOK, upstream: served},
		{
			name: "with the number of a card", path: local.CompanyPath + "/v1/messages", key: traffic.Support.Key, body: card,
			status: http.StatusOK, response: []string{"Is ***************1111 my card?"}, upstream: []string{"Is ***************1111 my card?"},
		},
		{
			name: "the same once more, from the cache", path: local.CompanyPath + "/v1/messages", key: traffic.Support.Key, body: card,
			status: http.StatusOK, response: []string{"Is ***************1111 my card?"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			before := len(out.String())
			status, response := post(t, base+test.path, cmp.Or(test.key, "my-own-key"), test.body)
			if status != test.status {
				t.Errorf("status = %d, want %d", status, test.status)
			}
			for _, want := range test.response {
				if !strings.Contains(response, want) {
					t.Errorf("response = %s\nwant it to contain %q", response, want)
				}
			}
			seen := out.String()[before:]
			if (seen != "") != (test.upstream != nil) {
				t.Errorf("the provider's log shows %q", seen)
			}
			for _, want := range test.upstream {
				if !strings.Contains(seen, want) {
					t.Errorf("the provider's log shows %s\nwant it to contain %q", seen, want)
				}
			}
			for _, secret := range []string{"my-own-key", blueKey, redKey, traffic.Support.Key, "4111 1111", "Accept-Encoding: br"} {
				if strings.Contains(seen, secret) {
					t.Errorf("the client's %q reached the provider:\n%s", secret, seen)
				}
			}
		})
	}

	exhaust(t, base+teams, hello)

	if err := stop(); err != nil {
		return // the cleanup reports it
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
		t.Errorf("files left in the temporary folder: %q", left)
	}
	if _, err := net.Dial("tcp", strings.TrimPrefix(base, "http://")); err == nil {
		t.Errorf("something still listens on %s", base)
	}
}

// exhaust sends requests of a team until its quota refuses one. A new minute, in which the quota begins
// at zero, may begin once meanwhile.
func exhaust(t *testing.T, address, body string) {
	t.Helper()
	const quota = 3
	for served := range 2*quota + 1 {
		status, response := post(t, address, blueKey, body)
		switch {
		case status == http.StatusOK:
		case served < quota || status != http.StatusTooManyRequests || !strings.Contains(response, "3 of 3 requests per 1m"):
			t.Fatalf("request %d of a team: status %d, response %s", served+1, status, response)
		default:
			return
		}
	}
	t.Errorf("a team may send more than %d requests per minute", quota)
}

func TestRunErrors(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	_, takenPort, err := net.SplitHostPort(taken.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name        string
		environment map[string]string
		want        string
	}{
		{"port taken", map[string]string{"PORT": takenPort}, takenPort + " is in use by another program; choose another port: PORT="},
		{"no such Traefik", map[string]string{"GATEWAY": "interpreted", "TRAEFIK": "/does/not/exist"}, "TRAEFIK=/does/not/exist: "},
		{"no such compiled Traefik", map[string]string{"GATEWAY": "compiled", "COMPILED_TRAEFIK": "/does/not/exist"}, "COMPILED_TRAEFIK=/does/not/exist: "},
		{"no such way to run the plugin", map[string]string{"GATEWAY": "translated"}, "GATEWAY=translated: must be interpreted or compiled"},
		{"unreachable provider", map[string]string{"UPSTREAM": "http://127.0.0.1:1"}, "cannot reach the provider that UPSTREAM names"},
		{"unknown DEMO", map[string]string{"DEMO": "please"}, "DEMO=please: must be 1 or 0"},
		{"traffic for a provider of your own", map[string]string{"DEMO": "1", "UPSTREAM": "http://127.0.0.1:1"}, "makes traffic for the demo provider only"},
		{"model unknown to the provider", map[string]string{"MODEL": "no-such-model"}, "model_not_found"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			isolate(t)
			for name, value := range test.environment {
				t.Setenv(name, value)
			}
			ctx, cancel := context.WithTimeout(t.Context(), conditionTimeout)
			defer cancel()
			err := run(ctx, io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error = %v, want it to contain %q", err, test.want)
			}
			if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
				t.Errorf("files left in the temporary folder: %q", left)
			}
		})
	}
}

// TestRunMakesTraffic runs the traffic of the three teams, which the metrics show.
func TestRunMakesTraffic(t *testing.T) {
	base, out, _ := begin(t, "DEMO", "1")
	out.await(t, "Dashboard: "+base+"/ai/dashboard\nThree teams make about 4 calls per second")
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(conditionTimeout); ; {
		text := get(t, base+"/metrics")
		missing := ""
		for _, want := range []string{`consumer="shop"`, `consumer="support"`, `consumer="research"`, "chat_completion_quota_used{", `chat_completion_cache_result="hit"`} {
			if !strings.Contains(text, want) {
				missing = want
			}
		}
		if missing == "" {
			break
		}
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("the metrics lack %s:\n%s", missing, text)
		}
	}
	if page := get(t, base+"/ai/dashboard"); !strings.HasPrefix(page, "<!doctype html>") {
		t.Errorf("the dashboard is %.200q", page)
	}
}

// get returns the body of a response.
func get(t *testing.T, address string) string {
	t.Helper()
	response, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
