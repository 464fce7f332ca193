package chatcompletion

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// chatWriter writes the conversations of the tests below, with known tools.
var chatWriter = conversationWriters["compact, tools last"]

// someElements returns 40 elements, which are worth remembering.
func someElements(w conversationWriter) []string {
	return w.elements(rand.New(rand.NewSource(3)), 40)
}

// TestExcerptHoldsForWhole sends good bodies, and then one that must not be taken for known.
func TestExcerptHoldsForWhole(t *testing.T) {
	w := chatWriter
	elements := someElements(w)
	known := strings.Join(elements, ",")
	good := w.body(elements)
	user := `{"role":"user","content":"Hi"}`
	next := func(text string) string { return w.before + `"messages":[` + known + "," + text + w.after }
	longString := `"` + strings.Repeat("long ", 20) + `"`
	tools := manyTools(12)
	functions := "[" + strings.Repeat(`{"name":"f","parameters":{"type":"object","properties":{"path":{"type":"string"}}}},`, 80) + `{"name":"g"}]`
	tests := []struct {
		name    string
		earlier []string
		body    string
		status  int
	}{
		{"the next turn", nil, next(user + `]`), 200},
		{"the same turn", nil, good, 200},
		{"a message that is no object", nil, next(`1]`), 400},
		{"no message", nil, next(`]`), 400},
		{"two commas", nil, w.before + `"messages":[` + known + ",," + user + `]` + w.after, 400},
		{"no comma", nil, w.before + `"messages":[` + known + user + `]` + w.after, 400},
		{"a comma after the last message", nil, next(user + `,]`), 400},
		{"an unclosed message", nil, next(`{"role":"user","content":"Hi"]`), 400},
		{"a message of an unknown role", nil, next(`{"role":"nobody","content":"Hi"}]`), 400},
		{"a message of an unknown role among good ones", nil, next(user + `,{"role":"nobody","content":"Hi"},` + user + `]`), 400},
		{"a role that is half a surrogate pair", nil, next(`{"role":"\ud800","content":"Hi"}]`), 400},
		{"a role that is not UTF-8", nil, next("{\"role\":\"\xff\",\"content\":\"Hi\"}]"), 400},
		{"an invalid escape in a short text", nil, next(`{"role":"user","content":"\q"}]`), 400},
		{"an invalid number", nil, next(`{"role":"user","content":"Hi","x":01}]`), 400},
		{"a control character in a name", nil, next("{\"role\":\"user\",\"content\":\"Hi\",\"x\x01\":1}]"), 400},
		{"a placeholder of the client", nil, next("{\"role\":\"user\",\"content\":\"\x7f\",\"x\":\"\x7f\"}]"), 200},
		{"a second model after the messages", nil, next(user + `],"model":"gpt-5","x":[1]`), 400},
		{"second messages", nil, next(user + `],"messages":[` + user + `]`), 400},
		{"the same messages again", nil, next(user + `],"messages":[` + known + `]`), 400},
		{"a second ceiling in another spelling", nil, next(user + `],"maxTokens":9999,"x":[1]`), 400},
		{"nested messages", nil, next(user + `],"x":{"messages":[` + known + `]}`), 200},
		{"another model before the messages", nil, strings.Replace(good, "gpt-4o", "gpt-5x", 1), 200},
		{"a model in a string before the messages", nil, strings.Replace(good, `"model":"gpt-4o"`, `"x":"\"model\""`, 1), 200},
		{"two models before the messages", nil, strings.Replace(good, `{"model"`, `{"model":"gpt-5","model"`, 1), 400},
		{"messages before the messages", nil, strings.Replace(good, `{"model"`, `{"messages":[],"model"`, 1), 400},
		{"another byte in an old text", nil, strings.Replace(good, "line ", "lime ", 1), 200},
		{"a quote in an old text", nil, strings.Replace(good, "line ", `lin" `, 1), 400},
		{"an old escape without its backslash", nil, strings.Replace(good, `\"`, `x"`, 1), 400},
		{"an old role that is unknown", nil, strings.Replace(good, `"role":"user"`, `"role":"uses"`, 1), 400},
		{"the known text in a string", nil, w.before + `"messages":[{"role":"user","content":"` + known + `"}]` + w.after, 400},
		{"the known text in an escaped string", nil, w.before + `"messages":[{"role":"user","content":"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(known) + `"},` + user + `]` + w.after, 200},
		{"known messages of an object within", []string{`{"model":"gpt-4o","messages":[` + user + `],"x":{"messages":[` + known + `]}}`}, `{"model":"gpt-4o","messages":[` + user + `],"x":{"messages":[` + known + `,{"role":"nobody"}]}}`, 200},
		{"a name of an old message in a number", []string{next(`{"role":"user","content":"Hi","x":1}]`)}, next(`{"role":"user","content":"Hi","x":1}` + user + `]`), 400},
		{"tools given twice", nil, next(user + `],"tools":` + tools + `,"x":[1]`), 400},
		{"known tools as functions", []string{`{"model":"gpt-4o","messages":[` + user + `],"functions":` + functions + `}`}, `{"model":"gpt-4o","messages":[` + known + `],"functions":` + tools + `}`, 400},
		{"known functions as tools", []string{`{"model":"gpt-4o","messages":[` + user + `],"functions":` + functions + `}`}, `{"model":"gpt-4o","messages":[` + known + `],"tools":` + functions + `}`, 400},
		{"known tools elsewhere", nil, `{"model":"gpt-4o","messages":[` + known + `],"x":{"tools":` + tools + `}}`, 200},
		{"known tools as stream options", nil, `{"model":"gpt-4o","stream":true,"messages":[` + known + `],"stream_options":{"tools":` + tools + `}}`, 200},
		{"known tools as metadata", nil, `{"model":"gpt-4o","messages":[` + known + `],"metadata":{"tools":` + tools + `}}`, 400},
		{"known tools in a name", nil, `{"model":"gpt-4o","messages":[` + known + `],"\"tools":` + tools + `}`, 200},
		{"known tools in another spelling", nil, `{"model":"gpt-4o","messages":[` + known + `],"Tools":` + tools + `}`, 400},
		{"known tools, and more", nil, `{"model":"gpt-4o","messages":[` + known + `],"tools":` + tools + `1}`, 400},
		{"known tools without their end", nil, strings.Replace(good, `}]`+w.after[len(w.after)-20:], `}`+w.after[len(w.after)-20:], 1), 200},
		{"a long name after the text model", []string{next(`{"role":"assistant","content":"ok","name":"model"}]`)}, next(`{"role":"assistant","content":"ok","name":"model"},{"` + strings.Repeat("n", 40) + `\q":1,"role":"user","content":"Hi"}]`), 200},
		{"an invalid escape in a known long text", []string{w.before + `"messages":[` + known + `,{"role":"user","content":` + strings.Replace(longString, "long", `\qong`, 1) + `}]` + w.after}, w.before + `"messages":[` + known + `,{"role":"user","content":` + strings.Replace(longString, "long", `\qong`, 1) + `},` + user + `]` + w.after, 200},
		{"an unknown role in a known turn", []string{next(`{"role":"nobody","content":"Hi"}]`)}, next(`{"role":"nobody","content":"Hi"},` + user + `]`), 400},
	}
	for _, config := range []string{"rules", "no rules", "template", "report", "allowed models"} {
		for _, test := range tests {
			t.Run(config+"/"+test.name, func(t *testing.T) {
				p := newPair(t, withRoutes(memoryConfigs[config]))
				for _, body := range append([]string{good}, test.earlier...) {
					p.compare(t, w.path(), body)
				}
				got := p.compare(t, w.path(), test.body)
				if config == "rules" && got.Status != test.status {
					t.Errorf("status %d, want %d: %.300s", got.Status, test.status, got.Body)
				}
				p.compare(t, w.path(), test.body)
				p.compare(t, w.path(), good)
			})
		}
	}
}

// TestWholeConversationIsBounded grows conversations over each bound, one message at a time.
func TestWholeConversationIsBounded(t *testing.T) {
	const short = `{"role":"user","content":"Hi"}`
	parts := `{"role":"user","content":[{"type":"text","text":"a"}` + strings.Repeat(`,{"type":"text","text":"a"}`, 19) + `]}`
	values := `{"role":"user","content":"Hi","x":[` + strings.Repeat("1,", 2998) + `1]}` // 3001 commas with its own
	fewer := `{"role":"user","content":"Hi","x":[` + strings.Repeat("1,", 98) + `1]}`
	spaces := `{"role":"user","content":"Hi","x":[` + strings.Repeat(`"",`, 100) + strings.Repeat(" ", 50<<10) + `1]}`
	quotes := `{"role":"user","content":"Hi","x":{` + strings.Repeat(`"":"",`, 1500) + `"":"` + strings.Repeat("long", 10) + `\q"}}`
	chat, items := conversationWriter{array: "messages", separator: ",", colon: ":", before: `{"model":"m",`, after: `}`}, conversationWriter{array: "input", separator: ",", colon: ":", before: `{"model":"m",`, after: `}`}
	withTools := conversationWriter{array: "messages", separator: ",", colon: ":", before: `{"model":"m","tools":` + manyTools(400) + `,`, after: `}`}
	tests := []struct {
		name     string
		writer   conversationWriter
		long     string // element
		longs    int
		element  string // that follows
		elements int
		accepted int // of these, with the long ones; 0: it is enough that nothing differs
	}{
		{"messages", chat, short, messagesMax - 4, short, 8, 4},
		{"content parts", chat, parts, elementsMax/20 - 2, parts, 5, 2},
		{"values", chat, values, 21, fewer, 30, 0},
		{"values with tools", withTools, values, 15, values, 8, 0},
		{"bytes", chat, spaces, 7, spaces, 6, 3},
		{"strings", chat, quotes, 8, quotes, 6, 0},
		{"items", items, short, elementsMax - 4, short, 8, 4},
		{"values of items", items, values, 21, fewer, 30, 0},
		{"strings of items", items, quotes, 8, quotes, 6, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPair(t, withRoutes(CreateConfig))
			var elements []string
			for i := 0; i < test.longs; i++ {
				elements = append(elements, test.long)
			}
			rejected := false
			for n := 1; n <= test.elements; n++ {
				elements = append(elements, test.element)
				got := p.compare(t, test.writer.path(), test.writer.body(elements))
				rejected = got.Status != http.StatusOK
				if test.accepted > 0 && rejected != (n > test.accepted) {
					t.Errorf("%d elements: status %d, want 200 up to %d", len(elements), got.Status, test.longs+test.accepted)
				}
			}
			if !rejected && !strings.HasPrefix(test.name, "strings") {
				t.Error("the last body is accepted")
			}
		})
	}
}

