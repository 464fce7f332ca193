package chatcompletion

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// testAPI is an API server with one token, one Secret and an optional fault.
type testAPI struct {
	*httptest.Server
	tokenFile string
	caFile    string

	mu      sync.Mutex
	token   string
	data    map[string]string // of the Secret ai/ai-keys
	fault   func(rw http.ResponseWriter, req *http.Request)
	lookUps int
}

// tokenFor returns a service account token in the format of Kubernetes.
func tokenFor(subject string) string {
	claims, _ := json.Marshal(map[string]any{"iss": "https://kubernetes.default.svc", "sub": subject})
	return "eyJhbGciOiJSUzI1NiJ9." + base64.RawURLEncoding.EncodeToString(claims) + ".canary"
}

func newTestAPI(t *testing.T) *testAPI {
	t.Helper()
	folder := t.TempDir()
	a := &testAPI{tokenFile: filepath.Join(folder, "token"), caFile: filepath.Join(folder, "ca.crt"), data: map[string]string{"openai": "sk-one"}}
	a.Server = httptest.NewUnstartedServer(a)
	a.Config.ErrorLog = log.New(io.Discard, "", 0)
	a.StartTLS()
	t.Cleanup(a.Close)
	a.setToken(t, tokenFor("system:serviceaccount:traefik:gateway"))
	writeKey(t, a.caFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})))
	return a
}

// setToken changes the token of the API server and of Traefik's pod.
func (a *testAPI) setToken(t *testing.T, token string) {
	a.mu.Lock()
	a.token = token
	a.mu.Unlock()
	writeKey(t, a.tokenFile, token+"\n")
}

func (a *testAPI) set(key, value string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.data = map[string]string{key: value}
}

func (a *testAPI) setFault(fault func(rw http.ResponseWriter, req *http.Request)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = fault
}

func (a *testAPI) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lookUps
}

func (a *testAPI) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	a.mu.Lock()
	a.lookUps++
	fault, token, data := a.fault, a.token, a.data
	a.mu.Unlock()
	switch {
	case fault != nil:
		fault(rw, req)
	case req.Header.Get("Authorization") != "Bearer "+token:
		rw.WriteHeader(http.StatusUnauthorized)
	case req.URL.Path != "/api/v1/namespaces/ai/secrets/ai-keys":
		rw.WriteHeader(http.StatusNotFound)
	default:
		encoded := map[string]string{}
		for key, value := range data {
			encoded[key] = base64.StdEncoding.EncodeToString([]byte(value))
		}
		_ = json.NewEncoder(rw).Encode(map[string]any{"kind": "Secret", "apiVersion": "v1", "data": encoded})
	}
}

// settings returns the settings of a Traefik outside of the cluster.
func (a *testAPI) settings(t *testing.T) *secretSettings {
	t.Helper()
	return readSecrets(t, Secrets{Endpoint: a.URL, TokenFile: a.tokenFile, CAFile: a.caFile, Namespace: "ai"})
}

func respondStatus(status int) func(http.ResponseWriter, *http.Request) {
	return func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) }
}

func respondText(text string) func(http.ResponseWriter, *http.Request) {
	return func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, text) }
}

// dropConnection closes the connection without a response.
func dropConnection(http.ResponseWriter, *http.Request) {
	panic(http.ErrAbortHandler)
}

const testReference = "urn:k8s:secret:ai-keys:openai"

func TestSecretFromKubernetesAPI(t *testing.T) {
	api := newTestAPI(t)
	host, port, _ := strings.Cut(strings.TrimPrefix(api.URL, "https://"), ":")
	tests := []struct {
		name, token string
		settings    *secretSettings
	}{
		{"outside of the cluster", testReference, api.settings(t)},
		{"with a namespace", "urn:k8s:secret:ai/ai-keys:openai", readSecrets(t, Secrets{Endpoint: api.URL, TokenFile: api.tokenFile, CAFile: api.caFile})},
		{"in a cluster", testReference, readSecrets(t, Secrets{TokenFile: api.tokenFile, CAFile: api.caFile, Namespace: "ai"},
			"KUBERNETES_SERVICE_HOST", host, "KUBERNETES_SERVICE_PORT", port)},
	}
	for _, test := range tests {
		cred, _ := startTestCredential(t, test.token, test.settings)
		if got := sent(cred); got != "Bearer sk-one" {
			t.Errorf("%s: credential %q, want the key of the Secret", test.name, got)
		}
	}
}

