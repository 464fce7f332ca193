package chatcompletion

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// guardedCall is a request through a guard, and what the client got after each chunk of the response.
type guardedCall struct {
	status int
	header http.Header
	body   string
	after  []string // what the client had after each chunk
}

// guardConfig returns a configuration with rules for responses.
func guardConfig(rules ...GuardRule) *Config {
	config := CreateConfig()
	config.Token = "sk-provider"
	config.Guard.Response.Rules = rules
	config.Routes = map[string]string{"/v1/responses": "responses", "/v1/messages": "messages", "/v1beta/models/*": "generateContent", "/v1/completions": "passthrough: governed", "/v1/chat/completions": "completions"}
	return config
}

var (
	maskCards = GuardRule{Name: "cards", Builtin: "creditCard", Action: "mask", Mask: GuardMask{KeepRight: 4}}
	maskMails = GuardRule{Name: "mails", Builtin: "email", Action: "mask"}
	maskWord  = GuardRule{Name: "word", Pattern: `(?i)\baurora-[0-9]+\b`, Action: "mask", Mask: GuardMask{Char: "#"}}
	blockKeys = GuardRule{Name: "keys", Builtin: "secretKey", Action: "block"}
)

// guardedProvider is an instance with a guard, whose provider responds in chunks.
type guardedProvider struct {
	handler     http.Handler
	contentType string
	chunks      []string
	call        *guardedCall
	rec         *httptest.ResponseRecorder
	rules       []*guardRule
}

func newGuardedProvider(t testing.TB, config *Config) *guardedProvider {
	t.Helper()
	h := &guardedProvider{}
	next := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", h.contentType)
		for _, chunk := range h.chunks {
			_, _ = rw.Write([]byte(chunk))
			h.call.after = append(h.call.after, h.rec.Body.String())
		}
	})
	var err error
	if h.handler, err = New(context.Background(), next, config, "guard@file"); err != nil {
		t.Fatal(err)
	}
	h.rules = h.handler.(*middleware).policy.guard.response.rules
	return h
}

// callGuarded sends a request whose response arrives in chunks.
func callGuarded(t *testing.T, h *guardedProvider, path, contentType string, chunks ...string) *guardedCall {
	t.Helper()
	call, rec := &guardedCall{}, httptest.NewRecorder()
	h.call = call
	h.rec = rec
	h.contentType = contentType
	h.chunks = chunks
	body := `{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}`
	switch {
	case strings.Contains(path, "responses"):
		body = `{"model":"m","stream":true,"input":"Hi"}`
	case strings.Contains(path, "v1beta"):
		body = `{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}`
	}
	if !strings.Contains(contentType, "event-stream") {
		body = strings.Replace(body, `"stream":true,`, "", 1)
	}
	req := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	h.handler.ServeHTTP(rec, req)
	call.status, call.header, call.body = rec.Code, rec.Header(), rec.Body.String()
	return call
}

// protocolStream is how a protocol streams a text.
type protocolStream struct {
	name  string
	path  string
	begin string
	piece func(text string) string // an event; text is the inside of a JSON string
	end   string
	texts func(t *testing.T, body string) string
}

// piecesOf returns a function that joins the strings at a path of all data lines.
func piecesOf(path ...any) func(t *testing.T, body string) string {
	return func(t *testing.T, body string) string {
		t.Helper()
		text := ""
		for _, line := range strings.Split(body, "\n") {
			data := strings.TrimPrefix(line, "data: ")
			if data == line || data == "[DONE]" {
				continue
			}
			var value any
			if err := json.Unmarshal([]byte(data), &value); err != nil {
				t.Fatalf("not JSON: %q", data)
			}
			for _, step := range path {
				switch at := step.(type) {
				case string:
					object, _ := value.(map[string]any)
					value = object[at]
				case int:
					list, _ := value.([]any)
					value = nil
					if at < len(list) {
						value = list[at]
					}
				}
			}
			piece, _ := value.(string)
			text += piece
		}
		return text
	}
}

func format(text string) func(string) string {
	return func(piece string) string { return strings.ReplaceAll(text, "PIECE", piece) }
}

