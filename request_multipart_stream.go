package chatcompletion

import (
	"errors"
	"io"
)

// A form that is not held in memory is read in windows of formReadBytes at least, so that the work of
// interpreted code does not grow with the packets. The beginning of a window is what was left of the one
// before: at most the header of a field, or the field of the model.
const (
	formReadBytes   = 32 << 10
	formWindowBytes = 2*formReadBytes + fieldHeaderMaxBytes
)

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
