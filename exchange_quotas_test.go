package chatcompletion

import (
	"context"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// quotaNames numbers the quotas of tests, whose counters outlive them.
var quotaNames atomic.Int64

// newQuotaMiddleware returns a middleware with quotas whose names are new.
func newQuotaMiddleware(t *testing.T, next http.Handler, config *Config) (*middleware, *callSink) {
	t.Helper()
	for i := range config.Quotas {
		if config.Quotas[i].Name == "" {
			config.Quotas[i].Name = "test-" + strconv.FormatInt(quotaNames.Add(1), 10)
		}
	}
	return newSinkMiddleware(t, next.ServeHTTP, config)
}

// waitingProvider returns a provider that responds to requests with X-Wait only after release is closed, and
// says on arrived that it has got one.
func waitingProvider() (next http.HandlerFunc, arrived, release chan struct{}) {
	arrived, release = make(chan struct{}), make(chan struct{})
	return func(rw http.ResponseWriter, req *http.Request) {
		if req.Header.Get("X-Wait") != "" {
			arrived <- struct{}{}
			<-release
		}
		respondWith(answeredJSON).ServeHTTP(rw, req)
	}, arrived, release
}

// usedOf returns what is used of a quota for a subject, and what of that is only reserved.
func usedOf(m *middleware, place int, subject string) (used, reserved int64) {
	theMemoryStore.mu.Lock()
	defer theMemoryStore.mu.Unlock()
	c := &m.policy.quotas.charges[place]
	k := c.group.counters[c.key+subject]
	if k == nil {
		return 0, 0
	}
	for _, r := range append(k.earlier, k.latest) {
		if r != nil {
			reserved += r.amount
		}
	}
	return k.taken, reserved
}

const quotaBody = `{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":50}` // 73 bytes: 18 tokens

// quotaRequest sends a request, and recovers from an aborted response.
func quotaRequest(handler http.Handler, ctx context.Context, body string, header ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(body)).WithContext(ctx)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	rw := httptest.NewRecorder()
	defer func() { _ = recover() }()
	handler.ServeHTTP(rw, req)
	return rw
}

const answeredJSON = `{"object":"chat.completion","choices":[],"usage":{"prompt_tokens":20,"completion_tokens":17,"total_tokens":37}}`

