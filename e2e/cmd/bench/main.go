// Command bench implements `make bench`: it measures the cost of the plugin. One Traefik serves the
// same upstream on two routes, one bare and one with every costly feature of the plugin enabled.
// Load generator and upstream run in this process, so that Traefik's CPU time is that of the
// gateway alone.
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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/modelroute/chatcompletion/e2e/progress"
)

// effort sets the time spent on figures, and so their precision.
type effort struct {
	rounds  int           // each measures all targets
	cpu     time.Duration // CPU time of the gateway per round; /proc counts in ticks of 10 ms
	latency time.Duration // time spent on latencies per round
}

// options configure a run.
type options struct {
	effort   effort // of the part cases
	further  effort // of the other parts
	parts    []string
	only     *regexp.Regexp // selects cases by name
	plugin   string         // folder of the plugin's source; empty for this repository
	profiles string         // folder of profiles; empty for none
	peers    bool
	write    bool
	crowd    crowd
	sizes    []int // of bodies, in bytes
	turns    []int // of agents' conversations
}

func full() options {
	return options{
		effort:  effort{rounds: 5, cpu: 600 * time.Millisecond, latency: 300 * time.Millisecond},
		further: effort{rounds: 3, cpu: 300 * time.Millisecond, latency: 200 * time.Millisecond},
		crowd:   crowd{streams: 500, interval: 50 * time.Millisecond, rounds: 2, duration: 4 * time.Second},
		turns:   []int{1, 5, 10, 20, 40, 60, 80, 100},
		sizes:   []int{1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 3 << 20, 10_000_000},
	}
}

func short() options {
	o := full()
	o.effort = effort{rounds: 3, cpu: 300 * time.Millisecond, latency: 100 * time.Millisecond}
	o.further = effort{rounds: 2, cpu: 150 * time.Millisecond, latency: 100 * time.Millisecond}
	o.crowd.rounds, o.crowd.duration = 1, 2*time.Second
	return o
}

func main() {
	quick := flag.Bool("short", false, "measure the cases only, faster and with rougher figures")
	parts := flag.String("part", "", "comma-separated parts to run: "+strings.Join(partNames(), ", ")+" (default: all, but only cases with -short, -case or -pprof)")
	only := flag.String("case", "", "regular expression that selects the cases to run (default: all)")
	plugin := flag.String("plugin", "", "folder of the plugin's source (default: this repository)")
	profiles := flag.String("pprof", "", "folder for a CPU profile of each case")
	peers := flag.Bool("peers", false, "in the part gateways, also measure other projects' gateways: Portkey (needs npm), nginx with njs")
	write := flag.Bool("write", false, "also write the tables and the plots into docs")
	flag.Parse()

	o := full()
	if *quick {
		o = short()
	}
	err := o.choose(*parts, *only, *quick || *profiles != "")
	o.plugin, o.profiles, o.peers, o.write = *plugin, *profiles, *peers, *write
	if *write && *only != "" {
		err = errors.New("-write and -case exclude each other: a table in the documentation has all cases")
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, os.Stdout, o)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// choose selects the parts and cases to run.
func (o *options) choose(parts, only string, casesOnly bool) (err error) {
	if o.only, err = regexp.Compile(only); err != nil {
		return fmt.Errorf("-case: %w", err)
	}
	switch {
	case parts != "":
		o.parts = strings.Split(parts, ",")
	case casesOnly || only != "":
		o.parts = []string{"cases"}
	default:
		o.parts = partNames()
	}
	for _, name := range o.parts {
		if !slices.Contains(partNames(), name) {
			return fmt.Errorf("-part: unknown part %q", name)
		}
	}
	return nil
}

// part is a table and the function that writes it.
type part struct {
	name     string
	write    func(*bench, context.Context, io.Writer) error
	compiled bool // needs Traefik with the plugin compiled in
}

func parts() []part {
	return []part{
		{name: "cases", write: (*bench).table, compiled: true},
		{name: "compiled", write: (*bench).prices, compiled: true},
		{name: "gateways", write: (*bench).gateways, compiled: true},
		{name: "streams", write: (*bench).crowds, compiled: true},
		{name: "sizes", write: (*bench).sizes},
		{name: "turns", write: (*bench).turns, compiled: true},
	}
}

func partNames() []string {
	var names []string
	for _, p := range parts() {
		names = append(names, p.name)
	}
	return names
}

// run writes the selected parts to out.
func run(ctx context.Context, out io.Writer, o options) (err error) {
	b := &bench{
		options:   o,
		streams:   newStreams(),
		collector: httptest.NewServer(http.HandlerFunc(collect)),
		client: &http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: mostClients, DisableCompression: true},
			Timeout:   requestTimeout,
		},
	}
	defer b.collector.Close()
	b.upstream = httptest.NewServer(b.upstreamHandler())
	defer b.upstream.Close()

	traefik, err := b.startTraefik(ctx, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traefik.Stop()) }()
	b.bare, b.plugin = targetsOf(traefik, "bare Traefik", "with the plugin")
	if err := b.verify(ctx, b.plugin); err != nil {
		return err
	}
	stop := func() error { return nil }
	if slices.ContainsFunc(parts(), func(p part) bool { return p.compiled && slices.Contains(o.parts, p.name) }) {
		if stop, err = b.startCompiled(ctx); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, stop()) }()
	footer, err := setting(ctx)
	if err != nil {
		return err
	}
	line := progress.Start(os.Stderr, "bench")
	defer line.End()
	b.tally = newTally(line, o)
	for _, p := range parts() {
		if !slices.Contains(o.parts, p.name) {
			continue
		}
		b.tally.begin(p.name)
		if err := b.block(ctx, b.tally.counting(out), p, footer); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return ctx.Err()
}