// TestValuesAreCountedToTheLast sends two turns of a conversation with as many values as a body may have, and with one more.
func TestValuesAreCountedToTheLast(t *testing.T) {
	for extra, status := range []int{http.StatusOK, http.StatusBadRequest} {
		p := newPair(t, CreateConfig)
		w := conversationWriter{array: "messages", separator: ",", colon: ":", before: `{"model":"m",`, after: `}`}
		first := []string{}
		for i := 0; i < 200; i++ {
			first = append(first, `{"role":"user","content":"Hi"}`) // 2 commas with the one after it
		}
		rest := maxValues - 1 - 1 - 400 - 2 + extra // without those of the model, the first elements, and the last one
		last := `{"role":"user","content":"Hi","x":[` + strings.Repeat("1,", rest) + `1]}`
		p.compare(t, w.path(), w.body(first))
		if got := p.compare(t, w.path(), w.body(append(first, last))); got.Status != status {
			t.Errorf("%d values too many: status %d, want %d", extra, got.Status, status)
		}
	}
}

// TestTurnIsKnownByEveryByte stores what collides with a turn in everything but the hash of the whole.
func TestTurnIsKnownByEveryByte(t *testing.T) {
	w := chatWriter
	p := newPair(t, withRoutes(governedConfig))
	ep := p.remembering.policy.providers[0].endpoints[completions]
	elements := someElements(w)
	p.compare(t, w.path(), w.body(elements[:38]))
	want := leftOut(t, ep, w.body(elements))
	forged := strings.Replace(w.body(elements), `"role":"user"`, `"role":"ruse"`, 1) // as long, with the same end
	if got := leftOut(t, ep, forged); want == 0 || got > want/2 {
		t.Errorf("%d bytes of a forged body are not read, and %d of the good one", got, want)
	}
	if got := p.compare(t, w.path(), forged); got.Status != http.StatusBadRequest {
		t.Errorf("status %d, want 400", got.Status)
	}
}

