package chatcompletion

import (
	"regexp"
	"strings"
	"testing"
)

// withoutMember returns a text without the members of a name whose value is a number, a text or a flat object.
func withoutMember(text, name string) string {
	return regexp.MustCompile(`"`+name+`":(?:[0-9]+|"[^"]*"|\{[^{}]*\}),?`).ReplaceAllString(text, "")
}

// TestSmallMessagesAreReadAsAnyOther reads small responses of Anthropic's Messages in both ways.
func TestSmallMessagesAreReadAsAnyOther(t *testing.T) {
	const usual = `{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":20,"cache_creation_input_tokens":30,"cache_read_input_tokens":40,` +
		`"cache_creation":{"ephemeral_5m_input_tokens":10,"ephemeral_1h_input_tokens":20},"output_tokens":7,"output_tokens_details":{"thinking_tokens":3},"service_tier":"standard"}}`
	read := func(body string, small bool) (*Call, bool) {
		c := &Call{}
		reader := &responseReader{record: &c.Response, kind: messages, wantsDetails: true, wantsParts: true}
		if small {
			if !readSmallMessage(reader, []byte(body)) {
				return nil, false
			}
		} else {
			readDocument(reader, []byte(body))
		}
		takeParts(reader)
		fillDetails([]*Call{c})
		return c, reader.failed
	}
	if c, _ := read(usual, true); c == nil {
		t.Error("the usual response is not read as a small one")
	}
	compareItems(t, usual, read)
	values := []string{`null`, `0`, `""`, `"x"`, `"error"`, `"failed"`, `"\u0001"`, `1`, `1.5`, `30`, `-1`, `1e13`, `{}`, `[]`, `[{"type":"compaction","input_tokens":9,"output_tokens":1}]`, `{"error":"x"}`, `{"cached_tokens":2,"reasoning_tokens":1}`,
		`{"thinking_tokens":2,"audio_tokens":1}`, `{"ephemeral_1h_input_tokens":50}`, `{"usage":{"input_tokens":5}}`}
	for _, name := range []string{"id", "type", "object", "status", "error", "model", "usage", "stop_reason", "finish_reason", "choices", "x_groq", "response", "message", "delta", "service_tier", "Error"} {
		for _, value := range values {
			compareItems(t, withoutMember(strings.TrimSuffix(usual, "}"), name)+`,"`+name+`":`+value+"}", read)
		}
	}
	for _, name := range []string{
		"input_tokens", "output_tokens", "total_tokens", "prompt_tokens", "completion_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "billed_units", "iterations", "cost", "cache_creation",
		"input_tokens_details", "output_tokens_details", "prompt_tokens_details", "completion_tokens_details", "seconds", "service_tier",
	} {
		for _, value := range values {
			compareItems(t, withoutMember(strings.TrimSuffix(usual, "}}"), name)+`,"`+name+`":`+value+"}}", read)
		}
	}
}
