package chatcompletion

import (
	"bytes"
	"net/http"
	"strings"
)

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

// decisionDraft is a verdict in the making.
type decisionDraft struct {
	requestedModel string
	model          string
	additions      []byte // members that the client did not send, each behind a comma
	reasons        []string
}

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

// mergeDecisions returns a verdict with the decisions of the one before it, too.
func mergeDecisions(before, d *decision) *decision {
	both := *d
	request := *d.request
	both.requestedModel = before.requestedModel
	both.request = &request
	if d == before {
		both.addsUsage = false // it has been asked for
		return &both
	}
	all := strings.Join(append(append([]string{}, before.policy...), d.policy...), ",")
	if all != "" {
		both.policy = []string{all}
	}
	request.Policy = all
	if request.ReportOnly && !before.request.ReportOnly { // the metrics count what was done
		request.Policy, request.ReportOnly = before.request.Policy, false
	}
	return &both
}
