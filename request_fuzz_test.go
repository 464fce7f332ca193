package chatcompletion

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// clientKeyMark is part of every credential of a client in this test.
const clientKeyMark = "CLIENT-KEY"

// FuzzRequestHeaders sends arbitrary header lines. The forwarded request has the provider's key, no credential of the client,
// the governed body, one trace, and no header that changes its framing; labels are short texts.
func FuzzRequestHeaders(f *testing.F) {
	for _, header := range []string{
		"", "Authorization: Bearer " + clientKeyMark, "authorization: x\r\nAUTHORIZATION: " + clientKeyMark, "Api-Key: " + clientKeyMark + "\r\nX-Api-Key: a\r\nx-goog-api-key: b", "Cookie: a=" + clientKeyMark + "\r\nCookie: b",
		"X-Ai-Model: gpt-5\r\nx-ai-model: o9", "X-Ai-Policy: forged", "Connection: Authorization, X-Ai-Model, keep-alive", "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
		"Connection: close, Content-Length", "Content-Encoding: gzip", "Content-Encoding: identity, gzip", "content-encoding:", "Content-Type: application/json; charset=utf-16\r\nContent-Type: text/plain",
		"Traceparent: " + callersParent + "-01\r\nTracestate: a=1\r\ntraceparent: x", "Traceparent: " + callersParent + "-01", "Traceparent: \xff", "Tracestate: \xff" + strings.Repeat("a=1,", 200),
		"X-Team: blue", "X-Team: " + strings.Repeat("x", 200), "X-Team: \xff\xfe", "X-Team: a\tb", "X-Team:\r\nA: b\r\nX-Team: red", "Accept-Encoding: gzip, br", "Trailer: X-Ai-Model", "Te: trailers\r\nTrailer: a",
		"Sec-Websocket-Protocol: realtime, openai-insecure-api-key." + clientKeyMark, "Expect: 100-continue", "X-Http-Method-Override: DELETE", "Content-Length: 3", "Transfer-Encoding: chunked", "Openai-Organization: " + clientKeyMark,
		" folded: x", "A:\r\n b", "X-Forwarded-For: 1\r\nX-Real-Ip: 2", "Proxy-Authorization: " + clientKeyMark, "Host: other", "Authorization : " + clientKeyMark, "Authorization\t: " + clientKeyMark, "Author\xc4\xb1zation: x",
	} {
		f.Add([]byte(header), true)
		f.Add([]byte(header), false)
	}
	config := CreateConfig()
	config.Model = "gpt-4o"
	config.Token = "sk-provider"
	config.Telemetry.Labels = map[string]string{"team": "$(headers.x-team)", "both": "$(headers.x-team)/$(headers.accept)"}
	p, err := newPolicy(config, "fuzz")
	if err != nil {
		f.Fatal(err)
	}
	sink := &callSink{}
	p.telemetry.registry = newRegistry()
	p.telemetry.spans = true
	p.telemetry.sinks = append(p.telemetry.sinks, sink)
	var seen *http.Request
	var body []byte
	handler := newPolicyMiddleware(p, http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		seen = req
		body, _ = io.ReadAll(req.Body)
	}))
	f.Fuzz(func(t *testing.T, header []byte, length bool) {
		raw := "POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\n"
		if length {
			raw += "Content-Length: " + strconv.Itoa(len(chatRequest)) + "\r\n"
		}
		raw += string(header) + "\r\n\r\n" + chatRequest
		req, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
		if err != nil || req.Method != http.MethodPost {
			return
		}
		seen, sink.calls = nil, nil
		rw := httptest.NewRecorder()
		handler.ServeHTTP(rw, req)
		if len(sink.calls) != 1 {
			t.Fatalf("%d records, want 1", len(sink.calls))
		}
		checkLabels(t, sink.calls[0].Labels)
		if strings.Contains(rw.Body.String(), "sk-provider") {
			t.Errorf("response body %s, want no provider key", rw.Body)
		}
		if seen != nil {
			checkForwarded(t, seen, body)
		}
	})
}

func checkLabels(t *testing.T, labels []string) {
	t.Helper()
	for _, text := range labels {
		if len(text) > labelMaxBytes || !utf8.ValidString(text) || strings.ContainsAny(text, controlCharacters) || text == "" {
			t.Errorf("label %q, want valid text of 1 to %d bytes", text, labelMaxBytes)
		}
	}
}

