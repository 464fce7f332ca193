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

// providerHeader is in every answer of a fake: its name.
const providerHeader = "X-Test-Provider"

// attemptsHeader is the operator's: what became of a call at each provider.
const attemptsHeader = "X-Ai-Attempts"

// fake is a provider that remembers what it was asked, and counts its connections.
type fake struct {
	*httptest.Server
	name string
	next http.Handler

	mutex    sync.Mutex
	requests []asked
	opened   int
	open     map[net.Conn]bool
}

// asked is a request as a fake saw it.
type asked struct {
	method     string
	target     string // path and query
	proto      string
	host       string
	serverName string // of TLS
	header     http.Header
	body       string
}

// model is that of the body.
func (a asked) model() string {
	var body struct{ Model string }
	_ = json.Unmarshal([]byte(a.body), &body) // without a body, none
	return body.Model
}

// newFake serves the handler until the test ends.
func newFake(t *testing.T, name string, handler http.Handler) *fake {
	t.Helper()
	f := newUnstartedFake(t, name, handler)
	f.Start()
	return f
}

// newSecureFake does so with a certificate of the authority for localhost and 127.0.0.1, by HTTP/2, too.
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
	f.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that fail are what some tests want
	t.Cleanup(f.Close)
	return f
}

func (f *fake) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	a := asked{r.Method, r.RequestURI, r.Proto, r.Host, "", r.Header.Clone(), string(body)}
	if r.TLS != nil {
		a.serverName = r.TLS.ServerName
	}
	f.mutex.Lock()
	f.requests = append(f.requests, a)
	f.mutex.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	rw.Header().Set(providerHeader, f.name)
	rw.Header().Set(attemptsHeader, "forged=200") // nobody but the plugin writes into the operator's log
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

// saw are the requests so far.
func (f *fake) saw() []asked {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return slices.Clone(f.requests)
}

// last is the latest request, of which there must be one.
func (f *fake) last(t *testing.T) asked {
	t.Helper()
	all := f.saw()
	if len(all) == 0 {
		t.Fatalf("%s was not asked", f.name)
	}
	return all[len(all)-1]
}

// connections are how many were opened so far, and how many are open.
func (f *fake) connections() (opened, open int) {
	f.mutex.Lock()
	defer f.mutex.Unlock()
	return f.opened, len(f.open)
}

// at is a provider's configuration with the host and the port of the address, and without TLS if it is http.
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

// port is that of the address.
func port(t *testing.T, address string) string {
	t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Port()
}

// newAuthority is one whose certificates nobody trusts yet.
func newAuthority(t *testing.T) *backends.Authority {
	t.Helper()
	authority, err := backends.NewAuthority(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
	err    error         // how the body ended, if not as it should
	took   time.Duration // until the first byte of the body
}

// provider is the name of the fake that answered, empty if it was none.
func (r reply) provider() string { return r.header.Get(providerHeader) }

// fetch makes a call and reads the answer.
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

// numbered is how many calls have got a number by nextNumber.
var numbered atomic.Int64

// nextNumber is one that no other call to the same gateway has.
func nextNumber() int { return int(numbered.Add(1)) }

// loggedCall is the line of the access log of the call with that number, once Traefik has finished it.
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

// checkOpenAIError fails unless the reply is an error in the shape of OpenAI's.
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
		t.Errorf("answer %d %s, want %d with type %q and code %q", r.status, r.body, status, kind, code)
	}
	if got := r.header.Get("Content-Type"); !strings.HasPrefix(got, jsonType) {
		t.Errorf("Content-Type = %q, want %s", got, jsonType)
	}
}
