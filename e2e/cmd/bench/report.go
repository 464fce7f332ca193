package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/modelroute/chatcompletion/e2e/document"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

var versions = regexp.MustCompile(`(?m)^(Version|Go version):\s+(?:go)?(.*)$`)

// setting describes the Traefik that was measured.
func setting(ctx context.Context) (string, error) {
	binary, err := gateway.Interpreted(ctx, os.Stderr)
	if err != nil {
		return "", err
	}
	output, err := gateway.Version(ctx, binary)
	if err != nil {
		return "", err
	}
	found := versions.FindAllStringSubmatch(output, 2)
	if len(found) < 2 {
		return "", fmt.Errorf("no versions in %q", output)
	}
	return fmt.Sprintf("\nTraefik %s built with Go %s, `GOGC=%s`, `GOMAXPROCS=%s`.\n", found[0][2], found[1][2],
		inherited("GOGC", "100"), inherited("GOMAXPROCS", strconv.Itoa(runtime.NumCPU()))), nil
}

// inherited returns an environment variable that Traefik inherits, or its default.
func inherited(name, fallback string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return fallback
}

// benchmarks is the document with the tables.
const benchmarks = "docs/benchmarks.md"

// block writes a part between its markers to out and, with -write, into the document.
func (b *bench) block(ctx context.Context, out io.Writer, p part, footer string) error {
	mark := "bench " + p.name
	var content bytes.Buffer
	if _, err := fmt.Fprintln(out, document.Begin(mark)); err != nil {
		return err
	}
	both := io.MultiWriter(out, &content)
	if err := p.write(b, ctx, both); err != nil {
		return err
	}
	if _, err := io.WriteString(both, footer); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "%s\n\n", document.End(mark)); err != nil || !b.options.write {
		return err
	}
	return document.Write(benchmarks, mark, content.String())
}

// rounded formats a duration without digits that the measurement does not support.
func rounded(nanoseconds float64) string {
	switch microseconds := nanoseconds / float64(time.Microsecond); {
	case microseconds < 100:
		return fmt.Sprintf("%.1f µs", microseconds)
	case microseconds < 10_000:
		return fmt.Sprintf("%.0f µs", microseconds)
	default:
		return fmt.Sprintf("%.1f ms", microseconds/1000)
	}
}

// added formats a difference, which noise can make negative.
func added(nanoseconds float64) string {
	if nanoseconds < 0 {
		return "-" + rounded(-nanoseconds)
	}
	return "+" + rounded(nanoseconds)
}

// times formats the ratio of above to below, unless noise makes below zero or negative.
func times(above, below float64) string {
	if below <= 0 {
		return "–"
	}
	return fmt.Sprintf("%.1f", above/below)
}

// hundredths formats a ratio.
func hundredths(ratio float64) string { return fmt.Sprintf("%.2f", ratio) }

// kilobytes formats a size.
func kilobytes(bytes float64) string { return fmt.Sprintf("%.0f KB", bytes/1024) }

// tableHead returns the head of a Markdown table.
func tableHead(columns ...string) string {
	return "| " + strings.Join(columns, " | ") + " |\n|" + strings.Repeat(" --- |", len(columns)) + "\n"
}

// tableRow returns a row of a Markdown table.
func tableRow(cells ...string) string { return "| " + strings.Join(cells, " | ") + " |\n" }
