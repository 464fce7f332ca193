package chatcompletion

import (
	"net/http"
	"strings"
	"time"
)

// serveUngoverned handles what is not governed, and tells whether that was all. What it leaves is governed, or refused.
func serveUngoverned(m *middleware, k kind, start time.Time, rw http.ResponseWriter, req *http.Request) bool {
	switch {
	case req.Method == http.MethodOptions:
		preflight(m.next, m.policy, rw, req)
	case dangerousMethods[strings.ToUpper(req.Method)]:
		refuse(m.policy, rw, &Call{Start: start, Target: m.policy.endpoints[k].target}, methodNotAllowed(req.Method, http.MethodPost))
	case k == models:
		listModels(m, rw, req)
	case k == passthrough || (k == governedPassthrough && hasNoBody(req)):
		passThrough(m, k, rw, req)
	default:
		return false
	}
	return true
}

// hasNoBody tells whether a request names no model in a body, for it has none and cannot become a tunnel for others.
func hasNoBody(req *http.Request) bool {
	return (req.Body == nil || req.Body == http.NoBody || req.ContentLength == 0) && req.Header["Upgrade"] == nil
}

// dangerousMethods are refused at every endpoint and in every mode: they would return the key to the client, or open a
// tunnel.
var dangerousMethods = map[string]bool{"TRACE": true, "TRACK": true, "CONNECT": true}

// preflight hands on what a browser asks before its request, and no more: no body, no upgrade of the connection, not the
// provider's key, and not the client's where the provider's would take its place.
func preflight(next http.Handler, p *policy, rw http.ResponseWriter, req *http.Request) {
	if p.credential != nil {
		removeCredentials(req.Header)
	}
	for _, name := range []string{"Connection", "Upgrade", "X-Http-Method-Override", "Content-Length"} {
		delete(req.Header, name)
	}
	removeBody(req)
	next.ServeHTTP(rw, req)
}

// passThrough hands a request on with the provider's key and path, and nothing else changed. The answer goes through the
// original writer, so that upgrades of the connection work.
func passThrough(m *middleware, k kind, rw http.ResponseWriter, req *http.Request) {
	p, j := m.policy, &judged{}
	if refused := prepare(p, p.endpoints[k], j, req); refused != nil {
		writeRefusal(rw, refused)
		return
	}
	keepUpgrade(req.Header)
	if j.path != "" {
		setPath(req, j.path)
	}
	m.next.ServeHTTP(rw, req)
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
