package chatcompletion

import (
	"net"
	"net/url"
	"strings"
	"time"
)

// parseSecrets parses Config.Secrets.
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
		s.pace.refresh = s.pace.maxStale / 2 // so that one failed look-up does not expire the key
	}
	s.dir = parseAbsolutePath(bad, "secrets.dir", config.Dir)
	api := &kubernetesAPI{
		url:       parseSecretsEndpoint(bad, config.Endpoint),
		tokenFile: parseAbsolutePath(bad, "secrets.tokenFile", config.TokenFile),
		caFile:    parseAbsolutePath(bad, "secrets.caFile", config.CAFile),
		namespace: strings.TrimSpace(config.Namespace),
	}
	if api.namespace != "" && !isNamespace(api.namespace) {
		bad.add("secrets.namespace", "invalid namespace name %q", shortened(api.namespace))
	}
	if s.dir != "" {
		checkUnused(bad, "secrets.", []setting{
			{"endpoint", api.url}, {"tokenFile", api.tokenFile}, {"caFile", api.caFile}, {"namespace", api.namespace},
		}, `with "secrets.dir"; remove one of them`)
		return s
	}
	if api.url == "" {
		useInClusterDefaults(api, getenv)
	}
	if api.url == "" {
		checkUnused(bad, "secrets.", []setting{{"tokenFile", api.tokenFile}, {"caFile", api.caFile}},
			`outside a cluster without "secrets.endpoint"`)
		return s
	}
	s.api = api
	return s
}

// Defaults of Config.Secrets.
const (
	defaultSecretRefresh  = time.Minute
	defaultSecretMaxStale = time.Hour
)

// Bounds of the durations in Config.Secrets, and their texts in error messages.
const (
	minSecretRefresh, maxSecretRefresh   = time.Second, time.Hour
	minSecretMaxStale, maxSecretMaxStale = time.Second, 365 * 24 * time.Hour
	secretRefreshes                      = "from 1s to 1h"
	secretMaxStales                      = "from 1s to 8760h"
)

// useInClusterDefaults fills in the settings that a pod finds in its environment.
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

// parseSecretsEndpoint parses the URL of an API server. Secrets are read in plaintext from this
// machine only, as from kubectl proxy.
func parseSecretsEndpoint(bad *problems, text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	if problem := urlProblem(text, "https://kubernetes.example.com:6443", "set secrets.tokenFile"); problem != "" {
		bad.add("secrets.endpoint", "%s", problem)
	} else if u, err := url.Parse(text); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		bad.add("secrets.endpoint", "must use https; http is for this machine only, such as http://127.0.0.1:8001 for kubectl proxy")
	}
	return strings.TrimRight(text, "/")
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}
