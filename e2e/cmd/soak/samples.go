package main

import (
	"context"
	"fmt"
	"time"

	"github.com/modelroute/chatcompletion/e2e/chart"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// samples are measurements of Traefik over time, taken while no short call runs; sizes in MB.
type samples struct {
	minutes                           []float64
	goroutines, heap, resident, files []float64
}

// take collects Traefik's garbage and adds a sample.
func (s *samples) take(ctx context.Context, g *gateway.Gateway, since time.Duration) error {
	memory, err := g.CollectGarbage(ctx)
	if err != nil {
		return err
	}
	state, err := g.Runtime(ctx)
	if err != nil {
		return err
	}
	resident, err := g.RSS()
	if err != nil {
		return err
	}
	files, err := g.OpenFiles()
	if err != nil {
		return err
	}
	const megabyte = 1 << 20
	s.minutes = append(s.minutes, since.Minutes())
	s.goroutines = append(s.goroutines, float64(state.Goroutines))
	s.heap = append(s.heap, float64(memory.Heap)/megabyte)
	s.resident = append(s.resident, float64(resident)/megabyte)
	s.files = append(s.files, float64(files))
	return nil
}

// String describes the last sample.
func (s *samples) String() string {
	last := len(s.minutes) - 1
	return fmt.Sprintf("%.0f goroutines, heap %.1f MB, RSS %.0f MB, %.0f file descriptors", s.goroutines[last], s.heap[last], s.resident[last], s.files[last])
}

// figures returns the figures that must stay flat.
func (s *samples) figures() []figure {
	return []figure{goroutines(s.goroutines), heap(s.heap), resident(s.resident), files(s.files)}
}

func goroutines(values []float64) figure {
	return figure{name: "goroutines", values: values, each: 0.1, floor: 10}
}

func heap(values []float64) figure {
	return figure{name: "heap after a collection", unit: " MB", values: values, each: 5.0 / 1024, floor: 0.25}
}

// fullHeap is the heap while conversations fill the plugin's memory of them, which forgets the oldest.
// Each fifth of its samples is as long as the memory takes to forget half of what it holds.
func fullHeap(values []float64) figure {
	return figure{name: "heap with a full memory of conversations", unit: " MB", values: values, floor: 0.5}
}

// resident is the resident set size that the kernel counts. The Go runtime returns memory late and
// in large pieces.
func resident(values []float64) figure {
	return figure{name: "resident memory", unit: " MB", values: values, each: 64.0 / 1024, floor: 32}
}

func files(values []float64) figure {
	return figure{name: "file descriptors", values: values, each: 0.1, floor: 10}
}

// panels draws figures over time.
func (s *samples) panels(figures ...figure) []chart.Panel {
	panels := make([]chart.Panel, len(figures))
	for i, f := range figures {
		points := make([]chart.Point, len(f.values))
		for n, value := range f.values {
			points[n] = chart.Point{X: s.minutes[n], Y: value}
		}
		panels[i] = chart.Panel{
			Title: f.name,
			X:     chart.Axis{Label: "minutes"},
			Y:     chart.Axis{Label: f.unit},
			Lines: []chart.Line{{Points: points}},
		}
	}
	return panels
}
