package main

import (
	"context"
	"fmt"
	"io"

	"github.com/modelroute/chatcompletion/e2e/agent"
	"github.com/modelroute/chatcompletion/e2e/chart"
	"github.com/modelroute/chatcompletion/e2e/document"
)

// turnsPlot is the file name of the plot.
const turnsPlot = "cost-by-turns.svg"

// plottedTools is the number of tools of the sessions that are plotted.
const plottedTools = 30

// turns writes and plots the CPU time of a request of an agent by the turns before it.
func (b *bench) turns(ctx context.Context, out io.Writer) error {
	if _, err := io.WriteString(out, tableHead("turns", "body", "CPU bare", "CPU plugin", "ratio", "CPU compiled", "ratio")); err != nil {
		return err
	}
	bare := chart.Line{Name: "without the plugin", Grey: true}
	cost := []chart.Line{{Name: "interpreted"}, {Name: "compiled in"}}
	ratio := []chart.Line{{Name: "interpreted"}, {Name: "compiled in"}}
	work := b.options.further
	work.latency = 0
	for _, turns := range b.options.turns {
		c := benchCase{name: fmt.Sprintf("%d turns", turns), agents: &agent.Profile{Turns: turns, Tools: plottedTools}}
		measured, err := b.measure(ctx, c, work, b.bare, b.plugin, b.compiledBare, b.compiledPlugin)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		row := []string{fmt.Sprint(turns), kilobytes(float64(c.size())), rounded(median(measured[0].cpu))}
		x := float64(turns)
		bare.Points = append(bare.Points, chart.Point{X: x, Y: median(measured[0].cpu) / 1e6})
		for i := range cost {
			without, with := median(measured[2*i].cpu), median(measured[2*i+1].cpu)
			row = append(row, rounded(with), times(with, without))
			cost[i].Points = append(cost[i].Points, chart.Point{X: x, Y: with / 1e6})
			if without > 0 { // less than a clock tick has no ratio
				ratio[i].Points = append(ratio[i].Points, chart.Point{X: x, Y: with / without})
			}
		}
		if _, err := io.WriteString(out, tableRow(row...)); err != nil {
			return err
		}
	}
	path, err := document.Plot(turnsPlot, b.options.write)
	if err != nil {
		return err
	}
	axis := chart.Axis{Label: "turns of the conversation"}
	return chart.WriteFile(path,
		chart.Panel{Title: "CPU a request", X: axis, Y: chart.Axis{Label: "ms"}, Lines: append(cost, bare)},
		chart.Panel{Title: "CPU with the plugin / without", X: axis, Lines: ratio},
	)
}
