package main

import (
	"context"
	"sort"
	"time"
)

// warmUp is the number of requests before anything is measured: connections open, heaps settle.
const warmUp = 200

// figures of a case; durations are those of a request, or of an event.
type figures struct {
	bareCPU, pluginCPU time.Duration
	cpuRatio           float64
	bareP50, pluginP50 time.Duration
}

// measure alternates short rounds, so that what else the machine does meets both targets alike.
func (b *bench) measure(ctx context.Context, c benchCase, work effort) (figures, error) {
	bareCount, err := b.calibrate(ctx, c, bare, work.cpu)
	if err != nil {
		return figures{}, err
	}
	pluginCount, err := b.calibrate(ctx, c, plugin, work.cpu)
	if err != nil {
		return figures{}, err
	}
	var bareCPU, pluginCPU, ratios []float64
	var bareLatencies, pluginLatencies []float64
	for range work.rounds {
		without, err := b.cpu(ctx, c, bare, bareCount)
		if err != nil {
			return figures{}, err
		}
		with, err := b.cpu(ctx, c, plugin, pluginCount)
		if err != nil {
			return figures{}, err
		}
		bareCPU, pluginCPU, ratios = append(bareCPU, without), append(pluginCPU, with), append(ratios, with/without)

		if bareLatencies, err = b.latencies(ctx, c, bare, work.latency, bareLatencies); err != nil {
			return figures{}, err
		}
		if pluginLatencies, err = b.latencies(ctx, c, plugin, work.latency, pluginLatencies); err != nil {
			return figures{}, err
		}
	}
	return figures{
		bareCPU:   time.Duration(median(bareCPU)),
		pluginCPU: time.Duration(median(pluginCPU)),
		cpuRatio:  median(ratios),
		bareP50:   time.Duration(median(bareLatencies)),
		pluginP50: time.Duration(median(pluginLatencies)),
	}, nil
}

// calibrate returns how many requests cost the gateway that much processor time.
func (b *bench) calibrate(ctx context.Context, c benchCase, to target, want time.Duration) (int, error) {
	if err := b.load(ctx, c, to, warmUp/c.units()+concurrency); err != nil {
		return 0, err
	}
	for count := concurrency; ; count *= 2 {
		each, err := b.cpu(ctx, c, to, count)
		if err != nil {
			return 0, err
		}
		total := each * float64(count*c.units())
		if total >= float64(want)/10 {
			return int(float64(count) * float64(want) / total), nil
		}
	}
}

// cpu is the processor time of the gateway for each unit of count requests, in nanoseconds.
func (b *bench) cpu(ctx context.Context, c benchCase, to target, count int) (float64, error) {
	before, err := b.gateway.CPU()
	if err != nil {
		return 0, err
	}
	if err := b.load(ctx, c, to, count); err != nil {
		return 0, err
	}
	after, err := b.gateway.CPU()
	if err != nil {
		return 0, err
	}
	return float64(after-before) / float64(count*c.units()), nil
}

// latencies adds what a single client waits for each unit, in nanoseconds.
func (b *bench) latencies(ctx context.Context, c benchCase, to target, spend time.Duration, samples []float64) ([]float64, error) {
	for begin := time.Now(); time.Since(begin) < spend; {
		took, err := b.send(ctx, c, to)
		if err != nil {
			return nil, err
		}
		samples = append(samples, float64(took)/float64(c.units()))
	}
	return samples, nil
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
