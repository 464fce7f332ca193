package chatcompletion

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
)

// formPrefixBytes is how much of a long form is read before it is forwarded, to decide on its model.
const formPrefixBytes = 64 << 10

// planForm reads a form, and decides what the provider is sent. A form within the limit for bodies is
// held in memory, as other bodies are. A longer one streams.
func planForm(ep *endpoint, req *http.Request, f *form) (*plan, *apiError) {
	body, apiErr := readBody(req, ep.maxRequestBodyBytes)
	if apiErr != nil && apiErr.status == http.StatusRequestEntityTooLarge {
		return planStream(ep, req, f, body)
	}
	pl := &plan{raw: body, decoded: body, form: f}
	if apiErr != nil {
		return pl, apiErr
	}
	return planHeldForm(ep, req, pl)
}

// planHeldForm decides on a form that is held in memory.
func planHeldForm(ep *endpoint, req *http.Request, pl *plan) (*plan, *apiError) {
	if g := pl.form.guard; g != nil {
		if apiErr := inspectForm(g, pl); apiErr != nil {
			return pl, apiErr
		}
	}
	s := newFormStream(pl.form)
	s.decide = formDecider(ep, req, pl)
	if _, apiErr := scanPieces(s, pl.decoded, true); apiErr != nil {
		return pl, apiErr
	}
	if pl.decision == nil {
		pl.decision = newDecision(ep.models, "", "", nil, nil)
	}
	pl.pieces = s.ready
	pl.textBytes = s.scanner.textBytes
	reportGuarded(pl, nil)
	return pl, nil
}

func newFormStream(f *form) *formStream {
	return &formStream{scanner: &formScanner{form: f}}
}

// planStream decides on a form of which a part is held in memory, if its model is there, and else
// leaves that to the stream.
func planStream(ep *endpoint, req *http.Request, f *form, prefix []byte) (*plan, *apiError) {
	pl := &plan{raw: prefix, form: f, streams: true}
	if f.guard != nil && !f.reportOnly {
		return pl, notInspected(f.guard, "the form is longer than "+strconv.FormatInt(ep.maxRequestBodyBytes, 10)+" bytes")
	}
	if len(prefix) < formPrefixBytes {
		var read bytes.Buffer
		_, err := io.Copy(&read, io.LimitReader(req.Body, int64(formPrefixBytes-len(prefix))))
		prefix = append(prefix, read.Bytes()...)
		pl.raw = prefix
		if err != nil {
			return pl, incompleteBody()
		}
		if len(prefix) == 0 {
			return pl, bodyAlreadyRead()
		}
	}
	s := newFormStream(f)
	s.source = req.Body
	s.window = make([]byte, formWindowBytes)
	s.decide = formDecider(ep, req, pl)
	rest, apiErr := scanPieces(s, prefix, false)
	if apiErr != nil {
		return pl, apiErr
	}
	s.left = append([]byte(nil), rest...)
	pl.stream = s
	pl.textBytes = s.scanner.textBytes
	pl.streamBytes = streamBytes(ep, req, pl)
	pl.raw = nil // the stream has it
	if pl.decision == nil {
		pl.decision = newDecision(ep.models, "", "", nil, nil)
	}
	return pl, nil
}

// formDecider returns a function that decides on the model of a form, and keeps the decision in its plan.
func formDecider(ep *endpoint, req *http.Request, pl *plan) func(string) (string, *apiError) {
	return func(requested string) (string, *apiError) {
		d, apiErr := decideForm(ep, req, pl.form, requested)
		if apiErr != nil {
			return "", apiErr
		}
		pl.decision = d
		return sentModel(pl.form, d), nil
	}
}

// sentModel returns the model that the provider is sent: in report mode that of the client.
func sentModel(f *form, d *decision) string {
	if f.reportOnly {
		return d.requestedModel
	}
	return d.request.Model
}

// streamBytes returns the length of a form that streams; -1: it is not known.
func streamBytes(ep *endpoint, req *http.Request, pl *plan) int64 {
	rules, f := ep.models, pl.form
	switch {
	case req.ContentLength < 0 || f.reportOnly:
		return req.ContentLength
	case pl.decision == nil && (!rules.override || rules.aliases != nil):
		return -1
	case pl.decision == nil:
		return req.ContentLength
	}
	length := req.ContentLength - int64(len(pl.raw)-len(pl.stream.left))
	for _, piece := range pl.stream.ready {
		length += int64(len(piece))
	}
	return length
}

// isPending reports whether the model of a form is not decided yet.
func isPending(pl *plan) bool {
	return pl.stream != nil && !pl.stream.scanner.hasModel
}

// decideForm decides on the model of a form; "": it has none.
func decideForm(ep *endpoint, req *http.Request, f *form, requested string) (*decision, *apiError) {
	draft := &decisionDraft{requestedModel: requested}
	if requested == "" {
		if f.needsModel {
			return nil, noModel()
		}
		return newDecision(ep.models, "", "", nil, nil), nil
	}
	reason, apiErr := chooseModel(ep, req, draft)
	if apiErr != nil {
		return nil, apiErr
	}
	if draft.model != requested {
		draft.reasons = []string{reason}
	}
	return newDecision(ep.models, requested, draft.model, nil, draft.reasons), nil
}
