package chatcompletion

import (
	"context"
	"net/http"
	"net/http/httputil"
	"testing"
)

// parents is a transport whose requests fail, and that keeps their traceparents.
type parents struct {
	sent []string
}

func (p *parents) RoundTrip(req *http.Request) (*http.Response, error) {
	p.sent = append(p.sent, req.Header.Get("Traceparent"))
	return nil, errRefused
}

// TestTraceparentOfEachAttempt: each provider is sent the span of its own attempt, also after several fallbacks.
func TestTraceparentOfEachAttempt(t *testing.T) {
	config := CreateConfig()
	config.Host = "first.example"
	config.Fallbacks = []Fallback{{Host: "second.example"}, {Host: "third.example"}, {Host: "fourth.example"}}
	m, sink, _ := fallingBack(t, config)
	transport := &parents{}
	for _, pr := range m.policy.providers {
		pr.handler.(*httputil.ReverseProxy).Transport = transport
	}
	chat(context.Background(), m)
	if len(sink.calls) != 4 || len(transport.sent) != 4 {
		t.Fatalf("%d records and %d requests, want 4 of each", len(sink.calls), len(transport.sent))
	}
	for i, call := range sink.calls {
		want := "00-" + call.Trace.TraceID + "-" + call.Trace.SpanID + "-01"
		if got := transport.sent[i]; got != want {
			t.Errorf("attempt %d: traceparent %q, want %q", i+1, got, want)
		}
	}
}
