package chatcompletion

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Access-log headers, which are set when the response is complete. They do not reach the client,
// unless a middleware before this one buffers the response, as Traefik's Buffering does. Traefik's
// access log and its spans can show them.
const (
	modelUsedHeader    = "X-Ai-Model"
	inputTokensHeader  = "X-Ai-Input-Tokens"
	outputTokensHeader = "X-Ai-Output-Tokens"
	firstChunkHeader   = "X-Ai-Ttft-Ms"
	errorTypeHeader    = "X-Ai-Error-Type"
	attemptsHeader     = "X-Ai-Attempts"
	consumerNameHeader = "X-Ai-Consumer"
	groupNameHeader    = "X-Ai-Group"
	costHeader         = "X-Ai-Cost"
)

// accessLogHeaders are set by the middleware only: no provider writes into the access log.
var accessLogHeaders = []string{
	modelUsedHeader, policyHeader, inputTokensHeader, outputTokensHeader, firstChunkHeader, errorTypeHeader, attemptsHeader,
	consumerNameHeader, groupNameHeader, costHeader, quotaHeader, cacheHeader,
}

// accessLogTrailers are the same headers under the names that a reverse proxy gives to a provider's
// unannounced trailers.
var accessLogTrailers = newAccessLogTrailers()

// newAccessLogTrailers reads no package variable that is initialized by a function
// (traefik/yaegi#1585).
func newAccessLogTrailers() []string {
	var names []string
	for _, name := range accessLogHeaders {
		names = append(names, http.TrailerPrefix+name)
	}
	return names
}

// setLogHeaders sets the access-log headers.
func setLogHeaders(header http.Header, d *decision, c *Call) {
	if d.model != nil {
		header[modelUsedHeader] = d.model
	}
	if d.policyValue != nil {
		header[policyHeader] = d.policyValue
	}
	u := &c.Response.Usage
	if u.InputKnown {
		header[inputTokensHeader] = []string{strconv.FormatInt(u.InputTokens, 10)}
	}
	if u.OutputKnown {
		header[outputTokensHeader] = []string{strconv.FormatInt(u.OutputTokens, 10)}
	}
	if c.FirstChunk > 0 || c.ErrorType != "" {
		setStreamOrErrorHeaders(header, c)
	}
}

// setStreamOrErrorHeaders sets the access-log headers of streams and of calls that failed.
func setStreamOrErrorHeaders(header http.Header, c *Call) {
	if c.FirstChunk > 0 {
		header[firstChunkHeader] = []string{strconv.FormatInt(int64(c.FirstChunk/time.Millisecond), 10)}
	}
	if c.ErrorType != "" {
		header[errorTypeHeader] = []string{c.ErrorType}
	}
	if c.Quota != "" {
		header[quotaHeader] = []string{c.Quota}
	}
}

// setConsumerHeaders sets the name and the group of the consumer of a call.
func setConsumerHeaders(header http.Header, c *Call) {
	header[consumerNameHeader] = []string{c.Consumer}
	if c.Group != "" {
		header[groupNameHeader] = []string{c.Group}
	}
}

// setAttemptsHeader sets the outcome of each attempt at a provider.
func setAttemptsHeader(header http.Header, attempts []string) {
	header[attemptsHeader] = []string{strings.Join(attempts, ",")}
}

// removeAnnouncedLogHeaders removes the access-log headers from the trailers that a provider
// announces: what finish sets would reach the client as a trailer.
func removeAnnouncedLogHeaders(header http.Header) {
	var kept []string
	for _, name := range strings.Split(strings.Join(header["Trailer"], ","), ",") {
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		if !isLogHeader(name) {
			kept = append(kept, name)
		}
	}
	header["Trailer"] = kept
}

func removeLogHeaders(header http.Header) {
	for _, name := range accessLogHeaders {
		delete(header, name)
	}
}

// removeLogTrailers removes the access-log headers that a reverse proxy has taken from a provider's
// unannounced trailers.
func removeLogTrailers(header http.Header) {
	for _, name := range accessLogTrailers {
		delete(header, name)
	}
}

func isLogHeader(name string) bool {
	for _, ours := range accessLogHeaders {
		if name == ours {
			return true
		}
	}
	return false
}
