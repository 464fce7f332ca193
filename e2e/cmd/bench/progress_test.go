package main

import (
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/progress"
)

func TestProgressCountsRows(t *testing.T) {
	line := progress.Start(io.Discard, "bench")
	defer line.End()
	total := newTally(line, options{parts: []string{"cases"}})
	if total.all == 0 {
		t.Fatal("the documentation has no rows of the part cases")
	}
	if prose := newTally(line, options{parts: []string{"cases"}, only: regexp.MustCompile("of prose$")}); prose.all == 0 || prose.all >= total.all {
		t.Errorf("%d rows of prose among %d, want some", prose.all, total.all)
	}
	total.begin("cases")
	out := total.counting(io.Discard)
	for _, text := range []string{tableHead("case", "CPU"), tableRow("1 KB", "2 ms"), tableRow("16 KB", "3 ms"), "\nTraefik\n"} {
		if _, err := io.WriteString(out, text); err != nil {
			t.Fatal(err)
		}
	}
	if total.rows != 2 {
		t.Errorf("%d rows, want 2", total.rows)
	}
	total.at("256 KB")
	if got, want := line.State(), "bench: part cases, 256 KB, "; !strings.HasPrefix(got, want) || !strings.Contains(got, " %, ") {
		t.Errorf("progress = %q, want it to begin with %q and to have a part done", got, want)
	}
}
