package chatcompletion

import (
	"net/url"
	"strings"
	"testing"
)

func TestNormalizePath(t *testing.T) {
	const want = "/v1/chat/completions"
	for _, spelling := range []string{
		"/v1/chat/completions", "v1/chat/completions", "/V1/Chat/COMPLETIONS", "/v1/chat/completions/", "//v1//chat/completions",
		"/v1/./chat/completions", "/v1/x/../chat/completions", "/v1/chat%2fcompletions", "/v1/chat%252Fcompletions", "/v1\\chat\\completions",
		"/v1/chat/completions;a=b", "/v1/chat;a/completions", "/v1/chat/completions.", "/v1/chat/completions. ", "/v1/chat/completions\n",
		"/v1/chat\t/completions", "/v1/chat/completions\x00.json", "/v1/chat/completions%00", "/v1/chat/completions;x.", "/%76%31/chat/completions",
	} {
		if got := normalizePath(spelling); got != want {
			t.Errorf("normalizePath(%q) = %q, want %q", spelling, got, want)
		}
	}
}

func FuzzNormalizePath(f *testing.F) {
	for _, seed := range []string{"", "/", "/v1/chat/completions", "/%", "/%25%32%66", "a;b/c;d", "/..//./x.%20", "\\", "/\x00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		normal := normalizePath(raw)
		if !strings.HasPrefix(normal, "/") || strings.Contains(normal, "//") || (len(normal) > 1 && strings.HasSuffix(normal, "/")) {
			t.Errorf("normalizePath(%q) = %q, want a clean path", raw, normal)
		}
		if normal != strings.ToLower(normal) {
			t.Errorf("normalizePath(%q) = %q, want lower case", raw, normal)
		}
	})
}

// FuzzRoutePatterns has two keys that match a path, or do not, and compares the kind with that of a matcher by segments.
func FuzzRoutePatterns(f *testing.F) {
	for _, seed := range [][3]string{
		{"/files/*", "/files/*/content", "/v1/files/a/content"}, {"/files/*", "/content", "/files/content"}, {"/*/content", "/files/*", "/files/content"}, {"x", "/*/x", "/y/x"},
		{"/a/*/c", "/a/b/*", "/A//b/c/"}, {"/a/*", "/b/*", "/a/b%2Fc"}, {"/*/a", "/*/*/a", "/a"}, {"/a/*/*", "/*/b/*", "/a/b/c"}, {"/a*", "/*", "/a"}, {"/(a)/*.", "/./*/.x", "/(a)/b"},
	} {
		f.Add(seed[0], seed[1], seed[2])
	}
	f.Fuzz(func(t *testing.T, key, other, path string) {
		bad := &problems{}
		routes := parseRoutes(bad, map[string]string{key: "deny", other: "embeddings"}, "")
		if len(bad.found) > 0 || key == other || len(path) > pathMaxBytes || strings.Contains(normalizePath(key)+normalizePath(other), versionSegment) {
			return
		}
		want := completions
		segments := reversedSegments(normalizePath(path))
		one, two := reversedSegments(normalizePath(key)), reversedSegments(normalizePath(other))
		switch first, second := key == anyPath || matchesSegments(one, segments), other == anyPath || matchesSegments(two, segments); {
		case first && second && (other == anyPath || (key != anyPath && winsBySegments(one, two))), first && !second:
			want = deny
		case second:
			want = embeddings
		}
		if got := kindOf(routes, &url.URL{Path: path}); got != want {
			t.Errorf("of %q (deny) and %q (embeddings), %q is %q, want %q", key, other, path, got, want)
		}
	})
}

func reversedSegments(path string) []string {
	segments := strings.Split(strings.Trim(path, "/"), "/")
	for i, j := 0, len(segments)-1; i < j; i, j = i+1, j-1 {
		segments[i], segments[j] = segments[j], segments[i]
	}
	return segments
}

