package chatcompletion

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// knownKeys lists the keys of the configuration in the spelling of the reference.
var knownKeys = []string{
	"token", "model", "modelPattern", "allowModelOverride", "allowParamsOverride", "dropParams", "allowedModels", "modelAliases",
	"modelHeader", "routes", "provider", "path", "host", "port", "fallbacks", "maxRequestBodySize", "maxResponseBytes", "maxStreamDuration",
	"mode", "streamUsage", "expose",
	"params", "params.temperature", "params.topP", "params.maxTokens", "params.maxCompletionTokens", "params.frequencyPenalty",
	"params.presencePenalty", "params.extra",
	"limits", "limits.temperature", "limits.topP", "limits.maxTokens", "limits.maxCompletionTokens", "limits.frequencyPenalty",
	"limits.presencePenalty", "limits.n",
	"authHeader", "authHeader.name", "authHeader.prefix",
	"tls", "tls.enabled", "tls.serverName", "tls.caFile", "tls.insecureSkipVerify",
	"timeouts", "timeouts.connect", "timeouts.firstByte",
	"fallbacks[].provider", "fallbacks[].host", "fallbacks[].port", "fallbacks[].path", "fallbacks[].model", "fallbacks[].token",
	"fallbacks[].tls", "fallbacks[].tls.enabled", "fallbacks[].tls.serverName", "fallbacks[].tls.caFile",
	"fallbacks[].tls.insecureSkipVerify", "fallbacks[].authHeader", "fallbacks[].authHeader.name", "fallbacks[].authHeader.prefix",
	"secrets", "secrets.dir", "secrets.endpoint", "secrets.tokenFile", "secrets.caFile", "secrets.namespace", "secrets.refresh",
	"secrets.maxStale",
	"prompt", "prompt.system", "prompt.system.text", "prompt.system.mode", "prompt.forbidClientSystem",
	"prices", "prices.from", "prices.models", "prices.trustReported", "prices.unpriced",
	"prices.models[].input", "prices.models[].output", "prices.models[].cacheRead", "prices.models[].cacheWrite",
	"prices.models[].cacheWrite1h", "prices.models[].reasoning", "prices.models[].inputAudio", "prices.models[].outputAudio",
	"prices.models[].request", "prices.models[].image", "prices.models[].second", "prices.models[].tiers",
	"prices.models[].serviceTiers",
	"prices.models[].tiers[].over", "prices.models[].tiers[].input", "prices.models[].tiers[].output",
	"prices.models[].tiers[].cacheRead", "prices.models[].tiers[].cacheWrite", "prices.models[].tiers[].cacheWrite1h",
	"prices.models[].tiers[].reasoning", "prices.models[].tiers[].inputAudio", "prices.models[].tiers[].outputAudio",
	"quotas", "quotas[].name", "quotas[].per", "quotas[].unit", "quotas[].limit", "quotas[].window", "quotas[].models", "quotas[].mode",
	"quotas[].reserve", "quotas[].shared",
	"redis", "redis.endpoints", "redis.username", "redis.password", "redis.db", "redis.poolSize", "redis.minIdleConns",
	"redis.maxActiveConns", "redis.readTimeout", "redis.writeTimeout", "redis.dialTimeout", "redis.onError", "redis.keyPrefix",
	"redis.tls", "redis.tls.enabled", "redis.tls.ca", "redis.tls.cert", "redis.tls.key", "redis.tls.insecureSkipVerify",
	"cache", "cache.ttl", "cache.scope", "cache.maxBytes", "cache.maxEntries", "cache.store", "cache.routes", "cache.vary",
	"telemetry", "telemetry.provider", "telemetry.labels", "telemetry.maxSeries", "telemetry.semconv", "telemetry.log",
	"telemetry.otlp", "telemetry.otlp.endpoint", "telemetry.otlp.headers", "telemetry.otlp.interval", "telemetry.otlp.timeout",
	"telemetry.otlp.compression", "telemetry.otlp.metrics", "telemetry.otlp.traces",
	"telemetry.traces", "telemetry.traces.sampleRatio", "telemetry.traces.captureContent", "telemetry.traces.contentMaxBytes",
	"consumers", "consumers.required", "consumers.list", "consumers.from", "consumers.header", "consumers.groups",
	"consumers.list[].name", "consumers.list[].key", "consumers.list[].group", "consumers.list[].expires", "consumers.list[].previousKey",
	"consumers.list[].previousKey.key", "consumers.list[].previousKey.until", "consumers.list[].disabled", "consumers.list[].allowedModels",
	"consumers[].model", "consumers[].allowModelOverride", "consumers[].allowedModels", "consumers[].modelAliases", "consumers[].dropParams",
	"consumers[].params", "consumers[].params.temperature", "consumers[].params.topP", "consumers[].params.maxTokens",
	"consumers[].params.maxCompletionTokens", "consumers[].params.frequencyPenalty", "consumers[].params.presencePenalty",
	"consumers[].params.extra",
	"consumers[].limits", "consumers[].limits.temperature", "consumers[].limits.topP", "consumers[].limits.maxTokens",
	"consumers[].limits.maxCompletionTokens", "consumers[].limits.frequencyPenalty", "consumers[].limits.presencePenalty",
	"consumers[].limits.n",
	"consumers[].quotas", "consumers[].quotas[].name", "consumers[].quotas[].per", "consumers[].quotas[].unit", "consumers[].quotas[].limit",
	"consumers[].quotas[].window", "consumers[].quotas[].models", "consumers[].quotas[].mode", "consumers[].quotas[].reserve",
	"consumers[].quotas[].shared",
}

