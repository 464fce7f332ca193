// Package local runs a real Traefik with this repository's plugin and the configuration in
// examples/local, whose provider is the demo provider unless another one is given.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"syscall"
	"time"

	"github.com/modelroute/chatcompletion/e2e/demo"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// Paths of the example.
const (
	// DashboardPath is that of the dashboard.
	DashboardPath = "/ai/dashboard"

	// CompanyPath is what the paths of the three teams begin with.
	CompanyPath = "/company"
)

// Options configure the example.
type Options struct {
	// Address is the host and port of the entry point.
	Address string

	// Upstream is the URL of the provider. Default: a demo provider.
	Upstream string

	// Key is the key of the provider.
	Key string

	// Interval is the pause between two events of the demo provider's streams.
	Interval time.Duration

	// ProviderLog receives what reaches the demo provider. Default: nothing.
	ProviderLog io.Writer
}

// Example is a running example.
type Example struct {
	*gateway.Process

	// URL is the base URL of the entry point.
	URL string

	// Upstream is the URL of the provider.
	Upstream string

	provider *http.Server // nil: not the demo provider
}

// Start runs the example and returns once a chat completion succeeds. It writes to log when it builds
// Traefik. The caller must call Stop.
func Start(ctx context.Context, log io.Writer, options Options) (*Example, error) {
	root, err := gateway.Root()
	if err != nil {
		return nil, err
	}
	if err := free(options.Address); err != nil {
		return nil, err
	}
	static, err := exampleConfiguration(filepath.Join(root, "examples", "local"), options.Address)
	if err != nil {
		return nil, err
	}
	binary, err := gateway.Binary(ctx, log)
	if err != nil {
		return nil, err
	}
	example := &Example{URL: "http://" + options.Address, Upstream: options.Upstream}
	if example.Upstream == "" {
		if example.provider, err = startProvider(options); err != nil {
			return nil, err
		}
		example.Upstream = "http://" + example.provider.Addr
	}
	example.Process, err = gateway.Launch(gateway.Command{
		Binary: binary,
		Static: static,
		Env:    []string{"UPSTREAM=" + example.Upstream, "DEMO_API_KEY=" + options.Key},
	})
	if err != nil {
		return nil, errors.Join(err, example.closeProvider())
	}
	if err := awaitResponse(ctx, example.Process, example.URL); err != nil {
		return nil, errors.Join(err, example.Stop())
	}
	return example, nil
}

// Stop ends Traefik and the demo provider.
func (e *Example) Stop() error { return errors.Join(e.Process.Stop(), e.closeProvider()) }

// Failure returns one line: what happened, and the first error in Traefik's log.
func (e *Example) Failure(what string) string { return failure(e.Process, what) }

func (e *Example) closeProvider() error {
	if e.provider == nil {
		return nil
	}
	return e.provider.Close()
}

// free returns an error if the address is in use.
func free(address string) error {
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("%s is in use by another program; choose another port: PORT=8001 make run", address)
	}
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w; choose another port: PORT=8001 make run", address, err)
	}
	return listener.Close()
}

// startProvider serves the demo provider, which accepts no other key, on a free port.
func startProvider(options Options) (*http.Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Addr:    listener.Addr().String(),
		Handler: demo.Handler(demo.Options{Interval: options.Interval, Key: options.Key, Log: options.ProviderLog}),
	}
	go func() { _ = server.Serve(listener) }() // until Close
	return server, nil
}
