package e2e_test

import (
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// keyCanary is part of every key of a consumer.
const keyCanary = "sk-canary-consumer-"

// keyPlaces are the places where clients send keys.
var keyPlaces = []string{"Authorization", "X-Api-Key", "Api-Key", "X-Goog-Api-Key", "key"}

// keyHolders are consumers, some of whom are refused, and nobody, whose key is unknown.
var keyHolders = []string{"env", "file", "hash", "listed", "previous", "expired", "disabled", "nobody"}

func hashOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// keyedConsumers returns the configuration of the consumers, with keys from every source.
func keyedConsumers(folder string) map[string]any {
	return map[string]any{
		"list": []any{
			map[string]any{"name": "env", "key": "urn:env:CONSUMER_KEY"},
			map[string]any{"name": "file", "key": "urn:file:" + filepath.Join(folder, "key"), "allowedModels": []string{"gpt-4o"}},
			map[string]any{"name": "hash", "key": hashOf(keyCanary + "hash")},
			map[string]any{"name": "rotating", "key": hashOf(keyCanary + "rotating"), "previousKey": map[string]any{"key": hashOf(keyCanary + "previous"), "until": "2999-01-01T00:00:00Z"}},
			map[string]any{"name": "expired", "key": hashOf(keyCanary + "expired"), "expires": "2020-01-01T00:00:00Z"},
			map[string]any{"name": "disabled", "key": hashOf(keyCanary + "disabled"), "disabled": true},
		},
		"from": "urn:file:" + filepath.Join(folder, "consumers.json"),
	}
}

// callWithKey makes a call with a key at a place, and records the whole response.
func callWithKey(t *testing.T, address, body, ending, place, key string, saw *witness) int {
	t.Helper()
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	header := map[string]string{endingHeader: ending}
	switch place {
	case "key":
		address += "?beta=true&key=" + url.QueryEscape(key)
	case "Authorization":
		header[place] = "Bearer " + key
	default:
		header[place] = key
	}
	response, err := do(ctx, http.DefaultClient, address, body, header)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	recordResponse(t, response, ending, saw)
	return response.StatusCode
}

// TestKeysOfConsumersAreNowhere sends keys at every place through calls with every ending, with all logs
// and all telemetry enabled, and looks for the keys in what the providers get and in everything that
// Traefik and the plugin write.
func TestKeysOfConsumersAreNowhere(t *testing.T) {
	folder := t.TempDir()
	listed := filepath.Join(folder, "consumers.json")
	writeKey(t, filepath.Join(folder, "key"), keyCanary+"file")
	writeKey(t, listed, fmt.Sprintf(`[{"name": "listed", "key": %q}]`, hashOf(keyCanary+"listed")))
	var collectorSaw, clientsSaw witness
	provider := newFake(t, "provider", counting(0))
	failing := newFake(t, "failing", responding(http.StatusServiceUnavailable, "{}"))
	collector := upstream(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		sent := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" { // from Traefik
			var err error
			if sent, err = gzip.NewReader(sent); err != nil {
				t.Error(err)
				return
			}
		}
		body, _ := io.ReadAll(sent)
		collectorSaw.add(fmt.Sprint(r.Header) + string(body))
	}))
	g := start(t, gateway.Options{
		LogLevel:         "DEBUG",
		AccessLog:        true,
		AccessLogHeaders: []string{"X-Ai-Consumer", "X-Ai-Policy", "X-Ai-Quota", "X-Ai-Error-Type"},
		Env:              []string{"OTEL_BSP_SCHEDULE_DELAY=50", "CONSUMER_KEY=" + keyCanary + "env", "REDIS_PASSWORD=" + keyCanary + "redis"},
		Static: map[string]any{
			"accessLog": map[string]any{
				"addInternals": true,
				"fields":       map[string]any{"names": map[string]string{"RequestPath": "drop"}}, // has the query, and so keys; see docs/security.md
			},
			"tracing": map[string]any{"otlp": map[string]any{"http": map[string]any{"endpoint": collector.URL + "/v1/traces"}}},
		},
	})
	dynamic := keyedRoutes(t, folder, provider.URL, failing.URL, collector.URL)
	configure(t, g, dynamic)

	statuses := map[int]int{}
	call := func(path, body, ending, place, key string) {
		t.Helper()
		statuses[callWithKey(t, g.URL+path, body, ending, place, key, &clientsSaw)]++
	}
	for _, holder := range keyHolders {
		for _, place := range keyPlaces {
			key := keyCanary + holder
			for _, route := range []string{"/service", "/host"} {
				call(route+chatPath, plainBody, "", place, key)
				call(route+"/v1/messages", `{"model":"gpt-4o","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}`, "", place, key)
				call(route+"/v1/other", plainBody, "", place, key)
			}
		}
	}
	for i, ending := range []string{"401", "429", "500", endingCut, endingCutUsage, endingErrorData, endingLeave} {
		call("/service"+chatPath, plainStream, ending, keyPlaces[i%len(keyPlaces)], keyCanary+"hash")
	}
	for i, body := range []string{"{", strings.Replace(plainBody, "gpt-4o", "other", 1), `{"model":"gpt-4o","messages":"Hi"}`} {
		call("/service"+chatPath, body, "", keyPlaces[i], keyCanary+"file")
	}
	for _, place := range keyPlaces {
		call("/limited"+chatPath, plainBody, "", place, keyCanary+"hash")
		call("/redis"+chatPath, plainBody, "", place, keyCanary+"hash")
		call("/dead"+chatPath, plainBody, "", place, keyCanary+"hash")
	}
	for _, status := range []int{200, 400, 401, 404, 429, 500, 502} {
		if statuses[status] == 0 {
			t.Errorf("no call had status %d: %v", status, statuses)
		}
	}
	t.Logf("calls by status: %v", statuses)

	// A list that is broken, and has keys.
	writeKey(t, listed, `[{"name": "listed", "key": "`+keyCanary+`in-a-list"}, {"name": "`+strings.Repeat("x", 200)+`", "key": 7}]`)
	await(t, "the log says that the list is broken", func() bool { return strings.Contains(readText(t, g.LogPath), "consumers.from") })
	await(t, "spans of Traefik and of the plugin, and metrics, arrive", func() bool {
		saw := collectorSaw.text()
		return strings.Contains(saw, "resourceSpans") && strings.Contains(saw, "resourceMetrics") && strings.Contains(saw, "key=REDACTED")
	})
	awaitAccessLog(t, g, 80)

	for _, f := range []*fake{provider, failing} {
		for _, request := range f.saw() {
			if sent := fmt.Sprint(request); strings.Contains(sent, keyCanary) {
				t.Errorf("%s got a key: %s", f.name, sent)
			}
		}
	}
	if len(provider.saw()) == 0 || len(failing.saw()) == 0 {
		t.Error("a provider got no request")
	}
	for what, text := range map[string]string{
		"a response to a client":    clientsSaw.text(),
		"spans or metrics":          collectorSaw.text(),
		"Traefik's log":             readText(t, g.LogPath),
		"the exposition":            getText(t, g.URL+metricsPath),
		"Traefik's API":             getText(t, g.API+"/api/rawdata"),
		"Traefik's API of plugins":  getText(t, g.API+"/api/http/middlewares"),
		"the profile of goroutines": getText(t, g.API+"/debug/pprof/goroutine?debug=2"),
		"the access log":            readText(t, g.AccessLogPath),
	} {
		checkNoKey(t, what, text)
	}

	// A key in the configuration is refused, and not repeated.
	keys := dynamic.Middlewares["service"].(map[string]any)["plugin"].(map[string]any)[gateway.PluginKey].(map[string]any)
	keys["consumers"] = map[string]any{"list": []any{map[string]any{"name": "literal", "key": keyCanary + "literal"}}}
	err := g.Load(t.Context(), dynamic)
	if err == nil {
		t.Fatal("a key in the configuration was accepted")
	}
	checkNoKey(t, "the error", err.Error())
	logged, err := g.Errors() // at level DEBUG, Traefik itself logs the configuration
	if err != nil {
		t.Fatal(err)
	}
	checkNoKey(t, "an error in Traefik's log", strings.Join(logged, "\n"))
}

