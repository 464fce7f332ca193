package chatcompletion_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/tidwall/gjson"
)

// protocolPresets are providers, and the base paths of their endpoints for Anthropic's and Gemini's protocol.
var protocolPresets = []string{"", "anthropic", "gemini", "openai-compatible"}

// newProtocolForwarders creates a middleware for each of protocolPresets, which enforces the model "governed".
func newProtocolForwarders(f *testing.F, config map[string]any) []func(*testing.T, *http.Request) *forwardedRequest {
	f.Helper()
	var all []func(*testing.T, *http.Request) *forwardedRequest
	for _, preset := range protocolPresets {
		delete(config, "provider")
		if preset != "" {
			config["provider"] = preset
		}
		all = append(all, newForwarder(f, config))
	}
	return all
}

// protocolRoutes are the routes of all endpoints of Anthropic's and Gemini's protocol, beside those that are passed through.
var protocolRoutes = map[string]any{
	"/v1/chat/completions": "completions", "/v1/messages": "messages", "/v1/messages/count_tokens": "countTokens", "/v1beta/models/*": "generateContent",
	"/v1/models": "models", "/v1/files/*": "passthrough", "/v1beta/*/*": "passthrough", "/v1beta/files/*": "passthrough", "*": "passthrough",
}

// generatingPath matches the paths at which some server may generate with the model in them, or count its tokens.
var generatingPath = regexp.MustCompile(`([^/]+):[a-z]*(?:generatecontent|embedcontents?|counttokens|predict|generatetext|generatemessage)$`)

// otherModelOf returns a model other than "governed" that some server may find in a path.
func otherModelOf(escaped string) string {
	for _, form := range formsOf(escaped) {
		if parts := generatingPath.FindStringSubmatch(strings.ToLower(form)); parts != nil && parts[1] != "governed" {
			return parts[1] + " in " + form
		}
	}
	return ""
}

// FuzzProtocolPathsAreGoverned sends paths in all spellings to middlewares that enforce a model: what is forwarded names no other
// model in its path, and if it has the client's model in its body, no server may take its path for that of a governed endpoint.
func FuzzProtocolPathsAreGoverned(f *testing.F) {
	for _, seed := range []string{
		"/v1/messages", "/v1/Messages/", "/v1//messages", "/v1/x/../messages", "/v1/messages%2fcount_tokens", "/anthropic/v1/messages", "/v1/messages;x", "/v1/messages%00", "/v1/messages/count_tokens?beta=true",
		"/v1beta/models/other:generateContent", "/v1beta/models/other%3AgenerateContent", "/v1beta/models/other:streamGenerateContent?alt=sse", "/v1/models/other:countTokens", "/v1beta/models/other:GENERATECONTENT",
		"/v1beta/models/other:generateContent/", "/v1beta/models/other:generateContent;x=1", "/v1beta//models/other:generateContent", "/v1beta/models//other:generateContent", "/v1beta/models/a/../other:generateContent",
		"/v1beta/models/models/other:generateContent", "/v1beta/tunedModels/other:generateContent", "/v1beta/TunedModels/other:generateContent", "/v1beta/dynamic/other:generateContent", "/v1beta/models/governed:x:generateContent",
		"/v1beta/models/other:generateContent:generateContent", "/v1beta/models/a%2Fother:generateContent", "/v1beta/models%2Fother:generateContent", "/v1beta%2Fmodels%2Fother%3AgenerateContent", "/v1beta/models/other%253AgenerateContent",
		"/v1/projects/p/locations/l/publishers/google/models/other:generateContent", "/v1/projects/p/locations/l/endpoints/other:generateContent", "/v1beta/models/other:batchGenerateContent", "/v1beta/models/other:unknown",
		"/models/other:generateContent", "/v1beta/models/../models/other:generateContent", "/v1beta/models/./other:generateContent", `/v1beta\models\big:generateContent`, "/v1beta/models/other:generateContent%00", "/v1beta/models/other:generateContent.",
		"/v1beta/models/governed/..%2Fother:generateContent", "/v1beta/models/other?:generateContent", "/v1beta/models/other%3F:generateContent", "/v1beta/models/other%23:generateContent", "/v1beta/models/other:generateContent#x", "/v1beta/models/:generateContent",
		"/v1beta/models/other:predict", "/v1beta/models/other:embedContent", "/v1beta/models/other:batchEmbedContents", "/v1beta/models/other:asyncBatchEmbedContent", "http://host/v1beta/models/other:generateContent", "/v1beta/files/other:generateContent",
	} {
		for i := range protocolPresets {
			f.Add(seed, uint8(i))
		}
	}
	middlewares := newProtocolForwarders(f, map[string]any{"model": "governed", "routes": protocolRoutes})
	tails := []string{"/messages", "/messages/count_tokens", "/chat/completions"}
	f.Fuzz(func(t *testing.T, target string, preset uint8) {
		body := `{"contents":[{"parts":[{"text":"Hi"}]}],"messages":[{"role":"user","content":"Hi"}],"max_tokens":1,"content":{"parts":[]},"requests":[{"model":"models/other","content":{}}]}`
		bodies := []string{`{"model":"other",` + body[1:], body}
		for _, sent := range bodies {
			req := requestFor(http.MethodPost, target, sent)
			if req == nil {
				return
			}
			got := middlewares[int(preset)%len(middlewares)](t, req)
			if got == nil {
				continue
			}
			path := got.request.URL.EscapedPath()
			if other := otherModelOf(path); other != "" {
				t.Errorf("%q is forwarded as %q, which may be read as the model %s", target, path, other)
			}
			if strings.Contains(path, "governed:") || gjson.Get(got.body, "model").Str == "governed" {
				continue
			}
			if tail, may := mayMatch(path, "", "", tails); may {
				t.Errorf("%q is forwarded ungoverned as %q, which may match %q", target, path, tail)
			}
		}
	})
}

