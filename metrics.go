package chatcompletion

// Sink receives the record of every call.
//
// Consume is called once per call, when the call has ended, and concurrently from many goroutines.
// It must return at once: longer work belongs in a goroutine with a bounded queue, and countLost
// counts what does not fit in the queue. A sink may keep the call but must not change it.
type Sink interface {
	Consume(call *Call)
}

// instrument is a metric of the OpenTelemetry GenAI semantic conventions or of this plugin.
type instrument struct {
	name        string
	description string
	unit        string
	bounds      []float64 // inclusive upper bounds of a histogram's buckets; nil: not a histogram
	isGauge     bool      // without bounds: a gauge rather than a counter
}

// Values of Telemetry.Semconv: which names of the GenAI semantic conventions are used.
const (
	semconvLegacy = "legacy" // those before version 0.1.0 of the conventions
	semconvV01    = "v0.1"   // those of version 0.1.0
	semconvBoth   = "both"   // of metrics; all else has those before
)

// The instruments of the conventions before version 0.1.0. Names, units and bounds are those of the
// conventions.
var (
	tokenUsage        = &instrument{"gen_ai.client.token.usage", "Number of input and output tokens used.", "{token}", tokenBounds(), false}
	operationDuration = &instrument{"gen_ai.client.operation.duration", "Duration of the call, from the arrival of the request to the end of the response.", "s", durationBounds(), false}
	timeToFirstChunk  = &instrument{"gen_ai.client.operation.time_to_first_chunk", "Time from the arrival of the request to the first event of a stream.", "s", firstChunkBounds(), false}
	chunkTime         = &instrument{"gen_ai.client.operation.time_per_output_chunk", "Time between two events of a stream.", "s", chunkBounds(), false}
)

// The instruments of version 0.1.0 of the conventions, which keeps operationDuration for operations
// that are not inferences.
var (
	inferenceDuration   = &instrument{"gen_ai.client.inference.duration", "Duration of the inference, from the arrival of the request to the end of the response.", "s", durationBounds(), false}
	inferenceFirstChunk = &instrument{"gen_ai.client.inference.time_to_first_chunk", "Time from the arrival of the request to the first event of a stream.", "s", firstChunkBounds(), false}
	inferenceChunkTime  = &instrument{"gen_ai.client.inference.time_per_output_chunk", "Time between two events of a stream.", "s", chunkBounds(), false}
	callInput           = &instrument{"gen_ai.client.inference.operation.input_tokens", "Input tokens of a call.", "{token}", tokenBounds(), false}
	callOutput          = &instrument{"gen_ai.client.inference.operation.output_tokens", "Output tokens of a call.", "{token}", tokenBounds(), false}
	inputTokens         = &instrument{"gen_ai.client.inference.usage.input_tokens", "Input tokens, including those of a cache.", "{token}", nil, false}
	outputTokens        = &instrument{"gen_ai.client.inference.usage.output_tokens", "Output tokens, including reasoning.", "{token}", nil, false}
	cacheReadTokens     = &instrument{"gen_ai.client.inference.usage.cache_read.input_tokens", "Input tokens that the provider read from its cache.", "{token}", nil, false}
	cacheWriteTokens    = &instrument{"gen_ai.client.inference.usage.cache_write.input_tokens", "Input tokens that the provider wrote to its cache.", "{token}", nil, false}
	reasoningTokens     = &instrument{"gen_ai.client.inference.usage.reasoning.output_tokens", "Output tokens of reasoning.", "{token}", nil, false}
)

// Bounds of the instruments above. They are functions, since package variables must not read others
// (traefik/yaegi#1585).

func tokenBounds() []float64 {
	return []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}
}

func durationBounds() []float64 {
	return []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}
}

// firstChunkBounds returns the bounds of the conventions and 20, 40 and 60 s for reasoning models,
// whose first chunk is late.
func firstChunkBounds() []float64 {
	return []float64{0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 60}
}

func chunkBounds() []float64 {
	return []float64{0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5}
}

