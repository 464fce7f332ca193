package chatcompletion

import (
	"reflect"
	"strings"
	"testing"
)

// TestSmallItemsAreReadAsAnyOther reads small responses of the Responses API in both ways.
func TestSmallItemsAreReadAsAnyOther(t *testing.T) {
	const usual = `{"id":"resp_1","object":"response","status":"completed","error":null,"model":"m","output":[],"usage":{"input_tokens":20,"input_tokens_details":{"cached_tokens":5},"output_tokens":7,"output_tokens_details":{"reasoning_tokens":3},"total_tokens":27}}`
	read := func(body string, small bool) (*Call, bool) {
		c := &Call{}
		reader := &responseReader{record: &c.Response, kind: responses, wantsDetails: true}
		if small {
			if !readSmallItems(reader, []byte(body)) {
				return nil, false
			}
		} else {
			readDocument(reader, []byte(body))
		}
		fillDetails([]*Call{c})
		return c, reader.failed
	}
	if c, _ := read(usual, true); c == nil {
		t.Error("the usual response is not read as a small one")
	}
	values := []string{`null`, `0`, `""`, `"x"`, `"error"`, `"failed"`, `"\u0001"`, `1`, `1.5`, `30`, `-1`, `1e13`, `{}`, `[]`, `[{"finish_reason":"error"}]`, `{"error":"x"}`, `{"status":"failed"}`, `{"finish_reason":"error"}`, `{"cached_tokens":2,"reasoning_tokens":1}`}
	for _, name := range []string{
		"id", "object", "status", "error", "model", "usage", "type", "stop_reason", "finish_reason", "choices", "x_groq", "response", "message", "delta", "Error",
	} {
		for _, value := range values {
			compareItems(t, strings.TrimSuffix(usual, "}")+`,"`+name+`":`+value+"}", read)
		}
	}
	for _, name := range []string{
		"input_tokens", "output_tokens", "total_tokens", "prompt_tokens", "completion_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "billed_units",
		"input_tokens_details", "output_tokens_details", "prompt_tokens_details", "completion_tokens_details",
	} {
		for _, value := range values {
			compareItems(t, strings.TrimSuffix(usual, "}}")+`,"`+name+`":`+value+"}}", read)
		}
	}
}

// compareItems compares the two ways of reading a response, if it can be read as a small one.
func compareItems(t *testing.T, body string, read func(body string, small bool) (*Call, bool)) {
	t.Helper()
	want, wantFailed := read(body, false)
	if got, _ := read(body, true); got != nil && (wantFailed || !reflect.DeepEqual(got.Response, want.Response)) {
		t.Errorf("%s: %+v, want %+v, failed: %t", body, got.Response, want.Response, wantFailed)
	}
}
