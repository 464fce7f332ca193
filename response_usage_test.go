package chatcompletion_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion"
	"github.com/modelroute/chatcompletion/internal/replay"
)

const (
	inputHeader     = "X-Ai-Input-Tokens"
	outputHeader    = "X-Ai-Output-Tokens"
	ttftHeader      = "X-Ai-Ttft-Ms"
	errorTypeHeader = "X-Ai-Error-Type"
)

// Requests for a stream without and with its usage, and for JSON.
const (
	streamRequest      = `{"model":"m","stream":true,"messages":[{"role":"user","content":"Hi"}]}`
	streamUsageRequest = `{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"Hi"}]}`
	jsonRequest        = `{"model":"m","messages":[{"role":"user","content":"Hi"}]}`
)

// Paths of endpoints.
const (
	chatPath      = "/v1/chat/completions"
	responsesPath = "/v1/responses"
)

// shape is a stream of a provider, and what the client and the access log must get.
type shape struct {
	name         string
	config       map[string]any
	path         string
	request      string
	header       http.Header
	stream       []byte
	want         []byte // what the client gets
	filtersUsage bool   // the middleware requests the usage, and the client does not
	due          []int  // by number of bytes sent of stream: how many bytes of want the client must have
	logHeaders   http.Header
	events       bool // the stream has at least one event
}

// shapes returns the streams of the cases: each as in its case, and again with streamUsage "never", which removes nothing.
func shapes(t testing.TB) []shape {
	t.Helper()
	const longest = 8 << 10
	var all []shape
	for _, c := range replay.Load(t, "testdata/cases/usage") {
		if len(c.ProviderCalls) == 0 {
			continue
		}
		header := http.Header{}
		response := c.ProviderCalls[0].Answers
		for _, f := range response.Header {
			header.Add(f.Name, f.Value)
		}
		if !strings.HasPrefix(header.Get("Content-Type"), "text/event-stream") || header.Get("Content-Encoding") != "" || response.Broken ||
			response.Status != http.StatusOK || len(response.Body) > longest {
			continue
		}
		path, _, _ := strings.Cut(c.Request.Target, "?")
		s := shape{name: c.Name, config: c.Config, path: path, request: string(c.Request.Body), header: header, stream: response.Body, want: c.ClientSees.Body,
			logHeaders: c.OperatorSees}
		s.filtersUsage = !bytes.Equal(c.Request.Body, c.ProviderCalls[0].Sees.Body)
		for _, e := range eventsOf(s.stream) {
			s.events = s.events || e.data
		}
		s.due = due(s.stream, s.filtersUsage)
		all = append(all, s)
		if s.filtersUsage {
			s.name += " never"
			s.filtersUsage = false
			s.config = map[string]any{"streamUsage": "never"}
			for key, value := range c.Config {
				s.config[key] = value
			}
			s.want = s.stream
			s.due = due(s.stream, false)
			all = append(all, s)
		}
	}
	if len(all) < 50 {
		t.Fatalf("%d streams in the cases, want at least 50", len(all))
	}
	return all
}

// sseEvent is a part of a stream: the lines of an event with the blank line after them, an additional blank line, a byte order
// mark, or lines at the end without a blank line.
type sseEvent struct {
	end         int
	data        bool   // it has data
	whole       bool   // it ends in a blank line
	isUsageOnly bool   // it has only the usage
	own         []byte // what the client gets of an event that has only the usage
	isAmbiguous bool   // JSON parsers may disagree about it
}

// eventsOf is the reference implementation: it parses a whole stream at once.
func eventsOf(stream []byte) []sseEvent {
	var events []sseEvent
	at := 0
	if bytes.HasPrefix(stream, []byte("\ufeff")) {
		at = len("\ufeff")
		events = append(events, sseEvent{end: at})
	}
	var data [][]byte
	begun := false
	for at < len(stream) {
		line, next := stream[at:], len(stream)
		if end := bytes.IndexAny(line, "\r\n"); end >= 0 {
			line, next = line[:end], at+end+1
			if bytes.HasPrefix(stream[at+end:], []byte("\r\n")) {
				next++
			}
		}
		at = next
		begun = true
		if field, value, _ := bytes.Cut(line, []byte(":")); string(field) == "data" {
			data = append(data, bytes.TrimPrefix(value, []byte(" ")))
		}
		if len(line) == 0 {
			events = append(events, newSSEEvent(at, data, true))
			data, begun = nil, false
		}
	}
	if begun {
		events = append(events, newSSEEvent(at, data, false))
	}
	return events
}

