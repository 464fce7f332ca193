package chatcompletion

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fakeRedis is a server with the protocol of Redis that executes the two scripts as far as the tests need it: everything is
// granted, and what is settled is added up.
type fakeRedis struct {
	t        *testing.T
	listener net.Listener
	password string // empty: none

	mu      sync.Mutex
	fault   func(words []string) string // of a command; see serve
	conns   map[net.Conn]bool
	dialed  int
	known   map[string]bool   // SHA-1s of scripts
	tokens  map[string]string // the last settlement of each connection
	used    map[string]int64  // by key
	names   []string          // of the commands
	frozen  chan bool         // commands wait until it is closed; nil: they do not
	largest int               // commands at the same time
	running int
}

// newFakeRedis starts a server with a password, or without one.
func newFakeRedis(t *testing.T, password string) *fakeRedis {
	t.Helper()
	f := &fakeRedis{t: t, password: password, conns: map[net.Conn]bool{}, known: map[string]bool{}, tokens: map[string]string{}, used: map[string]int64{}}
	f.listen("127.0.0.1:0")
	t.Cleanup(f.stop)
	return f
}

func (f *fakeRedis) listen(address string) {
	f.t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		f.t.Fatal(err)
	}
	f.listener = listener
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[conn] = true
			f.dialed++
			f.mu.Unlock()
			go f.serve(conn)
		}
	}()
}

// stop closes the server and all connections.
func (f *fakeRedis) stop() {
	_ = f.listener.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		_ = conn.Close()
	}
	f.conns = map[net.Conn]bool{}
}

// setFault sets the fault of each command: cut (closed before it is executed), lost (executed, and closed without a reply),
// slow (executed when frozen ends), or the bytes of another reply.
func (f *fakeRedis) setFault(fault func(words []string) string) {
	f.mu.Lock()
	f.fault = fault
	f.mu.Unlock()
}

// always returns a fault of all commands.
func always(fault string) func([]string) string { return func([]string) string { return fault } }

func (f *fakeRedis) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	r := bufio.NewReader(conn)
	isKnown := f.password == ""
	for {
		words, err := readWords(r)
		if err != nil {
			return
		}
		f.mu.Lock()
		f.names = append(f.names, words[0])
		fault, frozen := "", f.frozen
		if f.fault != nil {
			fault = f.fault(words)
		}
		f.running++
		if f.running > f.largest {
			f.largest = f.running
		}
		f.mu.Unlock()
		if fault == "cut" {
			return
		}
		if frozen != nil {
			<-frozen
		}
		f.mu.Lock()
		f.running--
		reply := fault
		if fault == "" || fault == "lost" {
			reply = f.execute(words, &isKnown)
		}
		f.mu.Unlock()
		if fault == "lost" {
			return
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

// readWords reads a command.
func readWords(r *bufio.Reader) ([]string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(strings.TrimSpace(line[1:]))
	if err != nil {
		return nil, err
	}
	var words []string
	for len(words) < count {
		if line, err = r.ReadString('\n'); err != nil {
			return nil, err
		}
		size, err := strconv.Atoi(strings.TrimSpace(line[1:]))
		if err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(r, word); err != nil {
			return nil, err
		}
		words = append(words, string(word[:size]))
	}
	return words, nil
}

// execute returns the reply to a command.
func (f *fakeRedis) execute(words []string, isKnown *bool) string {
	switch {
	case words[0] == "AUTH":
		if words[len(words)-1] != f.password {
			return "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
		}
		*isKnown = true
		return "+OK\r\n"
	case !*isKnown:
		return "-NOAUTH Authentication required.\r\n"
	case words[0] == "SELECT":
		return "+OK\r\n"
	case words[0] == "EVALSHA" && !f.known[words[1]]:
		return "-NOSCRIPT No matching script. Please use EVAL.\r\n"
	case words[0] == "EVAL":
		script := newRedisScript(words[1])
		words[1] = script.evalSHA[len(script.evalSHA)-42 : len(script.evalSHA)-2]
		f.known[words[1]] = true
	}
	count, _ := strconv.Atoi(words[2])
	keys, rest := words[3:3+count], words[3+count:]
	numbers := strings.Fields(rest[0])
	if strings.Contains(settleScript.evalSHA, words[1]) {
		return f.settle(keys, numbers, rest[1])
	}
	now := time.Now().UnixMilli()
	reply := fmt.Sprintf("[%d", now)
	for i, key := range keys {
		start, end := windowBounds(&window{lengthMs: dayMs}, now)
		used := int64(0)
		if strings.Contains(readScript.evalSHA, words[1]) {
			used = f.used[key]
		}
		reply += fmt.Sprintf(",%s,%d,%d,%d", numbers[6*i+3], start, end, used)
	}
	return fmt.Sprintf("$%d\r\n%s]\r\n", len(reply)+1, reply)
}

func (f *fakeRedis) settle(keys, numbers []string, number string) string {
	if f.tokens[keys[0]] == number {
		return ":0\r\n"
	}
	f.tokens[keys[0]] = number
	for i, key := range keys[1:] {
		actual, err := strconv.ParseInt(numbers[6*i+5], 10, 64)
		if err != nil {
			return "-ERR no number\r\n"
		}
		f.used[key] += actual
	}
	return ":1\r\n"
}

// sum returns what was settled on a counter.
func (f *fakeRedis) sum(key string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.used["chat-completion:quota:"+key]
}

// sent returns the names of the commands since the last call.
func (f *fakeRedis) sent() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	names := strings.Join(f.names, " ")
	f.names = nil
	return names
}

func (f *fakeRedis) connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dialed
}

