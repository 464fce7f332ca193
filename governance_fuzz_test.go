package chatcompletion

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// FuzzAcceptedBodyIsGoverned sends bodies through a middleware and reads the forwarded bodies with
// parsers that disagree about duplicates and spellings: none of them may find a value that the
// policy does not allow.
func FuzzAcceptedBodyIsGoverned(f *testing.F) {
	const messages = `"messages":[{"role":"user","content":"Hi"}]`
	for i, members := range []string{
		``, `"model":"gpt-5"`, `"model":null,"temperature":null`, `"Model":"gpt-5"`, `"mod\u0065l":"gpt-5","temperature":2`, `"model":"a","model":"b"`,
		`"max_tokens":500`, `"max_completion_tokens":500`, `"max_tokens":5,"max_completion_tokens":500`, `"max_tokens":null,"max_completion_tokens":5`,
		`"max_tokens":5,"max_completion_tokens":null`, `"maxTokens":500`, `"max_to\u212aens":500`, `"max_tokens\u0000":500`, `"max_tokens":1e2`, `"max_tokens":1E+2000`,
		`"seed":1,"top_k":2`, `"seed":1,"temperature":1,"top_k":2,"model":"x"`, `"\u0074emperature":1,"TEMPERATURE":2`, `"tempera_ture":1`, `"ſeed":1`,
		`"\u0074\u0065\u006d\u0070\u0065\u0072\u0061\u0074\u0075\u0072\u0065":2,"stream":true`,
		`"\u006d\u0061\u0078\u005f\u0063\u006f\u006d\u0070\u006c\u0065\u0074\u0069\u006f\u006e\u005f\u0074\u006f\u006b\u0065\u006e\u0073":5000`,
		`"model____________________________________________________________________":"gpt-5"`, `"…":"gpt-5"`, `"model\ud800":"gpt-5"`, "\"model\xff\":\"gpt-5\"",
		"\"model\x7f\":\"\x7f\",\"seed\":1", "\"x\":\"\x7f\",\"mod\\u0065l\":\"gpt-5\",\"max_tokens\":500", "\"\x7f\":{\"\x7f\":\"\x7f\"},\"max_tokens\":5,\"top_k\":2",
		`"max_tokens":-1`, `"max_completion_tokens":-1e0`, `"max_tokens":0`, `"max_tokens":-1,"max_completion_tokens":-2`, `"max_tokens":-0.0,"max_completion_tokens":null`,
	} {
		body := `{` + messages + `,` + members + `}`
		if members == `` {
			body = `{` + messages + `}`
		} else if i%2 == 0 {
			body = `{` + members + ` , ` + messages + `}`
		}
		f.Add([]byte(body), uint8(i))
	}

	var forwarded []byte
	provider := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		forwarded, _ = io.ReadAll(req.Body)
	})
	var handlers []http.Handler
	for _, preset := range []string{"", "openai-compatible", "ollama"} {
		config := governedConfig()
		config.Provider = preset
		handler, err := New(context.Background(), provider, config, "fuzz")
		if err != nil {
			f.Fatal(err)
		}
		handlers = append(handlers, handler)
	}
	f.Fuzz(func(t *testing.T, body []byte, padding uint8) {
		for _, sent := range [][]byte{body, pad(body, padding)} {
			for _, handler := range handlers {
				forwarded = nil
				req := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(sent))
				rw := httptest.NewRecorder()
				handler.ServeHTTP(rw, req)
				switch {
				case forwarded != nil:
					checkGoverned(t, forwarded)
				case !gjson.GetBytes(rw.Body.Bytes(), "error.message").Exists() || !json.Valid(rw.Body.Bytes()):
					t.Errorf("refused with %q", rw.Body)
				}
			}
		}
	})
}

