package chatcompletion

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"reflect"
	"regexp"
	"sort"
	"strings"
	"testing"
)

// source is the code of a package, type-checked.
type source struct {
	fset      *token.FileSet
	files     []*ast.File
	pkg       *types.Package
	info      *types.Info
	functions map[types.Object]*ast.FuncDecl
	variables map[types.Object]bool // of the package
}

func loadSource(t *testing.T, fset *token.FileSet, files []*ast.File, imports types.Importer) *source {
	t.Helper()
	s := &source{fset: fset, files: files, functions: map[types.Object]*ast.FuncDecl{}, variables: map[types.Object]bool{}}
	s.pkg, s.info = typeCheck(t, fset, files, imports)
	for _, file := range files {
		for _, declaration := range file.Decls {
			if f, is := declaration.(*ast.FuncDecl); is {
				s.functions[s.info.Defs[f.Name]] = f
			}
		}
	}
	for _, name := range s.pkg.Scope().Names() {
		if v, is := s.pkg.Scope().Lookup(name).(*types.Var); is {
			s.variables[v] = true
		}
	}
	return s
}

// trap is a trap of CONTRIBUTING.md that the syntax tree shows.
type trap struct {
	number int
	is     func(s *source, path []ast.Node) bool // whether the last node of a path is the trap; the path begins at the file
	has    []string                              // code with the trap
	lacks  []string                              // code without it, mostly what to write instead
}

