package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

var versions = regexp.MustCompile(`(?m)^(Version|Go version):\s+(.*)$`)

// printSetting says what was measured and how.
func printSetting(ctx context.Context, w io.Writer, work effort) error {
	binary, err := gateway.Binary(ctx, os.Stderr)
	if err != nil {
		return err
	}
	output, err := gateway.Version(ctx, binary)
	if err != nil {
		return err
	}
	fmt.Fprint(w, "Traefik")
	for _, line := range versions.FindAllStringSubmatch(output, -1) {
		fmt.Fprintf(w, ", %s %s", line[1], line[2])
	}
	fmt.Fprintf(w, ", GOGC %s, GOMAXPROCS %s\n", setting("GOGC", "100"), setting("GOMAXPROCS", strconv.Itoa(runtime.NumCPU())))
	fmt.Fprintf(w, "CPU: user and system time of the gateway at concurrency %d, median of %d rounds of %v; "+
		"p50: at concurrency 1; ratio: plugin / bare, of CPU the median of the rounds' ratios\n\n",
		concurrency, work.rounds, work.cpu)
	return nil
}

// setting is an environment variable that Traefik inherits, or its default.
func setting(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func printHead(w io.Writer) {
	fmt.Fprintln(w, "| case | CPU bare | CPU plugin | ratio | p50 bare | p50 plugin | ratio |")
	fmt.Fprintln(w, "| --- | --- | --- | --- | --- | --- | --- |")
}

func printRow(w io.Writer, c benchCase, f figures) {
	fmt.Fprintf(w, "| %s | %s | %s | %.2f | %s | %s | %.2f |\n", c.name,
		rounded(f.bareCPU), rounded(f.pluginCPU), f.cpuRatio,
		rounded(f.bareP50), rounded(f.pluginP50), float64(f.pluginP50)/float64(f.bareP50))
}

// rounded shows no digits that the measurement does not support.
func rounded(d time.Duration) string {
	switch microseconds := float64(d) / float64(time.Microsecond); {
	case microseconds < 100:
		return fmt.Sprintf("%.1f µs", microseconds)
	case microseconds < 10_000:
		return fmt.Sprintf("%.0f µs", microseconds)
	default:
		return fmt.Sprintf("%.1f ms", microseconds/1000)
	}
}
