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

// Build makes the middleware of a configuration in front of next, as New does or as Traefik's plugin loader does.
type Build func(config map[string]any, next http.Handler) (http.Handler, error)

// InProcess replays all cases against handlers in this process, behind a reverse proxy such as Traefik's.
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
			Run(t, c, gateway.URL, provider) // from what the first one left in memory
			gateway.Close()                  // waits for the handler
			CompareOperator(t, c, accessLog.header())
		})
	}
}

// chain makes the middlewares of a case in front of next.
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

// observer keeps the header of an answer as it is when the handler has returned: what Traefik's access log reads.
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

// CompareConfigurationError compares the error of New with the case's.
func CompareConfigurationError(t *testing.T, c Case, err error) {
	t.Helper()
	if err == nil {
		t.Fatalf("New accepts the configuration, want an error with %q", c.ConfigurationError)
	}
	for _, want := range c.ConfigurationError {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("New: %v\nwant an error with %q", err, want)
		}
	}
}

// CompareOperator compares headers in the access log with the case's.
func CompareOperator(t *testing.T, c Case, got http.Header) {
	t.Helper()
	for name := range c.OperatorSees {
		want := c.OperatorSees.Get(name)
		if want == "(none)" {
			want = ""
		}
		if value := strings.Join(got[name], ", "); value != want {
			t.Errorf("operator: header %s is %q, want %q", name, value, want)
		}
	}
}
