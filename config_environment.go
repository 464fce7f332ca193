package chatcompletion

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// signalVariable returns the name and the value of the variable that holds a setting of a signal:
// the signal's own variable, else the variable for all signals.
func signalVariable(getenv func(string) string, signal, setting string) (string, string) {
	own := "OTEL_EXPORTER_OTLP_" + strings.ToUpper(signal) + "_" + setting
	if value := strings.TrimSpace(getenv(own)); value != "" {
		return own, value
	}
	general := "OTEL_EXPORTER_OTLP_" + setting
	return general, strings.TrimSpace(getenv(general))
}

// findCollector reads the endpoint and the headers of a signal from the environment. It reports
// whether there is an endpoint that accepts HTTP.
func findCollector(signal *otlpSignal, getenv func(string) string) bool {
	variable, endpoint := signalVariable(getenv, signal.name, "ENDPOINT")
	if endpoint == "" {
		return false
	}
	if problem := urlProblem(endpoint, collectorExample, "send credentials in a header"); problem != "" {
		ignoreVariable(variable, problem)
		return false
	}
	signal.url = endpoint
	if variable == "OTEL_EXPORTER_OTLP_ENDPOINT" {
		signal.url = strings.TrimRight(endpoint, "/") + "/v1/" + signal.name
	}
	switch protocol, value := signalVariable(getenv, signal.name, "PROTOCOL"); value {
	case "", "http/json", "http/protobuf": // receivers accept both on the same port
	case "grpc":
		logWarnOnce("%s is grpc, but only OTLP over HTTP is supported: no %s are sent; set telemetry.otlp.endpoint to an HTTP endpoint, such as http://collector:4318", protocol, signal.name)
		return false
	default:
		ignoreVariable(protocol, "must be one of http/json, http/protobuf, grpc")
	}
	if signal.headers == nil {
		signal.headers = environmentHeaders(getenv, signal.name)
	}
	return true
}

// environmentHeaders returns the export headers that the environment sets for a signal.
func environmentHeaders(getenv func(string) string, signal string) []*credential {
	variable, list := signalVariable(getenv, signal, "HEADERS")
	values, ok := parsePairs(list)
	if !ok {
		ignoreVariable(variable, "must be a list such as name=value,name=value")
		return nil
	}
	var found []*credential
	for _, name := range sortedKeys(values) {
		header := &credential{header: http.CanonicalHeaderKey(name)}
		if !headerName.MatchString(name) || reservedHeaders[header.header] || !header.set(values[name]) {
			ignoreVariable(variable, "contains an invalid header name or value")
			return nil
		}
		found = append(found, header)
	}
	return found
}

// exportsByOTLP reports whether a variable that lists exporters contains otlp or is empty.
func exportsByOTLP(getenv func(string) string, variable string) bool {
	value := strings.TrimSpace(getenv(variable))
	if value == "" {
		return true
	}
	for _, exporter := range strings.Split(value, ",") {
		if strings.TrimSpace(exporter) == "otlp" {
			return true
		}
	}
	return false
}

// environmentSemconv returns the value of Telemetry.Semconv that OTEL_SEMCONV_STABILITY_OPT_IN, a
// list, selects. A duplicate form takes precedence, as for other conventions; what it does not
// select for these conventions is for others.
func environmentSemconv(getenv func(string) string) string {
	selected := map[string]bool{}
	for _, entry := range strings.Split(getenv("OTEL_SEMCONV_STABILITY_OPT_IN"), ",") {
		selected[strings.TrimSpace(entry)] = true
	}
	if selected["gen_ai_latest_experimental"] && !selected["gen_ai_latest_experimental/dup"] {
		return semconvV01
	}
	return semconvBoth
}

func isTrue(getenv func(string) string, variable string) bool {
	switch strings.ToLower(strings.TrimSpace(getenv(variable))) {
	case "true":
		return true
	case "false", "":
	default:
		ignoreVariable(variable, "must be true or false")
	}
	return false
}

// environmentDuration reads a duration in milliseconds. It returns 0 if the variable is unset or
// invalid.
func environmentDuration(getenv func(string) string, variable string, least, most time.Duration, bounds string) time.Duration {
	value := strings.TrimSpace(getenv(variable))
	if value == "" {
		return 0
	}
	number, err := strconv.ParseInt(value, 10, 32)
	duration := time.Duration(number) * time.Millisecond
	if err != nil || duration < least || duration > most {
		ignoreVariable(variable, "must be a number of milliseconds, "+bounds)
		return 0
	}
	return duration
}

// resourceAttributes returns the attributes of the resource as alternating names and values.
func resourceAttributes(getenv func(string) string) []string {
	attributes, ok := parsePairs(getenv("OTEL_RESOURCE_ATTRIBUTES"))
	if !ok {
		ignoreVariable("OTEL_RESOURCE_ATTRIBUTES", "must be a list such as name=value,name=value")
		attributes = map[string]string{}
	}
	if name := strings.TrimSpace(getenv("OTEL_SERVICE_NAME")); name != "" {
		attributes[serviceNameAttribute] = name
	}
	if attributes[serviceNameAttribute] == "" {
		attributes[serviceNameAttribute] = defaultServiceName
	}
	if attributes[serviceInstanceAttribute] == "" {
		attributes[serviceInstanceAttribute] = instanceID()
	}
	var pairs []string
	for _, name := range sortedKeys(attributes) {
		pairs = append(pairs, name, attributes[name])
	}
	return pairs
}

// parsePairs parses a list such as name=value,name=value, whose values may be percent-encoded.
func parsePairs(list string) (map[string]string, bool) {
	pairs := map[string]string{}
	for _, pair := range strings.Split(list, ",") {
		if strings.TrimSpace(pair) == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		name = strings.TrimSpace(name)
		decoded, err := url.PathUnescape(strings.TrimSpace(value))
		if !found || name == "" || err != nil {
			return map[string]string{}, false
		}
		pairs[name] = decoded
	}
	return pairs, true
}

// ignoreVariable logs that a variable of the environment is not used, without its value, which may
// be a secret.
func ignoreVariable(variable, problem string) {
	logWarnOnce("the environment variable %s is ignored: %s", variable, problem)
}
