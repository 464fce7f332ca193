package chatcompletion

import (
	"bytes"
	"math"
	"strconv"
)

// rule is what the configuration says about one parameter.
type rule struct {
	name          string
	id            int     // of the parameter
	aliasID       int     // of its other spelling, else the same as id
	dropped       bool    // the parameter is removed
	defaultValue  []byte  // where the client sent none; nil: there is none
	addition      []byte  // the default as a member of the body, after a comma
	defaultReason string  // of the default, for X-Ai-Policy
	enforced      bool    // the default also replaces the client's value
	hasCeiling    bool    // the client's value is at most the ceiling
	ceiling       float64 // if there is one
	lowest        float64 // values below it may mean "no limit", as -1 does: the ceiling replaces them, too
	ceilingRaw    []byte  // the ceiling as JSON
}

// applyRules applies the rules of an endpoint. What changes is noted in the members of the body and
// in the draft.
func applyRules(ep *endpoint, obj *jsonObject, draft *decisionDraft) {
	for _, r := range ep.rules {
		place := obj.found[r.id]
		if r.aliasID != r.id {
			place = mergeSpellings(obj, r, draft)
		}
		if place != 0 {
			applyRule(r, obj, &obj.members[place-1], draft)
			if ep.tokenLimitName == r.name {
				renameTokenLimit(ep.tokenLimitName, &obj.members[place-1], draft)
			}
		} else if r.defaultValue != nil {
			draft.additions = append(draft.additions, r.addition...)
			draft.reasons = append(draft.reasons, r.name+r.defaultReason)
		}
	}
}

// applyConfigRules validates the members of the parameter that has parameters of its own, and applies
// the rules for them. It returns the object, which is empty if the client sent none.
func applyConfigRules(ep *endpoint, obj *jsonObject, draft *decisionDraft) (*jsonObject, *apiError) {
	value := emptyObject
	var m *member
	if place := obj.found[ep.configID]; place != 0 && !obj.members[place-1].removed {
		m = &obj.members[place-1]
		if obj.skeleton[m.start] != 'n' {
			value = bodyValue(obj, m)
		}
	}
	inner := wholeJSONObject(value)
	config := configOf(ep)
	if apiErr := readParameters(inner, config.parameters); apiErr != nil {
		return nil, apiErr
	}
	own := &decisionDraft{}
	applyRules(config, inner, own)
	if len(own.reasons) == 0 {
		return inner, nil
	}
	draft.reasons = append(draft.reasons, own.reasons...)
	changed := bytes.Join(splice(inner, edits(inner, own.additions)), nil)
	if m != nil {
		m.replacement = changed
	} else {
		draft.additions = append(append(draft.additions, `,"`+ep.parameters.list[ep.configID].name+`":`...), changed...)
	}
	return inner, nil
}

var emptyObject = []byte("{}")

// renameTokenLimit gives the token limit the only name that the provider knows.
func renameTokenLimit(name string, m *member, draft *decisionDraft) {
	if m.name != name && m.newName == "" && !m.removed {
		m.newName = name
		draft.reasons = append(draft.reasons, m.name+"=renamed")
	}
}

// applyRule applies a rule to the member that the client sent.
func applyRule(r *rule, obj *jsonObject, m *member, draft *decisionDraft) {
	switch {
	case r.dropped:
		m.removed = true
		draft.reasons = append(draft.reasons, m.name+"=dropped")
	case obj.skeleton[m.start] == 'n':
		replaceNull(r, m, draft)
	case r.enforced:
		enforce(r, obj, m, draft)
	case r.hasCeiling:
		limit(r, obj, m, draft)
	}
}

// enforce replaces a value by another one than the default.
func enforce(r *rule, obj *jsonObject, m *member, draft *decisionDraft) {
	if !bytes.Equal(skeletonValue(obj, m), r.defaultValue) || !bytes.Equal(bodyValue(obj, m), r.defaultValue) {
		m.replacement = r.defaultValue
		draft.reasons = append(draft.reasons, m.name+"=enforced")
	}
}

// limit replaces a value above the ceiling.
func limit(r *rule, obj *jsonObject, m *member, draft *decisionDraft) {
	if value, err := strconv.ParseFloat(string(skeletonValue(obj, m)), 64); err != nil || value > r.ceiling || value < r.lowest {
		m.replacement = r.ceilingRaw
		draft.reasons = append(draft.reasons, m.name+"=limited")
	}
}

// replaceNull gives a parameter that is null the value that it would have if it were missing, in
// the same spelling.
func replaceNull(r *rule, m *member, draft *decisionDraft) {
	if r.defaultValue == nil {
		return
	}
	m.replacement = r.defaultValue
	if m.name != r.name {
		m.newName = r.name
	}
	draft.reasons = append(draft.reasons, r.name+r.defaultReason)
}

// mergeSpellings returns the place of the token limit in either spelling. If the client sent both,
// the newer one with a value stays.
func mergeSpellings(obj *jsonObject, r *rule, draft *decisionDraft) int {
	other := obj.found[r.aliasID]
	if other == 0 || obj.members[other-1].removed { // by its own rule
		return obj.found[r.id]
	}
	if obj.found[r.id] == 0 {
		return other
	}
	return newerSpelling(obj, r, draft)
}

