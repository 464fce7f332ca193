package chatcompletion

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// failuresOf returns the number of consecutive failed look-ups.
func failuresOf(s *secret) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failures
}

// dueOf returns the time from the last look-up to the next one.
func dueOf(s *secret) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.due.Sub(s.lastStarted)
}

func TestRotatedKeyIsUsed(t *testing.T) {
	api := newTestAPI(t)
	logged := logOutput(t, func() {
		cred, end := startTestCredential(t, testReference, api.settings(t))
		if got := sent(cred); got != "Bearer sk-one" {
			t.Errorf("credential %q, want the first key", got)
		}
		api.set("openai", "sk-two")
		eventually(t, "the second key is sent", func() bool { return sent(cred) == "Bearer sk-two" })
		end()
	})
	if want := "chat-completion: token: the key has changed; new requests use the new key\n"; logged != want {
		t.Errorf("log %q, want %q", logged, want)
	}
}

// TestKeyIsKeptWhileSourceFails changes the content of a key file step by step.
func TestKeyIsKeptWhileSourceFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	cred, _ := startTestCredential(t, "urn:file:"+file, readSecrets(t, Secrets{}))
	steps := []struct {
		name    string
		content string
		want    string
		fails   bool
	}{
		{"file is created", "one", "Bearer one", false},
		{"key changes", "two", "Bearer two", false},
		{"an empty file keeps the key", " \n", "Bearer two", true},
		{"invalid header value keeps the key", "a\nb", "Bearer two", true},
		{"key changes again", "three", "Bearer three", false},
	}
	if got := sent(cred); got != "credentials_unavailable" {
		t.Errorf("no file yet: credential %q, want none", got)
	}
	for _, step := range steps {
		writeKey(t, file, step.content)
		eventually(t, step.name, func() bool { return sent(cred) == step.want && (failuresOf(cred.secret) > 0) == step.fails })
	}
}

func TestStaleKeyExpires(t *testing.T) {
	api := newTestAPI(t)
	settings := api.settings(t)
	logged := logOutput(t, func() {
		cred, end := startTestCredential(t, testReference, settings)
		if got := sent(cred); got != "Bearer sk-one" {
			t.Errorf("credential %q, want the key", got)
		}
		api.setFault(respondStatus(http.StatusForbidden))
		eventually(t, "the look-up fails", func() bool { return failuresOf(cred.secret) > 0 })
		cred.secret.mu.Lock()
		cred.secret.source.pace.maxStale = time.Nanosecond // not earlier: a slow look-up must not be the first to fail and too late
		cred.secret.mu.Unlock()
		eventually(t, "the key has expired", func() bool { return sent(cred) == "credentials_unavailable" })
		api.setFault(nil)
		eventually(t, "the key is back", func() bool { return sent(cred) == "Bearer sk-one" })
		end()
	})
	for _, want := range []string{
		"--serviceaccount=traefik:gateway -n ai; the last known key is used until 20", "Z (secrets.maxStale)\n",
		"-n ai; the last known key has expired (secrets.maxStale), and requests get status 503\n",
		"token: the key is available\n",
	} {
		if strings.Count(logged, want) != 1 {
			t.Errorf("log %q, want %q in it once", logged, want)
		}
	}
	if strings.Contains(logged, "sk-") {
		t.Errorf("log %q, want no key", logged)
	}
	if got := strings.Count(logged, "\n"); got != 3 {
		t.Errorf("%d log lines, want 3: %s", got, logged)
	}
}

func TestKeyLookUpBackoff(t *testing.T) {
	source := &secretSource{pace: secretPace{refresh: time.Minute, maxStale: time.Hour, retry: time.Second, maxRetry: 10 * time.Second}}
	s := newSharedSecret(source)
	now := time.Now()
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		keepStaleKey(s, false, now)
		if got := s.due.Sub(now); got != want*time.Second {
			t.Errorf("after failure %d: delay %v, want %vs", i+1, got, int(want))
		}
	}
	s.failures = 100
	keepStaleKey(s, false, now)
	if got := s.due.Sub(now); got != 10*time.Second {
		t.Errorf("after many failures: delay %v, want 10s", got)
	}
	storeKey(s, "", "key", now)
	if got := s.due.Sub(now); got != time.Minute {
		t.Errorf("after success: delay %v, want 1m", got)
	}
	source.pace.maxStale = 500 * time.Millisecond
	keepStaleKey(s, true, now)
	if got := s.due.Sub(now); got != 500*time.Millisecond {
		t.Errorf("before the key expires: delay %v, want 500ms", got)
	}
}

