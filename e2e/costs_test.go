package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"math/rand"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// pricedCalls is the number of calls whose costs are compared.
const pricedCalls = 1000

// litellmFile has prices in the form of LiteLLM's list: in USD for a token, as floating-point numbers.
const litellmFile = `{
  "sample_spec": {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0, "litellm_provider": "one of https://docs.example.com/providers", "max_tokens": "LEGACY"},
  "gpt-4o": {
    "litellm_provider": "openai", "mode": "chat", "max_tokens": 16384, "supports_vision": true,
    "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "cache_read_input_token_cost": 1.25e-06,
    "input_cost_per_token_priority": 4.25e-06, "output_cost_per_token_priority": 1.7e-05, "cache_read_input_token_cost_priority": 2.125e-06,
    "input_cost_per_token_batches": 1.25e-06, "output_cost_per_token_batches": 5e-06
  },
  "o4-mini": {
    "litellm_provider": "openai", "mode": "chat",
    "input_cost_per_token": 1.1e-06, "output_cost_per_token": 4.4e-06, "cache_read_input_token_cost": 2.75e-07, "output_cost_per_reasoning_token": 3.3e-06,
    "input_cost_per_token_flex": 5.5e-07, "output_cost_per_token_flex": 2.2e-06, "cache_read_input_token_cost_flex": 1.38e-07, "output_cost_per_reasoning_token_flex": 1.65e-06
  },
  "gpt-4o-audio-preview": {
    "litellm_provider": "openai", "mode": "chat",
    "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05, "input_cost_per_audio_token": 4e-05, "output_cost_per_audio_token": 8e-05
  },
  "tiny": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 1.2345678e-09, "output_cost_per_token": 0.00000000987654321},
  "claude-sonnet-4-5": {
    "litellm_provider": "anthropic", "mode": "chat",
    "input_cost_per_token": 3e-06, "output_cost_per_token": 1.5e-05, "cache_read_input_token_cost": 3e-07,
    "cache_creation_input_token_cost": 3.75e-06, "cache_creation_input_token_cost_above_1hr": 6e-06,
    "input_cost_per_token_above_200k_tokens": 6e-06, "output_cost_per_token_above_200k_tokens": 2.25e-05, "cache_read_input_token_cost_above_200k_tokens": 6e-07,
    "cache_creation_input_token_cost_above_200k_tokens": 7.5e-06, "cache_creation_input_token_cost_above_1hr_above_200k_tokens": 1.2e-05
  },
  "text-embedding-3-small": {"litellm_provider": "openai", "mode": "embedding", "input_cost_per_token": 2e-08, "output_cost_per_token": 0.0}
}`

// aboveTier is the input of a model's tier.
const aboveTier, aboveTokens = "_above_200k_tokens", 200_000

// pricedParts are the parts of a usage, by the members of LiteLLM's list, with what has no price of its
// own.
var pricedParts = map[string]string{
	"input_cost_per_token":                      "",
	"output_cost_per_token":                     "",
	"cache_read_input_token_cost":               "input_cost_per_token",
	"cache_creation_input_token_cost":           "input_cost_per_token",
	"cache_creation_input_token_cost_above_1hr": "cache_creation_input_token_cost",
	"output_cost_per_reasoning_token":           "output_cost_per_token",
	"input_cost_per_audio_token":                "input_cost_per_token",
	"output_cost_per_audio_token":               "output_cost_per_token",
}

// litellmPrices are the members of litellmFile that are numbers, by model.
func litellmPrices(t *testing.T) map[string]map[string]*big.Rat {
	t.Helper()
	var file map[string]map[string]json.RawMessage
	if err := json.Unmarshal([]byte(litellmFile), &file); err != nil {
		t.Fatal(err)
	}
	prices := map[string]map[string]*big.Rat{}
	for model, members := range file {
		prices[model] = map[string]*big.Rat{}
		for name, value := range members {
			if number, ok := new(big.Rat).SetString(string(value)); ok {
				prices[model][name] = number
			}
		}
	}
	return prices
}

