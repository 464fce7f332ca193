//go:build redis

package chatcompletion

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math"
	"math/big"
	mathrand "math/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// server is a real redis-server: the one that REDIS_SERVER names, else the one on PATH.
type server struct {
	t       *testing.T
	command []string
	address string
	process *exec.Cmd
}

// startServer starts a server with further arguments on a free port, or, with TLS, on one for TLS only.
func startServer(t *testing.T, arguments ...string) *server {
	t.Helper()
	binary := os.Getenv("REDIS_SERVER")
	if binary == "" {
		binary = "redis-server"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &server{t: t, address: listener.Addr().String()}
	_ = listener.Close()
	_, port, _ := net.SplitHostPort(r.address)
	key, other := "--port", "--tls-port"
	if strings.Contains(strings.Join(arguments, " "), "--tls-cert-file") {
		key, other = other, key
	}
	r.command = append([]string{binary, key, port, "--bind", "127.0.0.1", "--dir", t.TempDir(), "--save", ""}, arguments...)
	if key == "--tls-port" {
		r.command = append(r.command, other, "0")
	}
	r.start()
	t.Cleanup(r.kill)
	return r
}

// start starts the process, and returns once it accepts connections.
func (r *server) start() {
	r.t.Helper()
	r.process = exec.Command(r.command[0], r.command[1:]...)
	if err := r.process.Start(); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "redis-server accepts connections", func() bool {
		conn, err := net.Dial("tcp", r.address)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	})
}

func (r *server) kill() {
	_ = r.process.Process.Signal(syscall.SIGCONT)
	_ = r.process.Process.Kill()
	_ = r.process.Wait()
}

// do runs a command on a connection of its own, and returns the reply, arrays line by line.
func (r *server) do(words ...string) string {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.address)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, _ = conn.Write(encodeCommand(words))
	reader := bufio.NewReaderSize(conn, replyLineBytes)
	first, err := reader.Peek(1)
	if err != nil {
		r.t.Fatal(err)
	}
	count := 1
	if first[0] == '*' {
		line, _ := reader.ReadString('\n')
		count, _ = strconv.Atoi(strings.TrimSpace(line[1:]))
	}
	var lines []string
	for ; count > 0; count-- {
		_, text, err := readReply(reader, replyMaxBytes)
		if err != nil {
			r.t.Fatal(err)
		}
		lines = append(lines, string(text))
	}
	return strings.Join(lines, "\n")
}

func (r *server) store(t *testing.T, config Redis) *redisStore {
	t.Helper()
	config.Endpoints = []string{r.address}
	if config.ReadTimeout == "" {
		config.ReadTimeout = "10s"
	}
	bad := &problems{}
	settings := parseRedis(bad, &config, &secretSettings{})
	if len(bad.found) > 0 {
		t.Fatal(bad.found)
	}
	s := newRedisStore(settings, fastRedisPace, &storeHealth{}, testMemory(t))
	t.Cleanup(func() { closePool(s.pool) })
	return s
}

// windows are the windows of the tests.
var windows = []*window{nil, {lengthMs: 1000}, {lengthMs: minuteMs}, {lengthMs: 60 * minuteMs}, {lengthMs: dayMs}, {weekMs, firstMondayMs}, {},
	{lengthMs: 90_061_000}}

// testTimes are times around the ends of months, and any others, up to the year 2200.
func testTimes(random *mathrand.Rand) []int64 {
	var times []int64
	for year := 1970; year < 2200; year++ {
		for month := time.January; month <= time.December; month++ {
			first := time.Date(year, month, 1, 0, 0, 0, 0, time.UTC).UnixMilli()
			times = append(times, first, first+1, first+random.Int63n(31*dayMs))
			if first > 0 {
				times = append(times, first-1)
			}
		}
	}
	return times
}

