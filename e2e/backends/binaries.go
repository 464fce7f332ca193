// Package backends runs the real programs that the plugin or Traefik talks to, on free loopback
// ports and in temporary folders: an OpenTelemetry Collector and a Prometheus, whose received
// telemetry tests can read back, a Redis, a Kubernetes API server, and gateways of other projects to compare
// with. It also installs packages of Node.js that tests run, and Chromium.
package backends

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/e2e/program"
)

// Binary returns the path of a program or of packages, and builds or installs them first if they are missing. It writes
// to log when it does so.
type Binary func(ctx context.Context, log io.Writer) (string, error)

// Programs are the programs that the end-to-end tests need.
var Programs = []Binary{gateway.Interpreted, gateway.Compiled, CollectorBinary, PrometheusBinary, PromtoolBinary, RedisServerBinary, ClientPackages, ChromiumBinary}

// KubernetesPrograms are the programs that the end-to-end tests of Kubernetes need.
var KubernetesPrograms = []Binary{gateway.Binary, EtcdBinary, KubeAPIServerBinary}

// Build builds the missing ones of the programs.
func Build(ctx context.Context, log io.Writer, programs []Binary) error {
	for _, binary := range programs {
		if _, err := binary(ctx, log); err != nil {
			return err
		}
	}
	return nil
}

const prometheusModule = "github.com/prometheus/prometheus"

// CollectorBinary returns the path of an OpenTelemetry Collector: the one that the environment
// variable COLLECTOR names, else one built from the nested module. It writes to log when it builds.
func CollectorBinary(ctx context.Context, log io.Writer) (string, error) {
	return binary(ctx, log, "collector", program.Program{
		Name:     "collector",
		Variable: "COLLECTOR",
		Module:   "go.opentelemetry.io/collector/otelcol",
		Package:  ".",
		Sources:  []string{"go.mod", "main.go"},
	})
}

// PrometheusBinary returns the path of a Prometheus: the one that the environment variable
// PROMETHEUS names, else one built from the nested module. It writes to log when it builds.
func PrometheusBinary(ctx context.Context, log io.Writer) (string, error) {
	return prometheusCommand(ctx, log, "prometheus", "PROMETHEUS")
}

// PromtoolBinary is like PrometheusBinary, for promtool and the environment variable PROMTOOL.
func PromtoolBinary(ctx context.Context, log io.Writer) (string, error) {
	return prometheusCommand(ctx, log, "promtool", "PROMTOOL")
}

func prometheusCommand(ctx context.Context, log io.Writer, name, variable string) (string, error) {
	return binary(ctx, log, "prometheus", program.Program{
		Name:     name,
		Variable: variable,
		Module:   prometheusModule,
		Package:  prometheusModule + "/cmd/" + name,
		Flags:    []string{"-tags", "remove_all_sd"}, // no service discovery but what the tests need, which halves the build time
	})
}

// KubeAPIServerBinary returns the path of a kube-apiserver: the one that the environment variable
// KUBE_APISERVER names, else one built from the nested module. It writes to log when it builds.
func KubeAPIServerBinary(ctx context.Context, log io.Writer) (string, error) {
	return binary(ctx, log, "kubernetes", program.Program{
		Name:     "kube-apiserver",
		Variable: "KUBE_APISERVER",
		Module:   "k8s.io/kubernetes",
		Package:  "k8s.io/kubernetes/cmd/kube-apiserver",
		Stamp:    "k8s.io/component-base/version.gitVersion", // the API server panics without it
	})
}

// EtcdBinary is like KubeAPIServerBinary, for etcd and the environment variable ETCD.
func EtcdBinary(ctx context.Context, log io.Writer) (string, error) {
	return binary(ctx, log, "kubernetes", program.Program{
		Name:     "etcd",
		Variable: "ETCD",
		Module:   "go.etcd.io/etcd/server/v3",
		Package:  "go.etcd.io/etcd/server/v3",
	})
}

// KubectlBinary returns the path of kubectl: the one that the environment variable KUBECTL names, else the one on PATH.
func KubectlBinary() (string, error) {
	if named := os.Getenv("KUBECTL"); named != "" {
		if _, err := exec.LookPath(named); err != nil {
			return "", fmt.Errorf("KUBECTL=%s: %w", named, err)
		}
		return filepath.Abs(named)
	}
	found, err := exec.LookPath("kubectl")
	if err != nil {
		return "", fmt.Errorf("no kubectl on PATH: install it (Debian's package is kubernetes-client), or set KUBECTL=/path/to/kubectl: %w", err)
	}
	return found, nil
}

func binary(ctx context.Context, log io.Writer, folder string, p program.Program) (string, error) {
	root, err := gateway.Root()
	if err != nil {
		return "", err
	}
	p.Folder = filepath.Join(root, "e2e", folder)
	return p.Binary(ctx, log)
}