var protocolStreams = []protocolStream{
	{
		"chat", "/v1/chat/completions",
		`data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}` + "\n\n",
		format(`data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"PIECE"},"finish_reason":null}]}` + "\n\n"),
		`data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n",
		piecesOf("choices", 0, "delta", "content"),
	},
	{
		"chat tool", "/v1/chat/completions",
		`data: {"id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"pay","arguments":""}}]},"finish_reason":null}]}` + "\n\n",
		format(`data: {"id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"PIECE"}}]},"finish_reason":null}]}` + "\n\n"),
		`data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}` + "\n\ndata: [DONE]\n\n",
		piecesOf("choices", 0, "delta", "tool_calls", 0, "function", "arguments"),
	},
	{
		"legacy", "/v1/completions", "",
		format(`data: {"id":"c","choices":[{"index":0,"text":"PIECE","finish_reason":null}]}` + "\n\n"),
		"data: [DONE]\n\n",
		piecesOf("choices", 0, "text"),
	},
	{
		"responses", "/v1/responses",
		"event: response.created\n" + `data: {"type":"response.created","sequence_number":0,"response":{"id":"r","object":"response","status":"in_progress","output":[]}}` + "\n\n",
		format("event: response.output_text.delta\n" + `data: {"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_1","output_index":0,"content_index":0,"delta":"PIECE","logprobs":[]}` + "\n\n"),
		"event: response.output_item.done\n" + `data: {"type":"response.output_item.done","output_index":0,"item":{"type":"message"}}` + "\n\n" +
			"event: response.completed\n" + `data: {"type":"response.completed","response":{"id":"r","object":"response","status":"completed","output":[]}}` + "\n\n",
		piecesOf("delta"),
	},
	{
		"messages", "/v1/messages",
		"event: message_start\n" + `data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":3,"output_tokens":1}}}` + "\n\n" +
			"event: content_block_start\n" + `data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}` + "\n\n",
		format("event: content_block_delta\n" + `data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"PIECE"}}` + "\n\n"),
		"event: content_block_stop\n" + `data: {"type":"content_block_stop","index":0}` + "\n\n" +
			"event: message_delta\n" + `data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}` + "\n\n" +
			"event: message_stop\n" + `data: {"type":"message_stop"}` + "\n\n",
		piecesOf("delta", "text"),
	},
	{
		"messages tool", "/v1/messages",
		"event: content_block_start\n" + `data: {"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"pay","input":{}}}` + "\n\n",
		format("event: content_block_delta\n" + `data: {"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"PIECE"}}` + "\n\n"),
		"event: content_block_stop\n" + `data: {"type":"content_block_stop","index":1}` + "\n\n",
		piecesOf("delta", "partial_json"),
	},
	{
		"gemini", "/v1beta/models/m:streamGenerateContent?alt=sse", "",
		format(`data: {"candidates": [{"content": {"parts": [{"text": "PIECE"}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 4,"totalTokenCount": 9},"modelVersion": "m"}` + "\n\n"),
		`data: {"candidates": [{"content": {"parts": [{"text": ""}],"role": "model"},"finishReason": "STOP","index": 0}],"modelVersion": "m"}` + "\n\n",
		piecesOf("candidates", 0, "content", "parts", 0, "text"),
	},
}

// Texts with what rules mask, as JSON strings have them.
var maskedTexts = []struct{ raw, want string }{
	{`Pay 4111 1111 1111 1111 today.`, `Pay ***************1111 today.`},
	{`Ask jo@example.com, or Aurora-17.`, `Ask **************, or #########.`},
	{`Ask \u006ao@ex\u0061mple.com or AURORA\u002d17 \"now\"`, `Ask ************** or ######### "now"`},
	{`caf\u00e9 caurora-17 aurora-17x aurora-1`, "café caurora-17 aurora-17x ########"},
	{`none`, `none`},
}

// Every cut of a text over two events, and of the stream over two packets, gives the same text; before the
// rest has arrived, the client has nothing of what is masked.
func TestGuardMasksStreamsAtEveryCut(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskCards, maskMails, maskWord, blockKeys))
	for _, p := range protocolStreams {
		for _, text := range maskedTexts {
			for cut := 0; cut <= len(text.raw); cut++ {
				if isInEscape(text.raw, cut) {
					continue
				}
				first := p.begin + p.piece(text.raw[:cut])
				call := callGuarded(t, h, p.path, "text/event-stream", first, p.piece(text.raw[cut:]), p.end)
				checkMasked(t, fmt.Sprintf("%s, %q cut at %d", p.name, text.raw, cut), &p, call, text.want)
			}
			stream := p.begin + p.piece(text.raw[:len(text.raw)/2]) + p.piece(text.raw[len(text.raw)/2:]) + p.end
			if isInEscape(text.raw, len(text.raw)/2) {
				stream = p.begin + p.piece(text.raw) + p.end
			}
			for cut := 0; cut <= len(stream); cut += 7 {
				call := callGuarded(t, h, p.path, "text/event-stream", stream[:cut], stream[cut:])
				checkMasked(t, fmt.Sprintf("%s, packets of %q cut at %d", p.name, text.raw, cut), &p, call, text.want)
			}
		}
	}
}

