package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const realtimePath = "/v1/realtime"

// realtimeMaxBytes bounds the messages of clients and providers in these tests.
const realtimeMaxBytes = 8 << 20

// talker is a provider of OpenAI's realtime API. Each response has the same usage.
type talker struct {
	mutex    sync.Mutex
	received [][]byte
	closed   []websocket.StatusCode
	pause    time.Duration // between the events of a response
	open     atomic.Int64
}

// usage of each response of a talker.
const (
	talkerInput, talkerOutput, talkerCached = 120, 30, 64
	talkerUsage                             = `{"total_tokens":150,"input_tokens":120,"output_tokens":30,` +
		`"input_token_details":{"text_tokens":100,"audio_tokens":20,"image_tokens":0,"cached_tokens":64,"cached_tokens_details":{"text_tokens":64,"audio_tokens":0,"image_tokens":0}},` +
		`"output_token_details":{"text_tokens":10,"audio_tokens":20}}`
)

func (p *talker) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	connection, err := websocket.Accept(rw, r, &websocket.AcceptOptions{
		Subprotocols: []string{"realtime"}, InsecureSkipVerify: true, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		return
	}
	p.open.Add(1)
	defer p.open.Add(-1)
	defer func() { _ = connection.CloseNow() }()
	connection.SetReadLimit(realtimeMaxBytes)
	ctx := context.WithoutCancel(r.Context())
	say := func(text string) { _ = connection.Write(ctx, websocket.MessageText, []byte(text)) }
	say(`{"type":"session.created","event_id":"e0","session":{"object":"realtime.session","model":"` + r.URL.Query().Get("model") + `"}}`)
	cancelled := make(chan struct{}, 1)
	for {
		kind, message, err := connection.Read(ctx)
		if err != nil {
			p.mutex.Lock()
			p.closed = append(p.closed, websocket.CloseStatus(err))
			p.mutex.Unlock()
			return
		}
		p.mutex.Lock()
		p.received = append(p.received, message)
		p.mutex.Unlock()
		var event struct{ Type string }
		_ = json.Unmarshal(message, &event)
		switch event.Type {
		case "response.create":
			cancelled = make(chan struct{}, 1)
			go func(cancelled chan struct{}) {
				say(`{"type":"response.created","event_id":"e1","response":{"object":"realtime.response","id":"resp_1","status":"in_progress"}}`)
				status := "completed"
				for range 3 {
					say(`{"type":"response.output_audio.delta","event_id":"e2","delta":"` + strings.Repeat("AAAA", 1000) + `"}`)
					select {
					case <-cancelled:
						status = "cancelled"
					case <-time.After(p.pause):
					}
				}
				say(`{"type":"response.done","event_id":"e3","response":{"object":"realtime.response","id":"resp_1","status":"` + status + `","output":[],"usage":` + talkerUsage + `}}`)
			}(cancelled)
		case "response.cancel":
			select {
			case cancelled <- struct{}{}:
			default: // it is cancelled already
			}
		case "close":
			_ = connection.Close(4000, "told to")
			return
		default:
			_ = connection.Write(ctx, kind, message)
		}
	}
}

// lastReceived returns the last message that the provider has received.
func (p *talker) lastReceived() string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	if len(p.received) == 0 {
		return ""
	}
	return string(p.received[len(p.received)-1])
}

// openWebSocket opens a WebSocket. It returns the status of the response, 0 if there is none.
func openWebSocket(t *testing.T, address string, options *websocket.DialOptions) (*websocket.Conn, int, error) {
	t.Helper()
	connection, response, err := websocket.Dial(t.Context(), strings.Replace(address, "http", "ws", 1), options)
	if response == nil {
		return connection, 0, err
	}
	if response.Body != nil {
		_ = response.Body.Close()
	}
	return connection, response.StatusCode, err
}