// TestEarlierTurnIsKnownBesideOneThatEndsAlike sends two turns, and a fork of the first one that looks like the second.
func TestEarlierTurnIsKnownBesideOneThatEndsAlike(t *testing.T) {
	w := chatWriter
	p := newPair(t, withRoutes(governedConfig))
	elements := someElements(w)
	end := `{"role":"user","content":"` + strings.Repeat("the same end ", 10) + `"}`
	turn := func(text string) []string {
		return append(elements[:38:38], `{"role":"assistant","content":"`+text+`"}`, end)
	}
	p.compare(t, w.path(), w.body(elements[:38]))
	p.compare(t, w.path(), w.body(turn("one")))
	fork := w.body(append(turn("two"), end))
	if got, want := leftOut(t, p.remembering.policy.providers[0].endpoints[completions], fork), len(strings.Join(elements[:38], ",")); got < want {
		t.Errorf("%d bytes of the fork are not read, want at least %d", got, want)
	}
	p.compare(t, w.path(), fork)
}

func TestRejectedBodyIsNotRemembered(t *testing.T) {
	w := chatWriter
	elements := someElements(w)
	good, bad := w.body(elements), w.body(append(elements[:39:39], `{"role":"nobody","content":"Hi"}`))
	for mode, want := range map[string]int{modeEnforce: http.StatusBadRequest, modeReport: http.StatusOK} {
		config := governedConfig()
		config.Mode = mode
		o := newObserver(t, config, true)
		m := o.policy.providers[0].endpoints[completions].memory
		if got := o.send("/", bad); got.Status != want || len(m.recent.turns) != 0 {
			t.Errorf("%s: status %d, want %d; %d known texts after a rejected body, want none", mode, got.Status, want, len(m.recent.turns))
		}
		if o.send("/", good); len(m.recent.turns) == 0 {
			t.Errorf("%s: no known texts after a good body", mode)
		}
	}
}