// checkUnknown reports the keys that match no field. Traefik itself would silently drop a typo.
func checkUnknown(bad *problems, config *Config) {
	checkUnknownKeys(bad, "", config.Unknown)
	checkUnknownKeys(bad, "params.", config.Params.Unknown)
	checkUnknownKeys(bad, "limits.", config.Limits.Unknown)
	checkUnknownKeys(bad, "authHeader.", config.AuthHeader.Unknown)
	checkUnknownKeys(bad, "tls.", config.TLS.Unknown)
	checkUnknownKeys(bad, "timeouts.", config.Timeouts.Unknown)
	for i, fallback := range config.Fallbacks {
		parent := fallbackPrefix(i)
		checkUnknownKeys(bad, parent, fallback.Unknown)
		checkUnknownKeys(bad, parent+"tls.", fallback.TLS.Unknown)
		checkUnknownKeys(bad, parent+"authHeader.", fallback.AuthHeader.Unknown)
	}
	checkUnknownConsumerKeys(bad, &config.Consumers)
	checkUnknownQuotaKeys(bad, "", config.Quotas)
	checkUnknownGuardKeys(bad, &config.Guard)
	checkUnknownKeys(bad, "secrets.", config.Secrets.Unknown)
	checkUnknownKeys(bad, "prompt.", config.Prompt.Unknown)
	checkUnknownKeys(bad, "prompt.system.", config.Prompt.System.Unknown)
	checkUnknownPrices(bad, config.Prices)
	checkUnknownKeys(bad, "redis.", config.Redis.Unknown)
	checkUnknownKeys(bad, "redis.tls.", config.Redis.TLS.Unknown)
	checkUnknownKeys(bad, "cache.", config.Cache.Unknown)
	checkUnknownKeys(bad, "telemetry.", config.Telemetry.Unknown)
	checkUnknownKeys(bad, "telemetry.otlp.", config.Telemetry.OTLP.Unknown)
	checkUnknownKeys(bad, "telemetry.traces.", config.Telemetry.Traces.Unknown)
}

// checkUnknownQuotaKeys is checkUnknown for the quotas below a parent.
func checkUnknownQuotaKeys(bad *problems, parent string, quotas []Quota) {
	for i, quota := range quotas {
		checkUnknownKeys(bad, parent+quotaPrefix(i), quota.Unknown)
	}
}

