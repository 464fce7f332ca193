package chatcompletion

import (
	"strings"
	"testing"
	"time"
)

func TestQuotaWindows(t *testing.T) {
	for _, test := range []struct {
		text string
		want *window
	}{
		{"1d", &window{lengthMs: dayMs}}, {" 1d ", &window{lengthMs: dayMs}}, {"24h", &window{lengthMs: dayMs}}, {"1M", &window{}}, {"1m", &window{lengthMs: minuteMs}},
		{"1w", &window{lengthMs: weekMs, offsetMs: firstMondayMs}}, {"1.5s", &window{lengthMs: 1500}}, {"8784h", &window{lengthMs: 366 * dayMs}},
		{"", nil}, {"1D", nil}, {"2d", nil}, {"1W", nil}, {"999ms", nil}, {"1s1ns", nil}, {"8785h", nil}, {"-1h", nil}, {"60", nil}, {"month", nil},
	} {
		bad := &problems{}
		got, _ := parseQuotaWindow(bad, &Quota{Window: test.text}, "", unitTokens)
		switch {
		case (got == nil) != (test.want == nil) || (got == nil) != (len(bad.found) == 1):
			t.Errorf("window %q: got %v, problems %q, want %v", test.text, got, bad.found, test.want)
		case got != nil && *got != *test.want:
			t.Errorf("window %q: got %+v, want %+v", test.text, *got, *test.want)
		}
	}
}

// FuzzQuotaWindow: a window is one of the calendar, or what the time package takes for the same duration.
func FuzzQuotaWindow(f *testing.F) {
	for _, text := range []string{"1M", "1w", "1d", "90m", "1h0m0.001s", "1e3s", "9999999h"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		bad := &problems{}
		w, _ := parseQuotaWindow(bad, &Quota{Window: text}, "", unitTokens)
		if (w == nil) != (len(bad.found) > 0) {
			t.Fatalf("window %v, problems %q", w, bad.found)
		}
		if w == nil || calendarWindows[strings.TrimSpace(text)] != nil {
			return
		}
		if length, err := time.ParseDuration(strings.TrimSpace(text)); err != nil || length != time.Duration(w.lengthMs)*time.Millisecond || length < time.Second {
			t.Errorf("window of %d ms, want %s (%v)", w.lengthMs, length, err)
		}
	})
}

func TestLimitOfMoney(t *testing.T) {
	for _, test := range []struct {
		limit any
		want  int64 // 0: refused
		text  string
	}{
		{"25.00", 25 * dollarPicos, "25.00"}, {25, 25 * dollarPicos, "25.00"}, {0.5, dollarPicos / 2, "0.50"}, {"0.009", 9 * dollarPicos / 1000, "0.009"},
		{"9000000", 9_000_000 * dollarPicos, "9000000.00"}, {0.0000001, 100_000, "0.0000001"},
		{"9000000.01", 0, ""}, {"0", 0, ""}, {nil, 0, ""}, {"", 0, ""}, {"25 USD", 0, ""}, {"1,000", 0, ""}, {true, 0, ""}, {-5, 0, ""},
	} {
		bad := &problems{}
		c := &charge{quota: &quota{unit: unitCost}}
		parseLimit(bad, &Quota{Limit: test.limit}, "", c)
		if (test.want == 0) != (len(bad.found) == 1) || (test.want > 0 && (c.limit != test.want || c.quota.limitText != test.text)) {
			t.Errorf("%v: limit %d, text %q, problems %q, want %d and %q", test.limit, c.limit, c.quota.limitText, bad.found, test.want, test.text)
		}
	}
}