// TestMemoryBelongsToEndpoint checks that what one endpoint or policy has found good is new to every other.
func TestMemoryBelongsToEndpoint(t *testing.T) {
	w := chatWriter
	body := w.body(someElements(w))
	loose, strict := governedConfig(), governedConfig()
	loose.Provider = "ollama"
	a, b := newObserver(t, loose, true), newObserver(t, strict, true)
	a.send("/", body)
	for k := range a.policy.providers[0].endpoints {
		for name, o := range map[string]*observer{"same": a, "other": b} {
			ep := o.policy.providers[0].endpoints[k]
			if known := ep.memory != nil && len(ep.memory.recent.turns) > 0; known != (name == "same" && k == completions) {
				t.Errorf("%s policy, kind %v: knows the body: %t", name, k, known)
			}
		}
	}
	if reflect.DeepEqual(a.policy.providers[0].endpoints[completions].memory.seed, b.policy.providers[0].endpoints[completions].memory.seed) {
		t.Error("two memories have one seed")
	}
}

// TestKnownValuesMayOverlap sends known values of one parameter within known values of another.
func TestKnownValuesMayOverlap(t *testing.T) {
	text := `{"format":{"type":"json_schema","name":"x","schema":{"type":"object","properties":{` + strings.Repeat(`"p":{"type":"string"},`, 80) + `"q":{}}}}}`
	tools := `[{"type":"function","name":"f","parameters":{"type":"object","properties":{"text":` + text + `}}},` + typedTools(30)[1:]
	format := `{"type":"json_schema","json_schema":{"name":"x","schema":{"tools":` + manyTools(20) + `}}}`
	items, user := strings.Repeat(`{"type":"reasoning","summary":[]},`, 60), `{"role":"user","content":"Hi"}`
	for _, test := range []struct {
		path   string
		bodies []string
	}{
		{"/v1/responses", []string{
			`{"input":[` + items + user + `],"text":` + text + `}`, `{"input":[` + items + user + `],"tools":` + tools + `}`,
			`{"input":[` + items + user + `],"tools":` + tools + `,"text":` + text + `}`, `{"text":` + text + `,"tools":` + tools + `,"input":[` + items + user + "," + user + `]}`,
		}},
		{"/v1/chat/completions", []string{
			`{"messages":[` + user + `],"tools":` + manyTools(20) + `}`, `{"messages":[` + user + `],"response_format":` + format + `}`,
			`{"messages":[` + user + `],"response_format":` + format + `,"tools":` + manyTools(20) + `}`, `{"response_format":` + format + `,"messages":[` + user + `]}`,
		}},
	} {
		p := newPair(t, withRoutes(governedConfig))
		for _, body := range append(test.bodies, test.bodies...) {
			if got := p.compare(t, test.path, body); got.Status != http.StatusOK {
				t.Errorf("status %d, want 200: %s; body %.200q", got.Status, got.Body, body)
			}
		}
	}
}

