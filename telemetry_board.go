package chatcompletion

import (
	"bytes"
	"fmt"
	"os"
)

// board is what a dashboard shows: the registry and the counters of quotas as they were read last, with
// their history. Only who holds dashboard.turn uses it.
type board struct {
	registry    *registry
	rows        []*seriesRow // by id
	kept        int64        // calls that the registry had kept when it was read
	changed     []*seriesRow // since the latest update
	levels      []*stepLevel
	ended       []byte // a step that is over, of which the pages do not know yet; nil: there is none
	shownMs     int64  // begin of the running step that pages have; 0: they have none
	hasStep     bool   // the running step has changed since the latest update
	quotas      []*quotaRow
	refreshFrom int // the quota from which the next refresh goes on
	lists       []*boardList
	calls       [][]byte // the latest as JSON, newest last
	callID      int64    // of the newest
	sentID      int64    // of the newest that pages have
	streams     int64    // open streams that pages have
	readMs      int64    // when all of it was read
}

// newBoard returns a board whose history begins now.
func newBoard(r *registry, ms int64) *board {
	b := &board{registry: r, levels: newLevels(ms)}
	for kind := 0; kind < listKinds; kind++ {
		b.lists = append(b.lists, &boardList{})
	}
	readSeries(b)
	for _, row := range b.rows {
		for kind, l := range b.levels {
			row.bases[kind] = row.amounts
			row.inStep[kind] = false
			l.changed = nil
		}
	}
	b.hasStep = false
	return b
}

// readSeries reads the series that have changed.
func readSeries(b *board) {
	r := b.registry
	r.mu.Lock()
	aggregateAndUnlock(r)
	r.mu.Lock()
	added, kept, isKeeping := append([]*series(nil), r.ordered[len(b.rows):]...), r.kept, r.keepsCalls
	r.mu.Unlock()
	for _, source := range added {
		row := newSeriesRow(len(b.rows), source)
		row.bases = []*amounts{{}, {}}
		row.inStep = make([]bool, levelKinds)
		b.rows = append(b.rows, row)
	}
	if isKeeping && kept == b.kept && added == nil {
		return // there was no call
	}
	b.kept = kept
	for from := 0; from < len(b.rows); from += rowsAtATime {
		for _, row := range readRows(r, b.rows[from:rowsEnd(from, len(b.rows))]) {
			noteChange(b, row)
		}
	}
}

// noteChange notes a row that has been read as changed: for the next update, and in each running step.
func noteChange(b *board, row *seriesRow) {
	setFigures(row)
	if !row.isChanged {
		row.isChanged = true
		b.changed = append(b.changed, row)
	}
	for kind, l := range b.levels {
		if !row.inStep[kind] {
			row.inStep[kind] = true
			l.changed = append(l.changed, row)
		}
	}
	b.hasStep = true
}

// readCalls reads the latest calls.
func readCalls(b *board) {
	r := b.registry
	r.mu.Lock()
	recent, kept := append([]*Call(nil), r.recent...), r.kept
	r.mu.Unlock()
	added := kept - b.callID
	if count := int64(len(recent)); added > count {
		added = count
	}
	if added > recentCalls {
		added = recentCalls
	}
	first := kept - added + 1
	for i, c := range recent[len(recent)-int(added):] {
		b.calls = append(b.calls, callJSON(c, first+int64(i)))
	}
	b.callID = kept
	if old := len(b.calls) - recentCalls; old > 0 {
		b.calls = append([][]byte(nil), b.calls[old:]...)
	}
}

// readBoard reads all that a page shows.
func readBoard(b *board, ms int64) {
	readSeries(b)
	readCalls(b)
	readLists(b.registry, b.lists)
	if m := b.registry.quotas; m != nil {
		b.quotas = readQuotas(m, b.quotas, ms)
		setList(b.lists[quotaList], arrayJSON(quotasJSON(b.quotas)))
		setList(b.lists[storeList], storeJSON())
	} else {
		setList(b.lists[quotaList], []byte("[]"))
	}
	b.readMs = ms
}

