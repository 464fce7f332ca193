package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// crowdName is the stream name shared by all streams of a crowd.
const crowdName = "crowd"

// settle is the pause between the start of the events and that of the measurement.
const settle = 500 * time.Millisecond

// crowd describes many concurrent streams, each with an event every interval.
type crowd struct {
	streams  int
	interval time.Duration
	rounds   int
	duration time.Duration // per round and target
}

// stage is the state that a crowd's streams share, at the upstream and at the clients.
type stage struct {
	crowd
	epoch    time.Time
	ready    sync.WaitGroup // done once each client has received an event
	play     chan struct{}  // closed to start the events
	rest     chan struct{}  // closed to stop the events
	end      chan struct{}  // closed to end the streams
	measured atomic.Bool    // whether delays are being recorded
	begun    atomic.Int64   // streams started at the upstream so far
}

// crowdFigures are the results of one round; delays in nanoseconds.
type crowdFigures struct {
	cpu       time.Duration
	elapsed   time.Duration
	delays    []float64
	heapBytes float64 // per stream, including the stacks of its goroutines
	rssBytes  float64
}

// crowds writes the cost of many concurrent streams, and the delay of each event.
func (b *bench) crowds(ctx context.Context, out io.Writer) error {
	work := b.options.crowd
	targets := []target{b.bare, b.plugin, b.compiledPlugin}
	rounds := make([][]crowdFigures, len(targets))
	for range work.rounds {
		for i, to := range targets {
			figures, err := b.crowdRound(ctx, work, to)
			if err != nil {
				return fmt.Errorf("%s: %w", to.name, err)
			}
			rounds[i] = append(rounds[i], figures)
		}
	}
	head := []string{"gateway", "cores", "CPU an event", "delay p50", "p99", "added p50", "p99", "heap a stream", "RSS a stream"}
	if _, err := io.WriteString(out, tableHead(head...)); err != nil {
		return err
	}
	var bareP50, bareP99 float64
	for i, to := range targets {
		var cores, event, delays, heap, rss []float64
		for _, f := range rounds[i] {
			cores = append(cores, f.cpu.Seconds()/f.elapsed.Seconds())
			event = append(event, float64(f.cpu)/float64(len(f.delays)))
			delays = append(delays, f.delays...)
			heap, rss = append(heap, f.heapBytes), append(rss, f.rssBytes)
		}
		p50, p99 := median(delays), percentile(delays, 99)
		if i == 0 {
			bareP50, bareP99 = p50, p99
		}
		if _, err := io.WriteString(out, tableRow(to.name, fmt.Sprintf("%.2f", median(cores)), rounded(median(event)),
			rounded(p50), rounded(p99), added(p50-bareP50), added(p99-bareP99), kilobytes(median(heap)), kilobytes(median(rss)))); err != nil {
			return err
		}
	}
	return nil
}

// crowdRound opens the streams, measures CPU time and delays during events, then memory while the
// streams are open but idle, and ends them.
func (b *bench) crowdRound(ctx context.Context, work crowd, to target) (crowdFigures, error) {
	ctx, cancel := context.WithTimeout(ctx, work.duration+4*requestTimeout)
	defer cancel()
	s := &stage{crowd: work, epoch: time.Now(), play: make(chan struct{}), rest: make(chan struct{}), end: make(chan struct{})}
	s.ready.Add(work.streams)
	b.stage.Store(s)
	b.client.CloseIdleConnections()
	// One connection per stream, closed with the stream.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DisableCompression: true}}

	heapBefore, rssBefore, err := memory(ctx, to.gateway)
	if err != nil {
		return crowdFigures{}, err
	}
	delays, problems := make([][]float64, work.streams), make(chan error, work.streams)
	var clients sync.WaitGroup
	for i := range work.streams {
		clients.Add(1)
		go func() {
			defer clients.Done()
			var err error
			if delays[i], err = b.follow(ctx, s, client, to); err != nil {
				problems <- err
				cancel() // the round has failed
			}
		}()
	}
	figures, err := b.conduct(ctx, s, to)
	if err != nil {
		cancel()
	}
	clients.Wait()
	close(problems)
	for problem := range problems {
		return crowdFigures{}, problem // the first problem causes the others
	}
	if err != nil {
		return crowdFigures{}, err
	}
	for _, of := range delays {
		figures.delays = append(figures.delays, of...)
	}
	figures.heapBytes = (figures.heapBytes - heapBefore) / float64(work.streams)
	figures.rssBytes = (figures.rssBytes - rssBefore) / float64(work.streams)
	return figures, nil
}

