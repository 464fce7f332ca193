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

// compared names the cases whose CPU time is compared between gateways.
var compared = append([]string{
	"1 KB of prose", "1 KB of prose, unlike any before", "16 KB of prose", "256 KB of prose", "1 MB with an image", eventCase,
}, openAICases()...)

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
	if err := b.throughputs(ctx, out, targets); err != nil {
		return err
	}
	if _, err := io.WriteString(out, "\n"); err != nil {
		return err
	}
	return b.compare(ctx, out, targets)
}

// compare writes the CPU time of each case for each gateway, with its ratio to the first one.
func (b *bench) compare(ctx context.Context, out io.Writer, targets []target) error {
	head := []string{"CPU"}
	for _, to := range targets {
		head = append(head, to.name)
	}
	if _, err := io.WriteString(out, tableHead(head...)); err != nil {
		return err
	}
	for _, c := range b.selected(compared...) {
		measured, err := b.measure(ctx, c, b.options.further, streaming(targets, c)...)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		bare, row := median(measured[0].cpu), []string{c.name}
		for _, to := range targets {
			if c.stream != nil && to.noStreams {
				row = append(row, "–")
				continue
			}
			cell := rounded(median(measured[0].cpu))
			if len(row) > 1 {
				cell += " (" + times(median(measured[0].cpu), bare) + ")"
			}
			row, measured = append(row, cell), measured[1:]
		}
		if _, err := io.WriteString(out, tableRow(row...)); err != nil {
			return err
		}
	}
	return nil
}

// streaming returns the targets that can serve the case.
func streaming(targets []target, c benchCase) []target {
	return slices.DeleteFunc(slices.Clone(targets), func(to target) bool { return c.stream != nil && to.noStreams })
}

// throughputs writes for each gateway the latency of one client, the requests per second, and the
// latency of many clients.
func (b *bench) throughputs(ctx context.Context, out io.Writer, targets []target) error {
	c := cases()[0]
	rates := make([][]float64, len(targets)*len(clientCounts))
	alone, crowded := make([][]float64, len(targets)), make([][]float64, len(targets))
	for _, to := range targets {
		if err := b.warm(ctx, c, to); err != nil {
			return err
		}
	}
	for range b.options.further.rounds {
		for t, to := range targets {
			for n, clients := range clientCounts {
				rate, latencies, err := b.throughput(ctx, c, to, clients)
				if err != nil {
					return err
				}
				at := t*len(clientCounts) + n
				rates[at] = append(rates[at], rate)
				switch clients {
				case 1:
					alone[t] = append(alone[t], latencies...)
				case mostClients:
					crowded[t] = append(crowded[t], latencies...)
				}
			}
		}
	}
	head := []string{"gateway", "p50, 1 client", "requests/s, 1 client", "16 clients", "64 clients", "p99, 64 clients"}
	if _, err := io.WriteString(out, tableHead(head...)); err != nil {
		return err
	}
	for t, to := range targets {
		row := []string{to.name, rounded(median(alone[t]))}
		for n := range clientCounts {
			row = append(row, fmt.Sprintf("%.0f", median(rates[t*len(clientCounts)+n])))
		}
		if _, err := io.WriteString(out, tableRow(append(row, rounded(percentile(crowded[t], 99)))...)); err != nil {
			return err
		}
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
