package main

import (
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

// account is a form of the plugin's route with further features: consumers, quotas and prices, a guard, a system prompt, a
// cache.
type account struct {
	base  string // name of the case that it is measured with
	what  string // it adds; empty: nothing, the others of the case are compared to it
	route string // name of the router
	redis bool   // has the counters of the quotas
	alike bool   // all requests are the same
}

// plainRow is the row to which those of accounts are compared.
const plainRow = "1 KB of prose"

// plainRoute is the route of the plugin without further features.
const plainRoute = "plugin"

// shortSession is the case of agents that those with a guard and a system prompt are measured with.
const shortSession = "agent session, 10 turns, 5 tools"

func accounts() []account {
	return []account{
		{base: plainRow, route: plainRoute},
		{base: plainRow, what: ", with accounts", route: "accounts"},
		{base: plainRow, what: ", quotas in Redis", route: "redis", redis: true},
		{base: plainRow, what: ", with a guard", route: "guard"},
		{base: plainRow, what: ", with a system prompt", route: "prompt"},
		{base: plainRow, what: ", stored in a cache", route: "cache"},
		{base: plainRow, what: ", from a cache", route: "cache", alike: true},
		{base: eventCase, route: plainRoute},
		{base: eventCase, what: ", with a guard", route: "guard"},
		{base: eventCase, what: ", stored in a cache", route: "cache"},
		{base: shortSession, route: plainRoute},
		{base: shortSession, what: ", with a guard", route: "guard"},
		{base: shortSession, what: ", with a system prompt", route: "prompt"},
	}
}

// name is that of the row in the table.
func (a account) name() string { return a.base + a.what }

// bases are the cases that accounts are measured with, in their order.
func bases(chosen []account) []string {
	var names []string
	for _, a := range chosen {
		if !slices.Contains(names, a.base) {
			names = append(names, a.base)
		}
	}
	return names
}

// measuredWith returns those of the accounts that are measured with a case.
func measuredWith(base string, all []account) []account {
	return slices.DeleteFunc(slices.Clone(all), func(a account) bool { return a.base != base })
}

// accountsTable writes what further features add to a request. All rows of a case are measured in the same rounds, so that they
// can be compared.
func (b *bench) accountsTable(ctx context.Context, out io.Writer) (err error) {
	chosen := slices.DeleteFunc(accounts(), func(a account) bool { return a.what != "" && !b.options.only.MatchString(a.name()) })
	chosen = slices.DeleteFunc(chosen, func(a account) bool { return len(measuredWith(a.base, chosen)) < 2 })
	if len(chosen) == 0 {
		return nil
	}
	address, stop := startRedis(ctx, chosen)
	defer stop()
	if address == "" {
		chosen = slices.DeleteFunc(chosen, func(a account) bool { return a.redis })
	}
	reload, err := b.loadAccounts(ctx, address, chosen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reload()) }()
	head := []string{"case", "CPU plugin", "ratio", "to plain", "CPU compiled", "ratio", "to plain", "p50 plugin", "to plain", "p50 compiled", "to plain"}
	if _, err := io.WriteString(out, "\n"+tableHead(head...)); err != nil {
		return err
	}
	for _, base := range bases(chosen) {
		if err := b.accountRows(ctx, out, base, measuredWith(base, chosen)); err != nil {
			return fmt.Errorf("%s: %w", base, err)
		}
	}
	return nil
}

// accountRows writes the rows of the forms that are measured with a case.
func (b *bench) accountRows(ctx context.Context, out io.Writer, base string, chosen []account) error {
	targets := []target{b.bare, b.compiledBare}
	for _, a := range chosen {
		for _, to := range []target{b.plugin, b.compiledPlugin} {
			to.name += ", " + a.route
			to.alike = a.alike
			to.address = strings.Replace(to.address, "/plugin/", "/"+a.route+"/", 1)
			if err := b.verify(ctx, to); err != nil {
				return err
			}
			targets = append(targets, to)
		}
	}
	c := cases()[slices.IndexFunc(cases(), func(c benchCase) bool { return c.name == base })]
	measured, err := b.measure(ctx, c, b.options.effort, targets...)
	if err != nil {
		return err
	}
	for i, a := range chosen {
		row := []string{a.name()}
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
func (b *bench) loadAccounts(ctx context.Context, redis string, chosen []account) (reload func() error, err error) {
	plain := routes(b.upstream.URL, b.collector.URL)
	more := routes(b.upstream.URL, b.collector.URL)
	addAccounts(&more, b.collector.URL, redis, chosen)
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

// addAccounts adds the routes of accounts, which have the settings of the plugin's route and their own. redis may be
// empty if none of them needs it.
func addAccounts(dynamic *gateway.Dynamic, collector, redis string, chosen []account) {
	for _, a := range chosen {
		if a.what == "" {
			continue
		}
		settings := pluginSettings(collector)
		switch a.route {
		case "guard":
			settings["guard"] = guardSettings()
		case "prompt":
			settings["prompt"] = map[string]any{"system": map[string]any{"text": strings.TrimSpace(prose(promptBytes, 1))}}
		case "cache":
			settings["cache"] = map[string]any{"scope": "all"}
		default:
			settings["consumers"] = map[string]any{"list": consumers()}
			settings["quotas"] = quotas()
			settings["prices"] = map[string]any{"models": modelPrices()}
		}
		if a.redis {
			settings["redis"] = map[string]any{"endpoints": []string{redis}}
		}
		dynamic.Routers[a.route] = gateway.Router{Rule: "PathPrefix(`/" + a.route + "/`)", Service: "upstream", Middlewares: []string{a.route}}
		dynamic.Middlewares[a.route] = gateway.Plugin(settings)
	}
}

// promptBytes is the size of the system prompt.
const promptBytes = 600

// guardSettings returns rules for requests and for responses, none of which matches.
func guardSettings() map[string]any {
	rules := []map[string]any{
		{"name": "keys", "builtin": "secretKey", "action": "block"},
		{"name": "cards", "builtin": "creditCard", "action": "mask"},
		{"name": "project", "pattern": "(?i)project-aurora", "action": "block"},
	}
	return map[string]any{"request": map[string]any{"rules": rules}, "response": map[string]any{"rules": rules}}
}

// quotas returns quotas that are never used up.
func quotas() []map[string]any {
	return []map[string]any{
		{"name": "requests", "unit": "requests", "limit": 1_000_000_000, "window": "1m"},
		{"name": "tokens", "unit": "tokens", "limit": 1_000_000_000_000, "window": "1d"},
	}
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
