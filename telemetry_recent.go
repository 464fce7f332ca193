package chatcompletion

import "time"

// recentCalls is the number of calls that a dashboard shows.
const recentCalls = 200

// keepCalls keeps a batch of calls for the dashboard. It forgets old ones rarely, since that takes
// more steps. The caller holds the lock of the registry.
func keepCalls(r *registry, calls []*Call) {
	if r.hasContent {
		calls = withoutContent(calls)
	}
	r.kept += int64(len(calls))
	r.recent = append(r.recent, calls...)
	if len(r.recent) >= 2*recentCalls {
		r.recent = append(make([]*Call, 0, 2*recentCalls+aggregatedCalls), r.recent[len(r.recent)-recentCalls:]...)
	}
}

// withoutContent returns calls without prompts and responses, which are large.
func withoutContent(calls []*Call) []*Call {
	bare := make([]*Call, len(calls))
	for i, c := range calls {
		if c.Input != nil || c.Response.Content != nil {
			shallow := *c
			shallow.Input = nil
			shallow.Response.Content = nil
			c = &shallow
		}
		bare[i] = c
	}
	return bare
}

// expectContent has calls kept without their content from now on.
func expectContent(r *registry) {
	r.mu.Lock()
	r.hasContent = true
	r.mu.Unlock()
}

// setKeeping begins to keep the latest calls, or stops, and forgets them.
func setKeeping(r *registry, keeps bool) {
	r.mu.Lock()
	r.keepsCalls = keeps
	r.recent = nil
	r.mu.Unlock()
}

// callFigures is a call as the dashboard shows it: its record without content. What is unknown is
// left out.
type callFigures struct {
	ID                int64             `json:"id"`
	StartMs           int64             `json:"start"`
	DurationMs        float64           `json:"durationMs"`
	GatewayMs         float64           `json:"gatewayMs"`
	FirstChunkMs      float64           `json:"firstChunkMs,omitempty"`
	Operation         string            `json:"operation,omitempty"`
	Provider          string            `json:"provider,omitempty"`
	ServerAddress     string            `json:"serverAddress,omitempty"`
	RequestModel      string            `json:"requestModel,omitempty"`
	ResponseModel     string            `json:"responseModel,omitempty"`
	Status            int               `json:"status,omitempty"`
	ErrorType         string            `json:"errorType,omitempty"`
	Consumer          string            `json:"consumer,omitempty"`
	Group             string            `json:"group,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
	Stream            bool              `json:"stream"`
	Policy            string            `json:"policy,omitempty"`
	ReportOnly        bool              `json:"reportOnly,omitempty"`
	Quota             string            `json:"quota,omitempty"`
	Cache             string            `json:"cache,omitempty"`
	InputTokens       *int64            `json:"inputTokens,omitempty"`
	OutputTokens      *int64            `json:"outputTokens,omitempty"`
	CachedInputTokens int64             `json:"cachedInputTokens,omitempty"`
	ReasoningTokens   int64             `json:"reasoningTokens,omitempty"`
	Estimated         bool              `json:"estimated,omitempty"`
	Picodollars       string            `json:"picodollars,omitempty"`
	CostSource        string            `json:"costSource,omitempty"`
	TraceID           string            `json:"traceId,omitempty"`
}

// callJSON returns the JSON of a call. The call is not changed: others read it at the same time.
func callJSON(c *Call, id int64) []byte {
	target, request, resp := c.Target, c.Request, &c.Response
	figures := &callFigures{
		ID:            id,
		StartMs:       c.Start.UnixMilli(),
		DurationMs:    milliseconds(c.Duration),
		GatewayMs:     milliseconds(c.GatewayDuration),
		FirstChunkMs:  milliseconds(c.FirstChunk),
		Operation:     target.Operation,
		Provider:      target.Provider,
		ServerAddress: target.ServerAddress,
		RequestModel:  request.Model,
		ResponseModel: resp.Model,
		Status:        c.Status,
		ErrorType:     c.ErrorType,
		Consumer:      c.Consumer,
		Group:         c.Group,
		Labels:        labelMap(c.Labels),
		Stream:        request.Stream,
		Policy:        request.Policy,
		ReportOnly:    request.ReportOnly,
		Quota:         c.Quota,
		Cache:         c.Cache,
	}
	setTokens(figures, resp)
	if c.Cost.Known {
		figures.Picodollars = picodollarText(c.Cost.Picodollars)
		figures.CostSource = costSource(&c.Cost)
	}
	if c.Trace != nil {
		figures.TraceID = c.Trace.TraceID
	}
	return marshal(figures)
}

// setTokens sets the tokens of a call: those that the provider has reported, and an estimate.
func setTokens(figures *callFigures, resp *Response) {
	usage := resp.Usage
	if resp.details != nil {
		takeSmallUsage(&usage, &resp.details.Usage)
	}
	input, output := usage.InputTokens, usage.OutputTokens
	if usage.InputKnown || (usage.Estimated && input > 0) {
		figures.InputTokens = &input
	}
	if usage.OutputKnown || (usage.Estimated && output > 0) {
		figures.OutputTokens = &output
	}
	figures.CachedInputTokens = usage.CacheReadInputTokens
	figures.ReasoningTokens = usage.ReasoningOutputTokens
	figures.Estimated = usage.Estimated
}

func milliseconds(d time.Duration) float64 {
	return float64(d) / 1e6
}

// labelMap returns labels, which alternate names and values, as a map; nil: there are none.
func labelMap(labels []string) map[string]string {
	if len(labels) == 0 {
		return nil
	}
	byName := map[string]string{}
	for i := 0; i+1 < len(labels); i += 2 {
		byName[labels[i]] = labels[i+1]
	}
	return byName
}
