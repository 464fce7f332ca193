package chatcompletion

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// environment returns a getenv for alternating names and values.
func environment(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i+1 < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

// warnings runs do and returns what it logs to stderr. It first resets the warnings that are logged only once.
func warnings(t *testing.T, do func()) string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "stderr")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	warnedMu.Lock()
	warned = map[string]bool{}
	warnedMu.Unlock()
	stderr := os.Stderr
	os.Stderr = file
	defer func() { os.Stderr = stderr }()
	do()
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func readSettings(t *testing.T, config OTLP, getenv func(string) string) *otlpSettings {
	t.Helper()
	bad := &problems{}
	s := newOTLPSettings(bad, config, semconvBoth, parseSecrets(bad, Secrets{}, getenv), getenv)
	if bad.found != nil {
		t.Fatalf("problems %q, want none", bad.found)
	}
	return s
}

// describeSignal returns the URL, timeout, compression and headers of a signal.
func describeSignal(signal *otlpSignal) string {
	if signal == nil {
		return "none"
	}
	parts := []string{signal.url, signal.timeout.String()}
	if signal.gzip {
		parts = append(parts, compressionGzip)
	}
	for _, header := range signal.headers {
		parts = append(parts, header.header+"="+header.value)
	}
	return strings.Join(parts, " ")
}

