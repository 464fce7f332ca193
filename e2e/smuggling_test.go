package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// smuggled is a request that is hidden after another one, and closes the connection.
const (
	smuggled = "POST /smuggled HTTP/1.1\r\nHost: gateway\r\nContent-Length: 0\r\nX-Smuggled: 1\r\n\r\n"
	farewell = "GET /end HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n"
)

// clientsBody requests a model that must never reach the provider.
const clientsBody = `{"model":"gpt-5","messages":[{"role":"user","content":"Hi"}]}`

// shape is the raw text that a client writes to a connection. TARGET stands for the governed
// endpoint.
type shape struct {
	name  string
	text  string
	want  int  // number of requests that reach the provider
	waits bool // the server waits for more, so the client closes the connection
}

// lengthOf returns the Content-Length line of a body.
func lengthOf(body string) string { return fmt.Sprintf("Content-Length: %d\r\n", len(body)) }

// posting returns a request with arbitrary header lines.
func posting(header, body string) string {
	return "POST TARGET HTTP/1.1\r\nHost: gateway\r\n" + header + "\r\n" + body
}

// sized returns a request with a Content-Length and additional header lines.
func sized(header string) string { return posting(header+lengthOf(clientsBody), clientsBody) }

// inOneChunk returns a body in one chunk, with a text after the chunk size.
func inOneChunk(extension, body string) string {
	return fmt.Sprintf("%x%s\r\n%s\r\n0\r\n\r\n", len(body), extension, body)
}

// chunked returns a chunked request with the given Transfer-Encoding lines.
func chunked(header string) string { return posting(header, inOneChunk("", clientsBody)) }

const inTransfer = "Transfer-Encoding: chunked\r\n"

// lengths are Content-Length values that are not valid in HTTP.
func lengths() []shape {
	var all []shape
	n := len(clientsBody)
	for _, value := range []string{
		"+%d", "-%d", "0x%x", "%d.0", "%d,%d", "%d, %d", "%d %d", "%d;", "\"%d\"", "%d\x00", "\x0b%d", "%de0", "1%d0000000000000000000", "", "a", "%d\xa0", "٣", "-0",
	} {
		text := strings.NewReplacer("%d", fmt.Sprint(n), "%x", fmt.Sprintf("%x", n)).Replace(value)
		all = append(all, shape{name: fmt.Sprintf("length %q", value), text: posting("Content-Length: "+text+"\r\n", clientsBody)})
	}
	return all
}

// encodings are ways to declare a chunked body that some servers accept and others do not.
func encodings() []shape {
	var all []shape
	for _, header := range []string{
		"Transfer-Encoding: xchunked", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked", "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked, chunked",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "Transfer-Encoding: chunked;q=1", "Transfer-Encoding: \"chunked\"", "Transfer-Encoding: identity",
		"Transfer-Encoding : chunked", "Transfer-Encoding\t: chunked", " Transfer-Encoding: chunked", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding: chunked\x00", "Transfer-Encoding: \xe7hunked", "Transfer-Encoding: chu\r\n nked",
		"Transfer-Encoding:", "X: 1\rTransfer-Encoding: chunked", "Transfer\x00-Encoding: chunked", "Transfer-Encoding: cow", "Transfer-Encoding: chunked,", "Transfer-Encoding: ,chunked",
	} {
		all = append(all,
			shape{name: fmt.Sprintf("encoding %q", header), text: posting(header+"\r\n", inOneChunk("", clientsBody)+smuggled)},
			shape{name: fmt.Sprintf("encoding %q beside a length", header), text: posting(lengthOf("0\r\n\r\n")+header+"\r\n", "0\r\n\r\n"+smuggled)},
		)
	}
	return all
}