// traps are the traps in the order of their numbers. Their code is declarations, or statements of a function, after trapPrelude.
var traps = []trap{
	{1, mixesCalls,
		[]string{`v, err = f(), nil`, `v, err = 1, g()`, `v, w = f(), w`, `o.a, o.b = f(), true`, `v, _ = f(), w`},
		[]string{`v = f(); err = nil`, `v, w = f(), f()`, `v, err = two()`, `v, w = w, v`, `v, w := f(), 1`}},
	{2, discardsOK,
		[]string{
			`for _, x := range list { s, _ := x.(string); use(s) }`, `for range list { func() { for { n, _ := counts["a"]; use(n) } }() }`,
			`for { if s, _ := any1.(string); s != "" { use(s) } }`, `v, _ = any1.(int)`, `v, _ = counts["a"]`,
		},
		[]string{
			`for _, x := range list { s, ok := x.(string); use(s, ok) }`, `s, _ := any1.(string)`, `for range list { func() { s, _ := any1.(string); use(s) }() }`,
			`for range list { n, _ := two(); use(n) }`, `for range list { _, _ = any1.(string) }`,
		}},
	{3, switchesOnInterface,
		[]string{`switch any1 { case "a": }`, `switch any1 { case nil, v: }`, `switch x := any1; x { case 1: default: }`, `for { switch any1 { case ok: } }`},
		[]string{`switch { case any1 == "a": }`, `use("a" != any1)`, `switch x := any1.(type) { case string: use(x) }`, `switch any1 { case nil: }`, `switch err { case io.EOF, nil: }`, `s, ok := any1.(string); use(ok && s == "a")`, `use(any1 == nil)`}},
	{4, defaultsInterface,
		[]string{`func CreateConfig() *Config { return &Config{Any: 1} }`, `func CreateConfig() *Config { c := &Config{}; c.Any = "a"; return c }`},
		[]string{`func CreateConfig() *Config { return &Config{Text: "a", Any: nil} }`, `func other() *Config { return &Config{Any: 1} }`}},
	{5, selectsWithValue,
		[]string{`select { case ints <- 1: default: }`, `select { case v := <-ints: use(v) }`, `select { case v, ok = <-ints: case <-done: }`},
		[]string{`select { case <-ints: default: }`, `ints <- 1`, `n := <-ints`}},
	{6, embedsBody,
		[]string{`req.Body = struct { io.Reader; io.Closer }{}`, `req.Body = &embedding{}`, `use(&http.Request{Body: embedding{}})`},
		[]string{`req.Body = io.NopCloser(nil)`, `req.Body = http.NoBody`, `use(embedding{})`}},
	{8, readsUnsetResult,
		[]string{
			`func _() (s string) { if v > 0 { s = "a" }; return s }`, `func _() (n int, ok bool) { if v > 0 { return }; n = 1; ok = true; return }`,
			`func _() (n int) { n++; return n }`, `func _() (n int) { for range list { n = 1 }; return }`, `use(func() (n int) { return n })`,
			`func _() (n int) { n = n + 1; return }`,
		},
		[]string{
			`func _() (n int) { n = 0; if v > 0 { n = 1 }; return }`, `func _() (n int, err error) { n, err = two(); return }`, `func _() (n int, ok bool) { return 1, true }`,
			`func _() (s string) { return "a" }`, `func _() (_ int) { return 1 }`, `func _() (n int) { use(func() { return }); return 1 }`,
		}},
	{10, comparesOwnError,
		[]string{`use(errors.As(err, &o1))`, `use(err == ownErr)`, `use(ownErr != err)`},
		[]string{`use(errors.As(err, &operation))`, `use(err == io.EOF)`, `use(ownErr == nil)`, `use(errors.Is(err, io.EOF))`}},
	{11, labels,
		[]string{"switch v { case 1: l: for { break l } }", "l: for { select { case <-done: break l } }", "select { case <-done: l: for { continue l } }", "l: for { for { select { default: if v > 0 { break l } } } }"},
		[]string{"l: for { for { continue l } }", "l: for { for { break l } }", "select { case <-done: func() { l: for { break l } }() }", "for { select { case <-done: return } }"}},
	{12, capturesLoopVariable,
		[]string{
			`for i := range list { time.AfterFunc(1, func() { use(i) }) }`, `for i := 0; i < 3; i++ { go func() { use(i) }() }`, `for _, x := range list { defer func() { use(x) }() }`,
			`for _, x := range list { x := x; time.AfterFunc(1, func() { use(x) }) }`, `for { for i := range list { use(func() { use(func() int { return i }) }) } }`,
		},
		[]string{
			`for i := range list { time.AfterFunc(1, user(i)) }`, `for i := range list { func() { use(i) }() }`, `for range list { use(func() { use(v) }) }`,
			`for range list { use(func(n int) { m := n; use(m) }) }`,
		}},
	{13, redeclaresResult,
		[]string{`func _() (err error) { n, err := two(); use(n); return err }`, `func _() (n int, err error) { if n, err := two(); err != nil { return n, err }; return 1, nil }`},
		[]string{`func _() (err error) { n, problem := two(); use(n); return problem }`, `func _() (int, error) { n, err := two(); return n, err }`, `func _() (err error) { use(func() { err := g(); use(err) }); return g() }`}},
	{14, assignsToMap,
		[]string{`counts["a"], _ = two()`, `counts["a"], err = two()`, `err, counts["a"] = reversed()`},
		[]string{`n, _ := two(); counts["a"] = n`, `array[0], _ = two()`, `counts["a"], counts["b"] = 1, 2`}},
	{15, printsStruct,
		[]string{`use(fmt.Sprint(o))`, `use(fmt.Sprintf("%v", &o))`, `use(json.Marshal(o))`, `wrapper("%v", o)`, `use(fmt.Errorf("%v", ownErr))`, `use(fmt.Sprint(list, []*own{}))`},
		[]string{`use(fmt.Sprint(o.a))`, `use(json.Marshal(&Config{}))`, `use(json.Unmarshal(nil, &o))`, `wrapper("%v", ownErr.Error())`, `use(fmt.Sprint(time.Second, err))`}},
	{16, readsLaterVariable,
		[]string{`var first = read(); func read() int { return later }; var later = f()`, `var first = outer(); func outer() int { return read() }; func read() int { return later }; var later = 1`},
		[]string{`var later = f(); var first = read(); func read() int { return later }`, `var first = f(); var later = 1`, `var first = read(); func read() int { return later }; var later int`, `var first = func() int { return read() }; func read() int { return 1 }`}},
	{17, startsUnrecovered,
		[]string{`go f()`, `go func() { use(v) }()`, `go func() { if v > 0 { defer recovering() } }()`, `time.AfterFunc(1, func() { use(v) })`, `time.AfterFunc(1, user(1))`, `go http.ListenAndServe("", nil)`, `time.AfterFunc(1, f0)`},
		[]string{`go safe()`, `go func() { defer recovering(); use(v) }()`, `go func() { defer func() { use(recover()) }(); use(v) }()`, `time.AfterFunc(1, safeUser(1))`, `go o.safe()`, `time.AfterFunc(1, safe)`, `time.AfterFunc(1, cancel)`}},
	{18, takesMethod,
		[]string{`use(&http.Transport{DialContext: dialer.DialContext})`, `dial := dialer.DialContext`, `use(req.Context)`, `c := http.NewResponseController(nil); flush = c.Flush`},
		[]string{`flush = http.NewResponseController(nil).Flush`, `use(dialer.DialContext(nil, "", ""))`, `use(func() { use(dialer.DialContext(nil, "", "")) })`, `use(o.safe)`, `use(time.Now)`}},
	{19, createsLogger,
		[]string{`use(log.New(nil, "", 0))`, `make1 := log.New`},
		[]string{`log.Print("a")`, `use(log.Default())`}},
	{20, assignsNil,
		[]string{`o.p, o.b = nil, false`, `o.b, o.p = true, nil`, `v, err = 1, nil`, `err, o.err = nil, nil`, `array2[0], v = nil, 1`},
		[]string{`o.p = nil; o.b = false`, `o.a, o.b = 1, true`, `var x, y error = g(), nil`, `o.p = nil`}},
	{21, passesOwn,
		[]string{`use(io.MultiWriter(o1))`, `use(io.MultiWriter(os.Stderr, o1))`, `use(&httputil.ReverseProxy{Transport: o1})`, `proxy.Transport = o1`, `use(http.Server{Handler: o1})`},
		[]string{`use(io.MultiWriter(os.Stderr))`, `use(io.TeeReader(nil, o1))`, `use(&httputil.ReverseProxy{Transport: http.DefaultTransport})`, `use(holder{w: o1})`, `use(fmt.Sprint(o1.a))`, `use(http.Server{Addr: ""})`}},
	{22, panicsWithAbort,
		[]string{`panic(http.ErrAbortHandler)`, `panic(error(http.ErrAbortHandler))`},
		[]string{`panic("a")`, `use(errors.Is(err, http.ErrAbortHandler))`}},
	{24, controlsResponse,
		[]string{`http.NewResponseController(nil).SetWriteDeadline(time.Now())`, `c := http.NewResponseController(nil); c.EnableFullDuplex()`},
		[]string{`http.NewResponseController(nil).Flush()`, `http.NewResponseController(nil).Hijack()`, `c := http.NewResponseController(nil); flush = c.Flush`}},
	{25, lacksNames,
		[]string{`use(func(*http.Request, []*http.Request) error { return nil })`, `func _(int) {}`, `func (*own) m(n int) {}`, `func (o *own) m(int) {}`},
		[]string{`use(func(_ *http.Request, _ []*http.Request) error { return nil })`, `func _() {}`, `func (_ *own) m(n int) {}`, `var x func(int) error`, `func _() (int, error) { return 1, nil }`}},
	{26, setsRangeIndex,
		[]string{`for i := range list { i = 0 }`, `for i, x := range list { if v > 0 { i++ }; use(x) }`, `for i := range list { for { i = f() } }`},
		[]string{`for i := range list { n := i; n = 0; use(n) }`, `for i := 0; i < 3; i++ { i = 2 }`, `for _, x := range list { x = 0 }`, `for i := range list { i := i; i = 0 }`}},
	{28, returnsBuiltins,
		[]string{`func _() (int, []any, error) { return 1, append(list, 1), nil }`, `func _() ([]any, []any) { return list, append(list, 1) }`, `func _(a string) (string, int) { return a, len(list) }`},
		[]string{`func _() ([]any, error) { return append(list, 1), nil }`, `func _() []any { return append(list, 1) }`, `func _() (int, []any) { l := append(list, 1); return 1, l }`, `func _() (int, bool) { return len(list), len(list) > 0 }`}},
	{29, listsConditions,
		[]string{`switch { case ok, v > 0: }`, `switch w := v; { case w > 0: default: switch { case ok, w > 1: } }`},
		[]string{`switch { case ok || v > 0: }`, `switch v { case 1, 2: }`, `switch any1.(type) { case int, string: }`}},
	{31, selects,
		[]string{`select { case <-make(chan bool): default: }`, `select {}`},
		[]string{`<-make(chan bool)`}},
	{32, returnsReceived,
		[]string{`func _() bool { return <-make(chan bool) }`},
		[]string{`func _() bool { b := <-make(chan bool); return b }`}},
	{33, refersToLaterFunction,
		[]string{`func earlier() func() { return func() { use(later) } }; func later() {}`, `func earlier() func() { return func() { f := later; f() } }; func later() {}`},
		[]string{`func earlier() func() { return func() { later() } }; func later() {}`, `func earlier() { use(later) }; func later() {}`, `use(func() { use(f0) })`}},
}

