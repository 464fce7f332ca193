package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/traefik/paerser/file"
	"github.com/traefik/paerser/flag"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/config/label"
	"github.com/traefik/traefik/v3/pkg/config/static"
	"github.com/traefik/traefik/v3/pkg/plugins"
	traefikv1alpha1 "github.com/traefik/traefik/v3/pkg/provider/kubernetes/crd/traefikio/v1alpha1"
	autoscaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	rbac "k8s.io/api/rbac/v1"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// examples returns the folder of the examples.
func examples(t *testing.T) string {
	t.Helper()
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "examples")
}

// readReplaced reads a file and replaces texts in it, given as alternating old and new texts. Each
// old text must occur.
func readReplaced(t *testing.T, path string, replacements ...string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for pair := range slices.Chunk(replacements, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("%s has no %q", filepath.Base(path), pair[0])
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	return text
}

// launch runs Traefik with the files of an example, static and dynamic, until the test ends.
func launch(t *testing.T, static, dynamic string, env ...string) *gateway.Process {
	t.Helper()
	path := filepath.Join(t.TempDir(), "dynamic.yml")
	write(t, path, dynamic)
	const filename = "filename: dynamic.yml"
	if !strings.Contains(static, filename) {
		t.Fatalf("the static configuration has no %q", filename)
	}
	var configuration map[string]any
	if err := yaml.Unmarshal([]byte(strings.ReplaceAll(static, filename, "filename: "+path)), &configuration); err != nil {
		t.Fatal(err)
	}
	binary, err := gateway.Binary(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	traefik, err := gateway.Launch(gateway.Command{Binary: binary, Static: configuration, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			logged, err := traefik.Errors()
			t.Logf("errors in Traefik's log: %q %v", logged, err)
		}
		if err := traefik.Stop(); err != nil {
			t.Error(err)
		}
	})
	return traefik
}

// kinds maps kinds of manifests to the types of Go clients.
var kinds = map[string]func() any{
	"v1/Secret":                                 func() any { return new(core.Secret) },
	"v1/Service":                                func() any { return new(core.Service) },
	"rbac.authorization.k8s.io/v1/Role":         func() any { return new(rbac.Role) },
	"autoscaling/v2/HorizontalPodAutoscaler":    func() any { return new(autoscaling.HorizontalPodAutoscaler) },
	"networking.k8s.io/v1/NetworkPolicy":        func() any { return new(networking.NetworkPolicy) },
	"policy/v1/PodDisruptionBudget":             func() any { return new(policy.PodDisruptionBudget) },
	"rbac.authorization.k8s.io/v1/RoleBinding":  func() any { return new(rbac.RoleBinding) },
	"traefik.io/v1alpha1/Middleware":            func() any { return new(traefikv1alpha1.Middleware) },
	"traefik.io/v1alpha1/IngressRoute":          func() any { return new(traefikv1alpha1.IngressRoute) },
	"traefik.io/v1alpha1/TraefikService":        func() any { return new(traefikv1alpha1.TraefikService) },
	"gateway.networking.k8s.io/v1/GatewayClass": func() any { return new(gatewayapi.GatewayClass) },
	"gateway.networking.k8s.io/v1/Gateway":      func() any { return new(gatewayapi.Gateway) },
	"gateway.networking.k8s.io/v1/HTTPRoute":    func() any { return new(gatewayapi.HTTPRoute) },
	"monitoring.coreos.com/v1/PodMonitor":       func() any { return new(map[string]any) }, // make e2e-kubernetes checks its schema
}

// TestExampleManifestsAreValid decodes every manifest strictly, and builds the middlewares with
// Traefik's loader. `make e2e-kubernetes` applies the manifests.
func TestExampleManifestsAreValid(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(examples(t), "kubernetes", "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	builder := loadThisPlugin(t) // changes the working directory
	for _, path := range paths {
		name := filepath.Base(path)
		if strings.HasSuffix(name, "values.yaml") { // values of a Helm chart
			continue
		}
		for i, document := range strings.Split(readReplaced(t, path), "\n---\n") {
			t.Run(fmt.Sprintf("%s %d", name, i), func(t *testing.T) { checkManifest(t, builder, document) })
		}
	}
}

func checkManifest(t *testing.T, builder *plugins.Builder, document string) {
	t.Helper()
	var head struct{ APIVersion, Kind string }
	if err := yaml.Unmarshal([]byte(document), &head); err != nil {
		t.Fatal(err)
	}
	create := kinds[head.APIVersion+"/"+head.Kind]
	if create == nil {
		t.Fatalf("unknown kind %s/%s", head.APIVersion, head.Kind)
	}
	manifest := create()
	if err := yaml.UnmarshalStrict([]byte(document), manifest); err != nil {
		t.Fatal(err)
	}
	middleware, isMiddleware := manifest.(*traefikv1alpha1.Middleware)
	if !isMiddleware {
		return
	}
	for _, raw := range middleware.Spec.Plugin {
		var configuration map[string]any
		// Traefik inserts the values of the Secrets here.
		resolved := documentInSecret.ReplaceAll(raw.Raw, []byte(`"from":"[]"`))
		resolved = valueInSecret.ReplaceAll(digestInSecret.ReplaceAll(resolved, []byte(`"key":"`+someDigest+`"`)), []byte("sk-provider"))
		if err := json.Unmarshal(resolved, &configuration); err != nil {
			t.Fatal(err)
		}
		construct(t, t.Context(), builder, configuration, http.NotFoundHandler())
	}
}

// References to Secrets with a list of consumers, with the digest of a key, and with any other value.
var (
	documentInSecret = regexp.MustCompile(`"from": ?"urn:k8s:secret:[^"]+"`)
	digestInSecret   = regexp.MustCompile(`"key": ?"urn:k8s:secret:[^"]+"`)
	valueInSecret    = regexp.MustCompile(`urn:k8s:secret:[\w:-]+`)
)

// TestExampleHelmValuesAreTraefikOptions decodes the values that the chart passes to Traefik. The
// chart itself is not available here.
func TestExampleHelmValuesAreTraefikOptions(t *testing.T) {
	var values struct {
		Experimental map[string]any
		Providers    map[string]map[string]any
		Logs         struct{ Access map[string]any }
	}
	if err := yaml.UnmarshalStrict([]byte(readReplaced(t, filepath.Join(examples(t), "kubernetes", "values.yaml"))), &values); err != nil {
		t.Fatal(err)
	}
	providers := map[string]any{}
	for name, options := range values.Providers {
		if options["enabled"] == true {
			delete(options, "enabled") // consumed by the chart
			providers[name] = options
		}
	}
	delete(values.Logs.Access, "enabled")
	content, err := json.Marshal(map[string]any{"experimental": values.Experimental, "providers": providers, "accessLog": values.Logs.Access})
	if err != nil {
		t.Fatal(err)
	}
	var configuration static.Configuration
	if err := file.DecodeContent(string(content), ".yaml", &configuration); err != nil {
		t.Fatal(err)
	}
	if plugin := configuration.Experimental.Plugins[gateway.PluginKey]; plugin.ModuleName != gateway.Module {
		t.Errorf("module %q, want %q", plugin.ModuleName, gateway.Module)
	}
	if !configuration.Experimental.AbortOnPluginFailure || !configuration.Providers.KubernetesCRD.AllowExternalNameServices {
		t.Error("Traefik's options differ from the values")
	}
}

// composeProject has the fields of a Compose file that the test reads.
type composeProject struct {
	Services map[string]struct {
		Command []string
		Labels  []string
	}
}

// interpolated returns the text as Compose interpolates it: $$ becomes $, and a single $ would
// begin a variable.
func interpolated(t *testing.T, text string) string {
	t.Helper()
	if strings.Contains(strings.ReplaceAll(text, "$$", ""), "$") {
		t.Errorf("Compose reads a variable in %s", text)
	}
	return strings.ReplaceAll(text, "$$", "$")
}

// TestComposeExampleServes runs Traefik with the example's flags and labels, and sends requests
// through it.
func TestComposeExampleServes(t *testing.T) {
	key := filepath.Join(t.TempDir(), "openai-token")
	write(t, key, "sk-openai")
	var project composeProject
	if err := yaml.Unmarshal([]byte(readReplaced(t, filepath.Join(examples(t), "docker-compose", "docker-compose.yml"))), &project); err != nil {
		t.Fatal(err)
	}
	var flags static.Configuration
	if err := flag.Decode(project.Services["traefik"].Command, &flags); err != nil {
		t.Fatal(err)
	}
	if plugin := flags.Experimental.LocalPlugins[gateway.PluginKey]; plugin.ModuleName != gateway.Module || !flags.Experimental.AbortOnPluginFailure {
		t.Errorf("module %q, want %q", plugin.ModuleName, gateway.Module)
	}

	var host, authorization, model string
	providers := map[string]string{}
	for _, name := range []string{"openai", "ollama"} {
		providers[name] = upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			var request struct{ Model string }
			if err := json.Unmarshal(body, &request); err != nil {
				t.Error(err)
			}
			host, authorization, model = name+r.URL.Path, r.Header.Get("Authorization"), request.Model
			_, _ = io.WriteString(rw, "{}")
		})).URL
	}
	loaded := gateway.Dynamic{Routers: map[string]gateway.Router{}, Middlewares: map[string]any{}, Services: providers}
	for _, service := range project.Services {
		addLabelled(t, &loaded, decodeLabels(t, service.Labels, key))
	}
	g := start(t, gateway.Options{})
	configure(t, g, loaded)

	const hi = `{"model":"o9","messages":[{"role":"user","content":"Hi"}]}`
	for path, want := range map[string][3]string{
		"/v1/chat/completions":          {"ollama/v1/chat/completions", "", "llama3.2"},
		"/openai/v1/chat/completions":   {"openai/v1/chat/completions", "Bearer sk-openai", "gpt-4o"},
		"/gpt-4o-mini/chat/completions": {"openai/v1/chat/completions", "Bearer sk-openai", "gpt-4o-mini"},
	} {
		response, err := do(t.Context(), http.DefaultClient, g.URL+path, hi, map[string]string{"X-Team": "blue"})
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := [3]string{host, authorization, model}; got != want || response.StatusCode != http.StatusOK {
			t.Errorf("%s: status %d, the provider sees %q, want %q", path, response.StatusCode, got, want)
		}
	}
	awaitTotals(t, "calls by team", totals{"blue": 1, "": 2}, func() totals { return exposed(t, g, callsSeries, "team") })
	checkNoErrors(t, g)
}

