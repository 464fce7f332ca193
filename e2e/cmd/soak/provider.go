package main

import (
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidwall/gjson"
)

// Headers by which a client tells the provider what to do.
const (
	numberHeader = "X-Soak-Number"
	endingHeader = "X-Soak-Ending"
	lengthHeader = "X-Soak-Length"
	kindHeader   = "X-Soak-Kind"
)

// Endings of an answer. Without one, it ends as it should; a number is the status of an error.
const (
	endingCut     = "cut"     // the connection breaks after some events
	endingError   = "error"   // the last event is an error
	endingHold    = "hold"    // there is no answer until the client leaves
	endingLeave   = "leave"   // no further event comes until the client leaves
	endingDeflate = "deflate" // compressed without being asked
)

// thinkTime passes before an event stream begins: net/http's transport may break an answer that begins as soon as the last
// byte of its request came.
const thinkTime = 20 * time.Millisecond

// eventInterval is the pause between two events, and shortEvents are those of a short stream.
const (
	eventInterval = 10 * time.Millisecond
	shortEvents   = 6
)

// inputTokens and outputTokens follow from the number of a call, so that both sides know them.
func inputTokens(number int) int { return 10 + number%97 }

func outputTokens(number int) int { return 1 + number%31 }

// provider answers chat completions, responses, embeddings, and lists of models.
type provider struct {
	arrivals sync.Map // number of a call -> channel that is closed when it is here, for endingHold
	failed   atomic.Int64
}

// expect returns a channel that is closed when the call has arrived at the provider.
func (p *provider) expect(number int) <-chan struct{} {
	arrived := make(chan struct{})
	p.arrivals.Store(strconv.Itoa(number), arrived)
	return arrived
}

// fail is a provider that is overloaded, and counts its requests.
func (p *provider) fail(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, r.Body)
	p.failed.Add(1)
	writeError(w, http.StatusServiceUnavailable)
}

func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client left
	}
	if r.Header.Get("Authorization") != "Bearer "+providerKey {
		writeError(w, http.StatusUnauthorized)
		return
	}
	a := answer{model: gjson.GetBytes(body, "model").String(), withUsage: gjson.GetBytes(body, "stream_options.include_usage").Bool()}
	a.number, _ = strconv.Atoi(r.Header.Get(numberHeader))
	a.events, _ = strconv.Atoi(r.Header.Get(lengthHeader))
	a.ending = r.Header.Get(endingHeader)
	status, err := strconv.Atoi(a.ending)
	switch {
	case err == nil:
		writeError(w, status)
	case a.ending == endingHold:
		if arrived, waits := p.arrivals.LoadAndDelete(r.Header.Get(numberHeader)); waits {
			close(arrived.(chan struct{}))
		}
		<-r.Context().Done()
	case gjson.GetBytes(body, "stream").Bool():
		a.stream(w, r)
	default:
		a.write(w, r.URL.Path)
	}
}

func writeError(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"message":"no","type":"server_error","param":null,"code":"%d"}}`, status)
}

// answer is the provider's to one call.
type answer struct {
	number    int
	model     string
	ending    string
	events    int
	withUsage bool
}

func (a answer) usage() string {
	in, out := inputTokens(a.number), outputTokens(a.number)
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, in, out, in+out)
}

// write writes the JSON answer of the endpoint.
func (a answer) write(w http.ResponseWriter, path string) {
	in, out := inputTokens(a.number), outputTokens(a.number)
	var text string
	switch path {
	case modelsPath:
		text = `{"object":"list","data":[{"id":"gpt-4o","object":"model","created":1,"owned_by":"soak"},{"id":"o9","object":"model","created":1,"owned_by":"soak"}]}`
	case embeddingsPath:
		text = fmt.Sprintf(`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":%q,"usage":{"prompt_tokens":%d,"total_tokens":%d}}`, a.model, in, in)
	case responsesPath:
		text = fmt.Sprintf(`{"id":"resp_%d","object":"response","status":"completed","error":null,"model":%q,"output":[],"usage":{"input_tokens":%d,"output_tokens":%d,"total_tokens":%d}}`,
			a.number, a.model, in, out, in+out)
	default:
		text = fmt.Sprintf(`{"id":"chatcmpl-%d","object":"chat.completion","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}],"usage":%s}`,
			a.number, a.model, a.usage())
	}
	w.Header().Set("Content-Type", "application/json")
	if a.ending != endingDeflate {
		_, _ = io.WriteString(w, text)
		return
	}
	w.Header().Set("Content-Encoding", "deflate")
	compressed := zlib.NewWriter(w)
	_, _ = io.WriteString(compressed, text)
	_ = compressed.Close()
}

// stream writes the events of a chat completion, each flushed.
func (a answer) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ticks := time.NewTicker(eventInterval)
	defer ticks.Stop()
	flush := http.NewResponseController(w).Flush
	event := func(choices, rest string) {
		_, err := fmt.Fprintf(w, "data: {\"id\":\"chatcmpl-%d\",\"object\":\"chat.completion.chunk\",\"model\":%q,\"choices\":[%s]%s}\n\n", a.number, a.model, choices, rest)
		if errors.Join(err, flush()) != nil {
			panic(http.ErrAbortHandler)
		}
	}
	time.Sleep(thinkTime)
	for range max(a.events, shortEvents) {
		event(`{"index":0,"delta":{"content":"ok"},"finish_reason":null}`, "")
		if a.ending == endingLeave {
			<-r.Context().Done()
			return
		}
		<-ticks.C
	}
	switch a.ending {
	case endingCut:
		panic(http.ErrAbortHandler)
	case endingError:
		_, _ = io.WriteString(w, "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n")
		return
	}
	event(`{"index":0,"delta":{},"finish_reason":"stop"}`, "")
	if a.withUsage {
		event("", `,"usage":`+a.usage())
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}
