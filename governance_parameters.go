package chatcompletion

import (
	"bytes"
	"strconv"
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

// requestParameters returns the parameters of a request as the provider gets them, once the policy has been applied.
func requestParameters(ep *endpoint, obj *jsonObject) []Parameter {
	var shown []Parameter
	for _, names := range spanParameters {
		if value := finalValue(ep, obj, names[0]); value != "" {
			shown = append(shown, Parameter{Name: names[1], Value: value})
		}
	}
	return shown
}

// finalValue returns the value of a parameter as the provider gets it, "" if it gets none.
func finalValue(ep *endpoint, obj *jsonObject, name string) string {
	id, known := ep.parameters.ids[name]
	if !known {
		return ""
	}
	place := obj.found[id]
	if place == 0 {
		for _, r := range ep.rules {
			if r.id == id && (r.aliasID == id || obj.found[r.aliasID] == 0) {
				return string(r.defaultValue)
			}
		}
		return ""
	}
	m := &obj.members[place-1]
	value := m.replacement
	if value == nil {
		value = bodyValue(obj, m)
	}
	if m.removed || value[0] == 'n' || len(value) > spanValueMaxBytes {
		return ""
	}
	return string(value)
}

// spanParameters are the parameters of a request that a span shows, and what it calls them.
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
	{"n", "gen_ai.request.choice.count"},
	{"stop", "gen_ai.request.stop_sequences"},
	{"reasoning_effort", "gen_ai.request.reasoning.level"},
}

// spanValueMaxBytes bounds a parameter that a span shows.
const spanValueMaxBytes = 1 << 10