// TestServerWindows compares the windows of the scripts with those of Go's calendar.
func TestServerWindows(t *testing.T) {
	r := startServer(t)
	script := counterFunctions + `local start, stop = windowOf(tonumber(ARGV[1]), ARGV[2], ARGV[3]) return whole(start) .. ' ' .. whole(stop)`
	all := counterFunctions + `
local out = {}
for time in string.gmatch(ARGV[1], '%S+') do
  local start, stop = windowOf(tonumber(time), ARGV[2], ARGV[3])
  table.insert(out, whole(start) .. ' ' .. whole(stop))
end
return table.concat(out, '\n')`
	times := testTimes(mathrand.New(mathrand.NewSource(1)))
	for _, w := range windows[1:] {
		for first := 0; first < len(times); first += 1000 {
			end := first + 1000
			if end > len(times) {
				end = len(times)
			}
			list := fmt.Sprint(times[first:end])
			got := strings.Split(r.do("EVAL", all, "0", strings.Trim(list, "[]"), fmt.Sprint(w.lengthMs), fmt.Sprint(w.offsetMs)), "\n")
			for i, ms := range times[first:end] {
				start, stop := windowBounds(w, ms)
				if want := fmt.Sprintf("%d %d", start, stop); got[i] != want {
					t.Fatalf("window %+v at %d: got %s, want %s", *w, ms, got[i], want)
				}
			}
		}
	}
	if got := r.do("EVAL", script, "0", "1", "-1", "0"); got != "0 0" {
		t.Errorf("without a window: got %s, want 0 0", got)
	}
}

// Scripts whose time is their last argument.
var (
	reserveAt = newRedisScript(counterFunctions + "return reserve(tonumber(ARGV[2]))")
	settleAt  = newRedisScript(counterFunctions + "return settle(tonumber(ARGV[3]))")
	lookAt    = newRedisScript(counterFunctions + "return look(tonumber(ARGV[2]))")
)

// runAt runs a script at a time.
func runAt(t *testing.T, s *redisStore, script *redisScript, words int, tail string, ms int64) []byte {
	t.Helper()
	conn, err := acquireConn(s.pool)
	if err != nil {
		t.Fatal(err)
	}
	at := strconv.FormatInt(ms, 10)
	reply, failure := runScript(s.pool, conn, script, words+1, tail+fmt.Sprintf("$%d\r\n%s\r\n", len(at), at))
	if failure != nil {
		t.Fatal(failure.text)
	}
	return reply
}

// TestServerEqualsMemory sends the same random requests, with a clock that goes on through minutes, the ends of windows and
// months, to Redis and to the memory store.
func TestServerEqualsMemory(t *testing.T) {
	r := startServer(t)
	s := r.store(t, Redis{})
	for seed := int64(1); seed <= 40; seed++ {
		r.do("FLUSHALL")
		random := mathrand.New(mathrand.NewSource(seed))
		memory := newMemoryStore()
		ms := time.Date(2090, time.Month(1+random.Intn(12)), 27, 23, 58, 0, 0, time.UTC).UnixMilli() // Redis drops what has expired by its own clock
		type pair struct{ redis, memory []charge }
		var open []pair
		for step := 0; step < 300; step++ {
			ms += []int64{0, 0, 1, 300, 20_000, 61_000, 10 * minuteMs, dayMs / 2}[random.Intn(8)]
			amounts := []int64{0}
			for len(amounts) < 7 {
				amounts = append(amounts, int64(random.Intn(60)))
			}
			if len(open) > 0 && random.Intn(2) == 0 {
				n := random.Intn(len(open))
				p := open[n]
				open = append(open[:n], open[n+1:]...)
				settleMemory(memory, p.memory, amounts)
				runAt(t, s, settleAt, len(p.redis)+settleWords, settlementTail(s, p.redis, amounts, "test", step), ms)
				continue
			}
			var p pair
			for n := 1 + random.Intn(3); n > 0; n-- {
				w := random.Intn(len(windows))
				key := fmt.Sprintf("s%d-w%d:", seed, w)
				g := useGroup(memory, &counterGroup{key: key, window: windows[w], maxSeries: 1000})
				c := charge{key: key + string(rune('a'+random.Intn(2))), window: windows[w], group: g, quota: &quota{}, limit: int64(100 + 50*random.Intn(2)),
					reserves: amountKind(random.Intn(7)), counts: amountKind(random.Intn(6)), enforce: random.Intn(4) > 0, hold: 3 * time.Minute}
				if c.window == nil {
					c.counts = countNothing
				}
				if containsCharge(p.redis, c.key) {
					continue
				}
				p.memory = append(p.memory, c)
				c.group = useGroup(testMemory(t), &counterGroup{key: key, window: windows[w], maxSeries: 1000}) // the mirror
				p.redis = append(p.redis, c)
			}
			look := runAt(t, s, lookAt, len(p.redis)+reserveWords, reservationTail(s, p.redis, amounts), ms)
			if _, failure := readLook(p.redis, look); failure != nil {
				t.Fatalf("seed %d, step %d: %s", seed, step, failure.text)
			}
			readMemory(memory, p.memory, ms)
			for i := range p.redis {
				if got, want := &p.redis[i], &p.memory[i]; got.used != want.used || got.window != nil && got.resetMs != want.resetMs {
					t.Fatalf("seed %d, step %d, charge %d looked up: got %+v, want %+v", seed, step, i, *got, *want)
				}
			}
			isOver := reserveMemory(memory, p.memory, amounts, ms)
			reply := runAt(t, s, reserveAt, len(p.redis)+reserveWords, reservationTail(s, p.redis, amounts), ms)
			isOverInRedis, failure := readReserved(s, p.redis, reply)
			if failure != nil || isOver != isOverInRedis {
				t.Fatalf("seed %d, step %d: over %v, want %v (%v)", seed, step, isOverInRedis, isOver, failure)
			}
			isRefused := false
			for i := range p.redis {
				got, want := &p.redis[i], &p.memory[i]
				if got.reserved != want.reserved && !isRefused && (!got.refused || !got.enforce) || got.used != want.used || got.resetMs != want.resetMs ||
					got.refused != want.refused || got.nowMs != want.nowMs {
					t.Fatalf("seed %d, step %d, charge %d: got %+v, want %+v", seed, step, i, *got, *want)
				}
				isRefused = isRefused || got.refused && got.enforce
			}
			if !isRefused {
				open = append(open, p)
			}
		}
	}
}

