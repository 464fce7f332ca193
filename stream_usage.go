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

func parseStreamUsage(bad *problems, p *policy, value string) {
	switch strings.ToLower(strings.TrimSpace(value)) {
	case streamUsageAuto, "":
		p.asksUsage = true
	case streamUsageNever:
	default:
		bad.add("streamUsage", "%q is neither %q nor %q", value, streamUsageAuto, streamUsageNever)
	}
	for _, r := range p.rules {
		if r.name == streamOptions && (r.dropped || r.enforced) {
			p.asksUsage = false // the configuration says what becomes of it, whatever the client sends
		}
	}
}

// isStream tells whether a request asks for a stream.
func isStream(p *policy, e *envelope) bool {
	place := e.found[p.parameters.ids["stream"]]
	return place != 0 && e.skeleton[e.members[place-1].start] == 't'
}

// askUsage asks the provider for the usage of a stream, if the client did not, and tells whether it had to. All other
// options stay as they are.
func askUsage(p *policy, e *envelope, d *decision) bool {
	place := e.found[p.parameters.ids[streamOptions]]
	if place == 0 {
		if bytes.Contains(d.additions, streamOptionsAddition) {
			return false // the configuration's own
		}
		d.additions = append(append(d.additions, streamOptionsAddition...), usageOptions...)
		return true
	}
	m := &e.members[place-1]
	if m.replacement != nil {
		return false // the configuration's own
	}
	options := bodyValue(e, m)
	if options[0] == 'n' {
		m.replacement = usageOptions
		return true
	}
	inner := wholeEnvelope(options)
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
	if len(inner.members) == 0 {
		m.replacement = usageOptions
		return true
	}
	m.replacement = bytes.Join(splice(inner, edits(inner, []byte(`,"include_usage":true`))), nil)
	return true
}
