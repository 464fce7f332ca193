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
	// Goroutines is how many there are.
	Goroutines int

	// Allocations counts the objects that were ever allocated.
	Allocations int64
}

// Runtime returns the state at the moment.
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

// Memory is what Traefik's Go runtime needs, in bytes.
type Memory struct {
	// Heap is that of objects in use.
	Heap int64

	// Stacks is that of the goroutines' stacks.
	Stacks int64
}

// usedMemory finds both in a profile of the heap, as text.
var usedMemory = regexp.MustCompile(`(?s)\n# HeapAlloc = (\d+)\n.*\n# Stack = (\d+) /`)

// CollectGarbage has Traefik collect its garbage, and returns the memory that is in use then. It collects twice: pools give
// back what they hold at the second time only.
func (g *Gateway) CollectGarbage(ctx context.Context) (Memory, error) {
	if _, err := g.debug(ctx, "/debug/pprof/heap?gc=1"); err != nil {
		return Memory{}, err
	}
	// As text, the profile has figures from before it needed memory itself.
	content, err := g.debug(ctx, "/debug/pprof/heap?gc=1&debug=1")
	if err != nil {
		return Memory{}, err
	}
	found := usedMemory.FindSubmatch(content)
	if found == nil {
		return Memory{}, errors.New("traefik's profile of the heap does not tell the memory")
	}
	var memory Memory
	if memory.Heap, err = strconv.ParseInt(string(found[1]), 10, 64); err != nil {
		return Memory{}, err
	}
	memory.Stacks, err = strconv.ParseInt(string(found[2]), 10, 64)
	return memory, err
}

// Profile is a CPU profile of so many seconds.
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
		return nil, fmt.Errorf("traefik's API answers %s with %s", path, response.Status)
	}
	return io.ReadAll(response.Body)
}
