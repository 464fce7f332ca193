package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// account is a form of the plugin's route with consumers, quotas and prices, or with a cache.
type account struct {
	name  string // of the row in the table
	route string // name of the router
	redis bool   // has the counters of the quotas
	cache map[string]any
	same  bool // all requests are the same
}

// plainRow is the row to which those of accounts are compared.
const plainRow = "1 KB of prose"

func accounts() []account {
	return []account{
		{name: plainRow, route: "plugin"},
		{name: plainRow + ", with accounts", route: "accounts"},
		{name: plainRow + ", quotas in Redis", route: "redis", redis: true},
		{name: plainRow + ", misses the cache", route: "miss", cache: map[string]any{"scope": "all"}},
		{name: plainRow + ", hits the cache", route: "hit", cache: map[string]any{"scope": "all"}, same: true},
	}
}

// accountsTable writes what consumers, quotas and prices add to a request. All rows are measured in the same rounds,
// so that they can be compared.
func (b *bench) accountsTable(ctx context.Context, out io.Writer) (err error) {
	chosen := slices.DeleteFunc(accounts(), func(a account) bool { return a.name != plainRow && !b.options.only.MatchString(a.name) })
	if len(chosen) < 2 {
		return nil
	}
	address, stop := startRedis(ctx, chosen)
	defer stop()
	if address == "" {
		chosen = slices.DeleteFunc(chosen, func(a account) bool { return a.redis })
	}
	reload, err := b.loadAccounts(ctx, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reload()) }()
	c := cases()[0]
	isSame := func(a account) bool { return a.same }
	if differing := slices.DeleteFunc(slices.Clone(chosen), isSame); len(differing) > 1 {
		if err := b.accountRows(ctx, out, c, differing); err != nil {
			return err
		}
	}
	if same := slices.DeleteFunc(slices.Clone(chosen), func(a account) bool { return a.name != plainRow && !a.same }); len(same) > 1 {
		c.body = bytes.ReplaceAll(c.body, []byte(textStamp), []byte("the same"))
		return b.accountRows(ctx, out, c, same)
	}
	return nil
}

// accountRows writes a table with a row for each form.
func (b *bench) accountRows(ctx context.Context, out io.Writer, c benchCase, chosen []account) error {
	targets := []target{b.bare, b.compiledBare}
	for _, a := range chosen {
		for _, to := range []target{b.plugin, b.compiledPlugin} {
			to.name += ", " + a.route
			to.address = strings.Replace(to.address, "/plugin/", "/"+a.route+"/", 1)
			if err := b.verify(ctx, to); err != nil && !a.same { // the provider gets the first request only
				return err
			}
			targets = append(targets, to)
		}
	}
	measured, err := b.measure(ctx, c, b.options.effort, targets...)
	if err != nil {
		return err
	}
	head := []string{"case", "CPU plugin", "ratio", "to plain", "CPU compiled", "ratio", "to plain", "p50 plugin", "to plain", "p50 compiled", "to plain"}
	if _, err := io.WriteString(out, "\n"+tableHead(head...)); err != nil {
		return err
	}
	for i, a := range chosen {
		row := []string{a.name}
		for way := range 2 { // interpreted, compiled in
			figures := measured[2*i+2+way].cpu
			row = append(row, rounded(median(figures)), hundredths(median(ratios(figures, measured[way].cpu))), hundredths(median(ratios(figures, measured[2+way].cpu))))
		}
		for way := range 2 {
			p50 := median(measured[2*i+2+way].latencies)
			row = append(row, rounded(p50), hundredths(p50/median(measured[2+way].latencies)))
		}
		if _, err := io.WriteString(out, tableRow(row...)); err != nil {
			return err
		}
	}
	return b.profileAccounts(ctx, c, targets[2:])
}

