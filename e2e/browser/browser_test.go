package browser

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
)

// TestPageNotesWhatItDoes opens a page with a request to elsewhere, an error, and a picture that the
// policy refuses.
func TestPageNotesWhatItDoes(t *testing.T) {
	folder, err := os.MkdirTemp("", "page-") // a short name: Chromium has a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	t.Setenv("TMPDIR", folder)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	binary, err := backends.ChromiumBinary(ctx, os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Start(ctx, binary)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Security-Policy", "img-src 'none'")
		_, _ = fmt.Fprintf(rw, `<!doctype html><title>One</title><img src="/refused.png"><script>
fetch(%q).catch(() => {}); console.error("wrong", 7); setTimeout(() => undefined.member)</script>`, elsewhere.URL+"/away")
	}))
	defer server.Close()
	p, err := b.Open(ctx, server.URL, View{Width: 360, Height: 700, Dark: true})
	if err != nil {
		t.Fatal(err)
	}
	var got []any
	if err := p.Evaluate(ctx, `[document.title, innerWidth, matchMedia("(prefers-color-scheme: dark)").matches]`, &got); err != nil {
		t.Error(err)
	}
	if want := []any{"One", 360.0, true}; !slices.Equal(got, want) {
		t.Errorf("the page has %v, want %v", got, want)
	}
	for _, problem := range []string{"wrong", "undefined", "violates the following Content Security Policy"} {
		for !strings.Contains(strings.Join(p.Problems(), "\n"), problem) {
			if ctx.Err() != nil {
				t.Fatalf("problems %q lack %q", p.Problems(), problem)
			}
			time.Sleep(pollInterval)
		}
	}
	if !slices.Contains(p.Requests(), elsewhere.URL+"/away") || p.Header("Content-Security-Policy") != "img-src 'none'" {
		t.Errorf("requests %q, policy %q", p.Requests(), p.Header("Content-Security-Policy"))
	}
	if err := p.Await(ctx, "false || true"); err != nil {
		t.Error(err)
	}
	p.Close()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
		t.Errorf("files left in the temporary folder: %q", left)
	}
}