func containsCharge(charges []charge, key string) bool {
	for i := range charges {
		if charges[i].key == key {
			return true
		}
	}
	return false
}

// TestServerCountsLargeNumbersExactly checks amounts beyond the 53 bits of a Lua number.
func TestServerCountsLargeNumbersExactly(t *testing.T) {
	r := startServer(t)
	s := r.store(t, Redis{})
	charges := testCharges(t, "a")
	c := &charges[0]
	c.limit = 9_000_000_000_000_000_000
	const wanted = 1_234_567_890_123_456_789
	if _, failure := reserveRedis(s, charges, []int64{0, wanted}); failure != nil || c.reserved != wanted {
		t.Fatalf("reserved %d, want %d (%v)", c.reserved, wanted, failure)
	}
	if failure := settleRedis(s, charges, testAmounts(8_999_999_999_999_999_990)); failure != nil {
		t.Fatal(failure.text)
	}
	if _, failure := reserveRedis(s, charges, []int64{0, wanted}); failure != nil || c.used != 8_999_999_999_999_999_990 || c.reserved != 10 {
		t.Errorf("used %d, reserved %d, want 8999999999999999990 and 10 (%v)", c.used, c.reserved, failure)
	}
	if failure := settleRedis(s, charges, testAmounts(math.MaxInt64)); failure != nil {
		t.Fatal(failure.text)
	}
	isOver, failure := reserveRedis(s, charges, testAmounts(0))
	if failure != nil || !isOver || c.used != math.MaxInt64 {
		t.Errorf("used %d, over %v, want the largest number (%v)", c.used, isOver, failure)
	}
}

