package chatcompletion

import (
	"io"
	"net/http"
	"sync"
)

// upload is what is found out about the body of a request while it streams to a provider. The transport
// reads the body in a goroutine of its own: until the response begins, what it finds is kept here.
type upload struct {
	mu       sync.Mutex
	ended    bool        // the response has begun, or the call has ended: nothing more is decided
	decision *decision   // the latest one
	apiErr   *apiError   // why the body was refused; nil: it was not
	header   http.Header // of that error
}

// endUpload ends what is found out about a body, and returns why it was refused; nil: it was not.
func endUpload(u *upload) *apiError {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ended = true
	return u.apiErr
}

// rejectUpload responds with the error for a body that was refused while it streamed, in place of the
// response to what the provider got of it.
func rejectUpload(w *responseWriter, apiErr *apiError) {
	header := w.ResponseWriter.Header()
	removeLogHeaders(header)
	removeRepresentation(header)
	for name, values := range w.upload.header {
		header[name] = values
	}
	if w.charges != nil || w.refused != nil {
		setLimitHeaders(header, w.errors, w.charges, w.refused)
	}
	w.errorType = apiErr.code
	w.fastPath = true
	w.out = io.Discard
	writeAPIError(w.ResponseWriter, w.errors, apiErr)
	w.status = apiErr.status
}
