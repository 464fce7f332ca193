package chatcompletion

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

// segment is a piece of a body: bytes that stay, or something planted with the number of its characters.
type segment struct {
	raw     string
	planted int
}

// bodyMaker makes random bodies with planted texts, in random escapes.
type bodyMaker struct {
	rand    *rand.Rand
	planted []string // in the bodies so far
	plants  int      // one text in so many has something planted; 0: none
}

// plants are what the rules of the fuzz test match.
var plants = []string{
	"sk-proj-abcdefghij0123456789", "AKIAIOSFODNN7EXAMPLE", "4111 1111 1111 1111", "5555555555554444", "3782-822463-10005", "project-aurora", "Project-AURORA",
}

// apart are texts beside which a plant is one for all rules.
var apart = []string{" ", "\n", ", ", "(", ")", ": ", "\t", "é ", "😀", "“", "\" ", " \\ ", "/", "<", "\u0000", "\u2028"}

var fillers = []string{"Hi", "What is the sum?", "a\\b", "C:\\new\\table", "\"quoted\"", "{\"a\":[1,2]}", "日本語", "😀😀", "x\r\ny", "1234 5678", "\\u0041", "4111-1111-1111-1112", "é", "\x7f"}

func (m *bodyMaker) pick(list []string) string { return list[m.rand.Intn(len(list))] }

// escaped returns a text as the content of a JSON string, each character in one of its escapes.
func (m *bodyMaker) escaped(text string) string {
	var raw strings.Builder
	lot := m.rand.Intn(3)
	for _, char := range text {
		short := map[rune]string{'"': `\"`, '\\': `\\`, '/': `\/`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}[char]
		mustEscape := char < ' ' || char == '"' || char == '\\'
		switch {
		case !mustEscape && (lot == 0 || m.rand.Intn(4) > 0):
			raw.WriteRune(char)
		case short != "" && m.rand.Intn(2) > 0:
			raw.WriteString(short)
		case char > 0xffff:
			char -= 0x10000
			fmt.Fprintf(&raw, `\u%04x\u%04X`, 0xd800+char>>10, 0xdc00+char&0x3ff)
		case m.rand.Intn(2) > 0:
			fmt.Fprintf(&raw, `\u%04x`, char)
		default:
			fmt.Fprintf(&raw, `\u%04X`, char)
		}
	}
	return raw.String()
}

// text returns the content of a JSON string, with something planted in it or not.
func (m *bodyMaker) text() []segment {
	segments := []segment{{raw: m.escaped(m.pick(fillers))}}
	if m.plants > 0 && m.rand.Intn(m.plants) == 0 {
		plant := m.pick(plants)
		m.planted = append(m.planted, plant)
		segments = append(segments, segment{raw: m.escaped(m.pick(apart))}, segment{m.escaped(plant), utf8.RuneCountInString(plant)}, segment{raw: m.escaped(m.pick(apart) + m.pick(fillers))})
	}
	return segments
}

// arguments returns the content of a JSON string that holds JSON.
func (m *bodyMaker) arguments() []segment {
	inner := join(plain(`{"path":"`), m.text(), plain(`","n":[1,{"`), m.text(), plain(`":"x"}],"text":"`), m.text(), plain(`"}`))
	for i := range inner {
		inner[i].raw = m.escaped(inner[i].raw)
	}
	return inner
}

func plain(text string) []segment { return []segment{{raw: text}} }

func join(parts ...[]segment) []segment {
	var all []segment
	for _, part := range parts {
		all = append(all, part...)
	}
	return all
}

// asSent and asMasked return a body as the client sends it, and as the provider gets it.
func asSent(segments []segment) string {
	var raw strings.Builder
	for _, s := range segments {
		raw.WriteString(s.raw)
	}
	return raw.String()
}

func asMasked(segments []segment) string {
	var raw strings.Builder
	for _, s := range segments {
		if s.planted > 0 {
			raw.WriteString(strings.Repeat("*", s.planted))
		} else {
			raw.WriteString(s.raw)
		}
	}
	return raw.String()
}

// fuzzedProtocol is how a protocol writes a conversation.
type fuzzedProtocol struct {
	target   string
	head     func(m *bodyMaker) []segment
	elements func(m *bodyMaker) []segment // of one turn
	tail     func(m *bodyMaker) []segment
}

