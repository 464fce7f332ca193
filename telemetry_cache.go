package chatcompletion

import "strings"

// countCache counts a request at the cache of a middleware.
func countCache(r *registry, middleware, result string) {
	r.mu.Lock()
	r.caches[middleware+"\x00"+result]++
	r.mu.Unlock()
}

// cachePoints returns the counts of requests by result and middleware.
func cachePoints(r *registry) []point {
	r.mu.Lock()
	defer r.mu.Unlock()
	var points []point
	for _, key := range sortedKeys(r.caches) {
		middleware, result, _ := strings.Cut(key, "\x00")
		points = append(points, point{attributes: []string{middlewareAttribute, middleware, cacheResultAttribute, result}, count: r.caches[key]})
	}
	return points
}