func newSSEEvent(end int, data [][]byte, whole bool) sseEvent {
	e := sseEvent{end: end, data: data != nil, whole: whole}
	text := bytes.Join(data, []byte("\n"))
	if !json.Valid(text) {
		return e
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return e
	}
	members := map[string]string{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			panic(err)
		}
		name := token.(string)
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			panic(err)
		}
		for _, known := range []string{"choices", "usage", "error"} {
			if strings.EqualFold(name, known) {
				e.isAmbiguous = e.isAmbiguous || name != known || members[name] != ""
			}
		}
		members[name] = string(value)
	}
	choices, usage := strings.Join(strings.Fields(members["choices"]), ""), members["usage"]
	e.isAmbiguous = e.isAmbiguous || members["error"] != "" || (choices != "" && choices != "null" && choices[0] != '[') ||
		(usage != "" && usage != "null" && usage[0] != '{')
	e.isUsageOnly = (choices == "" || choices == "null" || choices == "[]") && usage != "" && usage != "null" &&
		bytes.Contains(text, []byte(`_tokens"`))
	if e.isUsageOnly {
		e.own = ownEvent(members)
	}
	return e
}

// commonMembers are the members of a usage event that are in other events, too, or belong to the usage.
const commonMembers = " id object created model choices usage error system_fingerprint service_tier obfuscation provider x_groq usage_breakdown "

// emptyValues are those of members that are as good as absent.
var emptyValues = map[string]bool{"null": true, "false": true, "0": true, `""`: true, "{}": true, "[]": true}

// ownEvent returns an event with the members of a usage event except the usage, and with a choice; nil if all are common.
func ownEvent(members map[string]string) []byte {
	event, hasOwn := map[string]json.RawMessage{}, false
	for name, value := range members {
		isEmpty := emptyValues[strings.Join(strings.Fields(value), "")]
		hasOwn = hasOwn || (!isEmpty && !strings.Contains(commonMembers, " "+name+" "))
		if name != "usage" {
			event[name] = json.RawMessage(value)
		}
	}
	if !hasOwn {
		return nil
	}
	event["choices"] = json.RawMessage(`[{"index":0,"delta":{},"finish_reason":null}]`)
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(event); err != nil {
		panic(err)
	}
	return append(append([]byte("data: "), text.Bytes()...), '\n')
}

// removeUsageEvents returns the stream without its usage-only events.
func removeUsageEvents(stream []byte) []byte {
	var kept []byte
	start := 0
	for _, e := range eventsOf(stream) {
		if e.isUsageOnly {
			kept = append(kept, e.own...)
		} else {
			kept = append(kept, stream[start:e.end]...)
		}
		start = e.end
	}
	return kept
}

// due returns for every number of bytes sent how many bytes the client must have by then: all if nothing is removed, otherwise
// those up to the last complete event.
func due(stream []byte, filtersUsage bool) []int {
	list := make([]int, len(stream)+1)
	if !filtersUsage {
		for i := range list {
			list[i] = i
		}
		return list
	}
	start, visible, complete := 0, 0, 0
	for _, e := range eventsOf(stream) {
		for i := start; i < e.end; i++ {
			list[i] = complete
		}
		if e.isUsageOnly {
			visible += len(e.own)
		} else {
			visible += e.end - start
		}
		if e.data && e.whole {
			complete = visible
		}
		start = e.end
	}
	list[len(stream)] = complete
	return list
}

// player is both a provider that sends a response in packets, and the client that gets it.
type player struct {
	handler http.Handler
	path    string
	request string

	header  http.Header
	packets [][]byte
	sent    func(bytes int) error // called after every packet
	problem error

	responseHeader http.Header // shared with the middleware, which adds the access-log headers
	status         int
	received       bytes.Buffer
	flushed        int // how much of it is flushed
}

func newPlayer(t testing.TB, config map[string]any, path, request string) *player {
	t.Helper()
	c, err := decodeConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	p := &player{path: path, request: request}
	p.handler, err = chatcompletion.New(context.Background(), http.HandlerFunc(p.provide), c, "test")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// play sends the packets and returns the first problem. After it, responseHeader has the access-log headers.
func (p *player) play(header http.Header, packets ...[]byte) error {
	p.header, p.packets = header, packets
	p.responseHeader, p.status, p.flushed, p.problem = http.Header{}, 0, 0, nil
	p.received.Reset()
	p.handler.ServeHTTP(p, &http.Request{ // httptest.NewRequest takes longer than everything else
		Method: http.MethodPost, URL: &url.URL{Path: p.path}, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(p.request)), ContentLength: int64(len(p.request)),
	})
	return p.problem
}

