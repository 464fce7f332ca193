package chatcompletion

import (
	"strings"
	"testing"
)

// TestLongTextIsNotCopied checks for which large bodies no covered copy is made.
func TestLongTextIsNotCopied(t *testing.T) {
	text := strings.Repeat(`A sentence with \"quotes\" and a line\n`, 4000)
	tests := []struct {
		name string
		body string
		want bool
	}{
		{"one long text", `{"messages":[{"role":"user","content":"` + text + `"}],"model":"m"}`, true},
		{"two long texts", `{"messages":[{"role":"user","content":"` + text + `"},{"role":"user","content":"` + text + `"}]}`, true},
		{"an image after a text", `{"messages":[{"content":[{"text":"\n"},{"url":"` + strings.Repeat("base64", 20000) + `"}]}]}`, true},
		{"many short strings", `{"messages":[` + strings.Repeat(`{"role":"user","content":"\"Hi\""},`, 4000) + `{"content":"\n"}]}`, false},
		{"a long text that ends in a backslash", `{"messages":[{"role":"user","content":"` + text + `\\"}]}`, true},
		{"a text with escaped backslashes before quotes", `{"messages":[{"role":"user","content":"` + strings.Repeat(text[:1000]+`\\\"`, 150) + `"}]}`, false},
		{"more quotes than are counted", `{"x":"` + strings.Repeat(`\"`, skeletonMaxEnds) + `"}`, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := cutAroundTexts(wholeJSONObject([]byte(test.body))); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