// connect opens a WebSocket, and reads the first event.
func connect(t *testing.T, address string, header http.Header, protocols ...string) *websocket.Conn {
	t.Helper()
	connection, status, err := openWebSocket(t, address, &websocket.DialOptions{
		HTTPHeader: header, Subprotocols: protocols, CompressionMode: websocket.CompressionContextTakeover,
	})
	if err != nil {
		t.Fatalf("status %d: %v", status, err)
	}
	connection.SetReadLimit(realtimeMaxBytes)
	t.Cleanup(func() { _ = connection.CloseNow() })
	if got := hear(t, connection); !strings.Contains(got, "session.created") {
		t.Fatalf("first event %s, want session.created", got)
	}
	return connection
}

func say(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

func hear(t *testing.T, c *websocket.Conn) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), conditionTimeout)
	defer cancel()
	_, text, err := c.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// hearResponse reads the events of a response.
func hearResponse(t *testing.T, c *websocket.Conn) {
	t.Helper()
	say(t, c, `{"type":"response.create"}`)
	for {
		if strings.Contains(hear(t, c), `"response.done"`) {
			return
		}
	}
}

// hearClose reads until the connection is closed, and returns how, with the last message before.
func hearClose(t *testing.T, c *websocket.Conn) (closed websocket.CloseError, last string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), conditionTimeout)
	defer cancel()
	for {
		_, text, err := c.Read(ctx)
		if err == nil {
			last = string(text)
			continue
		}
		if !errors.As(err, &closed) {
			t.Errorf("the connection ends with %v, want a close frame", err)
		}
		return closed, last
	}
}

// realtimeWays are the ways to a provider: a router's service, the middleware's own, and through two middlewares.
var realtimeWays = []string{"service", "own", "chained", "chained-own"}

// realtimeSettings returns a configuration of each way.
func realtimeDynamic(t *testing.T, provider string, settings map[string]any) gateway.Dynamic {
	t.Helper()
	with := func(more map[string]any) map[string]any {
		all := map[string]any{"token": "sk-provider", "routes": map[string]string{realtimePath: "realtime"}, "telemetry": map[string]any{"labels": map[string]string{"way": "$(headers.x-way)"}}}
		for name, value := range settings {
			all[name] = value
		}
		for name, value := range more {
			all[name] = value
		}
		return all
	}
	dynamic := exposing()
	dynamic.Services["provider"] = provider
	inner := map[string]any{"token": "sk-second", "allowedModels": []string{"gpt-realtime*"}, "routes": map[string]string{realtimePath: "realtime"}}
	dynamic.Middlewares["service"] = gateway.Plugin(with(nil))
	dynamic.Middlewares["own"] = gateway.Plugin(at(t, provider, with(nil)))
	dynamic.Middlewares["inner"] = gateway.Plugin(inner)
	dynamic.Middlewares["inner-own"] = gateway.Plugin(at(t, provider, inner))
	for way, names := range map[string][]string{"service": {"service"}, "own": {"own"}, "chained": {"service", "inner"}, "chained-own": {"service", "inner-own"}} {
		dynamic.Routers[way] = gateway.Router{Rule: "PathPrefix(`/" + way + "/`)", Middlewares: names, Service: "provider"}
	}
	return dynamic
}

func startRealtime(t *testing.T) *gateway.Gateway {
	t.Helper()
	return start(t, gateway.Options{
		AccessLog:        true,
		AccessLogHeaders: []string{modelHeader, "X-Ai-Error-Type", "X-Ai-Policy", "X-Ai-Input-Tokens", "X-Ai-Output-Tokens", "X-Ai-Consumer", "X-Ai-Quota", "X-Ai-Cost"},
	})
}

// loggedWay returns the line of the access log about a connection on a way, with a text in its query.
func loggedWay(t *testing.T, g *gateway.Gateway, way, text string) map[string]any {
	t.Helper()
	var found map[string]any
	await(t, "a line about "+way+" in the access log", func() bool {
		for _, line := range accessLog(t, g) {
			if path, _ := line["RequestPath"].(string); strings.HasPrefix(path, "/"+way+"/") && strings.Contains(path, text) {
				found = line
			}
		}
		return found != nil
	})
	return found
}

