// Command content makes the calls in the file that the command line names with the SDKs of OpenAI, Anthropic and Google
// for Go, and prints as JSON what each came to: the counterpart of npm/content.cjs.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/packages/ssestream"
	"google.golang.org/genai"
)

// call is a call to make.
type call struct {
	Name, Client, Route, Key, System, Prompt string
	Stream                                   bool
	After, Resume                            string // the address to call after a part of the response
}

// base returns the address that the call is sent to.
func (c call) base() string { return os.Getenv("GATEWAY_URL") + c.Route }

// outcome is what a call came to.
type outcome struct {
	Text      string          `json:"text"`
	Thought   string          `json:"thought,omitempty"`
	Arguments string          `json:"arguments,omitempty"`
	Object    json.RawMessage `json:"object,omitempty"` // all of the response
	Error     string          `json:"error,omitempty"`  // the type of the client's error
	Status    int             `json:"status,omitempty"`
	Message   string          `json:"message,omitempty"`
	Requests  int             `json:"requests"` // that the client has made
	Cache     string          `json:"cache"`    // X-Ai-Cache of the latest response
}

// watch counts requests, and remembers what the latest response says of the cache.
type watch struct {
	requests      int
	cache         string
	after, resume string
}

func (w *watch) RoundTrip(r *http.Request) (*http.Response, error) {
	w.requests++
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	w.cache = response.Header.Get("X-Ai-Cache")
	response.Body = &watchedBody{ReadCloser: response.Body, watch: w}
	return response, nil
}

// watchedBody is a response, after a part of which the provider may go on.
type watchedBody struct {
	io.ReadCloser
	watch *watch
	text  []byte
}

func (b *watchedBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	if b.watch.after == "" {
		return n, err
	}
	b.text = append(b.text, into[:n]...)
	if bytes.Contains(b.text, []byte(b.watch.after)) {
		b.text = nil
		response, failed := http.Get(b.watch.resume)
		if failed != nil {
			return n, failed
		}
		return n, errors.Join(err, response.Body.Close())
	}
	return n, err
}

// clients make a call and say what it came to: of a call that has failed, what was read before.
var clients = map[string]func(c call, client *http.Client) (outcome, error){
	"openai-go chat":        chat,
	"openai-go responses":   response,
	"anthropic-go messages": message,
	"genai-go gemini":       candidate,
}

// Close reads the rest first. OpenAI's SDK closes a stream after [DONE], and a response that a client has not received to
// its end is not stored.
func (b *watchedBody) Close() error {
	_, err := io.Copy(io.Discard, b.ReadCloser)
	return errors.Join(err, b.ReadCloser.Close())
}

// describe says which type an error has, the status of the response, and the message.
func describe(err error) (kind string, status int, message string) {
	var openAI *openai.Error
	var streamed *ssestream.StreamError
	var claude *anthropic.Error
	var google genai.APIError
	switch {
	case errors.As(err, &openAI):
		return fmt.Sprintf("%T", openAI), openAI.StatusCode, openAI.Message
	case errors.As(err, &streamed):
		return fmt.Sprintf("%T", streamed), 0, streamed.Message
	case errors.As(err, &claude):
		return fmt.Sprintf("%T", claude), claude.StatusCode, claude.Message
	case errors.As(err, &google):
		return fmt.Sprintf("%T", google), google.Code, google.Message
	}
	return fmt.Sprintf("%T", err), 0, err.Error()
}

// compact returns a JSON object without white space, whose members are sorted.
func compact(text string) (string, error) {
	var members map[string]any
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		return "", fmt.Errorf("arguments %q: %w", text, err)
	}
	sorted, err := json.Marshal(members)
	return string(sorted), err
}

func run(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var calls []call
	if err := json.Unmarshal(text, &calls); err != nil {
		return err
	}
	outcomes := map[string]outcome{}
	for _, c := range calls {
		makeCall := clients[c.Client]
		if makeCall == nil {
			continue
		}
		w := &watch{after: c.After, resume: c.Resume}
		o, err := makeCall(c, &http.Client{Transport: w})
		if err == nil && o.Arguments != "" {
			o.Arguments, err = compact(o.Arguments)
		}
		if err != nil {
			o.Error, o.Status, o.Message = describe(err)
		}
		o.Requests, o.Cache = w.requests, w.cache
		outcomes[c.Name] = o
	}
	return json.NewEncoder(os.Stdout).Encode(outcomes)
}

func main() {
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "content:", err)
		os.Exit(1)
	}
}
