package chatcompletion

import (
	"math/rand"
	"strconv"
	"sync"
	"testing"
	"time"
)

// testCharge returns what a request takes from a counter of its own quota in a store.
func testCharge(m *memoryStore, name string, limit int64, change func(c *charge)) charge {
	c := charge{key: name + ":", window: &window{lengthMs: dayMs}, limit: limit, reserves: countInput, counts: countTokens, enforce: true, hold: 61 * time.Minute, quota: &quota{name: name}}
	if change != nil {
		change(&c)
	}
	c.group = useGroup(m, &counterGroup{key: name + ":", name: name, window: c.window, maxSeries: 10})
	return c
}

// reserveTokens reserves tokens of the input for a request, and reports whether it is refused.
func reserveTokens(m *memoryStore, charges []charge, tokens int64, at time.Time) bool {
	reserveMemory(m, charges, []int64{0, 1, tokens, 0, tokens, 0, 0}, at.UnixMilli())
	for i := range charges {
		if charges[i].refused && charges[i].enforce {
			return true
		}
	}
	return false
}

// settleTokens settles the charges of a request that has used tokens.
func settleTokens(m *memoryStore, charges []charge, tokens int64) {
	settleMemory(m, charges, []int64{0, 1, tokens, 0, tokens, 0, 0})
}

// takenAt returns what a new request would find used of a counter, reservations included.
func takenAt(m *memoryStore, c charge, at time.Time) int64 {
	c.enforce = false
	c.reserves = countNothing
	charges := []charge{c}
	reserveMemory(m, charges, noAmounts, at.UnixMilli())
	return charges[0].used
}

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func TestChargesReserveAllOrNone(t *testing.T) {
	m := newMemoryStore()
	first, second, third := testCharge(m, "first", 100, nil), testCharge(m, "second", 10, nil), testCharge(m, "third", 100, nil)
	reported := testCharge(m, "reported", 1, func(c *charge) { c.enforce = false })
	all := func() []charge { return []charge{first, reported, second, third} }
	if reserveTokens(m, all(), 10, noon) {
		t.Fatal("the first request is refused")
	}
	refused := all()
	if !reserveTokens(m, refused, 5, noon) || !refused[2].refused {
		t.Fatal("the second request is not refused by the second quota")
	}
	for i, want := range []int64{10, 10, 10, 10} {
		if got := takenAt(m, refused[i], noon); got != want {
			t.Errorf("%s: used %d after a refusal, want %d", refused[i].quota.name, got, want)
		}
		if refused[i].used != want {
			t.Errorf("%s: the refused request sees %d used, want %d", refused[i].quota.name, refused[i].used, want)
		}
	}
}

func TestReservationIsAtMostWhatIsLeft(t *testing.T) {
	for _, test := range []struct {
		name         string
		limit        int64
		before       int64
		tokens       int64
		enforce      bool
		wantReserved int64
		wantRefused  bool
	}{
		{"enough is left", 100, 50, 20, true, 20, false},
		{"just enough is left", 100, 50, 50, true, 50, false},
		{"less is left", 100, 50, 51, true, 50, false},
		{"nothing is wanted", 100, 99, 0, true, 0, false},
		{"nothing is left", 100, 100, 0, true, 0, true},
		{"more is used than the limit", 100, 200, 5, true, 0, true},
		{"in report mode, less is left", 100, 50, 80, false, 80, false},
		{"in report mode, nothing is left", 100, 100, 80, false, 80, true},
	} {
		m := newMemoryStore()
		c := testCharge(m, "q", test.limit, func(c *charge) { c.enforce = test.enforce })
		before := []charge{c}
		reserveTokens(m, before, 0, noon)
		settleTokens(m, before, test.before)
		charges := []charge{c}
		reserveTokens(m, charges, test.tokens, noon)
		if got := charges[0]; got.reserved != test.wantReserved || got.refused != test.wantRefused || got.used != test.before {
			t.Errorf("%s: reserved %d, refused %t, used %d, want %d, %t, %d", test.name, got.reserved, got.refused, got.used, test.wantReserved, test.wantRefused, test.before)
		}
	}
}

// TestReservationExpires: a request that never settles pins nothing, and one that settles later counts what it has used.
// TestCounterStaysAboveItsLimit: use beyond what an integer holds, as in report mode, does not begin at zero.
func TestCounterStaysAboveItsLimit(t *testing.T) {
	m := newMemoryStore()
	reported := testCharge(m, "shared", maxLimitCost*dollarPicos, func(c *charge) { c.enforce = false })
	enforced := reported
	enforced.enforce = true
	for i := 0; i < 200; i++ {
		charges := []charge{reported}
		reserveTokens(m, charges, maxCallCost, noon)
		if i > 95 && !reserveTokens(m, []charge{enforced}, 1, noon) {
			t.Fatalf("call %d: a request passes", i)
		}
		settleTokens(m, charges, maxCallCost)
		if i > 95 && !reserveTokens(m, []charge{enforced}, 1, noon) {
			t.Fatalf("after call %d: a request passes", i)
		}
	}
}

