package chatcompletion

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// referenceDecimal is decimal with big.Rat.
func referenceDecimal(text string, places int) (int64, bool) {
	if !regexp.MustCompile(`^[0-9]{1,40}(\.[0-9]{1,60})?([eE][+-]?[0-9]{1,3})?$`).MatchString(text) {
		return 0, false
	}
	number, ok := new(big.Rat).SetString(text)
	if !ok {
		return 0, false
	}
	number.Mul(number, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(places)), nil)))
	return rounded(number), true
}

// rounded returns the nearest integer of a number that is not negative, up from the middle, or math.MaxInt64.
func rounded(number *big.Rat) int64 {
	number = new(big.Rat).Add(number, big.NewRat(1, 2))
	whole := new(big.Int).Quo(number.Num(), number.Denom())
	if !whole.IsInt64() {
		return math.MaxInt64
	}
	return whole.Int64()
}

func TestDecimal(t *testing.T) {
	tests := []struct {
		text   string
		places int
		want   int64
		wantOK bool
	}{
		{"2.50", 6, 2500000, true},
		{"1.5e-07", 12, 150000, true},
		{"2.5e-10", 12, 250, true},
		{"0.0000005", 6, 1, true},
		{"0.00000049", 6, 0, true},
		{"0.0000015", 6, 2, true},
		{"1e-999", 12, 0, true},
		{"0e999", 12, 0, true},
		{"00012.5", 0, 13, true},
		{"9223372036854775807", 0, math.MaxInt64, true},
		{"9223372036854775806.5", 0, math.MaxInt64, true},
		{"9223372036854775808", 0, math.MaxInt64, true},
		{"1e999", 12, math.MaxInt64, true},
		{"", 6, 0, false}, {"-1", 6, 0, false}, {"+1", 6, 0, false}, {".5", 6, 0, false}, {"5.", 6, 0, false}, {"1e", 6, 0, false},
		{"0x1", 6, 0, false}, {"1_0", 6, 0, false}, {"NaN", 6, 0, false}, {"1e1000", 6, 0, false}, {" 1", 6, 0, false}, {"1\n", 6, 0, false},
	}
	for _, test := range tests {
		if got, ok := decimal(test.text, test.places); got != test.want || ok != test.wantOK {
			t.Errorf("decimal(%q, %d) = %d, %t, want %d, %t", test.text, test.places, got, ok, test.want, test.wantOK)
		}
	}
}

func FuzzDecimal(f *testing.F) {
	for _, text := range []string{"2.50", "1.5e-07", "2.5e-10", "0.0000005", "9223372036854775807.5", "1e999", "1E+19", "000.1", "-1", "1e-20", "99999999999999999995e-1"} {
		f.Add(text, 12)
		f.Add(text, 0)
	}
	f.Fuzz(func(t *testing.T, text string, places int) {
		if places < 0 || places > 12 {
			return
		}
		got, ok := decimal(text, places)
		want, wantOK := referenceDecimal(text, places)
		if got != want || ok != wantOK {
			t.Errorf("decimal(%q, %d) = %d, %t, want %d, %t", text, places, got, ok, want, wantOK)
		}
	})
}

func TestDollars(t *testing.T) {
	for picodollars, want := range map[int64]string{
		0: "0", 1: "0.000000000001", 3500000000: "0.0035", 1000000000000: "1", 120000000000000: "120", 1000000000001: "1.000000000001",
		math.MaxInt64: "9223372.036854775807",
	} {
		if got := dollars(picodollars); got != want {
			t.Errorf("dollars(%d) = %q, want %q", picodollars, got, want)
		}
	}
	// Floats show small amounts; all of them must be exact.
	random := rand.New(rand.NewSource(1))
	for i := 0; i < 200_000; i++ {
		picodollars := random.Int63n(floatPicos) >> random.Intn(48)
		if got, want := dollars(picodollars), largeAmount(picodollars); got != want {
			t.Fatalf("dollars(%d) = %q, want %q", picodollars, got, want)
		}
	}
}

func TestAmountsSaturate(t *testing.T) {
	tests := []struct {
		name      string
		got, want int64
	}{
		{"sum", addSaturated(math.MaxInt64, 1), math.MaxInt64},
		{"sum of the largest", addSaturated(math.MaxInt64-1, 1), math.MaxInt64},
		{"product", product(1<<32, 1<<31), math.MaxInt64},
		{"product of the largest", product(math.MaxInt64, math.MaxInt64), math.MaxInt64},
		{"product below", product(1<<31, 1<<31), 1 << 62},
		{"quotient", quotient(math.MaxInt64, math.MaxInt64, 1000), math.MaxInt64},
		{"quotient of a large product", quotient(math.MaxInt64, 500000, 1000000), 1 << 62},
		{"quotient in the middle", quotient(1, 1, 2), 1},
		{"quotient below the middle", quotient(499, 1, 1000), 0},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: got %d, want %d", test.name, test.got, test.want)
		}
	}
}

