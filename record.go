package chatcompletion

import "time"

// Call is the record of one exchange: a request to a governed endpoint, refused or forwarded to a
// provider. It is published when the exchange has ended, however it ended. An attempt that a
// fallback follows has a record as well.
type Call struct {
	// Target is the endpoint and its provider. All calls of one endpoint of an instance to one
	// provider share it.
	Target *Target
	// Start is when the request arrived, or when the attempt began that a fallback serves.
	Start time.Time
	// Duration is the time from Start until the response ended.
	Duration time.Duration
	// GatewayDuration is the time from Start until the request was forwarded: reading the body and
	// deciding. It equals Duration if the request was refused.
	GatewayDuration time.Duration
	// FirstChunk is the time from Start until the first event of a stream. It is 0 if there was
	// none.
	FirstChunk time.Duration
	// Chunks are the times between the events of a stream. It is nil with fewer than two events.
	Chunks *ChunkTimes

	// Request describes the request to the provider. All calls with the same decision share it.
	Request *Request
	// Response describes the response of the provider.
	Response Response
	// Status is the HTTP status of the response.
	Status int
	// ErrorType is error.type: empty if the call succeeded, else a provider's status code, the code
	// of an API error, or one of the constants of this file.
	ErrorType string
	// Consumer is the name of the consumer that sent the request, and Group that of its group. They
	// are empty if none is known.
	Consumer string
	Group    string
	// Quota is the quota that refused the request, as in X-Ai-Quota. It is empty if none has.
	Quota string
	// Cache is what a cache did with the request: hit, miss or bypass, as in X-Ai-Cache. It is empty if
	// there is no cache. After a hit, no provider was called: Usage is empty, and Cost nothing.
	Cache string
	// Labels are the alternating names and values of the labels: of the consumer and its group, if
	// known, and of those that are configured. A label without a value is left out.
	Labels []string
	// Trace is the call's place in a trace. It is nil if the call has no span.
	Trace *Trace
	// Cost is what the call cost. It is unknown without prices.
	Cost Cost
	// Input is the messages of the request as JSON in the form of the GenAI semantic conventions,
	// truncated. It is empty unless content is captured.
	Input []byte
}

// Target is what all calls of one endpoint of an instance to one provider have in common.
type Target struct {
	// Operation is gen_ai.operation.name.
	Operation string
	// Provider is gen_ai.provider.name.
	Provider string
	// ServerAddress is server.address, the provider's host. It is empty if the router's service is
	// the provider.
	ServerAddress string
	// ServerPort is server.port, empty if ServerAddress is.
	ServerPort string
	// MaxSeries is Telemetry.MaxSeries.
	MaxSeries int

	key        string // all of the above as the registry's key
	readsParts bool   // the parts of a usage are read, and count
}

// Request describes a request to a provider.
type Request struct {
	// Model is the name of the model. It is empty if the decision has none.
	Model string
	// ConfiguredModel reports whether the configuration contains the name, so that no client made
	// it up.
	ConfiguredModel bool
	// Stream reports whether the client requested a stream.
	Stream bool
	// Parameters are the parameters of spans, as the provider received them. It is empty if no sink
	// needs details.
	Parameters []Parameter
	// Policy is the decision, as in X-Ai-Policy.
	Policy string
	// ReportOnly reports whether the decision was not applied, because the instance is in report
	// mode.
	ReportOnly bool
}

// Response describes the response of a provider.
type Response struct {
	// Model is the model that the response names.
	Model string
	// Usage is the usage that the response reports.
	Usage Usage
	// ServiceTier is the service tier that the response names. It is empty without prices.
	ServiceTier string
	// ID is the id of the response, and FinishReasons are the reasons why its choices ended. They
	// are empty if no sink needs details.
	ID            string
	FinishReasons []string
	// Content is the text of the choices as JSON in the form of the GenAI semantic conventions,
	// truncated. It is empty unless content is captured.
	Content []byte

	details *smallResponse // what fillDetails has to fill in; nil: nothing
}

