package backends

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/modelroute/chatcompletion/e2e/program"
)

// Prometheus is a Prometheus with its own database.
type Prometheus struct {
	backend

	// URL is the base URL of its API.
	URL string
}

// StartPrometheus starts a Prometheus with the configuration and further flags, such as
// --web.enable-otlp-receiver, and returns once it serves; the caller must call Close.
func StartPrometheus(ctx context.Context, configuration string, flags ...string) (*Prometheus, error) {
	binary, err := PrometheusBinary(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	return firstStart(ctx, func() (*Prometheus, error) { return newPrometheus(binary, configuration, flags) })
}

func newPrometheus(binary, configuration string, flags []string) (*Prometheus, error) {
	address, err := program.FreeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "chatcompletion-prometheus-")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(path, []byte(configuration), 0o600); err != nil {
		return nil, err
	}
	p := &Prometheus{URL: "http://" + address}
	p.binary, p.dir = binary, dir
	p.arguments = append([]string{
		"--config.file=" + path,
		"--storage.tsdb.path=" + filepath.Join(dir, "data"),
		"--web.listen-address=" + address,
		"--log.level=warn",
	}, flags...)
	p.ready = func(ctx context.Context) bool { return serves(ctx, p.URL+"/-/ready", http.StatusOK) }
	return p, nil
}

// Sample is one series of a result.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Query evaluates an expression at the current time. Its result must be a vector or a scalar.
func (p *Prometheus) Query(ctx context.Context, expression string) ([]Sample, error) {
	form := url.Values{"query": {expression}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.URL+"/api/v1/query", strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	var result struct {
		Error string `json:"error"`
		Data  struct {
			Type   string          `json:"resultType"`
			Result json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.NewDecoder(response.Body).Decode(&result); err != nil {
		return nil, fmt.Errorf("query %s: %w", expression, err)
	}
	if result.Error != "" {
		return nil, fmt.Errorf("query %s: %s", expression, result.Error)
	}
	samples, err := decodeSamples(result.Data.Type, result.Data.Result)
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expression, err)
	}
	return samples, nil
}

func decodeSamples(kind string, result json.RawMessage) ([]Sample, error) {
	type series struct {
		Labels map[string]string `json:"metric"`
		Value  []any             `json:"value"` // the time, and the number as a string
	}
	var all []series
	switch kind {
	case "vector":
		if err := json.Unmarshal(result, &all); err != nil {
			return nil, err
		}
	case "scalar":
		all = make([]series, 1)
		if err := json.Unmarshal(result, &all[0].Value); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("unsupported result type %s", kind)
	}
	samples := make([]Sample, 0, len(all))
	for _, one := range all {
		if len(one.Value) != 2 {
			return nil, fmt.Errorf("unexpected value %v", one.Value)
		}
		number, err := strconv.ParseFloat(fmt.Sprint(one.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		samples = append(samples, Sample{Labels: one.Labels, Value: number})
	}
	return samples, nil
}
