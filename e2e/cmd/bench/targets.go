package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const (
	clientModel   = "gpt-4o"
	enforcedModel = "gpt-4o-mini"
	clientKey     = "sk-key-of-the-client"
	enforcedKey   = "sk-key-of-the-provider"
)

// enforced are the parameters that every governed request must have at the upstream.
var enforced = map[string]any{"temperature": 0.7, "top_p": 0.9, "max_tokens": 512}

// A target is a way to the upstream.
type target struct {
	name    string
	address string
	header  map[string]string // sent beside that of the client
	process interface {
		CPU() (time.Duration, error)
	}
	gateway   *gateway.Gateway // nil if it is not Traefik
	governed  bool             // the upstream gets the enforced model, parameters and key
	noStreams bool             // it does not hand events on as they come
}

// model is the one that the upstream must see.
func (t target) model() string {
	if t.governed {
		return enforcedModel
	}
	return clientModel
}

// targetsOf are the routes of a Traefik without and with the plugin.
func targetsOf(g *gateway.Gateway, bareName, pluginName string) (bare, plugin target) {
	bare = target{name: bareName, address: g.URL + "/bare" + chatPath, process: g, gateway: g}
	plugin = target{name: pluginName, address: g.URL + "/plugin" + chatPath, process: g, gateway: g, governed: true}
	return bare, plugin
}

const chatPath = "/v1/chat/completions"

// startTraefik runs a Traefik with both routes; without a binary, the usual one.
func (b *bench) startTraefik(ctx context.Context, binary string) (*gateway.Gateway, error) {
	traefik, err := gateway.Start(ctx, gateway.Options{Binary: binary, Plugin: b.options.plugin})
	if err != nil {
		return nil, err
	}
	if err := traefik.Load(ctx, routes(b.upstream.URL, b.collector.URL)); err != nil {
		return nil, errors.Join(err, traefik.Stop())
	}
	return traefik, nil
}

// startPeers returns the gateways of others, and what ends them. One that is not there is told, and left out.
func (b *bench) startPeers(ctx context.Context) (peers []target, stop func()) {
	var running []*backends.Peer
	stop = func() {
		for _, peer := range running {
			_ = peer.Close()
		}
	}
	if !b.options.peers {
		return nil, stop
	}
	add := func(peer *backends.Peer, err error, t target) {
		if err != nil {
			_, _ = fmt.Fprintln(os.Stderr, "left out:", err)
			return
		}
		running = append(running, peer)
		t.name, t.address, t.process, t.governed = peer.Name, peer.URL+chatPath, peer, true
		peers = append(peers, t)
	}
	members := map[string]any{"model": enforcedModel}
	for name, value := range enforced {
		members[name] = value
	}
	header, value, err := backends.PortkeyHeader(b.upstream.URL, enforcedKey, members, streamHeader)
	if err != nil {
		panic(err) // plain values always encode
	}
	portkey, err := backends.StartPortkey(ctx, os.Stderr)
	add(portkey, err, target{header: map[string]string{header: value}})
	nginx, err := backends.StartNginx(ctx, b.upstream.URL, enforcedKey)
	add(nginx, err, target{noStreams: true})
	return peers, stop
}

// routes lead to the same upstream; the plugin has everything on that costs time in a request, a span for each included,
// which the collector gets.
func routes(upstream, collector string) gateway.Dynamic {
	return gateway.Dynamic{
		Routers: map[string]gateway.Router{
			"bare":   {Rule: "PathPrefix(`/bare/`)", Service: "upstream"},
			"plugin": {Rule: "PathPrefix(`/plugin/`)", Service: "upstream", Middlewares: []string{"governed"}},
		},
		Middlewares: map[string]any{"governed": gateway.Plugin(map[string]any{
			"token":               enforcedKey,
			"model":               enforcedModel,
			"allowModelOverride":  false,
			"allowParamsOverride": false,
			"params":              map[string]any{"temperature": enforced["temperature"], "topP": enforced["top_p"], "maxTokens": enforced["max_tokens"]},
			"limits":              map[string]any{"maxTokens": 1024, "n": 1},
			"dropParams":          []string{"seed"},
			"allowedModels":       []string{"gpt-4o*"},
			"modelAliases":        map[string]any{"fast": enforcedModel},
			"telemetry": map[string]any{
				"labels": map[string]string{"team": "$(headers." + teamHeader + ")"},
				"otlp":   map[string]any{"endpoint": collector, "interval": "1s"},
			},
		})},
		Services: map[string]string{"upstream": upstream},
	}
}
