package chatcompletion

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"unicode/utf8"
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

func attributeText(text string) bool {
	return len(text) <= labelMaxBytes && utf8.ValidString(text) && !strings.ContainsAny(text, controlCharacters)
}

// prometheusName is the name of a metric or an attribute as Prometheus writes it.
func prometheusName(name string) string {
	return strings.ReplaceAll(name, ".", "_")
}
