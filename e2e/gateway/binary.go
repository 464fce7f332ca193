package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/modelroute/chatcompletion/e2e/program"
)

const (
	traefikModule = "github.com/traefik/traefik/v3"

	// versionVariable is the variable of Traefik that holds its version.
	versionVariable = traefikModule + "/pkg/version.Version"

	// compiledMark is what the version of a Traefik with the plugin compiled in ends in. To the rules
	// of semantic versioning, it is the same version.
	compiledMark = "+chatcompletion"
)

// The oldest Traefik accepted from PATH: 3.6 is the first with every feature that the examples use.
const oldestMajor, oldestMinor = 3, 6

var versionLine = regexp.MustCompile(`(?m)^Version:\s+v?((\d+)\.(\d+)\S*)`)

// Binary returns the path of the Traefik that the environment variable GATEWAY selects:
// "interpreted", the default, or "compiled". It writes to log when it builds.
func Binary(ctx context.Context, log io.Writer) (string, error) { return binaryFor(ctx, log, "") }

// binaryFor is Binary for the source of the plugin in another folder, unless that is empty.
func binaryFor(ctx context.Context, log io.Writer, plugin string) (string, error) {
	switch selected := os.Getenv("GATEWAY"); {
	case selected == "" || selected == "interpreted":
		return Interpreted(ctx, log)
	case selected != "compiled":
		return "", fmt.Errorf("GATEWAY=%s: must be interpreted or compiled", selected)
	case plugin == "":
		return Compiled(ctx, log)
	default:
		return CompiledFrom(ctx, log, plugin)
	}
}

// Interpreted returns the path of a regular Traefik: the one that the environment variable TRAEFIK
// names, else a recent enough one on PATH, else one built and cached in the user's cache folder. The
// environment variable TRAEFIK_VERSION selects the version of the last two; the default is any on
// PATH, and else the one that e2e/go.mod requires.
func Interpreted(ctx context.Context, log io.Writer) (string, error) {
	if named := os.Getenv("TRAEFIK"); named != "" {
		if _, err := Version(ctx, named); err != nil {
			return "", fmt.Errorf("TRAEFIK=%s: %w", named, err)
		}
		return filepath.Abs(named)
	}
	if found, err := exec.LookPath("traefik"); err == nil && suits(ctx, found) {
		return filepath.Abs(found)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	version, err := traefikVersion(root)
	if err != nil {
		return "", err
	}
	cache, err := program.Cache()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(cache, "traefik-"+version)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	folder, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(folder) }()
	b := build{version: version, plugin: root, folder: folder, output: filepath.Join(folder, "traefik")}
	if err := b.run(ctx, log); err != nil {
		return "", err
	}
	return binary, os.Rename(b.output, binary)
}

// Compiled returns the path of a Traefik with this repository's plugin compiled in: the one that the
// environment variable COMPILED_TRAEFIK names, else .bin/traefik, which it brings up to date.
// TRAEFIK_VERSION selects the version of Traefik; the default is the one that e2e/go.mod requires.
func Compiled(ctx context.Context, log io.Writer) (string, error) {
	if named := os.Getenv("COMPILED_TRAEFIK"); named != "" {
		return compiledAt(ctx, named)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	return CompiledFrom(ctx, log, root)
}

// CompiledFrom is Compiled for the source of the plugin in another folder, whose .bin/traefik it
// brings up to date, once in a process.
func CompiledFrom(ctx context.Context, log io.Writer, plugin string) (string, error) {
	plugin, err := filepath.Abs(plugin)
	if err != nil {
		return "", err
	}
	compiledMu.Lock()
	defer compiledMu.Unlock()
	output := filepath.Join(plugin, ".bin", "traefik")
	if compiled[output] {
		return output, nil
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	version, err := traefikVersion(root)
	if err != nil {
		return "", err
	}
	// The same folder each time, so that the go command finds nothing to do if nothing has changed.
	folder := filepath.Join(plugin, ".bin", "traefik-"+version)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	b := build{version: version, plugin: plugin, compiled: true, folder: folder, output: output}
	if err := b.run(ctx, log); err != nil {
		return "", err
	}
	compiled[output] = true
	return output, nil
}

// compiled are the executables that this process has brought up to date.
var (
	compiledMu sync.Mutex
	compiled   = map[string]bool{}
)

// compiledAt returns the path of the named Traefik if it has the plugin compiled in.
func compiledAt(ctx context.Context, named string) (string, error) {
	output, err := Version(ctx, named)
	if err == nil && !strings.Contains(output, compiledMark) {
		err = errors.New("its version does not say that it has the plugin compiled in")
	}
	if err != nil {
		return "", fmt.Errorf("COMPILED_TRAEFIK=%s: %w", named, err)
	}
	return filepath.Abs(named)
}

// traefikVersion returns the version of Traefik to build, such as v3.6.12.
func traefikVersion(root string) (string, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return "", errors.New("cannot build Traefik without the go command: install Go, or set TRAEFIK=/path/to/traefik")
	}
	if wanted := os.Getenv("TRAEFIK_VERSION"); wanted != "" {
		return "v" + strings.TrimPrefix(wanted, "v"), nil
	}
	own, err := parseModule(filepath.Join(root, "e2e", "go.mod"))
	if err != nil {
		return "", err
	}
	for _, required := range own.Require {
		if required.Mod.Path == traefikModule {
			return required.Mod.Version, nil
		}
	}
	return "", fmt.Errorf("e2e/go.mod does not require %s", traefikModule)
}

// build is a build of Traefik.
type build struct {
	version  string // such as v3.6.12
	plugin   string // folder of the plugin's source
	compiled bool   // the plugin is compiled in
	folder   string // for the module that is built
	output   string
}

func (b build) run(ctx context.Context, log io.Writer) error {
	root, err := Root()
	if err != nil {
		return err
	}
	source, err := download(ctx, os.TempDir(), b.version)
	if err != nil {
		return err
	}
	if err := writeModule(b.folder, root, b.plugin, b.compiled, source); err != nil {
		return err
	}
	name, stamp := "traefik "+b.version, strings.TrimPrefix(b.version, "v")
	if b.compiled {
		name += " with the plugin compiled in"
		stamp += compiledMark
	}
	return program.GoBuild{
		Name:    name,
		Folder:  b.folder,
		Package: ".",
		Output:  b.output,
		Flags:   []string{"-mod=mod"}, // go.mod is made for this build
		Set:     map[string]string{versionVariable: stamp},
	}.Run(ctx, log)
}

// Version returns the output of `traefik version`.
func Version(ctx context.Context, binary string) (string, error) {
	output, err := exec.CommandContext(ctx, binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("`%s version`: %w", filepath.Base(binary), err)
	}
	return string(output), nil
}

// suits reports whether a Traefik from PATH has the wanted version, or a recent enough one if none
// is wanted, and interprets the plugin.
func suits(ctx context.Context, binary string) bool {
	output, err := Version(ctx, binary)
	if err != nil || strings.Contains(output, compiledMark) {
		return false
	}
	match := versionLine.FindStringSubmatch(output)
	if match == nil {
		return false
	}
	if wanted := os.Getenv("TRAEFIK_VERSION"); wanted != "" {
		return match[1] == strings.TrimPrefix(wanted, "v")
	}
	major, _ := strconv.Atoi(match[2])
	minor, _ := strconv.Atoi(match[3])
	return major > oldestMajor || major == oldestMajor && minor >= oldestMinor
}
