package e2e_test

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// What a provider of the fault matrix says: a document, a stream, and a stream of the Responses API. All tell the same usage,
// and all but the first tell it before the end.
const (
	matrixUsage    = `"usage":{"prompt_tokens":12,"completion_tokens":5}`
	matrixInput    = 12
	matrixOutput   = 5
	matrixDocument = `{"model":"gpt-4o","choices":[{"message":{"content":"Hi"}}],` + matrixUsage + `,"x":1}`
	wordEvent      = `data: {"choices":[{"delta":{"content":"Hi"}}]}` + "\n\n"
	finishEvent    = `data: {"choices":[{"finish_reason":"stop"}]}` + "\n\n"
	finishBegun    = `"finish_reason":"` // what follows is a reason, and no null
	usageEvent     = `data: {"choices":[],` + matrixUsage + "}\n\n"
	doneEvent      = "data: [DONE]\n\n"
	responsesBody  = `{"model":"gpt-4o","stream":true,"input":"Hi"}`
	responsesPath  = "/v1/responses"
	responseDelta  = "event: response.output_text.delta\ndata: {\"delta\":\"Hi\"}\n\n"
	responseEnd    = `data: {"type":"response.completed","response":{"usage":{"input_tokens":12,"output_tokens":5},"x":1}}`
)

// cutAnswer is an answer of a provider whose connection ends at any of its bytes.
type cutAnswer struct {
	name       string
	path, body string // of the client's request
	raw        string // the answer with its header, as it is on the connection
	used       string // what has to have come for its tokens to count
	done       string // what has to have come for a stream to have ended as it should; empty: it is no stream
	hidden     string // from the client
	isUsual    bool
	untilEnd   bool // only the end of the connection tells where the answer ends
}

var cutAnswers = []cutAnswer{
	{name: "JSON-with-length", isUsual: true, body: plainBody, raw: withLength(jsonType, matrixDocument), used: matrixUsage},
	{name: "JSON-in-chunks", body: plainBody, raw: inChunks(jsonType, cut(matrixDocument, 50)...), used: matrixUsage},
	{name: "JSON-until-the-end", body: plainBody, raw: untilEnd(jsonType, matrixDocument), used: matrixUsage, untilEnd: true},
	{name: "JSON-compressed-until-the-end", body: plainBody, raw: untilEnd(deflated(jsonType), compressed(matrixDocument)), used: matrixUsage, untilEnd: true},
	{name: "stream-usage-hidden", isUsual: true, body: plainStream, raw: inChunks(eventType, wordEvent, wordEvent+finishEvent, usageEvent, doneEvent), used: matrixUsage, done: "[DONE]", hidden: usageEvent},
	{name: "stream-usage-asked-for", body: streamWithUsage, raw: inChunks(eventType, wordEvent, finishEvent, usageEvent, doneEvent), used: matrixUsage, done: "[DONE]"},
	{name: "stream-until-the-end", body: streamWithUsage, raw: untilEnd(eventType, wordEvent+finishEvent+usageEvent+doneEvent), used: matrixUsage, done: "[DONE]", untilEnd: true},
	{name: "stream-compressed", body: plainStream, raw: inChunks(deflated(eventType), cut(compressed(wordEvent, finishEvent, usageEvent, doneEvent), 50)...), used: matrixUsage, done: "[DONE]", hidden: usageEvent},
	{name: "stream-of-a-response", path: responsesPath, body: responsesBody, raw: inChunks(eventType, responseDelta, "event: response.completed\n"+responseEnd+"\n\n"), used: responseEnd, done: responseEnd},
}

func withLength(contentType, body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body)
}

func inChunks(contentType string, chunks ...string) string {
	var body strings.Builder
	for _, chunk := range append(chunks, "") {
		fmt.Fprintf(&body, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return "HTTP/1.1 200 OK\r\nContent-Type: " + contentType + "\r\nTransfer-Encoding: chunked\r\n\r\n" + body.String()
}

func untilEnd(contentType, body string) string {
	return "HTTP/1.1 200 OK\r\nContent-Type: " + contentType + "\r\nConnection: close\r\n\r\n" + body
}

func deflated(contentType string) string { return contentType + "\r\nContent-Encoding: deflate" }

// compressed is what can be decompressed up to the end of each text as soon as that has come.
func compressed(texts ...string) string {
	var body bytes.Buffer
	writer := zlib.NewWriter(&body)
	for _, text := range texts {
		_, _ = io.WriteString(writer, text)
		_ = writer.Flush()
	}
	_ = writer.Close()
	return body.String()
}

func cut(text string, size int) []string {
	var parts []string
	for part := range slices.Chunk([]byte(text), size) {
		parts = append(parts, string(part))
	}
	return parts
}

// cutEnding is what has to become of a call whose answer was cut.
type cutEnding struct {
	begun     bool   // the provider's header has come
	broken    bool   // the client must not take the answer for complete
	body      string // as far as it can have come
	errorType string
	used      bool // the tokens count
}

// cutAt is what has to become of a call if only so many bytes of the answer come, by what Go's own client makes of them.
func (a cutAnswer) cutAt(offset int, reset bool) cutEnding {
	response, err := http.ReadResponse(bufio.NewReader(strings.NewReader(a.raw[:offset])), nil)
	if err != nil {
		return cutEnding{errorType: deadProvider}
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	isBroken := err != nil || (reset && a.untilEnd)
	if response.Header.Get("Content-Encoding") != "" && len(body) > 0 {
		plain, err := zlib.NewReader(bytes.NewReader(body))
		if body = nil; err == nil {
			body, err = io.ReadAll(plain) // as far as it goes
		}
		isBroken = isBroken || err != nil
	}
	ending := cutEnding{begun: true, broken: isBroken, body: string(body)}
	ending.used = strings.Contains(ending.body, a.used)
	isDone := a.done != "" && strings.Contains(ending.body, a.done)
	if isBroken && !isDone || a.done != "" && !isDone && !strings.Contains(ending.body, finishBegun) {
		ending.errorType = "provider_cut"
	}
	if a.hidden != "" {
		withoutLine := a.hidden[:len(a.hidden)-1] // its blank line has not come
		ending.body = strings.NewReplacer(a.hidden, "", withoutLine, "", strings.TrimRight(a.hidden, "\n"), "").Replace(ending.body)
	}
	return ending
}
