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

// sessionRules are what the messages of a client must obey: the models of an instance that enforces its
// rules, and those of its consumer.
type sessionRules struct {
	models   *modelRules
	consumer *consumer // nil: it is not known
}

// restricts reports whether a client may use some models only.
func restricts(r *sessionRules) bool {
	return !r.models.override || r.models.allowed != nil || (r.consumer != nil && r.consumer.allowed != nil)
}

// Waits at the end of a WebSocket.
const (
	closeWait  = 2 * time.Second // for an end that was sent a close frame
	cancelWait = 5 * time.Second // for the usage of a response whose client has left
)

// errTunnelEnded is what ends the work of a reverse proxy whose connection the middleware has taken.
var errTunnelEnded = errors.New("the WebSocket has ended")

// isHandshake reports whether a request of an exchange is one for a WebSocket that is governed.
func isHandshake(x *exchange, req *http.Request) bool {
	return x.kind == realtime && upgradesToWebSocket(req)
}

// sendHandshake sends the request for a WebSocket to the provider.
func sendHandshake(x *exchange, p *policy, rw http.ResponseWriter, req *http.Request) {
	isFirst := x.tunnel == nil
	if isFirst {
		x.tunnel = newTunnel()
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

// clientMessages are the messages of a client, as far as they have arrived.
type clientMessages struct {
	frames   *frames
	control  []byte // a control frame
	inspects bool   // messages must not name any model
	isStrict bool   // some models must not be used; else only the name of one is replaced
	held     []byte // frames of a message that has not been looked at as a whole
	text     []byte // the message
	passes   bool   // the message is too large to be held; only its last bytes are in text
	isCut    bool   // such a message was broken off
}

// newClientMessages decides how the messages of a client are treated.
func newClientMessages(x *exchange, t *tunnel) *clientMessages {
	c := &clientMessages{frames: &frames{masked: true}}
	for _, rules := range t.rules {
		c.isStrict = c.isStrict || restricts(rules)
	}
	c.inspects = c.isStrict || (len(t.rules) > 0 && x.decision.model != nil && x.decision.model[0] != x.decision.requestedModel)
	return c
}

// takeClientBytes forwards bytes of a client, and reports whether more may follow.
func takeClientBytes(x *exchange, t *tunnel, c *clientMessages, chunk []byte) bool {
	if isRefused(t) {
		return true // until the client has read the reason
	}
	f := c.frames
	out := make([]byte, 0, len(chunk)+len(c.held))
	for done := 0; done < len(chunk); {
		n := nextPiece(f, chunk[done:])
		done += n
		var apiErr *apiError
		switch {
		case n == 0:
			apiErr = invalidFrames()
		case isControl(f):
			c.control = append(append(c.control, f.header...), f.payload...)
			if !f.ended {
				continue
			}
			if f.opcode == closeOpcode {
				return takeClientClose(t, c, out)
			}
			out = append(out, c.control...)
			c.control = nil
		case len(f.header)+len(f.payload) == 0:
		case !c.inspects:
			out = append(append(out, f.header...), f.payload...)
		default:
			out, apiErr = inspectPiece(x, t, c, out)
		}
		if apiErr != nil {
			writeFrames(t.provider, out, isWritten(c), false)
			refuseTunnel(t, apiErr)
			return true
		}
	}
	writeFrames(t.provider, out, isWritten(c), f.inMessage && isWritten(c))
	return true
}

// isWritten reports whether what has been forwarded of a client ends with a whole frame.
func isWritten(c *clientMessages) bool {
	return !c.isCut && (!c.frames.inFrame || isControl(c.frames) || (c.inspects && !c.passes))
}

// takeClientClose forwards the close frame of a client, and reports whether more may follow. While a response
// is under way, the provider is not sent it: its usage would be lost.
func takeClientClose(t *tunnel, c *clientMessages, out []byte) bool {
	noteEnd(t, closedByClient)
	t.mu.Lock()
	isResponding := t.isResponding
	t.mu.Unlock()
	if isResponding {
		writeFrames(t.provider, out, true, false)
		closeEnd(t.client, nil, closeFrame(closeNormal, "", false))
		return false
	}
	writeFrames(t.provider, append(out, c.control...), true, false)
	markClosed(t.provider)
	return false
}

// inspectPiece inspects a piece of a message, and appends to out what may be forwarded.
func inspectPiece(x *exchange, t *tunnel, c *clientMessages, out []byte) ([]byte, *apiError) {
	f := c.frames
	if f.opcode == binaryOpcode && c.isStrict {
		return out, binaryMessage()
	}
	c.text = append(c.text, unmasked(f)...)
	if c.passes {
		if mentionsModel(c.text) {
			c.isCut = true
			return out, messageTooLarge()
		}
		out = append(append(out, f.header...), f.payload...)
		c.text = textEnd(c.text)
	} else {
		c.held = append(append(c.held, f.header...), f.payload...)
	}
	if f.ended && f.final {
		return endMessage(x, t, c, out)
	}
	if !c.passes && len(c.text) > sessionMessageMaxBytes {
		if mentionsModel(c.text) {
			return out, messageTooLarge()
		}
		out = append(out, c.held...)
		c.held = nil
		c.text = textEnd(c.text)
		c.passes = true
	}
	return out, nil
}

// textEnd returns a copy of the last bytes of a text, in which the name of a member may begin.
func textEnd(text []byte) []byte {
	if len(text) > modelWordBytes {
		text = text[len(text)-modelWordBytes:]
	}
	return append([]byte(nil), text...)
}

// endMessage decides on a message that has arrived as a whole.
func endMessage(x *exchange, t *tunnel, c *clientMessages, out []byte) ([]byte, *apiError) {
	held, text := c.held, c.text
	c.held = nil
	c.text = nil
	if c.passes {
		c.passes = false
		return out, nil
	}
	if !mentionsModel(text) {
		return append(out, held...), nil
	}
	renamed, apiErr := governMessage(x, t, c, text)
	if apiErr != nil {
		return out, apiErr
	}
	if renamed != nil {
		held = newFrame(textOpcode, renamed, true)
	}
	return append(out, held...), nil
}

// governMessage checks the models that a message names. The model that the client has connected with
// gets the name that the provider has been sent: the message is then returned with that one.
func governMessage(x *exchange, t *tunnel, c *clientMessages, text []byte) ([]byte, *apiError) {
	if len(text) > sessionMessageMaxBytes {
		return nil, messageTooLarge()
	}
	named, compact, isReadable := sessionModels(text)
	if !isReadable {
		if c.isStrict {
			return nil, unreadableMessage()
		}
		return nil, nil
	}
	d := x.decision
	model, isRenamed := "", false
	if d.model != nil {
		model = d.model[0]
	}
	for i := range named {
		name := named[i].name
		switch {
		case name == model:
		case name == d.requestedModel && model != "":
			isRenamed = true
		default:
			if apiErr := checkSessionModel(t, name); apiErr != nil {
				return nil, apiErr
			}
		}
	}
	if isRenamed {
		return renameModels(compact, named, d.requestedModel, model), nil
	}
	return nil, nil
}

// checkSessionModel returns the error for a model that a message must not name, nil if it may.
func checkSessionModel(t *tunnel, name string) *apiError {
	for _, rules := range t.rules {
		c := rules.consumer
		switch {
		case !restricts(rules):
		case c != nil && !matchesModel(c.allowed, name):
			return modelNotAllowed(rules.models, name, name, c.allowedText)
		case rules.models.allowed != nil && !isAllowed(rules.models, name):
			return modelNotAllowed(rules.models, name, name, rules.models.allowedText)
		case rules.models.allowed == nil && !rules.models.override:
			return modelNotFound(name)
		}
	}
	return nil
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

func binaryMessage() *apiError {
	return invalidRequest("invalid_value", "", "Binary messages are not supported, since your models are restricted. Send text.")
}

func messageTooLarge() *apiError {
	return invalidRequest("invalid_value", "", "A message that may name a model is too large: its maximum is 1 MiB, since your models are restricted.")
}

func unreadableMessage() *apiError {
	return invalidRequest("invalid_json", "", "A message that may name a model must be JSON with plain names, since your models are restricted.")
}

func invalidFrames() *apiError {
	return invalidRequest("invalid_websocket_frame", "", "The WebSocket has an invalid frame.")
}
