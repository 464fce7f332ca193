package main

import (
	"net/url"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const (
	chatPath       = "/v1/chat/completions"
	responsesPath  = "/v1/responses"
	embeddingsPath = "/v1/embeddings"
	modelsPath     = "/v1/models"
	filesPath      = "/v1/files"
	metricsPath    = "/metrics"

	// Prefixes of these paths.
	deadPrefix   = "/dead"
	hostedPrefix = "/hosted"
)

const providerKey = "sk-key-of-the-provider"

// kindLabel is the metric label that holds the kind of a call.
const kindLabel = "kind"

// site holds the servers that the routes lead to.
type site struct {
	provider, failing, dead, collector *url.URL
	keyFile                            string
}

// configuration returns the configuration of a revision. Consecutive revisions differ in one
// parameter.
func (s site) configuration(revision int) gateway.Dynamic {
	governed := func(more map[string]any) map[string]any {
		config := map[string]any{
			"token":         "urn:file:" + s.keyFile,
			"secrets":       map[string]any{"refresh": "10s"},
			"model":         "gpt-4o",
			"allowedModels": []string{"gpt-4o*", "text-embedding-*"}, "allowModelOverride": true,
			"params": map[string]any{"temperature": float64(revision%10) / 10},
			"limits": map[string]any{"maxTokens": 1024},
			// The largest body of a call exceeds this by so little that net/http reads the rest
			// before it responds.
			"maxRequestBodySize": 220 << 10,
			"routes": map[string]any{
				"/chat/completions": "completions", "/responses": "responses", "/embeddings": "embeddings",
				"/models": "models", "/files": "passthrough",
			},
			"telemetry": map[string]any{
				"labels": map[string]string{kindLabel: "$(headers." + kindHeader + ")"},
				"otlp":   map[string]any{"endpoint": s.collector.String(), "interval": "1s"},
			},
		}
		for key, value := range more {
			config[key] = value
		}
		return gateway.Plugin(config)
	}
	plain := map[string]any{"enabled": false}
	return gateway.Dynamic{
		Routers: map[string]gateway.Router{
			"provider": {Rule: "PathPrefix(`/v1/`)", Middlewares: []string{"governed"}, Service: "provider"},
			"dead":     {Rule: "PathPrefix(`" + deadPrefix + "/`)", Middlewares: []string{"governed"}, Service: "dead"},
			"hosted":   {Rule: "PathPrefix(`" + hostedPrefix + "/`)", Middlewares: []string{"strip", "hosted"}, Service: "noop@internal"},
			"metrics":  {Rule: "Path(`" + metricsPath + "`)", Middlewares: []string{"exposed"}, Service: "noop@internal"},
		},
		Middlewares: map[string]any{
			"governed": governed(nil),
			"strip":    map[string]any{"stripPrefix": map[string]any{"prefixes": []string{hostedPrefix}}},
			"hosted": governed(map[string]any{
				"host": s.failing.Hostname(), "port": s.failing.Port(), "tls": plain,
				"fallbacks": []any{map[string]any{
					"host": s.provider.Hostname(), "port": s.provider.Port(), "tls": plain, "token": "urn:file:" + s.keyFile,
				}},
			}),
			"exposed": gateway.Plugin(map[string]any{"expose": "prometheus"}),
		},
		Services: map[string]string{"provider": s.provider.String(), "dead": s.dead.String()},
	}
}
