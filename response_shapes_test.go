package chatcompletion

import (
	"fmt"
	"strings"
	"testing"
)

// Paths of endpoints that are governed passthroughs.
const (
	messagesPath  = "/v1/messages"
	cohereChat    = "/v2/chat"
	rerankPath    = "/v1/rerank"
	compactPath   = "/v1/responses/compact"
	responsesPath = "/v1/responses"
)

// TestShapesOfProviders checks what the record says of responses in the shapes that providers and gateways were seen to send,
// each in packets of several sizes. want is model, input, output, cached input, finish reasons and error.type, where ? is an
// unknown count.
func TestShapesOfProviders(t *testing.T) {
	const (
		deltaBegin = "event: message_delta\ndata: "
		startBegin = "event: message_start\ndata: "
		messageEnd = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
		created    = `data: {"type":"response.created","response":{"id":"r","object":"response","status":"in_progress","model":"gpt-5-mini","error":null,"output":[],"usage":null}}` + "\n\n"
	)
	tests := []struct{ name, path, request, contentType, body, want string }{
		{"Qwen: the whole input first, its parts at the end", messagesPath, messagesStreamBody, streamContent,
			startBegin + `{"type":"message_start","message":{"id":"msg_1","model":"qwen3.7-plus","usage":{"input_tokens":8834,"output_tokens":0}}}` + "\n\n" +
				deltaBegin + `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":18,"output_tokens":426,"cache_creation_input_tokens":0,"cache_read_input_tokens":8831,"cache_creation":{"ephemeral_5m_input_tokens":0}}}` + "\n\n" + messageEnd,
			"qwen3.7-plus 8849/426 cached 8831 [end_turn] "},
		{"Kimi: the names of two protocols in one usage", messagesPath, messagesStreamBody, streamContent,
			startBegin + `{"type":"message_start","message":{"id":"m","model":"kimi-k3","usage":{"input_tokens":173306,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0,"prompt_tokens":173306,"cached_tokens":0}}}` + "\n\n" +
				deltaBegin + `{"type":"message_delta","usage":{"input_tokens":250,"cache_creation_input_tokens":0,"cache_read_input_tokens":173056,"output_tokens":166,"prompt_tokens":173306,"completion_tokens":166,"total_tokens":173472,"cached_tokens":173056}}` + "\n\n" + messageEnd,
			"kimi-k3 173306/166 cached 173056 [] "},
		{"MiniMax: zeros first", messagesPath, messagesStreamBody, streamContent,
			startBegin + `{"type":"message_start","message":{"model":"MiniMax-M3","usage":{"input_tokens":0,"output_tokens":0}}}` + "\n\n" +
				deltaBegin + `{"type":"message_delta","usage":{"cache_read_input_tokens":8990,"input_tokens":1,"output_tokens":2}}` + "\n\n" + messageEnd,
			"MiniMax-M3 8991/2 cached 8990 [] "},
		{"Anthropic: parts of a compaction are not added", messagesPath, messagesStreamBody, streamContent,
			startBegin + `{"type":"message_start","message":{"model":"claude","usage":{"input_tokens":106576,"output_tokens":5,"cache_creation_input_tokens":3146}}}` + "\n\n" +
				deltaBegin + `{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":2,"output_tokens":74,"cache_creation_input_tokens":445,"cache_read_input_tokens":3146,"iterations":[{"type":"compaction","input_tokens":106576,"output_tokens":312}]}}` + "\n\n" + messageEnd,
			"claude 3593/74 cached 3146 [end_turn] "},
		{"Databricks: null until the end", completionsPath, completionsStreamBody, streamContent,
			`data: {"model":"us.anthropic.claude-v1:0","choices":[{"delta":{"content":"I"},"index":0,"finish_reason":null}],"usage":{"prompt_tokens":4982,"completion_tokens":null,"total_tokens":null}}` + "\n\n" +
				`data: {"model":"us.anthropic.claude-v1:0","choices":[{"delta":{"content":""},"index":0,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":4982,"completion_tokens":122,"total_tokens":5104}}` + "\n\ndata: [DONE]\n\n",
			"us.anthropic.claude-v1:0 4982/122 cached 0 [tool_calls] "},
		{"Databricks, cut off: the output is unknown", completionsPath, completionsStreamBody, streamContent,
			`data: {"model":"us.anthropic.claude-v1:0","choices":[{"delta":{"content":"I"},"index":0,"finish_reason":null}],"usage":{"prompt_tokens":4982,"completion_tokens":null,"total_tokens":null}}` + "\n\n",
			"us.anthropic.claude-v1:0 4982/? cached 0 [] provider_cut"},
		{"MiniMax: the last event is a whole completion", completionsPath, completionsStreamBody, streamContent,
			`data: {"id":"1","choices":[{"index":0,"delta":{"content":"Sunny"}}],"model":"MiniMax-Text-01","usage":{"total_tokens":0,"total_characters":0}}` + "\n\n" +
				`data: {"id":"1","choices":[{"finish_reason":"tool_calls","index":0,"messages":[{"content":"","role":"user"}]}],"model":"MiniMax-Text-01","object":"chat.completion","usage":{"total_tokens":13110,"total_characters":0,"prompt_tokens":12938,"completion_tokens":172},"base_resp":{"status_code":0,"status_msg":"unknown field \"user\""}}` + "\n\n",
			"MiniMax-Text-01 12938/172 cached 0 [tool_calls] "},
		{"iFlow: a status in a document instead of a stream", completionsPath, completionsStreamBody, jsonContent,
			`{"status":"449","msg":"You exceeded your current rate limit","body":null}`, " ?/? cached 0 [] "},
		{"GLM: a finish reason that is a failure", completionsPath, completionsStreamBody, "text/event-stream;charset=UTF-8",
			`data:{"id":"c","created":1,"model":"glm-5","choices":[{"index":0,"finish_reason":"network_error","delta":{"role":"assistant","content":""}}]}` + "\n\n",
			"glm-5 ?/? cached 0 [network_error] "},
		{"Gemini: a finish reason with a colon, no id, no model", completionsPath, completionsStreamBody, streamContent,
			`data: {"choices":[{"delta":{"content":null},"finish_reason":"function_call_filter: MALFORMED_FUNCTION_CALL","index":0}],"usage":{"completion_tokens":3392,"prompt_tokens":100,"total_tokens":3492}}` + "\n\n",
			" 100/3392 cached 0 [function_call_filter: MALFORMED_FUNCTION_CALL] "},
		{"vLLM: abort, then [DONE]", completionsPath, completionsStreamBody, streamContent,
			`data: {"id":"c","model":"Qwen/Qwen3-8B","choices":[{"index":0,"delta":{"content":""},"finish_reason":"abort","stop_reason":null}]}` + "\n\n" +
				`data: {"id":"c","model":"Qwen/Qwen3-8B","choices":[],"usage":{"prompt_tokens":9,"total_tokens":10,"completion_tokens":1}}` + "\n\ndata: [DONE]\n\n",
			"Qwen/Qwen3-8B 9/1 cached 0 [abort] "},
		{"llama.cpp: a line of its own for the error", completionsPath, completionsStreamBody, streamContent,
			"error: {\"code\":400,\"message\":\"context\",\"type\":\"exceed_context_size_error\"}\n\n", " ?/? cached 0 [] error_event"},
		{"Lemonade: an error without a field", completionsPath, completionsStreamBody, streamContent,
			`{"error":{"code":400,"message":"request (6009 tokens) exceeds","n_prompt_tokens":6009,"n_ctx":4096}}`, " ?/? cached 0 [] error_event"},
		{"an error in several lines after good events", completionsPath, completionsStreamBody, streamContent,
			azureEvent + "{\n  \"error\": {\n    \"code\": 503,\n    \"status\": \"UNAVAILABLE\"\n  }\n}\n", "gpt-4o-2024-11-20 ?/? cached 0 [] error_event"},
		{"DashScope: an error event without a member error", completionsPath, completionsStreamBody, streamContent,
			azureEvent + "id:1\nevent:error\n:HTTP_STATUS/429\ndata:{\"code\":\"Throttling.AllocationQuota\",\"message\":\"Allocated quota exceeded\"}\n\n",
			"gpt-4o-2024-11-20 ?/? cached 0 [] error_event"},
		{"DashScope: a finish reason of null as text", completionsPath, completionsStreamBody, streamContent,
			`data: {"model":"m-1","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"null"}]}` + "\n\n", "m-1 ?/? cached 0 [] provider_cut"},
		{"Venice: an error event of plain text", completionsPath, completionsStreamBody, streamContent,
			"event: error\ndata: Service temporarily unavailable.\n\n", " ?/? cached 0 [] error_event"},
		{"DeepInfra: an error in members of its own", completionsPath, completionsStreamBody, streamContent,
			`data: {"id":"c","model":"deepseek","choices":null,"error_type":"BadRequestError","error_message":"too long"}` + "\n\n", "deepseek ?/? cached 0 [] provider_cut"},
		{"Groq: an error in x_groq", completionsPath, completionsStreamBody, streamContent,
			azureEvent + `data: {"choices":[],"x_groq":{"error":"stopped"}}` + "\n\n", "gpt-4o-2024-11-20 ?/? cached 0 [] error_event"},
		{"Responses: response.done", responsesPath, responsesStreamBody, streamContent,
			created + `data: {"type":"response.done","response":{"id":"r","status":"completed","model":"gpt-5-mini","usage":{"input_tokens":31,"input_tokens_details":{"cached_tokens":16},"output_tokens":4,"total_tokens":35}}}` + "\n\n",
			"gpt-5-mini 31/4 cached 16 [completed] "},
		{"Responses: a nested error", responsesPath, responsesStreamBody, streamContent,
			created + `data: {"type":"error","sequence_number":2,"error":{"type":"too_many_requests","message":"Too Many Requests"}}` + "\n\n",
			"gpt-5-mini ?/? cached 0 [] error_event"},
		{"Responses: an error, then response.failed", responsesPath, responsesStreamBody, streamContent,
			"event: error\ndata: {\"type\":\"error\",\"error\":{\"code\":\"rate_limit_exceeded\"}}\n\nevent: response.failed\n" +
				`data: {"type":"response.failed","response":{"id":"r","status":"failed","model":"gpt-5-mini","error":{"code":"rate_limit_exceeded"},"usage":null}}` + "\n\n",
			"gpt-5-mini ?/? cached 0 [failed] error_event"},
		{"Responses: a compaction", compactPath, `{"model":"m","input":"Hi"}`, jsonContent,
			`{ "id":"cmp_test", "object":"response.compaction", "output":[{"type":"compaction","future":9007199254740993}],"usage":{"input_tokens":10,"output_tokens":2},"future":1.234567890123456789 }`,
			" 10/2 cached 0 [] "},
		{"Cohere: billed tokens", cohereChat, completionsStreamBody, streamContent,
			"event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"Hello\"}}}}\n\nevent: message-end\n" +
				`data: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":{"billed_units":{"input_tokens":5,"output_tokens":10},"tokens":{"input_tokens":15,"output_tokens":10}}}}` + "\n\n",
			" 5/10 cached 0 [COMPLETE] "},
		{"Cohere: an error at the end", cohereChat, completionsStreamBody, streamContent,
			`data: {"type":"message-end","delta":{"finish_reason":"ERROR","error":"internal failure"}}` + "\n\n", " ?/? cached 0 [ERROR] error_event"},
		{"a reranker's total", rerankPath, `{"model":"m","query":"q","documents":["a"]}`, jsonContent,
			`{"id":"rerank-1","model":"BAAI/bge-reranker-v2-m3","usage":{"total_tokens":56},"results":[{"index":0,"relevance_score":0.98}]}`, "BAAI/bge-reranker-v2-m3 56/? cached 0 [] "},
		{"a reranker's units", rerankPath, `{"model":"m","query":"q","documents":["a"]}`, jsonContent,
			`{"id":"r2","results":[{"index":0,"relevance_score":0.98}],"meta":{"billed_units":{"search_units":1}}}`, " ?/? cached 0 [] "},
		{"a transcription in seconds", "/v1/audio/transcriptions", `{"model":"m"}`, jsonContent, `{"text":"hi","usage":{"type":"duration","seconds":9}}`, " ?/? cached 0 [] "},
		{"a real usage in a choice beside zeros", completionsPath, completionsStreamBody, streamContent,
			`data: {"model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":5,"completion_tokens":7}}],"usage":{"prompt_tokens":0,"completion_tokens":0}}` + "\n\n",
			"m-1 5/7 cached 0 [stop] "},
		{"names of something inside", completionsPath, completionsJSONBody, jsonContent,
			`{"message":{"model":"inner","id":"inner"},"response":{"model":"inner","usage":{"input_tokens":9999},"error":{"code":"x"}},"choices":[]}`, " ?/? cached 0 [] "},
		{"a gateway's cache beside prompt_tokens", completionsPath, completionsJSONBody, jsonContent,
			`{"model":"m-1","choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":7,"total_tokens":27,"cache_read_input_tokens":9,"prompt_tokens_details":{"cached_tokens":9}}}`,
			"m-1 20/7 cached 9 [stop] "},
		{"a large response that failed", responsesPath, responsesStreamBody, jsonContent,
			`{"id":"r","object":"response","status":"failed","error":{"code":"server_error"},"output":[{"result":"` + strings.Repeat("A", 3<<19) + `"}],"model":"gpt-5","usage":{"input_tokens":7,"output_tokens":2}}`,
			"gpt-5 7/2 cached 0 [failed] error_event"},
		{"a large response with a usage of something inside at its end", responsesPath, responsesStreamBody, streamContent,
			`data: {"type":"response.completed","response":{"id":"r","model":"gpt-5","output":[{"result":"` + strings.Repeat("A", 3<<19) + `"}]},"tool":{"id":"t","usage":{"input_tokens":9999,"output_tokens":9999}}}` + "\n\n",
			"gpt-5 ?/? cached 0 [] "},
		{"a large response before other members", responsesPath, responsesStreamBody, streamContent,
			`data: {"response":{"model":"gpt-5","usage":{"input_tokens":7,"output_tokens":2}},"type":"response.completed","extra":"` + strings.Repeat("A", 3<<19) + `"}` + "\n\n",
			"gpt-5 7/2 cached 0 [] "},
		{"NVIDIA: events after the finish reason", completionsPath, completionsStreamBody, streamContent,
			`data: {"model":"m-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n" + `data: {"model":"m-1","choices":[{"index":0,"delta":{"content":"b"},"finish_reason":null}]}` + "\n\n",
			"m-1 ?/? cached 0 [stop] "},
	}
	for _, test := range tests {
		for _, packet := range []int{0, 1, 100} {
			if packet == 1 && len(test.body) > 1<<20 {
				packet = 1000
			}
			c := recordedCall(t, test.path, test.request, test.contentType, test.body, packet)
			usage := &c.Response.Usage
			counts := []string{"?", "?"}
			if usage.InputKnown {
				counts[0] = fmt.Sprint(usage.InputTokens)
			}
			if usage.OutputKnown {
				counts[1] = fmt.Sprint(usage.OutputTokens)
			}
			got := fmt.Sprintf("%s %s cached %d %v %s", c.Response.Model, strings.Join(counts, "/"), usage.CacheReadInputTokens, c.Response.FinishReasons, c.ErrorType)
			if got != test.want {
				t.Errorf("%s, in packets of %d bytes: %q, want %q", test.name, packet, got, test.want)
			}
		}
	}
}

func TestStreamOfGovernedPassthroughIsRecorded(t *testing.T) {
	for request, want := range map[string]bool{
		messagesStreamBody: true,
		`{"model":"m","max_tokens":64,"messages":[{"role":"user","content":"Hi"}]}`: false,
		`{"model":"m","stream":false,"prompt":"Hi"}`:                                false,
		`{"model":"m","stream":null,"prompt":"Hi"}`:                                 false,
		`{"model":"m","prompt":{"stream":true}}`:                                    false,
		`{"model":"m", "\u0073tream" : true }`:                                      true,
	} {
		if got := recordedCall(t, messagesPath, request, jsonContent, "{}", 0).Request.Stream; got != want {
			t.Errorf("%s: stream %t, want %t", request, got, want)
		}
	}
}