// picodollars returns the price of a token as the reference says: rounded to picodollars.
func picodollars(dollars *big.Rat) *big.Rat {
	picos := new(big.Rat).Mul(dollars, big.NewRat(1_000_000_000_000, 1))
	picos.Add(picos, big.NewRat(1, 2))
	return new(big.Rat).SetInt(new(big.Int).Div(picos.Num(), picos.Denom()))
}

// rate returns the price of a part of a usage: that of the tier of the service over that of a long
// input over that of the model.
func rate(prices map[string]*big.Rat, part, service string, isLong bool) *big.Rat {
	for ; part != ""; part = pricedParts[part] {
		for _, name := range []string{part + aboveTier + service, part + aboveTier, part + service, part} {
			if price := prices[name]; price != nil && (isLong || !strings.Contains(name, aboveTier)) {
				return picodollars(price)
			}
		}
	}
	return new(big.Rat)
}

// pricedCall is a call with the response that it gets, and what it costs in USD; nil: unknown.
type pricedCall struct {
	path, model, response string
	status                int
	stream                bool
	cost                  *big.Rat
}

// pricedCallFor makes a call at random.
func pricedCallFor(prices map[string]map[string]*big.Rat, number int) pricedCall {
	r := rand.New(rand.NewSource(int64(number)))
	input, output := int64(1+r.Intn(6000)), int64(1+r.Intn(4000))
	if r.Intn(4) == 0 {
		input = aboveTokens - 1500 + r.Int63n(3000)
	}
	c := pricedCall{status: http.StatusOK, stream: r.Intn(2) == 0}
	parts := map[string]int64{}
	service, suffix := "", ""
	if r.Intn(2) == 0 {
		at := r.Intn(4)
		service, suffix = []string{"default", "priority", "flex", "batch"}[at], []string{"", "_priority", "_flex", "_batches"}[at]
	}
	reported := ""
	switch kind := r.Intn(10); {
	case kind < 2:
		c.messages(r, parts, service, input, output)
	case kind == 2:
		c.path, c.model, c.stream = "/v1/embeddings", "text-embedding-3-small", false
		parts["input_cost_per_token"] = input
		c.response = fmt.Sprintf(`{"object":"list","model":%q,"data":[],"usage":{"prompt_tokens":%d,"total_tokens":%d}}`, c.model, input, input)
	default:
		c.model = []string{"gpt-4o", "o4-mini", "gpt-4o-audio-preview", "tiny", "gpt-unpriced"}[r.Intn(5)]
		cached, reasoning := r.Int63n(input+1), r.Int63n(output+1)
		inputAudio, outputAudio := r.Int63n(input-cached+1), r.Int63n(output-reasoning+1)
		if r.Intn(3) == 0 {
			cached, reasoning, inputAudio, outputAudio = 0, 0, 0, 0
		}
		parts["input_cost_per_token"], parts["cache_read_input_token_cost"], parts["input_cost_per_audio_token"] = input-cached-inputAudio, cached, inputAudio
		parts["output_cost_per_token"], parts["output_cost_per_reasoning_token"], parts["output_cost_per_audio_token"] = output-reasoning-outputAudio, reasoning, outputAudio
		usage := map[string]any{}
		if r.Intn(5) == 0 {
			reported = []string{"0.00014", "1.25e-07", "3.0000000000005", "0", "12.000000000001", fmt.Sprintf("0.%012d", r.Int63n(1e12))}[r.Intn(6)]
			usage["cost"] = json.RawMessage(reported)
		}
		c.openAI(kind < 6, usage, service, []int64{input, output, cached, reasoning, inputAudio, outputAudio})
	}
	whole := int64(0)
	sum := new(big.Rat)
	for part, tokens := range parts {
		if strings.HasPrefix(part, "input") || strings.HasPrefix(part, "cache") {
			whole += tokens
		}
	}
	for part, tokens := range parts {
		sum.Add(sum, new(big.Rat).Mul(rate(prices[c.model], part, suffix, whole > aboveTokens), big.NewRat(tokens, 1)))
	}
	if prices[c.model] != nil {
		c.cost = sum
	}
	if reported != "" {
		number, _ := new(big.Rat).SetString(reported)
		c.cost = picodollars(number)
	}
	if r.Intn(20) == 0 {
		c.status, c.stream, c.cost, c.response = http.StatusInternalServerError, false, nil, `{"error":{"message":"no","type":"server_error","param":null,"code":null}}`
	}
	if c.cost != nil {
		c.cost = new(big.Rat).Quo(c.cost, big.NewRat(1_000_000_000_000, 1))
	}
	return c
}

