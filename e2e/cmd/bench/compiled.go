package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// compiledBinary builds Traefik with the plugin of the folder compiled in. remove deletes the
// binary unless the plugin is this repository's.
func compiledBinary(ctx context.Context, plugin string, log io.Writer) (binary string, remove func(), err error) {
	root, err := gateway.Root()
	if err != nil {
		return "", nil, err
	}
	folder := filepath.Join(root, "e2e")
	_, _ = fmt.Fprintln(log, "building Traefik with the plugin compiled in; the first build takes a few minutes")
	if plugin == "" {
		binary = filepath.Join(root, ".bin", "compiled")
		return binary, func() {}, runGo(ctx, folder, "build", "-o", binary, "./cmd/compiled")
	}
	if plugin, err = filepath.Abs(plugin); err != nil {
		return "", nil, err
	}
	// The same module, with another source of the plugin.
	temporary, err := os.MkdirTemp("", "chatcompletion-compiled-")
	if err != nil {
		return "", nil, err
	}
	remove = func() { _ = os.RemoveAll(temporary) }
	module := filepath.Join(temporary, "go.mod")
	binary = filepath.Join(temporary, "compiled")
	for _, name := range []string{"go.mod", "go.sum"} {
		content, err := os.ReadFile(filepath.Join(folder, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(temporary, name), content, 0o600)
		}
		if err != nil {
			remove()
			return "", nil, err
		}
	}
	err = runGo(ctx, folder, "mod", "edit", "-replace", gateway.Module+"="+plugin, module)
	if err == nil {
		err = runGo(ctx, folder, "build", "-modfile", module, "-o", binary, "./cmd/compiled")
	}
	if err != nil {
		remove()
	}
	return binary, remove, err
}

func runGo(ctx context.Context, folder string, arguments ...string) error {
	command := exec.CommandContext(ctx, "go", arguments...)
	command.Dir = folder
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w: %s", arguments[0], err, strings.TrimSpace(string(output)))
	}
	return nil
}

// startCompiled starts Traefik with the plugin compiled in, and returns a function that stops it.
func (b *bench) startCompiled(ctx context.Context) (stop func() error, err error) {
	binary, remove, err := compiledBinary(ctx, b.options.plugin, os.Stderr)
	if err != nil {
		return nil, err
	}
	defer remove() // a running process keeps its file
	traefik, err := b.startTraefik(ctx, binary)
	if err != nil {
		return nil, err
	}
	b.compiledBare, b.compiledPlugin = targetsOf(traefik, "bare Traefik", "with the plugin compiled")
	if err := b.verify(ctx, b.compiledPlugin); err != nil {
		return nil, errors.Join(err, traefik.Stop())
	}
	return traefik.Stop, nil
}
