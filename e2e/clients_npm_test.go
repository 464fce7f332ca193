package e2e_test

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/demo"
)

// clientScripts are the scripts in the folder npm whose calls have groups: served, broken, which the provider refuses,
// and refused, which the gateway refuses.
var clientScripts = []string{"endpoints", "anthropic", "google", "ai", "langchain"}

// clientOutcome is what a call of a script came to, as the script says.
type clientOutcome map[string]any

// runScript runs a script in the folder npm against the address and returns what it prints.
func runScript(t *testing.T, address, script string, arguments ...string) []byte {
	t.Helper()
	packages, err := backends.ClientPackages(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	node, err := backends.Node()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), node, append([]string{filepath.Join("npm", script+".cjs")}, arguments...)...)
	// Nothing else: clients read keys and addresses from the environment.
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "GATEWAY_URL=" + address, "NODE_PATH=" + packages}
	var logged bytes.Buffer
	command.Stderr = &logged
	output, err := command.Output()
	if err != nil {
		t.Fatalf("npm/%s.cjs: %v: %s", script, err, &logged)
	}
	if logged.Len() > 0 {
		t.Errorf("npm/%s.cjs warned: %s", script, &logged)
	}
	return output
}

// callWithClients runs groups of calls of a script and returns what the calls came to.
func callWithClients(t *testing.T, address, script string, groups ...string) map[string]clientOutcome {
	t.Helper()
	output := runScript(t, address, script, groups...)
	var outcomes map[string]clientOutcome
	if err := json.Unmarshal(output, &outcomes); err != nil {
		t.Fatalf("npm/%s.cjs printed %s: %v", script, output, err)
	}
	return outcomes
}

// compareOutcomes fails unless the calls came to what the texts in JSON say.
func compareOutcomes(t *testing.T, got map[string]clientOutcome, want map[string]string) {
	t.Helper()
	for name, text := range want {
		var outcome clientOutcome
		if err := json.Unmarshal([]byte(text), &outcome); err != nil {
			t.Fatalf("%s: %s: %v", name, text, err)
		}
		if !reflect.DeepEqual(got[name], outcome) {
			t.Errorf("%s:\ngot  %v\nwant %v", name, got[name], outcome)
		}
	}
}

// directly returns what the clients' calls come to without a gateway.
func directly(t *testing.T, script string) map[string]clientOutcome {
	t.Helper()
	provider := httptest.NewServer(demo.Handler(demo.Options{Key: consumerKey("blue")}))
	defer provider.Close()
	return callWithClients(t, provider.URL, script, "served", "broken")
}

