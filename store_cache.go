package chatcompletion

import (
	chain "container/list"
	"context"
	"net/http"
	"regexp"
	"sync"
	"sync/atomic"
	"time"
)

// responseCache is the parsed form of Config.Cache.
type responseCache struct {
	middleware  string // name of the instance: instances of one name share what they have stored
	ttl         time.Duration
	scope       string // who shares responses
	maxBytes    int    // of an entry
	maxEntries  int
	isShared    bool // the entries are in Redis
	kinds       map[kind]bool
	headerLines *regexp.Regexp // of the request headers that a key depends on

	ignoredHeaders map[string]bool // most of those that a key does not depend on

	counters *cacheCounters // set by New
	memory   *memoryCache   // set by New; nil: the entries are in Redis
	redis    *redisStore    // set by New; nil: the entries are in memory
}

// cacheCounters count the requests at the cache of a middleware: those of chained instances and of
// fallbacks, too.
type cacheCounters struct {
	hits     atomic.Int64
	misses   atomic.Int64
	bypasses atomic.Int64
}

// Values of Cache.Scope and of Cache.Store.
const (
	scopeConsumer = "consumer"
	scopeGroup    = "group"
	scopeAll      = "all"

	storeInMemory = "memory"
	storeInRedis  = "redis"
)

// cachedResponse is a response that a cache has stored: the bytes that the provider has sent,
// decompressed.
type cachedResponse struct {
	key    string
	header http.Header // those of keptHeaders
	body   []byte
	form   string // how it is sent
	stored time.Time

	expires time.Time
	used    *chain.Element // in the memory cache
	aged    *chain.Element // in the memory cache
}

// Forms of a stored response.
const (
	formDocument = "document"
	formEvents   = "events"
	formArray    = "array" // of elements that arrive one by one
)

// keptHeaders are the headers of a response that are stored: those that describe the body, or how it
// is sent on. Others are about one request, or about an account.
var keptHeaders = []string{"Content-Type", "Content-Language", "Cache-Control", "X-Accel-Buffering"}

// keptValue matches the values of headers that are stored.
var keptValue = regexp.MustCompile(`^[ -~]{1,256}$`)

// keptOf returns the headers of a response that are stored.
func keptOf(header http.Header) http.Header {
	kept := http.Header{}
	for _, name := range keptHeaders {
		if values := header[name]; len(values) == 1 && keptValue.MatchString(values[0]) {
			kept[name] = []string{values[0]}
		}
	}
	return kept
}

// findResponse returns what a cache has stored under a key, nil if there is nothing that is valid and not
// older than maxAge. A store that fails has nothing.
func findResponse(c *responseCache, key string, maxAge time.Duration) *cachedResponse {
	var found *cachedResponse
	if c.redis != nil {
		found = findShared(c, key)
	} else {
		found = findInMemory(c.memory, key)
	}
	if found == nil {
		return nil
	}
	if age := time.Since(found.stored); age >= c.ttl || age >= maxAge {
		return nil
	}
	return found
}

// storeResponse stores a response.
func storeResponse(c *responseCache, r *cachedResponse) {
	if c.redis != nil {
		storeShared(c, r)
		return
	}
	r.expires = r.stored.Add(c.ttl)
	storeInto(c.memory, r)
}

// Bounds of a memory cache.
const (
	// entryShareBytes is what an entry may take on average: a cache has no more bytes than this for
	// each of Cache.MaxEntries, and at least those of one entry of Cache.MaxBytes.
	entryShareBytes = 64 << 10
	// entryOwnBytes is what an entry takes beside its body, about.
	entryOwnBytes = 1 << 10
	// sweptEntries is how many entries that have expired are removed while the cache is locked.
	sweptEntries = 1000
)

// memoryCache holds the responses that instances of one name have stored. It outlives them, so that a
// new configuration finds what was stored before.
type memoryCache struct {
	mu         sync.Mutex
	maxEntries int
	maxBytes   int // of all entries
	bytes      int
	byKey      map[string]*cachedResponse
	used       *chain.List       // of entries, from the one that was used last
	aged       *chain.List       // of entries, from the oldest
	timer      *time.Timer       // calls sweepCache; nil: there is no entry
	users      []context.Context // of the middlewares
}