// TestEachEndingIsSettledOnce covers all ways in which an exchange ends.
func TestEachEndingIsSettledOnce(t *testing.T) {
	gone, leave := context.WithCancel(context.Background())
	leave()
	status := func(code int) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(code) }
	}
	events := func(count int, end string) http.HandlerFunc {
		return func(rw http.ResponseWriter, _ *http.Request) {
			startEventStream(rw)
			for i := 0; i < count; i++ {
				_, _ = io.WriteString(rw, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n")
			}
			switch end {
			case "abort":
				panic(http.ErrAbortHandler)
			case "panic":
				panic("fault")
			default:
				_, _ = io.WriteString(rw, end)
			}
		}
	}
	for _, test := range []struct {
		name          string
		next          http.Handler
		change        func(c *Config)
		ctx           context.Context
		body          string
		wantRequests  int64
		wantTokens    int64
		wantEstimated bool
	}{
		{name: "usage", next: respondWith(answeredJSON), wantRequests: 1, wantTokens: 37},
		{name: "usage of 0", next: respondWith(`{"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}`), wantRequests: 1},
		{name: "no usage", next: respondWith(strings.Repeat("x", 100)), wantRequests: 1, wantTokens: 18 + 25, wantEstimated: true},
		{name: "no usage of a response beyond the token limit", next: respondWith(strings.Repeat("x", 4000)), wantRequests: 1, wantTokens: 18 + 50, wantEstimated: true},
		{name: "no usage of a large response without a token limit", next: respondWith(strings.Repeat("x", 100_000), strings.Repeat("y", 100_000), strings.Repeat("z", 1_800_000)),
			body: `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, wantRequests: 1, wantTokens: 14 + 500_000, wantEstimated: true},
		{name: "only the input", next: respondWith(`{"usage":{"prompt_tokens":20}}`), wantRequests: 1, wantTokens: 20 + 7, wantEstimated: true},
		{name: "empty response", next: status(http.StatusNoContent), wantRequests: 1, wantTokens: 18, wantEstimated: true},
		{name: "stream with usage", next: events(3, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3,\"total_tokens\":8}}\n\ndata: [DONE]\n\n"), wantRequests: 1, wantTokens: 8},
		{name: "stream without usage", next: events(3, "data: [DONE]\n\n"), wantRequests: 1, wantTokens: 18 + 3, wantEstimated: true},
		{name: "stream that is cut", next: events(4, ""), wantRequests: 1, wantTokens: 18 + 4, wantEstimated: true},
		{name: "stream that is aborted", next: events(5, "abort"), wantRequests: 1, wantTokens: 18 + 5, wantEstimated: true},
		{name: "stream that is cut after the first count", next: events(20, "data: {\"usage\":{\"prompt_tokens\":30,\"completion_tokens\":1,\"total_tokens\":31}}\n\n"), wantRequests: 1, wantTokens: 30 + 21},
		{name: "stream that is cut after counts of 0", next: events(20, "data: {\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}}\n\n"), wantRequests: 1, wantTokens: 18 + 21},
		{name: "stream of large events that is cut", next: events(1, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\""+strings.Repeat("a", 1080)+"\"}}]}\n\n"),
			body: `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, wantRequests: 1, wantTokens: 14 + 2 + 42, wantEstimated: true},
		{name: "stream with a fault", next: events(0, "panic"), wantRequests: 1, wantTokens: 18, wantEstimated: true},
		{name: "fault before the response", next: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("fault") })},
		{name: "refused by the provider", next: status(http.StatusTooManyRequests)},
		{name: "error of the provider with a usage", next: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(rw, answeredJSON)
		})},
		{name: "provider that cannot be reached", next: status(http.StatusBadGateway)},
		{name: "client that leaves before the response", next: status(statusClientClosedRequest), ctx: gone, wantRequests: 1, wantTokens: 18, wantEstimated: true},
		{name: "client that leaves during a stream", next: events(2, ""), ctx: gone, wantRequests: 1, wantTokens: 18 + 2, wantEstimated: true},
		{name: "invalid request", next: respondWith(answeredJSON), body: `{"model":"m"`},
		{name: "no credentials", next: respondWith(answeredJSON), change: func(c *Config) { c.Token = "urn:env:CHAT_COMPLETION_NO_SUCH_VARIABLE" }},
		{name: "response that is too large", change: func(c *Config) { c.MaxResponseBytes = 40 }, next: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "1000")
			_, _ = rw.Write(make([]byte, 1000))
		}), wantRequests: 1, wantTokens: 18 + 10, wantEstimated: true},
	} {
		config := CreateConfig()
		config.StreamUsage = streamUsageNever
		config.Quotas = []Quota{{Unit: unitRequests, Limit: 1000, Window: "1M"}, {Unit: unitTokens, Limit: 1 << 40, Window: "1M", Reserve: reserveFull}, {Unit: unitConcurrent, Limit: 5}}
		if test.change != nil {
			test.change(config)
		}
		m, sink := newQuotaMiddleware(t, test.next, config)
		ctx, body := context.Background(), quotaBody
		if test.ctx != nil {
			ctx = test.ctx
		}
		if test.body != "" {
			body = test.body
		}
		quotaRequest(m, ctx, body)
		for place, want := range []int64{test.wantRequests, test.wantTokens, 0} {
			if used, reserved := usedOf(m, place, ""); used != want || reserved != 0 {
				t.Errorf("%s: quota %d has %d used, %d of it reserved, want %d and none", test.name, place, used, reserved, want)
			}
		}
		if calls := sink.calls; len(calls) != 1 || calls[0].Response.Usage.Estimated != test.wantEstimated {
			t.Errorf("%s: %d records, estimated %t, want 1 and %t", test.name, len(calls), len(calls) == 1 && calls[0].Response.Usage.Estimated, test.wantEstimated)
		}
	}
}