// isInEscape reports whether a cut is inside an escape.
func isInEscape(raw string, cut int) bool {
	for _, place := range jsonEscape.FindAllStringIndex(raw, -1) {
		if cut > place[0] && cut < place[1] {
			return true
		}
	}
	return false
}

func checkMasked(t *testing.T, name string, p *protocolStream, call *guardedCall, want string) {
	t.Helper()
	if got := p.texts(t, call.body); got != want || call.status != http.StatusOK {
		t.Fatalf("%s: got %d %q, want %q\n%s", name, call.status, got, want, call.body)
	}
	for _, body := range call.after {
		if got := p.texts(t, body); !strings.HasPrefix(want, got) {
			t.Fatalf("%s: the client has %q before the end, want the beginning of %q", name, got, want)
		}
	}
}

// What matches nothing is sent as it has arrived, at once.
func TestGuardKeepsStreamsThatHoldNothing(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskCards, maskWord, blockKeys))
	for _, p := range protocolStreams {
		chunks := []string{p.begin, p.piece("One,"), p.piece(" two;") + p.piece(" three."), p.piece(` \"four\"\n`), ": comment\n\n", p.piece(" end. "), p.end}
		call := callGuarded(t, h, p.path, "text/event-stream", chunks...)
		sent := ""
		for i, chunk := range chunks {
			if sent += chunk; call.after[i] != sent && i < len(chunks)-1 {
				t.Errorf("%s: after chunk %d the client has %q, want %q", p.name, i, call.after[i], sent)
			}
		}
		if call.body != sent {
			t.Errorf("%s: got %q, want %q", p.name, call.body, sent)
		}
	}
}

// A rule that blocks ends a stream with an error; if nothing has been sent, the error replaces it.
func TestGuardBlocksStreams(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(blockKeys))
	key := "sk-abcdefghij0123456789abcd"
	for _, p := range protocolStreams {
		call := callGuarded(t, h, p.path, "text/event-stream", p.begin+p.piece("Use "), p.piece("the "), p.piece(key[:9]), p.piece(key[9:]), p.piece(" after"), p.end)
		if strings.Contains(call.body, "sk-") || strings.Contains(call.body, "after") || !strings.Contains(call.body, `"error"`) {
			t.Errorf("%s: got %s", p.name, call.body)
		}
		if got := call.header.Get("X-Ai-Policy"); !strings.Contains(got, "guard_response_block=keys") {
			t.Errorf("%s: X-Ai-Policy is %q", p.name, got)
		}
		if got := call.header.Get("X-Ai-Error-Type"); got != "content_blocked" {
			t.Errorf("%s: X-Ai-Error-Type is %q", p.name, got)
		}
		call = callGuarded(t, h, p.path, "text/event-stream", p.piece(key[:9]), p.piece(key[9:]+" "), p.end)
		if call.status != http.StatusBadRequest || !strings.Contains(call.body, "keys") || strings.Contains(call.body, "sk-") {
			t.Errorf("%s: got %d %s", p.name, call.status, call.body)
		}
	}
}

