package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/backends"
	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestQuotasSurviveReloads replaces the configuration repeatedly during calls, with counters in memory
// and in Redis. A quota lets through as many requests as its limit says, and no configuration begins
// at zero.
func TestQuotasSurviveReloads(t *testing.T) {
	const clients, limit = 4, 4000
	redis := startRedis(t)
	provider := upstream(t, counting(0))
	g := start(t, gateway.Options{})
	stores := map[string]map[string]any{"memory": nil, "redis": {"endpoints": []string{redis.Address}}}
	// Each turn has another token limit, so that no instance is used again.
	configuration := func(turn int) gateway.Dynamic {
		dynamic := exposing()
		dynamic.Services["provider"] = provider.URL
		for name, store := range stores {
			keys := map[string]any{
				"model": "gpt-4o", "params": map[string]any{"maxTokens": 100 + turn},
				"quotas": []any{
					map[string]any{"name": "limited", "unit": "requests", "limit": limit, "window": accountWindow},
					map[string]any{"name": "tokens", "unit": "tokens", "limit": 1_000_000_000, "window": accountWindow, "reserve": "full"},
					map[string]any{"name": "open", "unit": "concurrent", "limit": clients},
				},
			}
			if store != nil {
				keys["redis"] = store
			}
			dynamic.Middlewares[name] = gateway.Plugin(keys)
			dynamic.Routers[name] = gateway.Router{Rule: "PathPrefix(`/" + name + "/`)", Middlewares: []string{name}, Service: "provider"}
		}
		return dynamic
	}
	configure(t, g, configuration(0))

	counters := map[string]*served{}
	var running sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for name := range stores {
		s := &served{t: t, base: g.URL + "/" + name, most: limit - clients}
		counters[name] = s
		for client := range clients {
			running.Go(func() { s.callUntil(ctx, client%2 == 0) })
		}
	}
	for turn := range reloads {
		configure(t, g, configuration(turn+1))
	}
	stop()
	running.Wait()
	for name, s := range counters {
		t.Run(name, func(t *testing.T) {
			if s.refused > 0 || s.calls == 0 {
				t.Fatalf("%d of %d calls were refused before the limit of %d", s.refused, s.calls+s.refused, limit)
			}
			t.Logf("%d calls during %d reloads", s.calls, reloads)
			for s.refused == 0 && s.calls < 2*limit {
				s.call(t.Context(), false)
			}
			if s.calls != limit {
				t.Errorf("%d calls had a response before one was refused, want %d", s.calls, limit)
			}
			if name == "redis" {
				checkAccounts(t, redis, accounts{"limited/": {used: limit}, "tokens/": {used: s.tokens}})
			}
			want := totals{"limited": limit, "tokens": float64(s.tokens)}
			awaitTotals(t, "use in the metrics", want, func() totals { return ofMiddleware(t, g, name) })
		})
	}
	checkNoErrors(t, g)
}

// ofMiddleware returns what a middleware's quotas with windows have used, as its metrics say.
func ofMiddleware(t *testing.T, g *gateway.Gateway, name string) totals {
	found := totals{}
	for key, value := range exposed(t, g, "chat_completion_quota_used", "chat_completion_middleware", "chat_completion_quota_name") {
		middleware, quota, _ := strings.Cut(key, "/")
		if strings.HasPrefix(middleware, name) && quota != "open" {
			found[quota] = value
		}
	}
	return found
}

// served counts the calls of a route that had a response, and those that were refused.
type served struct {
	t    *testing.T
	base string
	most int // calls of callUntil

	mutex          sync.Mutex
	begun          int
	calls, refused int
	tokens         int64
}

func (s *served) callUntil(ctx context.Context, stream bool) {
	ticks := time.NewTicker(20 * time.Millisecond)
	defer ticks.Stop()
	for ; ctx.Err() == nil; <-ticks.C {
		s.mutex.Lock()
		isEnough := s.begun >= s.most
		s.mutex.Unlock()
		if isEnough {
			return
		}
		s.call(context.WithoutCancel(ctx), stream)
	}
}

func (s *served) call(ctx context.Context, stream bool) {
	s.mutex.Lock()
	s.begun++
	number := s.begun
	s.mutex.Unlock()
	body := plainBody
	if stream {
		body = plainStream
	}
	response, err := do(ctx, http.DefaultClient, s.base+chatPath, body, map[string]string{numberHeader: strconv.Itoa(number)})
	if err != nil {
		s.t.Error(err)
		return
	}
	text, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch {
	case err == nil && response.StatusCode == http.StatusOK:
		s.calls++
		s.tokens += int64(inputTokens(number) + outputTokens(number))
	case response.StatusCode == http.StatusTooManyRequests:
		s.refused++
	default:
		s.t.Errorf("status %d, %v: %s", response.StatusCode, err, text)
	}
}

