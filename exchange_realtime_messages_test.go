package chatcompletion

import (
	"bytes"
	"io"
	"runtime"
	"strings"
	"testing"
)

// discardConnection is a connection to which anything can be written.
type discardConnection struct{ io.Writer }

func (discardConnection) Close() error { return nil }

// newRestrictedSession returns what reads the messages of a client that may use one model, and the tunnel.
func newRestrictedSession() (*exchange, *tunnel, *clientMessages, *bytes.Buffer) {
	sent := &bytes.Buffer{}
	t := &tunnel{}
	t.rules = []*sessionRules{{models: &modelRules{model: "gpt-realtime"}}}
	t.client = &tunnelEnd{connection: discardConnection{io.Discard}, isBetween: true}
	t.provider = &tunnelEnd{connection: discardConnection{sent}, isBetween: true, masked: true}
	x := &exchange{decision: &decision{model: []string{"gpt-realtime"}, requestedModel: "gpt-realtime"}}
	return x, t, newClientMessages(x, t), sent
}

// fragment returns a frame of a message that goes on.
func fragment(opcode byte, payload string) []byte {
	frame := newFrame(opcode, []byte(payload), true)
	frame[0] &^= finalBit
	return frame
}

// TestFragmentsOfClientsAreBounded sends fragments without content, whose frames are more than what is held of a message.
func TestFragmentsOfClientsAreBounded(t *testing.T) {
	x, tunnel, c, sent := newRestrictedSession()
	takeClientBytes(x, tunnel, c, fragment(textOpcode, `{"type":"x"`))
	empty := bytes.Repeat(fragment(continuationOpcode, ""), 4<<10)
	for i := 0; i < 150; i++ {
		takeClientBytes(x, tunnel, c, empty)
		if len(c.held) > heldMaxBytes+len(empty) {
			t.Fatalf("%d bytes are held, want at most %d", len(c.held), heldMaxBytes)
		}
	}
	if isRefused(tunnel) || sent.Len() == 0 {
		t.Errorf("refused %t, %d bytes sent", isRefused(tunnel), sent.Len())
	}
	takeClientBytes(x, tunnel, c, fragment(continuationOpcode, `,"mo`))
	takeClientBytes(x, tunnel, c, empty)
	takeClientBytes(x, tunnel, c, newFrame(continuationOpcode, []byte(`del":"gpt-5"}`), true))
	if !isRefused(tunnel) || strings.Contains(sent.String(), "gpt-5") {
		t.Error("a model passes after fragments without content")
	}
}

// TestShortPacketsOfLongMessagesAreCheap sends a message that is held in short packets.
func TestShortPacketsOfLongMessagesAreCheap(t *testing.T) {
	x, tunnel, c, sent := newRestrictedSession()
	message := newFrame(textOpcode, []byte(`{"audio":"`+strings.Repeat("A", sessionMessageMaxBytes-100)+`"}`), true)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for rest := message; len(rest) > 0; {
		n := 200
		if n > len(rest) {
			n = len(rest)
		}
		takeClientBytes(x, tunnel, c, rest[:n])
		rest = rest[n:]
	}
	runtime.ReadMemStats(&after)
	if got, want := after.TotalAlloc-before.TotalAlloc, uint64(40*len(message)); got > want {
		t.Errorf("%d bytes allocated, want at most %d", got, want)
	}
	if sent.Len() != len(message) {
		t.Errorf("%d bytes sent, want %d", sent.Len(), len(message))
	}
}
