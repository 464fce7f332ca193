package chatcompletion

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// signalVariable returns the variable that holds a setting of a signal, and its value: the signal's own, else that for all.
func signalVariable(getenv func(string) string, signal, setting string) (string, string) {
	own := "OTEL_EXPORTER_OTLP_" + strings.ToUpper(signal) + "_" + setting
	if value := strings.TrimSpace(getenv(own)); value != "" {
		return own, value
	}
	general := "OTEL_EXPORTER_OTLP_" + setting
	return general, strings.TrimSpace(getenv(general))
}

// findCollector takes endpoint and headers from the environment, and tells whether there is an endpoint that takes HTTP.
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
	case "", "http/json", "http/protobuf": // who takes the one takes the other, at the same port
	case "grpc":
		logWarnOnce("%s is grpc, but only HTTP is spoken: no %s are sent; configure telemetry.otlp.endpoint, such as http://collector:4318", protocol, signal.name)
		return false
	default:
		ignoreVariable(protocol, "is none of http/json, http/protobuf and grpc")
	}
	if signal.headers == nil {
		signal.headers = environmentHeaders(getenv, signal.name)
	}
	return true
}

// environmentHeaders returns the headers that the environment has for a signal.
func environmentHeaders(getenv func(string) string, signal string) []*credential {
	variable, list := signalVariable(getenv, signal, "HEADERS")
	values, ok := parsePairs(list)
	if !ok {
		ignoreVariable(variable, "is no list such as name=value,name=value")
		return nil
	}
	var found []*credential
	for _, name := range sortedKeys(values) {
		header := &credential{header: http.CanonicalHeaderKey(name)}
		if !headerName.MatchString(name) || reservedHeaders[header.header] || !header.set(values[name]) {
			ignoreVariable(variable, "has a name or a value that cannot be sent as a header")
			return nil
		}
		found = append(found, header)
	}
	return found
}

// exportsByOTLP tells whether a variable that lists exporters lets OTLP be one of them.
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

func isTrue(getenv func(string) string, variable string) bool {
	switch strings.ToLower(strings.TrimSpace(getenv(variable))) {
	case "true":
		return true
	case "false", "":
	default:
		ignoreVariable(variable, "is neither true nor false")
	}
	return false
}

// environmentDuration reads a number of milliseconds; 0: there is none.
func environmentDuration(getenv func(string) string, variable string, least, most time.Duration, bounds string) time.Duration {
	value := strings.TrimSpace(getenv(variable))
	if value == "" {
		return 0
	}
	number, err := strconv.ParseInt(value, 10, 32)
	duration := time.Duration(number) * time.Millisecond
	if err != nil || duration < least || duration > most {
		ignoreVariable(variable, "is no number of milliseconds "+bounds)
		return 0
	}
	return duration
}

// resourceAttributes returns what the sender says about itself.
func resourceAttributes(getenv func(string) string) []string {
	attributes, ok := parsePairs(getenv("OTEL_RESOURCE_ATTRIBUTES"))
	if !ok {
		ignoreVariable("OTEL_RESOURCE_ATTRIBUTES", "is no list such as name=value,name=value")
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

// parsePairs reads a list such as name=value,name=value, whose values may be percent-encoded.
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

// ignoreVariable tells that a variable of the environment is not used. Its value may be a secret.
func ignoreVariable(variable, problem string) {
	logWarnOnce("the environment variable %s %s; it is ignored", variable, problem)
}