// freeze has commands wait until the returned function is called.
func (f *fakeRedis) freeze() func() {
	frozen := make(chan bool)
	f.mu.Lock()
	f.frozen = frozen
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		f.frozen = nil
		f.mu.Unlock()
		close(frozen)
	}
}

// fastRedisPace is the pace of stores in tests.
var fastRedisPace = redisPace{
	open: 50 * time.Millisecond, merge: 10 * time.Millisecond, rest: 20 * time.Millisecond, idle: time.Minute, linger: 50 * time.Millisecond,
}

// testStore returns a store at a server. Tests with a server that does not respond shorten its timeout.
func testStore(t *testing.T, f *fakeRedis, config Redis) *redisStore {
	t.Helper()
	config.Endpoints = []string{f.listener.Addr().String()}
	if config.ReadTimeout == "" {
		config.ReadTimeout = "10s"
	}
	bad := &problems{}
	settings := parseRedis(bad, &config, &secretSettings{})
	if len(bad.found) > 0 {
		t.Fatal(bad.found)
	}
	settings.key += t.Name()
	s := newRedisStore(settings, fastRedisPace, &storeHealth{}, testMemory(t))
	t.Cleanup(func() { closePool(s.pool) })
	return s
}

var testMemories sync.Map // by the name of a test

// testMemory returns the memory store of a test, so that its counters are in no other test's metrics.
func testMemory(t *testing.T) *memoryStore {
	m, _ := testMemories.LoadOrStore(t.Name(), newMemoryStore())
	return m.(*memoryStore)
}

// Amounts of requests in tests: 10 is reserved, and what was used is settled.
func testAmounts(used int64) []int64 { return []int64{0, 10, used} }

// testCharges returns charges of 10 on counters of a limit of 100 per day. The counters are those of the test.
func testCharges(t *testing.T, keys ...string) []charge {
	var charges []charge
	for _, key := range keys {
		g := useGroup(testMemory(t), &counterGroup{key: t.Name() + ":", window: &window{lengthMs: dayMs}, maxSeries: 1000})
		charges = append(charges, charge{
			key: t.Name() + ":" + key, window: g.window, group: g, limit: 100, reserves: countRequest, counts: countInput, enforce: true,
			hold: time.Hour, quota: &quota{},
		})
	}
	return charges
}
