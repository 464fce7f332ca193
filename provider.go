package chatcompletion

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// openAIDefaults is the provider where none is named: it is spoken to as OpenAI's API is published.
var openAIDefaults = &preset{genAIName: "openai", basePath: "/v1", authHeader: authorization, streamUsage: true, strict: true}

// providerConfig are the keys about one provider.
type providerConfig struct {
	prefix   string // stands before their names
	keys     Fallback
	timeouts Timeouts
	isFirst  bool
}

// firstProviderConfig returns the keys about the provider that is tried first.
func firstProviderConfig(config *Config) *providerConfig {
	return &providerConfig{keys: Fallback{
		Provider: config.Provider, Host: config.Host, Port: config.Port, TLS: config.TLS, Path: config.Path, Token: config.Token,
		AuthHeader: config.AuthHeader,
	}, timeouts: config.Timeouts, isFirst: true}
}

// parseProvider reads what a policy has to know of a provider.
func parseProvider(bad *problems, provider *providerConfig, p *policy, secrets *secretSettings, pattern *regexp.Regexp) {
	keys := &provider.keys
	p.preset = parsePreset(bad, provider.prefix, keys.Provider)
	p.path, p.pathTemplate = parsePath(bad, provider.prefix+"path", keys.Path, pattern)
	p.upstream = parseUpstream(bad, provider, p.preset)
	p.isRebased = p.path == "" && (keys.Provider != "" || p.upstream != nil)
	header := parseKeyHeader(bad, provider, p.preset)
	if !provider.isFirst && header.name == p.modelHeader {
		bad.add(provider.prefix+"authHeader.name", "%q carries the model", header.name)
	}
	p.keyNames = []string{header.name}
	without := "requests are answered 503"
	if !provider.isFirst {
		without = "requests are not sent there"
	}
	var problem string
	p.credential, problem = newSecret(provider.prefix+"token", without, keys.Token, header.name, header.prefix, secrets)
	if problem != "" {
		bad.add(provider.prefix+"token", "%s", problem)
	}
	if p.credential == nil && (keys.Provider != "" || keys.AuthHeader.Name != "") {
		p.keyHeader = header
	}
}

// parsePreset returns what is known of a provider by its name.
func parsePreset(bad *problems, parent, name string) *preset {
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" {
		return openAIDefaults
	}
	var names []string
	nearest, least := "", len(name)
	for i := range presets {
		known := presets[i].name
		if known == name {
			return &presets[i]
		}
		names = append(names, known)
		if distance := 2 * editDistance(name, known); distance < least {
			nearest, least = known, distance
		}
	}
	if nearest != "" {
		bad.add(parent+"provider", "%q is not known; did you mean %q?", shortened(name), nearest)
	} else {
		bad.add(parent+"provider", "%q is none of %s", shortened(name), strings.Join(names, ", "))
	}
	return openAIDefaults
}

// keyHeader is the header that carries a key to a provider.
type keyHeader struct {
	name   string // canonical
	prefix string
}

// parseKeyHeader reads AuthHeader.
func parseKeyHeader(bad *problems, provider *providerConfig, known *preset) *keyHeader {
	settings := provider.keys.AuthHeader
	header := &keyHeader{name: known.authHeader}
	if settings.Name != "" {
		header.name = parseHeaderName(bad, provider.prefix+"authHeader.name", settings.Name)
	}
	if header.name == authorization {
		header.prefix = "Bearer "
	}
	if settings.Prefix != nil {
		header.prefix = parsePrefix(bad, provider.prefix+"authHeader.prefix", *settings.Prefix)
	}
	return header
}

// parsePath reads the path that a provider is asked for, which may be a template.
func parsePath(bad *problems, key, text string, pattern *regexp.Regexp) (string, *template) {
	text = strings.TrimSpace(text)
	if text == "" {
		return "", nil
	}
	literal := text
	var t *template
	if isTemplate(text) {
		t = parseTemplate(bad, key, text, pattern)
		t.isPath = true
		literal = templateReference.ReplaceAllString(text, "x")
	}
	if !strings.HasPrefix(text, "/") || strings.ContainsAny(literal, "?#% "+controlCharacters) {
		bad.add(key, "%q is no path such as /v1/chat/completions", text)
	}
	return text, t
}

// addressProvider decides which path the provider is asked for, and puts the provider's key in the place of the client's.
func addressProvider(p *policy, ep *endpoint, pl *plan, req *http.Request) *apiError {
	if p.isRebased || p.path != "" || ep.kind == governedPassthrough {
		path, apiErr := providerPath(p, ep, req)
		if apiErr != nil {
			return apiErr
		}
		pl.path = path
	}
	return authorize(p, req)
}

// providerPath returns the path, escaped, that the provider is asked for; "" for the client's own.
func providerPath(p *policy, ep *endpoint, req *http.Request) (string, *apiError) {
	switch {
	case p.pathTemplate != nil:
		return render(p.pathTemplate, req)
	case p.path != "":
		return p.path, nil
	case p.isRebased && ep.path != "":
		return p.preset.basePath + ep.path, nil
	}
	path := ""
	if ep.kind == governedPassthrough {
		path = canonicalPath(req.URL.Path)
	}
	if !p.isRebased {
		return path, nil
	}
	if path == "" {
		path = req.URL.EscapedPath()
	}
	return joinBase(p.preset.basePath, path), nil
}

// canonicalPath returns what a path has been looked up as, escaped, which no server takes for another; "" if it is that itself.
func canonicalPath(path string) string {
	normal := normalizePath(path)
	if isCanonical(path, normal) {
		return ""
	}
	return (&url.URL{Path: normal}).EscapedPath()
}

// versionSegment is where OpenAI's paths begin, behind whatever a router has before them.
const versionSegment = "/v1/"

// joinBase returns the provider's path for one of OpenAI's: what stands behind the version goes behind the base. Other
// paths are the provider's own.
func joinBase(base, escapedPath string) string {
	at := strings.Index(strings.ToLower(escapedPath), versionSegment)
	if at < 0 {
		return escapedPath
	}
	return base + escapedPath[at+len(versionSegment)-1:]
}
