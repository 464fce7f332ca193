package chatcompletion

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// apiResponseMaxBytes limits the response of the API server. A Secret is at most 1 MiB. In base64,
// and with the annotation of kubectl, it can take three times as much.
const apiResponseMaxBytes = 4 << 20

// kubernetesAPI is an API server, and how to connect to it. The files are read for each look-up,
// because their content rotates.
type kubernetesAPI struct {
	url       string
	isOwn     bool   // the API server of the cluster that Traefik runs in
	tokenFile string // empty: no token is sent
	caFile    string // empty: the system's certificates
	namespace string // of references without one; empty: that of Traefik's pod
}

// lookUpSecret reads a key from the API server. Each look-up opens a connection: look-ups are rare,
// and a new connection uses the current certificates, token and address.
func lookUpSecret(source *secretSource) (string, *lookUpProblem) {
	token, problem := readToken(source.api)
	if problem != nil {
		return "", problem
	}
	roots, problem := readRoots(source.api)
	if problem != nil {
		return "", problem
	}
	reference := source.secret
	if reference.namespace == "" {
		own, missing := ownNamespace()
		if missing != nil {
			return "", missing
		}
		reference.namespace = own
	}
	ctx, cancel := context.WithTimeout(context.Background(), source.pace.timeout)
	defer cancel()
	address := source.api.url + "/api/v1/namespaces/" + reference.namespace + "/secrets/" + reference.name
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", &lookUpProblem{"url", "invalid URL of the Kubernetes API"}
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "chat-completion")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := apiClient(roots).Do(req)
	if err != nil {
		return "", apiUnreachable(ctx, source, token, err)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, apiResponseMaxBytes+1))
	_ = res.Body.Close()
	switch {
	case err != nil:
		return "", apiUnreachable(ctx, source, token, err)
	case res.StatusCode != http.StatusOK:
		return "", apiStatusProblem(source.api, reference, token, res.StatusCode)
	case len(body) > apiResponseMaxBytes:
		return "", &lookUpProblem{"response", fmt.Sprintf("%s sent a response of more than %d bytes", apiName(source.api), apiResponseMaxBytes)}
	}
	if source.document == nil {
		return readSecret(source.api, reference, body)
	}
	value, problem := secretData(source.api, reference, body)
	if problem != nil {
		return "", problem
	}
	return parseDocument(source, string(value))
}

// apiClient returns a client for a single request to an API server.
func apiClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		// The token must not be sent to another address.
		CheckRedirect: func(_ *http.Request, _ []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: secretMaxBytes,
		},
	}
}

// readToken returns the token for the API server, or "" if none is configured.
func readToken(api *kubernetesAPI) (string, *lookUpProblem) {
	if api.tokenFile == "" {
		return "", nil
	}
	content, err := readSmallFile(api.tokenFile)
	if err != nil {
		return "", &lookUpProblem{"token file", "the token for the Kubernetes API cannot be read: " + err.Error() + serviceAccountHint(api, "secrets.tokenFile")}
	}
	token, ok := headerText(content)
	if !ok {
		return "", &lookUpProblem{"token", fmt.Sprintf("the token for the Kubernetes API in %q is empty or not a valid header value", api.tokenFile)}
	}
	return token, nil
}

// readRoots returns the root certificates for the API server; nil means those of the system.
func readRoots(api *kubernetesAPI) (*x509.CertPool, *lookUpProblem) {
	if api.caFile == "" {
		return nil, nil
	}
	content, err := readSmallFile(api.caFile)
	if err != nil {
		return nil, &lookUpProblem{"CA file", "the CA certificates of the Kubernetes API cannot be read: " + err.Error() + serviceAccountHint(api, "secrets.caFile")}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(content)) {
		return nil, &lookUpProblem{"CA", fmt.Sprintf("the file %q contains no PEM certificate", api.caFile)}
	}
	return roots, nil
}

// ownNamespace returns the namespace of Traefik's pod.
func ownNamespace() (string, *lookUpProblem) {
	content, err := readSmallFile(serviceAccountFolder + "/namespace")
	namespace := strings.TrimSpace(content)
	if err != nil || !isNamespace(namespace) {
		return "", &lookUpProblem{"namespace", "cannot determine Traefik's own namespace; write urn:k8s:secret:namespace/name:key, or set secrets.namespace"}
	}
	return namespace, nil
}

// serviceAccountHint returns the hint how a pod gets the files of its service account, or "" for an
// API server of another cluster.
func serviceAccountHint(api *kubernetesAPI, key string) string {
	if !api.isOwn {
		return ""
	}
	return "; set automountServiceAccountToken: true for Traefik's pod, or " + key
}

func apiName(api *kubernetesAPI) string {
	return "the Kubernetes API at " + api.url
}