func TestOTLPSettingsFallBackToEnvironment(t *testing.T) {
	endpoint := []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://env:4318/base/"}
	with := func(pairs ...string) func(string) string { return environment(append(pairs, endpoint...)...) }
	tests := []struct {
		name    string
		config  OTLP
		getenv  func(string) string
		metrics string
		traces  string
	}{
		{"nothing", OTLP{}, environment(), "none", "none"},
		{"configured", OTLP{Endpoint: " https://c/base/ ", Headers: map[string]string{"api-key": "k"}, Timeout: "2s", Compression: "None"}, environment(),
			"https://c/base/v1/metrics 2s Api-Key=k", "https://c/base/v1/traces 2s Api-Key=k"},
		{"environment", OTLP{}, with(), "http://env:4318/base/v1/metrics 10s gzip", "http://env:4318/base/v1/traces 10s gzip"},
		{"environment, with every variable", OTLP{}, with("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x-y = z=", "OTEL_EXPORTER_OTLP_TIMEOUT", "1500",
			"OTEL_EXPORTER_OTLP_COMPRESSION", "none", "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
			"http://env:4318/base/v1/metrics 1.5s Api-Key=a b X-Y=z=", "http://env:4318/base/v1/traces 1.5s Api-Key=a b X-Y=z="},
		{"variables of a signal take precedence", OTLP{}, with("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces/as/it/is/", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=1",
			"OTEL_EXPORTER_OTLP_HEADERS", "b=2", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "100", "OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", "none"),
			"http://env:4318/base/v1/metrics 10s B=2", "http://traces/as/it/is/ 100ms gzip A=1"},
		{"one signal only", OTLP{}, environment("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://m"), "http://m 10s gzip", "none"},
		{"the configuration takes precedence", OTLP{Endpoint: "http://c", Headers: map[string]string{"A": "1"}, Timeout: "1s", Compression: "gzip"},
			with("OTEL_EXPORTER_OTLP_HEADERS", "b=2", "OTEL_EXPORTER_OTLP_TIMEOUT", "50", "OTEL_EXPORTER_OTLP_COMPRESSION", "none", "OTEL_SDK_DISABLED", "true",
				"OTEL_METRICS_EXPORTER", "none", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
			"http://c/v1/metrics 1s gzip A=1", "http://c/v1/traces 1s gzip A=1"},
		{"headers from the environment are not sent to a configured endpoint", OTLP{Endpoint: "http://c"}, with("OTEL_EXPORTER_OTLP_HEADERS", "api-key=secret"),
			"http://c/v1/metrics 10s gzip", "http://c/v1/traces 10s gzip"},
		{"configured headers are sent to the endpoint from the environment", OTLP{Headers: map[string]string{"A": "1"}}, with("OTEL_EXPORTER_OTLP_HEADERS", "b=2"),
			"http://env:4318/base/v1/metrics 10s gzip A=1", "http://env:4318/base/v1/traces 10s gzip A=1"},
		{"SDK disabled", OTLP{}, with("OTEL_SDK_DISABLED", "TRUE"), "none", "none"},
		{"metrics only, configured", OTLP{Endpoint: "http://c", Traces: "false"}, environment(), "http://c/v1/metrics 10s gzip", "none"},
		{"spans only, configured", OTLP{Endpoint: "http://c", Metrics: false}, environment(), "none", "http://c/v1/traces 10s gzip"},
		{"neither metrics nor spans", OTLP{Endpoint: "http://c", Metrics: false, Traces: false}, environment(), "none", "none"},
		{"spans only, in the environment", OTLP{}, with("OTEL_METRICS_EXPORTER", "prometheus", "OTEL_TRACES_EXPORTER", "console, otlp"),
			"none", "http://env:4318/base/v1/traces 10s gzip"},
		{"configuration overrides the environment", OTLP{Traces: true}, with("OTEL_TRACES_EXPORTER", "none"),
			"http://env:4318/base/v1/metrics 10s gzip", "http://env:4318/base/v1/traces 10s gzip"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			logged := warnings(t, func() {
				s := readSettings(t, test.config, test.getenv)
				if s == nil {
					s = &otlpSettings{}
				}
				if got := describeSignal(s.metrics); got != test.metrics {
					t.Errorf("metrics: %s, want %s", got, test.metrics)
				}
				if got := describeSignal(s.traces); got != test.traces {
					t.Errorf("traces: %s, want %s", got, test.traces)
				}
			})
			if logged != "" {
				t.Errorf("log %q, want none", logged)
			}
		})
	}
}

func TestInvalidOTLPVariableIsIgnored(t *testing.T) {
	const nothing = "none, " + "none, 0s"
	const usable = "http://env/v1/metrics 10s gzip, http://env/v1/traces 10s gzip, 30s"
	tests := []struct{ variable, value, want string }{
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector-canary:4318", nothing},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:canary@collector", nothing},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c?key=canary", "http://env/v1/metrics 10s gzip, none, 30s"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", nothing},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", "http://env/v1/metrics 10s gzip, none, 30s"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "canary", usable},
		{"OTEL_EXPORTER_OTLP_HEADERS", "api-key", usable},
		{"OTEL_EXPORTER_OTLP_HEADERS", "api-key=canary%zz", usable},
		{"OTEL_EXPORTER_OTLP_HEADERS", "api-key=canary%0aX", usable},
		{"OTEL_EXPORTER_OTLP_HEADERS", "content-type=canary", usable},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a b=canary", usable},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "canary", usable},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", usable},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "0", usable},
		{"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "999999999999", usable},
		{"OTEL_METRIC_EXPORT_INTERVAL", "1", usable},
		{"OTEL_RESOURCE_ATTRIBUTES", "canary", usable},
		{"OTEL_SDK_DISABLED", "canary", usable},
	}
	for _, test := range tests {
		t.Run(test.variable+"="+test.value, func(t *testing.T) {
			getenv := environment(test.variable, test.value, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://env")
			logged := warnings(t, func() {
				for range [3]int{} { // three middlewares
					s := readSettings(t, OTLP{}, getenv)
					if s == nil {
						s = &otlpSettings{}
					}
					if got := describeSignal(s.metrics) + ", " + describeSignal(s.traces) + ", " + s.interval.String(); got != test.want {
						t.Errorf("settings %s, want %s", got, test.want)
					}
				}
			})
			if !strings.Contains(logged, test.variable+" ") {
				t.Errorf("log %q, want %s in it", logged, test.variable)
			}
			lines := strings.Split(strings.TrimSpace(logged), "\n")
			for i, line := range lines {
				if i > 0 && line == lines[i-1] || len(lines) > 2 {
					t.Errorf("log %q, want each line once", logged)
				}
			}
			if strings.Contains(logged, "canary") {
				t.Errorf("log %q, want no value", logged)
			}
		})
	}
}

