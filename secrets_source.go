package chatcompletion

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// secretMaxBytes limits the size of keys and of the files that hold them. Nothing larger is a key.
const secretMaxBytes = 64 << 10

// serviceAccountFolder is where Kubernetes mounts the service account of a pod.
const serviceAccountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

// secretSettings is the parsed form of Config.Secrets.
type secretSettings struct {
	dir  string         // of mounted Secrets; empty: they are read through api
	api  *kubernetesAPI // nil: there is no API server
	pace secretPace

	// resolvedByTraefik reports that Traefik's CRD provider resolves references to Kubernetes
	// Secrets, in the Middleware's namespace only. Authors of a Middleware must not be able to read
	// other Secrets with Traefik's permissions through a reference that Traefik does not recognize:
	// one after a space, or one that is the value in a Secret.
	resolvedByTraefik bool
}

// secretPace is when a source is looked up, and how long its key is used.
type secretPace struct {
	refresh  time.Duration // between two look-ups
	maxStale time.Duration // how long a key is used after the last successful look-up
	retry    time.Duration // delay after the first failed look-up; doubles with each further one
	maxRetry time.Duration // limit of that delay
	pause    time.Duration // minimum between two look-ups, however often the provider rejects the key
	linger   time.Duration // how long an unused secret waits for its next user
	timeout  time.Duration // of a look-up
}

// secretSource is where a key is looked up. It does not contain the key.
type secretSource struct {
	id          string // equal for equal sources
	key         string // configuration key, for log lines
	consequence string // what happens without the key, for log lines
	path        string // of the file that holds the key; empty: the key is read through api
	api         *kubernetesAPI
	secret      secretReference
	pace        secretPace
	document    *document // nil: it holds a key
}

// document is what a source holds instead of a key: a text that is parsed whenever it has changed. The
// result stays in use however long the source cannot be read.
type document struct {
	name   string                   // for log lines, such as "the prices"
	parse  func(text string) string // returns the problem; "": the text is in use
	holder any                      // what parse sets
	digest string                   // of the text that was parsed last; only look-ups, one at a time, use it
}

// documentMaxBytes limits the size of documents.
const documentMaxBytes = 16 << 20

// secretReference is a reference to a key of a Kubernetes Secret.
type secretReference struct {
	namespace string // empty: the default namespace
	name      string
	key       string
}

// lookUpProblem is the reason of a failed look-up. A problem is not logged again while its kind
// stays the same.
type lookUpProblem struct {
	kind string
	text string
}

// newSource returns a source without its place: the caller sets a path, or calls resolve.
func newSource(settings *secretSettings, key, consequence, reference string) *secretSource {
	source := &secretSource{key: key, consequence: consequence, pace: settings.pace}
	parts := []string{key, reference, settings.dir, source.pace.refresh.String(), source.pace.maxStale.String()}
	if api := settings.api; api != nil {
		parts = append(parts, api.url, api.tokenFile, api.caFile, api.namespace)
	}
	source.id = strings.Join(parts, "\x00")
	return source
}

// resolve sets the place of a source from a reference to a Kubernetes Secret. It returns the
// problem if that is not possible, else "".
func resolve(source *secretSource, settings *secretSettings, text string) string {
	reference, problem := parseReference(text)
	if problem != "" {
		return problem
	}
	source.secret = reference
	switch {
	case settings.resolvedByTraefik:
		return "contains a urn:k8s:secret reference that Traefik's Kubernetes CRD provider did not resolve; write exactly urn:k8s:secret:name:key, " +
			"for a Secret in the Middleware's namespace that contains the key itself"
	case settings.dir != "":
		source.path = filepath.Join(settings.dir, reference.namespace, reference.name, reference.key)
		return ""
	case settings.api == nil:
		return "urn:k8s:secret references are resolved by Traefik's Kubernetes CRD provider, or by the plugin inside a Kubernetes cluster, " +
			"and neither is available; set secrets.dir or secrets.endpoint, or use urn:env:NAME or urn:file:/path"
	case reference.namespace == "" && settings.api.namespace == "" && !settings.api.isOwn:
		return "has no namespace; write urn:k8s:secret:namespace/name:key, or set secrets.namespace"
	}
	if source.secret.namespace == "" {
		source.secret.namespace = settings.api.namespace
	}
	source.api = settings.api
	return ""
}

