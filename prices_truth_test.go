package chatcompletion

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
)

// truthPrices are the prices of TestCostsEqualAnIndependentComputation, in USD per million tokens.
var truthPrices = map[string]map[string]string{
	"gpt-4o":   {"input": "2.50", "output": "10.00", "cacheRead": "1.25", "inputAudio": "40", "outputAudio": "80"},
	"o4-mini":  {"input": "1.10", "output": "4.40", "cacheRead": "0.275", "reasoning": "3.3"},
	"claude-4": {"input": "3", "output": "15", "cacheRead": "0.30", "cacheWrite": "3.75", "cacheWrite1h": "6"},
	"gemini-2": {"input": "0.30", "output": "2.50", "cacheRead": "0.03", "inputAudio": "1.00", "outputAudio": "12"},
	"tiny":     {"input": "0.0000015", "output": "0.000123"},
	"request":  {"input": "0.333333", "output": "1.7", "request": "0.0051"},
	"plain":    {"input": "0.7", "output": "2.1"}, // without service tiers, as no other model
}

// truthTier is the tier of claude-4, and truthFactors are the factors of all models but the plain one.
var (
	truthTierOver = int64(200000)
	truthTier     = map[string]string{"input": "6", "output": "22.50", "cacheRead": "0.60", "cacheWrite": "7.50", "cacheWrite1h": "12"}
	truthFactors  = map[string]string{"flex": "0.5", "priority": "1.75", "batch": "0.333333"}
)

func truthConfig() Prices {
	models := map[string]Price{}
	for name, rates := range truthPrices {
		var p Price
		text, _ := json.Marshal(rates)
		_ = json.Unmarshal(text, &p)
		p.ServiceTiers = map[string]any{}
		for tier, factor := range truthFactors {
			if name != "plain" {
				p.ServiceTiers[tier] = factor
			}
		}
		if name == "claude-4" {
			var tier PriceTier
			text, _ = json.Marshal(truthTier)
			_ = json.Unmarshal(text, &tier)
			tier.Over = "200000"
			p.Tiers = []PriceTier{tier}
		}
		models[name+"*"] = p
	}
	return Prices{Models: models}
}

// truthCall is a response with what it costs, which is computed from its counts.
type truthCall struct {
	path, model, body, contentType string
	cost                           *big.Rat // in picodollars, not rounded
}

// ratAmount returns a decimal text as a number.
func ratAmount(text string) *big.Rat {
	number, ok := new(big.Rat).SetString(text)
	if !ok {
		panic(text)
	}
	return number
}

// perToken returns the price of a token in picodollars, rounded as the configuration says.
func perToken(text string) *big.Rat {
	return new(big.Rat).SetInt64(rounded(new(big.Rat).Mul(ratAmount(text), big.NewRat(1000000, 1))))
}

// truthOf returns the cost of counts by the kinds of prices. What has no price of its own costs what another part does.
func truthOf(model, tier string, wholeInput int64, counts map[string]int64) *big.Rat {
	rates := map[string]string{}
	for name, text := range truthPrices[model] {
		rates[name] = text
	}
	if model == "claude-4" && wholeInput > truthTierOver {
		for name, text := range truthTier {
			rates[name] = text
		}
	}
	first := func(names ...string) string {
		for _, name := range names {
			if rates[name] != "" {
				return rates[name]
			}
		}
		return "0"
	}
	sum := new(big.Rat)
	for name, rate := range map[string]string{
		"input": first("input"), "output": first("output"), "cacheRead": first("cacheRead", "input"), "cacheWrite": first("cacheWrite", "input"),
		"cacheWrite1h": first("cacheWrite1h", "cacheWrite", "input"), "reasoning": first("reasoning", "output"),
		"inputAudio": first("inputAudio", "input"), "outputAudio": first("outputAudio", "output"),
	} {
		sum.Add(sum, new(big.Rat).Mul(perToken(rate), new(big.Rat).SetInt64(counts[name])))
	}
	sum.Add(sum, new(big.Rat).Mul(ratAmount(first("request")), big.NewRat(1000000000000, 1)))
	if factor := truthFactors[tier]; factor != "" && model != "plain" {
		sum.Mul(sum, ratAmount(factor))
	}
	return sum
}

