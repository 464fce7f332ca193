package e2e_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// witness records the requests that a server received.
type witness struct {
	mutex sync.Mutex
	texts []string
}

func (w *witness) add(text string) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.texts = append(w.texts, text)
}

func (w *witness) text() string {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return strings.Join(w.texts, "\n")
}

// canaries are keys, by path of the route that uses them.
var canaries = map[string]string{
	"/env":     "sk-canary-of-the-environment",
	"/file":    "sk-canary-of-the-file",
	"/mounted": "sk-canary-of-the-secret",
}

const (
	rotatedCanary   = "sk-canary-rotated"
	collectorCanary = "sk-canary-of-the-collector"
)

// TestKeysReachOnlyTheProvider sends keys from every source through calls with every ending, with
// all logs and all telemetry enabled, and looks for the keys in everything that Traefik and the
// plugin write.
func TestKeysReachOnlyTheProvider(t *testing.T) {
	keys := t.TempDir()
	file := filepath.Join(keys, "key")
	mounted := filepath.Join(keys, "mounted", "ai-keys", "openai-token")
	writeKey(t, file, canaries["/file"])
	writeKey(t, mounted, canaries["/mounted"])

	var providerSaw, collectorSaw, collectorKeys, clientsSaw witness
	provider := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		providerSaw.add(r.Header.Get("Authorization"))
		counting(0).ServeHTTP(rw, r)
	}))
	collector := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		collectorKeys.add(r.Header.Get("X-Collector-Key"))
		body, _ := io.ReadAll(r.Body)
		collectorSaw.add(string(body))
		if strings.Contains(r.URL.Path, "metrics") {
			http.Error(rw, "no metrics today", http.StatusBadRequest)
		}
	}))
	g := start(t, gateway.Options{
		LogLevel:  "DEBUG",
		AccessLog: true,
		Env:       []string{"PROVIDER_KEY=" + canaries["/env"], "COLLECTOR_KEY=" + collectorCanary},
		Static: map[string]any{"accessLog": map[string]any{
			"fields": map[string]any{"headers": map[string]any{"defaultMode": "keep"}},
		}},
	})
	dynamic := redactedRoutes(keys, file, provider.URL, collector.URL)
	if err := g.Load(t.Context(), dynamic); err != nil {
		t.Fatal(err)
	}

	for path := range canaries {
		callEveryWay(t, g.URL+path, &clientsSaw)
	}
	callEveryWay(t, g.URL+"/dead", &clientsSaw)
	writeKey(t, file, rotatedCanary)
	writeKey(t, mounted, rotatedCanary)
	for _, path := range []string{"/file", "/mounted"} {
		await(t, "the rotated key is used by "+path, func() bool {
			providerSaw.add("-")
			callOnce(t, g.URL+path+chatPath, http.MethodPost, plainBody, "", &clientsSaw)
			saw := providerSaw.text()
			return strings.HasSuffix(saw, rotatedCanary)
		})
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	writeKey(t, mounted, "not\na header\nvalue "+rotatedCanary)
	await(t, "the log reports both key errors", func() bool {
		text := readText(t, g.LogPath)
		return strings.Contains(text, "no such file") && strings.Contains(text, "not a valid header value")
	})
	dynamic.Middlewares["governed-env"] = gateway.Plugin(map[string]any{"token": "urn:env:PROVIDER_KEY", "unknown": true})
	if g.Load(t.Context(), dynamic) == nil {
		t.Error("an unknown configuration key was accepted")
	}
	await(t, "spans and metrics arrive", func() bool {
		text := collectorSaw.text()
		return strings.Contains(text, "resourceSpans") && strings.Contains(text, "resourceMetrics") && strings.Contains(text, "hold the line")
	})

	for path, canary := range canaries {
		if !strings.Contains(providerSaw.text(), "Bearer "+canary) {
			t.Errorf("the provider never got the key of %s", path)
		}
	}
	if !strings.Contains(collectorKeys.text(), collectorCanary) {
		t.Error("the collector never got its key")
	}
	if strings.Contains(providerSaw.text(), collectorCanary) || strings.Contains(collectorKeys.text(), "sk-canary-of-the-e") {
		t.Error("a key reached another server")
	}
	for what, text := range map[string]string{
		"a response to a client":    clientsSaw.text(),
		"spans or metrics":          collectorSaw.text(),
		"Traefik's log":             readText(t, g.LogPath),
		"the access log":            readText(t, g.AccessLogPath),
		"the exposition":            getText(t, g.URL+metricsPath),
		"Traefik's API":             getText(t, g.API+"/api/rawdata"),
		"Traefik's API of plugins":  getText(t, g.API+"/api/http/middlewares"),
		"the profile of goroutines": getText(t, g.API+"/debug/pprof/goroutine?debug=2"),
	} {
		if text == "" {
			t.Errorf("%s is empty", what)
		}
		if at := strings.Index(text, "sk-canary"); at >= 0 {
			t.Errorf("%s contains a key: ...%s", what, text[max(0, at-100):min(len(text), at+60)])
		}
	}
}