// trapPrelude declares what the code of traps refers to.
const trapPrelude = `
type own struct { a int; b bool; p *int; err error }
func (o *own) Error() string { return "" }
func (o *own) Write(p []byte) (int, error) { return 0, nil }
func (o *own) RoundTrip(req *http.Request) (*http.Response, error) { return nil, nil }
func (o *own) ServeHTTP(rw http.ResponseWriter, req *http.Request) {}
func (o *own) safe() { defer recovering() }
type holder struct { w io.Writer }
type embedding struct { io.Reader; io.Closer }
type Config struct { Text string; Any any }
func use(values ...any) {}
func wrapper(format string, values ...any) { fmt.Printf(format, values...) }
func f() int { return 1 }
func f0() {}
func g() error { return nil }
func two() (int, error) { return 1, nil }
func reversed() (error, int) { return nil, 1 }
func recovering() { use(recover()) }
func safe() { defer recovering() }
func user(n int) func() { return func() { use(n) } }
func safeUser(n int) func() { return func() { defer recovering(); use(n) } }
var v, w int
var ok bool
var err error
var o own
var o1, ownErr *own
var any1 any
var list []any
var counts map[string]int
var array []int
var array2 []error
var ints chan int
var done chan bool
var req *http.Request
var dialer net.Dialer
var operation *net.OpError
var proxy httputil.ReverseProxy
var flush func() error
var cancel context.CancelFunc
`

// inLoop reports whether a path has a loop within its innermost function.
func inLoop(path []ast.Node) bool {
	for i := len(path) - 2; i >= 0; i-- {
		switch path[i].(type) {
		case *ast.ForStmt, *ast.RangeStmt:
			return true
		case *ast.FuncLit, *ast.FuncDecl:
			return false
		}
	}
	return false
}

// functionParts returns the type and the body of a function, or nil if a node is none.
func functionParts(node ast.Node) (*ast.FuncType, *ast.BlockStmt) {
	switch n := node.(type) {
	case *ast.FuncDecl:
		return n.Type, n.Body
	case *ast.FuncLit:
		return n.Type, n.Body
	}
	return nil, nil
}

// innermost returns the type of the innermost function of a path.
func innermost(path []ast.Node) *ast.FuncType {
	for i := len(path) - 1; i >= 0; i-- {
		if function, _ := functionParts(path[i]); function != nil {
			return function
		}
	}
	return nil
}

// parent returns the node before the last of a path.
func parent(path []ast.Node) ast.Node { return path[len(path)-2] }

// last returns the last node of a path as an expression of type T, and whether it is one.
func last[T ast.Node](path []ast.Node) (T, bool) {
	node, is := path[len(path)-1].(T)
	return node, is
}

