package chatcompletion

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// providerCache is the cache of a policy for the responses of one of its providers.
type providerCache struct {
	cache    *responseCache
	provider *provider
	handler  http.Handler // calls the provider
	prefix   string       // of what a key is the hash of: what is the same for all requests
}

// cacheResponses serves governed requests of a policy from its cache where it can, and stores the
// responses to others. It is only there if there is a cache: it costs others nothing.
func cacheResponses(p *policy, pr *provider, next http.Handler) http.Handler {
	pc := &providerCache{cache: p.cache, provider: pr, handler: next, prefix: keyPrefix(p.cache, pr)}
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		x := exchangeOf(req.Context())
		if x == nil || x.models != nil || !p.cache.kinds[x.kind] {
			next.ServeHTTP(rw, req)
			return
		}
		serveCached(x, pc, rw, req)
	})
}

// startCache connects the cache of a policy with its counters and its store.
func startCache(ctx context.Context, p *policy) {
	c := p.cache
	c.counters = useCacheCounters(p.telemetry.registry, c.middleware)
	if c.isShared {
		c.redis = p.store
		return
	}
	c.memory = useMemoryCache(ctx, c)
}

// serveCached serves a request from the cache, or by calling the provider. It is one function, since
// interpreted calls are expensive; what is rare is in others.
func serveCached(x *exchange, pc *providerCache, rw http.ResponseWriter, req *http.Request) {
	c, w, maxAge, key := pc.cache, x.response, anyAge, ""
	if req.Header["Cache-Control"] != nil || req.Header["Pragma"] != nil {
		maxAge = wantedAge(req.Header)
	}
	if maxAge != notStored {
		key = cacheKey(x, pc, req)
	}
	if w.recording == nil {
		beginCaching(w)
	}
	if key == "" {
		x.call.Cache = cacheBypass
		c.counters.bypasses.Add(1)
		pc.handler.ServeHTTP(rw, req)
		return
	}
	if maxAge > 0 {
		if found := findResponse(c, key, maxAge); found != nil {
			c.counters.hits.Add(1)
			serveStored(x, pc.provider, found, rw, req)
			return
		}
	}
	x.call.Cache = cacheMiss
	c.counters.misses.Add(1)
	r := w.recording
	r.wanted = append(r.wanted, wantedEntry{c, key})
	if r.maxBytes < c.maxBytes {
		r.maxBytes = c.maxBytes
	}
	count := len(r.wanted)
	pc.handler.ServeHTTP(rw, req)
	if w.status == 0 && w.heldStatus == 0 && !isHeldByGuard(x) && count <= len(r.wanted) {
		r.wanted = r.wanted[:count-1] // it was discarded: another provider, or instance, responds
	}
}

// What a client may want of a cache: how old a stored response may be.
const (
	anyAge    time.Duration = 1 << 62
	notStored time.Duration = -1 // nothing is read or stored
)

// Directives of Cache-Control in requests.
var (
	noStoreDirective = regexp.MustCompile(`(?i)(?:^|[,\s])no-store(?:$|[,\s;=])`)
	noCacheDirective = regexp.MustCompile(`(?i)(?:^|[,\s])no-cache(?:$|[,\s;=])`)
	maxAgeDirective  = regexp.MustCompile(`(?i)(?:^|[,\s])max-age="?([0-9]{1,9})`)
)

// wantedAge returns how old a stored response may be for the header of a request. 0: none is served.
func wantedAge(header http.Header) time.Duration {
	text := ""
	for _, value := range header["Cache-Control"] {
		text += value + ","
	}
	if header["Cache-Control"] == nil {
		text = header.Get("Pragma") // of HTTP/1.0
	}
	if noStoreDirective.MatchString(text) {
		return notStored
	}
	if noCacheDirective.MatchString(text) {
		return 0
	}
	if found := maxAgeDirective.FindStringSubmatch(text); found != nil {
		seconds, _ := strconv.Atoi(found[1])
		return time.Duration(seconds) * time.Second
	}
	return anyAge
}

// outcomeCached is the outcome of an attempt at a provider that did not have to be called.
const outcomeCached = "cached"

// errCached is why a provider has not responded, though the client has a response.
var errCached = errors.New("the response is stored")

