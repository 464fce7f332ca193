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
	header          string      // canonical name of the header that carries the key
	credential      *credential // nil: the client's credentials are forwarded
	clientKeyHeader *keyHeader  // that a client's key is moved to, without a credential; nil: the key stays in its header
	dropsClientKey  bool        // of a fallback: a client's key is for the first provider only
	consumerHeader  string      // that names the consumer and is not forwarded; empty: there is none
	keyHeaders      []string    // of a fallback: the headers that carry the keys of all providers of the policy
}

// authorize replaces the client's credentials with the provider's key. Without a key, it returns an
// error, and the request is not sent. The header is copied first: Traefik's access log keeps the
// client's, and may be configured to show Authorization.
func authorize(auth *providerAuth, req *http.Request) *apiError {
	cred := auth.credential
	if auth.consumerHeader != "" {
		removeConsumerHeader(auth, req)
	}
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

// removeConsumerHeader removes the header that names the consumer. The header is copied first, as in
// authorize.
func removeConsumerHeader(auth *providerAuth, req *http.Request) {
	req.Header = req.Header.Clone()
	delete(req.Header, auth.consumerHeader)
}

// forwardClientKey forwards a client's key to the first provider, in the header that the provider
// reads, and removes it from requests to fallbacks.
func forwardClientKey(auth *providerAuth, req *http.Request) {
	if auth.dropsClientKey {
		removeClientIdentity(auth, req)
	} else if auth.clientKeyHeader != nil {
		moveClientKey(auth.clientKeyHeader, req)
	}
}

// removeClientIdentity removes the client's credentials from a request, and for a fallback also the
// headers that carry keys of other providers.
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

// removeQueryCredentials removes the client's keys from the query.
func removeQueryCredentials(req *http.Request) {
	req.URL.RawQuery = withoutCredentials(req.URL.RawQuery)
	req.RequestURI = req.URL.RequestURI() // see setPath
}

// withoutCredentials returns a query without the parameters that carry keys. The others stay
// unchanged.
func withoutCredentials(query string) string {
	return strings.TrimLeft(credentialQuery.ReplaceAllString(query, ""), "&;")
}

// clientCredentials are the headers that carry a client's identity at some provider. With a token
// configured they do not reach the provider: the configured key would act for them, or they for the
// key.
var clientCredentials = []string{
	"Authorization", "Api-Key", "X-Api-Key", "X-Goog-Api-Key", "Cookie", "Openai-Organization", "Openai-Project",
}

// removeCredentials removes the client's identity from a header.
func removeCredentials(header http.Header) {
	for _, name := range clientCredentials {
		delete(header, name)
	}
	if header[protocolHeader] != nil {
		removeKeyProtocol(header)
	}
}

// isCredential reports whether a header carries an identity.
func isCredential(name string) bool {
	name = http.CanonicalHeaderKey(name)
	for _, credential := range clientCredentials {
		if name == credential {
			return true
		}
	}
	return name == "Proxy-Authorization"
}

// protocolHeader lists the protocols of a WebSocket. Browsers send OpenAI a key among them.
const protocolHeader = "Sec-Websocket-Protocol"

func removeKeyProtocol(header http.Header) {
	rest := strings.TrimLeft(keyProtocol.ReplaceAllString(strings.Join(header[protocolHeader], ","), ""), ", ")
	if rest == "" {
		delete(header, protocolHeader)
		return
	}
	header[protocolHeader] = []string{rest}
}

// protocolKeys returns the keys among the protocols of a WebSocket.
func protocolKeys(header http.Header) []string {
	var keys []string
	for _, found := range keyProtocol.FindAllStringSubmatch(strings.Join(header[protocolHeader], ","), 3) {
		keys = append(keys, found[1])
	}
	return keys
}

// keyProtocol matches a key among the protocols of a WebSocket.
var keyProtocol = regexp.MustCompile(`(?i)[, ]*openai-insecure-api-key\.([^, ]*)`)

// keyHeader is the header that carries a key to a provider.
type keyHeader struct {
	name   string // canonical
	prefix string
}

// keyHeaders are the headers in which SDKs send a key.
var keyHeaders = []string{authorization, "Api-Key", "X-Api-Key", "X-Goog-Api-Key"}

// subscriptionToken is what the token of a subscription to Anthropic begins with, which is only valid as
// bearer token.
const subscriptionToken = "sk-ant-oat"

// moveClientKey moves a client's key to the header that the provider reads.
func moveClientKey(to *keyHeader, req *http.Request) {
	if req.Header[to.name] != nil {
		return
	}
	for _, name := range keyHeaders {
		key := req.Header.Get(name)
		if name == authorization {
			scheme, token, _ := strings.Cut(key, " ")
			if key = token; !strings.EqualFold(scheme, "Bearer") || strings.HasPrefix(token, subscriptionToken) {
				continue // not a key
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

// credentialParameters are the query parameters that carry keys, in lower case.
const credentialParameters = "key api_key api-key apikey token access_token oauth_token $key"

// credentialQuery matches query parameters that carry keys, however their names are escaped.
var credentialQuery = newCredentialQuery()

// newCredentialQuery reads no package variable (traefik/yaegi#1585).
func newCredentialQuery() *regexp.Regexp {
	return regexp.MustCompile(`(?i)(?:^|[&;])(?:` + escapedNames(credentialParameters) + `)=[^&;]*`)
}

// escapedNames returns a pattern for names in a query, each letter of which may be escaped.
func escapedNames(names string) string {
	var patterns []string
	for _, name := range strings.Fields(names) {
		pattern := ""
		for _, letter := range name {
			pattern += fmt.Sprintf("(?:%s|%%%02x)", regexp.QuoteMeta(string(letter)), letter)
			if letter >= 'a' && letter <= 'z' {
				pattern = pattern[:len(pattern)-1] + fmt.Sprintf("|%%%02x)", letter-'a'+'A')
			}
		}
		patterns = append(patterns, pattern)
	}
	return strings.Join(patterns, "|")
}

// isCredentialParameter reports whether a query parameter carries credentials.
func isCredentialParameter(name string) bool {
	return credentialQuery.MatchString(url.QueryEscape(name) + "=")
}