// hasNews reports whether there have been calls since the board was read, at little cost.
func hasNews(b *board) bool {
	r := b.registry
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending) > 0 || r.kept != b.kept || r.streams.Load() != b.streams
}

// endSteps ends the running steps that are over.
func endSteps(b *board, ms int64) {
	if !isStepOver(b.levels[shortLevel], ms) {
		return
	}
	readSeries(b)
	begin := b.levels[shortLevel].startMs
	wasEmpty := len(b.levels[shortLevel].changed) == 0
	ended := endStep(b.levels, shortLevel, ms)
	if !wasEmpty || b.shownMs == begin {
		b.ended = ended
	}
	b.hasStep = false
	if isStepOver(b.levels[longLevel], ms) {
		endStep(b.levels, longLevel, ms)
	}
}

// latestCalls returns the calls after one and up to another, newest first.
func latestCalls(b *board, after, last int64) [][]byte {
	var calls [][]byte
	for i := len(b.calls) - 1; i >= 0; i-- {
		id := b.callID - int64(len(b.calls)-1-i)
		if id <= after {
			break
		}
		if id <= last {
			calls = append(calls, b.calls[i])
		}
	}
	return calls
}

// snapshotJSON returns all that a board has, with the calls up to one.
func snapshotJSON(b *board, ms, lastID int64) []byte {
	r := b.registry
	r.mu.Lock()
	started := r.started.UnixMilli()
	r.mu.Unlock()
	host, _ := os.Hostname()
	var text bytes.Buffer
	_, _ = fmt.Fprintf(&text, `{"version":1,"now":%d,"started":%d,"instance":%s,"scope":"traefik","bounds":{"duration":%s,"firstChunk":%s},"openStreams":%d,"series":%s,"history":{"steps":%s},"calls":%s`,
		ms, started, marshal(host), marshal(operationDuration.bounds), marshal(timeToFirstChunk.bounds), r.streams.Load(),
		arrayJSON(rowsJSON(b.rows)), arrayJSON(historyJSON(b.levels, ms)), arrayJSON(latestCalls(b, 0, lastID)))
	for kind, name := range listNames() {
		if encoded := b.lists[kind].encoded; encoded != nil {
			_, _ = fmt.Fprintf(&text, `,"%s":%s`, name, encoded)
		}
	}
	_, _ = text.WriteString("}")
	return text.Bytes()
}

// takeUpdate returns what has changed since the latest update; nil: nothing has.
func takeUpdate(b *board, ms int64) []byte {
	var text bytes.Buffer
	streams := b.registry.streams.Load()
	_, _ = fmt.Fprintf(&text, `{"now":%d,"openStreams":%d`, ms, streams)
	unchanged := text.Len()
	if len(b.changed) > 0 {
		_, _ = fmt.Fprintf(&text, `,"series":%s`, arrayJSON(rowsJSON(b.changed)))
	}
	for kind, name := range listNames() {
		l := b.lists[kind]
		if l.isChanged && l.encoded != nil {
			_, _ = fmt.Fprintf(&text, `,"%s":%s`, name, l.encoded)
		}
		l.isChanged = false
	}
	if b.sentID < b.callID {
		_, _ = fmt.Fprintf(&text, `,"calls":%s`, arrayJSON(latestCalls(b, b.sentID, b.callID)))
	}
	if step := takeStep(b, ms); step != nil {
		_, _ = fmt.Fprintf(&text, `,"step":%s`, step)
	}
	isNews := text.Len() > unchanged || streams != b.streams
	for _, row := range b.changed {
		row.isChanged = false
	}
	b.changed = nil
	b.sentID = b.callID
	b.streams = streams
	if !isNews {
		return nil
	}
	_, _ = text.WriteString("}")
	return text.Bytes()
}

// takeStep returns the step that pages need: the one that is over, if they do not know that, or the
// running one, if it has changed.
func takeStep(b *board, ms int64) []byte {
	l := b.levels[shortLevel]
	if ended := b.ended; ended != nil {
		b.ended = nil
		return ended // the running one follows with the next update
	}
	if !b.hasStep || ms <= l.startMs {
		return nil
	}
	b.hasStep = false
	b.shownMs = l.startMs
	return stepJSON(l, shortLevel, ms)
}
