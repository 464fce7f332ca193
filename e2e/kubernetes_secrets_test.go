//go:build kubernetes

package e2e_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// secretGateway is a Traefik without a Kubernetes provider: the plugin itself resolves the
// reference, with the token of a service account.
type secretGateway struct {
	*gateway.Gateway
	kubernetes *backends.Kubernetes
	provider   *recorder
}

// startSecretGateway starts one with the key sk-first in the Secret ai-keys of the namespace ai.
// further overrides keys of secrets.
func startSecretGateway(t *testing.T, k *backends.Kubernetes, account string, further map[string]any) *secretGateway {
	t.Helper()
	return startSecretGatewayWith(t, k, account, further, nil)
}

// startSecretGatewayWith starts one like startSecretGateway, with consumers.
func startSecretGatewayWith(t *testing.T, k *backends.Kubernetes, account string, further, consumers map[string]any) *secretGateway {
	t.Helper()
	haveNamespace(t, k, "traefik")
	kubectl(t, k, "", "create", "serviceaccount", account, "--namespace=traefik")
	token := filepath.Join(t.TempDir(), "token")
	write(t, token, kubectl(t, k, "", "create", "token", account, "--namespace=traefik"))
	setSecret(t, k, "ai", "sk-first")

	secrets := map[string]any{
		"endpoint": k.URL, "tokenFile": token, "caFile": k.Authority.File, "namespace": "ai",
		"refresh": "1s", "maxStale": "1h",
	}
	for key, value := range further {
		secrets[key] = value
	}
	provider := newRecorder()
	g := &secretGateway{start(t, gateway.Options{}), k, provider}
	configure(t, g.Gateway, gateway.Dynamic{
		Routers: map[string]gateway.Router{"chat": {Rule: "PathPrefix(`/`)", Middlewares: []string{"governed"}, Service: "provider"}},
		Middlewares: map[string]any{"governed": gateway.Plugin(map[string]any{
			"token": "urn:k8s:secret:ai-keys:openai-token", "model": "gpt-4o", "secrets": secrets, "consumers": consumers,
		})},
		Services: map[string]string{"provider": upstream(t, provider).URL},
	})
	return g
}

// allow applies the example's Role and RoleBinding for the service account.
func allow(t *testing.T, k *backends.Kubernetes, account string) {
	t.Helper()
	apply(t, k, "ai", readReplaced(t, filepath.Join(examples(t), "kubernetes", "rbac.yaml"),
		"name: traefik #", "name: "+account+" #", "name: chat-completion", "name: chat-completion-"+account))
}

