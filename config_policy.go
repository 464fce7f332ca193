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

// policy is a configuration after everything has been decided that can be decided once.
type policy struct {
	name                string // of the middleware, as Traefik has it
	routes              []route
	kinds               *kindCache     // of the routes
	chainedRoutes       []route        // for what another instance has governed
	listedModel         *regexp.Regexp // of one model below the list of models
	models              *modelRules
	modelHeader         string      // canonical
	providers           []*provider // in the order in which they are tried; all but the first are fallbacks
	maxRequestBodyBytes int64
	maxResponseBytes    int64              // 0: unlimited
	maxStreamDuration   time.Duration      // 0: unlimited
	reportOnly          bool               // decisions are reported, not enforced
	hasRules            bool               // it has rules for a request that another instance has governed
	consumers           *consumers         // nil: nobody is identified
	groups              map[string]*policy // of consumers, by name; nil: groups are labels only
	restrictsModels     bool               // of a group that may use some models only
	namesConsumer       bool               // a template refers to the consumer
	appliesConsumer     bool               // it does, or consumers have groups
	prompt              *promptSettings    // nil: there are none
	prices              *priceTable        // nil: costs are unknown
	wantsParts          bool               // there are prices
	telemetry           *telemetry
	quotas              *quotaRules    // nil: there are none
	guard               *guard         // nil: there is none
	responseRules       *responseRules // of the guard; nil: there are none
	redis               *redisSettings // nil: the memory store has the counters
	store               *redisStore    // for redis; set by New
	cache               *responseCache // nil: no response is stored
	exposes             string         // what the middleware serves instead: a value of Config.Expose; empty: nothing
}

// newPolicy validates the configuration and decides what it means.
func newPolicy(config *Config, name string) (*policy, error) {
	bad := &problems{}
	checkUnknown(bad, config)
	p := &policy{name: name, kinds: &kindCache{byPath: map[string]kind{}}}
	p.reportOnly = parseOneOf(bad, "mode", config.Mode, modeEnforce, modeReport) == modeReport
	p.modelHeader = parseModelHeader(bad, config)
	secrets := parseSecrets(bad, config.Secrets, os.Getenv)
	secrets.resolvedByTraefik = strings.HasSuffix(name, "@kubernetescrd")
	p.maxRequestBodyBytes = int64(parseInteger(bad, "maxRequestBodySize", config.MaxRequestBodySize, defaultMaxRequestBodyBytes, 1, math.MaxInt32, "bytes"))
	parseResponseLimits(bad, config, p)
	pattern := parseModelPattern(bad, config.ModelPattern)
	p.models = parseModels(bad, config, pattern)
	checkModelPattern(bad, config, pattern)
	p.telemetry = parseTelemetry(bad, config, pattern, secrets)
	p.prompt = parsePrompt(bad, &config.Prompt, secrets)
	p.prices = parsePrices(bad, config.Prices, secrets)
	p.wantsParts = p.prices != nil
	p.quotas = parseQuotas(bad, config, p, pattern)
	p.guard = parseGuard(bad, &config.Guard)
	p.responseRules = parseResponseRules(bad, p)
	p.redis = parseRedis(bad, &config.Redis, secrets)
	first := parseProvider(bad, firstProviderConfig(config), p.modelHeader, secrets, pattern)
	p.providers = []*provider{first}
	p.routes = parseRoutes(bad, config.Routes, first.preset.basePath)
	p.chainedRoutes = chainedRoutes(p.routes)
	p.listedModel = listedModelPattern(p.routes)
	first.endpoints = newEndpoints(bad, config, p, first, p.models)
	p.hasRules = hasRules(p)
	p.exposes = parseExpose(bad, config)
	p.namesConsumer = strings.Contains(config.Model+" "+templateTexts(config), "$("+callerInfo+".")
	parseFallbacks(bad, config, p, secrets, pattern)
	checkCountPaths(bad, p)
	checkGuardedRoutes(bad, p)
	parseConsumers(bad, config, p, secrets, pattern)
	checkUsageRoutes(bad, config, p)
	p.appliesConsumer = p.namesConsumer || p.groups != nil
	p.cache = parseCache(bad, config, p)
	if p.redis != nil && !hasQuotas(p) && (p.cache == nil || !p.cache.isShared) {
		bad.add("redis", `has no effect without "quotas" or "cache.store" redis`)
	}
	if readsParts(p) {
		p.telemetry.wantsDetails = true // of responses: the endpoints have been made without those of requests
	}
	if len(bad.found) > 0 {
		return nil, errors.New("chat-completion middleware " + strconv.Quote(name) + ": " + strings.Join(bad.found, "; "))
	}
	return p, nil
}

// readsParts reports whether the parts of a usage are read: a cost, a span or a line has them, and the
// metrics of version 0.1.0 of the conventions.
func readsParts(p *policy) bool {
	return p.wantsParts || p.telemetry.wantsDetails || p.telemetry.semconv == semconvV01
}

// hasQuotas reports whether a policy, or a group of its consumers, has quotas.
func hasQuotas(p *policy) bool {
	has := p.quotas != nil
	for _, group := range p.groups {
		has = has || group.quotas != nil
	}
	return has
}

// hasRules reports whether a policy has rules of its own for a request that another one has governed.
func hasRules(p *policy) bool {
	rules, endpoints := p.models, p.providers[0].endpoints
	has := rules.model != "" || rules.aliases != nil || rules.allowed != nil || p.reportOnly || p.prompt != nil || !endpoints[completions].canAddUsage ||
		(p.quotas != nil && p.quotas.reservesOutput) || (p.guard != nil && p.guard.request != nil)
	for _, ep := range endpoints {
		has = has || ep.rules != nil || (ep.config != nil && configOf(ep).rules != nil)
	}
	return has
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
		p.maxResponseBytes = int64(parseInteger(bad, "maxResponseBytes", config.MaxResponseBytes, 0, 1, math.MaxInt32, "bytes"))
	}
	p.maxStreamDuration = parseDuration(bad, "maxStreamDuration", config.MaxStreamDuration, time.Second, 24*time.Hour, "from 1s to 24h")
}

// Values of Config.Expose.
const (
	exposePrometheus = "prometheus"
	exposeDashboard  = "dashboard"
)

// servedBy are what an instance serves with each value of Config.Expose.
var servedBy = map[string]string{exposePrometheus: "metrics", exposeDashboard: "the dashboard"}

// parseExpose reads Config.Expose.
func parseExpose(bad *problems, config *Config) string {
	exposes := parseOneOf(bad, "expose", config.Expose, exposePrometheus, exposeDashboard)
	if exposes == "" {
		return ""
	}
	if keys := keysBesideExpose(config); len(keys) > 0 {
		bad.add("expose", "the middleware only serves %s; remove %s", servedBy[exposes], strings.Join(keys, ", "))
	}
	return exposes
}

// keysBesideExpose returns the configured keys that have no effect on what is served.
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
