package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/modelroute/chatcompletion"
)

// agentSizes are the sizes that the documentation gives.
var agentSizes = map[string]int{
	"agent session, 10 turns, 5 tools":                 34 << 10,
	"agent session, 60 turns, 30 tools":                166 << 10,
	"agent session, 10 turns, 5 tools, Responses API":  34 << 10,
	"agent session, 60 turns, 30 tools, Responses API": 166 << 10,
}

// eachSession calls test for sessions of each case of agents, four of each form.
func eachSession(t *testing.T, test func(t *testing.T, c benchCase, number int64, s *session)) {
	t.Helper()
	tested := 0
	for _, c := range cases() {
		if c.agents == nil {
			continue
		}
		tested++
		t.Run(c.name, func(t *testing.T) {
			for number := range int64(4 * len(c.agents.forms())) {
				test(t, c, number, c.agents.session(number))
			}
		})
	}
	if tested != len(agentSizes) {
		t.Errorf("tested %d cases, want %d", tested, len(agentSizes))
	}
}

func TestSessionSizesMatchNames(t *testing.T) {
	eachSession(t, func(t *testing.T, c benchCase, number int64, s *session) {
		begin, end := c.agents.measured()
		mean := 0
		for turns := begin; turns <= end; turns++ {
			mean += len(s.body(turns)) / (end - begin + 1)
		}
		for what, got := range map[string]int{"last request": len(s.body(end)), "measured requests": mean, "size()": c.size()} {
			if want := agentSizes[c.name]; got < want-want/10 || got > want+want/10 {
				t.Errorf("session %d: %s of %d bytes, want about %d", number, what, got, want)
			}
		}
		for _, tool := range gjson.GetBytes(s.body(0), "tools").Array() {
			if size := len(tool.Raw); size < 1000 || size > 4500 {
				t.Errorf("session %d: tool of %d bytes, want about 1 to 4 KB", number, size)
			}
		}
	})
}

func TestEachRequestContinuesTheOneBefore(t *testing.T) {
	eachSession(t, func(t *testing.T, c benchCase, number int64, s *session) {
		array := "messages"
		if c.agents.responses {
			array = "input"
		}
		var last []byte
		for turns := range c.agents.turns + 1 {
			body := s.body(turns)
			if !json.Valid(body) {
				t.Fatalf("session %d: invalid JSON after %d turns", number, turns)
			}
			if got, want := gjson.GetBytes(body, array+".#").Int(), int64(2+2*turns); got != want {
				t.Fatalf("session %d: %d elements after %d turns, want %d", number, got, turns, want)
			}
			if got, want := gjson.GetBytes(body, "tools.#").Int(), int64(c.agents.tools); got != want {
				t.Fatalf("session %d: %d tools, want %d", number, got, want)
			}
			if bytes.Contains(body, []byte("{text}")) || bytes.Contains(body, []byte("{id}")) {
				t.Fatalf("session %d: the form is not filled", number)
			}
			if !bytes.HasPrefix(body, last) {
				t.Fatalf("session %d: the request after %d turns does not begin with the one before", number, turns)
			}
			last = bytes.TrimSuffix(body, []byte(s.tail))
		}
	})
}

// TestCallsHaveResults also checks that a call names a tool, and its arguments are JSON.
func TestCallsHaveResults(t *testing.T) {
	eachSession(t, func(t *testing.T, c benchCase, number int64, s *session) {
		body := s.body(c.agents.turns)
		names := gjson.GetBytes(body, "tools.#.function.name").String() + gjson.GetBytes(body, "tools.#.name").String()
		calls, results := map[string]bool{}, 0
		check := func(id, name, arguments gjson.Result) {
			calls[id.String()] = true
			if !strings.Contains(names, name.Raw) || !json.Valid([]byte(arguments.String())) {
				t.Errorf("session %d: call of %s with %s", number, name, arguments)
			}
		}
		for _, message := range gjson.GetBytes(body, "messages").Array() {
			for _, call := range message.Get("tool_calls").Array() {
				check(call.Get("id"), call.Get("function.name"), call.Get("function.arguments"))
			}
			if message.Get("role").String() == "tool" {
				results++
				if id := message.Get("tool_call_id").String(); !calls[id] {
					t.Errorf("session %d: result of an unknown call %q", number, id)
				}
			}
		}
		for _, item := range gjson.GetBytes(body, "input").Array() {
			switch item.Get("type").String() {
			case "function_call":
				check(item.Get("call_id"), item.Get("name"), item.Get("arguments"))
			case "function_call_output":
				results++
				if id := item.Get("call_id").String(); !calls[id] {
					t.Errorf("session %d: result of an unknown call %q", number, id)
				}
			}
		}
		if results != len(calls) || results < c.agents.turns/3 {
			t.Errorf("session %d: %d calls and %d results in %d turns", number, len(calls), results, c.agents.turns)
		}
	})
}

