package chatcompletion

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestDashboardFormNegotiation(t *testing.T) {
	for _, test := range []struct {
		name   string
		accept []string
		want   string
	}{
		{"no header", nil, pageForm},
		{"anything", []string{"*/*"}, pageForm},
		{"a browser", []string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}, pageForm},
		{"an EventSource", []string{"text/event-stream"}, eventsForm},
		{"a fetch for JSON", []string{"application/json"}, jsonForm},
		{"JSON or anything", []string{"application/json, */*;q=0.1"}, jsonForm},
		{"JSON, but rather the page", []string{"application/json;q=0.5", "text/html"}, pageForm},
		{"events rather than JSON", []string{"application/json;q=0.5, text/event-stream"}, eventsForm},
		{"JSON that is not wanted", []string{"application/json;q=0"}, pageForm},
		{"nonsense", []string{"nonsense/;;"}, pageForm},
	} {
		if got := preferredForm(test.accept); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// serveForm requests a form of a dashboard.
func serveForm(t *testing.T, method, accept string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	d := newTestDashboard(t, boardRegistry(false), quickPace)
	req := httptest.NewRequest(method, "/any/path?x", nil)
	req.Header.Set("Accept", accept)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	rw := httptest.NewRecorder()
	(&dashboardHandler{dashboard: d, name: "test"}).ServeHTTP(rw, req)
	return rw
}

func TestDashboardForms(t *testing.T) {
	for _, test := range []struct {
		method, accept, contentType, policy, begins string
		status                                      int
	}{
		{http.MethodGet, "*/*", "text/html; charset=utf-8", dashboardPolicy, dashboardPage, 200},
		{http.MethodHead, "*/*", "text/html; charset=utf-8", dashboardPolicy, "", 200},
		{http.MethodGet, jsonForm, jsonForm, "", `{"version":1,`, 200},
		{http.MethodHead, jsonForm, jsonForm, "", "", 200},
		{http.MethodHead, eventsForm, eventsForm, "", "", 200},
		{http.MethodPost, "*/*", jsonForm, "", `{"error":{"message":"Not allowed to POST here. Use GET to open the dashboard."`, 405},
	} {
		rw := serveForm(t, test.method, test.accept)
		header := rw.Header()
		got := []string{header.Get("Content-Type"), header.Get("Content-Security-Policy")}
		if rw.Code != test.status || got[0] != test.contentType || got[1] != test.policy {
			t.Errorf("%s %s: status %d, %q, want %d, %q and %q", test.method, test.accept, rw.Code, got, test.status, test.contentType, test.policy)
		}
		if body := rw.Body.String(); !strings.HasPrefix(body, test.begins) || (test.begins == "" && body != "") {
			t.Errorf("%s %s: body %.100q, want %.100q", test.method, test.accept, body, test.begins)
		}
		if test.status != 200 {
			continue
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Vary": "Accept"} {
			if got := header.Get(name); got != want {
				t.Errorf("%s %s: %s %q, want %q", test.method, test.accept, name, got, want)
			}
		}
	}
}

func TestDashboardCompressesJSON(t *testing.T) {
	rw := serveForm(t, http.MethodGet, jsonForm, "Accept-Encoding", "gzip")
	if got := rw.Header().Get("Content-Encoding"); got != "gzip" {
		t.Fatalf("Content-Encoding %q, want gzip", got)
	}
	reader, err := gzip.NewReader(rw.Body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(reader)
	if err != nil || !strings.HasPrefix(string(text), `{"version":1,`) {
		t.Errorf("%v, %.100s, want a snapshot", err, text)
	}
	if got := serveForm(t, http.MethodGet, "*/*", "Accept-Encoding", "gzip").Header().Get("Content-Encoding"); got != "" {
		t.Errorf("Content-Encoding of the page %q, want none", got)
	}
}

// TestInstancesShareDashboard checks that New connects instances with the dashboard of the process.
func TestInstancesShareDashboard(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	config := CreateConfig()
	config.Expose = "Dashboard"
	var shared []*dashboard
	for range [2]int{} {
		handler, err := New(ctx, http.NotFoundHandler(), config, "test")
		if err != nil {
			t.Fatal(err)
		}
		shared = append(shared, handler.(*dashboardHandler).dashboard)
	}
	if shared[0] != shared[1] || shared[0].registry != theRegistry {
		t.Error("two instances have two dashboards, want that of the process")
	}
}
