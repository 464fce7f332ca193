package chatcompletion

import (
	"fmt"
	"hash/maphash"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// observer is a middleware and everything that can be seen of how it treats a request.
type observer struct {
	policy    *policy
	handler   http.Handler
	forwarded string
	records   []*Call
}

// observed is what could be seen of one request.
type observed struct {
	Status    int
	Header    http.Header
	Body      string
	Forwarded string // request that the provider gets; "": none
	Request   Request
	ErrorType string
}

// newObserver returns an observer that remembers, or one that does not.
func newObserver(t testing.TB, config *Config, remembers bool) *observer {
	t.Helper()
	p, err := newPolicy(config, "test")
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{policy: p}
	p.telemetry.registry = newRegistry()
	p.telemetry.sinks = append(p.telemetry.sinks, sinkFunc(func(c *Call) { o.records = append(o.records, c) }))
	for _, pr := range p.providers {
		for _, ep := range pr.endpoints {
			for _, e := range []*endpoint{ep, configOf(ep)} {
				if e != nil && e.parameters != nil {
					e.shown = sentParameters(e, spanParameters)
				}
			}
			if !remembers {
				ep.memory = nil
			}
		}
	}
	o.handler = newPolicyMiddleware(p, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		o.forwarded = req.Method + " " + req.URL.Path + " " + fmt.Sprint(req.Header) + "\n" + string(body)
	}))
	return o
}

func (o *observer) send(path, body string) observed {
	o.forwarded, o.records = "", nil
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("X-Model", "gpt-4o-mini")
	rw := httptest.NewRecorder()
	o.handler.ServeHTTP(rw, req)
	seen := observed{Status: rw.Code, Header: rw.Header(), Body: rw.Body.String(), Forwarded: o.forwarded}
	if len(o.records) > 0 {
		seen.Request, seen.ErrorType = *o.records[0].Request, o.records[0].ErrorType
	}
	return seen
}

// pair sends bodies to an observer that remembers, and to one that does not.
type pair struct {
	remembering *observer
	forgetting  *observer
}

func newPair(t testing.TB, config func() *Config) *pair {
	return &pair{newObserver(t, config(), true), newObserver(t, config(), false)}
}

// compare sends a body to both, and fails if anything differs. It returns what was seen.
func (p *pair) compare(t testing.TB, path, body string) observed {
	t.Helper()
	got, want := p.remembering.send(path, body), p.forgetting.send(path, body)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("with a memory: %s\nwithout: %s\nbody: %.3000q", summary(got), summary(want), body)
	}
	return got
}

func summary(o observed) string {
	return fmt.Sprintf("status %d %.300q %v %+v %q, forwarded %d bytes: %.500q", o.Status, o.Body, o.Header, o.Request, o.ErrorType, len(o.Forwarded), o.Forwarded)
}

// leftOut returns how many bytes of a body an endpoint does not read.
func leftOut(t testing.TB, ep *endpoint, body string) int {
	t.Helper()
	if len(body) < excerptMinBytes || !mayContinue(ep, []byte(body)) {
		return 0
	}
	x := newExcerpt(ep.memory, []byte(body))
	obj := newJSONObject(x.text)
	obj.outlined = true
	d, apiErr := decide(ep, httptest.NewRequest(http.MethodPost, "/", nil), obj)
	if apiErr != nil || !holdsForWhole(ep.memory, x, obj, d.outline) {
		return 0
	}
	return len(body) - len(x.text)
}

// conversationWriter writes a conversation as some client does.
type conversationWriter struct {
	array     string // name of the member
	separator string // between values
	colon     string
	before    string // members before the array, each with its comma
	after     string // members after it, each after a comma
	target    string // path of the request; empty: that of OpenAI's API
	marks     int    // elements at the end that are marked for the cache
}

