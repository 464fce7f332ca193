package chatcompletion

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
)

// The two spellings of one parameter. OpenAI's newer models take only the second, most other providers know the first.
const (
	maxTokens           = "max_tokens"
	maxCompletionTokens = "max_completion_tokens"
)

// rule is what the configuration demands of one parameter.
type rule struct {
	name       string
	id         int     // of the parameter
	twinID     int     // of its other spelling, else its own id
	dropped    bool    // it is removed
	absent     []byte  // value if the client left it out, else nil
	addition   []byte  // the same as a member of the request, behind a comma
	absentWhy  string  // for the policy header
	enforced   bool    // absent also replaces the client's value
	limited    bool    // a client's value is at most maximum
	maximum    float64 // if limited
	maximumRaw []byte  // maximum as JSON
}

// verdict is what the policy made of a request. It is shared by all requests with the same skeleton, and so are the
// values of its headers: whoever changes a header puts another value in its place.
type verdict struct {
	asked     string   // the client's model
	model     []string // the model that the provider is asked for; nil: unknown
	edits     []edit
	policy    []string // what was decided, "what=why" behind commas, for the policy header; nil: nothing
	asksUsage bool     // the stream is asked for a usage that the client did not ask for
	request   *Request
}

func newVerdict(p *policy, asked, model string, edits []edit, decisions []string) *verdict {
	v := &verdict{asked: asked, edits: edits}
	v.request = &Request{Model: model, ConfiguredModel: p.configuredModels[model], Policy: strings.Join(decisions, ",")}
	if model != "" {
		v.model = []string{model}
	}
	if len(decisions) > 0 {
		v.policy = []string{v.request.Policy}
	}
	return v
}

// judged is a request with its verdict.
type judged struct {
	verdict *verdict
	raw     []byte   // the client's body as it came, as far as it was read
	client  []byte   // the same, decompressed
	body    [][]byte // what the provider gets, in pieces; nil: the client's body
	path    string   // that the provider is asked for, escaped; empty: the client's
	asked   bool     // client asks for a usage that the client did not ask for, but an instance before
	faulty  bool     // report mode lets pass what is refused otherwise
}

// plainBody is the body that the provider gets, as one.
func plainBody(j *judged) []byte {
	if j.body == nil {
		return j.raw
	}
	return bytes.Join(j.body, nil)
}

// judge reads a request, checks it, and decides what the provider gets.
func judge(p *policy, at *endpoint, req *http.Request) (*judged, *refusal) {
	j := &judged{}
	if !at.isPlain || req.Method != http.MethodPost {
		if refused := notServed(at.kind, req.Method); refused != nil {
			return j, refused
		}
	}
	body, refused := readBody(req, p.maxRequestBodyBytes)
	j.raw = body
	if refused != nil || req.Header["Content-Encoding"] != nil {
		return judgeEncoded(p, at, req, refused, j)
	}
	return judgeBody(p, at, req, body, j)
}

// judgeEncoded judges a body that may have to be decompressed, and may not even have come.
func judgeEncoded(p *policy, at *endpoint, req *http.Request, refused *refusal, j *judged) (*judged, *refusal) {
	if refused != nil {
		return j, refused
	}
	body, refused := decompress(req.Header, j.raw, p.maxRequestBodyBytes)
	if refused != nil {
		return j, refused
	}
	return judgeBody(p, at, req, body, j)
}

// judgeBody checks a body, and decides what the provider gets.
func judgeBody(p *policy, at *endpoint, req *http.Request, body []byte, j *judged) (*judged, *refusal) {
	e := newEnvelope(body)
	j.client = body
	j.verdict = recall(at.verdicts, e)
	if j.verdict == nil {
		if refused := judgeAfresh(p, at, req, e, j); refused != nil {
			return j, refused
		}
	}
	j.body = splice(e, j.verdict.edits)
	return j, nil
}

// judgeAfresh decides on a body that no remembered verdict holds for.
func judgeAfresh(p *policy, at *endpoint, req *http.Request, e *envelope, j *judged) *refusal {
	v, refused := decide(p, at, req, e)
	j.verdict = v
	return refused
}

// notServed refuses a request before its body is read; nil: it is served.
func notServed(endpoint kind, method string) *refusal {
	if endpoint == deny {
		return denied()
	}
	if method == http.MethodPost || endpoint == governedPassthrough {
		return nil
	}
	return methodNotAllowed(method, http.MethodPost)
}

func methodNotAllowed(method, allowed string) *refusal {
	return &refusal{http.StatusMethodNotAllowed, invalidRequestError, "method_not_supported", "",
		"Not allowed to " + shortened(method) + " here. Send the request with " + allowed + "."}
}

// decide checks the body of a request, decides on its model and parameters, and remembers the verdict if it holds for
// other requests.
func decide(p *policy, at *endpoint, req *http.Request, e *envelope) (*verdict, *refusal) {
	if at.parses && (len(e.skeleton) > maxSkeletonBytes || bytes.Count(e.skeleton, comma) >= maxValues) {
		return nil, tooManyValues()
	}
	refused := readMembers(e)
	if refused == nil {
		refused = validate(e, at.parameters)
	}
	if refused != nil {
		return nil, refused
	}
	d := &decision{}
	if refused = governModel(p, at, req, e, d); refused != nil {
		return nil, refused
	}
	governParams(at, e, d)
	stream := isStream(at, e)
	asksUsage := stream && at.asksUsage && askUsage(at, e, d)
	v := newVerdict(p, d.asked, d.model, edits(e, d.additions), d.why)
	v.request.Stream = stream
	v.asksUsage = asksUsage
	if p.telemetry.details {
		v.request.Parameters = requestParameters(at, e)
	}
	if p.modelTemplate == nil {
		remember(at.verdicts, e, v)
	}
	return v, nil
}

