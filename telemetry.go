package chatcompletion

import (
	"context"
	"net/http"
	"regexp"
	"strings"
)

// telemetry is what follows from Config.Telemetry, decided once.
type telemetry struct {
	registry        *registry
	semconv         string // the value of Telemetry.Semconv
	target          Target // of the calls at every endpoint, except for the operation
	labels          []label
	sinks           []Sink        // in addition to the registry and the exporter
	exporter        *exporter     // of spans; nil: none are exported
	wantsDetails    bool          // a sink, or a cost, wants the fields that otherwise only spans and log lines have
	otlp            *otlpSettings // nil: nothing is exported
	spans           bool          // calls become spans
	sampler         *sampler
	contentMaxBytes int // bytes of prompt and of response that a span holds; 0: none
}

// theRegistry is the registry of this Traefik process, and outlives configurations. Its constructor
// reads no package variable (traefik/yaegi#1585).
var theRegistry = newRegistry()

// startTelemetry starts what runs until ctx ends.
func startTelemetry(ctx context.Context, t *telemetry) {
	startMetrics(t.registry)
	if t.contentMaxBytes > 0 {
		expectContent(t.registry)
	}
	if t.otlp == nil {
		return
	}
	exporter := useExporter(ctx, t.otlp, t.registry)
	if t.spans {
		t.exporter = exporter
	}
}

// publish passes the record of a call to all sinks, the exporter, and the registry. The last two
// are not sinks: under Yaegi, a call through an interface costs as much as four others. The
// registry comes last: recordPanic counts a call at which a sink panics.
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

// label is an attribute whose value comes from the configuration or from the request.
type label struct {
	name     string
	header   string // canonical name, if the value is that of one header; else empty
	template *template
}

// labelsOf returns the labels of a request after those that it has, alternating names and values.
func labelsOf(labels []label, req *http.Request, pairs []string) []string {
	for i := range labels {
		l := &labels[i]
		values := req.Header[l.header] // nil if the value is not that of one header
		if values == nil || !commonLabel.MatchString(values[0]) {
			pairs = appendLabel(pairs, l, req)
		} else {
			pairs = append(pairs, l.name, values[0])
		}
	}
	return pairs
}

// commonLabel matches the value of most labels, which then skip the checks of appendLabel.
var commonLabel = regexp.MustCompile(`^[ -~]{1,128}$`)

// appendLabel adds a label that may have any value, or none. A value that is too long or not text
// becomes _OTHER.
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

// prometheusName returns the name of a metric or an attribute as Prometheus writes it.
func prometheusName(name string) string {
	return strings.ReplaceAll(name, ".", "_")
}