const image = `{"type":"image_url","image_url":{"url":"data:image\/png;base64,` + "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk" + `"}}`

var fuzzedProtocols = []fuzzedProtocol{
	{
		"/v1/chat/completions",
		func(m *bodyMaker) []segment {
			return join(plain(`{"model":"x","messages":[{"role":"system","content":"`), m.text(), plain(`"}`))
		},
		func(m *bodyMaker) []segment {
			return join(plain(`,{"role":"user","content":[{"type":"text","text":"`), m.text(), plain(`"},`+image+`,{"type":"text", "text" : "`), m.text(),
				plain(`"}]},{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"`), m.arguments(),
				plain(`"}}]},{"role":"tool","tool_call_id":"a","content":"`), m.arguments(), plain(`"}`))
		},
		func(m *bodyMaker) []segment {
			return join(plain(`],"tools":[{"type":"function","function":{"name":"f","description":"`), m.text(), plain(`"}}],"user":"`), m.text(), plain(`"}`))
		},
	},
	{
		"/v1/responses",
		func(m *bodyMaker) []segment {
			return join(plain("{\n  \"model\": \"x\",\n  \"instructions\": \""), m.text(), plain("\",\n  \"input\": [\n{\"role\":\"user\",\"content\":\""), m.text(), plain(`"}`))
		},
		func(m *bodyMaker) []segment {
			return join(plain(`,{"type":"function_call","call_id":"a","name":"f","arguments":"`), m.arguments(), plain(`"},{"type":"function_call_output","call_id":"a","output":"`),
				m.text(), plain(`"},{"role":"user","content":[{"type":"input_text","text":"`), m.text(), plain(`"}]}`))
		},
		func(m *bodyMaker) []segment { return join(plain(`],"metadata":{"a":"`), m.text(), plain("\"}\n}")) },
	},
	{
		"/v1/messages",
		func(m *bodyMaker) []segment {
			return join(plain(`{"model":"x","max_tokens":9,"system":[{"type":"text","text":"`), m.text(), plain(`"}],"messages":[{"role":"user","content":"`), m.text(), plain(`"}`))
		},
		func(m *bodyMaker) []segment {
			return join(plain(`,{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{"`), m.text(), plain(`":"`), m.text(),
				plain(`"}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"text","text":"`), m.arguments(), plain(`"}]}]}`))
		},
		func(m *bodyMaker) []segment {
			return join(plain(`],"tools":[{"name":"f","description":"`), m.text(), plain(`","input_schema":{"type":"object"}}]}`))
		},
	},
	{
		"/v1beta/models/g:generateContent",
		func(m *bodyMaker) []segment {
			return join(plain(`{"systemInstruction":{"parts":[{"text":"`), m.text(), plain(`"}]},"contents":[{"role":"user","parts":[{"text":"`), m.text(), plain(`"}]}`))
		},
		func(m *bodyMaker) []segment {
			return join(plain(`,{"role":"model","parts":[{"functionCall":{"name":"f","args":{"a":"`), m.text(), plain(`"}}}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"`),
				m.text(), plain(`":["`), m.text(), plain(`"]}}},{"text":"`), m.text(), plain(`"}]}`))
		},
		func(*bodyMaker) []segment { return plain(`],"generationConfig":{"temperature":1}}`) },
	},
	{
		"/v1/embeddings",
		func(m *bodyMaker) []segment { return join(plain(`{"model":"x","input":["`), m.text(), plain(`"`)) },
		func(m *bodyMaker) []segment { return join(plain(`,"`), m.text(), plain(`"`)) },
		func(*bodyMaker) []segment { return plain(`]}`) },
	},
	{
		"/v1/completions",
		func(m *bodyMaker) []segment { return join(plain(`{"model":"x","prompt":["`), m.text(), plain(`"`)) },
		func(m *bodyMaker) []segment { return join(plain(` , "`), m.arguments(), plain(`"`)) },
		func(m *bodyMaker) []segment {
			return join(plain(`],"`), m.text(), plain(`":[{"`), m.text(), plain(`":null}]}`))
		},
	},
}