func TestRealtime(t *testing.T) {
	g := startRealtime(t)
	t.Run("usage is summed", func(t *testing.T) { realtimeUsageIsSummed(t, g) })
	t.Run("messages are governed", func(t *testing.T) { realtimeMessagesAreGoverned(t, g) })
	t.Run("quotas end connections", func(t *testing.T) { realtimeQuotasEndConnections(t, g) })
	t.Run("consumers connect from browsers", func(t *testing.T) { realtimeConsumersConnect(t, g) })
	t.Run("payloads pass unchanged", func(t *testing.T) { realtimePayloadsPass(t, g) })
	t.Run("a client that leaves pays", func(t *testing.T) { realtimeLeavingClientPays(t, g) })
	t.Run("connections end with their duration", func(t *testing.T) { realtimeDurationEndsConnections(t, g) })
	t.Run("many connections", func(t *testing.T) { realtimeManyConnections(t, g) })
	checkNoErrors(t, g)
}

func realtimeUsageIsSummed(t *testing.T, g *gateway.Gateway) {
	talking := &talker{}
	provider := newFake(t, "provider", talking)
	configure(t, g, realtimeDynamic(t, provider.URL, map[string]any{
		"modelAliases": map[string]string{"voice": "gpt-realtime"},
		"prices":       map[string]any{"models": map[string]any{"gpt-realtime": map[string]any{"input": "4", "output": "16", "cacheRead": "0.4", "inputAudio": "32", "outputAudio": "64"}}},
	}))
	for _, way := range realtimeWays {
		t.Run(way, func(t *testing.T) {
			connection := connect(t, g.URL+"/"+way+realtimePath+"?beta=1&model=voice&z=%20a", nil)
			for range 3 {
				hearResponse(t, connection)
			}
			if err := connection.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
			line := loggedWay(t, g, way, "beta=1")
			for name, want := range map[string]any{
				"downstream_X-Ai-Model": "gpt-realtime", "downstream_X-Ai-Input-Tokens": fmt.Sprint(3 * talkerInput), "downstream_X-Ai-Output-Tokens": fmt.Sprint(3 * talkerOutput),
				"downstream_X-Ai-Policy": "model=aliased", "downstream_X-Ai-Error-Type": nil,
				// three times 36 tokens of text, 20 of audio and 64 cached ones as input, and 10 and 20 as output
				"downstream_X-Ai-Cost": "0.0067488",
			} {
				if got := line[name]; got != want {
					t.Errorf("access log: %s is %v, want %v", name, got, want)
				}
			}
			saw := provider.last(t)
			if want := realtimePath + "?beta=1&model=gpt-realtime&z=%20a"; !strings.HasSuffix(saw.target, want) {
				t.Errorf("the provider receives %s, want %s", saw.target, want)
			}
			if got := saw.header.Get("Sec-WebSocket-Extensions"); got != "" {
				t.Errorf("the provider is offered the extensions %q, want none", got)
			}
		})
	}
}

