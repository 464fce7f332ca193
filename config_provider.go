package chatcompletion

import (
	"crypto/tls"
	"crypto/x509"
	"math"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// provider is one provider of a policy, and what is specific to it.
type provider struct {
	preset        *preset
	isRebased     bool                     // its paths are not the client's
	path          string                   // of every endpoint; empty: not configured
	pathTemplate  *template                // nil: path is a literal
	upstream      *upstream                // that the middleware forwards to; nil: the router's service
	auth          *providerAuth            // for OpenAI's protocol
	auths         map[string]*providerAuth // by the name of the protocol
	endpoints     map[kind]*endpoint
	modelPaths    *pathEndpoints     // for requests with the model in the path
	laterVersions map[kind]*endpoint // for versions of a protocol after its default
	circuit       *circuit
	handler       http.Handler // forwards to it; set by New
	tunnel        http.Handler // forwards WebSockets to the service of the router; set by New
}

// providerConfig holds the keys that configure one provider.
type providerConfig struct {
	prefix   string // of their names in the configuration
	keys     Fallback
	timeouts Timeouts
	isFirst  bool
}

// firstProviderConfig returns the keys of the provider that is tried first.
func firstProviderConfig(config *Config) *providerConfig {
	return &providerConfig{keys: Fallback{
		Provider: config.Provider, Host: config.Host, Port: config.Port, TLS: config.TLS, Path: config.Path, Token: config.Token,
		AuthHeader: config.AuthHeader,
	}, timeouts: config.Timeouts, isFirst: true}
}

// parseProvider parses the keys of one provider.
func parseProvider(bad *problems, configured *providerConfig, modelHeader string, secrets *secretSettings, pattern *regexp.Regexp) *provider {
	keys := &configured.keys
	pr := &provider{preset: parsePreset(bad, configured.prefix, keys.Provider), circuit: &circuit{}}
	pr.path, pr.pathTemplate = parsePath(bad, configured.prefix+"path", keys.Path, pattern)
	pr.upstream = parseUpstream(bad, configured, pr.preset)
	pr.isRebased = pr.path == "" && (keys.Provider != "" || pr.upstream != nil)
	header := parseKeyHeader(bad, configured, pr.preset)
	if !configured.isFirst && header.name == modelHeader {
		bad.add(configured.prefix+"authHeader.name", "%q carries the model", header.name)
	}
	consequence := "requests get status 503"
	if !configured.isFirst {
		consequence = "this fallback is skipped"
	}
	pr.auth = &providerAuth{header: header.name}
	var problem string
	pr.auth.credential, problem = newCredential(configured.prefix+"token", consequence, keys.Token, header.name, header.prefix, secrets)
	if problem != "" {
		bad.add(configured.prefix+"token", "%s", problem)
	}
	if pr.auth.credential == nil && (keys.Provider != "" || keys.AuthHeader.Name != "") {
		pr.auth.clientKeyHeader = header
	}
	pr.auths = map[string]*providerAuth{openAIProtocol.name: pr.auth}
	for _, of := range []*protocol{anthropicProtocol, geminiProtocol} {
		pr.auths[of.name] = authFor(pr, of, keys.AuthHeader.Name != "")
	}
	return pr
}

// authFor returns how requests in a protocol authenticate to a provider: in its own header, unless the
// configuration names one.
func authFor(pr *provider, of *protocol, isConfigured bool) *providerAuth {
	own := *pr.auth
	if isConfigured {
		return &own
	}
	header := &keyHeader{name: presetFor(pr.preset, of).authHeader}
	if header.name == authorization {
		header.prefix = "Bearer "
	}
	own.header = header.name
	if own.clientKeyHeader != nil {
		own.clientKeyHeader = header
	}
	if own.credential != nil {
		own.credential = withHeader(own.credential, header)
	}
	return &own
}

// parsePreset returns the preset of a named provider.
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
		bad.add(parent+"provider", "unknown provider %q; did you mean %q?", shortened(name), nearest)
	} else {
		bad.add(parent+"provider", "unknown provider %q; must be one of %s", shortened(name), strings.Join(names, ", "))
	}
	return openAIDefaults
}

// parseKeyHeader parses AuthHeader.
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

// parsePath parses the path of requests to a provider. It returns a template if the path refers to
// the request.
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
		bad.add(key, "must be a path such as /v1/chat/completions (no spaces, ?, # or %%), got %q", text)
	}
	return text, t
}

