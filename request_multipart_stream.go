package chatcompletion

import (
	"bytes"
	"errors"
	"io"
	"net/http"
)

// A form that is not held in memory is read in windows of formReadBytes at least, so that the work of
// interpreted code does not grow with the packets. The beginning of a window is what was left of the one
// before: at most the header of a field, or the field of the model.
const (
	formReadBytes   = 32 << 10
	formWindowBytes = 2*formReadBytes + fieldHeaderMaxBytes
)

// formPrefixBytes is how much of a long form is read before it is forwarded, to decide on its model.
const formPrefixBytes = 64 << 10

// formStream is a form that is decided on while it streams. The provider gets what has been found good,
// and nothing of a field with a model that is not allowed.
type formStream struct {
	scanner *formScanner
	source  io.Reader
	window  []byte   // the memory of the window
	left    []byte   // of the window: not decided yet
	ready   [][]byte // to be forwarded
	err     error    // after that; nil: more is to be read
	passes  bool     // in report mode, a form that would have been refused

	// decide returns the model that the provider is sent for that of the client, or why there is none.
	decide func(requested string) (string, *apiError)
	// refuse is called with the reason why nothing more is forwarded.
	refuse func(*apiError)
}

// errFormRefused ends the request to the provider.
var errFormRefused = errors.New("the multipart body was refused")

// Read returns what may be forwarded. The transport calls it in a goroutine of its own.
func (s *formStream) Read(p []byte) (int, error) {
	defer recoverStream(s)
	for len(s.ready) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		fillStream(s)
	}
	n := copy(p, s.ready[0])
	s.ready[0] = s.ready[0][n:]
	if len(s.ready[0]) == 0 {
		s.ready[0] = nil // the memory of a long beginning is free
		s.ready = s.ready[1:]
	}
	return n, nil
}

// recoverStream is deferred. A panic in the goroutine of the transport would end Traefik.
func recoverStream(s *formStream) {
	if cause := recover(); cause != nil {
		s.ready = nil
		s.err = errFormRefused
		logWarn("a panic while reading a multipart body: %s", causeText(cause))
	}
}

// fillStream reads the next window.
func fillStream(s *formStream) {
	kept := copy(s.window, s.left)
	s.left = nil
	n, err := io.ReadAtLeast(s.source, s.window[kept:], formReadBytes)
	isLast := err == io.EOF || err == io.ErrUnexpectedEOF
	if err != nil && !isLast {
		s.err = err // the client's connection
		return
	}
	scanStream(s, s.window[:kept+n], isLast)
}

// scanStream decides on a window.
func scanStream(s *formStream, window []byte, isLast bool) {
	var apiErr *apiError
	rest := window
	if !s.passes {
		rest, apiErr = scanPieces(s, window, isLast)
	}
	switch {
	case apiErr != nil:
		refuseStream(s, window, apiErr)
	case s.passes:
		addReady(s, window)
	default:
		s.left = rest
	}
	if isLast && s.err == nil {
		s.err = io.EOF
	}
}

// scanPieces makes the pieces of a window ready that may be forwarded, and returns the rest.
func scanPieces(s *formStream, window []byte, isLast bool) ([]byte, *apiError) {
	s.scanner.isLast = isLast
	for {
		free, apiErr := scanForm(s.scanner, window)
		if apiErr != nil {
			return nil, apiErr
		}
		addReady(s, window[:free])
		window = window[free:]
		if !s.scanner.modelIsNext {
			return window, nil
		}
		requested := string(window[s.scanner.valueStart:s.scanner.valueEnd])
		model, apiErr := s.decide(requested)
		if apiErr != nil {
			return nil, apiErr
		}
		for _, piece := range modelField(s.scanner, window, model) {
			addReady(s, piece)
		}
		window = window[s.scanner.valueEnd:]
	}
}

func addReady(s *formStream, piece []byte) {
	if len(piece) > 0 {
		s.ready = append(s.ready, piece)
	}
}

// refuseStream ends a form for a reason. In report mode, it passes from the present window on.
func refuseStream(s *formStream, window []byte, apiErr *apiError) {
	s.ready = nil
	if s.scanner.form.reportOnly {
		s.passes = true
		addReady(s, window)
	} else {
		s.err = errFormRefused
	}
	s.refuse(apiErr)
}

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
	s := newFormStream(pl.form)
	s.decide = func(model string) (string, *apiError) {
		d, apiErr := decideForm(ep, req, pl.form, model)
		if apiErr != nil {
			return "", apiErr
		}
		pl.decision = d
		return d.request.Model, nil
	}
	if _, apiErr := scanPieces(s, pl.decoded, true); apiErr != nil {
		return pl, apiErr
	}
	if pl.decision == nil {
		pl.decision = newDecision(ep.models, "", "", nil, nil)
	}
	pl.pieces = s.ready
	pl.textBytes = s.scanner.textBytes
	return pl, nil
}

func newFormStream(f *form) *formStream {
	return &formStream{scanner: &formScanner{form: f}}
}

// planStream decides on a form of which a part is held in memory, if its model is there, and else
// leaves that to the stream.
func planStream(ep *endpoint, req *http.Request, f *form, prefix []byte) (*plan, *apiError) {
	pl := &plan{raw: prefix, form: f, streams: true}
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
	s.decide = func(model string) (string, *apiError) {
		d, apiErr := decideForm(ep, req, f, model)
		if apiErr != nil {
			return "", apiErr
		}
		pl.decision = d
		return sentModel(f, d), nil
	}
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

// hasModelRules reports whether a policy says anything about models.
func hasModelRules(rules *modelRules) bool {
	return rules.model != "" || rules.aliases != nil || rules.allowed != nil || rules.consumers != nil
}
