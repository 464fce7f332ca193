package chatcompletion

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// secret is a key that is looked up in the background, once for all instances that refer to the
// same source. It outlives its last user a little: when Traefik loads a configuration, the old
// instances end before the new ones start, and the key has to survive even if its source is
// unavailable at that time.
//
// It has no goroutine: a timer calls refreshSecret, which does what is due and sets the
// timer again. Instances do not announce their end: refreshSecret removes those whose context is
// done.
type secret struct {
	source      *secretSource
	current     atomic.Value // the key, a string; empty: there is none
	firstLookUp chan bool    // closed after the first look-up, or when it takes too long

	mu              sync.Mutex
	users           []context.Context
	unusedSince     time.Time   // when the last user ended; zero: there is a user
	timer           *time.Timer // of the next refreshSecret; nil: the secret is retired
	busy            bool        // a look-up is running
	firstLookUpDone bool        // firstLookUp is closed
	due             time.Time   // of the next look-up
	lastStarted     time.Time   // when the last look-up began; zero: there was none
	failures        int         // failed look-ups since the last successful one
	confirmed       time.Time   // when the last look-up found current
	since           time.Time   // when the first look-up found current
	rotated         bool        // current is not the first key
	rejected        bool        // current was rejected with status 401
	state           string      // the problem that was logged last; empty: none
}

// theSecrets are the secrets that accept users, by the ids of their sources.
var (
	theSecretsMu sync.Mutex
	theSecrets   = map[string]*secret{}
)

// useSecret returns the secret of a source, and has it looked up in the background until ctx is
// done.
func useSecret(ctx context.Context, source *secretSource) *secret {
	theSecretsMu.Lock()
	defer theSecretsMu.Unlock()
	s := theSecrets[source.id]
	if s == nil {
		s = newSharedSecret(source)
		theSecrets[source.id] = s
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users = append(s.users, ctx)
	s.unusedSince = time.Time{}
	if s.timer == nil {
		s.timer = time.AfterFunc(0, refreshFunc(s))
	} else if !s.busy && !time.Now().Before(s.due) {
		s.timer.Reset(0) // the look-up was due while there was no user
	}
	return s
}

func newSharedSecret(source *secretSource) *secret {
	none := ""
	s := &secret{source: source, firstLookUp: make(chan bool)}
	s.current.Store(none)
	return s
}

// refreshFunc returns the function that the timer calls.
func refreshFunc(s *secret) func() {
	return func() {
		defer recoverGoroutine(s.source.key)
		refreshSecret(s)
	}
}

// refreshSecret looks up the key if that is due. A panic counts as a failed look-up.
func refreshSecret(s *secret) {
	defer func() {
		if cause := recover(); cause != nil {
			endRefresh(s, "", &lookUpProblem{"panic", "panic: " + causeText(cause)})
		}
	}()
	if beginRefresh(s, time.Now()) {
		key, problem := lookUp(s.source)
		endRefresh(s, key, problem)
	}
}

// beginRefresh reports whether the key is to be looked up now. If not, it sets the timer or retires
// the secret.
func beginRefresh(s *secret, now time.Time) bool {
	theSecretsMu.Lock()
	defer theSecretsMu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer == nil {
		return false
	}
	if s.busy {
		watchLookUp(s, now)
		return false
	}
	s.users = activeUsers(s.users)
	if len(s.users) == 0 && !s.lastStarted.IsZero() {
		if s.unusedSince.IsZero() {
			s.unusedSince = now
		}
		left := s.source.pace.linger - now.Sub(s.unusedSince)
		if left <= 0 {
			delete(theSecrets, s.source.id)
			s.timer = nil
			return false
		}
		s.timer.Reset(left)
		return false
	}
	if now.Before(s.due) {
		setTimer(s, now)
		return false
	}
	s.busy = true
	s.lastStarted = now
	s.timer.Reset(s.source.pace.timeout + lookUpGrace)
	return true
}

// lookUpGrace is how much longer than its timeout a look-up may take. Reading a file from an
// unavailable disk can block forever.
const lookUpGrace = 250 * time.Millisecond

// watchLookUp handles a look-up that hangs: it releases waiting requests, and expires the key after
// maxStale. The caller holds the lock.
func watchLookUp(s *secret, now time.Time) {
	pace := s.source.pace
	if left := s.lastStarted.Add(pace.timeout + lookUpGrace).Sub(now); left > 0 {
		s.timer.Reset(left)
		return
	}
	key, ok := s.current.Load().(string)
	hadKey := ok && key != ""
	delay := pace.linger
	if hadKey && s.source.document == nil {
		left := s.confirmed.Add(pace.maxStale).Sub(now)
		if left <= 0 {
			none := ""
			s.current.Store(none)
		} else if left < delay {
			delay = left
		}
	}
	logState(s, hadKey, &lookUpProblem{"hangs", "the look-up of " + sourceName(s.source) + " timed out"})
	endFirstLookUp(s)
	s.timer.Reset(delay)
}

// endFirstLookUp releases the requests that wait for the first look-up. The caller holds the lock.
func endFirstLookUp(s *secret) {
	if !s.firstLookUpDone {
		s.firstLookUpDone = true
		close(s.firstLookUp)
	}
}

// activeUsers returns the users that have not ended.
func activeUsers(users []context.Context) []context.Context {
	var living []context.Context
	for _, ctx := range users {
		if ctx.Err() == nil {
			living = append(living, ctx)
		}
	}
	return living
}

// setTimer sets the timer to when a look-up is due, or earlier to notice that no user is left. The
// caller holds the lock.
func setTimer(s *secret, now time.Time) {
	if s.timer == nil {
		return
	}
	delay := s.due.Sub(now)
	if delay > s.source.pace.linger {
		delay = s.source.pace.linger
	}
	if delay < 0 {
		delay = 0
	}
	s.timer.Reset(delay)
}

// endRefresh stores the result of a look-up, and logs a change.
func endRefresh(s *secret, key string, problem *lookUpProblem) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	before, ok := s.current.Load().(string)
	hadKey := ok && before != ""
	if problem != nil {
		keepStaleKey(s, hadKey, now)
	} else {
		storeKey(s, before, key, now)
	}
	logState(s, hadKey, problem)
	endFirstLookUp(s)
	s.busy = false
	setTimer(s, now)
}

