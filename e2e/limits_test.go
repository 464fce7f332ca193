package e2e_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// The tests in this file verify the facts about Traefik in docs/scaling.md: timeouts, connections
// and shutdown.

// startOther runs a gateway with an additional entry point, and returns the URL of that.
func startOther(t *testing.T, transport map[string]any, provider http.Handler) (*gateway.Gateway, string) {
	t.Helper()
	address := freeAddress(t)
	g := start(t, gateway.Options{Static: map[string]any{"entryPoints": map[string]any{
		"other": map[string]any{"address": address, "transport": transport},
	}}})
	configure(t, g, metered(map[string]any{"model": "gpt-4o-mini"}, upstream(t, provider).URL))
	return g, "http://" + address
}

// shortTimeout stands in for an entry point's timeout of a minute.
const shortTimeout = 500 * time.Millisecond

// longStream is a provider whose stream lasts several times shortTimeout.
func longStream() http.HandlerFunc { return ticking(make(chan time.Time, 100), 12, shortTimeout/4) }

// streamed requests a stream with the body and reads all of it.
func streamed(t *testing.T, client *http.Client, base string, body io.Reader) (status int, content string, err error) {
	t.Helper()
	response, err := client.Post(base+chatPath, jsonType, body)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	all, err := io.ReadAll(response.Body)
	return response.StatusCode, string(all), err
}

// slowBody is a body with a pause before its second half.
func slowBody(pause time.Duration) io.Reader {
	reader, writer := io.Pipe()
	go func() {
		_, _ = io.WriteString(writer, streamRequest[:20])
		timer := time.NewTimer(pause)
		<-timer.C
		_, err := io.WriteString(writer, streamRequest[20:])
		_ = writer.CloseWithError(err)
	}()
	return reader
}

func TestReadTimeoutAppliesToRequestOnly(t *testing.T) {
	_, base := startOther(t, map[string]any{"respondingTimeouts": map[string]any{"readTimeout": shortTimeout.String()}}, longStream())
	for name, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": overHTTP2()} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, content, err := streamed(t, client, base, strings.NewReader(streamRequest))
			if took := time.Since(began); err != nil || took < 2*shortTimeout || !strings.HasSuffix(content, "data: [DONE]\n\n") {
				t.Errorf("stream of %v: %d bytes, ends with %v, want it complete", took, len(content), err)
			}
			status, content, err := streamed(t, client, base, slowBody(3*shortTimeout))
			if status != http.StatusBadRequest || !strings.Contains(content, `"incomplete_body"`) || err != nil {
				t.Errorf("slow upload: status %d: %s, %v, want 400 and incomplete_body", status, content, err)
			}
		})
	}
}

func TestWriteTimeoutEndsStreams(t *testing.T) {
	_, base := startOther(t, map[string]any{"respondingTimeouts": map[string]any{"writeTimeout": shortTimeout.String()}}, longStream())
	if _, content, err := streamed(t, http.DefaultClient, base, strings.NewReader(streamRequest)); err == nil || content == "" {
		t.Errorf("long stream: %d bytes, ends with %v, want a beginning and an error", len(content), err)
	}
}

// TestDocumentedStreamsPerConnection reads the settings that Traefik sends to an HTTP/2 client.
func TestDocumentedStreamsPerConnection(t *testing.T) {
	const (
		preface              = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"
		settingsFrame        = 4
		maxConcurrentStreams = 3
	)
	connection := dial(t, start(t, gateway.Options{}).URL)
	if _, err := io.WriteString(connection, preface); err != nil {
		t.Fatal(err)
	}
	header := make([]byte, 9)
	if _, err := io.ReadFull(connection, header); err != nil || header[3] != settingsFrame {
		t.Fatalf("first frame = %v, %v, want SETTINGS", header, err)
	}
	settings := make([]byte, binary.BigEndian.Uint16(header[1:]))
	if _, err := io.ReadFull(connection, settings); err != nil {
		t.Fatal(err)
	}
	for ; len(settings) >= 6; settings = settings[6:] {
		if binary.BigEndian.Uint16(settings) == maxConcurrentStreams {
			if got := binary.BigEndian.Uint32(settings[2:]); got != 250 {
				t.Errorf("a connection allows %d concurrent streams, want 250", got)
			}
			return
		}
	}
	t.Error("no limit on concurrent streams in SETTINGS")
}