// governedConfig is the configuration whose effect checkGoverned checks.
func governedConfig() *Config {
	config := CreateConfig()
	config.Model = "gpt-4o"
	config.Params.Temperature = 0.5
	config.Limits.MaxTokens = 100
	config.DropParams = []string{"seed", "top_k"}
	return config
}

// governedValues reports for each folded name whether a value is allowed.
var governedValues = map[string]func(gjson.Result) bool{
	"model":               func(v gjson.Result) bool { return v.Raw == `"gpt-4o"` || v.Type == gjson.String && v.Str == "gpt-4o" },
	"temperature":         func(v gjson.Result) bool { return v.Raw == "0.5" },
	"maxtokens":           isTokenLimitUpTo100,
	"maxcompletiontokens": isTokenLimitUpTo100,
	"seed":                func(gjson.Result) bool { return false },
	"topk":                func(gjson.Result) bool { return false },
}

func isTokenLimitUpTo100(v gjson.Result) bool {
	return v.Type == gjson.Number && v.Num >= 1 && v.Num <= 100
}

// foldForTest folds names by strings.EqualFold, independently of fold.
func foldForTest(name string) string {
	name, _, _ = strings.Cut(strings.ReplaceAll(name, "_", ""), "\x00")
	for folded := range governedValues {
		if strings.EqualFold(folded, name) {
			return folded
		}
	}
	return name
}

func checkGoverned(t *testing.T, body []byte) {
	t.Helper()
	times := map[string]int{}
	gjson.ParseBytes(body).ForEach(func(name, value gjson.Result) bool { // like a tolerant parser: every occurrence
		folded := foldForTest(name.String())
		if allowed := governedValues[folded]; allowed != nil {
			times[folded]++
			if !allowed(value) {
				t.Errorf("forwarded %s: %s, want an allowed value\n%.600q", name.Raw, value.Raw, body)
			}
		}
		return true
	})
	if times["model"] != 1 || times["temperature"] != 1 || times["maxtokens"]+times["maxcompletiontokens"] != 1 {
		t.Errorf("forwarded governed members by count %v, want each once\n%.600q", times, body)
	}
	if !json.Valid(body) {
		return // invalid inside a long string: a strict provider refuses it
	}

	exact := decodeObject(t, body)
	if exact["model"] != "gpt-4o" || exact["temperature"] != json.Number("0.5") || exact["seed"] != nil || exact["top_k"] != nil {
		t.Errorf("exact parser: model %v, temperature %v, seed %v, top_k %v", exact["model"], exact["temperature"], exact["seed"], exact["top_k"])
	}
	var caseInsensitive struct {
		Model               string   `json:"model"`
		Temperature         *float64 `json:"temperature"`
		MaxTokens           float64  `json:"max_tokens"`
		MaxCompletionTokens float64  `json:"max_completion_tokens"`
		Seed                any      `json:"seed"`
		TopK                any      `json:"top_k"`
	}
	if err := json.Unmarshal(body, &caseInsensitive); err != nil {
		t.Fatalf("%v\n%.600q", err, body)
	}
	if limit := caseInsensitive.MaxTokens + caseInsensitive.MaxCompletionTokens; caseInsensitive.Model != "gpt-4o" || caseInsensitive.Temperature == nil ||
		*caseInsensitive.Temperature != 0.5 || limit < 1 || limit > 100 || caseInsensitive.Seed != nil || caseInsensitive.TopK != nil {
		t.Errorf("case-insensitive parser: %+v\n%.600q", caseInsensitive, body)
	}
	checkMessagesSent(t, exact)
}

// checkMessagesSent checks that a forwarded body has messages, and that each is an object.
func checkMessagesSent(t *testing.T, members map[string]any) {
	t.Helper()
	messages, _ := members["messages"].([]any)
	if len(messages) == 0 {
		t.Errorf("forwarded messages %v, want some", members["messages"])
	}
	for _, m := range messages {
		if _, isObject := m.(map[string]any); !isObject {
			t.Errorf("forwarded message %v, want an object", m)
		}
	}
}
