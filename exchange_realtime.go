package chatcompletion

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"
)

// The WebSocket of a realtime exchange needs the connection of the client, which a reverse proxy takes
// from the ResponseWriter it gets. Interpreted code cannot offer its connection: to compiled code, a type
// of the package has no method Hijack. The middleware therefore stands between two connections: it takes
// the client's itself, and calls the router's service for one that it has made in memory.

// Waits at the end of a WebSocket.
const (
	closeWait  = 2 * time.Second // for an end that was sent a close frame
	cancelWait = 5 * time.Second // for the usage of a response whose client has left
)

// errTunnelEnded is what ends the work of a reverse proxy whose connection the middleware has taken.
var errTunnelEnded = errors.New("the WebSocket has ended")

// sendHandshake sends the request for a WebSocket to the provider.
func sendHandshake(x *exchange, p *policy, rw http.ResponseWriter, req *http.Request) {
	isFirst := x.tunnel == nil
	if isFirst {
		x.tunnel = &tunnel{}
	}
	t := x.tunnel
	known := len(t.rules)
	if !p.reportOnly {
		t.rules = append(t.rules, &sessionRules{models: p.models, consumer: x.consumer})
	}
	if d := p.maxStreamDuration; d > 0 && (t.maxDuration == 0 || d < t.maxDuration) {
		t.maxDuration = d
	}
	pr := p.providers[0]
	switch {
	case pr.upstream != nil:
		tryProviders(x, p, rw, req)
	case isFirst:
		writeHandshake(x.plan, req, p.modelHeader)
		pr.tunnel.ServeHTTP(rw, req)
	default:
		writeHandshake(x.plan, req, p.modelHeader)
		pr.handler.ServeHTTP(rw, req)
	}
	t.rules = t.rules[:known] // a failover service may call another instance with the same exchange
}

// newServiceTunnel returns a handler that calls the router's service for a connection in memory, and
// treats its response like that of a provider that the middleware connects to itself.
func newServiceTunnel(service http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		served := &sync.WaitGroup{}
		out := cloneRequest(req)
		out.Body = http.NoBody
		transport := &http.Transport{
			DisableKeepAlives:  true,
			DisableCompression: true,
			DialContext: func(_ context.Context, _, _ string) (net.Conn, error) {
				return serveInMemory(service, out, served), nil
			},
		}
		serviceProxy(transport).ServeHTTP(rw, req)
		transport.CloseIdleConnections()
		served.Wait()
	})
}

// serviceProxy returns a handler that forwards through a transport to a service. To Yaegi, the functions
// have no values in a closure, if they are declared after it.
func serviceProxy(transport *http.Transport) http.Handler {
	return &httputil.ReverseProxy{
		Transport:      transport,
		Rewrite:        directTunnel,
		ModifyResponse: acceptService,
		ErrorHandler:   failProxy,
	}
}

// directTunnel gives a request an address. The service gets another request, the client's.
func directTunnel(proxied *httputil.ProxyRequest) {
	out := proxied.Out
	out.URL.Scheme = "http"
	out.URL.Host = "service"
}

// serveInMemory returns a connection on which a service responds to a request, whatever is sent there
// first.
func serveInMemory(service http.Handler, out *http.Request, served *sync.WaitGroup) net.Conn {
	near, far := net.Pipe()
	server := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		defer served.Done()
		rw.Header()["Date"] = nil // unless the provider sends one, see acceptService
		service.ServeHTTP(rw, out)
	})}
	served.Add(1)
	go func() {
		defer recoverGoroutine("realtime")
		_ = server.Serve(&singleListener{connection: far})
	}()
	return near
}

// singleListener is a listener for one connection.
type singleListener struct {
	mu         sync.Mutex
	connection net.Conn // nil: it has been accepted
}

// Accept returns the connection, once.
func (l *singleListener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	accepted := l.connection
	if accepted == nil {
		return nil, io.EOF
	}
	l.connection = nil
	return accepted, nil
}

// Close does nothing: the connection has an owner.
func (l *singleListener) Close() error {
	return nil
}

// Addr returns an address, as a listener must have one.
func (l *singleListener) Addr() net.Addr {
	return &net.UnixAddr{Name: "realtime", Net: "unix"}
}

// acceptService checks the header of the response of a service.
func acceptService(res *http.Response) error {
	x := exchangeOf(res.Request.Context())
	if res.StatusCode == http.StatusSwitchingProtocols {
		return serveTunnel(x, res)
	}
	if res.Header["Date"] == nil {
		delete(res.Header, "Content-Length") // which the connection in memory has added, see isTraefikError
	}
	return nil
}

