package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sort"
	"strings"
	"testing"

	"github.com/traefik/paerser/file"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/config/label"
)

// The same configuration in the format of each Traefik provider.
const (
	asYAML = `
http:
  middlewares:
    governed:
      plugin:
        chat-completion:
          token: sk-provider
          model: gpt-4o
          allowModelOverride: true
          params:
            temperature: 0.5
            maxTokens: 2048
            extra:
              seed: 7
              logprobs: true
              user: "42"
              metadata:
                tenant: "7"
          allowParamsOverride: false
          limits:
            n: 2
          dropParams: [stop, top_k]
          allowedModels: [gpt-4o*, o1]
          modelAliases:
            fast: gpt-4o-mini
          modelHeader: X-Model
          authHeader:
            name: api-key
            prefix: Key
          maxRequestBodySize: 1048576
          path: /v1/chat/completions
          mode: enforce
          streamUsage: never
          telemetry:
            provider: azure.ai.openai
            maxSeries: 300
            semconv: v0.1
            labels:
              team: $(headers.x-team)
              site: "7"
            traces:
              sampleRatio: 0.5
              captureContent: true
              contentMaxBytes: 1000
            otlp:
              endpoint: http://127.0.0.1:9
              interval: 1h
              timeout: 5s
              compression: none
              metrics: false
              traces: false
              headers:
                X-Key: urn:env:NO_SUCH_KEY
`
	asTOML = `
[http.middlewares.governed.plugin.chat-completion]
token = "sk-provider"
model = "gpt-4o"
allowModelOverride = true
allowParamsOverride = false
dropParams = ["stop", "top_k"]
allowedModels = ["gpt-4o*", "o1"]
modelHeader = "X-Model"
maxRequestBodySize = 1048576
path = "/v1/chat/completions"
mode = "enforce"
streamUsage = "never"
[http.middlewares.governed.plugin.chat-completion.params]
temperature = 0.5
maxTokens = 2048
[http.middlewares.governed.plugin.chat-completion.params.extra]
seed = 7
logprobs = true
user = "42"
[http.middlewares.governed.plugin.chat-completion.params.extra.metadata]
tenant = "7"
[http.middlewares.governed.plugin.chat-completion.limits]
n = 2
[http.middlewares.governed.plugin.chat-completion.modelAliases]
fast = "gpt-4o-mini"
[http.middlewares.governed.plugin.chat-completion.authHeader]
name = "api-key"
prefix = "Key"
[http.middlewares.governed.plugin.chat-completion.telemetry]
provider = "azure.ai.openai"
maxSeries = 300
semconv = "v0.1"
[http.middlewares.governed.plugin.chat-completion.telemetry.labels]
team = "$(headers.x-team)"
site = "7"
[http.middlewares.governed.plugin.chat-completion.telemetry.traces]
sampleRatio = 0.5
captureContent = true
contentMaxBytes = 1000
[http.middlewares.governed.plugin.chat-completion.telemetry.otlp]
endpoint = "http://127.0.0.1:9"
interval = "1h"
timeout = "5s"
compression = "none"
metrics = false
traces = false
[http.middlewares.governed.plugin.chat-completion.telemetry.otlp.headers]
X-Key = "urn:env:NO_SUCH_KEY"
`
	asJSON = `{
  "token": "sk-provider", "model": "gpt-4o", "allowModelOverride": true,
  "params": {"temperature": 0.5, "maxTokens": 2048,
    "extra": {"seed": 7, "logprobs": true, "user": "42", "metadata": {"tenant": "7"}}},
  "allowParamsOverride": false, "limits": {"n": 2}, "dropParams": ["stop", "top_k"], "allowedModels": ["gpt-4o*", "o1"],
  "modelAliases": {"fast": "gpt-4o-mini"}, "modelHeader": "X-Model", "authHeader": {"name": "api-key", "prefix": "Key"},
  "maxRequestBodySize": 1048576, "path": "/v1/chat/completions", "mode": "enforce", "streamUsage": "never",
  "telemetry": {"provider": "azure.ai.openai", "maxSeries": 300, "semconv": "v0.1", "labels": {"team": "$(headers.x-team)", "site": "7"},
    "traces": {"sampleRatio": 0.5, "captureContent": true, "contentMaxBytes": 1000},
    "otlp": {"endpoint": "http://127.0.0.1:9", "interval": "1h", "timeout": "5s", "compression": "none",
      "metrics": false, "traces": false, "headers": {"X-Key": "urn:env:NO_SUCH_KEY"}}}
}`
	asLabels = `
token=sk-provider
model=gpt-4o
allowModelOverride=true
params.temperature=0.5
params.maxTokens=2048
params.extra.seed=7
params.extra.logprobs=true
params.extra.user=42
params.extra.metadata.tenant=7
allowParamsOverride=false
limits.n=2
dropParams=stop,top_k
allowedModels=gpt-4o*,o1
modelAliases.fast=gpt-4o-mini
modelHeader=X-Model
authHeader.name=api-key
authHeader.prefix=Key
maxRequestBodySize=1048576
path=/v1/chat/completions
mode=enforce
streamUsage=never
telemetry.provider=azure.ai.openai
telemetry.maxSeries=300
telemetry.semconv=v0.1
telemetry.labels.team=$(headers.x-team)
telemetry.labels.site=7
telemetry.traces.sampleRatio=0.5
telemetry.traces.captureContent=true
telemetry.traces.contentMaxBytes=1000
telemetry.otlp.endpoint=http://127.0.0.1:9
telemetry.otlp.interval=1h
telemetry.otlp.timeout=5s
telemetry.otlp.compression=none
telemetry.otlp.metrics=false
telemetry.otlp.traces=false
telemetry.otlp.headers.X-Key=urn:env:NO_SUCH_KEY
`

	// An unreachable provider, and its fallback.
	forwardedAsYAML = `
http:
  middlewares:
    governed:
      plugin:
        chat-completion:
          provider: mistral
          host: 127.0.0.1
          port: 1
          tls:
            enabled: false
          timeouts:
            connect: 2s
            firstByte: 5s
          routes:
            /v1/chat/completions: completions
            /v1/images: "passthrough: governed"
          fallbacks:
            - provider: groq
              host: 127.0.0.1
              port: PORT
              tls:
                enabled: false
              model: llama
              token: sk-second
              authHeader:
                name: X-Key
                prefix: Key
`
	forwardedAsTOML = `
[http.middlewares.governed.plugin.chat-completion]
provider = "mistral"
host = "127.0.0.1"
port = 1
[http.middlewares.governed.plugin.chat-completion.tls]
enabled = false
[http.middlewares.governed.plugin.chat-completion.timeouts]
connect = "2s"
firstByte = "5s"
[http.middlewares.governed.plugin.chat-completion.routes]
"/v1/chat/completions" = "completions"
"/v1/images" = "passthrough: governed"
[[http.middlewares.governed.plugin.chat-completion.fallbacks]]
provider = "groq"
host = "127.0.0.1"
port = PORT
model = "llama"
token = "sk-second"
tls = {enabled = false}
authHeader = {name = "X-Key", prefix = "Key"}
`
	forwardedAsJSON = `{
  "provider": "mistral", "host": "127.0.0.1", "port": 1, "tls": {"enabled": false}, "timeouts": {"connect": "2s", "firstByte": "5s"},
  "routes": {"/v1/chat/completions": "completions", "/v1/images": "passthrough: governed"},
  "fallbacks": [{"provider": "groq", "host": "127.0.0.1", "port": PORT, "tls": {"enabled": false}, "model": "llama", "token": "sk-second",
    "authHeader": {"name": "X-Key", "prefix": "Key"}}]
}`
	forwardedAsLabels = `
provider=mistral
host=127.0.0.1
port=1
tls.enabled=false
timeouts.connect=2s
timeouts.firstByte=5s
routes./v1/chat/completions=completions
routes./v1/images=passthrough: governed
fallbacks[0].provider=groq
fallbacks[0].host=127.0.0.1
fallbacks[0].port=PORT
fallbacks[0].tls.enabled=false
fallbacks[0].model=llama
fallbacks[0].token=sk-second
fallbacks[0].authHeader.name=X-Key
fallbacks[0].authHeader.prefix=Key
`

	exposedAsYAML   = "http: {middlewares: {governed: {plugin: {chat-completion: {expose: prometheus, telemetry: {maxSeries: 300}}}}}}"
	exposedAsTOML   = "[http.middlewares.governed.plugin.chat-completion]\nexpose = \"prometheus\"\ntelemetry = {maxSeries = 300}\n"
	exposedAsJSON   = `{"expose": "prometheus", "telemetry": {"maxSeries": 300}}`
	exposedAsLabels = "expose=prometheus\ntelemetry.maxSeries=300"
)