// chunks are chunked bodies that servers parse differently.
func chunks() []shape {
	inTwo := fmt.Sprintf("10\r\n%s\r\n%x\r\n%s\r\n", clientsBody[:16], len(clientsBody)-16, clientsBody[16:])
	return []shape{
		{name: "two chunks", text: posting(inTransfer, inTwo+"0\r\n\r\n"), want: 1},
		{name: "an extension", text: posting(inTransfer, inOneChunk(";a=b", clientsBody)), want: 1},
		{name: "a quoted extension", text: posting(inTransfer, inOneChunk(";a=\"\r\n0\r\n\r\n"+smuggled+"\"", clientsBody))},
		{name: "an extension with a line feed", text: posting(inTransfer, inOneChunk(";\n", clientsBody))},
		{name: "an extension with a carriage return", text: posting(inTransfer, inOneChunk(";\ra", clientsBody))},
		{name: "a long extension", text: posting(inTransfer, inOneChunk(";"+strings.Repeat("a", 64<<10), clientsBody))},
		{name: "many long extensions", text: posting(inTransfer, strings.Repeat("1;"+strings.Repeat("a", 4000)+"\r\n \r\n", 100)+inOneChunk("", clientsBody))},
		{name: "a size with a sign", text: posting(inTransfer, "+"+inOneChunk("", clientsBody))},
		{name: "a negative size", text: posting(inTransfer, "-"+inOneChunk("", clientsBody))},
		{name: "a size of another language", text: posting(inTransfer, "0x"+inOneChunk("", clientsBody))},
		{name: "a size with spaces behind", text: posting(inTransfer, inOneChunk("  ", clientsBody)), want: 1},
		{name: "a size with a space in front", text: posting(inTransfer, " "+inOneChunk("", clientsBody))},
		{name: "a size with zeros in front", text: posting(inTransfer, "000000"+inOneChunk("", clientsBody)), want: 1},
		{name: "a size beyond 64 bits", text: posting(inTransfer, "1000000000000000"+inOneChunk("", clientsBody))},
		{name: "a size of 2^64-1", text: posting(inTransfer, "ffffffffffffffff\r\n"+clientsBody+"\r\n0\r\n\r\n"), waits: true},
		{name: "no size", text: posting(inTransfer, "\r\n"+clientsBody+"\r\n0\r\n\r\n")},
		{name: "a chunk longer than its size", text: posting(inTransfer, "10\r\n"+clientsBody+"\r\n0\r\n\r\n")},
		{name: "a chunk shorter than its size", text: posting(inTransfer, "fff\r\n"+clientsBody+"\r\n0\r\n\r\n"), waits: true},
		{name: "no last chunk", text: posting(inTransfer, inTwo), waits: true},
		{name: "lines that end in a line feed", text: posting(inTransfer, strings.ReplaceAll(inOneChunk("", clientsBody), "\r\n", "\n"))},
		{name: "a last chunk of many zeros", text: posting(inTransfer, inTwo+"00000000\r\n\r\n"), want: 1},
		{name: "a trailer with a key", text: posting("Trailer: Authorization\r\n"+inTransfer, inTwo+"0\r\nAuthorization: Bearer sk-trailer\r\n\r\n"), want: 1},
		{name: "a trailer with a length", text: posting(inTransfer, inTwo+"0\r\nContent-Length: 500\r\nTransfer-Encoding: chunked\r\nHost: other\r\n\r\n"), want: 1},
		{name: "a trailer that is none", text: posting(inTransfer, inTwo+"0\r\n"+smuggled)},
		{name: "a trailer without an end", text: posting(inTransfer, inTwo+"0\r\n"+strings.Repeat("X: 1\r\n", 100_000))},
	}
}