// exampleGateway runs Traefik with the named example. It replaces texts in the dynamic
// configuration, given as alternating old and new texts.
func exampleGateway(t *testing.T, name string, replacements ...string) *gateway.Gateway {
	t.Helper()
	folder, web := filepath.Join(examples(t), name), freeAddress(t)
	traefik := launch(t, readReplaced(t, filepath.Join(folder, "traefik.yml"), "127.0.0.1:8000", web),
		readReplaced(t, filepath.Join(folder, "dynamic.yml"), replacements...), "OPENAI_API_KEY=sk-openai", "MISTRAL_API_KEY=sk-mistral")
	g := &gateway.Gateway{Process: traefik, URL: "http://" + web, AccessLogPath: filepath.Join(traefik.Dir, "access.log")}
	await(t, "the example serves", func() bool {
		response, err := http.Get(g.URL + "/v1/denied")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusMethodNotAllowed}, response.StatusCode)
	})
	return g
}

// hostLines returns the configuration lines of a provider's host, a server without TLS. The lines
// after the first are indented like it.
func hostLines(t *testing.T, indentation, address string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join([]string{"host: " + parsed.Hostname(), "port: " + parsed.Port(), "tls: {enabled: false}"}, "\n"+indentation)
}

// modelled has the fields of a request that an example's provider reads.
type modelled struct{ path, authorization, body string }

