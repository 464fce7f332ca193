//go:build redis

package chatcompletion

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// redisCacheMiddlewares returns two middlewares of one name, as two Traefiks have them, with a cache in a server.
func redisCacheMiddlewares(t *testing.T, r *server, body string, change func(c *Config)) (first, second *middleware, calls func() int64) {
	t.Helper()
	all := make([]*middleware, 2)
	config := CreateConfig()
	config.Redis = Redis{Endpoints: []string{r.address}, ReadTimeout: "10s", KeyPrefix: "cache-" + strconv.FormatInt(cacheNames.Add(1), 10)}
	config.Cache = Cache{Scope: scopeAll, Store: storeInRedis, TTL: "1h", MaxEntries: 100000}
	if change != nil {
		change(config)
	}
	var counts []func() int64
	for i := range all {
		m, _, count := newNamedCacheMiddleware(t, config.Redis.KeyPrefix, provided(jsonBytes, body), config)
		s := r.store(t, config.Redis)
		m.policy.store = s
		m.policy.cache.redis = s
		all[i] = m
		counts = append(counts, count.Load)
	}
	return all[0], all[1], func() int64 { return counts[0]() + counts[1]() }
}

// storedKeys returns the keys of stored responses, once there is one.
func storedKeys(r *server) []string {
	var keys []string
	eventually(r.t, "a response is stored", func() bool {
		keys = strings.Fields(r.do("KEYS", "*cache:*"))
		return len(keys) > 0 && storing.Load() == 0
	})
	return keys
}

// TestServerCache: two Traefiks share responses, which expire.
func TestServerCache(t *testing.T) {
	for name, body := range map[string]string{"small": chatDocument, "large": strings.Replace(chatDocument, "Hello", strings.Repeat("x", 900_000), 1), "binary": strings.Replace(chatDocument, "Hello", "\\u0000\u4e16\u007f", 1) + "\r\n \r\n"} {
		r := startServer(t)
		first, second, calls := redisCacheMiddlewares(t, r, body, nil)
		got, _ := cacheRequest(first, chatPath, chatBody)
		if got.Result().Header.Get(cacheHeader) != cacheMiss {
			t.Errorf("%s: the first response is a %s", name, got.Result().Header.Get(cacheHeader))
		}
		keys := storedKeys(r)
		ttl, _ := strconv.Atoi(r.do("PTTL", keys[0]))
		if len(keys) != 1 || ttl < 3500_000 || ttl > 3600_000 || !strings.HasPrefix(keys[0], first.policy.cache.middleware+":cache:") || strings.Contains(keys[0], "Hi") {
			t.Errorf("%s: keys %q, which expire after %d ms", name, keys, ttl)
		}
		for _, m := range []*middleware{first, second} {
			if got, _ = cacheRequest(m, chatPath, chatBody); got.Result().Header.Get(cacheHeader) != cacheHit || got.Body.String() != body || got.Result().Header.Get("Content-Type") != jsonBytes {
				t.Errorf("%s: a stored response is a %s", name, got.Result().Header.Get(cacheHeader))
			}
		}
		if calls() != 1 {
			t.Errorf("%s: the providers got %d requests, want 1", name, calls())
		}
	}
}

// TestServerCacheTrustsNothing: what others have written to Redis is a miss.
func TestServerCacheTrustsNothing(t *testing.T) {
	r := startServer(t)
	first, second, calls := redisCacheMiddlewares(t, r, chatDocument, nil)
	_, _ = cacheRequest(first, chatPath, chatBody)
	key := storedKeys(r)[0]
	valid := r.do("GET", key)
	other := strings.Replace(chatBody, "Hi", "Ho", 1)
	if _, _ = cacheRequest(first, chatPath, other); len(storedKeys(r)) < 1 {
		t.Fatal("nothing is stored")
	}
	eventually(t, "two responses are stored", func() bool { return len(storedKeys(r)) == 2 })
	otherKey := strings.Replace(strings.Join(storedKeys(r), " "), key, "", 1)
	foreign := r.do("GET", strings.TrimSpace(otherKey))
	head, rest, _ := strings.Cut(valid, "\n")
	want := calls()
	for name, write := range map[string]func(){
		"empty":                      func() { r.do("SET", key, "") },
		"text":                       func() { r.do("SET", key, chatDocument) },
		"another type":               func() { r.do("DEL", key); r.do("LPUSH", key, valid) },
		"the entry of another key":   func() { r.do("SET", key, foreign) },
		"a changed body":             func() { r.do("SET", key, strings.Replace(valid, "Hello", "Jello", 1)) },
		"a changed description":      func() { r.do("SET", key, strings.Replace(valid, "application/json", "text/event-stream", 1)) },
		"a cut entry":                func() { r.do("SET", key, valid[:len(valid)-1]) },
		"a longer entry":             func() { r.do("SET", key, valid+" ") },
		"another version":            func() { r.do("SET", key, strings.Replace(valid, "/1 ", "/2 ", 1)) },
		"another time":               func() { r.do("SET", key, strings.Replace(valid, " 1", " 2", 1)) },
		"a length beyond its end":    func() { r.do("SET", key, head[:strings.LastIndexByte(head, ' ')]+" 9999\n"+rest) },
		"a value that is very large": func() { r.do("SET", key, strings.Repeat("x", 40<<20)) },
	} {
		r.do("DEL", key)
		write()
		want++
		got, _ := cacheRequest(second, chatPath, chatBody)
		if got.Code != http.StatusOK || got.Body.String() != chatDocument || got.Result().Header.Get(cacheHeader) != cacheMiss || calls() != want {
			t.Errorf("%s: %d %s after %d calls, want a miss and %d", name, got.Code, got.Result().Header.Get(cacheHeader), calls(), want)
		}
		eventually(t, "it is replaced", func() bool { return storing.Load() == 0 })
	}
	if failures := second.policy.store.failures.Load(); failures != 0 {
		t.Errorf("%d failures of Redis, want none", failures)
	}
}

