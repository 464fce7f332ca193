package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/document"
)

// little is the smallest effort. The figures are rough, but every response and every upstream
// request is checked.
func little() options {
	o := short()
	o.effort = effort{rounds: 1, cpu: 20 * time.Millisecond, latency: 5 * time.Millisecond}
	o.further = effort{rounds: 1, cpu: 100 * time.Millisecond, latency: 5 * time.Millisecond} // /proc counts in ticks of 10 ms
	o.crowd = crowd{streams: 20, interval: 20 * time.Millisecond, rounds: 1, duration: 200 * time.Millisecond}
	o.sizes = []int{1 << 10, 64 << 10}
	o.turns = []int{1, 6}
	return o
}

// ratio matches one of a table. In a run as short as those of the tests, what it is divided by may be less than a tick of
// the process's clock.
const ratio = `([0-9.]+|–|NaN|\+Inf)`

// Most parts need Traefik with the plugin compiled in, whose first build takes minutes.
func TestEachCaseIsMeasured(t *testing.T) {
	table := output(t, "cases")
	for _, c := range cases() {
		if !strings.Contains(table, "\n| "+c.name+" | ") {
			t.Errorf("no row %q in\n%s", c.name, table)
		}
	}
	for _, a := range accounts() {
		if !regexp.MustCompile(`\n\| ` + a.name() + `( \| [0-9.]+ (µs|ms) \| ` + ratio + ` \| ` + ratio + `){2}( \| [0-9.]+ (µs|ms) \| ` + ratio + `){2} \|\n`).MatchString(table) {
			t.Errorf("no row %q of accounts in\n%s", a.name(), table)
		}
	}
}

func TestEachSizeIsMeasured(t *testing.T) {
	table := output(t, "sizes")
	for _, row := range []string{"1 KB", "64 KB"} {
		if !regexp.MustCompile(`\n\| ` + row + ` \|( [0-9.]+ (µs|ms) \| [0-9.]+ (µs|ms) \| ` + ratio + ` \|){4}\n`).MatchString(table) {
			t.Errorf("no row %s with four contents in\n%s", row, table)
		}
	}
	checkPlot(t, sizesPlot, "prose", "tools", "64 KB")
}

func TestEachNumberOfTurnsIsMeasured(t *testing.T) {
	table := output(t, "turns")
	for _, row := range []string{"1 | 68 KB", "6 | 77 KB"} {
		if !regexp.MustCompile(`\n\| ` + regexp.QuoteMeta(row) + ` \| [0-9.]+ (µs|ms)( \| [0-9.]+ (µs|ms) \| ` + ratio + `){2} \|\n`).MatchString(table) {
			t.Errorf("no row %s with three figures in\n%s", row, table)
		}
	}
	checkPlot(t, turnsPlot, "without the plugin", "interpreted", "compiled in")
}

func checkPlot(t *testing.T, name string, texts ...string) {
	t.Helper()
	plot, err := document.Plot(name, false)
	if err != nil {
		t.Fatal(err)
	}
	drawn, err := os.ReadFile(plot)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range append(texts, "<svg") {
		if !strings.Contains(string(drawn), want) {
			t.Errorf("plot %s lacks %q", name, want)
		}
	}
}

func TestCompiledPluginIsMeasured(t *testing.T) {
	tables := output(t, "compiled,gateways,streams")
	for _, row := range append([]string{"bare Traefik", "with the plugin", "with the plugin compiled"}, priced...) {
		if !strings.Contains(tables, "\n| "+row+" | ") {
			t.Errorf("no row %q in\n%s", row, tables)
		}
	}
}

func output(t *testing.T, parts string) string {
	t.Helper()
	o := little()
	if err := o.choose(parts, "", false); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(t.Context(), &out, o); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestOptionsChooseParts(t *testing.T) {
	tests := []struct {
		name, parts, only string
		casesOnly         bool
		want              string
	}{
		{name: "default: all", want: "cases,compiled,gateways,streams,sizes,turns"},
		{name: "short run", casesOnly: true, want: "cases"},
		{name: "some cases", only: "prose", want: "cases"},
		{name: "named", parts: "sizes,streams", casesOnly: true, want: "sizes,streams"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := full()
			if err := o.choose(test.parts, test.only, test.casesOnly); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(o.parts, ","); got != test.want {
				t.Errorf("parts = %s, want %s", got, test.want)
			}
		})
	}
	o := full()
	if err := o.choose("speed", "", false); err == nil {
		t.Error("choose accepted an unknown part")
	}
}

func TestBodySizesMatchNames(t *testing.T) {
	check := func(name string, got, want int) {
		if off := got - want; off < -want/10 || off > want/10 {
			t.Errorf("%s: body of %d bytes, want about %d", name, got, want)
		}
	}
	sizes := map[string]int{
		"1 KB of prose":       1 << 10,
		"16 KB of prose":      16 << 10,
		"256 KB of prose":     256 << 10,
		"64 messages of 4 KB": 256 << 10,
		"1 MB with an image":  1 << 20,
	}
	for _, c := range cases() {
		if want := sizes[c.name]; want > 0 {
			check(c.name, len(c.body), want)
		}
	}
	for _, c := range contents() {
		for _, size := range full().sizes[2:] { // smaller ones cannot hold whole tools
			check(sizeName(size)+" of "+c.name, len(c.body(size)), size)
		}
	}
}

func TestDocumentsHaveMarkersForEachPart(t *testing.T) {
	for _, name := range partNames() {
		table, err := document.Read(benchmarks, "bench "+name)
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(table, "\n| --- |") {
			t.Errorf("%s: no table of part %q, got %q", benchmarks, name, table)
		}
	}
}
