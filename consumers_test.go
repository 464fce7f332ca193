package chatcompletion

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// startTestConsumers parses a configuration of consumers with quick look-ups, and starts them.
func startTestConsumers(t *testing.T, settings Consumers) *consumers {
	t.Helper()
	config := CreateConfig()
	config.Token = "sk-provider"
	config.Consumers = settings
	p, err := newPolicy(config, "test")
	if err != nil {
		t.Fatal(err)
	}
	cs := p.consumers
	if cs.from != nil {
		cs.from.pace.refresh, cs.from.pace.retry = 10*time.Millisecond, 10*time.Millisecond
	}
	for _, k := range cs.keys {
		k.credential.source.pace.refresh, k.credential.source.pace.retry = 10*time.Millisecond, 10*time.Millisecond
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	startConsumers(ctx, cs)
	return cs
}

// consumerFor returns the name of the consumer that has a key, or the code of the error.
func consumerFor(cs *consumers, key string) string {
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	req.Header.Set("Authorization", "Bearer "+key)
	c, apiErr := identifyConsumer(cs, req, time.Now())
	switch {
	case apiErr != nil:
		return apiErr.code
	case c == nil:
		return ""
	}
	return c.caller.name
}

// TestConsumerListIsReplaced changes the content of a list step by step: what is not a list leaves the last one in use.
func TestConsumerListIsReplaced(t *testing.T) {
	entry := func(name, key string) string { return fmt.Sprintf(`{"name":%q,"key":%q}`, name, keyID(key)) }
	file := filepath.Join(t.TempDir(), "consumers.json")
	steps := []struct {
		name    string
		content string // empty: there is no file
		want    string // consumer of the key one
		fails   bool
	}{
		{"no file yet", "", "consumers_unavailable", true},
		{"file is created", "[" + entry("a", "one") + "]", "a", false},
		{"no JSON", "[" + entry("b", "one"), "a", true},
		{"consumer changes", "[" + entry("changed", "one") + "]", "changed", false},
		{"a key twice", "[" + entry("c", "one") + "," + entry("b", "one") + "]", "changed", true},
		{"consumer is removed", "[" + entry("b", "two") + "]", "invalid_api_key", false},
		{"consumer is back", "[" + entry("b", "two") + ", " + entry("a", "one") + "]", "a", false},
		{"no file", "", "a", true},
		{"an empty list", "[]", "invalid_api_key", false},
	}
	before := documentFailureCounts()["consumers.from"]
	logged := logOutput(t, func() {
		cs := startTestConsumers(t, Consumers{From: "urn:file:" + file})
		for _, step := range steps {
			if step.content == "" {
				_ = os.Remove(file)
			} else {
				writeKey(t, file, step.content)
			}
			eventually(t, step.name, func() bool { return consumerFor(cs, "one") == step.want && (failuresOf(cs.fromList) > 0) == step.fails })
		}
	})
	if documentFailureCounts()["consumers.from"] == before {
		t.Error("no failed look-up is counted")
	}
	for _, want := range []string{"not JSON: the text ends too early", "is also the key of [1]", "the last valid content is used", "requests of its consumers get status 503"} {
		if !strings.Contains(logged, want) {
			t.Errorf("log %q, want %q in it", logged, want)
		}
	}
	if strings.Contains(logged, digestPrefix) {
		t.Errorf("log %q, want no digest", logged)
	}
}

// TestUnchangedConsumerListIsNotRead counts how often a list is parsed while its file stays as it is.
func TestUnchangedConsumerListIsNotRead(t *testing.T) {
	for name, content := range map[string]string{"valid": "[]", "invalid": "["} {
		file := filepath.Join(t.TempDir(), "consumers.json")
		writeKey(t, file, content)
		parsed := 0
		source := &secretSource{path: file, document: &document{parse: func(string) (any, string) {
			parsed++
			return nil, map[string]string{"[": "wrong"}[content]
		}}}
		if content == "[]" {
			source.document.parse = func(text string) (any, string) { parsed++; return parseKeyList(text) }
		}
		_, first := lookUp(source)
		_, second := lookUp(source)
		if parsed != 1 || first != second {
			t.Errorf("%s: parsed %d times with the problems %v and %v, want once and the same", name, parsed, first, second)
		}
	}
}

// TestConsumerKeyIsLookedUp changes a key that a configuration refers to, and its digest.
func TestConsumerKeyIsLookedUp(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	cs := startTestConsumers(t, Consumers{List: []Consumer{{Name: "a", Key: "urn:file:" + file}}})
	if got := consumerFor(cs, "one"); got != "invalid_api_key" {
		t.Errorf("no file yet: consumer %q, want none", got)
	}
	writeKey(t, file, "one\n")
	eventually(t, "the key is found", func() bool { return consumerFor(cs, "one") == "a" })
	writeKey(t, file, keyID("two"))
	eventually(t, "the digest of another key is found", func() bool { return consumerFor(cs, "two") == "a" })
	if got := consumerFor(cs, "one"); got != "invalid_api_key" {
		t.Errorf("the key before: consumer %q, want none", got)
	}
}

func TestClientKey(t *testing.T) {
	tests := []struct {
		name   string
		target string
		header map[string][]string
		key    string
		isOne  bool
	}{
		{"none", "/", nil, "", true},
		{"bearer", "/", map[string][]string{"Authorization": {"Bearer k"}}, "k", true},
		{"bearer in another case, with spaces", "/", map[string][]string{"Authorization": {"bEARER   k "}}, "k", true},
		{"another scheme", "/", map[string][]string{"Authorization": {"Basic k"}}, "", true},
		{"no scheme", "/", map[string][]string{"Authorization": {"k"}}, "", true},
		{"another scheme beside a key", "/", map[string][]string{"Authorization": {"Basic x", "Bearer k"}}, "k", true},
		{"two bearers", "/", map[string][]string{"Authorization": {"Bearer j", "Bearer k"}}, "", false},
		{"each header the same", "/?key=k", map[string][]string{"Authorization": {"Bearer k"}, "X-Api-Key": {"k"}, "Api-Key": {"k"}, "X-Goog-Api-Key": {"k"}}, "k", true},
		{"an empty one beside", "/", map[string][]string{"Authorization": {"Bearer k"}, "X-Api-Key": {""}}, "k", true},
		{"a different one in the query", "/?key=j", map[string][]string{"Authorization": {"Bearer k"}}, "", false},
		{"twice in the query", "/?key=j&key=k", nil, "", false},
		{"escaped in the query", "/?%6bey=%6B", nil, "k", true},
		{"another parameter", "/?api_key=k", nil, "", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := httptest.NewRequest(http.MethodPost, test.target, nil)
			req.Header = test.header
			if key, isOne := clientKey(req); key != test.key || isOne != test.isOne {
				t.Errorf("key %q, one %t, want %q, %t", key, isOne, test.key, test.isOne)
			}
		})
	}
}

