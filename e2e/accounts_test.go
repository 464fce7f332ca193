package e2e_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/backends"
)

// accountWindow is a window that does not end during a test.
const accountWindow = "8784h"

// consumerKey returns the key of a consumer.
func consumerKey(name string) string { return "sk-consumer-" + name }

// consumersOf returns the configuration of consumers with the names, whose groups alternate.
func consumersOf(names ...string) map[string]any {
	list := make([]any, 0, len(names))
	for i, name := range names {
		sum := sha256.Sum256([]byte(consumerKey(name)))
		list = append(list, map[string]any{"name": name, "key": "sha256:" + hex.EncodeToString(sum[:]), "group": groupOf(i)})
	}
	return map[string]any{"list": list}
}

func groupOf(consumer int) string { return []string{"engineering", "sales"}[consumer%2] }

// startRedis runs a redis-server until the end of the test.
func startRedis(t *testing.T, arguments ...string) *backends.Redis {
	t.Helper()
	r, err := backends.StartRedis(t.Context(), arguments...)
	if err != nil {
		t.Fatal(err)
	}
	closeAtEnd(t, r)
	return r
}

// command runs a command in Redis.
func command(t *testing.T, r *backends.Redis, words ...string) []string {
	t.Helper()
	reply, err := r.Command(words...)
	if err != nil {
		t.Fatalf("%q: %v", words, err)
	}
	return reply
}

// account is what is used and what is reserved of a quota by a subject.
type account struct{ used, reserved int64 }

// accounts are those of all quotas and subjects, as "quota/subject".
type accounts map[string]account

// accountsIn reads the counters in Redis.
func accountsIn(t *testing.T, r *backends.Redis) accounts {
	t.Helper()
	all := accounts{}
	for _, key := range command(t, r, "KEYS", "*quota:*") {
		_, rest, _ := strings.Cut(key, "quota:") // then the scope, and the quota's name, unit and window, and the subject
		parts := strings.Split(rest, ":")
		if len(parts) < 5 {
			t.Fatalf("the key %q has another form", key)
		}
		fields := command(t, r, "HGETALL", key)
		var a account
		for i := 0; i+1 < len(fields); i += 2 {
			amount, err := strconv.ParseInt(fields[i+1], 10, 64)
			if err != nil {
				t.Fatalf("%s: %v", key, err)
			}
			switch {
			case fields[i] == "u":
				a.used += amount
			case strings.HasPrefix(fields[i], "r"):
				a.reserved += amount
			}
		}
		if a != (account{}) { // else nothing is used, and nothing reserved
			all[parts[len(parts)-4]+"/"+parts[len(parts)-1]] = a
		}
	}
	return all
}

// bookkeeping is what the clients know that their calls have used.
type bookkeeping struct {
	mutex sync.Mutex
	used  accounts
}

func newBookkeeping() *bookkeeping { return &bookkeeping{used: accounts{}} }

func (b *bookkeeping) enter(amounts map[string]int64) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	for name, amount := range amounts {
		if amount != 0 {
			b.used[name] = account{used: b.used[name].used + amount}
		}
	}
}

// read returns a copy.
func (b *bookkeeping) read() accounts {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return maps.Clone(b.used)
}

// checkAccounts waits until Redis has what the clients know, with no reservation left.
func checkAccounts(t *testing.T, r *backends.Redis, want accounts) {
	t.Helper()
	var got accounts
	settled := func() bool {
		got = accountsIn(t, r)
		return maps.Equal(got, want)
	}
	if eventually(settled) {
		return
	}
	for _, name := range sortedUnion(got, want) {
		if got[name] != want[name] {
			t.Errorf("%s: %+v in Redis, want %+v", name, got[name], want[name])
		}
	}
}

// modelPrices are prices in USD for a million tokens.
type modelPrices struct{ input, cacheRead, output, reasoning string }

func (p modelPrices) configuration() map[string]string {
	return map[string]string{"input": p.input, "cacheRead": p.cacheRead, "output": p.output, "reasoning": p.reasoning}
}

// tokenCounts are what a call has used.
type tokenCounts struct{ input, cached, output, reasoning int64 }

// cost returns what tokens cost, in picodollars.
func (p modelPrices) cost(c tokenCounts) int64 {
	sum := new(big.Rat)
	for price, tokens := range map[string]int64{
		"input " + p.input: c.input - c.cached, "cacheRead " + p.cacheRead: c.cached,
		"output " + p.output: c.output - c.reasoning, "reasoning " + p.reasoning: c.reasoning,
	} {
		_, text, _ := strings.Cut(price, " ")
		rate, ok := new(big.Rat).SetString(text)
		if !ok {
			panic(price)
		}
		sum.Add(sum, rate.Mul(rate, big.NewRat(tokens, 1)))
	}
	sum.Mul(sum, big.NewRat(1_000_000, 1)) // picodollars of a token, of dollars for a million
	if !sum.IsInt() {
		panic(fmt.Sprintf("%v picodollars", sum))
	}
	return sum.Num().Int64()
}