func TestInvalidOTLPConfigurationIsRefused(t *testing.T) {
	headers := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i+1 < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	tests := []struct {
		config OTLP
		want   string
	}{
		{OTLP{Endpoint: "canary:4318"}, "telemetry.otlp.endpoint: must be a URL"},
		{OTLP{Endpoint: "grpc://canary:4317"}, "telemetry.otlp.endpoint: must be a URL"},
		{OTLP{Endpoint: "http://"}, "telemetry.otlp.endpoint: must be a URL"},
		{OTLP{Endpoint: "http://:4318"}, "telemetry.otlp.endpoint: must be a URL"},
		{OTLP{Endpoint: "http://c/a b"}, "telemetry.otlp.endpoint: must be a URL"},
		{OTLP{Endpoint: "http://c/a\nb"}, "telemetry.otlp.endpoint: must be a URL"},
		{OTLP{Endpoint: "http://u:canary@c"}, "telemetry.otlp.endpoint: must not contain a user or a password"},
		{OTLP{Endpoint: "http://c?key=canary"}, "telemetry.otlp.endpoint: must not contain a query"},
		{OTLP{Endpoint: "http://c#canary"}, "telemetry.otlp.endpoint: must not contain a query"},
		{OTLP{Interval: "30"}, `telemetry.otlp.interval: must be a duration from 1s to 1h, such as 15s, got "30"`},
		{OTLP{Interval: "999ms"}, `telemetry.otlp.interval: must be a duration from 1s to 1h, such as 15s, got "999ms"`},
		{OTLP{Interval: "61m"}, `telemetry.otlp.interval: must be a duration from 1s to 1h, such as 15s, got "61m"`},
		{OTLP{Timeout: "9ms"}, `telemetry.otlp.timeout: must be a duration from 10ms to 1m, such as 15s, got "9ms"`},
		{OTLP{Timeout: "61s"}, `telemetry.otlp.timeout: must be a duration from 10ms to 1m, such as 15s, got "61s"`},
		{OTLP{Timeout: "-1s"}, `telemetry.otlp.timeout: must be a duration from 10ms to 1m, such as 15s, got "-1s"`},
		{OTLP{Compression: "zstd"}, `telemetry.otlp.compression: must be "gzip" or "none", got "zstd"`},
		{OTLP{Metrics: "?"}, `telemetry.otlp.metrics: must be true or false, got "?"`},
		{OTLP{Traces: 1}, `telemetry.otlp.traces: must be true or false, got "1"`},
		{OTLP{Headers: headers("a canary", "v")}, "telemetry.otlp.headers: invalid header name"},
		{OTLP{Headers: headers("content-type", "v")}, "telemetry.otlp.headers.content-type: "},
		{OTLP{Headers: headers("Content-Encoding", "v")}, "telemetry.otlp.headers.Content-Encoding: "},
		{OTLP{Headers: headers("Content-Length", "v")}, "telemetry.otlp.headers.Content-Length: "},
		{OTLP{Headers: headers("host", "v")}, "telemetry.otlp.headers.host: "},
		{OTLP{Headers: headers("Api-Key", "canary\nX: y")}, "telemetry.otlp.headers.Api-Key: must not contain control characters"},
		{OTLP{Headers: headers("Api-Key", " ")}, "telemetry.otlp.headers.Api-Key: must not be empty"},
		{OTLP{Headers: headers("Api-Key", "a", "api-key", "b")}, "telemetry.otlp.headers.api-key: duplicate header name"},
		{OTLP{Headers: headers("Api-Key", "urn:canary:x")}, "telemetry.otlp.headers.Api-Key: unknown reference"},
		{OTLP{Headers: headers("Api-Key", "urn:file:canary")}, "telemetry.otlp.headers.Api-Key: must name an absolute path"},
	}
	for _, test := range tests {
		bad := &problems{}
		newOTLPSettings(bad, test.config, semconvBoth, parseSecrets(bad, Secrets{}, environment()), environment())
		text := strings.Join(bad.found, "; ")
		if !strings.HasPrefix(text, test.want) || len(bad.found) != 1 {
			t.Errorf("problems %q, want one with the prefix %q", bad.found, test.want)
		}
		if strings.Contains(text, "canary") {
			t.Errorf("problem repeats a possible secret: %s", text)
		}
	}
}

