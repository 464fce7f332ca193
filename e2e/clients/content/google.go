package main

import (
	"context"
	"encoding/json"
	"net/http"

	"google.golang.org/genai"
)

func candidate(c call, client *http.Client) (outcome, error) {
	const model = "gemini-2.5-flash"
	ctx := context.Background()
	service, err := genai.NewClient(ctx, &genai.ClientConfig{
		APIKey: c.Key, Backend: genai.BackendGeminiAPI, HTTPClient: client, HTTPOptions: genai.HTTPOptions{BaseURL: c.base()},
	})
	if err != nil {
		return outcome{}, err
	}
	config := &genai.GenerateContentConfig{Tools: []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{
		Name: "pay", Description: description, ParametersJsonSchema: schema,
	}}}}}
	if c.System != "" {
		config.SystemInstruction = genai.NewContentFromText(c.System, genai.RoleUser)
	}
	var o outcome
	var all []*genai.GenerateContentResponse
	if !c.Stream {
		whole, err := service.Models.GenerateContent(ctx, model, genai.Text(c.Prompt), config)
		if err != nil {
			return o, err
		}
		all = append(all, whole)
		o.add(whole)
	} else {
		for part, err := range service.Models.GenerateContentStream(ctx, model, genai.Text(c.Prompt), config) {
			if err != nil {
				return o, err
			}
			all = append(all, part)
			o.add(part)
		}
	}
	for _, part := range all {
		part.SDKHTTPResponse = nil // its header is not the provider's
	}
	o.Object, err = json.Marshal(all)
	return o, err
}

// add adds a response, or a part of it, to an outcome.
func (o *outcome) add(whole *genai.GenerateContentResponse) {
	for _, part := range whole.Candidates[0].Content.Parts {
		switch {
		case part.Thought:
			o.Thought += part.Text
		case part.FunctionCall != nil:
			sorted, _ := json.Marshal(part.FunctionCall.Args) // from JSON
			o.Arguments = string(sorted)
		default:
			o.Text += part.Text
		}
	}
}
