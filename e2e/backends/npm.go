package backends

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/modelroute/chatcompletion/e2e/program"
	"github.com/modelroute/chatcompletion/e2e/progress"
)

// openAIVersion is the last version that runs in Node.js 20: from 7.0.0 on, the SDK needs a newer one.
const openAIVersion = "6.49.0"

const openAIPackage = `{
  "private": true,
  "dependencies": {"openai": "` + openAIVersion + `"}
}
`

// OpenAIPackage returns the folder of packages with OpenAI's SDK for JavaScript, in the cache folder. It installs the SDK
// first if it is missing, and writes so to log.
func OpenAIPackage(ctx context.Context, log io.Writer) (string, error) {
	return installPackage(ctx, log, "openai-"+openAIVersion, openAIPackage)
}

// Node returns the path of Node.js.
func Node() (string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return "", fmt.Errorf("no node on PATH: install Node.js 20 or newer (Debian's package is nodejs): %w", err)
	}
	return node, nil
}

// installPackage returns the folder of the packages that a package.json requires, in the named folder of the cache folder.
// If they are missing, npm installs them, without running their scripts.
func installPackage(ctx context.Context, log io.Writer, name, description string) (string, error) {
	if _, err := Node(); err != nil {
		return "", err
	}
	cache, err := program.Cache()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, name)
	packages := filepath.Join(folder, "node_modules")
	if _, err := os.Stat(folder); err == nil {
		return packages, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return "", fmt.Errorf("no npm on PATH to install %s: install it (Debian's package is npm): %w", name, err)
	}
	partial, err := os.MkdirTemp(cache, "install-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(partial) }()
	if err := os.WriteFile(filepath.Join(partial, "package.json"), []byte(description), 0o600); err != nil {
		return "", err
	}
	line := progress.Start(log, fmt.Sprintf("installing %s with npm, once", name))
	defer line.End()
	if err := runIn(ctx, partial, npm, "install", "--ignore-scripts", "--omit=dev", "--no-package-lock", "--no-audit", "--no-fund"); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	return packages, os.Rename(partial, folder)
}
