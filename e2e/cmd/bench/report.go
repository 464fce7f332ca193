package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

var versions = regexp.MustCompile(`(?m)^(Version|Go version):\s+(.*)$`)

const head = `| case | CPU bare | CPU plugin | ratio | p50 bare | p50 plugin | ratio |
| --- | --- | --- | --- | --- | --- | --- |
`

// setting says what is measured and how.
func setting(ctx context.Context, work effort) (string, error) {
	binary, err := gateway.Binary(ctx, os.Stderr)
	if err != nil {
		return "", err
	}
	output, err := gateway.Version(ctx, binary)
	if err != nil {
		return "", err
	}
	text := "Traefik"
	for _, line := range versions.FindAllStringSubmatch(output, -1) {
		text += fmt.Sprintf(", %s %s", line[1], line[2])
	}
	text += fmt.Sprintf(", GOGC %s, GOMAXPROCS %s\n",
		inherited("GOGC", "100"), inherited("GOMAXPROCS", strconv.Itoa(runtime.NumCPU())))
	text += fmt.Sprintf("CPU: user and system time of the gateway at concurrency %d, median of %d rounds of %v; "+
		"p50: at concurrency 1; ratio: plugin / bare, of CPU the median of the rounds' ratios\n\n",
		concurrency, work.rounds, work.cpu)
	return text, nil
}

// inherited is an environment variable that Traefik inherits, or its default.
func inherited(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

func row(c benchCase, f figures) string {
	return fmt.Sprintf("| %s | %s | %s | %.2f | %s | %s | %.2f |\n", c.name,
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
