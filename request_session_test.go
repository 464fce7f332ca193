package chatcompletion

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// referenceModels returns the models that a message names, token by token, in their order.
func referenceModels(message []byte) []string {
	var named []string
	decoder := json.NewDecoder(bytes.NewReader(message))
	var levels []bool // of each open value: it is an object
	name, isName := "", false
	for {
		token, err := decoder.Token()
		if err != nil {
			return named
		}
		inObject := len(levels) > 0 && levels[len(levels)-1]
		if delimiter, is := token.(json.Delim); is {
			if delimiter == '{' || delimiter == '[' {
				levels = append(levels, delimiter == '{')
				isName = delimiter == '{'
			} else {
				levels = levels[:len(levels)-1]
				isName = len(levels) > 0 && levels[len(levels)-1]
			}
			continue
		}
		text, isText := token.(string)
		switch {
		case inObject && isName:
			name, isName = text, false
			continue
		case inObject && isText && strings.EqualFold(name, "model"):
			named = append(named, text)
		}
		isName = inObject
	}
}

func FuzzSessionModels(f *testing.F) {
	for _, message := range []string{
		`{"type":"session.update","session":{"model":"gpt-5"}}`, `{"model" : "a\"b\\", "x":["model",":","model"],"Model":"c"}`,
		`{"a":"\\","model":"b"}`, `{"a":"\\\"model\":\"c\"","model":null}`, `{"m\u006fdel":"a"}`, `["a",":"],"model":"b"`, `{"a":"model","b":":\"model\":"}`,
		`{"model":{"model":["x"]},"model":"y"}`, `{"text":"C:\\u0041"}`,
	} {
		f.Add([]byte(message))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		named, compact, isReadable := sessionModels(message)
		if !json.Valid(message) || !isReadable {
			return
		}
		var got []string
		for _, m := range named {
			got = append(got, m.name)
		}
		want := referenceModels(message)
		if len(want) <= maxSessionModels && fmt.Sprintf("%q", got) != fmt.Sprintf("%q", want) {
			t.Errorf("%q: models %q, want %q", message, got, want)
		}
		if len(want) > 0 && !mentionsModel(message) {
			t.Errorf("%q names %q, which is not mentioned", message, want)
		}
		if len(want) == 0 {
			return
		}
		renamed := renameModels(compact, named, want[0], "new \"name\"")
		if now := referenceModels(renamed); !json.Valid(renamed) || len(now) != len(want) || now[0] != "new \"name\"" {
			t.Errorf("%q is renamed to %q", message, renamed)
		}
	})
}
