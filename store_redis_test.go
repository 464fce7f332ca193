package chatcompletion

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// storeLog returns what is logged during f. After that, nothing tends the store.
func storeLog(t *testing.T, s *redisStore, f func()) string {
	t.Helper()
	return logOutput(t, func() {
		f()
		eventually(t, "nothing tends the store", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.tending {
				return false
			}
			s.tending = true
			return true
		})
	})
}

// request reserves and settles charges of one counter, and reports how it was decided.
func request(t *testing.T, s *redisStore, key string, actual int64) string {
	t.Helper()
	charges := testCharges(t, key)
	isOver, isDenied := reserveCharges(s, charges, testAmounts(0), time.Now().UnixMilli())
	if isDenied {
		return "denied"
	}
	if !isOver {
		settleCharges(charges, testAmounts(actual))
	}
	return fmt.Sprintf("%s over=%v", []string{"redis", "local", "uncounted"}[charges[0].place], isOver)
}

func TestOutageIsDecidedAsConfigured(t *testing.T) {
	tests := []struct{ onError, want, log string }{
		{"", "local over=false", "the counters of this Traefik apply until it is back"},
		{"local", "local over=false", "the counters of this Traefik apply until it is back"},
		{"deny", "denied", "requests with quotas are denied until it is back"},
		{"allow", "uncounted over=false", "no quota applies until it is back"},
	}
	for _, test := range tests {
		f := newFakeRedis(t, "hunter2")
		s := testStore(t, f, Redis{OnError: test.onError, Password: "hunter2"})
		logged := storeLog(t, s, func() {
			if got := request(t, s, test.onError, 4); got != "redis over=false" {
				t.Errorf("%s: before the outage: %s", test.onError, got)
			}
			address := f.listener.Addr().String()
			f.stop()
			for i := 0; i < 20; i++ {
				if got := request(t, s, test.onError, 4); got != test.want {
					t.Errorf("%s: got %s, want %s", test.onError, got, test.want)
				}
			}
			if got := s.health.down.Load(); got != 1 {
				t.Errorf("%s: %d stores are down, want 1", test.onError, got)
			}
			f.listen(address)
			eventually(t, "Redis is used again", func() bool { return s.failures.Load() == 0 })
			if got := request(t, s, test.onError, 4); got != "redis over=false" {
				t.Errorf("%s: after the outage: %s", test.onError, got)
			}
		})
		if got := s.health.down.Load(); got != 0 {
			t.Errorf("%s: %d stores are down, want 0", test.onError, got)
		}
		lines := strings.Split(strings.TrimSpace(logged), "\n")
		if len(lines) != 2 || !strings.Contains(lines[0], test.log) || !strings.HasSuffix(lines[1], "is available again") || strings.Contains(logged, "hunter2") {
			t.Errorf("%s: logged %q", test.onError, logged)
		}
		want := int64(8) // of the requests before and after
		if test.want == "local over=false" {
			want += 80
		}
		if got := f.sum(t.Name() + ":" + test.onError); got != want {
			t.Errorf("%s: Redis has %d, want %d", test.onError, got, want)
		}
	}
}

// TestLocalCountersGoOn checks that in an outage a limit applies to what Redis said before, too.
func TestLocalCountersGoOn(t *testing.T) {
	f := newFakeRedis(t, "")
	s := testStore(t, f, Redis{})
	storeLog(t, s, func() {
		for i := 0; i < 3; i++ {
			request(t, s, "a", 20) // the server says that nothing was used before: 20 are known, and 10 at the beginning of the next
		}
		f.stop()
		passed := 0
		for i := 0; i < 20; i++ {
			if request(t, s, "a", 10) == "local over=false" {
				passed++
			}
		}
		if passed != 8 { // 20 + 8 * 10 = 100
			t.Errorf("%d requests passed in the outage, want 8", passed)
		}
	})
}

// TestSettlementsCountOnce checks that Redis has the sum of what was used, whatever happens to the settlements.
func TestSettlementsCountOnce(t *testing.T) {
	settles := func(words []string) bool { return strings.Contains(settleScript.evalSHA, words[1]) }
	tests := map[string]func(n int, words []string) string{
		"executed, but the reply is lost": func(n int, words []string) string {
			if settles(words) && n%3 == 0 {
				return "lost"
			}
			return ""
		},
		"not executed": func(n int, words []string) string {
			if settles(words) && n%3 == 0 {
				return "cut"
			}
			return ""
		},
		"refused": func(n int, words []string) string {
			if settles(words) && n%3 == 0 {
				return "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
			}
			return ""
		},
		"anything": func(n int, _ []string) string {
			return []string{"", "lost", "", "cut", "", "", "-BUSY\r\n", "?\r\n"}[n%8]
		},
	}
	for name, fault := range tests {
		f := newFakeRedis(t, "")
		s := testStore(t, f, Redis{})
		storeLog(t, s, func() {
			request(t, s, name, 0)
			n := 0
			f.setFault(func(words []string) string {
				n++
				return fault(n, words)
			})
			var running sync.WaitGroup
			for i := 0; i < 8; i++ {
				running.Add(1)
				go func() {
					defer running.Done()
					for j := 0; j < 25; j++ {
						charges := testCharges(t, name)
						charges[0].limit = 1 << 40
						reserveCharges(s, charges, testAmounts(0), time.Now().UnixMilli())
						settleCharges(charges, testAmounts(3))
					}
				}()
			}
			running.Wait()
			f.setFault(nil)
			eventually(t, "everything is settled", func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.deltas)+len(s.unsure) == 0 && s.failures.Load() < failuresToOpen
			})
		})
		if got := f.sum(t.Name() + ":" + name); got != 600 {
			t.Errorf("%s: Redis has %d, want 600", name, got)
		}
	}
}