// messages are requests with an unusual request line or header.
func messages() []shape {
	const settings = "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
	first := func(line string) string {
		return line + "\r\nHost: gateway\r\n" + lengthOf(clientsBody) + "\r\n" + clientsBody
	}
	return []shape{
		{name: "plain", text: sized(""), want: 1},
		{name: "in chunks", text: chunked(inTransfer), want: 1},
		{name: "two in a row", text: sized("") + chunked(inTransfer), want: 2},
		{name: "one in the tail of another", text: sized("") + smuggled + sized(""), want: 2},
		{name: "CL.TE", text: posting(lengthOf("0\r\n\r\n"+smuggled)+inTransfer, "0\r\n\r\n"+smuggled)},
		{name: "CL.TE with a body", text: posting(lengthOf(clientsBody)+inTransfer, inOneChunk("", clientsBody)+smuggled), want: 1},
		{name: "TE.CL", text: posting(inTransfer+"Content-Length: 4\r\n", inOneChunk("", smuggled))},
		{name: "TE.CL in other letters", text: posting("transfer-encoding: CHUNKED\r\ncontent-length: 4\r\n", inOneChunk("", clientsBody)), want: 1},
		{name: "TE.TE", text: posting(inTransfer+"Transfer-Encoding: x\r\nContent-Length: 4\r\n", inOneChunk("", smuggled))},
		{name: "the same length twice", text: sized(lengthOf(clientsBody)), want: 1},
		{name: "two lengths", text: sized("Content-Length: 5\r\n")},
		{name: "two lengths, the other way", text: posting(lengthOf(clientsBody)+"Content-Length: 5\r\n", clientsBody)},
		{name: "a length with spaces around", text: posting(fmt.Sprintf("Content-Length: \t %d \t \r\n", len(clientsBody)), clientsBody), want: 1},
		{name: "a length with zeros in front", text: posting(fmt.Sprintf("Content-Length: 000%d\r\n", len(clientsBody)), clientsBody), want: 1},
		{name: "a length that is too short", text: posting("Content-Length: 20\r\n", clientsBody)},
		{name: "a length that is too long", text: posting("Content-Length: 5000\r\n", clientsBody), waits: true},
		{name: "a length of 2^63", text: posting("Content-Length: 9223372036854775808\r\n", clientsBody)},
		{name: "no length", text: posting("", clientsBody)},
		{name: "a length on a folded line", text: posting(fmt.Sprintf("Content-Length:\r\n %d\r\n", len(clientsBody)), clientsBody), want: 1},
		{name: "a folded line", text: sized("X: 1\r\n Authorization: Bearer sk-folded\r\n\tTransfer-Encoding: chunked\r\n"), want: 1},
		{name: "a folded first line", text: posting(" X: 1\r\n"+lengthOf(clientsBody), clientsBody)},
		{name: "line feeds only", text: strings.ReplaceAll(sized(""), "\r\n", "\n"), want: 1},
		{name: "a line feed hides a header", text: sized("X: 1\nTransfer-Encoding: xchunked\r\n")},
		{name: "a carriage return hides a header", text: sized("X: 1\rTransfer-Encoding: chunked\r\n")},
		{name: "carriage returns only", text: strings.ReplaceAll(sized(""), "\r\n", "\r"), waits: true},
		{name: "a name with a space behind", text: posting(fmt.Sprintf("Content-Length : %d\r\n", len(clientsBody)), clientsBody)},
		{name: "a name with a space in it", text: sized("Content Length: 5\r\n")},
		{name: "an empty name", text: sized(": 5\r\n")},
		{name: "a line without a name", text: sized("Content-Length\r\n")},
		{name: "a name with underscores", text: sized("Content_Length: 5\r\nTransfer_Encoding: chunked\r\n"), want: 1},
		{name: "a name that is no ASCII", text: sized("Content-L\xc3\xa9ngth: 5\r\n")},
		{name: "a NUL in a value", text: sized("X: a\x00b\r\n")},
		{name: "a header of 2 MB", text: sized("X: " + strings.Repeat("a", 2<<20) + "\r\n")},
		{name: "100,000 headers", text: sized(strings.Repeat("X-A: 1234567\r\n", 100_000))},
		{name: "an upgrade to HTTP/2", text: sized("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n" + settings), want: 1},
		{name: "an upgrade to HTTP/2 with its preface", text: sized("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"+settings) + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: 1},
		{name: "an upgrade to a websocket", text: sized("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"), want: 1},
		{name: "an upgrade to TLS", text: sized("Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n"), want: 1},
		{name: "a connection that names the key", text: sized("Connection: Authorization, X-Ai-Model, Content-Length\r\nAuthorization: Bearer sk-client\r\n"), want: 1},
		{name: "HTTP/1.0", text: strings.Replace(sized(""), "HTTP/1.1", "HTTP/1.0", 1), want: 1},
		{name: "HTTP/1.0 in chunks", text: strings.Replace(chunked(inTransfer), "HTTP/1.1", "HTTP/1.0", 1)},
		{name: "HTTP/0.9", text: "POST TARGET\r\n" + clientsBody},
		{name: "HTTP/1.2", text: strings.Replace(sized(""), "HTTP/1.1", "HTTP/1.2", 1), want: 1},
		{name: "HTTP/2.0 in text", text: strings.Replace(sized(""), "HTTP/1.1", "HTTP/2.0", 1)},
		{name: "HTTP/3.0 in text", text: strings.Replace(sized(""), "HTTP/1.1", "HTTP/3.0", 1)},
		{name: "http in small letters", text: strings.Replace(sized(""), "HTTP/1.1", "http/1.1", 1)},
		{name: "something behind the version", text: strings.Replace(sized(""), "HTTP/1.1", "HTTP/1.1 x", 1)},
		{name: "an absolute target", text: first("POST http://other.example/TARGET HTTP/1.1"), want: 1},
		{name: "an absolute target with a user", text: first("POST http://user:key@other.example/TARGET HTTP/1.1"), want: 1},
		{name: "a target on another scheme", text: first("POST https://other.example:1/TARGET HTTP/1.1"), want: 1},
		{name: "a target without a slash", text: first("POST v1/chat/completions HTTP/1.1")},
		{name: "a target of two slashes", text: first("POST //other.example/TARGET HTTP/1.1")},
		{name: "a target with a fragment", text: first("POST TARGET#/x HTTP/1.1")},
		{name: "a target with a space", text: first("POST TARGET x HTTP/1.1")},
		{name: "a target with a tab", text: first("POST TARGET\t/x HTTP/1.1")},
		{name: "a target with a NUL", text: first("POST TARGET\x00 HTTP/1.1")},
		{name: "the asterisk", text: first("POST * HTTP/1.1")},
		{name: "a tunnel", text: "CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n" + smuggled, waits: true},
		{name: "a tunnel to the endpoint", text: first("CONNECT TARGET HTTP/1.1")},
		{name: "a method in small letters", text: first("post TARGET HTTP/1.1")},
		{name: "a method with a tab", text: first("POST\t TARGET HTTP/1.1")},
		{name: "two spaces", text: first("POST  TARGET HTTP/1.1")},
		{name: "an empty line in front", text: "\r\n" + sized("")},
		{name: "a GET with a body", text: strings.Replace(sized(""), "POST", "GET", 1)},
		{name: "a GET with a request for a body", text: strings.Replace(posting(lengthOf(smuggled), smuggled), "POST", "GET", 1)},
		{name: "another method in a header", text: sized("X-Http-Method-Override: DELETE\r\nX-Method-Override: GET\r\n"), want: 1},
		{name: "no host", text: strings.Replace(sized(""), "Host: gateway\r\n", "", 1)},
		{name: "two hosts", text: sized("Host: other.example\r\n")},
		{name: "a host with a path", text: strings.Replace(sized(""), "Host: gateway", "Host: gateway/x?", 1)},
		{name: "a host with a user", text: strings.Replace(sized(""), "Host: gateway", "Host: a@b", 1)},
		{name: "waits to be told to go on", text: sized("Expect: 100-continue\r\n"), want: 1},
		{name: "expects something else", text: sized("Expect: 200-ok\r\n")},
	}
}