// TestUsageIsEstimatedForTokensOnly: a quota for requests needs no estimate.
func TestUsageIsEstimatedForTokensOnly(t *testing.T) {
	config := CreateConfig()
	config.Quotas = []Quota{{Unit: unitRequests, Limit: 1000, Window: "1M"}}
	m, sink := newQuotaMiddleware(t, respondWith("{}"), config)
	quotaRequest(m, context.Background(), quotaBody)
	if sink.calls[0].Response.Usage != (Usage{}) {
		t.Errorf("usage %+v, want none", sink.calls[0].Response.Usage)
	}
}

// TestMixedTrafficAgreesWithBookkeeping sends requests with all endings from 64 clients at once.
func TestMixedTrafficAgreesWithBookkeeping(t *testing.T) {
	next := http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		switch kind := req.Header.Get("X-Kind"); kind {
		case "usage":
			respondWith(answeredJSON).ServeHTTP(rw, req)
		case "stream":
			respondWith("data: {\"choices\":[{\"index\":0,\"delta\":{}}]}\n\n", "data: [DONE]\n\n").ServeHTTP(rw, req)
		case "cut":
			startEventStream(rw)
			panic(http.ErrAbortHandler)
		case "panic":
			panic("fault")
		default:
			rw.WriteHeader(http.StatusInternalServerError)
		}
	})
	config := CreateConfig()
	config.StreamUsage = streamUsageNever
	config.Quotas = []Quota{
		{Unit: unitRequests, Limit: 1 << 40, Window: "1M"}, {Unit: unitTokens, Limit: 1 << 40, Window: "1M", Per: "$(headers.x-team)"},
		{Unit: unitOutputTokens, Limit: 10_000, Window: "1M", Reserve: reserveFull}, {Unit: unitConcurrent, Limit: 40},
	}
	m, _ := newQuotaMiddleware(t, next, config)
	m.policy.telemetry.sinks = nil
	wantOf := map[string]int64{"usage": 37, "stream": 19, "cut": 18}
	var requests, output atomic.Int64
	tokens := map[string]*atomic.Int64{"blue": {}, "green": {}}
	var group sync.WaitGroup
	for i := 0; i < 64; i++ {
		group.Add(1)
		go func(random *rand.Rand) {
			defer group.Done()
			for n := 0; n < 30; n++ {
				kind, team := []string{"usage", "stream", "cut", "panic", "error"}[random.Intn(5)], []string{"blue", "green"}[random.Intn(2)]
				got := quotaRequest(m, context.Background(), quotaBody, "X-Kind", kind, "X-Team", team)
				if got != nil && got.Code == http.StatusTooManyRequests {
					continue
				}
				if want, has := wantOf[kind]; has {
					requests.Add(1)
					tokens[team].Add(want)
					output.Add(map[string]int64{"usage": 17, "stream": 1}[kind])
				}
			}
		}(rand.New(rand.NewSource(int64(i))))
	}
	group.Wait()
	for _, test := range []struct {
		place   int
		subject string
		want    int64
	}{{0, "", requests.Load()}, {1, "blue", tokens["blue"].Load()}, {1, "green", tokens["green"].Load()}, {2, "", output.Load()}, {3, "", 0}} {
		if used, reserved := usedOf(m, test.place, test.subject); used != test.want || reserved != 0 {
			t.Errorf("quota %d of %q: %d used, %d of it reserved, want %d and none", test.place, test.subject, used, reserved, test.want)
		}
	}
	if requests.Load() == 0 {
		t.Error("no request was served")
	}
}

