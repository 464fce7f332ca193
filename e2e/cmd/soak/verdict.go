package main

import (
	"fmt"
	"math"
	"slices"
)

// figure is one that has to be flat over the run.
type figure struct {
	name   string
	unit   string
	values []float64 // one of each sample

	// each is the growth for each reload that is no leak, floor the growth of the whole run that is none.
	each, floor float64
}

// judgement says how a figure went over the run.
type judgement struct {
	early, late float64 // medians of the second and of the last fifth
	allowed     float64 // growth
}

// flat reports whether the figure grew by no more than it may.
func (j judgement) flat() bool { return j.late-j.early <= j.allowed }

// noiseErrors is how many standard errors a growth must have to be one.
const noiseErrors = 4

// judge compares the second fifth of the run with the last one: in the first, connections open, caches fill and heaps settle.
// A growth is a leak if it is more than each reload may leave behind, and more than the noise of the samples explains. A
// leak for each reload grows with the run, noise does not: so one criterion fits runs of any length.
func (f figure) judge(reloads int) judgement {
	count := len(f.values)
	early, late := f.values[count/5:2*count/5], f.values[count-count/5:]
	between := float64(reloads) * 3 / 5
	noise := noiseErrors * math.Hypot(standardError(early), standardError(late))
	return judgement{early: median(early), late: median(late), allowed: max(f.each*between, f.floor, noise)}
}

// standardError is that of the median, as far as the samples are independent. It goes by absolute deviations, which single
// outliers do not change.
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

// row is the figure's in the table of the report.
func (f figure) row(j judgement) string {
	verdict := "flat"
	if !j.flat() {
		verdict = "**grows**"
	}
	value := func(v float64) string { return fmt.Sprintf("%.*f%s", f.digits(), v, f.unit) }
	return fmt.Sprintf("| %s | %s | %s | %+.*f%s | %s | %s |\n",
		f.name, value(j.early), value(j.late), f.digits(), j.late-j.early, f.unit, value(j.allowed), verdict)
}

// digits are those behind the point.
func (f figure) digits() int {
	if f.unit == "" {
		return 0
	}
	return 2
}