var conversationWriters = map[string]conversationWriter{
	"compact, tools last":        {array: "messages", separator: ",", colon: ":", before: `{"model":"gpt-4o",`, after: `,"tools":` + manyTools(12) + `,"temperature":0.2}`},
	"compact, tools first":       {array: "messages", separator: ",", colon: ":", before: `{"model":"gpt-4o","tools":` + manyTools(12) + `,`, after: `,"stream":true}`},
	"spaced, tools last":         {array: "messages", separator: ", ", colon: ": ", before: `{"model": "gpt-4o", `, after: `, "tools": ` + strings.ReplaceAll(manyTools(12), `,"`, `, "`) + `, "max_tokens": 100}`},
	"spaced, tools first":        {array: "messages", separator: ", ", colon: ": ", before: `{"tools": ` + strings.ReplaceAll(manyTools(12), `,"`, `, "`) + `, `, after: `, "model": "x"}`},
	"indented":                   {array: "messages", separator: ",\n    ", colon: ": ", before: "{\n  \"model\": \"gpt-4o\",\n  ", after: "\n}"},
	"responses":                  {array: "input", separator: ",", colon: ":", before: `{"model":"gpt-4o","instructions":"Be brief.",`, after: `,"tools":` + typedTools(12) + `,"store":false}`},
	"responses, spaced":          {array: "input", separator: ", ", colon: ": ", before: `{"model": "gpt-4o", `, after: `, "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object", "description": "` + strings.Repeat("long ", 300) + `"}}}}`},
	"messages":                   {array: "messages", separator: ",", colon: ":", before: `{"model":"gpt-4o","max_tokens":50,`, after: `,"system":[{"type":"text","text":"Be brief."}],"tools":` + anthropicTools(12) + `,"stream":true}`, target: "/v1/messages"},
	"messages, marks that move":  {array: "messages", separator: ",", colon: ":", before: `{"model":"gpt-4o","messages_of":1,`, after: `,"tools":` + anthropicTools(12) + `,"max_tokens":50}`, target: "/v1/messages", marks: 3},
	"messages, spaced, one mark": {array: "messages", separator: ", ", colon: ": ", before: `{"max_tokens": 50, "system": "Be \"brief\".", "tools": ` + strings.ReplaceAll(anthropicTools(12), `,"`, `, "`) + `, `, after: `, "model": "gpt-4o", "temperature": 1}`, target: "/v1/messages", marks: 1},
	"chat, marks that move":      {array: "messages", separator: ",", colon: ":", before: `{"model":"gpt-4o",`, after: `,"tools":` + manyTools(12) + `}`, marks: 2},
	"contents":                   {array: "contents", separator: ",", colon: ":", before: `{`, after: `,"systemInstruction":{"parts":[{"text":"Be brief."}]},"tools":` + declaredTools(12) + `,"generationConfig":{"temperature":0.2,"maxOutputTokens":5000}}`, target: "/v1beta/models/gpt-4o:generateContent"},
	"contents, config first":     {array: "contents", separator: ", ", colon: ": ", before: `{"generationConfig": {"topP": 0.5, "stopSequences": ["a"]}, "tools": ` + strings.ReplaceAll(declaredTools(12), `,"`, `, "`) + `, `, after: `, "safetySettings": []}`, target: "/v1beta/models/gpt-4o:streamGenerateContent"},
	"contents, without a config": {array: "contents", separator: ",\n    ", colon: ": ", before: "{\n  ", after: "\n}", target: "/v1beta/models/gpt-4o:generateContent"},
}

// body returns the body with some elements.
func (w conversationWriter) body(elements []string) string {
	elements = append([]string{}, elements...)
	for i := len(elements) - w.marks; i >= 0 && i < len(elements); i++ {
		elements[i] = w.marked(elements[i])
	}
	return w.before + `"` + w.array + `"` + w.colon + "[" + strings.Join(elements, w.separator) + "]" + w.after
}

// marked returns an element whose last content block is marked for the cache, if it has one.
func (w conversationWriter) marked(element string) string {
	last := strings.LastIndex(element, "}]")
	if last < 0 || strings.Contains(element[last:], `"tool_calls"`) {
		return element
	}
	return element[:last] + w.separator + `"cache_control"` + w.colon + `{"type"` + w.colon + `"ephemeral"}` + element[last:]
}