// provide responds from one buffer, as proxies do: a packet that is kept by reference is overwritten.
func (p *player) provide(rw http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	for name, values := range p.header {
		rw.Header()[name] = values
	}
	rw.WriteHeader(http.StatusOK)
	var buffer []byte
	sent := 0
	for _, packet := range p.packets {
		buffer = append(buffer[:0], packet...)
		n, err := rw.Write(buffer)
		if (n != len(packet) || err != nil) && p.problem == nil {
			p.problem = fmt.Errorf("Write = %d, %v, want %d, nil", n, err, len(packet))
		}
		if !bytes.Equal(buffer, packet) && p.problem == nil {
			p.problem = fmt.Errorf("Write changes its argument to %q", buffer)
		}
		sent += len(packet)
		if p.sent != nil && p.problem == nil {
			p.problem = p.sent(sent)
		}
		for i := range buffer {
			buffer[i] = 'x'
		}
	}
}

func (p *player) Header() http.Header { return p.responseHeader }

func (p *player) WriteHeader(status int) { p.status = status }

func (p *player) Write(b []byte) (int, error) { return p.received.Write(b) }

func (p *player) Flush() { p.flushed = p.received.Len() }

// check plays a shape in packets and compares what the client and the access log get.
func (s *shape) check(p *player, packets ...[]byte) error {
	p.sent = func(sent int) error {
		if p.flushed < s.due[sent] {
			return fmt.Errorf("after %d bytes of the provider the client has %d, want %d", sent, p.flushed, s.due[sent])
		}
		if !bytes.HasPrefix(s.want, p.received.Bytes()) {
			return fmt.Errorf("the client has %q, want a prefix of %q", p.received.Bytes(), s.want)
		}
		return nil
	}
	return s.compare(p, p.play(s.header, packets...))
}

func (s *shape) compare(p *player, err error) error {
	if err != nil {
		return err
	}
	if !bytes.Equal(p.received.Bytes(), s.want) {
		return fmt.Errorf("body %q, want %q", p.received.Bytes(), s.want)
	}
	for _, name := range []string{inputHeader, outputHeader, errorTypeHeader} {
		want := strings.TrimSuffix(s.logHeaders.Get(name), "(none)")
		if got := strings.Join(p.responseHeader[name], ", "); got != want {
			return fmt.Errorf("access log: %s = %q, want %q", name, got, want)
		}
	}
	ttft := p.responseHeader.Get(ttftHeader)
	if _, err := strconv.ParseUint(ttft, 10, 63); (err == nil) != s.events || (!s.events && ttft != "") {
		return fmt.Errorf("access log: %s = %q with events %t", ttftHeader, ttft, s.events)
	}
	return nil
}

// randomly splits a text into pieces of up to most bytes.
func randomly(random *rand.Rand, text []byte, most int) [][]byte {
	var pieces [][]byte
	for len(text) > 0 {
		n := 1 + random.Intn(most)
		if n > len(text) {
			n = len(text)
		}
		pieces = append(pieces, text[:n])
		text = text[n:]
	}
	return pieces
}

func TestUsageOracleMatchesCases(t *testing.T) {
	for _, s := range shapes(t) {
		if got := removeUsageEvents(s.stream); s.filtersUsage && !bytes.Equal(got, s.want) {
			t.Errorf("%s: reference result %q, want %q", s.name, got, s.want)
		}
	}
}

func TestStreamPacketBoundaries(t *testing.T) {
	for _, s := range shapes(t) {
		s := s
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p := newPlayer(t, s.config, s.path, s.request)
			if err := s.check(p, s.stream); err != nil {
				t.Fatalf("in one packet: %v", err)
			}
			step := 1
			if !s.filtersUsage {
				step = 5
			}
			for i := 1; i < len(s.stream); i += step {
				if err := s.check(p, s.stream[:i], s.stream[i:]); err != nil {
					t.Fatalf("split after %q: %v", s.stream[:i], err)
				}
			}
			random := rand.New(rand.NewSource(1))
			for _, most := range []int{1, 2, 3, 10, 30, 100, 300} {
				if err := s.check(p, randomly(random, s.stream, most)...); err != nil {
					t.Fatalf("in packets of up to %d bytes: %v", most, err)
				}
			}
		})
	}
}

