package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// mostClients is the largest number of concurrent clients.
const mostClients = 64

// clientCounts are the numbers of clients with which throughput is measured.
var clientCounts = []int{1, 16, mostClients}

// compared names the cases whose CPU time is compared between gateways. The first one also measures
// throughput.
var compared = []string{"1 KB of prose", "16 KB of prose", "256 KB of prose", eventCase}

// gateways writes throughput and CPU time of Traefik without the plugin, with it, with it compiled
// in, and of other gateways.
func (b *bench) gateways(ctx context.Context, out io.Writer) error {
	peers, stop := b.startPeers(ctx)
	defer stop()
	targets := append([]target{b.bare, b.plugin, b.compiledPlugin}, peers...)
	for _, to := range peers {
		if err := b.verify(ctx, to); err != nil {
			return err
		}
	}

	rows := make([][]string, len(targets))
	for i, to := range targets {
		rows[i] = []string{to.name}
	}
	chosen := slices.DeleteFunc(cases(), func(c benchCase) bool { return !slices.Contains(compared, c.name) })
	for i, c := range chosen {
		measured, err := b.measure(ctx, c, b.options.further, streaming(targets, c)...)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		if i == 0 {
			if err := b.addThroughput(ctx, c, targets, measured, rows); err != nil {
				return err
			}
		}
		next := 0
		for t, to := range targets {
			cell := "–"
			if !c.stream || !to.noStreams {
				cell = rounded(median(measured[next].cpu))
				next++
			}
			rows[t] = append(rows[t], cell)
		}
	}
	head := []string{"gateway", "p50, 1 client", "requests/s, 1 client", "16 clients", "64 clients", "p99, 64 clients", "CPU 1 KB", "16 KB", "256 KB", "an event"}
	if _, err := io.WriteString(out, tableHead(head...)); err != nil {
		return err
	}
	for _, row := range rows {
		if _, err := io.WriteString(out, tableRow(row...)); err != nil {
			return err
		}
	}
	return nil
}

// streaming returns the targets that can serve the case.
func streaming(targets []target, c benchCase) []target {
	return slices.DeleteFunc(slices.Clone(targets), func(to target) bool { return c.stream && to.noStreams })
}

// addThroughput appends to each row the latency of one client, the requests per second, and the
// latency of many clients.
func (b *bench) addThroughput(ctx context.Context, c benchCase, targets []target, measured []figures, rows [][]string) error {
	rates := make([][]float64, len(targets)*len(clientCounts))
	crowded := make([][]float64, len(targets))
	for range b.options.further.rounds {
		for t, to := range targets {
			for n, clients := range clientCounts {
				rate, latencies, err := b.throughput(ctx, c, to, clients)
				if err != nil {
					return err
				}
				at := t*len(clientCounts) + n
				rates[at] = append(rates[at], rate)
				if clients == mostClients {
					crowded[t] = append(crowded[t], latencies...)
				}
			}
		}
	}
	for t := range targets {
		rows[t] = append(rows[t], rounded(median(measured[t].latencies)))
		for n := range clientCounts {
			rows[t] = append(rows[t], fmt.Sprintf("%.0f", median(rates[t*len(clientCounts)+n])))
		}
		rows[t] = append(rows[t], rounded(percentile(crowded[t], 99)))
	}
	return nil
}

// throughput returns the requests per second of the clients together, and the latency of each
// request in nanoseconds.
func (b *bench) throughput(ctx context.Context, c benchCase, to target, clients int) (perSecond float64, latencies []float64, err error) {
	begin := time.Now()
	end := begin.Add(b.options.further.cpu)
	samples, problems := make([][]float64, clients), make([]error, clients)
	var running sync.WaitGroup
	for i := range clients {
		running.Add(1)
		go func() {
			defer running.Done()
			for problems[i] == nil && time.Now().Before(end) {
				var took time.Duration
				took, problems[i] = b.send(ctx, c, to, b.single(c))
				samples[i] = append(samples[i], float64(took))
			}
		}()
	}
	running.Wait()
	latencies = slices.Concat(samples...)
	return float64(len(latencies)) / time.Since(begin).Seconds(), latencies, first(problems)
}
