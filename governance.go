package chatcompletion

import (
	"bytes"
	"net/http"
	"strings"
)

// decision is what a policy decides on a request. All requests with the same skeleton share it, and
// the slices that become values of headers: code that changes such a header replaces the slice.
type decision struct {
	requestedModel string   // by the client
	model          []string // that the provider is sent; nil: unknown
	edits          []edit
	policyValue    []string // for X-Ai-Policy: "what=why", separated by commas; nil: nothing was decided
	addsUsage      bool     // the usage of the stream is requested on the client's behalf
	request        *Request
	tokenLimit     int64    // of the output, all choices together; 0: none, or nothing needs it
	counts         bool     // the request counts tokens, and uses none
	outline        *outline // nil: nobody needed one
	otherModels    []string // that the request names in addition to its own

	prompts     *insertedPrompts // that the edits insert; nil: none
	promptBytes int              // of their texts
}

func newDecision(rules *modelRules, requested, model string, edits []edit, reasons []string) *decision {
	d := &decision{requestedModel: requested, edits: edits}
	d.request = &Request{Model: model, ConfiguredModel: rules.configured[model], Policy: strings.Join(reasons, ",")}
	if model != "" {
		d.model = []string{model}
	}
	if len(reasons) > 0 {
		d.policyValue = []string{d.request.Policy}
	}
	return d
}

// mergeDecisions returns a decision that reports those of the instance before, too.
func mergeDecisions(before, d *decision) *decision {
	both := *d
	request := *d.request
	both.requestedModel = before.requestedModel
	both.request = &request
	if d == before {
		both.addsUsage = false // the instance before has added it
		return &both
	}
	all := strings.Join(append(append([]string{}, before.policyValue...), d.policyValue...), ",")
	if all != "" {
		both.policyValue = []string{all}
	}
	request.Policy = all
	if request.ReportOnly && !before.request.ReportOnly { // metrics count what was done
		request.Policy, request.ReportOnly = before.request.Policy, false
	}
	return &both
}

// decide validates the body of a request, decides on its model and parameters, and caches the
// decision if it holds for other requests.
func decide(ep *endpoint, req *http.Request, obj *jsonObject) (*decision, *apiError) {
	if ep.parses && (len(obj.skeleton) > maxSkeletonBytes || bytes.Count(obj.skeleton, comma) >= maxValues) {
		return nil, tooManyValues()
	}
	apiErr := readParameters(obj, ep.parameters)
	if apiErr != nil {
		return nil, apiErr
	}
	draft := &decisionDraft{}
	if apiErr = decideModel(ep, req, obj, draft); apiErr != nil {
		return nil, apiErr
	}
	applyRules(ep, obj, draft)
	config := obj
	if ep.config != nil {
		if config, apiErr = applyConfigRules(ep, obj, draft); apiErr != nil {
			return nil, apiErr
		}
	}
	var others []string
	if ep.naming != nil {
		if others, apiErr = otherModels(ep, obj, draft.model); apiErr != nil {
			return nil, apiErr
		}
	}
	stream := ep.streams || isStream(ep, obj)
	addsUsage := stream && ep.canAddUsage && addUsage(ep, obj, draft)
	if ep.prompt != nil {
		if apiErr = decidePrompt(ep, obj, draft); apiErr != nil {
			return nil, apiErr
		}
	}
	d := newDecision(ep.models, draft.requestedModel, draft.model, edits(obj, draft.additions), draft.reasons)
	d.request.Stream = stream
	d.addsUsage = addsUsage
	d.otherModels = others
	d.counts = ep.counts
	completeDecision(ep, obj, config, draft, d)
	if ep.models.template == nil {
		storeDecision(ep.cache, obj, d)
	}
	return d, nil
}

// completeDecision adds to a decision what only some endpoints need: the limit of tokens, the parameters
// that are shown, what the next turn need not read, and system prompts. config is the object with the
// parameters.
func completeDecision(ep *endpoint, obj, config *jsonObject, draft *decisionDraft, d *decision) {
	limited := ep
	if ep.config != nil {
		limited = configOf(ep)
	}
	if limited.tokenLimits != nil {
		d.tokenLimit = tokenLimitOf(limited.tokenLimits, config)
	}
	if limited.shown != nil {
		d.request.Parameters = requestParameters(limited, config)
	}
	if obj.outlined {
		d.outline = outlineOf(ep.memory, obj)
		d.outline.namesModels = d.otherModels != nil
	}
	if draft.prompt != nil {
		applyPrompt(ep, obj, d, draft.prompt)
	}
}

// decisionDraft is a decision in the making.
type decisionDraft struct {
	requestedModel string
	model          string
	additions      []byte // members that the client did not send, each after a comma
	reasons        []string
	prompt         *promptDraft // nil: nothing is decided about the system prompt
}
