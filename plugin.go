// Package chatcompletion is a Traefik middleware that turns a route into a governed AI endpoint.
//
// It validates requests of OpenAI's API, enforces or defaults the model and the parameters by rewriting the body, replaces
// the client's credentials by the provider's key, and hands the answer on as it comes, streams included.
//
// Traefik interprets the package with Yaegi. Compiled code of the standard library touches the bytes, interpreted code
// makes the decisions; some lines look odd for Yaegi's sake and say so.
package chatcompletion

import (
	"context"
	"net/http"
	"time"
)

// New returns the middleware in front of next. An error names every problem of the configuration with its key.
func New(ctx context.Context, next http.Handler, config *Config, name string) (http.Handler, error) {
	p, err := newPolicy(config, name)
	if err != nil {
		return nil, err
	}
	startTelemetry(ctx, p.telemetry)
	if p.exposes {
		return &exposition{registry: p.telemetry.registry, name: name}, nil
	}
	m := newMiddleware(ctx, next, p)
	if p.upstream != nil {
		m.providers = []*middleware{m}
		for _, fallback := range p.fallbacks {
			m.providers = append(m.providers, newMiddleware(ctx, next, fallback))
		}
	}
	return m, nil
}

type middleware struct {
	next      http.Handler // which reaches the provider
	policy    *policy
	providers []*middleware // that are forwarded to, tried in their order, the first one being this; nil: next is the service's
}

func newMiddleware(ctx context.Context, next http.Handler, p *policy) *middleware {
	startCredential(ctx, p.credential)
	if p.upstream != nil {
		next = newProxy(p.upstream)
	}
	if p.maxResponseBytes > 0 || p.maxStreamDuration > 0 {
		next = limitResponses(p, next)
	}
	return &middleware{next: next, policy: p}
}

// ServeHTTP governs one request, hands on its answer, and records the call.
func (m *middleware) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	p := m.policy
	if x, handed := req.Context().Value(exchangeKey).(*exchange); handed { // as exchangeOf, whose call would cost every request
		serveChained(m, x, rw, req)
		return
	}
	start := time.Now()
	delete(req.Header, p.modelHeader)
	k := completions
	if p.routes != nil {
		k = kindOf(p.routes, req.URL.Path)
	}
	ep := p.endpoints[k]
	if !ep.postOnly || req.Method != http.MethodPost {
		if serveUngoverned(m, k, start, rw, req) {
			return
		}
	}
	t := p.telemetry
	call := &Call{Start: start, Target: ep.target, Response: Response{kind: k, wantsDetails: t.wantsDetails}}
	w := &responseWriter{ResponseWriter: rw, client: rw, policy: p, credential: p.credential, call: call, start: start}
	defer recoverExchange(w, req)
	if t.labels != nil {
		call.Labels = labelsOf(t.labels, req)
	}
	pl, apiErr := planRequest(p, ep, req)
	if p.reportOnly {
		pl = reportOnly(p, pl, apiErr)
		apiErr = nil // not in one assignment with j: Yaegi drops a nil there
	}
	if apiErr == nil && m.providers == nil {
		apiErr = addressProvider(p, ep, pl, req)
	}
	if t.spans {
		startSpan(t, req.Header, pl, call)
	}
	if apiErr != nil {
		rejectExchange(w, apiErr)
		return
	}
	serveExchange(m, w, req, pl)
}