// protocolTargets are governed endpoints whose bodies may name models in several places.
var protocolTargets = []string{
	"/v1/messages", "/v1/messages/count_tokens", "/v1beta/models/governed:generateContent", "/v1beta/models/alias:streamGenerateContent", "/v1beta/models/governed:countTokens", "/v1beta/models/other:countTokens",
	"/v1beta/models/governed:embedContent", "/v1beta/models/governed:batchEmbedContents", "/v1beta/models/other:batchEmbedContents",
}

// FuzzProtocolBodiesAreGoverned sends bodies to the endpoints of Anthropic's and Gemini's protocol: wherever a tolerant parser looks for
// a model or a token limit in what is forwarded, it finds those only that the policy allows.
func FuzzProtocolBodiesAreGoverned(f *testing.F) {
	for _, members := range []string{
		`"messages":[{"role":"user","content":"Hi"}],"max_tokens":500`, `"messages":[],"max_tokens":1`, `"model":"other","messages":[{"role":"user","content":[{"type":"text","text":"model"}]}],"max_tokens":5,"fallbacks":[{"model":"other"}]`,
		`"contents":[{"parts":[{"text":"Hi"}]}]`, `"contents":{"parts":{"text":"Hi"}},"generationConfig":{"maxOutputTokens":500}`, `"contents":[],"generation_config":{"max_output_tokens":500}`, `"contents":[{}],"generationConfig":{"max_output_tokens":500}`,
		`"contents":[{}],"generationConfig":{"maxOutputTokens":5,"maxOutputTokens":500}`, `"contents":[{}],"generationConfig":{"maxOutputTokens":5},"generationConfig":{"maxOutputTokens":500}`, `"contents":[{}],"model":"models/other"`, `"contents":[{}],"Model":"models/governed"`,
		`"contents":[{}],"model":"models/governed","mod\u0065l":"other"`, `"contents":[{}],"generationConfig":{"routingConfig":{"manualMode":{"modelName":"other"}}}`, `"contents":[{}],"generationConfig":{"maxOutput\u0054okens":500}`, `"contents":[{}],"generationConfig":"x"`,
		`"generateContentRequest":{"model":"models/other","contents":[{}]}`, `"generateContentRequest":{"model":"models/governed","model":"models/other"}`, `"generateContentRequest":{"Model":"models/other"}`, `"generate_content_request":{"model":"models/other"}`,
		`"generateContentRequest":{"model":"models/governed"},"generateContentRequest":{"model":"models/other"}`, `"requests":[{"model":"models/other","content":{}}]`, `"requests":[{"model":"models/governed","content":{}},{"model":"models/other","content":{}}]`,
		`"requests":[{"model":"models/governed","mod\u0065l":"models/other","content":{}}]`, `"requests":[{"model":"models/governed","content":{}}],"requests":[{"model":"models/other","content":{}}]`, `"content":{"parts":[]},"model":"models/other"`, `"content":{},"model":null`,
		`"contents":[{}],"generationConfig":null`, `"contents":[{}],"generationConfig":{"maxOutputTokens":null}`, `"contents":[{}],"generationConfig":{"maxOutputTokens":-1}`, `"messages":[{"role":"user","content":"Hi"}],"max_tokens":null`, `"messages":[{"role":"user","content":"Hi"}],"maxTokens":5`,
		`"contents":[{}],"generationConfig":{"maxOutputTokens\u0000":500}`, "\"contents\":[{}],\"x\":\"\x7f\",\"generationConfig\":{\"x\":\"\x7f\",\"maxOutputTokens\":500}",
	} {
		for i := range protocolTargets {
			f.Add([]byte("{"+members+"}"), uint8(i))
		}
	}
	middleware := newForwarder(f, map[string]any{
		"model": "governed", "limits": map[string]any{"maxTokens": 100}, "modelAliases": map[string]any{"alias": "governed"}, "routes": protocolRoutes,
	})
	f.Fuzz(func(t *testing.T, body []byte, endpoint uint8) {
		target := protocolTargets[int(endpoint)%len(protocolTargets)]
		got := middleware(t, requestFor(http.MethodPost, target, string(body)))
		if got == nil {
			return
		}
		if path := got.request.URL.Path; strings.Contains(target, ":") && !strings.Contains(path, "/models/governed:") {
			t.Errorf("%s is forwarded to %q", target, path)
		}
		kind := strings.ToLower(target[strings.LastIndexAny(target, "/:")+1:])
		limits := checkProtocolBody(t, gjson.Parse(got.body), kind, "", got.body)
		if generates := strings.HasSuffix(kind, "generatecontent") || kind == "messages"; generates && limits != 1 {
			t.Errorf("%s: %q is forwarded as %q, with %d token limits, want 1", target, body, got.body, limits)
		}
	})
}

