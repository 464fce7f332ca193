package chatcompletion

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// FuzzNamedModels puts any value into tools and fallbacks: what is forwarded names no model that is not allowed, however a tolerant parser reads it.
func FuzzNamedModels(f *testing.F) {
	for _, tools := range []string{
		`[]`, `[{"type":"advisor","model":"gpt-5"}]`, `[{"type":"advisor","mod\u0065l":"gpt-5"}]`, `[{"model":"gpt-4o","model":"gpt-5","name":"n"}]`, `[{"name":"n","Model":"gpt-5"}]`, `[{"name":"n"},{"name":"m","model":null}]`,
		`[{"name":"n","input_schema":{"model":"gpt-5"}}]`, `[{"name":"n","\u006d\u006f\u0064\u0065\u006c":"gpt-5"}]`, `[{"name":"n","model":"` + strings.Repeat("x", 100) + `"}]`, "[{\"name\":\"n\",\"mod\x7fel\":\"gpt-5\"}]", `[{"name":"n","model\u0000":"gpt-5"}]`,
		`[{"name":"n", "m\u006fdel" : "gpt-5"}],"fallbacks":[{"model":"gpt-5"}]`, `[],"tools":[{"name":"n","model":"gpt-5"}]`, `[{"name":"n","model":["gpt-5"]}]`, `[{"name":"n","model":"\u0067pt-5"}]`, `[{"name":"n","model":"gpt-4o\u0000"}]`,
	} {
		f.Add(tools, true)
		f.Add(tools, false)
	}
	configs := map[bool]*Config{}
	for _, override := range []bool{true, false} {
		config := CreateConfig()
		config.Model, config.AllowModelOverride = "gpt-4o", override
		if override {
			config.AllowedModels = []string{"gpt-4o"}
		}
		config.Routes = map[string]string{"/v1/messages": "messages"}
		configs[override] = config
	}
	observers := map[bool]*observer{true: newObserver(f, configs[true], true), false: newObserver(f, configs[false], true)}
	f.Fuzz(func(t *testing.T, tools string, override bool) {
		body := `{"model":"gpt-4o","max_tokens":1,"messages":[{"role":"user","content":"Hi"}],"tools":` + tools + `}`
		seen := observers[override].send("/v1/messages", body)
		_, sent, isForwarded := strings.Cut(seen.Forwarded, "\n")
		if isForwarded {
			checkNamedModels(t, sent)
		}
	})
}

// checkNamedModels checks every model that the elements of a forwarded body's tools name, also the second one of two.
func checkNamedModels(t *testing.T, body string) {
	t.Helper()
	gjson.Parse(body).ForEach(func(name, value gjson.Result) bool {
		switch foldForTest(name.String()) {
		case "fallbacks":
			t.Errorf("forwarded %q, want no fallbacks", body)
		case "tools":
			value.ForEach(func(_, tool gjson.Result) bool {
				tool.ForEach(func(name, model gjson.Result) bool {
					if foldForTest(name.String()) == "model" && model.Type != gjson.Null && model.Raw != `""` && model.Str != "gpt-4o" {
						t.Errorf("forwarded a tool with the model %s: %q", model.Raw, body)
					}
					return tool.IsObject()
				})
				return true
			})
		}
		return true
	})
}

// TestToolsThatNameModelsAreNotRemembered sends the same large tools where requests enforce different models.
func TestToolsThatNameModelsAreNotRemembered(t *testing.T) {
	config := CreateConfig()
	config.Model = "$(headers.x-model)"
	config.Routes = map[string]string{"/v1/messages": "messages"}
	o := newObserver(t, config, true)
	tools := strings.TrimSuffix(anthropicTools(40), "]") + `,{"type":"advisor_20260301","name":"advisor","model":"gpt-4o-mini"}]`
	body := `{"max_tokens":1,"messages":[{"role":"user","content":"Hi"}],"tools":` + tools + `}`
	for _, test := range []struct {
		model string
		want  int
	}{{"gpt-4o-mini", http.StatusOK}, {"gpt-5", http.StatusNotFound}, {"gpt-4o-mini", http.StatusOK}} {
		req := httptest.NewRequest(http.MethodPost, "/v1/messages", strings.NewReader(body))
		req.Header.Set("X-Model", test.model)
		rw := httptest.NewRecorder()
		o.handler.ServeHTTP(rw, req)
		if rw.Code != test.want {
			t.Errorf("with the model %s enforced: status %d, want %d: %s", test.model, rw.Code, test.want, rw.Body)
		}
	}
}