func jsonLine(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// newTruthCall makes a call at random.
func newTruthCall(r *rand.Rand) truthCall {
	tiers := []string{"", "", "default", "flex", "priority", "batch"}
	tier := tiers[r.Intn(len(tiers))]
	input, output := int64(1+r.Intn(5000)), int64(1+r.Intn(3000))
	if r.Intn(4) == 0 {
		input = 199000 + int64(r.Intn(4000))
	}
	switch r.Intn(6) {
	case 0, 1:
		return newAnthropicCall(r, tier, input, output)
	case 2:
		return newGeminiCall(r, tier, input, output)
	}
	models := []string{"gpt-4o", "o4-mini", "tiny", "request", "plain"}
	model := models[r.Intn(len(models))]
	cached := r.Int63n(input + 1)
	inputAudio := r.Int63n(input - cached + 1)
	reasoning := r.Int63n(output + 1)
	outputAudio := r.Int63n(output - reasoning + 1)
	if r.Intn(3) == 0 {
		cached, inputAudio, reasoning, outputAudio = 0, 0, 0, 0
	}
	call := truthCall{model: model, cost: truthOf(model, tier, input, map[string]int64{
		"input": input - cached - inputAudio, "cacheRead": cached, "inputAudio": inputAudio,
		"output": output - reasoning - outputAudio, "reasoning": reasoning, "outputAudio": outputAudio,
	})}
	prompt := map[string]any{"cached_tokens": cached, "audio_tokens": inputAudio}
	completion := map[string]any{"reasoning_tokens": reasoning, "audio_tokens": outputAudio}
	reported := ""
	if r.Intn(4) == 0 {
		reported = []string{"0.00014", "1.25e-07", "3.0000000000005", "0", "12.000000000001", fmt.Sprintf("0.%012d", r.Int63n(1e12))}[r.Intn(6)]
		call.cost = new(big.Rat).Mul(ratAmount(reported), big.NewRat(1000000000000, 1))
	}
	if r.Intn(2) == 0 {
		return asResponsesCall(r, call, tier, reported, input, output, prompt, completion)
	}
	return asChatCall(r, call, tier, reported, input, output, prompt, completion)
}

// withReported adds a reported cost to a usage as the number it is.
func withReported(usage map[string]any, reported string) map[string]any {
	if reported != "" {
		usage["cost"] = json.RawMessage(reported)
	}
	return usage
}

func asChatCall(r *rand.Rand, call truthCall, tier, reported string, input, output int64, prompt, completion map[string]any) truthCall {
	usage := withReported(map[string]any{"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output,
		"prompt_tokens_details": prompt, "completion_tokens_details": completion}, reported)
	whole := map[string]any{"id": "c", "object": "chat.completion", "model": call.model + "-2026", "usage": usage,
		"choices": []any{map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]any{"role": "assistant", "content": strings.Repeat("x", r.Intn(6000))}}}}
	if tier != "" {
		whole["service_tier"] = tier
	}
	call.path, call.contentType, call.body = "/v1/chat/completions", "application/json", jsonLine(whole)
	if r.Intn(2) == 0 {
		return call
	}
	chunk := map[string]any{"id": "c", "object": "chat.completion.chunk", "model": call.model, "choices": []any{map[string]any{"index": 0, "delta": map[string]any{"content": "x"}}}}
	whole["choices"] = []any{}
	call.contentType = "text/event-stream"
	call.body = strings.Repeat("data: "+jsonLine(chunk)+"\n\n", r.Intn(80)) + "data: " + jsonLine(whole) + "\n\ndata: [DONE]\n\n"
	return call
}

