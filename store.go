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