// text returns the JSON of a value.
func text(value any) string {
	content, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(content)
}

// openAI sets a response of Chat Completions, or of the Responses API. counts are input, output, and of
// these the cached, the reasoning and the audio tokens.
func (c *pricedCall) openAI(isChat bool, usage map[string]any, service string, counts []int64) {
	prompt := map[string]any{"cached_tokens": counts[2], "audio_tokens": counts[4]}
	completion := map[string]any{"reasoning_tokens": counts[3], "audio_tokens": counts[5]}
	usage["total_tokens"] = counts[0] + counts[1]
	whole := map[string]any{"id": "1", "model": c.model, "usage": usage}
	if service != "" {
		whole["service_tier"] = service
	}
	if isChat {
		usage["prompt_tokens"], usage["completion_tokens"] = counts[0], counts[1]
		usage["prompt_tokens_details"], usage["completion_tokens_details"] = prompt, completion
		c.path, whole["object"] = chatPath, "chat.completion"
		whole["choices"] = []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": "ok"}}}
		c.response = text(whole)
		if c.stream {
			whole["object"], whole["choices"] = "chat.completion.chunk", []any{}
			const first = `data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"ok"}}]}` + "\n\n"
			c.response = strings.Repeat(first, contentEvents) + "data: " + text(whole) + "\n\ndata: [DONE]\n\n"
		}
		return
	}
	usage["input_tokens"], usage["output_tokens"] = counts[0], counts[1]
	usage["input_tokens_details"], usage["output_tokens_details"] = prompt, completion
	c.path, whole["object"], whole["status"] = "/v1/responses", "response", "completed"
	c.response = text(whole)
	if c.stream {
		const first = "event: response.output_text.delta\ndata: " + `{"type":"response.output_text.delta","delta":"ok"}` + "\n\n"
		c.response = strings.Repeat(first, contentEvents) + "event: response.completed\ndata: " + text(map[string]any{"type": "response.completed", "response": whole}) + "\n\n"
	}
}

