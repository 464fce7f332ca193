package demo

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// messagesRequest has the fields of a Messages API request that the provider reads.
type messagesRequest struct {
	Model     string          `json:"model"`
	MaxTokens *int            `json:"max_tokens"`
	System    json.RawMessage `json:"system"`
	Messages  []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Stream      bool            `json:"stream"`
	Temperature json.RawMessage `json:"temperature"`
	TopP        json.RawMessage `json:"top_p"`
	TopK        json.RawMessage `json:"top_k"`
	Thinking    struct {
		Type    string `json:"type"`
		Display string `json:"display"`
	} `json:"thinking"`
	Tools []struct {
		Name        string          `json:"name"`
		InputSchema json.RawMessage `json:"input_schema"`
	} `json:"tools"`
	ToolChoice struct {
		Type string `json:"type"`
		Name string `json:"name"`
	} `json:"tool_choice"`
	OutputConfig struct {
		Format struct {
			Type   string          `json:"type"`
			Schema json.RawMessage `json:"schema"`
		} `json:"format"`
	} `json:"output_config"`
}

// block is a block of a prompt.
type block struct {
	Type         string          `json:"type"`
	Text         string          `json:"text"`
	Content      json.RawMessage `json:"content"` // of a tool's result
	CacheControl *struct {
		TTL string `json:"ttl"`
	} `json:"cache_control"`
}

func (b block) text() string {
	if b.Type == "tool_result" {
		return contentText(b.Content)
	}
	return b.Text
}

func (u *upstream) messages(w http.ResponseWriter, r *http.Request) {
	var request messagesRequest
	if !u.read(w, r, &request) || !u.knows(w, r, request.Model) || !request.complete(w, true) || !request.suits(w, r) {
		return
	}
	reply := request.reply(u.id(""))
	u.fromCache(&reply.usage)
	w.Header().Set("Request-Id", "req_demo_"+reply.id)
	if request.Stream {
		u.send(w, r, reply.events(u.chunks))
		return
	}
	writeJSON(w, http.StatusOK, reply.document(reply.blocks(), reply.stopReason(), reply.usage.members(reply.outputTokens)))
}

// messagesTokens counts the tokens of a request.
func (u *upstream) messagesTokens(w http.ResponseWriter, r *http.Request) {
	var request messagesRequest
	if !u.read(w, r, &request) || !u.knows(w, r, request.Model) || !request.complete(w, false) {
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"input_tokens": request.inputTokens()})
}

// complete reports whether the request has the members that the API requires. If it does not, complete
// writes an error.
func (r *messagesRequest) complete(w http.ResponseWriter, generates bool) bool {
	missing := ""
	switch {
	case len(r.Messages) == 0:
		missing = "messages"
	case generates && r.MaxTokens == nil:
		missing = "max_tokens"
	default:
		return true
	}
	failAsAnthropic(w, failure{status: http.StatusBadRequest, message: missing + ": Field required"})
	return false
}

// suits reports whether the request has no parameter that its version of the API lacks. If it has one,
// suits writes an error.
func (r *messagesRequest) suits(w http.ResponseWriter, request *http.Request) bool {
	if request.Header.Get("Anthropic-Version") == versions[0] {
		return true
	}
	for _, parameter := range []struct {
		name  string
		value json.RawMessage
	}{{"temperature", r.Temperature}, {"top_p", r.TopP}, {"top_k", r.TopK}} {
		if parameter.value != nil {
			failAsAnthropic(w, failure{status: http.StatusBadRequest, message: parameter.name + ": Extra inputs are not permitted"})
			return false
		}
	}
	return true
}

// messagesUsage is the input of a message: how many tokens are neither read from the prompt cache nor
// written to it, and the prefix that is cached.
type messagesUsage struct {
	uncached int
	prefix   string
	ttl      string // of the prefix, 5m or 1h
	pictures int    // in the prefix
	known    bool   // the prefix is in the cache already
	thinking int    // tokens of the output
}

func (u *messagesUsage) cached() int { return tokens(u.prefix) + u.pictures*imageTokens }

// usage counts the tokens up to the last block with a breakpoint, which are cached, and those after it.
func (r *messagesRequest) usage() messagesUsage {
	var usage messagesUsage
	var after []string
	pictures := 0
	for _, b := range r.prompt() {
		if text := b.text(); text != "" {
			after = append(after, text)
		}
		if b.Type == "image" {
			pictures++
		}
		if b.CacheControl != nil {
			usage.prefix += strings.Join(after, " ")
			usage.pictures += pictures
			usage.ttl = b.CacheControl.TTL
			after, pictures = nil, 0
		}
	}
	usage.uncached = tokens(strings.Join(after, " ")) + pictures*imageTokens
	return usage
}

// inputTokens returns the tokens of the prompt, cached or not.
func (r *messagesRequest) inputTokens() int {
	usage := r.usage()
	return usage.uncached + usage.cached()
}

// prompt returns the blocks of the prompt, in order.
func (r *messagesRequest) prompt() []block {
	blocks := blocksOf(r.System)
	for _, message := range r.Messages {
		blocks = append(blocks, blocksOf(message.Content)...)
	}
	return blocks
}

// blocksOf returns the blocks of a content: a string, or a list of them.
func blocksOf(content json.RawMessage) []block {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return []block{{Type: "text", Text: text}}
	}
	var blocks []block
	_ = json.Unmarshal(content, &blocks) // any other content has no blocks
	return blocks
}

// maxCached bounds the prefixes in the prompt cache.
const maxCached = 1024

// fromCache looks the prefix up in the prompt cache, and keeps it there.
func (u *upstream) fromCache(usage *messagesUsage) {
	if usage.prefix == "" {
		return
	}
	u.mutex.Lock()
	defer u.mutex.Unlock()
	usage.known = u.cached[usage.prefix]
	if len(u.cached) >= maxCached {
		clear(u.cached)
	}
	u.cached[usage.prefix] = true
}