// severalValues returns the last node of a path if it assigns several values to what exists.
func severalValues(path []ast.Node) *ast.AssignStmt {
	if assignment, is := last[*ast.AssignStmt](path); is && assignment.Tok == token.ASSIGN && len(assignment.Rhs) > 1 {
		return assignment
	}
	return nil
}

func (s *source) isInterface(e ast.Expr) bool {
	is := s.info.TypeOf(e)
	return is != nil && !s.info.Types[e].IsNil() && types.IsInterface(is)
}

// ownType returns the type of the package, or of its struct literal, that an expression has, or has a pointer to.
func (s *source) ownType(t types.Type) types.Type {
	if pointer, is := t.(*types.Pointer); is {
		t = pointer.Elem()
	}
	if named, is := t.(*types.Named); is && named.Obj().Pkg() == s.pkg && !types.IsInterface(named) {
		return named
	}
	if structure, is := t.(*types.Struct); is {
		return structure
	}
	return nil
}

// library returns the name of the object of another package that an expression refers to, such as "net/http.NoBody".
func (s *source) library(e ast.Expr) string {
	if paren, is := e.(*ast.ParenExpr); is {
		return s.library(paren.X)
	}
	if selector, is := e.(*ast.SelectorExpr); is {
		if object := s.info.Uses[selector.Sel]; object != nil && object.Pkg() != nil && object.Pkg() != s.pkg && s.info.Selections[selector] == nil {
			return object.Pkg().Path() + "." + object.Name()
		}
	}
	return ""
}

// called returns the declaration of the function or method of the package that a call calls, or nil.
func (s *source) called(call *ast.CallExpr) *ast.FuncDecl { return s.declaration(call.Fun) }

func (s *source) declaration(e ast.Expr) *ast.FuncDecl {
	switch f := e.(type) {
	case *ast.Ident:
		return s.functions[s.info.Uses[f]]
	case *ast.SelectorExpr:
		return s.functions[s.info.Uses[f.Sel]]
	}
	return nil
}

// libraryField is the setting of a field of a type of another package.
type libraryField struct {
	field *types.Var
	value ast.Expr
}

// libraryFields returns the fields of other packages' structs that the last node of a path sets.
func (s *source) libraryFields(path []ast.Node) []libraryField {
	var set []libraryField
	add := func(name *ast.Ident, value ast.Expr) {
		if field, is := s.info.Uses[name].(*types.Var); is && field.IsField() && field.Pkg() != s.pkg {
			set = append(set, libraryField{field, value})
		}
	}
	switch node := path[len(path)-1].(type) {
	case *ast.KeyValueExpr:
		if name, is := node.Key.(*ast.Ident); is {
			add(name, node.Value)
		}
	case *ast.AssignStmt:
		for i, target := range node.Lhs {
			if selector, is := target.(*ast.SelectorExpr); is && len(node.Rhs) == len(node.Lhs) {
				add(selector.Sel, node.Rhs[i])
			}
		}
	}
	return set
}

func mixesCalls(_ *source, path []ast.Node) bool {
	assignment := severalValues(path)
	calls := 0
	if assignment != nil {
		for _, value := range assignment.Rhs {
			if _, is := value.(*ast.CallExpr); is {
				calls++
			}
		}
	}
	return calls > 0 && calls < len(assignment.Rhs)
}

// returnsBuiltins finds a return of what append, len or cap returns after another value.
func returnsBuiltins(_ *source, path []ast.Node) bool {
	statement, is := path[len(path)-1].(*ast.ReturnStmt)
	if !is {
		return false
	}
	for place, value := range statement.Results {
		if call, is := value.(*ast.CallExpr); is && place > 0 {
			if name, is := call.Fun.(*ast.Ident); is && (name.Name == "append" || name.Name == "len" || name.Name == "cap") {
				return true
			}
		}
	}
	return false
}

// returnsReceived finds a return of what is received.
func returnsReceived(_ *source, path []ast.Node) bool {
	statement, is := last[*ast.ReturnStmt](path)
	if !is {
		return false
	}
	for _, value := range statement.Results {
		if operation, is := value.(*ast.UnaryExpr); is && operation.Op == token.ARROW {
			return true
		}
	}
	return false
}

// selects finds a select statement.
func selects(_ *source, path []ast.Node) bool {
	_, is := last[*ast.SelectStmt](path)
	return is
}

// listsConditions finds a case with several conditions.
func listsConditions(_ *source, path []ast.Node) bool {
	statement, is := last[*ast.SwitchStmt](path)
	if !is || statement.Tag != nil {
		return false
	}
	for _, clause := range statement.Body.List {
		if len(clause.(*ast.CaseClause).List) > 1 {
			return true
		}
	}
	return false
}

func assignsNil(s *source, path []ast.Node) bool {
	if assignment := severalValues(path); assignment != nil {
		for _, value := range assignment.Rhs {
			if s.info.Types[value].IsNil() {
				return true
			}
		}
	}
	return false
}