// matchesSegments reports whether a key matches the end of a path.
func matchesSegments(key, path []string) bool {
	if len(key) > len(path) {
		return false
	}
	for i := range key {
		if key[i] != path[i] && (key[i] != anyPath || path[i] == "") {
			return false
		}
	}
	return true
}

// winsBySegments reports whether a key applies rather than another one that also matches.
func winsBySegments(key, other []string) bool {
	for i := range key {
		if i == len(other) || (key[i] != anyPath && other[i] == anyPath) {
			return true
		}
		if key[i] == anyPath && other[i] != anyPath {
			return false
		}
	}
	return false
}

func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"$(headers.x)", "a-$(query_params.m)-b", "$(", "$()", "$(uri_captures.model)$(headers.)", "$(headers.a.b)"} {
		f.Add(seed, "(?<model>[a-z]+)")
	}
	f.Fuzz(func(t *testing.T, text, pattern string) {
		bad := &problems{}
		compiled := parseModelPattern(bad, pattern)
		parsed := parseTemplate(bad, "model", text, compiled)
		if len(bad.found) > 0 {
			return
		}
		rebuilt := ""
		for _, part := range parsed.parts {
			if part.source == "" {
				rebuilt += part.text
			} else {
				rebuilt += "$(" + part.source + "." + part.key + ")"
			}
		}
		if rebuilt != text {
			t.Errorf("template %q is parsed as %q", text, rebuilt)
		}
	})
}

func TestRouteKind(t *testing.T) {
	bad := &problems{}
	routes := parseRoutes(bad, map[string]string{
		"/v1/chat/completions": "completions", "/v1/embeddings": "embeddings", "/v1/responses": "responses", "/v1/models": "models",
		"/v1/images/generations": "passthrough: governed", "/v1/files": "deny", "*": "passthrough",
		"/v1/messages": "messages", "/v1/messages/count_tokens": "countTokens", "/v1/responses/input_tokens": "countTokens",
	}, "")
	if len(bad.found) > 0 {
		t.Fatal(bad.found)
	}
	for path, want := range map[string]kind{
		"/v1/chat/completions": completions, "/x/V1/Chat/Completions/": completions, "/v1/models/x/v1/chat/completions": completions,
		"/v1/embeddings": embeddings, "/v1//embeddings;x": embeddings, "/v1/xembeddings": passthrough, "/v1/embeddings/x": passthrough,
		"/v1/responses": responses, "/v1/responses/resp_1": passthrough, "/v1/responses/.": responses, "/v1/responses/x/..": responses,
		"/v1/models": models, "/v1/models/": models, "/v1/models/gpt-4o": models, "/v1/models/meta-llama/Llama": models, "/v1/xmodels": passthrough,
		"/v1/images/generations": governedPassthrough, "/v1/images/generations.": governedPassthrough, "/v1/images/edits": passthrough,
		"/v1/messages/count_tokens/": countMessages, "/x/v1/Messages/count_tokens": countMessages, "/v1/responses/input_tokens": countResponses,
		"/v1/messages?/messages/count_tokens": completions, "/v1/messages#/messages/count_tokens": completions, "/v1/responses;/responses/input_tokens": completions,
		"/v1/files": deny, "/v1/files/": deny, "/v1/x/../files": deny, "/v1/files/abc": passthrough,
		"/v1/batches": passthrough, "/v1/batches;x": completions, "/v1//batches": completions, "/" + strings.Repeat("a", pathMaxBytes): completions,
	} {
		if got := kindOf(routes, &url.URL{Path: path}); got != want {
			t.Errorf("%.80q is %q, want %q", path, got, want)
		}
	}
	for _, path := range []string{"/v1/chat/completions", "/v1/embeddings", "/", "/v1/models", "", "*"} {
		if got := kindOf(nil, &url.URL{Path: path}); got != completions {
			t.Errorf("without routes, %q is %q, want %q", path, got, completions)
		}
	}
}
