package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/modelroute/chatcompletion/e2e/agent"
)

// callTimeout bounds a call.
const callTimeout = 30 * time.Second

// kind is a kind of call: what the client sends and does, and the outcome that it expects.
type kind struct {
	name   string
	path   string // default: chatPath
	method string // default: POST
	body   func() []byte
	gzip   bool   // compresses the body
	ending string // of the provider's response
	events int    // of a stream; default: shortEvents

	conversations *conversations // in place of a body
	sum           string         // of the conversation, which the provider verifies

	do        func(*caller, context.Context, kind, int) error
	status    int
	errorType string // of the record
	unmetered bool   // the call has no record
	input     bool   // the record has input tokens
	output    bool   // the record has output tokens
}

var (
	small             = text(`{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`)
	large             = largeBody(200 << 10)
	streamed          = text(`{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hi"}]}`)
	streamedWithUsage = text(`{"model":"gpt-4o","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]}`)
	shortKinds        = kinds()
	longKind          = kind{name: "long stream", body: streamed, do: (*caller).follow, status: 200, events: 300, input: true, output: true}
	fillKind          = conversationKind("conversation without reloads", chatPath, agent.Profile{Turns: fillTurns, Tools: 3})
)

// fallbackKinds are the kinds whose first provider is overloaded.
var fallbackKinds = []string{"fallback", "stream of a fallback"}

func kinds() []kind {
	return []kind{
		{name: "JSON", body: small, do: (*caller).read, status: 200, input: true, output: true},
		{name: "large JSON", body: large, do: (*caller).read, status: 200, input: true, output: true},
		{name: "gzip", body: large, gzip: true, do: (*caller).read, status: 200, input: true, output: true},
		{name: "deflate from the provider", body: small, ending: endingDeflate, do: (*caller).read, status: 200, input: true, output: true},
		{name: "stream", body: streamed, do: (*caller).follow, status: 200, input: true, output: true},
		{name: "stream with usage", body: streamedWithUsage, do: (*caller).follow, status: 200, input: true, output: true},
		{name: "stream of a large prompt", body: largeStream(200 << 10), do: (*caller).follow, status: 200, input: true, output: true},
		{name: "response", path: responsesPath, body: text(`{"model":"gpt-4o","input":"Hi"}`), do: (*caller).read, status: 200, input: true, output: true},
		conversationKind("conversation", chatPath, agent.Profile{Turns: 10, Tools: 5}),
		conversationKind("conversation of responses", responsesPath, agent.Profile{Turns: 10, Tools: 5, Responses: true}),
		{name: "embeddings", path: embeddingsPath, body: text(`{"model":"text-embedding-3-small","input":"Hi"}`), do: (*caller).read, status: 200, input: true},
		{name: "models", path: modelsPath, method: http.MethodGet, do: (*caller).read, status: 200, unmetered: true},
		{name: "files", path: filesPath, do: (*caller).read, body: text(`{}`), status: 200, unmetered: true},
		{name: fallbackKinds[0], path: hostedPrefix + chatPath, body: small, do: (*caller).read, status: 200, input: true, output: true},
		{name: fallbackKinds[1], path: hostedPrefix + chatPath, body: streamed, do: (*caller).follow, status: 200, input: true, output: true},

		{name: "not JSON", body: text(`{"messages":[}`), do: (*caller).read, status: 400, errorType: "invalid_json"},
		{name: "another model", body: text(`{"model":"o9","messages":[{"role":"user","content":"Hi"}]}`), do: (*caller).read, status: 404, errorType: "model_not_found"},
		{name: "too large", body: largeBody(240 << 10), do: (*caller).read, status: 413, errorType: "request_too_large"},
		{name: "GET", method: http.MethodGet, do: (*caller).read, status: 405, errorType: "method_not_supported"},
		{name: "broken upload", body: small, do: (*caller).breakUpload, status: 400, errorType: "incomplete_body"},

		{name: "provider's 429", body: small, ending: "429", do: (*caller).read, status: 429, errorType: "429"},
		{name: "provider's 500", body: streamed, ending: "500", do: (*caller).read, status: 500, errorType: "500"},
		{name: "dead provider", path: deadPrefix + chatPath, body: small, do: (*caller).read, status: 502, errorType: "connection_failed"},
		{name: "cut stream", body: streamed, ending: endingCut, do: (*caller).follow, status: 200, errorType: "provider_cut"},
		{name: "stream with an error", body: streamed, ending: endingError, do: (*caller).follow, status: 200, errorType: "error_event"},

		{name: "client leaves a stream", body: streamed, ending: endingLeave, do: (*caller).leaveStream, status: 200, errorType: "client_gone"},
		{name: "client leaves before the response", body: small, ending: endingHold, do: (*caller).leave, errorType: "client_gone"},
	}
}

