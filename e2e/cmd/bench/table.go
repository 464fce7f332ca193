package main

import (
	"context"
	"fmt"
	"io"
)

// table writes the cost of each case without and with the plugin, interpreted and compiled in, and what accounts add.
func (b *bench) table(ctx context.Context, out io.Writer) error {
	head := []string{"case", "CPU bare", "CPU plugin", "ratio", "CPU compiled", "ratio", "p50 bare", "p50 plugin", "ratio", "p50 compiled", "ratio"}
	if _, err := io.WriteString(out, tableHead(head...)); err != nil {
		return err
	}
	for _, c := range b.selected() {
		measured, err := b.measure(ctx, c, b.options.effort, b.bare, b.plugin, b.compiledBare, b.compiledPlugin)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		var p50 [4]float64
		for i := range measured {
			p50[i] = median(measured[i].latencies)
		}
		cpu := func(i int) string { return rounded(median(measured[i].cpu)) }
		ratio := func(above, below int) string {
			return hundredths(median(ratios(measured[above].cpu, measured[below].cpu)))
		}
		if _, err := io.WriteString(out, tableRow(c.name,
			cpu(0), cpu(1), ratio(1, 0), cpu(3), ratio(3, 2),
			rounded(p50[0]), rounded(p50[1]), hundredths(p50[1]/p50[0]), rounded(p50[3]), hundredths(p50[3]/p50[2]))); err != nil {
			return err
		}
		if b.options.profiles == "" {
			continue
		}
		for name, to := range map[string]target{c.name: b.plugin, c.name + " compiled": b.compiledPlugin} {
			if err := b.profile(ctx, c, to, b.options.profiles, name); err != nil {
				return fmt.Errorf("%s: profile: %w", name, err)
			}
		}
	}
	return b.accountsTable(ctx, out)
}
