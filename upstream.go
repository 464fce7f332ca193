package chatcompletion

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httputil"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Defaults of Config.Timeouts, and their bounds as the operator reads them.
const (
	defaultConnectTimeout   = 10 * time.Second
	defaultFirstByteTimeout = 10 * time.Minute
	connectTimeouts         = "from 1ms to 10m"
	firstByteTimeouts       = "from 1ms to 1h"
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

// hostName is the name or the IPv4 address of a host.
var hostName = regexp.MustCompile(`^([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?$`)

// parseUpstream reads where a provider is, and how it is reached; nil: it is the router's service.
func parseUpstream(bad *problems, provider *providerConfig, known *preset) *upstream {
	keys := &provider.keys
	host := strings.TrimSpace(keys.Host)
	if host == "" && !provider.isFirst {
		host = known.host
	}
	if host == "" {
		checkUnusedWithoutHost(bad, provider)
		return nil
	}
	address := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if !hostName.MatchString(host) && net.ParseIP(address) == nil {
		bad.add(provider.prefix+"host", "%q is no name and no address of a host; a scheme, a port and a path have keys of their own", shortened(host))
	}
	u := &upstream{host: address, connect: defaultConnectTimeout, firstByte: defaultFirstByteTimeout}
	schemesPort := 80
	u.scheme = "http"
	if parseBool(bad, provider.prefix+"tls.enabled", keys.TLS.Enabled, !known.plaintext) {
		schemesPort = 443
		u.scheme = "https"
		parseTLS(bad, provider, u)
	} else {
		checkUnusedWithoutTLS(bad, provider)
	}
	byDefault := schemesPort
	if known.port != 0 {
		byDefault = known.port
	}
	port := parseInteger(bad, provider.prefix+"port", keys.Port, byDefault, math.MaxUint16, "a port")
	u.port = strconv.Itoa(port)
	u.authority = net.JoinHostPort(address, u.port)
	if port == schemesPort {
		u.authority = strings.TrimSuffix(u.authority, ":"+u.port)
	}
	if d := parseDuration(bad, "timeouts.connect", provider.timeouts.Connect, time.Millisecond, 10*time.Minute, connectTimeouts); d > 0 {
		u.connect = d
	}
	if d := parseDuration(bad, "timeouts.firstByte", provider.timeouts.FirstByte, time.Millisecond, time.Hour, firstByteTimeouts); d > 0 {
		u.firstByte = d
	}
	return u
}

// checkUnusedWithoutHost finds the keys that have no effect without a host.
func checkUnusedWithoutHost(bad *problems, provider *providerConfig) {
	if !provider.isFirst {
		bad.add(provider.prefix+"host", "is not configured, and not known of the provider")
		return
	}
	keys := &provider.keys
	for _, s := range append([]setting{
		{"port", keys.Port}, {"tls.enabled", keys.TLS.Enabled},
		{"timeouts.connect", provider.timeouts.Connect}, {"timeouts.firstByte", provider.timeouts.FirstByte},
	}, certificateSettings(keys)...) {
		if !isUnset(s.value) {
			bad.add(s.key, "has no effect without %q", "host")
		}
	}
}

// setting is a key of the configuration with its value.
type setting struct {
	key   string
	value any
}

// certificateSettings are the keys about certificates.
func certificateSettings(keys *Fallback) []setting {
	return []setting{
		{"tls.serverName", keys.TLS.ServerName}, {"tls.caFile", keys.TLS.CAFile}, {"tls.insecureSkipVerify", keys.TLS.InsecureSkipVerify},
	}
}

// checkUnusedWithoutTLS finds the keys that have no effect without TLS.
func checkUnusedWithoutTLS(bad *problems, provider *providerConfig) {
	for _, s := range certificateSettings(&provider.keys) {
		if !isUnset(s.value) {
			bad.add(provider.prefix+s.key, "has no effect without TLS; set %q", provider.prefix+"tls.enabled")
		}
	}
}

// parseTLS reads how a connection to a provider is secured.
func parseTLS(bad *problems, provider *providerConfig, u *upstream) {
	settings := &provider.keys.TLS
	u.tls = &tls.Config{MinVersion: tls.VersionTLS12, ServerName: strings.TrimSpace(settings.ServerName)}
	u.tls.InsecureSkipVerify = parseBool(bad, provider.prefix+"tls.insecureSkipVerify", settings.InsecureSkipVerify, false)
	if u.tls.ServerName != "" && !hostName.MatchString(u.tls.ServerName) && net.ParseIP(u.tls.ServerName) == nil {
		bad.add(provider.prefix+"tls.serverName", "%q is no name of a host", shortened(u.tls.ServerName))
	}
	key := provider.prefix + "tls.caFile"
	path := parseAbsolutePath(bad, key, settings.CAFile)
	if path == "" {
		return
	}
	certificates, err := os.ReadFile(path)
	u.tls.RootCAs = x509.NewCertPool()
	if err != nil {
		bad.add(key, "cannot be read")
	} else if !u.tls.RootCAs.AppendCertsFromPEM(certificates) {
		bad.add(key, "holds no certificate in PEM")
	}
	u.trusts = string(certificates)
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

// newProxy returns the handler that has a provider answer.
func newProxy(u *upstream) http.Handler {
	return &httputil.ReverseProxy{
		Transport:      transportOf(u),
		Rewrite:        director(u),
		ModifyResponse: acceptResponse,
		ErrorHandler:   failProxy,
	}
}

// clientAddrHeaders are headers that tell a provider who the client is. ReverseProxy removes the other ones.
var clientAddrHeaders = []string{
	"X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Server", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info",
	"X-Real-Ip", "Via",
}

// director returns what directs a request to a provider.
func director(u *upstream) func(*httputil.ProxyRequest) {
	return func(proxied *httputil.ProxyRequest) {
		out := proxied.Out
		out.URL.RawQuery = proxied.In.URL.RawQuery // as the client wrote it
		out.URL.Scheme = u.scheme
		out.URL.Host = u.authority
		out.Host = u.authority
		for _, name := range clientAddrHeaders {
			delete(out.Header, name)
		}
	}
}

// failProxy answers for a provider that does not, unless another one is to.
func failProxy(rw http.ResponseWriter, req *http.Request, err error) {
	outcome := ""
	if x := exchangeOf(req.Context()); x == nil || x.attempt == nil {
		outcome = proxyOutcome(req.Context(), err) // of a request that is not governed
	} else {
		failAttempt(x, err)
		if x.attempt.failed {
			return
		}
		outcome = x.attempt.outcome
		x.response.failure = outcome
	}
	switch outcome {
	case errorClientGone:
		rw.WriteHeader(statusClientClosedRequest)
	case errorTimeout:
		writeAPIError(rw, providerTimeout())
	default:
		writeAPIError(rw, providerUnreachable())
	}
}

// proxyOutcome returns the error.type of an answer that has not come.
func proxyOutcome(ctx context.Context, err error) string {
	if ctx.Err() == context.Canceled {
		return errorClientGone
	}
	if os.IsTimeout(err) || errors.Is(err, context.Canceled) { // by the attempt, whose patience ended
		return errorTimeout
	}
	return errorConnectionFailed
}

func providerTimeout() *apiError {
	return &apiError{http.StatusGatewayTimeout, serverError, "provider_timeout", "", "The provider did not answer in time. Try again later."}
}

func providerUnreachable() *apiError {
	return &apiError{http.StatusBadGateway, serverError, "provider_unreachable", "", "The provider could not be reached. Try again later."}
}
