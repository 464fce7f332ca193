package replay

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// CaseHeader is the request header with the name of the case, so that one gateway and one provider can serve all cases.
const CaseHeader = "X-Case"

// timeout ends a replay that hangs.
const timeout = 30 * time.Second

// packetInterval is the time between two packets of a response. The provider cannot observe that a packet has been read,
// because the middleware may buffer it.
const packetInterval = 2 * time.Millisecond

// Provider responds to every case as its sections "provider answers" define, and records the requests.
type Provider struct {
	*httptest.Server
	cases map[string]Case

	mu      sync.Mutex
	seen    map[string][]received
	earlier map[string]bool // cases of which an earlier request is sent
}

type received struct {
	request *http.Request
	body    []byte
}

// NewProvider starts the provider of the cases. It closes at the end of the test.
func NewProvider(t testing.TB, cases []Case) *Provider {
	p := &Provider{cases: map[string]Case{}, seen: map[string][]received{}, earlier: map[string]bool{}}
	for _, c := range cases {
		p.cases[c.Name] = c
	}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	for _, c := range cases {
		for _, listener := range c.listeners {
			go p.serveAt(listener)
		}
	}
	return p
}

func (p *Provider) serveAt(listener net.Listener) {
	_ = p.Config.Serve(listener)
}

func (p *Provider) serve(rw http.ResponseWriter, req *http.Request) {
	name := req.Header.Get(CaseHeader)
	body, _ := io.ReadAll(req.Body)
	p.mu.Lock()
	p.seen[name] = append(p.seen[name], received{req, body})
	calls := p.cases[name].ProviderCalls
	isEarlier := p.earlier[name]
	if isEarlier && p.cases[name].EarlierAnswer.Status != 0 {
		calls = []Call{{Answers: p.cases[name].EarlierAnswer}}
	}
	if len(p.seen[name]) > len(calls) {
		p.mu.Unlock()
		rw.WriteHeader(http.StatusTeapot) // the case fails: it does not expect this request
		return
	}
	response := calls[len(p.seen[name])-1].Answers
	p.mu.Unlock()

	if response.Status == 0 {
		end(response, req)
	}
	if response.Informational != 0 {
		rw.Header().Set("Link", "</hint>; rel=preload")
		rw.WriteHeader(response.Informational)
		rw.Header().Del("Link")
	}
	for _, f := range response.Header {
		rw.Header().Add(f.Name, f.Value)
	}
	rw.WriteHeader(response.Status)
	if isEarlier { // without a length, the client sees the end only after the gateway has settled the call
		_ = http.NewResponseController(rw).Flush()
	}
	for i, packet := range response.Packets {
		if i > 0 {
			_ = http.NewResponseController(rw).Flush()
			time.Sleep(packetInterval) // otherwise both may be read at once
		}
		_, _ = rw.Write(packet)
	}
	if response.Broken || response.Hangs {
		_ = http.NewResponseController(rw).Flush()
		end(response, req)
	}
}

// end aborts a response that is broken or hangs.
func end(response Message, req *http.Request) {
	if response.Hangs {
		<-req.Context().Done()
	}
	panic(http.ErrAbortHandler)
}

// expectEarlier sets whether an earlier request of a case is sent.
func (p *Provider) expectEarlier(name string, expected bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.earlier[name] = expected
}

// take returns the requests of a case that the provider got, and removes them.
func (p *Provider) take(name string) []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen[name]
	delete(p.seen, name)
	return seen
}

// Run sends the request of a case to the gateway, and compares what the client and the provider get.
func Run(t *testing.T, c Case, gateway string, provider *Provider) {
	t.Helper()
	for _, earlier := range c.Earlier {
		provider.expectEarlier(c.Name, true)
		send(t, c.Name, earlier, gateway)
		provider.take(c.Name)
		provider.expectEarlier(c.Name, false)
	}
	response := send(t, c.Name, c.Request, gateway)
	compareResponse(t, c.ClientSees, response)
	if len(c.ProviderCalls) == 0 && response.status >= http.StatusBadRequest && c.Request.Method != http.MethodHead {
		checkErrorShape(t, response.body)
	}

	seen := provider.take(c.Name)
	for i, call := range c.ProviderCalls {
		if i < len(seen) {
			compareRequest(t, call.Sees, seen[i])
		}
	}
	if got, want := len(seen), len(c.ProviderCalls); got > want {
		t.Errorf("provider: %d requests, want %d; body of the last one:\n%s", got, want, clip(seen[got-1].body))
	} else if got < want {
		t.Errorf("provider: %d requests, want %d; client: status %d, body:\n%s", got, want, response.status, clip(response.body))
	}
}

// clientResponse is the response that the client got.
type clientResponse struct {
	informational int
	status        int
	header        http.Header
	body          []byte
	err           error // from reading the body
}

