package chatcompletion

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"strconv"
)

// Forms of the dashboard, by the media type that a client prefers.
const (
	pageForm   = "text/html"
	jsonForm   = "application/json"
	eventsForm = "text/event-stream"
)

// dashboardHandler is the handler that serves the dashboard: the page, and what it shows.
type dashboardHandler struct {
	dashboard *dashboard
	name      string // of the middleware
}

// ServeHTTP serves the form that the client prefers.
func (h *dashboardHandler) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	defer recoverUngoverned(h.name, rw)
	if refuseMethod(rw, req, "open the dashboard") {
		return
	}
	header := rw.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("Vary", "Accept")
	switch preferredForm(req.Header["Accept"]) {
	case eventsForm:
		serveEvents(h.dashboard, rw, req)
	case jsonForm:
		header.Set("Content-Type", jsonForm)
		var body []byte
		if req.Method == http.MethodGet {
			body = wholeSnapshot(h.dashboard)
		}
		serveDocument(rw, req, body, acceptsGzip(req.Header["Accept-Encoding"]))
	default:
		header.Set("Content-Type", pageForm+"; charset=utf-8")
		header.Set("Content-Security-Policy", dashboardPolicy)
		serveDocument(rw, req, []byte(dashboardPage), false)
	}
}

// preferredForm returns the form that a client prefers. A client that accepts anything gets the page.
func preferredForm(accept []string) string {
	wanted := qualities(accept)
	form, best := pageForm, wanted[pageForm]
	for _, other := range []string{jsonForm, eventsForm} {
		if quality := wanted[other]; quality > best {
			form = other
			best = quality
		}
	}
	return form
}

// serveDocument responds with a document.
func serveDocument(rw http.ResponseWriter, req *http.Request, body []byte, isCompressed bool) {
	header := rw.Header()
	if isCompressed {
		header.Set("Content-Encoding", "gzip")
		var compressed bytes.Buffer
		compressor := gzip.NewWriter(&compressed)
		_, _ = compressor.Write(body)
		_ = compressor.Close()
		body = compressed.Bytes()
	}
	if req.Method == http.MethodHead {
		rw.WriteHeader(http.StatusOK)
		return
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	rw.WriteHeader(http.StatusOK)
	_, _ = rw.Write(body)
}

// serveEvents sends a viewer what it shows, and then each change, until it leaves.
func serveEvents(d *dashboard, rw http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodHead {
		rw.Header().Set("Content-Type", eventsForm)
		rw.WriteHeader(http.StatusOK)
		return
	}
	p := addViewer(d)
	if p == nil {
		writePolicyError(rw, openAIErrors, tooManyViewers())
		return
	}
	defer removeViewer(d)
	if done := req.Context().Done(); done != nil {
		go awaitClient(d, p, done)
	}
	header := rw.Header()
	header.Set("Content-Type", eventsForm)
	header.Set("X-Accel-Buffering", "no") // of nginx before this Traefik
	rw.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(rw).Flush
	frame := append([]byte("retry: 2000\n\n"), firstFrame(d, p)...)
	for frame != nil {
		if _, err := rw.Write(frame); err != nil {
			return
		}
		_ = flush()
		frame = nextFrame(d, p)
	}
}

func tooManyViewers() *apiError {
	return &apiError{http.StatusServiceUnavailable, serverError, "too_many_pages", "",
		"The dashboard is open in " + strconv.Itoa(maxViewers) + " pages. Close one, or try again later."}
}
