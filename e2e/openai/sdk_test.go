// Package openai_test runs OpenAI's own Go SDK against the gateway that GATEWAY_URL names. The
// tests of the e2e module configure and start that gateway, then run these tests. They have their
// own module, because the SDK's requirements would raise Traefik's in a common one.
package openai_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
)

// The gateway's default model, and the text with which the demo provider's responses begin.
const (
	defaultModel = "gpt-4o-mini"
	heard        = defaultModel + " heard: "
)

// client returns an SDK client for the gateway's chat route.
func client(t *testing.T) openai.Client {
	t.Helper()
	return clientOf(t, "/v1")
}

// clientOf returns an SDK client for another route, whose path ends the SDK's base URL.
func clientOf(t *testing.T, route string) openai.Client {
	t.Helper()
	gateway := os.Getenv("GATEWAY_URL")
	if gateway == "" {
		t.Fatal("GATEWAY_URL is not set: run the tests of the e2e module, which start a gateway and set it")
	}
	return openai.NewClient(option.WithBaseURL(gateway+route), option.WithAPIKey("sk-key-of-the-client"), option.WithMaxRetries(0))
}

func question(text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{
		Model:    defaultModel,
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)},
	}
}

func TestChat(t *testing.T) {
	c := client(t)
	completion, err := c.Chat.Completions.New(context.Background(), question("Hello, gateway!"))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := completion.Choices[0].Message.Content, heard+"Hello, gateway!"; got != want {
		t.Errorf("content = %q, want %q", got, want)
	}
	if completion.Model != defaultModel {
		t.Errorf("model = %q, want %q", completion.Model, defaultModel)
	}
	if usage := completion.Usage; usage.PromptTokens == 0 || usage.TotalTokens != usage.PromptTokens+usage.CompletionTokens {
		t.Errorf("usage = %+v", usage)
	}
}

func TestChatWithoutModel(t *testing.T) {
	c := client(t)
	params := question("Which model are you?")
	params.Model = ""
	completion, err := c.Chat.Completions.New(context.Background(), params)
	if err != nil {
		t.Fatal(err)
	}
	if completion.Model != defaultModel {
		t.Errorf("model = %q, want the configured %q", completion.Model, defaultModel)
	}
}

func TestStreamAccumulates(t *testing.T) {
	c := client(t)
	params := question("Tell me a story about a gateway.")
	params.StreamOptions = openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)}
	stream := c.Chat.Completions.NewStreaming(context.Background(), params)
	var whole openai.ChatCompletionAccumulator
	chunks, finished := 0, ""
	for stream.Next() {
		chunks++
		if !whole.AddChunk(stream.Current()) {
			t.Fatalf("chunk %d does not match the previous ones: %s", chunks, stream.Current().RawJSON())
		}
		if content, ok := whole.JustFinishedContent(); ok {
			finished = content
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if want := heard + "Tell me a story about a gateway."; finished != want {
		t.Errorf("content = %q, want %q", finished, want)
	}
	if chunks < 3 {
		t.Errorf("got %d chunks, want several", chunks)
	}
	if got := whole.Choices[0].FinishReason; got != "stop" {
		t.Errorf("finish reason = %q, want stop", got)
	}
	if whole.Usage.TotalTokens == 0 {
		t.Error("no usage, although it was requested")
	}
}

func TestStreamWithoutUsage(t *testing.T) {
	c := client(t)
	stream := c.Chat.Completions.NewStreaming(context.Background(), question("Hello!"))
	for stream.Next() {
		if chunk := stream.Current(); len(chunk.Choices) == 0 || chunk.Usage.TotalTokens != 0 {
			t.Errorf("the client got usage that it did not request: %s", chunk.RawJSON())
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
}

// weather returns a question that requires a tool call.
func weather() openai.ChatCompletionNewParams {
	params := question("What is the weather in Bern?")
	params.Tools = []openai.ChatCompletionToolUnionParam{
		openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: "get_weather",
			Parameters: shared.FunctionParameters{
				"type":       "object",
				"properties": map[string]any{"city": map[string]any{"type": "string"}},
				"required":   []string{"city"},
			},
		}),
	}
	params.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("required")}
	return params
}

