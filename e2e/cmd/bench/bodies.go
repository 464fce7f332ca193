package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"

	"github.com/modelroute/chatcompletion/e2e/agent"
)

type message struct {
	Role    string `json:"role"`
	Content any    `json:"content"`
}

// request is a client's request, with the fields in the order of OpenAI's SDK. The plugin changes
// or removes every field except the messages.
type request struct {
	Messages    []message `json:"messages"`
	Tools       []any     `json:"tools,omitempty"`
	Model       string    `json:"model"`
	MaxTokens   int       `json:"max_tokens"`
	N           int       `json:"n"`
	Seed        int       `json:"seed"`
	Temperature float64   `json:"temperature"`
	TopP        float64   `json:"top_p"`
	Stream      bool      `json:"stream,omitempty"`
}

func encode(messages []message, stream bool, tools ...any) []byte {
	encoded, err := json.Marshal(request{
		Messages: messages, Tools: tools, Model: clientModel,
		MaxTokens: 4096, N: 1, Seed: 70000000, Temperature: 1, TopP: 1, Stream: stream,
	})
	if err != nil {
		panic(err) // these values always encode
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

// codeRequest has source code as its text, with a quote to escape about every thirty bytes.
func codeRequest(size int) []byte {
	const room = 200 // for the other fields
	random := rand.New(rand.NewSource(1))
	var source strings.Builder
	for encoded := 0; encoded < size-room; {
		names := agent.Pick(random, 4)
		line := fmt.Sprintf("\tif %s[\"%s\"] == \"%s\" {\n\t\treturn fmt.Errorf(\"%s: %%w\", err)\n\t}\n", names[0], names[1], names[2], names[3])
		encoded += len(line) + strings.Count(line, "\"") + strings.Count(line, "\n") + strings.Count(line, "\t")
		source.WriteString(line)
	}
	return encode([]message{{Role: "user", Content: textStamp + source.String()}}, false)
}

// toolsRequest has a short text, and functions whose JSON schemas have four parameters each.
func toolsRequest(size int) []byte {
	messages := []message{{Role: "user", Content: textStamp + ": which of them do you call?"}}
	random := rand.New(rand.NewSource(1))
	var tools []any
	for encoded := len(encode(messages, false)); encoded < size; {
		properties := map[string]any{}
		for i := range 4 {
			name := fmt.Sprintf("%s_%d", agent.Pick(random, 1)[0], i)
			properties[name] = map[string]any{"type": "string", "description": strings.Join(agent.Pick(random, 12), " ")}
		}
		tool := map[string]any{"type": "function", "function": map[string]any{
			"name":        fmt.Sprintf("%s_%d", strings.Join(agent.Pick(random, 2), "_"), len(tools)),
			"description": strings.Join(agent.Pick(random, 30), " "),
			"parameters":  map[string]any{"type": "object", "properties": properties, "additionalProperties": false},
		}}
		text, err := json.Marshal(tool)
		if err != nil {
			panic(err) // these values always encode
		}
		encoded += len(text) + 1
		tools = append(tools, tool)
	}
	return encode(messages, false, tools...)
}

func streamRequest() []byte {
	return encode([]message{{Role: "user", Content: textStamp + prose(600, 1)}}, true)
}

// prose returns text of about the encoded size.
func prose(size int, seed int64) string { return agent.Prose(rand.New(rand.NewSource(seed)), size) }
