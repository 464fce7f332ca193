package chatcompletion

import (
	"bytes"
	"sort"
	"time"
)

// statusClientClosedRequest is the status with which Traefik responds if the client has left.
const statusClientClosedRequest = 499

// windowChunks is the number of chunks after which the window is scanned. Traefik sends at most 32
// KiB at a time.
const windowChunks = 32

// Chunks are large if the provider is faster than the client. The window is then scanned as soon as
// it has largeWindowBytes, so that clients that do not read hold little memory.
const (
	largeChunkBytes  = 16 << 10
	largeWindowBytes = 128 << 10
)

// checkWindow scans the window if it is full, or if the client's connection failed.
func checkWindow(w *responseWriter, err error) {
	if err != nil || len(w.arrivals) == windowChunks || (w.window != nil && w.window.Len() >= largeWindowBytes) {
		scanFullWindow(w, err)
	}
}

// scanFullWindow records an error of the client's connection, and scans a window that is full.
func scanFullWindow(w *responseWriter, err error) {
	if err != nil {
		w.writeErr = err
	}
	if w.recording != nil {
		boundRecording(w)
	}
	if w.window != nil {
		meterChunks(w)
		rest := scanWindow(w.reader, w.window.Bytes(), false)
		if len(rest) < w.window.Len() {
			w.scanned += w.window.Len() - len(rest)
			w.window.Reset()
			_, _ = w.window.Write(rest) // moves it to the front
		}
	}
	w.arrivals = w.arrivals[:0]
}

// finishWindow reads the last window.
func finishWindow(w *responseWriter) {
	reader, seen := w.reader, w.window.Bytes()
	switch {
	case reader.stream || reader.capture != nil || len(seen) > smallResponseMaxBytes:
		scanLast(w, seen)
	case reader.kind == completions && readSmallResponse(reader, seen):
	case reader.kind == responses && readSmallItems(reader, seen):
	case readSmallNative(reader, seen):
	default:
		scanLast(w, seen)
	}
}

// readSmallNative is readSmallResponse for protocols other than OpenAI's.
func readSmallNative(reader *responseReader, body []byte) bool {
	switch reader.kind {
	case messages:
		return readSmallMessage(reader, body)
	case generateContent:
		return !reader.wantsParts && readSmallContents(reader, body)
	}
	return false
}

// scanLast scans a last window of any kind.
func scanLast(w *responseWriter, window []byte) {
	reader := w.reader
	reader.cut = !w.complete
	if reader.stream {
		meterChunks(w)
	}
	scanWindow(reader, window, true)
	if reader.stream {
		finishChunkTimes(w)
	}
	if reader.capture != nil {
		reader.record.Content = captured(reader)
	}
}

// meterFirstChunk records when the first chunk with data arrived: comments only keep the connection
// open. An array arrives with its first element.
func meterFirstChunk(w *responseWriter) {
	seen := w.window.Bytes()
	if w.reader.array || bytes.Contains(seen, dataLine) || bytes.Contains(seen, dataAfterReturn) || bytes.HasPrefix(seen[1:], dataAfterMark) {
		c := w.call
		c.FirstChunk = time.Since(w.start)
		c.Chunks = &ChunkTimes{Counts: make([]int64, len(chunkTime.bounds)+1)}
		w.lastChunk = c.FirstChunk
	}
}

// meterChunks records the times between the chunks after the first one.
func meterChunks(w *responseWriter) {
	times := w.call.Chunks
	if times == nil {
		return
	}
	for _, at := range w.arrivals {
		gap := at - w.lastChunk
		w.lastChunk = at
		if gap < fastChunk {
			times.Counts[0]++
		} else {
			times.Counts[sort.SearchFloat64s(chunkTime.bounds, gap.Seconds())]++
		}
	}
}

// fastChunk is the first bound of chunkTime.
const fastChunk = 10 * time.Millisecond

// finishChunkTimes makes the times between chunks agree with the events: several events may have
// arrived at once, which are 0 apart, and one may have arrived in pieces.
func finishChunkTimes(w *responseWriter) {
	c := w.call
	times := c.Chunks
	if times == nil {
		return
	}
	events := w.reader.events - 1
	if w.reader.done {
		events--
	}
	if events < 1 {
		c.Chunks = nil
		return
	}
	times.Sum = w.lastChunk - c.FirstChunk
	surplus := -int64(events)
	for _, count := range times.Counts {
		surplus += count
	}
	if surplus < 0 {
		times.Counts[0] -= surplus
		return
	}
	for i, count := range times.Counts {
		if count > surplus {
			count = surplus
		}
		times.Counts[i] -= count
		surplus -= count
	}
}
