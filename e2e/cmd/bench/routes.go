package main

import "github.com/modelroute/chatcompletion/e2e/gateway"

const (
	clientModel   = "gpt-4o"
	enforcedModel = "gpt-4o-mini"
)

// A target is a route of the gateway and the model that the upstream must see behind it.
type target struct {
	path  string
	model string
}

var (
	bare   = target{path: "/bare/v1/chat/completions", model: clientModel}
	plugin = target{path: "/plugin/v1/chat/completions", model: enforcedModel}
)

// routes lead to the same upstream; the plugin has everything on that costs time in a request, a span for each included,
// which the collector gets.
func routes(upstream, collector string) gateway.Dynamic {
	return gateway.Dynamic{
		Routers: map[string]gateway.Router{
			"bare":   {Rule: "PathPrefix(`/bare/`)", Service: "upstream"},
			"plugin": {Rule: "PathPrefix(`/plugin/`)", Service: "upstream", Middlewares: []string{"governed"}},
		},
		Middlewares: map[string]any{"governed": gateway.Plugin(map[string]any{
			"token":               "sk-key-of-the-provider",
			"model":               enforcedModel,
			"allowModelOverride":  false,
			"allowParamsOverride": false,
			"params":              map[string]any{"temperature": 0.7, "topP": 0.9, "maxTokens": 512},
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
