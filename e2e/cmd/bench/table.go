package main

import (
	"context"
	"fmt"
	"io"
)

// table writes the cost of each case without and with the plugin.
func (b *bench) table(ctx context.Context, out io.Writer) error {
	if _, err := io.WriteString(out, tableHead("case", "CPU bare", "CPU plugin", "ratio", "p50 bare", "p50 plugin", "ratio")); err != nil {
		return err
	}
	for _, c := range cases() {
		if !b.options.only.MatchString(c.name) {
			continue
		}
		measured, err := b.measure(ctx, c, b.options.effort, b.bare, b.plugin)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		bare, plugin := measured[0], measured[1]
		bareP50, pluginP50 := median(bare.latencies), median(plugin.latencies)
		if _, err := io.WriteString(out, tableRow(c.name,
			rounded(median(bare.cpu)), rounded(median(plugin.cpu)), fmt.Sprintf("%.2f", median(ratios(plugin.cpu, bare.cpu))),
			rounded(bareP50), rounded(pluginP50), fmt.Sprintf("%.2f", pluginP50/bareP50))); err != nil {
			return err
		}
		if b.options.profiles == "" {
			continue
		}
		if err := b.profile(ctx, c, b.options.profiles); err != nil {
			return fmt.Errorf("%s: profile: %w", c.name, err)
		}
	}
	return nil
}
