package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
)

// streamEvents is the number of events of the streaming case, its end marker not counted.
const streamEvents = 100

// benchCase is a request that is sent again and again, each time with another text.
type benchCase struct {
	name   string
	body   []byte
	stream bool
	unlike bool // each time with another parameter, too: the plugin has not seen its like

	unsampled bool // the client's trace is not recorded: there is no span
}

// What stands in a body for the number of the request.
const (
	textStamp = "00000000"
	seedStamp = `"seed":70000000`
)

// requestBody is the body of a case's nth request.
func (c benchCase) requestBody(n int64) []byte {
	body := bytes.Replace(c.body, []byte(textStamp), fmt.Appendf(nil, "%08d", n), 1)
	if c.unlike {
		body = bytes.Replace(body, []byte(seedStamp), fmt.Appendf(nil, `"seed":%d`, 70000000+n), 1)
	}
	return body
}

// units is by what the figures of a request are divided.
func (c benchCase) units() int {
	if c.stream {
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
		{name: "one event of a stream of 100", body: streamRequest(), stream: true},
	}
}

type message struct {
	Role    string `json:"role"`
	Content any    `json:"content"`
}

// request is what a client sends, in the order of OpenAI's own SDK. The plugin changes or removes
// every field but the messages.
type request struct {
	Messages    []message `json:"messages"`
	Model       string    `json:"model"`
	MaxTokens   int       `json:"max_tokens"`
	N           int       `json:"n"`
	Seed        int       `json:"seed"`
	Temperature float64   `json:"temperature"`
	TopP        float64   `json:"top_p"`
	Stream      bool      `json:"stream,omitempty"`
}

func encode(messages []message, stream bool) []byte {
	encoded, err := json.Marshal(request{
		Messages: messages, Model: clientModel,
		MaxTokens: 4096, N: 1, Seed: 70000000, Temperature: 1, TopP: 1, Stream: stream,
	})
	if err != nil {
		panic(err) // plain values always encode
	}
	return encoded
}

func proseRequest(size int) []byte {
	empty := encode([]message{{Role: "user", Content: ""}}, false)
	return encode([]message{{Role: "user", Content: textStamp + prose(size-len(empty)-len(textStamp), 1)}}, false)
}

func conversation(count, size int) []byte {
	messages := make([]message, count)
	for i := range messages {
		role := "user"
		if i%2 == 1 {
			role = "assistant"
		}
		messages[i] = message{Role: role, Content: textStamp + prose(size, int64(i))}
	}
	return encode(messages, false)
}

func imageRequest(size int) []byte {
	pixels := make([]byte, size/4*3)
	random := rand.New(rand.NewSource(1))
	for i := range pixels {
		pixels[i] = byte(random.Intn(256))
	}
	return encode([]message{{Role: "user", Content: []any{
		map[string]any{"type": "text", "text": textStamp + ": what does this picture show?"},
		map[string]any{"type": "image_url", "image_url": map[string]any{
			"url": "data:image/png;base64," + base64.StdEncoding.EncodeToString(pixels),
		}},
	}}}, false)
}

func streamRequest() []byte {
	return encode([]message{{Role: "user", Content: textStamp + prose(600, 1)}}, true)
}

var words = strings.Fields(`the a gateway model prompt answer of in to and with for that which
	request token policy route stream user operator cost key limit provider region error retry
	reads writes sends keeps counts refuses forwards small large quick exact open bounded`)

// prose is text of about the encoded size: sentences, some of them quoted, in paragraphs.
func prose(size int, seed int64) string {
	random := rand.New(rand.NewSource(seed))
	var text strings.Builder
	for encoded := 0; encoded < size; {
		sentence := strings.Join(pick(random, 6+random.Intn(12)), " ") + ". "
		switch random.Intn(8) {
		case 0:
			sentence = `"` + strings.TrimSpace(sentence) + `" `
			encoded += 2 // the quotes' escapes
		case 1:
			sentence += "\n\n"
			encoded += 2
		}
		encoded += len(sentence)
		text.WriteString(sentence)
	}
	return text.String()
}

func pick(random *rand.Rand, count int) []string {
	picked := make([]string, count)
	for i := range picked {
		picked[i] = words[random.Intn(len(words))]
	}
	return picked
}
