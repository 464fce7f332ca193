package chatcompletion

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// testNames returns the names of all test functions of this repository, including its nested modules.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() && (entry.Name() == "vendor" || (len(entry.Name()) > 1 && entry.Name()[0] == '.')) {
			return filepath.SkipDir
		}
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declaration := range file.Decls {
			if function, is := declaration.(*ast.FuncDecl); is && function.Recv == nil {
				names[function.Name.Name] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Names of tests and cases in documents.
var (
	namedTest = regexp.MustCompile("`((?:Test|Fuzz|Benchmark)[A-Z]\\w*)`")
	namedCase = regexp.MustCompile("`(testdata/[\\w./-]+)`")
)

func TestDocumentsNameExistingTestsAndCases(t *testing.T) {
	documents, err := filepath.Glob("docs/*.md")
	if err != nil || len(documents) == 0 {
		t.Fatalf("%d documents, %v", len(documents), err)
	}
	exists, found := testNames(t), 0
	for _, path := range append(documents, "README.md", "CONTRIBUTING.md", "SECURITY.md") {
		text := readText(t, path)
		for _, name := range namedTest.FindAllStringSubmatch(text, -1) {
			found++
			if !exists[name[1]] {
				t.Errorf("%s names the test %s, want one that exists", path, name[1])
			}
		}
		for _, name := range namedCase.FindAllStringSubmatch(text, -1) {
			found++
			if _, err := os.Stat(name[1]); err != nil {
				t.Errorf("%s names %s: %v", path, name[1], err)
			}
		}
	}
	if found == 0 {
		t.Error("test and case names in documents: 0, want some")
	}
}

// TestEveryGuaranteeNamesTestOrCase checks the table of guarantees in docs/security.md.
func TestEveryGuaranteeNamesTestOrCase(t *testing.T) {
	_, text, _ := strings.Cut(readText(t, "docs/security.md"), "\n## Guarantees\n")
	text, _, _ = strings.Cut(text, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| (.+) \| (.+) \|$`).FindAllStringSubmatch(text, -1)
	guarantees := 0
	for _, row := range rows {
		if row[1] == "guarantee" || row[1] == "---" {
			continue
		}
		guarantees++
		if !namedTest.MatchString(row[2]) && !namedCase.MatchString(row[2]) {
			t.Errorf("guarantee %q names no test and no case", row[1])
		}
	}
	if guarantees == 0 {
		t.Error("guarantees in docs/security.md: 0, want some")
	}
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
