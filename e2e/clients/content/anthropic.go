package main

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
)

func message(c call, client *http.Client) (outcome, error) {
	service := anthropic.NewClient(option.WithBaseURL(c.base()), option.WithAPIKey(c.Key), option.WithHTTPClient(client)).Messages
	params := anthropic.MessageNewParams{
		Model: "claude-sonnet-5-5", MaxTokens: 2048,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(c.Prompt))},
		Tools: []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
			Name: "pay", Description: anthropic.String(description), InputSchema: anthropic.ToolInputSchemaParam{Properties: properties},
		}}},
	}
	if c.System != "" {
		params.System = []anthropic.TextBlockParam{{Text: c.System}}
	}
	if !c.Stream {
		whole, err := service.New(context.Background(), params)
		if err != nil {
			return outcome{}, err
		}
		o := messageOutcome(whole)
		o.Object = json.RawMessage(whole.RawJSON())
		return o, nil
	}
	text := ""
	var whole anthropic.Message
	var events []json.RawMessage
	stream := service.NewStreaming(context.Background(), params)
	for stream.Next() {
		event := stream.Current()
		events = append(events, json.RawMessage(event.RawJSON()))
		if err := whole.Accumulate(event); err != nil {
			return outcome{Text: text}, err
		}
		text += event.Delta.Text
	}
	if err := stream.Err(); err != nil {
		return outcome{Text: text}, err
	}
	o := messageOutcome(&whole)
	accumulated := o.Text
	o.Text = text
	return withEvents(o, accumulated, events)
}

// messageOutcome returns what a message consists of.
func messageOutcome(whole *anthropic.Message) outcome {
	var o outcome
	for _, block := range whole.Content {
		switch block.Type {
		case "text":
			o.Text += block.Text
		case "thinking":
			o.Thought = block.Thinking
		case "tool_use":
			o.Arguments = string(block.Input)
		}
	}
	return o
}
