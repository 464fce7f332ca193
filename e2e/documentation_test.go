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
	"github.com/traefik/traefik/v3/pkg/config/static"
	"github.com/traefik/traefik/v3/pkg/plugins"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// yamlBlock matches a block of YAML in a document, with its indentation.
var yamlBlock = regexp.MustCompile("(?ms)^( *)```yaml\n(.*?)^ *```$")

// leadingComments matches the comments that a block begins with.
var leadingComments = regexp.MustCompile(`\A(#.*\n)+`)

// elsewhere matches lines that refer to things this machine lacks: a file, and a cluster's API
// server.
var elsewhere = regexp.MustCompile(`(?m)^ *(caFile|token): (/|urn:k8s:).*\n`)

// documents are the documents with blocks of YAML.
var documents = []string{
	"README.md", "docs/configuration.md", "docs/installation.md", "docs/recipes.md", "docs/scaling.md", "docs/security.md",
}

// yamlBlocks returns the blocks of the documents, by name.
func yamlBlocks(t *testing.T) map[string]string {
	t.Helper()
	blocks := map[string]string{}
	for _, name := range documents {
		for i, found := range yamlBlock.FindAllStringSubmatch(readReplaced(t, filepath.Join(filepath.Dir(examples(t)), name)), -1) {
			blocks[fmt.Sprintf("%s %d", name, i)] = regexp.MustCompile("(?m)^"+found[1]).ReplaceAllString(found[2], "")
		}
	}
	return blocks
}

// TestDocumentedConfigurationsAreValid decodes the documented dynamic and entry-point
// configurations with Traefik's decoder, and builds the middlewares with its loader.
func TestDocumentedConfigurationsAreValid(t *testing.T) {
	blocks := yamlBlocks(t)
	builder := loadThisPlugin(t) // changes the working directory
	for name, block := range blocks {
		t.Run(name, func(t *testing.T) { checkBlock(t, builder, block) })
	}
}

// TestDocumentedScrapeConfigurationsAreValid checks the documented Prometheus configurations with
// Prometheus.
func TestDocumentedScrapeConfigurationsAreValid(t *testing.T) {
	for name, block := range yamlBlocks(t) {
		if strings.HasPrefix(block, "scrape_configs:") {
			t.Run(name, func(t *testing.T) {
				path := filepath.Join(t.TempDir(), "prometheus.yml")
				write(t, path, block)
				promtool(t, nil, "check", "config", path)
			})
		}
	}
}

func checkBlock(t *testing.T, builder *plugins.Builder, block string) {
	t.Helper()
	block = leadingComments.ReplaceAllString(block, "")
	switch {
	case strings.HasPrefix(block, "apiVersion:"):
		for _, document := range strings.Split(block, "\n---\n") {
			checkManifest(t, builder, document)
		}
		return
	case strings.HasPrefix(block, "chat-completion:"):
		block = "http:\n  middlewares:\n    one:\n      plugin:\n        " + strings.ReplaceAll(block, "\n", "\n        ")
	case strings.HasPrefix(block, "entryPoints:"):
		if err := file.DecodeContent(block, ".yaml", new(static.Configuration)); err != nil {
			t.Errorf("%v\n%s", err, block)
		}
		return
	case !strings.HasPrefix(block, "http:"):
		return // other static configuration of Traefik, or configuration of another program
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
