package program

import (
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/progress"
)

func TestBuildSaysHowFarItIs(t *testing.T) {
	line := progress.Start(io.Discard, "building")
	defer line.End()
	missing := map[string]int64{}
	names := []string{}
	for range runtime.NumCPU() + 1 {
		name := "example.com/" + strings.Repeat("p", len(names)+1)
		names = append(names, name)
		missing[name] = linkBytes
	}
	seen := follow(line, missing)
	check := func(after, want string) {
		t.Helper()
		if got := line.State(); !strings.Contains(got, want) {
			t.Errorf("after %s: %q, want it to contain %q", after, got, want)
		}
	}
	check("the start", "building: 0 of ")
	seen("example.com/cached")
	check("a package that is not missing", "building: 0 of ")
	seen(names[0])
	check("the first package", "building: 1 of ")
	if got := line.State(); strings.Contains(got, "%") {
		t.Errorf("while the first package is compiled: %q, want no part of it done", got)
	}
	for _, name := range names[1:] {
		seen(name)
	}
	check("all packages", "packages, then linking, ")
	check("all packages", " %, ")
}
