package chatcompletion

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// redisSettings is the parsed form of Config.Redis, for the connection.
type redisSettings struct {
	endpoint     string // host:port
	username     *credential
	password     *credential
	db           int
	poolSize     int // connections at most
	minIdle      int // connections that are kept open
	dialTimeout  time.Duration
	readTimeout  time.Duration
	writeTimeout time.Duration
	tls          *tls.Config // nil: plaintext

	keyPrefix string
	onError   string

	// key is equal for equal settings only. It may contain secrets.
	key string
}

// Bounds of connections.
const (
	idleCheckAfter = 100 * time.Millisecond // a connection idle for longer is checked before its next use
	idleCheckWait  = 100 * time.Microsecond // how long that check waits for the end of the connection
)

// redisPool holds the connections to a Redis. One command at a time is in flight on a connection. A
// connection that had an error is closed: what is still to come on it would be taken for the reply to
// the next command.
type redisPool struct {
	settings *redisSettings
	name     string // in tokens

	mu      sync.Mutex
	free    int           // how many more connections may be in use
	waiting []*slotWaiter // for one of those, the first one first
	idle    []*redisConn  // the last one was used last
	closed  bool          // connections are not kept
	opened  int           // connections ever, for their names
}

// slotWaiter is a request that waits until a connection may be in use. It is told exactly once whether
// one may: Yaegi mixes up the channels of a select that several goroutines execute.
type slotWaiter struct {
	isFree chan bool
}

// redisConn is a connection.
type redisConn struct {
	conn   net.Conn
	reader *bufio.Reader
	used   time.Time // last
	name   string
	sent   int // commands that have a number
}

// redisFailure is why a command failed.
type redisFailure struct {
	text string
	// isUncertain reports that the command was sent, and no reply came: Redis may have executed it.
	isUncertain bool
}

func newRedisPool(s *redisSettings, name string) *redisPool {
	return &redisPool{settings: s, free: s.poolSize, name: name}
}

// acquireConn returns a connection that is idle, or a new one, after the dial timeout at the latest.
// runScript returns it to the pool.
func acquireConn(p *redisPool) (*redisConn, error) {
	p.mu.Lock()
	if !takeSlot(p) {
		p.mu.Unlock()
		return awaitConn(p)
	}
	last := len(p.idle) - 1
	if last < 0 {
		p.mu.Unlock()
		return newConn(p, time.Now().Add(p.settings.dialTimeout))
	}
	c := p.idle[last]
	p.idle = p.idle[:last]
	p.mu.Unlock()
	if time.Since(c.used) > idleCheckAfter && !isAlive(c) {
		return replaceConn(p, c)
	}
	return c, nil
}

// awaitConn is acquireConn when all connections are in use.
func awaitConn(p *redisPool) (*redisConn, error) {
	deadline := time.Now().Add(p.settings.dialTimeout)
	if !awaitSlot(p, deadline) {
		return nil, errors.New("all " + strconv.Itoa(p.settings.poolSize) + " connections are in use")
	}
	return newConn(p, deadline)
}

// replaceConn closes a connection that the server has closed, and returns another one. The caller has
// a slot.
func replaceConn(p *redisPool, c *redisConn) (*redisConn, error) {
	_ = c.conn.Close()
	return newConn(p, time.Now().Add(p.settings.dialTimeout))
}

// newConn returns a connection that is idle and alive, or a new one. The caller has a slot, which is
// free again if that fails.
func newConn(p *redisPool, deadline time.Time) (*redisConn, error) {
	for {
		p.mu.Lock()
		last := len(p.idle) - 1
		if last < 0 {
			p.mu.Unlock()
			break
		}
		c := p.idle[last]
		p.idle = p.idle[:last]
		p.mu.Unlock()
		if isAlive(c) {
			return c, nil
		}
		_ = c.conn.Close()
	}
	c, err := openConn(p, deadline)
	if err != nil {
		releaseSlot(p)
	}
	return c, err
}

