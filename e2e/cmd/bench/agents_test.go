package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/modelroute/chatcompletion"
	"github.com/modelroute/chatcompletion/e2e/agent"
)

// agentSizes are the sizes that the documentation gives.
var agentSizes = map[string]int{
	"agent session, 10 turns, 5 tools":                 34 << 10,
	"agent session, 60 turns, 30 tools":                166 << 10,
	"agent session, 10 turns, 5 tools, Responses API":  34 << 10,
	"agent session, 60 turns, 30 tools, Responses API": 166 << 10,

	"agent session, 60 turns, 30 tools, Anthropic's Messages":     166 << 10,
	"agent session, 60 turns, 30 tools, Gemini's generateContent": 166 << 10,
}

// eachSession calls test for sessions of each case of agents, four of each form.
func eachSession(t *testing.T, test func(t *testing.T, c benchCase, number int64, s *agent.Session)) {
	t.Helper()
	tested := 0
	for _, c := range cases() {
		if c.agents == nil {
			continue
		}
		tested++
		t.Run(c.name, func(t *testing.T) {
			for number := range int64(4 * c.agents.Forms()) {
				test(t, c, number, c.agents.Session(number))
			}
		})
	}
	if tested != len(agentSizes) {
		t.Errorf("tested %d cases, want %d", tested, len(agentSizes))
	}
}

func TestSessionSizesMatchNames(t *testing.T) {
	eachSession(t, func(t *testing.T, c benchCase, number int64, s *agent.Session) {
		begin, end := c.measured()
		mean := 0
		for turns := begin; turns <= end; turns++ {
			mean += len(s.Body(turns)) / (end - begin + 1)
		}
		for what, got := range map[string]int{"last request": len(s.Body(end)), "measured requests": mean, "size()": c.size()} {
			if want := agentSizes[c.name]; got < want-want/10 || got > want+want/10 {
				t.Errorf("session %d: %s of %d bytes, want about %d", number, what, got, want)
			}
		}
		for _, tool := range toolsOf(s.Body(0)) {
			if size := len(tool.Raw); size < 1000 || size > 4500 {
				t.Errorf("session %d: tool of %d bytes, want about 1 to 4 KB", number, size)
			}
		}
	})
}

// toolsOf returns the tools in a request.
func toolsOf(body []byte) []gjson.Result {
	if declared := gjson.GetBytes(body, "tools.0.functionDeclarations"); declared.Exists() {
		return declared.Array()
	}
	return gjson.GetBytes(body, "tools").Array()
}

func TestPluginAcceptsSessions(t *testing.T) {
	config := chatcompletion.CreateConfig()
	config.Model, config.Token = enforcedModel, enforcedKey
	config.Routes = map[string]string{"*": "completions", responsesPath: "responses", messagesPath: "messages", modelsPath + "*": "generateContent"}
	config.Params.MaxTokens, config.Params.Temperature = enforced["max_tokens"], enforced["temperature"]
	var received []byte
	var model string
	next := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received, _ = io.ReadAll(r.Body)
		model = modelIn(r.URL.Path, received)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, responseTo(r.URL.Path))
	})
	plugin, err := chatcompletion.New(context.Background(), next, config, "bench")
	if err != nil {
		t.Fatal(err)
	}
	eachSession(t, func(t *testing.T, c benchCase, number int64, s *agent.Session) {
		for _, turns := range []int{0, 1, c.agents.Turns / 2, c.agents.Turns} {
			body := s.Body(turns)
			request := httptest.NewRequest(http.MethodPost, c.path(), bytes.NewReader(body))
			request.Header.Set("Content-Type", "application/json")
			response := httptest.NewRecorder()
			plugin.ServeHTTP(response, request)
			if response.Code != http.StatusOK || response.Body.String() != c.response() {
				t.Fatalf("session %d after %d turns: status %d: %s", number, turns, response.Code, response.Body)
			}
			if model != enforcedModel {
				t.Errorf("session %d: model %q at the upstream, want %q", number, model, enforcedModel)
			}
			for _, array := range []string{"messages", "input", "contents", "tools"} {
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
	c := benchCase{agents: &agent.Profile{Turns: 6, Tools: 2}}
	to := target{address: upstream.URL + chatPath}
	for range 2 {
		requests, err := b.prepare(t.Context(), c, to, 20)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := requests.count(), 2*lastTurns*c.agents.Forms(); got != want {
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
	if want := 2 * 2 * lastTurns * c.agents.Forms(); measured != want {
		t.Errorf("%d requests after their preparation, want %d", measured, want)
	}
}