// checkProtocolBody checks the models and token limits that an endpoint reads in an object at a place of a forwarded body. It returns
// the number of token limits.
func checkProtocolBody(t *testing.T, object gjson.Result, kind, at, body string) int {
	t.Helper()
	limits := 0
	isContent := strings.HasSuffix(kind, "generatecontent")
	object.ForEach(func(name, value gjson.Result) bool {
		folded := foldName(name.String())
		switch {
		case !object.IsObject():
			limits += checkProtocolBody(t, value, kind, "requests[]", body)
		case folded == "model" && at != "generationconfig":
			if value.Type != gjson.Null && value.String() != "" && value.String() != "governed" && value.String() != "models/governed" {
				t.Errorf("forwarded the model %s: %q", value.Raw, body)
			}
		case folded == "fallbacks" && kind == "messages", folded == "routingconfig" && at == "generationconfig":
			t.Errorf("forwarded %s: %q", name, body)
		case folded == "maxtokens" && kind == "messages", folded == "maxoutputtokens" && at == "generationconfig":
			limits++
			if value.Type != gjson.Number || value.Num < 0 || value.Num > 100 {
				t.Errorf("forwarded the token limit %s: %q", value.Raw, body)
			}
		case at != "":
		case folded == "requests" && kind == "batchembedcontents", folded == "generatecontentrequest" && kind == "counttokens", folded == "generationconfig" && isContent:
			limits += checkProtocolBody(t, value, kind, folded, body)
		}
		return true
	})
	return limits
}

// foldName returns a name as tolerant parsers compare it.
func foldName(name string) string {
	name, _, _ = strings.Cut(strings.ReplaceAll(name, "_", ""), "\x00")
	for _, known := range []string{"model", "fallbacks", "routingConfig", "maxTokens", "maxOutputTokens", "requests", "generateContentRequest", "generationConfig"} {
		if strings.EqualFold(name, known) {
			return strings.ToLower(known)
		}
	}
	return name
}