// discardsOK finds v, _ := x.(T), and the same of a map, where v may be older than the statement.
func discardsOK(_ *source, path []ast.Node) bool {
	assignment, is := last[*ast.AssignStmt](path)
	if !is || len(assignment.Lhs) != 2 || len(assignment.Rhs) != 1 || isBlank(assignment.Lhs[0]) || !isBlank(assignment.Lhs[1]) {
		return false
	}
	switch assignment.Rhs[0].(type) {
	case *ast.TypeAssertExpr, *ast.IndexExpr:
		return assignment.Tok == token.ASSIGN || inLoop(path)
	}
	return false
}

func isBlank(e ast.Expr) bool {
	name, is := e.(*ast.Ident)
	return is && name.Name == "_"
}

// switchesOnInterface finds a switch on the value of an interface with a case that is not one. A comparison with == is right.
func switchesOnInterface(s *source, path []ast.Node) bool {
	choice, is := last[*ast.SwitchStmt](path)
	if !is || choice.Tag == nil || !s.isInterface(choice.Tag) {
		return false
	}
	for _, clause := range choice.Body.List {
		for _, value := range clause.(*ast.CaseClause).List {
			if !s.info.Types[value].IsNil() && !s.isInterface(value) {
				return true
			}
		}
	}
	return false
}

func defaultsInterface(s *source, path []ast.Node) bool {
	for _, node := range path {
		if function, is := node.(*ast.FuncDecl); is && function.Name.Name != "CreateConfig" {
			return false
		}
	}
	var targets, values []ast.Expr
	switch node := path[len(path)-1].(type) {
	case *ast.KeyValueExpr:
		targets, values = []ast.Expr{node.Key}, []ast.Expr{node.Value}
	case *ast.AssignStmt:
		targets, values = node.Lhs, node.Rhs
	}
	for i, target := range targets {
		name, _ := target.(*ast.Ident)
		if selector, is := target.(*ast.SelectorExpr); is {
			name = selector.Sel
		}
		field, is := s.info.Uses[name].(*types.Var)
		if is && field.IsField() && types.IsInterface(field.Type()) && (len(values) != len(targets) || !s.info.Types[values[i]].IsNil()) {
			return true
		}
	}
	return false
}

func selectsWithValue(_ *source, path []ast.Node) bool {
	clause, is := last[*ast.CommClause](path)
	if !is {
		return false
	}
	_, sends := clause.Comm.(*ast.SendStmt)
	_, assigns := clause.Comm.(*ast.AssignStmt)
	return sends || assigns
}

func embedsBody(s *source, path []ast.Node) bool {
	for _, set := range s.libraryFields(path) {
		own := s.ownType(s.info.TypeOf(set.value))
		if own == nil || set.field.Name() != "Body" {
			continue
		}
		if structure, is := own.Underlying().(*types.Struct); is {
			for i := 0; i < structure.NumFields(); i++ {
				if field := structure.Field(i); field.Embedded() && types.IsInterface(field.Type()) {
					return true
				}
			}
		}
	}
	return false
}

// readsUnsetResult finds a named result that is used before a statement of the function's own block has set it.
func readsUnsetResult(s *source, path []ast.Node) bool {
	function, body := functionParts(path[len(path)-1])
	if function == nil || body == nil || function.Results == nil {
		return false
	}
	for _, field := range function.Results.List {
		for _, name := range field.Names {
			if name.Name != "_" && usesUnset(s, body, s.info.Defs[name]) {
				return true
			}
		}
	}
	return false
}

func usesUnset(s *source, body *ast.BlockStmt, result types.Object) bool {
	for _, statement := range body.List {
		if uses(s, statement, result) {
			return true
		}
		if assignment, is := statement.(*ast.AssignStmt); is {
			for _, target := range assignment.Lhs {
				if name, is := target.(*ast.Ident); is && s.info.Uses[name] == result {
					return false
				}
			}
		}
	}
	return false
}

// uses reports whether a statement refers to a result, or returns it without naming it. A plain assignment to it is no use.
func uses(s *source, statement ast.Stmt, result types.Object) bool {
	nodes := []ast.Node{statement}
	if assignment, is := statement.(*ast.AssignStmt); is && assignment.Tok == token.ASSIGN {
		nodes = nil
		for _, target := range assignment.Lhs {
			if _, is := target.(*ast.Ident); !is {
				nodes = append(nodes, target)
			}
		}
		for _, value := range assignment.Rhs {
			nodes = append(nodes, value)
		}
	}
	found := false
	for _, node := range nodes {
		var literals []ast.Node
		ast.Inspect(node, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncLit:
				literals = append(literals, n)
			case *ast.ReturnStmt:
				found = found || len(n.Results) == 0 && !within(literals, n)
			case *ast.Ident:
				found = found || s.info.Uses[n] == result
			}
			return true
		})
	}
	return found
}

func within(outer []ast.Node, node ast.Node) bool {
	for _, o := range outer {
		if o.Pos() <= node.Pos() && node.End() <= o.End() {
			return true
		}
	}
	return false
}

func comparesOwnError(s *source, path []ast.Node) bool {
	switch node := path[len(path)-1].(type) {
	case *ast.CallExpr:
		if s.library(node.Fun) != "errors.As" || len(node.Args) != 2 {
			return false
		}
		target, is := s.info.TypeOf(node.Args[1]).(*types.Pointer)
		return is && s.ownType(target.Elem()) != nil
	case *ast.BinaryExpr:
		isComparison := node.Op == token.EQL || node.Op == token.NEQ
		return isComparison && (s.isInterface(node.X) && s.ownType(s.info.TypeOf(node.Y)) != nil || s.isInterface(node.Y) && s.ownType(s.info.TypeOf(node.X)) != nil)
	}
	return false
}

