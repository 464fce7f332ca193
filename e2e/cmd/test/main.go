// Command test runs `go test` with its arguments, which must end in package patterns, and says how
// far it is: the go command shows nothing of a package before all its tests have ended. It writes
// what `go test` without -v writes.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/modelroute/chatcompletion/e2e/progress"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Stdout, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "test:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, arguments []string) error {
	all, err := countTests(ctx, arguments)
	if err != nil {
		return err
	}
	line := progress.Start(os.Stderr, "testing")
	defer line.End()
	cmd := exec.CommandContext(ctx, "go", append([]string{"test", "-json"}, arguments...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = line.Above(os.Stderr)
	events, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	r := &report{out: line.Above(out), line: line, all: all, kept: map[string]string{}}
	if err := r.read(events); err != nil {
		return errors.Join(err, cmd.Wait())
	}
	return cmd.Wait()
}

// testFunction matches the declaration of a test.
var testFunction = regexp.MustCompile(`(?m)^func (Test[^a-z(]\w*)\(`)

// selector returns an expression that matches the names of the tests to run.
func selector(arguments []string) (*regexp.Regexp, error) {
	at := slices.Index(arguments, "-run")
	if at < 0 || at+1 == len(arguments) {
		return regexp.MustCompile(""), nil
	}
	top, _, _ := strings.Cut(arguments[at+1], "/")
	return regexp.Compile(top)
}

// countTests returns the number of tests to run that the files of the packages declare.
func countTests(ctx context.Context, arguments []string) (int, error) {
	patterns := []string{}
	for i := len(arguments) - 1; i >= 0 && strings.HasPrefix(arguments[i], "."); i-- {
		patterns = append(patterns, arguments[i])
	}
	list := append([]string{"list", "-f", `{{$dir := .Dir}}{{range .TestGoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}{{range .XTestGoFiles}}{{$dir}}/{{.}}{{"\n"}}{{end}}`}, patterns...)
	cmd := exec.CommandContext(ctx, "go", list...)
	cmd.Stderr = os.Stderr
	files, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("go list: %w", err)
	}
	selected, err := selector(arguments)
	if err != nil {
		return 0, err
	}
	count := 0
	for _, file := range strings.Fields(string(files)) {
		content, err := os.ReadFile(filepath.FromSlash(file))
		if err != nil {
			return 0, err
		}
		for _, declared := range testFunction.FindAllStringSubmatch(string(content), -1) {
			if name := declared[1]; name != "TestMain" && selected.MatchString(name) {
				count++
			}
		}
	}
	return count, nil
}

// event is what `go test -json` writes for each step.
type event struct {
	Action, Package, Test, Output string
}

// report turns events into what `go test` writes without -json.
type report struct {
	out       io.Writer
	line      *progress.Line
	done, all int
	kept      map[string]string // output by package and test, until it is known whether it failed
}

func (r *report) read(events io.Reader) error {
	for decoder := json.NewDecoder(events); ; {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if err := r.take(e); err != nil {
			return err
		}
	}
}

func (r *report) take(e event) (err error) {
	top, _, isSub := strings.Cut(e.Test, "/")
	key := e.Package + " " + top // subtests count as part of their test
	switch e.Action {
	case "build-output":
		_, err = io.WriteString(r.out, e.Output)
	case "run":
		if !isSub {
			r.line.Set(r.part(), "%d of %d tests, %s", r.done, r.all, e.Test)
		}
	case "output":
		r.kept[key] += e.Output
	case "pass", "fail", "skip":
		if isSub {
			return nil
		}
		if e.Test == "" {
			return r.endPackage(e)
		}
		r.done++
		if e.Action == "fail" {
			_, err = io.WriteString(r.out, withoutNoise(r.kept[key]))
		}
		delete(r.kept, key)
	}
	return err
}

// endPackage writes the outcome of a package, after the output of tests that a panic or a timeout
// kept from ending.
func (r *report) endPackage(e event) error {
	var text strings.Builder
	for _, key := range slices.Backward(slices.Sorted(maps.Keys(r.kept))) { // the package's own output last
		if strings.HasPrefix(key, e.Package+" ") {
			text.WriteString(withoutNoise(r.kept[key]))
			delete(r.kept, key)
		}
	}
	_, err := io.WriteString(r.out, text.String())
	return err
}

func (r *report) part() float64 { return float64(r.done) / float64(max(r.all, r.done, 1)) }

// noise matches the lines that `go test` writes only with -v.
var noise = regexp.MustCompile(`(?m)^(=== (RUN|PAUSE|CONT|NAME) .*| *--- PASS: .*|PASS)\n`)

func withoutNoise(output string) string { return noise.ReplaceAllString(output, "") }
