package chatcompletion

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// forwardBodies sends bodies one after another through one middleware. For each it returns the
// model header and the body that the provider gets, or the policy decision of a refusal.
func forwardBodies(t *testing.T, config *Config, bodies []string) []string {
	t.Helper()
	var got []string
	provider := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, req.Header.Get("X-Ai-Model")+" "+string(body))
	})
	handler, err := New(context.Background(), provider, config, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		if policy := recorder.Header().Get("X-Ai-Policy"); strings.HasPrefix(policy, "refused=") {
			got = append(got, policy)
		}
	}
	return got
}

func TestCachedDecisionDependsOnSkeletonOnly(t *testing.T) {
	long := strings.Repeat("x", 100)
	allowed := func() *Config {
		config := CreateConfig()
		config.Model = "gpt-4o"
		config.AllowModelOverride = true
		config.AllowedModels = []string{"gpt-4o", "\x7f", "\x7f*", "a*"}
		return config
	}
	chat := func(model, text string) string {
		return `{"model":"` + model + `","messages":[{"role":"user","content":"` + text + `"}]}`
	}
	tests := []struct {
		name   string
		bodies []string
		want   []string
	}{
		{
			"texts of different lengths",
			[]string{chat("", long), chat("", long+long), chat("", long+`\"`), chat("", `\\`+long+`\\`)},
			[]string{
				"gpt-4o " + chat("gpt-4o", long), "gpt-4o " + chat("gpt-4o", long+long),
				"gpt-4o " + chat("gpt-4o", long+`\"`), "gpt-4o " + chat("gpt-4o", `\\`+long+`\\`),
			},
		},
		{
			"long models",
			[]string{chat("a"+long, long), chat("b"+long, long)},
			[]string{"a" + long + " " + chat("a"+long, long), "refused=model_not_found"},
		},
		{
			"placeholder as a model",
			[]string{chat("gpt-4o", "\x7f"), chat("b"+long, "\x7f"), chat("\x7f", long), chat("b"+long, "\x7f")},
			[]string{"gpt-4o " + chat("gpt-4o", "\x7f"), "refused=model_not_found", "refused=invalid_value", "refused=model_not_found"},
		},
		{
			"escapes that the skeleton covers",
			[]string{chat(`a\/b`, long), chat(`a\"b`, long), chat(`a\\b`, long)},
			[]string{"a/b " + chat(`a\/b`, long), `a"b ` + chat(`a\"b`, long), `a\b ` + chat(`a\\b`, long)},
		},
		{
			"long names",
			[]string{
				`{"` + long + `":1,"messages":[{"role":"user","content":"Hi"}]}`,
				`{"\u006d\u006f\u0064\u0065\u006c":"b","messages":[{"role":"user","content":"Hi"}]}`,
			},
			[]string{
				`gpt-4o {"` + long + `":1,"messages":[{"role":"user","content":"Hi"}],"model":"gpt-4o"}`,
				"refused=model_not_found",
			},
		},
		{
			"long values of metadata",
			[]string{
				`{"messages":[{"role":"user","content":"Hi"}],"metadata":{"a":"` + long + `"},"model":"gpt-4o"}`,
				`{"messages":[{"role":"user","content":"Hi"}],"metadata":{"a":"` + strings.Repeat(long, 6) + `"},"model":"gpt-4o"}`,
			},
			[]string{
				`gpt-4o {"messages":[{"role":"user","content":"Hi"}],"metadata":{"a":"` + long + `"},"model":"gpt-4o"}`,
				"refused=string_above_max_length",
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			forward := forwardBodies(t, allowed(), test.bodies)
			for i := range test.want {
				if forward[i] != test.want[i] {
					t.Errorf("body %d: got %.300q, want %.300q", i, forward[i], test.want[i])
				}
			}
			reversed := make([]string, len(test.bodies))
			for i, body := range test.bodies {
				reversed[len(reversed)-1-i] = body
			}
			backward := forwardBodies(t, allowed(), reversed)
			for i := range test.want {
				if got := backward[len(backward)-1-i]; got != test.want[i] {
					t.Errorf("body %d in reverse order: got %.300q, want %.300q", i, got, test.want[i])
				}
			}
		})
	}
}