func checkNoKey(t *testing.T, what, text string) {
	t.Helper()
	if text == "" {
		t.Errorf("%s is empty", what)
	}
	if at := strings.Index(text, keyCanary); at >= 0 {
		t.Errorf("%s contains a key: ...%s", what, text[max(0, at-200):min(len(text), at+60)])
	}
}

// keyedRoutes returns routes with consumers to a service, a host with a fallback and a dead host; one with
// a quota that is spent, and one whose Redis is dead.
func keyedRoutes(t *testing.T, folder, provider, failing, collector string) gateway.Dynamic {
	t.Helper()
	dynamic := exposing()
	dynamic.Services["provider"] = provider
	keys := func(more map[string]any) map[string]any {
		all := map[string]any{
			"token": "sk-provider", "allowedModels": []string{"gpt-4o"}, "consumers": keyedConsumers(folder),
			"routes": map[string]string{chatPath: "completions", "/v1/messages": "passthrough: governed", "*": "passthrough"},
			"telemetry": map[string]any{
				"log": "stdout", "labels": map[string]string{"who": "$(headers.x-api-key-of)"}, "traces": map[string]any{"captureContent": true},
				"otlp": map[string]any{"endpoint": collector, "interval": "1s", "compression": "none"},
			},
		}
		for key, value := range more {
			all[key] = value
		}
		return all
	}
	quota := []any{map[string]any{"name": "one", "unit": "requests", "limit": 1, "window": accountWindow}}
	fallback := at(t, provider, map[string]any{"token": "sk-other", "provider": "openai-compatible"})
	for name, configuration := range map[string]map[string]any{
		"service": keys(nil),
		"host":    at(t, failing, keys(map[string]any{"fallbacks": []any{fallback}})),
		"dead":    at(t, dead(), keys(nil)),
		"limited": keys(map[string]any{"quotas": quota}),
		"redis": keys(map[string]any{"quotas": quota, "redis": map[string]any{
			"endpoints": []string{strings.TrimPrefix(dead(), "http://")}, "password": "urn:env:REDIS_PASSWORD", "dialTimeout": "100ms",
		}}),
	} {
		dynamic.Middlewares[name] = gateway.Plugin(configuration)
		dynamic.Middlewares[name+"-path"] = map[string]any{"stripPrefix": map[string]any{"prefixes": []string{"/" + name}}}
		dynamic.Routers[name] = gateway.Router{Rule: "PathPrefix(`/" + name + "/`)", Middlewares: []string{name + "-path", name}, Service: "provider"}
	}
	return dynamic
}
