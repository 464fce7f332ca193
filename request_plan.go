package chatcompletion

import (
	"bytes"
	"io"
	"net"
	"net/http"
)

// plan is a request with its verdict.
type plan struct {
	decision   *decision
	raw        []byte   // the client's body as it came, as far as it was read
	decoded    []byte   // the same, decompressed
	pieces     [][]byte // what the provider gets, in pieces; nil: the client's body
	path       string   // that the provider is asked for, escaped; empty: the client's
	usageAdded bool     // client asks for a usage that the client did not ask for, but an instance before
	invalid    bool     // report mode lets pass what is refused otherwise
}

// plainBody is the body that the provider gets, as one.
func plainBody(pl *plan) []byte {
	if pl.pieces == nil {
		return pl.raw
	}
	return bytes.Join(pl.pieces, nil)
}

// planRequest reads a request, checks it, and decides what the provider gets.
func planRequest(ep *endpoint, req *http.Request) (*plan, *apiError) {
	pl := &plan{}
	if !ep.postOnly || req.Method != http.MethodPost {
		if apiErr := methodError(ep.kind, req.Method); apiErr != nil {
			return pl, apiErr
		}
	}
	body, apiErr := readBody(req, ep.maxRequestBodyBytes)
	pl.raw = body
	if apiErr != nil || req.Header["Content-Encoding"] != nil {
		return planEncoded(ep, req, apiErr, pl)
	}
	return planBody(ep, req, body, pl)
}

// methodError refuses a request before its body is read; nil: it is served.
func methodError(endpoint kind, method string) *apiError {
	if endpoint == deny {
		return denied()
	}
	if method == http.MethodPost || endpoint == governedPassthrough {
		return nil
	}
	return methodNotAllowed(method, http.MethodPost)
}

// planEncoded judges a body that may have to be decompressed, and may not even have come.
func planEncoded(ep *endpoint, req *http.Request, apiErr *apiError, pl *plan) (*plan, *apiError) {
	if apiErr != nil {
		return pl, apiErr
	}
	body, apiErr := decompress(req.Header, pl.raw, ep.maxRequestBodyBytes)
	if apiErr != nil {
		return pl, apiErr
	}
	return planBody(ep, req, body, pl)
}

// planBody checks a body, and decides what the provider gets.
func planBody(ep *endpoint, req *http.Request, body []byte, pl *plan) (*plan, *apiError) {
	obj := newJSONObject(body)
	pl.decoded = body
	pl.decision = lookupDecision(ep.decisions, obj)
	if pl.decision == nil {
		if apiErr := decideUncached(ep, req, obj, pl); apiErr != nil {
			return pl, apiErr
		}
	}
	pl.pieces = splice(obj, pl.decision.edits)
	return pl, nil
}

// decideUncached decides on a body that no remembered verdict holds for.
func decideUncached(ep *endpoint, req *http.Request, obj *jsonObject, pl *plan) *apiError {
	d, apiErr := decide(ep, req, obj)
	pl.decision = d
	return apiErr
}

// reportOnly turns a judgement into one that changes and refuses nothing, but tells.
func reportOnly(rules *modelRules, pl *plan, apiErr *apiError) *plan {
	decisions := []string{reportDecision}
	requested := ""
	if apiErr != nil {
		decisions = append(decisions, "refused="+apiErr.code)
	} else {
		requested = pl.decision.requestedModel
		decisions = append(decisions, pl.decision.policy...)
	}
	d := newDecision(rules, requested, requested, nil, decisions)
	d.request.ReportOnly = true
	if apiErr == nil {
		d.request.Stream = pl.decision.request.Stream
	}
	return &plan{decision: d, raw: pl.raw, decoded: pl.decoded, usageAdded: pl.usageAdded, invalid: apiErr != nil}
}

// removeMembers returns a body without the members of some names.
func removeMembers(body []byte, names []string) []byte {
	obj := wholeJSONObject(body)
	if readMembers(obj) != nil {
		return body
	}
	for i := range obj.members {
		m := &obj.members[i]
		m.removed = containsText(names, m.name)
	}
	return plainBody(&plan{pieces: splice(obj, edits(obj, nil))})
}

// withoutUnsupportedUsage returns a body as it can be sent to a provider, and whether it asks for a usage that the client did not ask for:
// some providers cannot be asked, whatever an instance before has done.
func withoutUnsupportedUsage(ep *endpoint, body []byte, added bool) ([]byte, bool) {
	if !added || ep.addsUsage {
		return body, added
	}
	return removeMembers(body, []string{streamOptions}), false
}

// writePlan makes of the client's request the one that the provider gets.
func writePlan(pl *plan, req *http.Request, modelHeader string) {
	header := req.Header
	if pl.decision.model != nil {
		header[modelHeader] = pl.decision.model
	}
	// Without it, Traefik's transport asks for gzip by itself and hands on plain bytes.
	delete(header, "Accept-Encoding")
	delete(header, "Connection") // see keepUpgrade
	req.Trailer = nil
	if pl.path != "" {
		setPath(req, pl.path)
	}
	if pl.pieces == nil {
		restoreBody(req, pl.raw)
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
	// As what it was read: another type, or character set, would let the provider read something else.
	header["Content-Type"] = jsonType
	delete(header, "Content-Encoding")
}

// joinMaxBytes is up to which size of the client's body the pieces of the provider's are copied into one: net/http sends
// what it knows to be in memory together with the header, in one packet less. Above, the copy would cost more.
const joinMaxBytes = 16 << 10

var jsonType = []string{"application/json"}

// setBodyPieces gives a request a body that is not copied into one.
func setBodyPieces(req *http.Request, body [][]byte) {
	req.ContentLength = 0
	for _, piece := range body {
		req.ContentLength += int64(len(piece))
	}
	pieces := append(net.Buffers{}, body...) // which reading takes away from
	req.Body = io.NopCloser(&pieces)
}

// replayBody returns what gives the transport a body once more, if a connection turns out to be closed.
func replayBody(body [][]byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(bytes.Join(body, nil))), nil
	}
}

// restoreBody gives back what has been read of a body. The server closes its own, so that Close need not reach it.
func restoreBody(req *http.Request, raw []byte) {
	req.Body = io.NopCloser(io.MultiReader(bytes.NewReader(raw), req.Body))
}