func (w conversationWriter) path() string {
	if w.target != "" {
		return w.target
	}
	if w.array == "input" {
		return "/v1/responses"
	}
	return "/v1/chat/completions"
}

func manyTools(n int) string {
	tools := make([]string, n)
	for i := range tools {
		tools[i] = fmt.Sprintf(`{"type":"function","function":{"name":"tool_%d","description":"Reads the \"file\" number %d.","parameters":{"type":"object","properties":{"path":{"type":"string"},"line":{"anyOf":[{"type":"integer"},{"type":"null"}]}},"required":["path"]}}}`, i, i)
	}
	return "[" + strings.Join(tools, ",") + "]"
}

func typedTools(n int) string {
	tools := make([]string, n)
	for i := range tools {
		tools[i] = fmt.Sprintf(`{"type":"function","name":"tool_%d","description":"Reads the \"file\" number %d.","parameters":{"type":"object","properties":{"path":{"type":"string"}},"required":["path"]}}`, i, i)
	}
	return "[" + strings.Join(tools, ",") + "]"
}

func anthropicTools(n int) string {
	tools := make([]string, n)
	for i := range tools {
		tools[i] = fmt.Sprintf(`{"name":"tool_%d","description":"Reads the \"file\" number %d.","input_schema":{"type":"object","properties":{"path":{"type":"string"},"model":{"enum":["a","b"]}},"required":["path"]}}`, i, i)
	}
	return "[" + strings.Join(tools, ",") + "]"
}

func declaredTools(n int) string {
	tools := make([]string, n)
	for i := range tools {
		tools[i] = fmt.Sprintf(`{"name":"tool_%d","description":"Reads the \"file\" number %d.","parameters":{"type":"OBJECT","properties":{"path":{"type":"STRING"}},"required":["path"]}}`, i, i)
	}
	return `[{"functionDeclarations":[` + strings.Join(tools, ",") + "]}]"
}

// randomArguments returns the arguments of a call, or what such an object may hide.
func randomArguments(r *rand.Rand) string {
	return []string{
		`{"path":"a.go","edits":[{"old":"a","new":"b"},{"old":"c","new":null}]}`,
		fmt.Sprintf(`{"path":"/src/%d.go","lines":[%d,%d],"all":%t}`, r.Intn(100), r.Intn(100), r.Intn(100), r.Intn(2) == 0),
		fmt.Sprintf(`{"command":"grep -n \"%d\" */*.go | sort","timeout":%d}`, r.Intn(1e6), r.Intn(1000)),
		`{}`, `{"":"` + "\x7f" + `"}`, `{"\u0000":"\\"}`, `{"a":"\/"}`, `{"b":"a\"}{\"b"}`, `{ "x" : 1 }`,
		`{"input":{"input":{"args":{"response":{"deep":[[[{}]]]}}}},"args":1,"response":null}`,
		`{"model":"gpt-5","type":3,"role":7,"content":[],"cache_control":{"type":"ephemeral"}}`,
		`{"values":[` + strings.Repeat(`[{"a":1}],`, r.Intn(300)) + `0]}`,
		`{"text":"` + strings.Repeat("a long text ", 1+r.Intn(20)) + `"}`,
	}[r.Intn(13)]
}

