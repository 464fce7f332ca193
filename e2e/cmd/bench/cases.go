package main

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/modelroute/chatcompletion/e2e/agent"
)

// streamEvents is the number of events of the streaming case, without its end marker.
const streamEvents = 100

// benchCase is a request that is sent repeatedly, each time with a different text, or agents whose
// requests continue each other.
type benchCase struct {
	name   string
	body   []byte
	agents *agent.Profile // in place of a body
	stream *protocol      // nil: the response is not a stream
	unlike bool           // each time also with a different parameter: the plugin finds no cached decision

	unsampled bool // the client's trace is not sampled, so the plugin exports no span
}

// Placeholders in a body for the number of the request.
const (
	textStamp = "00000000"
	seedStamp = `"seed":70000000`
)

// requestBody returns the body of the case's nth request.
func (c benchCase) requestBody(n int64) []byte {
	body := bytes.Replace(c.body, []byte(textStamp), fmt.Appendf(nil, "%08d", n), 1)
	if c.unlike {
		body = bytes.Replace(body, []byte(seedStamp), fmt.Appendf(nil, `"seed":%d`, 70000000+n), 1)
	}
	return body
}

// size is the approximate size of a request.
func (c benchCase) size() int {
	if c.agents != nil {
		return c.agents.Size()
	}
	return len(c.body)
}

// lastTurns is the number of requests of a session that are measured: with its last turns.
const lastTurns = 4

// measured returns the numbers of turns of the first and the last request of a session that is
// measured.
func (c benchCase) measured() (first, last int) {
	return max(1, c.agents.Turns-lastTurns+1), c.agents.Turns
}

// path is the path of the API that the case calls.
func (c benchCase) path() string {
	switch {
	case c.agents != nil && c.agents.Responses:
		return responsesPath
	case c.agents != nil && c.agents.Messages:
		return messagesPath
	case c.agents != nil && c.agents.Contents:
		return contentsPath
	}
	if c.stream != nil {
		return c.stream.path
	}
	return chatPath
}

// response is the response of the upstream, unless it is a stream.
func (c benchCase) response() string { return responseTo(c.path()) }

// units is the number of units, requests or events, by which the figures of a request are divided.
func (c benchCase) units() int {
	if c.stream != nil {
		return streamEvents
	}
	return 1
}

func cases() []benchCase {
	return []benchCase{
		{name: "1 KB of prose", body: proseRequest(1 << 10)},
		{name: "1 KB of prose, without a span", body: proseRequest(1 << 10), unsampled: true},
		{name: "1 KB of prose, unlike any before", body: proseRequest(1 << 10), unlike: true},
		{name: "16 KB of prose", body: proseRequest(16 << 10)},
		{name: "256 KB of prose", body: proseRequest(256 << 10)},
		{name: "64 messages of 4 KB", body: conversation(64, 4<<10)},
		{name: "1 MB with an image", body: imageRequest(1 << 20)},
		{name: "agent session, 10 turns, 5 tools", agents: &agent.Profile{Turns: 10, Tools: 5}},
		{name: "agent session, 60 turns, 30 tools", agents: &agent.Profile{Turns: 60, Tools: 30}},
		{name: "agent session, 10 turns, 5 tools, Responses API", agents: &agent.Profile{Turns: 10, Tools: 5, Responses: true}},
		{name: "agent session, 60 turns, 30 tools, Responses API", agents: &agent.Profile{Turns: 60, Tools: 30, Responses: true}},
		{name: "agent session, 60 turns, 30 tools, Anthropic's Messages", agents: &agent.Profile{Turns: 60, Tools: 30, Messages: true}},
		{name: "agent session, 60 turns, 30 tools, Gemini's generateContent", agents: &agent.Profile{Turns: 60, Tools: 30, Contents: true}},
		streamCase(openAI, eventCase),
		streamCase(anthropic, eventCase+", Anthropic's Messages"),
		streamCase(gemini, eventCase+", Gemini's generateContent"),
	}
}

// selected returns those of the named cases, by default all, that the options select.
func (b *bench) selected(names ...string) []benchCase {
	return slices.DeleteFunc(cases(), func(c benchCase) bool {
		return len(names) > 0 && !slices.Contains(names, c.name) || !b.options.only.MatchString(c.name)
	})
}

// agentCases are the names of the cases of agents.
func agentCases() []string {
	var names []string
	for _, c := range cases() {
		if c.agents != nil {
			names = append(names, c.name)
		}
	}
	return names
}

// openAICases are the names of the cases of agents that use OpenAI's API, which other gateways know.
func openAICases() []string {
	var names []string
	for _, c := range cases() {
		if c.agents != nil && !c.agents.Messages && !c.agents.Contents {
			names = append(names, c.name)
		}
	}
	return names
}

// eventCase is the name of the streaming case of chat completions.
const eventCase = "one event of a stream of 100"

func streamCase(p *protocol, name string) benchCase {
	return benchCase{name: name, body: p.body(), stream: p}
}
