package chatcompletion

import "time"

// charge is what one request takes from one counter: it is reserved before the provider is called,
// and settled when the exchange has ended.
type charge struct {
	key     string        // of the counter: scope, quota and subject; the same in every store
	window  *window       // nil: none (concurrent)
	limit   int64         // of the counter
	wanted  int64         // to reserve; the store reserves at most what is left. 0: only something must be left
	enforce bool          // false: counted, never refused
	hold    time.Duration // how long a reservation lasts without a settlement

	// Set by the store.
	reserved      int64
	windowStartMs int64 // of the window that is charged; Unix time
	minute        int64 // Unix minute in which the reservation began
	used          int64 // before this charge, reservations included
	resetMs       int64 // end of the window, Unix time; 0: none
	refused       bool  // nothing was left
}

// window is a span of time after which a counter begins at zero.
type window struct {
	lengthMs int64 // 0: a calendar month, UTC
	offsetMs int64 // of the first window to the epoch: weeks begin on Monday
}