// TestLongConsumerList finds each of 10,000 consumers, and what is wrong with one of them.
// TestCommonClientsAreIdentifiedInFewSteps sends what SDKs send. Where few steps do not tell, the others do.
func TestCommonClientsAreIdentifiedInFewSteps(t *testing.T) {
	cs := startTestConsumers(t, Consumers{List: []Consumer{{Name: "a", Key: keyID("k")}}})
	tests := []struct {
		name     string
		target   string
		header   map[string][]string
		isCommon bool
		want     string // name of the consumer
	}{
		{"OpenAI", "/", map[string][]string{"Authorization": {"Bearer k"}}, true, "a"},
		{"Azure OpenAI", "/?api-version=2024-10-21", map[string][]string{"Api-Key": {"k"}}, true, "a"},
		{"Claude Code", "/?beta=true", map[string][]string{"X-Api-Key": {"k"}}, true, "a"},
		{"Claude Code with a token", "/?beta=true", map[string][]string{"Authorization": {"Bearer k"}}, true, "a"},
		{"Google", "/?alt=sse", map[string][]string{"X-Goog-Api-Key": {"k"}}, true, "a"},
		{"Google, in the query", "/?alt=sse&key=k", nil, false, "a"},
		{"escaped in the query", "/?%6bey=k", nil, false, "a"},
		{"another key in the query", "/?key=j", map[string][]string{"Authorization": {"Bearer k"}}, false, ""},
		{"a key in two headers", "/", map[string][]string{"Authorization": {"Bearer k"}, "X-Api-Key": {"k"}}, false, "a"},
		{"two keys", "/", map[string][]string{"Authorization": {"Bearer k"}, "X-Goog-Api-Key": {"j"}}, false, ""},
		{"in another case", "/", map[string][]string{"Authorization": {"bearer k"}}, false, "a"},
		{"no scheme", "/", map[string][]string{"Authorization": {"k"}}, false, ""},
		{"a scheme in another header", "/", map[string][]string{"X-Api-Key": {"Bearer k"}}, false, ""},
		{"no value", "/", map[string][]string{"X-Api-Key": {}}, false, ""},
		{"empty", "/", map[string][]string{"X-Api-Key": {""}}, false, ""},
		{"unknown", "/", map[string][]string{"X-Api-Key": {"j"}}, false, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			req := httptest.NewRequest(http.MethodPost, test.target, nil)
			req.Header = test.header
			got := ""
			if c, _ := identifyConsumer(cs, req, time.Now()); c != nil {
				got = c.caller.name
			}
			if isCommon := commonConsumer(cs, req) != nil; isCommon != test.isCommon || got != test.want {
				t.Errorf("consumer %q, in few steps %t, want %q, %t", got, isCommon, test.want, test.isCommon)
			}
		})
	}
}