func (u *messagesUsage) members(output int) map[string]any {
	read, short, long := 0, 0, 0
	switch {
	case u.known:
		read = u.cached()
	case u.ttl == "1h":
		long = u.cached()
	default:
		short = u.cached()
	}
	return map[string]any{
		"input_tokens": u.uncached, "cache_creation_input_tokens": short + long, "cache_read_input_tokens": read,
		"cache_creation": map[string]any{"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": long},
		"output_tokens":  output, "output_tokens_details": map[string]any{"thinking_tokens": min(u.thinking, output)},
		"service_tier": "standard", "server_tool_use": nil, "inference_geo": "global", "speed": nil,
	}
}

// message is a message before it is written as one document or as events.
type message struct {
	completion
	usage   messagesUsage
	thinks  bool // the message begins with a thinking block, which may be empty
	omitted bool // the thinking block has a signature only
}

func (r *messagesRequest) reply(id string) message {
	m := message{completion: completion{id: id, model: r.Model}, usage: r.usage()}
	if m.thinks = r.Thinking.Type == "enabled" || r.Thinking.Type == "adaptive"; m.thinks {
		m.thought, m.omitted = "Thinking about it.", r.Thinking.Display == "omitted"
	}
	switch tool := r.calledTool(); {
	case tool >= 0:
		m.tool, m.arguments = r.Tools[tool].Name, example(r.Tools[tool].InputSchema)
	case r.OutputConfig.Format.Type == "json_schema":
		m.content = example(r.OutputConfig.Format.Schema)
	default:
		m.content = r.Model + " heard: " + r.heard()
	}
	m.usage.thinking = tokens(m.thought)
	m.outputTokens = m.usage.thinking + tokens(m.content+m.arguments)
	return m
}

// heard returns the text of the last message.
func (r *messagesRequest) heard() string {
	var texts []string
	for _, b := range blocksOf(r.Messages[len(r.Messages)-1].Content) {
		if text := b.text(); text != "" {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, " ")
}

// calledTool returns the index of the tool that tool_choice requires, or -1.
func (r *messagesRequest) calledTool() int {
	for i, tool := range r.Tools {
		if r.ToolChoice.Type == "any" || r.ToolChoice.Type == "tool" && tool.Name == r.ToolChoice.Name {
			return i
		}
	}
	return -1
}

func (m message) stopReason() string {
	if m.tool != "" {
		return "tool_use"
	}
	return "end_turn"
}

func (m message) signature() string {
	return base64.StdEncoding.EncodeToString([]byte("signature of " + m.id))
}

func (m message) document(content []any, stopReason any, usage map[string]any) map[string]any {
	return map[string]any{
		"id": "msg_demo_" + m.id, "type": "message", "role": "assistant", "model": m.model, "content": content,
		"stop_reason": stopReason, "stop_sequence": nil, "stop_details": nil, "container": nil, "usage": usage,
	}
}

// blocks returns the content of the message.
func (m message) blocks() []any {
	blocks := []any{}
	if m.thinks {
		blocks = append(blocks, map[string]any{"type": "thinking", "thinking": m.shown(), "signature": m.signature()})
	}
	if m.tool != "" {
		return append(blocks, map[string]any{"type": "tool_use", "id": "toolu_demo_" + m.id, "name": m.tool, "input": json.RawMessage(m.arguments)})
	}
	return append(blocks, map[string]any{"type": "text", "text": m.content})
}

// shown returns what a client gets of the thought.
func (m message) shown() string {
	if m.omitted {
		return ""
	}
	return m.thought
}

// events returns the events of the stream. Only its beginning and its end have usage, and the one at the
// end is that of the whole message.
func (m message) events(chunks int) []string {
	events := &eventsOf{}
	events.add("message_start", map[string]any{"message": m.document([]any{}, nil, m.usage.members(1))})
	index := 0
	block := func(begin map[string]any, deltas ...map[string]any) {
		events.add("content_block_start", map[string]any{"index": index, "content_block": begin})
		if index == 0 {
			events.add("ping", map[string]any{})
		}
		for _, delta := range deltas {
			events.add("content_block_delta", map[string]any{"index": index, "delta": delta})
		}
		events.add("content_block_stop", map[string]any{"index": index})
		index++
	}
	if m.thinks {
		deltas := append(deltasOf("thinking_delta", "thinking", m.shown(), chunks), map[string]any{"type": "signature_delta", "signature": m.signature()})
		block(map[string]any{"type": "thinking", "thinking": "", "signature": ""}, deltas...)
	}
	if m.tool != "" {
		deltas := append([]map[string]any{{"type": "input_json_delta", "partial_json": ""}}, deltasOf("input_json_delta", "partial_json", m.arguments, chunks)...)
		block(map[string]any{"type": "tool_use", "id": "toolu_demo_" + m.id, "name": m.tool, "input": map[string]any{}}, deltas...)
	} else {
		block(map[string]any{"type": "text", "text": ""}, deltasOf("text_delta", "text", m.content, chunks)...)
	}
	events.add("message_delta", map[string]any{
		"delta": map[string]any{"stop_reason": m.stopReason(), "stop_sequence": nil, "stop_details": nil, "container": nil},
		"usage": m.usage.members(m.outputTokens),
	})
	events.add("message_stop", map[string]any{})
	return events.texts
}

func deltasOf(kind, member, text string, chunks int) (deltas []map[string]any) {
	for _, piece := range pieces(text, chunks) {
		deltas = append(deltas, map[string]any{"type": kind, member: piece})
	}
	return deltas
}