func realtimeMessagesAreGoverned(t *testing.T, g *gateway.Gateway) {
	talking := &talker{}
	provider := newFake(t, "provider", talking)
	configure(t, g, realtimeDynamic(t, provider.URL, map[string]any{"modelAliases": map[string]string{"voice": "gpt-realtime"}, "allowedModels": []string{"gpt-realtime", "whisper-1"}}))
	tests := []struct {
		name, message, want string // want: what the provider gets; empty: the connection is closed
	}{
		{"without a model", `{"type": "session.update", "session": {"instructions": "Say \"hi\""}}`, `{"type": "session.update", "session": {"instructions": "Say \"hi\""}}`},
		{"the model", `{"type":"session.update","session":{ "model":"gpt-realtime"}}`, `{"type":"session.update","session":{ "model":"gpt-realtime"}}`},
		{"the alias", `{"type":"session.update","session":{"model":"voice", "instructions":"a \\\" b"}}`, `{"type":"session.update","session":{"model":"gpt-realtime","instructions":"a \\\" b"}}`},
		{"another model", `{"type":"session.update","session":{"model":"gpt-5"}}`, ""},
		{"another model after text", `{"type":"session.update","session":{"instructions":"\\","model":"gpt-5"}}`, ""},
		{"a model twice", `{"type":"session.update","session":{"model":"gpt-realtime","model":"gpt-5"}}`, ""},
		{"an escaped name", `{"type":"session.update","session":{"m\u006fdel":"gpt-5"}}`, ""},
		{"a name in capitals", `{"type":"session.update","session":{"Model":"gpt-5"}}`, ""},
		{"an escaped value", `{"type":"session.update","session":{"model":"gpt\u002d5"}}`, ""},
		{"a model for transcriptions", `{"type":"session.update","session":{"audio":{"input":{"transcription":{"model":"gpt-4o-transcribe"}}}}}`, ""},
		{"a text about models", `{"type":"conversation.item.create","item":{"content":[{"type":"input_text","text":"{\"model\":\"gpt-5\"}"}]}}`, `{"type":"conversation.item.create","item":{"content":[{"type":"input_text","text":"{\"model\":\"gpt-5\"}"}]}}`},
		{"audio", `{"type":"input_audio_buffer.append","audio":"` + strings.Repeat("AAAA", 1<<19) + `"}`, `{"type":"input_audio_buffer.append","audio":"` + strings.Repeat("AAAA", 1<<19) + `"}`},
		{"a model after much audio", `{"type":"input_audio_buffer.append","audio":"` + strings.Repeat("AAAA", 1<<19) + `","type":"session.update","session":{"model":"gpt-5"}}`, ""},
	}
	for _, way := range realtimeWays {
		for _, test := range tests {
			t.Run(way+"/"+test.name, func(t *testing.T) {
				connection := connect(t, g.URL+"/"+way+realtimePath+"?model=voice", nil)
				say(t, connection, test.message)
				if test.want == "" {
					closed, last := hearClose(t, connection)
					if closed.Code != websocket.StatusPolicyViolation || !strings.Contains(last, `"type":"error"`) {
						t.Errorf("closed with %d %q after %s, want 1008 after an error", closed.Code, closed.Reason, last)
					}
					if strings.Contains(talking.lastReceived(), "gpt-5") && !strings.Contains(talking.lastReceived(), `\"gpt-5\"`) {
						t.Errorf("the provider receives %.200s", talking.lastReceived())
					}
					return
				}
				if got := hear(t, connection); got != test.want {
					t.Errorf("the provider receives %.300q, want %.300q", got, test.want)
				}
			})
		}
	}
}

func realtimeQuotasEndConnections(t *testing.T, g *gateway.Gateway) {
	talking := &talker{}
	provider := newFake(t, "provider", talking)
	configure(t, g, realtimeDynamic(t, provider.URL, map[string]any{"quotas": []any{
		map[string]any{"name": "day", "unit": "tokens", "limit": 2*(talkerInput+talkerOutput) - 1, "window": "1d", "per": "$(headers.x-way)"},
		map[string]any{"name": "open", "unit": "concurrent", "limit": 1, "per": "$(headers.x-way)"},
	}}))
	for _, way := range realtimeWays {
		t.Run(way, func(t *testing.T) {
			header := http.Header{"X-Way": {way + t.Name()}}
			connection := connect(t, g.URL+"/"+way+realtimePath+"?model=gpt-realtime", header)
			hearResponse(t, connection)
			say(t, connection, `{"type":"response.create"}`)
			closed, last := hearClose(t, connection)
			if closed.Code != websocket.StatusPolicyViolation || !strings.Contains(closed.Reason, "`day`") || !strings.Contains(last, "insufficient_quota") {
				t.Errorf("closed with %d %q after %s, want 1008 and the name of the quota", closed.Code, closed.Reason, last)
			}
			await(t, "the provider is closed", func() bool { return talking.open.Load() == 0 })
			talking.mutex.Lock()
			if got := talking.closed[len(talking.closed)-1]; got != websocket.StatusPolicyViolation {
				t.Errorf("the provider is closed with %d, want 1008", got)
			}
			talking.mutex.Unlock()
			_, status, err := openWebSocket(t, g.URL+"/"+way+realtimePath+"?model=gpt-realtime", &websocket.DialOptions{HTTPHeader: header})
			if err == nil || status != http.StatusTooManyRequests {
				t.Errorf("the next connection: status %d, %v, want 429", status, err)
			}
		})
	}
}

