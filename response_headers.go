package chatcompletion

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers that are set when the answer is complete. They do not reach the client, unless a middleware in front holds the
// answer back, as Traefik's Buffering does; Traefik's access log and its spans can show them to the operator.
const (
	modelUsedHeader    = "X-Ai-Model"
	inputTokensHeader  = "X-Ai-Input-Tokens"
	outputTokensHeader = "X-Ai-Output-Tokens"
	firstChunkHeader   = "X-Ai-Ttft-Ms"
	errorTypeHeader    = "X-Ai-Error-Type"
	attemptsHeader     = "X-Ai-Attempts"
)

// accessLogHeaders are ours: nobody else writes into the operator's log.
var accessLogHeaders = []string{
	modelUsedHeader, policyHeader, inputTokensHeader, outputTokensHeader, firstChunkHeader, errorTypeHeader, attemptsHeader,
}

// accessLogTrailers are the same headers as what a reverse proxy makes of a provider's trailers that were not announced.
var accessLogTrailers = newAccessLogTrailers()

// newAccessLogTrailers reads no variable of the package that needs a function (traefik/yaegi#1585).
func newAccessLogTrailers() []string {
	var names []string
	for _, name := range accessLogHeaders {
		names = append(names, http.TrailerPrefix+name)
	}
	return names
}

// setLogHeaders sets the operator's headers.
func setLogHeaders(header http.Header, d *decision, c *Call) {
	if d.model != nil {
		header[modelUsedHeader] = d.model
	}
	if d.policy != nil {
		header[policyHeader] = d.policy
	}
	u := &c.Response.Usage
	if u.Known {
		header[inputTokensHeader] = []string{strconv.FormatInt(u.InputTokens, 10)}
		if !u.InputOnly {
			header[outputTokensHeader] = []string{strconv.FormatInt(u.OutputTokens, 10)}
		}
	}
	if c.FirstChunk > 0 || c.ErrorType != "" {
		setStreamOrErrorHeaders(header, c)
	}
}

// setStreamOrErrorHeaders sets the headers of answers that are streams, or did not end as they should.
func setStreamOrErrorHeaders(header http.Header, c *Call) {
	if c.FirstChunk > 0 {
		header[firstChunkHeader] = []string{strconv.FormatInt(int64(c.FirstChunk/time.Millisecond), 10)}
	}
	if c.ErrorType != "" {
		header[errorTypeHeader] = []string{c.ErrorType}
	}
}

// setAttemptsHeader tells what became of each attempt at a provider.
func setAttemptsHeader(header http.Header, attempts []string) {
	header[attemptsHeader] = []string{strings.Join(attempts, ",")}
}

// removeAnnouncedLogHeaders removes the operator's headers from the trailers that a provider announces: what conclude sets would
// reach the client.
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

// removeLogTrailers removes what a reverse proxy takes from a provider's trailers that were not announced.
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