// newTestPrice returns the price that JSON is.
func newTestPrice(t *testing.T, text string) *price {
	t.Helper()
	members, bad := &priceMembers{}, &problems{}
	if err := json.Unmarshal([]byte(text), members); err != nil {
		t.Fatal(err)
	}
	p := priceFrom(bad, "price", members)
	if len(bad.found) > 0 {
		t.Fatal(bad.found)
	}
	return p
}

func TestEstimateIsTheLeastThatACallCosts(t *testing.T) {
	tests := []struct {
		price         string
		input, output int64
		want          int64
	}{
		{`{"input":"2","output":"10"}`, 100, 10, 300000000},
		{`{"input":"2","output":"10","cacheRead":"0.5"}`, 100, 10, 150000000},
		{`{"input":"2","output":"10","cacheRead":"3"}`, 100, 10, 300000000},
		{`{"input":"2","output":"10","tiers":[{"over":50,"input":"4"}]}`, 100, 10, 500000000},
		{`{"output":"10","request":"0.001"}`, 100, 10, 1100000000},
		{`{"request":"0.001"}`, 100, 10, 1000000000},
		{`{"input":"9000000","output":"1"}`, math.MaxInt64, 1, math.MaxInt64},
	}
	for _, test := range tests {
		if got := estimateCost(newTestPrice(t, test.price), test.input, test.output); got != test.want {
			t.Errorf("%s: got %d, want %d", test.price, got, test.want)
		}
	}
}

// TestPricesAreRememberedWithinABound looks up more models than a table remembers.
func TestPricesAreRememberedWithinABound(t *testing.T) {
	table := &priceTable{own: newPriceList(map[string]*priceMembers{"m*": {Input: "1", Output: "1"}})}
	first := priceOf(table, "m1")
	if again := priceOf(table, "m1"); first == nil || again != first {
		t.Errorf("the second look-up made another price")
	}
	for i := 0; i < 2*maxKnownPrices; i++ {
		if priceOf(table, fmt.Sprint("x", i)) != nil || priceOf(table, fmt.Sprint("m", i)) == nil {
			t.Fatalf("model %d: wrong price", i)
		}
	}
	remembered := 0
	table.known.Range(func(_, _ any) bool { remembered++; return true })
	if remembered > maxKnownPrices {
		t.Errorf("%d prices are remembered, want at most %d", remembered, maxKnownPrices)
	}
	latest := priceOf(table, "m-latest")
	if again := priceOf(table, "m-latest"); latest == nil || again != latest {
		t.Errorf("invented models keep out the price of a later one")
	}
}

// litellmList returns a list in LiteLLM's shape with this many models.
func litellmList(models int) []byte {
	var text strings.Builder
	text.WriteString(`{"sample_spec":{"code_interpreter_cost_per_session":0.0,"max_tokens":"LEGACY parameter","mode":"one of: chat, embedding"}`)
	for i := 0; i < models; i++ {
		fmt.Fprintf(&text, `,"provider/model-%d":{"cache_creation_input_token_cost":3.75e-06,"cache_creation_input_token_cost_above_1hr":6e-06,`+
			`"cache_creation_input_token_cost_above_1hr_above_200k_tokens":1.2e-05,"cache_creation_input_token_cost_above_200k_tokens":7.5e-06,"cache_read_input_token_cost":3e-07,`+
			`"cache_read_input_token_cost_above_200k_tokens":6e-07,"input_cost_per_token":3e-06,"input_cost_per_token_above_200k_tokens":6e-06,"output_cost_per_token":1.5e-05,`+
			`"output_cost_per_token_above_200k_tokens":2.25e-05,"search_context_cost_per_query":{"search_context_size_high":0.01},"litellm_provider":"anthropic","max_tokens":64000,"mode":"chat","supports_vision":true}`, i)
	}
	text.WriteString("}")
	return []byte(text.String())
}

func TestListOfLiteLLMIsReadWithinItsTime(t *testing.T) {
	text := litellmList(2700)
	if len(text) < 1700000 || len(text) > documentMaxBytes {
		t.Fatalf("the list has %d bytes", len(text))
	}
	start := time.Now()
	list, problem := parsePriceList(text)
	if took := time.Since(start); problem != "" || took > 5*time.Second {
		t.Fatalf("problem %q after %s", problem, took)
	}
	p := exactPrice(list, "", "provider/model-2699")
	want := []int64{3000000, 15000000, 300000, 3750000, 6000000, 15000000, 3000000, 15000000, 0, 0, 0}
	wantTier := []int64{6000000, 22500000, 600000, 7500000, 12000000, 22500000, 6000000, 22500000, 0, 0, 0}
	if p == nil || fmt.Sprint(p.rates) != fmt.Sprint(want) || len(p.tiers) != 1 || p.tiers[0].over != 200000 || fmt.Sprint(p.tiers[0].rates) != fmt.Sprint(wantTier) {
		t.Errorf("price %+v, want the rates %v, and %v above 200000", p, want, wantTier)
	}
	if exactPrice(list, "", "sample_spec") != nil {
		t.Error("the sample has a price")
	}
}

