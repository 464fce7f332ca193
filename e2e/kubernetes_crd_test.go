//go:build kubernetes

package e2e_test

import (
	"net"
	"net/http"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// prometheusOperator is the module with the schema of PodMonitors.
const prometheusOperator = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

// crdGateway is a Traefik that reads its configuration from a Kubernetes API server, with the
// permissions in Traefik's documentation.
type crdGateway struct {
	*gateway.Gateway
	kubernetes *backends.Kubernetes
	provider   *recorder
	plain      string // the provider's port
	secure     string // the same, with a certificate for localhost, which Traefik trusts
	metrics    string // the address of the entry point metrics
}

func startCRDGateway(t *testing.T) *crdGateway {
	t.Helper()
	k := startKubernetes(t)
	applyDefinitions(t, k,
		traefikReference(t, "kubernetes-crd-definition-v1.yml"),
		filepath.Join(moduleFolder(t, "sigs.k8s.io/gateway-api"), "config", "crd", "standard"),
		filepath.Join(downloaded(t, prometheusOperator), "example", "prometheus-operator-crd", "monitoring.coreos.com_podmonitors.yaml"))
	const account = "traefik-ingress-controller" // the account in Traefik's documentation
	kubectl(t, k, "", "apply", "--filename="+traefikReference(t, "kubernetes-crd-rbac.yml"), "--filename="+traefikReference(t, "kubernetes-gateway-rbac.yml"))
	kubectl(t, k, "", "create", "clusterrolebinding", "gateway", "--clusterrole=gateway-role", "--serviceaccount=default:"+account)
	kubectl(t, k, "", "create", "serviceaccount", account)

	api := map[string]any{
		"endpoint":         k.URL,
		"token":            kubectl(t, k, "", "create", "token", account),
		"certAuthFilePath": k.Authority.File,
	}
	crd := map[string]any{"allowExternalNameServices": true}
	for name, value := range api {
		crd[name] = value
	}
	provider, metrics := newRecorder(), freeAddress(t)
	g := start(t, gateway.Options{
		Env: []string{"KUBECONFIG=", "KUBERNETES_SERVICE_HOST="}, // they would select another cluster
		Static: map[string]any{
			"providers":        map[string]any{"kubernetesCRD": crd, "kubernetesGateway": api},
			"entryPoints":      map[string]any{"metrics": map[string]any{"address": metrics}},
			"serversTransport": map[string]any{"rootCAs": []string{k.Authority.File}},
		},
	})
	return &crdGateway{
		Gateway: g, kubernetes: k, provider: provider, metrics: metrics,
		plain:  port(t, upstream(t, provider).URL),
		secure: port(t, newSecureFake(t, "provider", provider, k.Authority).URL),
	}
}

// example applies an example in a namespace, with different hosts, ports and keys.
func (g *crdGateway) example(t *testing.T, namespace, file string, replacements ...string) {
	t.Helper()
	apply(t, g.kubernetes, namespace, readReplaced(t, filepath.Join(examples(t), "kubernetes", file), replacements...))
}

// inCloud returns the replacements for an example with a cloud provider.
func (g *crdGateway) inCloud(provider, host, as string) []string {
	return []string{provider, "localhost", "443", g.secure, host, as}
}

// TestKubernetesExamplesServe applies the examples, which correspond to the manifests in Traefik
// Hub's documentation and to the providers in agentgateway's.
func TestKubernetesExamplesServe(t *testing.T) {
	g := startCRDGateway(t)
	g.example(t, "openai", "openai.yaml", append(g.inCloud("api.openai.com", "ai.example.com", "openai.test"), "sk-proj-XXXXX", "sk-openai")...)
	g.example(t, "ollama", "ollama.yaml", "ai.localhost", "ollama.test", "11434", g.plain,
		// A selector would match no pod.
		"selector:\n    app: ollama", "type: ExternalName\n  externalName: localhost")
	g.example(t, "vllm", "vllm.yaml", "ai.localhost", "vllm.test", "host: vllm.models.svc.cluster.local", "host: localhost\n      port: "+g.plain)
	g.example(t, "models", "model-routing.yaml", append(g.inCloud("api.openai.com", "ai.localhost", "models.test"),
		"sk-proj-XXXXX", "sk-models", "ollama.example.com", "localhost", "11434", g.plain)...)
	gemini := append(g.inCloud("generativelanguage.googleapis.com", "ai.example.com", "gemini.test"), "AIza-XXXXX", "AIza-gemini")
	g.example(t, "gemini", "gemini.yaml", gemini...)
	// The expression in Traefik Hub's documentation does not match the path of the route.
	gemini[5] = "hub-gemini.test"
	g.example(t, "hub-gemini", "gemini.yaml", append(gemini, "^/api/gemini/(.*)", "^/ai-api/openai/(.*)",
		"/v1beta/openai/chat/completions", "/v1/chat/completions")...)
	g.example(t, "providers", "mistral-deepseek.yaml", append(g.inCloud("api.mistral.ai", "ai.example.com", "providers.test"),
		"api.deepseek.com", "localhost", "  Authorization: XXXXX", "  Authorization: mistral-key", "sk-XXXXX", "deepseek-key")...)
	g.example(t, "metrics", "metrics.yaml")
	g.example(t, "gateway", "openai.yaml", append(g.inCloud("api.openai.com", "ai.example.com", "unused.test"), "sk-proj-XXXXX", "sk-gateway")...)
	g.example(t, "gateway", "gateway-api.yaml", "ai.example.com", "gateway.test", "8000", port(t, g.URL), "443", g.secure)
	g.example(t, "ai", "rbac.yaml")
	g.example(t, "metrics", "autoscaling.yaml")

	tests := []struct {
		name   string
		host   string
		path   string
		body   string
		want   seen
		params map[string]any
	}{
		{
			name: "OpenAI", host: "openai.test", path: chatPath, body: `{"model":"o9","temperature":0.5,"messages":[{"role":"user","content":"Hi"}]}`,
			want:   seen{tls: true, path: chatPath, key: "sk-openai", model: "gpt-4o"},
			params: map[string]any{"temperature": 0.5, "top_p": 1.0, "max_tokens": 2048.0, "frequency_penalty": 0.0, "presence_penalty": 0.0},
		},
		{
			name: "local Ollama", host: "ollama.test", path: chatPath, body: plainBody,
			want:   seen{path: chatPath, model: "llama4:maverick", host: "ollama.test"}, // passHostHeader is the default
			params: map[string]any{"temperature": 1.0, "top_p": 1.0, "max_tokens": 2048.0, "frequency_penalty": 0.0, "presence_penalty": 0.0},
		},
		{
			name: "vLLM, without a service", host: "vllm.test", path: chatPath, body: plainBody,
			want:   seen{path: chatPath, model: "meta-llama/Llama-3.1-8B-Instruct"},
			params: map[string]any{"max_tokens": 2048.0},
		},
		{
			name: "by model, local", host: "models.test", path: chatPath, body: `{"model":"qwen2.5:0.5b","messages":[{"role":"user","content":"Hi"}]}`,
			want: seen{path: chatPath, model: "qwen2.5:0.5b"},
		},
		{
			name: "by model, in the cloud", host: "models.test", path: chatPath, body: plainBody,
			want:   seen{tls: true, path: chatPath, key: "sk-models", model: "gpt-4o"},
			params: map[string]any{"max_tokens": 1024.0},
		},
		{
			name: "Gemini", host: "gemini.test", path: "/api/gemini/chat", body: plainBody,
			want:   seen{tls: true, path: "/v1beta/openai/chat/completions", key: "AIza-gemini", model: "gemini-2.0-flash"},
			params: map[string]any{"temperature": 0.8, "max_tokens": 4096.0},
		},
		{
			name: "Gemini, as Traefik Hub's documentation has it", host: "hub-gemini.test", path: "/api/gemini/chat", body: plainBody,
			want:   seen{tls: true, path: "/api/gemini/chat", key: "AIza-gemini", model: "gemini-2.0-flash"},
			params: map[string]any{"temperature": 0.8, "max_tokens": 4096.0},
		},
		{
			name: "Mistral", host: "providers.test", path: "/mistral", body: `{"model":"","messages":[{"role":"user","content":"Hi"}]}`,
			want: seen{tls: true, path: chatPath, key: "mistral-key", model: "mistral-medium-2505"},
		},
		{
			name: "DeepSeek", host: "providers.test", path: "/deepseek", body: `{"model":"","messages":[{"role":"user","content":"Hi"}]}`,
			want: seen{tls: true, path: chatPath, key: "deepseek-key", model: "deepseek-chat"},
		},
		{
			name: "Gateway API", host: "gateway.test", path: chatPath, body: plainBody,
			want:   seen{tls: true, path: chatPath, key: "sk-gateway", model: "gpt-4o"},
			params: map[string]any{"temperature": 1.0, "top_p": 1.0, "max_tokens": 2048.0, "frequency_penalty": 0.0, "presence_penalty": 0.0},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			number, _ := awaitStatus(t, g.URL, test.host, test.path, test.body, http.StatusOK)
			got := g.provider.request(number)
			params := got.body
			delete(params, "model")
			delete(params, "messages")
			if test.params == nil {
				test.params = map[string]any{}
			}
			if !reflect.DeepEqual(params, test.params) {
				t.Errorf("parameters %v, want %v", params, test.params)
			}
			want := test.want
			if want.host == "" {
				want.host = net.JoinHostPort("localhost", g.plain)
				if want.tls {
					want.host = net.JoinHostPort("localhost", g.secure)
				}
			}
			if got.body = nil; !reflect.DeepEqual(got, want) {
				t.Errorf("the provider sees %+v, want %+v", got, want)
			}
		})
	}
	t.Run("a model that no route takes", func(t *testing.T) {
		awaitStatus(t, g.URL, "models.test", chatPath, `{"model":"o9","messages":[{"role":"user","content":"Hi"}]}`, http.StatusNotFound)
	})
	t.Run("metrics", func(t *testing.T) {
		models := map[string]bool{}
		for _, sample := range scrape(t, "http://"+g.metrics+"/chat-completion/metrics") {
			models[sample.Labels["gen_ai_request_model"]] = true
		}
		for _, test := range tests {
			if !models[test.want.model] {
				t.Errorf("no call of %s in the metrics", test.want.model)
			}
		}
	})
	t.Run("least privilege", func(t *testing.T) {
		for question, want := range map[string]string{
			"get secrets/ai-keys": "yes", "get secrets/other": "no", "get secrets": "no", "list secrets": "no", "watch secrets": "no",
		} {
			if got := mayTraefik(t, g.kubernetes, "ai", question); got != want {
				t.Errorf("can Traefik %s: %s, want %s", question, got, want)
			}
		}
	})
	checkNoPanic(t, g.Gateway)
}

