package e2e_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestEndOfTraefik ends Traefik in the midst of streams, one of which ends in the time of grace, and one does not.
func TestEndOfTraefik(t *testing.T) {
	const grace = 3 * time.Second
	released := make(chan struct{})
	begin := func(rw http.ResponseWriter) {
		rw.Header().Set("Content-Type", eventType)
		_ = sendEvent(rw, "word")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/ends/", func(rw http.ResponseWriter, r *http.Request) {
		begin(rw)
		select {
		case <-released:
			_, _ = io.WriteString(rw, finishEvent+usageEvent+doneEvent)
		case <-r.Context().Done():
		}
	})
	gone := make(chan struct{}, 2)
	mux.HandleFunc("/goes-on/", func(rw http.ResponseWriter, r *http.Request) {
		begin(rw)
		<-r.Context().Done()
		gone <- struct{}{}
	})
	provider := upstream(t, mux)
	g := start(t, gateway.Options{GraceTimeout: grace.String()})
	dynamic := exposing()
	dynamic.Services["provider"] = provider.URL
	for way, configuration := range map[string]map[string]any{byService: {}, byHost: at(t, provider.URL, map[string]any{})} {
		for _, path := range []string{"/ends", "/goes-on"} {
			configuration["path"] = path + chatPath
			configuration["model"] = openAIModel
			configuration["telemetry"] = map[string]any{"log": "stdout"}
			name := way + path
			dynamic.Middlewares[way+path[1:]] = gateway.Plugin(configuration)
			dynamic.Routers[way+path[1:]] = gateway.Router{Rule: "PathPrefix(`/" + name + "/`)", Middlewares: []string{way + path[1:]}, Service: "provider"}
		}
	}
	configure(t, g, dynamic)
	streams := map[string]*bufio.Reader{}
	for _, name := range []string{byService + "/ends", byHost + "/ends", byService + "/goes-on", byHost + "/goes-on"} {
		streams[name] = openStream(t.Context(), t, g.URL+"/"+name)
		if _, err := readEvent(streams[name]); err != nil {
			t.Fatal(err)
		}
	}
	_, _, _ = fmt.Println, strconv.Itoa, url.Parse

	began := time.Now()
	g.Terminate()
	await(t, "no connection is taken any more", func() bool {
		connection, err := net.Dial("tcp", g.URL[len("http://"):])
		if err == nil {
			_ = connection.Close()
		}
		return err != nil
	})
	close(released)
	for name, lines := range streams {
		var last string
		var err error
		for data := ""; err == nil; data, err = readEvent(lines) {
			last = data
		}
		t.Log(name, last, err, time.Since(began))
		isComplete := last == "[DONE]" && errors.Is(err, io.EOF)
		_ = isComplete
	}
	receive(t, "ended", g.Done())
	t.Log("done", time.Since(began), len(gone))
	t.Log(readText(t, g.LogPath))
}
