package chatcompletion

import (
	"context"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Telemetry is what is made known about the calls of a middleware. Durations are written as Go writes them: 30s, 1m.
type Telemetry struct {
	// Provider is the value of gen_ai.provider.name, such as mistral_ai, azure.ai.openai or gcp.gemini, but for Fallbacks.
	// Default: that of Config.Provider, else openai, the API that is spoken.
	Provider string
	// Labels are attributes of metrics, spans and log lines by their names: fixed text, or with references to the request
	// as in Model. A request that lacks the value has no such label. Default: none. Refused: names that are none, names
	// that the GenAI conventions use, and references to headers that carry credentials.
	Labels map[string]string
	// MaxSeries is how many combinations of attributes are kept in this Traefik, of all middlewares together. Models and
	// labels of any further combination become _OTHER, which is counted. Default: 2000. Refused: less than 1, more than
	// 100000.
	MaxSeries any
	// Log is stdout or stderr of Traefik, for a line of JSON for each call. Default: none.
	Log string
	// OTLP is where metrics and spans are sent.
	OTLP OTLP
	// Traces is which calls become spans, and what is in them.
	Traces Traces
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// OTLP is an OpenTelemetry collector that takes OTLP over HTTP, as JSON. All middlewares with the same settings share one
// connection, one queue, and one export of the metrics of this Traefik.
//
// What is not configured is taken from the standard variables of Traefik's environment, those for one signal before those
// for all: OTEL_EXPORTER_OTLP_COMPRESSION and _TIMEOUT, OTEL_METRIC_EXPORT_INTERVAL, OTEL_SERVICE_NAME (by default traefik)
// and OTEL_RESOURCE_ATTRIBUTES; and without Endpoint also OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS and _PROTOCOL,
// OTEL_METRICS_EXPORTER, OTEL_TRACES_EXPORTER and OTEL_SDK_DISABLED. A value that cannot be used is told to the operator, and
// ignored.
type OTLP struct {
	// Endpoint is the base URL of the collector, such as http://collector:4318; /v1/metrics and /v1/traces are added to
	// its path. Default: that of the environment, and without one nothing is sent. Refused: what is no URL with http or
	// https and a host, and a URL with a user, a query or a fragment.
	Endpoint string
	// Headers are sent with every export. A value may be a reference as in Config.Token. Default: none; to the endpoint of
	// the environment, those of the environment. Refused: values that are empty, and headers that HTTP needs otherwise.
	Headers map[string]string
	// Interval is the time between two exports of metrics. Spans are sent after 5s at the latest, or after Interval if that is
	// shorter. Default: 30s. Refused: less than 1s, more than 1h.
	Interval string
	// Timeout ends an export that takes longer. Default: 10s. Refused: less than 10ms, more than 1m.
	Timeout string
	// Compression is gzip or none. Default: gzip.
	Compression string
	// Metrics tells whether metrics are sent. Default: true, and with the endpoint of the environment what
	// OTEL_METRICS_EXPORTER says.
	Metrics any
	// Traces tells whether spans are sent. Default: true, and with the endpoint of the environment what OTEL_TRACES_EXPORTER
	// says.
	Traces any
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// Traces tells which calls become spans, and what is in them.
type Traces struct {
	// SampleRatio is the part of the calls without a traceparent that become spans: a number from 0 to 1. A call with one is
	// recorded if its sampled flag is set. Default: 1.
	SampleRatio any
	// CaptureContent puts prompts and answers into the spans. They are personal data. Default: false.
	CaptureContent any
	// ContentMaxBytes is how much of the prompt and how much of the answer a span holds, in bytes. Default: 4096. Refused:
	// less than 1, more than 1048576.
	ContentMaxBytes any
	// Unknown receives the keys that are none of the above; New refuses them.
	Unknown map[string]any `mapstructure:",remain"`
}

// Defaults of Config.Telemetry.
const (
	defaultMaxSeries       = 2000
	defaultContentMaxBytes = 4096
)

// labelMaxBytes bounds the value of a label; a longer one is _OTHER.
const labelMaxBytes = 128

// theRegistry is that of this Traefik, and outlives configurations. What makes it reads no variable of the package
// (traefik/yaegi#1585).
var theRegistry = newRegistry()

// telemetry is Config.Telemetry with all decided that can be decided once.
type telemetry struct {
	registry        *registry
	target          Target // of the calls at every endpoint, but for its operation
	labels          []label
	sinks           []Sink        // beside the registry and the exporter
	exporter        *exporter     // of spans; nil: there are none
	wantsDetails    bool          // a sink wants what only spans and log lines hold
	otlp            *otlpSettings // nil: nothing is exported
	spans           bool          // calls become spans
	sampler         *sampler
	contentMaxBytes int // bytes of prompt and of answer that a span holds; 0: none
}

// label is an attribute whose value comes from the configuration or from the request.
type label struct {
	name     string
	header   string // canonical; whose value it is, if it is nothing else
	template *template
}

// labelsOf returns the names and values of the labels of a request.
func labelsOf(labels []label, req *http.Request) []string {
	var pairs []string
	for i := range labels {
		l := &labels[i]
		values := req.Header[l.header] // nil, if it is no header
		if values == nil || !plainLabel.MatchString(values[0]) {
			pairs = appendLabel(pairs, l, req)
		} else {
			pairs = append(pairs, l.name, values[0])
		}
	}
	return pairs
}

// plainLabel is the value of most labels; it spares the checks of appendLabel.
var plainLabel = regexp.MustCompile(`^[ -~]{1,128}$`)

// appendLabel adds a label that may have any value, or none. What is too long or no text is _OTHER.
func appendLabel(pairs []string, l *label, req *http.Request) []string {
	value, apiErr := render(l.template, req)
	if apiErr != nil || value == "" {
		return pairs
	}
	if !attributeText(value) {
		value = other
	}
	return append(pairs, l.name, value)
}

// publish hands the record of a call to all sinks, the exporter, and the registry. The last two are no sinks: under Yaegi, a call
// through an interface costs as much as four others. The registry comes last: recordPanic counts a call that a sink fails at.
func publish(t *telemetry, c *Call) {
	if t.sinks != nil {
		consumeAll(t.sinks, c)
	}
	if c.Trace != nil && t.exporter != nil {
		queueSpan(t.exporter, c)
	}
	recordCall(t.registry, c)
}

func consumeAll(sinks []Sink, c *Call) {
	fillDetails([]*Call{c})
	for _, sink := range sinks {
		sink.Consume(c)
	}
}

// parseTelemetry reads Config.Telemetry.
func parseTelemetry(bad *problems, config *Config, pattern *regexp.Regexp, secrets *secretSettings) *telemetry {
	settings := config.Telemetry
	t := &telemetry{registry: theRegistry}
	t.target.Provider = settings.Provider
	checkAttribute(bad, "telemetry.provider", settings.Provider)
	t.labels = parseLabels(bad, config, pattern)
	t.target.MaxSeries = parseInteger(bad, "telemetry.maxSeries", settings.MaxSeries, defaultMaxSeries, 100000, "series")
	if log := parseLog(bad, settings.Log); log != nil {
		t.sinks = append(t.sinks, log)
		t.wantsDetails = true
	}
	t.sampler = parseSampler(bad, settings.Traces.SampleRatio)
	t.otlp = newOTLPSettings(bad, settings.OTLP, secrets, os.Getenv)
	t.spans = t.otlp != nil && t.otlp.traces != nil
	t.wantsDetails = t.wantsDetails || t.spans
	maxBytes := parseInteger(bad, "telemetry.traces.contentMaxBytes", settings.Traces.ContentMaxBytes, defaultContentMaxBytes, 1<<20, "bytes")
	if parseBool(bad, "telemetry.traces.captureContent", settings.Traces.CaptureContent, false) {
		t.contentMaxBytes = maxBytes
	}
	return t
}

// startTelemetry begins what lives until ctx ends.
func startTelemetry(ctx context.Context, t *telemetry) {
	startMetrics(t.registry)
	if t.otlp == nil {
		return
	}
	exporter := useExporter(ctx, t.otlp, t.registry)
	if t.spans {
		t.exporter = exporter
	}
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

func attributeText(text string) bool {
	return len(text) <= labelMaxBytes && utf8.ValidString(text) && !strings.ContainsAny(text, controlCharacters)
}

// checkAttribute refuses a configured text that no attribute can have.
func checkAttribute(bad *problems, key, text string) {
	if !attributeText(text) {
		bad.add(key, "%q is longer than %d bytes, has control characters or is not UTF-8", shortened(text), labelMaxBytes)
	}
}

// labelName is what OpenTelemetry and, with dots as underscores, Prometheus take for the name of an attribute.
var labelName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.]{0,62}$`)

// parseLabels reads Config.Telemetry.Labels.
func parseLabels(bad *problems, config *Config, pattern *regexp.Regexp) []label {
	configured := config.Telemetry.Labels
	var labels []label
	names := map[string]string{}
	for _, name := range sortedKeys(configured) {
		key := "telemetry.labels." + name
		exposed := prometheusName(name)
		switch {
		case !labelName.MatchString(name):
			bad.add(key, "is no name of a label: letters, digits, dots and underscores, the first one a letter")
		case reservedLabel(exposed):
			bad.add(key, "%q is needed for something else", name)
		case names[exposed] != "":
			bad.add(key, "is the same to Prometheus as %q", names[exposed])
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

// parseLabel reads the value of a label. What it takes from the request is public: credentials are not.
func parseLabel(bad *problems, key, text, authHeader string, pattern *regexp.Regexp) *template {
	t := parseTemplate(bad, key, text, pattern)
	for _, part := range t.parts {
		if (part.source == headers && (isCredential(part.key) || strings.EqualFold(part.key, authHeader))) ||
			(part.source == queryParams && isCredentialParameter(part.key)) {
			bad.add(key, "$(%s.%s) would publish credentials", part.source, part.key)
		}
		checkAttribute(bad, key, part.text) // empty in a reference
	}
	return t
}

// reservedLabel tells whether a label's name, as Prometheus sees it, is one of the conventions or of Prometheus.
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

// prometheusName is the name of a metric or an attribute as Prometheus writes it.
func prometheusName(name string) string {
	return strings.ReplaceAll(name, ".", "_")
}
