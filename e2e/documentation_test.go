package e2e_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/traefik/paerser/file"
	"github.com/traefik/traefik/v3/pkg/config/dynamic"
	"github.com/traefik/traefik/v3/pkg/plugins"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// yamlBlock is a block of YAML in a document, with its indentation.
var yamlBlock = regexp.MustCompile("(?ms)^( *)```yaml\n(.*?)^ *```$")

// elsewhere are lines about what is not on this machine: a file, and the API server of a cluster.
var elsewhere = regexp.MustCompile(`(?m)^ *(caFile|token): (/|urn:k8s:).*\n`)

// TestConfigurationsOfTheDocumentationAreValid has Traefik decode the dynamic configurations that the documents show, and
// its loader make the middlewares.
func TestConfigurationsOfTheDocumentationAreValid(t *testing.T) {
	root := filepath.Dir(examples(t))
	builder := loadThisPlugin(t) // changes the working directory
	for _, name := range []string{"README.md", "docs/configuration.md", "docs/recipes.md"} {
		for i, found := range yamlBlock.FindAllStringSubmatch(readReplaced(t, filepath.Join(root, name)), -1) {
			block := regexp.MustCompile("(?m)^"+found[1]).ReplaceAllString(found[2], "")
			t.Run(fmt.Sprintf("%s %d", name, i), func(t *testing.T) { checkBlock(t, builder, block) })
		}
	}
}

func checkBlock(t *testing.T, builder *plugins.Builder, block string) {
	t.Helper()
	switch {
	case strings.HasPrefix(block, "apiVersion:"):
		for _, document := range strings.Split(block, "\n---\n") {
			checkManifest(t, builder, document)
		}
		return
	case strings.HasPrefix(block, "chat-completion:"):
		block = "http:\n  middlewares:\n    one:\n      plugin:\n        " + strings.ReplaceAll(block, "\n", "\n        ")
	case !strings.HasPrefix(block, "http:"):
		return // Traefik's static configuration, or that of another program
	}
	var configuration dynamic.Configuration
	block = elsewhere.ReplaceAllString(block, "")
	if err := file.DecodeContent(block, ".yaml", &configuration); err != nil {
		t.Fatalf("%v\n%s", err, block)
	}
	for _, middleware := range configuration.HTTP.Middlewares {
		if plugin, isPlugin := middleware.Plugin[gateway.PluginKey]; isPlugin {
			construct(t, t.Context(), builder, plugin, http.NotFoundHandler())
		}
	}
}