// remembering returns a provider that responds with the status and stores the last request.
func remembering(t *testing.T, status int, saw *modelled) *httptest.Server {
	t.Helper()
	return upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		*saw = modelled{r.URL.Path, r.Header.Get("Authorization"), string(body)}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, "{}")
	}))
}

// TestModelRoutingExampleServes requests models of three providers, and the list of models.
func TestModelRoutingExampleServes(t *testing.T) {
	var openAI, mistral, ollama modelled
	g := exampleGateway(t, "model-routing",
		"https://api.openai.com", remembering(t, http.StatusOK, &openAI).URL,
		"host: api.mistral.ai", hostLines(t, "          ", remembering(t, http.StatusOK, &mistral).URL),
		"host: localhost", hostLines(t, "          ", remembering(t, http.StatusOK, &ollama).URL))
	const hi = `"messages":[{"role":"user","content":"Hi"}]}`
	for _, test := range []struct {
		name, body string
		saw        *modelled
		want       modelled
		policy     string
	}{
		{
			"OpenAI", `{"model":"gpt-4o","max_tokens":5000,` + hi, &openAI,
			modelled{chatPath, "Bearer sk-openai", `{"model":"gpt-4o","max_completion_tokens":1024,` + hi},
			"max_tokens=limited,max_tokens=limited,max_tokens=renamed",
		},
		{
			"Mistral", `{"model":"mistral-small-latest","stream":true,"max_completion_tokens":9,` + hi, &mistral,
			modelled{chatPath, "Bearer sk-mistral", `{"model":"mistral-small-latest","stream":true,"max_tokens":9,` + hi},
			"max_completion_tokens=renamed",
		},
		{
			"Ollama, by default", `{` + hi, &ollama,
			modelled{chatPath, "", `{` + hi[:len(hi)-1] + `,"model":"llama3.2","max_tokens":4096}`},
			"model=set,max_tokens=limited",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			response, err := do(t.Context(), http.DefaultClient, g.URL+chatPath, test.body, map[string]string{"X-Ai-Model": "gpt-4o"})
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK || *test.saw != test.want {
				t.Errorf("status %d, the provider sees %q, want %q", response.StatusCode, *test.saw, test.want)
			}
			await(t, "the decisions of both instances in the access log", func() bool {
				lines := accessLog(t, g)
				return len(lines) > 0 && lines[len(lines)-1]["downstream_X-Ai-Policy"] == test.policy
			})
		})
	}
	t.Run("a model that no router takes", func(t *testing.T) {
		response, err := do(t.Context(), http.DefaultClient, g.URL+chatPath, `{"model":"o9",`+hi, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		content, err := io.ReadAll(response.Body)
		if err != nil || response.StatusCode != http.StatusNotFound || !strings.Contains(string(content), "model_not_found") {
			t.Errorf("status %d: %s, want 404 with model_not_found", response.StatusCode, content)
		}
	})
	t.Run("the list of models", func(t *testing.T) {
		response, err := http.Get(g.URL + "/v1/models")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		var list struct{ Data []struct{ ID string } }
		if err := json.NewDecoder(response.Body).Decode(&list); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, model := range list.Data {
			got = append(got, model.ID)
		}
		if want := []string{"gpt-4o", "gpt-4o-mini", "llama3.2", "mistral-small-latest", "small"}; !slices.Equal(got, want) {
			t.Errorf("models %q, want %q", got, want)
		}
	})
	checkNoErrors(t, g)
}

