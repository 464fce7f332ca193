package chatcompletion

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestTokenComesFromWhereItIsReferredTo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(" sk-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CHAT_COMPLETION_TEST_KEY", "sk-env")
	tests := []struct {
		name, token, header, prefix string
		want                        string
	}{
		{"literal", "sk-literal", "Authorization", "Bearer ", "Bearer sk-literal"},
		{"literal with white space around", " sk-literal\n", "Authorization", "Bearer ", "Bearer sk-literal"},
		{"environment variable", "urn:env:CHAT_COMPLETION_TEST_KEY", "Authorization", "Bearer ", "Bearer sk-env"},
		{"file", "urn:file:" + file, "Authorization", "Bearer ", "Bearer sk-file"},
		{"other header without a prefix", "sk-literal", "Api-Key", "", "sk-literal"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c, problem := newCredential(test.token, test.header, test.prefix)
			if problem != "" {
				t.Fatal(problem)
			}
			client := http.Header{"Cookie": {"session"}, "Authorization": {"Bearer client"}}
			req := &http.Request{Header: client}
			if refused := authorize(c, req); refused != nil {
				t.Fatal(refused.message)
			}
			if got := req.Header.Get(test.header); got != test.want {
				t.Errorf("%s: %q, want %q", test.header, got, test.want)
			}
			if len(req.Header) != 1 {
				t.Errorf("header %v, want only the provider's key", req.Header)
			}
			if got := client.Get("Authorization"); got != "Bearer client" {
				t.Errorf("the header that Traefik logs has Authorization %q, want the client's own", got)
			}
		})
	}
}

func TestUnresolvedTokenIsNeverSent(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("k", fileMaxBytes+1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, token := range []string{
		"urn:env:CHAT_COMPLETION_NO_SUCH_VARIABLE", "urn:file:/no/such/file", "urn:file:" + empty, "urn:file:" + large, "urn:file:/",
	} {
		c, problem := newCredential(token, "Authorization", "Bearer ")
		if problem != "" {
			t.Fatalf("%s: %s", token, problem)
		}
		refused := authorize(c, &http.Request{Header: http.Header{"Authorization": {"Bearer client"}}})
		if refused == nil || refused.status != http.StatusServiceUnavailable {
			t.Errorf("%s: refusal %v, want one with status 503", token, refused)
		}
	}
}

func TestRotatedFileIsReadAgainAndAStaleKeyKept(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	c, problem := newCredential("urn:file:"+file, "Authorization", "Bearer ")
	if problem != "" {
		t.Fatal(problem)
	}
	sent := func() string {
		req := &http.Request{Header: http.Header{}}
		if refused := authorize(c, req); refused != nil {
			return refused.code
		}
		return req.Header.Get("Authorization")
	}
	write := func(key string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(key), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	steps := []struct {
		name string
		do   func()
		want string
	}{
		{"no file yet", func() {}, "credentials_unavailable"},
		{"the file comes", func() { write("one"); c.due = time.Time{} }, "Bearer one"},
		{"another key, before it is due", func() { write("two") }, "Bearer one"},
		{"another key, when it is due", func() { c.due = time.Time{} }, "Bearer two"},
		{"an empty file keeps the key", func() { write(" \n"); c.due = time.Time{} }, "Bearer two"},
		{"a file that goes keeps the key", func() { _ = os.Remove(file); c.due = time.Time{} }, "Bearer two"},
	}
	for _, step := range steps {
		step.do()
		if got := sent(); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
	}
}

func TestImpossibleTokenIsRefusedWithoutRepeatingIt(t *testing.T) {
	for _, token := range []string{"sk-canary\r\nX-Evil: 1", "urn:canary:x", "urn:file:canary", "urn:env:", "urn:k8s:secret:canary:key"} {
		config := CreateConfig()
		config.Token = token
		_, err := newPolicy(config, "test")
		if err == nil || !strings.Contains(err.Error(), "token: ") {
			t.Fatalf("%q: error %v, want one that names the key", token, err)
		}
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error repeats the token: %v", err)
		}
	}
}
