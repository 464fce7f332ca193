package backends

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/modelroute/chatcompletion/e2e/program"
)

// Collector is an OpenTelemetry Collector.
type Collector struct {
	backend

	// URL is the base URL that receives OTLP over HTTP. A restart does not change it.
	URL string
}

// StartCollector starts a Collector and returns once it serves; the caller must call Close.
// configurations are values of the Collector's --config, except that the Collector receives on its
// own address. Without configurations, it writes everything that it receives to files, for Metrics
// and Spans.
func StartCollector(ctx context.Context, configurations ...string) (*Collector, error) {
	binary, err := CollectorBinary(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	return firstStart(ctx, func() (*Collector, error) { return newCollector(binary, configurations) })
}

func newCollector(binary string, configurations []string) (*Collector, error) {
	address, err := program.FreeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "chatcompletion-collector-")
	if err != nil {
		return nil, err
	}
	c := &Collector{URL: "http://" + address}
	c.binary, c.dir = binary, dir
	c.ready = func(ctx context.Context) bool { return serves(ctx, c.URL, 0) }
	own := []any{collectorAddress(address)}
	if len(configurations) == 0 {
		own = append(own, collectorToFiles(c.metricsPath(), c.spansPath()))
	}
	for _, configuration := range configurations {
		c.arguments = append(c.arguments, "--config="+configuration)
	}
	for _, part := range own {
		text, err := json.Marshal(part) // JSON is valid YAML
		if err != nil {
			return nil, err
		}
		c.arguments = append(c.arguments, "--config=yaml:"+string(text))
	}
	return c, nil
}

// collectorAddress returns a configuration part that sets the address and disables the Collector's
// own metrics, which would listen on another port.
func collectorAddress(address string) map[string]any {
	return map[string]any{
		"receivers": map[string]any{"otlp": map[string]any{"protocols": map[string]any{"http": map[string]any{"endpoint": address}}}},
		"service":   map[string]any{"telemetry": map[string]any{"metrics": map[string]any{"level": "none"}}},
	}
}

func collectorToFiles(metrics, spans string) map[string]any {
	file := func(path string) map[string]any {
		return map[string]any{"path": path, "append": true, "flush_interval": "50ms"}
	}
	pipeline := func(exporter string) map[string]any {
		return map[string]any{"receivers": []string{"otlp"}, "exporters": []string{exporter}}
	}
	return map[string]any{
		"exporters": map[string]any{"file/metrics": file(metrics), "file/traces": file(spans)},
		"service": map[string]any{"pipelines": map[string]any{
			"metrics": pipeline("file/metrics"), "traces": pipeline("file/traces"),
		}},
	}
}

func (c *Collector) metricsPath() string { return filepath.Join(c.dir, "metrics.jsonl") }

func (c *Collector) spansPath() string { return filepath.Join(c.dir, "spans.jsonl") }
