package chatcompletion

import "sync"

// Bounds of a decision cache, which no client can make grow: they hold the skeletons of an
// application, the schemas of its tools included.
const (
	maxCachedDecisions = 256
	cachedMaxBytes     = 2 << 20   // of all skeletons of an endpoint
	skeletonMaxBytes   = 256 << 10 // of one
)

// decisionCache holds decisions by skeleton. The requests of an application differ in their texts,
// which are not in the skeleton: most need no new decision.
type decisionCache struct {
	mu         sync.RWMutex
	bySkeleton map[string]*decision
	bytes      int // of the skeletons
	maxBytes   int // of all skeletons
}

func newDecisionCache(maxBytes int) *decisionCache {
	return &decisionCache{bySkeleton: map[string]*decision{}, maxBytes: maxBytes}
}

// lookupDecision returns the cached decision on the skeleton of a body, nil if there is none.
func lookupDecision(cache *decisionCache, obj *jsonObject) *decision {
	if obj.partial {
		return nil
	}
	cache.mu.RLock()
	d := cache.bySkeleton[string(obj.skeleton)]
	cache.mu.RUnlock()
	return d
}

// storeDecision caches a decision that depends on the skeleton alone.
func storeDecision(cache *decisionCache, obj *jsonObject, d *decision) {
	if obj.partial || len(obj.skeleton) > skeletonMaxBytes {
		return
	}
	cache.mu.Lock()
	cache.bytes += len(obj.skeleton)
	if len(cache.bySkeleton) >= maxCachedDecisions || cache.bytes > cache.maxBytes {
		cache.bySkeleton = map[string]*decision{} // all at once: what is in use is soon back
		cache.bytes = len(obj.skeleton)
	}
	cache.bySkeleton[string(obj.skeleton)] = d
	cache.mu.Unlock()
}
