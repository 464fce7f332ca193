package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// Dynamic is a dynamic configuration for Traefik's file provider. Maps are keyed by name.
type Dynamic struct {
	Routers map[string]Router

	// Middlewares are written unchanged. Plugin builds one that runs this repository's plugin.
	Middlewares map[string]any

	// Services are the URLs of services with a single server.
	Services map[string]string

	// RawServices and ServersTransports are written unchanged.
	RawServices       map[string]any
	ServersTransports map[string]any
}

// Router sends requests that match its rule through middlewares to a service. Without a service, it
// sends them to the routers that name it in ParentRefs, which match the request as the middlewares
// have changed it.
type Router struct {
	Rule        string   `json:"rule"`
	ParentRefs  []string `json:"parentRefs,omitempty"`
	Middlewares []string `json:"middlewares,omitempty"`
	Service     string   `json:"service,omitempty"`
}

// Plugin returns a middleware that runs the plugin with the configuration.
func Plugin(configuration any) map[string]any {
	return map[string]any{"plugin": map[string]any{PluginKey: configuration}}
}

// RefusedError maps the name of each router that Traefik took out of service to the reason. All
// other routers of the configuration serve.
type RefusedError map[string]string

func (e RefusedError) Error() string {
	refused := make([]string, 0, len(e))
	for router, reason := range e {
		refused = append(refused, fmt.Sprintf("router %q: %s", router, reason))
	}
	sort.Strings(refused)
	return strings.Join(refused, "; ")
}

// Load replaces the dynamic configuration and returns once it serves. The error is a RefusedError
// if Traefik, or the plugin's New, rejected a router.
func (g *Gateway) Load(ctx context.Context, dynamic Dynamic) error {
	g.revision++
	next := filepath.Join(g.Dir, dynamicFile+".next")
	if err := writeYAML(next, dynamic.document(g.revision)); err != nil {
		return err
	}
	if err := os.Rename(next, filepath.Join(g.Dir, dynamicFile)); err != nil {
		return err
	}
	if err := g.await(ctx, g.revision); err != nil {
		return err
	}
	return g.refused(ctx)
}

// refused returns a RefusedError if any router is out of service.
func (g *Gateway) refused(ctx context.Context) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.API+"/api/rawdata", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	var state struct {
		Routers map[string]struct {
			Status string   `json:"status"`
			Error  []string `json:"error"`
		} `json:"routers"`
	}
	if err := json.NewDecoder(response.Body).Decode(&state); err != nil {
		return fmt.Errorf("traefik's API: %w", err)
	}
	refused := RefusedError{}
	for name, router := range state.Routers {
		if router.Status == "disabled" {
			refused[strings.TrimSuffix(name, "@file")] = strings.Join(router.Error, "; ")
		}
	}
	if len(refused) == 0 {
		return nil
	}
	return refused
}

// document returns the content of the file. One internal router shows that the revision serves;
// another keeps probes for a revision that does not serve yet away from the caller's routers.
func (d Dynamic) document(revision int) map[string]any {
	routers := map[string]any{
		revisionRouter(revision): internalRouter("Path(`"+revisionPath(revision)+"`)", "ping@internal", 1_000_001),
		"gateway-too-early":      internalRouter("PathPrefix(`/gateway-revision-`)", "noop@internal", 1_000_000),
	}
	for name, router := range d.Routers {
		routers[name] = router
	}
	document := map[string]any{"routers": routers}
	if len(d.Middlewares) > 0 {
		document["middlewares"] = d.Middlewares
	}
	if len(d.ServersTransports) > 0 {
		document["serversTransports"] = d.ServersTransports
	}
	services := map[string]any{}
	for name, url := range d.Services {
		services[name] = map[string]any{
			"loadBalancer": map[string]any{"servers": []any{map[string]any{"url": url}}},
		}
	}
	for name, service := range d.RawServices {
		services[name] = service
	}
	if len(services) > 0 {
		document["services"] = services
	}
	return map[string]any{"http": document}
}

func internalRouter(rule, service string, priority int) map[string]any {
	return map[string]any{
		"rule":          rule,
		"entryPoints":   []string{"web"},
		"service":       service,
		"priority":      priority,
		"observability": map[string]any{"accessLogs": false},
	}
}

func revisionRouter(revision int) string { return fmt.Sprintf("gateway-revision-%d", revision) }

func revisionPath(revision int) string { return "/" + revisionRouter(revision) }

// writeYAML writes the document as JSON, which is valid YAML and keeps the digits of large numbers.
func writeYAML(path string, document any) error {
	content, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}
