package chatcompletion

import (
	"net/http"
	"regexp"
	"strings"
)

// protocol is a row of the protocols that clients speak: what all its endpoints have in common. Its
// errors are in errors_formats.go, the schemas of its requests in schema_*.go, its endpoints in
// routes_kinds.go, and what its responses are read with in response_protocols.go.
type protocol struct {
	name          string // in presets
	errors        errorFormat
	authHeader    string // in which its SDKs send a key, and its providers expect it
	basePath      string // prefix of its paths; empty: that of the provider
	defaultHeader string // a header that its providers require; empty: there is none
	defaultValue  string // of that header, which names the version of the protocol
}

// The protocols.
var (
	openAIProtocol    = &protocol{name: "openai", errors: openAIErrors, authHeader: authorization}
	anthropicProtocol = &protocol{
		name: "anthropic", errors: anthropicErrors, authHeader: "X-Api-Key",
		defaultHeader: "Anthropic-Version", defaultValue: "2023-06-01",
	}
	geminiProtocol = &protocol{name: "gemini", errors: googleErrors, authHeader: "X-Goog-Api-Key", basePath: "/v1beta"}
)

// clientProtocol returns the protocol of a request to an endpoint that several protocols have.
func clientProtocol(req *http.Request) *protocol {
	switch {
	case req.Header[anthropicProtocol.defaultHeader] != nil:
		return anthropicProtocol
	case isGeminiPath(req.URL.Path):
		return geminiProtocol
	}
	return openAIProtocol
}

// isGeminiPath reports whether a path is one of Gemini's own protocol, whose clients may send their key
// in the query.
func isGeminiPath(path string) bool {
	return strings.Contains(path, "/v1beta/") && !strings.Contains(path, "/v1beta/openai/")
}

// errorsFor returns the format of errors for a request to an endpoint that several protocols have.
func errorsFor(req *http.Request) errorFormat {
	return clientProtocol(req).errors
}

// protocolPreset is what a provider has for a protocol other than OpenAI's.
type protocolPreset struct {
	provider   string // name of its preset
	protocol   string
	basePath   string // prefix of its paths
	authHeader string // header of the key
}

// protocolPresets are the providers whose base path, or header of the key, for a protocol is another
// than that of their preset and of the protocol. docs/configuration.md links the documentation of each.
var protocolPresets = []protocolPreset{
	{"anthropic", "anthropic", "/v1", "X-Api-Key"},
	{"gemini", "gemini", "/v1beta", "X-Goog-Api-Key"},
	{"azure", "anthropic", "/anthropic/v1", "X-Api-Key"},
	{"deepseek", "anthropic", "/anthropic/v1", "X-Api-Key"},
	{"fireworks", "anthropic", "/inference/v1", authorization},
	{"openrouter", "anthropic", "/api/v1", authorization},
	{"ollama", "anthropic", "/v1", authorization},
	{"vllm", "anthropic", "/v1", authorization},
	{"llamacpp", "anthropic", "/v1", authorization},
}

// presetFor returns what a provider has for a protocol.
func presetFor(known *preset, of *protocol) protocolPreset {
	if of == openAIProtocol {
		return protocolPreset{basePath: known.basePath, authHeader: known.authHeader}
	}
	for i := range protocolPresets {
		if row := protocolPresets[i]; row.provider == known.name && row.protocol == of.name {
			return row
		}
	}
	base := of.basePath
	if base == "" {
		base = known.basePath
	}
	return protocolPreset{basePath: base, authHeader: of.authHeader}
}

// Google's APIs have parameters of the query, and a header, that choose which members a response has, and in
// what format: a client could leave the usage out, or make it unreadable. All others that begin with $ are
// replacements for headers.
const (
	systemParameters = "fields callback alt"
	fieldMaskHeader  = "X-Goog-Fieldmask"
)

var (
	systemQuery = newSystemQuery()
	formatQuery = regexp.MustCompile(`(?:^|[&;])alt=(sse|json)(?:[&;]|$)`)
)

// newSystemQuery reads no package variable (traefik/yaegi#1585).
func newSystemQuery() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:^|[&;])(?:` + escapedNames(systemParameters) + `|(?:\$|%24)[^&;=]*)=[^&;]*`)
}

// removeSystemParameters removes what a client could hide the usage of a response with. Of formats, those
// that can be read stay.
func removeSystemParameters(req *http.Request) {
	if req.Header[fieldMaskHeader] != nil {
		req.Header = req.Header.Clone()
		delete(req.Header, fieldMaskHeader)
	}
	query := req.URL.RawQuery
	if query == "" || query == "alt=sse" || !systemQuery.MatchString(query) {
		return
	}
	kept := strings.TrimLeft(systemQuery.ReplaceAllString(query, ""), "&;")
	if format := formatQuery.FindStringSubmatch(query); format != nil {
		kept = strings.TrimLeft(kept+"&alt="+format[1], "&")
	}
	req.URL.RawQuery = kept
	req.RequestURI = req.URL.RequestURI() // see setPath
}
