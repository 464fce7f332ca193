// Package gateway runs a real Traefik with this repository's plugin as a local plugin, and loads
// dynamic configurations into it. Each Traefik has free loopback ports and a temporary working
// directory, so that tests and commands do not interfere with other processes.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelroute/chatcompletion/e2e/program"
)

const (
	// startAttempts bounds how often Start tries ports, in case another process takes one first.
	startAttempts = 5

	// loadTimeout bounds the wait for a dynamic configuration; one with hundreds of routers takes
	// about a second.
	loadTimeout = 2 * time.Minute

	// pollInterval is the pause between two checks of a condition.
	pollInterval = 10 * time.Millisecond
)

// Options configure a gateway. The zero value runs this repository's plugin.
type Options struct {
	// Binary is the path of Traefik's executable. Default: the one that the environment variable
	// GATEWAY selects, as for the function Binary.
	Binary string

	// Plugin is the folder of the plugin's source. Default: the root of this repository.
	Plugin string

	// LogLevel is the level of Traefik's own log. Default: INFO.
	LogLevel string

	// AccessLog enables the access log, with one JSON object per line. Default: off.
	AccessLog bool

	// AccessLogHeaders are the headers that the access log keeps. Default: none.
	AccessLogHeaders []string

	// ReadTimeout bounds the reading of a request, including its body, on the entry point of the
	// routers, such as 1s. Default: Traefik's, 60s.
	ReadTimeout string

	// WriteTimeout bounds the writing of a response on the entry point of the routers, such as 1s.
	// Default: none.
	WriteTimeout string

	// GraceTimeout bounds how long open responses may continue during shutdown, such as 1s.
	// Default: 1s.
	GraceTimeout string

	// Env is added to the environment of the process, as NAME=value. Default: none.
	Env []string

	// Static is merged into the static configuration and its sections; it adds tracing or another
	// provider, for example. Default: nothing.
	Static map[string]any
}

// Gateway is a running Traefik that takes dynamic configurations.
type Gateway struct {
	*Process

	// URL is the base URL of the entry point that serves the routers.
	URL string

	// API is the base URL of the entry point with Traefik's API, ping and pprof.
	API string

	// AccessLogPath is the path of the access log, which exists if Options.AccessLog is set.
	AccessLogPath string

	revision int
}

// Start starts Traefik and returns once it serves. ctx bounds the start only; the caller must call
// Stop.
func Start(ctx context.Context, options Options) (*Gateway, error) {
	binary := options.Binary
	if binary == "" {
		found, err := binaryFor(ctx, os.Stderr, options.Plugin)
		if err != nil {
			return nil, err
		}
		binary = found
	}
	for attempt := 1; ; attempt++ {
		gateway, err := start(ctx, binary, options)
		if err == nil || attempt == startAttempts || !strings.Contains(err.Error(), "address already in use") {
			return gateway, err
		}
	}
}

func start(ctx context.Context, binary string, options Options) (*Gateway, error) {
	web, err := program.FreeAddress()
	if err != nil {
		return nil, err
	}
	api, err := program.FreeAddress()
	if err != nil {
		return nil, err
	}
	process, err := Launch(Command{
		Binary: binary,
		Plugin: options.Plugin,
		Static: staticConfiguration(options, web, api),
		Env:    options.Env,
		Files:  map[string]any{dynamicFile: Dynamic{}.document(0)},
	})
	if err != nil {
		return nil, err
	}
	gateway := &Gateway{
		Process:       process,
		URL:           "http://" + web,
		API:           "http://" + api,
		AccessLogPath: filepath.Join(process.Dir, accessLogFile),
	}
	if err := gateway.await(ctx, 0); err != nil {
		return nil, errors.Join(err, process.Stop())
	}
	return gateway, nil
}

// await waits until the entry points serve the revision.
func (g *Gateway) await(ctx context.Context, revision int) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if serves(ctx, g.API+"/api/http/routers/"+revisionRouter(revision)+"@file") && serves(ctx, g.URL+revisionPath(revision)) {
			return nil
		}
		select {
		case <-g.Done():
			return fmt.Errorf("traefik exited while it loaded its configuration: %s", g.errorSummary())
		case <-ctx.Done():
			return fmt.Errorf("traefik does not serve its configuration: %w: %s", ctx.Err(), g.errorSummary())
		case <-ticker.C:
		}
	}
}

// serves reports whether a GET of the address returns 200.
func serves(ctx context.Context, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
