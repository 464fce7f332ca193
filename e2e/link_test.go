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

// linkFault is what is wrong with a link.
type linkFault string

const (
	linkIsWell       linkFault = ""
	linkIsDown       linkFault = "down"                 // nobody listens
	linkIsSilent     linkFault = "silent"               // connections are taken, and that is all
	linkIsSlow       linkFault = "slow"                 // each piece of an answer waits for linkDelay
	linkIsReset      linkFault = "reset"                // connections are, when the request has come
	linkIsResetLater linkFault = "reset in its answers" // behind their first line
	linkAnswers500   linkFault = "answering 500"        // without TLS only
)

// linkDelay is less than the timeouts of the tests.
const linkDelay = 300 * time.Millisecond

// link is the way to a server, on which faults can be had. Its address stays the same.
type link struct {
	address, server string

	mutex    sync.Mutex
	fault    linkFault
	listener net.Listener
	open     map[net.Conn]bool
	serving  sync.WaitGroup
}

// newLink leads to the server's URL, until the test ends.
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

// set has a fault from now on, for connections that are open, too.
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

// hangUp ends the listening and all connections.
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
	case linkAnswers500:
		if request, err := http.ReadRequest(bufio.NewReader(connection)); err == nil {
			_, _ = io.Copy(io.Discard, request.Body)
			_, _ = io.WriteString(connection, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			_ = connection.Close()
		}
	default:
		l.hand(connection, fault)
	}
}

// hand hands on what client and server say.
func (l *link) hand(client net.Conn, fault linkFault) {
	server, err := net.Dial("tcp", l.server)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	l.serving.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	})
	answers := io.Reader(server)
	switch fault {
	case linkIsResetLater:
		answers = io.LimitReader(server, int64(len("HTTP/1.1 200 OK\r\n")))
	case linkIsSlow:
		answers = &delayed{server}
	}
	_, _ = io.Copy(client, answers)
}

// delayed reads late.
type delayed struct{ io.Reader }

func (d *delayed) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	time.Sleep(linkDelay)
	return n, err
}

// reset closes a connection without its usual end.
func reset(connection net.Conn) {
	if tcp, isTCP := connection.(*net.TCPConn); isTCP {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}

// listening is the URL of a server that serves each connection, and then closes it.
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
