package main

import (
	"fmt"
	"strings"
)

// protocol is an API whose streams are measured.
type protocol struct {
	path  string
	body  func() []byte
	first string // event
	event string // each of the following
	end   string // what follows the events that are counted
	last  string // line of the stream
}

// The APIs whose streams are measured. The text of each event is the same.
var (
	openAI = &protocol{path: chatPath, body: streamRequest, first: eventData, event: eventData, end: endData, last: "data: [DONE]\n"}

	anthropic = &protocol{
		path: messagesPath,
		body: func() []byte {
			return fmt.Appendf(nil, `{"model":%q,"max_tokens":4096,"seed":70000000,"stream":true,"messages":[{"role":"user","content":%q}]}`, clientModel, textStamp+prose(600, 1))
		},
		first: "event: message_start\n" + `data: {"type":"message_start","message":{"id":"msg_bench","type":"message","role":"assistant","content":[],"model":"gpt-4o-mini",` +
			`"stop_reason":null,"usage":{"input_tokens":200,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}` + "\n\n",
		event: "event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" gateway"}}` + "\n\n",
		end: "event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":12}}` + "\n\n" +
			"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n",
		last: `data: {"type":"message_stop"}` + "\n",
	}

	gemini = &protocol{
		path: modelsPath + clientModel + ":streamGenerateContent?alt=sse",
		body: func() []byte {
			return fmt.Appendf(nil, `{"contents":[{"role":"user","parts":[{"text":%q}]}],"generationConfig":{"maxOutputTokens":4096}}`, textStamp+prose(600, 1))
		},
		first: geminiEvent, event: geminiEvent,
		end:  strings.Replace(geminiEvent, `"index"`, `"finishReason": "STOP","index"`, 1),
		last: strings.TrimSuffix(strings.Replace(geminiEvent, `"index"`, `"finishReason": "STOP","index"`, 1), "\r\n"),
	}
)

const geminiEvent = `data: {"candidates": [{"content": {"parts": [{"text": " gateway"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 200,` +
	`"candidatesTokenCount": 12,"totalTokenCount": 212,"promptTokensDetails": [{"modality": "TEXT","tokenCount": 200}]},"modelVersion": "gpt-4o-mini","responseId": "bench"}` + "\r\n\r\n"

// protocolOf returns the API of a path.
func protocolOf(path string) *protocol {
	switch {
	case strings.Contains(path, "/models/"):
		return gemini
	case strings.HasSuffix(path, anthropic.path):
		return anthropic
	}
	return openAI
}
