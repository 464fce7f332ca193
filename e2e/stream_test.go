package e2e_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const streamRequest = `{"stream": true, "messages": [{"role": "user", "content": "Tell me a story."}]}`

// openStream requests a stream and returns it once its header has arrived.
func openStream(ctx context.Context, t *testing.T, base string) *bufio.Reader {
	t.Helper()
	return openStreamBy(ctx, t, http.MethodPost, base, streamRequest)
}

// openStreamBy is openStream with a method and a body.
func openStreamBy(ctx context.Context, t *testing.T, method, base, body string) *bufio.Reader {
	t.Helper()
	request, err := http.NewRequestWithContext(ctx, method, base+chatPath, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	if response.StatusCode != http.StatusOK {
		content, _ := io.ReadAll(response.Body)
		t.Fatalf("status = %d, want 200: %s", response.StatusCode, content)
	}
	return bufio.NewReader(response.Body)
}

// sendEvent writes an event with a piece of text and flushes it.
func sendEvent(w http.ResponseWriter, text string) error {
	_, err := fmt.Fprintf(w, "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":%q}}]}\n\n", text)
	return errors.Join(err, http.NewResponseController(w).Flush())
}

// ticking returns a provider that sends an event per interval and reports the times of sending.
func ticking(sent chan<- time.Time, events int, interval time.Duration) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", eventType)
		ticks := time.NewTicker(interval)
		defer ticks.Stop()
		for i := range events {
			<-ticks.C
			sent <- time.Now()
			if sendEvent(rw, fmt.Sprint("word ", i)) != nil {
				return
			}
		}
		_, _ = io.WriteString(rw, "data: [DONE]\n\n")
	}
}

// stepping is a provider that sends each event of a stream only after the client has received the one
// before it.
type stepping struct {
	events   int
	sent     chan time.Time
	received chan struct{}
}

func newStepping(events int) *stepping {
	return &stepping{events, make(chan time.Time, events), make(chan struct{}, events)}
}

func (s *stepping) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", eventType)
	for i := range s.events {
		s.sent <- time.Now()
		if sendEvent(rw, fmt.Sprint("word ", i)) != nil {
			return
		}
		select {
		case <-s.received:
		case <-r.Context().Done():
			return
		}
	}
	_, _ = io.WriteString(rw, "data: [DONE]\n\n")
}

// delays reads a stream of the provider and returns how long each event was on its way. An event
// that waits for the next one never arrives.
func (s *stepping) delays(t *testing.T, method, base, body string) []time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), conditionTimeout)
	defer cancel()
	lines := openStreamBy(ctx, t, method, base, body)
	took := make([]time.Duration, s.events)
	for i := range took {
		data, err := readEvent(lines)
		if err != nil {
			t.Fatalf("%s: event %d: %v", base, i, err)
		}
		took[i] = time.Since(<-s.sent)
		if want := fmt.Sprintf("%q", fmt.Sprint("word ", i)); !strings.Contains(data, want) {
			t.Errorf("event %d is %s, want one with %s", i, data, want)
		}
		s.received <- struct{}{}
	}
	if data, err := readEvent(lines); data != "[DONE]" || err != nil {
		t.Errorf("stream ends with %q, %v, want [DONE]", data, err)
	}
	if _, err := readEvent(lines); !errors.Is(err, io.EOF) {
		t.Errorf("after [DONE]: %v, want EOF", err)
	}
	return took
}

// checkEventsAreNotDelayed compares streams of the provider through the plugin with streams through
// Traefik alone. Of each event, the fastest of several streams counts: a busy machine delays some
// events of a stream, but code that holds an event back does so in each. Traefik alone gets requests
// without a body: it breaks a response that begins before it has read the end of the request.
func (s *stepping) checkEventsAreNotDelayed(t *testing.T, with, without string) {
	t.Helper()
	const (
		streams = 5
		allowed = 10 * time.Millisecond
	)
	slowest := func(method, base, body string) time.Duration {
		fastest := s.delays(t, method, base, body)
		for range streams - 1 {
			for i, took := range s.delays(t, method, base, body) {
				fastest[i] = min(fastest[i], took)
			}
		}
		return slices.Max(fastest)
	}
	bare := slowest(http.MethodGet, without, "")
	took := slowest(http.MethodPost, with, streamRequest)
	t.Logf("the slowest of %d events took %v, without the plugin %v", s.events, took, bare)
	if took > 3*bare+allowed {
		t.Errorf("an event arrived after %v, want at most %v; without the plugin it takes %v", took, 3*bare+allowed, bare)
	}
}

