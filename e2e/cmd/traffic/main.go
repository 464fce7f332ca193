// Command traffic makes the calls of three teams against a gateway with the configuration of
// examples/local, until it is interrupted. `DEMO=1 make run` runs the same traffic.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/modelroute/chatcompletion/e2e/traffic"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "traffic:", err)
		os.Exit(1)
	}
}

// run makes the calls and writes how many there were.
func run(ctx context.Context, out io.Writer, arguments []string) error {
	flags := flag.NewFlagSet("traffic", flag.ContinueOnError)
	options := traffic.Options{}
	flags.StringVar(&options.Base, "base", "http://127.0.0.1:8000/company", "URL before /v1 of the teams' route")
	flags.Float64Var(&options.Rate, "rate", 4, "mean number of calls per second; 0: as many as possible")
	flags.IntVar(&options.Calls, "calls", 0, "number of calls after which the traffic ends; 0: none")
	flags.IntVar(&options.Concurrency, "concurrency", 32, "largest number of open calls")
	flags.Int64Var(&options.Seed, "seed", time.Now().UnixNano(), "selects the calls; equal seeds make equal calls")
	flags.BoolVar(&options.Realistic, "realistic", true, "have the demo provider respond as late as a model would")
	duration := flags.Duration("duration", 0, "time after which the traffic ends, such as 5m; 0: none")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *duration > 0 {
		limited, cancel := context.WithTimeout(ctx, *duration)
		defer cancel()
		ctx = limited
	}
	summary, err := traffic.Run(ctx, options)
	for _, counts := range []map[string]int{summary.Statuses, summary.Cached} {
		for _, name := range slices.Sorted(maps.Keys(counts)) {
			if _, err := fmt.Fprintf(out, "%-15s %6d calls\n", name, counts[name]); err != nil {
				return err
			}
		}
	}
	return err
}
