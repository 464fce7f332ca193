package chatcompletion

import "sync"

// What is remembered, so that no client can make it grow: as many skeletons as an application has, the schemas of its tools
// included.
const (
	rememberedVerdicts = 256
	rememberedMaxBytes = 2 << 20   // of all skeletons
	skeletonMaxBytes   = 256 << 10 // of one
)

// decisionCache remembers what was decided on skeletons. The requests of an application differ in their texts, and those are
// not in the skeleton: most need no second decision.
type decisionCache struct {
	mu         sync.RWMutex
	bySkeleton map[string]*decision
	bytes      int // of the skeletons
}

// lookupDecision returns the verdict on the envelope's skeleton, nil if none is remembered.
func lookupDecision(memory *decisionCache, obj *jsonObject) *decision {
	if obj.partial {
		return nil
	}
	memory.mu.RLock()
	d := memory.bySkeleton[string(obj.skeleton)]
	memory.mu.RUnlock()
	return d
}

// storeDecision keeps a verdict that follows from the skeleton alone.
func storeDecision(memory *decisionCache, obj *jsonObject, d *decision) {
	if obj.partial || len(obj.skeleton) > skeletonMaxBytes {
		return
	}
	memory.mu.Lock()
	memory.bytes += len(obj.skeleton)
	if len(memory.bySkeleton) >= rememberedVerdicts || memory.bytes > rememberedMaxBytes {
		memory.bySkeleton = map[string]*decision{} // all at once: what is in use is soon back
		memory.bytes = len(obj.skeleton)
	}
	memory.bySkeleton[string(obj.skeleton)] = d
	memory.mu.Unlock()
}
