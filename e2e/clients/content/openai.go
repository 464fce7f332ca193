package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
)

// schema is that of the arguments of the tool.
var schema = map[string]any{"type": "object", "properties": properties}

var properties = map[string]any{"card": map[string]any{"type": "string"}, "note": map[string]any{"type": "string"}}

const description = "Pay a bill."

func openAIClient(c call, client *http.Client) openai.Client {
	return openai.NewClient(option.WithBaseURL(c.base()+"/v1"), option.WithAPIKey(c.Key), option.WithHTTPClient(client))
}

// thought reads the reasoning of a chat completion, which has no field in the SDK.
func thought(raw string) string {
	var members struct {
		Reasoning string `json:"reasoning_content"`
	}
	_ = json.Unmarshal([]byte(raw), &members) // else there is none
	return members.Reasoning
}

func chat(c call, client *http.Client) (outcome, error) {
	params := openai.ChatCompletionNewParams{
		Model:    "gpt-4o-mini",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(c.Prompt)},
		Tools: []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: "pay", Description: openai.String(description), Parameters: schema,
		})},
	}
	if c.System != "" {
		params.Messages = append([]openai.ChatCompletionMessageParamUnion{openai.SystemMessage(c.System)}, params.Messages...)
	}
	chats := openAIClient(c, client).Chat.Completions
	if !c.Stream {
		completion, err := chats.New(context.Background(), params)
		if err != nil {
			return outcome{}, err
		}
		said := completion.Choices[0].Message
		return outcome{Text: said.Content, Thought: thought(said.RawJSON()), Arguments: said.ToolCalls[0].Function.Arguments, Object: json.RawMessage(completion.RawJSON())}, nil
	}
	var o outcome
	var whole openai.ChatCompletionAccumulator
	var chunks []json.RawMessage
	stream := chats.NewStreaming(context.Background(), params)
	for stream.Next() {
		chunk := stream.Current()
		if !whole.AddChunk(chunk) {
			return o, fmt.Errorf("this chunk does not follow: %s", chunk.RawJSON())
		}
		chunks = append(chunks, json.RawMessage(chunk.RawJSON()))
		for _, choice := range chunk.Choices {
			o.Text += choice.Delta.Content
			o.Thought += thought(choice.Delta.RawJSON())
		}
	}
	if err := stream.Err(); err != nil {
		return o, err
	}
	said := whole.Choices[0].Message
	o.Arguments = said.ToolCalls[0].Function.Arguments
	return withEvents(o, said.Content, chunks)
}

// withEvents adds the events of a stream to an outcome, whose text must be that of the whole.
func withEvents(o outcome, whole string, events []json.RawMessage) (outcome, error) {
	if whole != o.Text {
		return o, fmt.Errorf("the events have %q, the whole has %q", o.Text, whole)
	}
	var err error
	o.Object, err = json.Marshal(events)
	return o, err
}

func response(c call, client *http.Client) (outcome, error) {
	params := responses.ResponseNewParams{
		Model: "gpt-5-mini",
		Input: responses.ResponseNewParamsInputUnion{OfString: openai.String(c.Prompt)},
		Tools: []responses.ToolUnionParam{{OfFunction: &responses.FunctionToolParam{
			Name: "pay", Description: openai.String(description), Parameters: schema, Strict: openai.Bool(false),
		}}},
	}
	if c.System != "" {
		params.Instructions = openai.String(c.System)
	}
	service := openAIClient(c, client).Responses
	if !c.Stream {
		whole, err := service.New(context.Background(), params)
		if err != nil {
			return outcome{}, err
		}
		o := responseOutcome(whole)
		o.Object = json.RawMessage(whole.RawJSON())
		return o, nil
	}
	text := ""
	var events []json.RawMessage
	var whole responses.ResponseAccumulator
	stream := service.NewStreaming(context.Background(), params)
	for stream.Next() {
		event := stream.Current()
		events = append(events, json.RawMessage(event.RawJSON()))
		var served responses.ResponsesServerEventUnion
		if err := json.Unmarshal([]byte(event.RawJSON()), &served); err != nil {
			return outcome{Text: text}, err
		}
		if err := whole.AddEvent(served); err != nil {
			return outcome{Text: text}, err
		}
		if event.Type == "response.output_text.delta" {
			text += event.Delta
		}
	}
	if err := stream.Err(); err != nil {
		return outcome{Text: text}, err
	}
	completed, err := whole.ReconstructedResponse()
	if err != nil {
		return outcome{Text: text}, err
	}
	if got := whole.Snapshot().OutputText(); got != text {
		return outcome{Text: text}, fmt.Errorf("the events have %q, the accumulator has %q", text, got)
	}
	o := responseOutcome(completed)
	whoseText := o.Text
	o.Text = text
	return withEvents(o, whoseText, events)
}

// responseOutcome returns what a response consists of.
func responseOutcome(whole *responses.Response) outcome {
	o := outcome{Text: whole.OutputText()}
	for _, item := range whole.Output {
		switch item.Type {
		case "reasoning":
			o.Thought = item.AsReasoning().Summary[0].Text
		case "function_call":
			o.Arguments = item.AsFunctionCall().Arguments
		}
	}
	return o
}
