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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidwall/gjson"
)

// houseRule is the system prompt of these tests. As JSON it has escapes.
const houseRule = "Follow \"the\" rules.\nAlways."

// promptProtocol is a protocol in these tests.
type promptProtocol struct {
	target   string
	system   string // the parameter that holds the system prompt; empty: there is none
	elements string
	before   string                   // members that each request has
	object   func(text string) string // the element of an array with a text
}

func chatObject(text string) string {
	return `{"role":"system","content":` + string(marshal(text)) + `}`
}

func blockObject(text string) string {
	return `{"type":"text","text":` + string(marshal(text)) + `}`
}

func partObject(text string) string {
	return `{"text":` + string(marshal(text)) + `}`
}

var promptProtocols = map[string]promptProtocol{
	"chat":      {"/v1/chat/completions", "", "messages", `"model":"m",`, chatObject},
	"responses": {"/v1/responses", "instructions", "input", `"model":"m",`, nil},
	"messages":  {"/v1/messages", "system", "messages", `"model":"m","max_tokens":9,`, blockObject},
	"contents":  {"/v1beta/models/m:generateContent", "systemInstruction", "contents", "", partObject},
}

var promptModes = []string{promptPrepend, promptAppend, promptReplace, promptIfAbsent}

func promptConfig(mode string, forbids bool) func() *Config {
	return withRoutes(func() *Config {
		config := CreateConfig()
		config.Provider = "mistral" // whose schema is loose
		if mode != "" {
			config.Prompt.System = SystemPrompt{Text: houseRule, Mode: mode}
		}
		config.Prompt.ForbidClientSystem = forbids
		return config
	})
}

// isSystem reports whether gjson reads a role of a system message in an element, or could read one.
func isSystem(element gjson.Result) bool {
	is := false
	if element.IsObject() {
		element.ForEach(func(name, value gjson.Result) bool {
			role := strings.ToLower(strings.TrimSpace(value.String()))
			is = is || fold(name.String()) == "role" && value.Type == gjson.String && (role == "system" || role == "developer")
			return true
		})
	}
	return is
}

// member returns the only member of a name in a body, as gjson reads it.
func memberOf(body []byte, names ...string) (found part, has bool) {
	for _, p := range parts(body) {
		if containsText(names, p.name) {
			found, has = p, true
		}
	}
	return found, has && found.value != "null"
}

func spellingsOf(name string) []string {
	if name == "systemInstruction" {
		return []string{name, "system_instruction"}
	}
	return []string{name}
}

// clientsPrompt is what gjson reads of the client's system prompt.
type clientsPrompt struct {
	own      string // raw; "": none
	elements []string
	systems  []bool // by element
	isArray  bool
}

func readClientsPrompt(protocol promptProtocol, body []byte) clientsPrompt {
	var c clientsPrompt
	if own, has := memberOf(body, spellingsOf(protocol.system)...); has && protocol.system != "" {
		value := gjson.Parse(own.value)
		isEmpty := value.IsArray() && len(value.Array()) == 0
		if protocol.system == "systemInstruction" {
			list := value.Get("parts")
			isEmpty = !list.Exists() || list.Type == gjson.Null || list.IsArray() && len(list.Array()) == 0
		}
		if !isEmpty {
			c.own = own.value
		}
	}
	conversation, _ := memberOf(body, protocol.elements)
	list := gjson.Parse(conversation.value)
	c.isArray = list.IsArray()
	if !c.isArray && list.IsObject() {
		c.elements, c.systems = []string{list.Raw}, []bool{isSystem(list)}
	}
	if c.isArray {
		list.ForEach(func(_, element gjson.Result) bool {
			c.elements = append(c.elements, element.Raw)
			c.systems = append(c.systems, isSystem(element))
			return true
		})
	}
	return c
}

