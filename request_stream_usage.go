package chatcompletion

import "bytes"

// streamOptions and includeUsage are by what OpenAI's API is asked for the usage of a stream.
const (
	streamOptions = "stream_options"
	includeUsage  = "include_usage"
)

// usageOptions asks for usage where a client set no options, streamOptionsAddition stands before them.
var (
	usageOptions          = []byte(`{"include_usage":true}`)
	streamOptionsAddition = []byte(`,"stream_options":`)
)

// isStream tells whether a request asks for a stream.
func isStream(ep *endpoint, obj *jsonObject) bool {
	place := obj.found[ep.parameters.ids["stream"]] // the model's, which is a text, where there are no streams
	return place != 0 && obj.skeleton[obj.members[place-1].start] == 't'
}

// addUsage asks the provider for the usage of a stream, if the client did not, and tells whether it had to. All other
// options stay as they are.
func addUsage(ep *endpoint, obj *jsonObject, draft *decisionDraft) bool {
	place := obj.found[ep.parameters.ids[streamOptions]]
	if place == 0 {
		if bytes.Contains(draft.additions, streamOptionsAddition) {
			return false // the configuration's own
		}
		draft.additions = append(append(draft.additions, streamOptionsAddition...), usageOptions...)
		return true
	}
	m := &obj.members[place-1]
	if m.replacement != nil {
		return false // the configuration's own
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
