// Package backends runs the real programs that take the plugin's telemetry, an OpenTelemetry Collector and a
// Prometheus, on free loopback ports and in temporary folders, and reads back what they got.
package backends

import (
	"context"
	"io"
	"path/filepath"

	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/e2e/program"
)

const prometheusModule = "github.com/prometheus/prometheus"

// CollectorBinary returns the path of an OpenTelemetry Collector: the one that the environment variable COLLECTOR names,
// else one built from the nested module. It says on log when it builds.
func CollectorBinary(ctx context.Context, log io.Writer) (string, error) {
	return binary(ctx, log, "collector", program.Program{
		Name:     "collector",
		Variable: "COLLECTOR",
		Module:   "go.opentelemetry.io/collector/otelcol",
		Package:  ".",
		Sources:  []string{"go.mod", "main.go"},
	})
}

// PrometheusBinary returns the path of a Prometheus: the one that the environment variable PROMETHEUS names, else one
// built from the nested module. It says on log when it builds.
func PrometheusBinary(ctx context.Context, log io.Writer) (string, error) {
	return prometheusCommand(ctx, log, "prometheus", "PROMETHEUS")
}

// PromtoolBinary returns the path of Prometheus's promtool, by the variable PROMTOOL or built, as PrometheusBinary.
func PromtoolBinary(ctx context.Context, log io.Writer) (string, error) {
	return prometheusCommand(ctx, log, "promtool", "PROMTOOL")
}

func prometheusCommand(ctx context.Context, log io.Writer, name, variable string) (string, error) {
	return binary(ctx, log, "prometheus", program.Program{
		Name:     name,
		Variable: variable,
		Module:   prometheusModule,
		Package:  prometheusModule + "/cmd/" + name,
		Flags:    []string{"-tags", "remove_all_sd"}, // only the discovery that the tests need, and half the build
	})
}

func binary(ctx context.Context, log io.Writer, folder string, p program.Program) (string, error) {
	root, err := gateway.Root()
	if err != nil {
		return "", err
	}
	p.Folder = filepath.Join(root, "e2e", folder)
	return p.Binary(ctx, log)
}
