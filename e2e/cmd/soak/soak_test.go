package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/document"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestTrafficIsCounted is too short a run to detect growth, but it makes calls of every kind.
func TestTrafficIsCounted(t *testing.T) {
	s, err := newSoak(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
	})
	var out bytes.Buffer
	samples, err := s.run(t.Context(), &out, shortest)
	if err != nil {
		t.Fatal(err)
	}
	filled, err := s.fill(t.Context(), &out, 50, 5)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(filled.heap); got != 5 {
		t.Errorf("%d samples of conversations without reloads, want 5", got)
	}
	problems, err := s.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Error(problem)
	}
	if s.reloads < 2 || len(samples.minutes) != s.reloads {
		t.Errorf("%d samples after %d reloads, want one after each of at least two", len(samples.minutes), s.reloads)
	}
	for _, k := range append(kinds(), longKind, fillKind) {
		if !k.unmetered && s.book.entries[callsOf(k.name, k.errorType)] == 0 {
			t.Errorf("no call of %q in %d calls", k.name, s.book.calls)
		}
	}
}

func TestTooShortRunsAreRejected(t *testing.T) {
	for _, o := range []options{{duration: shortest - 1}, {duration: shortest, turns: fewestTurns - 1}} {
		if err := run(t.Context(), &bytes.Buffer{}, o); err == nil || !strings.Contains(err.Error(), "must be") {
			t.Errorf("error of %+v = %v, want one about the options", o, err)
		}
	}
}

func TestInterruptEndsTheRun(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, interrupt := context.WithTimeout(t.Context(), 3*time.Second)
	defer interrupt()
	ended := make(chan error, 1)
	go func() { ended <- run(ctx, &bytes.Buffer{}, options{duration: time.Hour}) }()
	select {
	case err := <-ended:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error = %v, want the context's error", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("run did not return after the interrupt")
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*")); len(left) > 0 {
		t.Errorf("files left in the temporary folder: %q", left)
	}
}

func TestLedgerDifferences(t *testing.T) {
	want := ledger{callsOf("JSON", ""): 3, callsOf("cut stream", "provider_cut"): 2}
	tests := []struct {
		name string
		got  ledger
		want string
	}{
		{"equal", ledger{callsOf("JSON", ""): 3, callsOf("cut stream", "provider_cut"): 2}, ""},
		{"one call lost", ledger{callsOf("JSON", ""): 2, callsOf("cut stream", "provider_cut"): 2}, `calls of "JSON" without an error: the registry has 2, want 3`},
		{"one call counted twice", ledger{callsOf("JSON", ""): 3, callsOf("cut stream", "provider_cut"): 3}, `calls of "cut stream" with error type provider_cut: the registry has 3, want 2`},
		{"one call of no client", ledger{callsOf("JSON", ""): 3, callsOf("cut stream", "provider_cut"): 2, callsOf("", "panic"): 1}, `calls of "" with error type panic: the registry has 1, want 0`},
	}
	for _, test := range tests {
		if got := strings.Join(want.differences(test.got), "; "); got != test.want {
			t.Errorf("%s: differences = %q, want %q", test.name, got, test.want)
		}
	}
}

// TestDocumentSaysHowMuchIsSent looks for the numbers in the text.
func TestDocumentSaysHowMuchIsSent(t *testing.T) {
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "docs", "benchmarks.md"))
	if err != nil {
		t.Fatal(err)
	}
	if len(shortKinds) != 27 || !bytes.Contains(text, []byte("twenty-seven kinds")) {
		t.Errorf("there are %d kinds of calls, the document must say so", len(shortKinds))
	}
	if turns := fmt.Sprintf("%d turns of conversations", fewestTurns); !bytes.Contains(text, []byte(turns)) {
		t.Errorf("the document lacks %q", turns)
	}
}

func TestDocumentHasTableMarkers(t *testing.T) {
	if _, err := document.Read("docs/benchmarks.md", "soak"); err != nil {
		t.Error(err)
	}
}
