//go:build traefik37

package e2e_test

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// The tests in this file try the recipes that need Traefik 3.7. `make e2e-traefik37` runs them.

// newerBlock matches a block of YAML that Traefik of e2e/go.mod does not know, and which
// TestDocumentedConfigurationsAreValid therefore does not read.
var newerBlock = regexp.MustCompile("(?ms)^```yml\n(.*?)^```$")

// newerRecipe returns the block under the heading in the recipes, with texts replaced as in
// readReplaced.
func newerRecipe(t *testing.T, heading string, replacements ...string) string {
	t.Helper()
	text := readReplaced(t, filepath.Join(filepath.Dir(examples(t)), "docs", "recipes.md"))
	_, after, found := strings.Cut(text, "\n### "+heading+"\n")
	block := newerBlock.FindStringSubmatch(after)
	if !found || block == nil {
		t.Fatalf("the recipes have no block under %q", heading)
	}
	path := filepath.Join(t.TempDir(), "recipe.yml")
	write(t, path, block[1])
	return readReplaced(t, path, replacements...)
}

// tried is a recipe with a dynamic configuration, loaded beside a route that exposes the metrics.
type tried struct {
	*gateway.Gateway
	openai, mistral *fake
}

// try loads the recipe with fakes as its providers.
func try(t *testing.T, heading string, openai http.Handler, replacements ...string) tried {
	t.Helper()
	r := tried{
		Gateway: start(t, gateway.Options{Env: []string{"OPENAI_API_KEY=sk-openai", "MISTRAL_API_KEY=sk-mistral"}}),
		openai:  newFake(t, "openai", openai),
		mistral: newFake(t, "mistral", counting(0)),
	}
	recipe := newerRecipe(t, heading, append(replacements,
		"Host(`ai.example.com`) && Path(`/v1/chat/completions`)", "Path(`/v1/chat/completions`)", "https://api.openai.com", r.openai.URL)...)
	recipe = strings.ReplaceAll(recipe, "https://api.mistral.ai", r.mistral.URL)
	var document struct {
		HTTP struct {
			Routers               map[string]gateway.Router
			Middlewares, Services map[string]any
		}
	}
	if err := yaml.Unmarshal([]byte(recipe), &document); err != nil {
		t.Fatal(err)
	}
	dynamic := exposing()
	maps.Copy(dynamic.Routers, document.HTTP.Routers)
	maps.Copy(dynamic.Middlewares, document.HTTP.Middlewares)
	dynamic.RawServices = document.HTTP.Services
	configure(t, r.Gateway, dynamic)
	return r
}

// call sends requests, all of which must succeed.
func (r tried) call(t *testing.T, count int) {
	t.Helper()
	for range count {
		got := fetch(t, r.URL+chatPath, `{"model":"gpt-4o","max_tokens":5000,"messages":[{"role":"user","content":"Hi"}]}`,
			map[string]string{"Authorization": "Bearer sk-client"})
		if got.status != http.StatusOK {
			t.Errorf("status = %d, want 200: %s", got.status, got.body)
		}
	}
}

// check compares the requests that each provider received, their keys and models, and the calls by
// provider, model and error.
func (r tried) check(t *testing.T, toOpenAI, toMistral int, calls totals) {
	t.Helper()
	for _, want := range []struct {
		provider   *fake
		count      int
		key, model string
	}{{r.openai, toOpenAI, "sk-openai", "gpt-4o"}, {r.mistral, toMistral, "sk-mistral", "mistral-large-latest"}} {
		saw := want.provider.saw()
		if len(saw) != want.count {
			t.Errorf("%s received %d requests, want %d", want.provider.name, len(saw), want.count)
		}
		for _, request := range saw {
			if got := request.header.Get("Authorization"); got != "Bearer "+want.key || request.model() != want.model {
				t.Errorf("%s received the key %q and the model %q, want %q and %q", want.provider.name, got, request.model(), want.key, want.model)
			}
		}
	}
	if got := exposed(t, r.Gateway, callsSeries, "gen_ai_provider_name", "gen_ai_request_model", "error_type"); !reflect.DeepEqual(got, calls) {
		t.Errorf("calls = %v, want %v", got, calls)
	}
	checkNoErrors(t, r.Gateway)
}

const (
	calledOpenAI  = "openai/gpt-4o/"
	calledMistral = "mistral_ai/mistral-large-latest/"
)

