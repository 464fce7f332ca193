package chatcompletion

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzOTLPEnvironment reads OTEL_* variables that hold anything: what is used can be sent, and is what the variables say to a
// simple reader; what is not used is told of without its value, which may be a key.
func FuzzOTLPEnvironment(f *testing.F) {
	f.Add("http://collector:4318", "authorization=Bearer%20"+keyMark, "service.name=traefik,a=b", "10000", "gzip", "http/protobuf", "otlp")
	f.Add("https://collector/base/", "a=1,b=2,", "=,x", "-1", "zstd", "grpc", "none")
	f.Add("http://user:"+keyMark+"@collector", "a="+keyMark+"\nb: c", "a=%zz", "1e4", "", "http/json", "console,otlp")
	f.Add("collector:4318?key="+keyMark, keyMark, keyMark, keyMark, keyMark, keyMark, keyMark)
	f.Add("http://[::1]:4318", "Host=x,Content-Length=5,é=1,a b=c", "service.instance.id=,service.name=%00", "60001", "none", "", "")
	f.Add(" http://c ", " x-key = "+keyMark+" , y = a%0d%0aInjected:%201 ", "k=%ff", "10", "GZIP", " ", "otlp ,x")
	f.Fuzz(func(t *testing.T, endpoint, headers, attributes, timeout, compression, protocol, exporters string) {
		getenv := func(name string) string {
			switch name {
			case "OTEL_EXPORTER_OTLP_ENDPOINT":
				return endpoint
			case "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT":
				return strings.TrimPrefix(endpoint, "http://c")
			case "OTEL_EXPORTER_OTLP_HEADERS":
				return headers
			case "OTEL_RESOURCE_ATTRIBUTES":
				return attributes
			case "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_METRIC_EXPORT_INTERVAL":
				return timeout
			case "OTEL_EXPORTER_OTLP_COMPRESSION":
				return compression
			case "OTEL_EXPORTER_OTLP_PROTOCOL":
				return protocol
			case "OTEL_METRICS_EXPORTER":
				return exporters
			}
			return ""
		}
		var s *otlpSettings
		bad := &problems{}
		logged := warnings(t, func() { s = newOTLPSettings(bad, OTLP{}, parseSecrets(bad, Secrets{}, getenv), getenv) })
		if strings.Contains(logged, keyMark) {
			t.Errorf("the operator is told a value: %q", logged)
		}
		if bad.found != nil {
			t.Errorf("problems %q, want none: nothing is configured", bad.found)
		}
		if s == nil {
			return
		}
		if s.interval < minExportInterval || s.interval > maxExportInterval || s.spanWait > s.interval {
			t.Errorf("metrics are sent every %v, spans after %v", s.interval, s.spanWait)
		}
		for _, signal := range []*otlpSignal{s.metrics, s.traces} {
			if signal != nil {
				checkSignal(t, signal, endpoint, headers)
			}
		}
		if len(s.resource)%2 != 0 || len(s.resource) < 4 {
			t.Errorf("the resource is %q", s.resource)
		}
	})
}

// markOfKeys is a part of every key here, and of nothing else.
const keyMark = "sk-MARK"

// checkSignal checks that what is sent can be, and where to and with which headers.
func checkSignal(t *testing.T, signal *otlpSignal, endpoint, headers string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, signal.url, nil)
	if err != nil {
		t.Fatalf("nothing can be sent to %q: %v", signal.url, err)
	}
	if req.URL.Host == "" || req.URL.User != nil || (req.URL.Scheme != "http" && req.URL.Scheme != "https") || req.URL.RawQuery != "" {
		t.Errorf("%s are sent to %q, from %q", signal.name, signal.url, endpoint)
	}
	if signal.timeout < minExportTimeout || signal.timeout > maxExportTimeout {
		t.Errorf("the timeout is %v", signal.timeout)
	}
	configured := map[string]string{}
	for _, pair := range strings.Split(headers, ",") {
		name, value, _ := strings.Cut(pair, "=")
		value, err := url.PathUnescape(strings.TrimSpace(value))
		if err == nil {
			configured[http.CanonicalHeaderKey(strings.TrimSpace(name))+"\x00"+strings.TrimSpace(value)] = strings.TrimSpace(value)
		}
	}
	for _, header := range signal.headers {
		if !headerName.MatchString(header.header) || reservedHeaders[header.header] || strings.ContainsAny(header.value, controlCharacters) || header.value == "" {
			t.Errorf("the header %q: %q is sent", header.header, header.value)
		}
		if _, has := configured[header.header+"\x00"+header.value]; !has {
			t.Errorf("the header %q: %q is sent, and %q does not say so", header.header, header.value, headers)
		}
	}
}
