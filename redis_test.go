package chatcompletion

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRepliesAreRead(t *testing.T) {
	long := strings.Repeat("x", replyMaxBytes)
	tests := []struct {
		bytes, kind, text, err string
	}{
		{"+OK\r\n", "+", "OK", ""},
		{"-ERR no\r\n", "-", "ERR no", ""},
		{":12\r\n", ":", "12", ""},
		{"$2\r\nab\r\n", "$", "ab", ""},
		{"$0\r\n\r\n", "$", "", ""},
		{"$-1\r\n", "$", "", ""},
		{"$65536\r\n" + long + "\r\n", "$", long, ""},
		{"$65537\r\n" + long + "x\r\n", "", "", "the reply is not valid"},
		{"$-2\r\n", "", "", "the reply is not valid"},
		{"$+2\r\nab\r\n", "", "", "the reply is not valid"},
		{"$2\r\nabc\r\n", "", "", "the reply is not valid"},
		{"$99999999999999999999\r\n", "", "", "the reply is not valid"},
		{"*1\r\n+OK\r\n", "", "", "the reply is not valid"},
		{"+OK\n", "", "", "the reply is not valid"},
		{"\r\n", "", "", "the reply is not valid"},
		{"HTTP/1.1 400 Bad Request\r\n", "", "", "the reply is not valid"},
		{"+" + long + "\r\n", "", "", "the reply is not valid"},
		{"$2\r\na", "", "", "unexpected EOF"},
		{"+OK", "", "", "EOF"},
		{"", "", "", "EOF"},
	}
	for _, test := range tests {
		kind, text, err := readReply(bufio.NewReaderSize(strings.NewReader(test.bytes), replyLineBytes), replyMaxBytes)
		got := fmt.Sprintf("%s%s", strings.Trim(string([]byte{kind}), "\x00"), text)
		if err != nil {
			got = err.Error()
		}
		if want := test.kind + test.text + test.err; got != want {
			t.Errorf("%.40q: got %.40q, want %.40q", test.bytes, got, want)
		}
	}
}

// FuzzReplies checks that no bytes of a server make the plugin panic, or keep more than the bounds, and that a reply is read
// up to its end.
func FuzzReplies(f *testing.F) {
	for _, seed := range []string{"+OK\r\n+", "-ERR\r\n", ":1\r\n", "$3\r\nabc\r\n", "$-1\r\n", "$70000\r\n", "*2\r\n", "$3\r\nab\r\n\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bufio.NewReaderSize(strings.NewReader(string(data)), replyLineBytes)
		kind, text, err := readReply(r, replyMaxBytes)
		if err != nil {
			return
		}
		if len(text) > replyMaxBytes {
			t.Fatalf("kept %d bytes", len(text))
		}
		rest, _ := io.ReadAll(r)
		want := string(kind) + string(text) + "\r\n"
		if kind == stringReply {
			want = string(text) + "\r\n"
		}
		if read := string(data[:len(data)-len(rest)]); !strings.HasSuffix(read, want) && read != "$-1\r\n" {
			t.Errorf("read %q, got %q", read, text)
		}
	})
}

