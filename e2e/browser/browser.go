// Package browser drives a real Chromium: it opens pages, and collects what they request, and what
// they write to the console.
package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/chromedp/chromedp/remote"

	"github.com/modelroute/chatcompletion/e2e/program"
)

const (
	// startTimeout bounds the wait for the browser.
	startTimeout = 30 * time.Second

	// pollInterval is the pause between two checks of a condition.
	pollInterval = 20 * time.Millisecond

	// portFile is the file in which Chromium says where it listens.
	portFile = "DevToolsActivePort"
)

// flags keep Chromium from everything but the pages that it is told to open. Its sandbox is off,
// because it needs a user other than root and a kernel that allows it; the pages are this
// repository's own.
var flags = []string{
	"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-default-browser-check",
	"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic", "--disable-extensions",
	"--disable-breakpad", "--disable-crash-reporter", "--disable-domain-reliability", "--metrics-recording-only", "--mute-audio",
	"--password-store=basic", "--remote-debugging-port=0", "--remote-allow-origins=*",
}

// Browser is a Chromium process with a profile of its own.
type Browser struct {
	process   *program.Process
	dir       string // removed by Close
	allocator context.Context
	release   context.CancelFunc
}

// Start starts the binary. The caller must call Close.
func Start(ctx context.Context, binary string) (*Browser, error) {
	dir, err := os.MkdirTemp("", "chromium-")
	if err != nil {
		return nil, err
	}
	b := &Browser{dir: dir, release: func() {}}
	if err := b.start(ctx, binary); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Browser) start(ctx context.Context, binary string) error {
	logPath := filepath.Join(b.dir, "log")
	log, err := os.Create(logPath)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	profile := filepath.Join(b.dir, "profile")
	cmd := exec.Command(binary, append(flags, "--user-data-dir="+profile, "about:blank")...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "HOME="+b.dir, "TMPDIR="+b.dir, "XDG_CONFIG_HOME="+b.dir, "XDG_CACHE_HOME="+b.dir)
	if b.process, err = program.Start(cmd); err != nil {
		return fmt.Errorf("start chromium: %w", err)
	}
	address, err := b.address(ctx, filepath.Join(profile, portFile))
	if err != nil {
		said, _ := os.ReadFile(logPath)
		return fmt.Errorf("chromium: %w: %s", err, said)
	}
	b.allocator, b.release = remote.NewAllocator(context.Background(), address, remote.NoModifyURL)
	return nil
}

// address waits until the browser listens, and returns where.
func (b *Browser) address(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		content, err := os.ReadFile(path)
		if port, target, complete := strings.Cut(string(content), "\n"); err == nil && complete && target != "" {
			return "ws://127.0.0.1:" + port + strings.TrimSpace(target), nil
		}
		select {
		case <-ticker.C:
		case <-b.process.Done():
			return "", fmt.Errorf("it has ended")
		case <-ctx.Done():
			return "", fmt.Errorf("it does not listen: %w", ctx.Err())
		}
	}
}

// Close ends the browser, and removes its profile.
func (b *Browser) Close() error {
	b.release()
	if b.process != nil {
		b.process.Stop()
	}
	var err error
	for range 50 { // its processes for pages may write a little longer
		if err = os.RemoveAll(b.dir); err == nil {
			return nil
		}
		time.Sleep(pollInterval)
	}
	return err
}