// TestSmuggledRequestsAreGovernedOrRefused writes requests that servers parse differently to raw
// connections. Each request that gets a 200 must reach the provider once, governed; no other
// request may reach it.
func TestSmuggledRequestsAreGovernedOrRefused(t *testing.T) {
	provider := newFake(t, "provider", counting(0))
	settings := map[string]any{"token": "sk-provider", "model": "gpt-4o"}
	dynamic := hosted(map[string]map[string]any{"host": at(t, provider.URL, settings)})
	dynamic.Routers["service"] = gateway.Router{Rule: "PathPrefix(`/service/`)", Middlewares: []string{"governed"}, Service: "provider"}
	dynamic.Routers["smuggled"] = gateway.Router{Rule: "Path(`/smuggled`)", Middlewares: []string{"governed"}, Service: "provider"}
	dynamic.Middlewares["governed"] = gateway.Plugin(settings)
	dynamic.Services["provider"] = provider.URL
	g := start(t, gateway.Options{})
	configure(t, g, dynamic)
	for _, s := range append(append(append(messages(), lengths()...), encodings()...), chunks()...) {
		for _, route := range []string{"/service", "/host"} {
			t.Run(s.name+route, func(t *testing.T) {
				before := len(provider.saw())
				statuses := exchangeRaw(t, g.URL, strings.ReplaceAll(s.text, "TARGET", route+chatPath), s.waits)
				allowed := 0
				for _, status := range statuses {
					if status == http.StatusOK {
						allowed++
					}
				}
				received := provider.saw()[before:]
				if len(received) != s.want || allowed != s.want {
					t.Errorf("the provider received %d requests, and the client got statuses %v, want %d requests", len(received), statuses, s.want)
				}
				for _, one := range received {
					checkWhole(t, one)
				}
			})
		}
	}
	checkNoPanic(t, g)
	checkAlive(t, g)
}

