package chatcompletion

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"sort"
	"strings"
)

// canonicalPath returns what a path has been looked up as, escaped, which no server takes for another; "" if it is that itself.
func canonicalPath(path string) string {
	normal := normalizePath(path)
	if isCanonical(path, normal) {
		return ""
	}
	return (&url.URL{Path: normal}).EscapedPath()
}

// joinBase returns the provider's path for one of OpenAI's: what stands behind the version goes behind the base. Other
// paths are the provider's own.
func joinBase(base, escapedPath string) string {
	at := strings.Index(strings.ToLower(escapedPath), versionSegment)
	if at < 0 {
		return escapedPath
	}
	return base + escapedPath[at+len(versionSegment)-1:]
}

// chainedRoutes returns the routes for requests that an instance before has governed: those of the configuration, and behind
// them where OpenAI has the endpoints of each kind.
func chainedRoutes(routes []route) []route {
	if len(routes) > 0 && routes[len(routes)-1].suffix == anyPath {
		return routes
	}
	return append(append([]route{}, routes...),
		route{suffix: "/chat/completions", kind: completions}, route{suffix: "/embeddings", kind: embeddings},
		route{suffix: "/responses", kind: responses}, route{suffix: anyPath, kind: governedPassthrough})
}

// modelPathPattern returns what finds the model that a path names behind that of a list of models.
func modelPathPattern(routes []route) *regexp.Regexp {
	var lists []string
	for _, r := range routes {
		if r.kind == models && !r.isSuffixAlias {
			lists = append(lists, regexp.QuoteMeta(r.suffix))
		}
	}
	return regexp.MustCompile(`(?is)(?:` + strings.Join(lists, "|") + `)/(.+?)/?$`)
}

// kind is what an endpoint is to the middleware.
type kind string

// Values of Config.Routes.
const (
	completions         kind = "completions"           // governed
	embeddings          kind = "embeddings"            // governed
	responses           kind = "responses"             // governed
	governedPassthrough kind = "passthrough: governed" // handed on with a governed model
	passthrough         kind = "passthrough"           // handed on as it is
	models              kind = "models"                // the list of models that may be used
	deny                kind = "deny"                  // refused
)

// kinds are the values of Config.Routes.
var kinds = []string{
	string(completions), string(embeddings), string(responses), string(models), string(passthrough), string(governedPassthrough), string(deny),
}

// route gives paths that end in suffix a kind.
type route struct {
	suffix        string // normalized
	kind          kind
	isSuffixAlias bool // it is not a key, but what suffixAlias makes of one
}

// anyPath is the key of Config.Routes for paths that no other key matches.
const anyPath = "*"

// parseRoutes reads Config.Routes; base is that of the provider's paths.
func parseRoutes(bad *problems, routes map[string]string, base string) []route {
	var parsed []route
	keys := map[string]string{}
	for _, key := range sortedKeys(routes) {
		value := routes[key]
		r := route{suffix: anyPath, kind: kindNamed(value)}
		if key != anyPath {
			r.suffix = normalizePath(key)
		}
		if key != anyPath && (!plainPath.MatchString(r.suffix) || r.suffix == "/") {
			bad.add("routes."+key, "must be the end of a path, such as /v1/models, or %q alone", anyPath)
		}
		if other, twice := keys[r.suffix]; twice {
			bad.add("routes."+key, "means the same paths as %q", other)
		}
		if r.kind == "" {
			bad.add("routes."+key, `%q is none of "%s"`, value, strings.Join(kinds, `", "`))
		}
		if r.kind == models && key == anyPath {
			bad.add("routes."+key, "%s have a path of their own, such as /v1/models", models)
		}
		keys[r.suffix] = key
		parsed = append(parsed, r)
	}
	for _, r := range parsed {
		if tail := suffixAlias(r); tail != "" && keys[tail] == "" {
			keys[tail] = tail
			parsed = append(parsed, route{tail, r.kind, true})
		}
		if list := normalizePath(base + "/models"); r.kind == models && keys[list] == "" && base != "" {
			keys[list] = list
			parsed = append(parsed, route{suffix: list, kind: models}) // and each model behind it
		}
	}
	sort.Slice(parsed, func(i, j int) bool {
		if len(parsed[i].suffix) != len(parsed[j].suffix) {
			return len(parsed[i].suffix) > len(parsed[j].suffix)
		}
		return parsed[i].suffix < parsed[j].suffix
	})
	return parsed // * is the shortest, and so the last
}