func TestConcurrentRequestsAreLimited(t *testing.T) {
	next, arrived, release := waitingProvider()
	config := CreateConfig()
	config.Quotas = []Quota{{Unit: unitConcurrent, Limit: 1, Name: "open"}}
	m, _ := newQuotaMiddleware(t, next, config)
	done := make(chan struct{})
	go func() {
		defer close(done)
		quotaRequest(m, context.Background(), quotaBody, "X-Wait", "1")
	}()
	<-arrived
	got := quotaRequest(m, context.Background(), quotaBody)
	close(release)
	<-done
	header := got.Header()
	if got.Code != http.StatusTooManyRequests || header.Get("Retry-After") != "1" || header.Get("X-Should-Retry") != "" || header.Get("X-Ratelimit-Limit-Requests") != "" {
		t.Errorf("status %d, header %v, want 429 and a retry after 1 s", got.Code, header)
	}
	want := "{\"error\":{\"message\":\"You exceeded the quota `open`: 1 of 1 concurrent requests. Try again when one of your requests has ended.\"," +
		`"type":"rate_limit_exceeded","param":null,"code":"rate_limit_exceeded"}}`
	if body := got.Body.String(); body != want {
		t.Errorf("body %s, want %s", body, want)
	}
	if after := quotaRequest(m, context.Background(), quotaBody); after.Code != http.StatusOK {
		t.Errorf("status %d after the first request has ended, want 200", after.Code)
	}
}

// TestRefusalSaysWhenToTryAgain sets the clock.
func TestRefusalSaysWhenToTryAgain(t *testing.T) {
	for _, test := range []struct {
		unit, window, wantCode, wantRetry, wantShould, wantReset, wantMessage string
	}{
		{unitRequests, "1m", rateLimitExceeded, "18", "", "18s", "1 of 1 requests per 1m. It resets in 18s, at 2026-11-30T12:35:00Z."},
		{unitRequests, "1h", rateLimitExceeded, "1518", "false", "25m18s", "1 of 1 requests per 1h. It resets in 25m18s, at 2026-11-30T13:00:00Z."},
		{unitTokens, "2h", insufficientQuota, "5118", "false", "1h25m18s", "37 of 1 tokens per 2h. It resets in 1h25m18s, at 2026-11-30T14:00:00Z."},
		{unitInputTokens, "1d", insufficientQuota, "41118", "false", "11h25m18s", "20 of 1 input tokens per 1d. It resets in 11h25m18s, at 2026-12-01T00:00:00Z."},
		{unitOutputTokens, "1M", insufficientQuota, "41118", "false", "11h25m18s", "17 of 1 output tokens per 1M. It resets in 11h25m18s, at 2026-12-01T00:00:00Z."},
	} {
		config := CreateConfig()
		config.Quotas = []Quota{{Unit: test.unit, Limit: 1, Window: test.window, Reserve: ""}}
		m, sink := newQuotaMiddleware(t, respondWith(answeredJSON), config)
		m.policy.quotas.clock = func() time.Time { return time.Date(2026, 11, 30, 12, 34, 42, 500_000_000, time.UTC) }
		quotaRequest(m, context.Background(), quotaBody)
		got := quotaRequest(m, context.Background(), quotaBody)
		q := m.policy.quotas.charges[0].quota
		header := got.Header()
		if got.Code != http.StatusTooManyRequests || header.Get("Retry-After") != test.wantRetry || header.Get("X-Should-Retry") != test.wantShould ||
			header.Get(q.headers[0]) != "1" || header.Get(q.headers[1]) != "0" || header.Get(q.headers[2]) != test.wantReset {
			t.Errorf("%s per %s: status %d, header %v", test.unit, test.window, got.Code, header)
		}
		want := fmt.Sprintf("{\"error\":{\"message\":\"You exceeded the quota `%s`: %s\",\"type\":%q,\"param\":null,\"code\":%q}}", q.name, test.wantMessage, test.wantCode, test.wantCode)
		if body := got.Body.String(); body != want {
			t.Errorf("%s per %s: body %s, want %s", test.unit, test.window, body, want)
		}
		if last := sink.calls[len(sink.calls)-1]; last.Quota != q.name || last.ErrorType != test.wantCode {
			t.Errorf("%s per %s: record with quota %q and error %q, want %q and %q", test.unit, test.window, last.Quota, last.ErrorType, q.name, test.wantCode)
		}
	}
}