// checkPrompted checks what the provider gets for a body that has been accepted.
func checkPrompted(t *testing.T, protocol promptProtocol, mode string, forbids bool, body, sent []byte) {
	t.Helper()
	client, got := readClientsPrompt(protocol, body), readClientsPrompt(protocol, sent)
	leading, some := 0, client.own != ""
	for i, system := range client.systems {
		if system && i == leading {
			leading++
		}
		some = some || system
	}
	if some && forbids {
		t.Fatalf("accepted, want an error; body: %.3000q", body)
	}
	var want []string
	for i, element := range client.elements {
		if mode != promptReplace || !client.systems[i] {
			want = append(want, element)
		}
	}
	isInserted := mode != "" && (mode != promptIfAbsent || client.own == "" && leading == 0)
	if isInserted && protocol.system == "" {
		at := 0
		if mode == promptAppend {
			at = leading
		}
		want = append(append(append([]string{}, want[:at]...), chatObject(houseRule)), want[at:]...)
	}
	if strings.Join(got.elements, " ") != strings.Join(want, " ") {
		t.Errorf("mode %q: elements %q, want %q; body: %q", mode, got.elements, want, body)
	}
	if protocol.system != "" {
		checkOwnPrompt(t, protocol, mode, isInserted, client.own, got.own)
	}
	checkOtherBytes(t, protocol, mode, body, sent)
}

