package chatcompletion

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestFileWrittenTwiceAtOnceIsReadAgain writes two texts of one size at one time, as two writes in a row may have.
func TestFileWrittenTwiceAtOnceIsReadAgain(t *testing.T) {
	for _, test := range []struct {
		name    string
		written time.Time
		want    string
	}{
		{"just now", time.Now(), "two"},
		{"long ago", time.Now().Add(-time.Hour), "one"},
	} {
		file := filepath.Join(t.TempDir(), "document")
		source := &secretSource{path: file, document: &document{parse: func(text string) (any, string) { return text, "" }}}
		for _, text := range []string{"one", "two"} {
			writeKey(t, file, text)
			if err := os.Chtimes(file, test.written, test.written); err != nil {
				t.Fatal(err)
			}
			if _, problem := lookUp(source); problem != nil {
				t.Fatal(problem.text)
			}
		}
		if got := source.document.parsed.Load(); got != test.want {
			t.Errorf("%s: got %v, want %s", test.name, got, test.want)
		}
	}
}