func TestReservationExpires(t *testing.T) {
	m := newMemoryStore()
	c := testCharge(m, "q", 100, func(c *charge) { c.hold = 5 * time.Minute })
	lost, late := []charge{c}, []charge{c}
	reserveTokens(m, lost, 30, noon)
	reserveTokens(m, late, 20, noon.Add(30*time.Second))
	for _, test := range []struct {
		after time.Duration
		want  int64
	}{{time.Minute, 50}, {4*time.Minute + 59*time.Second, 50}, {6 * time.Minute, 0}} {
		if got := takenAt(m, c, noon.Add(test.after)); got != test.want {
			t.Errorf("after %s: %d taken, want %d", test.after, got, test.want)
		}
	}
	settleTokens(m, late, 7)
	if got := takenAt(m, c, noon.Add(7*time.Minute)); got != 7 {
		t.Errorf("%d taken after a late settlement, want 7", got)
	}
}

func TestWindowBeginsAtZero(t *testing.T) {
	m := newMemoryStore()
	c := testCharge(m, "q", 100, nil)
	first := []charge{c}
	reserveTokens(m, first, 10, noon)
	settleTokens(m, first, 100)
	midnight := noon.Add(12 * time.Hour)
	if second := []charge{c}; !reserveTokens(m, second, 10, midnight.Add(-time.Millisecond)) {
		t.Error("a request beyond the limit is not refused")
	}
	third := []charge{c}
	if reserveTokens(m, third, 10, midnight) {
		t.Error("the first request of a window is refused")
	}
	if got := third[0].resetMs; got != midnight.Add(24*time.Hour).UnixMilli() {
		t.Errorf("the window ends at %s, want a day after %s", time.UnixMilli(got).UTC(), midnight)
	}
	settleTokens(m, third, 12)
	if got := takenAt(m, c, midnight.Add(time.Hour)); got != 12 {
		t.Errorf("%d taken, want 12", got)
	}
}

// TestWindowEndsWhileRequestRuns: what it uses counts in the window in which it began.
func TestWindowEndsWhileRequestRuns(t *testing.T) {
	m := newMemoryStore()
	c := testCharge(m, "q", 100, nil)
	running := []charge{c}
	reserveTokens(m, running, 10, noon)
	next := noon.Add(12 * time.Hour)
	before := takenAt(m, c, next)
	settleTokens(m, running, 50)
	if after := takenAt(m, c, next); before != 0 || after != 0 {
		t.Errorf("%d, then %d taken in the next window, want 0", before, after)
	}
}

// TestClockIsSetBack: a window that was begun too early does not last until the clock is there again.
func TestClockIsSetBack(t *testing.T) {
	m := newMemoryStore()
	c := testCharge(m, "q", 10, func(c *charge) { c.window = &window{lengthMs: minuteMs} })
	early := []charge{c}
	reserveTokens(m, early, 10, noon.Add(time.Hour))
	if late := []charge{c}; reserveTokens(m, late, 10, noon) {
		t.Error("a request is refused for what was used an hour later")
	}
	stale := []charge{c}
	if reserveTokens(m, stale, 10, noon.Add(-time.Millisecond)); !stale[0].refused {
		t.Error("a request that has waited for the lock begins the window again")
	}
}

func TestSubjectsBeyondTheBoundShareOne(t *testing.T) {
	m := newMemoryStore()
	c := testCharge(m, "q", 1, func(c *charge) { c.reserves = countRequest })
	for i := 0; i < maxSubjects; i++ {
		own := c
		own.key += strconv.Itoa(i)
		if reserveTokens(m, []charge{own}, 0, noon) {
			t.Fatalf("subject %d is refused", i)
		}
	}
	for i, want := range []bool{false, true} {
		own := c
		own.key += "further" + strconv.Itoa(i)
		if got := reserveTokens(m, []charge{own}, 0, noon); got != want {
			t.Errorf("further subject %d: refused %t, want %t", i, got, want)
		}
	}
	if got := len(c.group.counters); got > maxSubjects+1 {
		t.Errorf("%d counters, want at most %d", got, maxSubjects+1)
	}
	takenAt(m, c, noon.Add(24*time.Hour))
	if got := len(c.group.counters); got != 1 {
		t.Errorf("%d counters in the next window, want 1", got)
	}
	if got := len(m.series); got > c.group.maxSeries+1 {
		t.Errorf("%d series, want at most %d", got, c.group.maxSeries+1)
	}
}