func conversationKind(name, path string, agents agent.Profile) kind {
	return kind{
		name: name, path: path, conversations: &conversations{agents: agents},
		do: (*caller).converse, status: 200, input: true, output: true,
	}
}

func text(body string) func() []byte { return func() []byte { return []byte(body) } }

func largeBody(size int) func() []byte {
	return text(`{"model":"gpt-4o","messages":[{"role":"user","content":"` + strings.Repeat(`Say \"it\" again. `, size/18) + `"}]}`)
}

func largeStream(size int) func() []byte {
	return text(`{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"` + strings.Repeat("All of it. ", size/11) + `"}]}`)
}

// caller makes calls.
type caller struct {
	base     string
	client   *http.Client
	provider *provider
}

// open sends the call and checks the status of the response.
func (c *caller) open(ctx context.Context, k kind, number int) (*http.Response, error) {
	var body []byte
	if k.body != nil {
		body = k.body()
	}
	if k.gzip {
		var compressed bytes.Buffer
		writer := gzip.NewWriter(&compressed)
		_, _ = writer.Write(body)
		_ = writer.Close() // writing to a buffer does not fail
		body = compressed.Bytes()
	}
	method, path := k.method, k.path
	if method == "" {
		method = http.MethodPost
	}
	if path == "" {
		path = chatPath
	}
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range k.header(number) {
		request.Header.Set(name, value)
	}
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != k.status {
		defer func() { _ = response.Body.Close() }()
		body, _ := io.ReadAll(io.LimitReader(response.Body, 300))
		return nil, fmt.Errorf("status = %d, want %d: %s", response.StatusCode, k.status, body)
	}
	return response, nil
}

func (k kind) header(number int) map[string]string {
	header := map[string]string{
		"Content-Type": "application/json", numberHeader: strconv.Itoa(number), endingHeader: k.ending,
		kindHeader: k.name, lengthHeader: strconv.Itoa(k.events), sumHeader: k.sum,
	}
	if k.gzip {
		header["Content-Encoding"] = "gzip"
	}
	return header
}

// read reads a response that must be complete.
func (c *caller) read(ctx context.Context, k kind, number int) error {
	response, err := c.open(ctx, k, number)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// follow reads a stream to its end and checks that it ends as the kind says.
func (c *caller) follow(ctx context.Context, k kind, number int) error {
	response, err := c.open(ctx, k, number)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	events, last := 0, ""
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if data, isData := strings.CutPrefix(lines.Text(), "data: "); isData {
			events, last = events+1, data
		}
	}
	if got, want := lines.Err() != nil, k.ending == endingCut; got != want {
		return fmt.Errorf("stream broke = %t, want %t: %w", got, want, lines.Err())
	}
	if got, want := last == "[DONE]", k.ending == ""; got != want {
		return fmt.Errorf("unexpected last event %s", last)
	}
	if want := max(k.events, shortEvents); events < want {
		return fmt.Errorf("%d events, want at least %d", events, want)
	}
	return nil
}

// leaveStream disconnects after the first line of the stream.
func (c *caller) leaveStream(ctx context.Context, k kind, number int) error {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	response, err := c.open(ctx, k, number)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	_, err = bufio.NewReader(response.Body).ReadString('\n')
	return err
}

// leave disconnects once the provider has the request.
func (c *caller) leave(ctx context.Context, k kind, number int) error {
	leaving, leave := context.WithCancel(ctx)
	defer leave()
	arrived := c.provider.expect(number)
	go func() {
		select {
		case <-arrived:
			leave()
		case <-leaving.Done():
		}
	}()
	response, err := c.open(leaving, k, number)
	if err == nil {
		_ = response.Body.Close()
		return errors.New("response arrived before the client left")
	}
	if errors.Is(err, context.Canceled) && ctx.Err() == nil {
		return nil
	}
	return err
}

// breakUpload announces a longer body than it sends, then closes its side of the connection.
func (c *caller) breakUpload(ctx context.Context, k kind, number int) error {
	base, err := url.Parse(c.base)
	if err != nil {
		return err
	}
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "tcp", base.Host)
	if err != nil {
		return err
	}
	defer func() { _ = connection.Close() }()
	if deadline, limited := ctx.Deadline(); limited {
		_ = connection.SetDeadline(deadline)
	}
	body := k.body()
	var request bytes.Buffer
	_, _ = fmt.Fprintf(&request, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", chatPath, base.Host, len(body))
	for name, value := range k.header(number) {
		_, _ = fmt.Fprintf(&request, "%s: %s\r\n", name, value)
	}
	_, _ = request.WriteString("\r\n")
	_, _ = request.Write(body[:len(body)/2])
	if _, err := connection.Write(request.Bytes()); err != nil {
		return err
	}
	if err := connection.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != k.status {
		return fmt.Errorf("status = %d, want %d", response.StatusCode, k.status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
