package chatcompletion

import (
	"net/http"
	"net/url"
	"path"
	"regexp"
	"sort"
	"strings"
	"sync"
)

// kind is the kind of an endpoint, which determines how its requests are handled.
type kind string

// Values of Config.Routes.
const (
	completions         kind = "completions"           // governed
	embeddings          kind = "embeddings"            // governed
	responses           kind = "responses"             // governed
	messages            kind = "messages"              // governed
	countMessages       kind = "countTokens"           // governed
	generateContent     kind = "generateContent"       // governed
	realtime            kind = "realtime"              // governed: a WebSocket
	governedPassthrough kind = "passthrough: governed" // forwarded with a governed model
	passthrough         kind = "passthrough"           // forwarded unmodified
	models              kind = "models"                // the list of allowed models
	ownUsage            kind = "usage"                 // the usage report of the consumer that requests it
	deny                kind = "deny"                  // refused
)

// Kinds of endpoints that another value of Config.Routes stands for.
const (
	countResponses        kind = "countTokens: responses" // countTokens, at OpenAI's path
	streamGenerateContent kind = "streamGenerateContent"  // generateContent, as the following
	countContents         kind = "countTokens: contents"
	embedContent          kind = "embedContent"
	batchEmbedContents    kind = "batchEmbedContents"
	predict               kind = "predict"
)

// kinds are the values of Config.Routes in the order of error messages.
var kinds = []string{
	string(completions), string(embeddings), string(responses), string(messages), string(countMessages), string(generateContent), string(realtime),
	string(models), string(ownUsage), string(passthrough), string(governedPassthrough), string(deny),
}

// route assigns a kind to the paths that end in suffix, and to those that match pattern.
type route struct {
	suffix        string // normalized; a segment * stands for any one segment
	kind          kind
	isSuffixAlias bool           // added by suffixAlias, not configured
	pattern       *regexp.Regexp // set by pathPattern; nil: the suffix is all
}

// anyPath is the key of Config.Routes for paths that match no other key.
const anyPath = "*"

// parseRoutes parses Config.Routes. base is the prefix of the provider's paths.
func parseRoutes(bad *problems, routes map[string]string, base string) []route {
	var parsed []route
	keys := map[string]string{}
	for _, key := range sortedKeys(routes) {
		value := routes[key]
		r := route{suffix: anyPath, kind: kindNamed(value)}
		if key != anyPath {
			r.suffix = normalizePath(key)
			checkKey(bad, key, r)
		}
		if other, twice := keys[r.suffix]; twice {
			bad.add("routes."+key, "matches the same paths as %q; remove one of them", other)
		}
		if r.kind == "" {
			bad.add("routes."+key, `must be one of "%s", got %q`, strings.Join(kinds, `", "`), value)
		}
		if r.kind == models && strings.Contains(r.suffix, anyPath) {
			bad.add("routes."+key, "%s requires a path without %q, such as /v1/models; the name of a model may follow it", models, anyPath)
		}
		if r.kind == ownUsage && strings.Contains(r.suffix, anyPath) {
			bad.add("routes."+key, "%s requires a path without %q, such as /v1/usage", ownUsage, anyPath)
		}
		if r.kind == generateContent && !strings.HasSuffix(r.suffix, "/"+anyPath) {
			bad.add("routes."+key, "%s requires a path that ends in /%s, such as /v1beta/models/%s", generateContent, anyPath, anyPath)
		}
		if r.kind == countMessages && strings.HasSuffix(r.suffix, responsesSuffix+"/input_tokens") {
			r.kind = countResponses
		}
		keys[r.suffix] = key
		parsed = append(parsed, r)
	}
	for _, r := range parsed {
		if tail := suffixAlias(r); tail != "" && keys[tail] == "" {
			keys[tail] = tail
			parsed = append(parsed, route{suffix: tail, kind: r.kind, isSuffixAlias: true})
		}
		if list := normalizePath(base + "/models"); r.kind == models && keys[list] == "" && base != "" {
			keys[list] = list
			parsed = append(parsed, route{suffix: list, kind: models}) // and each model below it
		}
	}
	checkBelowModels(bad, parsed, keys)
	if hasKind(parsed, generateContent) {
		parsed = append(parsed, route{suffix: actionSuffix, kind: generateContent, isSuffixAlias: true})
	}
	for i := range parsed {
		parsed[i].pattern = pathPattern(parsed[i])
	}
	sort.Slice(parsed, func(i, j int) bool {
		return precedes(lookUpSuffix(parsed[i]), lookUpSuffix(parsed[j]))
	})
	return parsed
}

// hasKind reports whether one of the routes is for a kind.
func hasKind(routes []route, k kind) bool {
	for _, r := range routes {
		if r.kind == k {
			return true
		}
	}
	return false
}

// actionSuffix is the suffix of the route for actions that use a model, wherever that is in the path:
// Google also serves them below tunedModels, dynamic and endpoints, where no passthrough may lead.
const actionSuffix = "/:"

