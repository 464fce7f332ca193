// Package program builds the programs that the end-to-end tests and the commands need, such as
// Traefik, from nested modules, and runs them. Builds are cached in the user's cache folder.
package program

import (
	"bytes"
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

	// Stamp is a variable of the program that is set to the version, without its v unless
	// StampWithV is set. Default: none.
	Stamp string

	// StampWithV keeps the v in the stamp. Default: off.
	StampWithV bool

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
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "chatcompletion")
	binary := filepath.Join(cache, p.Name+"-"+version)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}

	_, _ = fmt.Fprintf(log, "building %s %s; the first build takes a few minutes\n", p.Name, version)
	partial, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	built := filepath.Join(partial, p.Name)
	arguments := append([]string{"build", "-o", built}, p.Flags...)
	if p.Stamp != "" {
		stamp := version
		if !p.StampWithV {
			stamp = strings.TrimPrefix(stamp, "v")
		}
		arguments = append(arguments, "-ldflags", "-X "+p.Stamp+"="+stamp)
	}
	if _, err := p.run(ctx, append(arguments, p.Package)...); err != nil {
		return "", fmt.Errorf("build %s %s: %w", p.Name, version, err)
	}
	return binary, os.Rename(built, binary)
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
	cmd := exec.CommandContext(ctx, "go", arguments...)
	cmd.Dir = p.Folder
	var problem bytes.Buffer
	cmd.Stderr = &problem
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", arguments[0], err, strings.TrimSpace(problem.String()))
	}
	return strings.TrimSpace(string(output)), nil
}
