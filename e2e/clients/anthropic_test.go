// Package clients_test calls a gateway with the SDKs of Anthropic and Google for Go. The tests of the e2e module start
// that gateway, and run these tests.
package clients_test

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"testing"

	"github.com/anthropics/anthropic-sdk-go/v2"
	"github.com/anthropics/anthropic-sdk-go/v2/option"
)

const (
	claude = "claude-sonnet-5-5"

	// consumer is the key of a consumer whom all routes know.
	consumer = "sk-consumer-blue"
)

// picture is a PNG file with one pixel, in base64.
const picture = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="

func decodedPicture(t *testing.T) []byte {
	t.Helper()
	content, err := base64.StdEncoding.DecodeString(picture)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// city is the JSON schema of the arguments of the tool.
var city = map[string]any{"city": map[string]any{"type": "string"}, "residents": map[string]any{"type": "integer"}}

func gateway(t *testing.T) string {
	t.Helper()
	address := os.Getenv("GATEWAY_URL")
	if address == "" {
		t.Fatal("GATEWAY_URL is not set: run the tests of the e2e module, which start a gateway and set it")
	}
	return address
}

// anthropicClient returns an SDK client that may try again as often as it does by default.
func anthropicClient(t *testing.T, route, key string) anthropic.Client {
	t.Helper()
	return anthropic.NewClient(option.WithBaseURL(gateway(t)+route), option.WithAPIKey(key))
}

func message(content ...anthropic.ContentBlockParamUnion) anthropic.MessageNewParams {
	return anthropic.MessageNewParams{Model: claude, MaxTokens: 2048, Messages: []anthropic.MessageParam{anthropic.NewUserMessage(content...)}}
}

func TestMessages(t *testing.T) {
	weather := func(p *anthropic.MessageNewParams) {
		p.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
			Name: "get_weather", InputSchema: anthropic.ToolInputSchemaParam{Properties: city, Required: []string{"city"}},
		}}}
		p.ToolChoice = anthropic.ToolChoiceUnionParam{OfAny: &anthropic.ToolChoiceAnyParam{}}
	}
	think := func(p *anthropic.MessageNewParams) {
		p.Thinking = anthropic.ThinkingConfigParamUnion{OfAdaptive: &anthropic.ThinkingConfigAdaptiveParam{}}
	}
	tests := map[string]struct {
		content       []anthropic.ContentBlockParamUnion
		change        func(*anthropic.MessageNewParams)
		kinds, text   string
		input, output int64
	}{
		"text":     {content: []anthropic.ContentBlockParamUnion{anthropic.NewTextBlock("Hello!")}, kinds: " text", text: claude + " heard: Hello!", input: 2, output: 8},
		"tool":     {content: []anthropic.ContentBlockParamUnion{anthropic.NewTextBlock("Weather?")}, change: weather, kinds: " tool_use", text: `{"city":"demo","residents":1}`, input: 2, output: 8},
		"thinking": {content: []anthropic.ContentBlockParamUnion{anthropic.NewTextBlock("Think!")}, change: think, kinds: " thinking text", text: claude + " heard: Think!", input: 2, output: 13},
		"image": {
			content: []anthropic.ContentBlockParamUnion{anthropic.NewImageBlockBase64("image/png", picture), anthropic.NewTextBlock("What is this?")},
			kinds:   " text", text: claude + " heard: What is this?", input: 262, output: 10,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			check := func(got *anthropic.Message) {
				t.Helper()
				kinds, text := "", ""
				for _, block := range got.Content {
					kinds += " " + block.Type
					text += block.Text + string(block.Input)
				}
				if kinds != test.kinds || text != test.text || got.Usage.InputTokens != test.input || got.Usage.OutputTokens != test.output {
					t.Errorf("got %s %q with %d and %d tokens, want %s %q with %d and %d",
						kinds, text, got.Usage.InputTokens, got.Usage.OutputTokens, test.kinds, test.text, test.input, test.output)
				}
			}
			params := message(test.content...)
			if test.change != nil {
				test.change(&params)
			}
			c := anthropicClient(t, "", consumer)
			whole, err := c.Messages.New(context.Background(), params)
			if err != nil {
				t.Fatal(err)
			}
			check(whole)

			stream := c.Messages.NewStreaming(context.Background(), params)
			streamed, events := new(anthropic.Message), 0
			for stream.Next() {
				if err := streamed.Accumulate(stream.Current()); err != nil {
					t.Fatal(err)
				}
				events++
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			check(streamed)
			if events < 6 {
				t.Errorf("the stream has %d events", events)
			}
		})
	}
}