// labels finds a label within a case, and a break with a label within a select.
func labels(_ *source, path []ast.Node) bool {
	_, isLabel := last[*ast.LabeledStmt](path)
	branch, isBranch := last[*ast.BranchStmt](path)
	isBreak := isBranch && branch.Tok == token.BREAK && branch.Label != nil
	for i := len(path) - 1; i >= 0; i-- {
		switch path[i].(type) {
		case *ast.FuncLit, *ast.FuncDecl:
			return false
		case *ast.CaseClause:
			if isLabel {
				return true
			}
		case *ast.CommClause:
			if isLabel || isBreak {
				return true
			}
		}
	}
	return false
}

// capturesLoopVariable finds a function that is made in a loop with variables of the loop or its body, and is not called there.
func capturesLoopVariable(s *source, path []ast.Node) bool {
	literal, is := last[*ast.FuncLit](path)
	if !is {
		return false
	}
	if call, is := parent(path).(*ast.CallExpr); is && call.Fun == literal {
		_, isGo := path[len(path)-3].(*ast.GoStmt)
		_, isDefer := path[len(path)-3].(*ast.DeferStmt)
		if !isGo && !isDefer {
			return false
		}
	}
	var loops []ast.Node
	for _, node := range path {
		switch node.(type) {
		case *ast.FuncLit, *ast.FuncDecl:
			if node != literal {
				loops = nil // a variable of an outer function's loop is the outer function's
			}
		case *ast.ForStmt, *ast.RangeStmt:
			loops = append(loops, node)
		}
	}
	captures := false
	ast.Inspect(literal.Body, func(node ast.Node) bool {
		if name, is := node.(*ast.Ident); is {
			variable, is := s.info.Uses[name].(*types.Var)
			if is && !variable.IsField() && (variable.Pos() < literal.Pos() || variable.Pos() >= literal.End()) {
				for _, loop := range loops {
					captures = captures || loop.Pos() <= variable.Pos() && variable.Pos() < loop.End()
				}
			}
		}
		return true
	})
	return captures
}

func redeclaresResult(_ *source, path []ast.Node) bool {
	assignment, is := last[*ast.AssignStmt](path)
	function := innermost(path)
	if !is || assignment.Tok != token.DEFINE || function == nil || function.Results == nil {
		return false
	}
	for _, field := range function.Results.List {
		for _, result := range field.Names {
			for _, target := range assignment.Lhs {
				if name, is := target.(*ast.Ident); is && name.Name == result.Name && name.Name != "_" {
					return true
				}
			}
		}
	}
	return false
}

func assignsToMap(s *source, path []ast.Node) bool {
	assignment, is := last[*ast.AssignStmt](path)
	if !is || len(assignment.Lhs) < 2 || len(assignment.Rhs) != 1 {
		return false
	}
	for _, target := range assignment.Lhs {
		if index, is := target.(*ast.IndexExpr); is {
			if _, is := s.info.TypeOf(index.X).Underlying().(*types.Map); is {
				return true
			}
		}
	}
	return false
}

// printsStruct finds a struct of the package with unexported fields, or several, among the values of fmt, of json.Marshal, and
// of a function of the package that formats.
func printsStruct(s *source, path []ast.Node) bool {
	call, is := last[*ast.CallExpr](path)
	if !is {
		return false
	}
	name, own := s.library(call.Fun), s.called(call)
	formats := strings.HasPrefix(name, "fmt.") && !strings.Contains(name, "scan") && !strings.HasPrefix(name, "fmt.Scan") || strings.HasPrefix(name, "encoding/json.Marshal")
	if own != nil && own.Name.Name != "use" {
		signature := s.info.Defs[own.Name].Type().(*types.Signature)
		if signature.Variadic() {
			final := signature.Params().At(signature.Params().Len() - 1).Type().(*types.Slice)
			formats = types.IsInterface(final.Elem())
		}
	}
	if !formats {
		return false
	}
	for _, value := range call.Args {
		t := s.info.TypeOf(value)
		if list, is := t.Underlying().(*types.Slice); is {
			t = list.Elem()
		}
		if s.ownType(t) == nil {
			continue
		}
		if structure, is := s.ownType(t).Underlying().(*types.Struct); is {
			for i := 0; i < structure.NumFields(); i++ {
				if !structure.Field(i).Exported() {
					return true
				}
			}
		}
	}
	return false
}

// readsLaterVariable finds a variable of the package whose value is what a function makes of a variable that a later declaration
// sets.
func readsLaterVariable(s *source, path []ast.Node) bool {
	declared, is := last[*ast.ValueSpec](path)
	if !is || len(path) != 3 {
		return false
	}
	for _, value := range declared.Values {
		if reads(s, value, declared, map[*ast.FuncDecl]bool{}) {
			return true
		}
	}
	return false
}

