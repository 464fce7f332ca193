package traffic

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/modelroute/chatcompletion/e2e/agent"
	"github.com/modelroute/chatcompletion/e2e/demo"
)

// Team is a consumer of examples/local, which has the SHA-256 of its key.
type Team struct{ Name, Key string }

// The teams. Their keys are public.
var (
	Shop     = Team{"shop", "sk-demo-shop-7d1f0b6c2a95"}
	Support  = Team{"support", "sk-demo-support-3e8a5c91d074"}
	Research = Team{"research", "sk-demo-research-b2c64f8e17a3"}
)

// stranger has a key that no consumer has.
var stranger = Team{"unknown", "sk-demo-unknown-000000000000"}

// questions are those that customers ask again and again, the most frequent ones first.
var questions = []string{
	"Where is my order?", "How long does the delivery take?", "How do I return an item?", "When are you open?",
	"Do you deliver abroad?", "How can I pay?", "Can I change the address of my order?", "How do I reset my password?",
	"Is there a warranty?", "Where do I find my invoice?", "Do you have gift cards?", "How do I cancel my order?",
}

// searches are what customers look for again and again, the most frequent ones first.
var searches = []string{
	"rain jacket", "running shoes", "desk lamp", "backpack", "water bottle", "wool socks", "tent for two", "headphones",
	"coffee grinder", "bicycle light", "yoga mat", "alarm clock",
}

// cards are card numbers with which nobody can pay.
var cards = []string{"4111 1111 1111 1111", "5555-5555-5555-4444", "378282246310005"}

// call is a request before it is sent.
type call struct {
	team   string
	path   string
	header map[string]string
	body   string // empty: GET
	leaves bool   // the client leaves before the response ends
}

func (c call) method() string {
	if c.body == "" {
		return http.MethodGet
	}
	return http.MethodPost
}

func statusText(status int) string { return strconv.Itoa(status) }

// writer writes calls.
type writer struct {
	*rand.Rand
	realistic bool
	agents    []*conversation // of the researchers
}

// conversation is one of an agent's, which sends a longer prompt with each turn.
type conversation struct {
	session *agent.Session
	path    string
	model   string
	turn    int
}

// kinds is the number of kinds of agents: one for each protocol.
const kinds = 3

// turns is the number of turns of an agent.
const turns = 14

func newWriter(seed int64, realistic bool) *writer {
	w := &writer{Rand: rand.New(rand.NewSource(seed)), realistic: realistic}
	for kind := range kinds {
		w.agents = append(w.agents, w.converse(kind))
	}
	return w
}

// chance reports true with the probability.
func (w *writer) chance(probability float64) bool { return w.Float64() < probability }

// choice is something that occurs with a weight.
type choice struct {
	weight float64
	call   func() call
}

// pick returns the call of one of the choices.
func (w *writer) pick(choices ...choice) call {
	sum := 0.0
	for _, c := range choices {
		sum += c.weight
	}
	at := w.Float64() * sum
	for _, c := range choices {
		if at -= c.weight; at < 0 {
			return c.call()
		}
	}
	return choices[0].call()
}

// call returns the next call of a team.
func (w *writer) call() call {
	return w.pick(choice{56, w.shopping}, choice{28, w.supporting}, choice{15, w.researching}, choice{1, func() call {
		return w.chat(stranger, "gpt-4o-mini", w.prose(200), nil)
	}})
}

// shopping returns a call of the shop: classified reviews, product texts, searches.
func (w *writer) shopping() call {
	return w.pick(
		choice{36, func() call { return w.chat(Shop, "gpt-5-mini", w.prose(200+w.Intn(1200)), nil) }},
		choice{20, func() call {
			return w.chat(Shop, "gpt-4o-mini", w.prose(400+w.Intn(1600)), map[string]any{"stream": true})
		}},
		choice{8, func() call { return w.chat(Shop, "fast", w.frequent(questions), map[string]any{"max_tokens": 16000}) }},
		choice{10, func() call {
			return w.json(Shop, "/v1/embeddings", "text-embedding-3-small", map[string]any{"input": []string{w.prose(300), w.prose(500)}})
		}},
		choice{10, func() call {
			return w.json(Shop, "/v1/embeddings", "text-embedding-3-small", map[string]any{"input": w.frequent(searches)})
		}},
		choice{8, func() call {
			return w.json(Shop, "/v1/moderations", "omni-moderation-latest", map[string]any{"input": w.prose(300)})
		}},
		choice{4, func() call { return w.chat(Shop, "claude-opus-5-5", w.prose(300), nil) }}, // not for the shop
		choice{2, func() call { return w.chat(Shop, "gpt-5-mini", w.prose(100), map[string]any{"temperature": 3}) }},
		choice{1, func() call { return w.json(Shop, "/v1/batches", "", map[string]any{}) }},
		choice{1, func() call { return w.get(Shop, "/v1/models") }},
	)
}