// apiUnreachable returns the problem of a request without a response.
func apiUnreachable(ctx context.Context, source *secretSource, token string, err error) *lookUpProblem {
	text := problemText(err)
	if ctx.Err() != nil {
		text = "no response within " + source.pace.timeout.String()
	}
	if token != "" {
		text = strings.ReplaceAll(text, token, "[token]") // the error repeats a response that is not HTTP
	}
	kind := "unreachable"
	if strings.Contains(text, "certificate") {
		kind = "certificate"
	}
	return &lookUpProblem{kind, "the request to " + apiName(source.api) + " failed: " + truncated(text, problemMaxBytes)}
}

// apiStatusProblem returns the problem of a response without a Secret, with what to do about it.
func apiStatusProblem(api *kubernetesAPI, r secretReference, token string, status int) *lookUpProblem {
	kind := strconv.Itoa(status)
	name := r.namespace + "/" + r.name
	switch {
	case status == http.StatusUnauthorized && token == "":
		return &lookUpProblem{kind, apiName(api) + " requires a token (401); set secrets.tokenFile"}
	case status == http.StatusUnauthorized:
		return &lookUpProblem{kind, fmt.Sprintf("%s rejects the token in %q (401): it has expired or belongs to another cluster", apiName(api), api.tokenFile)}
	case status == http.StatusForbidden && token == "":
		return &lookUpProblem{kind, fmt.Sprintf("%s does not allow reading the Secret %s without a token (403); set secrets.tokenFile", apiName(api), name)}
	case status == http.StatusForbidden:
		return &lookUpProblem{kind, fmt.Sprintf("%s does not allow Traefik to read the Secret %s (403); allow it with: %s", apiName(api), name, grantCommands(r, token))}
	case status == http.StatusNotFound:
		return &lookUpProblem{kind, fmt.Sprintf("the Secret %s does not exist (404); create it with: kubectl create secret generic %s --from-file=%s=FILE -n %s",
			name, r.name, r.key, r.namespace)}
	case status >= http.StatusMultipleChoices && status < http.StatusBadRequest:
		return &lookUpProblem{kind, fmt.Sprintf("%s responded with a redirect (%d), which is not followed; configure the address of the API server itself", apiName(api), status)}
	}
	return &lookUpProblem{kind, fmt.Sprintf("%s responded with status %d", apiName(api), status)}
}

// grantCommands returns the commands that allow Traefik to read one Secret and nothing else.
func grantCommands(r secretReference, token string) string {
	account := serviceAccount(token)
	if account == "" {
		account = "NAMESPACE:SERVICEACCOUNT"
	}
	role := "chat-completion-" + r.name
	if len(role) > nameMaxBytes {
		role = "chat-completion"
	}
	return fmt.Sprintf("kubectl create role %s --verb=get --resource=secrets --resource-name=%s -n %s && kubectl create rolebinding %s --role=%s --serviceaccount=%s -n %s",
		role, r.name, r.namespace, role, role, account, r.namespace)
}

// serviceAccount returns the namespace and the name of a token's service account, separated by a
// colon, or "" if the token does not contain them.
func serviceAccount(token string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var members struct {
		Sub string `json:"sub"`
	}
	if json.Unmarshal(claims, &members) != nil {
		return ""
	}
	names := strings.Split(members.Sub, ":")
	if len(names) != 4 || names[0] != "system" || names[1] != "serviceaccount" || !isNamespace(names[2]) || !dnsName.MatchString(names[3]) {
		return ""
	}
	return names[2] + ":" + names[3]
}

// readSecret returns the key from the API server's response.
func readSecret(api *kubernetesAPI, r secretReference, body []byte) (string, *lookUpProblem) {
	value, problem := secretData(api, r, body)
	if problem != nil {
		return "", problem
	}
	key, ok := headerText(string(value))
	if !ok || len(value) > secretMaxBytes {
		return "", &lookUpProblem{"value", fmt.Sprintf("the key %q of the Secret %s/%s is empty, not a valid header value, or larger than %d bytes", r.key, r.namespace, r.name, secretMaxBytes)}
	}
	return key, nil
}

// secretData returns the data of a Secret under the key of a reference.
func secretData(api *kubernetesAPI, r secretReference, body []byte) ([]byte, *lookUpProblem) {
	var members struct {
		Kind string            `json:"kind"`
		Data map[string]string `json:"data"`
	}
	if json.Unmarshal(body, &members) != nil || members.Kind != "Secret" {
		return nil, &lookUpProblem{"response", apiName(api) + " did not return a Secret; check that it is a Kubernetes API server"}
	}
	encoded, found := members.Data[r.key]
	if !found {
		has := "it is empty"
		if len(members.Data) > 0 {
			has = "it contains " + shortened(strings.Join(sortedKeys(members.Data), ", "))
		}
		return nil, &lookUpProblem{"key", fmt.Sprintf("the Secret %s/%s has no key %q; %s", r.namespace, r.name, r.key, has)}
	}
	value, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, nil // as empty as it looks to its reader
	}
	return value, nil
}
