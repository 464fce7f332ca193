package chatcompletion

import (
	"bytes"
	"fmt"
)

// The history of all series consists of steps of two levels: short ones of the last hour, and long
// ones of the last day.
const (
	shortLevel = iota
	longLevel
	levelKinds // their number
)

// Lengths of the history.
const (
	shortStepMs = 10_000
	longStepMs  = 300_000
	shortSpanMs = 3_600_000
	longSpanMs  = 86_400_000
	// levelMaxBytes bounds the steps of a level, as JSON. The oldest ones go first.
	levelMaxBytes = 8 << 20
)

// stepLevel holds the steps of one length.
type stepLevel struct {
	lengthMs int64
	keepMs   int64
	startMs  int64        // of the running step; Unix time
	changed  []*seriesRow // in the running step
	steps    []historyStep
	bytes    int // of the steps
}

// historyStep is a step that is over.
type historyStep struct {
	startMs int64
	endMs   int64
	encoded []byte
}

// newLevels returns a history that begins now. A long step replaces short ones when it is older than the
// last hour, so short ones are kept for as much longer.
func newLevels(ms int64) []*stepLevel {
	return []*stepLevel{
		{lengthMs: shortStepMs, keepMs: shortSpanMs + longStepMs, startMs: ms},
		{lengthMs: longStepMs, keepMs: longSpanMs, startMs: ms},
	}
}

// isStepOver reports whether the running step of a level has ended.
func isStepOver(l *stepLevel, ms int64) bool {
	return ms-ms%l.lengthMs > l.startMs || ms < l.startMs-l.lengthMs // or the clock was set
}

// endStep ends the running step of a level, and begins the next one. It returns what has ended; nil: the
// clock was set back, and nothing is known.
func endStep(levels []*stepLevel, kind int, ms int64) []byte {
	l := levels[kind]
	end := ms - ms%l.lengthMs
	var encoded []byte
	if end > l.startMs {
		encoded = stepJSON(l, kind, end)
		l.steps = append(l.steps, historyStep{l.startMs, end, encoded})
		l.bytes += len(encoded)
	}
	for _, row := range l.changed {
		row.bases[kind] = row.amounts
		row.inStep[kind] = false
	}
	l.changed = nil
	l.startMs = end
	forgetSteps(l, ms)
	return encoded
}

// forgetSteps drops the steps that are too old, and those for which there is no space.
func forgetSteps(l *stepLevel, ms int64) {
	old := 0
	for old < len(l.steps) && (l.steps[old].endMs <= ms-l.keepMs || l.bytes > levelMaxBytes) {
		l.bytes -= len(l.steps[old].encoded)
		old++
	}
	l.steps = l.steps[old:]
}

// stepJSON returns the JSON of the running step up to an instant: how much each series that has changed
// has grown.
func stepJSON(l *stepLevel, kind int, endMs int64) []byte {
	var text bytes.Buffer
	_, _ = fmt.Fprintf(&text, `{"start":%d,"lengthMs":%d,"rows":[`, l.startMs, endMs-l.startMs)
	separator := ""
	for _, row := range l.changed {
		base, now := row.bases[kind], row.amounts
		_, _ = fmt.Fprintf(&text, `%s[%d,%d,%d,%d,"%d"%s]`, separator, row.figures.ID,
			now.calls-base.calls, now.input-base.input, now.output-base.output, now.picodollars-base.picodollars, cacheGrowth(base.cache, now.cache))
		separator = ","
	}
	_, _ = text.WriteString("]}")
	return text.Bytes()
}

// cacheGrowth returns the last members of a row of a step: how much the figures of caches have grown.
func cacheGrowth(base, now *cacheFigures) string {
	if now == nil {
		return ""
	}
	if base == nil {
		base = &cacheFigures{}
	}
	return fmt.Sprintf(",%d,%d,%d", now.Hits-base.Hits, now.Misses-base.Misses, now.Bypasses-base.Bypasses)
}

// historyJSON returns the steps of the last day, oldest first: long ones, short ones of the last hour, and
// the running one.
func historyJSON(levels []*stepLevel, ms int64) [][]byte {
	long, short := levels[longLevel], levels[shortLevel]
	border := ms - shortSpanMs
	border -= border % longStepMs
	var steps [][]byte
	for i := range long.steps {
		if step := &long.steps[i]; step.endMs <= border {
			steps = append(steps, step.encoded)
		}
	}
	for i := range short.steps {
		if step := &short.steps[i]; step.startMs >= border {
			steps = append(steps, step.encoded)
		}
	}
	if ms > short.startMs {
		steps = append(steps, stepJSON(short, shortLevel, ms))
	}
	return steps
}
