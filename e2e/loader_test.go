package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/tidwall/gjson" // the test copies its source
	"github.com/traefik/traefik/v3/pkg/plugins"
)

// load loads the module's local plugin from the working directory with Traefik's own loader.
func load(module string) (*plugins.Builder, error) {
	local := map[string]plugins.LocalDescriptor{"plugin": {ModuleName: module}}
	if err := plugins.SetupLocalPlugins(local); err != nil {
		return nil, err
	}
	return plugins.NewBuilder(nil, nil, local)
}

func TestPluginLoadsInTraefiksInterpreter(t *testing.T) {
	builder := loadThisPlugin(t)
	construct, err := builder.Build("plugin", map[string]any{"model": "gpt-4o-mini"}, "governed@file")
	if err != nil {
		t.Fatal(err)
	}
	var provider string
	handler, err := construct(t.Context(), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		provider = string(body)
	}))
	if err != nil {
		t.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPost, chatPath, strings.NewReader(`{"messages":[{"role":"user","content":"Hi"}]}`))
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, request)
	if recorder.Code != http.StatusOK {
		t.Errorf("status = %d, want 200: %s", recorder.Code, recorder.Body)
	}
	if want := `"model":"gpt-4o-mini"`; !strings.Contains(provider, want) {
		t.Errorf("the provider gets %s, want it to contain %s", provider, want)
	}
}

// TestGJSONDoesNotLoad fails once Yaegi can load gjson, which could then replace the plugin's own
// JSON parser.
func TestGJSONDoesNotLoad(t *testing.T) {
	folder := map[string]string{}
	for _, module := range []string{"gjson", "match", "pretty"} {
		folder[module] = moduleFolder(t, "github.com/tidwall/"+module)
	}
	t.Chdir(t.TempDir())

	writePlugin(t, "example.com/without", "")
	if _, err := load("example.com/without"); err != nil {
		t.Fatalf("a plugin without gjson: %v", err)
	}

	writePlugin(t, "example.com/withmatch", `"github.com/tidwall/match"`)
	copySource(t, "example.com/withmatch", "match", folder["match"])
	if _, err := load("example.com/withmatch"); err != nil {
		t.Fatalf("a plugin with a loadable vendored package: %v", err)
	}

	writePlugin(t, "example.com/withgjson", `"github.com/tidwall/gjson"`)
	for module, source := range folder {
		copySource(t, "example.com/withgjson", module, source)
	}
	_, err := load("example.com/withgjson")
	if err == nil {
		t.Fatal("gjson loads: check whether it can replace the plugin's own JSON parser")
	}
	if !strings.Contains(err.Error(), filepath.Join("tidwall", "gjson", "gjson.go")) {
		t.Errorf("the plugin fails to load for a reason other than gjson: %v", err)
	}
	t.Log(err)
}

// moduleFolder returns the folder in which the go command stores the module's source.
func moduleFolder(t *testing.T, module string) string {
	t.Helper()
	output, err := exec.CommandContext(context.Background(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(output))
}

// pluginFolder returns the folder, relative to the working directory, in which Traefik's loader
// expects a module.
func pluginFolder(module string) string {
	return filepath.Join("plugins-local", "src", filepath.FromSlash(module))
}

// writePlugin writes a plugin that forwards every request, and imports one additional package, if
// any.
func writePlugin(t *testing.T, module, imported string) {
	t.Helper()
	if imported != "" {
		imported = "_ " + imported
	}
	write(t, filepath.Join(pluginFolder(module), "plugin.go"), `
package `+filepath.Base(module)+`

import (
	"context"
	"net/http"

	`+imported+`
)

type Config struct{}

func CreateConfig() *Config { return &Config{} }

func New(_ context.Context, next http.Handler, _ *Config, _ string) (http.Handler, error) { return next, nil }
`)
	write(t, filepath.Join(pluginFolder(module), ".traefik.yml"), `
displayName: Test
type: middleware
import: `+module+`
summary: Hands every request on.
testData: {}
`)
}

// copySource vendors a tidwall module into a plugin.
func copySource(t *testing.T, plugin, module, source string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no source in %s: %v", source, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			write(t, filepath.Join(pluginFolder(plugin), "vendor", "github.com", "tidwall", module, filepath.Base(file)), string(content))
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