// takeSlot reports whether another connection may be in use now, and counts it. The caller holds the
// lock.
func takeSlot(p *redisPool) bool {
	if p.free == 0 {
		return false
	}
	p.free--
	return true
}

// awaitSlot waits until a connection may be in use. It reports false after the deadline.
func awaitSlot(p *redisPool, deadline time.Time) bool {
	w := &slotWaiter{isFree: make(chan bool, 1)}
	p.mu.Lock()
	if takeSlot(p) { // since acquireConn has looked
		p.mu.Unlock()
		return true
	}
	p.waiting = append(p.waiting, w)
	p.mu.Unlock()
	timer := time.AfterFunc(time.Until(deadline), func() {
		defer recoverGoroutine("redis")
		giveUpSlot(p, w)
	})
	isFree := <-w.isFree // not returned at once: Yaegi panics
	timer.Stop()
	return isFree
}

// releaseSlot lets another connection be in use.
func releaseSlot(p *redisPool) {
	p.mu.Lock()
	grantSlot(p)
	p.mu.Unlock()
}

// grantSlot gives what one connection has left to the first request that waits, if there is one. The
// caller holds the lock.
func grantSlot(p *redisPool) {
	if len(p.waiting) == 0 {
		p.free++
		return
	}
	p.waiting[0].isFree <- true
	p.waiting = p.waiting[1:]
}

// giveUpSlot ends the wait of a request, unless it has ended.
func giveUpSlot(p *redisPool, w *slotWaiter) {
	p.mu.Lock()
	for i, other := range p.waiting {
		if other == w {
			p.waiting = append(append([]*slotWaiter{}, p.waiting[:i]...), p.waiting[i+1:]...)
			w.isFree <- false
			break
		}
	}
	p.mu.Unlock()
}

// isAlive reports whether the server has neither closed an idle connection nor sent anything on it.
// A read whose deadline has passed would not look at the connection: it waits a moment.
func isAlive(c *redisConn) bool {
	_ = c.conn.SetReadDeadline(time.Now().Add(idleCheckWait))
	_, err := c.reader.Peek(1)
	return isTimeout(err)
}

// isTimeout reports whether an error is that of a deadline.
func isTimeout(err error) bool {
	return err != nil && errors.Is(err, os.ErrDeadlineExceeded)
}

// releaseConn keeps a connection for the next command.
func releaseConn(p *redisPool, c *redisConn) {
	c.used = time.Now()
	p.mu.Lock()
	if p.closed {
		_ = c.conn.Close()
	} else {
		p.idle = append(p.idle, c)
	}
	grantSlot(p)
	p.mu.Unlock()
}

// discardConn closes a connection.
func discardConn(p *redisPool, c *redisConn) {
	_ = c.conn.Close()
	releaseSlot(p)
}

// openConn opens a connection, and selects user and database.
func openConn(p *redisPool, deadline time.Time) (*redisConn, error) {
	s := p.settings
	dialer := &net.Dialer{Deadline: deadline, KeepAlive: keepAliveInterval}
	conn, err := dialer.Dial("tcp", s.endpoint)
	if err != nil {
		return nil, err
	}
	if s.tls != nil {
		conn = tls.Client(conn, s.tls)
	}
	p.mu.Lock()
	p.opened++
	c := &redisConn{conn: conn, reader: bufio.NewReaderSize(conn, replyLineBytes), name: p.name + ":" + strconv.Itoa(p.opened)}
	p.mu.Unlock()
	_ = conn.SetDeadline(deadline)
	if err = greet(s, c); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return c, nil
}

// greet sends what precedes the first command of a connection.
func greet(s *redisSettings, c *redisConn) error {
	if s.password != nil {
		words := []string{"AUTH", currentValue(s.password)}
		if s.username != nil {
			words = []string{"AUTH", currentValue(s.username), currentValue(s.password)}
		}
		if words[len(words)-1] == "" {
			return errors.New("there is no password yet")
		}
		if problem := greetWith(c, words); problem != nil {
			return problem
		}
	}
	if s.db != 0 {
		return greetWith(c, []string{"SELECT", strconv.Itoa(s.db)})
	}
	return nil
}

