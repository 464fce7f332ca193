package backends

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/e2e/program"
	"github.com/modelroute/chatcompletion/e2e/progress"
)

// Files of npm.
const (
	description = "package.json"
	versions    = "package-lock.json"
)

// ClientPackages returns the folder of packages with the clients that the scripts in the folder npm use, in the cache
// folder: those of OpenAI, Anthropic and Google, the AI SDK and LangChain, and axe-core, in versions that run in Node.js 20. It installs
// them first if they are missing, and writes so to log.
func ClientPackages(ctx context.Context, log io.Writer) (string, error) {
	root, err := gateway.Root()
	if err != nil {
		return "", err
	}
	files := map[string][]byte{}
	sum := sha256.New()
	for _, name := range []string{description, versions} {
		if files[name], err = os.ReadFile(filepath.Join(root, "e2e", "npm", name)); err != nil {
			return "", err
		}
		_, _ = sum.Write(files[name])
	}
	return installPackages(ctx, log, "clients-"+hex.EncodeToString(sum.Sum(nil)[:4]), files)
}

// Node returns the path of Node.js.
func Node() (string, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return "", fmt.Errorf("no node on PATH: install Node.js 20 or newer (Debian's package is nodejs): %w", err)
	}
	return node, nil
}

// installPackages returns the folder of the packages that a package.json among the files requires, in the named folder of
// the cache folder. If they are missing, npm installs them, without running their scripts, in the versions of a
// package-lock.json if there is one.
func installPackages(ctx context.Context, log io.Writer, name string, files map[string][]byte) (string, error) {
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
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(partial, file), content, 0o600); err != nil {
			return "", err
		}
	}
	arguments := []string{"install", "--no-package-lock"}
	if files[versions] != nil {
		arguments = []string{"ci"}
	}
	line := progress.Start(log, fmt.Sprintf("installing %s with npm, once", name))
	defer line.End()
	if err := runIn(ctx, partial, npm, append(arguments, "--ignore-scripts", "--omit=dev", "--no-audit", "--no-fund")...); err != nil {
		return "", fmt.Errorf("install %s: %w", name, err)
	}
	return packages, os.Rename(partial, folder)
}