// redactedRoutes returns a route for each source of a key, one to a dead provider, and the metrics.
func redactedRoutes(keys, file, provider, collector string) gateway.Dynamic {
	d := gateway.Dynamic{
		Routers: map[string]gateway.Router{
			"metrics": {Rule: "Path(`" + metricsPath + "`)", Middlewares: []string{"exposed"}, Service: "noop@internal"},
		},
		Middlewares: map[string]any{"exposed": gateway.Plugin(map[string]any{"expose": "prometheus"})},
		Services:    map[string]string{"provider": provider, "dead": dead()},
	}
	for path, token := range map[string]string{
		"/env": "urn:env:PROVIDER_KEY", "/file": "urn:file:" + file, "/mounted": "urn:k8s:secret:ai-keys:openai-token", "/dead": "urn:env:PROVIDER_KEY",
	} {
		name, service := strings.TrimPrefix(path, "/"), "provider"
		if name == "dead" {
			service = "dead"
		}
		d.Middlewares["governed-"+name] = gateway.Plugin(map[string]any{
			"token":              token,
			"allowedModels":      []string{"gpt-4o"},
			"maxRequestBodySize": 2000,
			"secrets":            map[string]any{"dir": filepath.Join(keys, "mounted"), "refresh": "1s"},
			"telemetry": map[string]any{
				"log":    "stdout",
				"labels": map[string]string{"team": "$(headers.x-team)"},
				"traces": map[string]any{"captureContent": true},
				"otlp": map[string]any{
					"endpoint": collector, "interval": "1s", "compression": "none",
					"headers": map[string]string{"X-Collector-Key": "urn:env:COLLECTOR_KEY"},
				},
			},
		})
		d.Routers[name] = gateway.Router{Rule: "PathPrefix(`" + path + "/`)", Middlewares: []string{"governed-" + name}, Service: service}
	}
	return d
}

// callEveryWay makes calls with every ending.
func callEveryWay(t *testing.T, base string, saw *witness) {
	t.Helper()
	const held = `{"model":"gpt-4o","messages":[{"role":"user","content":"hold the line"}]}`
	for _, body := range []string{
		plainBody, plainStream, streamWithUsage, held, "{", `{"model":"other","messages":[{"role":"user","content":"Hi"}]}`, `{"model":"gpt-4o","messages":"Hi"}`,
		`{"model":"gpt-4o","messages":[{"role":"user","content":"` + strings.Repeat("x", 3000) + `"}]}`,
	} {
		callOnce(t, base+chatPath, http.MethodPost, body, "", saw)
	}
	for _, ending := range []string{"401", "403", "429", "500", "503"} {
		callOnce(t, base+chatPath, http.MethodPost, plainBody, ending, saw)
	}
	for _, ending := range []string{endingCut, endingCutUsage, endingErrorData, endingLeave} {
		callOnce(t, base+chatPath, http.MethodPost, plainStream, ending, saw)
	}
	for _, method := range []string{http.MethodGet, http.MethodOptions, http.MethodPut, http.MethodTrace} {
		callOnce(t, base+chatPath, method, "", "", saw)
	}
}

// callOnce makes a call and records the whole response. The client disconnects from a stream that
// would not end.
func callOnce(t *testing.T, address, method, body, ending string, saw *witness) {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer of-the-client")
	req.Header.Set("X-Team", "blue")
	req.Header.Set(endingHeader, ending)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	recordResponse(t, res, ending, saw)
}

// recordResponse adds what a client sees of a response, of which it reads only the beginning if it leaves.
func recordResponse(t *testing.T, response *http.Response, ending string, saw *witness) {
	t.Helper()
	head, err := httputil.DumpResponse(response, false)
	if err != nil {
		t.Fatal(err)
	}
	saw.add(string(head))
	if ending == endingLeave && response.StatusCode == http.StatusOK {
		first := make([]byte, 100)
		_, _ = io.ReadFull(response.Body, first)
		saw.add(string(first))
		return
	}
	content, _ := io.ReadAll(response.Body) // some responses break
	saw.add(string(content))
}

func writeKey(t *testing.T, path, key string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	next := path + ".next"
	if err := os.WriteFile(next, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func getText(t *testing.T, address string) string {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