// checkOwnPrompt checks the parameter that holds the system prompt.
func checkOwnPrompt(t *testing.T, protocol promptProtocol, mode string, isInserted bool, before, after string) {
	t.Helper()
	was, is, object := gjson.Parse(before), gjson.Parse(after), ""
	if protocol.object != nil {
		object = protocol.object(houseRule)
	}
	var got, want []string // as texts or elements
	list := func(value gjson.Result) (all []string) {
		if protocol.system == "systemInstruction" {
			value = value.Get("parts")
		}
		if value.IsObject() {
			return []string{value.Raw}
		}
		for _, element := range value.Array() {
			all = append(all, element.Raw)
		}
		return all
	}
	switch {
	case !isInserted:
		got, want = []string{after}, []string{before}
	case protocol.system == "systemInstruction" || was.IsArray() && mode != promptReplace:
		got, want = list(is), list(was)
		if before == "" {
			want = nil
		}
		switch mode {
		case promptReplace:
			want = []string{object}
		case promptAppend:
			want = append(want, object)
		default:
			want = append([]string{object}, want...)
		}
	default:
		got = []string{is.String()}
		switch {
		case before == "" || mode == promptReplace:
			want = []string{houseRule}
		case mode == promptAppend:
			want = []string{was.String() + "\n\n" + houseRule}
		default:
			want = []string{houseRule + "\n\n" + was.String()}
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("mode %q: %s is %q, want %q; it was %q", mode, protocol.system, got, want, before)
	}
}

// checkOtherBytes checks that the rest of a body stays byte for byte.
func checkOtherBytes(t *testing.T, protocol promptProtocol, mode string, body, sent []byte) {
	t.Helper()
	rest := func(all []byte) []string {
		var pieces []string
		at := 0
		for _, p := range parts(all) {
			if p.name == protocol.elements || protocol.system != "" && containsText(spellingsOf(protocol.system), p.name) {
				pieces = append(pieces, string(all[at:p.start]))
				at = p.end()
			}
		}
		return append(pieces, string(all[at:]))
	}
	got, want := strings.Join(rest(sent), "…"), strings.Join(rest(body), "…")
	if added := `,"` + protocol.system + `":…`; len(rest(sent)) > len(rest(body)) {
		got = strings.Replace(got, added, "", 1)
	}
	if got != want {
		t.Errorf("the other bytes are %q, want %q", got, want)
	}
	if mode == promptReplace {
		return
	}
	for _, inserted := range []string{chatObject(houseRule) + ",", "," + chatObject(houseRule), chatObject(houseRule)} {
		if protocol.system == "" && strings.Replace(string(sent), inserted, "", 1) == string(body) {
			return
		}
	}
	if protocol.system == "" && !bytes.Equal(sent, body) {
		t.Errorf("the provider gets %q, want one message more than %q", sent, body)
	}
}

// FuzzSystemPrompt sends any body with any setting, and compares what the provider gets with what gjson makes of the body.
func FuzzSystemPrompt(f *testing.F) {
	for _, body := range []string{
		`{"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":"b"},{"role":"developer","content":"c"}],"max_tokens":5}`,
		` { "max_tokens":5, "messages" : [ {"role":"user","content":"b"} , {"role":"sys\u0074em","content":"c"} ] , "model":"m" } `,
		`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"b","role":"system"}],"system":""}`,
		`{"model":"m","max_tokens":5,"messages":[{"ROLE":"system","content":"b","role":"user"}],"system":[]}`,
		`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"b"}],"system":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}`,
		`{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"b"}],"\u0073ystem":"x\"\\"}`,
		`{"model":"m","input":"x","instructions":"y"}`, `{"model":"m","input":[{"role":"developer","content":"y"},{"type":"x"}],"instructions":null}`, `{"model":"m","input":[{"role":"\u0073\u0079\u0073\u0074\u0065\u006d","content":"y"}]}`,
		`{"contents":[{"parts":[{"text":"x"}]}],"systemInstruction":{"parts":[{"text":"y"}]}}`, `{"contents":{"role":"system","parts":{"text":"x"}},"system_instruction":{"parts":{"text":"y"},"role":"x"}}`,
		`{"contents":[{"parts":[{"text":"x"}]}],"systemInstruction":{ }}`, `{"contents":[{"parts":[{"text":"x"}]}],"systemInstruction":{"parts":null}}`, `{"contents":[{"role":"system","parts":[]}],"system_instruction":{"parts":[ ],"a":1}}`,
		`{"model":"m","messages":[{"role":"` + strings.Repeat(" ", 30) + `system","content":"` + strings.Repeat(`\"`, 30) + `"}],"max_tokens":5,"input":[null,{"role":1}]}`,
		"{\"model\":\"m\",\"messages\":[{\"role\":\"\x7f\",\"\x7f\":\"system\"},{\"role\":\"system\",\"content\":\"\x7f\"}],\"max_tokens\":5}",
		`{"model":"m","messages":[{"role\u0000` + strings.Repeat("x", 30) + `":"system","role":"user","content":""}],"max_tokens":5}`,
	} {
		for mode := 0; mode < 6; mode++ {
			f.Add([]byte(body), uint8(mode))
		}
	}
	handlers := map[string]http.Handler{}
	var sent []byte
	provider := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { sent, _ = io.ReadAll(req.Body) })
	settings := append([]string{"", "forbidden"}, promptModes...)
	for _, mode := range settings {
		forbids := mode == "forbidden"
		if forbids {
			mode = ""
		}
		p, err := newPolicy(promptConfig(mode, forbids)(), "fuzz")
		if err != nil {
			f.Fatal(err)
		}
		p.telemetry.registry = newRegistry()
		if forbids {
			mode = "forbidden"
		}
		handlers[mode] = newPolicyMiddleware(p, provider)
	}
	f.Fuzz(func(t *testing.T, body []byte, choice uint8) {
		if isDeep(body) || !json.Valid(body) || bytes.Contains(body, []byte(`\ud`)) || bytes.Contains(body, []byte(`\uD`)) {
			return
		}
		if decoder := json.NewDecoder(bytes.NewReader(body)); !isUTF8(body) || decoder.Decode(new(any)) != nil {
			return
		}
		mode := settings[int(choice)%len(settings)]
		for _, name := range sortedKeys(promptProtocols) {
			protocol := promptProtocols[name]
			sent = nil
			req := httptest.NewRequest(http.MethodPost, protocol.target, bytes.NewReader(body))
			rw := httptest.NewRecorder()
			handlers[mode].ServeHTTP(rw, req)
			if rw.Code != http.StatusOK {
				continue
			}
			if !json.Valid(sent) {
				t.Fatalf("the provider gets %q, want JSON; body: %q", sent, body)
			}
			forbids := mode == "forbidden"
			if forbids {
				checkPrompted(t, protocol, "", true, body, sent)
			} else {
				checkPrompted(t, protocol, mode, false, body, sent)
			}
		}
	})
}

