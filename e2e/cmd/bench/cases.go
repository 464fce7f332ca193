package main

import (
	"bytes"
	"fmt"
)

// streamEvents is the number of events of the streaming case, its end marker not counted.
const streamEvents = 100

// benchCase is a request that is sent again and again, each time with another text.
type benchCase struct {
	name   string
	body   []byte
	stream bool
	unlike bool // each time with another parameter, too: the plugin has not seen its like

	unsampled bool // the client's trace is not recorded: there is no span
}

// What stands in a body for the number of the request.
const (
	textStamp = "00000000"
	seedStamp = `"seed":70000000`
)

// requestBody is the body of a case's nth request.
func (c benchCase) requestBody(n int64) []byte {
	body := bytes.Replace(c.body, []byte(textStamp), fmt.Appendf(nil, "%08d", n), 1)
	if c.unlike {
		body = bytes.Replace(body, []byte(seedStamp), fmt.Appendf(nil, `"seed":%d`, 70000000+n), 1)
	}
	return body
}

// units is by what the figures of a request are divided.
func (c benchCase) units() int {
	if c.stream {
		return streamEvents
	}
	return 1
}

func cases() []benchCase {
	return []benchCase{
		{name: "1 KB of prose", body: proseRequest(1 << 10)},
		{name: "1 KB of prose, without a span", body: proseRequest(1 << 10), unsampled: true},
		{name: "1 KB of prose, unlike any before", body: proseRequest(1 << 10), unlike: true},
		{name: "16 KB of prose", body: proseRequest(16 << 10)},
		{name: "256 KB of prose", body: proseRequest(256 << 10)},
		{name: "64 messages of 4 KB", body: conversation(64, 4<<10)},
		{name: "1 MB with an image", body: imageRequest(1 << 20)},
		streamCase(),
	}
}

// eventCase is the name of the streaming case.
const eventCase = "one event of a stream of 100"

func streamCase() benchCase { return benchCase{name: eventCase, body: streamRequest(), stream: true} }
