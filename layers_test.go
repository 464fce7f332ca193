package chatcompletion

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// layer is a layer of the package: files whose names begin with one of its prefixes.
type layer struct {
	name     string
	prefixes []string
}

// packageFiles parses the files of the package, except tests.
func packageFiles(t *testing.T, fset *token.FileSet) []*ast.File {
	t.Helper()
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// packageComment returns the package comment.
func packageComment(t *testing.T) string {
	t.Helper()
	for _, file := range packageFiles(t, token.NewFileSet()) {
		if file.Doc != nil {
			return file.Doc.Text()
		}
	}
	t.Fatal("no file has a package comment")
	return ""
}

// section returns the text below a heading of a comment.
func section(t *testing.T, comment, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(comment, "\n# "+heading+"\n")
	if !found {
		t.Fatalf("the package comment has no section %q", heading)
	}
	text, _, _ = strings.Cut(text, "\n# ")
	return text
}

// documentedLayers reads the layers from the package comment, lowest first.
func documentedLayers(t *testing.T) []layer {
	t.Helper()
	var layers []layer
	for _, row := range regexp.MustCompile(`(?m)^\s*- (\w+): (.+)$`).FindAllStringSubmatch(section(t, packageComment(t), "Layers"), -1) {
		layers = append(layers, layer{row[1], strings.Split(row[2], ", ")})
	}
	if len(layers) < 2 {
		t.Fatalf("the package comment lists %d layers", len(layers))
	}
	return layers
}

// prefixOf returns the longest prefix that matches a file, and the index of its layer; -1: none.
func prefixOf(layers []layer, path string) (string, int) {
	longest, number := "", -1
	name := strings.TrimSuffix(filepath.Base(path), ".go")
	for i, l := range layers {
		for _, prefix := range l.prefixes {
			if (name == prefix || strings.HasPrefix(name, prefix+"_")) && len(prefix) > len(longest) {
				longest, number = prefix, i
			}
		}
	}
	return longest, number
}

// exportData returns a lookup function for the export data of the imported packages.
func exportData(t *testing.T) func(path string) (io.ReadCloser, error) {
	t.Helper()
	var stderr bytes.Buffer
	list := exec.Command("go", "list", "-export", "-deps", "-f", "{{.ImportPath}}={{.Export}}", ".")
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	files := map[string]string{}
	for _, line := range strings.Split(string(out), "\n") {
		path, file, _ := strings.Cut(line, "=")
		files[path] = file
	}
	return func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("no export data for %q", path)
		}
		return os.Open(files[path])
	}
}

// typeCheck type-checks the files of a package. Unused variables and imports are no errors.
func typeCheck(t *testing.T, fset *token.FileSet, files []*ast.File, imports types.Importer) (*types.Package, *types.Info) {
	t.Helper()
	info := &types.Info{
		Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{},
		Selections: map[*ast.SelectorExpr]*types.Selection{},
	}
	config := &types.Config{Importer: imports, Error: func(err error) {
		if problem, is := err.(types.Error); !is || !problem.Soft {
			t.Fatal(err)
		}
	}}
	pkg, _ := config.Check("chatcompletion", fset, files, info)
	return pkg, info
}

// upwardReferences type-checks files, and returns their references to higher layers, each with both ends.
func upwardReferences(t *testing.T, layers []layer, fset *token.FileSet, files []*ast.File, imports types.Importer) []string {
	t.Helper()
	pkg, info := typeCheck(t, fset, files, imports)
	var found []string
	seen := map[string]bool{}
	for use, object := range info.Uses {
		if object.Pkg() != pkg || !object.Pos().IsValid() {
			continue
		}
		from, to := fset.Position(use.Pos()), fset.Position(object.Pos())
		_, lower := prefixOf(layers, from.Filename)
		_, upper := prefixOf(layers, to.Filename)
		text := fmt.Sprintf("%s (%s) refers to %s in %s (%s)", from.Filename, layers[lower].name, object.Name(), to.Filename, layers[upper].name)
		if upper > lower && !seen[text] {
			seen[text] = true
			found = append(found, text)
		}
	}
	sort.Strings(found)
	return found
}

