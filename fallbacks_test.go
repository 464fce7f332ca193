package chatcompletion

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"
)

// errRefused is what a provider's dead port gives.
var errRefused = &net.OpError{Op: "dial", Err: errors.New("connection refused")}

// failing is a transport whose requests end in an error.
type failing struct {
	err error
}

func (f *failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, f.err }

// fallingBack returns a middleware with two providers that cannot be reached, and keeps the records of its calls.
func fallingBack(t *testing.T, config *Config) (*middleware, *keptCalls, *failing) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	handler, err := New(ctx, http.NotFoundHandler(), config, "test")
	if err != nil {
		t.Fatal(err)
	}
	m, sink, transport := handler.(*middleware), &keptCalls{}, &failing{errRefused}
	m.policy.telemetry.spans = true
	m.policy.telemetry.sinks = append(m.policy.telemetry.sinks, sink)
	for _, provider := range m.providers {
		provider.next.(*httputil.ReverseProxy).Transport = transport
	}
	return m, sink, transport
}

// chat sends a request for a chat completion.
func chat(ctx context.Context, handler http.Handler) {
	body := strings.NewReader(`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`)
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/v1/chat/completions", body).WithContext(ctx))
}

// TestEveryAttemptHasASpanOfItsOwn also where the last provider cannot be asked, for its key is not there.
func TestEveryAttemptHasASpanOfItsOwn(t *testing.T) {
	config := CreateConfig()
	config.Host = "first.example"
	config.Fallbacks = []Fallback{{Host: "second.example", Token: "urn:env:CHAT_COMPLETION_NO_SUCH_KEY"}}
	m, sink, _ := fallingBack(t, config)
	chat(context.Background(), m)
	if len(sink.calls) != 2 {
		t.Fatalf("%d records, want 2", len(sink.calls))
	}
	first, last := sink.calls[0], sink.calls[1]
	if first.ErrorType != errorConnectionFailed || last.ErrorType != "credentials_unavailable" {
		t.Errorf("the attempts end in %q and %q, want %q and credentials_unavailable", first.ErrorType, last.ErrorType, errorConnectionFailed)
	}
	if first.Trace.TraceID != last.Trace.TraceID || first.Trace.SpanID == last.Trace.SpanID || !last.Start.After(first.Start) {
		t.Errorf("spans %+v from %v and %+v from %v, want two of one trace, one after the other", first.Trace, first.Start, last.Trace, last.Start)
	}
}

// TestClientThatLeavesClosesNoCircuit: that somebody has not waited for an answer says nothing about the provider.
func TestClientThatLeavesClosesNoCircuit(t *testing.T) {
	config := CreateConfig()
	config.Host = "first.example"
	config.Fallbacks = []Fallback{{Host: "second.example"}}
	m, _, transport := fallingBack(t, config)
	chat(context.Background(), m)
	chat(context.Background(), m)
	gone, leave := context.WithCancel(context.Background())
	leave()
	transport.err = context.Canceled
	chat(gone, m)
	if got := m.policy.circuit.failures; got != 2 {
		t.Errorf("%d failures in a row, want 2", got)
	}
}
