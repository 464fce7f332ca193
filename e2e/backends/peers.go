package backends

import (
	"context"
	_ "embed" // for the peers' configuration files
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/modelroute/chatcompletion/e2e/program"
)

// portkeyVersion is the last release that runs with these versions of its dependencies. With the
// versions that npm chooses, every stream gets a 500.
const portkeyVersion = "1.15.2"

const portkeyPackage = `{
  "private": true,
  "dependencies": {"@portkey-ai/gateway": "` + portkeyVersion + `"},
  "overrides": {"hono": "4.9.7", "@hono/node-server": "1.13.5"}
}
`

// nginxModules are possible paths of the njs module, relative to the folder of the nginx binary: in
// Debian's packages, installed or unpacked.
const nginxModules = "../lib/nginx/modules/ngx_http_js_module.so"

//go:embed peers/loopback.cjs
var loopback []byte

//go:embed peers/nginx.conf
var nginxConfiguration string

//go:embed peers/governed.js
var nginxScript []byte

// Peer is a gateway of another project.
type Peer struct {
	backend

	// Name is the program and its version.
	Name string

	// URL is the base URL for chat completions.
	URL string
}

// CPU returns the user and system time that the peer has used so far.
func (p *Peer) CPU() (time.Duration, error) { return p.process.CPU() }

// StartPortkey starts Portkey's gateway and returns once it serves; the caller must call Close. If
// the gateway is missing from the user's cache folder, StartPortkey installs it with npm and writes
// so to log. It needs node and npm.
func StartPortkey(ctx context.Context, log io.Writer) (*Peer, error) {
	packages, err := installPackages(ctx, log, "portkey-"+portkeyVersion, map[string][]byte{description: []byte(portkeyPackage)})
	if err != nil {
		return nil, fmt.Errorf("portkey: %w", err)
	}
	node, err := Node()
	if err != nil {
		return nil, fmt.Errorf("portkey: %w", err)
	}
	return firstStart(ctx, func() (*Peer, error) {
		peer, address, err := newPeer("Portkey " + portkeyVersion)
		if err != nil {
			return nil, err
		}
		script := filepath.Join(peer.dir, "loopback.cjs")
		port := address[strings.LastIndexByte(address, ':')+1:]
		peer.binary = node
		peer.arguments = []string{
			"-r", script, filepath.Join(packages, "@portkey-ai", "gateway", "build", "start-server.js"), "--port=" + port, "--headless",
		}
		peer.environment = []string{"TRUSTED_CUSTOM_HOSTS=127.0.0.1", "NODE_ENV=production"}
		return peer, os.WriteFile(script, loopback, 0o600)
	})
}

// PortkeyHeader returns the header that makes Portkey forward a request to the upstream with the
// key, set the members in its body, and forward the named request header.
func PortkeyHeader(upstream, key string, members map[string]any, forwarded string) (name, value string, err error) {
	config, err := json.Marshal(map[string]any{
		"provider": "openai", "custom_host": upstream + "/v1", "api_key": key, "override_params": members,
		"forward_headers": []string{strings.ToLower(forwarded)},
	})
	return "X-Portkey-Config", string(config), err
}

// StartNginx starts nginx with an njs script that changes requests as the plugin does, and returns
// once it serves; the caller must call Close. It runs the nginx that the environment variable NGINX
// names, else the one on PATH, with its njs module. It does not stream.
func StartNginx(ctx context.Context, upstream, key string) (*Peer, error) {
	named := os.Getenv("NGINX")
	if named == "" {
		named = "nginx"
	}
	binary, err := exec.LookPath(named)
	if err != nil {
		return nil, fmt.Errorf("nginx: %w", err)
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return nil, err
	}
	module := filepath.Join(filepath.Dir(binary), nginxModules)
	if _, err := os.Stat(module); err != nil {
		return nil, fmt.Errorf("nginx: njs module: %w", err)
	}
	version, err := exec.CommandContext(ctx, binary, "-v").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("nginx: %w: %s", err, version)
	}
	name := "nginx " + strings.TrimSpace(string(version[strings.LastIndexByte(string(version), '/')+1:])) + " with njs"
	return firstStart(ctx, func() (*Peer, error) {
		peer, address, err := newPeer(name)
		if err != nil {
			return nil, err
		}
		configuration := strings.NewReplacer(
			"{{module}}", module, "{{upstream}}", strings.TrimPrefix(upstream, "http://"), "{{address}}", address, "{{key}}", key,
		).Replace(nginxConfiguration)
		peer.binary, peer.arguments = binary, []string{"-p", peer.dir, "-c", "nginx.conf", "-e", "stderr"}
		if err := os.WriteFile(filepath.Join(peer.dir, "governed.js"), nginxScript, 0o600); err != nil {
			return nil, err
		}
		return peer, os.WriteFile(filepath.Join(peer.dir, "nginx.conf"), []byte(configuration), 0o600)
	})
}

func newPeer(name string) (peer *Peer, address string, err error) {
	address, err = program.FreeAddress()
	if err != nil {
		return nil, "", err
	}
	dir, err := os.MkdirTemp("", "chatcompletion-peer-")
	if err != nil {
		return nil, "", err
	}
	peer = &Peer{Name: name, URL: "http://" + address}
	peer.dir = dir
	peer.ready = func(ctx context.Context) bool { return servesTo(ctx, http.DefaultClient, peer.URL, 0) }
	return peer, address, nil
}
