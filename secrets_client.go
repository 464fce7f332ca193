package chatcompletion

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

// providerAuth is how requests authenticate to a provider.
type providerAuth struct {
	header          string      // canonical, that carries the key
	credential      *credential // nil: the client's own credentials pass
	clientKeyHeader *keyHeader  // that a client's own key is moved to, without a credential; nil: it stays where it is
	dropsClientKey  bool        // of a fallback: a client's own key is for the first provider
	keyHeaders      []string    // of a fallback: the headers that carry the keys of all providers of the policy
}

// authorize replaces the client's credentials with the provider's key. Without a key there is no request. The header is
// copied first: Traefik's access log keeps the client's, and may be configured to show Authorization.
func authorize(auth *providerAuth, req *http.Request) *apiError {
	cred := auth.credential
	if cred == nil {
		forwardClientKey(auth, req)
		return nil
	}
	value := cred.value
	if cred.source != nil {
		value = secretValue(cred)
	}
	if value == "" {
		return credentialsUnavailable()
	}
	removeClientIdentity(auth, req)
	req.Header[cred.header] = []string{value}
	return nil
}

// forwardClientKey leaves a client's own key to the first provider, where that reads it.
func forwardClientKey(auth *providerAuth, req *http.Request) {
	if auth.dropsClientKey {
		removeClientIdentity(auth, req)
	} else if auth.clientKeyHeader != nil {
		moveClientKey(auth.clientKeyHeader, req)
	}
}

// removeClientIdentity removes the client's own credentials from a request, and at a fallback what was meant for other providers.
func removeClientIdentity(auth *providerAuth, req *http.Request) {
	req.Header = req.Header.Clone()
	removeCredentials(req.Header)
	for _, name := range auth.keyHeaders {
		delete(req.Header, name)
	}
	if req.URL.RawQuery != "" {
		removeQueryCredentials(req)
	}
}

// removeQueryCredentials takes the client's own keys out of the query.
func removeQueryCredentials(req *http.Request) {
	req.URL.RawQuery = withoutCredentials(req.URL.RawQuery)
	req.RequestURI = req.URL.RequestURI() // see setPath
}

// withoutCredentials returns a query without the parameters in which keys are sent. The others stay as they are.
func withoutCredentials(query string) string {
	return strings.TrimLeft(credentialQuery.ReplaceAllString(query, ""), "&;")
}

// clientCredentials are the headers that carry a client's own identity at some provider. With a token configured they
// do not reach the provider: the operator's key would act for them, or they for the key.
var clientCredentials = []string{
	"Authorization", "Api-Key", "X-Api-Key", "X-Goog-Api-Key", "Cookie", "Openai-Organization", "Openai-Project",
}

// removeCredentials takes the client's own identity out of a request.
func removeCredentials(header http.Header) {
	for _, name := range clientCredentials {
		delete(header, name)
	}
	if header[protocolHeader] != nil {
		removeKeyProtocol(header)
	}
}

// isCredential tells whether a header carries somebody's identity.
func isCredential(name string) bool {
	name = http.CanonicalHeaderKey(name)
	for _, credential := range clientCredentials {
		if name == credential {
			return true
		}
	}
	return name == "Proxy-Authorization"
}

// protocolHeader has the protocols of a websocket. Browsers send OpenAI a key among them.
const protocolHeader = "Sec-Websocket-Protocol"

func removeKeyProtocol(header http.Header) {
	header[protocolHeader] = []string{keyProtocol.ReplaceAllString(strings.Join(header[protocolHeader], ","), "")}
}

var keyProtocol = regexp.MustCompile(`(?i)[, ]*openai-insecure-api-key\.[^, ]*`)

// keyHeader is the header that carries a key to a provider.
type keyHeader struct {
	name   string // canonical
	prefix string
}

// keyHeaders are the headers that SDKs send a key in.
var keyHeaders = []string{authorization, "Api-Key", "X-Api-Key", "X-Goog-Api-Key"}

// moveClientKey puts a client's own key where the provider reads it.
func moveClientKey(to *keyHeader, req *http.Request) {
	if req.Header[to.name] != nil {
		return
	}
	for _, name := range keyHeaders {
		key := req.Header.Get(name)
		if name == authorization {
			scheme, token, _ := strings.Cut(key, " ")
			if key = token; !strings.EqualFold(scheme, "Bearer") {
				continue // it is no key
			}
		}
		if key = strings.TrimSpace(key); key != "" {
			req.Header = req.Header.Clone()
			delete(req.Header, name)
			req.Header[to.name] = []string{to.prefix + key}
			return
		}
	}
}

// credentialParameters are the parameters of a query in which keys are sent, in lower case.
const credentialParameters = "key api_key api-key apikey token access_token"

// credentialQuery finds parameters in which keys are sent, however their names are escaped.
var credentialQuery = newCredentialQuery()

// newCredentialQuery reads no variable of the package (traefik/yaegi#1585).
func newCredentialQuery() *regexp.Regexp {
	var names []string
	for _, name := range strings.Fields(credentialParameters) {
		pattern := ""
		for _, letter := range name {
			pattern += fmt.Sprintf("(?:%c|%%%02x)", letter, letter)
			if letter >= 'a' && letter <= 'z' {
				pattern = pattern[:len(pattern)-1] + fmt.Sprintf("|%%%02x)", letter-'a'+'A')
			}
		}
		names = append(names, pattern)
	}
	return regexp.MustCompile(`(?i)(?:^|[&;])(?:` + strings.Join(names, "|") + `)=[^&;]*`)
}

// isCredentialParameter tells whether a parameter of a query carries somebody's identity.
func isCredentialParameter(name string) bool {
	return credentialQuery.MatchString(url.QueryEscape(name) + "=")
}
