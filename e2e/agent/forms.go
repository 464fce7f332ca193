package agent

import (
	"bytes"
	"encoding/json"
	"strings"
)

// form is how one client writes the requests of an agent: its order of members, its spaces, what it
// says of a message. Each {name} stands for a JSON value.
type form struct {
	head      string // what stands before the elements of the conversation
	separator string // between two elements
	tail      string // what stands after the elements
	tool      string

	first  string // the first element: system prompt, or environment
	user   string
	text   string // the model writes a text
	call   string // the model calls a tool
	result string // what the tool returned

	marks int // elements at the end that are marked for the cache of prompts
}

// chatForms are those of chat completions. The agents on top of an SDK decide which parameters they
// set; the SDK, or the JSON library of its language, decides their order.
var chatForms = []form{
	{ // OpenAI's SDK for Node keeps the order of the agent.
		head:      `{"model":{model},"messages":[`,
		separator: `,`,
		tail:      `],"temperature":0,"max_tokens":8192,"tools":[{tools}],"tool_choice":"auto"}`,
		tool:      `{"type":"function","function":{"name":{name},"description":{text},"parameters":{schema}}}`,
		first:     `{"role":"system","content":{text}}`,
		user:      `{"role":"user","content":{text}}`,
		text:      `{"role":"assistant","content":{text}}`,
		call:      `{"role":"assistant","content":{text},"tool_calls":[{"id":{id},"type":"function","function":{"name":{name},"arguments":{arguments}}}]}`,
		result:    `{"role":"tool","tool_call_id":{id},"content":{text}}`,
	},
	{ // That for Python sorts the parameters, sends the model's messages as it received them, and may write spaces.
		head:      `{"messages": [`,
		separator: `, `,
		tail:      `], "model": {model}, "max_tokens": 4096, "parallel_tool_calls": false, "temperature": 0.2, "tools": [{tools}]}`,
		tool:      `{"type": "function", "function": {"name": {name}, "description": {text}, "parameters": {schema}}}`,
		first:     `{"role": "system", "content": {text}}`,
		user:      `{"role": "user", "content": {text}}`,
		text:      `{"content": {text}, "refusal": null, "role": "assistant", "annotations": []}`,
		call:      `{"content": {text}, "refusal": null, "role": "assistant", "annotations": [], "tool_calls": [{"id": {id}, "function": {"arguments": {arguments}, "name": {name}}, "type": "function"}]}`,
		result:    `{"tool_call_id": {id}, "role": "tool", "name": {name}, "content": {text}}`,
	},
	{ // Clients that translate from Anthropic's API write content parts; some of them write the tools first.
		head:      `{"model":{model},"max_tokens":32000,"temperature":1,"tools":[{tools}],"tool_choice":"auto","messages":[`,
		separator: `,`,
		tail:      `],"stream":false}`,
		tool:      `{"type":"function","function":{"name":{name},"description":{text},"parameters":{schema}}}`,
		first:     `{"role":"system","content":[{"type":"text","text":{text}}]}`,
		user:      `{"role":"user","content":[{"type":"text","text":{text}}]}`,
		text:      `{"role":"assistant","content":[{"type":"text","text":{text}}]}`,
		call:      `{"role":"assistant","content":{text},"tool_calls":[{"id":{id},"type":"function","function":{"name":{name},"arguments":{arguments}}}]}`,
		result:    `{"role":"tool","tool_call_id":{id},"content":{text}}`,
	},
	{ // Many JSON libraries, such as Rust's serde_json and Go's maps, sort all members.
		head:      `{"max_tokens":16384,"messages":[`,
		separator: `,`,
		tail:      `],"model":{model},"temperature":0.1,"tools":[{tools}]}`,
		tool:      `{"function":{"description":{text},"name":{name},"parameters":{schema}},"type":"function"}`,
		first:     `{"content":{text},"role":"system"}`,
		user:      `{"content":{text},"role":"user"}`,
		text:      `{"content":{text},"role":"assistant"}`,
		call:      `{"content":{text},"role":"assistant","tool_calls":[{"function":{"arguments":{arguments},"name":{name}},"id":{id},"type":"function"}]}`,
		result:    `{"content":{text},"role":"tool","tool_call_id":{id}}`,
	},
}

