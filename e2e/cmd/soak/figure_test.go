package main

import (
	"math"
	"math/rand"
	"testing"
)

// TestLeakDetection evaluates simulated runs of 120 and 600 samples, with one reload per sample.
func TestLeakDetection(t *testing.T) {
	tests := []struct {
		name   string
		figure func([]float64) figure
		value  func(sample int, random *rand.Rand) float64
		flat   bool
	}{
		{"noise of goroutines", goroutines, func(_ int, r *rand.Rand) float64 { return 60 + float64(r.Intn(20)) }, true},
		{"a goroutine a reload", goroutines, func(i int, r *rand.Rand) float64 { return 60 + float64(i+r.Intn(20)) }, false},
		{"a goroutine every fifth reload", goroutines, func(i int, r *rand.Rand) float64 { return 60 + float64(i/5+r.Intn(3)) }, false},
		{"warming up", goroutines, func(i int, _ *rand.Rand) float64 { return 60 + math.Min(float64(i), 20) }, true},
		{"outliers at the end", goroutines, func(i int, _ *rand.Rand) float64 {
			if i%10 == 9 && i > 90 {
				return 5000
			}
			return 60
		}, true},
		{"noise of the heap", heap, func(_ int, r *rand.Rand) float64 { return 40 + r.NormFloat64()/4 }, true},
		{"10 KB a reload", heap, func(i int, r *rand.Rand) float64 { return 40 + float64(i)*10/1024 + r.NormFloat64()/10 }, false},
		{"a file a reload", files, func(i int, r *rand.Rand) float64 { return 90 + float64(i+r.Intn(10)) }, false},
		{"a step of the resident memory", resident, func(i int, _ *rand.Rand) float64 { return 200 + float64(i/60%2)*16 }, true},
		{"1 MB a reload", resident, func(i int, _ *rand.Rand) float64 { return 200 + float64(i) }, false},
	}
	for _, test := range tests {
		for _, samples := range []int{120, 600} {
			random := rand.New(rand.NewSource(1))
			values := make([]float64, samples)
			for i := range values {
				values[i] = test.value(i, random)
			}
			if c := test.figure(values).compare(samples); c.flat() != test.flat {
				t.Errorf("%s, %d samples: flat = %t, want %t: from %.2f to %.2f, allowed %.2f", test.name, samples, c.flat(), test.flat, c.early, c.late, c.allowed)
			}
		}
	}
}

// TestMemoryThatForgetsIsFlat simulates the heap while the memory fills: a half of it takes a fifth of
// the run, and the tools fill it a little faster.
func TestMemoryThatForgetsIsFlat(t *testing.T) {
	const halfSize = 1.2 // MB
	tests := []struct {
		name string
		held func(halves float64) float64 // of so many that were filled
		flat bool
	}{
		{"forgets the older half", func(halves float64) float64 { return min(halves, 1+halves-math.Floor(halves)) }, true},
		{"forgets nothing", func(halves float64) float64 { return halves }, false},
		{"forgets two of three", func(halves float64) float64 { return halves / 3 }, false},
	}
	for _, test := range tests {
		for _, tools := range []float64{1, 1.1, 1.25} {
			random := rand.New(rand.NewSource(1))
			values := make([]float64, fillSamples)
			for i := range values {
				values[i] = 44 + halfSize*test.held(tools*5*float64(i+1)/fillSamples) + random.NormFloat64()/10
			}
			if c := fullHeap(values).compare(0); c.flat() != test.flat {
				t.Errorf("%s, %.2f times as fast: flat = %t, want %t: from %.2f to %.2f, allowed %.2f", test.name, tools, c.flat(), test.flat, c.early, c.late, c.allowed)
			}
		}
	}
}