// parseUpstream parses the address of a provider and its connection settings. It returns nil if the
// provider is the router's service.
func parseUpstream(bad *problems, provider *providerConfig, known *preset) *upstream {
	keys := &provider.keys
	host := strings.TrimSpace(keys.Host)
	if host == "" && !provider.isFirst {
		host = known.host
	}
	if host == "" {
		checkUnusedWithoutHost(bad, provider)
		return nil
	}
	address := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if !hostName.MatchString(host) && net.ParseIP(address) == nil {
		bad.add(provider.prefix+"host", "must be a host name or an IP address (no scheme, port or path), got %q", shortened(host))
	}
	u := &upstream{host: address, connect: defaultConnectTimeout, firstByte: defaultFirstByteTimeout}
	schemesPort := 80
	u.scheme = "http"
	if parseBool(bad, provider.prefix+"tls.enabled", keys.TLS.Enabled, !known.plaintext) {
		schemesPort = 443
		u.scheme = "https"
		parseTLS(bad, provider, u)
	} else {
		checkUnused(bad, provider.prefix, certificateSettings(keys), `without TLS; set "`+provider.prefix+`tls.enabled"`)
	}
	byDefault := schemesPort
	if known.port != 0 {
		byDefault = known.port
	}
	port := parseInteger(bad, provider.prefix+"port", keys.Port, byDefault, 1, math.MaxUint16, "TCP port")
	u.port = strconv.Itoa(port)
	u.authority = net.JoinHostPort(address, u.port)
	if port == schemesPort {
		u.authority = strings.TrimSuffix(u.authority, ":"+u.port)
	}
	if d := parseDuration(bad, "timeouts.connect", provider.timeouts.Connect, time.Millisecond, 10*time.Minute, connectTimeouts); d > 0 {
		u.connect = d
	}
	if d := parseDuration(bad, "timeouts.firstByte", provider.timeouts.FirstByte, time.Millisecond, time.Hour, firstByteTimeouts); d > 0 {
		u.firstByte = d
	}
	return u
}

// parseTLS parses the TLS settings of a connection to a provider.
func parseTLS(bad *problems, provider *providerConfig, u *upstream) {
	settings := &provider.keys.TLS
	u.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: strings.TrimSpace(settings.ServerName)}
	u.tls.InsecureSkipVerify = parseBool(bad, provider.prefix+"tls.insecureSkipVerify", settings.InsecureSkipVerify, false)
	if u.tls.ServerName != "" && !hostName.MatchString(u.tls.ServerName) && net.ParseIP(u.tls.ServerName) == nil {
		bad.add(provider.prefix+"tls.serverName", "must be a host name or an IP address, got %q", shortened(u.tls.ServerName))
	}
	key := provider.prefix + "tls.caFile"
	path := parseAbsolutePath(bad, key, settings.CAFile)
	if path == "" {
		return
	}
	certificates, err := os.ReadFile(path)
	u.tls.RootCAs = x509.NewCertPool()
	if err != nil {
		bad.add(key, "cannot be read")
	} else if !u.tls.RootCAs.AppendCertsFromPEM(certificates) {
		bad.add(key, "contains no PEM certificate")
	}
	u.trusts = string(certificates)
}

// checkUnusedWithoutHost reports the keys that have no effect without a host. A fallback requires a
// host.
func checkUnusedWithoutHost(bad *problems, provider *providerConfig) {
	if !provider.isFirst {
		bad.add(provider.prefix+"host", "must be set, since the provider has no default host")
		return
	}
	keys := &provider.keys
	checkUnused(bad, "", append([]setting{
		{"port", keys.Port}, {"tls.enabled", keys.TLS.Enabled},
		{"timeouts.connect", provider.timeouts.Connect}, {"timeouts.firstByte", provider.timeouts.FirstByte},
	}, certificateSettings(keys)...), `without "host"`)
}

// certificateSettings returns the keys about certificates.
func certificateSettings(keys *Fallback) []setting {
	return []setting{
		{"tls.serverName", keys.TLS.ServerName}, {"tls.caFile", keys.TLS.CAFile}, {"tls.insecureSkipVerify", keys.TLS.InsecureSkipVerify},
	}
}

// Defaults of Config.Timeouts, and the texts of their bounds in error messages.
const (
	defaultConnectTimeout   = 10 * time.Second
	defaultFirstByteTimeout = 10 * time.Minute
	connectTimeouts         = "from 1ms to 10m"
	firstByteTimeouts       = "from 1ms to 1h"
)
