package gateway_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

func TestRefusedRouterKeepsOthersInService(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(upstream.Close)
	g, err := gateway.Start(t.Context(), gateway.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(g.Dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the working directory still exists: %v", err)
		}
	})
	dynamic := gateway.Dynamic{
		Routers: map[string]gateway.Router{
			"bare":    {Rule: "Path(`/bare`)", Service: "upstream"},
			"mistake": {Rule: "Path(`/mistake`)", Service: "upstream", Middlewares: []string{"mistake"}},
		},
		Middlewares: map[string]any{"mistake": gateway.Plugin(map[string]any{"unknownKey": "gpt-4o"})},
		Services:    map[string]string{"upstream": upstream.URL},
	}
	err = g.Load(t.Context(), dynamic)
	var refused gateway.RefusedError
	if !errors.As(err, &refused) || len(refused) != 1 || !strings.Contains(refused["mistake"], "unknownKey") {
		t.Errorf("error = %v, want a RefusedError for router \"mistake\" that names the key", err)
	}
	checkStatus(t, g.URL+"/bare", http.StatusOK)
	checkStatus(t, g.URL+"/mistake", http.StatusNotFound)

	delete(dynamic.Routers, "mistake")
	if err := g.Load(t.Context(), dynamic); err != nil {
		t.Errorf("after removing the mistake: %v", err)
	}
}

func checkStatus(t *testing.T, address string, want int) {
	t.Helper()
	response, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != want {
		t.Errorf("%s: status = %d, want %d", address, response.StatusCode, want)
	}
}

func TestPluginLoadFailureFailsStart(t *testing.T) {
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	for _, name := range []string{".traefik.yml", "go.mod"} {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(broken, name), string(content))
	}
	write(t, filepath.Join(broken, "plugin.go"), "package chatcompletion\n\nimport _ \"example.com/does/not/exist\"\n")

	binary, err := gateway.Interpreted(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	g, err := gateway.Start(t.Context(), gateway.Options{Binary: binary, Plugin: broken})
	if err == nil {
		_ = g.Stop()
		t.Fatal("a plugin with a missing import loaded")
	}
	if !strings.Contains(err.Error(), "example.com/does/not/exist") {
		t.Errorf("error = %v, want Traefik's own message", err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
		t.Errorf("files left in the temporary folder: %q", left)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
