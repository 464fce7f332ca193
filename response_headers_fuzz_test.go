package chatcompletion

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"regexp"
	"strings"
	"testing"
)

// spoofedMark is part of every access-log header that the provider sends in this test.
const spoofedMark = "FORGED"

// errorTypes matches the values of error.type for a response of a provider.
var errorTypes = regexp.MustCompile(`^(|[4-9][0-9]{2}|_OTHER|provider_cut|error_event|connection_failed|timeout|client_gone)$`)

// headerRecorder records the response headers at the time of WriteHeader.
type headerRecorder struct {
	*httptest.ResponseRecorder
	header http.Header
}

func (a *headerRecorder) WriteHeader(status int) {
	if status >= http.StatusOK && a.header == nil {
		a.header = a.Header().Clone()
	}
	a.ResponseRecorder.WriteHeader(status)
}

// FuzzResponseHeaders has a provider respond with arbitrary header lines: neither a header nor a trailer of the provider sets
// an access-log header; the body is the provider's; and there is one record, whose error.type is one of a few.
func FuzzResponseHeaders(f *testing.F) {
	for i, header := range []string{
		"", "Content-Type: application/json", "Content-Type: text/event-stream\r\nContent-Length: 9", "X-Ai-Policy: " + spoofedMark + "\r\nx-ai-model: " + spoofedMark, "Trailer: X-Ai-Model, X-Checksum", "Trailer: X-Ai-Policy\r\ntrailer: x-ai-input-tokens",
		"Trailer:X-Ai-Attempts", "Trailer: ,,X-Ai-Ttft-Ms ,", "Trailer: X-Ai-Error-Type;X-Ai-Model", "Content-Encoding: br", "Content-Encoding: gzip", "Content-Encoding: DEFLATE", "Content-Encoding: gzip, gzip", "Content-Encoding: ", "Connection: X-Ai-Model",
		"Content-Type: TEXT/EVENT-STREAM", "Content-Type: text/event-streams\r\nContent-Type: x", "Retry-After: 99999999999999999999", "Retry-After: -1", "Date: x", "Set-Cookie: a\r\nSet-Cookie: b", "Content-Length: 0", "X-Content-Type-Options: nosniff",
		"Content-Type: application/json\r\nTrailer: X-Ai-Model, X-Checksum", "Content-Type: application/json\r\nX-Ai-Policy: " + spoofedMark, "Content-Type: application/json\r\nContent-Encoding: br",
		"Http-Trailer: x", "Trailer:X-Ai-Model: " + spoofedMark, "Trailer: \xff", "Alt-Svc: h3", "Location: http://x", "Www-Authenticate: Basic", "Upgrade: h2c", "Content-Range: bytes 0-1/2", "Transfer-Encoding: chunked",
	} {
		for _, status := range []int{200, 401, 503} {
			f.Add([]byte(header), uint16(status), []byte(`{"model":"m","usage":{"prompt_tokens":6,"completion_tokens":4}}`), i%2 == 0)
		}
	}
	f.Add([]byte("Content-Type: text/event-stream"), uint16(200), []byte(usageOnlyEvent+"data: [DONE]\n\n"), true)
	var providerHeader http.Header
	var code int
	var body []byte
	config := CreateConfig()
	p, err := newPolicy(config, "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	sink := &callSink{}
	p.telemetry.registry = newRegistry()
	enableDetails(p)
	p.telemetry.sinks = append(p.telemetry.sinks, sink)
	handler := newPolicyMiddleware(p, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		for name, values := range providerHeader {
			rw.Header()[name] = values
		}
		rw.WriteHeader(code)
		_, _ = rw.Write(body)
		if providerHeader["Content-Length"] != nil {
			return // HTTP/1.1 has no trailers then
		}
		for _, name := range accessLogHeaders { // as a reverse proxy copies trailers
			rw.Header()[http.TrailerPrefix+name] = []string{spoofedMark}
			if strings.Contains(strings.ToLower(strings.Join(providerHeader["Trailer"], ",")), strings.ToLower(name)) {
				rw.Header()[name] = []string{spoofedMark}
			}
		}
	}))
	f.Fuzz(func(t *testing.T, header []byte, status uint16, content []byte, stream bool) {
		if status < 200 || status > 999 {
			return
		}
		lines, err := textproto.NewReader(bufio.NewReader(strings.NewReader(string(header) + "\r\n\r\n"))).ReadMIMEHeader()
		if err != nil {
			return
		}
		providerHeader, code, body = http.Header(lines), int(status), content
		sink.calls = nil
		client := &headerRecorder{ResponseRecorder: httptest.NewRecorder()}
		request := chatRequest
		if stream {
			request = `{"stream":true,` + request[1:]
		}
		aborted := abortsResponse(handler, client, request)
		if len(sink.calls) != 1 || !errorTypes.MatchString(sink.calls[0].ErrorType) || sink.calls[0].Status != int(status) {
			t.Fatalf("records %+v, want one with status %d", sink.calls, status)
		}
		checkLogHeaders(t, client)
		if got := client.Body.String(); !canDecompress(contentEncoding(providerHeader)) && !stream && (got != string(content) || aborted) {
			t.Errorf("body %q, aborted %t, want %q, false", got, aborted, content)
		}
	})
}

// abortsResponse sends a request and reports whether the middleware aborted the response.
func abortsResponse(handler http.Handler, rw http.ResponseWriter, request string) (aborted bool) {
	defer func() {
		if r := recover(); r != nil {
			if r != http.ErrAbortHandler {
				panic(r)
			}
			aborted = true
		}
	}()
	handler.ServeHTTP(rw, httptest.NewRequest(http.MethodPost, "/", io.NopCloser(strings.NewReader(request))))
	return false
}

// checkLogHeaders checks that a client gets no access-log headers, and that none has a value from the provider.
func checkLogHeaders(t *testing.T, client *headerRecorder) {
	t.Helper()
	for name, values := range client.header {
		isReserved := isLogHeader(name)
		if name == "Trailer" {
			for _, announced := range strings.Split(strings.Join(values, ","), ",") {
				isReserved = isReserved || isLogHeader(http.CanonicalHeaderKey(strings.TrimSpace(announced)))
			}
		}
		if isReserved {
			t.Errorf("Response header %q = %q, want none", name, values)
		}
	}
	for name, values := range client.Header() {
		isReserved := isLogHeader(strings.TrimPrefix(name, http.TrailerPrefix))
		if isReserved && strings.Contains(strings.Join(values, ","), spoofedMark) {
			t.Errorf("access-log header %q = %q, want no value from the provider", name, values)
		}
	}
}