// TestChainedInstancesRemember sends a conversation through two instances, of which only the second one knows the roles.
func TestChainedInstancesRemember(t *testing.T) {
	w := conversationWriters["compact, tools first"]
	elements := someElements(w)
	bad := append([]string{}, elements[:38]...)
	bad = append(bad, `{"role":"nobody","content":"Hi"}`)
	chain := func(remembers bool) func(string) string {
		loose, strict := CreateConfig(), governedConfig()
		loose.Provider = "openai-compatible"
		second := newObserver(t, strict, remembers)
		first := newObserver(t, loose, remembers)
		handler := newPolicyMiddleware(first.policy, second.handler)
		return func(body string) string {
			second.forwarded = ""
			rw := httptest.NewRecorder()
			handler.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body)))
			return fmt.Sprint(rw.Code, rw.Body, rw.Header(), second.forwarded)
		}
	}
	remembering, forgetting := chain(true), chain(false)
	for i, body := range []string{w.body(elements[:30]), w.body(bad), w.body(append(bad, elements[38:]...)), w.body(elements), w.body(elements[:35])} {
		if got, want := remembering(body), forgetting(body); got != want {
			t.Errorf("body %d: with a memory %.500q, without %.500q", i, got, want)
		}
	}
}

// TestConcurrentConversationsAreReadOnce sends the turns of many conversations at the same time.
func TestConcurrentConversationsAreReadOnce(t *testing.T) {
	p, err := newPolicy(governedConfig(), "test")
	if err != nil {
		t.Fatal(err)
	}
	ep, w := p.providers[0].endpoints[completions], chatWriter
	var all sync.WaitGroup
	for i := 0; i < 8; i++ {
		all.Add(1)
		go func(seed int64) {
			defer all.Done()
			elements := w.elements(rand.New(rand.NewSource(seed)), 40)
			for n := 20; n <= len(elements); n++ {
				body := w.body(elements[:n])
				pl, apiErr := planRequest(ep, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
				if apiErr != nil {
					t.Error(apiErr.message)
					return
				}
				want := strings.Replace(body, `"temperature":0.2}`, `"temperature":0.5,"max_tokens":100}`, 1)
				if got := string(joinedBody(pl)); got != want {
					t.Errorf("the provider gets %.500q, want %.500q", got, want)
				}
			}
		}(int64(i / 2))
	}
	all.Wait()
}

// TestCompressedBodyIsRemembered sends turns of one conversation compressed and not.
func TestCompressedBodyIsRemembered(t *testing.T) {
	w := chatWriter
	o := newObserver(t, governedConfig(), true)
	elements := someElements(w)
	var compressed bytes.Buffer
	zip := gzip.NewWriter(&compressed)
	_, _ = zip.Write([]byte(w.body(elements[:38])))
	_ = zip.Close()
	req := httptest.NewRequest(http.MethodPost, "/", &compressed)
	req.Header.Set("Content-Encoding", "gzip")
	o.handler.ServeHTTP(httptest.NewRecorder(), req)
	if got := leftOut(t, o.policy.providers[0].endpoints[completions], w.body(elements)); got < len(strings.Join(elements[:38], ",")) {
		t.Errorf("after a compressed turn, %d bytes of the next one are not read", got)
	}
	if got, want := o.send("/", w.body(elements)), newObserver(t, governedConfig(), false).send("/", w.body(elements)); !reflect.DeepEqual(got, want) {
		t.Errorf("got %s, want %s", summary(got), summary(want))
	}
}

// TestMemoryIsBounded remembers 10,000 conversations in less than 4 MB, and never more than two generations of any number.
func TestMemoryIsBounded(t *testing.T) {
	p, err := newPolicy(CreateConfig(), "test")
	if err != nil {
		t.Fatal(err)
	}
	ep := p.providers[0].endpoints[completions]
	w := conversationWriter{array: "messages", separator: ",", colon: ":", before: `{"model":"m",`, after: `}`}
	short := strings.Repeat(`{"role":"user","content":"Hi"},`, excerptMinBytes/30) + `{"role":"user","content":"Bye"}`
	heap := func() int {
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return int(stats.HeapAlloc)
	}
	remember := func(i int) {
		body := w.body([]string{fmt.Sprintf(`{"role":"user","content":"%d"}`, i), short})
		if _, apiErr := planRequest(ep, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))); apiErr != nil {
			t.Fatal(apiErr.message)
		}
	}
	remember(-1)
	before := heap()
	for i := 0; i < 10000; i++ {
		remember(i)
	}
	if got := len(ep.memory.recent.turns) + len(ep.memory.older.turns); got < 10000 {
		t.Errorf("%d known texts after 10,000 conversations", got)
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("10,000 conversations take %d bytes, want less than 4 MB", grown)
	}
	for i := 0; i < 3*generationMax; i++ {
		storeTurn(ep.memory, uint64(i)*0x9e3779b97f4a7c15, i, uint64(i)*0x9e3779b97f4a7c15, knownTurn{})
	}
	if got := len(ep.memory.recent.turns) + len(ep.memory.older.turns); got > 2*generationMax {
		t.Errorf("%d known texts, want at most %d", got, 2*generationMax)
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("a full memory takes %d bytes, want less than 4 MB", grown)
	}
	runtime.KeepAlive(p)
}

