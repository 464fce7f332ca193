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

// startCredential begins to look up a key that can change. Without it, there is none.
func startCredential(ctx context.Context, cred *credential) {
	if cred != nil && cred.source != nil {
		cred.secret = useSecret(ctx, cred.source)
	}
}

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
