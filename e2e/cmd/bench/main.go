// Command bench is `make bench`: what the plugin costs. One Traefik serves the same upstream on two
// routes, one bare and one with everything in the plugin switched on. Load and upstream live in this
// process, so that the processor time of Traefik is that of the gateway alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"regexp"
	"syscall"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// effort says how exact the figures are.
type effort struct {
	rounds  int           // pairs of a bare and a plugin round
	cpu     time.Duration // of the gateway in each round; /proc counts in ticks of 10 ms
	latency time.Duration // spent on latencies in each round
}

var (
	full  = effort{rounds: 5, cpu: 1200 * time.Millisecond, latency: 400 * time.Millisecond}
	short = effort{rounds: 3, cpu: 300 * time.Millisecond, latency: 100 * time.Millisecond}
)

func main() {
	quick := flag.Bool("short", false, "a quick run with rougher figures")
	only := flag.String("case", "", "regular expression of the cases to run; all without it")
	plugin := flag.String("plugin", "", "folder of the plugin's source; this repository without it")
	profiles := flag.String("pprof", "", "folder to save a CPU profile of each case in")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	work := full
	if *quick {
		work = short
	}
	err := run(ctx, os.Stdout, work, *only, *plugin, *profiles)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run writes a table of all cases that match only to out.
func run(ctx context.Context, out io.Writer, work effort, only, plugin, profiles string) (err error) {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-case: %w", err)
	}
	streams := newStreams()
	upstream := httptest.NewServer(upstreamHandler(streams))
	defer upstream.Close()
	collector := httptest.NewServer(http.HandlerFunc(collect))
	defer collector.Close()

	traefik, err := gateway.Start(ctx, gateway.Options{Plugin: plugin})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traefik.Stop()) }()
	if err := traefik.Load(ctx, routes(upstream.URL, collector.URL)); err != nil {
		return err
	}
	preamble, err := setting(ctx, work)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(out, preamble+head); err != nil {
		return err
	}
	bench := &bench{
		gateway: traefik,
		streams: streams,
		client: &http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: concurrency, DisableCompression: true},
			Timeout:   requestTimeout,
		},
	}
	for _, c := range cases() {
		if !wanted.MatchString(c.name) {
			continue
		}
		figures, err := bench.measure(ctx, c, work)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if _, err := io.WriteString(out, row(c, figures)); err != nil {
			return err
		}
		if profiles == "" {
			continue
		}
		if err := bench.profile(ctx, c, profiles); err != nil {
			return fmt.Errorf("%s: profile: %w", c.name, err)
		}
	}
	return ctx.Err()
}
