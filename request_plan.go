package chatcompletion

import (
	"bytes"
	"io"
	"net"
	"net/http"
)

// plan is what a provider is sent for a request, and why.
type plan struct {
	decision   *decision
	raw        []byte           // the client's body, as far as it was read
	decoded    []byte           // the body that was decided on: the client's, decompressed, or what the instance before made of it
	pieces     [][]byte         // of the body that the provider is sent; nil: the client's body
	path       string           // of the provider, escaped; empty: the client's
	usageAdded bool             // an instance before requested the usage on the client's behalf
	invalid    bool             // the request would be rejected, but in report mode
	prompts    *insertedPrompts // by the instances before, without which the body was decided on; nil: none
	withdrawn  bool             // the instance has returned: what it has inserted is not for those after it
	guarded    []string         // what the rules for contents have found, as X-Ai-Policy lists it; nil: nothing

	form        *form       // nil: the body is none
	streams     bool        // the body is not held in memory, and can be sent only once
	stream      *formStream // of such a body; nil: it is forwarded as it is
	streamBytes int64       // its length; -1: unknown
	textBytes   int         // of the fields of a form that are no files, as far as they have been read
}

// joinedBody returns the body that the provider is sent, in one piece and decompressed.
func joinedBody(pl *plan) []byte {
	if pl.pieces == nil {
		return pl.decoded
	}
	return bytes.Join(pl.pieces, nil)
}

// planRequest reads a request, validates it, and decides what the provider is sent.
func planRequest(ep *endpoint, req *http.Request) (*plan, *apiError) {
	if !ep.postOnly || req.Method != http.MethodPost {
		if ep.kind == realtime {
			return planHandshake(ep, req)
		}
		if apiErr := methodError(ep.kind, req.Method); apiErr != nil {
			return new(plan), apiErr
		}
	}
	body, apiErr := readBody(req, ep.maxRequestBodyBytes)
	pl := &plan{raw: body, decoded: body}
	if apiErr != nil || req.Header["Content-Encoding"] != nil {
		return planEncoded(ep, req, apiErr, pl)
	}
	return planBody(ep, req, pl)
}

// methodError returns the error for a request that is rejected before its body is read, nil if it
// is served.
func methodError(k kind, method string) *apiError {
	if k == deny {
		return denied()
	}
	if method == http.MethodPost || k == governedPassthrough {
		return nil
	}
	return methodNotAllowed(method, http.MethodPost)
}

// planEncoded plans for a body that may have to be decompressed, or that could not be read.
func planEncoded(ep *endpoint, req *http.Request, apiErr *apiError, pl *plan) (*plan, *apiError) {
	pl.decoded = nil
	if apiErr != nil {
		return pl, apiErr
	}
	body, apiErr := decompress(req.Header, pl.raw, ep.maxRequestBodyBytes)
	if apiErr != nil {
		return pl, apiErr
	}
	pl.decoded = body
	return planBody(ep, req, pl)
}

// planBody validates the decoded body, and decides what the provider is sent.
func planBody(ep *endpoint, req *http.Request, pl *plan) (*plan, *apiError) {
	if len(pl.decoded) >= excerptMinBytes && mayContinue(ep, pl.decoded) {
		return planContinued(ep, req, pl)
	}
	obj := newJSONObject(pl.decoded)
	pl.decision = lookupDecision(ep.cache, obj)
	if pl.decision == nil {
		return planUncached(ep, req, obj, pl)
	}
	pl.pieces = splice(obj, pl.decision.edits)
	return pl, nil
}

// planUncached plans for a body for which there is no cached decision.
func planUncached(ep *endpoint, req *http.Request, obj *jsonObject, pl *plan) (*plan, *apiError) {
	d, apiErr := decide(ep, req, obj)
	pl.decision = d
	if apiErr == nil {
		pl.pieces = splice(obj, d.edits)
	}
	return pl, apiErr
}

