package chatcompletion

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/tidwall/gjson"
)

// FuzzModelList filters arbitrary model lists of a provider: the result is JSON that contains exactly the allowed models, each
// byte for byte as the provider wrote it.
func FuzzModelList(f *testing.F) {
	for _, list := range []string{
		`{"object":"list","data":[{"id":"gpt-4o"},{"id":"o9","object":"model"}]}`, `[{"id":"gpt-4o"},{"id":"llama"}]`, ` {"data":[]} `, `{"data":null}`, `{}`, `[]`, `null`, `{"data":{}}`,
		`{"data":[1,"gpt-4o",null,{},[],{"id":1},{"id":""},{"id":null},{"id":"gpt-5","created":"soon","owned_by":7}]}`, `{"data":[{"id":"gpt-4o"}],"data":[{"id":"o9"}]}`,
		`{"data":[{"id":"\u0067pt-4o"},{"ID":"gpt-4o"},{"id":"gpt-\ud800"},{"id":"gpt-4o","x":{"id":"o9"}}]}`, `{"data":[{"id":"gpt-4o"}`, "\xef\xbb\xbf[]", `{"DATA":[{"id":"gpt-4o"}]}`,
		`{"data":[ {"id" : "gpt-4o" } , {"id":"fast"} ],"models":[{"id":"o9"}]}`,
	} {
		f.Add([]byte(list))
	}
	config := CreateConfig()
	config.AllowedModels = []string{"gpt-*"}
	config.ModelAliases = map[string]string{"fast": "gpt-4o-mini"}
	config.Routes = map[string]string{"/v1/models": "models"}
	p, err := newPolicy(config, "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		all := gjson.GetBytes(body, "data")
		if gjson.ParseBytes(body).IsArray() {
			all = gjson.ParseBytes(body)
		}
		isUnambiguous := json.Valid(body) && isUnambiguousList(body)
		held := &bufferedResponse{header: http.Header{}}
		_, _ = held.Write(body)
		list, apiErr := filteredModels(p, openAIProtocol, held, "")
		if apiErr != nil {
			if isUnambiguous && all.IsArray() && len(all.Array()) <= modelListMax {
				t.Errorf("filteredModels(%q): %s, want a model or a list", body, apiErr.message)
			}
			return
		}
		if !json.Valid(list) {
			t.Fatalf("filteredList(%q) = %q, want JSON", body, list)
		}
		listed := map[string]bool{}
		for _, one := range gjson.GetBytes(list, "data").Array() {
			id := one.Get("id")
			listed[id.String()] = true
			if !id.Exists() || !isUnambiguousModel(one) {
				continue
			}
			isAlias := id.String() == "fast" && one.Get("owned_by").String() == "openai"
			if !strings.HasPrefix(id.String(), "gpt-") && !isAlias {
				t.Errorf("model %q in the list, want only matches of gpt-*", id)
			}
			if !isAlias && !bytes.Contains(body, []byte(one.Raw)) {
				t.Errorf("model %q in the list, want one from %q", one.Raw, body)
			}
		}
		if !listed["fast"] {
			t.Errorf("list %q, want the alias in it", list)
		}
		for _, one := range all.Array() {
			id := one.Get("id")
			if isUnambiguous && isUnambiguousModel(one) && id.Type == gjson.String && strings.HasPrefix(id.String(), "gpt-") && isModelName(id.String()) && !listed[id.String()] {
				t.Errorf("model %q is missing, the provider lists %q", id, body)
			}
		}
	})
}

// FuzzModel picks one model out of what a provider responds with: the client gets an object, which is no list, or that model of the
// list as the provider wrote it.
func FuzzModel(f *testing.F) {
	for _, body := range []string{
		`{"id":"gpt-4o","object":"model"}`, `{"object":"list","data":[{"id":"o9"},{"id":"gpt-4o"}]}`, `[{"id":"gpt-4o"}]`, `{"object":"list","data":null}`, `{"name":"x"}`, `{"data":{"id":"x"}}`,
		`{"models":[{"id":"gpt-4o"}]}`, `{"id":"x","data":[{"id":"y"}]}`, `{"id":"x","data":[1,` + strings.Repeat("1,", modelListMax) + `1]}`, `{"id":7,"name":[]}`, `null`, `"gpt-4o"`, `{"id":"x"`, `{}`, ``,
		`{"id":"x","data":{},"data":[{"id":"y"}]}`, `{"DATA":[{"id":"models/gpt-4o"}]}`, ` [ {"id" : "gpt-4o" } ] `,
	} {
		f.Add([]byte(body))
	}
	p, err := newPolicy(CreateConfig(), "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		held := &bufferedResponse{header: http.Header{}}
		_, _ = held.Write(body)
		one, apiErr := filteredModels(p, openAIProtocol, held, "gpt-4o")
		if apiErr != nil {
			if isModelAlone := isUnambiguousList(body) && json.Valid(body) && gjson.GetBytes(body, "id").String() == "gpt-4o" && isUnambiguousModel(gjson.ParseBytes(body)); isModelAlone && !gjson.GetBytes(body, "data").Exists() {
				t.Errorf("filteredModels(%q): %s, want a model or a list", body, apiErr.message)
			}
			return
		}
		got := gjson.ParseBytes(one)
		if !json.Valid(one) || !got.IsObject() || !bytes.Contains(body, one) {
			t.Fatalf("filteredModels(%q) = %q, want an object of the response", body, one)
		}
		if isUnambiguousList(body) && len(one) == len(body) && got.Get("data").IsArray() {
			t.Errorf("the client gets the list %q", one)
		}
	})
}

// isUnambiguousList reports whether all parsers find the same list in a response: no name is given twice or in another case.
func isUnambiguousList(body []byte) bool {
	return strings.Count(strings.ToLower(string(body)), `data"`) <= 1 && !bytes.ContainsAny(body, `\`)
}

// isUnambiguousModel reports whether all parsers find the same ID in a model.
func isUnambiguousModel(one gjson.Result) bool {
	return one.IsObject() && strings.Count(strings.ToLower(one.Raw), `id"`) == 1 && !strings.Contains(one.Raw, `\`) && utf8.ValidString(one.Raw)
}
