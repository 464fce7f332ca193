package chatcompletion

import (
	"strings"
	"testing"
)

// textBlock is a content block.
const textBlock = `{"type":"text","text":"Hi"}`

// anthropicContent returns an array of one message with a content.
func anthropicContent(content string) string {
	return `[{"role":"user","content":` + content + `}]`
}

func TestMessagesSchema(t *testing.T) {
	checkValues(t, messagesParameters(), []valueTest{
		{"model", `1`, "invalid_type model"},
		{"messages", `[{"role":"user","content":"Hi"},{"content":"Hello","role":"assistant"},{"role":"system","content":"Be brief."}]`, ""},
		{"messages", `[]`, "empty_array messages"},
		{"messages", `{}`, "invalid_type messages"},
		{"messages", `"Hi"`, "invalid_type messages"},
		{"messages", `["Hi"]`, "invalid_type messages[0]"},
		{"messages", `[null]`, "missing_required_parameter messages[0].role"},
		{"messages", `[{"role":"user","content":"Hi"},1]`, "invalid_type messages[1]"},
		{"messages", `[{"content":"Hi"}]`, "missing_required_parameter messages[0].role"},
		{"messages", `[{"role":1,"content":"Hi"}]`, "invalid_type messages[0].role"},
		{"messages", `[{"role":"tool","content":"Hi"}]`, "invalid_value messages[0].role"},
		{"messages", `[{"role":"user"}]`, "missing_required_parameter messages[0].content"},
		{"messages", anthropicContent(`null`), "missing_required_parameter messages[0].content"},
		{"messages", anthropicContent(`1`), "invalid_type messages[0].content"},
		{"messages", anthropicContent(`{"type":"text"}`), "invalid_type messages[0].content"},
		{"messages", anthropicContent(`""`), ""},
		{"messages", anthropicContent(`[]`), ""},
		{"messages", anthropicContent("[" + textBlock + "]"), ""},
		{"messages", anthropicContent(`[{"type":"image","source":{"type":"base64","data":"aGk="}},{"cache_control":{"type":"ephemeral"},"type":"document"}]`), ""},
		{"messages", anthropicContent(`[{"type":"of_a_later_version","any":[1,{"type":2}]}]`), ""},
		{"messages", anthropicContent(`[{"type":"tool_result","tool_use_id":"t","content":[{"text":"no type"}]}]`), ""},
		{"messages", anthropicContent(`[{"text":"Hi"}]`), "missing_required_parameter messages[0].content[0].type"},
		{"messages", anthropicContent(`[null]`), "missing_required_parameter messages[0].content[0].type"},
		{"messages", anthropicContent(`[` + textBlock + `,{"type":null}]`), "missing_required_parameter messages[0].content[1].type"},
		{"messages", anthropicContent(`[{"type":1}]`), "invalid_type messages[0].content[0].type"},
		{"messages", anthropicContent(`["Hi"]`), "invalid_type messages[0].content[0]"},
		{"messages", anthropicContent(`[[]]`), "invalid_type messages[0].content[0]"},
		{"messages", `[{"role":"user","content":[` + textBlock + `]},{"role":"assistant","content":"a"},{"role":"user","content":[` + textBlock + `,1]}]`, "invalid_type messages[2].content[1]"},
		{"messages", `[{"role":"user","content":[` + textBlock + `]},{"role":"assistant","content":"a"},{"role":"user","content":[{}]}]`, "missing_required_parameter messages[2].content[0].type"},
		{"messages", list(`{"role":"user","content":"Hi"}`, elementsMax), ""},
		{"messages", list(`{"role":"user","content":"Hi"}`, elementsMax+1), "array_above_max_length messages"},
		{"messages", list(strings.Trim(anthropicContent(list(textBlock, 4)), "[]"), elementsMax), ""},
		{"messages", anthropicContent(list(textBlock, blocksMax)), ""},
		{"messages", anthropicContent(list(textBlock, blocksMax+1)), "array_above_max_length messages"},
		{"messages", `[{"role":"user","content":[` + textBlock + `]},{"role":"user","content":` + list(textBlock, blocksMax) + `}]`, "array_above_max_length messages"},
		{"max_tokens", `1`, ""},
		{"max_tokens", `0`, ""},
		{"max_tokens", `-1`, "integer_below_min_value max_tokens"},
		{"max_tokens", `1.5`, "invalid_type max_tokens"},
		{"max_tokens", `"1"`, "invalid_type max_tokens"},
		{"cache_control", `{"type":"ephemeral","ttl":"1h"}`, ""},
		{"cache_control", `"ephemeral"`, "invalid_type cache_control"},
		{"compaction", `{"type":"summarize"}`, ""},
		{"compaction", `true`, "invalid_type compaction"},
		{"container", `"container_1"`, ""},
		{"container", `{"id":"container_1","skills":[]}`, ""},
		{"container", `[]`, "invalid_type container"},
		{"context_management", `{"edits":[{"type":"clear_tool_uses_20250919"}]}`, ""},
		{"context_management", `[]`, "invalid_type context_management"},
		{"diagnostics", `{"previous_message_id":null}`, ""},
		{"diagnostics", `true`, "invalid_type diagnostics"},
		{"fallback_credit_token", `"t"`, ""},
		{"fallback_credit_token", `1`, "invalid_type fallback_credit_token"},
		{"fallbacks", `"default"`, ""},
		{"fallbacks", `[{"model":"m"}]`, ""},
		{"fallbacks", `["m"]`, "invalid_type fallbacks[0]"},
		{"fallbacks", `{"model":"m"}`, "invalid_type fallbacks"},
		{"inference_geo", `"eu"`, ""},
		{"inference_geo", `1`, "invalid_type inference_geo"},
		{"mcp_servers", `[{"type":"url","url":"https://example.com","name":"n"}]`, ""},
		{"mcp_servers", `[{"url":"https://example.com"}]`, "missing_required_parameter mcp_servers[0].type"},
		{"mcp_servers", `{}`, "invalid_type mcp_servers"},
		{"metadata", `{"user_id":"u"}`, ""},
		{"metadata", `{"user_id":null}`, ""},
		{"metadata", `{"user_id":1}`, "invalid_type metadata.user_id"},
		{"metadata", `"u"`, "invalid_type metadata"},
		{"output_config", `{"effort":"xhigh","format":{"type":"json_schema","schema":{}}}`, ""},
		{"output_config", `{"effort":1}`, "invalid_type output_config.effort"},
		{"output_config", `"low"`, "invalid_type output_config"},
		{"output_format", `{"type":"json_schema","schema":{}}`, ""},
		{"output_format", `"json"`, "invalid_type output_format"},
		{"service_tier", `"standard_only"`, ""},
		{"service_tier", `"flex"`, "invalid_value service_tier"},
		{"speed", `"fast"`, ""},
		{"speed", `"slow"`, "invalid_value speed"},
		{"stop_sequences", `["a","b"]`, ""},
		{"stop_sequences", `"a"`, "invalid_type stop_sequences"},
		{"stop_sequences", `[1]`, "invalid_type stop_sequences"},
		{"stream", `true`, ""},
		{"stream", `"true"`, "invalid_type stream"},
		{"system", `"Be brief."`, ""},
		{"system", `[` + textBlock + `,{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]`, ""},
		{"system", `[]`, ""},
		{"system", `["Be brief."]`, "invalid_type system[0]"},
		{"system", `[{"text":"x"}]`, "missing_required_parameter system[0].type"},
		{"system", `{"type":"text","text":"x"}`, "invalid_type system"},
		{"system", list(textBlock, elementsMax+1), "array_above_max_length system"},
		{"temperature", `1`, ""},
		{"temperature", `1.1`, "decimal_above_max_value temperature"},
		{"thinking", `{"type":"enabled","budget_tokens":1024}`, ""},
		{"thinking", `{"type":"of_a_later_version"}`, ""},
		{"thinking", `{"budget_tokens":1024}`, "missing_required_parameter thinking.type"},
		{"thinking", `true`, "invalid_type thinking"},
		{"tool_choice", `{"type":"tool","name":"n"}`, ""},
		{"tool_choice", `{}`, "missing_required_parameter tool_choice.type"},
		{"tool_choice", `"auto"`, "invalid_type tool_choice"},
		{"tools", `[]`, ""},
		{"tools", `[{"name":"n","input_schema":{"type":"object"}},{"type":"custom","name":"m"},{"type":"web_search_20250305","name":"web_search"},{"type":"mcp_toolset","mcp_server_name":"n"}]`, ""},
		{"tools", `[{"name":"n"},{"input_schema":{}}]`, "missing_required_parameter tools[1].name"},
		{"tools", `[{"type":null,"name":1}]`, "invalid_type tools[0].name"},
		{"tools", `[{"type":"custom"}]`, "missing_required_parameter tools[0].name"},
		{"tools", `[{"type":1}]`, "invalid_type tools[0].type"},
		{"tools", `["n"]`, "invalid_type tools[0]"},
		{"tools", `{}`, "invalid_type tools"},
		{"tools", list(`{"name":"n"}`, elementsMax+1), "array_above_max_length tools"},
		{"top_k", `0`, ""},
		{"top_k", `-1`, "integer_below_min_value top_k"},
		{"top_p", `0.5`, ""},
		{"top_p", `1.1`, "decimal_above_max_value top_p"},
	})
}

// TestCountersNeedNoTokenLimit checks that counting accepts what the request that is counted has, without what only generating needs.
func TestCountersNeedNoTokenLimit(t *testing.T) {
	for name, test := range map[string]struct {
		schema   []*parameter
		required string
	}{
		"messages":        {messagesParameters(), "max_tokens messages"},
		"count messages":  {countMessagesParameters(), "messages"},
		"count responses": {countResponsesParameters(), ""},
		"contents":        {generateContentParameters(), "contents"},
		"count contents":  {countContentsParameters(), ""},
		"embed":           {embedContentParameters(), "content"},
		"batch embed":     {batchEmbedParameters(), "requests"},
	} {
		required := map[string]bool{}
		seen := map[string]bool{}
		for _, p := range test.schema {
			if seen[fold(p.name)] {
				t.Errorf("%s: two parameters %q", name, p.name)
			}
			seen[fold(p.name)] = true
			if p.required {
				required[p.name] = true
			}
		}
		if got := strings.Join(sortedKeys(required), " "); got != test.required {
			t.Errorf("%s requires %q, want %q", name, got, test.required)
		}
		if test.schema[modelID].name != "model" {
			t.Errorf("%s begins with %q, want the model", name, test.schema[modelID].name)
		}
	}
}
