package chatcompletion

import (
	"context"
	"sync"
	"time"
)

// maxViewers bounds the viewers that are open at a time.
const maxViewers = 100

// dashboardPace is when a dashboard does what.
type dashboardPace struct {
	poll    time.Duration // between two checks for new calls, while a viewer is open
	update  time.Duration // between two updates of the viewers
	ping    time.Duration // between two signs of life
	refresh time.Duration // between two refreshes of counters from Redis, while a viewer is open
	linger  time.Duration // how long the history is kept without an instance and without a viewer
}

var defaultDashboardPace = dashboardPace{
	poll: 250 * time.Millisecond, update: 750 * time.Millisecond, ping: 15 * time.Second, refresh: 2 * time.Second, linger: time.Minute,
}

// dashboard is what all instances with a dashboard have in common. It lives as long as the process, so that
// viewers stay open when a new configuration is loaded. Its goroutine runs while there is an instance or a
// viewer: it ends the steps of the history and, while a viewer is open, makes each update once for all viewers.
//
// Requests to providers never wait for its locks. It takes theirs for a few steps at a time, and never
// while it makes JSON.
type dashboard struct {
	registry      *registry
	pace          dashboardPace
	notifications chan bool // capacity 1; empty unless notified is set

	turn  sync.Mutex // of the board; taken before mu
	board *board     // nil: the goroutine does not run

	mu        sync.Mutex
	changes   *sync.Cond // of what viewers wait for
	users     int        // instances
	viewers   int        // clients with an open event stream
	left      time.Time  // when the last user or viewer left
	running   bool       // the goroutine runs
	notified  bool
	refreshes bool  // it refreshes counters from Redis in the background
	version   int64 // of what viewers show: the number of updates
	update    []byte
	pings     int64

	// Only who holds turn uses the fields below.

	sent            time.Time // the latest update
	checked         time.Time // when the board was read for one
	pinged          time.Time
	refreshed       time.Time // the counters from Redis
	snapshot        []byte    // the latest for viewers
	snapshotVersion int64
	snapshotMade    time.Time
}

// theDashboard is the dashboard of this Traefik process; nil: there has been no instance.
var (
	theDashboardMu sync.Mutex
	theDashboard   *dashboard
)

// sharedDashboard returns the dashboard of this Traefik process. It makes it with the first instance:
// package variables must not read others (traefik/yaegi#1585).
func sharedDashboard() *dashboard {
	theDashboardMu.Lock()
	defer theDashboardMu.Unlock()
	if theDashboard == nil {
		theDashboard = newDashboard(theRegistry, defaultDashboardPace)
	}
	return theDashboard
}

func newDashboard(r *registry, pace dashboardPace) *dashboard {
	d := &dashboard{registry: r, pace: pace, notifications: make(chan bool, 1)}
	d.changes = sync.NewCond(&d.mu)
	return d
}

// viewer is a client that has the event stream open: a page, as a rule.
type viewer struct {
	version int64 // that it shows
	pings   int64
	isGone  bool // it has left
}

// useDashboard starts the dashboard. The caller is a user of it until ctx is done.
func useDashboard(ctx context.Context, d *dashboard) {
	d.turn.Lock()
	d.mu.Lock()
	d.users++
	startBoard(d)
	d.mu.Unlock()
	d.turn.Unlock()
	if done := ctx.Done(); done != nil {
		go leaveDashboard(d, done)
	}
}

// leaveDashboard waits until a user is done, and removes it.
func leaveDashboard(d *dashboard, done <-chan struct{}) {
	defer recoverGoroutine("expose")
	<-done
	d.mu.Lock()
	d.users--
	d.left = time.Now()
	wakeBoard(d)
	d.mu.Unlock()
}

// startBoard starts the goroutine if it is not running. The caller holds both locks.
func startBoard(d *dashboard) {
	if d.running {
		return
	}
	d.running = true
	setKeeping(d.registry, true)
	d.board = newBoard(d.registry, time.Now().UnixMilli())
	go watch(d)
}

