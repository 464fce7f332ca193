package document

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// repository makes the working directory a repository with one document that contains the text.
func repository(t *testing.T, text string) {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{"e2e/go.mod": "module e2e\n", "page.md": text} {
		path := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(filepath.Join(root, "e2e"))
}

func TestWriteReplacesMarkedSection(t *testing.T) {
	repository(t, "before\n<!-- a -->\nold\n<!-- /a -->\nbetween\n<!-- a b -->\nother\n<!-- /a b -->\n")
	if err := Write("page.md", "a", "new\nlines\n"); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile("../page.md")
	if err != nil {
		t.Fatal(err)
	}
	want := "before\n<!-- a -->\nnew\nlines\n<!-- /a -->\nbetween\n<!-- a b -->\nother\n<!-- /a b -->\n"
	if got := string(content); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, err := Read("page.md", "a b"); err != nil || got != "other\n" {
		t.Errorf("got %q (%v), want %q", got, err, "other\n")
	}
}

func TestWriteWithoutMarkersFails(t *testing.T) {
	for _, text := range []string{"nothing\n", "<!-- a -->\nno end\n", "<!-- /a -->\n<!-- a -->\n"} {
		repository(t, text)
		if err := Write("page.md", "a", "new\n"); err == nil || !strings.Contains(err.Error(), "page.md") {
			t.Errorf("%q: error = %v, want one that names the document", text, err)
		}
		if content, err := os.ReadFile("../page.md"); err != nil || string(content) != text {
			t.Errorf("got %q (%v), want %q", content, err, text)
		}
	}
}
