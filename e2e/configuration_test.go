package e2e_test

import (
	"context"
	"encoding/json"
	"io"
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

// The same configuration as each provider of Traefik takes it.
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
`
	asJSON = `{
  "token": "sk-provider", "model": "gpt-4o", "allowModelOverride": true,
  "params": {"temperature": 0.5, "maxTokens": 2048,
    "extra": {"seed": 7, "logprobs": true, "user": "42", "metadata": {"tenant": "7"}}},
  "allowParamsOverride": false, "limits": {"n": 2}, "dropParams": ["stop", "top_k"], "allowedModels": ["gpt-4o*", "o1"],
  "modelAliases": {"fast": "gpt-4o-mini"}, "modelHeader": "X-Model", "authHeader": {"name": "api-key", "prefix": "Key"},
  "maxRequestBodySize": 1048576, "path": "/v1/chat/completions", "mode": "enforce"
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
`
)

// pluginConfiguration is what Traefik hands to the plugin of the middleware.
func pluginConfiguration(t *testing.T, configuration *dynamic.Configuration) map[string]any {
	t.Helper()
	middleware := configuration.HTTP.Middlewares["governed"]
	if middleware == nil || len(middleware.Plugin["chat-completion"]) == 0 {
		t.Fatal("Traefik decodes no configuration of the plugin")
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

// fromCRD decodes as the Kubernetes CRD provider does: the JSON of the custom resource.
func fromCRD(t *testing.T, content string) map[string]any {
	t.Helper()
	var configuration map[string]any
	if err := json.Unmarshal([]byte(content), &configuration); err != nil {
		t.Fatal(err)
	}
	return configuration
}

// TestSameConfigurationFromEveryProvider compares what a middleware does whose configuration came as YAML, TOML, JSON of
// a custom resource, and container labels, through Traefik's own decoding and loader.
func TestSameConfigurationFromEveryProvider(t *testing.T) {
	configurations := map[string]map[string]any{
		"YAML":   fromFile(t, asYAML, ".yml"),
		"TOML":   fromFile(t, asTOML, ".toml"),
		"CRD":    fromCRD(t, asJSON),
		"labels": fromLabels(t, asLabels),
	}
	requests := []string{
		`{"messages":[{"role":"user","content":"Hi"}]}`,
		`{"model":"fast","messages":[{"role":"user","content":"Hi"}],"stop":"x","top_k":3,"n":5,"temperature":2,"max_completion_tokens":9}`,
		`{"model":"gpt-5","messages":[{"role":"user","content":"Hi"}]}`,
		`{"model":"o1","messages":[{"role":"user","content":"Hi"}],"metadata":{"tenant":"8"},"user":"43"}`,
	}
	want := []string{
		`POST /v1/chat/completions gpt-4o Key sk-provider {"messages":[{"role":"user","content":"Hi"}],"model":"gpt-4o","temperature":0.5,"max_tokens":2048,"logprobs":true,"metadata":{"tenant":"7"},"seed":7,"user":"42"}`,
		`POST /v1/chat/completions gpt-4o-mini Key sk-provider {"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hi"}],"n":2,"temperature":0.5,"max_completion_tokens":2048,"logprobs":true,"metadata":{"tenant":"7"},"seed":7,"user":"42"}`,
		`404`,
		`POST /v1/chat/completions o1 Key sk-provider {"model":"o1","messages":[{"role":"user","content":"Hi"}],"metadata":{"tenant":"7"},"user":"42","temperature":0.5,"max_tokens":2048,"logprobs":true,"seed":7}`,
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
			construct, err := builder.Build("plugin", configuration, "governed")
			if err != nil {
				t.Fatal(err)
			}
			handler, err := construct(context.Background(), provider)
			if err != nil {
				t.Fatal(err)
			}
			for i, request := range requests {
				seen = ""
				recorder := httptest.NewRecorder()
				handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/any", strings.NewReader(request)))
				if recorder.Code == http.StatusNotFound {
					seen = "404"
				}
				if seen != want[i] {
					t.Errorf("request %d: the provider sees\n%s\nwant\n%s", i, seen, want[i])
				}
			}
		})
	}
}

// TestTypoFromEveryProviderIsNamed makes the same mistakes in each of them.
func TestTypoFromEveryProviderIsNamed(t *testing.T) {
	const head = "http: {middlewares: {governed: {plugin: {chat-completion: "
	configurations := map[string]map[string]any{
		"YAML":   fromFile(t, head+"{allowModelOveride: true, params: {temprature: 1}, limits: {n: many}}}}}}", ".yaml"),
		"TOML":   fromFile(t, "[http.middlewares.governed.plugin.chat-completion]\nallowModelOveride = true\nparams = {temprature = 1}\nlimits = {n = \"many\"}\n", ".toml"),
		"CRD":    fromCRD(t, `{"allowModelOveride":true,"params":{"temprature":1},"limits":{"n":"many"}}`),
		"labels": fromLabels(t, "allowModelOveride=true\nparams.temprature=1\nlimits.n=many"),
	}
	want := []string{
		`unknown key "allowModelOveride"; did you mean "allowModelOverride"?`,
		`unknown key "params.temprature"; did you mean "params.temperature"?`,
		`limits.n: "many" is not a number`,
	}
	builder := loadThisPlugin(t)
	for name, configuration := range configurations {
		t.Run(name, func(t *testing.T) {
			construct, err := builder.Build("plugin", configuration, "governed")
			if err == nil {
				_, err = construct(context.Background(), http.NotFoundHandler())
			}
			if err == nil {
				t.Fatal("the configuration is accepted")
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
