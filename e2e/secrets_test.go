package e2e_test

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// secretAPI is an API server with a single Secret.
type secretAPI struct {
	*httptest.Server
	tokenFile string
	caFile    string

	mu    sync.Mutex
	key   string
	fails int // the status of its responses; 0: it returns the Secret
	times []time.Time
}

func newSecretAPI(t *testing.T) *secretAPI {
	t.Helper()
	folder := t.TempDir()
	a := &secretAPI{tokenFile: filepath.Join(folder, "token"), caFile: filepath.Join(folder, "ca.crt"), key: "sk-one"}
	a.Server = httptest.NewTLSServer(a)
	t.Cleanup(a.Close)
	write(t, a.tokenFile, "api-token\n")
	write(t, a.caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})))
	return a
}

func (a *secretAPI) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.times = append(a.times, time.Now())
	switch {
	case a.fails != 0:
		rw.WriteHeader(a.fails)
	case req.Header.Get("Authorization") != "Bearer api-token":
		rw.WriteHeader(http.StatusUnauthorized)
	case req.URL.Path != "/api/v1/namespaces/ai/secrets/ai-keys":
		rw.WriteHeader(http.StatusNotFound)
	default:
		_, _ = fmt.Fprintf(rw, `{"kind":"Secret","apiVersion":"v1","data":{"openai":%q}}`, base64.StdEncoding.EncodeToString([]byte(a.key)))
	}
}

// set changes the key and the status of failing responses; 0 means success.
func (a *secretAPI) set(key string, fails int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.key, a.fails = key, fails
}

// lookUps returns the number of look-ups and the time of the last one.
func (a *secretAPI) lookUps() (int, time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.times) == 0 {
		return 0, time.Time{}
	}
	return len(a.times), a.times[len(a.times)-1]
}

// lookUpsSince returns the number of look-ups since a secret came into use, and the allowed number.
func (a *secretAPI) lookUpsSince(began time.Time) (got, most int) {
	got, _ = a.lookUps()
	return got, 1 + int(time.Since(began)/time.Second)
}

// TestInterpretedSecretLookUp has interpreted code look up a key over TLS, once for two
// middlewares, pick up a change, and keep the key while the API is unavailable.
func TestInterpretedSecretLookUp(t *testing.T) {
	builder := loadThisPlugin(t)
	api := newSecretAPI(t)
	before := runtime.NumGoroutine()
	configuration := func() map[string]any {
		return map[string]any{
			"token": "urn:k8s:secret:ai-keys:openai",
			"secrets": map[string]any{
				"endpoint": api.URL, "tokenFile": api.tokenFile, "caFile": api.caFile, "namespace": "ai", "refresh": "1s",
			},
		}
	}
	provider := http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		_, _ = io.WriteString(rw, req.Header.Get("Authorization"))
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	began := time.Now()
	first := construct(t, ctx, builder, configuration(), provider)
	second := construct(t, ctx, builder, configuration(), provider)
	// both reports whether both middlewares send a key. No request may fail.
	both := func(want string) bool {
		var keys []string
		for _, handler := range []http.Handler{first, second} {
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, chatPath, strings.NewReader(`{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`)))
			keys = append(keys, recorder.Body.String())
			if recorder.Code != http.StatusOK {
				t.Fatalf("status %d: %s", recorder.Code, recorder.Body)
			}
		}
		return keys[0] == want && keys[1] == want
	}

	if !both("Bearer sk-one") {
		t.Error("the provider does not get the Secret's key")
	}
	if got, most := api.lookUpsSince(began); got > most {
		t.Errorf("%d look-ups for two middlewares, want at most %d", got, most)
	}
	api.set("sk-two", 0)
	await(t, "both send the second key", func() bool { return both("Bearer sk-two") })
	api.set("sk-three", http.StatusServiceUnavailable)
	looked, _ := api.lookUps()
	await(t, "two look-ups fail", func() bool { now, _ := api.lookUps(); return now >= looked+2 })
	if !both("Bearer sk-two") {
		t.Error("the key is lost while the API is unavailable")
	}
	api.set("sk-three", 0)
	await(t, "both send the third key", func() bool { return both("Bearer sk-three") })

	cancel()
	await(t, "no look-up for three intervals", func() bool {
		_, last := api.lookUps()
		return time.Since(last) > 3*time.Second
	})
	await(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
}

// TestInterpretedSecretLookUpIsRedirected has interpreted code refuse to follow an API server's redirect, which would take
// the token elsewhere: one line says what to do.
func TestInterpretedSecretLookUpIsRedirected(t *testing.T) {
	other := upstream(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the look-up follows the redirect") }))
	api := upstream(t, http.RedirectHandler(other.URL, http.StatusFound))
	config := map[string]any{
		"token":   "urn:k8s:secret:ai-keys:openai",
		"secrets": map[string]any{"endpoint": api.URL, "namespace": "ai"},
	}
	told := written(t, func() {
		governed, _ := interpreted(t, config, http.HandlerFunc(openAI))
		chat(governed, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`)
	})
	want := "responded with a redirect (302), which is not followed; configure the address of the API server itself; "
	if strings.Count(told, "\n") != 1 || !strings.Contains(told, want) {
		t.Errorf("the operator is told %q, want one line with %q", told, want)
	}
}
