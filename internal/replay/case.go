// Package replay reads the scenario cases in testdata/cases and replays them against a gateway: the compiled handler,
// the handler that Traefik's plugin loader creates, or a real Traefik process, with the plugin interpreted or compiled in.
// All four must satisfy the same cases.
//
// A case is a text file of sections, each starting with a line "-- name --". The text before the first section describes the
// case:
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
// The sections are:
//
//   - "config": the configuration of the middleware as JSON.
//   - "then": the configuration of a second, chained instance after it. Default: none.
//   - "configuration error": New must fail. Each line must be part of its error. A case with this section has no
//     request.
//   - "earlier request": a request that the client sends before; repeated for several. Their responses, and what the provider
//     gets, are not compared.
//   - "earlier response": the response of the provider to each of them. Default: that to the request, and status 418 if no
//     request must reach the provider.
//   - "request": the request of the client.
//   - "provider sees": the request that the provider must get. Without it, the request must not reach the provider.
//   - "provider answers": the response of the provider to it. Default: status 200 with the body {}. If the provider gets
//     several requests, this section and "provider sees" are repeated in order.
//   - "client sees": the response that the client must get.
//   - "operator sees": the response headers that the access log must have.
//   - "each": values of {{each}}, one per line. The file is a separate case for each line, with {{each}} replaced by the line
//     everywhere else in the file. The name of the case is the name of the file, a slash, and the number of the line.
//
// In the sections whose names end in "sees", a header with the value (none) must be absent. Headers that a section does
// not name are not compared, and the body is compared only if an empty line precedes it. The target * matches any target,
// because Traefik itself cleans some paths.
//
// An informational status may precede the status of a response ("103 200"). The word "broken" after the status means that
// the body ends in an error; "broken" without a status means that the response fails before its header. A provider that
// "hangs" sends the response of the section, and then neither continues nor ends it.
//
// Bodies and header values may call {{repeat "text" times}}, {{repeated "before" "text" times "after"}}, {{gzip "text"}},
// {{zlib "text"}}, {{deflate "text"}}, {{bytes "\x00"}}, and {{crlf `text`}} for lines that end in CRLF. At each {{cut}} in its response the provider flushes, so that the
// text before it is sent in a separate packet.
//
// Anywhere in a case, {{port}} and {{port2}} are ports of 127.0.0.1 on which the provider listens for this case only, for
// configurations that name its address.
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
	Name               string         // path of the file without .txt, and the line number in its section "each"
	Config             map[string]any // configuration of the middleware
	Then               map[string]any // configuration of a chained instance after it; nil: none
	ConfigurationError []string       // parts of the error of New; nil: New succeeds
	Earlier            []Message      // requests that the client sends before
	EarlierAnswer      Message        // of the provider to them, without a status if the case has none
	Request            Message        // request of the client
	ProviderCalls      []Call
	ClientSees         Message
	OperatorSees       http.Header // response headers in the access log

	listeners map[string]net.Listener // by placeholder of their port
}

// Call is a request that the provider gets, and its response.
type Call struct {
	Sees    Message
	Answers Message
}

// Message is a request or a response, sent or expected.
type Message struct {
	Method        string
	Target        string // path and query
	Informational int    // a 1xx status before the response
	Status        int
	Broken        bool // the body ends in an error
	Hangs         bool // the body does not end
	Header        []Field
	Body          []byte
	HasBody       bool
	Packets       [][]byte // parts of the body between {{cut}}
}

// Field is a header line. If Absent, the header must not occur.
type Field struct {
	Name   string
	Value  string
	Absent bool
}

// Load reads all cases below a folder. The name of a case is its path relative to the folder.
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

// each is the placeholder for the lines of the section "each".
const each = "{{each}}"

// variants returns the cases of a file by name: one for each line of its section "each", or the file itself.
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
		case "earlier request":
			var earlier Message
			earlier, err = parseRequest(s.text)
			c.Earlier = append(c.Earlier, earlier)
		case "earlier response":
			c.EarlierAnswer, err = parseResponse(s.text)
		case "request":
			c.Request, err = parseRequest(s.text)
		case "provider sees":
			call := Call{Answers: Message{Status: http.StatusOK}}
			setBody(&call.Answers, []byte("{}"))
			call.Sees, err = parseRequest(s.text)
			c.ProviderCalls = append(c.ProviderCalls, call)
		case "provider answers":
			if len(c.ProviderCalls) == 0 {
				return c, fmt.Errorf("section %q must follow a section \"provider sees\"", s.name)
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

// placeholder matches the placeholders for ports of the provider.
var placeholder = regexp.MustCompile(`\{\{port2?\}\}`)

// listen opens a listener for every placeholder and inserts its port.
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

// sections splits a file at its marker lines. It ignores the text before the first one.
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
		return m, fmt.Errorf("%q: want a method and a target", first)
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
			return m, fmt.Errorf("%q: want a status", word)
		}
		if status < 200 {
			m.Informational = status
		} else {
			m.Status = status
		}
	}
	return m, nil
}

// parseMessage parses everything but the first line, which differs between requests and responses.
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
			return m, fmt.Errorf("%q: want a header line", line)
		}
		expanded, err := expand(strings.TrimSpace(value))
		if err != nil {
			return m, err
		}
		m.Header = append(m.Header, Field{textproto.CanonicalMIMEHeaderKey(name), string(expanded), string(expanded) == "(none)"})
	}
	return m, nil
}

// cut is the separator that {{cut}} inserts into a body until the body is split. It never occurs in UTF-8.
const cut = "\xffcut\xff"

func setBody(m *Message, body []byte) {
	m.Packets = bytes.Split(body, []byte(cut))
	m.Body, m.HasBody = bytes.Join(m.Packets, nil), true
}

var functions = template.FuncMap{
	"cut":    func() string { return cut },
	"repeat": strings.Repeat,
	"repeated": func(before, text string, times int, after string) string {
		return before + strings.Repeat(text, times) + after
	},
	"bytes": func(s string) string { return s },
	"crlf":  func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
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