// TestServerEndsWindows checks with windows of a second that they end by the clock of the server, that their expiry is not
// moved, and that nothing is left.
func TestServerEndsWindows(t *testing.T) {
	r := startServer(t)
	s := r.store(t, Redis{})
	starts := map[int64]int64{}
	for begin := time.Now(); time.Since(begin) < 3500*time.Millisecond; {
		g := useGroup(testMemory(t), &counterGroup{key: t.Name(), window: &window{lengthMs: 1000}, maxSeries: 1000})
		charges := []charge{{key: t.Name() + "a", window: g.window, group: g, limit: 1 << 40, reserves: countRequest, counts: countInput, enforce: true,
			hold: time.Minute, quota: &quota{}}}
		c := &charges[0]
		if _, failure := reserveRedis(s, charges, testAmounts(0)); failure != nil {
			t.Fatal(failure.text)
		}
		if c.nowMs < c.windowStartMs || c.nowMs >= c.resetMs || c.resetMs != c.windowStartMs+1000 {
			t.Fatalf("the window from %d to %d at %d", c.windowStartMs, c.resetMs, c.nowMs)
		}
		if c.used != starts[c.windowStartMs] {
			t.Fatalf("used %d in the window, want %d", c.used, starts[c.windowStartMs])
		}
		if failure := settleRedis(s, charges, testAmounts(3)); failure != nil {
			t.Fatal(failure.text)
		}
		starts[c.windowStartMs] = c.used + 3
		if ttl, _ := strconv.Atoi(r.do("PTTL", "chat-completion:quota:"+t.Name()+"a")); ttl > 1000 {
			t.Fatalf("the counter expires in %d ms, want at most 1000", ttl)
		}
	}
	if len(starts) < 4 {
		t.Errorf("%d windows in 3.5s, want 4 or more", len(starts))
	}
	eventually(t, "the counter expires", func() bool { return r.do("EXISTS", "chat-completion:quota:"+t.Name()+"a") == "0" })
}

// load has requests of 1 to 9 on a counter until f returns. It returns the sum of what was settled.
func load(t *testing.T, s *redisStore, f func()) int64 {
	stop, sums := make(chan bool), make(chan int64, 8)
	for i := 0; i < cap(sums); i++ {
		go func(random *mathrand.Rand) {
			sum := int64(0)
			for {
				select {
				case <-stop:
					sums <- sum
					return
				default:
				}
				charges := testCharges(t, "a")
				charges[0].limit = 1 << 40
				reserveCharges(s, charges, testAmounts(0), time.Now().UnixMilli())
				used := 1 + random.Int63n(9)
				settleCharges(charges, testAmounts(used))
				sum += used
			}
		}(mathrand.New(mathrand.NewSource(int64(i))))
	}
	f()
	close(stop)
	total := int64(0)
	for i := 0; i < cap(sums); i++ {
		total += <-sums
	}
	eventually(t, "everything is settled", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.deltas)+len(s.unsure) == 0 && s.failures.Load() < failuresToOpen
	})
	return total
}