// Rules that report change nothing, and hold nothing.
func TestGuardReportsStreams(t *testing.T) {
	for _, mode := range []string{"enforce", "report"} {
		rule := blockKeys
		if mode == "enforce" {
			rule.Action = "report"
		}
		config := guardConfig(rule)
		config.Mode = mode
		h := newGuardedProvider(t, config)
		for _, p := range protocolStreams {
			chunks := []string{p.begin, p.piece("Use sk-abcdefghij"), p.piece("0123456789abcd now"), p.end}
			call := callGuarded(t, h, p.path, "text/event-stream", chunks...)
			if want := strings.Join(chunks, ""); call.body != want || call.after[1] != chunks[0]+chunks[1] {
				t.Errorf("%s: got %q, want %q", p.name, call.body, want)
			}
			if got, want := call.header.Get("X-Ai-Policy"), "guard_response_"+rule.Action+"=keys"; !strings.Contains(got, want) {
				t.Errorf("%s: X-Ai-Policy is %q, want %q", p.name, got, want)
			}
		}
	}
}

// Documents are inspected as a whole.
func TestGuardInspectsDocuments(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskMails, blockKeys))
	for _, c := range []struct {
		name, path, contentType, body, want string
		status                              int
	}{
		{"clean", "/v1/chat/completions", "application/json", `{"choices":[{"message":{"content":"Hi"}}]}`, `{"choices":[{"message":{"content":"Hi"}}]}`, 200},
		{"masked", "/v1/chat/completions", "application/json", `{"choices": [{"message":{"content":"\u0041 jo@example.com"}}] }`, `{"choices": [{"message":{"content":"\u0041 **************"}}] }`, 200},
		{"arguments", "/v1/chat/completions", "application/json", `{"choices":[{"message":{"tool_calls":[{"function":{"arguments":"{\"to\":\"jo\\u0040example.com\"}"}}]}}]}`,
			`{"choices":[{"message":{"tool_calls":[{"function":{"arguments":"{\"to\":\"**************\"}"}}]}}]}`, 200},
		{"blocked", "/v1/messages", "application/json", `{"content":[{"type":"text","text":"sk-abcdefghij0123456789abcd"}]}`, "", 400},
		{"log probabilities", "/v1/chat/completions", "application/json", `{"choices":[{"message":{"content":"jo@example.com"},"logprobs":{"content":[{"token":"jo","bytes":[106,111]}]}}]}`,
			`{"choices":[{"message":{"content":"**************"},"logprobs":null}]}`, 200},
		{"not JSON", "/v1/chat/completions", "application/json", `{"choices":[{"message":{"content":"Hi`, "", 502},
		{"text", "/v1/chat/completions", "text/plain", `Write to jo@example.com!`, `Write to **************!`, 200},
		{"lines", "/v1/chat/completions", "application/x-ndjson", "{\"a\":\"jo@example.com\"}\n{\"a\":\"b\"}\n", "{\"a\":\"**************\"}\n{\"a\":\"b\"}\n", 200},
	} {
		call := callGuarded(t, h, c.path, c.contentType, c.body[:len(c.body)/2], c.body[len(c.body)/2:])
		if call.status != c.status || (c.want != "" && call.body != c.want) || (c.want == "" && !bytes.Contains([]byte(call.body), []byte(`"error"`))) {
			t.Errorf("%s: got %d %s, want %d %s", c.name, call.status, call.body, c.status, c.want)
		}
	}
}

// A text without spaces is no address: what is more than one is sent, and an address after it is masked,
// however the text is cut.
func TestGuardSendsLongTextsWithoutSpaces(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskCards, maskMails, maskWord, blockKeys))
	p := &protocolStreams[0]
	run := strings.Repeat("QmFzZTY0IGRhdGE", 80)
	for _, c := range []struct{ text, want string }{
		{run + "== end", run + "== end"},
		{strings.Repeat("-", 1200) + "|", strings.Repeat("-", 1200) + "|"},
		{run + "@example.com, end", run[:len(run)-64] + strings.Repeat("*", 76) + ", end"},
		{run + ".aurora-17 end", run + ".######### end"},
		{strings.Repeat("é", 600) + "@b.de, end", strings.Repeat("é", 536) + strings.Repeat("*", 69) + ", end"},
	} {
		for _, size := range []int{7, 100, 5000} {
			var events []string
			for text := []rune(c.text); len(text) > 0; {
				count := size
				if count > len(text) {
					count = len(text)
				}
				events = append(events, p.piece(string(text[:count])))
				text = text[count:]
			}
			call := callGuarded(t, h, p.path, "text/event-stream", append(append([]string{p.begin}, events...), p.end)...)
			checkMasked(t, fmt.Sprintf("%.20s… in pieces of %d", c.text, size), p, call, c.want)
		}
	}
}

