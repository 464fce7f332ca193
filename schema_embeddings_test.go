package chatcompletion

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// valueTest is a value of a parameter, and its expected error: code and param; "": the value is valid.
type valueTest struct{ parameter, value, refused string }

// checkValues checks values against a schema.
func checkValues(t *testing.T, schema []*parameter, tests []valueTest) {
	t.Helper()
	set := newParameterSet(schema)
	for _, test := range tests {
		id, known := set.ids[test.parameter]
		if !known {
			t.Errorf("unknown parameter %q", test.parameter)
			continue
		}
		got := ""
		if apiErr := checkParameter(set.list[id], test.parameter, []byte(test.value)); apiErr != nil {
			got = apiErr.code + " " + apiErr.param
		}
		if got != test.refused {
			t.Errorf("%s: %.200s: error %q, want %q", test.parameter, test.value, got, test.refused)
		}
	}
}

// list returns an array of several equal elements.
func list(element string, times int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(element+",", times), ",") + "]"
}

func TestEmbeddingsSchema(t *testing.T) {
	const wrong, empty, long = "invalid_type input", "empty_array input", "array_above_max_length input"
	checkValues(t, embeddingsParameters(), []valueTest{
		{"input", `"a"`, ""},
		{"input", `""`, ""},
		{"input", "\"\x7f\"", ""},
		{"input", `["a"]`, ""},
		{"input", `["a", "b,[", "\"", "\\", "]", ""]`, ""},
		{"input", `[1]`, ""},
		{"input", "[ 1 ,\t2\r\n, -3 ]", ""},
		{"input", `[[1]]`, ""},
		{"input", "[ [1, 2] , [3]\n, [4,5,6] ]", ""},
		{"input", list(`"a"`, inputsMax), ""},
		{"input", list(`"\""`, inputsMax), ""},
		{"input", list("[1,2]", inputsMax), ""},
		{"input", list("12345", 8192), ""},
		{"input", list(list("12345", 8192), 40), ""},
		{"input", list(`"a"`, inputsMax+1), long},
		{"input", list("[1,2]", inputsMax+1), long},
		{"input", list(`""`, 1<<20), long},
		{"input", `[]`, empty},
		{"input", `[ ]`, empty},
		{"input", `[[]]`, empty},
		{"input", `[[1],[ ]]`, empty},
		{"input", `1`, wrong},
		{"input", `true`, wrong},
		{"input", `{}`, wrong},
		{"input", `[null]`, wrong},
		{"input", `["a",null]`, wrong},
		{"input", `["a",1]`, wrong},
		{"input", `["a",["b"]]`, wrong},
		{"input", `[["a"]]`, wrong},
		{"input", `[{}]`, wrong},
		{"input", `[{"text":"a"}]`, wrong},
		{"input", `["a",{"text":"a"}]`, wrong},
		{"input", `[1.5]`, wrong},
		{"input", `[1e3]`, wrong},
		{"input", `[true]`, wrong},
		{"input", `[1,[2]]`, wrong},
		{"input", `[[1],2]`, wrong},
		{"input", `[[1],2,[3]]`, wrong},
		{"input", `[[1],2,[3],[4]]`, wrong},
		{"input", `[1,[2],[3]]`, wrong},
		{"input", `[[[1]]]`, wrong},
		{"input", `[[1,[2]]]`, wrong},
		{"input", `[[[1],[2]]]`, wrong},
		{"input", `[[1],[[2]]]`, wrong},
		{"input", `[[1],[2,[3],[4]]]`, wrong},
		{"model", `1`, "invalid_type model"},
		{"dimensions", `1`, ""},
		{"dimensions", `256`, ""},
		{"dimensions", `0`, "integer_below_min_value dimensions"},
		{"dimensions", `1.5`, "invalid_type dimensions"},
		{"dimensions", `"256"`, "invalid_type dimensions"},
		{"encoding_format", `"float"`, ""},
		{"encoding_format", `"base64"`, ""},
		{"encoding_format", `"hex"`, "invalid_value encoding_format"},
		{"user", `"u"`, ""},
		{"user", `1`, "invalid_type user"},
	})
}

// FuzzEmbeddingsInput checks arbitrary JSON as the input of embeddings, and compares the result with encoding/json.
func FuzzEmbeddingsInput(f *testing.F) {
	for _, value := range []string{
		`"a"`, `["a","b"]`, `[" \"","]\\",","]`, `["a",null,1]`, `[1,-2]`, `[ [1] , [2,3] ]`, `[[1],2]`, `[[[1]]]`, `[[]]`, `[ ]`, `[1.5,1e2]`, `[{"a":"b"}]`,
	} {
		f.Add([]byte(value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if len(value) == 0 {
			return // a value has at least one byte
		}
		apiErr := checkInput("input", value)
		if !json.Valid(value) || bytes.TrimLeft(value, " \t\r\n")[0] != value[0] {
			return // values from a request are JSON without leading white space
		}
		if passes, want := apiErr == nil, isInput(value); passes != want {
			t.Errorf("%q is valid: %t, want %t", value, passes, want)
		}
	})
}

// isInput reports by its decoded Go types whether a value is a valid input of embeddings.
func isInput(value []byte) bool {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber()
	var input any
	if decoder.Decode(&input) != nil {
		return false
	}
	if _, isText := input.(string); isText {
		return true
	}
	elements, isArray := input.([]any)
	if !isArray || len(elements) == 0 {
		return false
	}
	kinds := map[string]bool{}
	for _, element := range elements {
		kinds[kindOfInput(element)] = true
	}
	single := len(kinds) == 1 && !kinds["none"]
	return single && (kinds["token"] || len(elements) <= inputsMax)
}

func kindOfInput(element any) string {
	switch value := element.(type) {
	case string:
		return "text"
	case json.Number:
		if !strings.ContainsAny(value.String(), ".eE") {
			return "token"
		}
	case []any:
		for _, inner := range value {
			if kindOfInput(inner) != "token" {
				return "none"
			}
		}
		if len(value) > 0 {
			return "tokens"
		}
	}
	return "none"
}

func BenchmarkEmbeddingsTokenInput(b *testing.B) {
	value := []byte(list(list("12345", 300), 1000))
	b.SetBytes(int64(len(value)))
	b.ReportAllocs()
	for i := 0; i < b.N; i++ {
		if checkInput("input", value) != nil {
			b.Fatal("input is refused, want it valid")
		}
	}
}