// TestRemainingIsAfterReservation compares the headers with what a request has reserved.
func TestRemainingIsAfterReservation(t *testing.T) {
	for _, test := range []struct {
		name, reserve, want string
	}{{"nothing is reserved", reserveNone, "1000"}, {"by default, the input is", "", "982"}, {"with the token limit", reserveFull, "932"}} {
		config := CreateConfig()
		config.Quotas = []Quota{{Unit: unitTokens, Limit: 1000, Window: "1h", Reserve: test.reserve}}
		m, _ := newQuotaMiddleware(t, respondWith(answeredJSON), config)
		if got := quotaRequest(m, context.Background(), quotaBody).Header().Get("X-Ratelimit-Remaining-Tokens"); got != test.want {
			t.Errorf("%s: %s remain, want %s", test.name, got, test.want)
		}
		if got := quotaRequest(m, context.Background(), quotaBody, "Content-Type", "text/plain").Header().Get("X-Ratelimit-Limit-Tokens"); got != "" && got != "1000" {
			t.Errorf("%s: limit %s", test.name, got)
		}
	}
}

// TestTokenLimitIsReserved covers what decides on the token limit that the provider is sent.
func TestTokenLimitIsReserved(t *testing.T) {
	for _, test := range []struct {
		name, body string
		change     func(c *Config)
		want       int64
	}{
		{"the client's", `{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":50}`, nil, 50},
		{"the newer spelling", `{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_completion_tokens":60}`, nil, 60},
		{"of each choice", `{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":50,"n":3}`, nil, 150},
		{"lowered", `{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":50}`, func(c *Config) { c.Limits.MaxTokens = 20 }, 20},
		{"added", `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, func(c *Config) { c.Limits.MaxTokens = 30 }, 30},
		{"none", `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, nil, 0},
		{"dropped", `{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":50}`, func(c *Config) { c.DropParams = []string{"max_tokens"} }, 0},
		{"huge", `{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":1e300}`, func(c *Config) { c.Provider = "vllm" }, maxTokenCount},
		{"below 0", `{"model":"m","messages":[{"role":"user","content":"Hi"}],"max_tokens":-1}`, func(c *Config) { c.Provider = "vllm" }, 0},
	} {
		config := CreateConfig()
		config.Quotas = []Quota{{Unit: unitOutputTokens, Limit: int64(maxLimit), Window: "1h", Reserve: reserveFull}}
		if test.change != nil {
			test.change(config)
		}
		reserved := int64(-1)
		var m *middleware
		m, _ = newQuotaMiddleware(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { _, reserved = usedOf(m, 0, "") }), config)
		for i := 0; i < 2; i++ { // the second time with the decision of the first
			if quotaRequest(m, context.Background(), test.body); reserved != test.want {
				t.Errorf("%s: %d tokens reserved, want %d", test.name, reserved, test.want)
			}
		}
	}
}

func TestSubjectsHaveOwnCounters(t *testing.T) {
	long := strings.Repeat("x", 1000)
	config := CreateConfig()
	config.Quotas = []Quota{{Unit: unitRequests, Limit: 1, Window: "1M", Per: "$(headers.x-team)"}, {Unit: unitRequests, Limit: 100, Window: "1M", Per: "$(model)/$(query_params.app)", Mode: modeReport}}
	m, _ := newQuotaMiddleware(t, respondWith(answeredJSON), config)
	for _, test := range []struct {
		team string
		want int
	}{{"a", 200}, {"b", 200}, {"a", 429}, {long, 200}, {long + "y", 200}, {long, 429}, {"", 400}, {"\xff", 200}, {"b\x01", 200}} {
		if got := quotaRequest(m, context.Background(), quotaBody, "X-Team", test.team); got.Code != test.want {
			t.Errorf("team %q: status %d, want %d", shortened(test.team), got.Code, test.want)
		}
	}
	if used, _ := usedOf(m, 1, other); used != 6 {
		t.Errorf("%d requests without the value that a quota in report mode counts by, want 6", used)
	}
}