func TestScriptIsSentOnlyIfUnknown(t *testing.T) {
	f := newFakeRedis(t, "")
	s := testStore(t, f, Redis{})
	for i := 0; i < 3; i++ {
		charges := testCharges(t, "a")
		if _, failure := reserveRedis(s, charges, testAmounts(0)); failure != nil {
			t.Fatal(failure.text)
		}
		if failure := settleRedis(s, charges, testAmounts(7)); failure != nil {
			t.Fatal(failure.text)
		}
	}
	if got, want := f.sent(), "EVALSHA EVAL EVALSHA EVAL"+strings.Repeat(" EVALSHA", 4); got != want {
		t.Errorf("sent %s, want %s", got, want)
	}
	if got := f.sum(t.Name() + ":a"); got != 21 {
		t.Errorf("settled %d, want 21", got)
	}
	if got := f.connections(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
}

func TestUserAndDatabaseAreSelected(t *testing.T) {
	tests := []struct {
		config Redis
		want   string // commands before the script, or the failure
	}{
		{Redis{Password: "s3cret"}, "AUTH EVALSHA EVAL"},
		{Redis{Username: "gateway", Password: "s3cret"}, "AUTH EVALSHA EVAL"},
		{Redis{Password: "s3cret", DB: "2"}, "AUTH SELECT EVALSHA EVAL"},
		{Redis{Password: "wrong"}, `AUTH was refused with "WRONGPASS"`},
		{Redis{}, "NOAUTH Authentication required."},
	}
	for _, test := range tests {
		f := newFakeRedis(t, "s3cret")
		s := testStore(t, f, test.config)
		_, failure := reserveRedis(s, testCharges(t, "a"), testAmounts(0))
		got := f.sent()
		if failure != nil {
			got = failure.text
		}
		if got != test.want {
			t.Errorf("%+v: got %s, want %s", test.config, got, test.want)
		}
	}
}

// TestFailedConnectionIsNotReused checks that a late reply cannot be taken for that to another command, and that no command is
// sent twice.
func TestFailedConnectionIsNotReused(t *testing.T) {
	tests := []struct {
		fault string
		want  string
		isUncertain,
		isKept bool // the connection
	}{
		{"slow", "no reply in time", true, false},
		{"lost", "EOF", true, false},
		{"cut", "EOF", true, false},
		{"what is this\r\n", "the reply is not valid", true, false},
		{"$5\r\nab", "no reply in time", true, false},
		{"-LOADING Redis is loading the dataset in memory\r\n", "LOADING Redis is loading the dataset in memory", false, true},
		{"-READONLY You can't write against a read only replica.\r\n", "READONLY You can't write against a read only replica.", false, true},
		{"$3\r\n[1]\r\n", "unexpected reply", false, true},
		{"$-1\r\n", "unexpected reply", false, true},
	}
	for _, test := range tests {
		f := newFakeRedis(t, "")
		s := testStore(t, f, Redis{ReadTimeout: "500ms"})
		if _, failure := reserveRedis(s, testCharges(t, "a"), testAmounts(0)); failure != nil {
			t.Fatal(failure.text)
		}
		f.sent()
		resume := func() {}
		if test.fault == "slow" {
			resume = f.freeze()
		} else {
			f.setFault(always(test.fault))
		}
		start := time.Now()
		_, failure := reserveRedis(s, testCharges(t, "a"), testAmounts(0))
		if failure == nil || failure.text != test.want || failure.isUncertain != test.isUncertain {
			t.Errorf("%q: failure %+v, want %q, uncertain %v", test.fault, failure, test.want, test.isUncertain)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%q: took %s", test.fault, took)
		}
		resume()
		f.setFault(nil)
		if got := f.sent(); got != "EVALSHA" {
			t.Errorf("%q: sent %s, want one command", test.fault, got)
		}
		if _, failure := reserveRedis(s, testCharges(t, "a"), testAmounts(0)); failure != nil {
			t.Errorf("%q: the next command fails: %s", test.fault, failure.text)
		}
		if isKept := f.connections() == 1; isKept != test.isKept {
			t.Errorf("%q: connection kept: %v, want %v", test.fault, isKept, test.isKept)
		}
	}
}

// TestRestartedServerIsNoFailure checks that connections that the server has closed while they were idle cost nothing.
func TestRestartedServerIsNoFailure(t *testing.T) {
	f := newFakeRedis(t, "")
	s := testStore(t, f, Redis{})
	for i := 0; i < 3; i++ {
		if _, failure := reserveRedis(s, testCharges(t, "a"), testAmounts(0)); failure != nil {
			t.Fatalf("restart %d: %s", i, failure.text)
		}
		address := f.listener.Addr().String()
		f.stop()
		f.listen(address)
		s.pool.mu.Lock()
		s.pool.idle[0].used = time.Now().Add(-time.Second) // long ago
		s.pool.mu.Unlock()
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	f := newFakeRedis(t, "")
	s := testStore(t, f, Redis{PoolSize: 3, DialTimeout: "100ms", WriteTimeout: "100ms", ReadTimeout: "100ms"})
	resume := f.freeze()
	start := time.Now()
	var running sync.WaitGroup
	for i := 0; i < 20; i++ {
		running.Add(1)
		go func() {
			defer running.Done()
			_, _ = reserveRedis(s, testCharges(t, "a"), testAmounts(0))
		}()
	}
	running.Wait()
	if took, most := time.Since(start), 5*time.Second; took > most { // 100 ms each for a connection, writing, and the reply
		t.Errorf("the last request waited %s, want at most %s", took, most)
	}
	f.mu.Lock()
	largest := f.largest
	f.mu.Unlock()
	resume()
	if got := s.pool.free; got != 3 {
		t.Errorf("%d free slots after all commands, want 3", got)
	}
	if largest > 12 {
		t.Errorf("%d commands at the server", largest)
	}
}

func TestUnreachableServerIsAFailure(t *testing.T) {
	f := newFakeRedis(t, "")
	s := testStore(t, f, Redis{})
	f.stop()
	_, failure := reserveRedis(s, testCharges(t, "a"), testAmounts(0))
	if failure == nil || failure.isUncertain || !strings.Contains(failure.text, "refused") {
		t.Errorf("got %+v, want a certain failure: connection refused", failure)
	}
	if got := networkProblem(errors.New("x")); got != "x" {
		t.Errorf("got %s", got)
	}
}
