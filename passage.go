package chatcompletion

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// passage is a governed request on its way to the provider. It is in the request's context, where no client can put it, for
// those who meet the request later: another instance of the middleware on its path, and the callbacks of a reverse proxy.
//
// Of several instances, as in model-based routing, the first one reads the body, meters the call and treats the stream. A
// later one governs what the one before made of the body, if it has rules, and has its own provider answer.
type passage struct {
	kind       kind   // if it is models, the request is not governed, and there is nothing else here
	clientPath string // as the first instance got it
	judged     *judged
	before     *verdict // of the instance before; nil: there is none, or it has enforced nothing
	isReport   bool     // nothing has been enforced so far
	writer     *responseWriter
	attempt    *attempt // at a provider that the middleware forwards to; nil: there was none so far
	behind     string   // of models: what stands behind the path of the list
	keyName    string   // of models: the header with the key of the provider of the instance before
}

// passageKey is that of a passage in a context: a pointer, since Yaegi takes types of the same shape for one.
var passageKey = new(int)

// passageOf returns the passage in a context; nil: there is none yet.
func passageOf(ctx context.Context) *passage {
	way, has := ctx.Value(passageKey).(*passage)
	if !has {
		return nil
	}
	return way
}

// useVerdict has the answer treated, and told of, as a verdict says.
func useVerdict(w *responseWriter, j *judged) {
	w.asked = j.asked || j.verdict.asksUsage
	w.verdict = j.verdict
	w.call.Request = j.verdict.request
}

// takeOver handles a request that an instance before has governed and meters.
func takeOver(m *middleware, way *passage, rw http.ResponseWriter, req *http.Request) {
	p := m.policy
	if way.kind == models {
		if out := takeModelsOver(m, way, rw, req); out != nil {
			m.next.ServeHTTP(rw, out)
		}
		return
	}
	if p.modelHeader != way.writer.policy.modelHeader {
		delete(req.Header, p.modelHeader)
	}
	if before := way.writer.credential; before != nil {
		delete(req.Header, before.header) // the key of another provider
	}
	way.kind = laterKind(p, way, req.URL.Path)
	way.writer.call.Answer.kind = way.kind
	at := p.endpoints[way.kind]
	way.before = way.judged.verdict
	refused := governAgain(p, at, way, req)
	way.judged.path = "" // the middlewares between may have set another
	way.writer.call.Target = at.target
	way.writer.credential = p.credential
	if refused == nil && m.providers == nil {
		refused = prepare(p, at, way.judged, req)
	}
	if refused != nil {
		refuseLater(way.writer, refused)
		writeError(rw, refused)
		return
	}
	useVerdict(way.writer, way.judged)
	relay(m, way, rw, req)
}

// takeModelsOver answers a request for models that an instance before has let pass, or returns what is to be handed on of it.
func takeModelsOver(m *middleware, way *passage, rw http.ResponseWriter, req *http.Request) (out *http.Request) {
	p := m.policy
	out = nil
	defer guardUngoverned(p.name, rw)
	delete(req.Header, way.keyName)
	name, _ := url.PathUnescape(strings.TrimPrefix(way.behind, "/"))
	switch {
	case kindOf(p.laterRoutes, strings.TrimSuffix(req.URL.Path, "/"+name)) == deny && !p.report:
		writeRefusal(rw, denied())
	case name != "" && !isAllowed(p, name) && !p.report:
		writeRefusal(rw, noSuchModel(name))
	case p.allowedModels != nil && way.behind == "" && !p.report:
		filterModels(m, rw, req)
	default:
		out = modelsRequest(m, rw, req, way.behind)
	}
	return out
}