// The instruments of this plugin.
var (
	gatewayDuration = &instrument{"chat_completion.gateway.duration", "Time from the arrival of the request until the middleware forwarded it.", "s",
		[]float64{0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}, false}
	policyDecisions  = &instrument{"chat_completion.policy.decisions", "Policy decisions on requests, as reported in X-Ai-Policy.", "{decision}", nil, false}
	telemetryDropped = &instrument{"chat_completion.telemetry.dropped", "Telemetry that was dropped.", "{record}", nil, false}
	lookUpFailures   = &instrument{"chat_completion.config.lookup_failures", "Failed look-ups of lists that the configuration refers to.", "{lookup}", nil, false}
	callCost         = &instrument{"chat_completion.cost", "Cost of the calls whose cost is known.", "{USD}", nil, false}
	unknownCosts     = &instrument{"chat_completion.cost.unknown", "Calls with prices whose cost is unknown.", "{call}", nil, false}
	cacheRequests    = &instrument{"chat_completion.cache", "Requests at a cache, by result.", "{request}", nil, false}
	activeStreams    = &instrument{"chat_completion.active_streams", "Open event streams.", "{stream}", nil, true}
	quotaUsed        = &instrument{"chat_completion.quota.used", "What is used and reserved of a quota in the present window, in its unit; money is in USD.", "1", nil, true}
	quotaLimit       = &instrument{"chat_completion.quota.limit", "Limit of a quota, in its unit; money is in USD.", "1", nil, true}
	quotaRefused     = &instrument{"chat_completion.quota.refused", "Requests that a quota refused, or would have refused in report mode.", "{request}", nil, false}
	storeUp          = &instrument{"chat_completion.store.up", "Whether Redis is available: 1, or 0.", "1", nil, true}
	storeErrors      = &instrument{"chat_completion.store.errors", "Commands to Redis that failed.", "{error}", nil, false}
	storeFallbacks   = &instrument{"chat_completion.store.fallbacks", "Requests whose quotas were not decided by Redis, since it was unavailable.", "{request}", nil, false}
)

// Attributes of the instruments and of spans.
const (
	operationAttribute     = "gen_ai.operation.name"
	providerAttribute      = "gen_ai.provider.name"
	requestModelAttribute  = "gen_ai.request.model"
	responseModelAttribute = "gen_ai.response.model"
	tokenTypeAttribute     = "gen_ai.token.type"
	modalityAttribute      = "gen_ai.token.modality"
	errorTypeAttribute     = "error.type"
	serverAddressAttribute = "server.address"
	serverPortAttribute    = "server.port"
	decisionAttribute      = "chat_completion.decision"
	modeAttribute          = "chat_completion.mode"
	recordAttribute        = "chat_completion.record"
	keyAttribute           = "chat_completion.key"
	reasonAttribute        = "chat_completion.reason"
	cacheResultAttribute   = "chat_completion.cache.result"
	costAmountAttribute    = "gen_ai.usage.cost.amount"
	costCurrencyAttribute  = "gen_ai.usage.cost.currency"
	costSourceAttribute    = "gen_ai.usage.cost.source"
	quotaNameAttribute     = "chat_completion.quota.name"
	quotaSubjectAttribute  = "chat_completion.quota.subject" // whose use is counted; absent: everybody's
	quotaUnitAttribute     = "chat_completion.quota.unit"
	middlewareAttribute    = "chat_completion.middleware" // absent: the quota is shared
)

// costCurrency is the currency of all costs.
const costCurrency = "USD"

// costLocal is the source of a cost by the table of prices.
const costLocal = "local"

// costSource returns the source of a cost in the words of the conventions as they are proposed.
func costSource(c *Cost) string {
	if c.Source == costFromProvider {
		return "provider"
	}
	return costLocal
}

// metric is a snapshot of an instrument for a sink that publishes it.
type metric struct {
	instrument *instrument
	points     []point
}

// point is the state of an instrument for one set of attributes, accumulated since the registry was
// created.
type point struct {
	attributes []string // alternating names and values
	counts     []int64  // of a histogram: values per bucket, the last one above all bounds
	count      int64    // of a histogram: all values; of a counter or a gauge: its value
	sum        float64  // of the values of a histogram
	isMoney    bool     // count is in picodollars, and published in dollars
}
