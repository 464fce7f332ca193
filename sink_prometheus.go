package chatcompletion

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// Content types of the metrics, and the media type with which a client requests OpenMetrics.
const (
	textFormat      = "text/plain; version=0.0.4; charset=utf-8"
	openFormat      = "application/openmetrics-text; version=1.0.0; charset=utf-8"
	openMetricsType = "application/openmetrics-text"
)

// exposition is the handler that serves the metrics.
type exposition struct {
	registry *registry
	semconv  string // the value of Telemetry.Semconv
	name     string // of the middleware
}

// ServeHTTP serves all metrics in the format that the client prefers. It renders the body before it
// sends the first byte, so that the length is known and a slow client delays nothing.
func (e *exposition) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	defer recoverUngoverned(e.name, rw)
	if refuseMethod(rw, req, "read the metrics") {
		return
	}
	header := rw.Header()
	header.Set("Cache-Control", "no-store")
	open := prefersOpenMetrics(req.Header["Accept"])
	header.Set("Content-Type", textFormat)
	if open {
		header.Set("Content-Type", openFormat)
	}
	var body bytes.Buffer
	if acceptsGzip(req.Header["Accept-Encoding"]) {
		header.Set("Content-Encoding", "gzip")
		compressor := gzip.NewWriter(&body)
		expose(compressor, collect(e.registry, e.semconv), open)
		_ = compressor.Close()
	} else {
		expose(&body, collect(e.registry, e.semconv), open)
	}
	header.Set("Content-Length", strconv.Itoa(body.Len()))
	rw.WriteHeader(http.StatusOK)
	if req.Method == http.MethodGet {
		_, _ = rw.Write(body.Bytes())
	}
}

// refuseMethod refuses requests that do not read, and reports whether it has. The error says what GET is for.
func refuseMethod(rw http.ResponseWriter, req *http.Request, purpose string) bool {
	if req.Method == http.MethodGet || req.Method == http.MethodHead {
		return false
	}
	rw.Header().Set("Allow", "GET, HEAD")
	writePolicyError(rw, openAIErrors, &apiError{http.StatusMethodNotAllowed, invalidRequestError, "method_not_supported", "",
		"Not allowed to " + shortened(req.Method) + " here. Use GET to " + purpose + "."})
	return true
}

// acceptMaxBytes bounds how much of a header such as Accept is parsed. Prometheus sends 330 bytes.
const acceptMaxBytes = 1024

// openMetricsVersions are the versions of OpenMetrics that a client may request; 0.0.1 is the draft
// of 1.0.0.
var openMetricsVersions = map[string]bool{"": true, "0.0.1": true, "1.0.0": true}

// qualities returns the quality, from 0 to 1, of each element of a header such as Accept. The
// highest quality of a repeated element counts. OpenMetrics is omitted in versions that are not
// served.
func qualities(lines []string) map[string]float64 {
	text := strings.Join(lines, ",")
	if len(text) > acceptMaxBytes {
		text = text[:acceptMaxBytes]
	}
	wanted := map[string]float64{}
	for _, element := range strings.Split(text, ",") {
		name, parameters, err := mime.ParseMediaType(element)
		if err != nil || (name == openMetricsType && !openMetricsVersions[parameters["version"]]) {
			continue
		}
		quality := 1.0
		if q, given := parameters["q"]; given {
			quality, err = strconv.ParseFloat(q, 64)
		}
		if err == nil && quality >= 0 && quality <= 1 && quality >= wanted[name] {
			wanted[name] = quality
		}
	}
	return wanted
}

// prefersOpenMetrics reports whether a client requests OpenMetrics and does not prefer text. A
// client that accepts anything gets text.
func prefersOpenMetrics(accept []string) bool {
	wanted := qualities(accept)
	open := wanted[openMetricsType]
	return open > 0 && open >= wanted["text/plain"] && open >= wanted["text/*"] && open >= wanted["*/*"]
}

// acceptsGzip reports whether the response may be compressed.
func acceptsGzip(acceptEncoding []string) bool {
	wanted := qualities(acceptEncoding)
	quality, named := wanted["gzip"]
	if !named {
		quality = wanted["*"]
	}
	return quality > 0
}