// startLoadedExample runs the OpenAI example under steady load.
func startLoadedExample(t *testing.T) (*crdGateway, *steadyLoad) {
	t.Helper()
	g := startCRDGateway(t)
	g.example(t, "openai", "openai.yaml", append(g.inCloud("api.openai.com", "ai.example.com", "openai.test"), "sk-proj-XXXXX", "sk-first")...)
	awaitStatus(t, g.URL, "openai.test", chatPath, plainBody, http.StatusOK)
	l := startLoad(t, g.URL, "openai.test")
	l.awaitMore(t, 100)
	return g, l
}

// TestKubernetesSecretRotation changes a Secret that Traefik itself resolves for a Middleware.
func TestKubernetesSecretRotation(t *testing.T) {
	g, l := startLoadedExample(t)
	for _, key := range []string{"sk-second", "sk-third"} {
		setSecret(t, g.kubernetes, "openai", key)
		t.Logf("%s is used %v after kubectl", key, l.awaitKey(t, g.provider, key))
	}
	t.Logf("%d calls, none failed", l.finish())
	checkNoPanic(t, g.Gateway)
}

// TestKubernetesAPIServerOutage stops the API server from which Traefik reads its configuration.
func TestKubernetesAPIServerOutage(t *testing.T) {
	g, l := startLoadedExample(t)
	g.kubernetes.Stop()
	l.awaitMore(t, 1000)
	if err := g.kubernetes.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	setSecret(t, g.kubernetes, "openai", "sk-second")
	t.Logf("the new key is used %v after kubectl", l.awaitKey(t, g.provider, "sk-second"))
	t.Logf("%d calls, none failed", l.finish())
	checkNoPanic(t, g.Gateway)
}
