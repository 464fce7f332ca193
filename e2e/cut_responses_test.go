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

// Responses of a provider in the fault matrix: a document, a stream, and a stream of the Responses
// API. All have the same usage, and all but the first send it before their end.
const (
	matrixUsage    = `"usage":{"prompt_tokens":12,"completion_tokens":5}`
	matrixInput    = 12
	matrixOutput   = 5
	matrixDocument = `{"model":"gpt-4o","choices":[{"message":{"content":"Hi"}}],` + matrixUsage + `,"x":1}`
	wordEvent      = `data: {"choices":[{"delta":{"content":"Hi"}}]}` + "\n\n"
	finishData     = `data: {"choices":[{"finish_reason":"stop"}]}`
	finishEvent    = finishData + "\n\n"
	usageData      = `data: {"choices":[],` + matrixUsage + "}"
	usageEvent     = usageData + "\n\n"
	doneEvent      = "data: [DONE]\n\n"
	responsesBody  = `{"model":"gpt-4o","stream":true,"input":"Hi"}`
	responsesPath  = "/v1/responses"
	responseDelta  = "event: response.output_text.delta\ndata: {\"delta\":\"Hi\"}\n\n"
	responseEnd    = `data: {"type":"response.completed","response":{"usage":{"input_tokens":12,"output_tokens":5},"x":1}}`
)

// cutResponse is a provider's response whose connection can end at any of its bytes.
type cutResponse struct {
	name       string
	path, body string // of the client's request
	raw        string // the response with its header, as sent on the connection
	used       string // the text that must arrive for the tokens to count
	done       string // the text that must arrive for a stream to be complete; empty if this is not a stream
	hidden     string // text that the client must not see
	isUsual    bool
	untilEnd   bool // the response ends with the connection
}

var cutResponses = []cutResponse{
	{name: "JSON-with-length", isUsual: true, body: plainBody, raw: withLength(jsonType, matrixDocument), used: matrixUsage},
	{name: "JSON-in-chunks", body: plainBody, raw: inChunks(jsonType, cut(matrixDocument, 50)...), used: matrixUsage},
	{name: "JSON-until-the-end", body: plainBody, raw: untilEnd(jsonType, matrixDocument), used: matrixUsage, untilEnd: true},
	{name: "JSON-compressed-until-the-end", body: plainBody, raw: untilEnd(deflated(jsonType), compressed(matrixDocument)), used: matrixUsage, untilEnd: true},
	{name: "stream-usage-hidden", isUsual: true, body: plainStream, raw: inChunks(eventType, wordEvent, wordEvent+finishEvent, usageEvent, doneEvent), used: usageData, done: "[DONE]", hidden: usageEvent},
	{name: "stream-usage-asked-for", body: streamWithUsage, raw: inChunks(eventType, wordEvent, finishEvent, usageEvent, doneEvent), used: usageData, done: "[DONE]"},
	{name: "stream-until-the-end", body: streamWithUsage, raw: untilEnd(eventType, wordEvent+finishEvent+usageEvent+doneEvent), used: usageData, done: "[DONE]", untilEnd: true},
	{name: "stream-compressed", body: plainStream, raw: inChunks(deflated(eventType), cut(compressed(wordEvent, finishEvent, usageEvent, doneEvent), 50)...), used: usageData, done: "[DONE]", hidden: usageEvent},
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

// compressed compresses the texts so that each can be decompressed as soon as it has arrived.
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

// cutEnding is the expected outcome of a call whose response is cut.
type cutEnding struct {
	begun     bool   // the provider's header has arrived
	broken    bool   // the client must see an incomplete response
	body      string // as far as it can have arrived
	errorType string
	used      bool // whether the tokens count
}

// cutAt returns the expected outcome if only the first offset bytes of the response arrive. It
// derives the outcome from what Go's own client reads of them.
func (a cutResponse) cutAt(offset int, reset bool) cutEnding {
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
			body, err = io.ReadAll(plain) // up to the cut
		}
		isBroken = isBroken || err != nil
	}
	ending := cutEnding{begun: true, broken: isBroken, body: string(body)}
	ending.used = strings.Contains(ending.body, a.used)
	isDone := a.done != "" && strings.Contains(ending.body, a.done)
	if isBroken && !isDone || a.done != "" && !isDone && !strings.Contains(ending.body, finishData) {
		ending.errorType = "provider_cut"
	}
	if a.hidden != "" {
		withoutLine := a.hidden[:len(a.hidden)-1] // its blank line has not arrived
		ending.body = strings.NewReplacer(a.hidden, "", withoutLine, "", strings.TrimRight(a.hidden, "\n"), "").Replace(ending.body)
	}
	return ending
}