func TestRecipeProvidersByWeight(t *testing.T) {
	r := try(t, "Providers by weight", counting(0))
	r.call(t, 20)
	r.check(t, 18, 2, totals{calledOpenAI: 18, calledMistral: 2})
	if got := r.openai.last(t).body; !strings.Contains(got, `"max_completion_tokens":2048`) {
		t.Errorf("the provider received %s, want the ceiling of the router's instance", got)
	}
}

func TestRecipeFailoverByStatus(t *testing.T) {
	overloaded := responding(http.StatusServiceUnavailable, `{"error":{"message":"overloaded"}}`)
	t.Run("as it stands", func(t *testing.T) {
		r := try(t, "Failover by status", overloaded)
		r.call(t, 5)
		r.check(t, 5, 5, totals{calledOpenAI + "503": 5, calledMistral: 5})
	})
	t.Run("with an instance on the router", func(t *testing.T) {
		r := try(t, "Failover by status", overloaded,
			"      service: either\n", "      service: either\n      middlewares: [outer]\n",
			"  middlewares:\n    openai:", "  middlewares:\n    outer:\n      plugin:\n        chat-completion:\n          allowModelOverride: true\n    openai:")
		r.call(t, 5)
		r.check(t, 5, 5, totals{calledMistral: 5})
	})
}

func TestRecipeRetryByStatus(t *testing.T) {
	var requests atomic.Int64
	r := try(t, "Retry by status", http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if requests.Add(1)%3 != 0 {
			responding(http.StatusTooManyRequests, `{"error":{"message":"slow down"}}`).ServeHTTP(rw, req)
			return
		}
		counting(0).ServeHTTP(rw, req)
	}))
	r.call(t, 4)
	r.check(t, 12, 0, totals{calledOpenAI: 4})
}

// TestRecipesBoundBodies sends a body that is larger than what the recipes let Traefik keep.
func TestRecipesBoundBodies(t *testing.T) {
	overloaded := responding(http.StatusServiceUnavailable, `{"error":{"message":"overloaded"}}`)
	for heading, want := range map[string]int{"Failover by status": http.StatusRequestEntityTooLarge, "Retry by status": http.StatusServiceUnavailable} {
		t.Run(heading, func(t *testing.T) {
			r := try(t, heading, overloaded, "maxRequestBodyBytes: 20971520", "maxRequestBodyBytes: 20")
			got := fetch(t, r.URL+chatPath, plainBody, nil)
			if got.status != want {
				t.Errorf("status = %d, want %d: %s", got.status, want, got.body)
			}
			if saw := len(r.openai.saw()); want == http.StatusServiceUnavailable && saw != 1 {
				t.Errorf("the provider received %d requests, want 1", saw)
			}
		})
	}
}

func TestRecipeHeadersWithAliases(t *testing.T) {
	aliases := map[string]string{"X_Ai_Model": "o4-mini", "X.Team": "red", "X-Team": "blue"}
	var static map[string]any
	if err := yaml.Unmarshal([]byte(newerRecipe(t, "Headers with aliases", "  websecure:\n    address: :443\n", "  web:\n")), &static); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		static map[string]any
		want   map[string]string
	}{
		{"by default", nil, map[string]string{"X_Ai_Model": "o4-mini", "X.Team": "red", "X-Team": "blue", "X-Ai-Model": "gpt-4o"}},
		{"with the recipe", static, map[string]string{"X_Ai_Model": "", "X.Team": "", "X-Team": "blue", "X-Ai-Model": "gpt-4o"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			provider := newFake(t, "provider", counting(0))
			g := start(t, gateway.Options{Static: test.static})
			configure(t, g, metered(map[string]any{"model": "gpt-4o"}, provider.URL))
			content, err := os.ReadFile(g.LogPath)
			if err != nil {
				t.Fatal(err)
			}
			entryPoint := `"entryPointName":"web"`
			warned := slices.ContainsFunc(strings.Split(string(content), "\n"), func(line string) bool {
				return strings.Contains(line, entryPoint) && strings.Contains(line, "aliasHeadersStrategy")
			})
			if warned != (test.static == nil) {
				t.Errorf("Traefik warns about the entry point: %v, want %v", warned, test.static == nil)
			}
			if got := fetch(t, g.URL+chatPath, plainBody, aliases); got.status != http.StatusOK {
				t.Fatalf("status = %d, want 200: %s", got.status, got.body)
			}
			for name, want := range test.want {
				got := ""
				for header, values := range provider.last(t).header {
					if strings.EqualFold(header, name) {
						got = values[0]
					}
				}
				if got != want {
					t.Errorf("the provider received %s: %q, want %q", name, got, want)
				}
			}
		})
	}
}