// TestKubernetesSecretFromFileProvider resolves a reference that Traefik does not resolve, with the
// permissions in the example.
func TestKubernetesSecretFromFileProvider(t *testing.T) {
	k := startKubernetes(t)

	t.Run("rotates without a failed request", func(t *testing.T) {
		allow(t, k, "rotating")
		g := startSecretGateway(t, k, "rotating", nil)
		awaitStatus(t, g.URL, "", chatPath, plainBody, http.StatusOK)
		l := startLoad(t, g.URL, "")
		l.awaitKey(t, g.provider, "sk-first")
		setSecret(t, k, "ai", "sk-second")
		t.Logf("the new key is used %v after kubectl", l.awaitKey(t, g.provider, "sk-second"))
		t.Logf("%d calls, none failed", l.finish())
		checkNoPanic(t, g.Gateway)
	})

	t.Run("without permission the log says what to do", func(t *testing.T) {
		g := startSecretGateway(t, k, "nobody", nil)
		_, body := awaitStatus(t, g.URL, "", chatPath, plainBody, http.StatusServiceUnavailable)
		if !strings.Contains(body, "credentials_unavailable") || strings.Contains(body, "ai-keys") {
			t.Errorf("the client gets %s, want no mention of the Secret", body)
		}
		var advice []string
		await(t, "the log names the missing rule", func() bool {
			advice = regexp.MustCompile(`kubectl (create role [^;&"\\]+) && kubectl (create rolebinding [^;&"\\]+)`).FindStringSubmatch(logText(t, g.Gateway))
			return advice != nil
		})
		for _, command := range advice[1:] {
			kubectl(t, k, "", strings.Fields(command)...)
		}
		number, _ := awaitStatus(t, g.URL, "", chatPath, plainBody, http.StatusOK)
		if got := g.provider.request(number); got.key != "sk-first" {
			t.Errorf("the provider gets the key %q, want sk-first", got.key)
		}
		checkNoPanic(t, g.Gateway)
	})

	t.Run("withdrawn permission ends the key after maxStale", func(t *testing.T) {
		const maxStale = 5 * time.Second
		allow(t, k, "withdrawn")
		g := startSecretGateway(t, k, "withdrawn", map[string]any{"maxStale": maxStale.String()})
		awaitStatus(t, g.URL, "", chatPath, plainBody, http.StatusOK)
		kubectl(t, k, "", "delete", "rolebinding", "chat-completion-withdrawn", "--namespace=ai")
		withdrawn := time.Now()
		l := startLoad(t, g.URL, "")
		await(t, "the log names the missing rule", func() bool {
			return strings.Contains(logText(t, g.Gateway), "kubectl create role")
		})
		t.Logf("logged after %v", time.Since(withdrawn))
		for time.Since(withdrawn) < maxStale-time.Second { // the last successful look-up was up to a second earlier
			l.awaitMore(t, steadyClients)
		}
		t.Logf("%d calls, none failed", l.finish())
		awaitStatus(t, g.URL, "", chatPath, plainBody, http.StatusServiceUnavailable)
		if took := time.Since(withdrawn); took > maxStale+conditionTimeout/12 { // a busy machine notices later
			t.Errorf("the key expired after %v, want %v", took, maxStale)
		}
		allow(t, k, "withdrawn")
		awaitStatus(t, g.URL, "", chatPath, plainBody, http.StatusOK)
		checkNoPanic(t, g.Gateway)
	})

	t.Run("the API server may be away", func(t *testing.T) {
		allow(t, k, "patient")
		g := startSecretGateway(t, k, "patient", nil)
		awaitStatus(t, g.URL, "", chatPath, plainBody, http.StatusOK)
		l := startLoad(t, g.URL, "")
		k.Stop()
		await(t, "the log says that the server is unreachable", func() bool {
			return strings.Contains(logText(t, g.Gateway), strings.TrimPrefix(k.URL, "https://"))
		})
		for stopped := time.Now(); time.Since(stopped) < time.Minute; {
			l.awaitMore(t, 1000)
		}
		if err := k.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		setSecret(t, k, "ai", "sk-second")
		t.Logf("the new key is used %v after kubectl", l.awaitKey(t, g.provider, "sk-second"))
		t.Logf("%d calls, none failed", l.finish())
		checkNoPanic(t, g.Gateway)
	})
}

// TestKubernetesConsumersFromSecrets has the key of a consumer, and a list of others, in a Secret, and
// replaces both.
func TestKubernetesConsumersFromSecrets(t *testing.T) {
	k := startKubernetes(t)
	const account = "consumers"
	haveNamespace(t, k, "ai")
	allow(t, k, account)
	for _, arguments := range []string{
		"create role read-consumers --verb=get --resource=secrets --resource-name=ai-consumers --namespace=ai",
		"create rolebinding read-consumers --role=read-consumers --serviceaccount=traefik:" + account + " --namespace=ai",
	} {
		kubectl(t, k, "", strings.Fields(arguments)...)
	}
	setConsumers(t, k, "sk-blue-first", "sk-red-first")
	g := startSecretGatewayWith(t, k, account, nil, map[string]any{
		"from": "urn:k8s:secret:ai-consumers:consumers.json",
		"list": []map[string]any{{"name": "blue", "key": "urn:k8s:secret:ai-consumers:blue"}},
	})
	awaitKeys(t, g, map[string]int{"sk-blue-first": http.StatusOK, "sk-red-first": http.StatusOK, "sk-red-second": http.StatusUnauthorized})
	setConsumers(t, k, "sk-blue-second", "sk-red-second")
	awaitKeys(t, g, map[string]int{
		"sk-blue-first": http.StatusUnauthorized, "sk-blue-second": http.StatusOK,
		"sk-red-first": http.StatusUnauthorized, "sk-red-second": http.StatusOK,
	})
	checkNoPanic(t, g.Gateway)
}

// setConsumers writes the Secret ai-consumers, with the key of blue, and a list with the digest of red's.
func setConsumers(t *testing.T, k *backends.Kubernetes, blue, red string) {
	t.Helper()
	list, err := json.Marshal([]map[string]string{{"name": "red", "key": fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(red)))}})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, k, "ai", fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"ai-consumers"},"stringData":{"blue":%q,"consumers.json":%q}}`, blue, list))
}

// awaitKeys waits until requests with the keys get their statuses.
func awaitKeys(t *testing.T, g *secretGateway, want map[string]int) {
	t.Helper()
	for key, status := range want {
		await(t, fmt.Sprintf("status %d with %s", status, key), func() bool {
			response, err := do(t.Context(), http.DefaultClient, g.URL+chatPath, plainBody, map[string]string{"Authorization": "Bearer " + key})
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			return response.StatusCode == status
		})
	}
}