func TestResourceAttributes(t *testing.T) {
	tests := []struct {
		name   string
		getenv func(string) string
		want   []string
	}{
		{"by default", environment(), []string{"service.instance.id", instanceID(), "service.name", "traefik"}},
		{"with attributes", environment("OTEL_RESOURCE_ATTRIBUTES", "service.name=a%2Cb,deployment.environment.name = prod ,service.instance.id=i"),
			[]string{"deployment.environment.name", "prod", "service.instance.id", "i", "service.name", "a,b"}},
		{"OTEL_SERVICE_NAME takes precedence", environment("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,service.instance.id=i", "OTEL_SERVICE_NAME", "edge"),
			[]string{"service.instance.id", "i", "service.name", "edge"}},
	}
	for _, test := range tests {
		if got := readSettings(t, OTLP{Endpoint: "http://c"}, test.getenv).resource; !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: resource attributes %q, want %q", test.name, got, test.want)
		}
	}
	if id := instanceID(); len(id) != 36 || id != instanceID() {
		t.Errorf("instance ID %q, want a UUID that does not change", id)
	}
}

func TestOnlyEqualOTLPSettingsShareKey(t *testing.T) {
	base := func() OTLP {
		return OTLP{Endpoint: "http://c", Interval: "10s", Timeout: "1s", Compression: "gzip", Headers: map[string]string{"A": "1", "B": "2"}}
	}
	key := readSettings(t, base(), environment()).key
	if got := readSettings(t, base(), environment()).key; got != key {
		t.Errorf("keys %q and %q, want the same", got, key)
	}
	for name, change := range map[string]func(*OTLP){
		"endpoint":        func(o *OTLP) { o.Endpoint = "http://d" },
		"interval":        func(o *OTLP) { o.Interval = "11s" },
		"timeout":         func(o *OTLP) { o.Timeout = "2s" },
		"compression":     func(o *OTLP) { o.Compression = "none" },
		"a header":        func(o *OTLP) { o.Headers["A"] = "2" },
		"one header less": func(o *OTLP) { delete(o.Headers, "B") },
		"a file":          func(o *OTLP) { o.Headers["A"] = "urn:file:/1" },
		"no metrics":      func(o *OTLP) { o.Metrics = false },
		"no spans":        func(o *OTLP) { o.Traces = false },
	} {
		changed := base()
		change(&changed)
		if got := readSettings(t, changed, environment()).key; got == key {
			t.Errorf("different %s: same key, want another", name)
		}
	}
}

func TestSpanDelayIsBoundedByInterval(t *testing.T) {
	for interval, want := range map[string]time.Duration{"1s": time.Second, "": 5 * time.Second, "1h": 5 * time.Second} {
		if got := readSettings(t, OTLP{Endpoint: "http://c", Interval: interval}, environment()).spanWait; got != want {
			t.Errorf("interval %q: span delay %v, want %v", interval, got, want)
		}
	}
	s := readSettings(t, OTLP{Endpoint: "http://c"}, environment("OTEL_METRIC_EXPORT_INTERVAL", "60000"))
	if s.interval != time.Minute {
		t.Errorf("interval %v, want %v from the environment", s.interval, time.Minute)
	}
}
