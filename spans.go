package chatcompletion

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Headers of W3C Trace Context.
const (
	traceParentHeader = "Traceparent"
	traceStateHeader  = "Tracestate"
)

// traceParent matches a traceparent: its version, the ids of the trace and of the caller's span,
// and flags.
var traceParent = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$`)

// Ids that mean that there is none.
const (
	noTraceID = "00000000000000000000000000000000"
	noSpanID  = "0000000000000000"
)

// traceStateMaxBytes bounds the tracestate that a span keeps. W3C recommends at least 512.
const traceStateMaxBytes = 512

// sampler decides which calls become spans: those whose caller's span is sampled, and a share of
// those without a caller's span.
type sampler struct {
	bound    uint64 // exclusive, of the 63 random bits of a sampled trace id
	isAlways bool   // all calls without a caller's span become spans
}

// startTrace gives a call its place in a trace, and the request to the provider the traceparent of
// that place. It returns nil if the call does not become a span: a caller's traceparent then stays
// unchanged.
func startTrace(s *sampler, header http.Header) *Trace {
	if header[traceParentHeader] != nil {
		if parts := traceParentOf(header); parts != nil {
			return continueTrace(parts, header)
		}
	}
	t := newTrace(header)
	if random, err := strconv.ParseUint(t.TraceID[16:], 16, 64); err != nil || random>>1 >= s.bound {
		header[traceParentHeader] = []string{"00-" + t.TraceID + "-" + t.SpanID + "-00"}
		return nil
	}
	return t
}

// newTrace starts a trace.
func newTrace(header http.Header) *Trace {
	random := make([]byte, 24)
	_, _ = rand.Read(random) // it never fails
	parent := fmt.Sprintf("00-%x-%x-01", random[:16], random[16:])
	header[traceParentHeader] = []string{parent}
	delete(header, traceStateHeader)
	return &Trace{TraceID: parent[3:35], SpanID: parent[36:52]}
}

// continueTrace makes a call part of the caller's trace, if that is sampled.
func continueTrace(parts []string, header http.Header) *Trace {
	flags, err := hex.DecodeString(parts[4])
	if err != nil || flags[0]&1 == 0 {
		return nil
	}
	random := make([]byte, 8)
	_, _ = rand.Read(random)
	trace := &Trace{TraceID: parts[2], SpanID: hex.EncodeToString(random), ParentID: parts[3]}
	if state := strings.Join(header[traceStateHeader], ","); len(state) <= traceStateMaxBytes {
		trace.State = state
	}
	// Of the flags, version 0 defines that the trace is sampled, and Level 2 that its id is random;
	// others must not be sent.
	header[traceParentHeader] = []string{"00-" + trace.TraceID + "-" + trace.SpanID + "-0" + strconv.Itoa(int(flags[0]&3))}
	return trace
}

// traceParentOf returns the parts of the one valid traceparent of a request; nil if it does not
// have exactly one.
func traceParentOf(header http.Header) []string {
	parents := header[traceParentHeader]
	if len(parents) != 1 {
		return nil
	}
	parts := traceParent.FindStringSubmatch(parents[0])
	if parts == nil || !isTraceParent(parts) {
		return nil
	}
	return parts
}

// isTraceParent reports whether the parts of a traceparent are valid: version 0 has no more than
// four.
func isTraceParent(parts []string) bool {
	return parts[1] != "ff" && parts[2] != noTraceID && parts[3] != noSpanID && (parts[1] != "00" || parts[5] == "")
}

// siblingTrace returns the place of the next attempt of a call, next to that of the attempt before,
// and writes it into the request to the provider.
func siblingTrace(t *Trace, header http.Header) *Trace {
	random := make([]byte, 8)
	_, _ = rand.Read(random)
	sibling := *t
	sibling.SpanID = hex.EncodeToString(random)
	if parents := header[traceParentHeader]; len(parents) == 1 && traceParent.MatchString(parents[0]) {
		// Each attempt begins with the request of the first one: its span is not always that of t.
		header[traceParentHeader] = []string{parents[0][:36] + sibling.SpanID + parents[0][52:]}
	}
	return &sibling
}
