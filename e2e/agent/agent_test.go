package agent

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

var profiles = map[string]Profile{
	"short, chat completions": {Turns: 10, Tools: 5},
	"long, chat completions":  {Turns: 60, Tools: 30},
	"short, responses":        {Turns: 10, Tools: 5, Responses: true},
	"long, responses":         {Turns: 60, Tools: 30, Responses: true},
	"short, messages":         {Turns: 10, Tools: 5, Messages: true},
	"long, messages":          {Turns: 60, Tools: 30, Messages: true},
	"short, contents":         {Turns: 10, Tools: 5, Contents: true},
	"long, contents":          {Turns: 60, Tools: 30, Contents: true},
}

// eachSession calls test for sessions of each profile, four of each form.
func eachSession(t *testing.T, test func(t *testing.T, p Profile, number int64, s *Session)) {
	t.Helper()
	for name, p := range profiles {
		t.Run(name, func(t *testing.T) {
			for number := range int64(4 * p.Forms()) {
				test(t, p, number, p.Session(number))
			}
		})
	}
}

func TestEachRequestContinuesTheOneBefore(t *testing.T) {
	eachSession(t, func(t *testing.T, p Profile, number int64, s *Session) {
		array, tools := p.Array(), "tools.#"
		if p.Contents {
			tools = "tools.0.functionDeclarations.#"
		}
		var last []byte
		for turns := range p.Turns + 1 {
			body := s.Body(turns)
			if !json.Valid(body) {
				t.Fatalf("session %d: invalid JSON after %d turns", number, turns)
			}
			if got, want := gjson.GetBytes(body, array+".#").Int(), int64(2+2*turns); got != want {
				t.Fatalf("session %d: %d elements after %d turns, want %d", number, got, turns, want)
			}
			if got, want := gjson.GetBytes(body, tools).Int(), int64(p.Tools); got != want {
				t.Fatalf("session %d: %d tools, want %d", number, got, want)
			}
			if bytes.Contains(body, []byte("{text}")) || bytes.Contains(body, []byte("{id}")) {
				t.Fatalf("session %d: the form is not filled", number)
			}
			if s.marks > 0 {
				body = bytes.ReplaceAll(body, []byte(cacheMark+"}]}"), []byte("}]}"))
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
	eachSession(t, func(t *testing.T, p Profile, number int64, s *Session) {
		body := s.Body(p.Turns)
		names := gjson.GetBytes(body, "tools.#.function.name").String() + gjson.GetBytes(body, "tools.#.name").String() + gjson.GetBytes(body, "tools.0.functionDeclarations.#.name").String()
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
		for _, block := range gjson.GetBytes(body, "messages.#.content.0").Array() {
			switch block.Get("type").String() {
			case "tool_use":
				check(block.Get("id"), block.Get("name"), block.Get("input"))
			case "tool_result":
				results++
			}
		}
		for _, part := range gjson.GetBytes(body, "contents.#.parts.0").Array() {
			if call := part.Get("functionCall"); call.Exists() {
				check(gjson.Parse(fmt.Sprint(len(calls))), call.Get("name"), call.Get("args"))
			}
			if part.Get("functionResponse").Exists() {
				results++
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
		if results != len(calls) || results < p.Turns/3 {
			t.Errorf("session %d: %d calls and %d results in %d turns", number, len(calls), results, p.Turns)
		}
	})
}

// TestNoTwoSessionsAreAlike compares tools, texts, and the order of what happens.
func TestNoTwoSessionsAreAlike(t *testing.T) {
	for name, p := range profiles {
		seen := map[string]int64{}
		for number := range int64(100) {
			s := p.Session(number)
			if again := p.Session(number); !bytes.Equal(s.Body(p.Turns), again.Body(p.Turns)) {
				t.Fatalf("%s: session %d is another one the second time", name, number)
			}
			parts := map[string]string{
				"head and tail": s.head + s.tail, "tools": gjson.GetBytes(s.Body(0), "tools").Raw, "first element": s.elements[0], "second element": s.elements[1],
				"order": order(s),
			}
			for turn := 2; turn < len(s.elements); turn += 2 {
				parts[fmt.Sprint("turn ", turn/2)] = s.elements[turn] + s.elements[turn+1]
			}
			for what, part := range parts {
				if other, known := seen[part]; known {
					t.Errorf("%s: sessions %d and %d have the same %s", name, number, other, what)
				}
				seen[part] = number
			}
		}
	}
}

// order returns what each element is, and what it calls, without texts and ids.
func order(s *Session) string {
	var all strings.Builder
	for _, element := range s.elements {
		for _, path := range []string{"role", "type", "name", "tool_calls.0.function.name", "content.0.name", "parts.0.functionCall.name"} {
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
