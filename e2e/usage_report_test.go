package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// reportedCalls are the calls that each consumer makes on each route: 12 input tokens, 4 output tokens.
var reportedCalls = map[string]int{"blue": 7, "green": 13, "red": 4}

// ownReport is what a test reads of a usage report.
type ownReport struct {
	Consumer string
	Group    string
	Models   []string
	Quotas   []struct {
		Name                   string
		Limit, Used, Remaining any
		ResetsAt               string
		Shared                 bool
	}
	Totals struct {
		Calls, InputTokens, OutputTokens int
		CostUSD                          string
	}
}

// readReport returns the usage report in a response of GET, and what caches may do with it.
func readReport(t *testing.T, address string, header map[string]string) (report ownReport, cacheControl string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &report); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return report, response.Header.Get("Cache-Control")
}

// TestUsageReports has consumers call at the same time, with counters in memory and in Redis, and reads the report of each. A
// consumer that a header names cannot choose another name, and while Redis is away, its counters are not in the report.
func TestUsageReports(t *testing.T) {
	redis := startRedis(t)
	provider := upstream(t, responding(http.StatusOK, `{"object":"chat.completion","model":"gpt-4o","choices":[],"usage":{"prompt_tokens":12,"completion_tokens":4,"total_tokens":16}}`))
	g := start(t, gateway.Options{})
	var list []any
	for consumer := range reportedCalls {
		list = append(list, map[string]any{"name": consumer, "group": "team", "key": hashOf("sk-" + consumer)})
	}
	keys := func(consumers, redis map[string]any) map[string]any {
		own := map[string]any{
			"token": "sk-provider", "allowedModels": []string{"gpt-4o*", "o1"},
			"routes":    map[string]string{chatPath: "completions", "/v1/usage": "usage"},
			"consumers": consumers,
			"prices":    map[string]any{"models": map[string]any{"gpt-4o": map[string]any{"input": "1", "output": "2"}}},
			"quotas": []any{
				map[string]any{"name": "requests", "unit": "requests", "limit": 100, "window": accountWindow},
				map[string]any{"name": "budget", "unit": "cost", "limit": "1.00", "window": accountWindow},
				map[string]any{"name": "everyone", "unit": "requests", "limit": 1000, "window": accountWindow, "per": "all"},
			},
		}
		if redis != nil {
			own["redis"] = redis
		}
		return own
	}
	dynamic := exposing()
	dynamic.Services["provider"] = provider.URL
	dynamic.Middlewares["memory"] = gateway.Plugin(keys(map[string]any{"list": list}, nil))
	dynamic.Middlewares["redis"] = gateway.Plugin(keys(map[string]any{"list": list}, map[string]any{"endpoints": []string{redis.Address}, "readTimeout": "300ms"}))
	dynamic.Middlewares["named"] = gateway.Plugin(keys(map[string]any{"header": "X-Team"}, nil))
	dynamic.Middlewares["login"] = map[string]any{"headers": map[string]any{"customRequestHeaders": map[string]string{"X-Team": "violet"}}}
	for name, middlewares := range map[string][]string{"memory": {"memory"}, "redis": {"redis"}, "named": {"login", "named"}} {
		dynamic.Routers[name] = gateway.Router{Rule: "PathPrefix(`/" + name + "/`)", Middlewares: middlewares, Service: "provider"}
	}
	configure(t, g, dynamic)

	call := func(ctx context.Context, route, consumer string) error {
		response, err := do(ctx, http.DefaultClient, g.URL+"/"+route+chatPath, plainBody, map[string]string{"Authorization": "Bearer sk-" + consumer, "X-Team": consumer})
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		_, err = io.Copy(io.Discard, response.Body)
		return err
	}
	var running sync.WaitGroup
	for consumer, calls := range reportedCalls {
		for _, route := range []string{"memory", "redis"} {
			for range calls {
				running.Go(func() {
					if err := call(t.Context(), route, consumer); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
	running.Wait()
	for consumer, calls := range reportedCalls {
		want := fmt.Sprintf("no-store %s team [gpt-4o* o1] requests %d+%d of 100 shared false budget %s+%s of 1.00 shared false everyone <nil>+<nil> of 1000 shared true totals %d %d %d %s",
			consumer, calls, 100-calls, cents(20*calls), cents(1_000_000-20*calls), 2*calls, 24*calls, 8*calls, cents(40*calls))
		for _, route := range []string{"memory", "redis"} {
			header := map[string]string{"Authorization": "Bearer sk-" + consumer, "X-Team": "red", "X-Ai-Consumer": "red"}
			got, deadline := "", time.Now().Add(10*time.Second) // a client has its response before the call is settled
			for got != want && time.Now().Before(deadline) {
				report, cacheControl := readReport(t, g.URL+"/"+route+"/v1/usage", header)
				got = cacheControl + " " + reportText(report)
			}
			if got != want {
				t.Errorf("%s at %s:\n got %s\nwant %s", consumer, route, got, want)
			}
		}
	}
	if report, _ := readReport(t, g.URL+"/named/v1/usage", map[string]string{"X-Team": "blue"}); report.Consumer != "violet" || report.Quotas[0].Used != 0.0 || report.Totals.Calls != 0 {
		t.Errorf("a client that names itself blue, and is violet, gets %+v", report)
	}
	checkNoErrors(t, g)
	redis.Kill()
	if report, _ := readReport(t, g.URL+"/redis/v1/usage", map[string]string{"Authorization": "Bearer sk-blue"}); report.Quotas[0].Used != nil || report.Quotas[0].Remaining != nil || report.Quotas[0].ResetsAt == "" {
		t.Errorf("without Redis: got %+v, want neither used nor remaining", report.Quotas[0])
	}
}

// reportText returns a usage report in one line.
func reportText(report ownReport) string {
	text := fmt.Sprintf("%s %s %v", report.Consumer, report.Group, report.Models)
	for _, q := range report.Quotas {
		text += fmt.Sprintf(" %s %v+%v of %v shared %v", q.Name, q.Used, q.Remaining, q.Limit, q.Shared)
	}
	totals := report.Totals
	return text + fmt.Sprintf(" totals %d %d %d %s", totals.Calls, totals.InputTokens, totals.OutputTokens, totals.CostUSD)
}

// cents returns millionths of a dollar as reports have them, with two decimals at least.
func cents(millionths int) string {
	text := fmt.Sprintf("%d.%06d", millionths/1_000_000, millionths%1_000_000)
	for len(text) > len("0.00") && text[len(text)-1] == '0' {
		text = text[:len(text)-1]
	}
	return text
}
