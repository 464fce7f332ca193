package chatcompletion

import (
	"bytes"
	"net/http"
	"strings"
)

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

func newDecision(rules *modelRules, requested, model string, edits []edit, decisions []string) *decision {
	d := &decision{requestedModel: requested, edits: edits}
	d.request = &Request{Model: model, ConfiguredModel: rules.configured[model], Policy: strings.Join(decisions, ",")}
	if model != "" {
		d.model = []string{model}
	}
	if len(decisions) > 0 {
		d.policy = []string{d.request.Policy}
	}
	return d
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

// decide checks the body of a request, decides on its model and parameters, and remembers the verdict if it holds for
// other requests.
func decide(ep *endpoint, req *http.Request, obj *jsonObject) (*decision, *apiError) {
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
	if apiErr = decideModel(ep, req, obj, draft); apiErr != nil {
		return nil, apiErr
	}
	applyRules(ep, obj, draft)
	stream := isStream(ep, obj)
	addsUsage := stream && ep.addsUsage && addUsage(ep, obj, draft)
	d := newDecision(ep.models, draft.requestedModel, draft.model, edits(obj, draft.additions), draft.reasons)
	d.request.Stream = stream
	d.addsUsage = addsUsage
	if ep.wantsDetails {
		d.request.Parameters = requestParameters(ep, obj)
	}
	if ep.models.template == nil {
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