// addViewer adds a viewer. It returns nil if there are too many.
func addViewer(d *dashboard) *viewer {
	d.turn.Lock()
	defer d.turn.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.viewers >= maxViewers {
		return nil
	}
	d.viewers++
	startBoard(d)
	wakeBoard(d)
	return &viewer{}
}

func removeViewer(d *dashboard) {
	d.mu.Lock()
	d.viewers--
	d.left = time.Now()
	wakeBoard(d)
	d.mu.Unlock()
}

// watch is the goroutine of a dashboard.
func watch(d *dashboard) {
	defer recoverGoroutine("expose")
	for watchStep(d) {
	}
}

// watchStep waits until something is due, does it, and reports whether the goroutine continues. It
// recovers from panics, since a panic that left the goroutine would end Traefik.
func watchStep(d *dashboard) (goesOn bool) {
	goesOn = true
	defer recoverGoroutine("expose")
	awaitTick(d)
	now := time.Now()
	if endBoard(d, now) {
		goesOn = false
		return goesOn
	}
	tendBoard(d, now)
	return goesOn
}

// awaitTick blocks until a step may be over or, while a viewer is open, an update may be due. Ticks are at
// whole multiples of their interval, so that an update and the end of a step coincide.
func awaitTick(d *dashboard) {
	d.mu.Lock()
	interval := shortStepMs * time.Millisecond
	if d.users == 0 && d.pace.linger < interval {
		interval = d.pace.linger
	}
	if d.viewers > 0 {
		interval = d.pace.poll
	}
	d.mu.Unlock()
	now := time.Now()
	timer := time.AfterFunc(now.Truncate(interval).Add(interval).Sub(now), waker(d))
	<-d.notifications
	timer.Stop()
	d.mu.Lock()
	d.notified = false
	d.mu.Unlock()
}

// waker returns the function that a timer calls.
func waker(d *dashboard) func() {
	return func() {
		defer recoverGoroutine("expose")
		d.mu.Lock()
		wakeBoard(d)
		d.mu.Unlock()
	}
}

// wakeBoard has the goroutine do what is due. It does not block. The caller holds the lock mu.
func wakeBoard(d *dashboard) {
	if !d.notified {
		d.notified = true
		d.notifications <- true
	}
}

// endBoard reports whether the dashboard has been without users and viewers for pace.linger. If so, it
// forgets everything.
func endBoard(d *dashboard, now time.Time) bool {
	d.turn.Lock()
	defer d.turn.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users > 0 || d.viewers > 0 || now.Before(d.left.Add(d.pace.linger)) {
		return false
	}
	d.running = false
	d.board = nil
	d.snapshot = nil
	d.update = nil
	setKeeping(d.registry, false)
	return true
}

// tendBoard ends the steps that are over, and sends viewers what is due.
func tendBoard(d *dashboard, now time.Time) {
	d.turn.Lock()
	defer d.turn.Unlock()
	endSteps(d.board, now.UnixMilli())
	d.mu.Lock()
	hasViewers := d.viewers > 0
	d.mu.Unlock()
	if !hasViewers {
		return
	}
	if isUpdateDue(d, now) {
		updateViewers(d, now)
	}
	if now.Sub(d.refreshed) >= d.pace.refresh {
		d.refreshed = now
		startMirrorRefresh(d)
	}
	if now.Sub(d.pinged) >= d.pace.ping {
		d.pinged = now
		d.mu.Lock()
		d.pings++
		d.changes.Broadcast()
		d.mu.Unlock()
	}
}

// startMirrorRefresh refreshes the counters from Redis in the background, unless the refresh before has not ended: a Redis
// that hangs must not delay viewers. The caller holds turn.
func startMirrorRefresh(d *dashboard) {
	refreshes, next := nextRefreshes(d.board.quotas, d.board.refreshFrom)
	if refreshes == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.refreshes {
		d.refreshes = true
		d.board.refreshFrom = next
		go refreshInBackground(d, refreshes)
	}
}

func refreshInBackground(d *dashboard, refreshes []*mirrorRefresh) {
	defer recoverGoroutine("expose")
	defer endMirrorRefresh(d)
	for _, r := range refreshes {
		refreshMirrors(r.redis, r.charges)
	}
}

