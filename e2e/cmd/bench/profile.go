package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// profileSeconds is long enough for a few hundred samples of the plugin.
const profileSeconds = 5

// profile saves a CPU profile of the gateway while it serves the case through the plugin.
func (b *bench) profile(ctx context.Context, c benchCase, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	go func() {
		for {
			if err := b.load(loading, c, b.plugin, concurrency); err != nil {
				loaded <- err
				return
			}
		}
	}()
	content, err := b.plugin.gateway.Profile(ctx, profileSeconds)
	failedBefore := len(loaded) > 0
	stop()
	if problem := <-loaded; failedBefore {
		return problem
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, strings.ReplaceAll(c.name, " ", "-")+".pprof"), content, 0o644)
}