// supporting returns a call of the support desk: conversations, summaries, recorded calls.
func (w *writer) supporting() call {
	return w.pick(
		choice{30, func() call { return w.message(Support, "claude-sonnet-5-5", 1+w.Intn(6), true) }},
		choice{14, func() call { return w.question(Support, "claude-haiku-5-5", w.frequent(questions)) }},
		choice{4, func() call {
			return w.question(Support, "claude-haiku-5-5", "My card is "+cards[w.Intn(len(cards))]+". "+w.prose(300))
		}},
		choice{16, func() call { return w.message(Support, "claude-haiku-5-5", 8, false) }},
		choice{8, func() call {
			c := w.message(Support, "claude-sonnet-5-5", 2, true)
			c.leaves = true
			return c
		}},
		choice{12, func() call { return w.content(Support, "gemini-2.5-flash", w.prose(400+w.Intn(3000))) }},
		choice{4, func() call { return w.content(Support, "gemini-2.5-flash", w.frequent(questions)) }},
		choice{10, func() call { return w.recording(Support) }},
		choice{2, func() call {
			return w.json(Support, "/v1/messages", "claude-haiku-5-5", map[string]any{"messages": []any{}})
		}},
	)
}

// researching returns a call of the researchers: agents, and documents to read.
func (w *writer) researching() call {
	return w.pick(
		choice{70, w.turn},
		choice{20, func() call {
			return w.chat(Research, "o4-mini", w.prose(6000+w.Intn(20000)), map[string]any{"max_completion_tokens": 8000})
		}},
		choice{10, func() call {
			c := w.message(Research, "claude-opus-5-5", 4, false)
			c.path = "/v1/messages/count_tokens"
			return c
		}},
	)
}

// converse begins the conversation of an agent of a kind.
func (w *writer) converse(kind int) *conversation {
	number := w.Int63n(1 << 40)
	switch kind {
	case 0:
		return &conversation{agent.Profile{Turns: turns, Tools: 8, Responses: true}.Session(number), "/v1/responses", "gpt-4o", 0}
	case 1:
		const model = "gemini-2.5-pro"
		return &conversation{agent.Profile{Turns: turns, Tools: 8, Contents: true}.Session(number), "/v1beta/models/" + model + ":generateContent", model, 0}
	}
	return &conversation{agent.Profile{Turns: turns, Tools: 8, Messages: true}.Session(number), "/v1/messages", "claude-opus-5-5", 0}
}

// turn returns the next request of an agent.
func (w *writer) turn() call {
	at := w.Intn(len(w.agents))
	one := w.agents[at]
	body := bytes.Replace(one.session.Body(one.turn), []byte(`"`+agent.Model+`"`), []byte(`"`+one.model+`"`), 1)
	if one.turn++; one.turn > turns {
		w.agents[at] = w.converse(at)
	}
	return w.with(Research, one.path, one.model, string(body))
}

func (w *writer) prose(size int) string { return strings.TrimSpace(agent.Prose(w.Rand, size)) }

// frequent returns one of the texts, the first ones more often than the last ones.
func (w *writer) frequent(texts []string) string { return texts[w.Intn(1+w.Intn(len(texts)))] }

// chat returns a chat completion.
func (w *writer) chat(team Team, model, text string, members map[string]any) call {
	request := map[string]any{"messages": []any{
		map[string]any{"role": "system", "content": "You are the assistant of a shop. Be brief."},
		map[string]any{"role": "user", "content": text},
	}}
	for name, value := range members {
		request[name] = value
	}
	return w.json(team, "/v1/chat/completions", model, request)
}

