// Package document writes measurements into the documentation. Each measured section lies between
// two markers, which are HTML comments, so that a command can replace it without changing the text
// around it.
package document

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// Begin returns the line before a marked section.
func Begin(mark string) string { return "<!-- " + mark + " -->" }

// End returns the line after a marked section.
func End(mark string) string { return "<!-- /" + mark + " -->" }

// Read returns the marked section of the document. name is a path relative to the repository's
// root.
func Read(name, mark string) (string, error) {
	_, marked, _, err := split(name, mark)
	return marked, err
}

// Write replaces the marked section of the document. name is a path relative to the repository's
// root. content must end with a newline.
func Write(name, mark, content string) error {
	before, _, after, err := split(name, mark)
	if err != nil {
		return err
	}
	path, err := Path(name)
	if err != nil {
		return err
	}
	return os.WriteFile(path, []byte(before+content+after), 0o644)
}

// Path returns the path of a file whose name is relative to the repository's root.
func Path(name string) (string, error) {
	root, err := gateway.Root()
	return filepath.Join(root, filepath.FromSlash(name)), err
}

// Plot returns the path to write a plot to: in the documentation, or in .bin, which Git ignores.
func Plot(name string, documentation bool) (string, error) {
	folder := ".bin"
	if documentation {
		folder = "docs"
	}
	path, err := Path(folder + "/" + name)
	if err != nil {
		return "", err
	}
	return path, os.MkdirAll(filepath.Dir(path), 0o755)
}

func split(name, mark string) (before, marked, after string, err error) {
	path, err := Path(name)
	if err != nil {
		return "", "", "", err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", "", "", err
	}
	text := string(content)
	begin, end := strings.Index(text, Begin(mark)+"\n"), strings.Index(text, End(mark)+"\n")
	if begin < 0 || end < begin {
		return "", "", "", fmt.Errorf("%s lacks the markers %s and %s", name, Begin(mark), End(mark))
	}
	begin += len(Begin(mark)) + 1
	return text[:begin], text[begin:end], text[end:], nil
}
