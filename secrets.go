package chatcompletion

import (
	"context"
	"os"
	"path/filepath"
	"strings"
)

// Forms of a token reference.
const (
	referencePrefix = "urn:"
	envPrefix       = "urn:env:"
	filePrefix      = "urn:file:"
	k8sPrefix       = "urn:k8s:"
)

// credential is the key of a provider or of a collector. Its value leaves secrets*.go only in the
// header of a request to one of them. Never pass it to fmt: under Yaegi, fmt prints unexported
// fields and does not call a String method.
type credential struct {
	header string        // canonical name of the header
	prefix string        // before the key
	value  string        // prefix and key if they never change; empty: unresolved, or in secret
	source *secretSource // of the key; nil: it never changes
	secret *secret       // the key that the source holds; set by startCredential
}

// newCredential returns the credential that token is or refers to, or nil if token is empty. A
// reference that cannot be resolved yet is not an error: a log line names its configuration key and
// the consequence until it can be resolved. An invalid token is returned as the text of the
// problem, without the token.
func newCredential(key, consequence, token, header, prefix string, settings *secretSettings) (*credential, string) {
	token = strings.TrimSpace(token)
	cred := &credential{header: header, prefix: prefix}
	problem := ""
	switch {
	case token == "":
		return nil, ""
	case strings.HasPrefix(token, envPrefix):
		name := token[len(envPrefix):]
		if name == "" {
			return nil, "must name an environment variable, as in urn:env:NAME"
		}
		if !cred.set(os.Getenv(name)) {
			logWarn("%s: the environment variable %q is unset, empty or not a valid header value; %s until Traefik is restarted with a valid value", key, name, consequence)
		}
	case strings.HasPrefix(token, filePrefix):
		path := token[len(filePrefix):]
		if !filepath.IsAbs(path) {
			return nil, "must name an absolute path, as in urn:file:/path"
		}
		cred.source = newSource(settings, key, consequence, token)
		cred.source.path = path
	case strings.HasPrefix(token, k8sPrefix):
		cred.source = newSource(settings, key, consequence, token)
		problem = resolve(cred.source, settings, token)
	case strings.HasPrefix(token, referencePrefix):
		problem = "unknown reference; use urn:env:NAME, urn:file:/path or urn:k8s:secret:name:key"
	case !cred.set(token):
		problem = "must not contain control characters"
	}
	if problem != "" {
		return nil, problem
	}
	return cred, ""
}

// set stores a key that never changes. It reports whether the key is valid.
func (cred *credential) set(key string) bool {
	key, ok := headerText(key)
	if ok {
		cred.value = cred.prefix + key
	}
	return ok
}

// withHeader returns a credential with the same key in another header.
func withHeader(cred *credential, to *keyHeader) *credential {
	own := *cred
	own.header = to.name
	own.prefix = to.prefix
	if cred.value != "" {
		own.value = to.prefix + cred.value[len(cred.prefix):]
	}
	return &own
}

// startCredential starts the look-ups of a key that can change. Before that, such a credential has
// no key.
func startCredential(ctx context.Context, cred *credential) {
	if cred != nil && cred.source != nil {
		cred.secret = useSecret(ctx, cred.source)
	}
}

// secretValue returns the prefix and the current key, or "" if there is no key.
func secretValue(cred *credential) string {
	key, ok := cred.secret.current.Load().(string)
	if !ok || key == "" {
		return awaitSecretValue(cred)
	}
	return cred.prefix + key
}

// awaitSecretValue is secretValue without a key: it waits for the first look-up, whose time is
// bounded.
func awaitSecretValue(cred *credential) string {
	<-cred.secret.firstLookUp
	key, ok := cred.secret.current.Load().(string)
	if !ok || key == "" {
		return ""
	}
	return cred.prefix + key
}

// currentValue returns the value of a header for requests other than those of clients, or "" if
// there is no key.
func currentValue(cred *credential) string {
	if cred.source != nil {
		return secretValue(cred)
	}
	return cred.value
}