func isUTF8(body []byte) bool {
	return bytes.Equal(bytes.ToValidUTF8(body, nil), body)
}

// randomConversation returns the elements of a conversation, some of which are system messages.
func randomConversation(random *rand.Rand, name string, n int) []string {
	roles := []string{"user", "assistant", "user", "assistant", "user", "system"}
	elements := make([]string, n)
	for i := range elements {
		role := roles[random.Intn(len(roles))]
		if i == 0 && random.Intn(2) == 0 {
			role = "system"
		}
		if role == "system" && i > 0 && (i < 110 || random.Intn(4) > 0) {
			role = "user"
		}
		text := strings.Repeat("text ", random.Intn(40))
		elements[i] = fmt.Sprintf(`{"role":%q,"content":%q}`, role, text)
		if name == "contents" {
			elements[i] = fmt.Sprintf(`{"role":%q,"parts":[{"text":%q}]}`, role, text)
		}
	}
	return elements
}

// TestPromptsInConversations sends turn after turn, and compares with an instance that remembers nothing.
func TestPromptsInConversations(t *testing.T) {
	for _, name := range sortedKeys(promptProtocols) {
		protocol := promptProtocols[name]
		for _, mode := range append([]string{"forbidden"}, promptModes...) {
			forbids, left := mode == "forbidden", 0
			if forbids {
				mode = ""
			}
			for seed := int64(0); seed < 4; seed++ {
				random := rand.New(rand.NewSource(seed))
				p := newPair(t, promptConfig(mode, forbids))
				elements := randomConversation(random, name, 160)
				separator := []string{",", ", "}[seed%2]
				if forbids {
					elements[0] = strings.Replace(elements[0], `"system"`, `"user"`, 1)
				}
				for n := 100; n <= len(elements); n += 1 + random.Intn(4) {
					body := `{` + protocol.before + `"` + protocol.elements + `":[` + strings.Join(elements[:n], separator) + `]}`
					if separator == ", " {
						body = strings.ReplaceAll(body, `":`, `": `)
					}
					ep := p.remembering.policy.providers[0].endpoints[kindAt(protocol.target)]
					if ep.memory != nil && mayContinue(ep, []byte(body)) {
						x := newExcerpt(ep.memory, []byte(body))
						left += len(x.body) - len(x.text)
					}
					seen := p.compare(t, protocol.target, body)
					if seen.Status == http.StatusOK {
						_, sent, _ := strings.Cut(seen.Forwarded, "\n")
						checkPrompted(t, protocol, mode, forbids, []byte(body), []byte(sent))
					}
				}
			}
			if left == 0 {
				t.Errorf("%s, mode %q: nothing is remembered", name, mode)
			}
		}
	}
}

// TestPromptsBesideAGuard sends turns with texts that are masked: in each turn, the prompt is inserted and nothing of them is left.
func TestPromptsBesideAGuard(t *testing.T) {
	for _, name := range sortedKeys(promptProtocols) {
		protocol := promptProtocols[name]
		for _, mode := range promptModes {
			o := newObserver(t, func() *Config {
				config := promptConfig(mode, false)()
				config.Guard.Request.Rules = []GuardRule{{Name: "mail", Builtin: "email", Action: "mask"}}
				return config
			}(), true)
			elements := randomConversation(rand.New(rand.NewSource(7)), name, 150)
			for i := 90; i < len(elements); i += 7 {
				elements[i] = strings.Replace(elements[i], `"}`, ` me@example.com"}`, 1)
			}
			for n := 100; n <= len(elements); n += 3 {
				body := `{` + protocol.before + `"` + protocol.elements + `":[` + strings.Join(elements[:n], ",") + `]}`
				seen := o.send(protocol.target, body)
				_, sent, _ := strings.Cut(seen.Forwarded, "\n")
				if strings.Contains(sent, "@") || seen.Status != http.StatusOK {
					t.Fatalf("%s, mode %q: status %d, forwarded %.2000q, want no address", name, mode, seen.Status, sent)
				}
				masked := strings.ReplaceAll(body, "me@example.com", "**************")
				checkPrompted(t, protocol, mode, false, []byte(masked), []byte(sent))
			}
		}
	}
}

