package chatcompletion

import (
	"crypto/tls"
	"crypto/x509"
	"math"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

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

// parseProvider reads the keys about one provider.
func parseProvider(bad *problems, keys *providerConfig, modelHeader string, secrets *secretSettings, pattern *regexp.Regexp) *provider {
	pr := &provider{preset: parsePreset(bad, keys.prefix, keys.keys.Provider), circuit: &circuit{}}
	pr.path, pr.pathTemplate = parsePath(bad, keys.prefix+"path", keys.keys.Path, pattern)
	pr.upstream = parseUpstream(bad, keys, pr.preset)
	pr.isRebased = pr.path == "" && (keys.keys.Provider != "" || pr.upstream != nil)
	header := parseKeyHeader(bad, keys, pr.preset)
	if !keys.isFirst && header.name == modelHeader {
		bad.add(keys.prefix+"authHeader.name", "%q carries the model", header.name)
	}
	consequence := "requests are answered 503"
	if !keys.isFirst {
		consequence = "requests are not sent there"
	}
	pr.auth = &providerAuth{header: header.name}
	var problem string
	pr.auth.credential, problem = newSecret(keys.prefix+"token", consequence, keys.keys.Token, header.name, header.prefix, secrets)
	if problem != "" {
		bad.add(keys.prefix+"token", "%s", problem)
	}
	if pr.auth.credential == nil && (keys.keys.Provider != "" || keys.keys.AuthHeader.Name != "") {
		pr.auth.clientKeyHeader = header
	}
	return pr
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

// parseUpstream reads where a provider is, and how it is reached; nil: it is the router's service.
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
		bad.add(provider.prefix+"host", "%q is no name and no address of a host; a scheme, a port and a path have keys of their own", shortened(host))
	}
	u := &upstream{host: address, connect: defaultConnectTimeout, firstByte: defaultFirstByteTimeout}
	schemesPort := 80
	u.scheme = "http"
	if parseBool(bad, provider.prefix+"tls.enabled", keys.TLS.Enabled, !known.plaintext) {
		schemesPort = 443
		u.scheme = "https"
		parseTLS(bad, provider, u)
	} else {
		checkUnusedWithoutTLS(bad, provider)
	}
	byDefault := schemesPort
	if known.port != 0 {
		byDefault = known.port
	}
	port := parseInteger(bad, provider.prefix+"port", keys.Port, byDefault, math.MaxUint16, "a port")
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

// Defaults of Config.Timeouts, and their bounds as the operator reads them.
const (
	defaultConnectTimeout   = 10 * time.Second
	defaultFirstByteTimeout = 10 * time.Minute
	connectTimeouts         = "from 1ms to 10m"
	firstByteTimeouts       = "from 1ms to 1h"
)

// checkUnusedWithoutHost finds the keys that have no effect without a host.
func checkUnusedWithoutHost(bad *problems, provider *providerConfig) {
	if !provider.isFirst {
		bad.add(provider.prefix+"host", "is not configured, and not known of the provider")
		return
	}
	keys := &provider.keys
	for _, s := range append([]setting{
		{"port", keys.Port}, {"tls.enabled", keys.TLS.Enabled},
		{"timeouts.connect", provider.timeouts.Connect}, {"timeouts.firstByte", provider.timeouts.FirstByte},
	}, certificateSettings(keys)...) {
		if !isUnset(s.value) {
			bad.add(s.key, "has no effect without %q", "host")
		}
	}
}

// certificateSettings are the keys about certificates.
func certificateSettings(keys *Fallback) []setting {
	return []setting{
		{"tls.serverName", keys.TLS.ServerName}, {"tls.caFile", keys.TLS.CAFile}, {"tls.insecureSkipVerify", keys.TLS.InsecureSkipVerify},
	}
}

// checkUnusedWithoutTLS finds the keys that have no effect without TLS.
func checkUnusedWithoutTLS(bad *problems, provider *providerConfig) {
	for _, s := range certificateSettings(&provider.keys) {
		if !isUnset(s.value) {
			bad.add(provider.prefix+s.key, "has no effect without TLS; set %q", provider.prefix+"tls.enabled")
		}
	}
}

// parseTLS reads how a connection to a provider is secured.
func parseTLS(bad *problems, provider *providerConfig, u *upstream) {
	settings := &provider.keys.TLS
	u.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: strings.TrimSpace(settings.ServerName)}
	u.tls.InsecureSkipVerify = parseBool(bad, provider.prefix+"tls.insecureSkipVerify", settings.InsecureSkipVerify, false)
	if u.tls.ServerName != "" && !hostName.MatchString(u.tls.ServerName) && net.ParseIP(u.tls.ServerName) == nil {
		bad.add(provider.prefix+"tls.serverName", "%q is no name of a host", shortened(u.tls.ServerName))
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
		bad.add(key, "holds no certificate in PEM")
	}
	u.trusts = string(certificates)
}
