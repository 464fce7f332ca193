package chatcompletion

import (
	"encoding/json"
	"regexp"
	"strings"
)

// eventProtocol is a row of the table of protocols that responses are read in.
type eventProtocol struct {
	name        string
	eventPrefix string       // of the types of its events; empty: its events have no type
	lastEvents  []string     // types of the events that end a stream well, in addition to [DONE] and finish reasons
	failedEvent string       // type of the event that ends a stream with an error, in addition to error; empty: none
	usagePlaces []usagePlace // where its usage is; the first of them that has one counts
	splitsUsage bool         // its places report different counts of one usage
	isFinal     bool         // nothing after the last event counts
}

// usagePlace is where in an event or a response a usage is.
type usagePlace int

const (
	atTop      usagePlace = iota // usage
	inChoices                    // choices[].usage
	inXGroq                      // x_groq.usage
	inResponse                   // response.usage
	inMessage                    // message.usage
	inDelta                      // delta.usage
)

// eventProtocols are all protocols. In each of them, a count is that of the response so far: a later one
// replaces an earlier one. The first row is that of events without a type or with any other, and of
// responses without events, which in every protocol have the usage at the top.
var eventProtocols = []eventProtocol{
	{name: "OpenAI Chat Completions and Completions", usagePlaces: []usagePlace{atTop, inChoices, inXGroq}},
	{
		name: "OpenAI Responses", eventPrefix: "response.", usagePlaces: []usagePlace{inResponse}, isFinal: true, failedEvent: "response.failed",
		lastEvents: []string{"response.completed", "response.incomplete", "response.cancelled", "response.done"},
	},
	{name: "Anthropic Messages", eventPrefix: "message_", usagePlaces: []usagePlace{inMessage, atTop}, splitsUsage: true, lastEvents: []string{"message_stop"}},
	{name: "Cohere Chat v2", eventPrefix: "message-", usagePlaces: []usagePlace{inDelta}, lastEvents: []string{"message-end"}},
	{name: "OpenAI Images", eventPrefix: "image_", usagePlaces: []usagePlace{atTop}, lastEvents: []string{"image_generation.completed", "image_edit.completed"}},
	{name: "OpenAI Speech", eventPrefix: "speech.", usagePlaces: []usagePlace{atTop}, lastEvents: []string{"speech.audio.done"}, failedEvent: "speech.audio.error"},
	{name: "OpenAI Transcriptions", eventPrefix: "transcript.", usagePlaces: []usagePlace{atTop}, lastEvents: []string{"transcript.text.done"}},
}

// errorValue is the type of an event, the value of object, and the finish reason that mean an error in
// every protocol.
const errorValue = "error"

// failedStatus is the status of a response of the Responses API that failed.
const failedStatus = "failed"

// lastEventTypes matches the types of the events that end a stream in any protocol. It repeats the
// table, from which Yaegi could not make it at this place (traefik/yaegi#1585); a test compares them.
const lastEventTypes = `(?:error|response\.(?:completed|incomplete|cancelled|done|failed)|message_stop|message-end|` +
	`image_generation\.completed|image_edit\.completed|speech\.audio\.(?:done|error)|transcript\.text\.done)`

// responseMembers are the members of a response, or of an event, that are read in any protocol.
type responseMembers struct {
	Type         string          `json:"type"`
	Object       string          `json:"object"`
	ID           string          `json:"id"`
	Model        string          `json:"model"`
	Status       string          `json:"status"`
	StopReason   string          `json:"stop_reason"`
	FinishReason string          `json:"finish_reason"`
	ServiceTier  string          `json:"service_tier"`
	Duration     json.RawMessage `json:"duration"` // of audio, in seconds
	Usage        json.RawMessage `json:"usage"`
	Error        json.RawMessage `json:"error"`
	// Choices is not a slice, which a provider could fill with a million choices.
	Choices  [maxChoices]*choiceMembers `json:"choices"`
	XGroq    nestedMembers              `json:"x_groq"`
	Response nestedMembers              `json:"response"`
	Message  nestedMembers              `json:"message"`
	Delta    nestedMembers              `json:"delta"`
}

// nestedMembers are the members that are read of a member of an event. They are not embedded in
// responseMembers: encoding/json does not fill the embedded structs of interpreted code.
type nestedMembers struct {
	ID         string `json:"id"`
	Model      string `json:"model"`
	Status     string `json:"status"`
	StopReason string `json:"stop_reason"`
	// FinishReason is Cohere's.
	FinishReason string          `json:"finish_reason"`
	ServiceTier  string          `json:"service_tier"`
	Usage        json.RawMessage `json:"usage"`
	Error        json.RawMessage `json:"error"`
}

// choiceMembers are the members that are read of a choice.
type choiceMembers struct {
	Index        *int            `json:"index"`
	FinishReason string          `json:"finish_reason"`
	Usage        json.RawMessage `json:"usage"`
	Error        json.RawMessage `json:"error"`
}

// unmarshalMembers reads the members of a JSON object, and reports whether the text is JSON. A member
// of another type than expected, as providers have invented many, does not keep the rest from being
// read.
func unmarshalMembers(text []byte, members *responseMembers) bool {
	err := json.Unmarshal(text, members)
	_, isType := err.(*json.UnmarshalTypeError)
	return err == nil || isType
}

// eventProtocolOf returns the protocol that has events of a type: the first one if no other has.
func eventProtocolOf(eventType string) *eventProtocol {
	if eventType != "" {
		for i := 1; i < len(eventProtocols); i++ {
			if strings.HasPrefix(eventType, eventProtocols[i].eventPrefix) {
				return &eventProtocols[i]
			}
		}
	}
	return &eventProtocols[0]
}

