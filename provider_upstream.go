package chatcompletion

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// upstream is the address of a provider that the middleware connects to itself, and how it
// connects.
type upstream struct {
	scheme    string
	host      string
	port      string
	authority string // the host in URLs and in the Host header, with a port unless it is the scheme's default
	tls       *tls.Config
	trusts    string // the PEM certificates that tls trusts; empty: the system's
	connect   time.Duration
	firstByte time.Duration
}

// transports are shared by all instances that connect to the same provider with the same settings,
// so that connections survive a reload of the configuration. They are never removed: there is one
// per distinct settings, and each closes its idle connections.
var (
	transportsMu sync.Mutex
	transports   = map[string]*http.Transport{}
)

// Bounds of a transport, as in Traefik.
const (
	maxIdleConnections    = 200              // per provider
	idleConnectionTimeout = 50 * time.Second // less than that of load balancers, so that they do not close first
	keepAliveInterval     = 30 * time.Second
	headerMaxBytes        = 256 << 10 // of a response header
)

// transportOf returns the shared transport for an upstream.
func transportOf(u *upstream) *http.Transport {
	key := u.scheme + "\x00" + u.authority + "\x00" + u.connect.String() + "\x00" + u.firstByte.String()
	if u.tls != nil {
		key += "\x00" + u.tls.ServerName + "\x00" + strconv.FormatBool(u.tls.InsecureSkipVerify) + "\x00" + u.trusts
	}
	transportsMu.Lock()
	defer transportsMu.Unlock()
	if known := transports[key]; known != nil {
		return known
	}
	dialer := &net.Dialer{Timeout: u.connect, KeepAlive: keepAliveInterval}
	transports[key] = &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address) // to Yaegi, its method value does not have this type
		},
		TLSClientConfig:        u.tls,
		TLSHandshakeTimeout:    u.connect,
		ResponseHeaderTimeout:  u.firstByte,
		MaxResponseHeaderBytes: headerMaxBytes,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    maxIdleConnections,
		IdleConnTimeout:        idleConnectionTimeout,
	}
	return transports[key]
}