// message returns a request in Anthropic's protocol, with a conversation of some turns.
func (w *writer) message(team Team, model string, length int, stream bool) call {
	var messages []any
	for range length - 1 {
		messages = append(messages, map[string]any{"role": "user", "content": w.prose(300)}, map[string]any{"role": "assistant", "content": w.prose(600)})
	}
	messages = append(messages, map[string]any{"role": "user", "content": w.prose(200 + w.Intn(2000))})
	request := map[string]any{"system": w.prose(1500), "messages": messages, "max_tokens": 2000}
	if stream {
		request["stream"] = true
	}
	return w.json(team, "/v1/messages", model, request)
}

// question returns a request in Anthropic's protocol, with one question of a customer.
func (w *writer) question(team Team, model, text string) call {
	return w.json(team, "/v1/messages", model, map[string]any{
		"system": "Be polite and brief.", "messages": []any{map[string]any{"role": "user", "content": text}}, "max_tokens": 2000, "stream": true,
	})
}

// content returns a stream in Gemini's protocol.
func (w *writer) content(team Team, model, text string) call {
	return w.json(team, "/v1beta/models/"+model+":streamGenerateContent?alt=sse", "", map[string]any{
		"contents": []any{map[string]any{"role": "user", "parts": []any{map[string]any{"text": text}}}},
	})
}

// recording returns the transcription of a call.
func (w *writer) recording(team Team) call {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	_ = form.WriteField("model", "whisper-1") // a buffer takes everything
	if file, err := form.CreateFormFile("file", "call.wav"); err == nil {
		_, _ = file.Write(make([]byte, 8_000*(1+w.Intn(8))))
	}
	_ = form.Close()
	c := w.with(team, "/v1/audio/transcriptions", "whisper-1", body.String())
	c.header["Content-Type"] = form.FormDataContentType()
	return c
}

func (w *writer) get(team Team, path string) call { return w.with(team, path, "", "") }

// json returns a request whose body is JSON, with the model if it is not empty.
func (w *writer) json(team Team, path, model string, request map[string]any) call {
	if model != "" {
		request["model"] = model
	}
	body, err := json.Marshal(request)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return w.with(team, path, model, string(body))
}

// with returns a call with the headers that each has.
func (w *writer) with(team Team, path, model, body string) call {
	header := map[string]string{"Content-Type": "application/json"}
	switch {
	case strings.HasPrefix(path, "/v1/messages"):
		header["X-Api-Key"], header["Anthropic-Version"] = team.Key, "2023-06-01"
	case strings.HasPrefix(path, "/v1beta/"):
		header["X-Goog-Api-Key"] = team.Key
	default:
		header["Authorization"] = "Bearer " + team.Key
	}
	if w.chance(0.02) {
		header[demo.StatusHeader] = []string{"429", "500", "503"}[w.Intn(3)]
	}
	if delay := w.delay(model, len(body)); w.realistic {
		header[demo.DelayHeader] = delay.String()
	}
	return call{team: team.Name, path: path, header: header, body: body}
}

// firstTokens are times to the first token of a short prompt.
var firstTokens = map[string]time.Duration{
	"gpt-5-mini": 350 * time.Millisecond, "gpt-4o-mini": 300 * time.Millisecond, "fast": 350 * time.Millisecond, "gpt-4o": 600 * time.Millisecond,
	"o4-mini": 2500 * time.Millisecond, "claude-opus-5-5": 1800 * time.Millisecond, "claude-sonnet-5-5": 700 * time.Millisecond,
	"claude-haiku-5-5": 400 * time.Millisecond, "gemini-2.5-pro": 1500 * time.Millisecond, "whisper-1": 900 * time.Millisecond,
	"text-embedding-3-small": 60 * time.Millisecond, "omni-moderation-latest": 90 * time.Millisecond,
}

// delay returns the time that a model takes until its response begins: more for a long prompt, and
// sometimes much more.
func (w *writer) delay(model string, size int) time.Duration {
	first, known := firstTokens[model]
	if !known {
		first = 250 * time.Millisecond
	}
	perByte := first / 40_000
	spread := math.Exp(w.NormFloat64() * 0.45)
	return time.Duration(float64(first+perByte*time.Duration(size)) * spread).Round(time.Millisecond)
}
