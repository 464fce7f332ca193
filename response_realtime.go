package chatcompletion

import (
	"bytes"
	"encoding/json"
)

// realtimeMessageMaxBytes bounds a message of a provider that is read. Those with a usage are smaller.
const realtimeMessageMaxBytes = 4 << 20

// realtimeReader reads the messages of a provider at a realtime endpoint, as far as the record needs them.
type realtimeReader struct {
	record     *Response
	wantsParts bool   // of the usage, for costs
	message    []byte // a message that has arrived in part
	isTooLarge bool   // the message is too large to be read

	isResponding bool   // a response has begun, and its usage has not arrived
	events       int64  // messages since then
	input        int64  // tokens of the last response
	closing      []byte // the payload of the provider's close frame, as far as it has arrived
	closeCode    int    // of the provider's close frame; 0: there was none
	last         *Usage // of the response that has just ended; nil: none has
	lastParts    usageParts
}

// Marks of the types of events that are read. They may also stand in a text, so that events are decoded.
var (
	responseDoneMark    = []byte(`"response.done"`)
	responseCreatedMark = []byte(`"response.created"`)
	sessionCreatedMark  = []byte(`"session.created"`)
)

// Types of events of a realtime API.
const (
	responseDone    = "response.done"
	responseCreated = "response.created"
	sessionCreated  = "session.created"
)

// realtimeEvent is what is read of an event.
type realtimeEvent struct {
	Type    string `json:"type"`
	Session struct {
		Model string `json:"model"`
	} `json:"session"`
	Response struct {
		ID    string          `json:"id"`
		Usage json.RawMessage `json:"usage"`
	} `json:"response"`
}

// realtimeDetails are the parts of the usage of a response.
type realtimeDetails struct {
	Input struct {
		CachedTokens float64 `json:"cached_tokens"`
		AudioTokens  float64 `json:"audio_tokens"`
		Cached       struct {
			AudioTokens float64 `json:"audio_tokens"`
		} `json:"cached_tokens_details"`
	} `json:"input_token_details"`
	Output struct {
		AudioTokens     float64 `json:"audio_tokens"`
		ReasoningTokens float64 `json:"reasoning_tokens"`
	} `json:"output_token_details"`
}

// readRealtimePiece reads a piece of the frames of a provider. After the end of a response, r.last is
// set.
func readRealtimePiece(r *realtimeReader, f *frames) {
	r.last = nil
	switch {
	case f.opcode == closeOpcode:
		if r.closing = append(r.closing, f.payload...); f.ended {
			r.closeCode = closeCode(r.closing)
		}
	case isControl(f):
	case f.ended && f.final && f.header != nil && f.opcode != continuationOpcode:
		readRealtimeMessage(r, f.payload)
	default:
		readRealtimePart(r, f)
	}
}

// readRealtimePart reads a part of a message that arrives in several.
func readRealtimePart(r *realtimeReader, f *frames) {
	if len(r.message)+len(f.payload) > realtimeMessageMaxBytes {
		r.isTooLarge = true
	} else {
		r.message = append(r.message, f.payload...)
	}
	if !f.ended || !f.final {
		return
	}
	message := r.message
	r.message = nil
	if !r.isTooLarge {
		readRealtimeMessage(r, message)
	}
	r.isTooLarge = false
}

// readRealtimeMessage reads a whole message.
func readRealtimeMessage(r *realtimeReader, message []byte) {
	if r.isResponding {
		r.events++
	}
	if !bytes.Contains(message, responseDoneMark) && !bytes.Contains(message, responseCreatedMark) && !bytes.Contains(message, sessionCreatedMark) {
		return
	}
	event := &realtimeEvent{}
	_ = json.Unmarshal(message, event) // a member of another type does not keep the others from being read
	switch event.Type {
	case sessionCreated:
		r.record.Model = firstLabel(event.Session.Model, r.record.Model)
	case responseCreated:
		r.isResponding = true
		r.events = 0
	case responseDone:
		r.isResponding = false
		r.record.ID = firstLabel(event.Response.ID, r.record.ID)
		readRealtimeUsage(r, event.Response.Usage)
	}
}

// readRealtimeUsage reads the usage of a response, and adds it to that of the connection.
func readRealtimeUsage(r *realtimeReader, value json.RawMessage) {
	if len(value) == 0 || value[0] != '{' {
		return
	}
	members, details := &usageMembers{}, &realtimeDetails{}
	_ = json.Unmarshal(value, members)
	_ = json.Unmarshal(value, details)
	counts := readCounts(realtime, members)
	if counts.input < 0 || counts.output < 0 {
		return
	}
	u := &Usage{InputKnown: true, OutputKnown: true, InputTokens: int64(counts.input), OutputTokens: int64(counts.output)}
	in, out := &details.Input, &details.Output
	takeUsageDetails(u, &usageDetails{CachedTokens: in.CachedTokens}, &usageDetails{ReasoningTokens: out.ReasoningTokens})
	r.lastParts = usageParts{}
	if r.wantsParts {
		recordUsageParts(&r.lastParts, members)
		setCount(&r.lastParts.inputAudio, in.AudioTokens-in.Cached.AudioTokens) // cached audio is in the cached tokens
		setCount(&r.lastParts.outputAudio, out.AudioTokens)
		takeUncommonParts(&r.lastParts, u)
	}
	r.input = u.InputTokens
	r.last = u
	addRealtimeUsage(&r.record.Usage, u)
}

// addRealtimeUsage adds the usage of a response to that of its connection.
func addRealtimeUsage(sum, u *Usage) {
	sum.InputKnown = true
	sum.OutputKnown = true
	sum.InputTokens += u.InputTokens
	sum.OutputTokens += u.OutputTokens
	sum.CacheReadInputTokens += u.CacheReadInputTokens
	sum.CacheCreationInputTokens += u.CacheCreationInputTokens
	sum.ReasoningOutputTokens += u.ReasoningOutputTokens
	sum.InputAudioTokens += u.InputAudioTokens
	sum.OutputAudioTokens += u.OutputAudioTokens
}
