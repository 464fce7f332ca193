package chatcompletion

import (
	"fmt"
	"regexp"
	"strings"
)

// knownKeys are the keys of the configuration, as users write them.
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
	"telemetry", "telemetry.provider", "telemetry.labels", "telemetry.maxSeries", "telemetry.log",
	"telemetry.otlp", "telemetry.otlp.endpoint", "telemetry.otlp.headers", "telemetry.otlp.interval", "telemetry.otlp.timeout",
	"telemetry.otlp.compression", "telemetry.otlp.metrics", "telemetry.otlp.traces",
	"telemetry.traces", "telemetry.traces.sampleRatio", "telemetry.traces.captureContent", "telemetry.traces.contentMaxBytes",
}

// checkUnknown finds the keys that no field took: Traefik itself would drop a typo without a word.
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
	checkUnknownKeys(bad, "secrets.", config.Secrets.Unknown)
	checkUnknownKeys(bad, "telemetry.", config.Telemetry.Unknown)
	checkUnknownKeys(bad, "telemetry.otlp.", config.Telemetry.OTLP.Unknown)
	checkUnknownKeys(bad, "telemetry.traces.", config.Telemetry.Traces.Unknown)
}

// checkUnknownKeys names the keys below a parent, which ends in a dot, and what was probably meant by each.
func checkUnknownKeys(bad *problems, parent string, unknown map[string]any) {
	for _, key := range sortedKeys(unknown) {
		problem := fmt.Sprintf("unknown key %q", parent+key)
		place := listPlace.FindString(parent)
		meant := strings.Replace(nearestKey(listPlace.ReplaceAllString(parent, "[]"), key), "[]", place, 1)
		if strings.EqualFold(meant, parent+key) {
			problem = fmt.Sprintf("key %q is given twice", meant)
		} else if meant != "" {
			problem += fmt.Sprintf("; did you mean %q?", meant)
		}
		bad.found = append(bad.found, problem)
	}
}

// listPlace is a place in a list, which knownKeys leave open.
var listPlace = regexp.MustCompile(`\[[0-9]+\]`)

// nearestKey returns the known key that looks most like one below a parent: there rather than elsewhere, and "" if none
// shares half of its letters.
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
