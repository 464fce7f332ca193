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

// newProxy returns the handler that forwards to a provider.
func newProxy(u *upstream) http.Handler {
	return &httputil.ReverseProxy{
		Transport:      transportOf(u),
		Rewrite:        director(u),
		ModifyResponse: acceptResponse,
		ErrorHandler:   failProxy,
	}
}

// director returns the function that directs a request to a provider.
func director(u *upstream) func(*httputil.ProxyRequest) {
	return func(proxied *httputil.ProxyRequest) {
		out := proxied.Out
		out.URL.RawQuery = proxied.In.URL.RawQuery // unchanged: ReverseProxy drops parameters that it cannot parse
		out.URL.Scheme = u.scheme
		out.URL.Host = u.authority
		out.Host = u.authority
		for _, name := range clientAddrHeaders {
			delete(out.Header, name)
		}
	}
}

// clientAddrHeaders are headers that reveal the client's address. ReverseProxy itself removes
// X-Forwarded-For, -Host and -Proto.
var clientAddrHeaders = []string{
	"X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info",
	"X-Real-Ip", "Via",
}

// acceptResponse checks the header of a response, and waits for the first byte of its body unless
// the provider is the last one.
func acceptResponse(res *http.Response) error {
	x := exchangeOf(res.Request.Context())
	isUpgrade := res.StatusCode == http.StatusSwitchingProtocols && x == nil
	if res.StatusCode < http.StatusOK && !isUpgrade {
		return errNoResponse
	}
	if x == nil || x.attempt == nil {
		return nil
	}
	a := x.attempt
	a.status = res.StatusCode
	a.outcome = strconv.Itoa(res.StatusCode)
	if a.status == http.StatusTooManyRequests || a.status >= http.StatusInternalServerError {
		a.retryAfter = res.Header.Get("Retry-After")
		if !a.isLast {
			return errNextProvider
		}
	} else if !a.isLast {
		if err := awaitFirstByte(res); err != nil {
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

// Why the client does not get a response.
var (
	errNextProvider = errors.New("the next provider is tried")
	errNoResponse   = errors.New("the provider sent an invalid status")
)

// awaitFirstByte waits for the first byte of a response's body.
func awaitFirstByte(res *http.Response) error {
	first := make([]byte, 1)
	n, err := io.ReadFull(res.Body, first)
	if err != nil && err != io.EOF {
		return err
	}
	// The end of the attempt closes what NopCloser does not.
	res.Body = io.NopCloser(io.MultiReader(bytes.NewReader(first[:n]), res.Body))
	return nil
}

// failProxy responds for a provider that has not, unless the next one is tried.
func failProxy(rw http.ResponseWriter, req *http.Request, err error) {
	outcome := ""
	format := errorsFor(req)
	if x := exchangeOf(req.Context()); x == nil || x.attempt == nil {
		outcome = proxyOutcome(req.Context(), err) // of an ungoverned request
	} else {
		failAttempt(x, err)
		if x.attempt.tryNext {
			return
		}
		outcome = x.attempt.outcome
		format = x.response.errors
		x.errorType = outcome
	}
	switch outcome {
	case errorClientGone:
		rw.WriteHeader(statusClientClosedRequest)
	case errorTimeout:
		writeAPIError(rw, format, providerTimeout())
	default:
		writeAPIError(rw, format, providerUnreachable())
	}
}

// failAttempt notes why a provider has not responded, and whether the next one is tried.
func failAttempt(x *exchange, err error) {
	a := x.attempt
	a.err = err
	if err != errNextProvider {
		a.outcome = proxyOutcome(a.clientContext, err)
	}
	a.tryNext = !a.isLast && a.outcome != errorClientGone
	addAttempt(x, a.outcome)
}

// proxyOutcome returns the error.type of a response that has not come.
func proxyOutcome(ctx context.Context, err error) string {
	if ctx.Err() == context.Canceled {
		return errorClientGone
	}
	if os.IsTimeout(err) || errors.Is(err, context.Canceled) { // by the first byte timer
		return errorTimeout
	}
	return errorConnectionFailed
}
