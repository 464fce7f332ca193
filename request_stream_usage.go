package chatcompletion

import "bytes"

// streamOptions and includeUsage are the parameters of OpenAI's API that request the usage of a
// stream.
const (
	streamOptions = "stream_options"
	includeUsage  = "include_usage"
)

// usageOptions request usage if the client sent no options; streamOptionsAddition precedes them.
var (
	usageOptions          = []byte(`{"include_usage":true}`)
	streamOptionsAddition = []byte(`,"stream_options":`)
)

// isStream reports whether a request is for a stream. At a governed passthrough the member is not
// checked, and the last one with its name counts, as it does for most parsers.
func isStream(ep *endpoint, obj *jsonObject) bool {
	if ep.kind == governedPassthrough {
		return lastIsStream(obj)
	}
	place := obj.found[ep.parameters.ids["stream"]] // id 0, the model, which is a string, at endpoints without streams
	return place != 0 && obj.skeleton[obj.members[place-1].start] == 't'
}

// lastIsStream reports whether the last member with the name says that the request is for a stream.
func lastIsStream(obj *jsonObject) bool {
	for i := len(obj.members) - 1; i >= 0; i-- {
		if obj.members[i].name == "stream" {
			return obj.skeleton[obj.members[i].start] == 't'
		}
	}
	return false
}

// excludesUsage reports whether a request has a parameter beside which usage cannot be requested.
func excludesUsage(set *parameterSet, obj *jsonObject) bool {
	for _, id := range set.noUsage {
		if place := obj.found[id]; place != 0 {
			m := &obj.members[place-1]
			if !m.removed && obj.skeleton[m.start] != 'n' {
				return true
			}
		}
	}
	return false
}

// addUsage requests the usage of a stream from the provider, if the client did not, and reports
// whether it had to. All other options stay unchanged.
func addUsage(ep *endpoint, obj *jsonObject, draft *decisionDraft) bool {
	if excludesUsage(ep.parameters, obj) {
		return false
	}
	place := obj.found[ep.parameters.ids[streamOptions]]
	if place == 0 {
		if bytes.Contains(draft.additions, streamOptionsAddition) {
			return false // set by the configuration
		}
		draft.additions = append(append(draft.additions, streamOptionsAddition...), usageOptions...)
		return true
	}
	m := &obj.members[place-1]
	if m.replacement != nil {
		return false // set by the configuration
	}
	options := bodyValue(obj, m)
	if options[0] == 'n' {
		m.replacement = usageOptions
		return true
	}
	inner := wholeJSONObject(options)
	if readMembers(inner) != nil {
		return false
	}
	for i := range inner.members {
		option := &inner.members[i]
		if option.name == includeUsage {
			if options[option.start] == 't' {
				return false
			}
			option.replacement = []byte("true")
			m.replacement = bytes.Join(splice(inner, edits(inner, nil)), nil)
			return true
		}
	}
	m.replacement = bytes.Join(splice(inner, edits(inner, []byte(`,"include_usage":true`))), nil)
	return true
}
