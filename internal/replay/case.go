// Package replay reads the scenario cases in testdata/cases and replays them against a gateway: the compiled handler,
// the handler behind Traefik's plugin loader, or a real Traefik process. What a case demands is the same for all three.
//
// A case is a text file of sections, each begun by a line "-- name --":
//
//	What the case shows, in prose.
//	-- config --
//	{"model": "gpt-4o"}
//	-- request --
//	POST /v1/chat/completions
//	Authorization: Bearer client
//
//	{"messages":[{"role":"user","content":"Hi"}]}
//	-- provider sees --
//	POST /v1/chat/completions
//	Authorization: (none)
//
//	{"messages":[{"role":"user","content":"Hi"}],"model":"gpt-4o"}
//	-- provider answers --
//	200
//	Content-Type: application/json
//
//	{"object":"chat.completion"}
//	-- client sees --
//	200
//	-- operator sees --
//	X-Ai-Policy: model=set
//
// config is the middleware's configuration as JSON, and "then" that of a second one behind it, if there is one. If the
// section "configuration error" stands instead of all others, each of its lines must be part of the error of New. Without
// "provider sees" the request must not reach the provider; without "provider answers" behind it the provider answers with
// the body {}. Where the provider is asked more than once, both are repeated, in order.
//
// In the sections that say what somebody sees, a header with the value (none) must be absent, headers that are not named
// are not compared, and neither is the body if no empty line begins it. The target * is any: Traefik cleans some paths
// itself. The status of an answer may be preceded by an informational one ("103 200") and followed by "broken": the body
// ends in an error, and without a status already its header. The provider that "hangs" sends what is there, and no more.
//
// Bodies and values may call {{repeat "text" times}}, {{repeated "before" "text" times "behind"}}, {{gzip "text"}},
// {{zlib "text"}}, {{deflate "text"}} and {{bytes "\x00"}}. At {{cut}} in its answer the provider flushes, so that what
// stands before travels in a packet of its own.
//
// A file with a section "each" is one case for each of its lines, which stands in the place of {{each}} anywhere else in the
// file. A case is named by its file and the number of its line.
//
// Anywhere in a case, {{port}} and {{port2}} are ports of 127.0.0.1 at which the provider listens for this case only, for
// configurations that say where it is.
package replay

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"text/template"
)

// Case is one scenario.
type Case struct {
	Name               string         // path of the file, without .txt, and the number of its line if there are several
	Config             map[string]any // of the middleware
	Then               map[string]any // of a second one behind it; nil: there is none
	ConfigurationError []string       // parts of the error of New; none: New succeeds
	Request            Message        // what the client sends
	ProviderCalls      []Call
	ClientSees         Message
	OperatorSees       http.Header // headers of the answer in the access log

	listeners map[string]net.Listener // by placeholder
}

// Call is a request that the provider gets, and its answer.
type Call struct {
	Sees    Message
	Answers Message
}

// Message is a request, an answer, or what is demanded of one.
type Message struct {
	Method        string
	Target        string // path and query
	Informational int    // a 1xx status before the answer
	Status        int
	Broken        bool // the body ends in an error
	Hangs         bool // the body does not end
	Header        []Field
	Body          []byte
	HasBody       bool
	Packets       [][]byte // the body between its cuts
}

// Field is a header line. Absent demands that there is none.
type Field struct {
	Name   string
	Value  string
	Absent bool
}

// Load reads all cases below a folder. A case is named by its path there.
func Load(t testing.TB, folder string) []Case {
	t.Helper()
	var cases []Case
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(folder, strings.TrimSuffix(path, ".txt"))
		if err != nil {
			return err
		}
		for _, v := range variants(filepath.ToSlash(name), string(content)) {
			c, err := parse(v.name, v.text)
			t.Cleanup(c.closeListeners)
			if err != nil {
				return fmt.Errorf("%s: %w", v.name, err)
			}
			cases = append(cases, c)
		}
		return nil
	})
	if err != nil || len(cases) == 0 {
		t.Fatalf("%d cases in %s: %v", len(cases), folder, err)
	}
	return cases
}

// each is where the lines of the section of this name are put in.
const each = "{{each}}"

// variants are the cases of a file by their names: one for each line of its section "each", or the file itself.
func variants(name, content string) []section {
	var all []section
	for _, s := range sections(content) {
		if s.name != "each" {
			continue
		}
		for i, line := range strings.Split(strings.TrimSuffix(s.text, "\n"), "\n") {
			all = append(all, section{fmt.Sprintf("%s/%d", name, i+1), strings.ReplaceAll(content, each, line)})
		}
	}
	if all == nil {
		return []section{{name, content}}
	}
	return all
}