// TestMemoryHoldsNoText checks that what is remembered consists of numbers.
func TestMemoryHoldsNoText(t *testing.T) {
	var check func(name string, typ reflect.Type)
	check = func(name string, typ reflect.Type) {
		switch typ.Kind() {
		case reflect.Struct:
			for i := 0; i < typ.NumField(); i++ {
				check(name+"."+typ.Field(i).Name, typ.Field(i).Type)
			}
		case reflect.Int, reflect.Int32, reflect.Uint64:
		default:
			t.Errorf("%s is a %s, want numbers only", name, typ)
		}
	}
	check("knownTurn", reflect.TypeOf(knownTurn{}))
	check("knownValue", reflect.TypeOf(knownValue{}))
}

// BenchmarkConversation sends the last turns of conversations, each of which is new, with and without a memory.
func BenchmarkConversation(b *testing.B) {
	for _, client := range []string{"compact, tools last", "spaced, tools first", "responses"} {
		w := conversationWriters[client]
		for _, turns := range []int{10, 60, 200} {
			for _, remembers := range []bool{true, false} {
				b.Run(fmt.Sprintf("%s/%d turns/memory %t", client, turns, remembers), func(b *testing.B) {
					o := newObserver(b, withRoutes(governedConfig)(), remembers)
					bodies := make([][2]string, 40)
					for i := range bodies {
						elements := w.elements(rand.New(rand.NewSource(int64(i))), 2*turns)
						bodies[i] = [2]string{w.body(elements[:2*turns-2]), w.body(elements)}
					}
					b.SetBytes(int64(len(bodies[0][1])))
					b.ReportAllocs()
					b.ResetTimer()
					for i := 0; i < b.N; i++ {
						if i%len(bodies) == 0 { // or they are no longer new
							b.StopTimer()
							o = newObserver(b, withRoutes(governedConfig)(), remembers)
							for _, body := range bodies {
								o.send(w.path(), body[0])
							}
							b.StartTimer()
						}
						o.send(w.path(), bodies[i%len(bodies)][1])
					}
				})
			}
		}
	}
}