// reportDecision stands before what would have been decided.
const reportDecision = "mode=report"

// wouldHave turns a judgement into one that changes and refuses nothing, but tells.
func wouldHave(p *policy, j *judged, refused *refusal) *judged {
	decisions := []string{reportDecision}
	asked := ""
	if refused != nil {
		decisions = append(decisions, "refused="+refused.code)
	} else {
		asked = j.verdict.asked
		decisions = append(decisions, j.verdict.policy...)
	}
	v := newVerdict(p, asked, asked, nil, decisions)
	v.request.Report = true
	if refused == nil {
		v.request.Stream = j.verdict.request.Stream
	}
	return &judged{verdict: v, raw: j.raw, client: j.client, asked: j.asked, faulty: refused != nil}
}

// decision is a verdict in the making.
type decision struct {
	asked     string
	model     string
	additions []byte // members that the client did not send, each behind a comma
	why       []string
}

// governModel finds the model: the client's or the configured one, then its alias, then whether it is allowed.
func governModel(p *policy, at *endpoint, req *http.Request, e *envelope, d *decision) *refusal {
	d.asked = askedModel(e)
	if d.asked == "" && at.kind == governedPassthrough {
		return nil
	}
	d.model = d.asked
	configured := p.model
	if p.modelTemplate != nil && (d.asked == "" || !p.modelOverride) {
		var refused *refusal
		if configured, refused = render(p.modelTemplate, req); refused != nil {
			return refused
		}
	}
	why := ""
	if d.asked == "" {
		d.model, why = configured, "model=set"
	} else if d.asked != configured && !p.modelOverride {
		d.model, why = configured, "model=enforced"
	}
	if !isModelName(d.asked) || !isModelName(d.model) {
		return invalidModel()
	}
	if target, isAlias := p.aliases[d.model]; isAlias {
		d.model = target
		if why == "" {
			why = "model=aliased"
		}
	}
	if d.model == "" {
		return noModel()
	}
	if !isAllowed(p, d.model) {
		return modelNotFound(p, d)
	}
	if d.model != d.asked {
		replaceModel(e, d, why)
	}
	return nil
}

// askedModel returns the model that the client asks for: "", null and none are the same.
func askedModel(e *envelope) string {
	place := e.found[modelID]
	if place == 0 {
		return ""
	}
	value := bodyValue(e, &e.members[place-1])
	if value[0] == 'n' {
		return ""
	}
	return unquote(value)
}

func replaceModel(e *envelope, d *decision, why string) {
	d.why = append(d.why, why)
	value := marshal(d.model)
	if place := e.found[modelID]; place != 0 {
		e.members[place-1].replacement = value
		return
	}
	d.additions = append(append(d.additions, `,"model":`...), value...)
}

func noModel() *refusal {
	return invalidRequest("missing_required_parameter", "model", "you must provide a model parameter")
}

// modelNotFound refuses the model of a request, and says which ones there are.
func modelNotFound(p *policy, d *decision) *refusal {
	asked := d.asked
	if asked == "" || !p.modelOverride {
		asked = d.model
	}
	refused := noSuchModel(asked)
	refused.message += " Ask for one of: " + p.allowedText + "."
	return refused
}

// governParams applies the rules, and notes in the members of e what changes.
func governParams(at *endpoint, e *envelope, d *decision) {
	for _, r := range at.rules {
		place := e.found[r.id]
		if r.twinID != r.id {
			place = oneSpelling(e, r, d)
		}
		if place != 0 {
			governSent(r, e, &e.members[place-1], d)
			if at.tokenLimit == r.name {
				nameTokenLimit(at.tokenLimit, &e.members[place-1], d)
			}
		} else if r.absent != nil {
			d.additions = append(d.additions, r.addition...)
			d.why = append(d.why, r.name+r.absentWhy)
		}
	}
}

// nameTokenLimit gives the token limit the only name that the provider knows it by.
func nameTokenLimit(name string, m *member, d *decision) {
	if m.name != name && !m.removed {
		m.newName = name
		d.why = append(d.why, m.name+"=renamed")
	}
}

// governSent applies a rule to the member that the client sent.
func governSent(r *rule, e *envelope, m *member, d *decision) {
	why := ""
	switch {
	case r.dropped:
		m.removed, why = true, "=dropped"
	case e.skeleton[m.start] == 'n':
		m.replacement, why = r.absent, r.absentWhy
	case r.enforced:
		if !bytes.Equal(skeletonValue(e, m), r.absent) || !bytes.Equal(bodyValue(e, m), r.absent) {
			m.replacement, why = r.absent, "=enforced"
		}
	case r.limited:
		if value, err := strconv.ParseFloat(string(skeletonValue(e, m)), 64); err != nil || value > r.maximum {
			m.replacement, why = r.maximumRaw, "=limited"
		}
	}
	if why != "" {
		d.why = append(d.why, m.name+why)
	}
}

// oneSpelling returns the place of the token limit, in whatever spelling the client sent it. Of two spellings, the newer
// one with a value stays.
func oneSpelling(e *envelope, r *rule, d *decision) int {
	place, other := e.found[r.id], e.found[r.twinID]
	if other != 0 && e.members[other-1].removed {
		other = 0 // by a rule of its own
	}
	if place == 0 {
		return other
	}
	if other == 0 {
		return place
	}
	keep, lose := place, other
	if r.name == maxTokens {
		keep, lose = other, place
	}
	if e.skeleton[e.members[keep-1].start] == 'n' && e.skeleton[e.members[lose-1].start] != 'n' {
		keep, lose = lose, keep
	}
	e.members[lose-1].removed = true
	d.why = append(d.why, e.members[lose-1].name+"=dropped")
	return keep
}