func TestLongConsumerList(t *testing.T) {
	const count = 10000
	list := func(change func(i int) string) string {
		var text strings.Builder
		for i := 0; i < count; i++ {
			entry := fmt.Sprintf(`{"name":"c%d","key":%q,"group":"g%d"}`, i, keyID(fmt.Sprint(i)), i%7)
			if changed := change(i); changed != "" {
				entry = changed
			}
			text.WriteString("," + entry)
		}
		return "[" + text.String()[1:] + "]"
	}
	parsed, problem := parseConsumerList(list(func(int) string { return "" }), false)
	if problem != "" {
		t.Fatal(problem)
	}
	for i := 0; i < count; i++ {
		if c := listedConsumer(parsed, keyID(fmt.Sprint(i))); c == nil || c.caller.name != fmt.Sprintf("c%d", i) || c.caller.group != fmt.Sprintf("g%d", i%7) {
			t.Fatalf("consumer %v of key %d, want c%d", c, i, i)
		}
	}
	for entry, want := range map[string]string{
		`{"name":"c7","key":"` + keyID("x") + `"}`:                 `[7].name: "c7" is also the name of [9999]`,
		`{"name":"x","key":"` + keyID("7") + `"}`:                  `[7].key: is also the key of [9999]`,
		`{"name":"x","key":"` + strings.ToUpper(keyID("x")) + `"}`: `[9999].key: must be sha256:`,
		`{"name":"x","key":"` + keyID("x")[1:] + `"}`:              `[9999].key: must be sha256:`,
		`{"name":"x"}`: `[9999].key: must be sha256:`,
		`{"name":"` + strings.Repeat("x", 129) + `","key":"` + keyID("x") + `"}`: `[9999].name: must be 1 to 128 bytes`,
		`{"name":"x\n","key":"` + keyID("x") + `"}`:                              `[9999].name: must be 1 to 128 bytes`,
	} {
		_, problem := parseConsumerList(list(func(i int) string { return map[bool]string{true: entry}[i == count-1] }), false)
		if !strings.HasPrefix(problem, want) {
			t.Errorf("problem %q, want %q", problem, want)
		}
	}
}