// responsesForms are those of the Responses API.
var responsesForms = []form{
	{ // Codex
		head:      `{"model":{model},"instructions":{instructions},"input":[`,
		separator: `,`,
		tail:      `],"tools":[{tools}],"tool_choice":"auto","parallel_tool_calls":false,"reasoning":{"effort":"medium","summary":"auto"},"store":false,"include":["reasoning.encrypted_content"],"prompt_cache_key":{key}}`,
		tool:      `{"type":"function","name":{name},"description":{text},"strict":false,"parameters":{schema}}`,
		first:     `{"type":"message","role":"user","content":[{"type":"input_text","text":{text}}]}`,
		user:      `{"type":"message","role":"user","content":[{"type":"input_text","text":{text}}]}`,
		text:      `{"type":"message","role":"assistant","content":[{"type":"output_text","text":{text}}]}`,
		call:      `{"type":"function_call","name":{name},"arguments":{arguments},"call_id":{id}}`,
		result:    `{"type":"function_call_output","call_id":{id},"output":{text}}`,
	},
	{ // OpenAI's SDK for Python, with the items of the model in the order of its types
		head:      `{"input": [`,
		separator: `, `,
		tail:      `], "instructions": {instructions}, "max_output_tokens": 4096, "model": {model}, "temperature": 0.2, "tools": [{tools}]}`,
		tool:      `{"type": "function", "name": {name}, "description": {text}, "parameters": {schema}}`,
		first:     `{"role": "user", "content": {text}}`,
		user:      `{"role": "user", "content": {text}}`,
		text:      `{"id": {item}, "content": [{"annotations": [], "text": {text}, "type": "output_text", "logprobs": []}], "role": "assistant", "status": "completed", "type": "message"}`,
		call:      `{"arguments": {arguments}, "call_id": {id}, "name": {name}, "type": "function_call", "id": {item}, "status": "completed"}`,
		result:    `{"type": "function_call_output", "call_id": {id}, "output": {text}}`,
	},
	{ // OpenAI's SDK for Node, with the items of the model as the API sent them
		head:      `{"model":{model},"tools":[{tools}],"temperature":0,"instructions":{instructions},"input":[`,
		separator: `,`,
		tail:      `]}`,
		tool:      `{"type":"function","name":{name},"description":{text},"parameters":{schema},"strict":false}`,
		first:     `{"role":"user","content":{text}}`,
		user:      `{"role":"user","content":{text}}`,
		text:      `{"id":{item},"type":"message","status":"completed","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":{text}}],"role":"assistant"}`,
		call:      `{"id":{item},"type":"function_call","status":"completed","arguments":{arguments},"call_id":{id},"name":{name}}`,
		result:    `{"type":"function_call_output","call_id":{id},"output":{text}}`,
	},
	{ // members sorted
		head:      `{"input":[`,
		separator: `,`,
		tail:      `],"instructions":{instructions},"max_output_tokens":16384,"model":{model},"temperature":0.1,"tools":[{tools}]}`,
		tool:      `{"description":{text},"name":{name},"parameters":{schema},"type":"function"}`,
		first:     `{"content":{text},"role":"user"}`,
		user:      `{"content":{text},"role":"user"}`,
		text:      `{"content":{text},"role":"assistant"}`,
		call:      `{"arguments":{arguments},"call_id":{id},"name":{name},"type":"function_call"}`,
		result:    `{"call_id":{id},"output":{text},"type":"function_call_output"}`,
	},
}