// TestFrozenServerDelaysFewRequests checks that requests do not try a server that does not respond, once three have.
func TestFrozenServerDelaysFewRequests(t *testing.T) {
	f := newFakeRedis(t, "")
	s := testStore(t, f, Redis{ReadTimeout: "50ms"})
	s.pace.open = 10 * time.Second
	storeLog(t, s, func() {
		request(t, s, "a", 1)
		resume := f.freeze()
		defer resume()
		start := time.Now()
		for i := 0; i < 100; i++ {
			request(t, s, "a", 1)
		}
		if took, most := time.Since(start), 3*time.Second; took > most { // 150 ms for three requests, and 5 s if all tried
			t.Errorf("100 requests took %s with a server that does not respond, want at most %s", took, most)
		}
	})
}

// TestSharedStore checks that equal settings have one store, that it outlives a reload, and that it ends.
func TestSharedStore(t *testing.T) {
	f := newFakeRedis(t, "")
	settings := testStore(t, f, Redis{}).settings
	settings.key += " shared"
	t.Cleanup(func() { // so that it is in no other test's metrics
		theHealthMu.Lock()
		delete(theHealth, settings.endpoint)
		theHealthMu.Unlock()
	})
	first, end := context.WithCancel(context.Background())
	s := useRedisStore(first, settings)
	s.mu.Lock()
	s.pace = fastRedisPace
	s.memory = testMemory(t)
	tendSoon(s, 0)
	s.mu.Unlock()
	request(t, s, "a", 1)
	second, endSecond := context.WithCancel(context.Background())
	same := *settings
	if useRedisStore(second, &same) != s {
		t.Error("equal settings have two stores")
	}
	end()
	request(t, s, "a", 1)
	if got := f.connections(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	if got := upPoints(f); got != "1" {
		t.Errorf("up: %s, want 1", got)
	}
	endSecond()
	eventually(t, "the store ends", func() bool {
		theRedisStoresMu.Lock()
		defer theRedisStoresMu.Unlock()
		return theRedisStores[settings.key] == nil
	})
	if got := request(t, s, "a", 1); got != "redis over=false" {
		t.Errorf("an exchange that outlives the store: %s", got)
	}
	if got := f.sum(t.Name() + ":a"); got != 3 {
		t.Errorf("Redis has %d, want 3", got)
	}
	if got := upPoints(f); got != "" {
		t.Errorf("up: %s, want none", got)
	}
}

// upPoints returns the values of chat_completion.store.up for a server.
func upPoints(f *fakeRedis) string {
	var values []string
	_, port, _ := strings.Cut(f.listener.Addr().String(), ":")
	for _, m := range storeMetrics() {
		for _, p := range m.points {
			if m.instrument == storeUp && p.attributes[3] == port {
				values = append(values, fmt.Sprint(p.count))
			}
		}
	}
	return strings.Join(values, " ")
}

func TestConnectionsAreKeptReady(t *testing.T) {
	f := newFakeRedis(t, "")
	s := testStore(t, f, Redis{MinIdleConns: 3, PoolSize: "5"})
	tidyConnections(s, time.Now())
	if got := len(s.pool.idle); got != 3 {
		t.Errorf("%d idle connections, want 3", got)
	}
	for i := 0; i < 2; i++ {
		c, err := openConn(s.pool, time.Now().Add(time.Second))
		if err != nil {
			t.Fatal(err)
		}
		s.pool.free--
		releaseConn(s.pool, c)
	}
	tidyConnections(s, time.Now().Add(time.Hour))
	if got := len(s.pool.idle); got != 3 {
		t.Errorf("%d idle connections after an hour, want 3", got)
	}
}

func TestStoreUnavailableIsTold(t *testing.T) {
	apiErr := storeUnavailable()
	if apiErr.status != http.StatusServiceUnavailable || apiErr.code != "quota_store_unavailable" {
		t.Errorf("got %d %s", apiErr.status, apiErr.code)
	}
}

func TestRequestWithoutQuotasNeedsNoStore(t *testing.T) {
	f := newFakeRedis(t, "")
	s := testStore(t, f, Redis{OnError: onErrorDeny})
	for i := 0; i < 2; i++ { // the second time without a server
		if isOver, isDenied := reserveCharges(s, []charge{}, testAmounts(0), time.Now().UnixMilli()); isOver || isDenied {
			t.Errorf("over %t, denied %t, want neither", isOver, isDenied)
		}
		if got := f.sent(); got != "" {
			t.Errorf("commands %q, want none", got)
		}
		f.stop()
	}
	if got := s.health.fallbacks.Load(); got != 0 {
		t.Errorf("%d fallbacks, want none", got)
	}
}
