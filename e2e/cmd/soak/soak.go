package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
	"github.com/modelroute/chatcompletion/e2e/progress"
)

const (
	// shortClients cycle through all kinds of calls, with a pause between two calls.
	shortClients = 16
	pause        = 10 * time.Millisecond

	// longClients read streams that outlive reloads.
	longClients = 8

	reloadInterval = time.Second
)

// soak is a Traefik with its clients, provider and collector, and the counts of its calls.
type soak struct {
	traefik *gateway.Gateway
	site    site
	servers []*httptest.Server
	folder  string // that holds the key

	provider *provider
	caller   *caller
	spans    atomic.Int64 // received by the collector
	numbers  atomic.Int64 // of calls started so far
	book     book
	reloads  int

	// quiet makes samples comparable: short calls hold it for reading, a sample holds it for writing.
	quiet sync.RWMutex
}

func newSoak(ctx context.Context, plugin string) (s *soak, err error) {
	s = &soak{provider: &provider{}, book: book{entries: ledger{}}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if s.folder, err = os.MkdirTemp("", "chatcompletion-soak-"); err != nil {
		return s, err
	}
	s.site.keyFile = filepath.Join(s.folder, "key")
	if err := os.WriteFile(s.site.keyFile, []byte(providerKey), 0o600); err != nil {
		return s, err
	}
	s.site.provider = s.serve(s.provider)
	s.site.failing = s.serve(http.HandlerFunc(s.provider.fail))
	s.site.collector = s.serve(http.HandlerFunc(s.collect))
	s.site.dead = &url.URL{Scheme: "http", Host: "127.0.0.1:1"} // nothing listens on this port

	if s.traefik, err = gateway.Start(ctx, gateway.Options{Plugin: plugin}); err != nil {
		return s, err
	}
	if err := s.traefik.Load(ctx, s.site.configuration(0)); err != nil {
		return s, err
	}
	s.caller = &caller{
		base:     s.traefik.URL,
		client:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: shortClients + longClients, DisableCompression: true}},
		provider: s.provider,
	}
	return s, nil
}

func (s *soak) serve(handler http.Handler) *url.URL {
	server := httptest.NewServer(handler)
	s.servers = append(s.servers, server)
	address, _ := url.Parse(server.URL) // httptest's addresses are valid
	return address
}

// close stops everything that newSoak started.
func (s *soak) close() (err error) {
	if s.caller != nil {
		s.caller.client.CloseIdleConnections()
	}
	if s.traefik != nil {
		err = s.traefik.Stop()
	}
	for _, server := range s.servers {
		server.CloseClientConnections()
		server.Close()
	}
	return errors.Join(err, os.RemoveAll(s.folder))
}

// collect counts spans and discards the telemetry.
func (s *soak) collect(w http.ResponseWriter, r *http.Request) {
	plain, err := gzip.NewReader(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(plain)
	if err != nil {
		return // Traefik has ended
	}
	s.spans.Add(int64(bytes.Count(body, []byte(`"spanId":`))))
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, "{}")
}

// run makes calls and reloads for the duration, and returns the samples that it took meanwhile.
func (s *soak) run(ctx context.Context, out io.Writer, duration time.Duration) (*samples, error) {
	var clients sync.WaitGroup
	done := make(chan struct{})
	for range shortClients {
		clients.Add(1)
		go func() {
			defer clients.Done()
			s.callShortly(ctx, done)
		}()
	}
	for range longClients {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for !closed(done) && ctx.Err() == nil {
				s.call(ctx, longKind, int(s.numbers.Add(1)))
			}
		}()
	}
	seen, err := s.watch(ctx, out, duration)
	close(done)
	clients.Wait()
	return seen, errors.Join(err, ctx.Err())
}

// fewestTurns fill both halves of an endpoint's memory of conversations, and then forget three: one
// in each fifth. A half is 16384 turns and arrays of tools; a conversation has fillTurns+1 and one.
const fewestTurns = 5 * 16384 / (fillTurns + 2) * (fillTurns + 1)

// fillTurns is the number of turns of these conversations.
const fillTurns = 8

// fillSamples is the number of samples meanwhile.
const fillSamples = 160

