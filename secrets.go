package chatcompletion

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Forms of a token reference.
const (
	referencePrefix = "urn:"
	envPrefix       = "urn:env:"
	filePrefix      = "urn:file:"
	k8sPrefix       = "urn:k8s:"
)

// fileRefresh is how old a token read from a file may become before the file is read again, so that a rotated key
// spreads without a reload.
const fileRefresh = time.Minute

// fileRetry is how soon a file is read again that has given no key yet.
const fileRetry = time.Second

// fileMaxBytes bounds a token file: what is larger is no key.
const fileMaxBytes = 64 << 10

// clientCredentials are the headers that carry a client's own identity at some provider. With a token configured they
// do not reach the provider: the operator's key would act for them, or they for the key.
var clientCredentials = []string{
	"Authorization", "Api-Key", "X-Api-Key", "X-Goog-Api-Key", "Cookie", "Openai-Organization", "Openai-Project",
}

// credential is the provider's key. Its value leaves this file only into the header of a request to the provider. It is
// never handed to fmt: under Yaegi fmt prints unexported fields and sees no String method.
type credential struct {
	key    string // of the configuration, which the operator has to look at
	header string // canonical name of the header
	prefix string // before the key
	path   string // of the file that holds the key, if one does

	mu    sync.Mutex
	value string    // prefix and key; empty: unresolved
	due   time.Time // when path is to be read again
}

// newCredential prepares the key that token is or refers to; nil: none is configured. A reference that cannot be
// resolved yet is no error: requests are answered 503 until it can. What makes token impossible is returned as text,
// without the token.
func newCredential(token, header, prefix string) (*credential, string) {
	return newSecret("token", "requests are answered 503", token, header, prefix)
}

// newSecret is newCredential for the token at any key of the configuration; without says what happens until a reference
// can be resolved.
func newSecret(key, without, token, header, prefix string) (*credential, string) {
	token = strings.TrimSpace(token)
	c := &credential{key: key, header: header, prefix: prefix}
	switch {
	case token == "":
		return nil, ""
	case strings.HasPrefix(token, envPrefix):
		name := token[len(envPrefix):]
		if name == "" {
			return nil, "names no environment variable; write urn:env:NAME"
		}
		if !c.accept(os.Getenv(name)) {
			warn("%s: the environment variable %q that it refers to is empty, unset or no header value; %s until Traefik starts with it", key, name, without)
		}
	case strings.HasPrefix(token, filePrefix):
		c.path = token[len(filePrefix):]
		if !filepath.IsAbs(c.path) {
			return nil, "names no absolute path; write urn:file:/path"
		}
	case strings.HasPrefix(token, k8sPrefix):
		return nil, "a urn:k8s:secret reference is resolved by Traefik's Kubernetes CRD provider only, and this configuration came another way; " +
			"use urn:env:NAME or urn:file:/path"
	case strings.HasPrefix(token, referencePrefix):
		return nil, "is no known reference; use urn:env:NAME or urn:file:/path"
	case !c.accept(token):
		return nil, "has a character that cannot stand in a header"
	}
	return c, ""
}

// accept takes a key that can stand in a header.
func (c *credential) accept(key string) bool {
	key = strings.TrimSpace(key)
	if key == "" || strings.ContainsAny(key, controlCharacters) {
		return false
	}
	c.value = c.prefix + key
	return true
}

// authorize replaces the client's credentials by the provider's key. Without a key there is no request. The header is
// copied first: Traefik's access log keeps the client's, and may be configured to show Authorization.
func authorize(c *credential, req *http.Request) *refusal {
	if c == nil {
		return nil
	}
	value := c.value
	if c.path != "" {
		value = c.fromFile()
	}
	if value == "" {
		return &refusal{http.StatusServiceUnavailable, serverError, "credentials_unavailable", "",
			"The gateway has no key for the provider at the moment. Try again later; its operator finds the reason in the log."}
	}
	req.Header = req.Header.Clone()
	removeCredentials(req.Header)
	req.Header[c.header] = []string{value}
	return nil
}

// credentialParameters are parameters of a query in which keys are sent, in lower case.
var credentialParameters = map[string]bool{
	"key": true, "api_key": true, "api-key": true, "apikey": true, "token": true, "access_token": true,
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
}

// fromFile returns the key in the file, read again when it is due. A key once read stays while the file cannot be.
func (c *credential) fromFile() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Before(c.due) {
		return c.value
	}
	content, err := readSmallFile(c.path)
	switch {
	case err != nil:
		warn("%s: %v", c.key, err)
	case !c.accept(content):
		warn("%s: the file %q is empty or no header value", c.key, c.path)
	}
	c.due = now.Add(fileRefresh)
	if c.value == "" {
		c.due = now.Add(fileRetry)
	}
	return c.value
}

func readSmallFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > fileMaxBytes {
		return "", fmt.Errorf("%q is not a regular file of at most %d bytes", path, fileMaxBytes)
	}
	content, err := os.ReadFile(path)
	return string(content), err
}

// notInLines would let what others say, such as a collector's certificate, look like another line of the log.
var notInLines = regexp.MustCompile("[" + controlCharacters + "]+")

// warn tells the operator, through Traefik's log, of something that a person must correct.
func warn(format string, args ...any) {
	text := notInLines.ReplaceAllString(fmt.Sprintf(format, args...), " ")
	_, _ = fmt.Fprintln(os.Stderr, "chat-completion: "+text)
}
