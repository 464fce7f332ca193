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

// upstream is a provider that the middleware forwards to by itself.
type upstream struct {
	scheme    string
	host      string
	port      string
	authority string // the host as URLs and the Host header have it, with the port if it is not the scheme's
	tls       *tls.Config
	trusts    string // the certificates in PEM that tls takes; empty: the system's
	connect   time.Duration
	firstByte time.Duration
}

// transports are shared by all middlewares that reach the same provider in the same way, so that connections outlive
// configurations. They stay: there are as many as different settings, and each closes idle connections by itself.
var (
	transportsMu sync.Mutex
	transports   = map[string]*http.Transport{}
)

// What a transport allows itself, as Traefik's do.
const (
	maxIdleConnections    = 200              // to one provider
	idleConnectionTimeout = 50 * time.Second // less than load balancers have, so that it is not them who close
	keepAliveInterval     = 30 * time.Second
	headerMaxBytes        = 256 << 10 // of an answer's header
)

// transportOf returns the transport to a provider.
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
			return dialer.DialContext(ctx, network, address) // its method value is none of this type to Yaegi
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