// TestFallbacksExampleServes has the first provider return an error, and the second one be
// unreachable.
func TestFallbacksExampleServes(t *testing.T) {
	var openAI, ollama modelled
	g := exampleGateway(t, "fallbacks",
		"host: api.openai.com", hostLines(t, "          ", remembering(t, http.StatusServiceUnavailable, &openAI).URL),
		"provider: mistral # whose host is known", "provider: mistral\n              "+hostLines(t, "              ", dead()),
		"host: localhost", hostLines(t, "              ", remembering(t, http.StatusOK, &ollama).URL))
	const hi = `"messages":[{"role":"user","content":"Hi"}]}`
	response, err := do(t.Context(), http.DefaultClient, g.URL+chatPath, `{"model":"gpt-4o","max_tokens":5000,`+hi, map[string]string{"Authorization": "Bearer sk-client"})
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", response.StatusCode)
	}
	if want := (modelled{chatPath, "Bearer sk-openai", `{"model":"gpt-4o","max_completion_tokens":2048,` + hi}); openAI != want {
		t.Errorf("OpenAI sees %q, want %q", openAI, want)
	}
	if want := (modelled{chatPath, "", `{"model":"llama3.2","max_tokens":2048,` + hi}); ollama != want {
		t.Errorf("Ollama sees %q, want %q", ollama, want)
	}
	const attempts = "openai=503,mistral_ai=connection_failed,ollama=200"
	await(t, attempts+" in the access log", func() bool {
		return slices.ContainsFunc(accessLog(t, g), func(line map[string]any) bool { return line["downstream_X-Ai-Attempts"] == attempts })
	})
	awaitTotals(t, "attempts", totals{"openai/503": 1, "mistral_ai/connection_failed": 1, "ollama/": 1}, func() totals {
		all := exposed(t, g, callsSeries, "gen_ai_provider_name", "error_type")
		delete(all, "openai/method_not_supported") // from exampleGateway's probe
		return all
	})
	checkNoErrors(t, g)
}