// TestReservationsOfAKilledTraefikExpire kills a Traefik with open streams. What it had reserved
// remains for another one that shares the counters, until it expires. The clock of Redis cannot be
// moved: the test moves the reservations to an earlier minute instead.
func TestReservationsOfAKilledTraefikExpire(t *testing.T) {
	const streams, maxTokens, limit = 5, 200, 100_000
	redis := startRedis(t)
	provider := upstream(t, counting(0))
	configuration := metered(map[string]any{
		"model": "gpt-4o", "maxStreamDuration": "1m", "params": map[string]any{"maxTokens": maxTokens},
		"quotas": []any{map[string]any{"name": "tokens", "unit": "tokens", "limit": limit, "window": accountWindow, "reserve": "full", "shared": true}},
		"redis":  map[string]any{"endpoints": []string{redis.Address}},
	}, provider.URL)
	killed, other := start(t, gateway.Options{}), start(t, gateway.Options{})
	configure(t, killed, configuration)
	configure(t, other, configuration)

	began := time.Now()
	for range streams {
		response, err := do(t.Context(), http.DefaultClient, killed.URL+chatPath, plainStream, map[string]string{endingHeader: endingLeave})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = response.Body.Close() })
		if _, err := readEvent(bufio.NewReader(response.Body)); err != nil {
			t.Fatal(err)
		}
	}
	ended := time.Now()
	killed.Kill()

	const reserved = int64(len(plainStream)/4 + maxTokens)
	minutes := reservations(t, redis)
	total := int64(0)
	for minute, amount := range minutes {
		if minute < began.Unix()/60 || minute > ended.Unix()/60 {
			t.Errorf("%d tokens are reserved in minute %d, want %d to %d", amount, minute, began.Unix()/60, ended.Unix()/60)
		}
		total += amount
	}
	if total != streams*reserved {
		t.Errorf("%d tokens are reserved, want %d for each of %d streams", total, reserved, streams)
	}
	used := int64(0)
	remaining := func() int64 {
		t.Helper()
		number := nextNumber()
		got := fetch(t, other.URL+chatPath, plainBody, map[string]string{numberHeader: strconv.Itoa(number)})
		if got.status != http.StatusOK {
			t.Fatalf("status %d: %s", got.status, got.body)
		}
		left, err := strconv.ParseInt(got.header.Get("X-Ratelimit-Remaining-Tokens"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		left += used + int64(len(plainBody)/4+maxTokens) // without what this test has used and reserved itself
		used += int64(inputTokens(number) + outputTokens(number))
		return left
	}
	if got, want := remaining(), limit-streams*reserved; got != want {
		t.Errorf("%d tokens remain beside the reservations, want %d", got, want)
	}
	moveReservations(t, redis, minutes, 1)
	if got, want := remaining(), limit-streams*reserved; got != want && time.Now().Unix()/60 == began.Unix()/60 {
		t.Errorf("%d tokens remain beside reservations of a minute ago, want %d", got, want)
	}
	moveReservations(t, redis, reservations(t, redis), 2)
	if got := remaining(); got != limit {
		t.Errorf("%d tokens remain when the reservations have expired, want %d", got, limit)
	}
	checkAccounts(t, redis, accounts{"tokens/": {used: used}})
}

// reservations returns what is reserved of the only counter, by minute of Unix time.
func reservations(t *testing.T, redis *backends.Redis) map[int64]int64 {
	t.Helper()
	minutes := map[int64]int64{}
	fields := command(t, redis, "HGETALL", onlyCounter(t, redis))
	for i := 0; i+1 < len(fields); i += 2 {
		text, isReservation := strings.CutPrefix(fields[i], "r")
		minute, err := strconv.ParseInt(text, 10, 64)
		amount, err2 := strconv.ParseInt(fields[i+1], 10, 64)
		if isReservation && (err != nil || err2 != nil) {
			t.Fatalf("%q: %q", fields[i], fields[i+1])
		}
		if isReservation {
			minutes[minute] = amount
		}
	}
	return minutes
}

func onlyCounter(t *testing.T, redis *backends.Redis) string {
	t.Helper()
	keys := command(t, redis, "KEYS", "*quota:*")
	if len(keys) != 1 {
		t.Fatalf("counters %q, want one", keys)
	}
	return keys[0]
}

// moveReservations makes reservations older by a number of minutes.
func moveReservations(t *testing.T, redis *backends.Redis, minutes map[int64]int64, older int64) {
	t.Helper()
	key := onlyCounter(t, redis)
	for minute := range minutes {
		command(t, redis, "HDEL", key, fmt.Sprint("r", minute))
	}
	for minute, amount := range minutes {
		command(t, redis, "HINCRBY", key, fmt.Sprint("r", minute-older), strconv.FormatInt(amount, 10))
	}
}