// TestClientsAcceptTheDemoProvider holds the demo provider to what clients of npm expect from their own: what they read
// must be what it sends, and its usage what can be computed from the request.
func TestClientsAcceptTheDemoProvider(t *testing.T) {
	const called = `"tool":"get_weather","arguments":"{\"city\":\"demo\",\"residents\":1}"`
	want := map[string]map[string]string{
		"endpoints": {
			"response":                 `{"content":"gpt-4o-mini heard: Hello, gateway!","model":"gpt-4o-mini","finish":"completed","input":4,"output":9,"reasoning":0,"total":13,"requests":1}`,
			"streamed tool":            `{"content":"","model":"gpt-4o-mini","finish":"completed","input":2,"output":8,"reasoning":0,"total":10,` + called + `,"several":true,"requests":1}`,
			"streamed reasoning":       `{"content":"gpt-4o-mini heard: Think!","model":"gpt-4o-mini","finish":"completed","input":2,"output":14,"reasoning":7,"total":16,"thought":"Thinking with low effort.","several":true,"requests":1}`,
			"count tokens":             `{"input":4,"requests":1}`,
			"transcription by tokens":  `{"content":"gpt-4o-transcribe heard 20000 bytes of speech.wav","input":22,"output":13,"total":35,"requests":1}`,
			"transcription by seconds": `{"content":"whisper-1 heard 20000 bytes of speech.wav","seconds":2,"requests":1}`,
			"drawing":                  `{"content":"true","input":3,"output":516,"requests":1}`,
			"moderation":               `{"content":"false true","requests":1}`,
			"realtime":                 `{"content":"gpt-realtime heard: Hello, socket!","finish":"completed","input":4,"output":9,"total":13,"several":true,"requests":0}`,
			"error of the provider":    `{"error":"NotFoundError","status":404,"type":"invalid_request_error","code":"model_not_found","requests":1}`,
		},
		"anthropic": {
			"stream":                `{"content":"claude-sonnet-5-5 heard: Hello, stream!","model":"claude-sonnet-5-5","finish":"end_turn","input":4,"output":10,"cacheRead":0,"cacheWrite":0,"several":true,"requests":1}`,
			"streamed tool":         `{"content":"","model":"claude-sonnet-5-5","finish":"tool_use","input":2,"output":8,"cacheRead":0,"cacheWrite":0,` + called + `,"several":true,"requests":1}`,
			"streamed thinking":     `{"content":"claude-sonnet-5-5 heard: Think!","model":"claude-sonnet-5-5","finish":"end_turn","input":2,"output":13,"cacheRead":0,"cacheWrite":0,"thought":"Thinking about it.","signed":true,"several":true,"requests":1}`,
			"image":                 `{"content":"claude-sonnet-5-5 heard: What is this?","model":"claude-sonnet-5-5","finish":"end_turn","input":262,"output":10,"cacheRead":0,"cacheWrite":0,"requests":1}`,
			"cache written":         `{"content":"claude-sonnet-5-5 heard: Hello, cache!","model":"claude-sonnet-5-5","finish":"end_turn","input":4,"output":10,"cacheRead":0,"cacheWrite":102,"requests":1}`,
			"cache read":            `{"content":"claude-sonnet-5-5 heard: Hello, cache!","model":"claude-sonnet-5-5","finish":"end_turn","input":4,"output":10,"cacheRead":102,"cacheWrite":0,"requests":1}`,
			"count tokens":          `{"input":4,"requests":1}`,
			"error of the provider": `{"error":"NotFoundError","status":404,"type":"not_found_error","shouldRetry":"","requests":1}`,
		},
		"google": {
			"stream":                `{"content":"gemini-2.5-flash heard: Hello, stream!","model":"gemini-2.5-flash","finish":"STOP","input":4,"output":10,"total":14,"several":true,"requests":1}`,
			"tool":                  `{"content":"","model":"gemini-2.5-flash","finish":"STOP","input":2,"output":8,"total":10,` + called + `,"requests":1}`,
			"streamed thinking":     `{"content":"gemini-2.5-flash heard: Think!","model":"gemini-2.5-flash","finish":"STOP","input":2,"output":8,"reasoning":5,"total":15,"thought":"Thinking about it.","several":true,"requests":1}`,
			"cache read":            `{"content":"gemini-2.5-flash heard: Hello, cache!","model":"gemini-2.5-flash","finish":"STOP","input":1028,"output":10,"total":1038,"cacheRead":1024,"several":true,"requests":1}`,
			"count tokens":          `{"input":4,"requests":1}`,
			"embeddings":            `{"content":"4 4","requests":1}`,
			"error of the provider": `{"error":"ApiError","status":404,"type":"NOT_FOUND","code":"404","requests":1}`,
		},
		"ai": {
			"responses: streamed thinking": `{"content":"gpt-5-mini heard: Hello, stream!","finish":"stop","input":4,"output":15,"reasoning":7,"thought":"Thinking with high effort.","several":true,"requests":1}`,
			"messages: streamed tool":      `{"content":"","finish":"tool-calls","input":4,"output":8,"reasoning":0,` + called + `,"several":true,"requests":1}`,
			"messages: thinking":           `{"content":"claude-haiku-4-5 heard: Hello, gateway!","finish":"stop","input":4,"output":15,"reasoning":5,"thought":"Thinking about it.","requests":1}`,
			"gemini: image":                `{"content":"gemini-2.5-flash heard: What is this?","finish":"stop","input":262,"output":10,"reasoning":0,"requests":1}`,
		},
		"langchain": {
			"responses: stream":     `{"content":"gpt-4o-mini heard: Hello, stream!","input":4,"output":9,"total":13,"several":true,"requests":1}`,
			"anthropic: tool":       `{"content":"","input":4,"output":8,"total":12,` + called + `,"requests":1}`,
			"google: streamed tool": `{"content":"","input":4,"output":8,"total":12,` + called + `,"several":false,"requests":1}`,
			"anthropic: structured": `{"content":"{\"city\":\"demo\",\"residents\":1}","requests":1}`,
		},
	}
	for _, script := range clientScripts {
		t.Run(script, func(t *testing.T) {
			got := directly(t, script)
			compareOutcomes(t, got, want[script])
			for name, outcome := range got {
				if _, failed := outcome["error"]; failed != strings.HasSuffix(name, "error of the provider") {
					t.Errorf("%s: %v", name, outcome)
				}
			}
		})
	}
}