func asResponsesCall(r *rand.Rand, call truthCall, tier, reported string, input, output int64, prompt, completion map[string]any) truthCall {
	usage := withReported(map[string]any{"input_tokens": input, "output_tokens": output, "total_tokens": input + output,
		"input_tokens_details": prompt, "output_tokens_details": completion}, reported)
	whole := map[string]any{"id": "r", "object": "response", "status": "completed", "model": call.model, "usage": usage}
	if tier != "" {
		whole["service_tier"] = tier
	}
	call.path, call.contentType, call.body = "/v1/responses", "application/json", jsonLine(whole)
	if r.Intn(2) == 0 {
		return call
	}
	created := map[string]any{"type": "response.created", "response": map[string]any{"id": "r", "object": "response", "model": call.model, "service_tier": "auto"}}
	delta := "event: response.output_text.delta\ndata: " + jsonLine(map[string]any{"type": "response.output_text.delta", "delta": "x"}) + "\n\n"
	call.contentType = "text/event-stream"
	call.body = "event: response.created\ndata: " + jsonLine(created) + "\n\n" + strings.Repeat(delta, r.Intn(80)) +
		"event: response.completed\ndata: " + jsonLine(map[string]any{"type": "response.completed", "response": whole}) + "\n\n"
	if tier == "" { // the last one that is named counts
		call.body = strings.Replace(call.body, `,"service_tier":"auto"`, "", 1)
		call.body = strings.Replace(call.body, `"service_tier":"auto",`, "", 1)
	}
	return call
}

// newAnthropicCall makes a call whose input tokens are those that no cache has read or written.
func newAnthropicCall(r *rand.Rand, tier string, input, output int64) truthCall {
	read, write5m, write1h := int64(r.Intn(3000)), int64(r.Intn(500)), int64(r.Intn(500))
	if r.Intn(3) == 0 {
		read, write5m, write1h = 0, 0, 0
	}
	model := []string{"claude-4", "plain"}[r.Intn(2)]
	call := truthCall{path: []string{"/v1/messages", "/passthrough/messages"}[r.Intn(2)], model: model, cost: truthOf(model, tier, input+read+write5m+write1h, map[string]int64{
		"input": input, "output": output, "cacheRead": read, "cacheWrite": write5m, "cacheWrite1h": write1h,
	})}
	usage := map[string]any{"input_tokens": input, "cache_read_input_tokens": read, "cache_creation_input_tokens": write5m + write1h, "output_tokens": output,
		"cache_creation": map[string]any{"ephemeral_5m_input_tokens": write5m, "ephemeral_1h_input_tokens": write1h}}
	if tier != "" {
		usage["service_tier"] = tier
	}
	message := map[string]any{"id": "m", "type": "message", "model": model, "usage": usage, "stop_reason": "end_turn", "content": []any{}}
	call.contentType, call.body = "application/json", jsonLine(message)
	if r.Intn(2) == 0 {
		return call
	}
	usage["output_tokens"] = 1
	call.contentType = "text/event-stream"
	call.body = "event: message_start\ndata: " + jsonLine(map[string]any{"type": "message_start", "message": message}) + "\n\n" +
		"event: message_delta\ndata: " + jsonLine(map[string]any{"type": "message_delta", "delta": map[string]any{"stop_reason": "end_turn"}, "usage": map[string]any{"output_tokens": output}}) + "\n\n" +
		"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	return call
}

