package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// countTimeout bounds the wait for the records of the last calls.
const countTimeout = 30 * time.Second

// ledger maps the name of each counted thing to its count, as seen by the clients or by the
// registry.
type ledger map[string]float64

func callsOf(kind, errorType string) string {
	if errorType == "" {
		return fmt.Sprintf("calls of %q without an error", kind)
	}
	return fmt.Sprintf("calls of %q with error type %s", kind, errorType)
}

func tokensOf(kind, tokenType string) string { return fmt.Sprintf("%s tokens of %q", tokenType, kind) }

// book is the clients' ledger, with the problems that they met.
type book struct {
	mutex    sync.Mutex
	entries  ledger
	calls    int // of all calls, including those without a record
	problems []string
	failed   int
}

// mostProblems bounds how many problems are reported.
const mostProblems = 10

func (b *book) enter(k kind, number int, err error) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.calls++
	if err != nil {
		b.failed++
		if len(b.problems) < mostProblems {
			b.problems = append(b.problems, fmt.Sprintf("call %d, %s: %v", number, k.name, err))
		}
		return
	}
	if k.unmetered {
		return
	}
	b.entries[callsOf(k.name, k.errorType)]++
	if k.input {
		b.entries[tokensOf(k.name, "input")] += float64(inputTokens(number))
	}
	if k.output {
		b.entries[tokensOf(k.name, "output")] += float64(outputTokens(number))
	}
}

func (b *book) count() int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return b.calls
}

// registry reads the metrics that the plugin exposes.
func registry(ctx context.Context, address string) (ledger, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %s", address, response.Status)
	}
	var parser expfmt.TextParser
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	entries := ledger{}
	for _, metric := range families["gen_ai_client_operation_duration_seconds"].GetMetric() {
		entries[callsOf(label(metric, kindLabel), label(metric, "error_type"))] += float64(metric.GetHistogram().GetSampleCount())
	}
	for _, metric := range families["gen_ai_client_token_usage"].GetMetric() {
		entries[tokensOf(label(metric, kindLabel), label(metric, "gen_ai_token_type"))] += metric.GetHistogram().GetSampleSum()
	}
	for _, metric := range families["chat_completion_telemetry_dropped_total"].GetMetric() {
		if lost := metric.GetCounter().GetValue(); lost > 0 {
			entries["lost: "+label(metric, "chat_completion_record")] = lost
		}
	}
	return entries, nil
}

func label(metric *dto.Metric, name string) string {
	for _, pair := range metric.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

// await reads ledgers until one equals l, and returns the remaining differences on timeout.
func (l ledger) await(ctx context.Context, read func(context.Context) (ledger, error)) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, countTimeout)
	defer cancel()
	for {
		got, err := read(ctx)
		if err != nil {
			return nil, err
		}
		differences := l.differences(got)
		if len(differences) == 0 {
			return nil, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return differences, nil
		}
	}
}

func (l ledger) differences(got ledger) []string {
	names := maps.Clone(l)
	maps.Copy(names, got)
	var differences []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if got[name] != l[name] {
			differences = append(differences, fmt.Sprintf("%s: the registry has %.0f, want %.0f", name, got[name], l[name]))
		}
	}
	return differences
}

// calls returns the number of calls with a record.
func (l ledger) calls() (sum float64) {
	for name, count := range l {
		if strings.HasPrefix(name, "calls of ") {
			sum += count
		}
	}
	return sum
}
