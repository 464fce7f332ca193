package chatcompletion

import (
	"fmt"
	"math"
	"net/http"
	"os"
	"regexp"
	"strings"
)

// parseTelemetry parses Config.Telemetry.
func parseTelemetry(bad *problems, config *Config, pattern *regexp.Regexp, secrets *secretSettings) *telemetry {
	settings := config.Telemetry
	t := &telemetry{registry: theRegistry}
	t.target.Provider = settings.Provider
	checkAttribute(bad, "telemetry.provider", settings.Provider)
	t.labels = parseLabels(bad, config, pattern)
	t.target.MaxSeries = parseInteger(bad, "telemetry.maxSeries", settings.MaxSeries, defaultMaxSeries, 1, 100000, "series")
	t.semconv = parseSemconv(bad, settings.Semconv, os.Getenv)
	if log := parseLog(bad, settings.Log, t.semconv); log != nil {
		t.sinks = append(t.sinks, log)
		t.wantsDetails = true
	}
	t.sampler = parseSampler(bad, settings.Traces.SampleRatio)
	t.otlp = newOTLPSettings(bad, settings.OTLP, t.semconv, secrets, os.Getenv)
	t.spans = t.otlp != nil && t.otlp.traces != nil
	t.wantsDetails = t.wantsDetails || t.spans
	maxBytes := parseInteger(bad, "telemetry.traces.contentMaxBytes", settings.Traces.ContentMaxBytes, defaultContentMaxBytes, 1, 1<<20, "bytes")
	if parseBool(bad, "telemetry.traces.captureContent", settings.Traces.CaptureContent, false) {
		t.contentMaxBytes = maxBytes
	}
	return t
}

// Defaults of Config.Telemetry.
const (
	defaultMaxSeries       = 2000
	defaultContentMaxBytes = 4096
)

// parseSemconv parses Telemetry.Semconv, and completes it from the environment.
func parseSemconv(bad *problems, value string, getenv func(string) string) string {
	if value = parseOneOf(bad, "telemetry.semconv", value, semconvLegacy, semconvV01, semconvBoth); value != "" {
		return value
	}
	return environmentSemconv(getenv)
}

// parseLog parses Telemetry.Log. It returns nil if no lines are to be written.
func parseLog(bad *problems, value, semconv string) *callLog {
	switch parseOneOf(bad, "telemetry.log", value, logStdout, logStderr) {
	case logStdout:
		return &callLog{out: os.Stdout, semconv: semconv}
	case logStderr:
		return &callLog{out: os.Stderr, semconv: semconv}
	}
	return nil
}

// parseSampler parses Traces.SampleRatio.
func parseSampler(bad *problems, ratio any) *sampler {
	if isUnset(ratio) {
		return &sampler{bound: 1 << 63, isAlways: true}
	}
	number, ok := parseNumber(ratio)
	if !ok || number < 0 || number > 1 {
		bad.add("telemetry.traces.sampleRatio", "must be a number from 0 to 1, got %q", fmt.Sprint(ratio))
		return nil
	}
	return &sampler{bound: uint64(math.Ldexp(number, 63)), isAlways: number == 1}
}

// checkAttribute reports a configured text that is not a valid value of an attribute.
func checkAttribute(bad *problems, key, text string) {
	if !attributeText(text) {
		bad.add(key, "must be UTF-8 of at most %d bytes without control characters, got %q", labelMaxBytes, shortened(text))
	}
}

// labelName matches the names of attributes that both OpenTelemetry and, with underscores for dots,
// Prometheus accept.
var labelName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]{0,62}$`)

// parseLabels parses Telemetry.Labels.
func parseLabels(bad *problems, config *Config, pattern *regexp.Regexp) []label {
	configured := config.Telemetry.Labels
	var labels []label
	names := map[string]string{}
	for _, name := range sortedKeys(configured) {
		key := "telemetry.labels." + name
		exposed := prometheusName(name)
		switch {
		case !labelName.MatchString(name):
			bad.add(key, "invalid label name: use at most 63 letters, digits, dots and underscores, the first a letter")
		case reservedLabel(exposed):
			bad.add(key, "%q is reserved", name)
		case names[exposed] != "":
			bad.add(key, "has the same name in Prometheus as %q", names[exposed])
		}
		names[exposed] = name
		l := label{name: name, template: parseLabel(bad, key, configured[name], config.AuthHeader.Name, pattern)}
		if parts := l.template.parts; len(parts) == 1 && parts[0].source == headers {
			l.header = http.CanonicalHeaderKey(parts[0].key)
		}
		labels = append(labels, l)
	}
	return labels
}

// parseLabel parses the value of a label. Labels are published, so they must not refer to
// credentials.
func parseLabel(bad *problems, key, text, authHeader string, pattern *regexp.Regexp) *template {
	t := parseTemplate(bad, key, text, pattern)
	for _, part := range t.parts {
		if (part.source == headers && (isCredential(part.key) || strings.EqualFold(part.key, authHeader))) ||
			(part.source == queryParams && isCredentialParameter(part.key)) {
			bad.add(key, "$(%s.%s) would publish credentials", part.source, part.key)
		}
		checkAttribute(bad, key, part.text) // empty for a reference
	}
	return t
}

// reservedLabel reports whether the Prometheus form of a label's name is used by the GenAI
// conventions, by this plugin or by Prometheus itself.
func reservedLabel(exposed string) bool {
	for _, prefix := range []string{"gen_ai_", "chat_completion_", "otel_", "__"} {
		if strings.HasPrefix(exposed, prefix) {
			return true
		}
	}
	switch exposed {
	case "le", "quantile", "job", "instance", "error_type", "server_address", "server_port", "http_response_status_code":
		return true
	}
	return false
}
