package e2e_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/demo"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// governed returns a configuration with two routers, each with its own instance.
func governed(t *testing.T) gateway.Dynamic {
	t.Helper()
	upstream := httptest.NewServer(demo.Handler(demo.Options{}))
	t.Cleanup(upstream.Close)
	return gateway.Dynamic{
		Routers: map[string]gateway.Router{
			"one": {Rule: "Path(`" + chatPath + "`)", Middlewares: []string{"one"}, Service: "provider"},
			"two": {Rule: "Path(`/two" + chatPath + "`)", Middlewares: []string{"two"}, Service: "provider"},
		},
		Middlewares: map[string]any{
			"one": gateway.Plugin(map[string]any{"model": "gpt-4o-mini"}),
			"two": gateway.Plugin(map[string]any{"model": "gpt-4o"}),
		},
		Services: map[string]string{"provider": upstream.URL},
	}
}

// found returns the path of a program.
func found(t *testing.T, find backends.Binary) string {
	t.Helper()
	binary, err := find(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

func TestLogSaysWhetherThePluginIsInterpreted(t *testing.T) {
	tests := []struct {
		name    string
		find    backends.Binary
		want    string
		stamped bool
	}{
		{"interpreted", gateway.Interpreted, "chat-completion: the plugin is interpreted\n", false},
		{"compiled", gateway.Compiled, "chat-completion: the plugin is compiled into Traefik\n", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			binary := found(t, test.find)
			g := start(t, gateway.Options{Binary: binary})
			configure(t, g, governed(t))
			content, err := os.ReadFile(g.LogPath)
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Count(string(content), "chat-completion: the plugin is "); got != 1 || !strings.Contains(string(content), test.want) {
				t.Errorf("%d lines of the log say how the plugin runs, want 1: %q", got, test.want)
			}
			version, err := gateway.Version(t.Context(), binary)
			if err != nil {
				t.Fatal(err)
			}
			const stamp = "+chatcompletion"
			for name, text := range map[string]string{"traefik version": version, "the log": string(content)} {
				if got := strings.Contains(text, stamp); got != test.stamped {
					t.Errorf("%s contains %q: %v, want %v", name, stamp, got, test.stamped)
				}
			}
		})
	}
}

// TestDebugLinesGoToTraefiksLog has a key appear, which the plugin reports at level DEBUG.
func TestDebugLinesGoToTraefiksLog(t *testing.T) {
	for name, find := range map[string]backends.Binary{"interpreted": gateway.Interpreted, "compiled": gateway.Compiled} {
		t.Run(name, func(t *testing.T) {
			g := start(t, gateway.Options{Binary: found(t, find), LogLevel: "DEBUG"})
			key := filepath.Join(t.TempDir(), "key")
			dynamic := governed(t)
			dynamic.Middlewares["one"] = gateway.Plugin(map[string]any{"token": "urn:file:" + key})
			configure(t, g, dynamic)
			write(t, key, "sk-provider")
			var line struct{ Level, Message string }
			await(t, "a line says that the key is available", func() bool {
				content, err := os.ReadFile(g.LogPath)
				if err != nil {
					t.Fatal(err)
				}
				for text := range strings.Lines(string(content)) {
					if strings.Contains(text, "the key is available") {
						return json.Unmarshal([]byte(text), &line) == nil
					}
				}
				return false
			})
			if want := "chat-completion: token: the key is available"; line.Level != "debug" || !strings.Contains(line.Message, want) {
				t.Errorf("Traefik logs %q at level %q, want %q at level debug", line.Message, line.Level, want)
			}
		})
	}
}

// TestCompiledTraefikReadsOnlyTheManifest gives it a plugin whose source does not compile.
func TestCompiledTraefikReadsOnlyTheManifest(t *testing.T) {
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for _, name := range []string{".traefik.yml", "go.mod"} {
		write(t, filepath.Join(folder, name), readReplaced(t, filepath.Join(root, name)))
	}
	write(t, filepath.Join(folder, "plugin.go"), "this is not Go")
	g := start(t, gateway.Options{Binary: found(t, gateway.Compiled), Plugin: folder})
	configure(t, g, governed(t))
	response, err := http.Post(g.URL+chatPath, "application/json", strings.NewReader(`{"messages":[{"role":"user","content":"Hi"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status = %d, want 200", response.StatusCode)
	}
	checkNoErrors(t, g)
}
