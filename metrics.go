package chatcompletion

import "time"

// Sink receives the record of every call.
//
// Consume is called once for each call, when the call has ended, and from many goroutines at the same time. It must
// return at once: what takes longer belongs into a goroutine with a bounded queue, and what does not fit into the queue is
// counted with lose. A sink may keep the call, but not change it.
type Sink interface {
	Consume(call *Call)
}

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

	kind         kind     // of the endpoint
	stream       bool     // it is an event stream
	wantsDetails bool     // id, finish reasons and all of the usage are wanted
	partial      int      // how many bytes of an event have been looked at without its end
	events       int      // how many events with data have come
	finished     bool     // a choice has ended, or all of the last event of a response has come
	ending       string   // the type of that event, once its beginning has come
	done         bool     // [DONE] has come
	failed       bool     // it says that it is an error
	capture      *capture // nil: no content is wanted

	small *smallResponse // what fillDetails has to look at yet; nil: nothing
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

// instrument is one metric of the OpenTelemetry GenAI semantic conventions, or of our own.
type instrument struct {
	name        string
	description string
	unit        string
	bounds      []float64 // of a histogram's buckets, each inclusive; nil: it is none
	isGauge     bool      // without bounds: it goes up and down; else it is a counter
}

// The instruments. Names, units and bounds are those of the conventions, the bounds of time_to_first_chunk extended by
// 20, 40 and 60 s: a reasoning model thinks before it writes.
var (
	tokenUsage = &instrument{"gen_ai.client.token.usage", "Number of input and output tokens used.", "{token}",
		[]float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}, false}
	operationDuration = &instrument{"gen_ai.client.operation.duration", "Duration of the call, from the request's arrival to the answer's end.", "s",
		[]float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}, false}
	timeToFirstChunk = &instrument{"gen_ai.client.operation.time_to_first_chunk", "Time from the request's arrival to the first event of a stream.", "s",
		[]float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 60}, false}
	chunkTime = &instrument{"gen_ai.client.operation.time_per_output_chunk", "Time between two events of a stream.", "s",
		[]float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}, false}
	gatewayDuration = &instrument{"chat_completion.gateway.duration", "Time that the middleware had the request before it handed it on.", "s",
		[]float64{0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}, false}
	policyDecisions  = &instrument{"chat_completion.policy.decisions", "Decisions on requests, as X-Ai-Policy names them.", "{decision}", nil, false}
	telemetryDropped = &instrument{"chat_completion.telemetry.dropped", "Telemetry that was lost.", "{record}", nil, false}
	activeStreams    = &instrument{"chat_completion.active_streams", "Event streams that are open.", "{stream}", nil, true}
)

// Attributes of the instruments and of spans.
const (
	operationAttribute     = "gen_ai.operation.name"
	providerAttribute      = "gen_ai.provider.name"
	requestModelAttribute  = "gen_ai.request.model"
	responseModelAttribute = "gen_ai.response.model"
	tokenTypeAttribute     = "gen_ai.token.type"
	errorTypeAttribute     = "error.type"
	serverAddressAttribute = "server.address"
	serverPortAttribute    = "server.port"
	decisionAttribute      = "chat_completion.decision"
	modeAttribute          = "chat_completion.mode"
	recordAttribute        = "chat_completion.record"
)

// Values of gen_ai.operation.name. OpenAI's Responses API is chat, too.
const (
	chatOperation        = "chat"
	embeddingsOperation  = "embeddings"
	passthroughOperation = "passthrough" // of any other endpoint whose model is governed
)

// other stands for every value that is not known, or one too many.
const other = "_OTHER"

// metric is the state of an instrument, for a sink that publishes it.
type metric struct {
	instrument *instrument
	points     []point
}

// point is the state of an instrument for one set of attributes, since the registry began.
type point struct {
	attributes []string // names and values by turns
	counts     []int64  // of a histogram: how many values each bucket has, the last one those above all bounds
	count      int64    // how many values there were; of a counter: its value
	sum        float64  // of the values
}
