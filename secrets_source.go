package chatcompletion

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Defaults of Config.Secrets.
const (
	defaultSecretRefresh  = time.Minute
	defaultSecretMaxStale = time.Hour
)

// Bounds of what can be configured, and how the operator reads them.
const (
	minSecretRefresh, maxSecretRefresh   = time.Second, time.Hour
	minSecretMaxStale, maxSecretMaxStale = time.Second, 365 * 24 * time.Hour
	secretRefreshes                      = "from 1s to 1h"
	secretMaxStales                      = "from 1s to 8760h"
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

// parseSecrets reads Config.Secrets.
func parseSecrets(bad *problems, config Secrets, getenv func(string) string) *secretSettings {
	s := &secretSettings{pace: secretPace{
		refresh: defaultSecretRefresh, maxStale: defaultSecretMaxStale,
		retry: time.Second, maxRetry: 10 * time.Second, pause: 5 * time.Second, linger: 10 * time.Second, timeout: 5 * time.Second,
	}}
	if refresh := parseDuration(bad, "secrets.refresh", config.Refresh, minSecretRefresh, maxSecretRefresh, secretRefreshes); refresh > 0 {
		s.pace.refresh = refresh
	}
	if maxStale := parseDuration(bad, "secrets.maxStale", config.MaxStale, minSecretMaxStale, maxSecretMaxStale, secretMaxStales); maxStale > 0 {
		s.pace.maxStale = maxStale
	}
	if s.pace.refresh > s.pace.maxStale/2 {
		s.pace.refresh = s.pace.maxStale / 2 // else the first look-up that fails ends the key
	}
	s.dir = parseAbsolutePath(bad, "secrets.dir", config.Dir)
	api := &kubernetesAPI{
		url:       parseSecretsEndpoint(bad, config.Endpoint),
		tokenFile: parseAbsolutePath(bad, "secrets.tokenFile", config.TokenFile),
		caFile:    parseAbsolutePath(bad, "secrets.caFile", config.CAFile),
		namespace: strings.TrimSpace(config.Namespace),
	}
	if api.namespace != "" && !isNamespace(api.namespace) {
		bad.add("secrets.namespace", "%q is no name of a namespace", shortened(api.namespace))
	}
	if s.dir != "" {
		checkUnusedWithDir(bad, api)
		return s
	}
	if api.url == "" {
		useInClusterDefaults(api, getenv)
	}
	if api.url == "" {
		checkUnusedWithoutEndpoint(bad, api)
		return s
	}
	s.api = api
	return s
}

// useInClusterDefaults completes what is not configured by what a pod has.
func useInClusterDefaults(api *kubernetesAPI, getenv func(string) string) {
	host, port := getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return
	}
	api.url = "https://" + net.JoinHostPort(host, port)
	api.isOwn = true
	if api.tokenFile == "" {
		api.tokenFile = serviceAccountFolder + "/token"
	}
	if api.caFile == "" {
		api.caFile = serviceAccountFolder + "/ca.crt"
	}
}

// checkUnusedWithDir finds the keys that have no effect beside secrets.dir.
func checkUnusedWithDir(bad *problems, api *kubernetesAPI) {
	configured := [][]string{{"endpoint", api.url}, {"tokenFile", api.tokenFile}, {"caFile", api.caFile}, {"namespace", api.namespace}}
	for _, pair := range configured {
		if pair[1] != "" {
			bad.add("secrets."+pair[0], "has no effect beside %q; keep one of them", "secrets.dir")
		}
	}
}

// checkUnusedWithoutEndpoint finds the keys that have no effect outside of a cluster without secrets.endpoint.
func checkUnusedWithoutEndpoint(bad *problems, api *kubernetesAPI) {
	for _, pair := range [][]string{{"tokenFile", api.tokenFile}, {"caFile", api.caFile}} {
		if pair[1] != "" {
			bad.add("secrets."+pair[0], "has no effect outside of a cluster without %q", "secrets.endpoint")
		}
	}
}

// parseAbsolutePath reads the path of a file or a directory.
func parseAbsolutePath(bad *problems, key, path string) string {
	path = strings.TrimSpace(path)
	if path == "" {
		return ""
	}
	if !filepath.IsAbs(path) || strings.ContainsAny(path, controlCharacters) {
		bad.add(key, "is no absolute path")
	}
	return filepath.Clean(path)
}

// parseSecretsEndpoint reads the URL of an API server. Secrets travel in the clear only within this machine, as from
// kubectl proxy.
func parseSecretsEndpoint(bad *problems, text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	if problem := urlProblem(text, "https://kubernetes.example.com:6443", "set secrets.tokenFile"); problem != "" {
		bad.add("secrets.endpoint", "%s", problem)
	} else if u, err := url.Parse(text); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		bad.add("secrets.endpoint", "is not encrypted; use https, or http for this machine only, such as http://127.0.0.1:8001 of kubectl proxy")
	}
	return strings.TrimRight(text, "/")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
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