// elements returns n elements of a conversation, in the orders of names that clients write.
func (w conversationWriter) elements(r *rand.Rand, n int) []string {
	list := make([]string, n)
	for i := range list {
		id := fmt.Sprintf("call_%08x", r.Uint32())
		text := strconv.Quote(strings.Repeat(fmt.Sprintf("line %d \"of\" {\"a\":[1,2]},{\"b\":3}\n", r.Intn(100)), 1+r.Intn(8)))
		arguments := randomArguments(r)
		forms := []string{
			`{"role":"user","content":` + text + `}`,
			`{"content":` + text + `,"role":"assistant"}`,
			`{"role":"assistant","content":null,"tool_calls":[{"id":"` + id + `","type":"function","function":{"name":"tool_1","arguments":"{\"path\":\"a.go\"}"}},{"id":"` + id + `b","type":"function","function":{"name":"tool_2","arguments":"{}"}}]}`,
			`{"role":"tool","tool_call_id":"` + id + `","content":` + text + `}`,
			`{"content":[{"type":"text","text":` + text + `},{"type":"text","text":"short"}],"role":"user"}`,
			`{"role":"assistant","content":"ok","name":"model"}`,
		}
		if w.array == "input" {
			forms = []string{
				`{"role":"user","content":` + text + `}`,
				`{"type":"function_call","call_id":"` + id + `","name":"tool_1","arguments":"{\"path\":\"a.go\"}"}`,
				`{"call_id":"` + id + `","output":` + text + `,"type":"function_call_output"}`,
				`{"id":"rs_` + id + `","summary":[{"type":"summary_text","text":` + text + `}],"type":"reasoning"}`,
				`{"type":"message","role":"user","content":[{"type":"input_text","text":` + text + `}]}`,
			}
		}
		switch w.target {
		case "":
		case "/v1/messages":
			forms = []string{
				`{"role":"user","content":` + text + `}`,
				`{"role":"assistant","content":[{"type":"text","text":` + text + `},{"type":"tool_use","id":"toolu_` + id + `","name":"tool_1","input":` + arguments + `}]}`,
				`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_` + id + `","content":` + text + `},{"tool_use_id":"b","content":[{"type":"text","text":` + text + `}],"type":"tool_result"}]}`,
				`{"content":[{"type":"thinking","thinking":` + text + `,"signature":"EqQB` + id + `"}],"role":"assistant"}`,
				`{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aGk="}},{"type":"text","text":"short"}]}`,
			}
		default:
			forms = []string{
				`{"role":"user","parts":[{"text":` + text + `}]}`,
				`{"parts":[{"text":` + text + `,"thought":true},{"functionCall":{"name":"tool_1","args":` + arguments + `},"thoughtSignature":"` + id + `"}],"role":"model"}`,
				`{"role":"user","parts":[{"functionResponse":{"name":"tool_1","response":{"output":` + text + `}}},{"functionResponse":{"name":"tool_2","response":` + arguments + `}}]}`,
				`{"role":"model","parts":{"text":` + text + `}}`,
			}
		}
		list[i] = forms[r.Intn(len(forms))]
		if w.separator != "," {
			list[i] = strings.NewReplacer(`","`, `"`+w.separator+`"`, `":"`, `"`+w.colon+`"`, `":[`, `"`+w.colon+`[`).Replace(list[i])
		}
	}
	return list
}

// memoryConfigs are configurations whose decisions depend on different things.
var memoryConfigs = map[string]func() *Config{
	"no rules": CreateConfig,
	"rules":    governedConfig,
	"template": func() *Config {
		config := CreateConfig()
		config.Model = "$(headers.x-model)"
		return config
	},
	"report": func() *Config {
		config := governedConfig()
		config.Mode = modeReport
		return config
	},
	"rules for large values": func() *Config {
		config := CreateConfig()
		config.Params.Extra = map[string]any{"tools": []any{}, "response_format": map[string]any{"type": "text"}, "text": map[string]any{}}
		return config
	},
	"dropped tools": func() *Config {
		config := CreateConfig()
		config.DropParams = []string{"tools"}
		return config
	},
	"other provider": func() *Config {
		config := governedConfig()
		config.Provider = "ollama"
		return config
	},
	"allowed models": func() *Config {
		config := CreateConfig()
		config.AllowModelOverride = true
		config.AllowedModels = []string{"gpt-4o"}
		return config
	},
}

func withRoutes(config func() *Config) func() *Config {
	return func() *Config {
		c := config()
		c.Routes = map[string]string{
			"/v1/chat/completions": "completions", "/v1/responses": "responses", "/v1/messages": "messages", "/v1beta/models/*": "generateContent",
		}
		return c
	}
}

