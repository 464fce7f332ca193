package main

import (
	"fmt"
	"math"
	"slices"
)

// figure is a series of samples that must stay flat over the run.
type figure struct {
	name   string
	unit   string
	values []float64 // one per sample

	// each is the growth per reload, and floor the growth over the whole run, that do not count as
	// a leak.
	each, floor float64
}

// comparison compares the second fifth of a run with the last one.
type comparison struct {
	early, late float64 // medians of the second and of the last fifth
	allowed     float64 // growth that is not a leak
}

// flat reports whether the figure grew by no more than allowed.
func (c comparison) flat() bool { return c.late-c.early <= c.allowed }

// noiseErrors is the number of standard errors beyond which growth is not noise.
const noiseErrors = 4

// compare compares the second fifth of the run with the last one; during the first fifth,
// connections open, caches fill and heaps settle. Growth is a leak if it exceeds what each reload
// may add and what the noise of the samples explains. A leak per reload grows with the length of
// the run, noise does not, so one criterion fits runs of any length.
func (f figure) compare(reloads int) comparison {
	count := len(f.values)
	early, late := f.values[count/5:2*count/5], f.values[count-count/5:]
	between := float64(reloads) * 3 / 5
	noise := noiseErrors * math.Hypot(standardError(early), standardError(late))
	return comparison{early: median(early), late: median(late), allowed: max(f.each*between, f.floor, noise)}
}

// standardError estimates the standard error of the median, assuming independent samples. It uses
// the median absolute deviation, which is robust against outliers.
func standardError(samples []float64) float64 {
	center := median(samples)
	deviations := make([]float64, len(samples))
	for i, sample := range samples {
		deviations[i] = math.Abs(sample - center)
	}
	const deviationToSigma, sigmaOfMedian = 1.4826, 1.2533
	return deviationToSigma * sigmaOfMedian * median(deviations) / math.Sqrt(float64(len(samples)))
}

func median(samples []float64) float64 {
	sorted := slices.Sorted(slices.Values(samples))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// row formats the figure as a row of the report's table.
func (f figure) row(c comparison) string {
	result := "flat"
	if !c.flat() {
		result = "**grows**"
	}
	value := func(v float64) string { return fmt.Sprintf("%.*f%s", f.digits(), v, f.unit) }
	return fmt.Sprintf("| %s | %s | %s | %+.*f%s | %s | %s |\n",
		f.name, value(c.early), value(c.late), f.digits(), c.late-c.early, f.unit, value(c.allowed), result)
}

// digits returns the number of decimal places.
func (f figure) digits() int {
	if f.unit == "" {
		return 0
	}
	return 2
}