// TestEmptyPacketsChangeNothing sends empty packets, which a proxy may write.
func TestEmptyPacketsChangeNothing(t *testing.T) {
	for _, s := range shapes(t) {
		p := newPlayer(t, s.config, s.path, s.request)
		if err := s.check(p, nil, s.stream[:len(s.stream)/2], nil, s.stream[len(s.stream)/2:], nil); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
	}
}

// TestCompressedStreams has the provider compress each shape, in packets of any size, and with a flush after each event: then
// no event waits for the next one.
func TestCompressedStreams(t *testing.T) {
	for _, s := range shapes(t) {
		s := s
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			plain := s.header
			s.header = plain.Clone()
			s.header.Del("Content-Length")
			s.header.Set("Content-Encoding", "gzip")
			p := newPlayer(t, s.config, s.path, s.request)

			var compressed bytes.Buffer
			w := gzip.NewWriter(&compressed)
			var packets [][]byte
			var sent []int // how much of the stream the packets up to this one hold
			start := 0
			for _, e := range eventsOf(s.stream) {
				compressed.Reset()
				_, _ = w.Write(s.stream[start:e.end])
				_ = w.Flush()
				packets = append(packets, append([]byte(nil), compressed.Bytes()...))
				sent = append(sent, e.end)
				start = e.end
			}
			compressed.Reset()
			_ = w.Close()
			packets = append(packets, append([]byte(nil), compressed.Bytes()...))
			sent = append(sent, start)

			packet := 0
			p.sent = func(int) error {
				if want := s.due[sent[packet]]; p.flushed < want {
					return fmt.Errorf("after %d bytes of the provider the client has %d, want %d", sent[packet], p.flushed, want)
				}
				packet++
				return nil
			}
			if err := s.compare(p, p.play(s.header, packets...)); err != nil {
				t.Fatalf("one event per packet: %v", err)
			}
			p.sent = nil
			random := rand.New(rand.NewSource(1))
			for _, most := range []int{1, 3, 30, 300, 30000} {
				if err := s.compare(p, p.play(s.header, randomly(random, bytes.Join(packets, nil), most)...)); err != nil {
					t.Fatalf("in packets of up to %d bytes: %v", most, err)
				}
			}
		})
	}
}

// FuzzUsageFilter sends arbitrary bytes as a stream: a client that requests the usage gets all of them, any other client all
// but complete usage-only events.
func FuzzUsageFilter(f *testing.F) {
	for i, s := range shapes(f) {
		f.Add(s.stream, []byte{byte(i), 7, 0, 1})
	}
	withUsage := newPlayer(f, map[string]any{"model": "m"}, chatPath, streamUsageRequest)
	withoutUsage := newPlayer(f, map[string]any{"model": "m"}, chatPath, streamRequest)
	responsesAPI := newPlayer(f, map[string]any{"model": "m", "routes": map[string]any{responsesPath: "responses"}}, responsesPath, `{"input":"Hi","stream":true}`)
	header := http.Header{"Content-Type": {"text/event-stream"}}
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		if len(stream) > 32<<10 {
			return // an event may be too long to be parsed
		}
		packets := [][]byte{stream}
		for i := 0; i < len(cuts) && len(cuts) < 100; i++ {
			last := packets[len(packets)-1]
			if n := int(cuts[i]); n < len(last) {
				packets = append(packets[:len(packets)-1], last[:n], last[n:])
			}
		}
		s := shape{header: header, stream: stream, want: stream, due: due(stream, false)}
		checkFuzzed(t, &s, withUsage, packets)
		checkFuzzed(t, &s, responsesAPI, packets)
		for _, e := range eventsOf(stream) {
			if e.isAmbiguous {
				return
			}
		}
		s.want, s.due = removeUsageEvents(stream), due(stream, true)
		checkFuzzed(t, &s, withoutUsage, packets)
	})
}

// checkFuzzed compares everything but the access-log headers, which only have to be numbers.
func checkFuzzed(t *testing.T, s *shape, p *player, packets [][]byte) {
	t.Helper()
	s.logHeaders = nil
	err := s.check(p, packets...)
	if err != nil && !strings.HasPrefix(err.Error(), "access log:") {
		t.Errorf("%v\nin packets %q", err, packets)
	}
	for _, name := range []string{inputHeader, outputHeader} {
		if text := p.responseHeader.Get(name); text != "" {
			if _, err := strconv.ParseUint(text, 10, 63); err != nil {
				t.Errorf("Response header %q = %q, want a number", name, text)
			}
		}
	}
}