// serveTunnel serves a WebSocket from the response to its handshake to its end. It always returns an error:
// the reverse proxy has nothing to do afterwards.
func serveTunnel(x *exchange, res *http.Response) error {
	w, t := x.response, x.tunnel
	backend, isConnection := res.Body.(io.ReadWriteCloser)
	if t == nil || !isConnection || !strings.EqualFold(res.Header.Get("Upgrade"), webSocket) || res.Header[extensionsHeader] != nil {
		return errNoResponse
	}
	header := w.ResponseWriter.Header()
	removeLogHeaders(res.Header)
	for name, values := range res.Header {
		header[name] = values
	}
	if w.charges != nil {
		setLimitHeaders(header, w.errors, w.charges, nil)
	}
	connection, buffered, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		logWarnOnce("middleware %q: a connection cannot become a WebSocket: %v", x.firstPolicy.name, err)
		return errNoResponse
	}
	w.status = http.StatusSwitchingProtocols
	w.needsCleanup = true
	w.countedOpen = true
	w.registry.streams.Add(1)
	response := &http.Response{StatusCode: w.status, ProtoMajor: 1, ProtoMinor: 1, Header: header}
	_ = response.Write(buffered)
	_ = buffered.Flush()
	// Reading from the buffer itself would cancel the context of the request as soon as the client leaves, and so
	// end the connection of the service.
	early, _ := buffered.Reader.Peek(buffered.Reader.Buffered())
	runTunnel(x, t, connection, io.MultiReader(bytes.NewReader(append([]byte(nil), early...)), connection), backend)
	endTunnel(x, t)
	return errTunnelEnded
}

// runTunnel forwards in both directions until both have ended.
func runTunnel(x *exchange, t *tunnel, client io.WriteCloser, fromClient io.Reader, provider io.ReadWriteCloser) {
	t.client = &tunnelEnd{connection: client, isBetween: true}
	t.provider = &tunnelEnd{connection: provider, isBetween: true, masked: true}
	t.reader = &realtimeReader{record: &x.call.Response, wantsParts: x.firstPolicy.wantsParts}
	if t.maxDuration > 0 {
		timer := time.AfterFunc(t.maxDuration, func() {
			defer recoverGoroutine("maxStreamDuration")
			refuseTunnel(t, streamTimeout(t.maxDuration))
		})
		defer timer.Stop()
	}
	running := &sync.WaitGroup{}
	running.Add(2)
	go pumpClient(x, t, fromClient, running)
	go pumpProvider(x, t, provider, running)
	running.Wait()
}

// pumpBytes is what is read at a time.
const pumpBytes = 32 << 10

// pumpClient forwards what the client sends.
func pumpClient(x *exchange, t *tunnel, from io.Reader, running *sync.WaitGroup) {
	defer func() {
		endPump(x, t, recover())
		running.Done()
	}()
	c := newClientMessages(x, t)
	chunk := make([]byte, pumpBytes)
	for {
		n, err := from.Read(chunk)
		if n > 0 && !takeClientBytes(x, t, c, chunk[:n]) {
			break
		}
		if err != nil {
			noteEnd(t, errorClientGone)
			break
		}
	}
	leaveProvider(t)
}

// pumpProvider forwards what the provider sends.
func pumpProvider(x *exchange, t *tunnel, from io.Reader, running *sync.WaitGroup) {
	defer func() {
		endPump(x, t, recover())
		running.Done()
	}()
	f := &frames{}
	chunk := make([]byte, pumpBytes)
	for {
		n, err := from.Read(chunk)
		if n > 0 && !takeProviderBytes(x, t, f, chunk[:n]) {
			break
		}
		if err != nil {
			noteEnd(t, errorProviderCut)
			break
		}
	}
	leaveClient(t)
}

// endPump ends a WebSocket at once after a panic.
func endPump(x *exchange, t *tunnel, cause any) {
	if cause == nil {
		return
	}
	logPanic(x.firstPolicy.name, cause)
	t.mu.Lock()
	t.ending = errorPanic
	t.mu.Unlock()
	closeTunnel(t)
}

// takeProviderBytes forwards bytes of a provider, and reports whether more may follow. After a response,
// its usage is charged before the client gets its end.
func takeProviderBytes(x *exchange, t *tunnel, f *frames, chunk []byte) bool {
	r := t.reader
	first, end, wasResponding := -1, len(chunk), r.isResponding
	var refusal *apiError
	for done := 0; done < len(chunk); {
		n := nextPiece(f, chunk[done:])
		if n == 0 {
			noteEnd(t, errorProviderCut)
			writeFrames(t.client, chunk[:done], true, false)
			refuseTunnel(t, invalidFrames())
			return false
		}
		done += n
		readRealtimePiece(r, f)
		if f.ended && first < 0 {
			first = done
		}
		if r.last != nil {
			apiErr := chargeResponse(x, t, r.last)
			if refusal == nil && apiErr != nil {
				refusal = apiErr
				end = done
			}
		}
	}
	if r.closeCode != 0 {
		noteEnd(t, closedBy(r.closeCode))
	}
	if r.isResponding != wasResponding {
		t.mu.Lock()
		t.isResponding = r.isResponding
		t.mu.Unlock()
	}
	writeChunk(t.client, chunk[:end], first, refusal != nil || isBetween(f), refusal == nil && f.inMessage)
	if r.closeCode != 0 {
		markClosed(t.client)
	}
	if refusal != nil {
		refuseTunnel(t, refusal)
	}
	return r.isResponding || !awaitsUsage(t)
}

// closedBy returns the error.type of a connection that the provider has closed with a code.
func closedBy(code int) string {
	if code == closeNormal || code == closeGoingAway || code == closeNoCode {
		return closedByProvider
	}
	return errorErrorEvent
}

func invalidFrames() *apiError {
	return invalidRequest("invalid_websocket_frame", "", "The WebSocket has an invalid frame.")
}
