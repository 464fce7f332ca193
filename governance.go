package chatcompletion

import (
	"bytes"
	"net/http"
	"strconv"
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
	maximum    float64 //
	maximumRaw []byte  // maximum as JSON
}

// verdict is what the policy made of one request.
type verdict struct {
	asked     string   // the client's model
	model     string   // the model that the provider is asked for
	body      [][]byte // what the provider gets, in pieces; nil: what the client sent
	additions [][]byte // members that the client did not send, each behind a comma
	decisions []string // "what=why", for the policy header
}

// judge reads a request, checks it, and decides what the provider gets. raw is the body as far as it was read.
func judge(p *policy, endpoint kind, req *http.Request) (raw []byte, v *verdict, refused *refusal) {
	if endpoint == deny {
		return nil, nil, denied()
	}
	if req.Method != http.MethodPost {
		return nil, nil, methodNotAllowed(req.Method)
	}
	raw, refused = readBody(req, p.maxRequestBodyBytes)
	body := raw
	if refused == nil && req.Header["Content-Encoding"] != nil {
		body, refused = decompress(req.Header, raw, p.maxRequestBodyBytes)
	}
	if refused == nil {
		v, refused = govern(p, req, body)
	}
	return raw, v, refused
}

// govern decides on the plain body of a request.
func govern(p *policy, req *http.Request, body []byte) (*verdict, *refusal) {
	e, refused := parseEnvelope(body)
	if refused == nil {
		refused = validate(e, p.parameters)
	}
	if refused != nil {
		return nil, refused
	}
	v := &verdict{}
	if refused = governModel(p, req, e, v); refused != nil {
		return nil, refused
	}
	governParams(p, e, v)
	if len(v.decisions) > 0 {
		v.body = splice(e, v.additions)
	} else {
		v.body = [][]byte{body}
	}
	return v, nil
}

func methodNotAllowed(method string) *refusal {
	return &refusal{http.StatusMethodNotAllowed, invalidRequestError, "method_not_supported", "",
		"Not allowed to " + shortened(method) + " here. Send the request with POST."}
}

// wouldHave turns a verdict or refusal into one that changes and refuses nothing, but tells.
func wouldHave(v *verdict, refused *refusal) *verdict {
	told := &verdict{decisions: []string{"mode=report"}}
	if refused != nil {
		told.decisions = append(told.decisions, "refused="+refused.code)
		return told
	}
	told.asked, told.model = v.asked, v.asked
	told.decisions = append(told.decisions, v.decisions...)
	return told
}

// governModel finds the model: the client's or the configured one, then its alias, then whether it is allowed.
func governModel(p *policy, req *http.Request, e *envelope, v *verdict) *refusal {
	v.asked = askedModel(e)
	v.model = v.asked
	configured := p.model
	if p.modelTemplate != nil && (v.asked == "" || !p.modelOverride) {
		var refused *refusal
		if configured, refused = render(p.modelTemplate, req); refused != nil {
			return refused
		}
	}
	why := ""
	if v.asked == "" {
		v.model, why = configured, "model=set"
	} else if v.asked != configured && !p.modelOverride {
		v.model, why = configured, "model=enforced"
	}
	if !isModelName(v.asked) || !isModelName(v.model) {
		return invalidModel()
	}
	if target, isAlias := p.aliases[v.model]; isAlias {
		v.model = target
		if why == "" {
			why = "model=aliased"
		}
	}
	if v.model == "" {
		return noModel()
	}
	if p.allowedModels != nil && !p.allowedModels.MatchString(v.model) {
		return modelNotFound(p, v)
	}
	if v.model != v.asked {
		replaceModel(e, v, why)
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

func replaceModel(e *envelope, v *verdict, why string) {
	v.decisions = append(v.decisions, why)
	value := marshal(v.model)
	if place := e.found[modelID]; place != 0 {
		e.members[place-1].replacement = value
		return
	}
	v.additions = append(v.additions, append([]byte(`,"model":`), value...))
}

func noModel() *refusal {
	return invalidRequest("missing_required_parameter", "model", "you must provide a model parameter")
}

// modelNotFound is OpenAI's answer to a model that a client may not use, by the name that the client knows.
func modelNotFound(p *policy, v *verdict) *refusal {
	asked := v.asked
	if asked == "" || !p.modelOverride {
		asked = v.model
	}
	return &refusal{http.StatusNotFound, invalidRequestError, "model_not_found", "model",
		"The model `" + shortened(asked) + "` does not exist or you do not have access to it. Ask for one of: " + p.allowedText + "."}
}

// governParams applies the rules, and notes in the members of e what changes.
func governParams(p *policy, e *envelope, v *verdict) {
	for _, r := range p.rules {
		place := e.found[r.id]
		if r.twinID != r.id {
			place = oneSpelling(e, r, v)
		}
		if place != 0 {
			governSent(r, e, &e.members[place-1], v)
		} else if r.absent != nil {
			v.additions = append(v.additions, r.addition)
			v.decisions = append(v.decisions, r.name+r.absentWhy)
		}
	}
}

// governSent applies a rule to the member that the client sent.
func governSent(r *rule, e *envelope, m *member, v *verdict) {
	why := ""
	switch {
	case r.dropped:
		m.removed, why = true, "=dropped"
	case e.skeleton[m.start] == 'n':
		m.replacement, why = r.absent, r.absentWhy
	case r.enforced:
		if !bytes.Equal(bodyValue(e, m), r.absent) {
			m.replacement, why = r.absent, "=enforced"
		}
	case r.limited:
		if value, err := strconv.ParseFloat(string(bodyValue(e, m)), 64); err != nil || value > r.maximum {
			m.replacement, why = r.maximumRaw, "=limited"
		}
	}
	if why != "" {
		v.decisions = append(v.decisions, m.name+why)
	}
}

// oneSpelling returns the place of the token limit, in whatever spelling the client sent it. Of two spellings, the newer
// one with a value stays.
func oneSpelling(e *envelope, r *rule, v *verdict) int {
	place, other := e.found[r.id], e.found[r.twinID]
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
	v.decisions = append(v.decisions, e.members[lose-1].name+"=dropped")
	return keep
}
