package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	gatewayapi "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// examples is the folder of the examples.
func examples(t *testing.T) string {
	t.Helper()
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, "examples")
}

// readReplaced reads a file and replaces texts in it, each of which must be there: old and new by turns.
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

// kinds are the types of manifests, as Go clients have them.
var kinds = map[string]func() any{
	"v1/Secret":                         func() any { return new(core.Secret) },
	"v1/Service":                        func() any { return new(core.Service) },
	"rbac.authorization.k8s.io/v1/Role": func() any { return new(rbac.Role) },
	"rbac.authorization.k8s.io/v1/RoleBinding":  func() any { return new(rbac.RoleBinding) },
	"traefik.io/v1alpha1/Middleware":            func() any { return new(traefikv1alpha1.Middleware) },
	"traefik.io/v1alpha1/IngressRoute":          func() any { return new(traefikv1alpha1.IngressRoute) },
	"traefik.io/v1alpha1/TraefikService":        func() any { return new(traefikv1alpha1.TraefikService) },
	"gateway.networking.k8s.io/v1/GatewayClass": func() any { return new(gatewayapi.GatewayClass) },
	"gateway.networking.k8s.io/v1/Gateway":      func() any { return new(gatewayapi.Gateway) },
	"gateway.networking.k8s.io/v1/HTTPRoute":    func() any { return new(gatewayapi.HTTPRoute) },
	"monitoring.coreos.com/v1/PodMonitor":       func() any { return new(map[string]any) }, // its schema is in make e2e-kubernetes
}

// TestManifestsOfTheExamplesAreValid decodes every manifest strictly, and makes the middlewares in Traefik's loader.
// `make e2e-kubernetes` applies them.
func TestManifestsOfTheExamplesAreValid(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(examples(t), "kubernetes", "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no manifests: %v", err)
	}
	builder := loadThisPlugin(t) // changes the working directory
	for _, path := range paths {
		name := filepath.Base(path)
		if name == "values.yaml" {
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
		// Traefik puts the value of the Secret there.
		if err := json.Unmarshal(regexp.MustCompile(`urn:k8s:secret:[\w:-]+`).ReplaceAll(raw.Raw, []byte("sk-provider")), &configuration); err != nil {
			t.Fatal(err)
		}
		construct(t, t.Context(), builder, configuration, http.NotFoundHandler())
	}
}

// TestHelmValuesOfTheExampleAreTraefiksOptions decodes what the chart hands to Traefik. The chart itself is not there.
func TestHelmValuesOfTheExampleAreTraefiksOptions(t *testing.T) {
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
			delete(options, "enabled") // the chart's own
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
		t.Error("Traefik gets other options than the values have")
	}
}

// composeProject is what is read of a Compose file.
type composeProject struct {
	Services map[string]struct {
		Command []string
		Labels  []string
	}
}

// interpolated is what Compose makes of a text: $$ becomes $, and a single $ would begin a variable.
func interpolated(t *testing.T, text string) string {
	t.Helper()
	if strings.Contains(strings.ReplaceAll(text, "$$", ""), "$") {
		t.Errorf("Compose reads a variable in %s", text)
	}
	return strings.ReplaceAll(text, "$$", "$")
}

// TestComposeExampleServes has Traefik decode flags and labels, and serve what the labels say.
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

// decodeLabels decodes the labels of a container, with another path for the provider's key.
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

// addLabelled adds what labels say, as Traefik's Docker provider does, but for the servers.
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