// largeProvider writes a response of many megabytes, piece by piece, and measures the memory in use.
type largeProvider struct {
	t         *testing.T
	header    http.Header
	begin     string
	piece     string
	pieces    int
	end       string
	sum       int64 // bytes sent
	heapBytes uint64
	grownMost uint64
}

func (e *largeProvider) ServeHTTP(rw http.ResponseWriter, req *http.Request) {
	_, _ = io.Copy(io.Discard, req.Body)
	for name, values := range e.header {
		rw.Header()[name] = values
	}
	rw.WriteHeader(http.StatusOK)
	e.write(rw, e.begin)
	for i := 0; i < e.pieces; i++ {
		e.write(rw, e.piece)
		if i%(e.pieces/8) == 0 {
			e.measure()
		}
	}
	e.write(rw, e.end)
	e.measure()
}

func (e *largeProvider) write(rw http.ResponseWriter, text string) {
	e.sum += int64(len(text))
	if _, err := io.WriteString(rw, text); err != nil {
		e.t.Error(err)
	}
}

// measure records the growth of the memory in use since its first call.
func (e *largeProvider) measure() {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	if e.heapBytes == 0 {
		e.heapBytes = stats.HeapAlloc
	} else if stats.HeapAlloc > e.heapBytes+e.grownMost {
		e.grownMost = stats.HeapAlloc - e.heapBytes
	}
}

// end returns the last bytes of a text.
func end(text string) string {
	if len(text) > 100 {
		return text[len(text)-100:]
	}
	return text
}

// counter is a client that counts the bytes and keeps only the last ones.
type counter struct {
	header http.Header
	sum    int64
	last   []byte
}

func (c *counter) Header() http.Header { return c.header }

func (c *counter) WriteHeader(int) {}

func (c *counter) Write(p []byte) (int, error) {
	c.sum += int64(len(p))
	c.last = append(c.last[:0], end(string(c.last)+end(string(p)))...)
	return len(p), nil
}

func (c *counter) Flush() {}

func TestLargeResponsesAreMeteredInBoundedMemory(t *testing.T) {
	const (
		size    = 50 << 20
		most    = 4 << 20
		usage   = `"usage":{"prompt_tokens":6,"completion_tokens":4,"total_tokens":10}`
		spoofed = `\"usage\":{\"prompt_tokens\":999,\"completion_tokens\":999}`
		begin   = `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"`
		after   = `"},"finish_reason":"stop"}]`
		event   = `data: {"id":"c","choices":[{"index":0,"delta":{"content":"Tell me a story."},"finish_reason":null}],"usage":null}` + "\n\n"
		stop    = `data: {"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}` + "\n\n"
		last    = `data: {"id":"c","choices":[],` + usage + "}\n\n"
		done    = "data: [DONE]\n\n"
	)
	jsonHeader := http.Header{"Content-Type": {"application/json"}}
	streamHeader := http.Header{"Content-Type": {"text/event-stream"}}
	long := strings.Repeat("Once upon a time. ", 32<<10/18)
	tests := []struct {
		name              string
		request           string
		header            http.Header
		begin, piece, end string
		removed           string
	}{
		{"JSON", jsonRequest, jsonHeader, begin, long, after + "," + usage + "}", ""},
		{"JSON, usage first", jsonRequest, jsonHeader, "{" + usage + "," + begin[1:], long, after + "}", ""},
		{"JSON of escapes", jsonRequest, jsonHeader, begin, strings.Repeat(spoofed+`\\`, 400), after + "," + usage + "}", ""},
		{"stream", streamRequest, streamHeader, "", strings.Repeat(event, 32<<10/len(event)), stop + last + done, last},
		{"stream, an event in each packet", streamRequest, streamHeader, "", event, stop + last + done, last},
		{"stream with usage for the client", streamUsageRequest, streamHeader, "", strings.Repeat(event, 32<<10/len(event)), stop + last + done, ""},
		{"stream of one event", streamRequest, streamHeader, event[:60], long, event[60:] + stop + last + done, last},
		{"stream of one long line", streamRequest, streamHeader, ": ", long, "\n\n" + stop + last + done, last},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			provider := &largeProvider{t: t, header: test.header, begin: test.begin, piece: test.piece, end: test.end, pieces: size / len(test.piece)}
			config := chatcompletion.CreateConfig()
			config.Model = "m"
			handler, err := chatcompletion.New(context.Background(), provider, config, "test")
			if err != nil {
				t.Fatal(err)
			}
			client := &counter{header: http.Header{}}
			handler.ServeHTTP(client, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(test.request)))

			if got, want := client.sum, provider.sum-int64(len(test.removed)); got != want {
				t.Errorf("body of %d bytes, want %d", got, want)
			}
			sent := strings.Replace(test.end, test.removed, "", 1)
			if want := end(sent); !strings.HasSuffix(string(client.last), want) {
				t.Errorf("body ends in %q, want %q", client.last, want)
			}
			if in, out := client.header.Get(inputHeader), client.header.Get(outputHeader); in != "6" || out != "4" {
				t.Errorf("input and output tokens %q and %q, want 6 and 4", in, out)
			}
			if failed := client.header.Get(errorTypeHeader); failed != "" {
				t.Errorf("error.type %q, want none", failed)
			}
			if provider.grownMost > most {
				t.Errorf("memory in use grows by %d KiB, want at most %d", provider.grownMost>>10, most>>10)
			}
		})
	}
}