func TestConcurrentRequestsShareKeyLookUp(t *testing.T) {
	api := newTestAPI(t)
	arrived, goOn := make(chan bool), make(chan bool)
	api.setFault(func(rw http.ResponseWriter, _ *http.Request) {
		arrived <- true
		<-goOn
		_, _ = rw.Write([]byte(`{"kind":"Secret","data":{"openai":"c2stb25l"}}`))
	})
	settings := api.settings(t)
	settings.pace.refresh = time.Hour
	first, _ := startTestCredential(t, testReference, settings)
	second, _ := startTestCredential(t, testReference, settings)
	if first.secret != second.secret {
		t.Fatal("equal sources have different secrets, want a shared one")
	}
	<-arrived
	results := make(chan string)
	for range make([]bool, 50) {
		go func() { results <- sent(first) }()
		go func() { results <- sent(second) }()
	}
	close(goOn)
	for range make([]bool, 100) {
		if got := <-results; got != "Bearer sk-one" {
			t.Errorf("credential %q, want the key", got)
		}
	}
	if got := api.count(); got != 1 {
		t.Errorf("%d look-ups, want 1", got)
	}
}

func TestOnlyEqualSecretSourcesAreShared(t *testing.T) {
	base := Secrets{Endpoint: "https://k", TokenFile: "/t", CAFile: "/c", Namespace: "ai"}
	id := func(config Secrets, token string) string {
		t.Helper()
		bad := &problems{}
		cred, problem := newCredential("token", "requests get status 503", token, "Authorization", "", parseSecrets(bad, config, environment()))
		if problem != "" || bad.found != nil {
			t.Fatal(problem, bad.found)
		}
		return cred.source.id
	}
	same := id(base, testReference)
	if got := id(base, testReference); got != same {
		t.Errorf("IDs of equal sources %q and %q, want the same", got, same)
	}
	changes := map[string]func(*Secrets){
		"endpoint":  func(s *Secrets) { s.Endpoint = "https://l" },
		"token":     func(s *Secrets) { s.TokenFile = "/u" },
		"CA":        func(s *Secrets) { s.CAFile = "/d" },
		"namespace": func(s *Secrets) { s.Namespace = "b" },
		"refresh":   func(s *Secrets) { s.Refresh = "2s" },
		"maxStale":  func(s *Secrets) { s.MaxStale = "2s" },
		"directory": func(s *Secrets) { *s = Secrets{Dir: "/d"} },
	}
	for name, change := range changes {
		changed := base
		change(&changed)
		if id(changed, testReference) == same {
			t.Errorf("different %s: same ID, want another", name)
		}
	}
	if id(base, testReference+"2") == same {
		t.Error("different reference: same ID, want another")
	}
}

// TestReloadKeepsKeyWhileSourceFails ends the old middleware before it creates the new one, as Traefik does.
func TestReloadKeepsKeyWhileSourceFails(t *testing.T) {
	api := newTestAPI(t)
	settings := api.settings(t)
	settings.pace.linger = time.Hour
	use := func() (*credential, func()) {
		cred, problem := newCredential("token", "requests get status 503", testReference, "Authorization", "Bearer ", settings)
		if problem != "" {
			t.Fatal(problem)
		}
		ctx, cancel := context.WithCancel(context.Background())
		startCredential(ctx, cred)
		return cred, cancel
	}
	before, cancel := use()
	if got := sent(before); got != "Bearer sk-one" {
		t.Fatalf("credential %q, want the key", got)
	}
	cancel()
	eventually(t, "the key has no users", func() bool {
		before.secret.mu.Lock()
		defer before.secret.mu.Unlock()
		return !before.secret.unusedSince.IsZero()
	})
	api.setFault(dropConnection)
	lookUps := api.count()
	after, cancel := use()
	if got := sent(after); got != "Bearer sk-one" {
		t.Errorf("credential %q after the reload, want the key", got)
	}
	eventually(t, "the key is looked up again", func() bool { return api.count() > lookUps })
	cancel()
	after.secret.mu.Lock()
	after.secret.source.pace.linger = 0
	after.secret.timer.Reset(0)
	after.secret.mu.Unlock()
	awaitRetired(t, after.source)
	if got := sent(before); got != "Bearer sk-one" {
		t.Errorf("credential %q for a request of the old configuration, want the last key", got)
	}
	credentialRejected(before, time.Now()) // as its response may require
}

func TestSecretRefreshLeaksNoGoroutines(t *testing.T) {
	api := newTestAPI(t)
	before := runtime.NumGoroutine()
	cred, end := startTestCredential(t, testReference, api.settings(t))
	if got := sent(cred); got != "Bearer sk-one" {
		t.Fatalf("credential %q, want the key", got)
	}
	eventually(t, "the key is looked up again", func() bool { return api.count() > 2 })
	end()
	lookUps := api.count()
	eventually(t, "all goroutines have ended", func() bool { return runtime.NumGoroutine() <= before })
	if got := api.count(); got != lookUps {
		t.Errorf("%d look-ups after the end, want none", got-lookUps)
	}
}

