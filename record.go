package chatcompletion

import "time"

// Call is the record of one request that reached a governed endpoint, made when it has ended, however it ended.
type Call struct {
	// Target is what was called; all calls of one endpoint of a middleware at one provider share it.
	Target *Target
	// Start is when the request arrived.
	Start time.Time
	// Duration is the time from Start until the answer ended.
	Duration time.Duration
	// GatewayDuration is the time that the middleware had the request before it handed it on: reading the body and
	// deciding. Of a refused request, it is the whole Duration.
	GatewayDuration time.Duration
	// FirstChunk is the time from Start until the first event of a stream, 0 if there was none.
	FirstChunk time.Duration
	// Chunks are the times between the events of a stream; nil if there were fewer than two.
	Chunks *ChunkTimes

	// Request is what the provider was asked for; all calls of one form share it.
	Request *Request
	// Answer is what the provider answered.
	Response Response
	// Status is that of the answer.
	Status int
	// ErrorType is error.type: empty for a call that ended as it should, else one of a few values that the reference lists.
	ErrorType string
	// Labels are names and values of the configured labels by turns. A label without a value is not there.
	Labels []string
	// Trace is the call's place in a trace; nil if no span is to be made of it.
	Trace *Trace
	// Input is the request's messages, if the configuration asks for content: JSON as the conventions have it, truncated.
	Input []byte
}

// Target is what the records of all calls of one endpoint of a middleware at one provider have in common.
type Target struct {
	// Operation is gen_ai.operation.name.
	Operation string
	// Provider is gen_ai.provider.name.
	Provider string
	// ServerAddress is server.address, the provider's host; empty: Traefik's service knows it, the middleware does not.
	ServerAddress string
	// ServerPort is server.port; empty: as ServerAddress.
	ServerPort string
	// MaxSeries is Telemetry.MaxSeries.
	MaxSeries int

	key string // the attributes above, for the registry
}

// Request is what the provider was asked for.
type Request struct {
	// Model is the model's name, empty if none was decided.
	Model string
	// ConfiguredModel tells that the name is written in the configuration, and no client made it up.
	ConfiguredModel bool
	// Stream tells whether the client asked for a stream.
	Stream bool
	// Parameters are those that a span shows, as the provider got them; none if no sink asks for details.
	Parameters []Parameter
	// Policy is what was decided, as X-Ai-Policy has it.
	Policy string
	// Report tells that it was only decided, and nothing done: the middleware is in report mode.
	ReportOnly bool
}

// Response is what is known of a provider's answer.
type Response struct {
	// Model is the model that it names.
	Model string
	// Usage is what it says that the call used.
	Usage Usage
	// ID is its id, and FinishReasons why its choices ended; neither is read if no sink asks for details.
	ID            string
	FinishReasons []string
	// Content is the text of its choices, if the configuration asks for content: JSON as the conventions have it, truncated.
	Content []byte

	details *smallResponse // of which fillDetails takes the rest; nil: nothing is left to take
}

// Usage is what a call used, in tokens. Cached input is part of the input, reasoning part of the output.
type Usage struct {
	// Known tells whether the provider reported usage at all. What cannot be known is not reported as 0.
	Known bool
	// InputOnly tells that there is no output, as with embeddings. That is not reported as 0 either.
	InputOnly                bool
	InputTokens              int64
	OutputTokens             int64
	CacheReadInputTokens     int64
	CacheCreationInputTokens int64
	ReasoningOutputTokens    int64
}

// ChunkTimes is a histogram of the times between the events of a stream, with the bounds of chunkTime.
type ChunkTimes struct {
	Counts []int64
	Sum    time.Duration
}

// Parameter is a parameter of a request by its name in the GenAI semantic conventions, with its value as JSON.
type Parameter struct {
	Name  string
	Value string
}

// Trace is the place of a call in a trace, as W3C Trace Context writes it: ids in lower-case hexadecimal digits.
type Trace struct {
	TraceID string
	SpanID  string
	// ParentID is empty for the first span of a trace.
	ParentID string
	// State is the value of the tracestate header.
	State string
}

// other stands for every value that is not known, or one too many.
const other = "_OTHER"

// Values of gen_ai.operation.name. OpenAI's Responses API is chat, too.
const (
	chatOperation        = "chat"
	embeddingsOperation  = "embeddings"
	passthroughOperation = "passthrough" // of any other endpoint whose model is governed
)

// Values of error.type, beside the provider's status codes and the codes of refusals.
const (
	errorClientGone       = "client_gone"       // the client left before the answer was complete
	errorProviderCut      = "provider_cut"      // the answer broke off
	errorErrorEvent       = "error_event"       // the answer says that it is an error, after a status of 200
	errorTimeout          = "timeout"           // Traefik's patience with the provider or the client ended
	errorConnectionFailed = "connection_failed" // Traefik could not reach the provider
)

// Values of error.type, and codes of errors, of answers that end at a bound.
const (
	errorStreamTimeout    = "stream_timeout"
	errorResponseTooLarge = "response_too_large"
)

// errorPanic is the error.type of a call that a fault of this code has ended, or one of the code behind it.
const errorPanic = "panic"

// reportDecision stands before what would have been decided.
const reportDecision = "mode=report"

// Values of Config.Mode.
const (
	modeEnforce = "enforce"
	modeReport  = "report"
)
