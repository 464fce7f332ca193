package e2e_test

import (
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/demo"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestLargeAndHostileBodiesAreCheap compares the CPU time of each body with that of forwarding 10 MiB
// without the plugin, in the same Traefik. Reading 10 MiB takes about eight times as long as that, and
// every other body less; work that grows with the square of the body takes seconds.
func TestLargeAndHostileBodiesAreCheap(t *testing.T) {
	const (
		factor = 30
		tries  = 3 // the cheapest counts, because a busy machine makes some more expensive
	)
	prompt := func(content string) string {
		return `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"` + content + `"}]}`
	}
	tests := []struct {
		name   string
		body   string
		status int
	}{
		{"10 MiB of one string", prompt(strings.Repeat("x", 10*mebibyte-len(prompt("")))), http.StatusOK},
		{"10 MiB and one byte", prompt(strings.Repeat("x", 10*mebibyte-len(prompt(""))+1)), http.StatusRequestEntityTooLarge},
		{"1 MiB of escaped quotes", prompt(strings.Repeat(`\"`, mebibyte/2)), http.StatusOK},
		{"1 MiB of escaped backslashes", prompt(strings.Repeat(`\\`, mebibyte/2)), http.StatusOK},
		{"100,000 nested brackets", strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), http.StatusBadRequest},
		{
			"100,000 nested brackets in a member",
			`{"messages":[{"role":"user","content":"Hi"}],"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}",
			http.StatusBadRequest,
		},
		{"3 million empty messages", `{"messages":[` + strings.Repeat("{},", 3*mebibyte) + "{}]}", http.StatusBadRequest},
		{"260,000 numbers for messages", `{"messages":[` + strings.Repeat("0,", 260_000) + "0]}", http.StatusBadRequest},
		{"10,000 members", prompt("Hi")[:len(prompt("Hi"))-1] + members(10_000) + "}", http.StatusBadRequest},
	}
	provider, paths := demo.Handler(demo.Options{}), http.NewServeMux()
	paths.Handle("/", provider)
	paths.Handle("/bare/", http.StripPrefix("/bare", provider))
	g := start(t, gateway.Options{})
	dynamic := metered(map[string]any{"model": "gpt-4o-mini", "params": map[string]any{"temperature": 0.5}}, upstream(t, paths).URL)
	dynamic.Routers["bare"] = gateway.Router{Rule: "PathPrefix(`/bare`)", Service: "provider"}
	configure(t, g, dynamic)
	if status, text := post(t, g.URL, prompt("warm up")); status != http.StatusOK {
		t.Fatalf("status = %d, want 200: %s", status, text)
	}
	before := settledRSS(t, g)
	allowed := factor * bareCPU(t, g, tests[0].body)
	t.Logf("each body may use %v of CPU", allowed)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			used := time.Duration(math.MaxInt64)
			for try := 0; try < tries && used >= allowed; try++ {
				started := cpu(t, g)
				status, text := post(t, g.URL, test.body)
				used = min(used, cpu(t, g)-started)
				if status != test.status {
					t.Errorf("status = %d, want %d: %.200s", status, test.status, text)
				}
			}
			if used >= allowed {
				t.Errorf("the gateway used %v of CPU, want less than %v", used, allowed)
			}
			t.Logf("the gateway used %v of CPU", used)
			checkAlive(t, g)
		})
	}
	const mayKeep = 32 * mebibyte
	await(t, fmt.Sprintf("memory falls to %d MiB over the %d MiB of the start", mayKeep/mebibyte, before/mebibyte), func() bool {
		return settledRSS(t, g) < before+mayKeep
	})
	checkNoErrors(t, g)
}

// bareCPU returns the CPU time that the gateway uses to forward a body without the plugin, at least a
// tick of /proc.
func bareCPU(t *testing.T, g *gateway.Gateway, body string) time.Duration {
	t.Helper()
	const calls = 10 // so that ticks are small beside their sum
	started := cpu(t, g)
	for range calls {
		if status, text := post(t, g.URL+"/bare", body); status != http.StatusOK {
			t.Fatalf("without the plugin: status = %d, want 200: %.200s", status, text)
		}
	}
	return max((cpu(t, g)-started)/calls, 10*time.Millisecond)
}

// members returns n members with distinct names, each after a comma.
func members(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `,"member_%d":%d`, i, i)
	}
	return text.String()
}

// post sends a chat completion and returns the response.
func post(t *testing.T, base, body string) (status int, text string) {
	t.Helper()
	response, err := http.Post(base+chatPath, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}

func cpu(t *testing.T, g *gateway.Gateway) time.Duration {
	t.Helper()
	used, err := g.CPU()
	if err != nil {
		t.Fatal(err)
	}
	return used
}