func TestIdleCountersWithoutWindowAreDropped(t *testing.T) {
	m := newMemoryStore()
	c := testCharge(m, "q", 1, func(c *charge) { c.window, c.reserves, c.counts = nil, countRequest, countNothing })
	for i := 0; i < 10*maxIdleCounters; i++ {
		own := c
		own.key += strconv.Itoa(i)
		charges := []charge{own}
		if reserveTokens(m, charges, 0, noon) {
			t.Fatalf("request %d is refused", i)
		}
		settleTokens(m, charges, 0)
	}
	if got := len(c.group.counters); got > maxIdleCounters+1 {
		t.Errorf("%d counters, want at most %d", got, maxIdleCounters+1)
	}
}

func TestQuotasOfFormerConfigurationsAreDropped(t *testing.T) {
	m := newMemoryStore()
	for i := 0; i < 2*maxCounterGroups; i++ {
		c := testCharge(m, strconv.Itoa(i), 1, nil)
		reserveTokens(m, []charge{c}, 0, time.Unix(0, 0))
	}
	if got := len(m.groups); got > maxCounterGroups {
		t.Errorf("%d quotas, want at most %d", got, maxCounterGroups)
	}
}

// TestOvershootIsUnreserved runs 64 requests at once on one counter: what is used beyond the limit is at most what they had
// not reserved.
func TestOvershootIsUnreserved(t *testing.T) {
	const clients, limit, input, output = 64, 10_000, 70, 30
	for _, test := range []struct {
		name     string
		reserves amountKind
		most     int64 // beyond the limit
	}{
		{"none", countNothing, clients * (input + output)},
		{"input", countInput, clients * output},
		{"full", countTokens, 0},
	} {
		m := newMemoryStore()
		c := testCharge(m, "q", limit, func(c *charge) { c.reserves = test.reserves })
		var group sync.WaitGroup
		for i := 0; i < clients; i++ {
			group.Add(1)
			go func() {
				defer group.Done()
				for {
					charges := []charge{c}
					reserveMemory(m, charges, []int64{0, 1, input, output, input + output, 0, 0}, noon.UnixMilli())
					if charges[0].refused {
						return
					}
					settleMemory(m, charges, []int64{0, 1, input, output, input + output})
				}
			}()
		}
		group.Wait()
		if got := takenAt(m, c, noon); got < limit || got > limit+test.most {
			t.Errorf("%s: %d used of %d, want at most %d more", test.name, got, limit, test.most)
		}
	}
}

// TestReservationsAtOnce holds 64 requests open at the same time: each takes at most what is left.
func TestReservationsAtOnce(t *testing.T) {
	m := newMemoryStore()
	c := testCharge(m, "q", 100, nil)
	var open [][]charge
	for {
		charges := []charge{c}
		if reserveTokens(m, charges, 30, noon) {
			break
		}
		open = append(open, charges)
	}
	if len(open) != 4 || takenAt(m, c, noon) != 100 {
		t.Errorf("%d requests hold %d of 100, want 4 requests and all", len(open), takenAt(m, c, noon))
	}
	for _, charges := range open {
		settleTokens(m, charges, 1)
	}
	if got := takenAt(m, c, noon); got != 4 {
		t.Errorf("%d used, want 4", got)
	}
}

// TestCountersAgreeWithBookkeeping settles, loses and releases charges from 64 goroutines over minutes.
func TestCountersAgreeWithBookkeeping(t *testing.T) {
	m := newMemoryStore()
	tokens := testCharge(m, "tokens", 1<<40, func(c *charge) { c.hold = 2 * time.Minute })
	requests := testCharge(m, "requests", 1<<40, func(c *charge) { c.hold, c.reserves, c.counts = 2*time.Minute, countRequest, countRequest })
	var mu sync.Mutex
	wantTokens, wantRequests := int64(0), int64(0)
	var group sync.WaitGroup
	for i := 0; i < 64; i++ {
		group.Add(1)
		go func(random *rand.Rand) {
			defer group.Done()
			for n := 0; n < 200; n++ {
				charges := []charge{tokens, requests}
				reserveTokens(m, charges, random.Int63n(1000), noon.Add(time.Duration(random.Intn(300))*time.Second))
				switch used := random.Int63n(1000); random.Intn(4) {
				case 0: // a crash
				case 1:
					settleMemory(m, charges, noAmounts)
				default:
					settleTokens(m, charges, used)
					mu.Lock()
					wantTokens += used
					wantRequests++
					mu.Unlock()
				}
			}
		}(rand.New(rand.NewSource(int64(i))))
	}
	group.Wait()
	later := noon.Add(time.Hour)
	if got := takenAt(m, tokens, later); got != wantTokens {
		t.Errorf("%d tokens, want %d", got, wantTokens)
	}
	if got := takenAt(m, requests, later); got != wantRequests {
		t.Errorf("%d requests, want %d", got, wantRequests)
	}
	if got := len(tokens.group.counters[tokens.key].earlier); got != 0 {
		t.Errorf("reservations of %d minutes are left, want none", got)
	}
}
