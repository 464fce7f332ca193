package chatcompletion_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/tidwall/gjson"

	"github.com/modelroute/chatcompletion"
)

// forwardedRequest is a request that a middleware forwarded.
type forwardedRequest struct {
	request *http.Request
	body    string
}

// newForwarder creates a middleware and returns a function that sends a request to it, and returns what the provider gets; nil:
// nothing.
func newForwarder(f *testing.F, config map[string]any) func(*testing.T, *http.Request) *forwardedRequest {
	f.Helper()
	decoded, err := decodeConfig(config)
	if err != nil {
		f.Fatal(err)
	}
	var got *forwardedRequest
	provider := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = &forwardedRequest{r, string(body)}
	})
	handler, err := chatcompletion.New(context.Background(), provider, decoded, "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	return func(t *testing.T, req *http.Request) *forwardedRequest {
		got = nil
		target := req.RequestURI
		handler.ServeHTTP(httptest.NewRecorder(), req)
		if got != nil && got.request.RequestURI != target && got.request.RequestURI != got.request.URL.RequestURI() {
			t.Errorf("forwarded URL %q, but RequestURI %q", got.request.URL.RequestURI(), got.request.RequestURI)
		}
		return got
	}
}

// newPresetForwarders creates a middleware for each of the presets.
func newPresetForwarders(f *testing.F, config map[string]any) []func(*testing.T, *http.Request) *forwardedRequest {
	f.Helper()
	var all []func(*testing.T, *http.Request) *forwardedRequest
	for _, preset := range presets {
		delete(config, "provider")
		if preset.name != "" {
			config["provider"] = preset.name
		}
		all = append(all, newForwarder(f, config))
	}
	return all
}

// requestFor returns the request that a net/http server reads for a target; nil: it refuses the target.
func requestFor(method, target, body string) *http.Request {
	parsed, err := url.ParseRequestURI(target)
	if err != nil || strings.ContainsAny(target, " \r\n") {
		return nil
	}
	req := httptest.NewRequest(method, "/", strings.NewReader(body))
	req.URL, req.RequestURI = parsed, target
	return req
}

