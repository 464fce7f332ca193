package main

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tidwall/gjson"

	"github.com/modelroute/chatcompletion/e2e/agent"
)

const (
	// seenModelHeader returns to the client the model that reached the upstream.
	seenModelHeader = "Bench-Seen-Model"

	// streamHeader names the stream of a request.
	streamHeader = "Bench-Stream"
)

// thinkTime is the delay before the first event of a stream. If a response begins as soon as the
// last byte of the request arrives, net/http's transport may still be reading the end of the
// request body when the server closes it, and bare Traefik breaks one such stream in a few hundred.
const thinkTime = 20 * time.Millisecond

const responseBody = `{"id":"chatcmpl-bench","object":"chat.completion","created":1735689600,"model":"gpt-4o-mini",` +
	`"choices":[{"index":0,"message":{"role":"assistant","content":"A gateway forwards what it may and refuses what it must.",` +
	`"refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":200,"completion_tokens":12,` +
	`"total_tokens":212,"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}`

const responsesBody = `{"id":"resp_bench","object":"response","created_at":1735689600,"status":"completed","model":"gpt-4o-mini",` +
	`"output":[{"id":"msg_bench","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text",` +
	`"text":"A gateway forwards what it may and refuses what it must.","annotations":[]}]}],"usage":{"input_tokens":200,` +
	`"input_tokens_details":{"cached_tokens":0},"output_tokens":12,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":212}}`

const messagesBody = `{"id":"msg_bench","type":"message","role":"assistant","model":"gpt-4o-mini","content":[{"type":"text",` +
	`"text":"A gateway forwards what it may and refuses what it must."}],"stop_reason":"end_turn","stop_sequence":null,"usage":{` +
	`"input_tokens":20,"cache_creation_input_tokens":0,"cache_read_input_tokens":180,"output_tokens":12,"service_tier":"standard"}}`

const contentsBody = `{"candidates":[{"content":{"parts":[{"text":"A gateway forwards what it may and refuses what it must."}],` +
	`"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":200,"candidatesTokenCount":12,` +
	`"totalTokenCount":212,"cachedContentTokenCount":180},"modelVersion":"gpt-4o-mini","responseId":"bench"}`

// Paths of the Responses API, of Anthropic's Messages and of Gemini's generateContent, as chatPath is
// that of chat completions.
const (
	responsesPath = "/v1/responses"
	messagesPath  = "/v1/messages"
	modelsPath    = "/v1beta/models/"
	contentsPath  = modelsPath + agent.Model + ":generateContent"
)

// responseTo returns the response to a request with the path.
func responseTo(path string) string {
	switch {
	case strings.HasSuffix(path, responsesPath):
		return responsesBody
	case strings.HasSuffix(path, messagesPath):
		return messagesBody
	case strings.Contains(path, modelsPath):
		return contentsBody
	}
	return responseBody
}

// modelIn returns the model of a request: that in its path, or that in its body.
func modelIn(path string, body []byte) string {
	if _, rest, isContents := strings.Cut(path, modelsPath); isContents {
		model, _, _ := strings.Cut(rest, ":")
		return model
	}
	return gjson.GetBytes(body, "model").String()
}

const eventData = `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1735689600,"model":"gpt-4o-mini",` +
	`"choices":[{"index":0,"delta":{"content":" gateway"},"logprobs":null,"finish_reason":null}]}` + "\n\n"

const endData = "data: [DONE]\n\n"

// streams lets the upstream send an event only after the client has received the previous one. Two
// events can therefore never travel together, which would make a gateway look cheaper than it is.
type streams struct {
	mutex    sync.Mutex
	last     int
	received map[string]chan struct{}
}

func newStreams() *streams { return &streams{received: map[string]chan struct{}{}} }

// open returns the name of a new stream and the channel on which its client reports each event.
func (s *streams) open() (name string, received chan struct{}) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.last++
	name = strconv.Itoa(s.last)
	received = make(chan struct{}, streamEvents)
	s.received[name] = received
	return name, received
}

func (s *streams) close(name string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.received, name)
}

func (s *streams) find(name string) chan struct{} {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.received[name]
}

// seenRequest is a request that the upstream received.
type seenRequest struct {
	authorization string
	body          []byte
}

func (b *bench) upstreamHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has disconnected
		}
		b.last.Store(&seenRequest{authorization: r.Header.Get("Authorization"), body: body})
		w.Header().Set(seenModelHeader, modelIn(r.URL.Path, body))
		switch name := r.Header.Get(streamHeader); name {
		case "":
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, responseTo(r.URL.Path))
		case crowdName:
			b.stage.Load().playEvents(w, r)
		default:
			stream(w, r, b.streams.find(name))
		}
	})
}

func stream(w http.ResponseWriter, r *http.Request, received <-chan struct{}) {
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	time.Sleep(thinkTime)
	p := protocolOf(r.URL.Path)
	for i := range streamEvents {
		event := p.event
		if i == 0 {
			event = p.first
		}
		if _, err := io.WriteString(w, event); err != nil || flush() != nil {
			return
		}
		select {
		case <-received:
		case <-r.Context().Done():
			return
		}
	}
	_, _ = io.WriteString(w, p.end)
}

// collect accepts telemetry and discards it.
func collect(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}")
}
