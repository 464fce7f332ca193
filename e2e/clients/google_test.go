package clients_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"google.golang.org/genai"
)

const gemini = "gemini-2.5-flash"

// googleClient returns an SDK client that may try again as often as it does by default.
func googleClient(t *testing.T, route, key string) *genai.Client {
	t.Helper()
	c, err := genai.NewClient(context.Background(), &genai.ClientConfig{
		APIKey: key, Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: gateway(t) + route},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestGenerateContent(t *testing.T) {
	calling := &genai.GenerateContentConfig{
		Tools: []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{
			Name: "get_weather", ParametersJsonSchema: map[string]any{"type": "object", "properties": city},
		}}}},
		ToolConfig: &genai.ToolConfig{FunctionCallingConfig: &genai.FunctionCallingConfig{Mode: genai.FunctionCallingConfigModeAny}},
	}
	tests := map[string]struct {
		contents                []*genai.Content
		config                  *genai.GenerateContentConfig
		want                    string
		input, output, thoughts int32
	}{
		"text":     {contents: genai.Text("Hello!"), want: gemini + " heard: Hello!", input: 2, output: 8},
		"tool":     {contents: genai.Text("Weather?"), config: calling, want: "get_weather map[city:demo residents:1]", input: 2, output: 8},
		"thinking": {contents: genai.Text("Think!"), config: &genai.GenerateContentConfig{ThinkingConfig: &genai.ThinkingConfig{IncludeThoughts: true}}, want: "(Thinking about it.)" + gemini + " heard: Think!", input: 2, output: 8, thoughts: 5},
		"image": {
			contents: []*genai.Content{genai.NewContentFromParts([]*genai.Part{genai.NewPartFromBytes(decodedPicture(t), "image/png"), genai.NewPartFromText("What is this?")}, genai.RoleUser)},
			want:     gemini + " heard: What is this?", input: 262, output: 10,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			check := func(responses ...*genai.GenerateContentResponse) {
				t.Helper()
				text := ""
				for _, response := range responses {
					for _, part := range response.Candidates[0].Content.Parts {
						switch {
						case part.Thought:
							text += "(" + part.Text + ")"
						case part.FunctionCall != nil:
							text += fmt.Sprint(part.FunctionCall.Name, " ", part.FunctionCall.Args)
						default:
							text += part.Text
						}
					}
				}
				usage := responses[len(responses)-1].UsageMetadata
				if text != test.want || usage.PromptTokenCount != test.input || usage.CandidatesTokenCount != test.output || usage.ThoughtsTokenCount != test.thoughts {
					t.Errorf("got %q with %+v, want %q with %d, %d and %d tokens", text, usage, test.want, test.input, test.output, test.thoughts)
				}
			}
			c := googleClient(t, "", consumer)
			whole, err := c.Models.GenerateContent(context.Background(), gemini, test.contents, test.config)
			if err != nil {
				t.Fatal(err)
			}
			check(whole)

			var responses []*genai.GenerateContentResponse
			for response, err := range c.Models.GenerateContentStream(context.Background(), gemini, test.contents, test.config) {
				if err != nil {
					t.Fatal(err)
				}
				responses = append(responses, response)
			}
			check(responses...)
		})
	}
}

func TestGeminiTokensAndEmbeddings(t *testing.T) {
	c := googleClient(t, "", consumer)
	counted, err := c.Models.CountTokens(context.Background(), gemini, genai.Text("Hello!"), nil)
	if err != nil || counted.TotalTokens != 2 {
		t.Errorf("%+v tokens, want 2 (%v)", counted, err)
	}
	embedded, err := c.Models.EmbedContent(context.Background(), "gemini-embedding-001", genai.Text("Hello!"), nil)
	if err != nil || len(embedded.Embeddings) != 1 || len(embedded.Embeddings[0].Values) != 8 {
		t.Errorf("%+v, want one vector (%v)", embedded, err)
	}
}

// TestGeminiWithAHouseRule is served where the gateway inserts a system prompt, which is counted, and refuses that of clients.
func TestGeminiWithAHouseRule(t *testing.T) {
	c := googleClient(t, "/house-rule", consumer)
	counted, err := c.Models.CountTokens(context.Background(), gemini, genai.Text("Hello!"), nil)
	if err != nil || counted.TotalTokens <= 2 {
		t.Errorf("%+v tokens, want more than 2 (%v)", counted, err)
	}
	got, err := c.Models.GenerateContent(context.Background(), gemini, genai.Text("Hello!"), nil)
	if err != nil || got.UsageMetadata.PromptTokenCount != counted.TotalTokens {
		t.Errorf("%+v, want a response with the tokens that were counted (%v)", got, err)
	}
	_, err = c.Models.GenerateContent(context.Background(), gemini, genai.Text("Hello!"), &genai.GenerateContentConfig{
		SystemInstruction: genai.NewContentFromText("Be rude.", genai.RoleUser),
	})
	checkGeminiError(t, err, 400, "INVALID_ARGUMENT")
}

// TestGeminiErrorsAreTyped meets refusals of the gateway, and an error of the provider.
func TestGeminiErrorsAreTyped(t *testing.T) {
	const other = "gemini-2.5-pro"
	tests := map[string]struct {
		route, key, model string
		code              int
		status            string
	}{
		"unknown key":           {route: "/consumers-unknown", key: "sk-consumer-nobody", model: gemini, code: 401, status: "UNAUTHENTICATED"},
		"model not allowed":     {route: "/consumers-models", key: consumer, model: other, code: 404, status: "NOT_FOUND"},
		"unknown group":         {route: "/consumers-group", key: consumer, model: gemini, code: 403, status: "PERMISSION_DENIED"},
		"error of the provider": {key: consumer, model: "gemini-that-the-provider-lacks", code: 404, status: "NOT_FOUND"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := googleClient(t, test.route, test.key)
			_, err := c.Models.GenerateContent(context.Background(), test.model, genai.Text("Hello!"), nil)
			checkGeminiError(t, err, test.code, test.status)
			for response, err := range c.Models.GenerateContentStream(context.Background(), test.model, genai.Text("Hello!"), nil) {
				if response != nil {
					t.Errorf("got %+v, want an error", response)
				}
				checkGeminiError(t, err, test.code, test.status)
			}
		})
	}
}

// TestSpentQuotaOfGeminiIsTyped meets a quota that resets much later.
func TestSpentQuotaOfGeminiIsTyped(t *testing.T) {
	c := googleClient(t, "/quota-spent-gemini", consumer)
	if _, err := c.Models.GenerateContent(context.Background(), gemini, genai.Text("Hello!"), nil); err != nil {
		t.Fatal(err)
	}
	_, err := c.Models.GenerateContent(context.Background(), gemini, genai.Text("Hello!"), nil)
	checkGeminiError(t, err, 429, "RESOURCE_EXHAUSTED")
}

func checkGeminiError(t *testing.T, err error, code int, status string) {
	t.Helper()
	var typed genai.APIError
	if !errors.As(err, &typed) {
		t.Fatalf("error = %T %v, want a genai.APIError", err, err)
	}
	if typed.Code != code || typed.Status != status || typed.Message == "" {
		t.Errorf("error = %d %q %q, want %d %q", typed.Code, typed.Status, typed.Message, code, status)
	}
}