// TestServerCacheOutage: without Redis, each request is a miss, and none fails or waits.
func TestServerCacheOutage(t *testing.T) {
	r := startServer(t)
	first, _, calls := redisCacheMiddlewares(t, r, chatDocument, nil)
	storeLog(t, first.policy.store, func() {
		_, _ = cacheRequest(first, chatPath, chatBody)
		storedKeys(r)
		r.kill()
		start := time.Now()
		for i := 0; i < 50; i++ {
			if got, _ := cacheRequest(first, chatPath, chatBody); got.Code != http.StatusOK || got.Body.String() != chatDocument {
				t.Errorf("response %d in the outage: %d %s", i, got.Code, got.Body)
			}
		}
		if took := time.Since(start); took > 5*time.Second || calls() != 51 {
			t.Errorf("50 requests took %s and made %d calls, want 50", took, calls()-1)
		}
		eventually(t, "nothing is being stored", func() bool { return storing.Load() == 0 })
		r.start()
		first.policy.store.mu.Lock()
		first.policy.store.users = append(first.policy.store.users, context.Background())
		tendSoon(first.policy.store, 0)
		first.policy.store.mu.Unlock()
		eventually(t, "Redis is used again", func() bool {
			got, _ := cacheRequest(first, chatPath, chatBody)
			return got.Result().Header.Get(cacheHeader) == cacheHit
		})
	})
}

// TestServerCacheWithoutRoom: a Redis that is full refuses to store, which is no outage.
func TestServerCacheWithoutRoom(t *testing.T) {
	r := startServer(t, "--maxmemory", "1500kb", "--maxmemory-policy", "noeviction")
	first, _, calls := redisCacheMiddlewares(t, r, strings.Replace(chatDocument, "Hello", strings.Repeat("x", 900_000), 1), nil)
	for i := 0; i < 5; i++ {
		got, _ := cacheRequest(first, chatPath, strings.Replace(chatBody, "Hi", strconv.Itoa(i), 1))
		if got.Code != http.StatusOK {
			t.Errorf("response %d: %d", i, got.Code)
		}
		eventually(t, "nothing is being stored", func() bool { return storing.Load() == 0 })
	}
	if s := first.policy.store; s.failures.Load() != 0 || s.health.errors.Load() == 0 || calls() != 5 {
		t.Errorf("%d failures, %d errors after %d calls", s.failures.Load(), s.health.errors.Load(), calls())
	}
}

// TestServerCacheOfStreams: streams are stored with their form.
func TestServerCacheOfStreams(t *testing.T) {
	r := startServer(t)
	first, second, _ := redisCacheMiddlewares(t, r, "", func(c *Config) { c.Routes = allCachedRoutes })
	stream := provided(eventBytes, chatEvents+chatUsageEvent+doneEvent)
	first.policy.providers[0].handler = cacheResponses(first.policy, first.policy.providers[0], stream)
	got, _ := cacheRequest(first, chatPath, chatStreamBody)
	storedKeys(r)
	again, _ := cacheRequest(second, chatPath, chatStreamBody)
	if again.Result().Header.Get(cacheHeader) != cacheHit || !bytes.Equal(got.Body.Bytes(), again.Body.Bytes()) || again.Result().Header.Get("Content-Type") != eventBytes || again.Result().Header.Get("Content-Length") != "" {
		t.Errorf("got %s %q, want %q", again.Result().Header.Get(cacheHeader), again.Body, got.Body)
	}
}

// TestServerCacheIsBounded: however many requests clients send, a cache has no more entries than it may have.
func TestServerCacheIsBounded(t *testing.T) {
	r := startServer(t)
	first, second, calls := redisCacheMiddlewares(t, r, chatDocument, func(c *Config) { c.Cache.MaxEntries = 8 })
	for i := 0; i < 100; i++ {
		body := strings.Replace(chatBody, "Hi", strconv.Itoa(i), 1)
		_, _ = cacheRequest(first, chatPath, body)
		eventually(t, "it is stored", func() bool { return storing.Load() == 0 })
		if got, _ := cacheRequest(second, chatPath, body); got.Result().Header.Get(cacheHeader) != cacheHit {
			t.Errorf("response %d is not stored", i)
		}
	}
	if keys := storedKeys(r); len(keys) != 8 || calls() != 100 {
		t.Errorf("%d responses are stored after %d calls, want 8 after 100", len(keys), calls())
	}
}
