package chatcompletion_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion"
)

// secretMark is part of every token in this test, and of nothing else.
const secretMark = "sk-SECRET-"

// FuzzConfiguration decodes configurations and creates middlewares from them: New and the middleware never panic, and no
// error contains the token.
func FuzzConfiguration(f *testing.F) {
	for _, config := range []string{
		`{}`, `null`, `{"model":"gpt-4o"}`, `{"model":" ","allowModelOverride":"?"}`, `{"params":{"temperature":"x","extra":{"seed":[],"a b":1,"Model":{},"model":0}}}`,
		`{"params":{"maxTokens":1,"maxCompletionTokens":2},"limits":{"maxTokens":1,"n":0},"dropParams":["max_tokens","model","","é"]}`,
		`{"modelAliases":{"":"","a":"a","b":"a"},"allowedModels":["*","(","[a-","\\"]}`, `{"modelHeader":"","authHeader":{"name":"","prefix":"\n"}}`,
		`{"authHeader":{"name":"Host","prefix":null}}`, `{"maxRequestBodySize":-1e308,"mode":"REPORT"}`, `{"maxRequestBodySize":null}`, `{"tokn":1,"PARAMS":{"x":{}},"limits":{"":1}}`,
		`{"provider":"mistrall","path":"/$(headers.a)/$(uri_captures.b)","modelPattern":"(?<b>.)","routes":{"/v1/embeddings":"embeddings","*":"passthrough:governed","a/":"models"}}`,
		`{"host":"a..b","port":"0","tls":{"enabled":"x","serverName":"/","caFile":"x"},"timeouts":{"connect":"","firstByte":"1"},"fallbacks":[{},{"provider":"azure"},{"provider":"groq","tls":{"x":1},"y":1}]}`,
		`{"host":"[::1]","port":1,"tls":{"enabled":false},"fallbacks":[{"host":"a","model":"$(headers.x","path":"/$(","authHeader":{"name":"","prefix":"Key"}}],"params":{"maxTokens":5,"extra":{"dimensions":1}}}`,
		`{"consumers":{"list":[{"name":"a"},{"name":"","expires":"x","previousKey":{"until":"y"}}],"header":"Host","required":"x","groups":{"":{},"g":{"model":"$(","limits":{"n":0}}}}}`,
		`{"params":{"extra":{"response_format":"{\"type\":1}","stop":[1],"metadata":{"a":null},"logit_bias":"{}","tools":null,"n":"1e1"}},"limits":{"n":3}}`,
	} {
		f.Add(config, "a", uint8(0))
		f.Add(config, "a\nb", uint8(1))
		f.Add(config, "", uint8(4))
	}
	provider := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	f.Fuzz(func(t *testing.T, text, token string, form uint8) {
		var members map[string]any
		if json.Unmarshal([]byte(text), &members) != nil || strings.Contains(text, secretMark) {
			return
		}
		config, err := decodeConfig(members)
		if err != nil {
			return
		}
		forms := []string{"", " ", "urn:", "urn:foo:", "urn:k8s:secret:", "urn:file:"}
		config.Token = forms[int(form)%len(forms)] + secretMark + token
		for i := range config.Fallbacks {
			config.Fallbacks[i].Token = config.Token
		}
		for i := range config.Consumers.List {
			config.Consumers.List[i].Key = config.Token
		}
		handler, err := chatcompletion.New(context.Background(), provider, config, "fuzz")
		if err != nil {
			if strings.Contains(err.Error(), secretMark) {
				t.Errorf("New repeats the token: %v", err)
			}
			return
		}
		if strings.ContainsAny(strings.TrimSpace(token), "\r\n\x00") {
			t.Errorf("New accepts the token %q, want an error", token)
		}
		if config.Host != "" {
			return // the middleware would connect to it
		}
		for _, body := range []string{
			``, `{}`, `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`,
			`{"temperature":1,"max_tokens":9,"max_completion_tokens":null,"n":5,"seed":1,"messages":[{"role":"user","content":"Hi"}],"x":1}`,
		} {
			rw := httptest.NewRecorder()
			handler.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
			if strings.Contains(rw.Body.String(), secretMark) {
				t.Errorf("response repeats the token: %s", rw.Body)
			}
		}
	})
}
