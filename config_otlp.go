package chatcompletion

import (
	"strconv"
	"strings"
	"time"
)

// newOTLPSettings parses OTLP and completes it from the environment. It returns nil if nothing is
// to be sent.
//
// With an endpoint in the configuration, the variables that select an endpoint, disable the export
// or hold credentials are not read: credentials are meant for the endpoint configured with them.
func newOTLPSettings(bad *problems, config OTLP, semconv string, secrets *secretSettings, getenv func(string) string) *otlpSettings {
	c := &otlpConfigured{headers: parseExportHeaders(bad, config.Headers, secrets)}
	c.endpoint = parseEndpoint(bad, config.Endpoint)
	c.timeout = parseDuration(bad, "telemetry.otlp.timeout", config.Timeout, minExportTimeout, maxExportTimeout, exportTimeouts)
	c.compression = parseOneOf(bad, "telemetry.otlp.compression", config.Compression, compressionGzip, compressionNone)
	s := &otlpSettings{semconv: semconv, spanWait: spanMaxWait, linger: exporterLinger, backoff: exportBackoff}
	s.interval = parseDuration(bad, "telemetry.otlp.interval", config.Interval, minExportInterval, maxExportInterval, exportIntervals)
	isConfigured := c.endpoint != ""
	metrics := parseBool(bad, "telemetry.otlp.metrics", config.Metrics, isConfigured || exportsByOTLP(getenv, "OTEL_METRICS_EXPORTER"))
	traces := parseBool(bad, "telemetry.otlp.traces", config.Traces, isConfigured || exportsByOTLP(getenv, "OTEL_TRACES_EXPORTER"))
	if !isConfigured && isTrue(getenv, "OTEL_SDK_DISABLED") {
		return nil
	}
	if metrics {
		s.metrics = newSignal(c, getenv, "metrics")
	}
	if traces {
		s.traces = newSignal(c, getenv, "traces")
	}
	if s.metrics == nil && s.traces == nil {
		return nil
	}
	if s.interval == 0 {
		s.interval = environmentDuration(getenv, "OTEL_METRIC_EXPORT_INTERVAL", minExportInterval, maxExportInterval, exportIntervals)
	}
	if s.interval == 0 {
		s.interval = defaultExportInterval
	}
	if s.interval < s.spanWait {
		s.spanWait = s.interval
	}
	s.resource = resourceAttributes(getenv)
	s.key = settingsKey(s)
	return s
}

// Defaults of OTLP.
const (
	defaultExportInterval = 30 * time.Second
	defaultExportTimeout  = 10 * time.Second
	defaultServiceName    = "traefik"
)

// Bounds of the durations in OTLP, and their texts in error messages.
const (
	minExportInterval, maxExportInterval = time.Second, time.Hour
	minExportTimeout, maxExportTimeout   = 10 * time.Millisecond, time.Minute
	exportIntervals                      = "from 1s to 1h"
	exportTimeouts                       = "from 10ms to 1m"
)

// Values of OTLP.Compression.
const (
	compressionGzip = "gzip"
	compressionNone = "none"
)

// otlpConfigured holds the settings of the configuration. Those that are not configured are empty.
type otlpConfigured struct {
	endpoint    string
	headers     []*credential
	timeout     time.Duration
	compression string
}

// settingsKey returns a key that is the same for equal settings only.
func settingsKey(s *otlpSettings) string {
	parts := append([]string{s.interval.String(), s.semconv}, s.resource...)
	for _, signal := range []*otlpSignal{s.metrics, s.traces} {
		if signal == nil {
			parts = append(parts, "")
			continue
		}
		parts = append(parts, signal.url, signal.timeout.String(), strconv.FormatBool(signal.gzip))
		for _, header := range signal.headers {
			parts = append(parts, header.header, header.value)
			if header.source != nil {
				parts = append(parts, header.source.id)
			}
		}
	}
	return strings.Join(parts, "\x00")
}

// newSignal returns the settings of a signal, or nil if the signal is not sent.
func newSignal(c *otlpConfigured, getenv func(string) string, name string) *otlpSignal {
	signal := &otlpSignal{name: name, headers: c.headers, timeout: c.timeout}
	if c.endpoint != "" {
		signal.url = c.endpoint + "/v1/" + name
	} else if !findCollector(signal, getenv) {
		return nil
	}
	if signal.timeout == 0 {
		variable, _ := signalVariable(getenv, name, "TIMEOUT")
		signal.timeout = environmentDuration(getenv, variable, minExportTimeout, maxExportTimeout, exportTimeouts)
	}
	if signal.timeout == 0 {
		signal.timeout = defaultExportTimeout
	}
	compression := c.compression
	if compression == "" {
		variable, value := signalVariable(getenv, name, "COMPRESSION")
		if value != "" && value != compressionGzip && value != compressionNone {
			ignoreVariable(variable, "must be gzip or none")
		}
		compression = value
	}
	signal.gzip = compression != compressionNone
	return signal
}

// parseEndpoint parses OTLP.Endpoint.
func parseEndpoint(bad *problems, text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	if problem := urlProblem(text, collectorExample, "send credentials in a header"); problem != "" {
		bad.add("telemetry.otlp.endpoint", "%s", problem)
	}
	return strings.TrimRight(text, "/")
}

// collectorExample is the example of OTLP.Endpoint in error messages.
const collectorExample = "http://collector:4318"

// parseExportHeaders parses OTLP.Headers.
func parseExportHeaders(bad *problems, configured map[string]string, secrets *secretSettings) []*credential {
	var found []*credential
	seen := map[string]bool{}
	for _, name := range sortedKeys(configured) {
		key := "telemetry.otlp.headers"
		if headerName.MatchString(name) {
			key += "." + name
		}
		canonical := parseHeaderName(bad, key, name)
		if seen[canonical] {
			bad.add(key, "duplicate header name")
		}
		seen[canonical] = true
		header, problem := newCredential(key, "nothing is sent", configured[name], canonical, "", secrets)
		switch {
		case problem != "":
			bad.add(key, "%s", problem)
		case header == nil:
			bad.add(key, "must not be empty")
		default:
			found = append(found, header)
		}
	}
	return found
}