// messagesForms are those of Anthropic's Messages.
var messagesForms = []form{
	{ // Claude Code marks the last two messages
		head:      `{"model":{model},"messages":[`,
		separator: `,`,
		tail:      `],"system":[{"type":"text","text":{instructions},"cache_control":{"type":"ephemeral"}}],"tools":[{tools}],"metadata":{"user_id":{key}},"max_tokens":32000,"temperature":1}`,
		tool:      `{"name":{name},"description":{text},"input_schema":{schema}}`,
		first:     `{"role":"user","content":[{"type":"text","text":{text}}]}`,
		user:      `{"role":"user","content":[{"type":"text","text":{text}}]}`,
		text:      `{"role":"assistant","content":[{"type":"text","text":{text}}]}`,
		call:      `{"role":"assistant","content":[{"type":"tool_use","id":{id},"name":{name},"input":{object}}]}`,
		result:    `{"role":"user","content":[{"tool_use_id":{id},"type":"tool_result","content":{text}}]}`,
		marks:     2,
	},
	{ // Anthropic's SDK for Go
		head:      `{"max_tokens":8192,"messages":[`,
		separator: `,`,
		tail:      `],"model":{model},"system":[{"text":{instructions},"type":"text"}],"tools":[{tools}]}`,
		tool:      `{"input_schema":{schema},"name":{name},"description":{text}}`,
		first:     `{"content":[{"text":{text},"type":"text"}],"role":"user"}`,
		user:      `{"content":[{"text":{text},"type":"text"}],"role":"user"}`,
		text:      `{"content":[{"text":{text},"type":"text"}],"role":"assistant"}`,
		call:      `{"content":[{"id":{id},"input":{object},"name":{name},"type":"tool_use"}],"role":"assistant"}`,
		result:    `{"content":[{"tool_use_id":{id},"is_error":false,"content":[{"text":{text},"type":"text"}],"type":"tool_result"}],"role":"user"}`,
	},
}

// contentsForms are those of Gemini's generateContent.
var contentsForms = []form{
	{ // Gemini CLI and Google's SDK for Node
		head:      `{"contents":[`,
		separator: `,`,
		tail:      `],"systemInstruction":{"role":"user","parts":[{"text":{instructions}}]},"tools":[{"functionDeclarations":[{tools}]}],"generationConfig":{"temperature":0,"topP":1,"thinkingConfig":{"includeThoughts":true}}}`,
		tool:      `{"name":{name},"description":{text},"parametersJsonSchema":{schema}}`,
		first:     `{"role":"user","parts":[{"text":{text}}]}`,
		user:      `{"role":"user","parts":[{"text":{text}}]}`,
		text:      `{"role":"model","parts":[{"text":{text}}]}`,
		call:      `{"role":"model","parts":[{"functionCall":{"name":{name},"args":{object}},"thoughtSignature":{id}}]}`,
		result:    `{"role":"user","parts":[{"functionResponse":{"id":{id},"name":{name},"response":{"output":{text}}}}]}`,
	},
	{ // clients that write the settings first
		head:      `{"generationConfig":{"temperature":0.2,"maxOutputTokens":8192},"systemInstruction":{"parts":[{"text":{instructions}}]},"tools":[{"functionDeclarations":[{tools}]}],"contents":[`,
		separator: `,`,
		tail:      `]}`,
		tool:      `{"name":{name},"description":{text},"parameters":{schema}}`,
		first:     `{"parts":[{"text":{text}}],"role":"user"}`,
		user:      `{"parts":[{"text":{text}}],"role":"user"}`,
		text:      `{"parts":[{"text":{text}}],"role":"model"}`,
		call:      `{"parts":[{"functionCall":{"args":{object},"id":{id},"name":{name}}}],"role":"model"}`,
		result:    `{"parts":[{"functionResponse":{"id":{id},"name":{name},"response":{"result":{text}}}}],"role":"user"}`,
	},
}

// fill replaces the names in a part of a form by the values that follow them.
func fill(part string, values ...string) string { return strings.NewReplacer(values...).Replace(part) }

// quoted returns the text as a JSON string, with no more escapes than JSON requires, as most clients
// but few Go programs write it.
func quoted(text string) string {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		panic(err) // a string always encodes
	}
	return strings.TrimSuffix(encoded.String(), "\n")
}
