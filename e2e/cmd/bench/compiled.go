package main

import (
	"context"
	"errors"
	"os"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// startCompiled starts Traefik with the plugin compiled in, and returns a function that stops it.
func (b *bench) startCompiled(ctx context.Context) (stop func() error, err error) {
	binary, err := compiledBinary(ctx, b.options.plugin)
	if err != nil {
		return nil, err
	}
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

// compiledBinary returns the path of Traefik with the plugin of the folder compiled in.
func compiledBinary(ctx context.Context, plugin string) (string, error) {
	if plugin == "" {
		return gateway.Compiled(ctx, os.Stderr)
	}
	return gateway.CompiledFrom(ctx, os.Stderr, plugin)
}