// actionForm matches the normalized paths of such actions, whatever follows.
var actionForm = regexp.MustCompile(`:[a-z]*(?:generate|embed|predict|count)`)

// keyForm matches keys in which a * is a whole segment, and unnamedForm those without a name.
var (
	keyForm     = regexp.MustCompile(`^(/(\*|` + nameForm + `))+$`)
	unnamedForm = regexp.MustCompile(`^(/\*)+$`)
)

// checkKey checks the form of a key. Without a name, /* would match nearly every path, and so would
// the alias of /v1/*.
func checkKey(bad *problems, key string, r route) {
	const form = "must be the end of a path, such as /v1/models, or %q alone; "
	if unnamedForm.MatchString(r.suffix) || unnamedForm.MatchString(suffixAlias(r)) {
		bad.add("routes."+key, form+"after the version, a name must stand beside %q, as in /v1/files/*", anyPath, anyPath)
	} else if !keyForm.MatchString(r.suffix) {
		bad.add("routes."+key, form+"a %q in a path stands for one whole segment, as in /v1/files/*", anyPath, anyPath)
	}
}

// checkBelowModels checks that no key with a * stands below a list of models, whose route also
// matches the names that follow it.
func checkBelowModels(bad *problems, routes []route, keys map[string]string) {
	for _, list := range routes {
		for _, r := range routes {
			if list.kind == models && !list.isSuffixAlias && r.kind != generateContent && strings.Contains(r.suffix, anyPath) && strings.Contains(r.suffix, list.suffix+"/") {
				bad.add("routes."+keys[r.suffix], "has no effect: what follows the model list %q is the name of a model", list.suffix)
			}
		}
	}
}

// pathPattern returns a pattern for the paths of a route that do not end in its suffix; nil: there
// are none. Any path of one model stands below its list.
func pathPattern(r route) *regexp.Regexp {
	suffix := regexp.QuoteMeta(r.suffix)
	switch {
	case r.suffix == actionSuffix:
		return actionForm
	case r.kind == models && !r.isSuffixAlias:
		return regexp.MustCompile(suffix + "/")
	case r.suffix != anyPath && strings.Contains(r.suffix, anyPath):
		return regexp.MustCompile(strings.ReplaceAll(suffix, `\*`, "[^/]+") + "$")
	}
	return nil
}

// precedes reports whether a suffix is looked up before another: segment by segment from the end of
// the path, a name precedes a *, and a longer suffix one that has ended. A * therefore never hides
// an endpoint that another key names. anyPath is the last.
func precedes(suffix, other string) bool {
	form, otherForm := precedence(suffix), precedence(other)
	switch {
	case form != otherForm:
		return form > otherForm
	case len(suffix) != len(other):
		return len(suffix) > len(other)
	}
	return suffix < other
}

// lookUpSuffix returns the suffix by whose precedence a route is looked up. What follows a list of
// models is for the list, except where the action of a model is governed.
func lookUpSuffix(r route) string {
	if r.kind == generateContent && r.suffix != actionSuffix {
		return strings.TrimSuffix(r.suffix, anyPath) + "model"
	}
	return r.suffix
}

// precedence returns one character per segment of a suffix, from its last to its first: n for a
// name, * for a *. It is empty for anyPath.
func precedence(suffix string) string {
	form := ""
	for _, segment := range strings.Split(suffix, "/")[1:] {
		if segment != anyPath {
			segment = "n"
		}
		form = segment + form
	}
	return form
}

// suffixAlias returns the part of a route's suffix after the version, or "". Providers also serve
// the endpoint below other prefixes, such as /v1beta/openai, where a request must not bypass the
// rules of the endpoint. A passthrough route has no rules.
func suffixAlias(r route) string {
	_, tail, found := strings.Cut(r.suffix, versionSegment)
	switch {
	case r.kind == generateContent:
		return "/models/" + anyPath
	case found && r.kind != passthrough:
		return "/" + tail
	}
	return ""
}

// responsesSuffix is the path of the Responses API after the version.
const responsesSuffix = "/responses"

// kindNamed returns the kind that a configured value names, or "" for an unknown value.
func kindNamed(value string) kind {
	value = strings.Join(strings.Fields(strings.ReplaceAll(strings.ToLower(value), ":", ": ")), " ")
	for _, k := range kinds {
		if strings.EqualFold(value, k) {
			return kind(k)
		}
	}
	return ""
}

// pathMaxBytes is the maximum length of a path that is matched. Longer paths are governed as
// completions.
const pathMaxBytes = 8 << 10

// canonicalPathForm matches paths without characters that servers treat differently.
var canonicalPathForm = regexp.MustCompile(`^(/` + nameForm + `)+/?$`)

// nameForm is the form of their segments.
const nameForm = `[A-Za-z0-9_~!$&'()+,=:@.-]+`

