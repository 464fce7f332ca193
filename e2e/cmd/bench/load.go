package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// teamHeader is what the calls are labelled by.
const teamHeader = "X-Team"

// unsampledTrace is a traceparent whose flags say that the trace is not recorded.
const unsampledTrace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

const (
	// concurrency is the number of clients while processor time is measured.
	concurrency = 8

	// requestTimeout ends a request whose events do not come.
	requestTimeout = 30 * time.Second
)

// bench sends requests through a gateway.
type bench struct {
	gateway *gateway.Gateway
	streams *streams
	client  *http.Client
	sent    atomic.Int64 // requests so far
}

// send sends the case's request and checks its answer and what the upstream saw. It returns how long
// the answer took, of a stream from its first event on.
func (b *bench) send(ctx context.Context, c benchCase, to target) (time.Duration, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, b.gateway.URL+to.path, bytes.NewReader(c.requestBody(b.sent.Add(1))))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer sk-key-of-the-client")
	request.Header.Set(teamHeader, "blue")
	if c.unsampled {
		request.Header.Set("Traceparent", unsampledTrace)
	}
	var received chan struct{}
	if c.stream {
		var name string
		name, received = b.streams.open()
		defer b.streams.close(name)
		request.Header.Set(streamHeader, name)
	}
	sent := time.Now()
	response, err := b.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 500))
		return 0, fmt.Errorf("%s answered %s: %s", to.path, response.Status, text)
	}
	if seen := response.Header.Get(seenModelHeader); seen != to.model {
		return 0, fmt.Errorf("%s: upstream saw model %q, want %q", to.path, seen, to.model)
	}
	if c.stream {
		took, err := readEvents(response.Body, received)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", to.path, err)
		}
		return took, nil
	}
	answer, err := io.ReadAll(response.Body)
	if err == nil && len(answer) != len(answerBody) {
		err = fmt.Errorf("%s answered %d bytes, want %d", to.path, len(answer), len(answerBody))
	}
	return time.Since(sent), err
}

// readEvents reports each event as it comes, and returns how long all after the first took. It fails if
// the stream is not complete.
func readEvents(body io.Reader, received chan<- struct{}) (time.Duration, error) {
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
		case line == "data: [DONE]\n":
			ended = true
		case line != "\n":
			if events == 0 {
				first = time.Now()
			}
			events++
			received <- struct{}{}
		}
	}
}

// load sends count requests from several clients at once.
func (b *bench) load(ctx context.Context, c benchCase, to target, count int) error {
	var left atomic.Int64
	left.Store(int64(count))
	problems := make([]error, concurrency)
	var clients sync.WaitGroup
	for i := range concurrency {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for problems[i] == nil && left.Add(-1) >= 0 {
				_, problems[i] = b.send(ctx, c, to)
			}
		}()
	}
	clients.Wait()
	return errors.Join(problems...)
}