// TestClientDisconnectErrorType has the client disconnect within a stream; the proxy then panics as Go's does.
func TestClientDisconnectErrorType(t *testing.T) {
	ctx, disconnect := context.WithCancel(context.Background())
	provider := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}\n\n")
		disconnect()
		panic(http.ErrAbortHandler)
	})
	config := chatcompletion.CreateConfig()
	config.Model = "m"
	handler, err := chatcompletion.New(context.Background(), provider, config, "test")
	if err != nil {
		t.Fatal(err)
	}
	rw := httptest.NewRecorder()
	func() {
		defer func() {
			if got := recover(); got != http.ErrAbortHandler {
				t.Errorf("panic %v, want %v", got, http.ErrAbortHandler)
			}
		}()
		handler.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(streamRequest)).WithContext(ctx))
	}()
	if got := rw.Header().Get(errorTypeHeader); got != "client_gone" {
		t.Errorf("error.type %q, want client_gone", got)
	}
}

// TestAccessLogHeadersAreNotTrailers has a provider send trailers with the names of access-log headers. If it announces them,
// the middleware's values could reach the client, and the provider's the access log. Unannounced trailers may pass.
func TestAccessLogHeadersAreNotTrailers(t *testing.T) {
	logHeaders := []string{inputHeader, outputHeader, ttftHeader, errorTypeHeader, "X-Ai-Model", "X-Ai-Policy"}
	for _, announced := range []bool{true, false} {
		provider := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
			prefix := http.TrailerPrefix
			if announced {
				prefix = ""
				rw.Header().Set("Trailer", strings.Join(logHeaders, ", ")+", X-Checksum")
			}
			_, _ = io.WriteString(rw, `{"choices":[],"usage":{"prompt_tokens":6,"completion_tokens":4}}`)
			_ = http.NewResponseController(rw).Flush()
			for _, name := range append(logHeaders, "X-Checksum") {
				rw.Header().Set(prefix+name, "999")
			}
		}))
		defer provider.Close()
		target, err := url.Parse(provider.URL)
		if err != nil {
			t.Fatal(err)
		}
		config := chatcompletion.CreateConfig()
		config.Model = "m"
		handler, err := chatcompletion.New(context.Background(), httputil.NewSingleHostReverseProxy(target), config, "test")
		if err != nil {
			t.Fatal(err)
		}
		logged := make(chan http.Header, 1)
		gateway := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			handler.ServeHTTP(rw, req)
			logged <- rw.Header().Clone()
		}))
		defer gateway.Close()
		res, err := http.Post(gateway.URL, "application/json", strings.NewReader(jsonRequest))
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Trailer.Get("X-Checksum"); got != "999" {
			t.Errorf("announced %t: Response trailer X-Checksum = %q, want 999", announced, got)
		}
		for _, name := range logHeaders {
			if got := res.Trailer[name]; got != nil && (announced || got[0] != "999") {
				t.Errorf("announced %t: Response trailer %q = %q, want none", announced, name, got)
			}
		}
		seen := <-logged
		if in, out := seen.Get(inputHeader), seen.Get(outputHeader); in != "6" || out != "4" {
			t.Errorf("announced %t: logged tokens %q and %q, want 6 and 4", announced, in, out)
		}
	}
}
