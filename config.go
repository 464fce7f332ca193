package chatcompletion

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Defaults of the configuration.
const (
	defaultModelHeader         = "X-Ai-Model"
	authorization              = "Authorization"
	defaultMaxRequestBodyBytes = 10 << 20
)

// Values of Config.Mode.
const (
	modeEnforce = "enforce"
	modeReport  = "report"
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

// problems collects what is wrong with a configuration, so that all is said at once, and once.
type problems struct {
	found []string
}

// add notes a problem; text says what is wrong with the value at key.
func (p *problems) add(key, format string, args ...any) {
	problem := key + ": " + fmt.Sprintf(format, args...)
	for _, known := range p.found {
		if problem == known {
			return
		}
	}
	p.found = append(p.found, problem)
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

// reservedHeaders can carry neither the model nor the key: HTTP or this middleware needs them otherwise.
var reservedHeaders = map[string]bool{
	"Host": true, "Content-Length": true, "Content-Type": true, "Content-Encoding": true, "Transfer-Encoding": true,
	"Connection": true, "Accept-Encoding": true, "Upgrade": true, "Te": true, "Trailer": true, "Keep-Alive": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true,
}

var headerName = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$")

// parseHeaderName returns the canonical name of a header.
func parseHeaderName(bad *problems, key, name string) string {
	canonical := http.CanonicalHeaderKey(name)
	if !headerName.MatchString(name) {
		bad.add(key, "is no name of a header") // not repeated: it could be a key in the wrong place
	} else if reservedHeaders[canonical] {
		bad.add(key, "%q is needed for something else", name)
	}
	return canonical
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

// parsePrefix gives a word its space: labels cannot end in one, and YAML rarely does.
func parsePrefix(bad *problems, key, prefix string) string {
	if strings.ContainsAny(prefix, controlCharacters) {
		bad.add(key, "has a character that cannot stand in a header")
	}
	if prefix == "" || strings.HasSuffix(prefix, " ") || strings.HasSuffix(prefix, "=") || strings.HasSuffix(prefix, ":") {
		return prefix
	}
	return prefix + " "
}

func parseBool(bad *problems, key string, value any, byDefault bool) bool {
	switch v := value.(type) {
	case nil:
		return byDefault
	case bool:
		return v
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "true":
			return true
		case "false":
			return false
		case "":
			return byDefault
		}
	}
	bad.add(key, "%q is neither true nor false", fmt.Sprint(value))
	return byDefault
}

// isUnset tells whether a key was left out, or left empty.
func isUnset(value any) bool {
	text, isString := value.(string)
	return value == nil || (isString && text == "")
}

// sortedKeys returns the keys of a map from text, so that problems are always told in the same order.
func sortedKeys(m any) []string {
	var keys []string
	for _, key := range reflect.ValueOf(m).MapKeys() {
		keys = append(keys, key.String())
	}
	sort.Strings(keys)
	return keys
}

// parseInteger reads a whole number of a unit, from 1 on.
func parseInteger(bad *problems, key string, value any, byDefault, maximum int, unit string) int {
	if isUnset(value) {
		return byDefault
	}
	number, ok := parseNumber(value)
	if !ok || number != math.Trunc(number) || number < 1 || number > float64(maximum) {
		bad.add(key, "%q is not a whole number of %s from 1 to %d", fmt.Sprint(value), unit, maximum)
	}
	return int(number)
}

// parseNumber reads a number that came as one or as a string.
func parseNumber(value any) (float64, bool) {
	text := strings.TrimSpace(fmt.Sprint(value))
	if !json.Valid([]byte(text)) {
		return 0, false // so that no "Inf", "0x10" or "1_000" passes, which ParseFloat takes
	}
	number, err := strconv.ParseFloat(text, 64)
	return number, err == nil
}

func parseNames(names []string) []string {
	var trimmed []string
	for _, name := range names {
		if name = strings.TrimSpace(name); name != "" {
			trimmed = append(trimmed, name)
		}
	}
	return trimmed
}

// parseModels reads the keys about models, and finds what they say against each other. It returns modelPattern.
func parseModels(bad *problems, config *Config, p *policy) *regexp.Regexp {
	p.model = strings.TrimSpace(config.Model)
	p.modelOverride = parseBool(bad, "allowModelOverride", config.AllowModelOverride, p.model == "")
	p.aliases = config.ModelAliases
	parseAllowedModels(bad, config.AllowedModels, p)
	if !isModelName(p.model) {
		bad.add("model", "%q is longer than %d bytes, has control characters or is not UTF-8", shortened(p.model), modelMaxBytes)
	}
	if p.model == "" && !p.modelOverride {
		bad.add("allowModelOverride", "is false, but there is no model to enforce; set %q", "model")
	}
	pattern := parseModelPattern(bad, config.ModelPattern)
	if isTemplate(p.model) {
		p.modelTemplate = parseTemplate(bad, "model", p.model, pattern)
	} else {
		checkModel(bad, p)
		if pattern != nil && !usesCaptures(config) {
			bad.add("modelPattern", "has no effect without $(%s.name) in %q, %q or %q", uriCaptures, "model", "path", "telemetry.labels")
		}
	}
	parseAliases(bad, p)
	p.configuredModels = configuredModels(config, p)
	p.namedModels = namedModels(config, p)
	return pattern
}

// configuredModels are the names of models that are in the configuration: there are only so many.
func configuredModels(config *Config, p *policy) map[string]bool {
	models := map[string]bool{}
	for _, target := range p.aliases {
		models[target] = true
	}
	for _, pattern := range parseNames(config.AllowedModels) {
		models[pattern] = true // a client cannot ask for more of one with * than itself
	}
	if p.modelTemplate == nil {
		models[p.model] = true
	}
	return models
}

// usesCaptures tells whether anything refers to what modelPattern finds.
func usesCaptures(config *Config) bool {
	texts := []string{config.Path}
	for _, fallback := range config.Fallbacks {
		texts = append(texts, fallback.Path, fallback.Model)
	}
	for _, text := range config.Telemetry.Labels {
		texts = append(texts, text)
	}
	return strings.Contains(strings.Join(texts, " "), "$("+uriCaptures+".")
}

// checkModel finds whether a configured model could ever be used.
func checkModel(bad *problems, p *policy) {
	model := p.model
	if target, isAlias := p.aliases[model]; isAlias {
		model = target
	}
	if model != "" && !isAllowed(p, model) {
		bad.add("model", "%q is not among allowedModels (%s)", model, p.allowedText)
	}
}

func parseAliases(bad *problems, p *policy) {
	for _, alias := range sortedKeys(p.aliases) {
		key, target := "modelAliases."+alias, p.aliases[alias]
		if alias == "" {
			bad.add("modelAliases", "has an alias without a name")
		}
		if _, chained := p.aliases[target]; chained && target != alias {
			bad.add(key, "%q is an alias itself", target)
		}
		if target == "" || !isModelName(target) {
			bad.add(key, "%q is no name of a model", shortened(target))
		} else if !isAllowed(p, target) {
			bad.add(key, "%q is not among allowedModels (%s)", target, p.allowedText)
		}
	}
}

// isAllowed tells whether a model may be used. Gemini lists its models with a folder in front, and knows them without.
func isAllowed(p *policy, model string) bool {
	return p.allowedModels == nil || p.allowedModels.MatchString(model) ||
		p.allowedModels.MatchString(strings.TrimPrefix(model, "models/"))
}

func parseAllowedModels(bad *problems, patterns []string, p *policy) {
	patterns = parseNames(patterns)
	if len(patterns) == 0 {
		return
	}
	expressions := make([]string, len(patterns))
	for i, pattern := range patterns {
		expressions[i] = strings.ReplaceAll(regexp.QuoteMeta(pattern), `\*`, `.*`)
	}
	allowed, err := regexp.Compile(`^(?s:` + strings.Join(expressions, "|") + `)$`)
	if err != nil {
		bad.add("allowedModels", "%v", err)
		return
	}
	p.allowedModels = allowed
	p.allowedText = strings.Join(patterns, ", ")
}
