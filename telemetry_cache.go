package chatcompletion

// useCacheCounters returns the counters for the cache of a middleware. They outlive it.
func useCacheCounters(r *registry, middleware string) *cacheCounters {
	r.mu.Lock()
	defer r.mu.Unlock()
	counters := r.caches[middleware]
	if counters == nil {
		counters = &cacheCounters{}
		r.caches[middleware] = counters
	}
	return counters
}

// cachePoints returns the counts of requests by middleware and result.
func cachePoints(r *registry) []point {
	r.mu.Lock()
	defer r.mu.Unlock()
	var points []point
	for _, middleware := range sortedKeys(r.caches) {
		counters := r.caches[middleware]
		points = appendResult(points, middleware, cacheBypass, counters.bypasses.Load())
		points = appendResult(points, middleware, cacheHit, counters.hits.Load())
		points = appendResult(points, middleware, cacheMiss, counters.misses.Load())
	}
	return points
}

// appendResult appends the count of a result to the points, if there is one.
func appendResult(points []point, middleware, result string, count int64) []point {
	if count == 0 {
		return points
	}
	return append(points, point{attributes: []string{middlewareAttribute, middleware, cacheResultAttribute, result}, count: count})
}

// cacheFigures is what caches did with the calls of a series.
type cacheFigures struct {
	Hits     int64 `json:"hits"`
	Misses   int64 `json:"misses"`
	Bypasses int64 `json:"bypasses"`
}

// cacheFiguresOf returns the figures of a series whose calls are counted by result.
func cacheFiguresOf(results map[string]int64) *cacheFigures {
	return &cacheFigures{Hits: results[cacheHit], Misses: results[cacheMiss], Bypasses: results[cacheBypass]}
}
