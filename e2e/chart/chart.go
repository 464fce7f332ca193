// Package chart draws the plots in the documentation as SVG, in one style.
package chart

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"os"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Axis is a horizontal or vertical axis.
type Axis struct {
	// Label names the quantity or its unit.
	Label string

	// Log makes the axis logarithmic; all values must be above 0. Default: linear, from 0.
	Log bool

	// Marks label values. Default: round numbers.
	Marks []Mark
}

// Mark is a labelled value of an axis.
type Mark struct {
	Value float64
	Label string
}

// Point is a pair of values.
type Point struct{ X, Y float64 }

// Line connects points. A line without a name has no entry in the legend.
type Line struct {
	Name   string
	Points []Point

	// Grey draws a dashed grey line, as a reference. Default: the next colour.
	Grey bool
}

// Panel is one plot.
type Panel struct {
	Title string
	X, Y  Axis
	Lines []Line
}

const (
	panelWidth  = 12 * vg.Centimeter
	panelHeight = 8 * vg.Centimeter
	gap         = 4 * vg.Millimeter
)

// Viewers without the font use a metrically compatible one.
const (
	fontFamily   = "font-family:Liberation Sans"
	alternatives = ",Arial,Helvetica,sans-serif"
)

var grey = color.RGBA{R: 120, G: 120, B: 120, A: 255}

// colours is the palette of Okabe and Ito, which people with colour vision deficiency can
// distinguish.
var colours = []color.Color{
	color.RGBA{R: 0, G: 114, B: 178, A: 255},
	color.RGBA{R: 213, G: 94, B: 0, A: 255},
	color.RGBA{R: 0, G: 158, B: 115, A: 255},
	color.RGBA{R: 204, G: 121, B: 167, A: 255},
}

// WriteFile writes the panels, two in a row, as one SVG.
func WriteFile(path string, panels ...Panel) error {
	const columns = 2
	rows := (len(panels) + columns - 1) / columns
	plots := make([][]*plot.Plot, rows)
	for i, panel := range panels {
		drawn, err := panel.plot()
		if err != nil {
			return fmt.Errorf("%s: %w", panel.Title, err)
		}
		plots[i/columns] = append(plots[i/columns], drawn)
	}
	for len(plots[rows-1]) < columns {
		plots[rows-1] = append(plots[rows-1], nil)
	}
	image := vgsvg.New(columns*panelWidth, vg.Length(rows)*panelHeight)
	canvas := draw.New(image)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Rectangle.Path())
	tiles := draw.Tiles{Rows: rows, Cols: columns, PadX: gap, PadY: gap, PadTop: gap, PadBottom: gap, PadLeft: gap, PadRight: gap}
	for row, canvases := range plot.Align(plots, tiles, canvas) {
		for column, tile := range canvases {
			if plots[row][column] != nil {
				plots[row][column].Draw(tile)
			}
		}
	}
	var content bytes.Buffer
	if _, err := image.WriteTo(&content); err != nil {
		return err
	}
	return os.WriteFile(path, bytes.ReplaceAll(content.Bytes(), []byte(fontFamily), []byte(fontFamily+alternatives)), 0o644)
}

func (p Panel) plot() (*plot.Plot, error) {
	drawn := plot.New()
	drawn.Title.Text = p.Title
	drawn.Legend.Top, drawn.Legend.Left = true, true
	p.X.apply(&drawn.X)
	p.Y.apply(&drawn.Y)
	for _, style := range []*font.Font{
		&drawn.Title.TextStyle.Font, &drawn.Legend.TextStyle.Font,
		&drawn.X.Label.TextStyle.Font, &drawn.X.Tick.Label.Font, &drawn.Y.Label.TextStyle.Font, &drawn.Y.Tick.Label.Font,
	} {
		style.Variant = "Sans"
	}
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = color.Gray{Y: 225}, color.Gray{Y: 225}
	drawn.Add(grid)
	coloured, named := 0, 0
	for _, l := range p.Lines {
		points := make(plotter.XYs, len(l.Points))
		for i, point := range l.Points {
			points[i] = plotter.XY(point)
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.Name, err)
		}
		line.Width = 1.5 * vg.Millimeter / 4
		if l.Grey {
			line.Color, line.Dashes = grey, []vg.Length{vg.Points(4), vg.Points(3)}
		} else {
			line.Color = colours[coloured%len(colours)]
			coloured++
		}
		drawn.Add(line)
		if l.Name != "" {
			drawn.Legend.Add(l.Name, line)
			named++
		}
	}
	if !p.X.Log {
		drawn.X.Min = 0
	}
	// Leave room above the lines for a legend.
	if p.Y.Log {
		drawn.Y.Max *= math.Pow(drawn.Y.Max/drawn.Y.Min, 0.5)
	} else {
		drawn.Y.Min = 0
		drawn.Y.Max *= 1.1 + 0.1*float64(named)
	}
	return drawn, nil
}

func (a Axis) apply(axis *plot.Axis) {
	axis.Label.Text = a.Label
	axis.Tick.Marker = plot.TickerFunc(roundTicks)
	if a.Log {
		axis.Scale = plot.LogScale{}
		axis.Tick.Marker = plot.LogTicks{Prec: -1}
	}
	if len(a.Marks) > 0 {
		marks := make(plot.ConstantTicks, len(a.Marks))
		for i, mark := range a.Marks {
			marks[i] = plot.Tick(mark)
		}
		axis.Tick.Marker = marks
	}
}

// roundTicks returns four to ten ticks at multiples of 1, 2 or 5 times a power of ten.
func roundTicks(from, to float64) []plot.Tick {
	const fewest = 4
	step := math.Pow(10, math.Floor(math.Log10((to-from)/fewest)))
	for _, factor := range []float64{5, 2} {
		if (to-from)/(step*factor) >= fewest {
			step *= factor
			break
		}
	}
	var ticks []plot.Tick
	for n := math.Ceil(from / step); n*step <= to; n++ {
		ticks = append(ticks, plot.Tick{Value: n * step, Label: fmt.Sprintf("%g", n*step)})
	}
	return ticks
}
