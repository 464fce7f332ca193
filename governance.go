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
	name          string
	id            int     // of the parameter
	aliasID       int     // of its other spelling, else its own id
	dropped       bool    // it is removed
	defaultValue  []byte  // value if the client left it out, else nil
	addition      []byte  // the same as a member of the request, behind a comma
	defaultReason string  // for the policy header
	enforced      bool    // absent also replaces the client's value
	limited       bool    // a client's value is at most maximum
	maximum       float64 // if limited
	maximumRaw    []byte  // maximum as JSON
}

// decision is what the policy made of a request. It is shared by all requests with the same skeleton, and so are the
// values of its headers: whoever changes a header puts another value in its place.
type decision struct {
	requestedModel string   // the client's model
	model          []string // the model that the provider is asked for; nil: unknown
	edits          []edit
	policy         []string // what was decided, "what=why" behind commas, for the policy header; nil: nothing
	addsUsage      bool     // the stream is asked for a usage that the client did not ask for
	request        *Request
}

func newDecision(p *policy, asked, model string, edits []edit, decisions []string) *decision {
	d := &decision{requestedModel: asked, edits: edits}
	d.request = &Request{Model: model, ConfiguredModel: p.configuredModels[model], Policy: strings.Join(decisions, ",")}
	if model != "" {
		d.model = []string{model}
	}
	if len(decisions) > 0 {
		d.policy = []string{d.request.Policy}
	}
	return d
}

// plan is a request with its verdict.
type plan struct {
	decision   *decision
	raw        []byte   // the client's body as it came, as far as it was read
	decoded    []byte   // the same, decompressed
	pieces     [][]byte // what the provider gets, in pieces; nil: the client's body
	path       string   // that the provider is asked for, escaped; empty: the client's
	usageAdded bool     // client asks for a usage that the client did not ask for, but an instance before
	invalid    bool     // report mode lets pass what is refused otherwise
}

// plainBody is the body that the provider gets, as one.
func plainBody(pl *plan) []byte {
	if pl.pieces == nil {
		return pl.raw
	}
	return bytes.Join(pl.pieces, nil)
}

// planRequest reads a request, checks it, and decides what the provider gets.
func planRequest(p *policy, ep *endpoint, req *http.Request) (*plan, *apiError) {
	pl := &plan{}
	if !ep.postOnly || req.Method != http.MethodPost {
		if apiErr := methodError(ep.kind, req.Method); apiErr != nil {
			return pl, apiErr
		}
	}
	body, apiErr := readBody(req, p.maxRequestBodyBytes)
	pl.raw = body
	if apiErr != nil || req.Header["Content-Encoding"] != nil {
		return planEncoded(p, ep, req, apiErr, pl)
	}
	return planBody(p, ep, req, body, pl)
}

// planEncoded judges a body that may have to be decompressed, and may not even have come.
func planEncoded(p *policy, ep *endpoint, req *http.Request, apiErr *apiError, pl *plan) (*plan, *apiError) {
	if apiErr != nil {
		return pl, apiErr
	}
	body, apiErr := decompress(req.Header, pl.raw, p.maxRequestBodyBytes)
	if apiErr != nil {
		return pl, apiErr
	}
	return planBody(p, ep, req, body, pl)
}

// planBody checks a body, and decides what the provider gets.
func planBody(p *policy, ep *endpoint, req *http.Request, body []byte, pl *plan) (*plan, *apiError) {
	obj := newJSONObject(body)
	pl.decoded = body
	pl.decision = lookupDecision(ep.decisions, obj)
	if pl.decision == nil {
		if apiErr := decideUncached(p, ep, req, obj, pl); apiErr != nil {
			return pl, apiErr
		}
	}
	pl.pieces = splice(obj, pl.decision.edits)
	return pl, nil
}

// decideUncached decides on a body that no remembered verdict holds for.
func decideUncached(p *policy, ep *endpoint, req *http.Request, obj *jsonObject, pl *plan) *apiError {
	d, apiErr := decide(p, ep, req, obj)
	pl.decision = d
	return apiErr
}