// TestConsumersExampleServes sends requests of the consumers, without Redis and with it.
func TestConsumersExampleServes(t *testing.T) {
	t.Run("without Redis", func(t *testing.T) {
		checkConsumersExample(t)
	})
	t.Run("with Redis", func(t *testing.T) {
		redis, err := backends.StartRedis(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = redis.Close() })
		g := checkConsumersExample(t, "# redis:\n          #   endpoints: [localhost:6379]\n          #   readTimeout: 250ms\n",
			"redis:\n            endpoints: ["+redis.Address+"]\n            readTimeout: 250ms\n")
		awaitTotals(t, "stores in use", totals{"": 1}, func() totals { return exposed(t, g, "chat_completion_store_up") })
	})
}

// checkConsumersExample runs the example with replacements, and checks what its consumers may do.
func checkConsumersExample(t *testing.T, replacements ...string) *gateway.Gateway {
	t.Helper()
	var seen string // the key that the provider sees
	provider := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		seen = r.Header.Get("Authorization")
		rw.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(rw, `{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100}}`)
	}))
	lists := t.TempDir()
	for _, name := range []string{"consumers.json", "prices.json"} {
		write(t, filepath.Join(lists, name), readReplaced(t, filepath.Join(examples(t), "consumers", name)))
	}
	g := exampleGateway(t, "consumers", append(replacements, "/etc/traefik", lists, "host: api.openai.com", hostLines(t, "          ", provider.URL))...)
	const blue, red = "sk-demo-blue-0f5a7c1e9b3d", "sk-demo-red-4c8e2a6d1b7f"
	for _, test := range []struct {
		name, key, model string
		status           int
		pace, consumer   string // x-ratelimit-limit-requests, and X-Ai-Consumer with the cost
	}{
		{"nobody", "", "gpt-4o-mini", http.StatusUnauthorized, "", ""},
		{"an unknown key", "sk-demo-green", "gpt-4o-mini", http.StatusUnauthorized, "", ""},
		{"a model for others", blue, "gpt-4o", http.StatusNotFound, "", "blue"},
		{"a consumer", blue, "gpt-4o-mini", http.StatusOK, "20", "blue 0.00021"},
		{"a member of a group", red, "gpt-4o", http.StatusOK, "60", "red research 0.0035"},
	} {
		t.Run(test.name, func(t *testing.T) {
			response, err := do(t.Context(), http.DefaultClient, g.URL+chatPath,
				`{"model":"`+test.model+`","messages":[{"role":"user","content":"Hi"}]}`, map[string]string{"Authorization": "Bearer " + test.key})
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if got := response.Header.Get("X-Ratelimit-Limit-Requests"); response.StatusCode != test.status || got != test.pace {
				t.Errorf("status %d, %q requests a minute, want %d, %q", response.StatusCode, got, test.status, test.pace)
			}
			if test.status == http.StatusOK && seen != "Bearer sk-openai" {
				t.Errorf("the provider sees %q", seen)
			}
			await(t, test.consumer+" in the access log", func() bool {
				lines := accessLog(t, g)
				if len(lines) == 0 {
					return false
				}
				var got []string
				for _, name := range []string{"Consumer", "Group", "Cost"} {
					if value, _ := lines[len(lines)-1]["downstream_X-Ai-"+name].(string); value != "" {
						got = append(got, value)
					}
				}
				return strings.Join(got, " ") == test.consumer
			})
		})
	}
	checkNoErrors(t, g)
	return g
}

// decodeLabels decodes the labels of a container, with a different path for the provider's key.
func decodeLabels(t *testing.T, lines []string, key string) *dynamic.Configuration {
	t.Helper()
	labels := map[string]string{}
	for _, line := range lines {
		name, value, _ := strings.Cut(interpolated(t, line), "=")
		labels[name] = strings.ReplaceAll(value, "/run/secrets/openai-token", key)
	}
	configuration, err := label.DecodeConfiguration(labels)
	if err != nil {
		t.Fatal(err)
	}
	return configuration
}

// addLabelled adds the configuration in labels, as Traefik's Docker provider does, except for the
// servers.
func addLabelled(t *testing.T, to *gateway.Dynamic, from *dynamic.Configuration) {
	t.Helper()
	for name, router := range from.HTTP.Routers {
		service := router.Service
		if service == "" {
			service = name // the container's only one
		}
		to.Routers[name] = gateway.Router{Rule: router.Rule, Middlewares: router.Middlewares, Service: service}
	}
	for name, middleware := range from.HTTP.Middlewares {
		if middleware.Plugin != nil {
			to.Middlewares[name] = map[string]any{"plugin": middleware.Plugin}
		} else {
			to.Middlewares[name] = middleware
		}
	}
}
