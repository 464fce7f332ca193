package chatcompletion

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// FuzzOTLPEnvironment reads arbitrary OTEL_* variables: settings in use are valid and match what a simple parser reads. The
// log never contains the value of an ignored variable, which may be a key.
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
		logged := warnings(t, func() { s = newOTLPSettings(bad, OTLP{}, semconvBoth, parseSecrets(bad, Secrets{}, getenv), getenv) })
		if strings.Contains(logged, keyMark) {
			t.Errorf("log %q, want no value", logged)
		}
		if bad.found != nil {
			t.Errorf("problems %q, want none for an empty configuration", bad.found)
		}
		if s == nil {
			return
		}
		if s.interval < minExportInterval || s.interval > maxExportInterval || s.spanWait > s.interval {
			t.Errorf("export interval %v, span delay %v: out of range", s.interval, s.spanWait)
		}
		for _, signal := range []*otlpSignal{s.metrics, s.traces} {
			if signal != nil {
				checkSignal(t, signal, endpoint, headers)
			}
		}
		if len(s.resource)%2 != 0 || len(s.resource) < 4 {
			t.Errorf("resource attributes %q, want pairs, at least 2", s.resource)
		}
	})
}

// keyMark is part of every key in this test, and of nothing else.
const keyMark = "sk-MARK"

// checkSignal checks the URL, timeout and headers of the exports of a signal.
func checkSignal(t *testing.T, signal *otlpSignal, endpoint, headers string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, signal.url, nil)
	if err != nil {
		t.Fatalf("NewRequest to %q: %v", signal.url, err)
	}
	if req.URL.Host == "" || req.URL.User != nil || (req.URL.Scheme != "http" && req.URL.Scheme != "https") || req.URL.RawQuery != "" {
		t.Errorf("%s URL %q from endpoint %q, want http or https with a host, and no user or query", signal.name, signal.url, endpoint)
	}
	if signal.timeout < minExportTimeout || signal.timeout > maxExportTimeout {
		t.Errorf("timeout %v, want %v to %v", signal.timeout, minExportTimeout, maxExportTimeout)
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
			t.Errorf("Request header %q = %q, want a valid, unreserved header", header.header, header.value)
		}
		if _, has := configured[header.header+"\x00"+header.value]; !has {
			t.Errorf("Request header %q = %q, want one of %q", header.header, header.value, headers)
		}
	}
}
