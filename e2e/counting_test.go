package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// The counting provider derives its token counts from the number of a request, so that client and
// provider agree.

const (
	numberHeader = "X-Test-Number"
	endingHeader = "X-Test-Ending"
)

// Endings of a response. Without one, the response is complete.
const (
	endingCut       = "cut"       // the connection breaks after the events
	endingCutUsage  = "cut-usage" // the connection breaks after the usage
	endingLeave     = "leave"     // after the first event, the provider waits until the client disconnects
	endingErrorData = "error"     // the last event is an error
)

func inputTokens(n int) int { return 10 + n%97 }

func outputTokens(n int) int { return 1 + n%31 }

func cachedTokens(n int) int { return n % 7 }

func reasoningTokens(n int) int { return n % outputTokens(n) }

// contentEvents is the number of events with content in a stream.
const contentEvents = 3

// datedModel is the name of a model in the provider's responses.
func datedModel(model string) string { return model + "-2024-08-06" }

// counting returns the counting provider, which pauses between two events of a stream. A number as
// the ending is the status of an error response.
func counting(pause time.Duration) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		var request struct {
			Model         string `json:"model"`
			Stream        bool   `json:"stream"`
			StreamOptions struct {
				IncludeUsage bool `json:"include_usage"`
			} `json:"stream_options"`
		}
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &request)
		}
		if err != nil {
			http.Error(rw, err.Error(), http.StatusTeapot)
			return
		}
		a := countedResponse{model: datedModel(request.Model), ending: r.Header.Get(endingHeader), pause: pause, withUsage: request.StreamOptions.IncludeUsage}
		a.number, _ = strconv.Atoi(r.Header.Get(numberHeader))
		rw.Header().Set("X-Ai-Input-Tokens", "666") // must not reach the access log: only the plugin sets these headers
		switch status, err := strconv.Atoi(a.ending); {
		case err == nil:
			rw.Header().Set("Content-Type", "application/json")
			rw.WriteHeader(status)
			_, _ = fmt.Fprintf(rw, `{"error":{"message":"no","type":"server_error","param":null,"code":"%d"}}`, status)
		case request.Stream:
			a.stream(rw, r)
		default:
			rw.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(rw, `{"id":%q,"object":"chat.completion","model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}],"usage":%s}`,
				a.id(), a.model, a.usage())
		}
	})
}

type countedResponse struct {
	number    int
	model     string
	ending    string
	pause     time.Duration
	withUsage bool
}

func (a countedResponse) id() string { return fmt.Sprint("chatcmpl-", a.number) }

func (a countedResponse) usage() string {
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":%d},"completion_tokens_details":{"reasoning_tokens":%d}}`,
		inputTokens(a.number), outputTokens(a.number), inputTokens(a.number)+outputTokens(a.number), cachedTokens(a.number), reasoningTokens(a.number))
}

func (a countedResponse) stream(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "text/event-stream")
	ticks := time.NewTicker(max(a.pause, 1))
	defer ticks.Stop()
	first := true
	event := func(choices, rest string) {
		if !first && a.pause > 0 {
			<-ticks.C
		}
		first = false
		_, err := fmt.Fprintf(rw, "data: {\"id\":%q,\"object\":\"chat.completion.chunk\",\"model\":%q,\"choices\":[%s]%s}\n\n", a.id(), a.model, choices, rest)
		if errors.Join(err, http.NewResponseController(rw).Flush()) != nil {
			panic(http.ErrAbortHandler)
		}
	}
	for range contentEvents {
		event(`{"index":0,"delta":{"content":"ok"},"finish_reason":null}`, "")
		if a.ending == endingLeave {
			<-r.Context().Done()
			return
		}
	}
	switch a.ending {
	case endingCut:
		panic(http.ErrAbortHandler)
	case endingErrorData:
		_, _ = io.WriteString(rw, "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\",\"param\":null,\"code\":null}}\n\n")
		return
	}
	event(`{"index":0,"delta":{},"finish_reason":"stop"}`, "")
	if a.withUsage {
		event("", `,"usage":`+a.usage())
	}
	if a.ending == endingCutUsage {
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(rw, "data: [DONE]\n\n")
}