// fill makes calls of conversations without a reload, which would begin with an empty memory of them.
// It returns a number of samples, each taken after equally many turns.
func (s *soak) fill(ctx context.Context, out io.Writer, turns, count int) (*samples, error) {
	seen := &samples{}
	line := progress.Start(out, "conversations")
	defer line.End()
	begin := time.Now()
	for i := range count {
		first, end := turns*i/count, turns*(i+1)/count
		if err := s.converse(ctx, end-first); err != nil {
			return seen, err
		}
		if err := seen.take(ctx, s.traefik, time.Since(begin)); err != nil {
			return seen, err
		}
		line.Set(float64(end)/float64(turns), "%d turns, %s", end, seen)
	}
	return seen, nil
}

// converse makes the number of calls of conversations.
func (s *soak) converse(ctx context.Context, turns int) error {
	var left atomic.Int64
	left.Store(int64(turns))
	var clients sync.WaitGroup
	for range shortClients {
		clients.Add(1)
		go func() {
			defer clients.Done()
			for left.Add(-1) >= 0 && ctx.Err() == nil && !closed(s.traefik.Done()) {
				s.call(ctx, fillKind, int(s.numbers.Add(1)))
			}
		}()
	}
	clients.Wait()
	if closed(s.traefik.Done()) {
		return errors.New("traefik exited unexpectedly")
	}
	return ctx.Err()
}

func (s *soak) callShortly(ctx context.Context, done <-chan struct{}) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for !closed(done) && ctx.Err() == nil {
		number := int(s.numbers.Add(1))
		s.quiet.RLock()
		s.call(ctx, shortKinds[number%len(shortKinds)], number)
		s.quiet.RUnlock()
		<-ticker.C
	}
}

// call makes one call and enters its outcome into the book, unless the run was interrupted.
func (s *soak) call(ctx context.Context, k kind, number int) {
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := k.do(s.caller, limited, k, number); ctx.Err() == nil {
		s.book.enter(k, number, err)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// watch loads a new configuration and takes a sample every reloadInterval.
func (s *soak) watch(ctx context.Context, out io.Writer, duration time.Duration) (*samples, error) {
	seen := &samples{}
	line := progress.Start(out, "soak")
	defer line.End()
	begin := time.Now()
	ticker := time.NewTicker(reloadInterval)
	defer ticker.Stop()
	for time.Since(begin) < duration {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return seen, ctx.Err()
		case <-s.traefik.Done():
			return seen, errors.New("traefik exited unexpectedly")
		}
		if err := s.traefik.Load(ctx, s.site.configuration(s.reloads+1)); err != nil {
			return seen, err
		}
		s.reloads++
		s.quiet.Lock()
		err := seen.take(ctx, s.traefik, time.Since(begin))
		s.quiet.Unlock()
		if err != nil {
			return seen, err
		}
		line.Set(float64(time.Since(begin))/float64(duration), "%d calls, %d reloads, %s", s.book.count(), s.reloads, seen)
	}
	return seen, nil
}

// check returns the problems with the calls, with their records, and in Traefik's log.
func (s *soak) check(ctx context.Context) ([]string, error) {
	s.book.mutex.Lock()
	defer s.book.mutex.Unlock()
	problems := s.book.problems
	if s.book.failed > len(problems) {
		problems = append(problems, fmt.Sprintf("and %d more failed calls", s.book.failed-len(problems)))
	}
	// Clients cannot see the attempts that precede a fallback. The failing provider counted them.
	want := s.book.entries
	attempts := func(entries ledger) (sum float64) {
		for _, name := range fallbackKinds {
			sum += entries[callsOf(name, "503")]
			delete(entries, callsOf(name, "503"))
		}
		return sum
	}
	const attempted = "attempts before a fallback"
	want[attempted] = float64(s.provider.failed.Load())
	const spans = "spans of calls, sent or lost"
	want[spans] = want.calls() + want[attempted]
	differences, err := want.await(ctx, func(ctx context.Context) (ledger, error) {
		got, err := registry(ctx, s.traefik.URL+metricsPath)
		if err != nil {
			return nil, err
		}
		got[attempted] = attempts(got)
		got[spans] = float64(s.spans.Load()) + got["lost: span"]
		delete(got, "lost: span")
		return got, nil
	})
	if err != nil {
		return nil, err
	}
	problems = append(problems, differences...)
	logged, err := s.traefik.Errors()
	if len(logged) > mostProblems {
		logged = append(logged[:mostProblems], fmt.Sprintf("and %d more lines", len(logged)-mostProblems))
	}
	for _, line := range logged {
		problems = append(problems, "Traefik logged: "+line)
	}
	return problems, err
}