// profileAccounts saves a profile of each target, if profiles are wanted.
func (b *bench) profileAccounts(ctx context.Context, c benchCase, targets []target) error {
	if b.options.profiles == "" {
		return nil
	}
	for _, to := range targets {
		if err := b.profile(ctx, c, to, b.options.profiles, to.name); err != nil {
			return fmt.Errorf("%s: profile: %w", to.name, err)
		}
	}
	return nil
}

// startRedis starts a redis-server if one of the forms needs it, and returns its address and a function that stops it.
// It reports a server that does not start, and returns no address.
func startRedis(ctx context.Context, chosen []account) (address string, stop func()) {
	stop = func() {}
	if !slices.ContainsFunc(chosen, func(a account) bool { return a.redis }) {
		return "", stop
	}
	redis, err := backends.StartRedis(ctx)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "skipped the case with quotas in Redis:", err)
		return "", stop
	}
	return redis.Address, func() { _ = redis.Close() }
}

// loadAccounts adds the routes with accounts to both Traefiks, and returns a function that removes them: other cases are
// measured without them.
func (b *bench) loadAccounts(ctx context.Context, redis string) (reload func() error, err error) {
	plain := routes(b.upstream.URL, b.collector.URL)
	more := routes(b.upstream.URL, b.collector.URL)
	addAccounts(&more, b.collector.URL, redis)
	gateways := []*gateway.Gateway{b.plugin.gateway, b.compiledPlugin.gateway}
	load := func(dynamic gateway.Dynamic) error {
		for _, g := range gateways {
			if err := g.Load(ctx, dynamic); err != nil {
				return err
			}
		}
		return nil
	}
	return func() error { return load(plain) }, load(more)
}

// Sizes of what the accounts have.
const (
	consumerCount = 100
	priceCount    = 20
)

// addAccounts adds the routes of accounts, which have the settings of the plugin's route and their own. No quota is used
// up. redis may be empty.
func addAccounts(dynamic *gateway.Dynamic, collector, redis string) {
	for _, a := range accounts() {
		if a.name == plainRow || a.redis && redis == "" {
			continue
		}
		settings := pluginSettings(collector)
		if a.cache != nil {
			settings["cache"] = a.cache
			addAccount(dynamic, a, settings)
			continue
		}
		settings["consumers"] = map[string]any{"list": consumers()}
		settings["quotas"] = []map[string]any{
			{"name": "requests", "unit": "requests", "limit": 1_000_000_000, "window": "1m"},
			{"name": "tokens", "unit": "tokens", "limit": 1_000_000_000_000, "window": "1d"},
		}
		settings["prices"] = map[string]any{"models": modelPrices()}
		if a.redis {
			settings["redis"] = map[string]any{"endpoints": []string{redis}}
		}
		addAccount(dynamic, a, settings)
	}
}

// addAccount adds the route of one of the accounts.
func addAccount(dynamic *gateway.Dynamic, a account, settings map[string]any) {
	dynamic.Routers[a.route] = gateway.Router{Rule: "PathPrefix(`/" + a.route + "/`)", Service: "upstream", Middlewares: []string{a.route}}
	dynamic.Middlewares[a.route] = gateway.Plugin(settings)
}

// consumers returns a list of consumers, in whose middle is the one that sends the requests.
func consumers() []map[string]any {
	list := make([]map[string]any, consumerCount)
	for i := range list {
		key := fmt.Sprintf("sk-key-of-client-%d", i)
		if i == consumerCount/2 {
			key = clientKey
		}
		digest := sha256.Sum256([]byte(key))
		list[i] = map[string]any{"name": fmt.Sprintf("client-%d", i), "key": "sha256:" + hex.EncodeToString(digest[:])}
	}
	return list
}

// modelPrices returns the prices of models, among which is the one that the upstream gets.
func modelPrices() map[string]any {
	models := map[string]any{enforcedModel: map[string]any{"input": "0.15", "output": "0.60", "cacheRead": "0.075"}}
	for i := len(models); i < priceCount; i++ {
		models[fmt.Sprintf("model-%d", i)] = map[string]any{"input": "1", "output": "3"}
	}
	return models
}
