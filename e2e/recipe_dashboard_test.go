package e2e_test

import (
	"crypto/sha1"
	"encoding/base64"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
	"sigs.k8s.io/yaml"
)

// recipeBlocks returns the blocks of YAML under the heading in the recipes that begin with a key.
func recipeBlocks(t *testing.T, heading, key string) []string {
	t.Helper()
	text := readReplaced(t, filepath.Join(filepath.Dir(examples(t)), "docs", "recipes.md"))
	_, after, found := strings.Cut(text, "\n## "+heading+"\n")
	section, _, _ := strings.Cut(after, "\n## ")
	var blocks []string
	for _, block := range yamlBlock.FindAllStringSubmatch(section, -1) {
		if strings.HasPrefix(block[2], key) {
			blocks = append(blocks, block[2])
		}
	}
	if !found || len(blocks) == 0 {
		t.Fatalf("the recipes have no block with %q under %q", key, heading)
	}
	return blocks
}

// recipeDynamic decodes a dynamic configuration of a recipe, with texts replaced as in readReplaced.
// The entry point operators is that of the gateway.
func recipeDynamic(t *testing.T, block string, replacements ...string) gateway.Dynamic {
	t.Helper()
	path := filepath.Join(t.TempDir(), "recipe.yml")
	write(t, path, block)
	var document struct {
		HTTP struct {
			Routers               map[string]gateway.Router
			Middlewares, Services map[string]any
		}
	}
	if err := yaml.Unmarshal([]byte(readReplaced(t, path, replacements...)), &document); err != nil {
		t.Fatal(err)
	}
	return gateway.Dynamic{Routers: document.HTTP.Routers, Middlewares: document.HTTP.Middlewares, RawServices: document.HTTP.Services}
}

// TestRecipeDashboard opens the page as the recipe for each way to authenticate says: only operators
// get it, or any of its other forms.
func TestRecipeDashboard(t *testing.T) {
	blocks := recipeBlocks(t, "Dashboard", "http:")
	if len(blocks) != 2 {
		t.Fatalf("%d dynamic configurations, want BasicAuth and ForwardAuth", len(blocks))
	}
	sum := sha1.Sum([]byte("correct horse")) // as htpasswd -s makes it
	users := filepath.Join(t.TempDir(), "operators")
	write(t, users, "alice:{SHA}"+base64.StdEncoding.EncodeToString(sum[:])+"\n")
	login := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte("alice:correct horse")) {
			http.Redirect(rw, r, "https://login.example.com/", http.StatusFound)
		}
	}))
	g := start(t, gateway.Options{Env: []string{"OPENAI_API_KEY=sk-openai"}})
	for name, test := range map[string]struct {
		dynamic gateway.Dynamic
		refused int
	}{
		"BasicAuth":   {recipeDynamic(t, blocks[0], "usersFile: /etc/traefik/operators", "usersFile: "+users), http.StatusUnauthorized},
		"ForwardAuth": {recipeDynamic(t, blocks[1], "Host(`operators.example.com`) && ", "", "http://auth:9000/operators", login.URL), http.StatusFound},
	} {
		t.Run(name, func(t *testing.T) {
			configure(t, g, test.dynamic)
			for _, accept := range []string{"text/html", "application/json", "text/event-stream"} {
				for password, want := range map[string]int{"": test.refused, "wrong": test.refused, "correct horse": http.StatusOK} {
					status, contentType := askFor(t, g.URL+"/ai/dashboard", accept, password)
					if status != want || status == http.StatusOK && !strings.HasPrefix(contentType, accept) {
						t.Errorf("%s with the password %q: status %d, %s, want %d", accept, password, status, contentType, want)
					}
				}
			}
		})
	}
	checkNoErrors(t, g)
}

// askFor requests the dashboard, and returns the status and the type of the response.
func askFor(t *testing.T, address, accept, password string) (status int, contentType string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	if password != "" {
		request.SetBasicAuth("alice", password)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode, response.Header.Get("Content-Type")
}