// send writes the raw request, so that it has exactly the headers of the case, and keeps 1xx responses.
func send(t *testing.T, name string, m Message, gateway string) clientResponse {
	t.Helper()
	target, err := url.Parse(gateway)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", target.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(timeout))

	var request bytes.Buffer
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\n%s: %s\r\n", m.Method, m.Target, target.Host, CaseHeader, name)
	chunked, lengthGiven := false, false
	for _, f := range m.Header {
		chunked = chunked || f.Name == "Transfer-Encoding"
		lengthGiven = lengthGiven || f.Name == "Content-Length"
		fmt.Fprintf(&request, "%s: %s\r\n", f.Name, f.Value)
	}
	switch {
	case chunked:
		fmt.Fprintf(&request, "\r\n%x\r\n%s\r\n0\r\n\r\n", len(m.Body), m.Body)
	case m.HasBody && !lengthGiven:
		fmt.Fprintf(&request, "Content-Length: %d\r\n\r\n%s", len(m.Body), m.Body)
	default:
		fmt.Fprintf(&request, "\r\n%s", m.Body)
	}
	// The gateway may refuse the request and close before it has read everything: its response counts, not the error.
	_, _ = conn.Write(request.Bytes())
	if lengthGiven {
		_ = conn.(*net.TCPConn).CloseWrite()
	}

	var got clientResponse
	reader := bufio.NewReader(conn)
	for {
		response, err := http.ReadResponse(reader, &http.Request{Method: m.Method})
		if err != nil {
			got.err = err
			return got
		}
		if response.StatusCode < 200 {
			got.informational = response.StatusCode
			continue
		}
		got.status, got.header = response.StatusCode, response.Header
		got.body, got.err = io.ReadAll(response.Body)
		_ = response.Body.Close()
		return got
	}
}

func compareResponse(t *testing.T, want Message, got clientResponse) {
	t.Helper()
	if got.status == 0 {
		if !want.Broken { // a response without a header is broken, too
			t.Errorf("client: no response: %v", got.err)
		}
		return
	}
	if got.status != want.Status {
		t.Errorf("client: status %d, want %d; body:\n%s", got.status, want.Status, clip(got.body))
	}
	if got.informational != want.Informational {
		t.Errorf("client: informational status %d, want %d", got.informational, want.Informational)
	}
	if broken := got.err != nil; broken != want.Broken {
		t.Errorf("client: body ends with error %v, want broken %t", got.err, want.Broken)
	}
	compareHeader(t, "client", want.Header, got.header)
	if want.HasBody && !bytes.Equal(got.body, want.Body) {
		t.Errorf("client: body\n%s\nwant\n%s", clip(got.body), clip(want.Body))
	}
}

// checkErrorShape checks that an error of the gateway has exactly the format of a protocol: that of a case in
// protocols may be Anthropic's or Google's.
func checkErrorShape(t *testing.T, body []byte) {
	t.Helper()
	var openAI struct {
		Error struct {
			Message string  `json:"message"`
			Type    string  `json:"type"`
			Param   *string `json:"param"`
			Code    string  `json:"code"`
		} `json:"error"`
	}
	var anthropic struct {
		Type  string `json:"type"`
		Error struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		} `json:"error"`
	}
	var google struct {
		Error struct {
			Code    int               `json:"code"`
			Message string            `json:"message"`
			Status  string            `json:"status"`
			Details []json.RawMessage `json:"details"`
		} `json:"error"`
	}
	isOpenAI := decodeExactly(body, &openAI) && openAI.Error.Message != "" && openAI.Error.Type != "" && openAI.Error.Code != ""
	isAnthropic := decodeExactly(body, &anthropic) && anthropic.Type == "error" && anthropic.Error.Type != "" && anthropic.Error.Message != ""
	isGoogle := decodeExactly(body, &google) && google.Error.Code >= http.StatusBadRequest && google.Error.Message != "" && google.Error.Status != ""
	inProtocols := strings.Contains(t.Name(), "/protocols/")
	if !isOpenAI && (!inProtocols || (!isAnthropic && !isGoogle)) {
		t.Errorf("client: body is not an error in the format of the protocol:\n%s", clip(body))
	}
}

// decodeExactly decodes a text that must be one JSON value, without members that the value lacks, and reports whether it
// could.
func decodeExactly(text []byte, value any) bool {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(value) == nil && !decoder.More()
}

func compareRequest(t *testing.T, want Message, got received) {
	t.Helper()
	line, wanted := got.request.Method+" "+got.request.RequestURI, want.Method+" "+want.Target
	if line != wanted && (want.Target != "*" || got.request.Method != want.Method) {
		t.Errorf("provider: request %q, want %q", line, wanted)
	}
	header := got.request.Header.Clone()
	header.Set("Host", got.request.Host)
	for _, name := range got.request.TransferEncoding {
		header.Add("Transfer-Encoding", name)
	}
	compareHeader(t, "provider", want.Header, header)
	if want.HasBody && !bytes.Equal(got.body, want.Body) {
		t.Errorf("provider: body\n%s\nwant\n%s", clip(got.body), clip(want.Body))
	}
}

func compareHeader(t *testing.T, who string, want []Field, got http.Header) {
	t.Helper()
	for _, f := range want {
		values, present := got[f.Name]
		value := strings.Join(values, ", ")
		switch {
		case f.Absent && present:
			t.Errorf("%s: header %q = %q, want none", who, f.Name, value)
		case !f.Absent && (!present || value != f.Value):
			t.Errorf("%s: header %q = %q, want %q", who, f.Name, value, f.Value)
		}
	}
}

func clip(body []byte) string {
	const longest = 2000
	if len(body) > longest {
		return fmt.Sprintf("%s... (%d bytes)", body[:longest], len(body))
	}
	return string(body)
}