func TestRejectedKeyIsLookedUpAtOnce(t *testing.T) {
	api := newTestAPI(t)
	settings := api.settings(t)
	settings.pace.refresh = time.Hour
	logged := logOutput(t, func() {
		cred, end := startTestCredential(t, testReference, settings)
		if got := sent(cred); got != "Bearer sk-one" {
			t.Errorf("credential %q, want the first key", got)
		}
		start := time.Now()
		credentialRejected(cred, start)
		eventually(t, "the key is looked up again", func() bool { return api.count() == 2 })
		api.set("openai", "sk-two")
		eventually(t, "the second key is sent", func() bool { credentialRejected(cred, start); return sent(cred) == "Bearer sk-two" })

		lookUps := api.count()
		credentialRejected(cred, start) // a late response to the first key
		if got := dueOf(cred.secret); got < time.Hour {
			t.Errorf("second key is looked up after %v, want 1h", got)
		}
		credentialRejected(cred, time.Now())
		credentialRejected(cred, time.Now())
		eventually(t, "the key is looked up again", func() bool { return api.count() > lookUps })
		end()
	})
	for _, want := range []string{
		"token: the key was rejected with status 401, ", " after it was read from the Secret ai/ai-keys; requests are not retried", "; store a valid key there\n",
		"token: the key has changed; new requests use the new key\n",
		"token: the new key was rejected with status 401, ", "; it may not be valid yet, otherwise store a valid key there\n",
	} {
		if !strings.Contains(logged, want) {
			t.Errorf("log %q, want %q in it", logged, want)
		}
	}
	if strings.Contains(logged, "sk-") {
		t.Errorf("log %q, want no key", logged)
	}
	if got := strings.Count(logged, "\n"); got != 3 {
		t.Errorf("%d log lines, want 3: %s", got, logged)
	}
}

// TestKeyRejectedByProviderIsReplaced changes a key at the provider and in the Secret at the same time, an hour before the next
// scheduled look-up.
func TestKeyRejectedByProviderIsReplaced(t *testing.T) {
	api := newTestAPI(t)
	config := CreateConfig()
	config.Token = testReference
	config.Secrets = Secrets{Endpoint: api.URL, TokenFile: api.tokenFile, CAFile: api.caFile, Namespace: "ai", Refresh: "1h"}
	p, err := newPolicy(config, "test")
	if err != nil {
		t.Fatal(err)
	}
	p.providers[0].auth.credential.source.pace.pause = time.Millisecond
	p.providers[0].auth.credential.source.pace.linger = 20 * time.Millisecond
	logged := logOutput(t, func() {
		ctx, cancel := context.WithCancel(context.Background())
		startCredential(ctx, p.providers[0].auth.credential)
		valid := "Bearer sk-one"
		handler := newPolicyMiddleware(p, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") != valid {
				rw.WriteHeader(http.StatusUnauthorized)
			}
		}))
		status := func() int {
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/v1/chat/completions",
				strings.NewReader(`{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`)))
			return recorder.Code
		}
		if got := status(); got != http.StatusOK {
			t.Errorf("status %d, want 200", got)
		}
		api.set("openai", "sk-two")
		valid = "Bearer sk-two"
		if got := status(); got != http.StatusUnauthorized {
			t.Errorf("status %d after the change, want 401", got)
		}
		eventually(t, "the new key is sent", func() bool { return status() == http.StatusOK })
		cancel()
		awaitRetired(t, p.providers[0].auth.credential.source)
	})
	if !strings.Contains(logged, "token: the key was rejected with status 401, ") || strings.Contains(logged, "sk-") {
		t.Errorf("log %q, want the rejection and no key", logged)
	}
}

func TestRejectedKeyLookUpsAreThrottled(t *testing.T) {
	api := newTestAPI(t)
	settings := api.settings(t)
	settings.pace.refresh = time.Hour
	settings.pace.pause = time.Minute
	_ = logOutput(t, func() {
		cred, end := startTestCredential(t, testReference, settings)
		_ = sent(cred)
		var running sync.WaitGroup
		for range make([]bool, 100) {
			running.Add(1)
			go func() {
				defer running.Done()
				credentialRejected(cred, time.Now())
			}()
		}
		running.Wait()
		if got := dueOf(cred.secret); got != time.Minute {
			t.Errorf("next look-up %v after the first one, want 1m", got)
		}
		end()
	})
	if got := api.count(); got != 1 {
		t.Errorf("%d look-ups, want 1", got)
	}
	credentialRejected(nil, time.Now())
	credentialRejected(&credential{value: "literal"}, time.Now())
}

func TestKeyLookUpPanicIsRecovered(t *testing.T) {
	settings := readSecrets(t, Secrets{})
	logged := logOutput(t, func() {
		cred, problem := newCredential("token", "requests get status 503", "urn:file:/x", "Authorization", "", settings)
		if problem != "" {
			t.Fatal(problem)
		}
		cred.source.path = "" // without an API
		ctx, cancel := context.WithCancel(context.Background())
		startCredential(ctx, cred)
		if got := sent(cred); got != "credentials_unavailable" {
			t.Errorf("credential %q, want none", got)
		}
		cancel()
		awaitRetired(t, cred.source)
	})
	if want := "chat-completion: token: panic: runtime error: invalid memory address or nil pointer dereference; requests get status 503\n"; logged != want {
		t.Errorf("log %q, want %q", logged, want)
	}
}
