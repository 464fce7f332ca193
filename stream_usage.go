package chatcompletion

import (
	"bytes"
	"strings"
)

// Values of Config.StreamUsage.
const (
	streamUsageAuto  = "auto"
	streamUsageNever = "never"
)

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

// parseStreamUsage tells whether streams are asked for their usage.
func parseStreamUsage(bad *problems, value string) bool {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case streamUsageAuto, "":
		return true
	case streamUsageNever:
	default:
		bad.add("streamUsage", "%q is neither %q nor %q", value, streamUsageAuto, streamUsageNever)
	}
	return false
}

// leavesStreamOptions tells whether no rule says what becomes of the options of a stream, whatever the client sends.
func leavesStreamOptions(rules []*rule) bool {
	for _, r := range rules {
		if r.name == streamOptions && (r.dropped || r.enforced) {
			return false
		}
	}
	return true
}

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