// guardedHandler returns an instance with rules, and what its provider gets.
func guardedHandler(t testing.TB, action string) (handler http.Handler, got func() string) {
	t.Helper()
	config := CreateConfig()
	config.Routes = map[string]string{
		"/v1/chat/completions": "completions", "/v1/responses": "responses", "/v1/messages": "messages", "/v1/embeddings": "embeddings",
		"/v1beta/models/*": "generateContent", "/v1/completions": "passthrough: governed",
	}
	config.Guard.Request.Rules = []GuardRule{
		{Name: "keys", Builtin: builtinSecretKey, Action: action}, {Name: "cards", Builtin: builtinCreditCard, Action: action},
		{Name: "aurora", Pattern: "(?i)project-aurora", Action: action},
	}
	body := ""
	handler, err := New(context.Background(), http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		all, _ := io.ReadAll(req.Body)
		body = string(all)
		rw.Header().Set("Content-Type", "application/json")
		_, _ = rw.Write([]byte("{}"))
	}), config, t.Name())
	if err != nil {
		t.Fatal(err)
	}
	return handler, func() string {
		latest := body
		body = ""
		return latest
	}
}

func sendGuarded(handler http.Handler, target, body string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, target, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, req)
	return response
}

// FuzzGuardedRequests plants secrets, cards and words at random places of conversations, in random escapes.
// Nothing of them may be in what the provider gets, all other bytes must be those of the client, and the
// memory must not make a difference.
func FuzzGuardedRequests(f *testing.F) {
	for seed := int64(0); seed < 12; seed++ {
		f.Add(seed, uint8(seed), uint8(seed%3), uint8(seed*5))
	}
	f.Fuzz(checkGuardedConversation)
}

// checkGuardedConversation sends three turns of a random conversation.
func checkGuardedConversation(t *testing.T, seed int64, protocol, actions, turns uint8) {
	m := &bodyMaker{rand: rand.New(rand.NewSource(seed)), plants: []int{0, 40, 4}[seed&0xff%3]}
	p := fuzzedProtocols[int(protocol)%len(fuzzedProtocols)]
	action := []string{actionMask, actionBlock, actionReport}[actions%3]
	handler, got := guardedHandler(t, action)
	conversation := p.head(m)
	for i := 0; i < int(turns)%30; i++ {
		conversation = join(conversation, p.elements(m))
	}
	tail := p.tail(m)
	for turn := 0; turn < 3; turn++ {
		conversation = join(conversation, p.elements(m))
		body := join(conversation, tail)
		if !json.Valid([]byte(asSent(body))) {
			t.Fatalf("the test has made an invalid body: %s", asSent(body))
		}
		want := asSent(body)
		if action == actionMask {
			want = asMasked(body)
		}
		response := sendGuarded(handler, p.target, asSent(body))
		if action == actionBlock && len(m.planted) > 0 {
			if provided := got(); provided != "" || response.Code != http.StatusBadRequest || !strings.Contains(strings.ToLower(response.Body.String()), "content") {
				t.Fatalf("with %q: got status %d, %s, and the provider %q, want a blocked request", m.planted, response.Code, response.Body, provided)
			}
			continue
		}
		provided := got()
		if provided != want {
			t.Fatalf("turn %d with %q, status %d %s:\ngot  %s\nwant %s", turn, m.planted, response.Code, response.Body, provided, want)
		}
		fresh, freshGot := guardedHandler(t, action)
		alone := sendGuarded(fresh, p.target, asSent(body))
		if body := freshGot(); body != provided {
			t.Fatalf("turn %d: without memory, the provider gets %s, with it %s", turn, body, provided)
		}
		if got, want := response.Header()[policyHeader], alone.Header()[policyHeader]; !reflect.DeepEqual(got, want) {
			t.Fatalf("turn %d: got the decision %q, want %q as without memory", turn, got, want)
		}
		if action == actionMask {
			checkNothingPlanted(t, []byte(provided), 0)
		}
	}
}

// checkNothingPlanted verifies that no text of a document has anything that was planted, nor any text of
// the JSON in its texts.
func checkNothingPlanted(t *testing.T, document []byte, level int) {
	decoder := json.NewDecoder(bytes.NewReader(document))
	for {
		token, err := decoder.Token()
		if err != nil {
			return
		}
		text, isText := token.(string)
		if !isText {
			continue
		}
		for _, plant := range plants {
			if strings.Contains(strings.ToLower(text), strings.ToLower(plant)) {
				t.Fatalf("%q has %q", text, plant)
			}
		}
		if level < 3 {
			checkNothingPlanted(t, []byte(text), level+1)
		}
	}
}
