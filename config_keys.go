package chatcompletion

import (
	"fmt"
	"regexp"
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
	"quotas", "quotas[].name", "quotas[].per", "quotas[].unit", "quotas[].limit", "quotas[].window", "quotas[].models", "quotas[].mode",
	"quotas[].reserve", "quotas[].shared",
	"redis", "redis.endpoints", "redis.username", "redis.password", "redis.db", "redis.poolSize", "redis.minIdleConns",
	"redis.maxActiveConns", "redis.readTimeout", "redis.writeTimeout", "redis.dialTimeout", "redis.onError", "redis.keyPrefix",
	"redis.tls", "redis.tls.enabled", "redis.tls.ca", "redis.tls.cert", "redis.tls.key", "redis.tls.insecureSkipVerify",
	"telemetry", "telemetry.provider", "telemetry.labels", "telemetry.maxSeries", "telemetry.log",
	"telemetry.otlp", "telemetry.otlp.endpoint", "telemetry.otlp.headers", "telemetry.otlp.interval", "telemetry.otlp.timeout",
	"telemetry.otlp.compression", "telemetry.otlp.metrics", "telemetry.otlp.traces",
	"telemetry.traces", "telemetry.traces.sampleRatio", "telemetry.traces.captureContent", "telemetry.traces.contentMaxBytes",
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
	for i, quota := range config.Quotas {
		checkUnknownKeys(bad, quotaPrefix(i), quota.Unknown)
	}
	checkUnknownKeys(bad, "secrets.", config.Secrets.Unknown)
	checkUnknownKeys(bad, "redis.", config.Redis.Unknown)
	checkUnknownKeys(bad, "redis.tls.", config.Redis.TLS.Unknown)
	checkUnknownKeys(bad, "telemetry.", config.Telemetry.Unknown)
	checkUnknownKeys(bad, "telemetry.otlp.", config.Telemetry.OTLP.Unknown)
	checkUnknownKeys(bad, "telemetry.traces.", config.Telemetry.Traces.Unknown)
}

// checkUnknownKeys reports the unknown keys below a parent, which ends in a dot, with the nearest
// known key of each.
func checkUnknownKeys(bad *problems, parent string, unknown map[string]any) {
	for _, key := range sortedKeys(unknown) {
		problem := fmt.Sprintf("unknown key %q", parent+key)
		place := listPlace.FindString(parent)
		meant := strings.Replace(nearestKey(listPlace.ReplaceAllString(parent, "[]"), key), "[]", place, 1)
		if strings.EqualFold(meant, parent+key) {
			problem = fmt.Sprintf("duplicate key %q", meant)
		} else if meant != "" {
			problem += fmt.Sprintf("; did you mean %q?", meant)
		}
		bad.found = append(bad.found, problem)
	}
}

// listPlace matches an index of a list, which is empty in knownKeys.
var listPlace = regexp.MustCompile(`\[[0-9]+\]`)

// nearestKey returns the known key that is most similar to a key below a parent, preferring keys
// below the same parent. It returns "" if the names share less than half of their letters.
func nearestKey(parent, key string) string {
	nearest, least := "", len(key)+2
	for _, known := range knownKeys {
		dot := strings.LastIndex(known, ".") + 1
		distance := 2 * editDistance(strings.ToLower(key), strings.ToLower(known[dot:]))
		if known[:dot] != parent {
			distance++
		}
		if distance < least {
			nearest, least = known, distance
		}
	}
	return nearest
}
