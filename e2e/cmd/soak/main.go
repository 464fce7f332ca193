// Command soak implements `make soak`: it sends mixed traffic through a real Traefik that reloads
// its configuration every second, and then conversations without a reload. It reports whatever grows
// with the number of calls or reloads, and every call that was not counted exactly once.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/modelroute/chatcompletion/e2e/chart"
	"github.com/modelroute/chatcompletion/e2e/document"
)

// options configure a run.
type options struct {
	duration time.Duration
	turns    int    // of conversations, after the mixed traffic
	plugin   string // folder of the plugin's source; empty for this repository
	write    bool
}

// A run needs a sample in each fifth. On a busy machine, a sample may take longer than a second.
const (
	shortest      = 10 * time.Second
	fewestSamples = 5
)

// errLeaks reports that at least one figure grew.
var errLeaks = errors.New("at least one figure grows")

func main() {
	var o options
	flag.DurationVar(&o.duration, "duration", 10*time.Minute, "how long to send traffic")
	flag.IntVar(&o.turns, "turns", fewestTurns, "how many turns of conversations to send afterwards, without reloads; 0: none")
	flag.StringVar(&o.plugin, "plugin", "", "folder of the plugin's source (default: this repository)")
	flag.BoolVar(&o.write, "write", false, "write the table and the plot into docs; without it, the plot goes into .bin")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, o)
	if ctx.Err() != nil {
		err = errors.New("interrupted")
	}
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

// run writes progress and a table to out. It fails unless all figures stay flat and every call is
// counted exactly once.
func run(ctx context.Context, out io.Writer, o options) (err error) {
	if o.duration < shortest {
		return fmt.Errorf("-duration must be at least %v", shortest)
	}
	if o.turns != 0 && o.turns < fewestTurns {
		return fmt.Errorf("-turns must be 0 or at least %d: fewer do not show what a full memory of conversations forgets", fewestTurns)
	}
	s, err := newSoak(ctx, o.plugin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()

	samples, err := s.run(ctx, out, o.duration)
	if err != nil {
		return err
	}
	if s.reloads < fewestSamples {
		return fmt.Errorf("only %d samples in %v: this machine needs a longer -duration", s.reloads, o.duration)
	}
	calls := s.book.count()
	figures := samples.figures()
	panels := samples.panels(figures...)
	if o.turns > 0 {
		filled, err := s.fill(ctx, out, o.turns, fillSamples)
		if err != nil {
			return err
		}
		full := fullHeap(filled.heap)
		figures, panels = append(figures, full), append(panels, filled.panels(full)...)
	}
	problems, err := s.check(ctx)
	if err != nil {
		return err
	}
	path, err := document.Plot("soak.svg", o.write)
	if err != nil {
		return err
	}
	if err := chart.WriteFile(path, panels...); err != nil {
		return err
	}
	var table strings.Builder
	table.WriteString("| figure | second fifth | last fifth | growth | allowed | |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, f := range figures {
		compared := f.compare(s.reloads)
		if !compared.flat() {
			err = errLeaks
		}
		table.WriteString(f.row(compared))
	}
	fmt.Fprintf(&table, "\n%d calls in %v, %d reloads.", calls, o.duration, s.reloads)
	if o.turns > 0 {
		fmt.Fprintf(&table, " Then %d turns of conversations without a reload.", o.turns)
	}
	table.WriteString("\n")
	if _, wrong := fmt.Fprintf(out, "%s\n%s%s\nplot: %s\n", document.Begin("soak"), &table, document.End("soak"), path); wrong != nil {
		return wrong
	}
	for _, problem := range problems {
		err = errors.Join(err, errors.New(problem))
	}
	if err != nil || !o.write {
		return err
	}
	return document.Write("docs/benchmarks.md", "soak", table.String())
}