func FuzzPriceList(f *testing.F) {
	f.Add(string(litellmList(2)), "provider/model-1")
	f.Add(`{"models":{"gpt-4o*":{"input":"2.50","output":10,"tiers":[{"over":10,"input":1}],"serviceTiers":{"flex":"0.5"}}}}`, "gpt-4o")
	f.Add(`{"models":{"m":null,"*":{}}}`, "m")
	f.Add(`{"m":{"input_cost_per_token":"1e-6","tiered_pricing":[{"range":[0]},{"range":[5,6],"output_cost_per_token":1}]}}`, "m")
	f.Add(`{"m":{"input_cost_per_token_flex":1e-6,"input_cost_per_token_above_999999k_tokens_priority":1e300}}`, "m")
	usages := []*Usage{
		{InputKnown: true, OutputKnown: true, InputTokens: 5, OutputTokens: 6, CacheReadInputTokens: 2, ReasoningOutputTokens: 3},
		{InputKnown: true, OutputKnown: true, InputTokens: maxTokenCount, OutputTokens: maxTokenCount, CacheReadInputTokens: maxTokenCount,
			CacheCreationInputTokens: maxTokenCount, InputAudioTokens: maxTokenCount, OutputAudioTokens: maxTokenCount, AudioMilliseconds: maxTokenCount, Images: 1 << 30},
		{},
	}
	f.Fuzz(func(t *testing.T, text, model string) {
		list, problem := parsePriceList([]byte(text))
		if problem != "" {
			if list != nil {
				t.Error("a broken text has prices")
			}
			return
		}
		p := priceOf(&priceTable{own: list}, model)
		if p == nil {
			return
		}
		for _, u := range usages {
			for _, tier := range []string{"", "flex", "batch"} {
				cost, isKnown := costOf(p, u, &Response{ServiceTier: tier})
				if cost < 0 || (!isKnown && cost != 0) {
					t.Errorf("%+v costs %d, known: %t", u, cost, isKnown)
				}
			}
			if cost := estimateCost(p, u.InputTokens, u.OutputTokens); cost < 0 {
				t.Errorf("%+v is estimated to cost %d", u, cost)
			}
		}
	})
}

// TestPricesOfAFileAreReadAgain changes a file of prices, breaks it and removes it.
func TestPricesOfAFileAreReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "prices.json")
	steps := []struct {
		name, content string
		want          int64 // input; 0: no price
		fails         bool
	}{
		{"the file is created", `{"models":{"m":{"input":"1","output":"1"}}}`, 1000000, false},
		{"a price changes", `{"models":{"m":{"input":"2","output":"1"}}}`, 2000000, false},
		{"a broken file keeps the prices", `{"models":{"m":{"input":"3"`, 2000000, true},
		{"an empty file keeps the prices", "", 2000000, true},
		{"a price below 0 keeps the prices", `{"models":{"m":{"input":"-3"}}}`, 2000000, true},
		{"it becomes LiteLLM's list", `{"m":{"input_cost_per_token":4e-06,"output_cost_per_token":1e-06}}`, 4000000, false},
		{"the model disappears", `{"models":{"n":{"input":"1"}}}`, 0, false},
	}
	settings := readSecrets(t, Secrets{})
	bad := &problems{}
	table := parsePrices(bad, Prices{From: "urn:file:" + file}, settings)
	if len(bad.found) > 0 {
		t.Fatal(bad.found)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	startPrices(ctx, table)
	if priceOf(table, "m") != nil {
		t.Error("a file that does not exist has prices")
	}
	for _, step := range steps {
		writeKey(t, file, step.content)
		failed := failuresOf(table.secret)
		eventually(t, step.name, func() bool {
			if step.fails && failuresOf(table.secret) <= failed {
				return false
			}
			p := priceOf(table, "m")
			return (p == nil && step.want == 0) || (p != nil && p.rates[inputRate] == step.want)
		})
	}
}

// TestModelWithoutNameIsRefused is no case: Traefik's file provider panics at a name that is empty.
func TestModelWithoutNameIsRefused(t *testing.T) {
	bad := &problems{}
	parsePrices(bad, Prices{Models: map[string]Price{"": {Input: "1"}}}, readSecrets(t, Secrets{}))
	if want := "prices.models[]: must be the name of a model, of at most 256 bytes without control characters"; len(bad.found) != 1 || bad.found[0] != want {
		t.Errorf("problems %q, want %q", bad.found, want)
	}
}

// priceOf returns the price of a model at any provider.
func priceOf(t *priceTable, model string) *price { return servedPrice(t, "", "", model) }

// TestHostilePricesOfAFile: nobody checks the names and prices of a file that is looked up before they are used.
func TestHostilePricesOfAFile(t *testing.T) {
	list, problem := parsePriceList([]byte(`{"models":{"` + strings.Repeat("*", 1<<22) + `":{"input":"1"},"bad-*":{"input":"9000001"}}}`))
	if problem != "" {
		t.Fatal(problem)
	}
	logged := logOutput(t, func() {
		for i := 0; i < 3; i++ {
			if findPrice([]*priceList{list}, "", "bad-model") != nil {
				t.Error("an invalid price counts")
			}
		}
	})
	if got := strings.Count(logged, "the price is unknown"); got != 1 {
		t.Errorf("logged %d times, want once: %s", got, logged)
	}
}
