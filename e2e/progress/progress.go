// Package progress says how far a long task is, and how long it will take: in a terminal, as one
// line that moves; elsewhere, such as in the log of CI, as a line now and then.
package progress

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"
)

const (
	// redrawInterval is the time between two states of the moving line.
	redrawInterval = 500 * time.Millisecond

	// quietTime is how long a task may take without a line, where no line can move.
	quietTime = 5 * time.Second

	// lineInterval is the time between two such lines.
	lineInterval = 30 * time.Second

	// estimateFrom is the part of a task that must be done before its end can be estimated.
	estimateFrom = 0.02

	// fallbackWidth is the width of a terminal that does not tell its own.
	fallbackWidth = 80

	eraseLine = "\r\x1b[K"
)

// Line is the progress of one task.
type Line struct {
	task  string
	begin time.Time
	out   io.Writer
	width int // of the terminal; 0: out is none

	mutex sync.Mutex
	part  float64 // that is done, from 0 to 1
	note  string  // what the task is at
	shown bool    // a line was written

	stop    chan struct{}
	stopped sync.WaitGroup
}

// Start begins a task, such as "building traefik". The caller must call End.
func Start(out io.Writer, task string) *Line {
	l := &Line{task: task, begin: time.Now(), out: out, width: widthOf(out), stop: make(chan struct{})}
	l.stopped.Add(1)
	go l.show()
	return l
}

// widthOf returns the width of a terminal, and 0 for anything else.
func widthOf(out io.Writer) int {
	file, isFile := out.(*os.File)
	if !isFile || !term.IsTerminal(int(file.Fd())) {
		return 0
	}
	if width, _, err := term.GetSize(int(file.Fd())); err == nil && width > 0 {
		return width
	}
	return fallbackWidth
}

// show writes the line from time to time until the task ends.
func (l *Line) show() {
	defer l.stopped.Done()
	first, interval := quietTime, lineInterval
	if l.width > 0 {
		first, interval = redrawInterval, redrawInterval
	}
	timer := time.NewTimer(first)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			l.mutex.Lock()
			l.write()
			l.mutex.Unlock()
			timer.Reset(interval)
		case <-l.stop:
			return
		}
	}
}

// Set records which part of the task is done, from 0 to 1, and what the task is at.
func (l *Line) Set(part float64, format string, args ...any) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.part, l.note = min(max(part, 0), 1), fmt.Sprintf(format, args...)
}

// End ends the task. It removes the moving line; elsewhere, it writes how long the task took if
// there was a line before.
func (l *Line) End() {
	close(l.stop)
	l.stopped.Wait()
	switch {
	case l.shown && l.width > 0:
		_, _ = io.WriteString(l.out, eraseLine)
	case l.shown:
		_, _ = fmt.Fprintf(l.out, "%s: ended after %s\n", l.task, rounded(time.Since(l.begin)))
	}
}

// Above returns a writer for other text. In a terminal, the text appears above the moving line.
func (l *Line) Above(out io.Writer) io.Writer { return above{l, out} }

type above struct {
	line *Line
	out  io.Writer
}

func (a above) Write(text []byte) (int, error) {
	l := a.line
	l.mutex.Lock()
	defer l.mutex.Unlock()
	moves := l.shown && l.width > 0
	if moves {
		_, _ = io.WriteString(l.out, eraseLine)
	}
	n, err := a.out.Write(text)
	if moves && n > 0 && text[n-1] == '\n' {
		l.write()
	}
	return n, err
}

// write writes the current state. The caller holds the mutex.
func (l *Line) write() {
	l.shown = true
	text := l.state()
	if l.width == 0 {
		_, _ = fmt.Fprintln(l.out, text)
		return
	}
	if runes := []rune(text); len(runes) >= l.width {
		text = string(runes[:l.width-1])
	}
	_, _ = io.WriteString(l.out, eraseLine+text)
}

// State returns the line without writing it.
func (l *Line) State() string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return l.state()
}

func (l *Line) state() string { return describe(l.task, l.note, l.part, time.Since(l.begin)) }

// describe returns the line: "building traefik: 812 of 1903 packages, 43 %, 1m50s, about 2m30s left".
func describe(task, note string, part float64, elapsed time.Duration) string {
	text := task
	if note != "" {
		text += ": " + note
	}
	if part > 0 {
		text += fmt.Sprintf(", %.0f %%", 100*part)
	}
	text += ", " + rounded(elapsed)
	if part >= estimateFrom && part < 1 {
		text += fmt.Sprintf(", about %s left", rounded(time.Duration(float64(elapsed)*(1-part)/part)))
	}
	return text
}

// rounded formats a duration without the digits that tell nothing.
func rounded(d time.Duration) string {
	unit := time.Second
	if d > 10*time.Minute {
		unit = time.Minute
	}
	text := d.Round(unit).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	return text
}
