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
	policyHeader       = "X-Ai-Policy"
	inputTokensHeader  = "X-Ai-Input-Tokens"
	outputTokensHeader = "X-Ai-Output-Tokens"
	firstChunkHeader   = "X-Ai-Ttft-Ms"
	errorTypeHeader    = "X-Ai-Error-Type"
	attemptsHeader     = "X-Ai-Attempts"
)

// operatorHeaders are ours: nobody else writes into the operator's log.
var operatorHeaders = []string{
	modelUsedHeader, policyHeader, inputTokensHeader, outputTokensHeader, firstChunkHeader, errorTypeHeader, attemptsHeader,
}

// operatorTrailers are the same headers as what a reverse proxy makes of a provider's trailers that were not announced.
var operatorTrailers = newOperatorTrailers()

// newOperatorTrailers reads no variable of the package that needs a function (traefik/yaegi#1585).
func newOperatorTrailers() []string {
	var names []string
	for _, name := range operatorHeaders {
		names = append(names, http.TrailerPrefix+name)
	}
	return names
}

// tellOperator sets the operator's headers.
func tellOperator(header http.Header, v *verdict, c *Call) {
	if v.model != nil {
		header[modelUsedHeader] = v.model
	}
	if v.policy != nil {
		header[policyHeader] = v.policy
	}
	u := &c.Answer.Usage
	if u.Known {
		header[inputTokensHeader] = []string{strconv.FormatInt(u.InputTokens, 10)}
		if !u.InputOnly {
			header[outputTokensHeader] = []string{strconv.FormatInt(u.OutputTokens, 10)}
		}
	}
	if c.FirstChunk > 0 || c.ErrorType != "" {
		tellStreamOrError(header, c)
	}
}

// tellStreamOrError sets the headers of answers that are streams, or did not end as they should.
func tellStreamOrError(header http.Header, c *Call) {
	if c.FirstChunk > 0 {
		header[firstChunkHeader] = []string{strconv.FormatInt(int64(c.FirstChunk/time.Millisecond), 10)}
	}
	if c.ErrorType != "" {
		header[errorTypeHeader] = []string{c.ErrorType}
	}
}

// tellAttempts tells what became of each attempt at a provider.
func tellAttempts(header http.Header, attempts []string) {
	header[attemptsHeader] = []string{strings.Join(attempts, ",")}
}

// keepFromTrailers removes the operator's headers from the trailers that a provider announces: what conclude sets would
// reach the client.
func keepFromTrailers(header http.Header) {
	var kept []string
	for _, name := range strings.Split(strings.Join(header["Trailer"], ","), ",") {
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		if !isOperatorHeader(name) {
			kept = append(kept, name)
		}
	}
	header["Trailer"] = kept
}

func removeOperatorHeaders(header http.Header) {
	for _, name := range operatorHeaders {
		delete(header, name)
	}
}

// removeOperatorTrailers removes what a reverse proxy takes from a provider's trailers that were not announced.
func removeOperatorTrailers(header http.Header) {
	for _, name := range operatorTrailers {
		delete(header, name)
	}
}

func isOperatorHeader(name string) bool {
	for _, ours := range operatorHeaders {
		if name == ours {
			return true
		}
	}
	return false
}
