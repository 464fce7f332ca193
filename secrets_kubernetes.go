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

// apiAnswerMaxBytes bounds the answer of the API server. A Secret is at most 1 MiB; in base64, beside what kubectl notes
// about it, it can be three times that.
const apiAnswerMaxBytes = 4 << 20

// kubernetesAPI is an API server, and how to speak to it. The files are read for each look-up: they rotate.
type kubernetesAPI struct {
	url       string
	isOwn     bool   // the one of the cluster that Traefik runs in
	tokenFile string // empty: no token is sent
	caFile    string // empty: the certificates of the system
	namespace string // of references without one; empty: Traefik's own
}

// lookUpSecret asks the API server. Each look-up has a connection of its own: they are rare, and certificates, token and
// address are then those of now.
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
		return "", &lookUpProblem{"url", "the URL of the Kubernetes API cannot be used"}
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
	answer, err := io.ReadAll(io.LimitReader(res.Body, apiAnswerMaxBytes+1))
	_ = res.Body.Close()
	switch {
	case err != nil:
		return "", apiUnreachable(ctx, source, token, err)
	case res.StatusCode != http.StatusOK:
		return "", apiStatusProblem(source.api, reference, token, res.StatusCode)
	case len(answer) > apiAnswerMaxBytes:
		return "", &lookUpProblem{"answer", fmt.Sprintf("%s answers with more than %d bytes", apiName(source.api), apiAnswerMaxBytes)}
	}
	return readSecret(source.api, reference, answer)
}

// apiClient speaks to an API server once.
func apiClient(roots *x509.CertPool) *http.Client {
	return &http.Client{
		// The token is for the configured address.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: secretMaxBytes,
		},
	}
}

// readToken returns the token that Traefik has for the API server, "" if none is configured.
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
		return "", &lookUpProblem{"token", fmt.Sprintf("the token for the Kubernetes API, in %q, is empty or no header value", api.tokenFile)}
	}
	return token, nil
}

// readRoots returns the certificates that the API server's is verified by; nil: those of the system.
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
		return nil, &lookUpProblem{"CA", fmt.Sprintf("the file %q has no certificate in PEM", api.caFile)}
	}
	return roots, nil
}

// ownNamespace returns the namespace of Traefik's pod.
func ownNamespace() (string, *lookUpProblem) {
	content, err := readSmallFile(serviceAccountFolder + "/namespace")
	namespace := strings.TrimSpace(content)
	if err != nil || !isNamespace(namespace) {
		return "", &lookUpProblem{"namespace", "Traefik's own namespace is not known; write urn:k8s:secret:namespace/name:key, or set secrets.namespace"}
	}
	return namespace, nil
}

// serviceAccountHint says where the files of a pod come from.
func serviceAccountHint(api *kubernetesAPI, key string) string {
	if !api.isOwn {
		return ""
	}
	return "; set automountServiceAccountToken: true for Traefik's pod, or " + key
}

func apiName(api *kubernetesAPI) string {
	return "the Kubernetes API at " + api.url
}

// apiUnreachable says why there was no answer.
func apiUnreachable(ctx context.Context, source *secretSource, token string, err error) *lookUpProblem {
	text := problemText(err)
	if ctx.Err() != nil {
		text = "no answer within " + source.pace.timeout.String()
	}
	if token != "" {
		text = strings.ReplaceAll(text, token, "[token]") // an answer that is no HTTP is repeated in the error
	}
	kind := "unreachable"
	if strings.Contains(text, "certificate") {
		kind = "certificate"
	}
	return &lookUpProblem{kind, apiName(source.api) + " cannot be asked: " + truncated(text, problemMaxBytes)}
}

// apiStatusProblem says what to do when the API server does not give the Secret.
func apiStatusProblem(api *kubernetesAPI, r secretReference, token string, status int) *lookUpProblem {
	kind := strconv.Itoa(status)
	name := r.namespace + "/" + r.name
	switch {
	case status == http.StatusUnauthorized && token == "":
		return &lookUpProblem{kind, apiName(api) + " wants a token (401); set secrets.tokenFile"}
	case status == http.StatusUnauthorized:
		return &lookUpProblem{kind, fmt.Sprintf("%s refuses the token in %q (401): it has expired, or is for another cluster", apiName(api), api.tokenFile)}
	case status == http.StatusForbidden && token == "":
		return &lookUpProblem{kind, fmt.Sprintf("%s does not let the Secret %s be read without a token (403); set secrets.tokenFile", apiName(api), name)}
	case status == http.StatusForbidden:
		return &lookUpProblem{kind, fmt.Sprintf("%s does not let Traefik read the Secret %s (403); allow it with: %s", apiName(api), name, grantCommands(r, token))}
	case status == http.StatusNotFound:
		return &lookUpProblem{kind, fmt.Sprintf("there is no Secret %s (404); create it with: kubectl create secret generic %s --from-file=%s=FILE -n %s",
			name, r.name, r.key, r.namespace)}
	case status >= http.StatusMultipleChoices && status < http.StatusBadRequest:
		return &lookUpProblem{kind, fmt.Sprintf("%s answers with a redirect (%d), which is not followed; configure the address of the API server itself", apiName(api), status)}
	}
	return &lookUpProblem{kind, fmt.Sprintf("%s answers with status %d", apiName(api), status)}
}

// grantCommands returns the commands that let Traefik read one Secret, and no more.
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

// serviceAccount returns namespace and name of the account that a token is for, "" if it does not say.
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

// readSecret finds the key in a Secret.
func readSecret(api *kubernetesAPI, r secretReference, answer []byte) (string, *lookUpProblem) {
	var members struct {
		Kind string            `json:"kind"`
		Data map[string]string `json:"data"`
	}
	if json.Unmarshal(answer, &members) != nil || members.Kind != "Secret" {
		return "", &lookUpProblem{"answer", apiName(api) + " does not answer with a Secret; is it an API server?"}
	}
	encoded, found := members.Data[r.key]
	if !found {
		has := "it is empty"
		if len(members.Data) > 0 {
			has = "it has " + shortened(strings.Join(sortedKeys(members.Data), ", "))
		}
		return "", &lookUpProblem{"key", fmt.Sprintf("the Secret %s/%s has no key %q; %s", r.namespace, r.name, r.key, has)}
	}
	value, err := base64.StdEncoding.DecodeString(encoded)
	key, ok := headerText(string(value))
	if err != nil || !ok || len(value) > secretMaxBytes {
		return "", &lookUpProblem{"value", fmt.Sprintf("the key %q of the Secret %s/%s is empty, no header value, or larger than %d bytes", r.key, r.namespace, r.name, secretMaxBytes)}
	}
	return key, nil
}
