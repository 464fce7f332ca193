package main

import "context"

// sequence is a number of requests that one client sends one after the other.
type sequence struct {
	length int
	body   func(n int) []byte
}

// queue holds the sequences of a load.
type queue []sequence

// count returns the number of requests.
func (q queue) count() (count int) {
	for _, s := range q {
		count += s.length
	}
	return count
}

// single returns the body of the next request of a case whose requests do not continue each other.
func (b *bench) single(c benchCase) []byte { return c.requestBody(b.sent.Add(1)) }

// prepare returns at least count requests of the case. Of sessions, it has sent the target what
// comes before these requests, so that the target has seen all of a conversation except its end.
func (b *bench) prepare(ctx context.Context, c benchCase, to target, count int) (queue, error) {
	if c.agents != nil {
		return b.prepareSessions(ctx, c, to, count)
	}
	next := func(int) []byte { return b.single(c) }
	if to.alike {
		next = func(int) []byte { return c.requestBody(0) }
	}
	requests := make(queue, count)
	for i := range requests {
		requests[i] = sequence{length: 1, body: next}
	}
	return requests, nil
}

// prepareSessions starts as many sessions of each form, so that two rounds measure the same work.
func (b *bench) prepareSessions(ctx context.Context, c benchCase, to target, count int) (queue, error) {
	begin, end := c.measured()
	length := end - begin + 1
	forms := c.agents.Forms()
	sessions := (count + forms*length - 1) / (forms * length) * forms
	number := b.sent.Add(int64(sessions)) - int64(sessions)
	requests := make(queue, sessions)
	err := eachOf(sessions, func(i int) error {
		s := c.agents.Session(number + int64(i))
		requests[i] = sequence{length: length, body: func(n int) []byte { return s.Body(begin + n) }}
		_, err := b.send(ctx, c, to, s.Body(begin-1))
		return err
	})
	return requests, err
}