func TestCallsOfToolsShareDecision(t *testing.T) {
	handler, err := New(context.Background(), http.NotFoundHandler(), CreateConfig(), "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{
		`{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"%s","type":"function","function":{"name":"%s","arguments":"{}"}}]},{"role":"tool","tool_call_id":"%[1]s","content":"Yes."}]}`,
		`{"model":"m","messages":[{"content":null,"role":"assistant","tool_calls":[{"function":{"arguments":"{}","name":"%[2]s"},"id":"%[1]s","type":"function"}]},{"content":"No.","name":"%[2]s","role":"tool","tool_call_id":"%[1]s"}]}`,
	} {
		cache := handler.(*middleware).policy.providers[0].endpoints[completions].cache
		before := len(cache.bySkeleton)
		for i, name := range []string{"grep", "read_file", "search_the_whole_web_for", ""} {
			body := fmt.Sprintf(form, fmt.Sprint("call_", i*i*i), name)
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		}
		if got := len(cache.bySkeleton) - before; got != 1 {
			t.Errorf("%s: %d decisions, want 1", form, got)
		}
	}
}

func TestTemplatedModelIsNotCached(t *testing.T) {
	config := CreateConfig()
	config.Model = "$(headers.x-model)"
	var got []string
	provider := http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		got = append(got, req.Header.Get("X-Ai-Model"))
	})
	handler, err := New(context.Background(), provider, config, "test")
	if err != nil {
		t.Fatal(err)
	}
	for _, model := range []string{"one", "two"} {
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(`{"messages":[{"role":"user","content":"Hi"}]}`))
		req.Header.Set("X-Model", model)
		handler.ServeHTTP(httptest.NewRecorder(), req)
	}
	if want := "one two"; strings.Join(got, " ") != want {
		t.Errorf("models %q, want %q", got, want)
	}
}

func TestDecisionCacheIsBounded(t *testing.T) {
	p, err := newPolicy(CreateConfig(), "test")
	if err != nil {
		t.Fatal(err)
	}
	send := func(body string) {
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		if _, apiErr := planRequest(p.providers[0].endpoints[completions], req); apiErr != nil {
			t.Fatal(apiErr.message)
		}
	}
	for i := 0; i < 5000; i++ {
		send(fmt.Sprintf(`{"model":"m","seed":%d,"messages":[{"role":"user","content":"Hi"}]}`, i))
	}
	if got := len(p.providers[0].endpoints[completions].cache.bySkeleton); got > maxCachedDecisions {
		t.Errorf("%d cached decisions, want at most %d", got, maxCachedDecisions)
	}
	sized := func(bytes int) string {
		return `{"model":"m",` + strings.Repeat(" ", bytes) + `"messages":[{"role":"user","content":"Hi"}]}`
	}
	cache := p.providers[0].endpoints[completions].cache
	before := len(cache.bySkeleton)
	send(sized(skeletonMaxBytes))
	if got := len(cache.bySkeleton); got != before {
		t.Errorf("%d cached decisions after a request with a large skeleton, want %d as before", got, before)
	}
	for i := 0; i < 100; i++ {
		send(sized(100<<10 + i))
		cachedBytes := 0
		for skeleton := range cache.bySkeleton {
			cachedBytes += len(skeleton)
		}
		if cachedBytes > cachedMaxBytes || cachedBytes == 0 {
			t.Fatalf("cached skeletons of %d bytes, want at most %d and the last one", cachedBytes, cachedMaxBytes)
		}
	}
}

// TestDecisionCacheHoldsTools sends two requests with many tool schemas that differ in their texts only.
func TestDecisionCacheHoldsTools(t *testing.T) {
	p, err := newPolicy(CreateConfig(), "test")
	if err != nil {
		t.Fatal(err)
	}
	tool := `{"type":"function","function":{"name":"f","description":"%s","parameters":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}}}}},`
	for _, text := range []string{"one", "another"} {
		tools := strings.Repeat(fmt.Sprintf(tool, strings.Repeat(text, 10)), 500)
		body := `{"model":"m","tools":[` + strings.TrimSuffix(tools, ",") + `],"messages":[{"role":"user","content":"` + text + `"}]}`
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		if _, apiErr := planRequest(p.providers[0].endpoints[completions], req); apiErr != nil {
			t.Fatal(apiErr.message)
		}
	}
	if got := len(p.providers[0].endpoints[completions].cache.bySkeleton); got != 1 {
		t.Errorf("%d cached decisions, want 1", got)
	}
}

