package chatcompletion

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"strconv"
)

// newProxy returns the handler that has a provider answer.
func newProxy(u *upstream) http.Handler {
	return &httputil.ReverseProxy{
		Transport:      transportOf(u),
		Rewrite:        director(u),
		ModifyResponse: acceptResponse,
		ErrorHandler:   failProxy,
	}
}

// director returns what directs a request to a provider.
func director(u *upstream) func(*httputil.ProxyRequest) {
	return func(proxied *httputil.ProxyRequest) {
		out := proxied.Out
		out.URL.RawQuery = proxied.In.URL.RawQuery // as the client wrote it
		out.URL.Scheme = u.scheme
		out.URL.Host = u.authority
		out.Host = u.authority
		for _, name := range clientAddrHeaders {
			delete(out.Header, name)
		}
	}
}

// clientAddrHeaders are headers that tell a provider who the client is. ReverseProxy removes the other ones.
var clientAddrHeaders = []string{
	"X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info",
	"X-Real-Ip", "Via",
}

// acceptResponse looks at the header of an answer, and waits for the first byte of its body, unless it is the last provider's.
func acceptResponse(answer *http.Response) error {
	x := exchangeOf(answer.Request.Context())
	isUpgrade := answer.StatusCode == http.StatusSwitchingProtocols && x == nil
	if answer.StatusCode < http.StatusOK && !isUpgrade {
		return errNoResponse
	}
	if x == nil || x.attempt == nil {
		return nil
	}
	a := x.attempt
	a.status = answer.StatusCode
	a.outcome = strconv.Itoa(answer.StatusCode)
	if a.status == http.StatusTooManyRequests || a.status >= http.StatusInternalServerError {
		a.retryAfter = answer.Header.Get("Retry-After")
		if !a.isLast {
			return errNextProvider
		}
	} else if !a.isLast {
		if err := awaitFirstByte(answer); err != nil {
			a.status = 0
			return err
		}
	}
	if !a.firstByteTimer.Stop() {
		a.status = 0
		return context.DeadlineExceeded
	}
	addAttempt(x, a.outcome)
	return nil
}

// Why an answer is none for the client.
var (
	errNextProvider = errors.New("another provider is tried")
	errNoResponse   = errors.New("the provider's status is none of an answer")
)

// awaitFirstByte waits for the first byte of an answer's body.
func awaitFirstByte(answer *http.Response) error {
	first := make([]byte, 1)
	n, err := io.ReadFull(answer.Body, first)
	if err != nil && err != io.EOF {
		return err
	}
	// What NopCloser does not close, the end of the attempt does.
	answer.Body = io.NopCloser(io.MultiReader(bytes.NewReader(first[:n]), answer.Body))
	return nil
}

// failProxy answers for a provider that does not, unless another one is to.
func failProxy(rw http.ResponseWriter, req *http.Request, err error) {
	outcome := ""
	if x := exchangeOf(req.Context()); x == nil || x.attempt == nil {
		outcome = proxyOutcome(req.Context(), err) // of a request that is not governed
	} else {
		failAttempt(x, err)
		if x.attempt.failed {
			return
		}
		outcome = x.attempt.outcome
		x.errorType = outcome
	}
	switch outcome {
	case errorClientGone:
		rw.WriteHeader(statusClientClosedRequest)
	case errorTimeout:
		writeAPIError(rw, providerTimeout())
	default:
		writeAPIError(rw, providerUnreachable())
	}
}

// failAttempt notes why there is no answer for the client, and whether the next provider is tried.
func failAttempt(x *exchange, err error) {
	a := x.attempt
	a.err = err
	if err != errNextProvider {
		a.outcome = proxyOutcome(a.client, err)
	}
	a.failed = !a.isLast && a.outcome != errorClientGone
	addAttempt(x, a.outcome)
}

// proxyOutcome returns the error.type of an answer that has not come.
func proxyOutcome(ctx context.Context, err error) string {
	if ctx.Err() == context.Canceled {
		return errorClientGone
	}
	if os.IsTimeout(err) || errors.Is(err, context.Canceled) { // by the attempt, whose patience ended
		return errorTimeout
	}
	return errorConnectionFailed
}
