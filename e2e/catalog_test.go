package e2e_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/traefik/traefik/v3/pkg/plugins"
	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestCatalogAcceptsThePlugin checks each requirement of Traefik's plugin catalog on a repository.
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
		t.Errorf("displayName %q, summary %q, import %q, testData %v: all must be set",
			manifest.DisplayName, manifest.Summary, manifest.Import, manifest.TestData)
	}
	if manifest.UseUnsafe {
		t.Error("useUnsafe is set, want a plugin that works without it")
	}
	if !strings.HasPrefix(manifest.Import, module.Module.Mod.Path) {
		t.Errorf("import is %q, want it to begin with the module's path %q", manifest.Import, module.Module.Mod.Path)
	}
	for _, required := range module.Require {
		if required.Mod.Path == "github.com/traefik/yaegi" || strings.HasPrefix(required.Mod.Path, "github.com/traefik/traefik") {
			t.Errorf("go.mod requires %s, which the catalog rejects", required.Mod.Path)
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
			t.Errorf("%s is not in %q", filepath.Base(source), want)
		}
	}

	// New with testData succeeds quickly and without a panic.
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

// trackedFile is a file of the repository, for a module archive.
type trackedFile struct{ root, path string }

func (f trackedFile) Path() string { return f.path }

func (f trackedFile) Lstat() (os.FileInfo, error) { return os.Lstat(filepath.Join(f.root, f.path)) }

func (f trackedFile) Open() (io.ReadCloser, error) { return os.Open(filepath.Join(f.root, f.path)) }

// TestModuleArchiveLoadsInTraefik builds the archive that the Go module proxy would build of a
// version, without vendor and the nested modules, and loads the plugin from it.
func TestModuleArchiveLoadsInTraefik(t *testing.T) {
	const mayHave = 4 << 20 // bytes; the cases take up most of them
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	listed, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	var files []zip.File
	for _, name := range strings.Split(strings.TrimRight(string(listed), "\x00"), "\x00") {
		if _, err := os.Stat(filepath.Join(root, name)); err == nil { // skips files that are deleted but not committed
			files = append(files, trackedFile{root, name})
		}
	}
	checked, err := zip.CheckFiles(files)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range checked.Valid {
		if (strings.HasPrefix(name, "vendor/") && name != "vendor/modules.txt") || strings.HasPrefix(name, "e2e/") {
			t.Errorf("the archive contains %s", name)
		}
	}

	t.Chdir(t.TempDir())
	archive, err := os.Create("module.zip")
	if err != nil {
		t.Fatal(err)
	}
	version := module.Version{Path: gateway.Module, Version: "v0.0.1"}
	if err := errors.Join(zip.Create(archive, version, files), archive.Close()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat("module.zip")
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("%d files, %d bytes", len(checked.Valid), info.Size()); info.Size() > mayHave {
		t.Errorf("the archive has %d bytes, want at most %d", info.Size(), mayHave)
	}
	if err := zip.Unzip(pluginFolder(gateway.Module), version, "module.zip"); err != nil {
		t.Fatal(err)
	}
	builder, err := load(gateway.Module)
	if err != nil {
		t.Fatal(err)
	}
	construct(t, t.Context(), builder, map[string]any{"model": "gpt-4o"}, http.NotFoundHandler())
}