// TestDiscardedResponseOfChainedInstanceCountsNothing has a service between two instances call the second one several times.
// TestValuesOfSubjectsAreKeptApart: nobody takes from the counter of others by a value that looks like two of theirs.
func TestValuesOfSubjectsAreKeptApart(t *testing.T) {
	for _, test := range []struct {
		per  string
		sent [][2]string // team and user
		show string      // subject of the last one; empty: a hash
	}{
		{"$(headers.x-team):$(headers.x-user)", [][2]string{{"a", "b:c"}, {"a:b", "c"}}, ""},
		{"$(headers.x-team):$(headers.x-user)", [][2]string{{"a:b", "c"}, {"a", "b:c"}}, "a:b:c"},
		{"$(headers.x-team)$(headers.x-user)", [][2]string{{"a", "bc"}, {"ab", "c"}, {"abc", "d"}}, ""},
		{"$(headers.x-team)/$(headers.x-user)", [][2]string{{"a", "b"}, {"a", "c"}}, "a/c"},
		{"$(model)$(headers.x-user)", [][2]string{{"", "b"}, {"", "c"}}, ""},
		{"team $(headers.x-team)", [][2]string{{"a m", "b"}, {"a  m", "b"}}, "team a  m"},
	} {
		config := CreateConfig()
		config.Quotas = []Quota{{Unit: unitRequests, Limit: 1, Window: "1M", Per: test.per}}
		m, _ := newQuotaMiddleware(t, respondWith(answeredJSON), config)
		for _, sent := range test.sent {
			if got := quotaRequest(m, context.Background(), quotaBody, "X-Team", sent[0], "X-User", sent[1]); got.Code != http.StatusOK {
				t.Errorf("%s: %q gets status %d, want 200", test.per, sent, got.Code)
			}
		}
		if used, _ := usedOf(m, 0, test.show); test.show != "" && used != 1 {
			t.Errorf("%s: %q has used %d, want 1", test.per, test.show, used)
		}
	}
}

func TestDiscardedResponseOfChainedInstanceCountsNothing(t *testing.T) {
	status := http.StatusBadGateway
	chainedConfig := CreateConfig()
	chainedConfig.Quotas = []Quota{{Unit: unitRequests, Limit: 10, Window: "1M"}, {Unit: unitTokens, Limit: 1000, Window: "1M"}}
	chained, _ := newQuotaMiddleware(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if status != http.StatusOK {
			rw.WriteHeader(status)
			return
		}
		respondWith(answeredJSON).ServeHTTP(rw, req)
	}), chainedConfig)
	retry := http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		for i := 0; i < 3; i++ {
			chained.ServeHTTP(httptest.NewRecorder(), req.Clone(req.Context()))
		}
		status = http.StatusOK
		chained.ServeHTTP(rw, req)
	})
	config := CreateConfig()
	config.Quotas = []Quota{{Unit: unitRequests, Limit: 10, Window: "1M"}}
	m, sink := newQuotaMiddleware(t, retry, config)
	got := quotaRequest(m, context.Background(), quotaBody)
	for i, test := range []struct {
		m     *middleware
		place int
		want  int64
	}{{m, 0, 1}, {chained, 0, 1}, {chained, 1, 37}} {
		if used, reserved := usedOf(test.m, test.place, ""); used != test.want || reserved != 0 {
			t.Errorf("quota %d: %d used, %d of it reserved, want %d and none", i, used, reserved, test.want)
		}
	}
	if len(sink.calls) != 1 || got.Header().Get("X-Ratelimit-Remaining-Requests") != "9" || got.Header().Get("X-Ratelimit-Limit-Tokens") != "1000" {
		t.Errorf("%d records, header %v", len(sink.calls), got.Header())
	}
}

// TestSharedQuotaCountsRequestOnce chains two instances that share a quota.
func TestSharedQuotaCountsRequestOnce(t *testing.T) {
	shared := []Quota{{Name: "shared-" + strconv.FormatInt(quotaNames.Add(1), 10), Unit: unitRequests, Limit: 2, Window: "1M", Shared: true}}
	config := CreateConfig()
	config.Quotas = shared
	chained, _ := newQuotaMiddleware(t, respondWith(answeredJSON), config)
	m, _ := newQuotaMiddleware(t, chained, config)
	for i, want := range []int{200, 200, 429} {
		if got := quotaRequest(m, context.Background(), quotaBody); got.Code != want {
			t.Errorf("request %d: status %d, want %d", i, got.Code, want)
		}
	}
}