// normalizations are ways in which some server normalizes a path before it routes it, in any order.
var normalizations = []func(string) string{
	strings.ToLower,
	func(p string) string { return strings.ReplaceAll(p, `\`, "/") },
	func(p string) string { return path.Clean("/" + p) },
	func(p string) string {
		decoded, err := url.PathUnescape(p)
		if err != nil {
			return p
		}
		return decoded
	},
	func(p string) string { return regexp.MustCompile(`;[^/]*`).ReplaceAllString(p, "") },
	func(p string) string { return regexp.MustCompile(`[. \t\r\n]+(/|$)`).ReplaceAllString(p, "$1") },
	func(p string) string { before, _, _ := strings.Cut(p, "\x00"); return before },
	func(p string) string { before, _, _ := strings.Cut(p, "?"); return before },
	func(p string) string { before, _, _ := strings.Cut(p, "#"); return before },
}

// formsOf returns all forms that some server may read a path as, the path itself first.
func formsOf(escaped string) []string {
	forms, seen := []string{escaped}, map[string]bool{escaped: true}
	for i := 0; i < len(forms) && len(seen) < 500; i++ {
		for _, read := range normalizations {
			if next := read(forms[i]); !seen[next] {
				seen[next] = true
				forms = append(forms, next)
			}
		}
	}
	return forms
}

// mayMatch reports whether some server may take a path for one that ends in one of the tails, in which a * is one segment. At
// a known provider, the base and the tail are the whole path.
func mayMatch(escaped, provider, base string, tails []string) (string, bool) {
	for _, tail := range tails {
		expression := strings.ReplaceAll(regexp.QuoteMeta(base+tail), `\*`, "[^/]+") + "$"
		if provider != "" {
			expression = "^" + expression
		}
		pattern := regexp.MustCompile(expression)
		for _, form := range formsOf(escaped) {
			if pattern.MatchString(form) {
				return base + tail, true
			}
		}
	}
	return "", false
}

// fuzzGovernedPaths sends paths through middlewares that enforce the model "governed", one per preset: if a request is forwarded
// with the client's model, the provider must not be able to route the forwarded path to an endpoint that ends in one of the tails.
func fuzzGovernedPaths(f *testing.F, tails []string, middlewares []func(*testing.T, *http.Request) *forwardedRequest) {
	f.Fuzz(func(t *testing.T, target string, provider uint8) {
		req := requestFor(http.MethodPost, target, `{"model":"other","input":"Hi","messages":[{"role":"user","content":"Hi"}]}`)
		if req == nil {
			return
		}
		preset := presets[int(provider)%len(presets)]
		got := middlewares[int(provider)%len(presets)](t, req)
		if got == nil || strings.Contains(got.body, `"governed"`) {
			return
		}
		path := got.request.URL.EscapedPath()
		if other, may := mayMatch(path, preset.name, preset.base, tails); may {
			t.Errorf("%q of %q is forwarded ungoverned as %q, which may match %q", target, preset.name, path, other)
		}
	})
}

// FuzzPathSpellingsAreGoverned sends paths in all spellings: if a request is forwarded with the client's model, the provider
// must not be able to route the forwarded path to a governed endpoint.
func FuzzPathSpellingsAreGoverned(f *testing.F) {
	for _, seed := range []string{
		"/v1/chat/completions", "/v1/Embeddings/", "/v1//responses", "/v1/images%2fgenerations", "/v1/x/../embeddings", "/v1/%2565mbeddings", "/v1;x/responses.",
		"/v1/files", "/openai/v1/files", "/v1/models/x/v1/responses", "/v1/responses/resp_1", "/v1beta/openai/chat/completions", "/chat/completions", "/openai/v1/chat/completions",
		"/v1/v1/embeddings", "/v1\\responses", "/v1/embeddings%00", "/%2e/v1/embeddings%3Fx", "/v1/chat%5ccompletions", "http://host/v1/embeddings", "/v1/v1", "/v1/./v1/chat/completions",
	} {
		for provider := range presets {
			f.Add(seed, uint8(provider))
		}
	}
	tails := []string{"/chat/completions", "/embeddings", "/responses", "/images/generations"}
	middlewares := newPresetForwarders(f, map[string]any{"model": "governed", "routes": map[string]any{
		"/v1/chat/completions": "completions", "/v1/embeddings": "embeddings", "/v1/responses": "responses",
		"/v1/images/generations": "passthrough: governed", "/v1/models": "models", "*": "passthrough",
	}})
	fuzzGovernedPaths(f, tails, middlewares)
}

// FuzzPathSpellingsAtPatterns does the same where keys have a *: none opens a path that another key names, and no spelling leads past
// one that is governed or denied.
func FuzzPathSpellingsAtPatterns(f *testing.F) {
	for _, seed := range []string{
		"/v1/files/a", "/v1/files/a/content", "/v1/files/a%2Fcontent", "/v1/files/a%2fb", "/v1/files/a%5Cb", "/v1/files/a%252Fb", "/v1/files//content", "/v1/files/./content", "/v1/files/a;/content",
		"/v1/files/%20/content", "/v1/files/content/", "/v1/files/../embeddings", "/v1/files/embeddings", "/v1/v1/embeddings", "/v1beta/openai/embeddings", "/openai/v1/embeddings", "/openai/embeddings",
		"/v1/chat/completions", "/v1/v1/chat/completions", "/v1/x/chat/completions", "/v1/images/a/generations", "/v1/images/a%2F/generations", "/v1/images%2Fa/generations", "/images/a/generations/",
		"/v1/x%2Ffiles/a", "/v1/responses/a", "/v1/responses/%61", "/v1/files/a%00/content", "/v1/files/%2E%2E/files/a", "/v1/x/v1/files/a", "/files/a", "/v1/files/a/b/content", "/v1/files/*",
	} {
		for provider := range presets {
			f.Add(seed, uint8(provider))
		}
	}
	tails := []string{"/chat/completions", "/embeddings", "/images/*/generations", "/files/*", "/batches/*/cancel"}
	middlewares := newPresetForwarders(f, map[string]any{"model": "governed", "routes": map[string]any{
		"/v1/chat/completions": "completions", "/v1/embeddings": "embeddings", "/v1/images/*/generations": "passthrough: governed",
		"/v1/files/*": "deny", "/v1/batches/*/cancel": "deny", "/v1/files/*/content": "passthrough", "/v1/responses/*": "passthrough",
		"/v1/*/*": "passthrough", "/openai/*": "passthrough", "/v1/*/*/*": "passthrough", "*": "passthrough",
	}})
	fuzzGovernedPaths(f, tails, middlewares)
}

// presets are some providers and the base paths of their endpoints.
var presets = []struct{ name, base string }{
	{"", "/v1"}, {"openai", "/v1"}, {"gemini", "/v1beta/openai"}, {"groq", "/openai/v1"}, {"deepseek", ""},
}

// FuzzPassthroughPath sends passthrough paths: the part after the version is appended to the provider's base path, and nothing
// else changes.
func FuzzPassthroughPath(f *testing.F) {
	for _, seed := range []string{"/v1/files", "/openai/v1/files/x?a=b%20c", "/v1", "/v1/", "/v1/v1/x", "/v1x/files", "/files", "/v1beta/v1/files/", "/", "/x/v1", "/v1/a:b@c", "/V1/files"} {
		for provider := range presets {
			f.Add(seed, uint8(provider))
		}
	}
	middlewares := newPresetForwarders(f, map[string]any{"routes": map[string]any{"*": "passthrough"}})
	f.Fuzz(func(t *testing.T, target string, provider uint8) {
		req := requestFor(http.MethodGet, target, "")
		if req == nil || req.URL.IsAbs() {
			return
		}
		preset := presets[int(provider)%len(presets)]
		before, query := req.URL.EscapedPath(), req.URL.RawQuery
		got := middlewares[int(provider)%len(presets)](t, req)
		if got == nil {
			return // not a canonical path
		}
		want := before
		if at := strings.Index(strings.ToLower(before), "/v1/"); at >= 0 && preset.name != "" {
			want = preset.base + before[at+len("/v1"):]
		}
		if after := got.request.URL.EscapedPath(); after != want {
			t.Errorf("%q with preset %q: forwarded path %q, want %q", target, preset.name, after, want)
		}
		if got.request.URL.RawQuery != query {
			t.Errorf("forwarded query %q, want %q", got.request.URL.RawQuery, query)
		}
	})
}

// plainSegments matches the paths that a value may produce.
var plainSegments = regexp.MustCompile(`^/x/[^/%?#;\\\s]+(/[^/%?#;\\\s]+)*/y$`)

// FuzzPathTemplate inserts values from all sources: no resulting path escapes the text around them, or has a segment of dots, an
// escape, a query or a fragment.
func FuzzPathTemplate(f *testing.F) {
	for _, seed := range []string{"gpt-4o", "meta/llama", "..", ".", "a/../b", "%2e%2e", "%252e", "a//b", "/a", "a/", "a?b", "a#b", "a;b", `a\b`, "a\x00", "a b", "é", "\xff", "$(headers.a)", "~user", "a:b@c", ". ", "...", ""} {
		for source := range templatesOfPaths {
			f.Add(seed, seed, uint8(source))
		}
	}
	var middlewares []func(*testing.T, *http.Request) *forwardedRequest
	for _, template := range templatesOfPaths {
		middlewares = append(middlewares, newForwarder(f, map[string]any{
			"path": template, "modelPattern": "^/(?<v>[^/]+)/",
			"telemetry": map[string]any{"labels": map[string]any{"v": "$(uri_captures.v)"}}, // a pattern without a reference is refused
		}))
	}
	f.Fuzz(func(t *testing.T, value, other string, source uint8) {
		template := templatesOfPaths[int(source)%len(templatesOfPaths)]
		req := requestFor(http.MethodPost, "/"+url.PathEscape(value)+"/v1/chat/completions?"+url.Values{"v": {value}, "w": {other}}.Encode(),
			`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`)
		if req == nil {
			return
		}
		req.Header.Set("X-V", value)
		req.Header.Set("X-W", other)
		query := req.URL.RawQuery
		got := middlewares[int(source)%len(templatesOfPaths)](t, req)
		if got == nil {
			return
		}
		made := got.request.URL
		if made.EscapedPath() != made.Path || made.RawQuery != query || made.Fragment != "" {
			t.Errorf("%q with %q and %q: URL %q, want no escape, query or fragment of a value", template, value, other, made)
		}
		if !plainSegments.MatchString(made.Path) || path.Clean(made.Path) != made.Path {
			t.Errorf("%q with %q and %q: path %q, want plain segments", template, value, other, made.Path)
		}
		for _, segment := range strings.Split(made.Path, "/") {
			if strings.Trim(segment, ".") == "" && segment != "" {
				t.Errorf("%q with %q and %q: path %q, want plain segments", template, value, other, made.Path)
			}
		}
	})
}

// templatesOfPaths have one or several references, with and without text around them.
var templatesOfPaths = []string{
	"/x/$(headers.x-v)/y", "/x/$(query_params.v)/y", "/x/$(uri_captures.v)/y", "/x/$(headers.x-v)$(headers.x-w)/y", "/x/.$(headers.x-v)/y",
	"/x/$(headers.x-v)/$(query_params.w)/y", "/x/a$(query_params.v).$(query_params.w)/y",
}

// governedEndpoints are endpoints other than completions, and the member that is governed there besides the model.
var governedEndpoints = []struct{ path, tokenLimit string }{
	{"/v1/embeddings", ""}, {"/v1/responses", "max_output_tokens"}, {"/v1/images/generations", ""},
}

// FuzzEndpointsAreGoverned sends bodies to the endpoints other than completions: in the forwarded body, a tolerant parser finds
// only models and token limits that the policy allows, and all other members as the client sent them.
func FuzzEndpointsAreGoverned(f *testing.F) {
	for _, body := range []string{
		`{"input":"Hi"}`, `{"model":"x","input":["a","b"]}`, `{"input":"Hi","model":null}`, `{"Model":"x","input":1}`, `{"mod\u0065l":"x","input":"Hi","temperature":3}`,
		`{"model":"x","model":"y","input":"Hi"}`, `{ "input" : "Hi" , "max_output_tokens" : 500 }`, `{"maxOutputTokens":500,"input":"Hi"}`, `{"max_output_tokens":null,"input":[1,2]}`,
		`{"input":"Hi","max_tokens":500,"dimensions":1,"user":"u","stream":true,"prompt":"a","prompt":"b"}`, `{}`, `[]`, `{"model":""}`, `{"model\u0000":"x"}`,
	} {
		for i := range governedEndpoints {
			f.Add([]byte(body), uint8(i))
		}
	}
	middleware := newForwarder(f, map[string]any{
		"model": "governed", "limits": map[string]any{"maxTokens": 100}, "params": map[string]any{"frequencyPenalty": 1},
		"routes": map[string]any{"/v1/embeddings": "embeddings", "/v1/responses": "responses", "/v1/images/generations": "passthrough: governed"},
	})
	f.Fuzz(func(t *testing.T, body []byte, endpoint uint8) {
		at := governedEndpoints[int(endpoint)%len(governedEndpoints)]
		got := middleware(t, requestFor(http.MethodPost, at.path, string(body)))
		if got == nil {
			return
		}
		sent, _ := membersOf(body, at.tokenLimit)
		others, governed := membersOf([]byte(got.body), at.tokenLimit)
		if strings.Join(others, ",") != strings.Join(sent, ",") {
			t.Errorf("%s: %q is forwarded as %q", at.path, body, got.body)
		}
		models, limits := 0, 0
		for _, m := range governed {
			switch {
			case m.Type == gjson.Number && m.Num >= 1 && m.Num <= 100:
				limits++
			case m.String() == "governed" || (at.path == "/v1/images/generations" && m.String() == ""):
				models++
			default:
				t.Errorf("%s: %q is forwarded as %q", at.path, body, got.body)
			}
		}
		if models > 1 || (models == 0 && at.path != "/v1/images/generations") || (limits == 1) != (at.tokenLimit != "") {
			t.Errorf("%s: %q is forwarded as %q", at.path, body, got.body)
		}
	})
}

// membersOf returns the members of an object byte for byte, and separately the values of those that some parser may read as
// the model or the token limit.
func membersOf(body []byte, tokenLimit string) (others []string, governed []gjson.Result) {
	gjson.ParseBytes(body).ForEach(func(name, value gjson.Result) bool {
		folded, _, _ := strings.Cut(strings.ReplaceAll(name.String(), "_", ""), "\x00")
		if strings.EqualFold(folded, "model") || (tokenLimit != "" && strings.EqualFold(folded, strings.ReplaceAll(tokenLimit, "_", ""))) {
			governed = append(governed, value)
		} else {
			others = append(others, name.Raw+":"+value.Raw)
		}
		return true
	})
	return others, governed
}
