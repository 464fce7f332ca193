package chatcompletion

import (
	"context"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestGroupOfListMustBeConfigured: a list that is looked up may name groups that the instance that identifies does not have.
func TestGroupOfListMustBeConfigured(t *testing.T) {
	file := filepath.Join(t.TempDir(), "consumers.json")
	writeKey(t, file, `[{"name":"blue","key":"`+keyID("sk-blue")+`","group":"ops"},{"name":"green","key":"`+keyID("sk-green")+`","group":"eng"}]`)
	config := CreateConfig()
	config.Token = "sk-provider"
	config.Consumers = Consumers{From: "urn:file:" + file, Groups: map[string]ConsumerGroup{"eng": {Model: "m"}}}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	identifying, err := New(ctx, respondWith("{}"), config, "test")
	if err != nil {
		t.Fatal(err)
	}
	first, err := New(ctx, identifying, CreateConfig(), "first")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name    string
		handler http.Handler
		key     string
		want    int
	}{
		{"unknown group", identifying, "sk-blue", http.StatusForbidden},
		{"unknown group at a chained instance", first, "sk-blue", http.StatusForbidden},
		{"known group", identifying, "sk-green", http.StatusOK},
		{"known group at a chained instance", first, "sk-green", http.StatusOK},
	} {
		rw := httptest.NewRecorder()
		req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(quotaBody))
		req.Header.Set("Authorization", "Bearer "+test.key)
		if test.handler.ServeHTTP(rw, req); rw.Code != test.want {
			t.Errorf("%s: status %d, want %d", test.name, rw.Code, test.want)
		}
	}
}
