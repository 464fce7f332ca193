package e2e_test

import (
	"context"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/traefik/traefik/v3/pkg/plugins"
	"golang.org/x/mod/modfile"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestCatalogAcceptsThePlugin checks, line by line, what Traefik's plugin catalog asks of a repository.
func TestCatalogAcceptsThePlugin(t *testing.T) {
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range os.Environ() {
		name, _, _ = strings.Cut(name, "=")
		if regexp.MustCompile(`(?i)token|password|url|host|port|key|secret`).MatchString(name) {
			value := os.Getenv(name)
			if err := os.Unsetenv(name); err != nil { // the catalog unsets such variables
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = os.Setenv(name, value) })
		}
	}
	builder := loadThisPlugin(t)
	manifest, err := plugins.ReadManifest("plugins-local", gateway.Module)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	module, err := modfile.Parse("go.mod", content, nil)
	if err != nil {
		t.Fatal(err)
	}

	if manifest.Type != "middleware" {
		t.Errorf("type is %q, want middleware", manifest.Type)
	}
	if manifest.DisplayName == "" || manifest.Summary == "" || manifest.Import == "" || len(manifest.TestData) == 0 {
		t.Errorf("displayName %q, summary %q, import %q, testData %v: none may be empty",
			manifest.DisplayName, manifest.Summary, manifest.Import, manifest.TestData)
	}
	if manifest.UseUnsafe {
		t.Error("useUnsafe is set, want a plugin that needs no consent")
	}
	if !strings.HasPrefix(manifest.Import, module.Module.Mod.Path) {
		t.Errorf("import is %q, want it to begin with the module's path %q", manifest.Import, module.Module.Mod.Path)
	}
	for _, required := range module.Require {
		if required.Mod.Path == "github.com/traefik/yaegi" || strings.HasPrefix(required.Mod.Path, "github.com/traefik/traefik") {
			t.Errorf("go.mod requires %s, which the catalog refuses", required.Mod.Path)
		}
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil || len(readme) == 0 {
		t.Errorf("README.md has %d bytes: %v", len(readme), err)
	}
	sources, err := filepath.Glob(filepath.Join("plugins-local", "src", gateway.Module, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	want := "package " + strings.ReplaceAll(path.Base(manifest.Import), "-", "_") + "\n"
	for _, source := range sources {
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains("\n"+string(content), "\n"+want) {
			t.Errorf("%s is not of %q", filepath.Base(source), want)
		}
	}

	// New with testData neither fails nor panics, and is quick.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	construct, err := builder.Build("plugin", manifest.TestData, "test")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := construct(ctx, http.NotFoundHandler()); err != nil || ctx.Err() != nil {
		t.Errorf("New with testData: %v, %v", err, ctx.Err())
	}
}