// newerSpelling removes one of two spellings of the token limit, and returns the place of the other.
func newerSpelling(obj *jsonObject, r *rule, draft *decisionDraft) int {
	keep, lose := obj.found[r.id], obj.found[r.aliasID]
	if r.name == maxTokens {
		keep, lose = lose, keep
	}
	if obj.skeleton[obj.members[keep-1].start] == 'n' && obj.skeleton[obj.members[lose-1].start] != 'n' {
		keep, lose = lose, keep
	}
	obj.members[lose-1].removed = true
	draft.reasons = append(draft.reasons, obj.members[lose-1].name+"=dropped")
	return keep
}

// requestParameters returns the parameters that the provider is sent, after the rules have been
// applied.
func requestParameters(ep *endpoint, obj *jsonObject) []Parameter {
	var list []Parameter
	for _, p := range ep.shown {
		if value := sentValue(obj, p); value != "" {
			list = append(list, Parameter{Name: p.name, Value: value})
		}
	}
	return list
}

// sentValue returns the value of a parameter that the provider is sent, "" if there is none.
func sentValue(obj *jsonObject, p *sentParameter) string {
	if place := obj.found[p.id]; place != 0 {
		return finalValue(obj, &obj.members[place-1])
	}
	if r := p.rule; r != nil && (r.aliasID == p.id || obj.found[r.aliasID] == 0) {
		return string(r.defaultValue)
	}
	return ""
}

// finalValue returns the value of a member that the provider is sent, "" if none is to be shown.
func finalValue(obj *jsonObject, m *member) string {
	value := m.replacement
	if value == nil {
		value = bodyValue(obj, m)
	}
	if m.removed || value[0] == 'n' || len(value) > spanValueMaxBytes {
		return ""
	}
	return string(value)
}

// tokenLimitOf returns how many tokens a provider may generate for a request, all choices together,
// after the rules have been applied; 0: the request has no limit.
func tokenLimitOf(limits []*sentParameter, obj *jsonObject) int64 {
	limit, choices := 0.0, 1.0
	for _, p := range limits {
		value, err := strconv.ParseFloat(sentValue(obj, p), 64)
		switch {
		case err != nil:
		case p.name == choicesParameter:
			choices = math.Max(value, 1)
		default:
			limit = math.Max(value, limit)
		}
	}
	return int64(math.Min(limit*choices, maxTokenCount))
}

// choicesParameter is the number of responses to generate.
const choicesParameter = "n"

// tokenLimitParameters are the parameters that limit the tokens that a provider generates.
var tokenLimitParameters = [][2]string{
	{maxTokens, maxTokens}, {maxCompletionTokens, maxCompletionTokens}, {maxOutputTokens, maxOutputTokens}, {choicesParameter, choicesParameter},
	{contentMaxTokens, contentMaxTokens}, {"candidateCount", choicesParameter},
}

// maxTokenCount is more than any model reads: a larger count is invalid.
const maxTokenCount = 1e12

// sentParameter is a parameter whose value is wanted as the provider is sent it.
type sentParameter struct {
	name string // where it is wanted, such as in spans
	id   int
	rule *rule // nil: there is none
}

// sentParameters returns those of the parameters that an endpoint with all its rules has. Each has two
// names: its own, and the one where it is wanted.
func sentParameters(ep *endpoint, wanted [][2]string) []*sentParameter {
	var sent []*sentParameter
	for _, names := range wanted {
		id, known := ep.parameters.ids[names[0]]
		if !known {
			continue
		}
		p := &sentParameter{name: names[1], id: id}
		for _, r := range ep.rules {
			if r.id == id {
				p.rule = r
			}
		}
		sent = append(sent, p)
	}
	return sent
}

// spanParameters are the parameters that a span shows, and their names there.
var spanParameters = [][2]string{
	{"temperature", "gen_ai.request.temperature"},
	{"top_p", "gen_ai.request.top_p"},
	{maxTokens, "gen_ai.request.max_tokens"},
	{maxCompletionTokens, "gen_ai.request.max_tokens"},
	{maxOutputTokens, "gen_ai.request.max_tokens"},
	{"dimensions", "gen_ai.embeddings.dimension.count"},
	{"frequency_penalty", "gen_ai.request.frequency_penalty"},
	{"presence_penalty", "gen_ai.request.presence_penalty"},
	{"seed", "gen_ai.request.seed"},
	{"n", choiceCountParameter},
	{"stop", "gen_ai.request.stop_sequences"},
	{"reasoning_effort", reasoningLevelParameter},
	{"top_k", "gen_ai.request.top_k"},
	{"stop_sequences", "gen_ai.request.stop_sequences"},
	{"topP", "gen_ai.request.top_p"},
	{"topK", "gen_ai.request.top_k"},
	{contentMaxTokens, "gen_ai.request.max_tokens"},
	{"frequencyPenalty", "gen_ai.request.frequency_penalty"},
	{"presencePenalty", "gen_ai.request.presence_penalty"},
	{"candidateCount", choiceCountParameter},
	{"stopSequences", "gen_ai.request.stop_sequences"},
	{"outputDimensionality", "gen_ai.embeddings.dimension.count"},
}

// newSpanParameters are those that a span shows in addition with version 0.1.0 of the conventions:
// objects, one member of which is the level.
var newSpanParameters = [][2]string{
	{"reasoning", reasoningLevelParameter},
	{"thinkingConfig", reasoningLevelParameter},
}

// reasoningLevelParameter is the name of the reasoning effort in a span.
const reasoningLevelParameter = "gen_ai.request.reasoning.level"

// spanValueMaxBytes bounds the value of a parameter in a span.
const spanValueMaxBytes = 1 << 10