// greetWith sends a command whose reply must be OK. Of an error, only the code is reported: some
// repeat the command, and so the password.
func greetWith(c *redisConn, words []string) error {
	if _, err := c.conn.Write(encodeCommand(words)); err != nil {
		return err
	}
	kind, text, err := readReply(c.reader, replyMaxBytes)
	if err == nil && kind != statusReply {
		code, _, _ := strings.Cut(truncated(string(text), quotedMaxBytes), " ")
		err = errors.New(words[0] + " was refused with " + strconv.Quote(code))
	}
	return err
}

// encodeCommand returns a command in the Redis protocol.
func encodeCommand(words []string) []byte {
	var text strings.Builder
	text.WriteString("*" + strconv.Itoa(len(words)) + "\r\n")
	for _, word := range words {
		text.WriteString("$" + strconv.Itoa(len(word)) + "\r\n" + word + "\r\n")
	}
	return []byte(text.String())
}

// closePool closes the connections that are idle, and each other one after its command.
func closePool(p *redisPool) {
	p.mu.Lock()
	idle := p.idle
	p.idle = nil
	p.closed = true
	p.mu.Unlock()
	for _, c := range idle {
		_ = c.conn.Close()
	}
}

// runScript runs a script on a connection, and returns the reply. words is their number in the
// command; tail holds those after the script, as the protocol has them. Redis is sent the text of the
// script only if it does not know it: any other repetition could count twice. The connection returns to
// the pool, or is closed after a failure.
func runScript(p *redisPool, c *redisConn, script *redisScript, words int, tail string) ([]byte, *redisFailure) {
	head := "*" + strconv.Itoa(words)
	kind, text, failure := exchangeCommand(p.settings, c, head+script.evalSHA+tail, replyMaxBytes)
	if failure != nil {
		discardConn(p, c)
		return nil, failure
	}
	if kind == errorReply {
		return runUnknown(p, c, head+script.eval+tail, string(text))
	}
	releaseConn(p, c)
	return text, nil
}

// runUnknown is runScript after an error: Redis may not know the script. command has its text.
func runUnknown(p *redisPool, c *redisConn, command, problem string) ([]byte, *redisFailure) {
	if strings.HasPrefix(problem, "NOSCRIPT") {
		kind, text, failure := exchangeCommand(p.settings, c, command, replyMaxBytes)
		if failure != nil {
			discardConn(p, c)
			return nil, failure
		}
		if kind != errorReply {
			releaseConn(p, c)
			return text, nil
		}
		problem = string(text)
	}
	releaseConn(p, c)
	return nil, &redisFailure{text: truncated(problem, problemMaxBytes)}
}

// exchangeCommand sends a command on a connection, and reads the reply, which may be an error, and whose
// string has at most maxReply bytes. After a failure, the connection must be discarded.
func exchangeCommand(s *redisSettings, c *redisConn, command string, maxReply int) (byte, []byte, *redisFailure) {
	conn := c.conn
	_ = conn.SetWriteDeadline(time.Now().Add(s.writeTimeout))
	if written, err := conn.Write([]byte(command)); err != nil {
		// Redis executes no part of a command. How much of it TLS has sent is not known.
		return 0, nil, failedConn(err, written == len(command) || s.tls != nil)
	}
	_ = conn.SetReadDeadline(time.Now().Add(s.readTimeout))
	kind, text, err := readReply(c.reader, maxReply)
	if err != nil {
		return 0, nil, failedConn(err, true)
	}
	return kind, text, nil
}

// failedConn returns the failure of a command on a connection that has an error.
func failedConn(err error, isUncertain bool) *redisFailure {
	return &redisFailure{networkProblem(err), isUncertain}
}

// networkProblem returns the text of an error of a connection.
func networkProblem(err error) string {
	if isTimeout(err) {
		return "no reply in time"
	}
	return truncated(err.Error(), problemMaxBytes)
}