// endpoint returns the endpoint that the requests of a writer are for.
func (w conversationWriter) endpoint(t *testing.T, p *policy) *endpoint {
	t.Helper()
	all := p.providers[0].endpoints
	switch {
	case w.target == "/v1/messages":
		return all[messages]
	case w.target != "":
		ep, apiErr := pathEndpoint(p.providers[0].modelPaths, httptest.NewRequest(http.MethodPost, w.target, nil))
		if apiErr != nil {
			t.Fatal(apiErr.message)
		}
		return ep
	case w.array == "input":
		return all[responses]
	}
	return all[completions]
}

func TestConversationIsReadOnce(t *testing.T) {
	for name, w := range conversationWriters {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, withRoutes(governedConfig))
			ep := w.endpoint(t, p.remembering.policy)
			elements := w.elements(rand.New(rand.NewSource(1)), 60)
			for n := 20; n <= 60; n += 2 {
				body := w.body(elements[:n])
				known := len(w.before) + len(strings.Join(elements[:n-2], w.separator))
				if n > 20 && leftOut(t, ep, body) < known/2 {
					t.Errorf("%d elements: %d bytes of %d are not read, want at least %d", n, leftOut(t, ep, body), len(body), known/2)
				}
				if seen := p.compare(t, w.path(), body); seen.Forwarded == "" {
					t.Fatalf("%d elements: refused with %s", n, seen.Body)
				}
			}
		})
	}
}

// TestMemoryChangesNothing sends random conversations that grow, fork and are damaged.
func TestMemoryChangesNothing(t *testing.T) {
	for name, config := range memoryConfigs {
		for client, w := range conversationWriters {
			t.Run(name+"/"+client, func(t *testing.T) {
				p := newPair(t, withRoutes(config))
				r := rand.New(rand.NewSource(7))
				for i := 0; i < 2; i++ {
					elements := w.elements(r, 40)
					for n := 4 + r.Intn(10); n <= len(elements); n += 1 + r.Intn(6) {
						body := w.body(elements[:n])
						p.compare(t, w.path(), body)
						p.compare(t, w.path(), damaged(r, body))
						p.compare(t, w.path(), damaged(r, body))
					}
				}
			})
		}
	}
}

