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

// FuzzModelList filters what a provider says is its list: what comes out is JSON, has models that are allowed and no others,
// each as the provider wrote it, and misses none.
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
		isPlain := json.Valid(body) && isOneList(body)
		held := &bufferedResponse{header: http.Header{}}
		_, _ = held.Write(body)
		list, apiErr := filteredModels(p, held, "")
		if apiErr != nil {
			if isPlain && all.IsArray() && len(all.Array()) <= modelListMax {
				t.Errorf("%q is none", body)
			}
			return
		}
		if !json.Valid(list) {
			t.Fatalf("%q becomes %q, which is no JSON", body, list)
		}
		shown := map[string]bool{}
		for _, one := range gjson.GetBytes(list, "data").Array() {
			id := one.Get("id")
			shown[id.String()] = true
			if !id.Exists() || !isOneModel(one) {
				continue
			}
			isAlias := id.String() == "fast" && one.Get("owned_by").String() == "openai"
			if !strings.HasPrefix(id.String(), "gpt-") && !isAlias {
				t.Errorf("the client sees %q, want what gpt-* matches", id)
			}
			if !isAlias && !bytes.Contains(body, []byte(one.Raw)) {
				t.Errorf("the client sees %q, which the provider did not write: %q", one.Raw, body)
			}
		}
		if !shown["fast"] {
			t.Errorf("the alias is not in %q", list)
		}
		for _, one := range all.Array() {
			id := one.Get("id")
			if isPlain && isOneModel(one) && id.Type == gjson.String && strings.HasPrefix(id.String(), "gpt-") && isModelName(id.String()) && !shown[id.String()] {
				t.Errorf("the client does not see %q of %q", id, body)
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
		one, apiErr := filteredModels(p, held, "gpt-4o")
		if apiErr != nil {
			if isModelAlone := isOneList(body) && json.Valid(body) && gjson.GetBytes(body, "id").String() == "gpt-4o" && isOneModel(gjson.ParseBytes(body)); isModelAlone && !gjson.GetBytes(body, "data").Exists() {
				t.Errorf("%q is none", body)
			}
			return
		}
		got := gjson.ParseBytes(one)
		if !json.Valid(one) || !got.IsObject() || !bytes.Contains(body, one) {
			t.Fatalf("of %q the client gets %q", body, one)
		}
		if isOneList(body) && len(one) == len(body) && got.Get("data").IsArray() {
			t.Errorf("the client gets the list %q", one)
		}
	})
}

// isOneList tells whether all readers find the same list in an answer: no name is given twice or in another case.
func isOneList(body []byte) bool {
	return strings.Count(strings.ToLower(string(body)), `data"`) <= 1 && !bytes.ContainsAny(body, `\`)
}

// isOneModel tells whether all readers find the same id in a model.
func isOneModel(one gjson.Result) bool {
	return one.IsObject() && strings.Count(strings.ToLower(one.Raw), `id"`) == 1 && !strings.Contains(one.Raw, `\`) && utf8.ValidString(one.Raw)
}
