package chatcompletion

import (
	"errors"
	"math"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// policy is a configuration with all decided that can be decided once.
type policy struct {
	name                string // of the middleware, as Traefik has it
	routes              []route
	chainedRoutes       []route        // for what another instance has governed
	modelPath           *regexp.Regexp // of one model behind the list of models
	preset              *preset        // of the provider
	isRebased           bool           // the provider's paths are not the client's
	path                string         // that the provider is asked for at every endpoint; empty: none is configured
	pathTemplate        *template      // nil: path is no template
	upstream            *upstream      // that is forwarded to; nil: the next handler
	endpoints           map[kind]*endpoint
	model               string    // enforced, or the default where clients may choose
	modelTemplate       *template // nil: model is no template
	modelOverride       bool
	aliases             map[string]string
	allowedModels       *regexp.Regexp // nil: all
	allowedText         string         // the patterns, for the client
	modelHeader         string         // canonical
	credential          *credential    // nil: the client's own credentials pass
	keyHeader           *keyHeader     // of the first provider, that a client's own key is moved to; nil: it stays where it is
	maxRequestBodyBytes int64
	maxResponseBytes    int64         // 0: as many as there are
	maxStreamDuration   time.Duration // 0: as long as there are events
	reportOnly          bool
	configuredModels    map[string]bool // that the configuration names
	namedModels         map[string]bool // all that clients may ask for; nil: the configuration does not name them all
	hasRules            bool            // it has rules for a request that another policy has governed
	telemetry           *telemetry
	exposes             bool // it answers with the metrics
	fallbacks           []*policy
	isFallback          bool     // of another policy
	keyNames            []string // of the headers that carry the keys of the provider and its fallbacks
	circuit             *circuit // of the provider
}

// newPolicy checks the configuration and decides what it means.
func newPolicy(config *Config, name string) (*policy, error) {
	bad := &problems{}
	checkUnknown(bad, config)
	p := &policy{name: name}
	p.reportOnly = parseMode(bad, config.Mode)
	p.modelHeader = parseModelHeader(bad, config)
	secrets := parseSecrets(bad, config.Secrets, os.Getenv)
	secrets.resolvedByTraefik = strings.HasSuffix(name, "@kubernetescrd")
	p.maxRequestBodyBytes = int64(parseInteger(bad, "maxRequestBodySize", config.MaxRequestBodySize, defaultMaxRequestBodyBytes, math.MaxInt32, "bytes"))
	parseResponseLimits(bad, config, p)
	pattern := parseModels(bad, config, p)
	p.telemetry = parseTelemetry(bad, config, pattern, secrets)
	parseProvider(bad, firstProviderConfig(config), p, secrets, pattern)
	p.routes = parseRoutes(bad, config.Routes, p.preset.basePath)
	p.chainedRoutes = chainedRoutes(p.routes)
	p.modelPath = modelPathPattern(p.routes)
	p.endpoints = newEndpoints(bad, config, p)
	p.hasRules = hasRules(p)
	p.exposes = parseExpose(bad, config)
	p.fallbacks = parseFallbacks(bad, config, p, secrets, pattern)
	p.circuit = &circuit{}
	if len(bad.found) > 0 {
		return nil, errors.New("chat-completion middleware " + strconv.Quote(name) + ": " + strings.Join(bad.found, "; "))
	}
	return p, nil
}

// hasRules tells whether a policy has rules of its own for a request that another one has governed.
func hasRules(p *policy) bool {
	ep := p.endpoints[completions]
	return p.model != "" || p.aliases != nil || p.allowedModels != nil || p.reportOnly || ep.rules != nil || !ep.addsUsage ||
		p.endpoints[embeddings].rules != nil || p.endpoints[responses].rules != nil
}

func parseMode(bad *problems, mode string) bool {
	switch strings.ToLower(strings.TrimSpace(mode)) {
	case modeEnforce, "":
		return false
	case modeReport:
		return true
	}
	bad.add("mode", "%q is neither %q nor %q", mode, modeEnforce, modeReport)
	return false
}

func parseModelHeader(bad *problems, config *Config) string {
	name := defaultModelHeader
	if config.ModelHeader != "" {
		name = parseHeaderName(bad, "modelHeader", config.ModelHeader)
	}
	if name == http.CanonicalHeaderKey(config.AuthHeader.Name) || isCredential(name) {
		bad.add("modelHeader", "%q carries credentials", name)
	}
	return name
}

// parseResponseLimits reads Config.MaxResponseBytes and Config.MaxStreamDuration.
func parseResponseLimits(bad *problems, config *Config, p *policy) {
	if !isUnset(config.MaxResponseBytes) {
		p.maxResponseBytes = int64(parseInteger(bad, "maxResponseBytes", config.MaxResponseBytes, 0, math.MaxInt32, "bytes"))
	}
	p.maxStreamDuration = parseDuration(bad, "maxStreamDuration", config.MaxStreamDuration, time.Second, 24*time.Hour, "from 1s to 24h")
}

// Value of Config.Expose.
const exposePrometheus = "prometheus"

// parseExpose reads Config.Expose.
func parseExpose(bad *problems, config *Config) bool {
	switch strings.ToLower(strings.TrimSpace(config.Expose)) {
	case "":
		return false
	case exposePrometheus:
	default:
		bad.add("expose", "%q is not %q", config.Expose, exposePrometheus)
	}
	if keys := keysBesideExpose(config); len(keys) > 0 {
		bad.add("expose", "answers by itself, and has no use for %s", strings.Join(keys, ", "))
	}
	return true
}

// keysBesideExpose returns the keys that are configured, of those that have no effect on metrics.
func keysBesideExpose(config *Config) []string {
	var keys []string
	configured, byDefault := reflect.ValueOf(*config), reflect.ValueOf(*CreateConfig())
	for i := 0; i < configured.NumField(); i++ {
		name := configured.Type().Field(i).Name
		if name == "Expose" || name == "Telemetry" || name == "Secrets" || name == "Unknown" {
			continue
		}
		if !reflect.DeepEqual(configured.Field(i).Interface(), byDefault.Field(i).Interface()) {
			if name = strings.ToLower(name[:1]) + name[1:]; name == "tLS" {
				name = "tls"
			}
			keys = append(keys, strconv.Quote(name))
		}
	}
	return keys
}