// theMemoryCaches are the caches of this Traefik process, by the name of the middleware.
var (
	theMemoryCachesMu sync.Mutex
	theMemoryCaches   = map[string]*memoryCache{}
)

func newMemoryCache() *memoryCache {
	return &memoryCache{byKey: map[string]*cachedResponse{}, used: chain.New(), aged: chain.New()}
}

// useMemoryCache returns the cache in memory for the settings of a middleware, which is a user of it
// until ctx is done. Caches that are empty and have no user are dropped.
func useMemoryCache(ctx context.Context, c *responseCache) *memoryCache {
	theMemoryCachesMu.Lock()
	defer theMemoryCachesMu.Unlock()
	for name, other := range theMemoryCaches {
		if name != c.middleware && isAbandoned(other) {
			delete(theMemoryCaches, name)
		}
	}
	m := theMemoryCaches[c.middleware]
	if m == nil {
		m = newMemoryCache()
		theMemoryCaches[c.middleware] = m
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users = append(activeUsers(m.users), ctx)
	m.maxEntries = c.maxEntries
	m.maxBytes = c.maxEntries * entryShareBytes
	if least := c.maxBytes + entryOwnBytes; m.maxBytes < least {
		m.maxBytes = least
	}
	evictEntries(m)
	return m
}

// isAbandoned reports whether a cache has neither entries nor users.
func isAbandoned(m *memoryCache) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.users = activeUsers(m.users)
	return len(m.users) == 0 && len(m.byKey) == 0
}

// findInMemory returns what is stored under a key; nil: nothing is.
func findInMemory(m *memoryCache, key string) *cachedResponse {
	m.mu.Lock()
	r := m.byKey[key]
	if r != nil {
		m.used.MoveToFront(r.used)
	}
	m.mu.Unlock()
	return r
}

// storeInto stores a response, in place of the one under its key.
func storeInto(m *memoryCache, r *cachedResponse) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before := m.byKey[r.key]; before != nil {
		removeEntry(m, before)
	}
	m.byKey[r.key] = r
	m.bytes += len(r.body) + entryOwnBytes
	r.used = m.used.PushFront(r)
	r.aged = m.aged.PushBack(r)
	if len(m.byKey) > m.maxEntries || m.bytes > m.maxBytes {
		evictEntries(m)
	}
	if m.timer == nil {
		startSweeping(m)
	}
}

// startSweeping starts the timer for the oldest entry. The caller holds the lock.
func startSweeping(m *memoryCache) {
	if m.aged.Len() > 0 {
		m.timer = time.AfterFunc(time.Until(entryAt(m.aged.Front()).expires), sweeper(m))
	}
}

// evictEntries removes the entries that were used least recently while there are too many. The caller
// holds the lock.
func evictEntries(m *memoryCache) {
	for len(m.byKey) > m.maxEntries || m.bytes > m.maxBytes {
		removeEntry(m, entryAt(m.used.Back()))
	}
}

// removeEntry removes an entry. The caller holds the lock.
func removeEntry(m *memoryCache, r *cachedResponse) {
	delete(m.byKey, r.key)
	m.used.Remove(r.used)
	m.aged.Remove(r.aged)
	m.bytes -= len(r.body) + entryOwnBytes
}

// entryAt returns the entry at a place of a list.
func entryAt(at *chain.Element) *cachedResponse {
	r, has := at.Value.(*cachedResponse)
	if !has {
		return nil
	}
	return r
}

// sweeper returns the function that the timer calls.
func sweeper(m *memoryCache) func() {
	return func() {
		defer recoverGoroutine("cache")
		for sweepCache(m, time.Now()) {
			continue // others have had the lock in between
		}
	}
}

// sweepCache removes entries that have expired, so that nothing stays in memory for much longer than it
// is valid. It sets the timer for the next ones, and reports whether more have expired.
func sweepCache(m *memoryCache, now time.Time) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	for count := 0; m.aged.Len() > 0; count++ {
		r := entryAt(m.aged.Front())
		if wait := r.expires.Sub(now); wait > 0 {
			m.timer.Reset(wait)
			return false
		}
		if count == sweptEntries {
			return true
		}
		removeEntry(m, r)
	}
	m.timer = nil
	return false
}