// readEvent returns the data of the next event.
func readEvent(lines *bufio.Reader) (string, error) {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return "", err
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return strings.TrimSpace(data), nil
		}
	}
}

func TestStreamEventsArriveWithoutDelay(t *testing.T) {
	provider := newStepping(20)
	g := start(t, gateway.Options{})
	dynamic := metered(map[string]any{"model": "gpt-4o-mini"}, upstream(t, provider).URL)
	dynamic.Routers["bare"] = gateway.Router{Rule: "PathPrefix(`/bare`)", Service: "provider"}
	configure(t, g, dynamic)
	provider.checkEventsAreNotDelayed(t, g.URL, g.URL+"/bare")
	checkNoErrors(t, g)
}

func TestStreamHeaderArrivesBeforeFirstEvent(t *testing.T) {
	arrived := make(chan struct{})
	g := serve(t, map[string]any{"model": "gpt-4o-mini"}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(http.StatusOK)
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-arrived: // the event follows only now
		case <-r.Context().Done():
			return
		}
		_ = sendEvent(w, "word")
	}))
	ctx, cancel := context.WithTimeout(t.Context(), conditionTimeout)
	defer cancel()
	lines := openStream(ctx, t, g.URL)
	close(arrived)
	if _, err := readEvent(lines); err != nil {
		t.Fatal(err)
	}
}

func TestClientDisconnectCancelsProviderRequest(t *testing.T) {
	const clients = 5
	ended := make(chan error, clients)
	g := serve(t, map[string]any{"model": "gpt-4o-mini"}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		ticks := time.NewTicker(5 * time.Millisecond)
		defer ticks.Stop()
		for sendEvent(w, "word") == nil {
			<-ticks.C
		}
		<-r.Context().Done()
		ended <- context.Cause(r.Context())
	}))
	for range clients {
		ctx, leave := context.WithCancel(t.Context())
		lines := openStream(ctx, t, g.URL)
		for range 3 {
			if _, err := readEvent(lines); err != nil {
				t.Fatal(err)
			}
		}
		leave()
		if cause := receive(t, "the provider's request ends", ended); !errors.Is(cause, context.Canceled) {
			t.Errorf("the provider's request ended with %v, want %v", cause, context.Canceled)
		}
	}
	awaitAccessLog(t, g, clients)
	checkNoErrors(t, g)
	checkAlive(t, g)
}

func TestClientDisconnectBeforeResponseCancelsProviderRequest(t *testing.T) {
	began, ended := make(chan struct{}, 1), make(chan struct{}, 1)
	g := serve(t, map[string]any{"model": "gpt-4o-mini"}, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		began <- struct{}{}
		<-r.Context().Done()
		ended <- struct{}{}
	}))
	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL+chatPath, strings.NewReader(streamRequest))
	if err != nil {
		t.Fatal(err)
	}
	left := make(chan error, 1)
	go func() {
		response, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		left <- err
	}()
	receive(t, "the request reaches the provider", began)
	leave()
	receive(t, "the provider's request ends", ended)
	if err := receive(t, "the client's request ends", left); !errors.Is(err, context.Canceled) {
		t.Errorf("the client's request ended with %v, want %v", err, context.Canceled)
	}
	awaitAccessLog(t, g, 1)
	checkNoErrors(t, g)
	checkAlive(t, g)
}

func TestProviderFailureMidStreamAbortsResponse(t *testing.T) {
	g := serve(t, map[string]any{"model": "gpt-4o-mini"}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 2 {
			if sendEvent(w, "word") != nil {
				return
			}
		}
		panic(http.ErrAbortHandler) // closes the connection within the body
	}))
	lines := openStream(t.Context(), t, g.URL)
	for range 2 {
		if _, err := readEvent(lines); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := readEvent(lines); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("the client reads %q, %v after the provider died, want an error other than EOF", data, err)
	}
	awaitAccessLog(t, g, 1)
	checkNoErrors(t, g)
	checkAlive(t, g)
}