// messages sets a response of Anthropic's protocol, whose input has no cached tokens.
func (c *pricedCall) messages(r *rand.Rand, parts map[string]int64, service string, input, output int64) {
	read, for5m, for1h := int64(r.Intn(3000)), int64(r.Intn(500)), int64(r.Intn(500))
	parts["input_cost_per_token"], parts["output_cost_per_token"], parts["cache_read_input_token_cost"] = input, output, read
	parts["cache_creation_input_token_cost"], parts["cache_creation_input_token_cost_above_1hr"] = for5m, for1h
	usage := map[string]any{
		"input_tokens": input, "output_tokens": output, "cache_read_input_tokens": read, "cache_creation_input_tokens": for5m + for1h,
		"cache_creation": map[string]any{"ephemeral_5m_input_tokens": for5m, "ephemeral_1h_input_tokens": for1h},
	}
	if service != "" {
		usage["service_tier"] = service
	}
	c.path, c.model = "/v1/messages", "claude-sonnet-4-5"
	message := map[string]any{"id": "1", "type": "message", "role": "assistant", "model": c.model + "-20250929", "content": []any{}, "usage": usage, "stop_reason": "end_turn"}
	c.response = text(message)
	if c.stream {
		usage["output_tokens"] = 1
		c.response = "event: message_start\ndata: " + text(map[string]any{"type": "message_start", "message": message}) + "\n\n" +
			"event: message_delta\ndata: " + text(map[string]any{"type": "message_delta", "delta": map[string]any{"stop_reason": "end_turn"}, "usage": map[string]any{"output_tokens": output}}) + "\n\n" +
			"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	}
}

// request returns the body of the call.
func (c pricedCall) request() string {
	body := map[string]any{"model": c.model, "messages": []any{map[string]string{"role": "user", "content": "Hi"}}, "max_tokens": 9}
	if c.path == "/v1/responses" || c.path == "/v1/embeddings" {
		body = map[string]any{"model": c.model, "input": "Hi"}
	}
	if c.stream {
		body["stream"] = true
	}
	return text(body)
}

// TestCostsInTheAccessLogAreExact compares the costs of mixed calls with an independent computation
// from what the provider responds, and LiteLLM's list.
func TestCostsInTheAccessLogAreExact(t *testing.T) {
	prices := litellmPrices(t)
	file := filepath.Join(t.TempDir(), "model_prices_and_context_window.json")
	write(t, file, litellmFile)
	g := serve(t, map[string]any{
		"token":  "sk-provider",
		"prices": map[string]any{"from": "urn:file:" + file},
		"routes": map[string]string{chatPath: "completions", "/v1/responses": "responses", "/v1/embeddings": "embeddings", "/v1/messages": "passthrough: governed"},
	}, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		number, _ := strconv.Atoi(r.Header.Get(numberHeader))
		c := pricedCallFor(prices, number)
		rw.Header().Set("Content-Type", map[bool]string{false: "application/json", true: "text/event-stream"}[c.stream])
		rw.WriteHeader(c.status)
		_, _ = io.WriteString(rw, c.response)
	}), "X-Ai-Cost", numberHeader)
	inParallel(t, pricedCalls, 8, func(client *http.Client, number int) error {
		c := pricedCallFor(prices, number)
		response, err := do(t.Context(), client, g.URL+c.path, c.request(), map[string]string{numberHeader: strconv.Itoa(number)})
		if err != nil {
			return err
		}
		defer func() { _ = response.Body.Close() }()
		content, err := io.ReadAll(response.Body)
		if err == nil && response.StatusCode != c.status {
			err = fmt.Errorf("status %d, want %d: %s", response.StatusCode, c.status, content)
		}
		return err
	})

	awaitAccessLog(t, g, pricedCalls)
	sum, want := new(big.Rat), new(big.Rat)
	unknown, differ := 0, 0
	for _, line := range accessLog(t, g) {
		number, err := strconv.Atoi(fmt.Sprint(line["request_"+numberHeader]))
		if err != nil {
			t.Fatal(err)
		}
		c := pricedCallFor(prices, number)
		text, has := line["downstream_X-Ai-Cost"].(string)
		cost, isNumber := new(big.Rat).SetString(text)
		if has != isNumber || has != (c.cost != nil) || has && cost.Cmp(c.cost) != 0 {
			if differ++; differ <= 10 {
				t.Errorf("call %d to %s costs %q, want %v: %s", number, c.path, text, c.cost, c.response)
			}
		}
		if has {
			sum.Add(sum, cost)
		} else {
			unknown++
		}
		if c.cost != nil {
			want.Add(want, c.cost)
		}
	}
	if sum.Cmp(want) != 0 || sum.Sign() == 0 {
		t.Errorf("all calls cost %s, want %s", sum.FloatString(12), want.FloatString(12))
	}
	t.Logf("%d calls cost %s USD; the cost of %d is unknown", pricedCalls, sum.FloatString(12), unknown)
	checkNoErrors(t, g)
}