// descriptors returns the number of file descriptors of the process. It needs /proc.
func descriptors(t *testing.T, g *gateway.Gateway) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// TestDocumentedDescriptorsPerStream opens streams over HTTP/1.1 and HTTP/2 on both sides.
func TestDocumentedDescriptorsPerStream(t *testing.T) {
	const (
		streams = 100
		shared  = 10 // connections that streams share, and unrelated descriptors
	)
	open := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", eventType)
		_ = sendEvent(rw, "word")
		<-r.Context().Done()
	})
	g := startForwarding(t)
	authority := newAuthority(t)
	configure(t, g, hosted(map[string]map[string]any{
		"plain":  at(t, newFake(t, "plain", open).URL, map[string]any{"token": "k"}),
		"secure": at(t, newSecureFake(t, "secure", open, authority).URL, map[string]any{"token": "k", "tls": map[string]any{"caFile": authority.File}}),
	}))
	overHTTP1 := func() *http.Client { return &http.Client{Transport: &http.Transport{}} }
	before := descriptors(t, g)
	for _, test := range []struct {
		name   string
		client func() *http.Client
		path   string
		want   int // per stream
	}{
		{"HTTP/1.1 on both sides", overHTTP1, "/plain", 2},
		{"HTTP/2 from the client", overHTTP2, "/plain", 1},
		{"HTTP/2 to the provider", overHTTP1, "/secure", 1},
		{"HTTP/2 on both sides", overHTTP2, "/secure", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			await(t, "earlier connections are closed", func() bool { return descriptors(t, g) <= before+shared/2 })
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			client := test.client()
			defer client.CloseIdleConnections()
			for range streams {
				response, err := do(ctx, client, g.URL+test.path+chatPath, plainStream, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = response.Body.Close() }()
				if _, err := readEvent(bufio.NewReader(response.Body)); err != nil {
					t.Fatal(err)
				}
			}
			if got, want := descriptors(t, g)-before, test.want*streams; got < want-shared || got > want+shared {
				t.Errorf("%d descriptors for %d streams, want about %d", got, streams, want)
			}
		})
	}
}

// TestShutdownGracePeriodForStreams stops Traefik with open streams: one that ends within the grace
// period, and one that does not.
func TestShutdownGracePeriodForStreams(t *testing.T) {
	const accepting, grace = time.Second, 2 * time.Second
	finish := make(chan struct{})
	g, base := startOther(t, map[string]any{"lifeCycle": map[string]any{
		"requestAcceptGraceTimeout": accepting.String(), "graceTimeOut": grace.String(),
	}}, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", eventType)
		_ = sendEvent(rw, "word")
		select {
		case <-finish:
			_, _ = io.WriteString(rw, "data: [DONE]\n\n")
		case <-r.Context().Done():
		}
	}))
	begun := func() *bufio.Reader {
		lines := openStream(t.Context(), t, base)
		if _, err := readEvent(lines); err != nil {
			t.Fatal(err)
		}
		return lines
	}

	streams := []*bufio.Reader{begun()}
	process, err := os.FindProcess(g.Pid())
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	streams = append(streams, begun())
	await(t, "connections are no longer accepted", func() bool {
		connection, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		if err == nil {
			_ = connection.Close()
		}
		return err != nil
	})
	if took := time.Since(began); took < accepting {
		t.Errorf("connections were accepted for %v, want at least %v", took, accepting)
	}
	finish <- struct{}{} // ends one of the two streams
	whole := 0
	for _, lines := range streams {
		data, err := readEvent(lines)
		if data == "[DONE]" {
			whole++
		} else if err == nil || errors.Is(err, io.EOF) {
			t.Errorf("unfinished stream: ends with %q, %v, want it broken", data, err)
		}
	}
	if took := time.Since(began); whole != 1 || took < accepting+grace {
		t.Errorf("%d complete streams, last one ends after %v, want 1 and at least %v", whole, took, accepting+grace)
	}
	receive(t, "the end of Traefik", g.Done())
}
