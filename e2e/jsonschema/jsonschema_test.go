package jsonschema

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// generate returns the schema of a Config with some fields.
func generate(t *testing.T, fields string) ([]byte, error) {
	t.Helper()
	folder := t.TempDir()
	source := `package chatcompletion

// Config is the configuration.
type Config struct {
` + fields + `
	// Unknown collects the other keys.
	Unknown map[string]any ` + "`mapstructure:\",remain\"`" + `
}

// Inner is a part of it, which accepts any key.
type Inner struct {
	// Name is a name. It belongs to Config.Part, not to Kubernetes Secrets or the X-Name header.
	Name string
}

type preset struct{ name, host string }

var presets = []preset{{"one", "example.com"}, {name: "two"}}
`
	if err := os.WriteFile(filepath.Join(folder, "config.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	return Generate(folder)
}

func TestTypesAndCommentsBecomeSchemas(t *testing.T) {
	tests := []struct{ name, field, want string }{
		{"text", "// Key is text. Default: X-Key.\nKey string", `{"type":["string","integer","null"],"default":"X-Key"}`},
		{"a default that is another field", "// Key is text. Default: Key.\nKey string", `{"type":["string","integer","null"]}`},
		{"a pointer", "// Key is text. Default: that of the other, else x.\nKey *string", `{"type":["string","integer","null"]}`},
		{"an absolute path", "// Key is the absolute path of a file.\nKey string", `{"type":["string","null"],"pattern":"` + pathPattern + `"}`},
		{"a duration", "// Key is a time. Default: 1m. Refused: less than 1s, more than 24h.\nKey string", `{"type":["string","null"],"pattern":"` + durationPattern + `","default":"1m"}`},
		{"a duration or a day", "// Key is a time: 1d or a duration. Refused: less than 1s.\nKey string", `{"type":["string","null"],"pattern":"` + durationPattern + `|^\s*(1d)\s*$"}`},
		{"a duration or seconds", "// Key is a time. A number without a unit is one of seconds. Refused: less than 1s.\nKey string", `{"type":["string","integer","null"],"pattern":"` + durationPattern + `|` + secondsPattern + `","minimum":1}`},
		{"a required value", "// Key is a or b. Refused: none, other values.\nKey string", `{"type":["string"],"anyOf":[{"enum":["a","b"]},{"pattern":"` + templatePattern + `"}]}`},
		{"a required number", "// Key is much. Refused: none, less than 1.\nKey any", `{"type":["integer","string"],"pattern":"` + countPattern + `","minimum":1}`},
		{"the length of a text", "// Key is text. Refused: more than 256 bytes.\nKey string", `{"type":["string","integer","null"]}`},
		{"two values", "// Key is a or b. Default: a. Refused: other values.\nKey string", `{"type":["string","null"],"default":"a","anyOf":[{"enum":["a","b"]},{"pattern":"` + noValuePattern + `"}]}`},
		{"three values, none among them", "// Key is a, b or none.\n// Default: none. Refused: other values, and x.\nKey string", `{"type":["string","null"],"default":"none","anyOf":[{"enum":["a","b","none"]},{"pattern":"` + noValuePattern + `"}]}`},
		{"values after a colon", "// Key is what counts: a, b, or c, the rest. Refused: other values.\nKey string", `{"type":["string","null"],"anyOf":[{"enum":["a","b","c"]},{"pattern":"` + noValuePattern + `"}]}`},
		{"values in lines of code", "// Key is what happens:\n//\n//\ta    one\n//\tb    two\n//\t     lines\n//\tc    three\n//\n// Refused: other values.\nKey string", `{"type":["string","null"],"anyOf":[{"enum":["a","b","c"]},{"pattern":"` + noValuePattern + `"}]}`},
		{"one value", "// Key does it. Its one value, a, is all. Default: none. Refused: other values.\nKey string", `{"type":["string","null"],"anyOf":[{"enum":["a"]},{"pattern":"` + noValuePattern + `"}]}`},
		{"a provider", "// Key is a provider. Refused: other names.\nKey string", `{"type":["string","null"],"anyOf":[{"enum":["one","two"]},{"pattern":"` + noValuePattern + `"}]}`},
		{"a boolean", "// Key selects it. Default: false, as elsewhere.\nKey any", `{"type":["boolean","string","null"],"pattern":"` + booleanPattern + `","default":false}`},
		{"a boolean with a condition", "// Key selects it. Default: true if the other is empty, else false.\nKey any", `{"type":["boolean","string","null"],"pattern":"` + booleanPattern + `"}`},
		{"a number", "// Key is much. Default: 0.5. Refused: less than -2, more than 2.\nKey any", `{"type":["number","string","null"],"pattern":"` + numberPattern + `","minimum":-2,"maximum":2,"default":0.5}`},
		{"a count", "// Key is many. Default: 10485760 (10 MiB). Refused: less than 1.\nKey any", `{"type":["integer","string","null"],"pattern":"` + countPattern + `","minimum":1,"default":10485760}`},
		{"an integer", "// Key is an integer number of things. Refused: less than 0.\nKey any", `{"type":["integer","string","null"],"pattern":"` + integerPattern + `","minimum":0}`},
		{"a number of things", "// Key is the number of things. Default: 0. Refused: less than 0.\nKey any", `{"type":["integer","string","null"],"pattern":"` + integerPattern + `","minimum":0,"default":0}`},
		{"a decimal number", "// Key is a decimal number of dollars. Refused: more than 9000000.\nKey any", `{"type":["string","number","null"],"pattern":"` + decimalPattern + `","maximum":9000000}`},
		{"like another field", "// Other is much. Refused: less than 0, more than 2.\nOther any\n// Key is like Config.Other.\nKey any", `{"type":["number","string","null"],"pattern":"` + numberPattern + `","minimum":0,"maximum":2}`},
		{"a list of text", "// Key is a list.\nKey []string", `{"type":["array","string","integer","null"],"items":{"type":["string","integer"]}}`},
		{"a list of structs", "// Key is a list.\nKey []Inner", `{"type":["array","null"],"items":{"$ref":"#/$defs/Inner"}}`},
		{"a struct", "// Key is a part.\nKey Inner", `{"$ref":"#/$defs/Inner"}`},
		{"a map of text", "// Key is a map.\nKey map[string]string", `{"type":["object","null"],"additionalProperties":{"type":["string","integer"]}}`},
		{"a map of structs", "// Key is a map.\nKey map[string]Inner", `{"type":["object","null"],"additionalProperties":{"$ref":"#/$defs/Inner"}}`},
		{"a map of lists", "// Key is a map.\nKey map[string][]string", `{"type":["object","null"],"additionalProperties":{"type":["array","string","integer","null"],"items":{"type":["string","integer"]}}}`},
		{"a map of kinds", "// Key maps to kinds:\n//\n//\tone      the first\n//\ttwo: b   the second\n//\n// Refused: other kinds.\nKey map[string]string", `{"type":["object","null"],"additionalProperties":{"type":["string"],"anyOf":[{"enum":["one","two: b"]},{"pattern":"` + noValuePattern + `"}]}}`},
		{"anything by name", "// Key is a map.\nKey map[string]any", `{"type":["object","null"]}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			schema, err := generate(t, test.field)
			if err != nil {
				t.Fatal(err)
			}
			got := decode(t, schema)["$defs"].(map[string]any)["Config"].(map[string]any)["properties"].(map[string]any)["key"].(map[string]any)
			delete(got, "description")
			if got, want := encode(t, got), encode(t, decode(t, []byte(strings.ReplaceAll(test.want, `\`, `\\`)))); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestBoundsOfAStructApplyToItsFields(t *testing.T) {
	folder := t.TempDir()
	source := "package p\n// Config has prices.\n// Refused in each: numbers below 0, above 9.\ntype Config struct {\n// Input is a price.\nInput any\n}\nvar presets = []preset{{\"one\"}}\n"
	if err := os.WriteFile(filepath.Join(folder, "config.go"), []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	schema, err := Generate(folder)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(schema), `"minimum": 0,`) || !strings.Contains(string(schema), `"maximum": 9`) {
		t.Errorf("got %s, want the bounds 0 and 9", schema)
	}
}

func TestStructsWithRequiredFieldsRequireThem(t *testing.T) {
	schema, err := generate(t, "// Key is text. Refused: none, and control characters.\nKey string")
	if err != nil {
		t.Fatal(err)
	}
	config := decode(t, schema)["$defs"].(map[string]any)["Config"].(map[string]any)
	if encode(t, config["required"]) != `["key"]` || encode(t, config["type"]) != `["object"]` {
		t.Errorf("got %s, want key to be required of an object", encode(t, config))
	}
}

func TestFieldsWithoutATypeAreRefused(t *testing.T) {
	for field, want := range map[string]string{
		"// Key is something.\nKey any":                                   "Config.Key: the comment says no type",
		"// Key selects what happens. Refused: other values.\nKey string": "Config.Key: the comment lists no values",
		"// Key is a number.\nKey int":                                    "declares no struct int",
	} {
		if _, err := generate(t, field); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", field, err, want)
		}
	}
}

func TestDescriptionsNameKeys(t *testing.T) {
	schema, err := generate(t, "// Part is one. Name a file.\nPart Inner\n// CAFile, if TLS is on, needs Part.Name.\nCAFile string")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"part is one. Name a file.",
		"caFile, if TLS is on, needs part.name.",
		"name is a name. It belongs to part, not to Kubernetes Secrets or the X-Name header.",
	} {
		if !strings.Contains(string(schema), `"description": "`+want) {
			t.Errorf("got %s, want %q in it", schema, want)
		}
	}
	if got := strings.Count(string(schema), `"additionalProperties": false`); got != 1 {
		t.Errorf("%d structs refuse unknown keys, want only Config, which collects them", got)
	}
}

func decode(t *testing.T, text []byte) map[string]any {
	t.Helper()
	var members map[string]any
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return members
}

func encode(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