// kindOf returns the kind of the endpoint at a path: that of the first route that matches, in the
// order of precedes. A path without a match is governed as completions, and so is a path that some server
// may treat as another path, of a passthrough or of a count of tokens, which is not charged.
func kindOf(routes []route, target *url.URL) kind {
	rawPath := target.Path
	if len(rawPath) > pathMaxBytes {
		return completions
	}
	normal := normalizePath(rawPath)
	for _, r := range routes {
		if r.suffix != anyPath && !strings.HasSuffix(normal, r.suffix) && (r.pattern == nil || !r.pattern.MatchString(normal)) {
			continue
		}
		if (r.kind == passthrough || r.kind == countMessages || r.kind == countResponses) && !isCanonical(rawPath, normal) {
			return completions
		}
		if target.RawPath != "" && isAmbiguous(routes, r, target.RawPath) {
			return deny
		}
		return r.kind
	}
	return completions
}

// Bounds of a kindCache.
const (
	maxCachedKinds     = 256
	cachedPathMaxBytes = 256
)

// kindCache remembers the kinds of the endpoints at paths: applications call few.
type kindCache struct {
	mu     sync.RWMutex
	byPath map[string]kind
}

// cachedKindOf is kindOf for routes that a cache belongs to.
func cachedKindOf(cache *kindCache, routes []route, target *url.URL) kind {
	cache.mu.RLock()
	k, isKnown := cache.byPath[target.Path]
	cache.mu.RUnlock()
	if !isKnown || target.RawPath != "" {
		return storeKind(cache, target, kindOf(routes, target))
	}
	return k
}

// storeKind remembers the kind of an endpoint, unless it depends on more than the path, and returns
// it.
func storeKind(cache *kindCache, target *url.URL, k kind) kind {
	if target.RawPath != "" || len(target.Path) > cachedPathMaxBytes {
		return k
	}
	cache.mu.Lock()
	if len(cache.byPath) >= maxCachedKinds {
		cache.byPath = map[string]kind{}
	}
	cache.byPath[target.Path] = k
	cache.mu.Unlock()
	return k
}

// isAmbiguous reports whether a path that would be passed through has an escaped slash. Some servers
// take it for part of a segment, which the * of another key may stand for.
func isAmbiguous(routes []route, matched route, escapedPath string) bool {
	if (matched.kind != passthrough && matched.kind != governedPassthrough) || !strings.Contains(strings.ToLower(escapedPath), "%2f") {
		return false
	}
	for _, r := range routes {
		if strings.Contains(r.suffix, "/"+anyPath) {
			return true
		}
	}
	return false
}

// pathParameters matches what some servers remove from the end of a segment.
var pathParameters = regexp.MustCompile(`(;[^/]*|[.\x00-\x20\x7f]+)(/|$)`)

// normalizePath returns one form for all spellings of a path that some server treats as the same,
// so that no spelling of a governed path matches another route. It resolves case, escapes (up to
// three levels), repeated slashes, backslashes, dot segments, parameters, dots and white space at
// the end of a segment, and cuts the path at a NUL.
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

// isCanonical reports whether a path equals its normal form, apart from case and a trailing slash.
func isCanonical(rawPath, normal string) bool {
	return canonicalPathForm.MatchString(rawPath) && strings.EqualFold(strings.TrimSuffix(rawPath, "/"), normal)
}

// canonicalPath returns the escaped form under which a path was looked up, which no server takes for
// another path; "" if the path is canonical already.
func canonicalPath(path string) string {
	normal := normalizePath(path)
	if isCanonical(path, normal) {
		return ""
	}
	return (&url.URL{Path: normal}).EscapedPath()
}

// joinBase returns the provider's path for one of OpenAI's: what follows the version is appended to
// the base path. Other paths are the provider's own.
func joinBase(base, escapedPath string) string {
	at := strings.Index(strings.ToLower(escapedPath), versionSegment)
	if at < 0 {
		return escapedPath
	}
	return base + escapedPath[at+len(versionSegment)-1:]
}

// chainedRoutes returns the routes for requests that an instance before has governed: those of the
// configuration, then the paths of each kind.
func chainedRoutes(routes []route) []route {
	if len(routes) > 0 && routes[len(routes)-1].suffix == anyPath {
		return routes
	}
	return append(append([]route{}, routes...),
		route{suffix: "/chat/completions", kind: completions}, route{suffix: "/embeddings", kind: embeddings},
		route{suffix: responsesSuffix, kind: responses}, route{suffix: responsesSuffix + "/input_tokens", kind: countResponses},
		route{suffix: "/messages", kind: messages}, route{suffix: "/messages/count_tokens", kind: countMessages},
		route{suffix: "/realtime", kind: realtime}, route{suffix: actionSuffix, kind: generateContent, pattern: actionForm},
		route{suffix: anyPath, kind: governedPassthrough})
}

// listedModelPattern returns a pattern that finds the model in a path below a list of models.
func listedModelPattern(routes []route) *regexp.Regexp {
	var lists []string
	for _, r := range routes {
		if r.kind == models && !r.isSuffixAlias {
			lists = append(lists, regexp.QuoteMeta(r.suffix))
		}
	}
	return regexp.MustCompile(`(?is)(?:` + strings.Join(lists, "|") + `)/(.+?)/?$`)
}

// setPath replaces the path of the request with an escaped path. It keeps the query.
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