// TestReloadKeepsCounters replaces the configuration while a request is open, and changes the limit.
func TestReloadKeepsCounters(t *testing.T) {
	next, arrived, release := waitingProvider()
	load := func(limit int) *middleware {
		config := CreateConfig()
		config.Quotas = []Quota{{Name: "reload", Unit: unitTokens, Limit: limit, Window: "1M", Per: "$(headers.x-test)"}}
		m, _ := newQuotaMiddleware(t, next, config)
		m.policy.telemetry.sinks = nil
		return m
	}
	test := strconv.FormatInt(quotaNames.Add(1), 10)
	before := load(1000)
	quotaRequest(before, context.Background(), quotaBody, "X-Test", test)
	done := make(chan struct{})
	go func() {
		defer close(done)
		quotaRequest(before, context.Background(), quotaBody, "X-Test", test, "X-Wait", "1")
	}()
	<-arrived
	after := load(30)
	for i := 0; i < 100; i++ {
		after = load(30)
	}
	if got := quotaRequest(after, context.Background(), quotaBody, "X-Test", test); got.Code != http.StatusTooManyRequests {
		t.Errorf("status %d under a lower limit, want 429", got.Code)
	}
	after = load(200)
	if got := quotaRequest(after, context.Background(), quotaBody, "X-Test", test).Header().Get("X-Ratelimit-Remaining-Tokens"); got != "127" { // 200 - 37 - 18 - 18
		t.Errorf("%s tokens remain under a higher limit, want 127", got)
	}
	close(release)
	<-done
	if used, reserved := usedOf(after, 0, test); used != 3*37 || reserved != 0 {
		t.Errorf("%d used, %d of it reserved, want %d and none", used, reserved, 3*37)
	}
}

func TestCostIsCharged(t *testing.T) {
	for _, test := range []struct {
		name          string
		reserve       string
		body, respond string
		denies        bool
		wantStatus    int
		wantReserved  int64
		want          int64
	}{
		{"usage", reserveNone, quotaBody, answeredJSON, false, 200, 0, 20*2_500_000 + 17*10_000_000},
		{"reserved input", "", quotaBody, answeredJSON, false, 200, 18 * 2_500_000, 220_000_000},
		{"reserved input and limit", reserveFull, quotaBody, answeredJSON, false, 200, 18*2_500_000 + 50*10_000_000, 220_000_000},
		{"no usage", reserveNone, quotaBody, `{"object":"x"}`, false, 200, 0, 18*2_500_000 + 3*10_000_000},
		{"stream that is cut after the first count", reserveNone, quotaBody, "data: {\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":1}}\n\n" + strings.Repeat("data: {}\n\n", 8), false, 200, 0, 20*2_500_000 + 9*10_000_000},
		{"no price", reserveFull, strings.Replace(quotaBody, `"m"`, `"n"`, 1), answeredJSON, false, 200, 0, 0},
		{"no price, denied", "", strings.Replace(quotaBody, `"m"`, `"n"`, 1), answeredJSON, true, 400, 0, 0},
	} {
		config := CreateConfig()
		config.Prices.Models = map[string]Price{"m": {Input: "2.50", Output: 10}}
		if test.denies {
			config.Prices.Unpriced = unpricedDeny
		}
		config.Quotas = []Quota{{Unit: unitCost, Limit: "25.00", Window: "1d", Reserve: test.reserve}}
		m, reserved := (*middleware)(nil), int64(0)
		m, _ = newQuotaMiddleware(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			_, reserved = usedOf(m, 0, "")
			if strings.HasPrefix(test.respond, "data: ") {
				startEventStream(rw)
			}
			respondWith(test.respond).ServeHTTP(rw, req)
		}), config)
		got := quotaRequest(m, context.Background(), test.body)
		if used, left := usedOf(m, 0, ""); got.Code != test.wantStatus || reserved != test.wantReserved || used != test.want || left != 0 {
			t.Errorf("%s: status %d, %d reserved, %d used, %d left reserved, want %d, %d, %d, 0", test.name, got.Code, reserved, used, left, test.wantStatus, test.wantReserved, test.want)
		}
	}
}