// serveStored responds with a stored response, in the place of the provider.
func serveStored(x *exchange, pr *provider, stored *cachedResponse, rw http.ResponseWriter, req *http.Request) {
	x.call.Cache = cacheHit
	x.isUncommon = true
	x.response.recording.wanted = nil
	if x.attempt != nil && pr.upstream != nil {
		endCachedAttempt(x)
	}
	header := rw.Header()
	for _, name := range keptHeaders {
		if values := stored.header[name]; values != nil {
			header[name] = values
		}
	}
	header["Age"] = []string{ageOf(stored)}
	if stored.form == formDocument {
		header["Content-Length"] = []string{strconv.Itoa(len(stored.body))}
	}
	rw.WriteHeader(http.StatusOK)
	for _, part := range storedParts(stored) {
		if req.Context().Err() != nil {
			return
		}
		if _, err := rw.Write(part); err != nil {
			return
		}
	}
}

// ageOf returns the age of a stored response in seconds.
func ageOf(stored *cachedResponse) string {
	age := time.Since(stored.stored) / time.Second
	if age < 0 {
		age = 0 // the clock of another Traefik
	}
	return strconv.FormatInt(int64(age), 10)
}

// endCachedAttempt ends an attempt without a call: it says nothing about the provider.
func endCachedAttempt(x *exchange) {
	a := x.attempt
	a.firstByteTimer.Stop()
	a.status = http.StatusOK
	a.outcome = outcomeCached
	a.err = errCached
	addAttempt(x, outcomeCached)
}

// returnedEventEnd matches the end of an event in a stream that has carriage returns.
var returnedEventEnd = regexp.MustCompile(`\r\n\r\n|\n\n|\r\r`)

// storedParts returns the parts in which a stored response is written: the events of a stream, or the
// elements of an array, one by one.
func storedParts(stored *cachedResponse) [][]byte {
	body := stored.body
	switch {
	case stored.form == formDocument:
		return [][]byte{body}
	case stored.form == formArray:
		return partsAt(body, elementEnd.FindAllIndex(body, -1), 1)
	case bytes.IndexByte(body, '\r') >= 0:
		return partsAt(body, returnedEventEnd.FindAllIndex(body, -1), 0)
	}
	parts := bytes.SplitAfter(body, blankLine)
	if last := len(parts) - 1; len(parts[last]) == 0 {
		parts = parts[:last]
	}
	return parts
}

// partsAt returns the parts of a text between matches. A part goes on for some bytes into the match that
// ends it; 0: to its end.
func partsAt(text []byte, matches [][]int, into int) [][]byte {
	var parts [][]byte
	from := 0
	for _, match := range matches {
		to := match[1]
		if into > 0 {
			to = match[0] + into
		}
		parts = append(parts, text[from:to])
		from = to
	}
	if from < len(text) {
		parts = append(parts, text[from:])
	}
	return parts
}

// finishCaching ends what a cache does with an exchange: the response is stored if it is whole, and a
// stored response has used nothing.
func finishCaching(x *exchange) {
	w := x.response
	r := w.recording
	switch {
	case x.call.Cache == cacheHit:
		clearUsage(x)
	case len(r.wanted) > 0 && r.body != nil && r.body.Len() <= r.maxBytes && x.errorType == "":
		if form := recordedForm(w); form != "" {
			storeRecorded(r, form)
		}
	}
}

// storeRecorded stores a response for all caches that want it.
func storeRecorded(r *recording, form string) {
	body := append([]byte(nil), r.body.Bytes()...) // without what the buffer has beyond its end
	now := time.Now()
	for i := range r.wanted {
		wanted := &r.wanted[i]
		if len(body) <= wanted.cache.maxBytes {
			storeResponse(wanted.cache, &cachedResponse{key: wanted.key, header: r.header, body: body, form: form, stored: now})
		}
	}
}

// clearUsage removes from the record of a call the usage that a stored response reports: it is that of
// another call.
func clearUsage(x *exchange) {
	w, resp := x.response, &x.call.Response
	if w.window != nil {
		finishEarly(w)
	}
	resp.Usage = Usage{}
	w.reader.parts = usageParts{}
	if resp.details != nil {
		own := *resp.details
		own.Usage = smallUsage{}
		resp.details = &own
	}
}
