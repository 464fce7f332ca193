package chatcompletion

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// secretMaxBytes bounds a key, and a token file: what is larger is no key.
const secretMaxBytes = 64 << 10

// serviceAccountFolder is where Kubernetes mounts the token of a pod.
const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

// secretSettings is Config.Secrets with all decided that can be decided once.
type secretSettings struct {
	dir  string         // holds mounted Secrets; empty: api is asked
	api  *kubernetesAPI // nil: there is none
	pace secretPace

	// isTraefikError is that Traefik's CRD provider resolves references to Kubernetes, in the Middleware's namespace only. Whoever
	// may write a Middleware must not read further Secrets with Traefik's rights by a reference that Traefik does not see:
	// one with a space in front, or one that is the value in a Secret.
	resolvedByTraefik bool
}

// secretPace is when a source is asked, and for how long its answer counts.
type secretPace struct {
	refresh  time.Duration // between two look-ups
	maxStale time.Duration // that a value is used without being confirmed
	retry    time.Duration // after a look-up that failed; it doubles
	maxRetry time.Duration
	pause    time.Duration // between two look-ups at least, however often the provider refuses the key
	linger   time.Duration // that a secret waits for its next user
	timeout  time.Duration // of a look-up
}

// secretSource is where a key is looked up. It holds no key.
type secretSource struct {
	id          string // the same for equal sources
	key         string // of the configuration, which the operator has to look at
	consequence string // what happens without the key
	path        string // of the file that holds it; empty: api is asked
	api         *kubernetesAPI
	secret      secretReference
	pace        secretPace
}

// secretReference is a key in a Secret of Kubernetes.
type secretReference struct {
	namespace string // empty: the default one
	name      string
	key       string
}

// lookUpProblem is why a look-up failed. Two of the same kind are one and the same to the operator.
type lookUpProblem struct {
	kind string
	text string
}

// newSource returns a source that is not known yet.
func newSource(settings *secretSettings, key, consequence, reference string) *secretSource {
	source := &secretSource{key: key, consequence: consequence, pace: settings.pace}
	parts := []string{key, reference, settings.dir, source.pace.refresh.String(), source.pace.maxStale.String()}
	if api := settings.api; api != nil {
		parts = append(parts, api.url, api.tokenFile, api.caFile, api.namespace)
	}
	source.id = strings.Join(parts, "\x00")
	return source
}

// resolve has a source be what a reference to Kubernetes means. It returns what makes that impossible.
func resolve(source *secretSource, settings *secretSettings, text string) string {
	reference, problem := parseReference(text)
	if problem != "" {
		return problem
	}
	source.secret = reference
	switch {
	case settings.resolvedByTraefik:
		return "has a urn:k8s:secret reference that Traefik's Kubernetes CRD provider has not resolved; write urn:k8s:secret:name:key, " +
			"with nothing around it, for a Secret in the Middleware's namespace that holds the key itself"
	case settings.dir != "":
		source.path = filepath.Join(settings.dir, reference.namespace, reference.name, reference.key)
		return ""
	case settings.api == nil:
		return "a urn:k8s:secret reference is resolved by Traefik's Kubernetes CRD provider, or by the plugin in a Kubernetes cluster. " +
			"This configuration came another way, and Traefik runs in no cluster: set secrets.dir or secrets.endpoint, or use urn:env:NAME or urn:file:/path"
	case reference.namespace == "" && settings.api.namespace == "" && !settings.api.isOwn:
		return "names no namespace; write urn:k8s:secret:namespace/name:key, or set secrets.namespace"
	}
	if source.secret.namespace == "" {
		source.secret.namespace = settings.api.namespace
	}
	source.api = settings.api
	return ""
}

// Names as Kubernetes has them.
var (
	dnsLabel  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	dnsName   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	secretKey = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)
)

// nameMaxBytes is how long Kubernetes lets the name of a Secret be.
const nameMaxBytes = 253

const referenceForms = "write urn:k8s:secret:name:key or urn:k8s:secret:namespace/name:key"

// parseReference reads a reference to a key in a Secret. It returns what is wrong, without the text.
func parseReference(text string) (secretReference, string) {
	r := secretReference{}
	parts := strings.Split(text, ":")
	if len(parts) != 5 || parts[0] != "urn" || parts[1] != "k8s" || parts[2] != "secret" {
		return r, "is no reference to a Secret; " + referenceForms
	}
	r.name = parts[3]
	if namespace, name, found := strings.Cut(r.name, "/"); found {
		r.namespace = namespace
		r.name = name
		if !isNamespace(r.namespace) {
			return r, "names no possible namespace; " + referenceForms
		}
	}
	r.key = parts[4]
	if len(r.name) > nameMaxBytes || !dnsName.MatchString(r.name) {
		return r, "has no possible name of a Secret; " + referenceForms
	}
	if !secretKey.MatchString(r.key) || r.key == "." || strings.HasPrefix(r.key, "..") {
		return r, "has no possible key of a Secret; " + referenceForms
	}
	return r, ""
}

func isNamespace(name string) bool {
	return dnsLabel.MatchString(name)
}

// lookUp returns the key that a source holds now.
func lookUp(source *secretSource) (string, *lookUpProblem) {
	if source.path == "" {
		return lookUpSecret(source)
	}
	content, err := readSmallFile(source.path)
	if err != nil {
		return "", &lookUpProblem{"file", err.Error() + howToMount(source)}
	}
	key, ok := headerText(content)
	if !ok {
		return "", &lookUpProblem{"value", fmt.Sprintf("the file %q is empty or no header value", source.path)}
	}
	return key, nil
}

// sourceName is what the operator knows a source by.
func sourceName(source *secretSource) string {
	if source.path != "" {
		return "the file " + strconv.Quote(source.path)
	}
	if source.secret.namespace == "" {
		return "the Secret " + source.secret.name
	}
	return "the Secret " + source.secret.namespace + "/" + source.secret.name
}

// howToMount says what a file of secrets.dir is.
func howToMount(source *secretSource) string {
	if source.secret.name == "" {
		return ""
	}
	return fmt.Sprintf("; mount the Secret %q, which has to have the key %q, at %s", source.secret.name, source.secret.key, filepath.Dir(source.path))
}

func readSmallFile(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > secretMaxBytes {
		return "", fmt.Errorf("%q is not a regular file of at most %d bytes", path, secretMaxBytes)
	}
	content, err := os.ReadFile(path)
	return string(content), err
}