func reads(s *source, in ast.Node, before *ast.ValueSpec, seen map[*ast.FuncDecl]bool) bool {
	found := false
	ast.Inspect(in, func(node ast.Node) bool {
		if literal, is := node.(*ast.FuncLit); is && len(seen) == 0 && in == ast.Node(literal) {
			return false // it is made, and not called
		}
		name, is := node.(*ast.Ident)
		if !is {
			return true
		}
		object := s.info.Uses[name]
		if f := s.functions[object]; f != nil && f.Body != nil && !seen[f] {
			seen[f] = true
			found = found || reads(s, f.Body, before, seen)
		}
		if len(seen) > 0 && s.variables[object] && s.isLaterWithValue(object, before) {
			found = true
		}
		return true
	})
	return found
}

// isLaterWithValue reports whether a variable of the package is declared with a value, after another, in the order of the files.
func (s *source) isLaterWithValue(object types.Object, before *ast.ValueSpec) bool {
	at, from := s.fset.Position(object.Pos()), s.fset.Position(before.Pos())
	if at.Filename < from.Filename || at.Filename == from.Filename && object.Pos() < before.End() {
		return false
	}
	hasValue := false
	for _, file := range s.files {
		ast.Inspect(file, func(node ast.Node) bool {
			if spec, is := node.(*ast.ValueSpec); is && spec.Pos() <= object.Pos() && object.Pos() < spec.End() {
				hasValue = len(spec.Values) > 0
			}
			return true
		})
	}
	return hasValue
}

// startsUnrecovered finds a goroutine, and a function of a timer, that does not begin with deferring what recovers.
func startsUnrecovered(s *source, path []ast.Node) bool {
	switch node := path[len(path)-1].(type) {
	case *ast.GoStmt:
		return !s.recovers(node.Call.Fun)
	case *ast.CallExpr:
		if s.library(node.Fun) != "time.AfterFunc" {
			return false
		}
		if s.info.TypeOf(node.Args[1]).String() == "context.CancelFunc" {
			return false // compiled code
		}
		maker, is := node.Args[1].(*ast.CallExpr)
		if !is {
			return !s.recovers(node.Args[1])
		}
		makes := s.called(maker)
		if makes == nil {
			return true
		}
		made, isReturn := makes.Body.List[len(makes.Body.List)-1].(*ast.ReturnStmt)
		return !isReturn || !s.recovers(made.Results[0])
	}
	return false
}

// recovers reports whether a function begins with a defer of a function that recovers.
func (s *source) recovers(function ast.Expr) bool {
	_, body := functionParts(function)
	if declared := s.declaration(function); declared != nil {
		body = declared.Body
	}
	if body == nil || len(body.List) == 0 {
		return false
	}
	deferred, is := body.List[0].(*ast.DeferStmt)
	if !is {
		return false
	}
	_, handler := functionParts(deferred.Call.Fun)
	if declared := s.called(deferred.Call); declared != nil {
		handler = declared.Body
	}
	recovers := false
	if handler != nil {
		ast.Inspect(handler, func(node ast.Node) bool {
			name, is := node.(*ast.Ident)
			recovers = recovers || is && s.info.Uses[name] == types.Universe.Lookup("recover")
			return true
		})
	}
	return recovers
}

// takesMethod finds a method of another package that is a value. That of what the library itself has just returned is right.
func takesMethod(s *source, path []ast.Node) bool {
	selector, is := last[*ast.SelectorExpr](path)
	if !is {
		return false
	}
	selection := s.info.Selections[selector]
	if selection == nil || selection.Kind() != types.MethodVal || selection.Obj().Pkg() == s.pkg {
		return false
	}
	call, isCall := parent(path).(*ast.CallExpr)
	returned, isReturned := selector.X.(*ast.CallExpr)
	isCalled := isCall && call.Fun == selector
	isNew := isReturned && s.library(returned.Fun) != ""
	return !isCalled && !isNew
}

func createsLogger(s *source, path []ast.Node) bool {
	selector, is := last[*ast.SelectorExpr](path)
	return is && s.library(selector) == "log.New"
}

// passesOwn finds a value of a type of the package as a variadic argument of an interface with methods, and in a field of such
// an interface in another package's struct.
func passesOwn(s *source, path []ast.Node) bool {
	hasMethods := func(t types.Type) bool {
		i, is := t.Underlying().(*types.Interface)
		return is && !i.Empty()
	}
	for _, set := range s.libraryFields(path) {
		if hasMethods(set.field.Type()) && set.field.Name() != "Body" && s.ownType(s.info.TypeOf(set.value)) != nil {
			return true
		}
	}
	call, is := last[*ast.CallExpr](path)
	if !is || s.library(call.Fun) == "" {
		return false
	}
	signature, is := s.info.TypeOf(call.Fun).(*types.Signature)
	if !is || !signature.Variadic() || call.Ellipsis.IsValid() {
		return false
	}
	final := signature.Params().Len() - 1
	for i := final; i < len(call.Args); i++ {
		if hasMethods(signature.Params().At(final).Type().(*types.Slice).Elem()) && s.ownType(s.info.TypeOf(call.Args[i])) != nil {
			return true
		}
	}
	return false
}

func panicsWithAbort(s *source, path []ast.Node) bool {
	call, is := last[*ast.CallExpr](path)
	if !is {
		return false
	}
	name, is := call.Fun.(*ast.Ident)
	if !is || s.info.Uses[name] != types.Universe.Lookup("panic") {
		return false
	}
	aborts := false
	ast.Inspect(call.Args[0], func(node ast.Node) bool {
		selector, is := node.(*ast.SelectorExpr)
		aborts = aborts || is && s.library(selector) == "net/http.ErrAbortHandler"
		return true
	})
	return aborts
}