// conduct takes the streams from their first event to their end, and measures meanwhile.
func (b *bench) conduct(ctx context.Context, s *stage, to target) (f crowdFigures, err error) {
	defer close(s.end)
	all := make(chan struct{})
	go func() { s.ready.Wait(); close(all) }()
	select {
	case <-all:
	case <-ctx.Done():
		return f, ctx.Err()
	}
	close(s.play)
	if err := wait(ctx, settle); err != nil {
		return f, err
	}
	before, err := to.process.CPU()
	if err != nil {
		return f, err
	}
	begin := time.Now()
	s.measured.Store(true)
	if err := wait(ctx, s.duration); err != nil {
		return f, err
	}
	s.measured.Store(false)
	after, err := to.process.CPU()
	if err != nil {
		return f, err
	}
	f.cpu, f.elapsed = after-before, time.Since(begin)
	close(s.rest)
	if err := wait(ctx, settle); err != nil {
		return f, err
	}
	f.heapBytes, f.rssBytes, err = memory(ctx, to.gateway)
	return f, err
}

// memory returns the memory of the gateway in use after garbage collection.
func memory(ctx context.Context, g *gateway.Gateway) (heap, rss float64, err error) {
	used, err := g.CollectGarbage(ctx)
	if err != nil {
		return 0, 0, err
	}
	resident, err := g.RSS()
	return float64(used.Heap + used.Stacks), float64(resident), err
}

func wait(ctx context.Context, duration time.Duration) error {
	select {
	case <-time.After(duration):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stamp precedes the time in an event's content.
const stamp = `"delta":{"content":"`

// playEvents serves one stream of a crowd at the upstream.
func (s *stage) playEvents(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Connection", "close") // the gateway keeps no idle connection to the upstream
	flush := http.NewResponseController(w).Flush
	send := func() error {
		event := strings.Replace(eventData, stamp+" gateway", stamp+strconv.FormatInt(int64(time.Since(s.epoch)), 10), 1)
		_, err := io.WriteString(w, event)
		return errors.Join(err, flush())
	}
	if send() != nil || !await(r, s.play) {
		return
	}
	// Spread the events of the streams evenly over the interval.
	if wait(r.Context(), s.interval*time.Duration(s.begun.Add(1))/time.Duration(s.streams)) != nil {
		return
	}
	ticker := time.NewTicker(s.interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if send() != nil {
				return
			}
		case <-s.rest:
			if await(r, s.end) {
				_, _ = io.WriteString(w, endData)
			}
			return
		case <-r.Context().Done():
			return
		}
	}
}

// await reports whether the channel was closed before the client left.
func await(r *http.Request, closed <-chan struct{}) bool {
	select {
	case <-closed:
		return true
	case <-r.Context().Done():
		return false
	}
}

// follow reads one stream as the client. It returns the time from the sending to the arrival of
// each event.
func (b *bench) follow(ctx context.Context, s *stage, client *http.Client, to target) ([]float64, error) {
	c := streamCase(openAI, eventCase)
	response, err := b.open(ctx, client, c, to, b.single(c), crowdName)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	delays := make([]float64, 0, int(s.duration/s.interval)+1)
	lines := bufio.NewReader(response.Body)
	for first := true; ; {
		line, err := lines.ReadString('\n')
		arrived := time.Since(s.epoch)
		switch {
		case err != nil:
			return nil, fmt.Errorf("stream broke: %w", err)
		case line == "data: [DONE]\n":
			return delays, nil
		case line == "\n":
		case first:
			first = false
			s.ready.Done()
		case s.measured.Load():
			_, stamped, _ := strings.Cut(line, stamp)
			stamped, _, _ = strings.Cut(stamped, `"`)
			sent, err := strconv.ParseInt(stamped, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("event differs from the one sent: %s", line)
			}
			delays = append(delays, float64(int64(arrived)-sent))
		}
	}
}