// methodError refuses a request before its body is read; nil: it is served.
func methodError(endpoint kind, method string) *apiError {
	if endpoint == deny {
		return denied()
	}
	if method == http.MethodPost || endpoint == governedPassthrough {
		return nil
	}
	return methodNotAllowed(method, http.MethodPost)
}

func methodNotAllowed(method, allowed string) *apiError {
	return &apiError{http.StatusMethodNotAllowed, invalidRequestError, "method_not_supported", "",
		"Not allowed to " + shortened(method) + " here. Send the request with " + allowed + "."}
}

// decide checks the body of a request, decides on its model and parameters, and remembers the verdict if it holds for
// other requests.
func decide(p *policy, ep *endpoint, req *http.Request, obj *jsonObject) (*decision, *apiError) {
	if ep.parses && (len(obj.skeleton) > maxSkeletonBytes || bytes.Count(obj.skeleton, comma) >= maxValues) {
		return nil, tooManyValues()
	}
	apiErr := readMembers(obj)
	if apiErr == nil {
		apiErr = validate(obj, ep.parameters)
	}
	if apiErr != nil {
		return nil, apiErr
	}
	draft := &decisionDraft{}
	if apiErr = decideModel(p, ep, req, obj, draft); apiErr != nil {
		return nil, apiErr
	}
	applyRules(ep, obj, draft)
	stream := isStream(ep, obj)
	asksUsage := stream && ep.addsUsage && addUsage(ep, obj, draft)
	d := newDecision(p, draft.requestedModel, draft.model, edits(obj, draft.additions), draft.reasons)
	d.request.Stream = stream
	d.addsUsage = asksUsage
	if p.telemetry.wantsDetails {
		d.request.Parameters = requestParameters(ep, obj)
	}
	if p.modelTemplate == nil {
		storeDecision(ep.decisions, obj, d)
	}
	return d, nil
}

// reportDecision stands before what would have been decided.
const reportDecision = "mode=report"

// reportOnly turns a judgement into one that changes and refuses nothing, but tells.
func reportOnly(p *policy, pl *plan, apiErr *apiError) *plan {
	decisions := []string{reportDecision}
	asked := ""
	if apiErr != nil {
		decisions = append(decisions, "refused="+apiErr.code)
	} else {
		asked = pl.decision.requestedModel
		decisions = append(decisions, pl.decision.policy...)
	}
	d := newDecision(p, asked, asked, nil, decisions)
	d.request.ReportOnly = true
	if apiErr == nil {
		d.request.Stream = pl.decision.request.Stream
	}
	return &plan{decision: d, raw: pl.raw, decoded: pl.decoded, usageAdded: pl.usageAdded, invalid: apiErr != nil}
}

// decisionDraft is a verdict in the making.
type decisionDraft struct {
	requestedModel string
	model          string
	additions      []byte // members that the client did not send, each behind a comma
	reasons        []string
}

// decideModel finds the model: the client's or the configured one, then its alias, then whether it is allowed.
func decideModel(p *policy, ep *endpoint, req *http.Request, obj *jsonObject, draft *decisionDraft) *apiError {
	draft.requestedModel = requestedModel(obj)
	if draft.requestedModel == "" && ep.kind == governedPassthrough {
		return nil
	}
	draft.model = draft.requestedModel
	configured := p.model
	if p.modelTemplate != nil && (draft.requestedModel == "" || !p.modelOverride) {
		var apiErr *apiError
		if configured, apiErr = render(p.modelTemplate, req); apiErr != nil {
			return apiErr
		}
	}
	why := ""
	if draft.requestedModel == "" {
		draft.model, why = configured, "model=set"
	} else if draft.requestedModel != configured && !p.modelOverride {
		draft.model, why = configured, "model=enforced"
	}
	if !isModelName(draft.requestedModel) || !isModelName(draft.model) {
		return invalidModel()
	}
	if target, isAlias := p.aliases[draft.model]; isAlias {
		draft.model = target
		if why == "" {
			why = "model=aliased"
		}
	}
	if draft.model == "" {
		return noModel()
	}
	if !isAllowed(p, draft.model) {
		return modelNotAllowed(p, draft)
	}
	if draft.model != draft.requestedModel {
		replaceModel(obj, draft, why)
	}
	return nil
}

