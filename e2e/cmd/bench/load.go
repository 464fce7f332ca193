package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"
)

// teamHeader holds the value of the label team.
const teamHeader = "X-Team"

// unsampledTrace is a traceparent whose flags say that the trace is not recorded.
const unsampledTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

const (
	// concurrency is the number of clients during measurements of CPU time.
	concurrency = 8

	// requestTimeout bounds a request, its stream included.
	requestTimeout = 30 * time.Second
)

// bench sends requests through gateways.
type bench struct {
	options             options
	upstream, collector *httptest.Server
	streams             *streams
	client              *http.Client
	stage               atomic.Pointer[stage]       // of the current crowd
	last                atomic.Pointer[seenRequest] // last request that the upstream received
	sent                atomic.Int64                // requests sent so far
	tally               *tally                      // nil: progress is not shown

	bare, plugin                 target
	compiledBare, compiledPlugin target // only if a part needs them
}

// send sends a request of the case, and checks the response and the request that the upstream
// received. It returns the duration of the response; for a stream, that after its first event.
func (b *bench) send(ctx context.Context, c benchCase, to target, content []byte) (time.Duration, error) {
	var name string
	var received chan struct{}
	if c.stream != nil {
		name, received = b.streams.open()
		defer b.streams.close(name)
	}
	sent := time.Now()
	response, err := b.open(ctx, b.client, c, to, content, name)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	if c.stream != nil {
		took, err := readEvents(response.Body, c.stream.last, received)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", to.name, err)
		}
		return took, nil
	}
	body, err := io.ReadAll(response.Body)
	addsMembers := to.gateway == nil // Portkey does, to responses of the Responses API
	if want := c.response(); err == nil && (len(body) < len(want) || len(body) > len(want) && !addsMembers) {
		err = fmt.Errorf("%s: response of %d bytes, want %d", to.name, len(body), len(want))
	}
	return time.Since(sent), err
}

// open sends a request of the case and checks the response header. stream is the name of the stream
// if the case requests one.
func (b *bench) open(ctx context.Context, client *http.Client, c benchCase, to target, content []byte, stream string) (*http.Response, error) {
	address := strings.TrimSuffix(to.address, chatPath) + c.path()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(content))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+clientKey)
	request.Header.Set(teamHeader, "blue")
	for name, value := range to.header {
		request.Header.Set(name, value)
	}
	if c.unsampled {
		request.Header.Set("Traceparent", unsampledTrace)
	}
	if c.stream != nil {
		request.Header.Set(streamHeader, stream)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	seen := response.Header.Get(seenModelHeader)
	if to.alike && response.Header.Get("X-Ai-Cache") == "hit" {
		seen = to.model() // the upstream was not called
	}
	if response.StatusCode == http.StatusOK && seen == to.model() {
		return response, nil
	}
	defer func() { _ = response.Body.Close() }()
	text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
	return nil, fmt.Errorf("%s: status %s and upstream model %q, want 200 OK and %q: %s", to.name, response.Status, seen, to.model(), text)
}

// verify checks that the target enforces the model, the parameters and the key, as all governed
// targets must.
func (b *bench) verify(ctx context.Context, to target) error {
	simple := cases()[0]
	if _, err := b.send(ctx, simple, to, b.single(simple)); err != nil {
		return err
	}
	seen := b.last.Load()
	if want := "Bearer " + enforcedKey; seen.authorization != want {
		return fmt.Errorf("%s: the upstream received the key %q, want %q", to.name, seen.authorization, want)
	}
	for name, want := range enforced {
		if got := gjson.GetBytes(seen.body, name); got.Raw != fmt.Sprint(want) {
			return fmt.Errorf("%s: the upstream received %s = %q, want %v", to.name, name, got.Raw, want)
		}
	}
	return nil
}

// readEvents reports each event on its arrival, and returns the time from the first event to the
// end. It fails if the stream is incomplete; last is its last line.
func readEvents(body io.Reader, last string, received chan<- struct{}) (time.Duration, error) {
	lines := bufio.NewReader(body)
	var first time.Time
	events, ended := 0, false
	for {
		line, err := lines.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF) && events == streamEvents && ended:
			return time.Since(first), nil
		case err != nil:
			return 0, fmt.Errorf("stream broke after %d events: %w", events, err)
		case line == last:
			ended = true
		case events < streamEvents && strings.HasPrefix(line, "data:"):
			if events == 0 {
				first = time.Now()
			}
			events++
			received <- struct{}{}
		}
	}
}

// load sends the requests from the concurrent clients with which CPU time is measured.
func (b *bench) load(ctx context.Context, c benchCase, to target, requests queue) error {
	return eachOf(len(requests), func(i int) error {
		for n := range requests[i].length {
			if _, err := b.send(ctx, c, to, requests[i].body(n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachOf calls work for 0 to count-1 from the concurrent clients, and stops at the first error.
func eachOf(count int, work func(i int) error) error {
	var next atomic.Int64
	problems := make([]error, concurrency)
	var clients sync.WaitGroup
	for client := range concurrency {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for i := next.Add(1) - 1; problems[client] == nil && i < int64(count); i = next.Add(1) - 1 {
				problems[client] = work(int(i))
			}
		}()
	}
	clients.Wait()
	return first(problems)
}

// first returns the first error; the other clients' errors have the same cause.
func first(problems []error) error {
	for _, problem := range problems {
		if problem != nil {
			return problem
		}
	}
	return nil
}
