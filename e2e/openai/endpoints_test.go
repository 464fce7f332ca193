package openai_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

// TestChatOnExampleRoutes uses routes that correspond to other gateways' documentation:
// agentgateway's multiple endpoints and OpenAI-compatible providers, and Kong's model in the path.
func TestChatOnExampleRoutes(t *testing.T) {
	tests := []struct{ route, model, want string }{
		{route: "/openai/v1", model: "gpt-4o", want: "gpt-3.5-turbo"},
		{route: "/mistral", model: "", want: "mistral-medium-2505"},
		{route: "/deepseek", model: "", want: "deepseek-chat"},
		{route: "/gpt-4", model: "gpt-4o", want: "gpt-4"},
		{route: "/gpt-4o-mini", model: "", want: "gpt-4o-mini"},
		{route: "/governed/v1", model: "fast", want: "gpt-4o-mini"},
	}
	for _, test := range tests {
		t.Run(test.route, func(t *testing.T) {
			c := clientOf(t, test.route)
			params := question("Hello, gateway!")
			params.Model = test.model
			completion, err := c.Chat.Completions.New(context.Background(), params)
			if err != nil {
				t.Fatal(err)
			}
			want := test.want + " heard: Hello, gateway!"
			if got := completion.Choices[0].Message.Content; got != want || completion.Model != test.want {
				t.Errorf("content %q of %q, want %q of %q", got, completion.Model, want, test.want)
			}
			if completion.Usage.TotalTokens == 0 {
				t.Error("no usage")
			}

			stream := c.Chat.Completions.NewStreaming(context.Background(), params)
			var whole openai.ChatCompletionAccumulator
			for stream.Next() {
				whole.AddChunk(stream.Current())
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			if got := whole.Choices[0].Message.Content; got != want || whole.Model != test.want {
				t.Errorf("streamed content %q of %q, want %q of %q", got, whole.Model, want, test.want)
			}
		})
	}
}

func TestModelListIsFiltered(t *testing.T) {
	tests := []struct {
		name, route string
		want        []string
	}{
		{"passed through: all of the provider", "/openai/v1",
			[]string{"gpt-3.5-turbo", "gpt-4", "gpt-4.1", "gpt-4o", "gpt-4o-mini", "gpt-4o-transcribe", "o4-mini", "text-embedding-3-small", "text-embedding-ada-002"}},
		{"patterns: the provider's that match, and aliases", "/governed/v1",
			[]string{"fast", "gpt-4.1", "gpt-4o", "gpt-4o-mini", "gpt-4o-transcribe", "text-embedding-3-small", "whisper-1"}},
		{"names: those", "/exact/v1", []string{"best", "gpt-4o", "gpt-4o-mini"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := clientOf(t, test.route)
			page, err := c.Models.List(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, model := range page.Data {
				got = append(got, model.ID)
				if model.OwnedBy == "" || model.Object != "model" {
					t.Errorf("model %s", model.RawJSON())
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, test.want) {
				t.Errorf("models %q, want %q", got, test.want)
			}
			var paged []string
			for pages := c.Models.ListAutoPaging(context.Background()); pages.Next(); {
				paged = append(paged, pages.Current().ID)
			}
			slices.Sort(paged)
			if !slices.Equal(paged, test.want) {
				t.Errorf("models by pages %q, want %q", paged, test.want)
			}
			for _, name := range test.want {
				if model, err := c.Models.Get(context.Background(), name); err != nil || model.ID != name {
					t.Errorf("model %q: %+v, %v", name, model, err)
				}
			}
		})
	}
}

func TestDisallowedModelIsNotFound(t *testing.T) {
	for _, route := range []string{"/governed/v1", "/exact/v1"} {
		for _, name := range []string{"o4-mini", "gpt-3.5-turbo", "nobody's"} {
			t.Run(route+" "+name, func(t *testing.T) {
				c := clientOf(t, route)
				_, err := c.Models.Get(context.Background(), name)
				checkError(t, err, 404, "invalid_request_error", "model_not_found", "model")
			})
		}
	}
}

func TestEmbeddings(t *testing.T) {
	text := openai.EmbeddingNewParamsInputUnion{OfString: openai.String("The food was delicious")}
	tests := []struct {
		name, route, model string
		input              openai.EmbeddingNewParamsInputUnion
		vectors            int
	}{
		{"passed through", "/openai/v1", "text-embedding-ada-002", text, 1},
		{"text", "/governed/v1", "text-embedding-3-small", text, 1},
		{"texts", "/governed/v1", "text-embedding-3-small", openai.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b", "c"}}, 3},
		{"tokens", "/governed/v1", "text-embedding-3-small", openai.EmbeddingNewParamsInputUnion{OfArrayOfTokens: []int64{1, 2, 3}}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := clientOf(t, test.route)
			got, err := c.Embeddings.New(context.Background(), openai.EmbeddingNewParams{
				Model: test.model, Input: test.input, Dimensions: openai.Int(16), EncodingFormat: openai.EmbeddingNewParamsEncodingFormatFloat,
			})
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Data) != test.vectors || got.Model != test.model || got.Usage.PromptTokens == 0 {
				t.Errorf("%d vectors of %q with %d tokens, want %d of %q", len(got.Data), got.Model, got.Usage.PromptTokens, test.vectors, test.model)
			}
			for _, embedding := range got.Data {
				var length float64
				for _, number := range embedding.Embedding {
					length += number * number
				}
				if len(embedding.Embedding) != 16 || math.Abs(length-1) > 0.001 {
					t.Errorf("a vector of %d dimensions has length %v, want 16 and 1", len(embedding.Embedding), length)
				}
			}
		})
	}
}

func TestEmbeddingsErrorsAreTyped(t *testing.T) {
	c := clientOf(t, "/governed/v1")
	text := openai.EmbeddingNewParamsInputUnion{OfString: openai.String("The food was delicious")}
	_, err := c.Embeddings.New(context.Background(), openai.EmbeddingNewParams{Model: "text-embedding-ada-002", Input: text})
	checkError(t, err, 404, "invalid_request_error", "model_not_found", "model")
	_, err = c.Embeddings.New(context.Background(), openai.EmbeddingNewParams{Model: "text-embedding-3-small", Input: text, Dimensions: openai.Int(0)})
	checkError(t, err, 400, "invalid_request_error", "integer_below_min_value", "dimensions")
	_, err = c.Embeddings.New(context.Background(), openai.EmbeddingNewParams{Model: "text-embedding-3-small"})
	checkError(t, err, 400, "invalid_request_error", "missing_required_parameter", "input")
}

// tuned is a Responses API request with parameters that the gateway replaces and limits.
func tuned(input responses.ResponseNewParamsInputUnion) responses.ResponseNewParams {
	return responses.ResponseNewParams{
		Model: "gpt-4.1", Input: input, Temperature: openai.Float(1.5), MaxOutputTokens: openai.Int(100_000), Store: openai.Bool(false),
	}
}

func TestResponses(t *testing.T) {
	tests := map[string]responses.ResponseNewParamsInputUnion{
		"text": {OfString: openai.String("Hello, gateway!")},
		"items": {OfInputItemList: responses.ResponseInputParam{
			responses.ResponseInputItemParamOfMessage("Be brief.", responses.EasyInputMessageRoleDeveloper),
			responses.ResponseInputItemParamOfMessage("Hello, gateway!", responses.EasyInputMessageRoleUser),
		}},
	}
	for name, input := range tests {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, "/governed/v1")
			response, err := c.Responses.New(context.Background(), tuned(input))
			if err != nil {
				t.Fatal(err)
			}
			checkResponse(t, *response)
		})
		t.Run(name+" streamed", func(t *testing.T) {
			c := clientOf(t, "/governed/v1")
			stream := c.Responses.NewStreaming(context.Background(), tuned(input))
			var text, last string
			var whole responses.Response
			for events := int64(0); stream.Next(); events++ {
				event := stream.Current()
				if event.SequenceNumber != events {
					t.Errorf("event %d has the number %d", events, event.SequenceNumber)
				}
				switch last = event.Type; last {
				case "response.output_text.delta":
					text += event.Delta
				case "response.completed":
					whole = event.Response
				}
			}
			if err := stream.Err(); err != nil {
				t.Fatal(err)
			}
			if want := "gpt-4.1 heard: Hello, gateway!"; text != want || last != "response.completed" {
				t.Errorf("the pieces are %q, the last event is %q, want %q and response.completed", text, last, want)
			}
			checkResponse(t, whole)
		})
	}
}