// TestLayers checks that no file refers to a layer above its own.
func TestLayers(t *testing.T) {
	layers, fset := documentedLayers(t), token.NewFileSet()
	files := packageFiles(t, fset)
	used := map[string]bool{}
	for _, file := range files {
		path := fset.Position(file.Package).Filename
		prefix, number := prefixOf(layers, path)
		if number < 0 {
			t.Fatalf("%s is in no layer: rename it, or add its prefix to the package comment", path)
		}
		used[prefix] = true
	}
	for _, l := range layers {
		for _, prefix := range l.prefixes {
			if !used[prefix] {
				t.Errorf("layer %s: no file begins with %q", l.name, prefix)
			}
		}
	}
	for _, reference := range upwardReferences(t, layers, fset, files, importer.ForCompiler(fset, "gc", exportData(t))) {
		t.Error(reference)
	}
}

// TestLayersFindUpwardReferences checks that TestLayers detects upward references to a function, a type, a field and a method.
func TestLayersFindUpwardReferences(t *testing.T) {
	layers := []layer{{"low", []string{"low"}}, {"high", []string{"low_high", "top"}}}
	sources := map[string]string{
		"low.go":      "package p\nfunc f(x *t) { g(); x.m(); x.n = 1 }",
		"low_high.go": "package p\nfunc g() { f(nil) }\ntype t struct { n int }",
		"top.go":      "package p\nfunc (x *t) m() {}",
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for path, source := range sources {
		file, err := parser.ParseFile(fset, path, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	want := []string{
		"low.go (low) refers to g in low_high.go (high)", "low.go (low) refers to m in top.go (high)",
		"low.go (low) refers to n in low_high.go (high)", "low.go (low) refers to t in low_high.go (high)",
	}
	if got := upwardReferences(t, layers, fset, files, importer.Default()); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// declaredNames returns the names of the functions, methods, types, fields, variables and constants of the package.
func declaredNames(t *testing.T) map[string]bool {
	t.Helper()
	declared := map[string]bool{}
	for _, file := range packageFiles(t, token.NewFileSet()) {
		ast.Inspect(file, func(node ast.Node) bool {
			switch n := node.(type) {
			case *ast.FuncDecl:
				declared[n.Name.Name] = true
			case *ast.TypeSpec:
				declared[n.Name.Name] = true
			case *ast.ValueSpec:
				for _, name := range n.Names {
					declared[name.Name] = true
				}
			case *ast.Field:
				for _, name := range n.Names {
					declared[name.Name] = true
				}
			}
			return true
		})
	}
	return declared
}

// TestPackageCommentNamesTheCode checks that each step of the section "Life of a request" in the package comment begins with
// a name of the package.
func TestPackageCommentNamesTheCode(t *testing.T) {
	declared := declaredNames(t)
	steps := regexp.MustCompile(`(?m)^\s*\d+\. (\w+) `).FindAllStringSubmatch(section(t, packageComment(t), "Life of a request"), -1)
	if len(steps) != 10 {
		t.Errorf("the life of a request has %d steps, want 10", len(steps))
	}
	for _, step := range steps {
		if !declared[step[1]] {
			t.Errorf("the package comment names %s, which does not exist", step[1])
		}
	}
}

// TestGlossaryNamesTheCode checks that the names in the last column of the glossary in CONTRIBUTING.md exist.
func TestGlossaryNamesTheCode(t *testing.T) {
	declared := declaredNames(t)
	_, glossary, _ := strings.Cut(readText(t, "CONTRIBUTING.md"), "\n## Glossary\n")
	found := 0
	for _, row := range regexp.MustCompile(`(?m)^\| .+ \| .+ \| (.+) \|$`).FindAllStringSubmatch(glossary, -1) {
		for _, name := range regexp.MustCompile("`([\\w.]+)`").FindAllStringSubmatch(row[1], -1) {
			found++
			for _, part := range strings.Split(name[1], ".") {
				if !declared[part] {
					t.Errorf("the glossary names %s, which does not exist", name[1])
				}
			}
		}
	}
	if found == 0 {
		t.Error("the glossary names nothing")
	}
}