// checkWhole fails unless a request is governed and unambiguous.
func checkWhole(t *testing.T, one seenRequest) {
	t.Helper()
	const want = `{"model":"gpt-4o","messages":[{"role":"user","content":"Hi"}]}`
	if one.body != want || one.method != http.MethodPost || !strings.HasSuffix(one.target, chatPath) {
		t.Errorf("the provider gets %s %s with %q", one.method, one.target, one.body)
	}
	for name, want := range map[string]string{"Authorization": "Bearer sk-provider", modelHeader: "gpt-4o", "Content-Length": fmt.Sprint(len(want)), "Content-Type": jsonType} {
		if got := one.header.Values(name); len(got) != 1 || got[0] != want {
			t.Errorf("the provider gets %s %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"Transfer-Encoding", "Upgrade", "Connection", "Http2-Settings", "Trailer", "X-Smuggled", "Te"} {
		if got, has := one.header[name]; has {
			t.Errorf("the provider gets %s %q", name, got)
		}
	}
}

// exchangeRaw writes text to a connection and returns the status of each response. A last request
// makes the server close the connection, unless the server waits for more data.
func exchangeRaw(t *testing.T, base, text string, waits bool) []int {
	t.Helper()
	connection := dial(t, base)
	if !waits {
		text += farewell
	}
	if _, err := io.WriteString(connection, text); err != nil {
		t.Logf("the server did not read everything: %v", err)
	}
	if waits {
		_ = connection.(*net.TCPConn).CloseWrite()
	}
	var statuses []int
	for responses := bufio.NewReader(connection); ; {
		response, err := http.ReadResponse(responses, nil)
		if err != nil {
			if errors.Is(err, io.ErrNoProgress) || isTimeout(err) {
				t.Errorf("the server did not close the connection: %v", err)
			}
			return statuses
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode >= http.StatusOK {
			statuses = append(statuses, response.StatusCode)
		}
	}
}

func isTimeout(err error) bool {
	var failed net.Error
	return errors.As(err, &failed) && failed.Timeout()
}
