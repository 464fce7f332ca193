package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// delayingProxy forwards connections to a server. What the server sends arrives after a delay.
type delayingProxy struct {
	address, server string
	delay           atomic.Int64 // time.Duration

	mutex    sync.Mutex
	listener net.Listener
	open     map[net.Conn]bool
}

func newDelayingProxy(t *testing.T, server string) *delayingProxy {
	t.Helper()
	p := &delayingProxy{address: freeAddress(t), server: server, open: map[net.Conn]bool{}}
	p.listen(t)
	t.Cleanup(p.close)
	return p
}

// listen accepts connections until close.
func (p *delayingProxy) listen(t *testing.T) {
	listener, err := net.Listen("tcp", p.address)
	if err != nil {
		t.Error(err)
		return
	}
	p.mutex.Lock()
	p.listener = listener
	p.mutex.Unlock()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.forward(client)
		}
	}()
}

func (p *delayingProxy) close() {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	_ = p.listener.Close()
	for conn := range p.open {
		_ = conn.Close()
	}
}

func (p *delayingProxy) forward(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	p.mutex.Lock()
	p.open[client] = true
	p.mutex.Unlock()
	defer func() {
		p.mutex.Lock()
		delete(p.open, client)
		p.mutex.Unlock()
	}()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		time.Sleep(time.Duration(p.delay.Load()))
		if n > 0 {
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// Timeouts of the commands to Redis, and what a request waits at most before it is forwarded.
const (
	redisTimeout = 250 * time.Millisecond
	redisWait    = 3 * redisTimeout // dial, write, read
)

// redisPassword is what the plugin sends.
const redisPassword = "sk-canary-of-redis"

// outageClients call at the same time on each route, with a pause of outagePause after each call.
const (
	outageClients = 3
	outagePause   = 15 * time.Millisecond
)

// idHeader identifies a call: all have the same number, so that all use the same tokens.
const idHeader = "X-Test-Id"

// outageNumber is the number of all calls.
const outageNumber = 7

const outageTokens = 10 + outageNumber + 1 + outageNumber

// fewLimit is the limit of a quota that goes on in an outage, and fewBefore are used before that.
const fewLimit, fewBefore = 20, 12

// madeCall is a call as its client saw it.
type madeCall struct {
	began, ended time.Time
	forwarded    time.Duration // until the provider had it; 0: it had not
	status       int
	code         string // of the error
}

// outageRoute is a route whose quotas are in a Redis with faults.
type outageRoute struct {
	onError string
	g       *gateway.Gateway
	redis   *backends.Redis
	proxy   *delayingProxy
	arrived *sync.Map // time by id

	mutex sync.Mutex
	calls []madeCall
	ids   int
}

func (r *outageRoute) keys() map[string]any {
	timeout := redisTimeout.String()
	quota := func(name, unit string, limit int) map[string]any {
		return map[string]any{"name": name, "unit": unit, "limit": limit, "window": accountWindow}
	}
	few := quota("few", "requests", fewLimit)
	few["models"] = []string{"gpt-4.1"}
	return map[string]any{
		"model": "gpt-4o", "allowModelOverride": true,
		"quotas": []any{quota("everyone", "requests", 1_000_000), quota("tokens", "tokens", 1_000_000_000), few},
		"redis": map[string]any{
			"endpoints": []string{r.proxy.address}, "password": redisPassword, "onError": r.onError,
			"dialTimeout": timeout, "readTimeout": timeout, "writeTimeout": timeout,
		},
	}
}

// call makes a call, and records it.
func (r *outageRoute) call(t *testing.T, model string) madeCall {
	r.mutex.Lock()
	r.ids++
	id := r.onError + strconv.Itoa(r.ids)
	r.mutex.Unlock()
	c := madeCall{began: time.Now()}
	response, err := do(t.Context(), http.DefaultClient, r.g.URL+"/"+r.onError+chatPath, strings.Replace(plainBody, "gpt-4o", model, 1),
		map[string]string{numberHeader: strconv.Itoa(outageNumber), idHeader: id})
	if err != nil {
		t.Errorf("%s: %v", r.onError, err)
		return c
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if err != nil {
		t.Errorf("%s: %v", r.onError, err)
	}
	c.ended, c.status = time.Now(), response.StatusCode
	if _, rest, has := strings.Cut(string(text), `"code":"`); has && c.status != http.StatusOK {
		c.code, _, _ = strings.Cut(rest, `"`)
	}
	if at, has := r.arrived.Load(id); has {
		c.forwarded = at.(time.Time).Sub(c.began)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.calls = append(r.calls, c)
	return c
}

// traffic makes calls from several clients until the returned function is called.
func (r *outageRoute) traffic(t *testing.T) (stop func()) {
	var running sync.WaitGroup
	done := make(chan struct{})
	for range outageClients {
		running.Go(func() {
			ticks := time.NewTicker(outagePause)
			defer ticks.Stop()
			for {
				r.call(t, "gpt-4o")
				select {
				case <-done:
					return
				case <-ticks.C:
				}
			}
		})
	}
	return func() {
		close(done)
		running.Wait()
	}
}

// metric returns the value of a metric of the route's Redis.
func (r *outageRoute) metric(t *testing.T, name string) float64 {
	_, port, err := net.SplitHostPort(r.proxy.address)
	if err != nil {
		t.Fatal(err)
	}
	return exposed(t, r.g, name, "server_port")[port]
}

// since returns the calls from the one with the index on: how many had each status.
func (r *outageRoute) since(first int) (calls []madeCall, statuses map[int]int) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	calls, statuses = append(calls, r.calls[first:]...), map[int]int{}
	for _, c := range calls {
		statuses[c.status]++
	}
	return calls, statuses
}

// used returns what is used of the quotas in Redis.
func (r *outageRoute) used(t *testing.T) map[string]int64 {
	used := map[string]int64{}
	for name, a := range accountsIn(t, r.redis) {
		used[strings.TrimSuffix(name, "/")] = a.used
	}
	return used
}

// redisFault is a fault of Redis in the midst of traffic.
type redisFault struct {
	name   string
	begin  func(t *testing.T, r *outageRoute)
	end    func(t *testing.T, r *outageRoute)
	outage bool // Redis counts as unavailable
	loses  bool // what was counted
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func nothing(*testing.T, *outageRoute) {}

func slowBy(delay time.Duration) func(*testing.T, *outageRoute) {
	return func(_ *testing.T, r *outageRoute) { r.proxy.delay.Store(int64(delay)) }
}

func changePassword(password string) func(*testing.T, *outageRoute) {
	return func(t *testing.T, r *outageRoute) {
		command(t, r.redis, "CONFIG", "SET", "requirepass", password)
		r.redis.Password = password
		command(t, r.redis, "CLIENT", "KILL", "TYPE", "normal")
	}
}

// redisFaults are the faults. The server keeps what it has counted over a restart: all that is counted
// twice, or not at all, shows.
var redisFaults = []redisFault{
	{
		name:  "killed and restarted",
		begin: func(_ *testing.T, r *outageRoute) { r.redis.Kill(); r.proxy.close() },
		end:   func(t *testing.T, r *outageRoute) { must(t, r.redis.Start(t.Context())); r.proxy.listen(t) },

		outage: true,
	},
	{
		name:  "frozen",
		begin: func(t *testing.T, r *outageRoute) { must(t, r.redis.Freeze()) },
		end:   func(t *testing.T, r *outageRoute) { must(t, r.redis.Thaw()) },

		outage: true,
	},
	{name: "slower than the timeout", begin: slowBy(2 * redisTimeout), end: slowBy(0), outage: true},
	{name: "wrong password", begin: changePassword("rotated"), end: changePassword(redisPassword), outage: true},
	{name: "slow", begin: slowBy(redisTimeout / 5), end: slowBy(0)},
	{name: "emptied", begin: func(t *testing.T, r *outageRoute) { command(t, r.redis, "FLUSHALL") }, end: nothing, loses: true},
}

// TestFaultsOfRedisInTraffic has a Redis fail in every way during calls, once for each onError, at the
// same time.
func TestFaultsOfRedisInTraffic(t *testing.T) {
	var arrived sync.Map
	answers := counting(0)
	provider := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		arrived.Store(r.Header.Get(idHeader), time.Now())
		answers.ServeHTTP(rw, r)
	}))
	g := start(t, gateway.Options{})
	dynamic := exposing()
	dynamic.Services["provider"] = provider.URL
	var routes []*outageRoute
	for _, onError := range []string{"local", "deny", "allow"} {
		redis := startRedis(t, "--appendonly", "yes", "--appendfsync", "always", "--requirepass", redisPassword)
		redis.Password = redisPassword
		r := &outageRoute{onError: onError, g: g, redis: redis, proxy: newDelayingProxy(t, redis.Address), arrived: &arrived}
		routes = append(routes, r)
		dynamic.Middlewares[onError] = gateway.Plugin(r.keys())
		dynamic.Routers[onError] = gateway.Router{Rule: "PathPrefix(`/" + onError + "/`)", Middlewares: []string{onError}, Service: "provider"}
	}
	configure(t, g, dynamic)

	outages := 0
	for _, f := range redisFaults {
		t.Run(f.name, func(t *testing.T) {
			var all sync.WaitGroup
			for _, r := range routes {
				all.Go(func() { r.withstand(t, f) })
			}
			all.Wait()
		})
		if f.outage {
			outages++
		}
	}
	log := readText(t, g.LogPath)
	for _, r := range routes {
		for _, line := range []string{" is unavailable: ", " is available again"} {
			if got := strings.Count(log, "redis: "+r.proxy.address+line); got != outages {
				t.Errorf("%s: %d lines of the log have %q, want one for each of %d outages", r.onError, got, line, outages)
			}
		}
	}
	if strings.Contains(log, redisPassword) {
		t.Error("the log has the password")
	}
	checkOnlyRedisLines(t, g)
}

// checkOnlyRedisLines fails if Traefik logged anything else at level error, or the plugin anything but
// how Redis is.
func checkOnlyRedisLines(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	logged, err := g.Errors()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range logged {
		if !strings.HasPrefix(line, "chat-completion: redis: ") {
			t.Errorf("Traefik logged an error: %s", line)
		}
	}
}

// withstand has a fault begin and end during calls, and checks what the calls of its time had and what
// they have used.
func (r *outageRoute) withstand(t *testing.T, f redisFault) {
	const phase = 300 * time.Millisecond
	before := r.used(t)
	errorsBefore, fallbacksBefore := r.metric(t, "chat_completion_store_errors_total"), r.metric(t, "chat_completion_store_fallbacks_total")
	made, _ := r.since(0)
	first := len(made)
	isKilled := f.name == redisFaults[0].name
	if isKilled {
		for range fewBefore {
			r.call(t, "gpt-4.1")
		}
	}
	stop := r.traffic(t)
	time.Sleep(phase) // without the fault
	made, _ = r.since(first)
	_, healthy := slowest(made)
	fault := time.Now()
	f.begin(t, r)
	if f.outage {
		r.awaitUp(t, 0)
	}
	if isKilled {
		r.checkFew(t)
	}
	time.Sleep(phase)
	f.end(t, r)
	r.awaitUp(t, 1)
	time.Sleep(phase)
	stop()

	calls, statuses := r.since(first)
	fallbacks := int(r.metric(t, "chat_completion_store_fallbacks_total") - fallbacksBefore)
	failures := r.metric(t, "chat_completion_store_errors_total") - errorsBefore
	t.Logf("%s, onError %s: statuses %v, %d without Redis, %v errors, healthy calls take up to %v", f.name, r.onError, statuses, fallbacks, failures, healthy)
	if f.outage != (failures >= 3) || f.outage != (fallbacks > 0) {
		t.Errorf("onError %s: %v errors, %d requests without Redis", r.onError, failures, fallbacks)
	}
	r.checkStatuses(t, calls, statuses, fallbacks, isKilled)
	slack := healthy + 500*time.Millisecond
	if forwarded, took := slowest(calls); forwarded > redisWait+slack || took > 2*redisWait+slack {
		t.Errorf("onError %s: a call was forwarded after %v and ended after %v, want at most %v and %v more than %v", r.onError, forwarded, took, redisWait, 2*redisWait, slack)
	} else {
		t.Logf("onError %s: the slowest call was forwarded after %v and ended after %v", r.onError, forwarded, took)
	}
	if f.loses {
		r.checkBeginsAtZero(t, calls, fault)
		return
	}
	served := int64(statuses[http.StatusOK])
	if r.onError == "allow" {
		served -= int64(fallbacks)
	}
	want := map[string]int64{"everyone": before["everyone"] + served, "tokens": before["tokens"] + served*outageTokens}
	var got map[string]int64
	if !eventually(func() bool {
		got = r.used(t)
		return got["everyone"] == want["everyone"] && got["tokens"] == want["tokens"]
	}) {
		t.Errorf("onError %s: %v is used, want %v", r.onError, got, want)
	}
}

// awaitUp waits until the metric has the value.
func (r *outageRoute) awaitUp(t *testing.T, want float64) {
	if !eventually(func() bool { return r.metric(t, "chat_completion_store_up") == want }) {
		t.Errorf("onError %s: chat_completion_store_up is not %v", r.onError, want)
	}
}

// slowest returns the longest times of calls.
func slowest(calls []madeCall) (forwarded, took time.Duration) {
	for _, c := range calls {
		forwarded, took = max(forwarded, c.forwarded), max(took, c.ended.Sub(c.began))
	}
	return forwarded, took
}

// checkFew checks that a quota goes on in an outage as onError says.
func (r *outageRoute) checkFew(t *testing.T) {
	statuses := map[int]int{}
	for range fewLimit {
		statuses[r.call(t, "gpt-4.1").status]++
	}
	want := map[string]map[int]int{
		"local": {http.StatusOK: fewLimit - fewBefore, http.StatusTooManyRequests: fewBefore},
		"deny":  {http.StatusServiceUnavailable: fewLimit},
		"allow": {http.StatusOK: fewLimit},
	}[r.onError]
	if fmt.Sprint(statuses) != fmt.Sprint(want) {
		t.Errorf("onError %s: after %d of %d requests, %v while Redis is down, want %v", r.onError, fewBefore, fewLimit, statuses, want)
	}
}

// checkStatuses checks that only the calls that may fail have failed.
func (r *outageRoute) checkStatuses(t *testing.T, calls []madeCall, statuses map[int]int, fallbacks int, hasFew bool) {
	refused := 0
	if hasFew && r.onError == "local" {
		refused = fewBefore
	}
	denied := 0
	if r.onError == "deny" {
		denied = fallbacks
	}
	if statuses[http.StatusServiceUnavailable] != denied || statuses[http.StatusTooManyRequests] != refused || statuses[http.StatusOK] != len(calls)-denied-refused {
		t.Errorf("onError %s: %d calls have statuses %v, want %d of 503 and %d of 429", r.onError, len(calls), statuses, denied, refused)
	}
	for _, c := range calls {
		if c.status == http.StatusServiceUnavailable && c.code != "quota_store_unavailable" {
			t.Errorf("onError %s: 503 with the code %q", r.onError, c.code)
		}
	}
}

// checkBeginsAtZero checks that a server that was emptied has counted the calls since then, once. Those
// in flight may have been counted before.
func (r *outageRoute) checkBeginsAtZero(t *testing.T, calls []madeCall, emptied time.Time) {
	least, most := int64(0), int64(0)
	for _, c := range calls {
		if c.began.After(emptied.Add(100 * time.Millisecond)) {
			least++
		}
		if c.ended.After(emptied.Add(-100 * time.Millisecond)) {
			most++
		}
	}
	used := r.used(t)
	if n := used["everyone"]; n < least || n > most || used["tokens"] != n*outageTokens {
		t.Errorf("onError %s: %v is used, want %d to %d requests with %d tokens each", r.onError, used, least, most, outageTokens)
	}
}
