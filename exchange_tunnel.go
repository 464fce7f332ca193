package chatcompletion

import (
	"io"
	"sync"
	"time"
)

// tunnel is the WebSocket of a realtime exchange, between the client and the provider. It is filled when
// both have agreed to it.
type tunnel struct {
	rules       []*sessionRules // of each instance
	maxDuration time.Duration   // 0: unlimited
	client      *tunnelEnd
	provider    *tunnelEnd
	reader      *realtimeReader // of the goroutine that reads the provider

	mu           sync.Mutex
	refusal      *apiError // why the middleware has ended it; nil: it has not
	ending       string    // how it ended first: closedByClient, closedByProvider, or an error.type; empty: it has not
	isResponding bool      // a response is under way
	hasLeft      bool      // the client sends nothing any more
	awaitsUsage  bool      // the client has left while a response was under way
	hasEnded     bool      // the provider sends nothing any more

	cost        int64  // of the responses so far
	costSource  string // empty: no response has a cost
	unknownCost string // why the cost of a response is unknown; empty: it is not
}

// Endings of a WebSocket without an error.
const (
	closedByClient   = "closed by the client"
	closedByProvider = "closed by the provider"
)

// tunnelEnd is one of the two connections of a tunnel, as far as it is written to.
type tunnelEnd struct {
	connection io.WriteCloser
	masked     bool // frames of the middleware's own are masked: it is the client there

	mu        sync.Mutex
	isBetween bool   // what was written ends with a whole frame
	inMessage bool   // the frames so far do not end a message
	isClosed  bool   // a close frame was written
	pending   []byte // a close frame to be written after the present frame; nil: there is none
}

// writeFrames writes bytes to an end. isBetween and inMessage are its state afterwards.
func writeFrames(end *tunnelEnd, out []byte, isBetween, inMessage bool) {
	first := -1
	if isBetween {
		first = len(out)
	}
	writeChunk(end, out, first, isBetween, inMessage)
}

// writeChunk is writeFrames for bytes of which the first whole frame ends at a place; -1: none does.
func writeChunk(end *tunnelEnd, out []byte, first int, isBetween, inMessage bool) {
	end.mu.Lock()
	defer end.mu.Unlock()
	switch {
	case end.isClosed:
	case end.pending != nil && first >= 0:
		writeWhole(end, append(append([]byte(nil), out[:first]...), end.pending...))
		end.isClosed = true
	default:
		if len(out) > 0 {
			_, _ = end.connection.Write(out) // if it fails, so does reading
		}
		end.isBetween = isBetween
		end.inMessage = inMessage
	}
}

// writeWhole writes frames to an end whose lock the caller holds.
func writeWhole(end *tunnelEnd, out []byte) {
	if !end.isClosed {
		_, _ = end.connection.Write(out)
	}
}

// markClosed marks an end to which a close frame was forwarded.
func markClosed(end *tunnelEnd) {
	end.mu.Lock()
	end.isClosed = true
	end.mu.Unlock()
}

// closeEnd writes a message, nil if there is none, and a close frame to an end, as soon as its present frame
// has ended.
func closeEnd(end *tunnelEnd, message, frame []byte) {
	end.mu.Lock()
	defer end.mu.Unlock()
	switch {
	case end.isClosed || end.pending != nil:
	case !end.isBetween:
		end.pending = frame
	default:
		if !end.inMessage {
			frame = append(append([]byte(nil), message...), frame...)
		}
		writeWhole(end, frame)
		end.isClosed = true
	}
}

// noteEnd notes how a tunnel ends. The first ending counts.
func noteEnd(t *tunnel, ending string) {
	t.mu.Lock()
	if t.ending == "" {
		t.ending = ending
	}
	t.mu.Unlock()
}

// isRefused reports whether the middleware has ended a tunnel.
func isRefused(t *tunnel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refusal != nil
}

// isLeft reports whether the client has left a tunnel.
func isLeft(t *tunnel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.hasLeft
}

// awaitsUsage reports whether nothing but the usage of a response is awaited.
func awaitsUsage(t *tunnel) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.awaitsUsage
}

// refuseTunnel ends a tunnel for a reason. Both ends get it in a close frame, and have closeWait to read that.
func refuseTunnel(t *tunnel, apiErr *apiError) {
	t.mu.Lock()
	isFirst := t.refusal == nil
	if isFirst {
		t.refusal = apiErr
	}
	t.mu.Unlock()
	if !isFirst {
		return
	}
	closeLater(t, closeWait)
	code := closePolicy
	if apiErr.code == invalidFrames().code {
		code = closeProtocol
	}
	event := `{"type":"error","event_id":"event_gateway",` + string(errorBody(openAIErrors, apiErr))[1:]
	closeEnd(t.client, newFrame(textOpcode, []byte(event), false), closeFrame(code, apiErr.message, false))
	closeEnd(t.provider, nil, closeFrame(code, apiErr.message, true))
}

// closeLater closes both connections after a time.
func closeLater(t *tunnel, wait time.Duration) {
	time.AfterFunc(wait, func() {
		defer recoverGoroutine("realtime")
		closeTunnel(t)
	})
}

// closeTunnel closes both connections.
func closeTunnel(t *tunnel) {
	_ = t.client.connection.Close()
	_ = t.provider.connection.Close()
}

// cancelEvent has a provider end its response, and report what it used.
var cancelEvent = []byte(`{"type":"response.cancel"}`)

// leaveProvider ends the connection to the provider after the client has sent its last. While a response is
// under way, the provider is requested to cancel it, so that its usage is known.
func leaveProvider(t *tunnel) {
	t.mu.Lock()
	t.hasLeft = true
	isRefused, hasEnded := t.refusal != nil, t.hasEnded
	isResponding := t.isResponding && !isRefused
	t.awaitsUsage = isResponding
	t.mu.Unlock()
	end := t.provider
	switch {
	case hasEnded:
		closeTunnel(t)
	case isRefused: // whoever has refused it, closes it
	case isResponding:
		end.mu.Lock()
		if end.isBetween && !end.inMessage {
			writeWhole(end, newFrame(textOpcode, cancelEvent, true))
		}
		end.mu.Unlock()
		closeLater(t, cancelWait)
	default:
		closeEnd(end, nil, closeFrame(closeGoingAway, "", true))
		closeLater(t, closeWait)
	}
}

// leaveClient ends the connection to the client after the provider has sent its last.
func leaveClient(t *tunnel) {
	t.mu.Lock()
	t.hasEnded = true
	isOver := t.hasLeft || (t.refusal == nil && t.reader.closeCode == 0)
	t.mu.Unlock()
	if isOver {
		if t.reader.closeCode == 0 {
			closeEnd(t.provider, nil, closeFrame(closeGoingAway, "", true))
		}
		closeTunnel(t)
		return
	}
	_ = t.provider.connection.Close()
	closeLater(t, closeWait) // the client has a close frame to respond to
}