// pluginConfiguration returns the configuration that Traefik passes to the plugin of the
// middleware.
func pluginConfiguration(t *testing.T, configuration *dynamic.Configuration) map[string]any {
	t.Helper()
	middleware := configuration.HTTP.Middlewares["governed"]
	if middleware == nil || len(middleware.Plugin["chat-completion"]) == 0 {
		t.Fatal("Traefik decoded no configuration of the plugin")
	}
	return middleware.Plugin["chat-completion"]
}

func fromFile(t *testing.T, content, extension string) map[string]any {
	t.Helper()
	var configuration dynamic.Configuration
	if err := file.DecodeContent(content, extension, &configuration); err != nil {
		t.Fatal(err)
	}
	return pluginConfiguration(t, &configuration)
}

func fromLabels(t *testing.T, lines string) map[string]any {
	t.Helper()
	labels := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(lines), "\n") {
		key, value, _ := strings.Cut(line, "=")
		labels["traefik.http.middlewares.governed.plugin.chat-completion."+key] = value
	}
	configuration, err := label.DecodeConfiguration(labels)
	if err != nil {
		t.Fatal(err)
	}
	return pluginConfiguration(t, configuration)
}

// fromCRD decodes the JSON of a custom resource as the Kubernetes CRD provider does.
func fromCRD(t *testing.T, content string) map[string]any {
	t.Helper()
	var configuration map[string]any
	if err := json.Unmarshal([]byte(content), &configuration); err != nil {
		t.Fatal(err)
	}
	return configuration
}

