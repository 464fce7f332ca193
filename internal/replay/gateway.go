package replay

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// Build creates a middleware with a configuration before next, as New or Traefik's plugin loader does.
type Build func(config map[string]any, next http.Handler) (http.Handler, error)

// InProcess replays all cases against handlers in this process, followed by a reverse proxy such as Traefik's.
func InProcess(t *testing.T, cases []Case, build Build) {
	provider := NewProvider(t, cases)
	target, err := url.Parse(provider.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorLog: log.New(io.Discard, "", 0),
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			handler, err := chain(c, build, proxy)
			if c.ConfigurationError != nil {
				CompareConfigurationError(t, c, err)
				return
			}
			if err != nil {
				t.Fatalf("New: %v", err)
			}
			accessLog := &observer{next: handler}
			gateway := httptest.NewUnstartedServer(accessLog)
			gateway.Config.ErrorLog = log.New(io.Discard, "", 0)
			gateway.Start()
			Run(t, c, gateway.URL, provider)
			Run(t, c, gateway.URL, provider) // from the decision cache
			gateway.Close()                  // waits for the handler to return
			CompareOperator(t, c, accessLog.header())
		})
	}
}

// chain creates the middleware instances of a case before next.
func chain(c Case, build Build, next http.Handler) (http.Handler, error) {
	if c.Then != nil {
		second, err := build(c.Then, next)
		if err != nil {
			return nil, err
		}
		next = second
	}
	return build(c.Config, next)
}

// observer records the response headers at the time the handler returns, which Traefik's access log reads.
type observer struct {
	next http.Handler

	mu   sync.Mutex
	last http.Header
}

func (o *observer) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	defer func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.last = rw.Header().Clone()
	}()
	o.next.ServeHTTP(rw, req)
}

func (o *observer) header() http.Header {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.last
}

// CompareConfigurationError compares the error of New with the section "configuration error" of a case.
func CompareConfigurationError(t *testing.T, c Case, err error) {
	t.Helper()
	if err == nil {
		t.Fatalf("New: no error, want one with %q", c.ConfigurationError)
	}
	for _, want := range c.ConfigurationError {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("New: error %v\nwant one with %q", err, want)
		}
	}
}

// CompareOperator compares the headers in the access log with the section "operator sees" of a case.
func CompareOperator(t *testing.T, c Case, got http.Header) {
	t.Helper()
	for name := range c.OperatorSees {
		want := c.OperatorSees.Get(name)
		if want == "(none)" {
			want = ""
		}
		if value := strings.Join(got[name], ", "); value != want {
			t.Errorf("access log: Response header %q = %q, want %q", name, value, want)
		}
	}
}
