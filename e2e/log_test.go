package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestLogLinePerCall reads the calls' log lines from Traefik's stdout and stderr.
func TestLogLinePerCall(t *testing.T) {
	provider := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"id":"chatcmpl-1","model":"gpt-4o-2024-08-06","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],`+
			`"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":3}}}`)
	})
	for _, stream := range []string{"stdout", "stderr"} {
		g := serve(t, map[string]any{"model": "gpt-4o", "token": "sk-canary", "telemetry": map[string]any{
			"log": stream, "provider": "azure.ai.openai", "labels": map[string]string{"team": "$(headers.x-team)", "site": "north"},
		}}, provider)
		for _, body := range []string{governedBody, "{"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+chatPath, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Team", "blue")
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
		}
		var lines []map[string]any
		await(t, "two lines of calls", func() bool {
			lines = callLines(t, g.LogPath)
			return len(lines) == 2
		})
		want := map[string]any{
			"message": "chat gpt-4o", "gen_ai.provider.name": "azure.ai.openai", "gen_ai.request.model": "gpt-4o", "gen_ai.request.stream": false,
			"gen_ai.response.model": "gpt-4o-2024-08-06", "gen_ai.response.id": "chatcmpl-1", "gen_ai.usage.input_tokens": 9.0,
			"gen_ai.usage.output_tokens": 4.0, "gen_ai.usage.cache_read.input_tokens": 5.0, "gen_ai.usage.reasoning.output_tokens": 3.0,
			"http.response.status_code": 200.0, "chat_completion.policy": "model=enforced", "error.type": nil,
		}
		checkLine(t, stream, lines[0], want)
		checkLine(t, stream, lines[1], map[string]any{
			"message": "chat", "http.response.status_code": 400.0, "error.type": "invalid_json", "chat_completion.policy": "refused=invalid_json",
			"gen_ai.usage.input_tokens": nil,
		})
		for _, line := range lines {
			if labels, _ := line["labels"].(map[string]any); len(labels) != 2 || labels["team"] != "blue" || labels["site"] != "north" {
				t.Errorf("%s: labels are %v, want team blue and site north", stream, line["labels"])
			}
			if duration, _ := line["duration_seconds"].(float64); duration <= 0 {
				t.Errorf("%s: duration_seconds is %v, want more than 0", stream, line["duration_seconds"])
			}
		}
	}
}

func checkLine(t *testing.T, stream string, got, want map[string]any) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %s is %v, want %v", stream, name, got[name], value)
		}
	}
}

// callLines returns the log lines of calls, without those of Traefik's own log.
func callLines(t *testing.T, path string) []map[string]any {
	t.Helper()
	var lines []map[string]any
	for _, text := range strings.Split(readText(t, path), "\n") {
		var line map[string]any
		if json.Unmarshal([]byte(text), &line) == nil && line["gen_ai.operation.name"] == "chat" {
			lines = append(lines, line)
		}
	}
	return lines
}
