package chatcompletion

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

// reportOf returns the usage report that a handler responds with, without what depends on the time.
func reportOf(t *testing.T, handler http.Handler, target string, header ...string) map[string]any {
	t.Helper()
	req := httptest.NewRequest(http.MethodGet, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	rw := httptest.NewRecorder()
	handler.ServeHTTP(rw, req)
	report := map[string]any{}
	if err := json.Unmarshal(rw.Body.Bytes(), &report); err != nil || rw.Code != http.StatusOK {
		t.Fatalf("GET %s with %q: status %d, %q", target, header, rw.Code, rw.Body)
	}
	delete(report, "now")
	return report
}

// quotaOf returns what a usage report has about a quota, as "used/remaining of limit".
func quotaOf(report map[string]any, name string) string {
	for _, element := range report["quotas"].([]any) {
		q := element.(map[string]any)
		if q["name"] != name {
			continue
		}
		text := fmt.Sprintf("%v/%v of %v", q["used"], q["remaining"], q["limit"])
		if q["shared"] == true {
			text += " shared"
		}
		if q["mode"] == modeReport {
			text += " report"
		}
		return text
	}
	return "missing"
}

// newUsageMiddleware returns a middleware whose consumers are named by X-Team, with quotas of each kind.
func newUsageMiddleware(t *testing.T, config *Config) *middleware {
	t.Helper()
	before := theMemoryStore
	theMemoryStore = newMemoryStore() // the many counters of these tests are in no other test's metrics
	t.Cleanup(func() { theMemoryStore = before })
	config.Routes = map[string]string{"/v1/usage": "usage"}
	config.Consumers.Header = "X-Team"
	config.Prices = Prices{Models: map[string]Price{"m": {Input: "1", Output: "2"}}}
	m, _ := newQuotaMiddleware(t, respondWith(answeredJSON), config)
	m.policy.telemetry.registry.started = time.Unix(1_800_000_000, 0)
	return m
}

// usageQuotas are quotas whose names begin with a text that is new.
func usageQuotas() (quotas []Quota, prefix string) {
	prefix = "usage-" + strconv.FormatInt(quotaNames.Add(1), 10) + "-"
	for _, q := range []Quota{
		{Name: "requests", Unit: unitRequests, Limit: 10, Window: "8784h"},
		{Name: "tokens", Unit: unitTokens, Limit: 100, Window: "1M", Reserve: reserveNone},
		{Name: "cost", Unit: unitCost, Limit: "25.00", Window: "8784h", Reserve: reserveNone},
		{Name: "open", Unit: unitConcurrent, Limit: 3},
		{Name: "reported", Unit: unitRequests, Limit: 1, Window: "8784h", Mode: modeReport},
		{Name: "by-model", Unit: unitRequests, Limit: 5, Window: "8784h", Per: "$(consumer.name)-$(model)"},
		{Name: "by-header", Unit: unitRequests, Limit: 5, Window: "8784h", Per: "$(consumer.name)-$(headers.x-app)", Mode: modeReport},
		{Name: "of-model", Unit: unitRequests, Limit: 5, Window: "8784h", Models: []string{"m", "n*"}},
		{Name: "of-another", Unit: unitRequests, Limit: 5, Window: "8784h", Models: []string{"o*"}},
		{Name: "everyone", Unit: unitRequests, Limit: 1000, Window: "8784h", Per: "all"},
		{Name: "group", Unit: unitRequests, Limit: 1000, Window: "8784h", Per: "$(consumer.group)"},
		{Name: "header", Unit: unitRequests, Limit: 1000, Window: "8784h", Per: "$(headers.x-app)", Mode: modeReport},
	} {
		q.Name = prefix + q.Name
		quotas = append(quotas, q)
	}
	return quotas, prefix
}

// TestUsageReport: a consumer sees what it has used of its own quotas, and of those that others use, too, only that there are some.
func TestUsageReport(t *testing.T) {
	quotas, prefix := usageQuotas()
	config := CreateConfig()
	config.Quotas = quotas
	m := newUsageMiddleware(t, config)
	for i := 0; i < 2; i++ {
		quotaRequest(m, t.Context(), quotaBody, "X-Team", "blue", "X-App", "a")
	}
	quotaRequest(m, t.Context(), quotaBody, "X-Team", "green", "X-App", "a")
	for _, test := range []struct {
		consumer, target, app string
		want                  map[string]string
	}{
		{"blue", "/v1/usage", "a", map[string]string{
			"requests": "2/8 of 10", "tokens": "74/26 of 100", "cost": "0.000108/24.999892 of 25.00", "open": "0/3 of 3", "reported": "2/0 of 1 report",
			"by-model": "<nil>/<nil> of 5", "by-header": "2/3 of 5 report", "of-model": "2/3 of 5", "of-another": "0/5 of 5",
			"everyone": "<nil>/<nil> of 1000 shared", "group": "<nil>/<nil> of 1000 shared", "header": "<nil>/<nil> of 1000 shared report",
		}},
		{"blue", "/v1/usage?model=m", "b", map[string]string{"requests": "2/8 of 10", "by-model": "2/3 of 5", "by-header": "0/5 of 5 report", "of-model": "2/3 of 5", "of-another": "missing"}},
		{"blue", "/v1/usage?model=other", "", map[string]string{"by-model": "0/5 of 5", "by-header": "<nil>/<nil> of 5 report", "of-model": "missing", "of-another": "0/5 of 5"}},
		{"green", "/v1/usage?model=m", "a", map[string]string{"requests": "1/9 of 10", "tokens": "37/63 of 100", "by-model": "1/4 of 5", "by-header": "1/4 of 5 report"}},
		{"_OTHER", "/v1/usage", "a", map[string]string{"requests": "<nil>/<nil> of 10"}},
		{"nobody", "/v1/usage", "a", map[string]string{"requests": "0/10 of 10", "cost": "0.00/25.00 of 25.00"}},
	} {
		report := reportOf(t, m, test.target, "X-Team", test.consumer, "X-App", test.app)
		for name, want := range test.want {
			if got := quotaOf(report, prefix+name); got != want {
				t.Errorf("%s at %s: quota %s: got %s, want %s", test.consumer, test.target, name, got, want)
			}
		}
	}
	if quotaRequest(m, t.Context(), quotaBody, "X-Team", "blue", "X-App", "a"); quotaOf(reportOf(t, m, "/v1/usage", "X-Team", "blue"), prefix+"requests") != "3/7 of 10" {
		t.Error("a report has counted as a request")
	}
}

// TestUsageReportAsJSON shows the whole report.
func TestUsageReportAsJSON(t *testing.T) {
	config := CreateConfig()
	config.Quotas = []Quota{{Name: "whole-report", Unit: unitCost, Limit: "0.5", Window: "1M", Models: []string{"m*"}, Reserve: reserveNone}}
	config.Consumers.List = []Consumer{{Name: "blue", Group: "eng", AllowedModels: []string{"m"}}}
	m := newUsageMiddleware(t, config)
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	m.policy.quotas.clock = func() time.Time { return now }
	quotaRequest(m, t.Context(), quotaBody, "X-Team", "blue")
	rw := httptest.NewRecorder()
	req := httptest.NewRequest(http.MethodGet, "/v1/usage", nil)
	req.Header.Set("X-Team", "blue")
	m.ServeHTTP(rw, req)
	want := `{"object":"usage","consumer":"blue","group":"eng","now":"2026-11-30T12:00:00Z","models":["m"],` +
		`"quotas":[{"name":"whole-report","unit":"cost","models":["m*"],"limit":"0.50","used":"0.000054","remaining":"0.499946","window":"1M","resetsAt":"2026-12-01T00:00:00Z","mode":"enforce","shared":false}],` +
		`"totals":{"since":"2027-01-15T08:00:00Z","calls":1,"inputTokens":20,"outputTokens":17,"costUsd":"0.000054"}}`
	if got := rw.Body.String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// TestUsageReportIsOfOneConsumer: whatever others send, and whatever a consumer sends beside its name, its report has its own use only.
func TestUsageReportIsOfOneConsumer(t *testing.T) {
	quotas, _ := usageQuotas()
	config := CreateConfig()
	config.Quotas = quotas
	config.Consumers.List = []Consumer{{Name: "blue", Group: "eng"}, {Name: "blue-a", Group: "eng"}, {Name: "green", Group: "ops"}}
	config.Telemetry.Labels = map[string]string{"team": "$(headers.x-consumer)"}
	m := newUsageMiddleware(t, config)
	quotaRequest(m, t.Context(), quotaBody, "X-Team", "blue", "X-App", "a-b")
	first := reportOf(t, m, "/v1/usage?model=m", "X-Team", "blue", "X-App", "a-b")

	hostile := []string{"blue", "eng", "blue\x00eng", "blue-a-b", "blue-m", "a-b", "-", "_OTHER", "sha256:" + strings.Repeat("0", 64), "blue,green", "$(consumer.name)", strings.Repeat("blue", 50)}
	for _, consumer := range []string{"blue-a", "green", "Blue", "blue-m", "blue ,", "_OTHER", "m", "2:bl", "enge", "$(consumer.name)"} {
		for _, value := range hostile {
			quotaRequest(m, t.Context(), strings.Replace(quotaBody, `"m"`, strconv.Quote("m"), 1), "X-Team", consumer, "X-App", value, "X-Consumer", value,
				"X-Ai-Consumer", "blue", "X-Ai-Group", "eng", "Authorization", "Bearer blue", "Baggage", "consumer=blue")
		}
	}
	if got := reportOf(t, m, "/v1/usage?model=m", "X-Team", "blue", "X-App", "a-b"); !reflect.DeepEqual(got, first) {
		t.Errorf("after requests of others: got %v, want %v", got, first)
	}
	for _, value := range hostile {
		got := reportOf(t, m, "/v1/usage?model=m&consumer=blue&group=eng&team=blue", "X-Team", "newcomer", "X-App", value, "X-Consumer", "blue", "X-Ai-Consumer", "blue", "Authorization", "Bearer blue")
		for _, element := range got["quotas"].([]any) {
			if q := element.(map[string]any); q["used"] != nil && q["used"] != 0.0 && q["used"] != "0.00" {
				t.Errorf("report of a consumer that has used nothing, with %q: %v", value, q)
			}
		}
		if calls := got["totals"].(map[string]any)["calls"]; got["consumer"] != "newcomer" || got["group"] != nil || calls != 0.0 {
			t.Errorf("report with %q: consumer %v, group %v, calls %v; want newcomer, none, 0", value, got["consumer"], got["group"], calls)
		}
	}
}

// TestUsageReportOfGroup: the quotas and models of a group are those of its members.
func TestUsageReportOfGroup(t *testing.T) {
	quotas, prefix := usageQuotas()
	config := CreateConfig()
	config.Quotas = quotas[:1]
	own := quotas[0]
	own.Name, own.Limit = prefix+"own", 7
	config.Consumers.List = []Consumer{{Name: "blue", Group: "eng"}, {Name: "green", Group: "ops"}, {Name: "red"}}
	config.Consumers.Groups = map[string]ConsumerGroup{"eng": {AllowedModels: []string{"gpt-*"}, Quotas: []Quota{own}}, "ops": {Model: "m"}}
	m := newUsageMiddleware(t, config)
	for consumer, want := range map[string]string{"blue": "[gpt-*] missing 0/7 of 7", "green": "[m] 0/10 of 10 missing", "red": "<nil> 0/10 of 10 missing"} {
		report := reportOf(t, m, "/v1/usage", "X-Team", consumer)
		if got := fmt.Sprintf("%v %s %s", report["models"], quotaOf(report, prefix+"requests"), quotaOf(report, prefix+"own")); got != want {
			t.Errorf("%s: got %s, want %s", consumer, got, want)
		}
	}
}

// TestUsageReportWhileRequestsAreOpen: what is reserved counts as used, until it expires.
func TestUsageReportWhileRequestsAreOpen(t *testing.T) {
	config := CreateConfig()
	config.MaxStreamDuration = "5m"
	name := "open-" + strconv.FormatInt(quotaNames.Add(1), 10)
	config.Quotas = []Quota{{Name: name, Unit: unitConcurrent, Limit: 5}}
	m := newUsageMiddleware(t, config)
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	m.policy.quotas.clock = func() time.Time { return now }
	next, arrived, release := waitingProvider()
	m.policy.providers[0].handler = next
	ended := make(chan bool)
	go func() {
		quotaRequest(m, t.Context(), quotaBody, "X-Team", "blue", "X-Wait", "1")
		close(ended)
	}()
	<-arrived
	for _, test := range []struct {
		later time.Duration
		want  string
	}{{0, "1/4 of 5"}, {5 * time.Minute, "1/4 of 5"}, {6 * time.Minute, "0/5 of 5"}} {
		now = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC).Add(test.later)
		if got := quotaOf(reportOf(t, m, "/v1/usage", "X-Team", "blue"), name); got != test.want {
			t.Errorf("after %s: got %s, want %s", test.later, got, test.want)
		}
	}
	close(release)
	<-ended
}

// TestUsageReportOfModels covers what a consumer may use of what its middleware allows.
func TestUsageReportOfModels(t *testing.T) {
	for _, test := range []struct {
		name   string
		config Config
		own    []string
		want   string
	}{
		{"all", Config{AllowModelOverride: true}, nil, "<nil>"},
		{"those of the middleware", Config{AllowedModels: []string{"gpt-*", "o1"}}, nil, "[gpt-* o1]"},
		{"those of the consumer", Config{}, []string{"gpt-*"}, "[gpt-*]"},
		{"fewer of the consumer", Config{AllowedModels: []string{"gpt-*", "o*"}}, []string{"gpt-4o*", "o1", "claude-*"}, "[gpt-4o* o1]"},
		{"fewer of the middleware", Config{AllowedModels: []string{"gpt-4o*", "o1*"}}, []string{"*"}, "[gpt-4o* o1*]"},
		{"none", Config{AllowedModels: []string{"gpt-*"}}, []string{"claude-*"}, "[]"},
		{"patterns that overlap", Config{AllowedModels: []string{"gpt-*"}}, []string{"*-mini"}, "[*-mini]"},
		{"patterns that end differently", Config{AllowedModels: []string{"gpt-*-mini"}}, []string{"gpt-*-nano"}, "[]"},
		{"the same twice", Config{AllowedModels: []string{"gpt-*", "*"}}, []string{"gpt-4o"}, "[gpt-4o]"},
		{"names", Config{AllowedModels: []string{"gpt-4o", "o1"}, ModelAliases: map[string]string{"small": "gpt-4o", "big": "o1"}}, []string{"gpt-*"}, "[gpt-4o small]"},
		{"aliases beside patterns", Config{AllowedModels: []string{"gpt-*", "o*"}, ModelAliases: map[string]string{"small": "gpt-4o", "big": "o1"}}, []string{"gpt-*"}, "[gpt-* small]"},
		{"the configured one", Config{Model: "gpt-4o"}, nil, "[gpt-4o]"},
		{"report mode", Config{Mode: modeReport, AllowedModels: []string{"gpt-*"}}, []string{"gpt-4o"}, "<nil>"},
	} {
		config := test.config
		config.Consumers.List = []Consumer{{Name: "blue", AllowedModels: test.own}}
		if got := fmt.Sprint(reportOf(t, newUsageMiddleware(t, &config), "/v1/usage", "X-Team", "blue")["models"]); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// TestUsageReportOfTotals: totals that are not known are absent.
func TestUsageReportOfTotals(t *testing.T) {
	config := CreateConfig()
	config.Telemetry.MaxSeries = 2
	m := newUsageMiddleware(t, config)
	totals := func(consumer string) string {
		return fmt.Sprint(reportOf(t, m, "/v1/usage", "X-Team", consumer)["totals"])
	}
	for _, step := range []struct{ consumer, body, want string }{
		{"blue", quotaBody, "map[calls:1 costUsd:0.000054 inputTokens:20 outputTokens:17 since:2027-01-15T08:00:00Z]"},
		{"blue", "{}", "map[calls:2 costUsd:0.000054 inputTokens:20 outputTokens:17 since:2027-01-15T08:00:00Z]"},
		{"green", quotaBody, "<nil>"}, // in the series of many
		{"blue", quotaBody, "map[calls:3 costUsd:0.000108 inputTokens:40 outputTokens:34 since:2027-01-15T08:00:00Z]"},
		{"blue", strings.Replace(quotaBody, `"m"`, `"n"`, 1), "<nil>"},
	} {
		quotaRequest(m, t.Context(), step.body, "X-Team", step.consumer)
		if got := totals(step.consumer); got != step.want {
			t.Errorf("%s after %s: got %s, want %s", step.consumer, step.body, got, step.want)
		}
	}
	if got := totals("nobody"); got != "<nil>" {
		t.Errorf("totals of a consumer without series, of which there are too many: got %s, want none", got)
	}
	fresh := newUsageMiddleware(t, CreateConfig())
	if got, want := fmt.Sprint(reportOf(t, fresh, "/v1/usage", "X-Team", "nobody")["totals"]), "map[calls:0 since:2027-01-15T08:00:00Z]"; got != want {
		t.Errorf("totals of a consumer that has sent nothing: got %s, want %s", got, want)
	}
}

// TestUsageReportWithoutRedis: the use of shared counters is absent while Redis is unavailable, and never 0.
func TestUsageReportWithoutRedis(t *testing.T) {
	quotas, prefix := usageQuotas()
	config := CreateConfig()
	config.Quotas = quotas[:2]
	m := newUsageMiddleware(t, config)
	f := newFakeRedis(t, "")
	m.policy.store = testStore(t, f, Redis{OnError: onErrorLocal})
	m.policy.quotas.isUncommon = true
	quota := func() string { return quotaOf(reportOf(t, m, "/v1/usage", "X-Team", "blue"), prefix+"requests") }
	quotaRequest(m, t.Context(), quotaBody, "X-Team", "blue")
	if got, want := quota(), "1/9 of 10"; got != want {
		t.Errorf("with Redis: got %s, want %s", got, want)
	}
	for _, fault := range []string{"cut", "-ERR no\r\n", "$2\r\n[]\r\n", "$1\r\nx\r\n"} {
		f.setFault(always(fault))
		m.policy.store.failures.Store(0)
		if got, want := quota(), "<nil>/<nil> of 10"; got != want {
			t.Errorf("after the reply %q: got %s, want %s", fault, got, want)
		}
	}
	f.setFault(nil)
	m.policy.store.failures.Store(failuresToOpen)
	f.sent()
	if got, want := quota(), "<nil>/<nil> of 10"; got != want || f.sent() != "" {
		t.Errorf("while Redis counts as unavailable: got %s, want %s without a command", got, want)
	}
}
