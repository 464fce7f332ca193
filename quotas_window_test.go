package chatcompletion

import (
	"testing"
	"time"
)

func TestWindowBounds(t *testing.T) {
	for _, test := range []struct {
		window, at, start, end string
	}{
		{"1m", "2026-11-30T12:34:56.789Z", "2026-11-30T12:34:00Z", "2026-11-30T12:35:00Z"},
		{"1h", "2026-11-30T12:00:00Z", "2026-11-30T12:00:00Z", "2026-11-30T13:00:00Z"},
		{"1d", "2026-11-30T23:59:59.999Z", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"},
		{"1w", "2026-11-29T23:59:59.999Z", "2026-11-23T00:00:00Z", "2026-11-30T00:00:00Z"}, // a Sunday
		{"1w", "2026-11-30T00:00:00Z", "2026-11-30T00:00:00Z", "2026-12-07T00:00:00Z"},     // a Monday
		{"1w", "1970-01-01T00:00:00Z", "1969-12-29T00:00:00Z", "1970-01-05T00:00:00Z"},
		{"1M", "2026-12-31T23:59:59.999Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"},
		{"1M", "2028-02-29T12:00:00Z", "2028-02-01T00:00:00Z", "2028-03-01T00:00:00Z"},
		{"5s", "2026-11-30T12:34:59.999Z", "2026-11-30T12:34:55Z", "2026-11-30T12:35:00Z"},
		{"1h30m", "1970-01-01T01:30:00Z", "1970-01-01T01:30:00Z", "1970-01-01T03:00:00Z"},
	} {
		w, _ := parseQuotaWindow(&problems{}, &Quota{Window: test.window}, "", unitRequests)
		start, end := windowBounds(w, instant(t, test.at).UnixMilli())
		if got := time.UnixMilli(start).UTC().Format(time.RFC3339); got != test.start {
			t.Errorf("%s at %s begins at %s, want %s", test.window, test.at, got, test.start)
		}
		if got := time.UnixMilli(end).UTC().Format(time.RFC3339); got != test.end {
			t.Errorf("%s at %s ends at %s, want %s", test.window, test.at, got, test.end)
		}
	}
}

func instant(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// FuzzWindowBounds compares windows with what the time package says about them.
func FuzzWindowBounds(f *testing.F) {
	f.Add(int64(0), int64(1000))
	f.Add(int64(-1), int64(3_600_000))
	f.Add(int64(1_796_000_000_000), int64(90_000))
	f.Fuzz(func(t *testing.T, ms, length int64) {
		const far = 200 * 366 * dayMs
		if ms < -far || ms > far || length < minWindow.Milliseconds() || length > maxWindow.Milliseconds() {
			t.Skip()
		}
		at := time.UnixMilli(ms).UTC()
		day := at.Truncate(24 * time.Hour)
		monday := day.AddDate(0, 0, -(int(day.Weekday())+6)%7)
		first := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
		next := time.Date(at.Year(), at.Month()+1, 1, 0, 0, 0, 0, time.UTC)
		for _, test := range []struct {
			window     *window
			start, end int64
		}{
			{calendarWindows["1d"], day.UnixMilli(), day.AddDate(0, 0, 1).UnixMilli()},
			{calendarWindows["1w"], monday.UnixMilli(), monday.AddDate(0, 0, 7).UnixMilli()},
			{calendarWindows["1M"], first.UnixMilli(), next.UnixMilli()},
		} {
			if start, end := windowBounds(test.window, ms); start != test.start || end != test.end {
				t.Errorf("window %+v at %s: %d to %d, want %d to %d", *test.window, at, start, end, test.start, test.end)
			}
		}
		start, end := windowBounds(&window{lengthMs: length}, ms)
		if start > ms || ms >= end || end-start != length || start%length != 0 {
			t.Errorf("window of %d ms at %d: %d to %d", length, ms, start, end)
		}
	})
}
