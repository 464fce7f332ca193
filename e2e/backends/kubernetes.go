package backends

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/modelroute/chatcompletion/e2e/program"
)

// Kubernetes is a Kubernetes API server with its own etcd. The cluster has no other component: no
// node runs a pod, and no controller creates endpoints for Services. RBAC authorizes requests, as
// in any cluster.
type Kubernetes struct {
	backend // the API server, which Stop and Start restart

	// URL is the base URL of the API. A restart does not change it.
	URL string

	// Authority issued the API server's certificate.
	Authority *Authority

	etcd    *etcd
	kubectl string
	config  string // for kubectl as the administrator
}

// StartKubernetes starts an etcd and an API server, and returns once both serve; the caller must
// call Close.
func StartKubernetes(ctx context.Context) (*Kubernetes, error) {
	kubectl, err := KubectlBinary()
	if err != nil {
		return nil, err
	}
	binary, err := KubeAPIServerBinary(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	store, err := startEtcd(ctx)
	if err != nil {
		return nil, err
	}
	k, err := firstStart(ctx, func() (*Kubernetes, error) { return newKubernetes(binary, store.url) })
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	k.etcd, k.kubectl = store, kubectl
	return k, nil
}

func newKubernetes(binary, store string) (*Kubernetes, error) {
	address, err := program.FreeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "chatcompletion-kubernetes-")
	if err != nil {
		return nil, err
	}
	k := &Kubernetes{URL: "https://" + address, config: filepath.Join(dir, "kubeconfig")}
	k.binary, k.dir = binary, dir
	if err := k.writeCredentials(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	_, port, _ := strings.Cut(address, ":")
	k.arguments = []string{
		"--etcd-servers=" + store,
		"--bind-address=127.0.0.1",
		"--secure-port=" + port,
		"--tls-cert-file=" + k.path("server.crt"),
		"--tls-private-key-file=" + k.path("server.key"),
		"--client-ca-file=" + k.Authority.File,
		"--authorization-mode=RBAC",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file=" + k.path("accounts.key"),
		"--service-account-key-file=" + k.path("accounts.key"),
		// Without a controller, no namespace has the service account that a test's pod would need.
		"--disable-admission-plugins=ServiceAccount",
		"--service-cluster-ip-range=10.96.0.0/24",
		"--advertise-address=127.0.0.1",
		"--endpoint-reconciler-type=none", // the reconciler would reject a loopback address
		"--cert-dir=" + dir,
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: k.Authority.Pool(), MinVersion: tls.VersionTLS12}}}
	k.ready = func(ctx context.Context) bool { return servesTo(ctx, client, k.URL+"/readyz", http.StatusOK) }
	return k, nil
}

// writeCredentials writes the certificates and keys of the API server and its administrator.
func (k *Kubernetes) writeCredentials() error {
	var err error
	if k.Authority, err = NewAuthority(k.dir); err != nil {
		return err
	}
	server, err := k.Authority.Server()
	if err != nil {
		return err
	}
	administrator, err := k.Authority.Client("administrator", "system:masters") // this group may do everything
	if err != nil {
		return err
	}
	accounts, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	accountsKey, err := x509.MarshalECPrivateKey(accounts)
	if err != nil {
		return err
	}
	config, err := json.Marshal(k.administratorConfig()) // JSON is valid YAML
	if err != nil {
		return err
	}
	return errors.Join(
		writePair(k.dir, "server", server),
		writePair(k.dir, "administrator", administrator),
		writePEM(k.path("accounts.key"), "EC PRIVATE KEY", accountsKey),
		os.WriteFile(k.config, config, 0o600),
	)
}

func (k *Kubernetes) administratorConfig() map[string]any {
	named := func(kind string, value map[string]any) []any {
		return []any{map[string]any{"name": "test", kind: value}}
	}
	return map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": named("cluster", map[string]any{"server": k.URL, "certificate-authority": k.Authority.File}),
		"users": named("user", map[string]any{
			"client-certificate": k.path("administrator.crt"), "client-key": k.path("administrator.key"),
		}),
		"contexts": named("context", map[string]any{"cluster": "test", "user": "test"}),
	}
}

func (k *Kubernetes) path(name string) string { return filepath.Join(k.dir, name) }

// Kubectl runs kubectl as the administrator, with input as its standard input, and returns its
// standard output.
func (k *Kubernetes) Kubectl(ctx context.Context, input string, arguments ...string) (string, error) {
	cmd := exec.CommandContext(ctx, k.kubectl, append([]string{"--kubeconfig=" + k.config, "--cache-dir=" + k.path("kubectl")}, arguments...)...)
	cmd.Stdin = strings.NewReader(input)
	var problem bytes.Buffer
	cmd.Stderr = &problem
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(arguments, " "), err, strings.TrimSpace(problem.String()))
	}
	return strings.TrimSpace(string(output)), nil
}

// Close ends the API server and etcd and removes their files.
func (k *Kubernetes) Close() error {
	err := k.backend.Close()
	if k.etcd != nil {
		err = errors.Join(err, k.etcd.Close())
	}
	return err
}

// etcd stores the objects of the API server.
type etcd struct {
	backend
	url string
}

func startEtcd(ctx context.Context) (*etcd, error) {
	binary, err := EtcdBinary(ctx, os.Stderr)
	if err != nil {
		return nil, err
	}
	return firstStart(ctx, func() (*etcd, error) { return newEtcd(binary) })
}

func newEtcd(binary string) (*etcd, error) {
	address, err := program.FreeAddress()
	if err != nil {
		return nil, err
	}
	peers, err := program.FreeAddress()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "chatcompletion-etcd-")
	if err != nil {
		return nil, err
	}
	e := &etcd{url: "http://" + address}
	e.binary, e.dir = binary, dir
	e.arguments = []string{
		"--name=test",
		"--data-dir=" + filepath.Join(dir, "data"),
		"--listen-client-urls=" + e.url,
		"--advertise-client-urls=" + e.url,
		"--listen-peer-urls=http://" + peers,
		"--initial-advertise-peer-urls=http://" + peers,
		"--initial-cluster=test=http://" + peers,
		"--unsafe-no-fsync", // the data need not survive a crash
		"--log-level=warn",
	}
	e.ready = func(ctx context.Context) bool { return serves(ctx, e.url+"/health", http.StatusOK) }
	return e, nil
}