// requestedModel returns the model that the client asks for: "", null and none are the same.
func requestedModel(obj *jsonObject) string {
	place := obj.found[modelID]
	if place == 0 {
		return ""
	}
	value := bodyValue(obj, &obj.members[place-1])
	if value[0] == 'n' {
		return ""
	}
	return unquote(value)
}

func replaceModel(obj *jsonObject, draft *decisionDraft, why string) {
	draft.reasons = append(draft.reasons, why)
	value := marshal(draft.model)
	if place := obj.found[modelID]; place != 0 {
		obj.members[place-1].replacement = value
		return
	}
	draft.additions = append(append(draft.additions, `,"model":`...), value...)
}

func noModel() *apiError {
	return invalidRequest("missing_required_parameter", "model", "you must provide a model parameter")
}

// modelNotAllowed refuses the model of a request, and says which ones there are.
func modelNotAllowed(p *policy, draft *decisionDraft) *apiError {
	asked := draft.requestedModel
	if asked == "" || !p.modelOverride {
		asked = draft.model
	}
	apiErr := modelNotFound(asked)
	apiErr.message += " Ask for one of: " + p.allowedText + "."
	return apiErr
}

// applyRules applies the rules, and notes in the members of e what changes.
func applyRules(ep *endpoint, obj *jsonObject, draft *decisionDraft) {
	for _, r := range ep.rules {
		place := obj.found[r.id]
		if r.aliasID != r.id {
			place = mergeSpellings(obj, r, draft)
		}
		if place != 0 {
			applyRule(r, obj, &obj.members[place-1], draft)
			if ep.tokenLimit == r.name {
				renameTokenLimit(ep.tokenLimit, &obj.members[place-1], draft)
			}
		} else if r.defaultValue != nil {
			draft.additions = append(draft.additions, r.addition...)
			draft.reasons = append(draft.reasons, r.name+r.defaultReason)
		}
	}
}

// renameTokenLimit gives the token limit the only name that the provider knows it by.
func renameTokenLimit(name string, m *member, draft *decisionDraft) {
	if m.name != name && !m.removed {
		m.newName = name
		draft.reasons = append(draft.reasons, m.name+"=renamed")
	}
}

// applyRule applies a rule to the member that the client sent.
func applyRule(r *rule, obj *jsonObject, m *member, draft *decisionDraft) {
	why := ""
	switch {
	case r.dropped:
		m.removed, why = true, "=dropped"
	case obj.skeleton[m.start] == 'n':
		m.replacement, why = r.defaultValue, r.defaultReason
	case r.enforced:
		if !bytes.Equal(skeletonValue(obj, m), r.defaultValue) || !bytes.Equal(bodyValue(obj, m), r.defaultValue) {
			m.replacement, why = r.defaultValue, "=enforced"
		}
	case r.limited:
		if value, err := strconv.ParseFloat(string(skeletonValue(obj, m)), 64); err != nil || value > r.maximum {
			m.replacement, why = r.maximumRaw, "=limited"
		}
	}
	if why != "" {
		draft.reasons = append(draft.reasons, m.name+why)
	}
}

// mergeSpellings returns the place of the token limit, in whatever spelling the client sent it. Of two spellings, the newer
// one with a value stays.
func mergeSpellings(obj *jsonObject, r *rule, draft *decisionDraft) int {
	place, other := obj.found[r.id], obj.found[r.aliasID]
	if other != 0 && obj.members[other-1].removed {
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
	if obj.skeleton[obj.members[keep-1].start] == 'n' && obj.skeleton[obj.members[lose-1].start] != 'n' {
		keep, lose = lose, keep
	}
	obj.members[lose-1].removed = true
	draft.reasons = append(draft.reasons, obj.members[lose-1].name+"=dropped")
	return keep
}