// TestConfigurationFromEveryTraefikProvider compares the effect of middlewares whose
// configuration is YAML, TOML, JSON of a custom resource, and container labels, decoded and loaded
// by Traefik's own code.
func TestConfigurationFromEveryTraefikProvider(t *testing.T) {
	configurations := map[string]struct{ governed, exposed map[string]any }{
		"YAML":   {fromFile(t, asYAML, ".yml"), fromFile(t, exposedAsYAML, ".yml")},
		"TOML":   {fromFile(t, asTOML, ".toml"), fromFile(t, exposedAsTOML, ".toml")},
		"CRD":    {fromCRD(t, asJSON), fromCRD(t, exposedAsJSON)},
		"labels": {fromLabels(t, asLabels), fromLabels(t, exposedAsLabels)},
	}
	requests := []string{
		`{"messages":[{"role":"user","content":"Hi"}]}`,
		`{"model":"fast","messages":[{"role":"user","content":"Hi"}],"stop":"x","top_k":3,"n":5,"temperature":2,"max_completion_tokens":9}`,
		`{"model":"gpt-5","messages":[{"role":"user","content":"Hi"}]}`,
		`{"model":"o1","messages":[{"role":"user","content":"Hi"}],"metadata":{"tenant":"8"},"user":"43"}`,
		`{"model":"o1","stream":true,"messages":[{"role":"user","content":"Hi"}]}`,
	}
	want := []string{
		`POST /v1/chat/completions gpt-4o Key sk-provider {"messages":[{"role":"user","content":"Hi"}],"model":"gpt-4o","temperature":0.5,"max_tokens":2048,"logprobs":true,"metadata":{"tenant":"7"},"seed":7,"user":"42"}`,
		`POST /v1/chat/completions gpt-4o-mini Key sk-provider {"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hi"}],"n":2,"temperature":0.5,"max_completion_tokens":2048,"logprobs":true,"metadata":{"tenant":"7"},"seed":7,"user":"42"}`,
		`404`,
		`POST /v1/chat/completions o1 Key sk-provider {"model":"o1","messages":[{"role":"user","content":"Hi"}],"metadata":{"tenant":"7"},"user":"42","temperature":0.5,"max_tokens":2048,"logprobs":true,"seed":7}`,
		`POST /v1/chat/completions o1 Key sk-provider {"model":"o1","stream":true,"messages":[{"role":"user","content":"Hi"}],"temperature":0.5,"max_tokens":2048,"logprobs":true,"metadata":{"tenant":"7"},"seed":7,"user":"42"}`,
	}
	builder := loadThisPlugin(t)
	for name, configuration := range configurations {
		t.Run(name, func(t *testing.T) {
			var seen string
			provider := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
				body, err := io.ReadAll(req.Body)
				if err != nil {
					t.Error(err)
				}
				seen = strings.Join([]string{req.Method, req.URL.Path, req.Header.Get("X-Model"), req.Header.Get("Api-Key"), string(body)}, " ")
			})
			handler := construct(t, t.Context(), builder, configuration.governed, provider)
			metrics := upstream(t, construct(t, t.Context(), builder, configuration.exposed, http.NotFoundHandler()))
			before := labelledCalls(t, metrics.URL)
			for i, request := range requests {
				seen = ""
				recorder := httptest.NewRecorder()
				req := httptest.NewRequest(http.MethodPost, "/any", strings.NewReader(request))
				req.Header.Set("X-Team", "blue")
				handler.ServeHTTP(recorder, req)
				if recorder.Code == http.StatusNotFound {
					seen = "404"
				}
				if seen != want[i] {
					t.Errorf("request %d: the provider sees\n%s\nwant\n%s", i, seen, want[i])
				}
			}
			if got, want := labelledCalls(t, metrics.URL)-before, float64(len(requests)); got != want {
				t.Errorf("%v calls have the labels of the configuration, want %v", got, want)
			}
		})
	}
}

