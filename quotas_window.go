package chatcompletion

import "time"

// Windows that begin with a day, a week or a month of the calendar, UTC. Others are aligned to the
// epoch.
const (
	dayMs  = 24 * 60 * minuteMs
	weekMs = 7 * dayMs
	// firstMondayMs is the first Monday after the epoch, a Thursday.
	firstMondayMs = 4 * dayMs
)

// windowBounds returns the beginning and the end of the window that an instant is in, in Unix time.
func windowBounds(w *window, ms int64) (start, end int64) {
	if w.lengthMs == 0 {
		return monthBounds(ms)
	}
	start = ms - w.offsetMs
	start -= start % w.lengthMs
	if start+w.offsetMs > ms { // the remainder of a negative number is negative
		start -= w.lengthMs
	}
	start += w.offsetMs
	return start, start + w.lengthMs
}

// monthBounds returns the beginning and the end of a month.
func monthBounds(ms int64) (start, end int64) {
	at := time.UnixMilli(ms).UTC()
	first := time.Date(at.Year(), at.Month(), 1, 0, 0, 0, 0, time.UTC)
	return first.UnixMilli(), first.AddDate(0, 1, 0).UnixMilli()
}