func kindAt(target string) kind {
	switch {
	case strings.HasSuffix(target, "/responses"):
		return responses
	case strings.HasSuffix(target, "/messages"):
		return messages
	case strings.Contains(target, "generateContent"):
		return generateContent
	}
	return completions
}

// sendTo sends a body to a handler, and returns the status.
func sendTo(handler http.Handler, target, body string) int {
	rw := httptest.NewRecorder()
	handler.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, target, strings.NewReader(body)))
	return rw.Code
}

// TestPromptsOfChainedInstances: each instance inserts its own text once, also if one is called twice, or another one in its place.
func TestPromptsOfChainedInstances(t *testing.T) {
	const body = `{"model":"m","messages":[{"role":"system","content":"mine"},{"role":"user","content":"Hi"}]}`
	var sent []byte
	status := 0
	provider := http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		sent, _ = io.ReadAll(req.Body)
		rw.WriteHeader(status)
		status = http.StatusOK
	})
	instance := func(text, mode string, next http.Handler) http.Handler {
		config := CreateConfig()
		config.Prompt.System = SystemPrompt{Text: text, Mode: mode}
		return newInstance(t, config, next)
	}
	retry := func(next http.Handler) http.Handler { return failoverService(next, next) }
	for _, test := range []struct {
		name    string
		handler http.Handler
		want    []string
	}{
		{"three", instance("a", promptPrepend, instance("b", promptAppend, instance("c", promptPrepend, provider))), []string{"c", "a", "mine", "b"}},
		{"three that replace", instance("a", promptReplace, instance("b", promptReplace, instance("c", promptIfAbsent, provider))), []string{"c", "b", "a"}},
		{"one without prompts between", instance("a", promptPrepend, newInstance(t, CreateConfig(), instance("c", promptReplace, provider))), []string{"c", "a"}},
		{"called twice", instance("a", promptPrepend, retry(instance("b", promptPrepend, instance("c", promptAppend, provider)))), []string{"b", "a", "mine", "c"}},
		{"failover", instance("a", promptAppend, failoverService(instance("b", promptPrepend, provider), instance("c", promptPrepend, provider))), []string{"c", "mine", "a"}},
		{"failover to one without prompts", instance("a", promptAppend, failoverService(instance("b", promptPrepend, provider), newInstance(t, CreateConfig(), provider))), []string{"mine", "a"}},
		{"failover without prompts before", newInstance(t, CreateConfig(), failoverService(instance("b", promptReplace, provider), instance("c", promptIfAbsent, provider))), []string{"c"}},
	} {
		for round := 0; round < 2; round++ { // the second time by cached decisions
			status = http.StatusServiceUnavailable
			if !strings.Contains(test.name, "failover") && test.name != "called twice" {
				status = http.StatusOK
			}
			sendTo(test.handler, "/v1/chat/completions", body)
			var got []string
			for _, message := range gjson.GetBytes(sent, `messages.#(role="system")#.content`).Array() {
				got = append(got, message.String())
			}
			if strings.Join(got, " ") != strings.Join(test.want, " ") {
				t.Errorf("%s: the system prompts are %q, want %q; %s", test.name, got, test.want, sent)
			}
		}
	}
}