// What a client may read in another way than the guard is blocked.
func TestGuardBlocksWhatItCannotRead(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(blockKeys))
	chat, document := "/v1/chat/completions", `{"choices":[]}`
	for _, c := range []struct {
		path, contentType string
		status            int
	}{
		{chat, "", 200},
		{chat, "application/json", 200},
		{chat, "application/json; charset=utf-8", 200},
		{chat, `Application/JSON; Charset="UTF-8"`, 200},
		{chat, "application/problem+json", 200},
		{chat, "application/x-ndjson", 200},
		{chat, "application/jsonl", 200},
		{chat, "text/plain; charset=us-ascii", 200},
		{chat, "text/plain; charset=utf-16", 502},
		{chat, "text/event-stream; charset=utf-7", 502},
		{chat, "text/plain; charset=utf-8; charset=utf-16", 502},
		{chat, "text/plain; charset=iso-8859-1", 502},
		{chat, "application/octet-stream", 502},
		{chat, "multipart/byteranges; boundary=json", 502},
		{"/v1beta/models/m:generateContent?alt=proto", "application/x-protobuf", 502},
	} {
		if call := callGuarded(t, h, c.path, c.contentType, document); call.status != c.status {
			t.Errorf("%s: got %d %s, want %d", c.contentType, call.status, call.body, c.status)
		}
	}
	if !isReadable(http.StatusForbidden, []string{"text/html; charset=iso-8859-1"}) || isReadable(http.StatusForbidden, []string{"text/html; charset=utf-16"}) {
		t.Error("error pages may have an older charset with the same ASCII, and no other one")
	}
}

// A compressed response that is truncated or corrupt breaks off, as it does without a guard.
func TestGuardBreaksOffWhatIsCorrupt(t *testing.T) {
	var compressed bytes.Buffer
	writer := gzip.NewWriter(&compressed)
	_, _ = writer.Write([]byte(`{"choices":[{"message":{"role":"assistant","content":"one, two, three"}}]}`))
	_ = writer.Close()
	whole := compressed.String()
	for _, c := range []struct {
		name, body string
		isBroken   bool
	}{
		{"whole", whole, false}, {"truncated", whole[:len(whole)/2], true}, {"without its last byte", whole[:len(whole)-1], true}, {"not compressed", `{"choices":[]}`, true},
	} {
		next := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/json")
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write([]byte(c.body))
		})
		handler, err := New(context.Background(), next, guardConfig(blockKeys), "guard@file")
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`))
		req.Header.Set("Content-Type", "application/json")
		isBroken := false
		func() {
			defer func() { isBroken = recover() != nil }()
			handler.ServeHTTP(httptest.NewRecorder(), req)
		}()
		if isBroken != c.isBroken {
			t.Errorf("%s: is broken off: %v, want %v", c.name, isBroken, c.isBroken)
		}
	}
}

// The texts of an event that are no pieces are inspected without these, and masked where they are.
func TestGuardMasksTextsBesidePieces(t *testing.T) {
	blanks := GuardRule{Name: "blanks", Pattern: ` {3,}|\s{4,}|^\s+x`, Action: "mask", Mask: GuardMask{Char: "_"}}
	h := newGuardedProvider(t, guardConfig(maskMails, blanks))
	event := func(before, first, between, second, after string) string {
		return `data: {"a":"` + before + `","choices":[{"index":0,"delta":{"content":"` + first + `"},"b":"` + between + `"},{"index":1,"delta":{"content":"` + second + `"}}],"c":"` + after + `"}` + "\n\n"
	}
	for _, c := range []struct{ event, want string }{
		{event("", "One two, ", "", "three, ", ""), event("", "One two, ", "", "three, ", "")},
		{event("a@b.de", "One, ", "to c@d.ef!", `t\"o, `, "x g@h.ij"), event("******", "One, ", "to ******!", `t\"o, `, "x ******")},
		{event("x   y", "jo@example.com, ", "", "a   b, ", ""), event("x___y", "**************, ", "", "a___b, ", "")},
	} {
		call := callGuarded(t, h, "/v1/chat/completions", "text/event-stream", c.event+"data: [DONE]\n\n")
		if want := c.want + "data: [DONE]\n\n"; call.body != want {
			t.Errorf("got %s\nwant %s", call.body, want)
		}
	}
}

