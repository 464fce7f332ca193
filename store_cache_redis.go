package chatcompletion

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"
)

// Bounds of a cache in Redis.
const (
	entryHeadMaxBytes = 4 << 10     // of an entry, before the body
	maxStoring        = 32          // responses that are being stored; further ones are not
	clockSkew         = time.Minute // by which the clocks of two Traefiks may differ
	sharedPlaceDigits = 15          // of a key that choose its place
)

// sharedHead is what an entry in Redis begins with: its hash, when it was stored (Unix time, in
// milliseconds), and the length of its description. The body follows that.
var sharedHead = regexp.MustCompile(`^chat-completion/1 ([0-9a-f]{64}) ([0-9]{1,15}) ([0-9]{1,4})\n`)

const sharedHeadFormat = "chat-completion/1 %x %d %d\n"

// sharedDescription is the description of an entry.
type sharedDescription struct {
	Form   string              `json:"form"`
	Header map[string][]string `json:"header"`
}

// encodeShared returns a response as an entry. The hash is also that of the key: an entry is valid
// under its own key only.
func encodeShared(r *cachedResponse) string {
	description := marshal(&sharedDescription{Form: r.form, Header: r.header})
	content, ms := string(description)+string(r.body), r.stored.UnixMilli()
	return fmt.Sprintf(sharedHeadFormat, sharedHash(r.key, ms, content), ms, len(description)) + content
}

func sharedHash(key string, ms int64, content string) [sha256.Size]byte {
	return sha256.Sum256([]byte(key + " " + strconv.FormatInt(ms, 10) + " " + content))
}

// decodeShared returns the response of an entry; nil: the text is none. Anyone with access to Redis may
// have written it.
func decodeShared(key string, text []byte) *cachedResponse {
	head := text
	if len(head) > entryHeadMaxBytes {
		head = head[:entryHeadMaxBytes]
	}
	parts := sharedHead.FindSubmatch(head)
	if parts == nil {
		return nil
	}
	content := string(text[len(parts[0]):])
	ms, _ := strconv.ParseInt(string(parts[2]), 10, 64)
	length, _ := strconv.Atoi(string(parts[3]))
	if length > len(content) || fmt.Sprintf("%x", sharedHash(key, ms, content)) != string(parts[1]) {
		return nil
	}
	var description sharedDescription
	if json.Unmarshal([]byte(content[:length]), &description) != nil {
		return nil
	}
	switch description.Form {
	case formDocument, formEvents, formArray:
	default:
		return nil
	}
	stored := time.UnixMilli(ms)
	if time.Until(stored) > clockSkew {
		return nil
	}
	return &cachedResponse{key: key, header: keptOf(http.Header(description.Header)), body: []byte(content[length:]), form: description.Form, stored: stored}
}

// sharedKey returns the key in Redis of the place for an entry. A cache has as many places as it may have
// entries, and a new entry takes that of an older one: whatever clients send, it leaves room for counters.
func sharedKey(c *responseCache, key string) string {
	number, _ := strconv.ParseUint(key[:sharedPlaceDigits], 16, 64)
	return c.redis.settings.keyPrefix + "cache:" + c.middleware + ":" + strconv.FormatUint(number%uint64(c.maxEntries), 10)
}

// findShared returns what Redis has under a key; nil: nothing that is valid. No more is read of it than
// an entry may have.
func findShared(c *responseCache, key string) *cachedResponse {
	s, most := c.redis, c.maxBytes+entryHeadMaxBytes
	if s.failures.Load() >= failuresToOpen {
		return nil
	}
	command := encodeCommand([]string{"GETRANGE", sharedKey(c, key), "0", strconv.Itoa(most)})
	kind, text := runCommand(s, string(command), most+1)
	if kind != stringReply || len(text) > most {
		return nil
	}
	return decodeShared(key, text)
}

// storing is the number of responses that are being stored.
var storing atomic.Int64

// storeShared stores a response in Redis, while the exchange ends.
func storeShared(c *responseCache, r *cachedResponse) {
	if c.redis.failures.Load() >= failuresToOpen {
		return
	}
	if storing.Add(1) > maxStoring {
		storing.Add(-1)
		return
	}
	go sendShared(c, r)
}

// sendShared is the goroutine.
func sendShared(c *responseCache, r *cachedResponse) {
	defer recoverGoroutine("cache")
	defer endStoring()
	s := c.redis
	command := encodeCommand([]string{"SET", sharedKey(c, r.key), encodeShared(r), "PX", strconv.FormatInt(c.ttl.Milliseconds(), 10)})
	if kind, _ := runCommand(s, string(command), replyMaxBytes); kind == errorReply {
		s.health.errors.Add(1) // it has no room, for example
	}
}

// endStoring ends sendShared, also after a panic.
func endStoring() {
	storing.Add(-1)
}

// runCommand runs a command of a cache, and returns the kind and the text of the reply; 0: there was
// none. Failures of connections count as those of quotas do, and so may make Redis unavailable for some
// seconds. Errors that Redis replies with do not: they may be due to one key.
func runCommand(s *redisStore, command string, maxBytes int) (byte, []byte) {
	conn, err := acquireConn(s.pool)
	if err != nil {
		recordStoreFailure(s, &redisFailure{text: networkProblem(err)})
		return 0, nil
	}
	kind, text, failure := exchangeCommand(s.settings, conn, command, maxBytes)
	if failure != nil {
		discardConn(s.pool, conn)
		recordStoreFailure(s, failure)
		return 0, nil
	}
	releaseConn(s.pool, conn)
	if failures := s.failures.Load(); failures > 0 && failures < failuresToOpen {
		s.failures.CompareAndSwap(failures, 0)
	}
	return kind, text
}