// TestSecretLookUpErrors covers every error of a look-up, with a canary in every secret.
func TestSecretLookUpErrors(t *testing.T) {
	account := tokenFor("system:serviceaccount:traefik:gateway")
	other := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	tests := []struct {
		name   string
		change func(*testAPI, *secretSettings)
		want   string
	}{
		{"no permission", func(a *testAPI, _ *secretSettings) { a.setFault(respondStatus(http.StatusForbidden)) },
			"(403); allow it with: kubectl create role chat-completion-ai-keys --verb=get --resource=secrets --resource-name=ai-keys -n ai && " +
				"kubectl create rolebinding chat-completion-ai-keys --role=chat-completion-ai-keys --serviceaccount=traefik:gateway -n ai; requests get status 503"},
		{"no permission, token not of a service account", func(a *testAPI, _ *secretSettings) {
			a.setToken(t, "canary-token")
			a.setFault(respondStatus(http.StatusForbidden))
		}, "--serviceaccount=NAMESPACE:SERVICEACCOUNT -n ai"},
		{"no permission, service account with a line feed", func(a *testAPI, _ *secretSettings) {
			a.setToken(t, tokenFor("system:serviceaccount:traefik:a\nb"))
			a.setFault(respondStatus(http.StatusForbidden))
		}, "--serviceaccount=NAMESPACE:SERVICEACCOUNT -n ai"},
		{"no permission without a token", func(a *testAPI, s *secretSettings) {
			s.api.tokenFile = ""
			a.setFault(respondStatus(http.StatusForbidden))
		}, "without a token (403); set secrets.tokenFile"},
		{"no token", func(_ *testAPI, s *secretSettings) { s.api.tokenFile = "" }, "requires a token (401); set secrets.tokenFile"},
		{"another token", func(a *testAPI, _ *secretSettings) { a.token = "canary-of-another" }, "rejects the token in "},
		{"no token file", func(a *testAPI, _ *secretSettings) { _ = os.Remove(a.tokenFile) }, "the token for the Kubernetes API cannot be read: "},
		{"no token file in a pod", func(a *testAPI, s *secretSettings) {
			_ = os.Remove(a.tokenFile)
			s.api.isOwn = true
		}, "; set automountServiceAccountToken: true for Traefik's pod, or secrets.tokenFile"},
		{"a token of two lines", func(a *testAPI, _ *secretSettings) { a.setToken(t, "a\ncanary") }, "is empty or not a valid header value"},
		{"no CA file", func(a *testAPI, _ *secretSettings) { _ = os.Remove(a.caFile) }, "the CA certificates of the Kubernetes API cannot be read: "},
		{"a CA file without certificates", func(a *testAPI, _ *secretSettings) { writeKey(t, a.caFile, "canary") }, "contains no PEM certificate"},
		{"unknown authority", func(_ *testAPI, s *secretSettings) { s.api.caFile = "" }, "certificate"},
		{"another host", func(a *testAPI, s *secretSettings) { s.api.url = strings.Replace(a.URL, "127.0.0.1", "localhost", 1) }, "certificate"},
		{"no namespace", func(_ *testAPI, s *secretSettings) {
			s.api.namespace = ""
			s.api.isOwn = true
		}, "cannot determine Traefik's own namespace; write urn:k8s:secret:namespace/name:key, or set secrets.namespace"},
		{"no Secret", func(_ *testAPI, s *secretSettings) { s.api.namespace = "other" },
			"the Secret other/ai-keys does not exist (404); create it with: kubectl create secret generic ai-keys --from-file=openai=FILE -n other"},
		{"no key", func(a *testAPI, _ *secretSettings) { a.set("gemini", "canary") }, `the Secret ai/ai-keys has no key "openai"; it contains gemini`},
		{"no data", func(a *testAPI, _ *secretSettings) { a.data = nil }, "; it is empty"},
		{"an empty key", func(a *testAPI, _ *secretSettings) { a.set("openai", " \n") }, `the key "openai" of the Secret ai/ai-keys is empty, not a valid header value`},
		{"a key of two lines", func(a *testAPI, _ *secretSettings) { a.set("openai", "a\r\ncanary") }, "not a valid header value"},
		{"a large key", func(a *testAPI, _ *secretSettings) { a.set("openai", strings.Repeat("canary", secretMaxBytes)) }, "larger than 65536 bytes"},
		{"no base64", func(a *testAPI, _ *secretSettings) {
			a.setFault(respondText(`{"kind":"Secret","data":{"openai":"canary!"}}`))
		}, "is empty, not a valid header value"},
		{"no JSON", func(a *testAPI, _ *secretSettings) { a.setFault(respondText("<p>canary")) }, "did not return a Secret; check that it is a Kubernetes API server"},
		{"other JSON", func(a *testAPI, _ *secretSettings) { a.setFault(respondText(`{"kind":"Status","message":"canary"}`)) }, "did not return a Secret"},
		{"response too long", func(a *testAPI, _ *secretSettings) {
			a.setFault(respondText(`{"kind":"Secret","data":{"openai":"` + strings.Repeat("canary", apiResponseMaxBytes/6) + `"}}`))
		}, "sent a response of more than 4194304 bytes"},
		{"a redirect", func(a *testAPI, _ *secretSettings) {
			a.setFault(func(rw http.ResponseWriter, req *http.Request) {
				http.Redirect(rw, req, other.URL+"/canary", http.StatusFound)
			})
		}, "responded with a redirect (302), which is not followed"},
		{"server error", func(a *testAPI, _ *secretSettings) { a.setFault(respondStatus(http.StatusServiceUnavailable)) }, "responded with status 503"},
		{"no response", func(a *testAPI, _ *secretSettings) { a.setFault(dropConnection) }, "failed: EOF"},
		{"response that is not HTTP and repeats the token", func(a *testAPI, _ *secretSettings) {
			a.setFault(func(rw http.ResponseWriter, req *http.Request) {
				connection, _, _ := rw.(http.Hijacker).Hijack()
				_, _ = io.WriteString(connection, req.Header.Get("Authorization")+"\n\n")
				_ = connection.Close()
			})
		}, "[token]"},
		{"connection refused", func(a *testAPI, _ *secretSettings) { a.Close() }, "connection refused"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			api := newTestAPI(t)
			settings := api.settings(t)
			test.change(api, settings)
			logged := logOutput(t, func() {
				cred, end := startTestCredential(t, testReference, settings)
				if got := sent(cred); got != "credentials_unavailable" {
					t.Errorf("credential %q, want none", got)
				}
				end()
			})
			if !strings.Contains(logged, test.want) || !strings.Contains(logged, "token: ") || strings.Count(logged, "\n") != 1 {
				t.Errorf("log %q, want one line with %q", logged, test.want)
			}
			if strings.Contains(logged, "canary") || strings.Contains(logged, account) || strings.Contains(logged, "sk-one") {
				t.Errorf("log %q, want no secret", logged)
			}
		})
	}
}

func TestServiceAccountTokenIsReread(t *testing.T) {
	api := newTestAPI(t)
	cred, _ := startTestCredential(t, testReference, api.settings(t))
	if got := sent(cred); got != "Bearer sk-one" {
		t.Fatalf("credential %q, want the first key", got)
	}
	api.setToken(t, tokenFor("system:serviceaccount:traefik:gateway")+"-2")
	api.set("openai", "sk-two")
	eventually(t, "the second key is sent", func() bool { return sent(cred) == "Bearer sk-two" })
}