// checkForwarded checks the headers of a forwarded request.
func checkForwarded(t *testing.T, req *http.Request, body []byte) {
	t.Helper()
	header := req.Header
	checkGovernedOnce(t, body)
	for name, want := range map[string]string{
		"Authorization": "Bearer sk-provider", "X-Ai-Model": "gpt-4o", "Content-Type": "application/json",
	} {
		if got := header[name]; len(got) != 1 || got[0] != want {
			t.Errorf("Request header %q = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{
		"Connection", "Content-Encoding", "Accept-Encoding", "Content-Length", "Transfer-Encoding", "Cookie", "Api-Key", "X-Api-Key", "X-Goog-Api-Key",
		"Openai-Organization", "Openai-Project",
	} { // an Upgrade without a Connection that names it has no effect
		if got, has := header[name]; has {
			t.Errorf("Request header %q = %q, want none", name, got)
		}
	}
	for name, values := range header {
		text := strings.Join(values, ",")
		isCredential := isCredential(name) && name != "Proxy-Authorization" // a reverse proxy removes it
		isCredential = isCredential || name == protocolHeader && keyProtocol.MatchString(text)
		if strings.Contains(text, clientKeyMark) && isCredential {
			t.Errorf("Request header %q = %q, want no credential of the client", name, text)
		}
		for _, value := range values {
			if strings.ContainsAny(value, "\r\n\x00") {
				t.Errorf("Request header %q = %q, want no control characters", name, value)
			}
		}
	}
	if parents := header["Traceparent"]; len(parents) != 1 || !traceParent.MatchString(parents[0]) {
		t.Errorf("Request header Traceparent = %q, want one", parents)
	}
	if req.ContentLength != int64(len(body)) || req.TransferEncoding != nil || req.Trailer != nil {
		t.Errorf("forwarded %d bytes with Content-Length %d, Transfer-Encoding %q, trailers %v", len(body), req.ContentLength, req.TransferEncoding, req.Trailer)
	}
}

// checkGovernedOnce checks that a body has the governed model once.
func checkGovernedOnce(t *testing.T, body []byte) {
	t.Helper()
	if members := decodeObject(t, body); members["model"] != "gpt-4o" || bytes.Count(body, []byte(`"model"`)) != 1 {
		t.Errorf("forwarded body %q, want one model, gpt-4o", body)
	}
}

// FuzzQueryCredentials removes keys from queries: the rest stays byte for byte, and a parser finds no key in it.
func FuzzQueryCredentials(f *testing.F) {
	for _, query := range []string{
		"", "key=1", "a=1&key=2&b=3", "KEY=1&aPi_KeY=2", "%6bey=1&api%5Fkey=2&api%2dkey=3", "a=1;token=2;b=3", "token", "token=", "token&a", "access_token=1&access_token=2", "xkey=1&keyx=2&key%00=3", "&&key=1&&", "key=1&", "a&b;c",
		"key=a=b&c=%zz", "a=key=1", "api+key=1", "k%65%79=1", "\u212aey=1", "acce\u017f\u017f_token=1", "k%E2%84%AAey=1", "key%3D1", "a=%26key=1", "apikey=1#x", "key=\x00", "ap%69key[]=1", ";key=1", "key=1;key=2&key=3",
	} {
		f.Add(query)
	}
	names := strings.Fields(credentialParameters)
	isKey := func(piece string) bool {
		name, _, hasValue := strings.Cut(piece, "=")
		decoded, err := url.QueryUnescape(name)
		if err != nil {
			return false
		}
		for _, key := range names {
			if hasValue && strings.EqualFold(decoded, key) {
				return true
			}
		}
		return false
	}
	pieces := func(query string) []string {
		return strings.FieldsFunc(query, func(r rune) bool { return r == '&' || r == ';' })
	}
	f.Fuzz(func(t *testing.T, query string) {
		var want []string
		for _, piece := range pieces(query) {
			if !isKey(piece) {
				want = append(want, piece)
			}
		}
		got := withoutCredentials(query)
		if strings.Join(pieces(got), "&") != strings.Join(want, "&") {
			t.Errorf("withoutCredentials(%q) keeps %q, want %q", query, pieces(got), want)
		}
		values, _ := url.ParseQuery(got)
		for name := range values {
			for _, key := range names {
				if strings.EqualFold(name, key) && values.Get(name) != "" {
					t.Errorf("withoutCredentials(%q) keeps the parameter %q", query, name)
				}
			}
		}
	})
}