// Names in Kubernetes.
var (
	dnsLabel  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)
	dnsName   = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	secretKey = regexp.MustCompile(`^[-._a-zA-Z0-9]{1,253}$`)
)

// nameMaxBytes is the maximum length of the name of a Secret in Kubernetes.
const nameMaxBytes = 253

const referenceForms = "write urn:k8s:secret:name:key or urn:k8s:secret:namespace/name:key"

// parseReference parses a reference to a key of a Secret. It returns the problem, which does not
// repeat text, if the reference is invalid.
func parseReference(text string) (secretReference, string) {
	r := secretReference{}
	parts := strings.Split(text, ":")
	if len(parts) != 5 || parts[0] != "urn" || parts[1] != "k8s" || parts[2] != "secret" {
		return r, "invalid Secret reference; " + referenceForms
	}
	r.name = parts[3]
	if namespace, name, found := strings.Cut(r.name, "/"); found {
		r.namespace = namespace
		r.name = name
		if !isNamespace(r.namespace) {
			return r, "invalid namespace name; " + referenceForms
		}
	}
	r.key = parts[4]
	if len(r.name) > nameMaxBytes || !dnsName.MatchString(r.name) {
		return r, "invalid Secret name; " + referenceForms
	}
	if !secretKey.MatchString(r.key) || r.key == "." || strings.HasPrefix(r.key, "..") {
		return r, "invalid Secret key; " + referenceForms
	}
	return r, ""
}

// isNamespace reports whether name is a valid name of a namespace.
func isNamespace(name string) bool {
	return dnsLabel.MatchString(name)
}

// lookUp reads the key from its source.
func lookUp(source *secretSource) (string, *lookUpProblem) {
	if source.path == "" {
		return lookUpSecret(source)
	}
	maxBytes := int64(secretMaxBytes)
	if source.document != nil {
		maxBytes = documentMaxBytes
	}
	content, err := readFile(source.path, maxBytes)
	if err != nil {
		return "", &lookUpProblem{"file", err.Error() + howToMount(source)}
	}
	if source.document != nil {
		return parseDocument(source, content)
	}
	key, ok := headerText(content)
	if !ok {
		return "", &lookUpProblem{"value", fmt.Sprintf("the file %q is empty or not a valid header value", source.path)}
	}
	return key, nil
}

// parseDocument has a document parsed if its text has changed, and returns its digest, which stands
// for the key.
func parseDocument(source *secretSource, text string) (string, *lookUpProblem) {
	sum := sha256.Sum256([]byte(text))
	digest := hex.EncodeToString(sum[:])
	if digest == source.document.digest {
		return digest, nil
	}
	if problem := source.document.parse(text); problem != "" {
		return "", &lookUpProblem{"document: " + problem, sourceName(source) + ": " + problem}
	}
	source.document.digest = digest
	return digest, nil
}

// sourceName returns the name of a source for log lines.
func sourceName(source *secretSource) string {
	if source.path != "" {
		return "the file " + strconv.Quote(source.path)
	}
	if source.secret.namespace == "" {
		return "the Secret " + source.secret.name
	}
	return "the Secret " + source.secret.namespace + "/" + source.secret.name
}

// howToMount returns the hint that explains a missing file of secrets.dir, or "" for other files.
func howToMount(source *secretSource) string {
	if source.secret.name == "" {
		return ""
	}
	return fmt.Sprintf("; mount the Secret %q with the key %q at %s", source.secret.name, source.secret.key, filepath.Dir(source.path))
}

// readSmallFile returns the content of a regular file of at most secretMaxBytes.
func readSmallFile(path string) (string, error) {
	return readFile(path, secretMaxBytes)
}

// readFile returns the content of a regular file of at most maxBytes.
func readFile(path string, maxBytes int64) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > maxBytes {
		return "", fmt.Errorf("%q is not a regular file of at most %d bytes", path, maxBytes)
	}
	content, err := os.ReadFile(path)
	return string(content), err
}