// Escapes in the values of labels and in the text of HELP. OpenMetrics escapes quotes in HELP, too.
var (
	valueEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
	helpEscapes  = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
)

// expose writes metrics in one of the two formats. The names follow OpenTelemetry's mapping to
// Prometheus.
func expose(w io.Writer, metrics []metric, open bool) {
	texts := map[string]string{}
	for _, m := range metrics {
		if len(m.points) > 0 {
			exposeMetric(w, m, open, texts)
		}
	}
	if open {
		_, _ = io.WriteString(w, "# EOF\n")
	}
}

// exposeMetric writes a metric's metadata and its points. All lines of a point are one call of
// Fprintf with a format that is built once: concatenating them in interpreted code would take ten
// times as long.
func exposeMetric(w io.Writer, m metric, open bool, texts map[string]string) {
	i := m.instrument
	name := prometheusName(i.name)
	if i.unit == "s" {
		name += "_seconds"
	}
	format := histogramFormat(name, i.bounds)
	if i.isGauge {
		format = name + "%s %s\n"
	} else if i.bounds == nil {
		format = name + "_total{%s} %s\n"
	}
	_, _ = io.WriteString(w, describe(i, name, open))
	for _, p := range m.points {
		labels := labelText(p.attributes, texts)
		if i.isGauge && labels != "" {
			labels = "{" + labels + "}"
		}
		if p.counts == nil {
			_, _ = fmt.Fprintf(w, format, labels, valueText(p))
			continue
		}
		values := make([]any, len(p.counts)+2)
		values[0] = labels
		values[1] = p.sum
		count := int64(0)
		for bucket, inBucket := range p.counts {
			count += inBucket
			values[bucket+2] = count
		}
		_, _ = fmt.Fprintf(w, format, values...)
	}
}

// valueText returns the value of a counter or a gauge: money in dollars, anything else as it is.
func valueText(p point) string {
	if p.isMoney {
		return dollars(p.count)
	}
	return strconv.FormatInt(p.count, 10)
}

// describe returns the HELP, TYPE and UNIT lines of a metric.
func describe(i *instrument, name string, open bool) string {
	kind, help := "histogram", helpEscapes.Replace(i.description)
	if i.isGauge {
		kind = "gauge"
	} else if i.bounds == nil {
		kind = "counter"
	}
	if !open {
		if kind == "counter" {
			name += "_total"
		}
		return "# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n"
	}
	unit := ""
	if i.unit == "s" {
		unit = "# UNIT " + name + " seconds\n"
	}
	return "# TYPE " + name + " " + kind + "\n" + unit + "# HELP " + name + " " + valueEscapes.Replace(i.description) + "\n"
}

// histogramFormat returns the format of a histogram's lines. The arguments are the labels, the sum,
// and the cumulative counts of the buckets.
func histogramFormat(name string, bounds []float64) string {
	format := ""
	for bucket, bound := range bounds {
		format += name + `_bucket{%[1]s,le="` + canonical(bound) + `"} %[` + strconv.Itoa(bucket+3) + "]d\n"
	}
	count := "%[" + strconv.Itoa(len(bounds)+3) + "]d\n"
	return format + name + `_bucket{%[1]s,le="+Inf"} ` + count + name + "_sum{%[1]s} %[2]v\n" + name + "_count{%[1]s} " + count
}

// canonical returns the value of le as OpenMetrics requires it: as a float. Both formats use it, so
// that their buckets are the same.
func canonical(number float64) string {
	text := strconv.FormatFloat(number, 'g', -1, 64)
	if strings.ContainsAny(text, ".e") {
		return text
	}
	return text + ".0"
}

// labelText returns attributes as labels. It caches them in texts, since metrics share most of
// their attributes.
func labelText(attributes []string, texts map[string]string) string {
	key := strings.Join(attributes, "\x00")
	if text, isKnown := texts[key]; isKnown {
		return text
	}
	labels := make([]string, len(attributes)/2)
	for i := range labels {
		labels[i] = prometheusName(attributes[2*i]) + `="` + valueEscapes.Replace(attributes[2*i+1]) + `"`
	}
	text := strings.Join(labels, ",")
	texts[key] = text
	return text
}