func controlsResponse(s *source, path []ast.Node) bool {
	selector, is := last[*ast.SelectorExpr](path)
	if !is || s.info.Selections[selector] == nil {
		return false
	}
	return s.info.Selections[selector].Recv().String() == "*net/http.ResponseController" && selector.Sel.Name != "Flush" && selector.Sel.Name != "Hijack"
}

// refersToLaterFunction finds a function as a value in a closure before its declaration.
func refersToLaterFunction(s *source, path []ast.Node) bool {
	name, is := last[*ast.Ident](path)
	if !is {
		return false
	}
	function, is := s.info.Uses[name].(*types.Func)
	if !is || function.Pkg() != s.pkg || function.Parent() != s.pkg.Scope() || function.Pos() < name.Pos() {
		return false
	}
	if call, is := path[len(path)-2].(*ast.CallExpr); is && call.Fun == name {
		return false
	}
	for _, node := range path {
		if _, is := node.(*ast.FuncLit); is {
			return true
		}
	}
	return false
}

func lacksNames(_ *source, path []ast.Node) bool {
	function, _ := functionParts(path[len(path)-1])
	if function == nil {
		return false
	}
	fields := function.Params.List
	if method, is := path[len(path)-1].(*ast.FuncDecl); is && method.Recv != nil {
		fields = append(append([]*ast.Field{}, fields...), method.Recv.List...)
	}
	for _, field := range fields {
		if len(field.Names) == 0 {
			return true
		}
	}
	return false
}

func setsRangeIndex(s *source, path []ast.Node) bool {
	var targets []ast.Expr
	switch node := path[len(path)-1].(type) {
	case *ast.AssignStmt:
		targets = node.Lhs
	case *ast.IncDecStmt:
		targets = []ast.Expr{node.X}
	}
	for _, node := range path[:len(path)-1] {
		loop, is := node.(*ast.RangeStmt)
		if !is {
			continue
		}
		key, is := loop.Key.(*ast.Ident)
		for _, target := range targets {
			if name, isName := target.(*ast.Ident); is && isName && s.info.Uses[name] != nil && s.info.ObjectOf(key) == s.info.Uses[name] {
				return true
			}
		}
	}
	return false
}

// trapsIn returns the traps in code: their places and numbers.
func trapsIn(s *source) []string {
	var found []string
	for _, file := range s.files {
		var path []ast.Node
		ast.Inspect(file, func(node ast.Node) bool {
			if node == nil {
				path = path[:len(path)-1]
				return true
			}
			path = append(path, node)
			for _, trap := range traps {
				if trap.is(s, path) {
					found = append(found, fmt.Sprintf("%s: trap %d", s.fset.Position(node.Pos()), trap.number))
				}
			}
			return true
		})
	}
	sort.Strings(found)
	return found
}

// TestTraps keeps the traps of CONTRIBUTING.md out of the package.
func TestTraps(t *testing.T) {
	fset := token.NewFileSet()
	for _, place := range trapsIn(loadSource(t, fset, packageFiles(t, fset), importer.ForCompiler(fset, "gc", exportData(t)))) {
		t.Errorf("%s of CONTRIBUTING.md", place)
	}
}

// TestTrapsAreFound shows that TestTraps would fail, and where it would not.
func TestTrapsAreFound(t *testing.T) {
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", exportData(t))
	packages := []string{"context", "encoding/json", "errors", "fmt", "io", "log", "net", "net/http", "net/http/httputil", "os", "time"}
	find := func(number int, code string) bool {
		if !strings.HasPrefix(code, "func ") && !strings.HasPrefix(code, "var ") {
			code = "func _() {\n" + code + "\n}"
		}
		code = trapPrelude + "\n//line code.go:1\n" + code
		header := "package p\n"
		for _, path := range packages {
			header += fmt.Sprintf("import %q\n", path)
		}
		file, err := parser.ParseFile(fset, fmt.Sprintf("%d.go", fset.Base()), header+code, parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("%v in %s", err, code)
		}
		for _, place := range trapsIn(loadSource(t, fset, []*ast.File{file}, imports)) {
			if strings.HasPrefix(place, "code.go:") && strings.HasSuffix(place, fmt.Sprintf(": trap %d", number)) {
				return true
			}
		}
		return false
	}
	for _, trap := range traps {
		for _, code := range trap.has {
			if !find(trap.number, code) {
				t.Errorf("trap %d is not found in %s", trap.number, code)
			}
		}
		for _, code := range trap.lacks {
			if find(trap.number, code) {
				t.Errorf("trap %d is found in %s", trap.number, code)
			}
		}
	}
}

// TestContributingMarksTraps keeps the marks in the table of traps true.
func TestContributingMarksTraps(t *testing.T) {
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for _, row := range regexp.MustCompile(`(?m)^\| (\d+) \|.*\| found \|$`).FindAllStringSubmatch(string(text), -1) {
		got = append(got, row[1])
	}
	for _, trap := range traps {
		want = append(want, fmt.Sprint(trap.number))
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("CONTRIBUTING.md marks the traps %v as found, want %v", got, want)
	}
}