// storeKey stores the key of a successful look-up. The caller holds the lock.
func storeKey(s *secret, before, key string, now time.Time) {
	s.failures = 0
	s.confirmed = now
	s.due = now.Add(s.source.pace.refresh)
	if key == before {
		return
	}
	s.current.Store(key)
	s.since = now
	s.rotated = before != ""
	s.rejected = false
}

// keepStaleKey schedules the retry after a failed look-up, and removes the key after maxStale. The
// caller holds the lock.
func keepStaleKey(s *secret, hasKey bool, now time.Time) {
	pace := s.source.pace
	delay := pace.maxRetry
	if s.failures < 16 && pace.retry<<s.failures < delay {
		delay = pace.retry << s.failures
	}
	if pace.refresh < delay {
		delay = pace.refresh
	}
	s.failures++
	s.due = now.Add(delay)
	if !hasKey || s.source.document != nil {
		return
	}
	expiry := s.confirmed.Add(pace.maxStale)
	if !now.Before(expiry) {
		none := ""
		s.current.Store(none)
	} else if expiry.Before(s.due) {
		s.due = expiry
	}
}

// logState logs a change of the state. The caller holds the lock, which keeps the lines in order.
func logState(s *secret, hadKey bool, problem *lookUpProblem) {
	key, ok := s.current.Load().(string)
	hasKey := ok && key != ""
	before := s.state
	if problem == nil {
		s.state = ""
		logAvailable(s, before, hadKey && s.since.Equal(s.confirmed))
		return
	}
	s.state = problem.kind
	if hasKey {
		s.state += ", stale"
	}
	if s.state == before {
		return
	}
	outcome := s.source.consequence
	switch {
	case hasKey && s.source.document != nil:
		outcome = "what was read before stays in use"
	case hasKey:
		outcome = "the last known key is used until " + s.confirmed.Add(s.source.pace.maxStale).UTC().Format(time.RFC3339) + " (secrets.maxStale)"
	case hadKey:
		outcome = "the last known key has expired (secrets.maxStale), and " + s.source.consequence
	}
	logWarn("%s: %s; %s", s.source.key, problem.text, outcome)
}

// logAvailable logs a successful look-up after a failed one, or with another result. The caller holds
// the lock.
func logAvailable(s *secret, before string, hasChanged bool) {
	switch {
	case hasChanged && s.source.document != nil:
		logDebug("%s: %s have changed", s.source.key, s.source.document.name)
	case hasChanged:
		logDebug("%s: the key has changed; new requests use the new key", s.source.key)
	case before != "" && s.source.document != nil:
		logDebug("%s: %s are available", s.source.key, s.source.document.name)
	case before != "":
		logDebug("%s: the key is available", s.source.key)
	}
}

// credentialRejected schedules a look-up after a request that began at start was rejected with
// status 401.
func credentialRejected(cred *credential, start time.Time) {
	if cred == nil || cred.secret == nil {
		return
	}
	s := cred.secret
	s.mu.Lock()
	defer s.mu.Unlock()
	if start.Before(s.since) {
		return // the key has changed since
	}
	now := time.Now()
	if !s.rejected {
		s.rejected = true
		logRejected(s, now)
	}
	if due := s.lastStarted.Add(s.source.pace.pause); due.Before(s.due) {
		s.due = due
		if !s.busy {
			setTimer(s, now)
		}
	}
}

// logRejected logs the first 401 for a key. The caller holds the lock.
func logRejected(s *secret, now time.Time) {
	what, hint := "the key", "store a valid key there"
	if s.rotated {
		what = "the new key"
		hint = "it may not be valid yet, otherwise store a valid key there"
	}
	logWarn("%s: %s was rejected with status 401, %s after it was read from %s; requests are not retried, and the key is looked up again while it is rejected; %s",
		s.source.key, what, now.Sub(s.since).Round(time.Millisecond), sourceName(s.source), hint)
}
