package e2e_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// guardedStreams are streams with a card and a key, each cut in two, by what is in the path of a request.
var guardedStreams = map[string]string{
	"chat/completions": `data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Pay 4111 1111"},"finish_reason":null}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" 1111 1111, use sk-abcdefghij"},"finish_reason":null}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"0123456789abcd."},"finish_reason":null}]}

data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: [DONE]

`,
	"responses": `event: response.created
data: {"type":"response.created","sequence_number":0,"response":{"id":"r","object":"response","status":"in_progress","model":"m","output":[]}}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":1,"item_id":"i","output_index":0,"content_index":0,"delta":"Pay 4111 1111","logprobs":[]}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":2,"item_id":"i","output_index":0,"content_index":0,"delta":" 1111 1111, use sk-abcdefghij","logprobs":[]}

event: response.output_text.delta
data: {"type":"response.output_text.delta","sequence_number":3,"item_id":"i","output_index":0,"content_index":0,"delta":"0123456789abcd.","logprobs":[]}

event: response.completed
data: {"type":"response.completed","sequence_number":4,"response":{"id":"r","object":"response","status":"completed","model":"m","output":[]}}

`,
	"messages": `event: message_start
data: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":3,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Pay 4111 1111"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" 1111 1111, use sk-abcdefghij"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"0123456789abcd."}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":5}}

event: message_stop
data: {"type":"message_stop"}

`,
	"streamGenerateContent": `data: {"candidates": [{"content": {"parts": [{"text": "Pay 4111 1111"}],"role": "model"},"index": 0}],"modelVersion": "m"}

data: {"candidates": [{"content": {"parts": [{"text": " 1111 1111, use sk-abcdefghij"}],"role": "model"},"index": 0}],"modelVersion": "m"}

data: {"candidates": [{"content": {"parts": [{"text": "0123456789abcd."}],"role": "model"},"finishReason": "STOP","index": 0}],"modelVersion": "m"}

`,
}

// Clients read a masked stream like any other, and a blocked one ends with their error. The provider sends an
// event at a time.
func TestClientsReadGuardedStreams(t *testing.T) {
	provider := newFake(t, "provider", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for part, stream := range guardedStreams {
			if !strings.Contains(r.URL.Path, part) {
				continue
			}
			for _, event := range strings.SplitAfter(stream, "\n\n") {
				_, _ = io.WriteString(rw, event)
				_ = http.NewResponseController(rw).Flush()
			}
		}
	}))
	cards := map[string]any{"name": "cards", "builtin": "creditCard", "action": "mask", "mask": map[string]any{"keepRight": 4}}
	keys := map[string]any{"name": "keys", "builtin": "secretKey", "action": "mask"}
	blocking := map[string]any{"name": "keys", "builtin": "secretKey", "action": "block"}
	routes := map[string]string{"/v1/responses": "responses", "/v1/messages": "messages", "/v1beta/models/*": "generateContent"}
	guarded := func(rules ...any) map[string]any {
		return at(t, provider.URL, map[string]any{"routes": routes, "guard": map[string]any{"response": map[string]any{"rules": rules}}})
	}
	g := start(t, gateway.Options{})
	configure(t, g, hosted(map[string]map[string]any{"mask": guarded(cards, keys), "block": guarded(cards, blocking)}))
	masked := `{"text": "Pay ***************1111, use ***************************."}`
	blocked := `{"error": true, "message": true}`
	compareOutcomes(t, callWithClients(t, g.URL, "guard"), map[string]string{
		"chat/mask": masked, "responses/mask": masked, "messages/mask": masked, "gemini/mask": masked,
		"chat/block": blocked, "responses/block": blocked, "messages/block": blocked, "gemini/block": blocked,
	})
}
