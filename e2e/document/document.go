// Package document writes what a command measured into the documentation, between marks.
package document

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// Begin is the line before what is marked.
func Begin(mark string) string { return "<!-- " + mark + " -->" }

// End is the line behind what is marked.
func End(mark string) string { return "<!-- /" + mark + " -->" }

// Read returns what is marked in the document, which is named from the repository's root.
func Read(name, mark string) (string, error) {
	_, marked, _, err := split(name, mark)
	return marked, err
}

// Write replaces what is marked in the document, which is named from the repository's root. The content ends with a new line.
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

// Path is that of a file that is named from the repository's root.
func Path(name string) (string, error) {
	root, err := gateway.Root()
	return filepath.Join(root, filepath.FromSlash(name)), err
}

// Plot is where a plot is to be written: into the documentation, or where nothing is committed.
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
		return "", "", "", fmt.Errorf("%s lacks the marks %s and %s", name, Begin(mark), End(mark))
	}
	begin += len(Begin(mark)) + 1
	return text[:begin], text[begin:end], text[end:], nil
}