func TestMessagesTokensAreCounted(t *testing.T) {
	c := anthropicClient(t, "", consumer)
	got, err := c.Messages.CountTokens(context.Background(), anthropic.MessageCountTokensParams{Model: claude, Messages: message(anthropic.NewTextBlock("Hello!")).Messages})
	if err != nil {
		t.Fatal(err)
	}
	if got.InputTokens != 2 {
		t.Errorf("%d tokens, want 2", got.InputTokens)
	}
}

// TestMessagesWithAHouseRule is served where the gateway inserts a system prompt, which is counted, and refuses that of clients.
func TestMessagesWithAHouseRule(t *testing.T) {
	c, params := anthropicClient(t, "/house-rule", consumer), message(anthropic.NewTextBlock("Hello!"))
	counted, err := c.Messages.CountTokens(context.Background(), anthropic.MessageCountTokensParams{Model: claude, Messages: params.Messages})
	if err != nil || counted.InputTokens <= 2 {
		t.Errorf("%+v tokens, want more than 2 (%v)", counted, err)
	}
	got, err := c.Messages.New(context.Background(), params)
	if err != nil || got.Usage.InputTokens != counted.InputTokens {
		t.Errorf("%+v, want a message with the tokens that were counted (%v)", got, err)
	}
	params.System = []anthropic.TextBlockParam{{Text: "Be rude."}}
	_, err = c.Messages.New(context.Background(), params)
	checkAnthropicError(t, err, 400, "invalid_request_error")
}

// TestMessagesErrorsAreTyped meets refusals of the gateway, and an error of the provider. The tests of the e2e module
// count the requests that these calls make.
func TestMessagesErrorsAreTyped(t *testing.T) {
	const other = "claude-opus-5-5"
	tests := map[string]struct {
		route, key, model string
		status            int
		kind              string
	}{
		"unknown key":           {route: "/consumers-unknown", key: "sk-consumer-nobody", model: claude, status: 401, kind: "authentication_error"},
		"model not allowed":     {route: "/consumers-models", key: consumer, model: other, status: 404, kind: "not_found_error"},
		"unknown group":         {route: "/consumers-group", key: consumer, model: claude, status: 403, kind: "permission_error"},
		"error of the provider": {key: consumer, model: "claude-that-the-provider-lacks", status: 404, kind: "not_found_error"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := anthropicClient(t, test.route, test.key)
			params := message(anthropic.NewTextBlock("Hello!"))
			params.Model = test.model
			_, err := c.Messages.New(context.Background(), params)
			checkAnthropicError(t, err, test.status, test.kind)

			stream := c.Messages.NewStreaming(context.Background(), params)
			for stream.Next() {
				t.Errorf("got an event, want an error: %s", stream.Current().RawJSON())
			}
			checkAnthropicError(t, stream.Err(), test.status, test.kind)
		})
	}
}

// TestSpentQuotaOfMessagesIsNotTriedAgain meets a quota that resets much later.
func TestSpentQuotaOfMessagesIsNotTriedAgain(t *testing.T) {
	c := anthropicClient(t, "/quota-spent-messages", consumer)
	if _, err := c.Messages.New(context.Background(), message(anthropic.NewTextBlock("Hello!"))); err != nil {
		t.Fatal(err)
	}
	_, err := c.Messages.New(context.Background(), message(anthropic.NewTextBlock("Hello!")))
	checkAnthropicError(t, err, 429, "rate_limit_error")
}

func checkAnthropicError(t *testing.T, err error, status int, kind string) {
	t.Helper()
	var typed *anthropic.Error
	if !errors.As(err, &typed) {
		t.Fatalf("error = %T %v, want an *anthropic.Error", err, err)
	}
	if typed.StatusCode != status || string(typed.Type()) != kind || typed.Message == "" {
		t.Errorf("error = %d %q %q, want %d %q", typed.StatusCode, typed.Type(), typed.Message, status, kind)
	}
}