// informationalRecorder keeps the header of an informational response.
type informationalRecorder struct {
	*httptest.ResponseRecorder
	informational http.Header
}

func (r *informationalRecorder) WriteHeader(status int) {
	if status < http.StatusOK {
		r.informational = r.Header().Clone()
		return
	}
	r.ResponseRecorder.WriteHeader(status)
}

func TestInformationalResponseHasNoLimitsOfTheProvider(t *testing.T) {
	config := CreateConfig()
	config.Quotas = []Quota{{Unit: unitRequests, Limit: 10, Window: "1M"}}
	m, _ := newQuotaMiddleware(t, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Link", "</a>")
		rw.Header().Set("X-Ratelimit-Remaining-Tokens", "7")
		rw.WriteHeader(http.StatusEarlyHints)
		rw.WriteHeader(http.StatusOK)
	}), config)
	rw := &informationalRecorder{ResponseRecorder: httptest.NewRecorder()}
	m.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(quotaBody)))
	if got := rw.informational; len(got) != 1 || got.Get("Link") == "" {
		t.Errorf("header %v, want the link only", got)
	}
}

// TestFailoverAfterRefusal: what a failover service serves by another instance was not refused.
func TestFailoverAfterRefusal(t *testing.T) {
	stream := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		startEventStream(rw)
		_, _ = io.WriteString(rw, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3,\"total_tokens\":8}}\n\ndata: [DONE]\n\n")
	})
	limited := CreateConfig()
	limited.Quotas = []Quota{{Unit: unitRequests, Limit: 1, Window: "1M"}}
	first, _ := newQuotaMiddleware(t, stream, limited)
	second, _ := newQuotaMiddleware(t, stream, CreateConfig())
	config := CreateConfig()
	config.Quotas = []Quota{{Unit: unitRequests, Limit: 100, Window: "1M"}}
	m, sink := newQuotaMiddleware(t, http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		held := httptest.NewRecorder()
		if first.ServeHTTP(held, req.Clone(req.Context())); held.Code != http.StatusOK {
			second.ServeHTTP(rw, req)
		}
	}), config)
	quotaRequest(first, context.Background(), quotaBody)
	got := quotaRequest(m, context.Background(), quotaBody)
	if header := got.Header(); got.Code != http.StatusOK || header.Get("X-Ratelimit-Limit-Requests") != "100" || header.Get("Retry-After") != "" || header.Get(quotaHeader) != "" {
		t.Errorf("status %d, header %v", got.Code, header)
	}
	if len(sink.calls) != 1 || sink.calls[0].Quota != "" || sink.calls[0].ErrorType != "" {
		t.Errorf("records %+v, want one without a quota and an error", sink.calls)
	}
}

func TestRefusedConfigurationHasNoCounters(t *testing.T) {
	quotas := []Quota{{Name: "test-" + strconv.FormatInt(quotaNames.Add(1), 10), Unit: unitRequests, Limit: 1, Window: "1M"}}
	config := CreateConfig()
	config.Quotas = quotas
	config.Token = "sk-provider"
	config.Consumers = Consumers{List: []Consumer{{Name: "blue", Key: keyID("sk-blue")}}, Groups: map[string]ConsumerGroup{"eng": {Quotas: quotas}}}
	config.Redis.OnError = "retry"
	theMemoryStore.mu.Lock()
	before := len(theMemoryStore.groups)
	theMemoryStore.mu.Unlock()
	if _, err := New(context.Background(), http.NotFoundHandler(), config, "test"); err == nil {
		t.Fatal("the configuration is accepted")
	}
	theMemoryStore.mu.Lock()
	defer theMemoryStore.mu.Unlock()
	if got := len(theMemoryStore.groups); got != before {
		t.Errorf("%d quotas have counters, want %d", got, before)
	}
}