// recordMembers records what the members of a whole response, or of one event, say about the response.
// A response without events is of the first protocol.
func recordMembers(reader *responseReader, p *eventProtocol, members *responseMembers) {
	if reader.closed {
		return
	}
	if reader.record.Model == "" || (reader.wantsDetails && reader.record.ID == "") {
		recordIdentity(reader, p, members)
	}
	recordUsage(reader, p, members)
	if reader.wantsParts {
		recordCostMembers(reader, p, members)
	}
	recordChoices(reader, members)
	if isFailed(reader, p, members) {
		reader.failed = true
	}
	if members.Type != "" {
		recordLastEvent(reader, p, members)
	}
	if reader.wantsDetails {
		recordFinishReasons(reader.record, members.StopReason, members.FinishReason)
		if members.Type != "" {
			recordFinishReasons(reader.record, members.Delta.StopReason, members.Delta.FinishReason)
		}
	}
}

// recordIdentity records the model and the id, which are at the top, or in the response or message that
// an event is about.
func recordIdentity(reader *responseReader, p *eventProtocol, members *responseMembers) {
	resp := reader.record
	model, id := members.Model, members.ID
	for _, at := range p.usagePlaces {
		if at == inResponse || at == inMessage {
			nested := nestedAt(members, at)
			model = firstLabel(model, nested.Model)
			id = firstLabel(id, nested.ID)
		}
	}
	resp.Model = firstLabel(resp.Model, model)
	if reader.wantsDetails {
		resp.ID = firstLabel(resp.ID, id)
	}
}

// nestedAt returns the members at a place; nil: it is not one of those with members.
func nestedAt(members *responseMembers, at usagePlace) *nestedMembers {
	switch at {
	case inXGroq:
		return &members.XGroq
	case inResponse:
		return &members.Response
	case inMessage:
		return &members.Message
	case inDelta:
		return &members.Delta
	}
	return nil
}

// firstLabel returns the first text that is not empty and is valid in telemetry; "" if there is
// none.
func firstLabel(texts ...string) string {
	for _, text := range texts {
		if text != "" && isModelName(text) {
			return text
		}
	}
	return ""
}

// recordChoices records how the choices have ended. A later event without a finish reason does not take
// back an earlier one.
func recordChoices(reader *responseReader, members *responseMembers) {
	for i := 0; i < len(members.Choices) && members.Choices[i] != nil; i++ {
		c := members.Choices[i]
		if isErrorReason(c.FinishReason) || !emptyValue.Match(c.Error) {
			reader.failed = true
		}
		if c.FinishReason != "" && c.FinishReason != nullText {
			reader.finished = true
			if reader.wantsDetails {
				recordFinishReason(reader, c, i)
			}
		}
	}
}

// recordFinishReason records the finish reason of a choice once: some providers repeat it with every
// event. place is the choice's in the event.
func recordFinishReason(reader *responseReader, c *choiceMembers, place int) {
	if c.Index != nil && *c.Index >= 0 && *c.Index < maxChoices {
		place = *c.Index
	}
	if !reader.endedChoices[place] {
		reader.endedChoices[place] = true
		recordFinishReasons(reader.record, c.FinishReason)
	}
}

// recordFinishReasons records those reasons that are not empty and are valid in telemetry.
func recordFinishReasons(resp *Response, reasons ...string) {
	for _, reason := range reasons {
		if reason != "" && isModelName(reason) && len(resp.FinishReasons) < maxFinishReasons {
			resp.FinishReasons = append(resp.FinishReasons, reason)
		}
	}
}

// emptyValue matches the values that mean that a member is not there; an error, for example.
var emptyValue = regexp.MustCompile(`^(?:null|false|0|""|\{\s*\}|\[\s*\])?$`)

// isFailed reports whether a response or an event says that it is an error, as some providers do
// after a status of 200. Errors are where usage is.
func isFailed(reader *responseReader, p *eventProtocol, members *responseMembers) bool {
	for _, at := range p.usagePlaces {
		if nested := nestedAt(members, at); nested != nil && !emptyValue.Match(nested.Error) {
			return true
		}
	}
	return isFailedEvent(p, members.Type) || members.Object == errorValue || !emptyValue.Match(members.Error) ||
		isErrorReason(members.FinishReason) || isErrorReason(members.Delta.FinishReason) ||
		members.Response.Status == failedStatus || (members.Status == failedStatus && isResponseObject(reader, members))
}

// isErrorReason reports whether a finish reason is an error.
func isErrorReason(reason string) bool {
	return strings.EqualFold(reason, errorValue)
}

// isResponseObject reports whether members are those of a response of the Responses API.
func isResponseObject(reader *responseReader, members *responseMembers) bool {
	return reader.kind == responses || members.Object == "response"
}

// isFailedEvent reports whether an event of a type ends a stream with an error.
func isFailedEvent(p *eventProtocol, eventType string) bool {
	return eventType == errorValue || (p.failedEvent != "" && eventType == p.failedEvent)
}

// recordLastEvent records whether an event is the last one of its stream.
func recordLastEvent(reader *responseReader, p *eventProtocol, members *responseMembers) {
	isLast := isFailedEvent(p, members.Type)
	for _, last := range p.lastEvents {
		isLast = isLast || members.Type == last
	}
	if !isLast {
		return
	}
	reader.ended = true
	reader.closed = p.isFinal
	if reader.wantsDetails {
		recordFinishReasons(reader.record, members.Response.Status)
	}
}
