//go:build kubernetes

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// The tests in these files need a Kubernetes API server, which takes long to build. `make
// e2e-kubernetes` runs them.

func init() { programs = backends.KubernetesPrograms }

// startKubernetes runs an API server until the end of the test.
func startKubernetes(t *testing.T) *backends.Kubernetes {
	t.Helper()
	k, err := backends.StartKubernetes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, k)
	return k
}

// kubectl runs kubectl with the input and returns its output.
func kubectl(t *testing.T, k *backends.Kubernetes, input string, arguments ...string) string {
	t.Helper()
	output, err := k.Kubectl(t.Context(), input, arguments...)
	if err != nil {
		t.Fatal(err)
	}
	return output
}

// apply applies manifests in a namespace, and creates the namespace if necessary. Unknown fields
// are errors.
func apply(t *testing.T, k *backends.Kubernetes, namespace, manifests string) {
	t.Helper()
	haveNamespace(t, k, namespace)
	kubectl(t, k, manifests, "apply", "--namespace="+namespace, "--filename=-")
}

func haveNamespace(t *testing.T, k *backends.Kubernetes, namespace string) {
	t.Helper()
	if kubectl(t, k, "", "get", "namespace", namespace, "--ignore-not-found", "--output=name") == "" {
		kubectl(t, k, "", "create", "namespace", namespace)
	}
}

