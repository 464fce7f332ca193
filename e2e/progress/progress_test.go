package progress

import (
	"strings"
	"testing"
	"time"
)

func TestDescribe(t *testing.T) {
	tests := []struct {
		name, note string
		part       float64
		elapsed    time.Duration
		want       string
	}{
		{"at the start", "", 0, 1200 * time.Millisecond, "build, 1s"},
		{"without a known end", "57 modules downloaded", 0, 20 * time.Second, "build: 57 modules downloaded, 20s"},
		{"too early for an estimate", "1 of 100 packages", 0.01, time.Second, "build: 1 of 100 packages, 1 %, 1s"},
		{"with an estimate", "25 of 100 packages", 0.25, time.Minute, "build: 25 of 100 packages, 25 %, 1m, about 3m left"},
		{"long", "a case", 0.5, 14*time.Minute + 40*time.Second, "build: a case, 50 %, 15m, about 15m left"},
		{"at the end", "linking", 1, 90 * time.Second, "build: linking, 100 %, 1m30s"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := describe("build", test.note, test.part, test.elapsed); got != test.want {
				t.Errorf("line = %q, want %q", got, test.want)
			}
		})
	}
}

func TestShortTaskWritesNothingOutsideATerminal(t *testing.T) {
	var out strings.Builder
	line := Start(&out, "build")
	line.Set(0.5, "half")
	line.End()
	if out.Len() > 0 {
		t.Errorf("wrote %q, want nothing", out.String())
	}
}

func TestOtherTextAppearsAboveTheMovingLine(t *testing.T) {
	var terminal strings.Builder
	line := &Line{task: "bench", begin: time.Now(), out: &terminal, width: 24, stop: make(chan struct{})}
	line.Set(0.5, "a note that is longer than the terminal")
	line.write()
	if _, err := line.Above(&terminal).Write([]byte("| a row |\n")); err != nil {
		t.Fatal(err)
	}
	line.End()
	const moving = eraseLine + "bench: a note that is l"
	if got, want := terminal.String(), moving+eraseLine+"| a row |\n"+moving+eraseLine; got != want {
		t.Errorf("terminal = %q, want %q", got, want)
	}
}