// damaged returns a body with one change.
func damaged(r *rand.Rand, body string) string {
	at := r.Intn(len(body))
	if r.Intn(2) == 0 { // near the end of an element
		if i := strings.Index(body[at:], "}"); i >= 0 {
			at += i + r.Intn(2)
		}
	}
	inserted := []string{
		"", `"`, `\`, `,`, `]`, `}`, `{`, `[`, "\x7f", "\xff", " ", `\ud83d`, `,,`, `],"model":"gpt-5","x":[`, `],"messages":[{"role":"user","content":"x"}`, `,"tools":[1]`,
		`,{"role":"user","content":1}`, `,{"role":"nobody","content":"x"}`, `,null`, `,1`, `{"role":"user","content":"x"},`, `],"tools":[`, `"}],"model":"gpt-5","y":[{"z":"`,
		`],"max_tokens":5000,"x":[`, `],"input":[`, `],"contents":[`, `],"generationConfig":{"maxOutputTokens":9000},"x":[`, `,{"role":"user","parts":[1]}`, `,{"role":"user","content":[{}]}`, `,"cache_control":{}`, `],"max_output_tokens":1,"generation_config":{},"x":[`,
		`],"tools":[{"type":"advisor_20260301","model":"gpt-5"}],"x":[`, `],"fallbacks":[{"model":"gpt-5"}],"x":[`, `],"stream":true,"x":[`, `],"Model":"x","x":[`,
		`"input":{`, `"args": {"x":`, `"input":{"a":1},`, `},"response":{`, `],"input":{"a":[1,2]},"x":[`, `{"input":{"model":"x"}},`, `"a"input":{"b":1}`,
	}
	text := inserted[r.Intn(len(inserted))]
	switch end := at + r.Intn(40); {
	case text == "" || r.Intn(3) == 0:
		if end > len(body) {
			end = len(body)
		}
		return body[:at] + text + body[end:]
	default:
		return body[:at] + text + body[at:]
	}
}

// TestArgumentsNeedNoDecision: calls whose arguments are objects are decided on once, as those whose arguments are texts.
func TestArgumentsNeedNoDecision(t *testing.T) {
	for name, form := range map[string]struct {
		w            conversationWriter
		call, result string
	}{
		"messages": {
			conversationWriters["messages"],
			`{"role":"assistant","content":[{"type":"tool_use","id":"toolu_1","name":"tool_1","input":%s}]}`,
			`{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":"done"}]}`,
		},
		"contents": {
			conversationWriters["contents"],
			`{"role":"model","parts":[{"functionCall":{"name":"tool_1","args": %s}}]}`,
			`{"role":"user","parts":[{"functionResponse":{"name":"tool_1","response":{"lines":%d}}}]}`,
		},
	} {
		p := newPair(t, withRoutes(governedConfig))
		ep := form.w.endpoint(t, p.remembering.policy)
		r := rand.New(rand.NewSource(3))
		elements := form.w.elements(r, 20)[:1]
		decisions := 0
		for turn := 0; turn < 40; turn++ {
			arguments := fmt.Sprintf(`{"path":"/src/%d.go","pattern":"f\"%d","lines":[%d,{"a":%d}],"all":%t}`, r.Intn(1e9), r.Intn(100), r.Intn(1e9), r.Intn(100), r.Intn(2) == 0)
			result := form.result
			if strings.Contains(result, "%d") {
				result = fmt.Sprintf(result, r.Intn(1e9))
			}
			elements = append(elements, fmt.Sprintf(form.call, arguments), result)
			if seen := p.compare(t, form.w.path(), form.w.body(elements)); seen.Status != http.StatusOK {
				t.Fatalf("%s: status %d: %s", name, seen.Status, seen.Body)
			}
			if turn == 20 {
				decisions = len(ep.cache.bySkeleton)
			}
		}
		if got := len(ep.cache.bySkeleton); got != decisions || decisions == 0 {
			t.Errorf("%s: %d decisions after 40 turns, want those after 20: %d", name, got, decisions)
		}
	}
}

// TestCoveredArgumentsKeepPlaces compares the places of a skeleton with covered arguments with those of one without.
func TestCoveredArgumentsKeepPlaces(t *testing.T) {
	m := &conversationMemory{seed: maphash.MakeSeed(), arguments: [][]byte{[]byte(`"input":`), []byte(`"args":`)}}
	r := rand.New(rand.NewSource(5))
	for i := 0; i < 3000; i++ {
		body := `{"model":"a model with a name that is long"`
		for n := r.Intn(6); n >= 0; n-- {
			name := []string{"input", "args", "other", "content", "x\\\"y", "response"}[r.Intn(6)]
			body += `,"` + name + `":` + []string{"", " ", "\n"}[r.Intn(3)] + randomArguments(r) + []string{"", `,"text":"a short text"`, `,"more":"a text that is longer than others"`}[r.Intn(3)]
		}
		body += "}"
		x := wholeExcerpt(m, []byte(body))
		obj, whole := newJSONObject(x.text), newJSONObject(x.text)
		coverAll(m, x, obj)
		if readMembers(obj) != nil || readMembers(whole) != nil || len(obj.members) != len(whole.members) {
			t.Fatalf("%s: %d members, want %d", body, len(obj.members), len(whole.members))
		}
		for j := range obj.members {
			got, want := &obj.members[j], &whole.members[j]
			if bodyOffset(obj, got.start) != bodyOffset(whole, want.start) || bodyOffset(obj, got.end) != bodyOffset(whole, want.end) {
				t.Fatalf("%s: member %d at %d to %d, want %d to %d", body, j, bodyOffset(obj, got.start), bodyOffset(obj, got.end), bodyOffset(whole, want.start), bodyOffset(whole, want.end))
			}
		}
		got, want := skeletonCounts(obj.skeleton), skeletonCounts(whole.skeleton)
		addCounts(&got, &x.covered)
		if got.commas < want.commas || got.quotes < want.quotes || got.bytes < want.bytes {
			t.Fatalf("%s: counts %+v, want at least %+v", body, got, want)
		}
	}
}

// FuzzConversationMemory cuts a conversation at any byte, inserts any text there, and compares with a middleware that has seen nothing.
func FuzzConversationMemory(f *testing.F) {
	for i, text := range []string{`,`, `,,`, `]`, `],"model":"gpt-5","x":[`, `,{"role":"user"}`, `"},{"role":"user","content":"`, `\`, "\x7f", `\ud800`, `],"tools":[`, `}],"messages":[{"role":"user","content":""`, `}],"contents":[{"parts":[]`, `,"cache_control":{"type":"ephemeral"}`, `"parts":[null],`, `"input":{"a":`, `"args": {}`, `"response":{"b":[1,`} {
		f.Add(int64(i), uint8(i), uint16(i*997), uint8(i), []byte(text))
	}
	names := sortedKeys(conversationWriters)
	f.Fuzz(func(t *testing.T, seed int64, client uint8, at uint16, removed uint8, text []byte) {
		w := conversationWriters[names[int(client)%len(names)]]
		p := newPair(t, withRoutes(governedConfig))
		elements := w.elements(rand.New(rand.NewSource(seed)), 24)
		p.compare(t, w.path(), w.body(elements[:20]))
		body := w.body(elements)
		from := int(at) % len(body)
		to := from + int(removed)
		if to > len(body) {
			to = len(body)
		}
		changed := body[:from] + string(text) + body[to:]
		p.compare(t, w.path(), changed)
		p.compare(t, w.path(), body)
		p.compare(t, w.path(), changed)
	})
}

// TestUncheckedToolCallsAreNotCounted sends tool calls that are no objects, which only those of assistants must be: with and
// without memory, a conversation has as many as it likes.
func TestUncheckedToolCallsAreNotCounted(t *testing.T) {
	p := newPair(t, CreateConfig)
	calls := func(n int) string {
		return `{"role":"user","content":"Hi","tool_calls":[` + strings.TrimSuffix(strings.Repeat("1,", n), ",") + `]}`
	}
	first := `{"model":"m","messages":[` + strings.Repeat(`{"role":"user","content":"Hi"},`, 60) + calls(elementsMax)
	for _, body := range []string{first + "]}", first + "," + calls(1) + "]}", first + "," + calls(elementsMax) + "]}"} {
		if got := p.compare(t, "/v1/chat/completions", body); got.Status != http.StatusOK {
			t.Errorf("status %d, want 200", got.Status)
		}
	}
}

// TestToolsThatBeginAlikeAreAllKnown has the values of several users begin with the same tools: none drives out another.
func TestToolsThatBeginAlikeAreAllKnown(t *testing.T) {
	p, err := newPolicy(CreateConfig(), "test")
	if err != nil {
		t.Fatal(err)
	}
	m := p.providers[0].endpoints[completions].memory
	tools := m.values[0]
	texts := map[int][]byte{}
	for round := 0; round < 2; round++ {
		for user := 0; user < valueSlots; user++ {
			texts[user] = []byte("[" + strings.Repeat(" ", largeValueMinBytes) + strconv.Itoa(user) + "]")
			text := texts[user]
			storeValue(m, beginningKey(m, text), tools, knownValue{tools.id, maphash.Bytes(m.seed, text), len(text), counts{}})
		}
	}
	for user, text := range texts {
		if got := lookupValue(m, tools, text, 0); got.to != len(text) {
			t.Errorf("the tools of user %d: length %d, want %d", user, got.to, len(text))
		}
	}
}
