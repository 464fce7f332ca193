package jsonschema

import (
	"fmt"
	"go/ast"
	"go/doc"
	"go/doc/comment"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// structType is a struct of the configuration, as its source declares it.
type structType struct {
	name    string
	comment string
	fields  []field
	isOpen  bool // no field collects unknown keys: New does not refuse them
}

// has reports whether a struct has a field.
func (t structType) has(name string) bool {
	return slices.ContainsFunc(t.fields, func(f field) bool { return f.name == name })
}

// field is a field of such a struct.
type field struct {
	name    string
	typ     ast.Expr
	comment string
}

// source is what the source of the plugin says about its configuration.
type source struct {
	structs   map[string]structType
	names     []string // of the structs, in the order of the source
	providers []string // that Config.Provider accepts
	text      *doc.Package
}

// readSource reads the source of the plugin in a folder.
func readSource(folder string) (*source, error) {
	paths, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		return nil, err
	}
	files := token.NewFileSet()
	var parsed []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(files, filepath.Base(path), content, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, file)
	}
	s := &source{structs: map[string]structType{}}
	for _, file := range parsed {
		if err := s.read(file); err != nil {
			return nil, err
		}
	}
	if len(s.providers) == 0 {
		return nil, fmt.Errorf("%s declares no presets of providers", folder)
	}
	s.keepReachable()
	s.text, err = doc.NewFromFiles(files, parsed, "chatcompletion", doc.AllDecls|doc.PreserveAST)
	return s, err
}

// read reads the declarations of a file.
func (s *source) read(file *ast.File) error {
	for _, declaration := range file.Decls {
		general, isGeneral := declaration.(*ast.GenDecl)
		if !isGeneral {
			continue
		}
		for _, spec := range general.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if declared, isStruct := spec.Type.(*ast.StructType); isStruct && spec.Name.IsExported() {
					s.names = append(s.names, spec.Name.Name)
					s.structs[spec.Name.Name] = newStructType(spec.Name.Name, general.Doc.Text(), declared)
				}
			case *ast.ValueSpec:
				if spec.Names[0].Name == "presets" {
					var err error
					if s.providers, err = firstElements(spec.Values[0]); err != nil {
						return fmt.Errorf("presets: %w", err)
					}
				}
			}
		}
	}
	return nil
}

// keepReachable drops the structs that are not in a configuration.
func (s *source) keepReachable() {
	reachable := map[string]bool{}
	var visit func(name string)
	visit = func(name string) {
		if reachable[name] {
			return
		}
		reachable[name] = true
		for _, f := range s.structs[name].fields {
			ast.Inspect(f.typ, func(n ast.Node) bool {
				if identifier, isIdentifier := n.(*ast.Ident); isIdentifier && s.structs[identifier.Name].name != "" {
					visit(identifier.Name)
				}
				return true
			})
		}
	}
	visit("Config")
	maps.DeleteFunc(s.structs, func(name string, _ structType) bool { return !reachable[name] })
	s.names = slices.DeleteFunc(s.names, func(name string) bool { return !reachable[name] })
}

// isField reports whether a word is the name of a field of the configuration.
func (s *source) isField(word string) bool {
	for _, declared := range s.structs {
		if declared.has(word) {
			return true
		}
	}
	return false
}

func newStructType(name, text string, declared *ast.StructType) structType {
	t := structType{name: name, comment: text, isOpen: true}
	for _, f := range declared.Fields.List {
		if f.Tag != nil && strings.Contains(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("mapstructure"), "remain") {
			t.isOpen = false
			continue
		}
		for _, fieldName := range f.Names {
			t.fields = append(t.fields, field{name: fieldName.Name, typ: f.Type, comment: f.Doc.Text()})
		}
	}
	return t
}

// firstElements returns the first element of each row of a table, which is a text.
func firstElements(table ast.Expr) ([]string, error) {
	rows, isTable := table.(*ast.CompositeLit)
	if !isTable {
		return nil, fmt.Errorf("%T is not a table", table)
	}
	var elements []string
	for _, row := range rows.Elts {
		columns, isRow := row.(*ast.CompositeLit)
		if !isRow || len(columns.Elts) == 0 {
			return nil, fmt.Errorf("%T is not a row", row)
		}
		element := columns.Elts[0]
		if pair, isPair := element.(*ast.KeyValueExpr); isPair {
			element = pair.Value
		}
		literal, isLiteral := element.(*ast.BasicLit)
		if !isLiteral {
			return nil, fmt.Errorf("%T is not a literal", element)
		}
		text, err := strconv.Unquote(literal.Value)
		if err != nil {
			return nil, err
		}
		elements = append(elements, text)
	}
	return elements, nil
}

// plain returns a comment as plain text, one line for each paragraph. Code stays in lines of its
// own.
func (s *source) plain(text string) string {
	printer := comment.Printer{TextWidth: -1, TextCodePrefix: "    "}
	return strings.TrimSpace(string(printer.Text(s.text.Parser().Parse(text))))
}
