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
		buffered := &bufferedResponse{header: http.Header{}}
		_, _ = buffered.Write(body)
		list, ok := filteredList(p, buffered)
		if !ok {
			if isUnambiguous && all.IsArray() && len(all.Array()) <= modelListMax {
				t.Errorf("filteredList(%q): not a list, want one", body)
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

// isUnambiguousList reports whether all parsers find the same list in a response: no name occurs twice or in another case.
func isUnambiguousList(body []byte) bool {
	return strings.Count(strings.ToLower(string(body)), `data"`) <= 1 && !bytes.ContainsAny(body, `\`)
}

// isUnambiguousModel reports whether all parsers find the same ID in a model.
func isUnambiguousModel(one gjson.Result) bool {
	return one.IsObject() && strings.Count(strings.ToLower(one.Raw), `id"`) == 1 && !strings.Contains(one.Raw, `\`) && utf8.ValidString(one.Raw)
}
