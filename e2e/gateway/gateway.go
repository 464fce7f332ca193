// Package gateway runs a real Traefik with the plugin of this repository as a local plugin, on free
// loopback ports and in a temporary working directory, and loads dynamic configurations into it.
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
	// startAttempts bounds how often Start looks for other ports after another process took one first.
	startAttempts = 5

	// loadTimeout bounds the wait for a dynamic configuration; hundreds of routers take about a second.
	loadTimeout = 2 * time.Minute

	// pollInterval is the pause between two looks at a condition.
	pollInterval = 10 * time.Millisecond
)

// Options of a gateway. The zero value runs the plugin of this repository.
type Options struct {
	// Binary is the path of Traefik's executable. Default: what the function Binary finds.
	Binary string

	// Plugin is the folder of the plugin's source. Default: the root of this repository.
	Plugin string

	// LogLevel of Traefik's own log. Default: INFO.
	LogLevel string

	// AccessLog turns the access log on, as one JSON object a line. Default: off.
	AccessLog bool

	// AccessLogHeaders are the headers kept in the access log. Default: none.
	AccessLogHeaders []string

	// ReadTimeout bounds a request, its body included, on the entry point of the routers, such as 1s. Default: Traefik's, 60s.
	ReadTimeout string

	// WriteTimeout bounds an answer on the entry point of the routers, such as 1s. Default: none.
	WriteTimeout string

	// GraceTimeout is how long answers may go on when the process is to end, such as 1s. Default: 1s.
	GraceTimeout string

	// Env is added to the environment of the process, as NAME=value. Default: none.
	Env []string

	// Static is added to the static configuration and its sections, such as tracing, or another provider. Default:
	// nothing.
	Static map[string]any
}

// Gateway is a running Traefik that takes dynamic configurations.
type Gateway struct {
	*Process

	// URL is the base of the entry point that serves the routers.
	URL string

	// API is the base of the entry point with Traefik's API, ping and pprof.
	API string

	// AccessLogPath names the access log, which exists if Options.AccessLog is set.
	AccessLogPath string

	revision int
}

// Start runs Traefik and returns once it serves. ctx bounds the start only; the caller ends the
// gateway with Stop.
func Start(ctx context.Context, options Options) (*Gateway, error) {
	binary := options.Binary
	if binary == "" {
		found, err := Binary(ctx, os.Stderr)
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

// await returns once the entry points serve the revision.
func (g *Gateway) await(ctx context.Context, revision int) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		if answers(ctx, g.API+"/api/http/routers/"+revisionRouter(revision)+"@file") && answers(ctx, g.URL+revisionPath(revision)) {
			return nil
		}
		select {
		case <-g.Done():
			return fmt.Errorf("traefik ended while it loaded its configuration: %s", g.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("traefik does not serve its configuration: %w: %s", ctx.Err(), g.lastWords())
		case <-ticker.C:
		}
	}
}

// answers reports whether a GET of the address is answered with 200.
func answers(ctx context.Context, address string) bool {
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
