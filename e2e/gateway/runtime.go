package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
)

// Runtime is the state of Traefik's Go runtime.
type Runtime struct {
	// Goroutines is the number of goroutines.
	Goroutines int

	// Allocations is the number of objects allocated since the start.
	Allocations int64
}

// Runtime returns the current state.
func (g *Gateway) Runtime(ctx context.Context) (Runtime, error) {
	var variables struct {
		Goroutines int `json:"Goroutines2"`
		Memory     struct {
			Mallocs int64
		} `json:"memstats"`
	}
	content, err := g.debug(ctx, "/debug/vars")
	if err != nil {
		return Runtime{}, err
	}
	if err := json.Unmarshal(content, &variables); err != nil {
		return Runtime{}, fmt.Errorf("traefik's API: %w", err)
	}
	return Runtime{Goroutines: variables.Goroutines, Allocations: variables.Memory.Mallocs}, nil
}

// Memory is the memory that Traefik's Go runtime uses, in bytes.
type Memory struct {
	// Heap is the memory of allocated heap objects.
	Heap int64

	// Stacks is the memory of goroutine stacks.
	Stacks int64
}

// usedMemory matches both figures in a heap profile in text format.
var usedMemory = regexp.MustCompile(`(?s)\n# HeapAlloc = (\d+)\n.*\n# Stack = (\d+) /`)

// CollectGarbage makes Traefik collect its garbage, and returns the memory in use afterwards. It
// collects twice, because a sync.Pool releases its objects only in the second collection.
func (g *Gateway) CollectGarbage(ctx context.Context) (Memory, error) {
	if _, err := g.debug(ctx, "/debug/pprof/heap?gc=1"); err != nil {
		return Memory{}, err
	}
	// In text format, the figures are taken before the profile itself allocates memory.
	content, err := g.debug(ctx, "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return Memory{}, err
	}
	found := usedMemory.FindSubmatch(content)
	if found == nil {
		return Memory{}, errors.New("traefik's heap profile lacks the memory statistics")
	}
	var memory Memory
	if memory.Heap, err = strconv.ParseInt(string(found[1]), 10, 64); err != nil {
		return Memory{}, err
	}
	memory.Stacks, err = strconv.ParseInt(string(found[2]), 10, 64)
	return memory, err
}

// Profile records a CPU profile for the number of seconds.
func (g *Gateway) Profile(ctx context.Context, seconds int) ([]byte, error) {
	return g.debug(ctx, fmt.Sprintf("/debug/pprof/profile?seconds=%d", seconds))
}

func (g *Gateway) debug(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.API+path, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("traefik's API: %s: status %s", path, response.Status)
	}
	return io.ReadAll(response.Body)
}
