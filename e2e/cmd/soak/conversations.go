package main

import (
	"context"
	"fmt"
	"hash/crc32"
	"strings"
	"sync"

	"github.com/tidwall/gjson"

	"github.com/modelroute/chatcompletion/e2e/agent"
)

// conversations are those of agents: each request is the one before and two messages more. When one
// has ended, another begins.
type conversations struct {
	agents agent.Profile

	mutex   sync.Mutex
	idle    []*conversation // the one that has waited longest first
	started int64
}

// conversation is one of them, between two requests.
type conversation struct {
	session *agent.Session
	turns   int // in the next request
}

// take returns a conversation that no other client continues meanwhile.
func (c *conversations) take() *conversation {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if len(c.idle) > 0 {
		next := c.idle[0]
		c.idle = c.idle[1:]
		return next
	}
	c.started++
	return &conversation{session: c.agents.Session(c.started)}
}

// put takes a conversation back after its request.
func (c *conversations) put(used *conversation) {
	if used.turns++; used.turns > c.agents.Turns {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.idle = append(c.idle, used)
}

// converse makes the next request of a conversation.
func (c *caller) converse(ctx context.Context, k kind, number int) error {
	next := k.conversations.take()
	defer k.conversations.put(next)
	body := next.session.Body(next.turns)
	k.body = func() []byte { return body }
	k.sum = conversationSum(body)
	return c.read(ctx, k, number)
}

// conversationSum returns a checksum of all that the plugin must not change in an agent's request.
func conversationSum(body []byte) string {
	var texts strings.Builder
	for _, value := range gjson.GetManyBytes(body, "messages", "input", "instructions", "tools") {
		texts.WriteString(value.Raw)
	}
	return fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(texts.String())))
}