// TestBodyWithPlaceholderIsNotCached sends bodies that could be the skeletons of others.
func TestBodyWithPlaceholderIsNotCached(t *testing.T) {
	p, err := newPolicy(CreateConfig(), "test")
	if err != nil {
		t.Fatal(err)
	}
	ep := p.providers[0].endpoints[completions]
	for _, content := range []string{string(placeholder), string(placeholder) + strings.Repeat(" long", 100), "\x7f\\n", "short \x7f", strings.Repeat("long ", 200<<10)} {
		body := `{"model":"m","messages":[{"role":"user","content":"` + content + `"},{"role":"user","content":"` + string(placeholder) + `"}]}`
		req := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		if _, apiErr := planRequest(ep, req); apiErr != nil {
			t.Fatal(apiErr.message)
		}
		if got := len(ep.cache.bySkeleton); got != 0 {
			t.Errorf("%d cached decisions after %.100q, want none", got, body)
		}
	}
}

// FuzzDecisionCache sends a body after another one, and alone: what the provider gets must be the same.
func FuzzDecisionCache(f *testing.F) {
	chat := func(members string) string {
		return `{` + members + `,"messages":[{"role":"user","content":"Hi"}]}`
	}
	long := strings.Repeat("x", 100)
	f.Add(chat(`"a":"`+long+`"`), chat("\"a\":\"\x7f\""), uint8(0))
	f.Add(chat("\"a\":\"\x7f\",\"seed\":1"), chat("\"a\":\""+long+"\",\"seed\":1"), uint8(1))
	f.Add(chat("\"a\x7f\":1,\"max_tokens\":500"), chat("\"a\xff\":1,\"max_tokens\":500"), uint8(2))
	f.Add(chat("\"a\":\"x\x7f\",\"b\":\""+long+"\",\"top_k\":1"), chat("\"a\":\"x\xff\",\"b\":\"\x7f\",\"top_k\":1"), uint8(3))
	f.Add(chat("\"\x7f\":1,\"model\":\"m\""), chat(`"`+long+`":1,"model":"m"`), uint8(4))
	f.Add(chat(`"model":"a\/b"`), chat("\"model\":\"a\x7fb\""), uint8(5))
	f.Fuzz(func(t *testing.T, first, second string, padding uint8) {
		for _, bodies := range [][]string{{first, second}, {string(pad([]byte(first), padding)), string(pad([]byte(second), padding))}} {
			alone := forwardBodies(t, governedConfig(), bodies[1:])
			both := forwardBodies(t, governedConfig(), bodies)
			if len(alone) == 0 || both[len(both)-1] != alone[0] {
				t.Errorf("after another body the provider gets %.300q, alone %.300q; bodies %.300q", both, alone, bodies)
			}
		}
	})
}

func TestSpliceDoesNotCopyTheBody(t *testing.T) {
	body := []byte(`{"model":"a","messages":[{"role":"user","content":"` + strings.Repeat("x", 1000) + `"}]}`)
	obj, apiErr := readEnvelope(body)
	if apiErr != nil {
		t.Fatal(apiErr.message)
	}
	obj.members[0].replacement = []byte(`"b"`)
	pieces := splice(obj, edits(obj, nil))
	last := pieces[len(pieces)-1]
	if &last[len(last)-1] != &body[len(body)-1] {
		t.Error("last piece is a copy, want the bytes of the client")
	}
	if want := bytes.Replace(body, []byte(`"a"`), []byte(`"b"`), 1); !bytes.Equal(bytes.Join(pieces, nil), want) {
		t.Errorf("got %s, want %s", bytes.Join(pieces, nil), want)
	}
}