// suffixAlias returns what stands behind the version in the suffix of an endpoint that has rules: a provider has it below other
// paths, too, such as /v1beta/openai. No way around the rules must lead there.
func suffixAlias(r route) string {
	if _, tail, found := strings.Cut(r.suffix, versionSegment); found && r.kind != passthrough {
		return "/" + tail
	}
	return ""
}

// kindNamed returns the kind that a value of the configuration means, "" if it is none.
func kindNamed(value string) kind {
	value = strings.Join(strings.Fields(strings.ReplaceAll(strings.ToLower(value), ":", ": ")), " ")
	for _, k := range kinds {
		if value == k {
			return kind(k)
		}
	}
	return ""
}

// pathMaxBytes is the length up to which a path is looked at: longer ones are governed.
const pathMaxBytes = 8 << 10

// plainPath is a path without a character that servers treat differently.
var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9_~!$&'()+,=:@.-]+)+/?$`)

// kindOf returns the kind of the endpoint at a path: that of the longest suffix. No match is governed, and so is a path
// that would pass through but that some server may take for another one.
func kindOf(routes []route, rawPath string) kind {
	if len(rawPath) > pathMaxBytes {
		return completions
	}
	normal := normalizePath(rawPath)
	for _, r := range routes {
		if r.suffix != anyPath && !strings.HasSuffix(normal, r.suffix) && !isModelPath(r, normal) {
			continue
		}
		if r.kind == passthrough && !isCanonical(rawPath, normal) {
			return completions
		}
		return r.kind
	}
	return completions
}

// isModelPath tells whether a path is that of one model of the list at a route.
func isModelPath(r route, normal string) bool {
	return r.kind == models && !r.isSuffixAlias && strings.Contains(normal, r.suffix+"/")
}

// pathParameters are what some servers cut off a segment before they look it up.
var pathParameters = regexp.MustCompile(`(;[^/]*|[.\x00-\x20\x7f]+)(/|$)`)

// normalizePath makes one of all spellings of a path that some server takes for the same, so that no spelling of a
// governed path is taken for another path: case, escapes (also escaped twice), doubled and backward slashes, dot
// segments, parameters, and at the end of a segment dots, white space and what follows a NUL.
func normalizePath(raw string) string {
	for i := 0; i < 3 && strings.Contains(raw, "%"); i++ {
		decoded, err := url.PathUnescape(raw)
		if err != nil {
			break
		}
		raw = decoded
	}
	raw, _, _ = strings.Cut(raw, "\x00")
	raw = strings.ReplaceAll(strings.ToLower(raw), `\`, "/")
	raw = path.Clean("/" + raw)
	return path.Clean("/" + pathParameters.ReplaceAllString(raw, "$2"))
}

// isCanonical tells whether a path is written as its normal form is, but for case and a slash at the end.
func isCanonical(rawPath, normal string) bool {
	return plainPath.MatchString(rawPath) && strings.EqualFold(strings.TrimSuffix(rawPath, "/"), normal)
}

// setPath makes the request go to another path of the provider, which is escaped; the client's query stays.
func setPath(req *http.Request, escapedPath string) {
	decoded, err := url.PathUnescape(escapedPath)
	if err != nil {
		decoded = escapedPath
	}
	req.URL.Path = decoded
	req.URL.RawPath = escapedPath
	req.URL.Opaque = ""
	req.RequestURI = req.URL.RequestURI() // Traefik's reverse proxy reads the path from here
}