func realtimeConsumersConnect(t *testing.T, g *gateway.Gateway) {
	provider := newFake(t, "provider", &talker{})
	configure(t, g, realtimeDynamic(t, provider.URL, map[string]any{"consumers": map[string]any{"list": []any{
		map[string]any{"name": "blue", "key": hashOf("sk-blue")}, map[string]any{"name": "red", "key": hashOf("sk-red"), "allowedModels": []string{"gpt-realtime-mini"}},
	}}}))
	address := g.URL + "/own" + realtimePath + "?model=gpt-realtime"
	connection := connect(t, address, nil, "realtime", "openai-insecure-api-key.sk-blue", "openai-beta.realtime-v1")
	if got := connection.Subprotocol(); got != "realtime" {
		t.Errorf("protocol %q, want realtime", got)
	}
	saw := provider.last(t).header
	if got, want := saw.Get("Sec-Websocket-Protocol"), "realtime,openai-beta.realtime-v1"; got != want {
		t.Errorf("the provider is offered %q, want %q", got, want)
	}
	if got, want := saw.Get("Authorization"), "Bearer sk-provider"; got != want {
		t.Errorf("the provider sees the key %q, want %q", got, want)
	}
	for name, test := range map[string]struct {
		protocols []string
		status    int
	}{
		"no key":        {[]string{"realtime"}, http.StatusUnauthorized},
		"two keys":      {[]string{"realtime", "openai-insecure-api-key.sk-blue", "openai-insecure-api-key.sk-red"}, http.StatusUnauthorized},
		"not its model": {[]string{"realtime", "openai-insecure-api-key.sk-red"}, http.StatusNotFound},
	} {
		_, status, err := openWebSocket(t, address, &websocket.DialOptions{Subprotocols: test.protocols})
		if err == nil || status != test.status {
			t.Errorf("%s: status %d, %v, want %d", name, status, err, test.status)
		}
	}
}

