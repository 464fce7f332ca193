package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/modelroute/chatcompletion/e2e/agent"
	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const (
	clientModel   = agent.Model
	enforcedModel = "gpt-4o-mini"
	clientKey     = "sk-key-of-the-client"
	enforcedKey   = "sk-key-of-the-provider"
)

// enforced are the parameters that each governed request must have at the upstream.
var enforced = map[string]any{"temperature": 0.7, "top_p": 0.9, "max_tokens": 512}

// target is a route to the upstream.
type target struct {
	name    string
	address string
	header  map[string]string // sent in addition to the client's
	process interface {
		CPU() (time.Duration, error)
	}
	gateway   *gateway.Gateway // nil for other gateways
	governed  bool             // the upstream receives the enforced model, parameters and key
	noStreams bool             // it does not forward events immediately
	alike     bool             // all requests are the same, and their response may be a stored one
}

// model returns the model that the upstream must receive.
func (t target) model() string {
	if t.governed {
		return enforcedModel
	}
	return clientModel
}

// targetsOf returns a Traefik's routes without and with the plugin.
func targetsOf(g *gateway.Gateway, bareName, pluginName string) (bare, plugin target) {
	bare = target{name: bareName, address: g.URL + "/bare" + chatPath, process: g, gateway: g}
	plugin = target{name: pluginName, address: g.URL + "/plugin" + chatPath, process: g, gateway: g, governed: true}
	return bare, plugin
}

const chatPath = "/v1/chat/completions"

// startTraefik runs a Traefik with both routes. An empty binary selects the one that interprets the
// plugin.
func (b *bench) startTraefik(ctx context.Context, binary string) (*gateway.Gateway, error) {
	if binary == "" {
		interpreted, err := gateway.Interpreted(ctx, os.Stderr)
		if err != nil {
			return nil, err
		}
		binary = interpreted
	}
	traefik, err := gateway.Start(ctx, gateway.Options{Binary: binary, Plugin: b.options.plugin})
	if err != nil {
		return nil, err
	}
	if err := traefik.Load(ctx, routes(b.upstream.URL, b.collector.URL)); err != nil {
		return nil, errors.Join(err, traefik.Stop())
	}
	return traefik, nil
}

// startPeers starts other projects' gateways, and returns them and a function that stops them. It
// reports and skips a gateway that does not start.
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
			_, _ = fmt.Fprintln(os.Stderr, "skipped a gateway:", err)
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
		panic(err) // these values always encode
	}
	portkey, err := backends.StartPortkey(ctx, os.Stderr)
	add(portkey, err, target{header: map[string]string{header: value}})
	nginx, err := backends.StartNginx(ctx, b.upstream.URL, enforcedKey)
	add(nginx, err, target{noStreams: true})
	return peers, stop
}

// routes returns two routes to the same upstream.
func routes(upstream, collector string) gateway.Dynamic {
	return gateway.Dynamic{
		Routers: map[string]gateway.Router{
			"bare":   {Rule: "PathPrefix(`/bare/`)", Service: "upstream"},
			"plugin": {Rule: "PathPrefix(`/plugin/`)", Service: "upstream", Middlewares: []string{"governed"}},
		},
		Middlewares: map[string]any{"governed": gateway.Plugin(pluginSettings(collector))},
		Services:    map[string]string{"upstream": upstream},
	}
}

// pluginSettings returns the configuration of the plugin: every feature that costs time per request,
// including a span that it exports to the collector, without accounts.
func pluginSettings(collector string) map[string]any {
	return map[string]any{
		"token":               enforcedKey,
		"model":               enforcedModel,
		"allowModelOverride":  false,
		"allowParamsOverride": false,
		"routes":              map[string]any{"*": "completions", responsesPath: "responses", messagesPath: "messages", modelsPath + "*": "generateContent"},
		"params":              map[string]any{"temperature": enforced["temperature"], "topP": enforced["top_p"], "maxTokens": enforced["max_tokens"]},
		"limits":              map[string]any{"maxTokens": 1024, "n": 1},
		"dropParams":          []string{"seed"},
		"allowedModels":       []string{"gpt-4o*"},
		"modelAliases":        map[string]any{"fast": enforcedModel},
		"telemetry": map[string]any{
			"labels": map[string]string{"team": "$(headers." + teamHeader + ")"},
			"otlp":   map[string]any{"endpoint": collector, "interval": "1s"},
		},
	}
}