func TestToolCallAndItsResult(t *testing.T) {
	c := client(t)
	params := weather()
	completion, err := c.Chat.Completions.New(context.Background(), params)
	if err != nil {
		t.Fatal(err)
	}
	if got := completion.Choices[0].FinishReason; got != "tool_calls" {
		t.Errorf("finish reason = %q, want tool_calls", got)
	}
	calls := completion.Choices[0].Message.ToolCalls
	if len(calls) != 1 || calls[0].Function.Name != "get_weather" {
		t.Fatalf("tool calls = %+v, want one of get_weather", calls)
	}
	var arguments struct{ City string }
	if err := json.Unmarshal([]byte(calls[0].Function.Arguments), &arguments); err != nil || arguments.City == "" {
		t.Errorf("arguments = %q, want an object with a city", calls[0].Function.Arguments)
	}

	params.ToolChoice = openai.ChatCompletionToolChoiceOptionUnionParam{OfAuto: openai.String("none")}
	params.Messages = append(params.Messages, completion.Choices[0].Message.ToParam(),
		openai.ToolMessage("sunny", calls[0].ID))
	if completion, err = c.Chat.Completions.New(context.Background(), params); err != nil {
		t.Fatal(err)
	}
	if got, want := completion.Choices[0].Message.Content, heard+"sunny"; got != want {
		t.Errorf("content = %q, want %q", got, want)
	}
}

func TestStreamedToolCall(t *testing.T) {
	c := client(t)
	stream := c.Chat.Completions.NewStreaming(context.Background(), weather())
	var whole openai.ChatCompletionAccumulator
	var called openai.FinishedChatCompletionToolCall
	for stream.Next() {
		whole.AddChunk(stream.Current())
		if call, ok := whole.JustFinishedToolCall(); ok {
			called = call
		}
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if called.Name != "get_weather" || !json.Valid([]byte(called.Arguments)) {
		t.Errorf("tool call = %+v, want one of get_weather", called)
	}
}

func TestStructuredOutput(t *testing.T) {
	c := client(t)
	params := question("Name a city.")
	params.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{
		OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
			JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{
				Name:   "city",
				Strict: openai.Bool(true),
				Schema: map[string]any{
					"type": "object",
					"properties": map[string]any{
						"name":      map[string]any{"type": "string"},
						"residents": map[string]any{"type": "integer"},
						"continent": map[string]any{"type": "string", "enum": []string{"Europe", "Asia"}},
					},
					"required":             []string{"name", "residents", "continent"},
					"additionalProperties": false,
				},
			},
		},
	}
	completion, err := c.Chat.Completions.New(context.Background(), params)
	if err != nil {
		t.Fatal(err)
	}
	var city struct {
		Name      string
		Residents int
		Continent string
	}
	content := completion.Choices[0].Message.Content
	if err := json.Unmarshal([]byte(content), &city); err != nil {
		t.Fatalf("content %q: %v", content, err)
	}
	if city.Name == "" || city.Residents == 0 || city.Continent != "Europe" {
		t.Errorf("content = %q does not match the schema", content)
	}
}

func TestErrorsAreTyped(t *testing.T) {
	c := client(t)
	tests := map[string]struct {
		change            func(*openai.ChatCompletionNewParams)
		status            int
		kind, code, param string
	}{
		"refused body": {
			change: func(p *openai.ChatCompletionNewParams) { p.Temperature = openai.Float(3) },
			status: 400, kind: "invalid_request_error", code: "decimal_above_max_value", param: "temperature",
		},
		"model not allowed": {
			change: func(p *openai.ChatCompletionNewParams) { p.Model = "o4-mini" },
			status: 404, kind: "invalid_request_error", code: "model_not_found", param: "model",
		},
		"error of the provider": {
			change: func(p *openai.ChatCompletionNewParams) { p.Model = "gpt-4o-that-the-provider-lacks" },
			status: 404, kind: "invalid_request_error", code: "model_not_found", param: "model",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			params := question("Hello!")
			test.change(&params)
			_, err := c.Chat.Completions.New(context.Background(), params)
			checkError(t, err, test.status, test.kind, test.code, test.param)

			stream := c.Chat.Completions.NewStreaming(context.Background(), params)
			for stream.Next() {
				t.Errorf("got a chunk, want an error: %s", stream.Current().RawJSON())
			}
			checkError(t, stream.Err(), test.status, test.kind, test.code, test.param)
		})
	}
}

func checkError(t *testing.T, err error, status int, kind, code, param string) {
	t.Helper()
	var typed *openai.Error
	if !errors.As(err, &typed) {
		t.Fatalf("error = %T %v, want an *openai.Error", err, err)
	}
	if typed.StatusCode != status || typed.Type != kind || typed.Code != code || typed.Param != param {
		t.Errorf("error = %d type %q code %q param %q, want %d %q %q %q",
			typed.StatusCode, typed.Type, typed.Code, typed.Param, status, kind, code, param)
	}
	if typed.Message == "" {
		t.Error("the error has no message")
	}
}
