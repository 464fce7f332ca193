package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

const mebibyte = 1 << 20

// Tests of the gateway's memory transfer largeBytes, during which it may grow by boundedGrowth: several times
// what it grows by with collectingOften, and a fraction of what holding the bytes takes.
const (
	largeBytes    = 192 * mebibyte
	boundedGrowth = 96 * mebibyte
)

// collectingOften has Traefik collect its garbage after every few megabytes. Otherwise, it lets its memory grow
// by as much garbage as it has objects in use, over 100 MiB, so that the growth depends on when a collection
// happens to take place.
var collectingOften = []string{"GOGC=20"}

// growth returns the memory of a gateway that is collectingOften, and by how much it rises at most while do runs.
func growth(t *testing.T, g *gateway.Gateway, do func()) (before, grown int64) {
	t.Helper()
	before = settledRSS(t, g)
	grown = highestRSS(t, g, do) - before
	t.Logf("memory rose by %d MiB over %d MiB", grown/mebibyte, before/mebibyte)
	return before, grown
}

// checkMemory fails if the memory of a gateway that is collectingOften rises by more than allowed while do runs,
// or stays higher afterwards.
func checkMemory(t *testing.T, g *gateway.Gateway, may int64, do func()) {
	t.Helper()
	before, grown := growth(t, g, do)
	if grown > may {
		t.Errorf("memory rose by %d MiB, want at most %d MiB", grown/mebibyte, may/mebibyte)
	}
	const mayKeep = 32 * mebibyte
	await(t, fmt.Sprintf("memory falls to %d MiB", (before+mayKeep)/mebibyte), func() bool { return settledRSS(t, g) < before+mayKeep })
}

// highestRSS returns the highest RSS of the gateway while do runs.
func highestRSS(t *testing.T, g *gateway.Gateway, do func()) int64 {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for highest := int64(0); ; {
		rss, err := g.RSS()
		if err != nil {
			t.Fatal(err)
		}
		highest = max(highest, rss)
		select {
		case <-done:
			return highest
		case <-ticker.C:
		}
	}
}

// settledRSS returns the gateway's RSS after a garbage collection, which Go would otherwise start
// only after two idle minutes.
func settledRSS(t *testing.T, g *gateway.Gateway) int64 {
	t.Helper()
	response, err := http.Get(g.API + "/debug/pprof/heap?gc=1")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	rss, err := g.RSS()
	if err != nil {
		t.Fatal(err)
	}
	return rss
}
