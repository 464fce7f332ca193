package chatcompletion

import (
	"net/http"
	"strings"
	"time"
)

// serveUngoverned handles what is not governed, and tells whether that was all. What it leaves is governed, or refused.
func serveUngoverned(p *policy, k kind, start time.Time, rw http.ResponseWriter, req *http.Request) bool {
	out, isServed := respondUngoverned(p, k, start, rw, req)
	if out != nil {
		p.providers[0].handler.ServeHTTP(rw, out)
	}
	return isServed
}

// respondUngoverned answers what is not governed, or returns the request that is to be handed on.
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
	case k == passthrough || (k == governedPassthrough && hasNoBody(req)):
		out = preparePassthrough(p, k, rw, req)
	default:
		isServed = false
	}
	return out, isServed
}

// rejectMethod refuses a request of a method that is dangerous.
func rejectMethod(p *policy, k kind, start time.Time, rw http.ResponseWriter, req *http.Request) {
	x := newExchange(p, p.providers[0].endpoints[k], start, rw, req)
	defer recoverExchange(x, req)
	rejectExchange(x, methodNotAllowed(req.Method, http.MethodPost))
}

// hasNoBody tells whether a request names no model in a body, for it has none and cannot become a tunnel for others.
func hasNoBody(req *http.Request) bool {
	return (req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0) && req.Header["Upgrade"] == nil
}

// dangerousMethods are refused at every endpoint and in every mode: they would return the key to the client, or open a
// tunnel.
var dangerousMethods = map[string]bool{"TRACE": true, "TRACK": true, "CONNECT": true}

// preflight returns what a browser asks before its request, to be handed on, and no more: no body, no upgrade of the connection, not the
// provider's key, and not the client's where the provider's would take its place.
func preflight(p *policy, req *http.Request) *http.Request {
	if p.providers[0].auth.credential != nil {
		removeCredentials(req.Header)
	}
	for _, name := range []string{"Connection", "Upgrade", "X-Http-Method-Override", "Content-Length"} {
		delete(req.Header, name)
	}
	removeBody(req)
	return req
}

// preparePassthrough returns a request, to be handed on, with the provider's key and path, and nothing else changed; nil: it is refused.
// The answer goes through the original writer, so that upgrades of the connection work.
func preparePassthrough(p *policy, k kind, rw http.ResponseWriter, req *http.Request) *http.Request {
	pl := &plan{}
	if apiErr := addressProvider(p.providers[0], k, pl, req); apiErr != nil {
		writePolicyError(rw, apiErr)
		return nil
	}
	keepUpgrade(req.Header)
	if pl.path != "" {
		setPath(req, pl.path)
	}
	return req
}

// keepUpgrade leaves of the Connection header what a websocket needs. Anything else that it names, the provider's key for
// one, the reverse proxy would remove; and another upgrade, such as to h2c, would be a tunnel around every rule.
func keepUpgrade(header http.Header) {
	isWebsocket := header["Connection"] != nil && strings.EqualFold(header.Get("Upgrade"), "websocket")
	delete(header, "Connection")
	if isWebsocket {
		header["Connection"] = []string{"Upgrade"}
	} else {
		delete(header, "Upgrade")
	}
}
