package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// profileSeconds is long enough for some hundred samples of the plugin.
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
			if err := b.load(loading, c, plugin, concurrency); err != nil {
				loaded <- err
				return
			}
		}
	}()
	path := filepath.Join(folder, strings.ReplaceAll(c.name, " ", "-")+".pprof")
	err := b.save(ctx, path)
	failedBefore := len(loaded) > 0
	stop()
	if problem := <-loaded; failedBefore {
		return problem
	}
	return err
}

func (b *bench) save(ctx context.Context, path string) error {
	address := fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", b.gateway.API, profileSeconds)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", address, response.Status)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}
