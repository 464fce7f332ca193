package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// profileSeconds is long enough for a few hundred samples of the plugin.
const profileSeconds = 5

// profile saves a CPU profile of the target while it serves the case.
func (b *bench) profile(ctx context.Context, c benchCase, to target, folder, name string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	// More requests than Traefik can serve meanwhile, on the processors that it shares with its clients.
	count, err := b.calibrate(ctx, c, to, profileSeconds*time.Second)
	if err != nil {
		return err
	}
	requests, err := b.prepare(ctx, c, to, count)
	if err != nil {
		return err
	}
	loading, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	go func() { loaded <- b.load(loading, c, to, requests) }()
	content, err := to.gateway.Profile(ctx, profileSeconds)
	endedBefore := len(loaded) > 0
	stop()
	if problem := <-loaded; endedBefore && problem != nil {
		return problem
	}
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, strings.ReplaceAll(name, " ", "-")+".pprof"), content, 0o644)
}
