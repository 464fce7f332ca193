package chatcompletion

import (
	"encoding/json"
	"testing"
)

// TestLogLineSaysWhatQuotasDid: a line names the quota that refused a call, and marks an estimate.
func TestLogLineSaysWhatQuotasDid(t *testing.T) {
	for _, test := range []struct {
		call *Call
		want map[string]any
	}{
		{&Call{Quota: "report=day"}, map[string]any{"chat_completion.quota": "report=day", "chat_completion.usage.estimated": nil}},
		{&Call{Response: Response{Usage: Usage{Estimated: true}}}, map[string]any{"chat_completion.quota": nil, "chat_completion.usage.estimated": true}},
	} {
		test.call.Target, test.call.Request = &Target{Operation: chatOperation}, &Request{}
		var line map[string]any
		if err := json.Unmarshal(newLine(test.call, semconvBoth), &line); err != nil {
			t.Fatal(err)
		}
		for member, want := range test.want {
			if got := line[member]; got != want {
				t.Errorf("%s: got %v, want %v", member, got, want)
			}
		}
	}
}
