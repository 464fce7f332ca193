package chatcompletion

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// unnamed is the provider where none is named: it is spoken to as OpenAI's API is published.
var unnamed = &preset{system: "openai", base: "/v1", header: authorization, streamUsage: true, strict: true}

// providerKeys are the keys about one provider.
type providerKeys struct {
	parent   string // stands before their names
	keys     Fallback
	timeouts Timeouts
	isFirst  bool
}

// firstProvider returns the keys about the provider that is tried first.
func firstProvider(config *Config) *providerKeys {
	return &providerKeys{keys: Fallback{
		Provider: config.Provider, Host: config.Host, Port: config.Port, TLS: config.TLS, Path: config.Path, Token: config.Token,
		AuthHeader: config.AuthHeader,
	}, timeouts: config.Timeouts, isFirst: true}
}

// parseProvider reads what a policy has to know of a provider.
func parseProvider(bad *problems, provider *providerKeys, p *policy, secrets *secretSettings, pattern *regexp.Regexp) {
	keys := &provider.keys
	p.preset = parsePreset(bad, provider.parent, keys.Provider)
	p.path, p.pathTemplate = parsePath(bad, provider.parent+"path", keys.Path, pattern)
	p.upstream = parseUpstream(bad, provider, p.preset)
	p.isRebased = p.path == "" && (keys.Provider != "" || p.upstream != nil)
	header := parseKeyHeader(bad, provider, p.preset)
	if !provider.isFirst && header.name == p.modelHeader {
		bad.add(provider.parent+"authHeader.name", "%q carries the model", header.name)
	}
	p.keyNames = []string{header.name}
	without := "requests are answered 503"
	if !provider.isFirst {
		without = "requests are not sent there"
	}
	var problem string
	p.credential, problem = newSecret(provider.parent+"token", without, keys.Token, header.name, header.prefix, secrets)
	if problem != "" {
		bad.add(provider.parent+"token", "%s", problem)
	}
	if p.credential == nil && (keys.Provider != "" || keys.AuthHeader.Name != "") {
		p.keyHeader = header
	}
}

// parsePreset returns what is known of a provider by its name.
func parsePreset(bad *problems, parent, name string) *preset {
	name = strings.ToLower(strings.TrimSpace(name))
	if name == "" {
		return unnamed
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
	return unnamed
}

// keyHeader is the header that carries a key to a provider.
type keyHeader struct {
	name   string // canonical
	prefix string
}

// parseKeyHeader reads AuthHeader.
func parseKeyHeader(bad *problems, provider *providerKeys, known *preset) *keyHeader {
	settings := provider.keys.AuthHeader
	header := &keyHeader{name: known.header}
	if settings.Name != "" {
		header.name = parseHeaderName(bad, provider.parent+"authHeader.name", settings.Name)
	}
	if header.name == authorization {
		header.prefix = "Bearer "
	}
	if settings.Prefix != nil {
		header.prefix = parsePrefix(bad, provider.parent+"authHeader.prefix", *settings.Prefix)
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

// prepare decides which path the provider is asked for, and puts the provider's key in the place of the client's.
func prepare(p *policy, at *endpoint, j *judged, req *http.Request) *refusal {
	if p.isRebased || p.path != "" || at.kind == governedPassthrough {
		path, refused := pathOf(p, at, req)
		if refused != nil {
			return refused
		}
		j.path = path
	}
	return authorize(p, req)
}

// pathOf returns the path, escaped, that the provider is asked for; "" for the client's own.
func pathOf(p *policy, at *endpoint, req *http.Request) (string, *refusal) {
	switch {
	case p.pathTemplate != nil:
		return render(p.pathTemplate, req)
	case p.path != "":
		return p.path, nil
	case p.isRebased && at.path != "":
		return p.preset.base + at.path, nil
	}
	path := ""
	if at.kind == governedPassthrough {
		path = lookedUpPath(req.URL.Path)
	}
	if !p.isRebased {
		return path, nil
	}
	if path == "" {
		path = req.URL.EscapedPath()
	}
	return behindBase(p.preset.base, path), nil
}

// lookedUpPath returns what a path has been looked up as, escaped, which no server takes for another; "" if it is that itself.
func lookedUpPath(path string) string {
	normal := normalizePath(path)
	if isPlain(path, normal) {
		return ""
	}
	return (&url.URL{Path: normal}).EscapedPath()
}

// versionSegment is where OpenAI's paths begin, behind whatever a router has before them.
const versionSegment = "/v1/"

// behindBase returns the provider's path for one of OpenAI's: what stands behind the version goes behind the base. Other
// paths are the provider's own.
func behindBase(base, escapedPath string) string {
	at := strings.Index(strings.ToLower(escapedPath), versionSegment)
	if at < 0 {
		return escapedPath
	}
	return base + escapedPath[at+len(versionSegment)-1:]
}
