// Command screenshots implements `make screenshots`: it runs examples/local in a real Traefik with the
// traffic of three teams, and writes pictures of its dashboard in a real Chromium into the folder docs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/browser"
	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/e2e/local"
	"github.com/modelroute/chatcompletion/e2e/program"
	"github.com/modelroute/chatcompletion/e2e/progress"
	"github.com/modelroute/chatcompletion/e2e/traffic"
)

const (
	// rate is the mean number of calls per second.
	rate = 4

	// seed selects the calls, always the same ones.
	seed = 5

	// streamInterval is the pause between two events of a stream.
	streamInterval = 150 * time.Millisecond

	// pageTimeout bounds what is done in the browser.
	pageTimeout = time.Minute

	// scrollScript scrolls the element with an id to the header of the page, which stays at the top.
	scrollScript = "scrollBy(0, document.getElementById(%q).getBoundingClientRect().top - document.querySelector('header').offsetHeight - 12)"

	// mostBytes is the largest size of a picture.
	mostBytes = 300_000
)

// picture is one of the pictures.
type picture struct {
	name string
	view browser.View
	from string // the id of the element below the header. Default: what the page begins with
}

var pictures = []picture{
	{name: "dashboard-light.png", view: browser.View{Width: 1280, Height: 1140, NoScrollbars: true}},
	{name: "dashboard-dark.png", view: browser.View{Width: 1280, Height: 1140, Dark: true, NoScrollbars: true}},
	{name: "dashboard-quotas-light.png", view: browser.View{Width: 1280, Height: 1190, NoScrollbars: true}, from: "quotas"},
	{name: "dashboard-quotas-dark.png", view: browser.View{Width: 1280, Height: 1190, Dark: true, NoScrollbars: true}, from: "quotas"},
	{name: "dashboard-narrow.png", view: browser.View{Width: 390, Height: 1140, NoScrollbars: true}},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stderr, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

// run makes the traffic, then the pictures.
func run(ctx context.Context, log io.Writer, arguments []string) (err error) {
	flags := flag.NewFlagSet("screenshots", flag.ContinueOnError)
	duration := flags.Duration("duration", 16*time.Minute, "how long the traffic lasts before the pictures are made; the charts show 15 minutes")
	fragment := flags.String("view", "range=15m&by=consumer", "the view, as in the fragment of the dashboard's URL")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	root, err := gateway.Root()
	if err != nil {
		return err
	}
	binary, err := backends.ChromiumBinary(ctx, log)
	if err != nil {
		return err
	}
	address, err := program.FreeAddress()
	if err != nil {
		return err
	}
	example, err := local.Start(ctx, log, local.Options{Address: address, Key: "sk-provider", Interval: streamInterval})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, example.Stop()) }()

	made := make(chan error, 1)
	during, end := context.WithCancel(ctx)
	go func() {
		_, err := traffic.Run(during, traffic.Options{Base: example.URL + local.CompanyPath, Rate: rate, Seed: seed, Realistic: true})
		made <- err
	}()
	defer func() {
		end()
		err = errors.Join(err, <-made)
	}()
	if err := wait(ctx, log, *duration); err != nil {
		return err
	}
	return photograph(ctx, log, binary, example.URL+local.DashboardPath+"#"+*fragment, filepath.Join(root, "docs"))
}

// wait waits, and says for how long.
func wait(ctx context.Context, log io.Writer, duration time.Duration) error {
	line := progress.Start(log, fmt.Sprintf("making traffic for %v", duration))
	defer line.End()
	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// photograph writes all pictures of a page into a folder.
func photograph(ctx context.Context, log io.Writer, binary, address, folder string) (err error) {
	b, err := browser.Start(ctx, binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	for _, one := range pictures {
		content, err := shoot(ctx, b, address, one)
		if err != nil {
			return fmt.Errorf("%s: %w", one.name, err)
		}
		if len(content) > mostBytes {
			return fmt.Errorf("%s: %d bytes, want at most %d", one.name, len(content), mostBytes)
		}
		if err := os.WriteFile(filepath.Join(folder, one.name), content, 0o644); err != nil {
			return err
		}
		if _, err := fmt.Fprintf(log, "docs/%s: %d bytes\n", one.name, len(content)); err != nil {
			return err
		}
	}
	return nil
}

// shoot returns a picture of the page, once it shows figures.
func shoot(ctx context.Context, b *browser.Browser, address string, one picture) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	page, err := b.Open(ctx, address, one.view)
	if err != nil {
		return nil, err
	}
	defer page.Close()
	if err := page.Await(ctx, "document.body.dataset.state === 'live' && document.body.dataset.now"); err != nil {
		return nil, fmt.Errorf("%w; the console has %q", err, page.Problems())
	}
	if one.from != "" {
		if err := page.Run(ctx, fmt.Sprintf(scrollScript, one.from)); err != nil {
			return nil, err
		}
	}
	var painted bool
	if err := page.Evaluate(ctx, "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))", &painted); err != nil {
		return nil, err
	}
	return page.Screenshot(ctx)
}
