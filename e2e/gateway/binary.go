package gateway

import (
	"bytes"
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
)

const traefikModule = "github.com/traefik/traefik/v3"

// The oldest Traefik that is taken from PATH: 3.6 is the first with all that the examples show.
const oldestMajor, oldestMinor = 3, 6

var versionLine = regexp.MustCompile(`(?m)^Version:\s+v?(\d+)\.(\d+)`)

// Binary returns the path of a Traefik executable: the one that the environment variable TRAEFIK
// names, else one on PATH that is new enough, else one built from the nested module and kept in the
// user's cache folder. It says on log when it builds.
func Binary(ctx context.Context, log io.Writer) (string, error) {
	if named := os.Getenv("TRAEFIK"); named != "" {
		if _, err := Version(ctx, named); err != nil {
			return "", fmt.Errorf("TRAEFIK=%s: %w", named, err)
		}
		return filepath.Abs(named)
	}
	if found, err := exec.LookPath("traefik"); err == nil && newEnough(ctx, found) {
		return filepath.Abs(found)
	}
	return build(ctx, log)
}

// Version is what `traefik version` prints.
func Version(ctx context.Context, binary string) (string, error) {
	output, err := exec.CommandContext(ctx, binary, "version").Output()
	if err != nil {
		return "", fmt.Errorf("`%s version`: %w", filepath.Base(binary), err)
	}
	return string(output), nil
}

func newEnough(ctx context.Context, binary string) bool {
	output, err := Version(ctx, binary)
	if err != nil {
		return false
	}
	match := versionLine.FindStringSubmatch(output)
	if match == nil {
		return false
	}
	major, _ := strconv.Atoi(match[1])
	minor, _ := strconv.Atoi(match[2])
	return major > oldestMajor || major == oldestMajor && minor >= oldestMinor
}

// build returns the executable of the version that the nested module requires, from the cache if it
// was built before.
func build(ctx context.Context, log io.Writer) (string, error) {
	if _, err := exec.LookPath("go"); err != nil {
		return "", errors.New("there is no Traefik 3.6 or newer and no go command to build one: " +
			"install Go, or name a Traefik by TRAEFIK=/path/to/traefik")
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	module := filepath.Join(root, "e2e")
	version, err := runGo(ctx, module, "list", "-m", "-f", "{{.Version}}", traefikModule)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "chatcompletion")
	binary := filepath.Join(cache, "traefik-"+version)
	if _, err := os.Stat(binary); err == nil {
		return binary, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}

	_, _ = fmt.Fprintf(log, "building Traefik %s; this takes some minutes, once\n", version)
	partial, err := os.MkdirTemp(cache, "build-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	built := filepath.Join(partial, "traefik")
	stamp := "-X " + traefikModule + "/pkg/version.Version=" + strings.TrimPrefix(version, "v")
	if _, err := runGo(ctx, module, "build", "-ldflags", stamp, "-o", built, traefikModule+"/cmd/traefik"); err != nil {
		return "", fmt.Errorf("build Traefik %s: %w", version, err)
	}
	return binary, os.Rename(built, binary)
}

// runGo runs the go command in the module and returns its output.
func runGo(ctx context.Context, module string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", arguments...)
	cmd.Dir = module
	var problem bytes.Buffer
	cmd.Stderr = &problem
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w: %s", arguments[0], err, strings.TrimSpace(problem.String()))
	}
	return strings.TrimSpace(string(output)), nil
}
