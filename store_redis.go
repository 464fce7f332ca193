package chatcompletion

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// redisStore holds counters in Redis. All middlewares with equal settings share one, which outlives
// them a little, so that a new configuration finds its connections.
//
// While Redis is unavailable, it keeps what was used, and adds that to the counters when Redis is
// back.
type redisStore struct {
	settings *redisSettings
	pool     *redisPool
	memory   *memoryStore // that shows what Redis says, and goes on without it
	health   *storeHealth
	pace     redisPace
	failures atomic.Int64 // consecutive; from failuresToOpen on, Redis counts as unavailable

	mu      sync.Mutex
	deltas  map[string]*useDelta // of use that Redis does not know yet
	unsure  []*settlement        // that were sent, and may have been executed
	merges  int                  // settlements of deltas so far
	logged  bool                 // that deltas were dropped
	users   []context.Context    // of the middlewares
	unused  time.Time            // since when; zero: there is a user
	timer   *time.Timer          // of the next tendRedis; nil: the store is retired
	due     time.Time            // when the timer calls
	tending bool                 // tendRedis runs
	probe   time.Time            // when Redis is tried next, if it is unavailable
	release context.CancelFunc   // ends the look-ups of user and password
}

// settlement is what a settle script is sent: it can be sent again, and is executed once.
type settlement struct {
	words int
	tail  string
	sent  time.Time // the first time
}

func newRedisStore(s *redisSettings, pace redisPace, health *storeHealth, memory *memoryStore) *redisStore {
	random := make([]byte, 8)
	_, _ = rand.Read(random)
	store := &redisStore{settings: s, pace: pace, health: health, memory: memory}
	store.pool = newRedisPool(s, hex.EncodeToString(random))
	store.deltas = map[string]*useDelta{}
	ctx, release := context.WithCancel(context.Background())
	startCredential(ctx, s.username)
	startCredential(ctx, s.password)
	store.release = release
	return store
}

// reserveRedis reserves charges on all their counters, or on none. It reports whether any has nothing
// left.
func reserveRedis(s *redisStore, charges []charge, amounts []int64) (bool, *redisFailure) {
	conn, err := acquireConn(s.pool)
	if err != nil {
		return false, &redisFailure{text: networkProblem(err)}
	}
	reply, failure := runScript(s.pool, conn, reserveScript, len(charges)+reserveWords, reservationTail(s, charges, amounts))
	if failure != nil {
		return false, failure
	}
	return readReserved(s, charges, reply)
}

// readRedis reads the counters of charges. It reports for each whether its use is known.
func readRedis(s *redisStore, charges []charge) ([]bool, *redisFailure) {
	conn, err := acquireConn(s.pool)
	if err != nil {
		return nil, &redisFailure{text: networkProblem(err)}
	}
	reply, failure := runScript(s.pool, conn, readScript, len(charges)+reserveWords, reservationTail(s, charges, noAmounts))
	if failure != nil {
		return nil, failure
	}
	return readLook(charges, reply)
}

// readLook sets what readCharges sets of charges.
func readLook(charges []charge, reply []byte) ([]bool, *redisFailure) {
	var numbers []int64
	if json.Unmarshal(reply, &numbers) != nil || len(numbers) != 1+4*len(charges) {
		return nil, &redisFailure{text: "unexpected reply"}
	}
	isKnown := make([]bool, len(charges))
	for i := range charges {
		c := &charges[i]
		c.nowMs = numbers[0]
		c.resetMs, c.used = numbers[1+4*i+2], numbers[1+4*i+3]
		isKnown[i] = !isSharedCounter(c)
	}
	return isKnown, nil
}

// noAmounts are the amounts of a request that no provider has worked for.
var noAmounts = []int64{0, 0, 0, 0, 0, 0, 0}

// Words of the commands, without the keys of the counters.
const (
	reserveWords = 4
	settleWords  = 6
)

// reservationTail returns the end of a reserve command.
func reservationTail(s *redisStore, charges []charge, amounts []int64) string {
	keys, numbers := "", ""
	for i := range charges {
		c := &charges[i]
		setChargeWords(s, c)
		enforce := 0
		if c.enforce {
			enforce = 1
		}
		keys += c.keyWord
		numbers += c.windowWords + fmt.Sprintf("%d %d %d %d ", c.limit, amounts[c.reserves], enforce, int64(c.hold/time.Millisecond))
	}
	count := strconv.Itoa(len(charges))
	return fmt.Sprintf("$%d\r\n%s\r\n%s$%d\r\n%s\r\n", len(count), count, keys, len(numbers), numbers)
}

// setChargeWords sets the key of a charge's counter, as the protocol has it, and its window.
func setChargeWords(s *redisStore, c *charge) {
	name := s.settings.keyPrefix + "quota:" + c.key
	c.keyWord = fmt.Sprintf("$%d\r\n%s\r\n", len(name), name)
	c.windowWords = "-1 0 "
	if c.window != nil {
		c.windowWords = fmt.Sprintf("%d %d ", c.window.lengthMs, c.window.offsetMs)
	}
}

// readReserved sets what the store sets of charges. It reports whether any has nothing left.
func readReserved(s *redisStore, charges []charge, reply []byte) (bool, *redisFailure) {
	var numbers []int64
	if json.Unmarshal(reply, &numbers) != nil || len(numbers) != 1+4*len(charges) {
		return false, &redisFailure{text: "unexpected reply"}
	}
	isOver, isRefused := false, false
	for i := range charges {
		c := &charges[i]
		n := numbers[1+4*i:]
		c.redis = s
		c.nowMs = numbers[0]
		c.reserved, c.windowStartMs, c.resetMs, c.used = n[0], n[1], n[2], n[3]
		if c.used >= c.limit && !isRefused {
			c.refused = true
			isOver = true
			isRefused = c.enforce
		}
		if c.window == nil {
			c.resetMs = math.MaxInt64
		}
	}
	mirrorCharges(s.memory, charges)
	return isOver, nil
}

// settleRedis settles charges with what was used. A settlement whose outcome is unknown is kept, and
// sent again.
func settleRedis(s *redisStore, charges []charge, amounts []int64) *redisFailure {
	conn, err := acquireConn(s.pool)
	if err != nil {
		return &redisFailure{text: networkProblem(err)}
	}
	conn.sent++
	tail := settlementTail(s, charges, amounts, conn.name, conn.sent)
	_, failure := runScript(s.pool, conn, settleScript, len(charges)+settleWords, tail)
	if failure != nil && failure.isUncertain {
		keepSettlement(s, &settlement{len(charges) + settleWords, tail, time.Now()})
	}
	return failure
}

// settlementTail returns the end of a settle command. name and number identify the settlement.
func settlementTail(s *redisStore, charges []charge, amounts []int64, name string, number int) string {
	keys, numbers := "", ""
	for i := range charges {
		c := &charges[i]
		if c.keyWord == "" {
			setChargeWords(s, c) // it was reserved without Redis
		}
		keys += c.keyWord
		numbers += c.windowWords + fmt.Sprintf("%d %d %d %d ", c.windowStartMs, c.nowMs/minuteMs, c.reserved, amounts[c.counts])
	}
	token := s.settings.keyPrefix + "sent:" + name
	count, numberText := strconv.Itoa(len(charges)+1), strconv.Itoa(number)
	return fmt.Sprintf("$%d\r\n%s\r\n$%d\r\n%s\r\n%s$%d\r\n%s\r\n$%d\r\n%s\r\n",
		len(count), count, len(token), token, keys, len(numbers), numbers, len(numberText), numberText)
}
