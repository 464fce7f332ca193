package chatcompletion

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Forms of a token reference.
const (
	referencePrefix = "urn:"
	envPrefix       = "urn:env:"
	filePrefix      = "urn:file:"
	k8sPrefix       = "urn:k8s:"
)

// clientCredentials are the headers that carry a client's own identity at some provider. With a token configured they
// do not reach the provider: the operator's key would act for them, or they for the key.
var clientCredentials = []string{
	"Authorization", "Api-Key", "X-Api-Key", "X-Goog-Api-Key", "Cookie", "Openai-Organization", "Openai-Project",
}

// credential is the provider's key, or that of a collector. Its value leaves secrets*.go only into the header of a request
// to them. It is never handed to fmt: under Yaegi fmt prints unexported fields and sees no String method.
type credential struct {
	header string        // canonical name of the header
	prefix string        // before the key
	value  string        // prefix and key, if they never change; empty: unresolved, or in secret
	source *secretSource // of the key; nil: it never changes
	secret *secret       // what the source gives, from start on
}

// newSecret prepares the key that token is or refers to; nil: none is configured. A reference that cannot be resolved yet
// is no error: the operator is told at which key of the configuration it stands, and without, what happens until it can.
// What makes token impossible is returned as text, without the token.
func newSecret(key, consequence, token, header, prefix string, settings *secretSettings) (*credential, string) {
	token = strings.TrimSpace(token)
	cred := &credential{header: header, prefix: prefix}
	problem := ""
	switch {
	case token == "":
		return nil, ""
	case strings.HasPrefix(token, envPrefix):
		name := token[len(envPrefix):]
		if name == "" {
			return nil, "names no environment variable; write urn:env:NAME"
		}
		if !cred.set(os.Getenv(name)) {
			logWarn("%s: the environment variable %q that it refers to is empty, unset or no header value; %s until Traefik starts with it", key, name, consequence)
		}
	case strings.HasPrefix(token, filePrefix):
		path := token[len(filePrefix):]
		if !filepath.IsAbs(path) {
			return nil, "names no absolute path; write urn:file:/path"
		}
		cred.source = newSource(settings, key, consequence, token)
		cred.source.path = path
	case strings.HasPrefix(token, k8sPrefix):
		cred.source = newSource(settings, key, consequence, token)
		problem = resolve(cred.source, settings, token)
	case strings.HasPrefix(token, referencePrefix):
		problem = "is no known reference; use urn:env:NAME or urn:file:/path, or urn:k8s:secret:name:key"
	case !cred.set(token):
		problem = "has a character that cannot stand in a header"
	}
	if problem != "" {
		return nil, problem
	}
	return cred, ""
}

// accept takes a key that never changes.
func (cred *credential) set(key string) bool {
	key, ok := headerText(key)
	if ok {
		cred.value = cred.prefix + key
	}
	return ok
}

// headerText returns a key without the white space around it, and whether it can stand in a header.
func headerText(key string) (string, bool) {
	key = strings.TrimSpace(key)
	return key, key != "" && !strings.ContainsAny(key, controlCharacters)
}

// startCredential begins to look up a key that can change. Without it, there is none.
func startCredential(ctx context.Context, cred *credential) {
	if cred != nil && cred.source != nil {
		cred.secret = useSecret(ctx, cred.source)
	}
}

// authorize replaces the client's credentials by the provider's key. Without a key there is no request. The header is
// copied first: Traefik's access log keeps the client's, and may be configured to show Authorization.
func authorize(p *policy, req *http.Request) *apiError {
	cred := p.credential
	if cred == nil {
		forwardClientKey(p, req)
		return nil
	}
	value := cred.value
	if cred.source != nil {
		value = secretValue(cred)
	}
	if value == "" {
		return credentialsUnavailable()
	}
	removeClientIdentity(p, req)
	req.Header[cred.header] = []string{value}
	return nil
}

// forwardClientKey leaves a client's own key to the provider, where that reads it. A fallback gets none: the key is the first
// provider's.
func forwardClientKey(p *policy, req *http.Request) {
	if p.isFallback {
		removeClientIdentity(p, req)
	} else if p.keyHeader != nil {
		moveClientKey(p.keyHeader, req)
	}
}

// removeClientIdentity takes the client's own identity out of a request, and at a fallback what was meant for other providers.
func removeClientIdentity(p *policy, req *http.Request) {
	req.Header = req.Header.Clone()
	removeCredentials(req.Header)
	if p.isFallback {
		for _, name := range p.keyNames {
			delete(req.Header, name)
		}
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

// keyHeaders are the headers that SDKs send a key in.
var keyHeaders = []string{authorization, "Api-Key", "X-Api-Key", "X-Goog-Api-Key"}

// secretValue returns prefix and key as they are now, "" if there is no key.
func secretValue(cred *credential) string {
	key, ok := cred.secret.current.Load().(string)
	if !ok || key == "" {
		return awaitSecretValue(cred)
	}
	return cred.prefix + key
}

// awaitSecretValue is secretValue while there is no key: the first look-up, which is bounded in time, is waited for.
func awaitSecretValue(cred *credential) string {
	<-cred.secret.firstLookUp
	key, ok := cred.secret.current.Load().(string)
	if !ok || key == "" {
		return ""
	}
	return cred.prefix + key
}

// currentValue is the value of a header that is sent along with something else than a client's request, "" if there is none.
func currentValue(cred *credential) string {
	if cred.source != nil {
		return secretValue(cred)
	}
	return cred.value
}

func credentialsUnavailable() *apiError {
	return &apiError{http.StatusServiceUnavailable, serverError, "credentials_unavailable", "",
		"The gateway has no key for the provider at the moment. Try again later; its operator finds the reason in the log."}
}

// credentialParameters are the parameters of a query in which keys are sent, in lower case.
const credentialParameters = "key api_key api-key apikey token access_token"

// isCredentialParameter tells whether a parameter of a query carries somebody's identity.
func isCredentialParameter(name string) bool {
	return credentialQuery.MatchString(url.QueryEscape(name) + "=")
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

// removeCredentials takes the client's own identity out of a request.
func removeCredentials(header http.Header) {
	for _, name := range clientCredentials {
		delete(header, name)
	}
	if header[protocolHeader] != nil {
		removeKeyProtocol(header)
	}
}

// protocolHeader has the protocols of a websocket. Browsers send OpenAI a key among them.
const protocolHeader = "Sec-Websocket-Protocol"

func removeKeyProtocol(header http.Header) {
	header[protocolHeader] = []string{keyProtocol.ReplaceAllString(strings.Join(header[protocolHeader], ","), "")}
}

var keyProtocol = regexp.MustCompile(`(?i)[, ]*openai-insecure-api-key\.[^, ]*`)

// notInLines would let what others say, such as a collector's certificate, look like another line of the log.
var notInLines = regexp.MustCompile("[" + controlCharacters + "]+")

// logWarn tells the operator, through Traefik's log, of something that a person must correct.
func logWarn(format string, args ...any) {
	text := notInLines.ReplaceAllString(fmt.Sprintf(format, args...), " ")
	_, _ = fmt.Fprintln(os.Stderr, "chat-completion: "+text)
}

// logDebug tells the operator who looks closely, in Traefik's log at level DEBUG.
func logDebug(format string, args ...any) {
	fmt.Printf("chat-completion: "+format+"\n", args...) // not to os.Stdout, which Yaegi leaves as it is
}
