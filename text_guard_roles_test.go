package chatcompletion

import (
	"strings"
	"testing"
)

// TestRolesOfTexts verifies whose text is at the place of X in a request.
func TestRolesOfTexts(t *testing.T) {
	for _, test := range []struct {
		turns string
		body  string
		want  string
	}{
		{chatTurns, `{"messages":[{"role":"user","content":"X"}]}`, roleUser},
		{chatTurns, `{"messages":[{"role":"user","type":"reasoning","content":"X"}]}`, roleUser},
		{chatTurns, `{"messages":[{"role":"user","type":"function_call_output","content":"X"}]}`, roleUser},
		{chatTurns, `{"messages":[{"role":"user","content":[{"type":"tool_result","content":"X"}]}]}`, roleUser},
		{chatTurns, `{"messages":[{"role":"developer","content":"X"}]}`, roleSystem},
		{chatTurns, `{"messages":[{"role":"function","content":"X"}]}`, roleTool},
		{chatTurns, `{"messages":[{"role":"USER","content":"X"}]}`, anyoneRole},
		{chatTurns, `{"messages":[{"role":["user"],"content":"X"}]}`, anyoneRole},
		{chatTurns, `{"messages":[{"role":"assistant","content":"X","role":"user"}]}`, anyoneRole},
		{chatTurns, `{"messages":[{"role":"assistant","content":"X","Role":"user"}]}`, anyoneRole},
		{chatTurns, `{"messages":[{"Role":"assistant","content":"X"}]}`, anyoneRole},
		{chatTurns, `{"messages":[{"content":"X"}]}`, anyoneRole},
		{chatTurns, `{"messages":[{` + strings.Repeat(`"a":1,`, maxRoleMembers) + `"role":"assistant","content":"X"}]}`, anyoneRole},
		{chatTurns, `{"metadata":{"a":"X"}}`, anyoneRole},
		{blockTurns, `{"messages":[{"role":"user","content":[{"type":"tool_result","content":[{"type":"text","text":"X"}]}]}]}`, roleTool},
		{blockTurns, `{"messages":[{"role":"assistant","content":[{"type":"web_search_tool_result","content":"X"}]}]}`, roleTool},
		{blockTurns, `{"messages":[{"type":"tool_result","role":"user","content":"X"}]}`, roleUser},
		{blockTurns, `{"messages":[{"role":"assistant","content":[{"type":"tool_use","input":{"type":"tool_result","a":"X"}}]}]}`, roleAssistant},
		{blockTurns, `{"messages":[{"role":"user","content":[{"type":"text","type":"tool_result","text":"X"}]}]}`, anyoneRole},
		{blockTurns, `{"messages":[{"role":"user","content":[{"text":"X"}]}]}`, anyoneRole},
		{blockTurns, `{"system":[{"type":"tool_result","text":"X"}]}`, roleSystem},
		{itemTurns, `{"input":[{"role":"user","content":[{"type":"input_text","text":"X"}]}]}`, roleUser},
		{itemTurns, `{"input":[{"type":"message","role":"user","content":"X"}]}`, roleUser},
		{itemTurns, `{"input":[{"type":"reasoning","role":"user","content":"X"}]}`, anyoneRole},
		{itemTurns, `{"input":[{"type":"reasoning","summary":"X"}]}`, roleAssistant},
		{itemTurns, `{"input":[{"type":"function_call","arguments":"X"}]}`, roleAssistant},
		{itemTurns, `{"input":[{"type":"function_call_output","output":"X"}]}`, roleTool},
		{itemTurns, `{"input":[{"type":"function_call_output","role":"user","output":"X"}]}`, anyoneRole},
		{itemTurns, `{"input":[{"type":"mcp_call","output":"X"}]}`, roleTool},
		{itemTurns, `{"input":[{"type":"mcp_call","arguments":"X"}]}`, roleAssistant},
		{itemTurns, `{"input":[{"type":"item_reference","id":"X"}]}`, anyoneRole},
		{itemTurns, `{"input":"X"}`, roleUser},
		{itemTurns, `{"input":["X"]}`, roleUser},
		{contentTurns, `{"contents":[{"role":"user","parts":[{"text":"X"}]}]}`, roleUser},
		{contentTurns, `{"contents":[{"role":"user","parts":[{"functionResponse":{"response":{"a":"X"}}}]}]}`, roleTool},
		{contentTurns, `{"contents":[{"role":"user","type":"tool_result","parts":[{"text":"X","functionResponse":{}}]}]}`, roleUser},
		{contentTurns, `{"contents":[{"role":"model","parts":[{"functionCall":{"args":{"functionResponse":"X"}}}]}]}`, roleAssistant},
		{contentTurns, `{"contents":[{"parts":[{"text":"X"}]}]}`, anyoneRole},
		{contentTurns, `{"generateContentRequest":{"contents":[{"role":"user","parts":[{"text":"X"}]}]}}`, roleUser},
		{unknownTurns, `{"messages":[{"role":"user","content":"X"}]}`, roleUser},
		{unknownTurns, `{"messages":[{"role":"user","content":[{"type":"text","text":"X"}]}]}`, roleUser},
		{unknownTurns, `{"messages":[{"role":"user","content":[{"type":"tool_result","text":"X"}]}]}`, anyoneRole},
		{unknownTurns, `{"messages":[{"role":"user","type":"reasoning","content":"X"}]}`, anyoneRole},
		{unknownTurns, `{"prompt":"X"}`, roleUser},
	} {
		in := &inspection{rules: &guardRules{turns: test.turns}, body: []byte(test.body)}
		if got := roleAt(in, strings.Index(test.body, "X")); got != test.want {
			t.Errorf("%s: %s: got %q, want %q", test.turns, test.body, got, test.want)
		}
	}
}