// newGeminiCall makes a call whose prompt includes what is cached, and whose candidates do not include thinking.
func newGeminiCall(r *rand.Rand, tier string, input, output int64) truthCall {
	toolUse := int64(r.Intn(2) * r.Intn(300))
	cached := r.Int63n(input + 1)
	audio := r.Int63n(input + 1)
	cachedAudio := r.Int63n(1 + smaller(cached, audio))
	if over := audio - cachedAudio - (input - cached); over > 0 {
		audio -= over
	}
	thoughts := r.Int63n(output + 1)
	spoken := r.Int63n(output - thoughts + 1)
	if r.Intn(3) == 0 {
		cached, audio, cachedAudio, thoughts, spoken = 0, 0, 0, 0, 0
	}
	model := []string{"gemini-2", "plain"}[r.Intn(2)]
	call := truthCall{model: model, cost: truthOf(model, tier, input+toolUse, map[string]int64{
		"input": input + toolUse - cached - (audio - cachedAudio), "cacheRead": cached, "inputAudio": audio - cachedAudio,
		"output": output - thoughts - spoken, "reasoning": thoughts, "outputAudio": spoken,
	})}
	parts := func(audio, others int64) []any {
		return []any{map[string]any{"modality": "TEXT", "tokenCount": others}, map[string]any{"modality": "AUDIO", "tokenCount": audio}}
	}
	usage := map[string]any{"promptTokenCount": input, "candidatesTokenCount": output - thoughts, "thoughtsTokenCount": thoughts, "totalTokenCount": input + toolUse + output,
		"cachedContentTokenCount": cached, "promptTokensDetails": parts(audio, input-audio), "cacheTokensDetails": parts(cachedAudio, cached-cachedAudio),
		"candidatesTokensDetails": parts(spoken, output-thoughts-spoken)}
	if toolUse > 0 {
		usage["toolUsePromptTokenCount"] = toolUse
	}
	if tier != "" {
		usage["serviceTier"] = tier
	}
	candidate := map[string]any{"content": map[string]any{"role": "model", "parts": []any{map[string]any{"text": "x"}}}, "index": 0}
	begun := jsonLine(map[string]any{"candidates": []any{candidate}, "modelVersion": model + ".5", "usageMetadata": map[string]any{"promptTokenCount": input, "totalTokenCount": input}})
	candidate["finishReason"] = "STOP"
	whole := jsonLine(map[string]any{"candidates": []any{candidate}, "modelVersion": model + ".5", "usageMetadata": usage})
	switch times := r.Intn(80); r.Intn(3) {
	case 0:
		call.path, call.contentType, call.body = "/v1beta/models/"+model+":generateContent", "application/json", whole
	case 1:
		call.path, call.contentType = "/v1beta/models/"+model+":streamGenerateContent", "text/event-stream"
		call.body = strings.Repeat("data: "+begun+"\r\n\r\n", times) + "data: " + whole + "\r\n\r\n"
	default:
		call.path, call.contentType = "/v1beta/models/"+model+":streamGenerateContent", "application/json; charset=UTF-8"
		call.body = "[" + strings.Repeat(begun+"\n,\r\n", times) + whole + "\n]\n"
	}
	return call
}

func smaller(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

// TestCostsEqualAnIndependentComputation compares the costs of 1000 calls at random, and their sum, with what big.Rat makes
// of the counts that the responses were made from.
func TestCostsEqualAnIndependentComputation(t *testing.T) {
	r := rand.New(rand.NewSource(20261130))
	var call truthCall
	provider := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", call.contentType)
		_, _ = rw.Write([]byte(call.body))
	})
	config := CreateConfig()
	config.StreamUsage = "never"
	config.Routes = map[string]string{"/v1/messages": "messages", "/passthrough/messages": "passthrough: governed", "/v1/responses": "responses", "/v1beta/models/*": "generateContent"}
	config.Prices = truthConfig()
	handler, err := New(context.Background(), provider, config, "truth@file")
	if err != nil {
		t.Fatal(err)
	}
	registry := newRegistry()
	handler.(*middleware).policy.telemetry.registry = registry
	sum := int64(0)
	for i := 0; i < 1000; i++ {
		call = newTruthCall(r)
		body := `{"model":"` + call.model + `","max_tokens":9,"messages":[{"role":"user","content":"Hi"}],"stream":` + strconv.FormatBool(call.contentType != "application/json") + `}`
		if call.path == "/v1/responses" {
			body = strings.Replace(strings.Replace(body, `"max_tokens":9,`, "", 1), `"messages":[{"role":"user","content":"Hi"}]`, `"input":"Hi"`, 1)
		}
		if strings.HasPrefix(call.path, "/v1beta/") {
			body = `{"contents":[{"parts":[{"text":"Hi"}]}]}`
		}
		req := httptest.NewRequest(http.MethodPost, call.path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		want := rounded(call.cost)
		if got := rec.Header().Get(costHeader); got != dollars(want) {
			t.Fatalf("call %d to %s costs %q, want %q: %s", i, call.path, got, dollars(want), call.body)
		}
		sum += want
	}
	total := int64(0)
	for _, p := range pointsOf(registry, callCost) {
		total += p.count
	}
	if total != sum || sum == 0 {
		t.Errorf("all calls cost %d picodollars, want %d", total, sum)
	}
}