// laterKind returns the kind of endpoint that a request is for at a later instance: what an instance before has governed
// passes nowhere ungoverned, and what is denied under the client's path or the present one is denied.
func laterKind(p *policy, way *passage, path string) kind {
	own := kindOf(p.laterRoutes, path)
	if !p.report && (own == deny || kindOf(p.laterRoutes, way.clientPath) == deny) {
		return deny
	}
	if way.kind == governedPassthrough && (own == completions || own == embeddings || own == responses) {
		return own
	}
	return way.kind
}

// laterRoutes returns the routes for requests that an instance before has governed: those of the configuration, and behind
// them where OpenAI has the endpoints of each kind.
func laterRoutes(routes []route) []route {
	if len(routes) > 0 && routes[len(routes)-1].suffix == anyPath {
		return routes
	}
	return append(append([]route{}, routes...),
		route{suffix: "/chat/completions", kind: completions}, route{suffix: "/embeddings", kind: embeddings},
		route{suffix: "/responses", kind: responses}, route{suffix: anyPath, kind: governedPassthrough})
}

// governAgain applies the rules of a later instance to what the one before made of the request.
func governAgain(p *policy, at *endpoint, way *passage, req *http.Request) *refusal {
	if at.kind == deny {
		return denied()
	}
	before, j := way.judged, &judged{}
	var refused *refusal
	if way.isReport {
		j, refused = judge(p, at, req)
	} else {
		j.verdict = before.verdict
		body := plainBody(before)
		first := way.writer.policy
		if names := evasionsOf(first, first.endpoints[way.kind], p.preset); names != nil {
			body = without(body, names)
		}
		j.client, j.asked = usable(at, body, before.asked || before.verdict.asksUsage)
		j.body = [][]byte{j.client}
		if p.governs {
			j, refused = judgeBody(p, at, req, j.client, j)
		}
	}
	if p.report {
		j = wouldHave(p, j, refused)
		refused = nil // not in one assignment with j: Yaegi drops a nil there
		if !way.isReport {
			j.body = [][]byte{j.client}
		}
	}
	if refused != nil {
		return refused
	}
	if way.isReport && !p.report {
		way.before = nil // nothing of what it decided has been done
	} else {
		j.verdict = withDecisions(before.verdict, j.verdict)
	}
	way.isReport = way.isReport && p.report
	way.judged = j
	return nil
}

// usable returns a body as it can be sent to a provider, and whether it asks for a usage that the client did not ask for:
// some providers cannot be asked, whatever an instance before has done.
func usable(at *endpoint, body []byte, asked bool) ([]byte, bool) {
	if !asked || at.asksUsage {
		return body, asked
	}
	return without(body, []string{streamOptions}), false
}

// without returns a body without the members of some names.
func without(body []byte, names []string) []byte {
	e := wholeEnvelope(body)
	if readMembers(e) != nil {
		return body
	}
	for i := range e.members {
		m := &e.members[i]
		m.removed = contains(names, m.name)
	}
	return plainBody(&judged{body: splice(e, edits(e, nil))})
}

func contains(names []string, name string) bool {
	for _, known := range names {
		if known == name {
			return true
		}
	}
	return false
}

// withDecisions returns a verdict with the decisions of the one before it, too.
func withDecisions(before, v *verdict) *verdict {
	both := *v
	request := *v.request
	both.asked = before.asked
	both.request = &request
	if v == before {
		both.asksUsage = false // it has been asked for
		return &both
	}
	all := strings.Join(append(append([]string{}, before.policy...), v.policy...), ",")
	if all != "" {
		both.policy = []string{all}
	}
	request.Policy = all
	if request.Report && !before.request.Report { // the metrics count what was done
		request.Policy, request.Report = before.request.Policy, false
	}
	return &both
}

// refuseLater notes that a request is refused that is metered already.
func refuseLater(w *responseWriter, refused *refusal) {
	w.failure = refused.code
	before := w.verdict
	w.verdict = withDecisions(before, &verdict{model: before.model, policy: []string{"refused=" + refused.code}, request: before.request})
	w.call.Request = w.verdict.request
}
