package chatcompletion

import (
	"net/url"
	"strings"
	"testing"
)

func TestQueryModel(t *testing.T) {
	for _, test := range []struct {
		query, want string
		isRefused   bool
	}{
		{query: ""},
		{query: "intent=transcription"},
		{query: "model=gpt-realtime", want: "gpt-realtime"},
		{query: "a=1&model=gpt%2Drealtime&b=2", want: "gpt-realtime"},
		{query: "api-version=1&deployment=voice", want: "voice"},
		{query: "model="},
		{query: "models=1&remodel=2&model=a", want: "a"},
		{query: "model", isRefused: true},
		{query: "model=a&model=a", isRefused: true},
		{query: "model=a&model=b", isRefused: true},
		{query: "model=a&deployment=b", isRefused: true},
		{query: "model=a&Model=b", isRefused: true},
		{query: "model=a&m%6fdel=b", isRefused: true},
		{query: "model=a&m%256fdel=b", isRefused: true},
		{query: "m%6Fdel=b", isRefused: true},
		{query: "%6d%6f%64%65%6c=b&c=%zz", isRefused: true},
		{query: "model=a;model=b", isRefused: true},
		{query: "x=1;model=b", isRefused: true},
		{query: "model=a&model[]=b", isRefused: true},
		{query: "model=a&model%5B0%5D=b", isRefused: true},
		{query: "model=a& model=b", isRefused: true},
		{query: "model=a&+model=b", isRefused: true},
		{query: "model=a&x=1%26model=b", isRefused: true},
		{query: "model=a&model%00=b", isRefused: true},
		{query: "model=a%2", isRefused: true},
		{query: "model=a+b", isRefused: true},
	} {
		got, apiErr := queryModel(test.query)
		if got != test.want || (apiErr != nil) != test.isRefused {
			t.Errorf("%s: model %q, error %v, want %q, refused: %v", test.query, got, apiErr, test.want, test.isRefused)
		}
	}
}

func FuzzQueryModel(f *testing.F) {
	for _, query := range []string{"model=a", "a=1&model=b&c", "model=a&m%6fdel=b", "deployment=x&y=%20", "model=a;b=c", "a=%zz&model=b"} {
		f.Add(query)
	}
	f.Fuzz(func(t *testing.T, query string) {
		got, apiErr := queryModel(query)
		if apiErr != nil {
			return
		}
		for _, text := range []string{query, strings.ReplaceAll(query, ";", "&")} { // Traefik replaces semicolons
			values, _ := url.ParseQuery(text)
			var named []string
			for name, all := range values {
				if folded := strings.ToLower(strings.TrimSpace(name)); folded == "model" || folded == "deployment" {
					named = append(named, all...)
				}
			}
			if len(named) > 1 || (len(named) == 1 && named[0] != got) || (len(named) == 0 && got != "") {
				t.Errorf("%q names %q, want only %q", text, named, got)
			}
		}
		set := setQueryModel(query, "new name&")
		if again, apiErr := queryModel(set); apiErr == nil && again != "new name&" {
			t.Errorf("%q with another model is %q, which names %q", query, set, again)
		}
		kept := strings.Split(query, "&")
		now := strings.Split(set, "&")
		for i, pair := range kept {
			if i < len(now) && pair != now[i] && !strings.HasPrefix(pair, "model=") && !strings.HasPrefix(pair, "deployment=") && query != "" {
				t.Errorf("%q becomes %q, where %q has changed", query, set, pair)
			}
		}
	})
}