// TestFallbackFromEveryTraefikProvider checks that the second provider responds, whichever provider
// the configuration comes from.
func TestFallbackFromEveryTraefikProvider(t *testing.T) {
	seen := ""
	second := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		seen = strings.Join([]string{req.URL.Path, req.Header.Get("X-Key"), req.Header.Get("Authorization"), string(body)}, "|")
	}))
	_, port, err := net.SplitHostPort(strings.TrimPrefix(second.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	with := func(configuration string) string { return strings.ReplaceAll(configuration, "PORT", port) }
	builder := loadThisPlugin(t)
	for name, configuration := range map[string]map[string]any{
		"YAML":   fromFile(t, with(forwardedAsYAML), ".yml"),
		"TOML":   fromFile(t, with(forwardedAsTOML), ".toml"),
		"CRD":    fromCRD(t, with(forwardedAsJSON)),
		"labels": fromLabels(t, with(forwardedAsLabels)),
	} {
		t.Run(name, func(t *testing.T) {
			seen = ""
			handler := construct(t, t.Context(), builder, configuration, http.NotFoundHandler())
			req := httptest.NewRequest(http.MethodPost, "/any/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`))
			req.Header.Set("Authorization", "Bearer sk-client")
			handler.ServeHTTP(httptest.NewRecorder(), req)
			want := `/openai/v1/chat/completions|Key sk-second||{"model":"llama","messages":[{"role":"user","content":"Hi"}]}`
			if seen != want {
				t.Errorf("the second provider sees\n%s\nwant\n%s", seen, want)
			}
		})
	}
}

// labelledCalls returns the number of calls in an exposition that have the configured labels.
func labelledCalls(t *testing.T, address string) float64 {
	t.Helper()
	calls := 0.0
	for _, sample := range scrape(t, address) {
		labels := sample.Labels
		if labels["__name__"] == callsSeries && labels["gen_ai_provider_name"] == "azure.ai.openai" && labels["team"] == "blue" && labels["site"] == "7" {
			calls += sample.Value
		}
	}
	return calls
}

// TestTypoFromEveryTraefikProviderIsNamed makes the same mistakes with each Traefik provider.
func TestTypoFromEveryTraefikProviderIsNamed(t *testing.T) {
	const head = "http: {middlewares: {governed: {plugin: {chat-completion: "
	configurations := map[string]map[string]any{
		"YAML":   fromFile(t, head+"{allowModelOveride: true, params: {temprature: 1}, limits: {n: many}, telemetry: {label: {a: b}, otlp: {interval: 15}}}}}}}", ".yaml"),
		"TOML":   fromFile(t, "[http.middlewares.governed.plugin.chat-completion]\nallowModelOveride = true\nparams = {temprature = 1}\nlimits = {n = \"many\"}\ntelemetry = {label = {a = \"b\"}, otlp = {interval = \"15\"}}\n", ".toml"),
		"CRD":    fromCRD(t, `{"allowModelOveride":true,"params":{"temprature":1},"limits":{"n":"many"},"telemetry":{"label":{"a":"b"},"otlp":{"interval":"15"}}}`),
		"labels": fromLabels(t, "allowModelOveride=true\nparams.temprature=1\nlimits.n=many\ntelemetry.label.a=b\ntelemetry.otlp.interval=15"),
	}
	want := []string{
		`unknown key "allowModelOveride"; did you mean "allowModelOverride"?`,
		`unknown key "params.temprature"; did you mean "params.temperature"?`,
		`unknown key "telemetry.label"; did you mean "telemetry.labels"?`,
		`limits.n: must be a number, got "many"`,
		`telemetry.otlp.interval: must be a duration from 1s to 1h, such as 15s, got "15"`,
	}
	builder := loadThisPlugin(t)
	for name, configuration := range configurations {
		t.Run(name, func(t *testing.T) {
			construct, err := builder.Build("plugin", configuration, "governed")
			if err == nil {
				_, err = construct(context.Background(), http.NotFoundHandler())
			}
			if err == nil {
				t.Fatal("the configuration was accepted")
			}
			got := strings.Split(strings.TrimPrefix(err.Error(), `chat-completion middleware "governed": `), "; ")
			sort.Strings(got)
			wanted := strings.Split(strings.Join(want, "; "), "; ")
			sort.Strings(wanted)
			if !reflect.DeepEqual(got, wanted) {
				t.Errorf("problems\n%q\nwant\n%q", got, wanted)
			}
		})
	}
}
