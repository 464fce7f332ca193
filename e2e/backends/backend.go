package backends

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelroute/chatcompletion/e2e/program"
)

const (
	// startTimeout bounds the wait for a program to serve.
	startTimeout = 30 * time.Second

	// pollInterval is the pause between two checks of a condition.
	pollInterval = 10 * time.Millisecond

	// startAttempts bounds how often ports are tried, in case another process takes one first.
	startAttempts = 5
)

// backend is a program with its own folder that can be stopped and restarted.
type backend struct {
	binary    string
	arguments []string

	// environment is added to the inherited environment, as NAME=value.
	environment []string

	dir     string // removed by Close
	ready   func(context.Context) bool
	process *program.Process
}

// Start runs the program and returns once it serves.
func (b *backend) Start(ctx context.Context) error {
	log, err := os.OpenFile(b.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(b.binary, b.arguments...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = b.dir, log, log
	cmd.Env = append(os.Environ(), b.environment...)
	if b.process, err = program.Start(cmd); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for !b.ready(ctx) {
		select {
		case <-ticker.C:
		case <-b.process.Done():
			return fmt.Errorf("%s exited during startup: %s", filepath.Base(b.binary), b.log())
		case <-ctx.Done():
			b.Stop()
			return fmt.Errorf("%s does not serve: %w: %s", filepath.Base(b.binary), ctx.Err(), b.log())
		}
	}
	return nil
}

// Stop ends the program and keeps its files for another Start.
func (b *backend) Stop() {
	if b.process != nil {
		b.process.Stop()
	}
}

// Close ends the program and removes its files.
func (b *backend) Close() error {
	b.Stop()
	return os.RemoveAll(b.dir)
}

func (b *backend) logPath() string { return filepath.Join(b.dir, "log") }

func (b *backend) log() string {
	content, err := os.ReadFile(b.logPath())
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(content))
}

// firstStart calls configured, which chooses ports, until the program can listen on them.
func firstStart[B interface {
	Start(context.Context) error
	Close() error
}](ctx context.Context, configured func() (B, error)) (B, error) {
	for attempt := 1; ; attempt++ {
		b, err := configured()
		if err != nil {
			return b, err
		}
		err = b.Start(ctx)
		if err == nil {
			return b, nil
		}
		_ = b.Close()
		if attempt == startAttempts || !strings.Contains(err.Error(), "address already in use") {
			return b, err
		}
	}
}

// serves reports whether a GET of the address gets a response, with the given status unless it is
// 0.
func serves(ctx context.Context, address string, status int) bool {
	return servesTo(ctx, http.DefaultClient, address, status)
}

func servesTo(ctx context.Context, client *http.Client, address string, status int) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return status == 0 || response.StatusCode == status
}
