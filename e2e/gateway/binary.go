package gateway

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/modelroute/chatcompletion/e2e/program"
)

const traefikModule = "github.com/traefik/traefik/v3"

// The oldest Traefik accepted from PATH: 3.6 is the first with every feature that the examples use.
const oldestMajor, oldestMinor = 3, 6

var versionLine = regexp.MustCompile(`(?m)^Version:\s+v?(\d+)\.(\d+)`)

// Binary returns the path of a Traefik executable: the one that the environment variable TRAEFIK
// names, else a recent enough one on PATH, else one built from the nested module and cached in the
// user's cache folder. It writes to log when it builds.
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
	root, err := Root()
	if err != nil {
		return "", err
	}
	return program.Program{
		Name:     "traefik",
		Variable: "TRAEFIK",
		Folder:   filepath.Join(root, "e2e"),
		Module:   traefikModule,
		Package:  traefikModule + "/cmd/traefik",
		Stamp:    traefikModule + "/pkg/version.Version",
	}.Build(ctx, log)
}

// Version returns the output of `traefik version`.
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
