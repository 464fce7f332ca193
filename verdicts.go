package chatcompletion

import "sync"

// What is remembered, so that no client can make it grow: as many skeletons as an application has, in the size that they
// have.
const (
	rememberedVerdicts     = 256
	rememberedMaxSkeletons = 8 << 10 // bytes of one skeleton
)

// verdicts remembers what was decided on skeletons. The requests of an application differ in their texts, and those are
// not in the skeleton: most need no second decision.
type verdicts struct {
	mu         sync.RWMutex
	bySkeleton map[string]*verdict
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
	if e.partial || len(e.skeleton) > rememberedMaxSkeletons {
		return
	}
	memory.mu.Lock()
	if len(memory.bySkeleton) >= rememberedVerdicts {
		memory.bySkeleton = map[string]*verdict{} // all at once: what is in use is soon back
	}
	memory.bySkeleton[string(e.skeleton)] = v
	memory.mu.Unlock()
}