func parse(name, content string) (Case, error) {
	c := Case{Name: name, listeners: map[string]net.Listener{}}
	content, err := c.listen(content)
	if err != nil {
		return c, err
	}
	for _, s := range sections(content) {
		switch s.name {
		case "each": // see variants
		case "config":
			err = json.Unmarshal([]byte(s.text), &c.Config)
		case "then":
			err = json.Unmarshal([]byte(s.text), &c.Then)
		case "configuration error":
			c.ConfigurationError = strings.Split(strings.TrimSpace(s.text), "\n")
		case "request":
			c.Request, err = parseRequest(s.text)
		case "provider sees":
			call := Call{Answers: Message{Status: http.StatusOK}}
			setBody(&call.Answers, []byte("{}"))
			call.Sees, err = parseRequest(s.text)
			c.ProviderCalls = append(c.ProviderCalls, call)
		case "provider answers":
			if len(c.ProviderCalls) == 0 {
				return c, fmt.Errorf("section %q stands before what the provider sees", s.name)
			}
			c.ProviderCalls[len(c.ProviderCalls)-1].Answers, err = parseResponse(s.text)
		case "client sees":
			c.ClientSees, err = parseResponse(s.text)
		case "operator sees":
			var m Message
			m, err = parseMessage("\n" + s.text)
			c.OperatorSees = http.Header{}
			for _, f := range m.Header {
				c.OperatorSees.Set(f.Name, f.Value)
			}
		default:
			err = fmt.Errorf("unknown section")
		}
		if err != nil {
			return c, fmt.Errorf("section %q: %w", s.name, err)
		}
	}
	if c.ConfigurationError == nil && (c.Request.Method == "" || c.ClientSees.Status == 0) {
		return c, fmt.Errorf("a case needs the sections request and client sees, or configuration error")
	}
	return c, nil
}

// placeholder is where the port of a provider is put in.
var placeholder = regexp.MustCompile(`\{\{port2?\}\}`)

// listen opens a listener for every placeholder, and puts in their ports.
func (c *Case) listen(content string) (string, error) {
	for _, name := range placeholder.FindAllString(content, -1) {
		if c.listeners[name] != nil {
			continue
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		c.listeners[name] = listener
	}
	return placeholder.ReplaceAllStringFunc(content, func(name string) string {
		return strconv.Itoa(c.listeners[name].Addr().(*net.TCPAddr).Port)
	}), nil
}

func (c *Case) closeListeners() {
	for _, listener := range c.listeners {
		_ = listener.Close()
	}
}

type section struct {
	name string
	text string
}

// sections splits a file at its marker lines. The text before the first one is for the reader.
func sections(content string) []section {
	var found []section
	for _, line := range strings.SplitAfter(content, "\n") {
		trimmed := strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(trimmed, "-- ") && strings.HasSuffix(trimmed, " --") && len(trimmed) > 6 {
			found = append(found, section{name: trimmed[3 : len(trimmed)-3]})
			continue
		}
		if len(found) > 0 {
			found[len(found)-1].text += line
		}
	}
	return found
}

func parseRequest(text string) (Message, error) {
	m, err := parseMessage(text)
	if err != nil {
		return m, err
	}
	first, _, _ := strings.Cut(text, "\n")
	method, target, ok := strings.Cut(first, " ")
	if !ok {
		return m, fmt.Errorf("%q is no method and target", first)
	}
	m.Method, m.Target = method, target
	return m, nil
}

func parseResponse(text string) (Message, error) {
	m, err := parseMessage(text)
	if err != nil {
		return m, err
	}
	first, _, _ := strings.Cut(text, "\n")
	for _, word := range strings.Fields(first) {
		if word == "broken" || word == "hangs" {
			m.Broken, m.Hangs = word == "broken", word == "hangs"
			continue
		}
		status, err := strconv.Atoi(word)
		if err != nil {
			return m, fmt.Errorf("%q is no status", word)
		}
		if status < 200 {
			m.Informational = status
		} else {
			m.Status = status
		}
	}
	return m, nil
}

// parseMessage reads all but the first line, which differs between requests and answers.
func parseMessage(text string) (Message, error) {
	var m Message
	_, rest, _ := strings.Cut(text, "\n")
	for rest != "" {
		var line string
		line, rest, _ = strings.Cut(rest, "\n")
		if line == "" {
			body, err := expand(strings.TrimSuffix(rest, "\n"))
			setBody(&m, body)
			return m, err
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return m, fmt.Errorf("%q is no header", line)
		}
		expanded, err := expand(strings.TrimSpace(value))
		if err != nil {
			return m, err
		}
		m.Header = append(m.Header, Field{textproto.CanonicalMIMEHeaderKey(name), string(expanded), string(expanded) == "(none)"})
	}
	return m, nil
}

// cut is what {{cut}} leaves in a body until it is split. No UTF-8 holds it.
const cut = "\xffcut\xff"

func setBody(m *Message, body []byte) {
	m.Packets = bytes.Split(body, []byte(cut))
	m.Body, m.HasBody = bytes.Join(m.Packets, nil), true
}

var functions = template.FuncMap{
	"cut":    func() string { return cut },
	"repeat": strings.Repeat,
	"repeated": func(before, text string, times int, behind string) string {
		return before + strings.Repeat(text, times) + behind
	},
	"bytes": func(s string) string { return s },
	"gzip": func(s string) string {
		return compress(s, func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	},
	"zlib": func(s string) string {
		return compress(s, func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	},
	"deflate": func(s string) string { return compress(s, newFlateWriter) },
}

func newFlateWriter(w io.Writer) io.WriteCloser {
	f, err := flate.NewWriter(w, flate.DefaultCompression)
	if err != nil {
		panic(err)
	}
	return f
}

func compress(text string, newWriter func(io.Writer) io.WriteCloser) string {
	var compressed bytes.Buffer
	w := newWriter(&compressed)
	if _, err := io.WriteString(w, text); err != nil {
		panic(err)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return compressed.String()
}

func expand(text string) ([]byte, error) {
	if !strings.Contains(text, "{{") {
		return []byte(text), nil
	}
	parsed, err := template.New("").Funcs(functions).Parse(text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = parsed.Execute(&out, nil)
	return out.Bytes(), err
}
