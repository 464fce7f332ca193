// Package program builds the programs that the end-to-end tests and the commands need, such as
// Traefik, from nested modules, and runs them. Builds are cached in the user's cache folder.
package program

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Program is a command that can be built from a nested module of this repository.
type Program struct {
	// Name identifies the program in messages and in the name of the cached file.
	Name string

	// Variable is the environment variable that can name an existing executable instead.
	Variable string

	// Folder is the nested module.
	Folder string

	// Module is the required module whose version is the program's version.
	Module string

	// Package is the package to build, as the go command names it in Folder.
	Package string

	// Flags are flags of `go build`.
	Flags []string

	// Stamp is a variable of the program that is set to the version. Default: none.
	Stamp string

	// Sources are files in Folder that the program depends on in addition to Module. Default: none.
	Sources []string
}

// Build returns the path of the program's executable in the user's cache folder, and builds it
// first if it is missing. The file name contains the version. Build writes to log when it builds.
func (p Program) Build(ctx context.Context, log io.Writer) (string, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return "", fmt.Errorf("cannot build %s without the go command: install Go, or set %s=/path/to/%s", p.Name, p.Variable, p.Name)
	}
	version, err := p.version(ctx)
	if err != nil {
		return "", err
	}
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, p.Name+"-"+version)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}

	partial, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	build := GoBuild{
		Name:    p.Name + " " + version,
		Folder:  p.Folder,
		Package: p.Package,
		Output:  filepath.Join(partial, p.Name),
		Flags:   p.Flags,
	}
	if p.Stamp != "" {
		build.Set = map[string]string{p.Stamp: version}
	}
	if err := build.Run(ctx, log); err != nil {
		return "", err
	}
	return binary, os.Rename(build.Output, binary)
}

// Cache returns the folder for built programs, in the user's cache folder.
func Cache() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "chatcompletion")
	return cache, os.MkdirAll(cache, 0o755)
}

// Binary returns the executable that the environment variable names, else the built one.
func (p Program) Binary(ctx context.Context, log io.Writer) (string, error) {
	named := os.Getenv(p.Variable)
	if named == "" {
		return p.Build(ctx, log)
	}
	if _, err := exec.LookPath(named); err != nil {
		return "", fmt.Errorf("%s=%s: %w", p.Variable, named, err)
	}
	return filepath.Abs(named)
}

// version returns the version of Module, and a hash of Sources if there are any.
func (p Program) version(ctx context.Context) (string, error) {
	version, err := p.run(ctx, "list", "-m", "-f", "{{.Version}}", p.Module)
	if err != nil || len(p.Sources) == 0 {
		return version, err
	}
	sum := sha256.New()
	for _, source := range p.Sources {
		content, err := os.ReadFile(filepath.Join(p.Folder, source))
		if err != nil {
			return "", err
		}
		_, _ = sum.Write(content)
	}
	return fmt.Sprintf("%s-%x", version, sum.Sum(nil)[:4]), nil
}

// run runs the go command in the module and returns its output.
func (p Program) run(ctx context.Context, arguments ...string) (string, error) {
	output, err := runGo(ctx, p.Folder, func(string) {}, arguments...)
	return strings.TrimSpace(string(output)), err
}
