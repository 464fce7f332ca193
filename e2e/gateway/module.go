package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
)

// sourceFile is the file that compiles the plugin into Traefik, in the folder of the example. Its
// name makes the go command ignore it there.
const sourceFile = "examples/compiled/_chatcompletion.go"

// localModules are the modules that Traefik replaces with a folder of its own repository. Module
// archives lack such a folder. The open-source Traefik uses only that these types exist.
var localModules = map[string]string{
	"github.com/traefik/traefik/dynamic/ext": "package ext\n\ntype HTTP struct{}\n\ntype Router struct{}\n",
}

// traefikSource is a version of Traefik's module in the module cache.
type traefikSource struct {
	Version  string
	Dir      string
	Sum      string // of the module, as in go.sum
	GoModSum string
}

// download returns Traefik's module, and downloads it if it is missing. folder must be outside a
// module, so that no go.mod changes.
func download(ctx context.Context, folder, version string) (traefikSource, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", traefikModule+"@"+version)
	cmd.Dir = folder
	output, err := cmd.Output()
	var downloaded struct {
		traefikSource
		Error string
	}
	if json.Unmarshal(output, &downloaded) == nil && downloaded.Error != "" {
		return traefikSource{}, fmt.Errorf("traefik %s: %s", version, downloaded.Error)
	}
	if err != nil {
		return traefikSource{}, fmt.Errorf("traefik %s: go mod download: %w", version, err)
	}
	return downloaded.traefikSource, nil
}

// writeModule makes the folder a module whose main package is Traefik's, with Traefik's own
// requirements and replacements, which a go.mod that merely requires Traefik would not have. It also
// requires the plugin of another folder, and compiles it in if that is wanted.
func writeModule(folder, root, plugin string, compiled bool, source traefikSource) error {
	requirements, err := parseModule(filepath.Join(source.Dir, "go.mod"))
	if err != nil {
		return err
	}
	own, err := parseModule(filepath.Join(root, "e2e", "go.mod"))
	if err != nil {
		return err
	}
	if err := adapt(requirements, own, source.Version, plugin); err != nil {
		return err
	}
	if err := writeLocalModules(folder, requirements); err != nil {
		return err
	}
	content, err := requirements.Format()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "go.mod"), content, 0o644); err != nil {
		return err
	}
	sums := fmt.Sprintf("%[1]s %[2]s %[3]s\n%[1]s %[2]s/go.mod %[4]s\n", traefikModule, source.Version, source.Sum, source.GoModSum)
	for _, path := range []string{filepath.Join(source.Dir, "go.sum"), filepath.Join(root, "e2e", "go.sum"), filepath.Join(root, "go.sum")} {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sums += string(content)
	}
	if err := os.WriteFile(filepath.Join(folder, "go.sum"), []byte(sums), 0o644); err != nil {
		return err
	}
	if err := copyMain(folder, source); err != nil || !compiled {
		return err
	}
	return copyFile(filepath.Join(folder, "chatcompletion.go"), filepath.Join(root, filepath.FromSlash(sourceFile)))
}

func parseModule(path string) (*modfile.File, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return modfile.Parse(path, content, nil)
}

// adapt changes Traefik's own go.mod into one that requires Traefik and the plugin. The replacements
// in e2e/go.mod take precedence, since some proxies lack some versions of Traefik's forks.
func adapt(requirements, own *modfile.File, version, plugin string) error {
	if err := requirements.AddModuleStmt("traefik"); err != nil {
		return err
	}
	if err := requirements.AddRequire(traefikModule, version); err != nil {
		return err
	}
	for _, replaced := range own.Replace {
		if replaced.Old.Path == Module {
			continue
		}
		if err := requirements.AddReplace(replaced.Old.Path, "", replaced.New.Path, replaced.New.Version); err != nil {
			return err
		}
	}
	// Also where it is not compiled in, so that both builds compile the same versions of all packages.
	if err := requirements.AddRequire(Module, "v0.0.0"); err != nil {
		return err
	}
	return requirements.AddReplace(Module, "", plugin, "")
}

// writeLocalModules writes the modules that Traefik replaces with a folder.
func writeLocalModules(folder string, requirements *modfile.File) error {
	for _, replaced := range requirements.Replace {
		path, code := replaced.Old.Path, localModules[replaced.Old.Path]
		if replaced.New.Version != "" || path == Module {
			continue
		}
		if code == "" {
			return fmt.Errorf("traefik needs the local module %s, which its module archive lacks", path)
		}
		local := filepath.Join(folder, filepath.FromSlash(replaced.New.Path))
		if err := os.MkdirAll(local, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(local, "go.mod"), []byte("module "+path+"\n\ngo 1.25\n"), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(local, "local.go"), []byte(code), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// copyMain copies Traefik's main package.
func copyMain(folder string, source traefikSource) error {
	files, err := filepath.Glob(filepath.Join(source.Dir, "cmd", "traefik", "*.go"))
	if err != nil {
		return err
	}
	var problems []error
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") {
			problems = append(problems, copyFile(filepath.Join(folder, filepath.Base(file)), file))
		}
	}
	return errors.Join(problems...)
}
