package chatcompletion

import (
	"context"
	"log"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fastPace returns a pace at which everything but the expiry of a key happens during a test.
func fastPace() secretPace {
	return secretPace{
		refresh: 2 * time.Millisecond, maxStale: time.Hour, retry: time.Millisecond, maxRetry: 2 * time.Millisecond,
		pause: time.Millisecond, linger: 20 * time.Millisecond, timeout: 10 * time.Second,
	}
}

// readSecrets returns parsed settings with a fast pace.
func readSecrets(t *testing.T, config Secrets, pairs ...string) *secretSettings {
	t.Helper()
	bad := &problems{}
	s := parseSecrets(bad, config, environment(pairs...))
	if bad.found != nil {
		t.Fatalf("problems %q, want none", bad.found)
	}
	s.pace = fastPace()
	return s
}

// startTestCredential starts the look-ups for a token, and returns its credential and a function that ends them and waits.
func startTestCredential(t *testing.T, token string, settings *secretSettings) (*credential, func()) {
	t.Helper()
	cred, problem := newCredential("token", "requests get status 503", token, "Authorization", "Bearer ", settings)
	if problem != "" {
		t.Fatal(problem)
	}
	theSecretsMu.Lock()
	isShared := cred.source != nil && theSecrets[cred.source.id] != nil
	theSecretsMu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	startCredential(ctx, cred)
	end := func() {
		cancel()
		if !isShared {
			awaitRetired(t, cred.source)
		}
	}
	t.Cleanup(end)
	return cred, end
}

// awaitRetired waits until a source has no users.
func awaitRetired(t *testing.T, source *secretSource) {
	t.Helper()
	eventually(t, "the secret is retired", func() bool {
		theSecretsMu.Lock()
		defer theSecretsMu.Unlock()
		return source == nil || theSecrets[source.id] == nil
	})
}

// sent returns the Authorization header of a request with a credential, or the code of its refusal.
func sent(cred *credential) string {
	req := &http.Request{URL: &url.URL{}, Header: http.Header{"Authorization": {"Bearer client"}}}
	if apiErr := authorize(&providerAuth{credential: cred}, req); apiErr != nil {
		return apiErr.code
	}
	return req.Header.Get("Authorization")
}

// writeKey replaces a file at once: a look-up reads what was there before or all of this.
func writeKey(t *testing.T, path, key string) {
	t.Helper()
	next := path + ".next"
	if err := os.WriteFile(next, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

// logOutput runs do and returns everything that it logs, to stderr and to the standard logger.
func logOutput(t *testing.T, do func()) string {
	t.Helper()
	var debug strings.Builder
	flags, out := log.Flags(), log.Writer()
	log.SetFlags(0)
	log.SetOutput(&debug)
	warned := warnings(t, do)
	log.SetFlags(flags)
	log.SetOutput(out)
	return warned + debug.String()
}

func TestTokenReferences(t *testing.T) {
	folder := t.TempDir()
	writeKey(t, filepath.Join(folder, "key"), " sk-file\n")
	for _, name := range []string{"ai-keys", "team-a/ai-keys"} {
		if err := os.MkdirAll(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
		writeKey(t, filepath.Join(folder, name, "openai"), name+"\n")
	}
	t.Setenv("CHAT_COMPLETION_TEST_KEY", "sk-env")
	tests := []struct {
		name, token, header, prefix string
		want                        string
	}{
		{"literal", "sk-literal", "Authorization", "Bearer ", "Bearer sk-literal"},
		{"literal with surrounding white space", " sk-literal\n", "Authorization", "Bearer ", "Bearer sk-literal"},
		{"environment variable", "urn:env:CHAT_COMPLETION_TEST_KEY", "Authorization", "Bearer ", "Bearer sk-env"},
		{"file", "urn:file:" + filepath.Join(folder, "key"), "Authorization", "Bearer ", "Bearer sk-file"},
		{"mounted Secret", "urn:k8s:secret:ai-keys:openai", "Authorization", "Bearer ", "Bearer ai-keys"},
		{"mounted Secret of a namespace", "urn:k8s:secret:team-a/ai-keys:openai", "Authorization", "Bearer ", "Bearer team-a/ai-keys"},
		{"other header without a prefix", "sk-literal", "Api-Key", "", "sk-literal"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cred, problem := newCredential("token", "requests get status 503", test.token, test.header, test.prefix, readSecrets(t, Secrets{Dir: folder}))
			if problem != "" {
				t.Fatal(problem)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			startCredential(ctx, cred)
			client := http.Header{"Cookie": {"session"}, "Authorization": {"Bearer client"}}
			req := &http.Request{URL: &url.URL{}, Header: client}
			if apiErr := authorize(&providerAuth{credential: cred}, req); apiErr != nil {
				t.Fatal(apiErr.message)
			}
			if got := req.Header.Get(test.header); got != test.want {
				t.Errorf("Request header %q = %q, want %q", test.header, got, test.want)
			}
			if len(req.Header) != 1 {
				t.Errorf("request headers %v, want only the provider's key", req.Header)
			}
			if got := client.Get("Authorization"); got != "Bearer client" {
				t.Errorf("Authorization header for the access log %q, want the client's", got)
			}
		})
	}
}

func TestUnresolvedTokenIsNeverSent(t *testing.T) {
	folder := t.TempDir()
	writeKey(t, filepath.Join(folder, "empty"), "")
	writeKey(t, filepath.Join(folder, "lines"), "a\nb")
	writeKey(t, filepath.Join(folder, "large"), strings.Repeat("k", secretMaxBytes+1))
	tests := []struct{ token, logged string }{
		{"urn:env:CHAT_COMPLETION_NO_SUCH_VARIABLE", `"CHAT_COMPLETION_NO_SUCH_VARIABLE"`},
		{"urn:file:/no/such/file", "/no/such/file: no such file"},
		{"urn:file:" + folder + "/empty", "is empty or not a valid header value"},
		{"urn:file:" + folder + "/lines", "is empty or not a valid header value"},
		{"urn:file:" + folder + "/large", "is not a regular file of at most 65536 bytes"},
		{"urn:file:/", "is not a regular file"},
		{"urn:k8s:secret:ai-keys:openai", `mount the Secret "ai-keys" with the key "openai" at ` + folder + "/ai-keys"},
		{"urn:k8s:secret:team-a/ai-keys:openai", "at " + folder + "/team-a/ai-keys"},
	}
	for _, test := range tests {
		logged := logOutput(t, func() {
			cred, end := startTestCredential(t, test.token, readSecrets(t, Secrets{Dir: folder}))
			apiErr := authorize(&providerAuth{credential: cred}, &http.Request{URL: &url.URL{}, Header: http.Header{"Authorization": {"Bearer client"}}})
			if apiErr == nil || apiErr.status != http.StatusServiceUnavailable {
				t.Errorf("%s: error %v, want one with status 503", test.token, apiErr)
			}
			if cred.source != nil {
				eventually(t, "three look-ups", func() bool { return failuresOf(cred.secret) > 3 })
			}
			end()
		})
		if !strings.Contains(logged, "token: ") || !strings.Contains(logged, test.logged) || !strings.Contains(logged, "requests get status 503") {
			t.Errorf("%s: log %q, want %q in it", test.token, logged, test.logged)
		}
		if got := strings.Count(logged, "\n"); got != 1 {
			t.Errorf("%s: %d log lines, want 1: %s", test.token, got, logged)
		}
	}
}

// TestMountedSecretRotation updates a mounted Secret as Kubernetes does.
func TestMountedSecretRotation(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "ai-keys")
	swap := func(revision, key string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Join(folder, revision), 0o700); err != nil {
			t.Fatal(err)
		}
		writeKey(t, filepath.Join(folder, revision, "openai"), key)
		_ = os.Symlink(filepath.Join("..data", "openai"), filepath.Join(folder, "openai"))
		if err := os.Symlink(revision, filepath.Join(folder, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(folder, "..data_tmp"), filepath.Join(folder, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", "one")
	cred, _ := startTestCredential(t, "urn:k8s:secret:ai-keys:openai", readSecrets(t, Secrets{Dir: filepath.Dir(folder)}))
	if got := sent(cred); got != "Bearer one" {
		t.Errorf("credential %q, want the first key", got)
	}
	swap("..2", "two")
	if err := os.RemoveAll(filepath.Join(folder, "..1")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the second key is sent", func() bool { return sent(cred) == "Bearer two" })
}

func TestInvalidTokenErrorOmitsToken(t *testing.T) {
	for _, token := range []string{
		"sk-canary\r\nX-Evil: 1", "urn:canary:x", "urn:file:canary", "urn:env:", "urn:k8s:secret:canary:key", "urn:k8s:canary", "urn:k8s:secret:a/b/canary:key",
	} {
		config := CreateConfig()
		config.Token = token
		_, err := newPolicy(config, "test")
		if err == nil || !strings.Contains(err.Error(), "token: ") {
			t.Fatalf("%q: error %v, want one with the configuration key", token, err)
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("error repeats the token: %v", err)
		}
	}
}

func TestSecretReference(t *testing.T) {
	long := strings.Repeat("a", 253)
	tests := []struct {
		text string
		want secretReference
		ok   bool
	}{
		{"urn:k8s:secret:ai-keys:openai-token", secretReference{"", "ai-keys", "openai-token"}, true},
		{"urn:k8s:secret:team-a/ai.keys:Open_AI.key", secretReference{"team-a", "ai.keys", "Open_AI.key"}, true},
		{"urn:k8s:secret:" + long + ":" + long, secretReference{"", long, long}, true},
		{"urn:k8s:secret:" + long + "a:key", secretReference{}, false},
		{"urn:k8s:secret:name:" + long + "a", secretReference{}, false},
		{"urn:k8s:secret:name", secretReference{}, false},
		{"urn:k8s:secret:name:", secretReference{}, false},
		{"urn:k8s:secret::key", secretReference{}, false},
		{"urn:k8s:secret:name:key:more", secretReference{}, false},
		{"urn:k8s:configmap:name:key", secretReference{}, false},
		{"urn:k8s:secret:/name:key", secretReference{}, false},
		{"urn:k8s:secret:a/b/name:key", secretReference{}, false},
		{"urn:k8s:secret:a.b/name:key", secretReference{}, false},
		{"urn:k8s:secret:Name:key", secretReference{}, false},
		{"urn:k8s:secret:name..x:key", secretReference{}, false},
		{"urn:k8s:secret:..:key", secretReference{}, false},
		{"urn:k8s:secret:name:.", secretReference{}, false},
		{"urn:k8s:secret:name:..", secretReference{}, false},
		{"urn:k8s:secret:name:..data", secretReference{}, false},
		{"urn:k8s:secret:name:a/b", secretReference{}, false},
		{"urn:k8s:secret:name:a b", secretReference{}, false},
		{"urn:k8s:secret:name:a%2fb", secretReference{}, false},
	}
	for _, test := range tests {
		got, problem := parseReference(test.text)
		if (problem == "") != test.ok || (test.ok && got != test.want) {
			t.Errorf("parseReference(%q) = %v, %q, want %v", test.text, got, problem, test.want)
		}
	}
}

// FuzzSecretReferenceIsConfined checks that a valid reference leads only to a file below the directory, and to one Secret.
func FuzzSecretReferenceIsConfined(f *testing.F) {
	for _, seed := range []string{"urn:k8s:secret:name:key", "urn:k8s:secret:ns/name:key", "urn:k8s:secret:../../etc:passwd", "urn:k8s:secret:a:..", "urn:k8s:secret:a/b:c?d#e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, problem := parseReference(text)
		if problem != "" {
			if len(text) > 20 && strings.Contains(strings.TrimSuffix(problem, referenceForms), text) {
				t.Errorf("problem repeats %q", text)
			}
			return
		}
		name := r.name
		if r.namespace != "" {
			name = r.namespace + "/" + r.name
		}
		if got := "urn:k8s:secret:" + name + ":" + r.key; got != text {
			t.Errorf("%q is parsed as %q", text, got)
		}
		if got, want := filepath.Join("/dir", r.namespace, r.name, r.key), "/dir/"+name+"/"+r.key; got != want {
			t.Errorf("%q: file %q, want %q", text, got, want)
		}
		req, err := http.NewRequest(http.MethodGet, "https://api/"+name, nil)
		if err != nil || req.URL.Path != "/"+name || req.URL.RawQuery != "" {
			t.Errorf("%q: API request %v, %v", text, req, err)
		}
	})
}

func TestSecretsConfiguration(t *testing.T) {
	cluster := []string{"KUBERNETES_SERVICE_HOST", "fd00::1", "KUBERNETES_SERVICE_PORT", "443"}
	tests := []struct {
		name   string
		config Secrets
		env    []string
		want   kubernetesAPI
	}{
		{"a pod", Secrets{}, cluster, kubernetesAPI{
			url: "https://[fd00::1]:443", isOwn: true, tokenFile: serviceAccountFolder + "/token", caFile: serviceAccountFolder + "/ca.crt",
		}},
		{"a pod with other files", Secrets{TokenFile: "/t", CAFile: "/c", Namespace: "ai"}, cluster, kubernetesAPI{
			url: "https://[fd00::1]:443", isOwn: true, tokenFile: "/t", caFile: "/c", namespace: "ai",
		}},
		{"elsewhere", Secrets{Endpoint: "https://k:6443/base/", TokenFile: "/t"}, cluster, kubernetesAPI{url: "https://k:6443/base", tokenFile: "/t"}},
		{"kubectl proxy", Secrets{Endpoint: "http://localhost:8001"}, nil, kubernetesAPI{url: "http://localhost:8001"}},
	}
	for _, test := range tests {
		if got := readSecrets(t, test.config, test.env...).api; got == nil || *got != test.want {
			t.Errorf("%s: API %+v, want %+v", test.name, got, test.want)
		}
	}
	if got := readSecrets(t, Secrets{Dir: "/mounted"}, cluster...); got.api != nil || got.dir != "/mounted" {
		t.Errorf("with a directory: settings %+v, want no API", got)
	}
	bad := &problems{}
	got := parseSecrets(bad, Secrets{Refresh: "30s", MaxStale: "24h"}, environment()).pace
	if got.refresh != 30*time.Second || got.maxStale != 24*time.Hour {
		t.Errorf("pace %+v, want 30s and 24h", got)
	}
	got = parseSecrets(bad, Secrets{}, environment()).pace
	if got.refresh != time.Minute || got.maxStale != time.Hour {
		t.Errorf("pace %+v, want 1m and 1h", got)
	}
}
