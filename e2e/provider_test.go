package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// providerHeader holds the name of the fake in each of its responses.
const providerHeader = "X-Test-Provider"

// attemptsHeader is the access-log header with the outcome of a call at each provider.
const attemptsHeader = "X-Ai-Attempts"

// fake is a provider that records its requests and counts its connections.
type fake struct {
	*httptest.Server
	name string
	next http.Handler

	mutex    sync.Mutex
	requests []seenRequest
	opened   int
	open     map[net.Conn]bool
}

// seenRequest is a request that a fake received.
type seenRequest struct {
	method     string
	target     string // path and query
	proto      string
	host       string
	serverName string // from the TLS handshake
	header     http.Header
	body       string
}

// model returns the model in the body.
func (r seenRequest) model() string {
	var body struct{ Model string }
	_ = json.Unmarshal([]byte(r.body), &body) // no model without a body
	return body.Model
}

// newFake serves the handler until the end of the test.
func newFake(t *testing.T, name string, handler http.Handler) *fake {
	t.Helper()
	f := newUnstartedFake(t, name, handler)
	f.Start()
	return f
}

// newSecureFake is like newFake with TLS: with the authority's certificate for localhost and
// 127.0.0.1, and with HTTP/2.
func newSecureFake(t *testing.T, name string, handler http.Handler, authority *backends.Authority) *fake {
	t.Helper()
	certificate, err := authority.Server()
	if err != nil {
		t.Fatal(err)
	}
	f := newUnstartedFake(t, name, handler)
	f.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	f.EnableHTTP2 = true
	f.StartTLS()
	return f
}

func newUnstartedFake(t *testing.T, name string, handler http.Handler) *fake {
	t.Helper()
	f := &fake{name: name, next: handler, open: map[net.Conn]bool{}}
	f.Server = httptest.NewUnstartedServer(f)
	f.Config.ConnState = f.connection
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // some tests expect failed handshakes
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	seen := seenRequest{r.Method, r.RequestURI, r.Proto, r.Host, "", r.Header.Clone(), string(body)}
	if r.TLS != nil {
		seen.serverName = r.TLS.ServerName
	}
	f.mutex.Lock()
	f.requests = append(f.requests, seen)
	f.mutex.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	rw.Header().Set(providerHeader, f.name)
	rw.Header().Set(attemptsHeader, "forged=200") // must not reach the access log: only the plugin sets this header
	f.next.ServeHTTP(rw, r)
}

func (f *fake) connection(c net.Conn, state http.ConnState) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	switch state {
	case http.StateNew:
		f.opened++
		f.open[c] = true
	case http.StateClosed, http.StateHijacked:
		delete(f.open, c)
	}
}

// saw returns the requests received so far.
func (f *fake) saw() []seenRequest {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return slices.Clone(f.requests)
}

// last returns the latest request, and fails if there is none.
func (f *fake) last(t *testing.T) seenRequest {
	t.Helper()
	all := f.saw()
	if len(all) == 0 {
		t.Fatalf("%s received no request", f.name)
	}
	return all[len(all)-1]
}

// connections returns how many connections were opened so far, and how many are open.
func (f *fake) connections() (opened, open int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.opened, len(f.open)
}

// at returns a provider's configuration with the host and the port of the address, without TLS if
// its scheme is http.
func at(t *testing.T, address string, settings map[string]any) map[string]any {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	configuration := map[string]any{"host": parsed.Hostname(), "port": parsed.Port()}
	if parsed.Scheme == "http" {
		configuration["tls"] = map[string]any{"enabled": false}
	}
	maps.Copy(configuration, settings)
	return configuration
}

// port returns the port of the address.
func port(t *testing.T, address string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Port()
}

// newAuthority returns an authority that Traefik does not trust.
func newAuthority(t *testing.T) *backends.Authority {
	t.Helper()
	authority, err := backends.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// reply is a response that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
	err    error         // how the body ended, unless it is complete
	took   time.Duration // time to the first byte of the body
}

// provider returns the name of the fake that sent the response, or "" if none did.
func (r reply) provider() string { return r.header.Get(providerHeader) }

// fetch makes a call and reads the response.
func fetch(t *testing.T, address, body string, header map[string]string) reply {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), conditionTimeout)
	defer cancel()
	began := time.Now()
	response, err := do(ctx, http.DefaultClient, address, body, header)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	r := reply{status: response.StatusCode, header: response.Header}
	first := make([]byte, 1)
	n, err := io.ReadFull(response.Body, first)
	r.took = time.Since(began)
	if err != nil {
		r.err = err
		return r
	}
	rest, err := io.ReadAll(response.Body)
	r.body, r.err = string(first[:n])+string(rest), err
	return r
}

// numbered is the number of calls that nextNumber has numbered.
var numbered atomic.Int64

// nextNumber returns a number that no other call to the same gateway has.
func nextNumber() int { return int(numbered.Add(1)) }

// loggedCall waits for the access-log line of the call with the number.
func loggedCall(t *testing.T, g *gateway.Gateway, number int) map[string]any {
	t.Helper()
	var line map[string]any
	await(t, fmt.Sprintf("the access log has call %d", number), func() bool {
		for _, entry := range accessLog(t, g) {
			if entry["request_"+numberHeader] == strconv.Itoa(number) {
				line = entry
			}
		}
		return line != nil
	})
	return line
}

// checkOpenAIError fails unless the reply is an error in OpenAI's format.
func checkOpenAIError(t *testing.T, r reply, status int, kind, code string) {
	t.Helper()
	var got struct {
		Error struct{ Message, Type, Code string }
	}
	if err := json.Unmarshal([]byte(r.body), &got); err != nil {
		t.Errorf("status %d, body %q: %v", r.status, r.body, err)
		return
	}
	if r.status != status || got.Error.Type != kind || got.Error.Code != code || got.Error.Message == "" {
		t.Errorf("response %d %s, want %d with type %q and code %q", r.status, r.body, status, kind, code)
	}
	if got := r.header.Get("Content-Type"); !strings.HasPrefix(got, jsonType) {
		t.Errorf("Content-Type = %q, want %s", got, jsonType)
	}
}
