package chatcompletion

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
)

const arrayPath = "/v1beta/models/m:streamGenerateContent"

// An array is inspected element by element, however it is cut.
func TestGuardMasksArraysAtEveryCut(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskMails, maskWord, blockKeys))
	element := func(text string) string {
		return `{"candidates":[{"content":{"role":"model","parts":[{"text":"` + text + `"}]}}]}`
	}
	for _, c := range []struct{ name, body, want string }{
		{"elements", "[" + element(`One, {[ \"`) + ",\r\n" + element(`jo@exam`) + "\n,\n" + element(`ple.com, aurora-17`) + "\n]\n",
			"[" + element(`One, {[ \"`) + ",\r\n" + element(`*******`) + "\n,\n" + element(`*******, #########`) + "\n]\n"},
		{"escapes before a quote", `[` + element(`a\\\"}]},{\\`) + `,` + element(`jo@example.com\\`) + `]`, `[` + element(`a\\\"}]},{\\`) + `,` + element(`**************\\`) + `]`},
		{"other members first", `[{"x":{"y":[1,2]},"z":"jo@example.com"},{"x":2},{"x":"aurora-17","y":{}}]`, `[{"x":{"y":[1,2]},"z":"**************"},{"x":2},{"x":"#########","y":{}}]`},
		{"no element", "[ ]", "[ ]"},
	} {
		for size := 1; size <= len(c.body); size++ {
			call := callGuarded(t, h, arrayPath, "application/json", split(c.body, size)...)
			if call.status != http.StatusOK || call.body != c.want {
				t.Fatalf("%s in packets of %d bytes: got %d %s, want %s", c.name, size, call.status, call.body, c.want)
			}
		}
	}
}

// What is no array of objects cannot be inspected, and what has been decided on is not held.
func TestGuardBlocksWhatIsNoArray(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskMails, blockKeys))
	for _, body := range []string{`["a`, `[{"a":1}{"b":}]`, `[{"a":1`, `[{"a":1]`, `[` + strings.Repeat(`{"a":[`, 40), `[` + strings.Repeat(" ", 1<<20)} {
		for _, size := range []int{1000, 7} {
			call := callGuarded(t, h, arrayPath, "application/json", split(body, size)...)
			if !strings.Contains(call.body, "cannot be inspected") {
				t.Errorf("%.30s: got %d %.200s, want it blocked", body, call.status, call.body)
			}
		}
	}
	first, second := `[{"candidates":[{"content":{"parts":[{"text":"One,"}]}}]}`, `,{"candidates":[{"content":{"parts":[{"text":"two,"}]}}]}`
	call := callGuarded(t, h, arrayPath, "application/json", first, second[:20], second[20:], "]")
	if call.after[0] != first || call.after[2] != first+second {
		t.Errorf("the client has %q after the first element, and %q after the second one", call.after[0], call.after[2])
	}
}

// The work for an element grows with its size, also if it comes in many packets.
func TestGuardReadsElementsOnce(t *testing.T) {
	h := newGuardedProvider(t, guardConfig(maskMails, blockKeys))
	for _, text := range []string{"abcdefgh ", "{[}] ", `\\\"}`} {
		checkGrowth(t, fmt.Sprintf("%q", text), 10000, func(count int) {
			body := `[{"candidates":[{"content":{"parts":[{"text":"` + strings.Repeat(text, count) + `"}]}}]}]`
			if call := callGuarded(t, h, arrayPath, "application/json", split(body, 100)...); call.body != body {
				t.Errorf("%q: got %d %.300s", text, call.status, call.body)
			}
		})
	}
}

// checkGrowth verifies that work for four times as much allocates no more than eight times as much memory: work
// that grows with the square of the size allocates sixteen times as much.
func checkGrowth(t *testing.T, name string, size int, work func(size int)) {
	t.Helper()
	var allocated [2]uint64
	for i, size := range []int{size, 4 * size} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		work(size)
		runtime.ReadMemStats(&after)
		allocated[i] = after.TotalAlloc - before.TotalAlloc
	}
	if got, want := allocated[1], 8*allocated[0]+1<<20; got > want {
		t.Errorf("%s: %d bytes of memory, %d for four times as much, want at most %d", name, allocated[0], got, want)
	}
}
