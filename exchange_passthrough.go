package chatcompletion

import (
	"net/http"
	"strings"
	"time"
)

// serveUngoverned serves requests that are not governed, and reports whether it has. All others are
// governed.
func serveUngoverned(p *policy, k kind, start time.Time, rw http.ResponseWriter, req *http.Request) bool {
	if p.consumers != nil && req.Method != http.MethodOptions {
		return serveUngovernedConsumer(p, k, start, rw, req)
	}
	return forwardUngoverned(p, k, start, rw, req)
}

// forwardUngoverned responds to a request that is not governed, or forwards it, and reports whether it
// has.
func forwardUngoverned(p *policy, k kind, start time.Time, rw http.ResponseWriter, req *http.Request) bool {
	out, isServed := respondUngoverned(p, k, start, rw, req)
	if out != nil {
		p.providers[0].handler.ServeHTTP(rw, out)
	}
	return isServed
}

// respondUngoverned responds to a request that is not governed, or returns the request that is to
// be forwarded.
func respondUngoverned(p *policy, k kind, start time.Time, rw http.ResponseWriter, req *http.Request) (out *http.Request, isServed bool) {
	out = nil
	isServed = true
	defer recoverUngoverned(p.name, rw)
	switch {
	case req.Method == http.MethodOptions:
		out = preflight(p, req)
	case dangerousMethods[strings.ToUpper(req.Method)]:
		rejectMethod(p, k, start, rw, req)
	case k == models:
		out = listModels(p, rw, req)
	case k == generateContent && (req.Method == http.MethodGet || req.Method == http.MethodHead):
		out = showPathModel(p, rw, req)
	case k == passthrough || (k == governedPassthrough && hasNoBody(req)):
		out = preparePassthrough(p, k, rw, req)
	default:
		isServed = false
	}
	return out, isServed
}

// rejectMethod rejects a request with a dangerous method.
func rejectMethod(p *policy, k kind, start time.Time, rw http.ResponseWriter, req *http.Request) {
	x := newExchange(p, p.providers[0].endpoints[k], start, rw, req)
	defer recoverExchange(x, req)
	rejectExchange(x, methodNotAllowed(req.Method, http.MethodPost))
}

// hasNoBody reports whether a request has no body that could name a model, and cannot become a tunnel.
func hasNoBody(req *http.Request) bool {
	return (req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0) && req.Header["Upgrade"] == nil
}

// dangerousMethods are rejected at every endpoint and in every mode: they would return the key to
// the client, or open a tunnel.
var dangerousMethods = map[string]bool{"TRACE": true, "TRACK": true, "CONNECT": true}

// preflight returns a CORS preflight to be forwarded, reduced to that: no body, no upgrade of the
// connection, no key of the provider, and no key of the client where the provider's would replace
// it.
func preflight(p *policy, req *http.Request) *http.Request {
	delete(req.Header, p.providers[0].auth.consumerHeader)
	if p.providers[0].auth.credential != nil {
		removeCredentials(req.Header)
		if req.URL.RawQuery != "" {
			removeQueryCredentials(req)
		}
	}
	for _, name := range []string{"Connection", "Upgrade", "X-Http-Method-Override", "Content-Length"} {
		delete(req.Header, name)
	}
	removeBody(req)
	return req
}

// preparePassthrough returns a request to be forwarded with the provider's key and path, and
// otherwise unchanged; nil: it was rejected. The response goes through the original writer, so that
// upgrades of the connection work.
func preparePassthrough(p *policy, k kind, rw http.ResponseWriter, req *http.Request) *http.Request {
	pl := &plan{}
	if apiErr := addressProvider(p.providers[0], k, pl, req); apiErr != nil {
		writePolicyError(rw, errorsFor(req), apiErr)
		return nil
	}
	keepUpgrade(req.Header)
	if pl.path != "" {
		setPath(req, pl.path)
	}
	return req
}

// keepUpgrade reduces the Connection header to what a WebSocket needs. The reverse proxy would
// remove every header that it names, such as the provider's key, and an upgrade to h2c would be a
// tunnel around every rule.
func keepUpgrade(header http.Header) {
	isWebsocket := header["Connection"] != nil && strings.EqualFold(header.Get("Upgrade"), "websocket")
	delete(header, "Connection")
	if isWebsocket {
		header["Connection"] = []string{"Upgrade"}
	} else {
		delete(header, "Upgrade")
	}
}