func realtimePayloadsPass(t *testing.T, g *gateway.Gateway) {
	provider := newFake(t, "provider", &talker{})
	configure(t, g, realtimeDynamic(t, provider.URL, map[string]any{"allowedModels": []string{"*"}}))
	for _, way := range realtimeWays {
		t.Run(way, func(t *testing.T) {
			connection := connect(t, g.URL+"/"+way+realtimePath+"?model=gpt-realtime", nil)
			for _, size := range []int{0, 1, 100, 125, 126, 127, 4000, 65535, 65536, 1 << 20, 3 << 20} {
				random := make([]byte, size*3/4)
				_, _ = rand.Read(random)
				want := []byte(`{"a":"` + base64.StdEncoding.EncodeToString(random) + `"}`)
				sent := make(chan error, 1)
				go func() { sent <- connection.Write(t.Context(), websocket.MessageText, want) }()
				_, got, err := connection.Read(t.Context())
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes: %v, equal: %v", size, err, bytes.Equal(got, want))
				}
				if err := <-sent; err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func realtimeLeavingClientPays(t *testing.T, g *gateway.Gateway) {
	talking := &talker{pause: time.Second}
	provider := newFake(t, "provider", talking)
	configure(t, g, realtimeDynamic(t, provider.URL, nil))
	for _, ending := range []string{"closes", "disconnects"} {
		for _, way := range realtimeWays {
			connection := connect(t, g.URL+"/"+way+realtimePath+"?model=gpt-realtime&ending="+ending, nil)
			say(t, connection, `{"type":"response.create"}`)
			_ = hear(t, connection)
			if ending == "closes" {
				_ = connection.Close(websocket.StatusNormalClosure, "")
			} else {
				_ = connection.CloseNow()
			}
			line := loggedWay(t, g, way, "ending="+ending)
			if got, want := line["downstream_X-Ai-Output-Tokens"], fmt.Sprint(talkerOutput); got != want {
				t.Errorf("%s, a client that %s: output tokens %v, want %v", way, ending, got, want)
			}
		}
	}
}

func realtimeDurationEndsConnections(t *testing.T, g *gateway.Gateway) {
	provider := newFake(t, "provider", &talker{})
	configure(t, g, realtimeDynamic(t, provider.URL, map[string]any{"maxStreamDuration": "1s"}))
	for _, way := range realtimeWays {
		connection := connect(t, g.URL+"/"+way+realtimePath+"?model=gpt-realtime", nil)
		closed, last := hearClose(t, connection)
		if closed.Code != websocket.StatusPolicyViolation || !strings.Contains(last, "stream_timeout") {
			t.Errorf("%s: closed with %d %q after %s, want 1008", way, closed.Code, closed.Reason, last)
		}
	}
}

// realtimeManyConnections opens and closes 200 connections, twice: the second time, nothing may be left that was not the
// first time.
func realtimeManyConnections(t *testing.T, g *gateway.Gateway) {
	talking := &talker{}
	provider := newFake(t, "provider", talking)
	configure(t, g, realtimeDynamic(t, provider.URL, map[string]any{"allowedModels": []string{"gpt-realtime", "gpt-4o*"}}))
	useManyConnections(t, g, talking)
	first := rest(t, g)
	useManyConnections(t, g, talking)
	var second gateway.Memory
	await(t, "200 connections leave nothing", func() bool {
		second = rest(t, g)
		return second.Heap-first.Heap <= 4<<20 && second.Stacks-first.Stacks <= 1<<20
	})
	t.Logf("%+v after 200 connections, %+v after 400", first, second)
}

// rest returns the memory in use when no goroutine of a connection is left.
func rest(t *testing.T, g *gateway.Gateway) gateway.Memory {
	t.Helper()
	await(t, "no goroutine is left", func() bool {
		state, err := g.Runtime(t.Context())
		return err == nil && state.Goroutines < 150
	})
	memory, err := g.CollectGarbage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return memory
}

func useManyConnections(t *testing.T, g *gateway.Gateway, talking *talker) {
	t.Helper()
	var running sync.WaitGroup
	for worker := range 8 {
		running.Add(1)
		go func() {
			defer running.Done()
			for i := range 25 {
				useConnection(t, g.URL+"/"+realtimeWays[worker%len(realtimeWays)], i%2 == 0)
			}
		}()
	}
	running.Wait()
	await(t, "all connections are closed", func() bool { return talking.open.Load() == 0 })
}

// useConnection has a response on a connection, and closes it, or drops it.
func useConnection(t *testing.T, address string, drops bool) {
	t.Helper()
	connection, _, err := openWebSocket(t, address+realtimePath+"?model=gpt-realtime", nil)
	if err != nil {
		t.Error(err)
		return
	}
	connection.SetReadLimit(realtimeMaxBytes)
	if err := connection.Write(t.Context(), websocket.MessageText, []byte(`{"type":"response.create"}`)); err != nil {
		t.Error(err)
	}
	for range 6 {
		if _, _, err := connection.Read(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if drops {
		_ = connection.CloseNow()
	} else if err := connection.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Error(err)
	}
}
