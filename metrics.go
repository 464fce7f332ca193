package chatcompletion

// Sink receives the record of every call.
//
// Consume is called once for each call, when the call has ended, and from many goroutines at the same time. It must
// return at once: what takes longer belongs into a goroutine with a bounded queue, and what does not fit into the queue is
// counted with lose. A sink may keep the call, but not change it.
type Sink interface {
	Consume(call *Call)
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
