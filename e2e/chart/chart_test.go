package chart

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPanelsAreDrawn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plot.svg")
	err := WriteFile(path,
		Panel{Title: "first", X: Axis{Label: "minutes"}, Lines: []Line{{Points: []Point{{0, 1}, {1, 2}}}}},
		Panel{Title: "second", Y: Axis{Log: true}, Lines: []Line{{Name: "one", Points: []Point{{1, 1}, {2, 100}}}, {Name: "other", Grey: true, Points: []Point{{1, 2}, {2, 3}}}}},
		Panel{Title: "third", X: Axis{Marks: []Mark{{1, "one KB"}}}, Lines: []Line{{Points: []Point{{0, 1}, {2, 2}}}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{">first<", ">second<", ">third<", ">minutes<", ">one<", ">other<", ">one KB<", "stroke-dasharray", "Liberation Sans,Arial"} {
		if !strings.Contains(string(content), want) {
			t.Errorf("plot lacks %q", want)
		}
	}
}

func TestTicksAreRoundNumbers(t *testing.T) {
	tests := []struct {
		to   float64
		want string
	}{
		{120, "0 20 40 60 80 100 120"},
		{9, "0 2 4 6 8"},
		{2.02, "0 0.5 1 1.5 2"},
		{45, "0 10 20 30 40"},
	}
	for _, test := range tests {
		var labels []string
		for _, tick := range roundTicks(0, test.to) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != test.want {
			t.Errorf("to %v: %s, want %s", test.to, got, test.want)
		}
	}
}

func TestNaNValueIsAnError(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plot.svg")
	if err := WriteFile(path, Panel{Title: "none", Lines: []Line{{Name: "odd", Points: []Point{{1, math.NaN()}}}}}); err == nil || !strings.Contains(err.Error(), "odd") {
		t.Errorf("error = %v, want one that names the line", err)
	}
}