// checkResponse fails unless the response is the demo provider's response to tuned, as changed by
// the gateway.
func checkResponse(t *testing.T, got responses.Response) {
	t.Helper()
	if want := "gpt-4.1 heard: Hello, gateway!"; got.OutputText() != want || got.Model != "gpt-4.1" || got.Status != "completed" {
		t.Errorf("%q of %q, %s, want %q of gpt-4.1, completed", got.OutputText(), got.Model, got.Status, want)
	}
	if got.Temperature != 0.5 || got.MaxOutputTokens != 256 {
		t.Errorf("temperature %v and at most %d tokens, want the configured 0.5 and 256", got.Temperature, got.MaxOutputTokens)
	}
	if usage := got.Usage; usage.InputTokens == 0 || usage.TotalTokens != usage.InputTokens+usage.OutputTokens {
		t.Errorf("usage = %+v", usage)
	}
}

func TestResponsesErrorsAreTyped(t *testing.T) {
	tests := map[string]struct {
		change            func(*responses.ResponseNewParams)
		status            int
		kind, code, param string
	}{
		"refused body": {
			change: func(p *responses.ResponseNewParams) { p.Temperature = openai.Float(3) },
			status: 400, kind: "invalid_request_error", code: "decimal_above_max_value", param: "temperature",
		},
		"model not allowed": {
			change: func(p *responses.ResponseNewParams) { p.Model = "o4-mini" },
			status: 404, kind: "invalid_request_error", code: "model_not_found", param: "model",
		},
		"error of the provider": {
			change: func(p *responses.ResponseNewParams) { p.Model = "gpt-4o-that-the-provider-lacks" },
			status: 404, kind: "invalid_request_error", code: "model_not_found", param: "model",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := clientOf(t, "/governed/v1")
			params := tuned(responses.ResponseNewParamsInputUnion{OfString: openai.String("Hello!")})
			test.change(&params)
			_, err := c.Responses.New(context.Background(), params)
			checkError(t, err, test.status, test.kind, test.code, test.param)

			stream := c.Responses.NewStreaming(context.Background(), params)
			for stream.Next() {
				t.Errorf("got an event, want an error: %s", stream.Current().RawJSON())
			}
			checkError(t, stream.Err(), test.status, test.kind, test.code, test.param)
		})
	}
}

// TestTranscription uploads files that the middleware holds in memory, and files that it streams. The SDK sends the model
// after the file.
func TestTranscription(t *testing.T) {
	c := clientOf(t, "/governed/v1")
	for _, size := range []int{1000, 30 << 20} {
		file := openai.File(bytes.NewReader(make([]byte, size)), "speech \u2013 1.mp3", "audio/mpeg")
		response, err := c.Audio.Transcriptions.New(context.Background(), openai.AudioTranscriptionNewParams{
			File: file, Model: "whisper-1", Language: openai.String("de"), TimestampGranularities: []string{"word", "segment"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("gpt-4o-transcribe heard %d bytes of speech \u2013 1.mp3", size); response.Text != want {
			t.Errorf("text %q, want %q", response.Text, want)
		}
		_, err = c.Audio.Transcriptions.New(context.Background(), openai.AudioTranscriptionNewParams{
			File: openai.File(bytes.NewReader(make([]byte, size)), "speech.mp3", "audio/mpeg"), Model: "o4-mini",
		})
		checkError(t, err, 404, "invalid_request_error", "model_not_found", "model")
	}
}
