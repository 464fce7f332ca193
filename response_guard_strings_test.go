package chatcompletion

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// The work for an event grows with its size, whatever its names and levels are, and so does the memory.
func TestGuardBoundsTheWorkForAnEvent(t *testing.T) {
	rep := strings.Repeat
	for _, c := range []struct {
		name string
		data func(count int) string
	}{
		{"long names in each other", func(n int) string { return `{"choices":` + rep(`{"`+rep("n", 100)+`":`, n) + `"x"` + rep("}", n) + "}" }},
		{"strings in many arrays", func(n int) string { return `{"delta":` + rep(`[`, n) + rep(`"x",`, n) + `"x"` + rep("]", n) + "}" }},
		{"strings in a deep array", func(n int) string {
			return `{"delta":` + rep(`{"nn":`, 60) + `[` + rep(`"x",`, n) + `"x"]` + rep("}", 60) + "}"
		}},
		{"a long name before many objects", func(n int) string { return `{"delta":{"` + rep("n", n) + `":{` + rep(`"a":{},`, n) + `"b":"x"}}}` }},
		{"many numbers of one name", func(n int) string { return `{` + rep(`"index":1,`, n) + `"x":1}` }},
		{"many numbers of many names", func(n int) string { return `{` + rep(`"a_index":1,"b_index":true,`, n) + `"x":1}` }},
		{"a long number", func(n int) string {
			return `{"delta":{"index":` + rep("1", n) + `,"a":[` + rep(`{"content":"x"},`, n) + `1]}}`
		}},
	} {
		checkGrowth(t, c.name, 2000, func(count int) { findStrings([]byte(c.data(count))) })
	}
}

// An event with more levels or texts than those of a protocol cannot be inspected.
func TestGuardBlocksEventsThatAreTooDeepOrWide(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskMails))
	levels := func(count int) string {
		return `{"choices":[],"x":` + strings.Repeat("[", count) + strings.Repeat("]", count) + "}"
	}
	texts := func(count int) string {
		return `{"choices":[` + strings.Repeat(`{"index":0,"delta":{"content":"a "}},`, count) + `{"index":0}]}`
	}
	for _, c := range []struct {
		name, data string
		status     int
	}{
		{"60 levels", levels(60), http.StatusOK},
		{"64 levels", levels(64), http.StatusBadGateway},
		{"9,000 levels", levels(9000), http.StatusBadGateway},
		{"900 texts", texts(900), http.StatusOK},
		{"1,001 texts", texts(1001), http.StatusBadGateway},
	} {
		call := callGuarded(t, h, "/v1/chat/completions", "text/event-stream", "data: "+c.data+"\n\n")
		if call.status != c.status {
			t.Errorf("%s: got %d %s, want %d", c.name, call.status, call.body, c.status)
		}
	}
}

// Numbers that the protocols know say which of several an object is, in whatever order and form.
func TestGuardKnowsIdentities(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{`{"index":1}`, "/index1"},
		{`{"index":"1"}`, "/index1"},
		{`{"index":1.0}`, "/index1"},
		{`{"index":0,"index":1}`, "/index1"},
		{`{"index":null}`, ""},
		{`{"content_index":0,"output_index":2}`, "/content_index0/output_index2"},
		{`{"output_index":2,"item_id":"a","content_index":0}`, "/content_index0/output_index2"},
		{`{"item_id":"a"}`, "/item_ida"},
		{`{"token_index":7,"x":1}`, ""},
	} {
		if got := findStrings([]byte(c.data)).nodes[1].index; got != c.want {
			t.Errorf("%s: got %q, want %q", c.data, got, c.want)
		}
	}
	isSet := findStrings([]byte(`{"thought":true,"isFinal":true}`)).nodes[1].isSet
	if want := "/thought"; !reflect.DeepEqual(isSet, want) {
		t.Errorf("got %q, want %q", isSet, want)
	}
}
