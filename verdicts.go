package chatcompletion

import "sync"

// What is remembered, so that no client can make it grow: as many skeletons as an application has, the schemas of its tools
// included.
const (
	rememberedVerdicts = 256
	rememberedMaxBytes = 2 << 20   // of all skeletons
	skeletonMaxBytes   = 256 << 10 // of one
)

// verdicts remembers what was decided on skeletons. The requests of an application differ in their texts, and those are
// not in the skeleton: most need no second decision.
type verdicts struct {
	mu         sync.RWMutex
	bySkeleton map[string]*verdict
	bytes      int // of the skeletons
}

// recall returns the verdict on the envelope's skeleton, nil if none is remembered.
func recall(memory *verdicts, e *envelope) *verdict {
	if e.partial {
		return nil
	}
	memory.mu.RLock()
	v := memory.bySkeleton[string(e.skeleton)]
	memory.mu.RUnlock()
	return v
}

// remember keeps a verdict that follows from the skeleton alone.
func remember(memory *verdicts, e *envelope, v *verdict) {
	if e.partial || len(e.skeleton) > skeletonMaxBytes {
		return
	}
	memory.mu.Lock()
	memory.bytes += len(e.skeleton)
	if len(memory.bySkeleton) >= rememberedVerdicts || memory.bytes > rememberedMaxBytes {
		memory.bySkeleton = map[string]*verdict{} // all at once: what is in use is soon back
		memory.bytes = len(e.skeleton)
	}
	memory.bySkeleton[string(e.skeleton)] = v
	memory.mu.Unlock()
}