// TestServerOutagesCountOnce checks that a server that was frozen, or killed and restarted with its data, has the exact sum
// afterwards, and that one that lost its data goes on with what is settled since.
func TestServerOutagesCountOnce(t *testing.T) {
	second := func() { time.Sleep(time.Second) } // of load, on both sides of what happens
	signal := func(r *server, what syscall.Signal) {
		if err := r.process.Process.Signal(what); err != nil {
			r.t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		happens func(r *server)
		isExact bool
	}{
		{"frozen", func(r *server) { signal(r, syscall.SIGSTOP); second(); signal(r, syscall.SIGCONT) }, true},
		{"frozen twice", func(r *server) {
			for i := 0; i < 2; i++ {
				signal(r, syscall.SIGSTOP)
				second()
				signal(r, syscall.SIGCONT)
			}
		}, true},
		{"killed and restarted with its data", func(r *server) { r.kill(); second(); r.start() }, true},
		{"connections closed", func(r *server) {
			for i := 0; i < 20; i++ {
				r.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			}
		}, true},
		{"scripts forgotten", func(r *server) { r.do("SCRIPT", "FLUSH") }, true},
		{"emptied", func(r *server) { r.do("FLUSHALL") }, false},
	}
	for _, test := range tests {
		r := startServer(t, "--appendonly", "yes", "--appendfsync", "always")
		s := r.store(t, Redis{PoolSize: 4, ReadTimeout: "300ms"})
		var total int64
		storeLog(t, s, func() {
			total = load(t, s, func() { second(); test.happens(r); second() })
		})
		got, _ := strconv.ParseInt(r.do("HGET", "chat-completion:quota:"+t.Name()+":a", "u"), 10, 64)
		if (test.isExact && got != total) || got <= 0 || got > total {
			t.Errorf("%s: Redis has %d, want %d", test.name, got, total)
		}
		t.Logf("%s: %d settled, Redis has %d; %d errors, %d requests without Redis", test.name, total, got, s.health.errors.Load(), s.health.fallbacks.Load())
	}
}

// TestServerSharesCounters checks that three stores, as of three Traefiks, grant a limit together, exactly.
func TestServerSharesCounters(t *testing.T) {
	r := startServer(t)
	var mu sync.Mutex
	granted := int64(0)
	var running sync.WaitGroup
	for i := 0; i < 3; i++ {
		s := r.store(t, Redis{})
		for j := 0; j < 4; j++ {
			running.Add(1)
			go func() {
				defer running.Done()
				for k := 0; k < 50; k++ {
					charges := testCharges(t, "a")
					charges[0].limit = 1003
					if isOver, _ := reserveCharges(s, charges, testAmounts(0), time.Now().UnixMilli()); !isOver {
						mu.Lock()
						granted += charges[0].reserved
						mu.Unlock()
						settleCharges(charges, testAmounts(charges[0].reserved))
					}
				}
			}()
		}
	}
	running.Wait()
	if granted != 1003 {
		t.Errorf("granted %d, want 1003", granted)
	}
}

// TestServerHasForeignValues: what someone else has written under the name of a counter is no outage for the others.
func TestServerHasForeignValues(t *testing.T) {
	r := startServer(t)
	s := r.store(t, Redis{})
	start, _ := windowBounds(testCharges(t, "a")[0].window, time.Now().UnixMilli())
	window, minute := fmt.Sprint(start), fmt.Sprint("r", time.Now().UnixMilli()/minuteMs)
	for i, value := range [][]string{
		{"SET", "text"}, {"RPUSH", "1"}, {"HSET", "w", "x"}, {"HSET", "u", "1"}, {"HSET", "w", window, "u", "x"}, {"HSET", "w", window, "u", ""}, {"HSET", "w", window, "u", "nan"},
		{"HSET", "w", window, "u", "-5"}, {"HSET", "w", window, "u", "1e3"}, {"HSET", "w", window, "r", "1"}, {"HSET", "w", window, "rx", "1"}, {"HSET", "w", window, minute, "x"},
		{"HSET", "w", window, minute, "9223372036854775807"}, {"HSET", "w", window, "u", strings.Repeat("9", 400)}, {"HSET", "w", window, "x", "y"},
	} {
		subject := fmt.Sprint("foreign-", i)
		key := s.settings.keyPrefix + "quota:" + testCharges(t, subject)[0].key
		r.do(append([]string{value[0], key}, value[1:]...)...)
		charges := testCharges(t, subject)
		if _, failure := reserveRedis(s, charges, testAmounts(3)); failure != nil {
			t.Errorf("%q: reserve: %s", value, failure.text)
		}
		r.do("DEL", key)
		r.do(append([]string{value[0], key}, value[1:]...)...)
		if failure := settleRedis(s, charges, testAmounts(7)); failure != nil {
			t.Errorf("%q: settle: %s", value, failure.text)
		}
	}
}

func TestServerUsers(t *testing.T) {
	user := "gateway on >pw ~chat-completion:* +select +eval +evalsha +time +get +set +del +hget +hgetall +hset +hdel +hexists +hincrby " +
		"+pexpire +pexpireat" // as documented
	r := startServer(t, append([]string{"--requirepass", "s3cret", "--user"}, strings.Fields(user)...)...)
	for _, test := range []struct {
		config Redis
		want   string
	}{
		{Redis{Password: "s3cret"}, ""},
		{Redis{Password: "s3cret", DB: 3}, ""},
		{Redis{Username: "gateway", Password: "pw"}, ""},
		{Redis{Username: "gateway", Password: "s3cret"}, `AUTH was refused with "WRONGPASS"`},
		{Redis{Password: "s3cret", DB: 99}, `SELECT was refused with "ERR"`},
		{Redis{}, "NOAUTH Authentication required."},
	} {
		s, charges := r.store(t, test.config), testCharges(t, "a")
		_, failure := reserveRedis(s, charges, testAmounts(0))
		if failure == nil {
			failure = settleRedis(s, charges, testAmounts(1))
		}
		got := ""
		if failure != nil {
			got = failure.text
		}
		if got != test.want {
			t.Errorf("%+v: got %q, want %q", test.config, got, test.want)
		}
	}
}

// certificate writes a certificate for 127.0.0.1 that signs itself, and its key.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "redis"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		var text bytes.Buffer
		_ = pem.Encode(&text, block)
		if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestServerTLS(t *testing.T) {
	cert, key := certificate(t)
	r := startServer(t, "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", cert)
	content := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, test := range []struct {
		tls  RedisTLS
		want string
	}{
		{RedisTLS{CA: cert, Cert: cert, Key: key}, ""},
		{RedisTLS{CA: content(cert), Cert: content(cert), Key: content(key)}, ""},
		{RedisTLS{InsecureSkipVerify: "true", Cert: cert, Key: key}, ""},
		{RedisTLS{Cert: cert, Key: key}, "certificate signed by unknown authority"},
		{RedisTLS{CA: cert}, " "}, // the server asks for a certificate, and closes the connection
	} {
		s := r.store(t, Redis{TLS: test.tls})
		got := ""
		for i := 0; i < 3 && got == ""; i++ {
			if _, failure := reserveRedis(s, testCharges(t, "a"), testAmounts(0)); failure != nil {
				got = failure.text
			}
			s.pool.mu.Lock()
			for _, c := range s.pool.idle {
				c.used = time.Time{} // the check of an idle connection must not disturb it
			}
			s.pool.mu.Unlock()
		}
		if (test.want == "") != (got == "") || !strings.Contains(got, test.want) {
			t.Errorf("%.60q: got %q, want %q", test.tls, got, test.want)
		}
		if test.want == "" && s.pool.opened != 1 {
			t.Errorf("%d connections, want 1", s.pool.opened)
		}
	}
}

// TestServerMemory checks the documented bytes of a counter.
func TestServerMemory(t *testing.T) {
	r := startServer(t)
	s := r.store(t, Redis{})
	charges := testCharges(t, "engineering-team-consumer-0001")
	for i := 0; i < 3; i++ {
		if _, failure := reserveRedis(s, charges, testAmounts(0)); failure != nil {
			t.Fatal(failure.text)
		}
	}
	if failure := settleRedis(s, charges, testAmounts(1_000_000)); failure != nil {
		t.Fatal(failure.text)
	}
	key := s.settings.keyPrefix + "quota:" + charges[0].key
	bytes, _ := strconv.Atoi(r.do("MEMORY", "USAGE", key))
	if bytes == 0 || bytes > 250 {
		t.Errorf("a counter takes %d bytes, want at most the documented 250", bytes)
	}
	token, _ := strconv.Atoi(r.do("MEMORY", "USAGE", s.settings.keyPrefix+"sent:"+s.pool.name+":1"))
	t.Logf("a counter with a key of %d bytes takes %d bytes, what is kept for a connection %d", len(key), bytes, token)
}

// TestServerLooks: reading a counter changes nothing of it, not even what has expired.
func TestServerLooks(t *testing.T) {
	r := startServer(t)
	s := r.store(t, Redis{})
	key := s.settings.keyPrefix + "quota:" + t.Name() + ":a"
	charges := testCharges(t, "a", "b")
	start, _ := windowBounds(&window{lengthMs: dayMs}, time.Now().UnixMilli())
	r.do("HSET", key, "w", strconv.FormatInt(start, 10), "u", "9007199254740993", "r1", "5", fmt.Sprintf("r%d", time.Now().UnixMilli()/minuteMs), "2")
	before := r.do("HGETALL", key)
	isKnown, failure := readRedis(s, charges)
	if failure != nil {
		t.Fatal(failure.text)
	}
	if got, want := fmt.Sprint(isKnown, charges[0].used, charges[1].used), "[true true] 9007199254740995 0"; got != want {
		t.Errorf("known and used: got %s, want %s", got, want)
	}
	if got := r.do("HGETALL", key); got != before {
		t.Errorf("the counter: got %q, want %q", got, before)
	}
	if got := r.do("DBSIZE"); got != "1" {
		t.Errorf("keys: got %s, want 1", got)
	}
}
