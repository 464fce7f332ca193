package demo

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Headers with which a request orders how the provider responds, so that traffic can be as slow and as
// faulty as that of real providers. The plugin forwards them as any other header.
const (
	// DelayHeader is the time before the response begins, such as 850ms.
	DelayHeader = "X-Demo-Delay"

	// StatusHeader is the status of an error to respond with, such as 503.
	StatusHeader = "X-Demo-Status"
)

// maxDelay bounds what DelayHeader may order.
const maxDelay = time.Minute

// obeying returns the handler, which does what the headers of a request order.
func (u *upstream) obeying(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if delay, err := time.ParseDuration(r.Header.Get(DelayHeader)); err == nil && !pause(r, min(delay, maxDelay)) {
			return
		}
		status, err := strconv.Atoi(r.Header.Get(StatusHeader))
		if err != nil || status < 400 || status > 599 {
			next.ServeHTTP(w, r)
			return
		}
		u.log.record(r, nil)
		protocolOf(r).fail(w, failure{status, "", "", fmt.Sprintf("The request ordered status %d.", status)})
	})
}
