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

// Headers with which a client controls the provider.
const (
	numberHeader = "X-Soak-Number"
	endingHeader = "X-Soak-Ending"
	lengthHeader = "X-Soak-Length"
	kindHeader   = "X-Soak-Kind"
	sumHeader    = "X-Soak-Sum"
)

// Endings of a response. Without one, the response is complete; a number is the status of an error
// response.
const (
	endingCut     = "cut"     // the connection breaks after some events
	endingError   = "error"   // the last event is an error
	endingHold    = "hold"    // no response until the client leaves
	endingLeave   = "leave"   // no further event until the client leaves
	endingDeflate = "deflate" // compressed although the client did not accept it
)

// thinkTime is the delay before an event stream begins: net/http's transport may break a response
// that begins as soon as the last byte of its request arrives.
const thinkTime = 20 * time.Millisecond

// eventInterval is the pause between two events, shortEvents the number of events of a short
// stream.
const (
	eventInterval = 10 * time.Millisecond
	shortEvents   = 6
)

// inputTokens and outputTokens derive token counts from the number of a call, so that client and
// provider agree.
func inputTokens(number int) int { return 10 + number%97 }

func outputTokens(number int) int { return 1 + number%31 }

// provider serves chat completions, responses, embeddings, and lists of models.
type provider struct {
	arrivals sync.Map // number of a call -> channel closed on its arrival, for endingHold
	failed   atomic.Int64
}

// expect returns a channel that is closed when the call arrives at the provider.
func (p *provider) expect(number int) <-chan struct{} {
	arrived := make(chan struct{})
	p.arrivals.Store(strconv.Itoa(number), arrived)
	return arrived
}

// fail is an overloaded provider. It counts its requests.
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
	if sum := r.Header.Get(sumHeader); sum != "" && sum != conversationSum(body) {
		writeError(w, http.StatusConflict) // no call expects this status
		return
	}
	resp := response{model: gjson.GetBytes(body, "model").String(), withUsage: gjson.GetBytes(body, "stream_options.include_usage").Bool()}
	resp.number, _ = strconv.Atoi(r.Header.Get(numberHeader))
	resp.events, _ = strconv.Atoi(r.Header.Get(lengthHeader))
	resp.ending = r.Header.Get(endingHeader)
	status, err := strconv.Atoi(resp.ending)
	switch {
	case err == nil:
		writeError(w, status)
	case resp.ending == endingHold:
		if arrived, waits := p.arrivals.LoadAndDelete(r.Header.Get(numberHeader)); waits {
			close(arrived.(chan struct{}))
		}
		<-r.Context().Done()
	case gjson.GetBytes(body, "stream").Bool():
		resp.stream(w, r)
	default:
		resp.write(w, r.URL.Path)
	}
}

func writeError(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"message":"no","type":"server_error","param":null,"code":"%d"}}`, status)
}

// response is the provider's response to one call.
type response struct {
	number    int
	model     string
	ending    string
	events    int
	withUsage bool
}

func (resp response) usage() string {
	in, out := inputTokens(resp.number), outputTokens(resp.number)
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, in, out, in+out)
}

// write writes the JSON response of the endpoint.
func (resp response) write(w http.ResponseWriter, path string) {
	in, out := inputTokens(resp.number), outputTokens(resp.number)
	var text string
	switch path {
	case modelsPath:
		text = `{"object":"list","data":[{"id":"gpt-4o","object":"model","created":1,"owned_by":"soak"},{"id":"o9","object":"model","created":1,"owned_by":"soak"}]}`
	case embeddingsPath:
		text = fmt.Sprintf(`{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}],"model":%q,"usage":{"prompt_tokens":%d,"total_tokens":%d}}`, resp.model, in, in)
	case responsesPath:
		text = fmt.Sprintf(`{"id":"resp_%d","object":"response","status":"completed","error":null,"model":%q,"output":[],"usage":{"input_tokens":%d,"output_tokens":%d,"total_tokens":%d}}`,
			resp.number, resp.model, in, out, in+out)
	default:
		text = fmt.Sprintf(`{"id":"chatcmpl-%d","object":"chat.completion","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}],"usage":%s}`,
			resp.number, resp.model, resp.usage())
	}
	w.Header().Set("Content-Type", "application/json")
	if resp.ending != endingDeflate {
		_, _ = io.WriteString(w, text)
		return
	}
	w.Header().Set("Content-Encoding", "deflate")
	compressed := zlib.NewWriter(w)
	_, _ = io.WriteString(compressed, text)
	_ = compressed.Close()
}

// stream writes the events of a chat completion, each flushed.
func (resp response) stream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ticks := time.NewTicker(eventInterval)
	defer ticks.Stop()
	flush := http.NewResponseController(w).Flush
	event := func(choices, rest string) {
		_, err := fmt.Fprintf(w, "data: {\"id\":\"chatcmpl-%d\",\"object\":\"chat.completion.chunk\",\"model\":%q,\"choices\":[%s]%s}\n\n", resp.number, resp.model, choices, rest)
		if errors.Join(err, flush()) != nil {
			panic(http.ErrAbortHandler)
		}
	}
	time.Sleep(thinkTime)
	for range max(resp.events, shortEvents) {
		event(`{"index":0,"delta":{"content":"ok"},"finish_reason":null}`, "")
		if resp.ending == endingLeave {
			<-r.Context().Done()
			return
		}
		<-ticks.C
	}
	switch resp.ending {
	case endingCut:
		panic(http.ErrAbortHandler)
	case endingError:
		_, _ = io.WriteString(w, "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n")
		return
	}
	event(`{"index":0,"delta":{},"finish_reason":"stop"}`, "")
	if resp.withUsage {
		event("", `,"usage":`+resp.usage())
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}
