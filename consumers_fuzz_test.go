package chatcompletion

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// FuzzConsumerList parses arbitrary lists. In one that is accepted, each entry is found by its key and by nothing else, and
// no key or name is there twice; a problem repeats no text that could be a key.
func FuzzConsumerList(f *testing.F) {
	one, two := keyID("one"), keyID("two")
	for _, text := range []string{
		`[]`, `{}`, `{"list":[]}`, `null`, ``, `[null]`, `[{}]`, `[{"name":"a","key":"` + one + `"}]`, `{"list":[{"name":"a","key":"` + one + `","group":"g","expires":"2027-01-01T00:00:00Z","disabled":true,"allowedModels":["m*"]}]}`,
		`[{"name":"a","key":"` + one + `"},{"name":"b","key":"` + one + `"}]`, `[{"name":"a","key":"` + one + `"},{"name":"a","key":"` + two + `"}]`, `[{"name":"a","key":"` + one + `","previousKey":{"key":"` + two + `","until":"2027-01-01T00:00:00Z"}}]`,
		`[{"name":"a","key":"sk-0123456789abcdef0123456789"}]`, `[{"sk-0123456789abcdef0123456789":1}]`, `[{"name":"a","key":"` + one + `","expires":"sk-0123456789abcdef0123456789"}]`, `[{"NAME":"a","Key":"` + one + `"}]`, `[] []`, `[{"name":"a","key":"sha256:` + one + `"},{"name":"b","key":"` + one[14:] + `"}]`,
	} {
		f.Add(text, false)
		f.Add(text, true)
	}
	f.Fuzz(func(t *testing.T, text string, byName bool) {
		list, problem := parseConsumerList(text, byName)
		if problem != "" {
			var entries []map[string]any
			if json.Unmarshal([]byte(text), &entries) == nil {
				for _, entry := range entries {
					if key, isText := entry["key"].(string); isText && len(key) > 20 && strings.Contains(problem, key) && entry["name"] != key {
						t.Errorf("problem %q, want it without a key", problem)
					}
				}
			}
			return
		}
		names := map[string]bool{}
		for i := range list.entries {
			e := &list.entries[i]
			id := e.Key
			if byName {
				id = e.Name
			} else if !digestForm.MatchString(e.Key) && !strings.Contains(text, digestPrefix+digestPrefix) {
				t.Errorf("key %q, want a digest", e.Key)
			}
			if c := listedConsumer(list, id); c == nil || c.caller.name != e.Name {
				t.Errorf("consumer %v of %q, want %q", c, id, e.Name)
			}
			if names[e.Name] || e.Name == "" || !attributeText(e.Name) {
				t.Errorf("name %q is invalid or there twice", e.Name)
			}
			names[e.Name] = true
		}
		if listedConsumer(list, digestPrefix) != nil || listedConsumer(list, "") != nil {
			t.Error("a consumer without a key, want none")
		}
	})
}

// FuzzClientKey sends keys in arbitrary places: whichever way a request is read, it is the same consumer, and never one whose
// key it does not have.
func FuzzClientKey(f *testing.F) {
	f.Add("Bearer one", "", "", "", "")
	f.Add("Bearer one", "one", "two", "", "key=one")
	f.Add("bearer  two ", "", "", "", "")
	f.Add("Basic one", "", "", "one", "a=b")
	f.Add("Bearer", "one", "", "", "%6bey=one;key=two")
	keys := []string{"one", "two"}
	cs := &consumers{required: true, list: map[string]*consumer{keyID("one"): newConsumer("one", ""), keyID("two"): newConsumer("two", "")}}
	cs.more = &(&document{}).parsed
	f.Fuzz(func(t *testing.T, bearer, apiKey, azure, google, query string) {
		req := httptest.NewRequest(http.MethodPost, "/", nil)
		req.URL.RawQuery = query
		for name, value := range map[string]string{"Authorization": bearer, "X-Api-Key": apiKey, "Api-Key": azure, "X-Goog-Api-Key": google} {
			if value != "" {
				req.Header[name] = []string{value}
			}
		}
		c, apiErr := identifyConsumer(cs, req, time.Now())
		other, otherErr := identifyUncommon(cs, req, time.Now())
		if c != other || (apiErr == nil) != (otherErr == nil) || (c == nil) == (apiErr == nil) {
			t.Fatalf("consumer %v, error %v; read in the other way %v, %v", c, apiErr, other, otherErr)
		}
		if c == nil {
			return
		}
		sent := bearer + " " + apiKey + " " + azure + " " + google + " " + strings.Join(req.URL.Query()["key"], " ")
		for _, key := range keys {
			if c.caller.name == key && !strings.Contains(sent, key) {
				t.Errorf("consumer %q, want none: the request has %q", key, sent)
			}
		}
	})
}