// setSecret sets the provider's key in the Secret ai-keys of the namespace.
func setSecret(t *testing.T, k *backends.Kubernetes, namespace, key string) {
	t.Helper()
	apply(t, k, namespace, fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"ai-keys"},"stringData":{"openai-token":%q}}`, key))
}

// mayTraefik returns whether RBAC allows the example's service account an action, such as "get
// secrets/name".
func mayTraefik(t *testing.T, k *backends.Kubernetes, namespace, what string) string {
	t.Helper()
	// If the action is denied, kubectl fails, but prints no to its standard output.
	output, err := k.Kubectl(t.Context(), "", append([]string{"auth", "can-i", "--namespace=" + namespace, "--as=system:serviceaccount:traefik:traefik"}, strings.Fields(what)...)...)
	if err != nil {
		return "no"
	}
	return output
}

// applyDefinitions installs the resource definitions in the files.
func applyDefinitions(t *testing.T, k *backends.Kubernetes, paths ...string) {
	t.Helper()
	for _, path := range paths {
		// Server-side: a client-side apply would store the text in an annotation, for which it is
		// too large.
		kubectl(t, k, "", "apply", "--server-side", "--filename="+path)
		kubectl(t, k, "", "wait", "--for=condition=Established", "--timeout="+conditionTimeout.String(), "--filename="+path)
	}
}

// traefikReference returns the path of a file in Traefik's configuration reference.
func traefikReference(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(moduleFolder(t, "github.com/traefik/traefik/v3"), "docs", "content", "reference", "dynamic-configuration", name)
}

// downloaded returns the folder of a module that no code here imports.
func downloaded(t *testing.T, module string) string {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", module).Output()
	if err != nil {
		t.Fatalf("%s: %v: %s", module, err, output)
	}
	var listed struct{ Dir string }
	if err := json.Unmarshal(output, &listed); err != nil {
		t.Fatal(err)
	}
	return listed.Dir
}

// seen is a request that the provider received.
type seen struct {
	tls   bool
	host  string
	path  string
	key   string // in Authorization
	model string
	body  map[string]any
}

// recorder is the counting provider with a record of its requests, by number.
type recorder struct {
	next http.Handler

	mutex    sync.Mutex
	requests map[int]seen
}

func newRecorder() *recorder { return &recorder{next: counting(0), requests: map[int]seen{}} }

func (r *recorder) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	content, err := io.ReadAll(req.Body)
	body := map[string]any{}
	if err == nil {
		err = json.Unmarshal(content, &body)
	}
	if err != nil {
		http.Error(rw, err.Error(), http.StatusTeapot)
		return
	}
	number, _ := strconv.Atoi(req.Header.Get(numberHeader))
	model, _ := body["model"].(string)
	r.mutex.Lock()
	r.requests[number] = seen{req.TLS != nil, req.Host, req.URL.Path, strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), model, body}
	r.mutex.Unlock()
	req.Body = io.NopCloser(bytes.NewReader(content))
	r.next.ServeHTTP(rw, req)
}

// request returns the request with the number.
func (r *recorder) request(number int) seen {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.requests[number]
}

// keysFrom counts the requests from the number on, by key.
func (r *recorder) keysFrom(number int) map[string]int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	keys := map[string]int{}
	for n, request := range r.requests {
		if n >= number {
			keys[request.key]++
		}
	}
	return keys
}

// numbers is the number of requests that the tests below have sent.
var numbers atomic.Int64

// sendChat sends a chat completion to a host of the gateway and returns its number, the status and the
// response.
func sendChat(t *testing.T, client *http.Client, base, host, path, body string) (number, status int, text string, err error) {
	number = int(numbers.Add(1))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, base+path, strings.NewReader(body))
	if err != nil {
		return number, 0, "", err
	}
	request.Host = host
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set(numberHeader, strconv.Itoa(number))
	response, err := client.Do(request)
	if err != nil {
		return number, 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	return number, response.StatusCode, string(content), err
}

// awaitStatus sends requests until a response has the status, and returns the last number and
// response.
func awaitStatus(t *testing.T, base, host, path, body string, want int) (number int, content string) {
	t.Helper()
	status := 0
	defer func() {
		if t.Failed() {
			t.Logf("last response from %s%s: %d %s", host, path, status, content)
		}
	}()
	await(t, fmt.Sprintf("status %d from %s%s", want, host, path), func() bool {
		var err error
		if number, status, content, err = sendChat(t, http.DefaultClient, base, host, path, body); err != nil {
			t.Fatal(err)
		}
		return status == want
	})
	return number, content
}

// steadyLoad is a steady load of chat completions, each of which must get a 200.
type steadyLoad struct {
	completed atomic.Int64
	stop      context.CancelFunc
	clients   sync.WaitGroup
}

const (
	steadyClients  = 4
	steadyInterval = 10 * time.Millisecond
)

// startLoad sends chat completions to a host of the gateway until finish is called or the test
// ends.
func startLoad(t *testing.T, base, host string) *steadyLoad {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	l := &steadyLoad{stop: stop}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: steadyClients}}
	for range steadyClients {
		l.clients.Add(1)
		go func() {
			defer l.clients.Done()
			ticker := time.NewTicker(steadyInterval)
			defer ticker.Stop()
			for ctx.Err() == nil {
				number, status, body, err := sendChat(t, client, base, host, chatPath, plainBody)
				if err != nil || status != http.StatusOK {
					t.Errorf("call %d: status %d, want 200: %s %v", number, status, body, err)
				}
				l.completed.Add(1)
				<-ticker.C
			}
		}()
	}
	t.Cleanup(func() {
		l.finish()
		client.CloseIdleConnections()
	})
	return l
}

// finish ends the load and returns the number of calls.
func (l *steadyLoad) finish() int64 {
	l.stop()
	l.clients.Wait()
	return l.completed.Load()
}

// awaitMore waits for the number of further calls.
func (l *steadyLoad) awaitMore(t *testing.T, calls int64) {
	t.Helper()
	until := l.completed.Load() + calls
	await(t, fmt.Sprintf("%d more calls", calls), func() bool { return l.completed.Load() >= until })
}

// awaitKey waits under load until the provider gets the key, checks that no later request has
// another one, and returns the duration of the wait.
func (l *steadyLoad) awaitKey(t *testing.T, provider *recorder, key string) time.Duration {
	t.Helper()
	began := time.Now()
	await(t, "the provider gets the key "+key, func() bool { return provider.keysFrom(0)[key] > 0 })
	took, from := time.Since(began), int(numbers.Load())+1
	l.awaitMore(t, 50*steadyClients)
	if got := provider.keysFrom(from); len(got) != 1 || got[key] == 0 {
		t.Errorf("keys after the first request with %s: %v, want this one only", key, got)
	}
	return took
}

// logText returns everything that Traefik has written to its log.
func logText(t *testing.T, g *gateway.Gateway) string {
	t.Helper()
	return readText(t, g.LogPath)
}