// Usage is what a call used, in tokens. Cached input is part of the input, reasoning part of the
// output.
type Usage struct {
	// InputKnown and OutputKnown report whether the provider reported the count. Embeddings have no
	// output. An unknown count is not reported as 0.
	InputKnown               bool
	OutputKnown              bool
	InputTokens              int64
	OutputTokens             int64
	CacheReadInputTokens     int64
	CacheCreationInputTokens int64
	ReasoningOutputTokens    int64

	// The following counts are 0 without prices. Input that was written to a cache for one hour is
	// part of CacheCreationInputTokens, audio is part of the input and of the output.
	CacheCreation1hInputTokens int64
	InputAudioTokens           int64
	OutputAudioTokens          int64
	// Images are the images that were generated, AudioMilliseconds the audio that was transcribed.
	Images            int64
	AudioMilliseconds int64

	// Estimated reports that quotas were charged an estimate, because the provider did not report a
	// count that they need. The estimate is then in the count that is not known.
	Estimated bool
}

// Cost is what a call cost. Amounts of money are integers: a sum of floats would not be exact.
type Cost struct {
	// Known reports whether the cost is known. An unknown cost is not reported as 0.
	Known bool
	// Picodollars is the cost in units of 1e-12 USD.
	Picodollars int64
	// Source is where the cost is from, one of the constants of this file.
	Source string
}

// Values of Cost.Source.
const (
	costFromTable    = "table"    // of prices
	costFromProvider = "reported" // by the provider, in its response
	costFromCache    = "cache"    // nothing: no provider was called
)

// Values of Call.Cache, in X-Ai-Cache and in metrics.
const (
	cacheHit    = "hit"
	cacheMiss   = "miss"
	cacheBypass = "bypass"
)

// ChunkTimes is a histogram of the times between the events of a stream, with the bounds of
// chunkTime.
type ChunkTimes struct {
	Counts []int64
	Sum    time.Duration
}

// Parameter is a parameter of a request, with its name in the GenAI semantic conventions and its
// value as JSON.
type Parameter struct {
	Name  string
	Value string
}

// Trace is the place of a call in a trace. Ids are in the form of W3C Trace Context: lower-case
// hexadecimal digits.
type Trace struct {
	TraceID string
	SpanID  string
	// ParentID is empty for the first span of a trace.
	ParentID string
	// State is the value of the tracestate header.
	State string
}

// Values of gen_ai.operation.name. OpenAI's Responses API and Anthropic's Messages are chat as well.
const (
	chatOperation        = "chat"
	generateOperation    = "generate_content"
	embeddingsOperation  = "embeddings"
	countOperation       = "count_tokens"
	realtimeOperation    = "realtime"    // not of the conventions: a WebSocket
	passthroughOperation = "passthrough" // of any other endpoint whose model is governed
)

// other replaces values that are unknown, invalid, or beyond the limit of distinct values.
const other = "_OTHER"

// Values of error.type, in addition to the provider's status codes and the codes of API errors.
const (
	errorClientGone       = "client_gone"       // the client disconnected before the end of the response
	errorProviderCut      = "provider_cut"      // the provider's response was truncated
	errorErrorEvent       = "error_event"       // the response contains an error after status 200
	errorTimeout          = "timeout"           // a timeout for the provider or the client expired
	errorConnectionFailed = "connection_failed" // the provider could not be reached
)

// Values of error.type, and codes of API errors, for responses that end at a limit.
const (
	errorStreamTimeout    = "stream_timeout"
	errorResponseTooLarge = "response_too_large"
)

// errorPanic is the error.type of a call that ended with a panic, in the plugin or in a handler
// after it.
const errorPanic = "panic"

// reportDecision is the first element of the policy header in report mode.
const reportDecision = "mode=report"

// Values of Config.Mode.
const (
	modeEnforce = "enforce"
	modeReport  = "report"
)
