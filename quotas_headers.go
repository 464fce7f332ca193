package chatcompletion

import (
	"net/http"
	"strconv"
	"time"
)

// OpenAI's headers about limits of requests and of tokens: the limit, what remains, and when it resets.
var (
	requestLimitHeaders = []string{"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests"}
	tokenLimitHeaders   = []string{"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens"}
)

// quotaHeader is the access-log header that names the quota that refused a request.
const quotaHeader = "X-Ai-Quota"

// removeLimits removes the provider's headers about limits, which are those of the operator's account:
// whatever begins with X-Ratelimit- or Anthropic-Ratelimit-. Comparing texts costs less than calls.
func removeLimits(header http.Header) {
	for name := range header {
		if (name >= "X-Ratelimit-" && name < "X-Ratelimit.") || (name >= "Anthropic-Ratelimit-" && name < "Anthropic-Ratelimit.") {
			delete(header, name)
		}
	}
}

// setLimitHeaders replaces the provider's headers about limits with those of the charges of a request,
// and of those that a chained instance has refused: of each kind, those of the quota with the least left.
// Their names are those of the protocol that has the format of errors.
func setLimitHeaders(header http.Header, format errorFormat, charges, refused []charge) {
	removeLimits(header)
	if refused != nil {
		charges = competing(charges, refused)
	}
	for i := range charges {
		c := &charges[i]
		q := c.quota
		names := q.headers
		if names == nil {
			continue
		}
		if c.competes && !isLeast(charges, c) {
			continue
		}
		left := c.limit - c.used - c.reserved
		if left < 0 {
			left = 0
		}
		header[names[0]] = q.limitValue
		header[names[1]] = []string{strconv.FormatInt(left, 10)}
		header[names[2]] = []string{(time.Duration((c.resetMs-c.nowMs+999)/1000) * time.Second).String()} // such as 6m0s
	}
	if format == anthropicErrors {
		useAnthropicLimits(header, time.Now())
	}
}

// anthropicLimits are Anthropic's names of the headers about limits, each after OpenAI's three.
var anthropicLimits = [][]string{
	{
		"X-Ratelimit-Limit-Requests", "X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests",
		"Anthropic-Ratelimit-Requests-Limit", "Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset",
	},
	{
		"X-Ratelimit-Limit-Tokens", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens",
		"Anthropic-Ratelimit-Tokens-Limit", "Anthropic-Ratelimit-Tokens-Remaining", "Anthropic-Ratelimit-Tokens-Reset",
	},
}

// useAnthropicLimits replaces OpenAI's headers about limits with Anthropic's, in which a limit resets at a
// time.
func useAnthropicLimits(header http.Header, now time.Time) {
	for _, names := range anthropicLimits {
		reset := header[names[2]]
		if reset == nil {
			continue
		}
		wait, _ := time.ParseDuration(reset[0]) // of setLimitHeaders
		header[names[3]] = header[names[0]]
		header[names[4]] = header[names[1]]
		header[names[5]] = []string{now.Add(wait).UTC().Format(time.RFC3339)}
		for _, name := range names[:3] {
			delete(header, name)
		}
	}
}

// competing returns charges and refused ones, which may be of the same kind.
func competing(charges, refused []charge) []charge {
	all := append(append([]charge(nil), charges...), refused...)
	for i := range all {
		all[i].competes = true
	}
	return all
}

// isLeast reports whether no other charge of the same kind has less left.
func isLeast(charges []charge, c *charge) bool {
	for i := range charges {
		o := &charges[i]
		if o.quota.headers != nil && o.quota.headers[0] == c.quota.headers[0] && o.limit-o.used-o.reserved < c.limit-c.used-c.reserved {
			return false
		}
	}
	return true
}

// waitSeconds returns how long it is until the counter of a charge begins at zero, at least a second.
func waitSeconds(c *charge) int64 {
	if c.window == nil || c.resetMs <= c.nowMs {
		return 1
	}
	return (c.resetMs - c.nowMs + 999) / 1000
}

// maxRetrySeconds is the longest wait after which a client is to try again by itself.
const maxRetrySeconds = 60

// setRetryHeaders tells a client when to try again. OpenAI's SDKs do so by themselves unless they are
// told not to.
func setRetryHeaders(header http.Header, c *charge) {
	seconds := waitSeconds(c)
	header["Retry-After"] = []string{strconv.FormatInt(seconds, 10)}
	if seconds > maxRetrySeconds {
		header["X-Should-Retry"] = []string{"false"}
	}
}
