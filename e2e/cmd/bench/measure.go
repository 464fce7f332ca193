package main

import (
	"context"
	"sort"
	"time"
)

// warmUp is the number of requests before a measurement, during which connections open and heaps
// settle. Large requests are fewer, so that their total stays within warmUpBytes.
const (
	warmUp      = 200
	warmUpBytes = 32 << 20
)

// figures are the results of a case for one target, in nanoseconds per request or event.
type figures struct {
	cpu       []float64 // one per round
	latencies []float64 // samples of all rounds
}

// measure alternates short rounds between the targets, so that other load on the machine affects
// all of them equally.
func (b *bench) measure(ctx context.Context, c benchCase, work effort, targets ...target) ([]figures, error) {
	b.tally.at(c.name)
	counts := make([]int, len(targets))
	for i, to := range targets {
		count, err := b.calibrate(ctx, c, to, work.cpu)
		if err != nil {
			return nil, err
		}
		counts[i] = count
	}
	measured := make([]figures, len(targets))
	for range work.rounds {
		for i, to := range targets {
			cpu, err := b.cpu(ctx, c, to, counts[i])
			if err != nil {
				return nil, err
			}
			measured[i].cpu = append(measured[i].cpu, cpu)
		}
		for i, to := range targets {
			latencies, err := b.latencies(ctx, c, to, work.latency, measured[i].latencies)
			if err != nil {
				return nil, err
			}
			measured[i].latencies = latencies
		}
	}
	return measured, nil
}

// calibrate returns the number of requests that cost the target about the wanted CPU time.
func (b *bench) calibrate(ctx context.Context, c benchCase, to target, want time.Duration) (int, error) {
	if err := b.warm(ctx, c, to); err != nil {
		return 0, err
	}
	for count := concurrency; ; count *= 2 {
		each, err := b.cpu(ctx, c, to, count)
		if err != nil {
			return 0, err
		}
		total := each * float64(count*c.units())
		if total >= float64(want)/10 {
			return max(1, int(float64(count)*float64(want)/total)), nil
		}
	}
}

// warm sends the target requests until connections are open and heaps have settled.
func (b *bench) warm(ctx context.Context, c benchCase, to target) error {
	requests, err := b.prepare(ctx, c, to, min(warmUp/c.units(), warmUpBytes/c.size())+concurrency)
	if err != nil {
		return err
	}
	return b.load(ctx, c, to, requests)
}

// cpu sends at least count requests and returns the target's CPU time per unit, in nanoseconds.
func (b *bench) cpu(ctx context.Context, c benchCase, to target, count int) (float64, error) {
	requests, err := b.prepare(ctx, c, to, count)
	if err != nil {
		return 0, err
	}
	before, err := to.process.CPU()
	if err != nil {
		return 0, err
	}
	if err := b.load(ctx, c, to, requests); err != nil {
		return 0, err
	}
	after, err := to.process.CPU()
	if err != nil {
		return 0, err
	}
	return float64(after-before) / float64(requests.count()*c.units()), nil
}

// latencies appends the time that a single client waits per unit, in nanoseconds.
func (b *bench) latencies(ctx context.Context, c benchCase, to target, spend time.Duration, samples []float64) ([]float64, error) {
	for begin := time.Now(); time.Since(begin) < spend; {
		requests, err := b.prepare(ctx, c, to, 1)
		if err != nil {
			return nil, err
		}
		for _, s := range requests {
			for n := range s.length {
				took, err := b.send(ctx, c, to, s.body(n))
				if err != nil {
					return nil, err
				}
				samples = append(samples, float64(took)/float64(c.units()))
			}
		}
	}
	return samples, nil
}

// ratios returns the ratio of two targets' figures for each round.
func ratios(above, below []float64) []float64 {
	quotients := make([]float64, len(above))
	for i := range above {
		quotients[i] = above[i] / below[i]
	}
	return quotients
}

func median(samples []float64) float64 {
	sorted := append([]float64{}, samples...)
	sort.Float64s(sorted)
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// percentile returns the sample below which the given percentage of samples lies.
func percentile(samples []float64, percent int) float64 {
	sorted := append([]float64{}, samples...)
	sort.Float64s(sorted)
	return sorted[len(sorted)*percent/100]
}
