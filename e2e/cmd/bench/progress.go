package main

import (
	"io"
	"regexp"

	"github.com/modelroute/chatcompletion/e2e/document"
	"github.com/modelroute/chatcompletion/e2e/progress"
)

// tally is the progress of a run: the rows of tables that have been written, of all that the
// documentation has for the selected parts. A nil tally shows nothing.
type tally struct {
	line      *progress.Line
	part      string
	rows, all int
}

func newTally(line *progress.Line, o options) *tally {
	t := &tally{line: line}
	for _, name := range o.parts {
		table, err := document.Read(benchmarks, "bench "+name)
		if err == nil { // else the part is new
			t.all += countRows(table, o.only)
		}
	}
	return t
}

// tableLine matches a line of a table. The first two of a table are its head.
var tableLine = regexp.MustCompile(`(?m)^\| ?(.*?) \|.*$`)

const headLines = 2

// countRows returns the number of rows whose first cell the expression matches.
func countRows(table string, only *regexp.Regexp) (count int) {
	for i, line := range tableLine.FindAllStringSubmatch(table, -1) {
		if i >= headLines && (only == nil || only.MatchString(line[1])) {
			count++
		}
	}
	return count
}

// begin records that a part begins.
func (t *tally) begin(part string) {
	t.part = part
	t.at("")
}

// at records what is being measured.
func (t *tally) at(name string) {
	if t == nil {
		return
	}
	note := "part " + t.part
	if name != "" {
		note += ", " + name
	}
	t.line.Set(float64(t.rows)/float64(max(t.all, t.rows+1)), "%s", note)
}

// counting returns a writer to out that counts the rows of a part's table, whose head comes first.
func (t *tally) counting(out io.Writer) io.Writer {
	return &rowCounter{tally: t, out: t.line.Above(out)}
}

type rowCounter struct {
	tally *tally
	out   io.Writer
	lines int
}

func (c *rowCounter) Write(text []byte) (int, error) {
	before := c.lines
	c.lines += len(tableLine.FindAllIndex(text, -1))
	c.tally.rows += max(c.lines-headLines, 0) - max(before-headLines, 0)
	return c.out.Write(text)
}
