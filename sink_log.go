package chatcompletion

import (
	"encoding/json"
	"io"
	"strings"
	"time"
)

// Values of Telemetry.Log.
const (
	logStdout = "stdout"
	logStderr = "stderr"
)

// callLog is the sink that writes one line of JSON for each call to stdout or stderr of Traefik. It
// bypasses Traefik's own log, so that log's format and level do not apply.
type callLog struct {
	out     io.Writer
	semconv string // the value of Telemetry.Semconv
}

// callLine is a line of the log. Its members have the names of span attributes.
type callLine struct {
	Time              string            `json:"time"`
	Message           string            `json:"message"`
	Operation         string            `json:"gen_ai.operation.name"`
	Provider          string            `json:"gen_ai.provider.name"`
	ServerAddress     string            `json:"server.address,omitempty"`
	ServerPort        json.RawMessage   `json:"server.port,omitempty"`
	RequestModel      string            `json:"gen_ai.request.model,omitempty"`
	Stream            bool              `json:"gen_ai.request.stream"`
	ResponseModel     string            `json:"gen_ai.response.model,omitempty"`
	ResponseID        string            `json:"gen_ai.response.id,omitempty"`
	FinishReasons     []string          `json:"gen_ai.response.finish_reasons,omitempty"`
	InputTokens       *int64            `json:"gen_ai.usage.input_tokens,omitempty"`
	OutputTokens      *int64            `json:"gen_ai.usage.output_tokens,omitempty"`
	CacheReadTokens   int64             `json:"gen_ai.usage.cache_read.input_tokens,omitempty"`
	CacheCreateTokens int64             `json:"gen_ai.usage.cache_creation.input_tokens,omitempty"`
	CacheWriteTokens  int64             `json:"gen_ai.usage.cache_write.input_tokens,omitempty"`
	ReasoningTokens   int64             `json:"gen_ai.usage.reasoning.output_tokens,omitempty"`
	CostAmount        json.RawMessage   `json:"gen_ai.usage.cost.amount,omitempty"`
	CostCurrency      string            `json:"gen_ai.usage.cost.currency,omitempty"`
	CostSource        string            `json:"gen_ai.usage.cost.source,omitempty"`
	Status            int               `json:"http.response.status_code"`
	ErrorType         string            `json:"error.type,omitempty"`
	Policy            string            `json:"chat_completion.policy,omitempty"`
	Quota             string            `json:"chat_completion.quota,omitempty"`
	Cached            bool              `json:"chat_completion.cached,omitempty"`
	UsageEstimated    bool              `json:"chat_completion.usage.estimated,omitempty"`
	DurationSeconds   float64           `json:"duration_seconds"`
	GatewaySeconds    float64           `json:"gateway_seconds"`
	FirstChunkSeconds float64           `json:"time_to_first_chunk_seconds,omitempty"`
	TraceID           string            `json:"trace_id,omitempty"`
	SpanID            string            `json:"span_id,omitempty"`
	Labels            map[string]string `json:"labels,omitempty"`
}

// Consume writes the line of a call. A line that cannot be written is lost: there is nowhere to
// report it.
func (l *callLog) Consume(c *Call) {
	_, _ = l.out.Write(append(newLine(c, l.semconv), '\n'))
}

func newLine(c *Call, semconv string) []byte {
	if semconv == semconvV01 && c.ErrorType != "" {
		c = withErrorReason(c)
	}
	request, resp := c.Request, &c.Response
	line := &callLine{
		Time:              c.Start.UTC().Format(time.RFC3339Nano),
		Message:           strings.TrimSpace(c.Target.Operation + " " + request.Model),
		Operation:         c.Target.Operation,
		Provider:          c.Target.Provider,
		ServerAddress:     c.Target.ServerAddress,
		ServerPort:        json.RawMessage(c.Target.ServerPort),
		RequestModel:      request.Model,
		Stream:            request.Stream,
		ResponseModel:     resp.Model,
		ResponseID:        resp.ID,
		FinishReasons:     resp.FinishReasons,
		CacheReadTokens:   resp.Usage.CacheReadInputTokens,
		CacheCreateTokens: resp.Usage.CacheCreationInputTokens,
		ReasoningTokens:   resp.Usage.ReasoningOutputTokens,
		Status:            c.Status,
		ErrorType:         c.ErrorType,
		Policy:            request.Policy,
		Quota:             c.Quota,
		Cached:            c.Cache == cacheHit,
		UsageEstimated:    resp.Usage.Estimated,
		DurationSeconds:   c.Duration.Seconds(),
		GatewaySeconds:    c.GatewayDuration.Seconds(),
		FirstChunkSeconds: c.FirstChunk.Seconds(),
	}
	if semconv == semconvV01 {
		line.CacheCreateTokens, line.CacheWriteTokens = 0, line.CacheCreateTokens
	}
	input, output := resp.Usage.InputTokens, resp.Usage.OutputTokens
	if resp.Usage.InputKnown {
		line.InputTokens = &input
	}
	if resp.Usage.OutputKnown {
		line.OutputTokens = &output
	}
	if c.Cost.Known {
		line.CostAmount = json.RawMessage(dollars(c.Cost.Picodollars))
		line.CostCurrency = costCurrency
		line.CostSource = costSource(&c.Cost)
	}
	if c.Trace != nil {
		line.TraceID, line.SpanID = c.Trace.TraceID, c.Trace.SpanID
	}
	for i := 0; i+1 < len(c.Labels); i += 2 {
		if line.Labels == nil {
			line.Labels = map[string]string{}
		}
		line.Labels[c.Labels[i]] = c.Labels[i+1]
	}
	return marshal(line)
}
