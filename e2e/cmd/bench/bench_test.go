package main

import (
	"strings"
	"testing"
	"time"
)

// TestEachCaseIsMeasured runs every case with little effort: figures are rough, but all checks of the
// answers and of what the upstream sees are made.
func TestEachCaseIsMeasured(t *testing.T) {
	var out strings.Builder
	little := effort{rounds: 1, cpu: 20 * time.Millisecond, latency: 5 * time.Millisecond}
	if err := run(t.Context(), &out, little, "", "", ""); err != nil {
		t.Fatal(err)
	}
	for _, c := range cases() {
		if !strings.Contains(out.String(), "\n| "+c.name+" | ") {
			t.Errorf("no row of %q in\n%s", c.name, &out)
		}
	}
}

func TestBodiesHaveTheSizeOfTheirName(t *testing.T) {
	sizes := map[string]int{
		"1 KB of prose":       1 << 10,
		"16 KB of prose":      16 << 10,
		"256 KB of prose":     256 << 10,
		"64 messages of 4 KB": 256 << 10,
		"1 MB with an image":  1 << 20,
	}
	for _, c := range cases() {
		want := sizes[c.name]
		if off := len(c.body) - want; want > 0 && (off < -want/10 || off > want/10) {
			t.Errorf("%s: body of %d bytes, want about %d", c.name, len(c.body), want)
		}
	}
}
