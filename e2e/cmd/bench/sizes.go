package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/modelroute/chatcompletion/e2e/chart"
	"github.com/modelroute/chatcompletion/e2e/document"
)

// sizesPlot is the file name of the plot.
const sizesPlot = "body-sizes.svg"

// content is a kind of body.
type content struct {
	name string
	body func(size int) []byte

	// largest is the largest size that is measured: the plugin rejects the next size for its number
	// of values. Default: all sizes.
	largest int
}

func contents() []content {
	return []content{
		{name: "prose", body: proseRequest},
		{name: "code", body: codeRequest},
		{name: "tools", body: toolsRequest, largest: 256 << 10},
		{name: "image", body: imageRequest},
	}
}

// sizeName formats a size, such as 4 KB.
func sizeName(size int) string {
	switch {
	case size >= 10_000_000:
		return "10 MB"
	case size >= 1<<20:
		return fmt.Sprintf("%d MB", size>>20)
	}
	return fmt.Sprintf("%d KB", size>>10)
}

func ratioMarks() []chart.Mark {
	var marks []chart.Mark
	for _, ratio := range []float64{1, 2, 5, 10, 20, 50, 100} {
		marks = append(marks, chart.Mark{Value: ratio, Label: fmt.Sprint(ratio)})
	}
	return marks
}

// sizes writes and plots the CPU time of bodies by content and size.
func (b *bench) sizes(ctx context.Context, out io.Writer) error {
	head := []string{"body"}
	panels := []chart.Panel{
		{Title: "CPU a request", X: chart.Axis{Label: "body", Log: true}, Y: chart.Axis{Label: "ms", Log: true}},
		{Title: "CPU with the plugin / without", X: chart.Axis{Label: "body", Log: true}, Y: chart.Axis{Log: true, Marks: ratioMarks()}},
	}
	lines := make([][]chart.Line, len(panels))
	for i := range panels {
		lines[i] = make([]chart.Line, len(contents()))
	}
	bare := chart.Line{Name: "prose, without the plugin", Grey: true}
	for i, c := range contents() {
		head = append(head, c.name+" bare", "plugin", "ratio")
		lines[0][i].Name, lines[1][i].Name = c.name, c.name
	}
	if _, err := io.WriteString(out, tableHead(head...)); err != nil {
		return err
	}
	work := b.options.further
	work.latency = 0
	for _, size := range b.options.sizes {
		row := []string{sizeName(size)}
		for i, c := range contents() {
			if c.largest > 0 && size > c.largest {
				row = append(row, "–", "–", "–")
				continue
			}
			measured, err := b.measure(ctx, benchCase{name: c.name, body: c.body(size)}, work, b.bare, b.plugin)
			if err != nil {
				return fmt.Errorf("%s of %s: %w", sizeName(size), c.name, err)
			}
			without, with := median(measured[0].cpu), median(measured[1].cpu)
			row = append(row, rounded(without), rounded(with), times(with, without))
			if without <= 0 || with <= 0 {
				continue // less than a clock tick: nothing to plot
			}
			x := float64(size)
			lines[0][i].Points = append(lines[0][i].Points, chart.Point{X: x, Y: with / 1e6})
			lines[1][i].Points = append(lines[1][i].Points, chart.Point{X: x, Y: with / without})
			if i == 0 {
				bare.Points = append(bare.Points, chart.Point{X: x, Y: without / 1e6})
			}
		}
		for i := range panels {
			panels[i].X.Marks = append(panels[i].X.Marks, chart.Mark{Value: float64(size), Label: sizeName(size)})
		}
		if _, err := io.WriteString(out, tableRow(row...)); err != nil {
			return err
		}
	}
	panels[0].Lines = append(slices.Clone(lines[0]), bare)
	panels[1].Lines = lines[1]
	path, err := document.Plot(sizesPlot, b.options.write)
	if err != nil {
		return err
	}
	return chart.WriteFile(path, panels...)
}