// TestNoTwoSessionsAreAlike compares tools, texts, and the order of what happens.
func TestNoTwoSessionsAreAlike(t *testing.T) {
	for _, c := range cases() {
		if c.agents == nil {
			continue
		}
		seen := map[string]int64{}
		for number := range int64(100) {
			s := c.agents.session(number)
			if again := c.agents.session(number); !bytes.Equal(s.body(c.agents.turns), again.body(c.agents.turns)) {
				t.Fatalf("%s: session %d is another one the second time", c.name, number)
			}
			parts := map[string]string{
				"head and tail": s.head + s.tail, "tools": gjson.GetBytes(s.body(0), "tools").Raw, "first element": s.elements[0], "second element": s.elements[1],
				"order": order(s),
			}
			for turn := 2; turn < len(s.elements); turn += 2 {
				parts[fmt.Sprint("turn ", turn/2)] = s.elements[turn] + s.elements[turn+1]
			}
			for what, part := range parts {
				if other, known := seen[part]; known {
					t.Errorf("%s: sessions %d and %d have the same %s", c.name, number, other, what)
				}
				seen[part] = number
			}
		}
	}
}

// order returns what each element is, and what it calls, without texts and ids.
func order(s *session) string {
	var all strings.Builder
	for _, element := range s.elements {
		for _, path := range []string{"role", "type", "name", "tool_calls.0.function.name"} {
			all.WriteString(gjson.Get(element, path).String() + ",")
		}
	}
	return all.String()
}

// TestElementsBeginWithOtherMembers looks for the members that elements of one session in four, or
// more, begin with.
func TestElementsBeginWithOtherMembers(t *testing.T) {
	tests := []struct {
		forms []form
		want  []string
	}{
		{forms: chatForms, want: []string{"role", "content", "tool_call_id"}},
		{forms: responsesForms, want: []string{"role", "content", "type", "id", "arguments", "call_id"}},
	}
	for _, test := range tests {
		begin, others := map[string]bool{}, 0
		for _, f := range test.forms {
			if !strings.HasPrefix(f.call, `{"role"`) {
				others++
			}
			for _, part := range []string{f.first, f.user, f.text, f.call, f.result} {
				begin[strings.Split(part, `"`)[1]] = true
			}
		}
		if others*4 < len(test.forms) {
			t.Errorf("%d of %d forms begin with another member than role, want one in four", others, len(test.forms))
		}
		for _, want := range test.want {
			if !begin[want] {
				t.Errorf("no element begins with %q: %v", want, begin)
			}
		}
	}
}

func TestPluginAcceptsSessions(t *testing.T) {
	config := chatcompletion.CreateConfig()
	config.Model, config.Token = enforcedModel, enforcedKey
	config.Routes = map[string]string{"*": "completions", responsesPath: "responses"}
	config.Params.MaxTokens, config.Params.Temperature = enforced["max_tokens"], enforced["temperature"]
	var received []byte
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received, _ = io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, responseTo(r.URL.Path))
	})
	plugin, err := chatcompletion.New(context.Background(), next, config, "bench")
	if err != nil {
		t.Fatal(err)
	}
	eachSession(t, func(t *testing.T, c benchCase, number int64, s *session) {
		for _, turns := range []int{0, 1, c.agents.turns / 2, c.agents.turns} {
			body := s.body(turns)
			request := httptest.NewRequest(http.MethodPost, c.path(), bytes.NewReader(body))
			request.Header.Set("Content-Type", "application/json")
			response := httptest.NewRecorder()
			plugin.ServeHTTP(response, request)
			if response.Code != http.StatusOK || response.Body.String() != c.response() {
				t.Fatalf("session %d after %d turns: status %d: %s", number, turns, response.Code, response.Body)
			}
			if got := gjson.GetBytes(received, "model").String(); got != enforcedModel {
				t.Errorf("session %d: model %q at the upstream, want %q", number, got, enforcedModel)
			}
			for _, array := range []string{"messages", "input", "tools"} {
				if got, want := gjson.GetBytes(received, array).Raw, gjson.GetBytes(body, array).Raw; got != want {
					t.Errorf("session %d: the upstream received other %s", number, array)
				}
			}
		}
	})
}

// TestGatewayHasSeenWhatARequestContinues replaces the gateway by an upstream that remembers.
func TestGatewayHasSeenWhatARequestContinues(t *testing.T) {
	b := &bench{streams: newStreams(), client: http.DefaultClient}
	handler := b.upstreamHandler()
	var mutex sync.Mutex
	known, measuring, measured := map[string]bool{}, false, 0
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mutex.Lock()
		defer mutex.Unlock()
		elements := gjson.GetBytes(body, "messages").Array()
		before, all := fmt.Sprint(elements[:len(elements)-2]), fmt.Sprint(elements)
		if measuring {
			measured++
			if !known[before] || known[all] {
				t.Errorf("the gateway has seen what a request continues: %t, the request itself: %t", known[before], known[all])
			}
		}
		known[all] = true
		r.Body = io.NopCloser(bytes.NewReader(body))
		handler.ServeHTTP(w, r)
	}))
	defer upstream.Close()
	c := benchCase{agents: &agents{turns: 6, tools: 2}}
	to := target{address: upstream.URL + chatPath}
	for range 2 {
		requests, err := b.prepare(t.Context(), c, to, 20)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := requests.count(), 2*lastTurns*len(chatForms); got != want {
			t.Errorf("%d requests, want %d: as many sessions of each form", got, want)
		}
		mutex.Lock()
		measuring = true
		mutex.Unlock()
		if err := b.load(t.Context(), c, to, requests); err != nil {
			t.Fatal(err)
		}
		mutex.Lock()
		measuring = false
		mutex.Unlock()
	}
	if want := 2 * 2 * lastTurns * len(chatForms); measured != want {
		t.Errorf("%d requests after their preparation, want %d", measured, want)
	}
}
