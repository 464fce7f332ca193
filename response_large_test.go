package chatcompletion

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// largeParts are members of an object that is too large to be kept, some of which imitate others.
var largeParts = []string{
	`"usage":{"prompt_tokens":6,"completion_tokens":4}`,
	`"model":"m-1"`,
	`"id":"c1"`,
	`"type":"response.completed"`,
	`"response":{"id":"r1","model":"m-2","status":"completed","usage":{"input_tokens":75,"output_tokens":13},"output":[{"result":"` + strings.Repeat("A", 300) + `"}]}`,
	`"a":"` + strings.Repeat("A", 300) + `"`,
	`"b":[` + strings.Repeat("0.25,", 60) + `1]`,
	`"service":{"usage":{"prompt_tokens":9999,"completion_tokens":9999},"model":"other","response":{"usage":{"input_tokens":9999}}}`,
	`"c":"\"usage\":{\"prompt_tokens\":9999},\"model\":\"other\""`,
	`"d":{"response":{"model":"other","usage":{"input_tokens":9999}},"type":"error"}`,
	`"message":"usage"`,
}

// responsePart is the index of the response.
const responsePart = 4

// FuzzLargeMembers reads the beginning and the end of objects: what is read is what the object has there, and never what
// something else in it has. An end is taken for that of the response that the beginning is in, so that the response comes last.
func FuzzLargeMembers(f *testing.F) {
	for i := range largeParts {
		f.Add([]byte{byte(i), 5, 7}, uint16(40), uint16(200))
		f.Add([]byte{4, 5, byte(i), 9}, uint16(400), uint16(60))
	}
	f.Add([]byte{3, 4}, uint16(120), uint16(90))
	f.Fuzz(func(t *testing.T, order []byte, head, tail uint16) {
		var parts []string
		used := map[int]bool{}
		for _, b := range order {
			if i := int(b) % len(largeParts); !used[i] {
				used[i] = true
				parts = append(parts, largeParts[i])
			}
		}
		if used[responsePart] {
			for i, part := range parts {
				if part == largeParts[responsePart] {
					parts = append(append(append([]string{}, parts[:i]...), parts[i+1:]...), part)
				}
			}
		}
		text := "{" + strings.Join(parts, ",") + "}"
		first, last := int(head)%(len(text)+1), int(tail)%(len(text)+1)
		var whole responseMembers
		if !unmarshalMembers([]byte(text), &whole) {
			t.Fatalf("%s: not an object", text)
		}
		got := largeMembers(&responseReader{}, []byte(text[:first]), []byte(text[len(text)-last:]))
		for name, pair := range map[string][2]string{
			"usage": {string(got.Usage), string(whole.Usage)}, "model": {got.Model, whole.Model}, "id": {got.ID, whole.ID}, "type": {got.Type, whole.Type},
			"response.usage": {string(got.Response.Usage), string(whole.Response.Usage)}, "response.model": {got.Response.Model, whole.Response.Model},
			"response.status": {got.Response.Status, whole.Response.Status},
		} {
			if pair[0] != "" && pair[0] != pair[1] {
				t.Errorf("%s, %d bytes at the beginning and %d at the end: %s = %q, want %q or nothing", text, first, last, name, pair[0], pair[1])
			}
		}
		if first == len(text) && !reflect.DeepEqual(got.Usage, whole.Usage) {
			t.Errorf("%s: usage %s, want %s", text, got.Usage, whole.Usage)
		}
		if closed, _ := closeHead([]byte(text[:first])); closed != nil && !json.Valid(closed) {
			t.Errorf("%s, %d bytes at the beginning: %s is not JSON", text, first, closed)
		}
	})
}
