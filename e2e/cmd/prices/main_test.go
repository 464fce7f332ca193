package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestListsAreConvertedExactly(t *testing.T) {
	tests := []struct{ name, list, models, want, wantNotes string }{
		{"LiteLLM", `{"sample_spec":{"input_cost_per_token":"text"},"m":{"input_cost_per_token":1.5e-07,"output_cost_per_token":2.5e-10,"cache_read_input_token_cost":"1e-8","mode":"chat","max_tokens":5}}`, "*",
			`{"date":"2026-11-30","models":{"m":{"cacheRead":"0.01","input":"0.15","output":"0.00025"}}}`, ""},
		{"tiers", `{"m":{"input_cost_per_token":3e-06,"input_cost_per_token_above_200k_tokens":6e-06,"input_cost_per_token_above_1000k_tokens":7e-06,"cache_creation_input_token_cost_above_1hr":6e-06}}`, "*",
			`{"date":"2026-11-30","models":{"m":{"cacheWrite1h":"6","input":"3","tiers":[{"input":"6","over":"200000"},{"input":"7","over":"1000000"}]}}}`, ""},
		{"service tiers", `{"m":{"input_cost_per_token":2e-06,"output_cost_per_token":8e-06,"input_cost_per_token_flex":1e-06,"output_cost_per_token_flex":4e-06,"input_cost_per_token_batches":1e-06,"input_cost_per_token_priority":4e-06,"output_cost_per_token_priority":1e-05}}`, "*",
			`{"date":"2026-11-30","models":{"m":{"input":"2","output":"8","serviceTiers":{"batch":"0.5","flex":"0.5"}}}}`, "m: service tier priority is left out: its prices are different multiples of the others\n"},
		{"units", `{"d":{"input_cost_per_image":0.04,"mode":"image_generation"},"v":{"input_cost_per_image":0.001,"input_cost_per_token":1e-06,"mode":"chat"},"w":{"input_cost_per_second":0.0001}}`, "*",
			`{"date":"2026-11-30","models":{"d":{"image":"0.04"},"v":{"input":"1"},"w":{"second":"0.0001"}}}`, ""},
		{"some models", `{"a":{"input_cost_per_token":1e-06},"b":{"input_cost_per_token":1e-06}}`, "a*", `{"date":"2026-11-30","models":{"a":{"input":"1"}}}`, ""},
		{"genai-prices", `[{"id":"openai","models":[{"id":"gpt-4o","match":{"or":[{"equals":"gpt-4o"},{"starts_with":"gpt-4o-2024"}]},"prices":{"input_mtok":2.5,"output_mtok":10,"cache_read_mtok":1.25,"requests_kcount":3}}]},
			{"id":"groq","models":[{"id":"x","match":{"contains":"x"},"prices":{"input_mtok":{"base":1.25,"tiers":[{"start":200000,"price":2.5}]}}}]}]`, "*",
			`{"date":"2026-11-30","models":{"gpt-4o":{"cacheRead":"1.25","input":"2.5","output":"10"},"gpt-4o-2024*":{"cacheRead":"1.25","input":"2.5","output":"10"},"groq/x":{"input":"1.25","tiers":[{"input":"2.5","over":"200000"}]}}}`, ""},
		{"dated prices", `[{"id":"openai","models":[{"id":"m","match":{},"prices":[{"prices":{"input_mtok":3}},{"constraint":{"start_date":"2026-01-01"},"prices":{"input_mtok":2}},{"constraint":{"start_date":"2027-01-01"},"prices":{"input_mtok":1}}]}]}]`, "*",
			`{"date":"2026-11-30","models":{"m":{"input":"2"}}}`, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "list.json")
			if err := os.WriteFile(file, []byte(test.list), 0o600); err != nil {
				t.Fatal(err)
			}
			var out, notes bytes.Buffer
			if err := run([]string{file}, "2026-11-30", "", test.models, &out, &notes); err != nil {
				t.Fatal(err)
			}
			if got := strings.NewReplacer("\n", "", " ", "").Replace(out.String()); got != test.want || notes.String() != test.wantNotes {
				t.Errorf("got %s and notes %q, want %s and %q", got, notes.String(), test.want, test.wantNotes)
			}
		})
	}
}

func TestOtherListsAreRefused(t *testing.T) {
	for _, text := range []string{"", "text", `{"m": 1}`, `[1]`, `[{"id":"openai","models":[{"id":"m","prices":{"input_mtok":"free"}}]}]`} {
		if _, err := convert([]byte(text), "2026-11-30", &bytes.Buffer{}); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}