// checkUnknownGuardKeys is checkUnknown for Config.Guard.
func checkUnknownGuardKeys(bad *problems, config *Guard) {
	checkUnknownKeys(bad, "guard.", config.Unknown)
	checkUnknownKeys(bad, "guard.request.", config.Request.Unknown)
	checkUnknownKeys(bad, "guard.response.", config.Response.Unknown)
	checkUnknownKeys(bad, "guard.onBlock.", config.OnBlock.Unknown)
	checkUnknownRuleKeys(bad, guardRequest, config.Request.Rules)
	checkUnknownRuleKeys(bad, guardResponse, config.Response.Rules)
}

func checkUnknownRuleKeys(bad *problems, parent string, rules []GuardRule) {
	for i, rule := range rules {
		checkUnknownKeys(bad, rulePrefix(parent, i), rule.Unknown)
		checkUnknownKeys(bad, rulePrefix(parent, i)+"mask.", rule.Mask.Unknown)
	}
}

// checkUnknownConsumerKeys is checkUnknown for Config.Consumers.
func checkUnknownConsumerKeys(bad *problems, config *Consumers) {
	checkUnknownKeys(bad, "consumers.", config.Unknown)
	for i, c := range config.List {
		parent := consumerPrefix(i)
		checkUnknownKeys(bad, parent, c.Unknown)
		checkUnknownKeys(bad, parent+"previousKey.", c.PreviousKey.Unknown)
	}
	for _, name := range sortedKeys(config.Groups) {
		parent, group := groupPrefix(name), config.Groups[name]
		checkUnknownKeys(bad, parent, group.Unknown)
		checkUnknownKeys(bad, parent+"params.", group.Params.Unknown)
		checkUnknownKeys(bad, parent+"limits.", group.Limits.Unknown)
		checkUnknownQuotaKeys(bad, parent, group.Quotas)
	}
}

// checkUnknownPrices reports the keys of prices that match no field.
func checkUnknownPrices(bad *problems, prices Prices) {
	checkUnknownKeys(bad, "prices.", prices.Unknown)
	for _, name := range sortedKeys(prices.Models) {
		parent := priceKey(name)
		checkUnknownKeys(bad, parent+".", prices.Models[name].Unknown)
		for i, tier := range prices.Models[name].Tiers {
			checkUnknownKeys(bad, parent+".tiers["+strconv.Itoa(i)+"].", tier.Unknown)
		}
	}
}

// checkUnknownKeys reports the unknown keys below a parent, which ends in a dot, with the nearest
// known key of each.
func checkUnknownKeys(bad *problems, parent string, unknown map[string]any) {
	for _, key := range sortedKeys(unknown) {
		problem := fmt.Sprintf("unknown key %q", parent+key)
		meant := nearestKey(listPlace.ReplaceAllString(parent, "[]"), key)
		for _, place := range listPlace.FindAllString(parent, -1) {
			meant = strings.Replace(meant, "[]", place, 1)
		}
		if strings.EqualFold(meant, parent+key) {
			problem = fmt.Sprintf("duplicate key %q", meant)
		} else if meant != "" {
			problem += fmt.Sprintf("; did you mean %q?", meant)
		}
		bad.found = append(bad.found, problem)
	}
}

// listPlace matches an index of a list, the name of a model, and the name of a group of consumers,
// which are left out of knownKeys.
var listPlace = regexp.MustCompile(`\[[^\[\]]+\]|\.groups\.[^.]*`)

// nearestKey returns the known key that is most similar to a key below a parent, preferring keys
// below the same parent. It returns "" if the names share less than half of their letters.
func nearestKey(parent, key string) string {
	nearest, least := "", len(key)+2
	for _, known := range knownKeys {
		dot := strings.LastIndex(known, ".") + 1
		distance := 2 * editDistance(strings.ToLower(key), strings.ToLower(known[dot:]))
		if known[:dot] != parent {
			distance += 2
		}
		if distance < least {
			nearest, least = known, distance
		}
	}
	return nearest
}
