package main

import (
	"context"
	"fmt"
	"io"
)

// priced names the cases that show the overhead of the interpreter.
var priced = append([]string{
	"1 KB of prose", "1 KB of prose, without a span", "1 KB of prose, unlike any before", "16 KB of prose", eventCase,
}, agentCases()...)

// prices writes the cost that the plugin adds to a bare route, compiled and interpreted.
func (b *bench) prices(ctx context.Context, out io.Writer) error {
	if _, err := io.WriteString(out, tableHead("case", "bare", "compiled", "interpreted", "price", "allocations bare", "compiled", "interpreted")); err != nil {
		return err
	}
	work := b.options.further
	work.latency = 0
	targets := []target{b.bare, b.plugin, b.compiledBare, b.compiledPlugin}
	for _, c := range b.selected(priced...) {
		measured, err := b.measure(ctx, c, work, targets...)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		var cpu, allocations [4]float64
		for i, to := range targets {
			cpu[i] = median(measured[i].cpu)
			if allocations[i], err = b.allocations(ctx, c, to); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		interpreted, compiled := cpu[1]-cpu[0], cpu[3]-cpu[2]
		if _, err := io.WriteString(out, tableRow(c.name, rounded(cpu[0]), added(compiled), added(interpreted), times(interpreted, compiled),
			fmt.Sprintf("%.0f", allocations[0]), fmt.Sprintf("%+.0f", allocations[3]-allocations[2]), fmt.Sprintf("%+.0f", allocations[1]-allocations[0]))); err != nil {
			return err
		}
	}
	return nil
}

// allocations returns the number of objects that Traefik allocates per unit.
func (b *bench) allocations(ctx context.Context, c benchCase, to target) (float64, error) {
	const counted = 200
	requests, err := b.prepare(ctx, c, to, counted/c.units()+concurrency)
	if err != nil {
		return 0, err
	}
	before, err := to.gateway.Runtime(ctx)
	if err != nil {
		return 0, err
	}
	if err := b.load(ctx, c, to, requests); err != nil {
		return 0, err
	}
	after, err := to.gateway.Runtime(ctx)
	if err != nil {
		return 0, err
	}
	return float64(after.Allocations-before.Allocations) / float64(requests.count()*c.units()), nil
}