// chatPiece returns an event of chat completions; text is the inside of a JSON string.
func chatPiece(text string) string {
	return `data: {"choices":[{"index":0,"delta":{"content":"` + text + `"}}]}` + "\n\n"
}

func TestGuardJoinsEscapesOfSteadyTexts(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(GuardRule{Name: "word", Pattern: "secret", Action: "block"}))
	for _, cut := range []int{1, 2, 3, 7} {
		escaped := `\u0073ecret`
		first := strings.Replace(escaped[:cut], `\`, `\\`, 1)
		call := callGuarded(t, h, "/v1/chat/completions", "text/event-stream",
			chatPiece("Some text. "), chatPiece("And more. "), chatPiece(first), chatPiece(escaped[cut:]), chatPiece(" The end of it."), "data: [DONE]\n\n")
		if strings.Contains(call.body, "cret") || !strings.Contains(call.body, "content_blocked") {
			t.Errorf("cut after %d: got %s, want an error in place of the word", cut, call.body)
		}
	}
}

func TestGuardReadsControlCharacters(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(GuardRule{Name: "word", Pattern: "secret", Action: "mask"}))
	for _, char := range []string{`\u0000`, `\u0001`, `\u0002`, `s\u0000`, `se\u0000\u0001`} {
		chunks := []string{chatPiece("a" + char)}
		for i := 0; i < 600; i++ {
			chunks = append(chunks, chatPiece("and some more text "))
		}
		call := callGuarded(t, h, "/v1/chat/completions", "text/event-stream", append(chunks, chatPiece("secret."), "data: [DONE]\n\n")...)
		want := strings.Join(chunks, "") + chatPiece("******.") + "data: [DONE]\n\n"
		if call.body != want || len(call.after[9]) < len(chunks[0]) {
			t.Errorf("%s: got %d bytes, %d of them after ten events, want %d and the first ones at once", char, len(call.body), len(call.after[9]), len(want))
		}
	}
}

func TestGuardTakesNoiseForTextInDeltas(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(GuardRule{Name: "word", Pattern: "secret", Action: "mask"}))
	noise := strings.Replace(chatPiece("some"), "content", noiseName, 1)
	call := callGuarded(t, h, "/v1/chat/completions", "text/event-stream", noise, strings.Replace(noise, "some", "secret.", 1), "data: [DONE]\n\n")
	if want := noise + strings.Replace(noise, "some", "******.", 1) + "data: [DONE]\n\n"; call.body != want {
		t.Errorf("got %q, want %q", call.body, want)
	}
}

func TestGuardEmptiesEqualLogProbabilities(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(GuardRule{Name: "word", Pattern: "pin11", Action: "mask"}))
	token := func(text, logProbs string) string {
		return strings.Replace(chatPiece(text), `}}]`, `},"logprobs":`+logProbs+`}]`, 1)
	}
	one := token("1", `{"content":[{"token":"1"}]}`)
	call := callGuarded(t, h, "/v1/chat/completions", "text/event-stream", one, token(" pin", `{"content":[]}`), one, one, token(".", "null"), "data: [DONE]\n\n")
	want := one + token(" ***", "null") + token("*", "null") + token("*", "null") + token(".", "null") + "data: [DONE]\n\n"
	if call.body != want {
		t.Errorf("got %s, want %s", call.body, want)
	}
}
