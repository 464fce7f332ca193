package chatcompletion

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
)

// The two spellings of one parameter. OpenAI's newer models take only the second, most other providers know the first.
const (
	maxTokens           = "max_tokens"
	maxCompletionTokens = "max_completion_tokens"
)

// setting is a configured parameter: its name and its JSON value.
type setting struct {
	name  string
	value []byte
}

// limit is the ceiling of a parameter.
type limit struct {
	name    string
	maximum float64
	value   []byte // the maximum as JSON
}

// verdict is what the policy made of one request.
type verdict struct {
	asked     string   // the client's model
	model     string   // the model that the provider is asked for
	body      [][]byte // what the provider gets, in pieces
	additions []addition
	changed   bool     // body is not the client's
	decisions []string // "what=why", for the policy header
}

// judge reads a request's body, checks it, and decides what the provider gets.
func judge(p *policy, method string, body []byte) (*verdict, *refusal) {
	if method != http.MethodPost {
		return nil, &refusal{http.StatusMethodNotAllowed, invalidRequestError, "method_not_allowed", "",
			"Not allowed to " + shortened(method) + " here. Send the request with POST."}
	}
	e, refused := parseEnvelope(body)
	if refused != nil {
		return nil, refused
	}
	found, refused := index(e, p.names)
	if refused != nil {
		return nil, refused
	}
	if refused = validate(e, p.schema); refused != nil {
		return nil, refused
	}
	v, refused := govern(p, e, found)
	if refused != nil {
		return nil, refused
	}
	v.body = [][]byte{body}
	if v.changed {
		v.body = splice(e, v.additions)
	}
	return v, nil
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

// govern decides on the model and every parameter, and notes in the members of e what changes.
func govern(p *policy, e *envelope, found map[string]int) (*verdict, *refusal) {
	v := &verdict{}
	if refused := governModel(p, e, found, v); refused != nil {
		return nil, refused
	}
	if p.governsTokenLimit {
		governTokenSpellings(e, found, v)
	}
	for _, s := range p.params {
		governParam(p, s, e, found, v)
	}
	for _, l := range p.limits {
		governLimit(l, e, found, v)
	}
	for _, name := range p.dropped {
		if i, sent := found[name]; sent {
			remove(e, i, v)
			decide(v, name, "dropped")
		}
	}
	return v, nil
}

// governModel finds the model: the client's or the configured one, then its alias, then whether it is allowed.
func governModel(p *policy, e *envelope, found map[string]int, v *verdict) *refusal {
	asked := ""
	if given(e, found, "model") {
		asked = unquote(bodyValue(e, e.members[found["model"]]))
	}
	v.asked = asked
	model, why := asked, ""
	switch {
	case asked == "" && p.model == "":
		return invalidRequest("missing_required_parameter", "model", "you must provide a model parameter")
	case asked == "":
		model, why = p.model, "set"
	case !p.modelOverride && asked != p.model:
		model, why = p.model, "enforced"
	}
	if target, isAlias := p.aliases[model]; isAlias {
		model = target
		if why == "" {
			why = "aliased"
		}
	}
	if p.allowedModels != nil && !p.allowedModels.MatchString(model) {
		return &refusal{http.StatusNotFound, invalidRequestError, "model_not_found", "model",
			"The model `" + shortened(asked) + "` does not exist or you do not have access to it. Ask for one of: " + p.allowedText + "."}
	}
	v.model = model
	if model == asked {
		return nil
	}
	value, err := json.Marshal(model)
	if err != nil {
		return invalidRequest("invalid_value", "model", "The name of the model cannot be written as JSON.")
	}
	set(e, found, "model", value, v)
	decide(v, "model", why)
	return nil
}

// governTokenSpellings leaves one of the two spellings of the token limit if the client sent both, and renames nothinp.
func governTokenSpellings(e *envelope, found map[string]int, v *verdict) {
	i, sent := found[maxTokens]
	if !sent {
		return
	}
	if _, both := found[maxCompletionTokens]; !both {
		return
	}
	remove(e, i, v)
	delete(found, maxTokens)
	decide(v, maxTokens, "dropped")
}

func isTokenLimit(name string) bool {
	return name == maxTokens || name == maxCompletionTokens
}

// spelling returns the name under which the client sent the parameter, else the configured one.
func spelling(e *envelope, found map[string]int, name string) string {
	if !isTokenLimit(name) || given(e, found, name) {
		return name
	}
	other := maxTokens
	if name == maxTokens {
		other = maxCompletionTokens
	}
	if _, sent := found[other]; sent {
		return other
	}
	return name
}

// given tells whether the client sent a value: null counts as left out.
func given(e *envelope, found map[string]int, name string) bool {
	i, sent := found[name]
	return sent && e.skeleton[e.members[i].start] != 'n'
}

func governParam(p *policy, s setting, e *envelope, found map[string]int, v *verdict) {
	name := spelling(e, found, s.name)
	if !given(e, found, name) {
		set(e, found, name, s.value, v)
		decide(v, name, "set")
		return
	}
	if p.paramsOverride || bytes.Equal(bodyValue(e, e.members[found[name]]), s.value) {
		return
	}
	set(e, found, name, s.value, v)
	decide(v, name, "enforced")
}

// governLimit lowers a client's value. Without a value the provider's own maximum would apply, so the token limit is
// then set to the ceiling; of the other parameters, what the provider chooses is its default.
func governLimit(l limit, e *envelope, found map[string]int, v *verdict) {
	name := spelling(e, found, l.name)
	if given(e, found, name) {
		m := &e.members[found[name]]
		if m.replacement != nil {
			return // a configured value, which New found to be below the ceiling
		}
		value, err := strconv.ParseFloat(string(skeletonValue(e, *m)), 64)
		if err == nil && value <= l.maximum {
			return
		}
		set(e, found, name, l.value, v)
		decide(v, name, "limited")
		return
	}
	if isTokenLimit(name) && !settled(e, found, name, v) {
		set(e, found, name, l.value, v)
		decide(v, name, "limited")
	}
}

// settled tells whether a configured parameter has already filled in what the client left out.
func settled(e *envelope, found map[string]int, name string, v *verdict) bool {
	if i, sent := found[name]; sent {
		return e.members[i].replacement != nil
	}
	for _, a := range v.additions {
		if isTokenLimit(a.name) {
			return true
		}
	}
	return false
}

// set notes a new value for a member, in its place if the client sent it.
func set(e *envelope, found map[string]int, name string, value []byte, v *verdict) {
	v.changed = true
	if i, sent := found[name]; sent {
		e.members[i].replacement = value
		return
	}
	v.additions = append(v.additions, addition{name, value})
}

func remove(e *envelope, i int, v *verdict) {
	v.changed = true
	e.members[i].removed = true
}

func decide(v *verdict, what, why string) {
	v.decisions = append(v.decisions, what+"="+why)
}