// TestPromptFromAFile: a text is looked up again, and the last valid one stays in use.
func TestPromptFromAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prompt.txt")
	config := CreateConfig()
	config.Prompt.System = SystemPrompt{Text: "urn:file:" + path}
	config.Routes = map[string]string{"/v1beta/models/*": "generateContent"}
	p, err := newPolicy(config, "test")
	if err != nil {
		t.Fatal(err)
	}
	p.telemetry.registry = newRegistry()
	p.prompt.source.pace.refresh, p.prompt.source.pace.retry = 10*time.Millisecond, 10*time.Millisecond
	var sent []byte
	handler := newPolicyMiddleware(p, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) { sent, _ = io.ReadAll(req.Body) }))
	logOutput(t, func() {
		startPrompt(context.Background(), p.prompt)
		if status := sendTo(handler, "/v1/chat/completions", plainRequest); status != http.StatusServiceUnavailable {
			t.Errorf("status %d without a file, want 503", status)
		}
		write := func(text string) {
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, text := range []string{"one", "two\n", "", "three \"quoted\""} {
			write(text)
			want := strings.TrimSpace(text)
			if want == "" {
				want = "two"
			}
			for _, target := range []string{"/v1/chat/completions", "/v1beta/models/m:generateContent"} {
				body, place := plainRequest, "messages.0.content"
				if target != "/v1/chat/completions" {
					body, place = `{"contents":[{"parts":[{"text":"Hi"}]}]}`, "systemInstruction.parts.0.text"
				}
				got := ""
				for deadline := time.Now().Add(10 * time.Second); got != want && time.Now().Before(deadline); {
					sendTo(handler, target, body)
					got = gjson.GetBytes(sent, place).String()
				}
				if got != want {
					t.Errorf("%s: the prompt is %q, want %q", target, got, want)
				}
			}
		}
	})
	for i := 0; i < 3*maxPromptVersions; i++ {
		promptEndpoint(p.providers[0].endpoints[completions], &promptText{text: "x"}, nil)
	}
	if got := len(p.providers[0].endpoints[completions].versions.list); got != maxPromptVersions {
		t.Errorf("%d versions of an endpoint, want %d", got, maxPromptVersions)
	}
}

// TestPromptsAreEstimated: the estimate of a quota counts the inserted text.
func TestPromptsAreEstimated(t *testing.T) {
	for _, test := range []struct {
		text string
		want int
	}{{"Be brief.", http.StatusOK}, {strings.Repeat("Be brief. ", 200), http.StatusTooManyRequests}} {
		config := CreateConfig()
		config.Prompt.System.Text = test.text
		config.Quotas = []Quota{{Name: t.Name() + test.text[:1] + fmt.Sprint(test.want), Unit: "inputTokens", Limit: 100, Window: "1h"}}
		handler := newInstance(t, config, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			writeJSON(rw, http.StatusOK, []byte(`{}`))
		}))
		sendTo(handler, "/v1/chat/completions", plainRequest)
		if got := sendTo(handler, "/v1/chat/completions", plainRequest); got != test.want {
			t.Errorf("status %d of the second request with a prompt of %d bytes, want %d", got, len(test.text), test.want)
		}
	}
}

// TestPartsInAnotherSpelling: a parser that ignores case would find a system prompt there.
func TestPartsInAnotherSpelling(t *testing.T) {
	const body = `{"systemInstruction":{"Parts":[{"text":"mine"}]},"contents":[{"parts":[{"text":"Hi"}]}]}`
	for _, mode := range append([]string{"forbidden"}, promptModes...) {
		config := promptConfig(mode, false)()
		if mode == "forbidden" {
			config = promptConfig("", true)()
		}
		handler := newInstance(t, config, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Errorf("mode %q: the provider gets the request", mode) }))
		if status := sendTo(handler, promptProtocols["contents"].target, body); status != http.StatusBadRequest {
			t.Errorf("mode %q: status %d, want 400", mode, status)
		}
	}
}
