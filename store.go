package chatcompletion

import "time"

// charge is what one request takes from one counter: it is reserved before the provider is called,
// and settled when the exchange has ended. Each quota has one that requests copy.
type charge struct {
	key      string        // of the counter: scope, quota and subject; the same in every store
	window   *window       // nil: none (concurrent)
	limit    int64         // of the counter
	reserves amountKind    // the store reserves at most what is left. countNothing: only something must be left
	counts   amountKind    // when the exchange has ended
	enforce  bool          // false: counted, never refused
	competes bool          // another charge may be of the same kind for the headers about limits
	hold     time.Duration // how long a reservation lasts without a settlement
	quota    *quota
	group    *counterGroup // of the memory store
	price    *price        // of the model, if the quota counts money; nil: it has none

	// Set by the store.
	reserved      int64
	windowStartMs int64 // of the window that is charged; Unix time
	used          int64 // before this charge, reservations included
	resetMs       int64 // end of the window, Unix time
	nowMs         int64 // of the store's clock, Unix time
	refused       bool  // nothing was left

	counter      *counter      // of the memory store
	reservations *reservations // of the memory store, among which it is

	redis *redisStore // that has the counter; nil: the memory store has
	place int         // where redis has reserved it

	keyWord     string // of the counter, as a command has it; empty: it was in none
	windowWords string // as a command has the window
}

// Places where a charge of a counter in Redis is reserved.
const (
	inRedis  = iota
	inOutage // in the memory store, since Redis is unavailable
	nowhere  // it is not counted, since Redis is unavailable
)

// reserveCharges reserves all charges of a request, or none if an enforced one has nothing left. s is
// the store of their policy; nil: the memory store. It reports whether any has nothing left, and
// whether the request must be denied because there is no store.
func reserveCharges(s *redisStore, charges []charge, amounts []int64, ms int64) (bool, bool) {
	if s == nil {
		return reserveMemory(theMemoryStore, charges, amounts, ms), false
	}
	return reserveShared(s, charges, amounts, ms)
}

// settleCharges settles the charges of an exchange, where each is reserved: chained instances may
// have several stores.
func settleCharges(charges []charge, amounts []int64) {
	for first := 0; first < len(charges); {
		c, end := &charges[first], first+1
		for end < len(charges) && charges[end].redis == c.redis && charges[end].place == c.place {
			end++
		}
		if c.redis == nil {
			settleMemory(theMemoryStore, charges[first:end], amounts)
		} else {
			settleShared(c.redis, charges[first:end], amounts)
		}
		first = end
	}
}

// readCharges sets what is used of the counters of charges, and when their windows end. s is the store of
// their policy; nil: the memory store. It reports for each charge whether its use is known, and changes no
// counter.
func readCharges(s *redisStore, charges []charge, ms int64) []bool {
	if s == nil {
		return readMemory(theMemoryStore, charges, ms)
	}
	return readShared(s, charges)
}

// isSharedCounter reports whether the counter of a charge is the one of all subjects beyond a bound, and of
// requests in report mode that have no subject.
func isSharedCounter(c *charge) bool {
	return c.key == c.group.key+other
}

// amountKind is what of a request counts: an index of its amounts.
type amountKind int

const (
	countNothing amountKind = iota
	countRequest
	countInput
	countOutput
	countTokens
	countCost     // when reserved: of the input
	countFullCost // when reserved
)

// window is a span of time after which a counter begins at zero.
type window struct {
	lengthMs int64 // 0: a calendar month, UTC
	offsetMs int64 // of the first window to the epoch: weeks begin on Monday
}
