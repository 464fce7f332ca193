package backends

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/modelroute/chatcompletion/e2e/progress"
)

// chromiumNames are the names of Chromium and Chrome on PATH.
var chromiumNames = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// chromiumPackages are the packages of Debian that a page needs: a browser and a font.
var chromiumPackages = []string{"chromium", "fonts-liberation"}

// ChromiumBinary returns the path of a Chromium: the one that the environment variable CHROMIUM names,
// else one on PATH, else Debian's, which it installs if it may: as root, with apt-get. It writes to log
// when it installs.
func ChromiumBinary(ctx context.Context, log io.Writer) (string, error) {
	if named := os.Getenv("CHROMIUM"); named != "" {
		if _, err := exec.LookPath(named); err != nil {
			return "", fmt.Errorf("CHROMIUM=%s: %w", named, err)
		}
		return filepath.Abs(named)
	}
	if found, err := chromiumOnPath(); err == nil {
		return found, nil
	}
	if err := installChromium(ctx, log); err != nil {
		return "", fmt.Errorf("no Chromium on PATH for the tests of the dashboard: install it (Debian's package is chromium), "+
			"or set CHROMIUM=/path/to/chromium; it was not installed automatically: %w", err)
	}
	return chromiumOnPath()
}

func chromiumOnPath() (string, error) {
	for _, name := range chromiumNames {
		if found, err := exec.LookPath(name); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("none of %q is on PATH", chromiumNames)
}

// installChromium installs Debian's package.
func installChromium(ctx context.Context, log io.Writer) error {
	aptGet, err := exec.LookPath("apt-get")
	switch {
	case err != nil:
		return err
	case os.Geteuid() != 0:
		return errors.New("this needs root")
	}
	line := progress.Start(log, "installing Debian's chromium, once")
	defer line.End()
	install := append([]string{"install", "--yes", "--no-install-recommends"}, chromiumPackages...)
	if runIn(ctx, "/", aptGet, install...) == nil {
		return nil
	}
	if err := runIn(ctx, "/", aptGet, "update"); err != nil { // the lists of packages may be old, or missing
		return err
	}
	return runIn(ctx, "/", aptGet, install...)
}
