// Command run implements `make run`: it runs a real Traefik with this repository's plugin and the
// configuration in examples/local. The provider is the demo provider, or the one that UPSTREAM
// names. An interrupt stops everything that it started.
//
// Environment: PORT (default 8000), UPSTREAM, MODEL, DEMO_API_KEY, TRAEFIK, TRAEFIK_VERSION, GATEWAY.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/modelroute/chatcompletion/e2e/demo"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// streamInterval slows the demo provider's streams down, so that a reader sees them grow.
const streamInterval = 150 * time.Millisecond

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout)
	interrupted := ctx.Err() != nil
	stop()
	if err != nil && !interrupted {
		fmt.Fprintln(os.Stderr, "run:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It writes the instructions and the demo provider's log to out.
func run(ctx context.Context, out io.Writer) (err error) {
	root, err := gateway.Root()
	if err != nil {
		return err
	}
	address := net.JoinHostPort("127.0.0.1", setting("PORT", "8000"))
	if err := free(address); err != nil {
		return err
	}
	static, err := exampleConfiguration(filepath.Join(root, "examples", "local"), address)
	if err != nil {
		return err
	}
	binary, err := gateway.Binary(ctx, out)
	if err != nil {
		return err
	}

	upstream, key := os.Getenv("UPSTREAM"), setting("DEMO_API_KEY", "sk-demo-key-of-the-provider")
	if upstream == "" {
		provider, err := startProvider(out, key)
		if err != nil {
			return err
		}
		defer func() { _ = provider.Close() }()
		upstream = "http://" + provider.Addr
	}
	traefik, err := gateway.Launch(gateway.Command{
		Binary: binary,
		Static: static,
		Env:    []string{"UPSTREAM=" + upstream, "DEMO_API_KEY=" + key},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traefik.Stop()) }()

	if err := awaitResponse(ctx, traefik, "http://"+address); err != nil {
		return err
	}
	if _, err := io.WriteString(out, welcome("http://"+address, upstream, traefik.LogPath)); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-traefik.Done():
		return errors.New(failure(traefik, "traefik exited unexpectedly"))
	}
}

// setting returns the environment variable, or the fallback if it is empty.
func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
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
func startProvider(log io.Writer, key string) (*http.Server, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := &http.Server{
		Addr:    listener.Addr().String(),
		Handler: demo.Handler(demo.Options{Interval: streamInterval, Key: key, Log: log}),
	}
	go func() { _ = server.Serve(listener) }() // until Close
	return server, nil
}