// asReport turns a plan into one that changes and rejects nothing, and reports what it would have.
func asReport(rules *modelRules, pl *plan, apiErr *apiError) *plan {
	reasons := []string{reportDecision}
	requested := ""
	if apiErr != nil {
		reasons = append(append(reasons, pl.guarded...), "refused="+apiErr.code)
	} else {
		requested = pl.decision.requestedModel
		reasons = append(reasons, pl.decision.policyValue...)
	}
	d := newDecision(rules, requested, requested, nil, reasons)
	d.request.ReportOnly = true
	if apiErr == nil {
		d.tokenLimit = pl.decision.tokenLimit
		d.counts = pl.decision.counts
		d.request.Stream = pl.decision.request.Stream
	}
	return &plan{
		decision: d, raw: pl.raw, decoded: pl.decoded, usageAdded: pl.usageAdded, invalid: apiErr != nil, prompts: pl.prompts,
		form: pl.form, streams: pl.streams, stream: pl.stream, streamBytes: pl.streamBytes, textBytes: pl.textBytes,
	}
}

// removeMembers returns a body without the members of the given names.
func removeMembers(body []byte, names []string) []byte {
	obj := wholeJSONObject(body)
	if readMembers(obj) != nil {
		return body
	}
	for i := range obj.members {
		m := &obj.members[i]
		m.removed = containsText(names, m.name)
	}
	return bytes.Join(splice(obj, edits(obj, nil)), nil)
}

// withoutUnsupportedUsage returns a body that a provider takes, and whether it requests usage on
// the client's behalf: some providers do not take stream_options, which an instance before may have
// added.
func withoutUnsupportedUsage(ep *endpoint, body []byte, added bool) ([]byte, bool) {
	if !added || ep.canAddUsage {
		return body, added
	}
	return removeMembers(body, []string{streamOptions}), false
}

// writePlan turns the client's request into the one that the provider is sent.
func writePlan(pl *plan, req *http.Request, modelHeader string) {
	header := req.Header
	if pl.decision.model != nil {
		header[modelHeader] = pl.decision.model
	}
	// Without it, Traefik's transport negotiates gzip itself and returns plain bytes.
	delete(header, "Accept-Encoding")
	delete(header, "Connection") // see keepUpgrade
	delete(header, "Expect")     // the whole body is here, and the client has been told to send it
	req.Trailer = nil
	if pl.path != "" {
		setPath(req, pl.path)
	}
	if pl.pieces == nil {
		writeUnchanged(pl, req)
		return
	}
	if len(pl.decoded) > joinMaxBytes {
		setBodyPieces(req, pl.pieces)
	} else {
		body := bytes.NewReader(bytes.Join(pl.pieces, nil))
		req.Body = io.NopCloser(body)
		req.ContentLength = body.Size()
	}
	req.TransferEncoding = nil
	delete(header, "Content-Length") // the transport knows
	// The body was read as JSON: with another type or character set, the provider could read
	// something else.
	header["Content-Type"] = jsonType
	delete(header, "Content-Encoding")
	if pl.form != nil {
		header["Content-Type"] = pl.form.contentType
	}
}

// writeUnchanged puts back a body that is forwarded as the client sent it, or as a stream.
func writeUnchanged(pl *plan, req *http.Request) {
	if pl.stream == nil {
		restoreBody(req, pl.raw)
		return
	}
	req.Body = io.NopCloser(pl.stream)
	req.ContentLength = pl.streamBytes
	req.TransferEncoding = nil
	delete(req.Header, "Content-Length")
	if !pl.form.reportOnly {
		req.Header["Content-Type"] = pl.form.contentType
		delete(req.Header, "Content-Encoding")
	}
}

// joinMaxBytes is the largest client body for which the pieces are copied into one: net/http sends
// a body that it knows to be in memory together with the header, which saves a packet. For larger
// ones the copy would cost more.
const joinMaxBytes = 16 << 10

var jsonType = []string{"application/json"}

// setBodyPieces sets a body without copying its pieces into one.
func setBodyPieces(req *http.Request, body [][]byte) {
	req.ContentLength = 0
	for _, piece := range body {
		req.ContentLength += int64(len(piece))
	}
	pieces := append(net.Buffers{}, body...) // reading consumes the slice
	req.Body = io.NopCloser(&pieces)
}

// replayBody returns a GetBody function: the transport sends the body again if a connection turns
// out to be closed.
func replayBody(body [][]byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(bytes.Join(body, nil))), nil
	}
}

// restoreBody puts back what was read of a body. The server closes its body itself, so that Close
// need not reach it.
func restoreBody(req *http.Request, raw []byte) {
	req.Body = io.NopCloser(io.MultiReader(bytes.NewReader(raw), req.Body))
}
