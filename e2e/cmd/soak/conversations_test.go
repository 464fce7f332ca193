package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/modelroute/chatcompletion/e2e/agent"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestConversationsContinue has two clients continue conversations in turn.
func TestConversationsContinue(t *testing.T) {
	c := &conversations{agents: agent.Profile{Turns: 3, Tools: 1}}
	messages := map[*agent.Session]int64{}
	for range 12 {
		first, second := c.take(), c.take()
		if first.session == second.session {
			t.Fatal("two clients have the same conversation")
		}
		for _, next := range []*conversation{first, second} {
			got, want := gjson.GetBytes(next.session.Body(next.turns), "messages.#").Int(), messages[next.session]+2
			if got != want {
				t.Errorf("%d messages, want %d: two more than in the request before", got, want)
			}
			messages[next.session] = got
			c.put(next)
		}
	}
	if got, want := len(messages), 2*12/4; got != want {
		t.Errorf("%d conversations in 24 requests, want %d of 4 requests", got, want)
	}
}

func TestProviderVerifiesConversations(t *testing.T) {
	for _, agents := range []agent.Profile{{Turns: 2, Tools: 1}, {Turns: 2, Tools: 1, Responses: true}} {
		body := agents.Session(1).Body(2)
		sum := conversationSum(body)
		tests := []struct {
			name string
			old  string // replaced once
			now  string
			want int
		}{
			{"unmodified", "", "", http.StatusOK},
			{"another model", `"` + agent.Model + `"`, `"o9"`, http.StatusOK},
			{"another role", `"user"`, `"developer"`, http.StatusConflict},
			{"a property renamed", `"properties"`, `"property"`, http.StatusConflict},
			{"another text", `. `, `.`, http.StatusConflict},
		}
		for _, test := range tests {
			r := httptest.NewRequest(http.MethodPost, chatPath, bytes.NewReader(bytes.Replace(body, []byte(test.old), []byte(test.now), 1)))
			r.Header.Set("Authorization", "Bearer "+providerKey)
			r.Header.Set(sumHeader, sum)
			w := httptest.NewRecorder()
			(&provider{}).ServeHTTP(w, r)
			if w.Code != test.want {
				t.Errorf("responses = %t, %s: status = %d, want %d", agents.Responses, test.name, w.Code, test.want)
			}
		}
	}
}

// TestConversationsAreRemembered compares with the plugin's constants: what is shorter is not
// remembered, and a half of the memory is as large as the soak assumes.
func TestConversationsAreRemembered(t *testing.T) {
	root, err := gateway.Root()
	if err != nil {
		t.Fatal(err)
	}
	for file, line := range map[string]string{
		"request_memory.go":  "generationMax      = 16 << 10 ",
		"request_excerpt.go": "excerptMinBytes   = 4 << 10\n\texcerptMinQuotes  = 200\n\texcerptMinObjects = 4\n",
	} {
		source, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(source), line) {
			t.Errorf("%s has other constants than %q", file, line)
		}
	}
	for _, k := range append(kinds(), fillKind) {
		if k.conversations == nil {
			continue
		}
		for number := range int64(100) {
			body := k.conversations.agents.Session(number).Body(0)
			if quotes, braces := bytes.Count(body, []byte(`"`)), bytes.Count(body, []byte("{")); len(body) < 4<<10 || quotes < 200 || braces < 4 {
				t.Errorf("%s %d begins with %d bytes, %d quotes and %d braces, want at least 4 KB, 200 and 4", k.name, number, len(body), quotes, braces)
			}
		}
	}
}
