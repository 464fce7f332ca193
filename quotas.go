package chatcompletion

import (
	"bytes"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Values of Quota.Unit.
const (
	unitRequests     = "requests"
	unitTokens       = "tokens"
	unitInputTokens  = "inputTokens"
	unitOutputTokens = "outputTokens"
	unitCost         = "cost"
	unitConcurrent   = "concurrent"
)

// Values of Quota.Reserve.
const (
	reserveNone  = "none"
	reserveInput = "input"
	reserveFull  = "full"
)

// quotaRules are the quotas of a policy.
type quotaRules struct {
	charges        []charge         // one for each quota, which requests copy
	vary           bool             // they depend on the request: on its model, or on what templates refer to
	byCaller       bool             // they depend on who sends it
	isUncommon     bool             // they vary, or are in Redis, or there are system prompts
	hasCost        bool             // a quota counts money
	reservesOutput bool             // a quota reserves the token limit
	clock          func() time.Time // as time.Now
	known          sync.Map         // charges of callers, *callerSet by consumer and group
	knownCount     atomic.Int64
}

// callerSet are the charges of a caller.
type callerSet struct {
	charges []charge
}

// maxKnownCallers bounds the callers whose charges a policy remembers. Those of further ones are made
// for each request.
const maxKnownCallers = 1000

// quota bounds what each subject may use in a window.
type quota struct {
	name       string
	unit       string
	byConsumer bool           // the consumer is the subject, or
	byGroup    bool           // its group
	per        []*template    // parts of the subject, an empty one stands for the model; nil: one for all
	separators string         // the characters between several values of the subject; empty: it has one
	adjoins    bool           // nothing is between two of them
	header     string         // canonical name, if the subject is the value of that one; else empty
	models     *regexp.Regexp // nil: all
	modelsText string         // the patterns, for the client
	limitText  string         // for the client
	limitValue []string       // of the header that has it
	headers    []string       // about limits, which show the quota: limit, remaining, reset; nil: none
	windowText string
}

// isReference reports whether a part of a subject is a value of the request.
func isReference(part *template) bool {
	return part.parts == nil || part.parts[0].source != ""
}

// subjectMaxBytes bounds the subject of a counter. The hash stands for a longer one.
const subjectMaxBytes = 128

// unitNames are the units as messages name them.
var unitNames = map[string]string{
	unitRequests: "requests", unitTokens: "tokens", unitInputTokens: "input tokens", unitOutputTokens: "output tokens",
	unitCost: "USD", unitConcurrent: "concurrent requests",
}

// Bounds of the search for images and files in base64, whose bytes are no text. What is beyond counts as
// text.
const (
	dataURLMinTokens = 1 << 10
	maxDataURLs      = 64
	mediaTypeMax     = 128 // bytes before the mark
)

var dataURLMark = []byte(";base64,")

// dataURLStart matches the beginning of a data URL as a member whose value providers take for one: an
// image or a file. Elsewhere, what looks like one is text.
var dataURLStart = regexp.MustCompile(`(?:url|file_data)"\s*:\s*"data:[^"]*$`)

// dataName is the member that holds an image or a file in Anthropic's and in Gemini's protocol, and dataStart
// matches its beginning: it is beside a media type, or in a member for data.
var (
	dataName  = []byte(`"data"`)
	dataStart = regexp.MustCompile(`(?:"(?:media_type|mimeType|mime_type)"\s*:\s*"[^"]*"\s*,|"(?:inlineData|inline_data)"\s*:\s*\{)\s*"data"\s*:\s*"$`)
)

// estimatedTokens returns how many tokens a request with a body may have as its input: a fourth of the
// bytes of its text.
func estimatedTokens(body []byte) int64 {
	return int64(len(body)-dataURLBytes(body)-dataBytes(body)) / 4
}

// dataBytes returns the number of bytes in the images and files of a body of Anthropic's or Gemini's
// protocol.
func dataBytes(body []byte) int {
	total := 0
	for tries := 0; tries < maxDataURLs; tries++ {
		at := bytes.Index(body, dataName)
		if at < 0 {
			break
		}
		end := at + len(dataName)
		begin := bytes.IndexByte(body[end:], '"')
		if begin < 0 {
			break
		}
		begin += end + 1
		length := bytes.IndexByte(body[begin:], '"')
		if length < 0 {
			break
		}
		before := body[:begin]
		if begin > 2*mediaTypeMax {
			before = body[begin-2*mediaTypeMax : begin]
		}
		if dataStart.Match(before) {
			total += length
		}
		body = body[begin:]
	}
	return total
}

// dataURLBytes returns the number of bytes in the base64 data URLs of a body.
func dataURLBytes(body []byte) int {
	total := 0
	for tries := 0; tries < maxDataURLs; tries++ {
		at := bytes.Index(body, dataURLMark)
		if at < 0 {
			break
		}
		before := body[:at]
		if at > mediaTypeMax {
			before = body[at-mediaTypeMax : at]
		}
		body = body[at+len(dataURLMark):]
		end := bytes.IndexByte(body, '"')
		if end < 0 {
			break
		}
		if dataURLStart.Match(before) {
			total += end
		}
		body = body[end:]
	}
	return total
}

// amountText returns an amount in a unit, as messages show it: money exactly, with two decimals at least.
func amountText(unit string, amount int64) string {
	if unit != unitCost {
		return strconv.FormatInt(amount, 10)
	}
	whole, decimals, _ := strings.Cut(dollars(amount), ".")
	for len(decimals) < 2 {
		decimals += "0"
	}
	return whole + "." + decimals
}

// quickWindowMs is the longest window after whose quota a client is told to slow down. Beyond it, the
// client is told that its budget is spent.
const quickWindowMs = 60 * minuteMs

// Codes of the errors for quotas, which are OpenAI's.
const (
	rateLimitExceeded = "rate_limit_exceeded"
	insufficientQuota = "insufficient_quota"
)

// quotaExceeded returns the error for a request that a quota has refused.
func quotaExceeded(c *charge) *apiError {
	q, w := c.quota, c.window
	code := rateLimitExceeded
	if w != nil && (w.lengthMs == 0 || w.lengthMs > quickWindowMs) {
		code = insufficientQuota
	}
	message := "You exceeded the quota `" + q.name + "`: " + amountText(q.unit, c.used) + " of " + q.limitText + " " + unitNames[q.unit]
	if w == nil {
		message += ". Try again when one of your requests has ended."
	} else {
		reset := time.UnixMilli(c.resetMs).UTC().Format(time.RFC3339)
		message += " per " + q.windowText + ". It resets in " + (time.Duration(waitSeconds(c)) * time.Second).String() + ", at " + reset + "."
	}
	return &apiError{http.StatusTooManyRequests, code, code, "", message}
}

// modelNotPriced returns the error for a model without a price under a quota in money.
func modelNotPriced(q *quota, model string) *apiError {
	return invalidRequest("model_not_priced", "model", "The model `"+shortened(model)+"` has no price, which the quota `"+q.name+"` needs. Use another model.")
}