// endMirrorRefresh ends a refresh in the background.
func endMirrorRefresh(d *dashboard) {
	d.mu.Lock()
	d.refreshes = false
	d.mu.Unlock()
}

// isUpdateDue reports whether viewers may get an update: at the latest d.pace.update after the last check, and
// at the next tick after a call. Ticks are never quite in time.
func isUpdateDue(d *dashboard, now time.Time) bool {
	least := d.pace.update - d.pace.poll/2
	if now.Sub(d.sent) < least {
		return false
	}
	return now.Sub(d.checked) >= least || hasNews(d.board)
}

// updateViewers reads everything, and sends what has changed to all viewers. The caller holds turn.
func updateViewers(d *dashboard, now time.Time) {
	ms := now.UnixMilli()
	readBoard(d.board, ms)
	d.checked = now
	update := takeUpdate(d.board, ms)
	if update == nil {
		return
	}
	d.sent = now
	frame := eventFrame("update", update)
	d.mu.Lock()
	d.version++
	d.update = frame
	d.changes.Broadcast()
	d.mu.Unlock()
}

// eventFrame returns an event as its bytes are sent.
func eventFrame(name string, document []byte) []byte {
	return []byte("event: " + name + "\ndata: " + string(document) + "\n\n")
}

// pingFrame is a comment, which shows that the connection is alive.
var pingFrame = []byte(": ping\n\n")

// firstFrame returns the event with everything, for a viewer that is new or was too slow.
func firstFrame(d *dashboard, p *viewer) []byte {
	d.turn.Lock()
	defer d.turn.Unlock()
	now := time.Now()
	if now.Sub(d.checked) > 2*d.pace.update { // no viewer was open
		updateViewers(d, now)
	}
	d.mu.Lock()
	p.version = d.version
	d.mu.Unlock()
	if d.snapshot == nil || d.snapshotVersion != p.version || now.Sub(d.snapshotMade) >= d.pace.update {
		d.snapshot = eventFrame("snapshot", snapshotJSON(d.board, now.UnixMilli(), d.board.sentID))
		d.snapshotVersion = p.version
		d.snapshotMade = now
	}
	return d.snapshot
}

// nextFrame waits for what a viewer is sent next; nil: it has left.
func nextFrame(d *dashboard, p *viewer) []byte {
	d.mu.Lock()
	for !p.isGone && p.version == d.version && p.pings == d.pings {
		d.changes.Wait()
	}
	isGone, isPing, isNext, update := p.isGone, p.version == d.version, p.version+1 == d.version, d.update
	if isPing {
		p.pings = d.pings
	} else if isNext {
		p.version = d.version
	}
	d.mu.Unlock()
	switch {
	case isGone:
		return nil
	case isPing:
		return pingFrame
	case isNext:
		return update
	}
	return firstFrame(d, p)
}

// awaitClient waits until a viewer has left.
func awaitClient(d *dashboard, p *viewer, done <-chan struct{}) {
	defer recoverGoroutine("expose")
	<-done
	d.mu.Lock()
	p.isGone = true
	d.changes.Broadcast()
	d.mu.Unlock()
}

// wholeSnapshot returns all that there is at this instant.
func wholeSnapshot(d *dashboard) []byte {
	refreshNow(d)
	d.turn.Lock()
	defer d.turn.Unlock()
	ms := time.Now().UnixMilli()
	b := d.board
	if b == nil { // the last instance has left
		b = newBoard(d.registry, ms)
	}
	readBoard(b, ms)
	return snapshotJSON(b, ms, b.callID)
}

// refreshNow refreshes the counters from Redis.
func refreshNow(d *dashboard) {
	d.turn.Lock()
	var refreshes []*mirrorRefresh
	if b, m := d.board, d.registry.quotas; b != nil && m != nil {
		b.quotas = readQuotas(m, b.quotas, time.Now().UnixMilli())
		refreshes, b.refreshFrom = nextRefreshes(b.quotas, b.refreshFrom)
	}
	d.turn.Unlock()
	for _, r := range refreshes {
		refreshMirrors(r.redis, r.charges)
	}
}
