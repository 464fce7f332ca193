package e2e_test

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// linkFault is a fault of a link.
type linkFault string

const (
	linkIsWell       linkFault = ""
	linkIsDown       linkFault = "down"                 // refuses connections
	linkIsSilent     linkFault = "silent"               // accepts connections and does nothing else
	linkIsSlow       linkFault = "slow"                 // delays each piece of a response by linkDelay
	linkIsReset      linkFault = "reset"                // resets connections once a request arrives
	linkIsResetLater linkFault = "reset in its answers" // resets connections after the first line of a response
	linkReturns500   linkFault = "answering 500"        // only without TLS
)

// linkDelay is shorter than the timeouts in the tests.
const linkDelay = 300 * time.Millisecond

// link is a proxy to a server that can simulate faults. Its address stays the same.
type link struct {
	address, server string

	mutex    sync.Mutex
	fault    linkFault
	listener net.Listener
	open     map[net.Conn]bool
	serving  sync.WaitGroup
}

// newLink runs a link to the server until the end of the test.
func newLink(t *testing.T, server string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, host, _ := strings.Cut(server, "://")
	l := &link{address: listener.Addr().String(), server: host, open: map[net.Conn]bool{}}
	l.listen(listener)
	t.Cleanup(func() {
		l.hangUp()
		l.serving.Wait()
	})
	return l
}

// set sets the fault, also for open connections.
func (l *link) set(t *testing.T, fault linkFault) {
	t.Helper()
	l.hangUp()
	l.mutex.Lock()
	l.fault = fault
	l.mutex.Unlock()
	if fault == linkIsDown {
		return
	}
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	l.listen(listener)
}

// hangUp closes the listener and all connections.
func (l *link) hangUp() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	_ = l.listener.Close()
	for connection := range l.open {
		reset(connection)
	}
}

func (l *link) listen(listener net.Listener) {
	l.mutex.Lock()
	l.listener = listener
	l.mutex.Unlock()
	l.serving.Go(func() {
		for {
			connection, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				l.serving.Go(func() { l.serve(connection) })
			}
		}
	})
}

func (l *link) serve(connection net.Conn) {
	l.mutex.Lock()
	l.open[connection] = true
	fault := l.fault
	l.mutex.Unlock()
	defer func() {
		reset(connection)
		l.mutex.Lock()
		delete(l.open, connection)
		l.mutex.Unlock()
	}()
	switch fault {
	case linkIsSilent:
		_, _ = io.Copy(io.Discard, connection)
	case linkIsReset:
		_, _ = connection.Read(make([]byte, 1<<10))
	case linkReturns500:
		if request, err := http.ReadRequest(bufio.NewReader(connection)); err == nil {
			_, _ = io.Copy(io.Discard, request.Body)
			_, _ = io.WriteString(connection, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			_ = connection.Close()
		}
	default:
		l.relay(connection, fault)
	}
}

// relay copies data between client and server.
func (l *link) relay(client net.Conn, fault linkFault) {
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	l.serving.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	responses := io.Reader(server)
	switch fault {
	case linkIsResetLater:
		responses = io.LimitReader(server, int64(len("HTTP/1.1 200 OK\r\n")))
	case linkIsSlow:
		responses = &delayed{server}
	}
	_, _ = io.Copy(client, responses)
}

// delayed is a reader that delays each read.
type delayed struct{ io.Reader }

func (d *delayed) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	time.Sleep(linkDelay)
	return n, err
}

// reset closes a connection with a TCP reset.
func reset(connection net.Conn) {
	if tcp, isTCP := connection.(*net.TCPConn); isTCP {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}

// listening returns the URL of a server that calls serve for each connection, and then closes it.
func listening(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go func() {
					serve(connection)
					_ = connection.Close()
				}()
			}
		}
	}()
	return "http://" + listener.Addr().String()
}
