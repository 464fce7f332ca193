package e2e_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelroute/chatcompletion/e2e/gateway"
)

// TestCallsDuringTraefikShutdown stops Traefik during streams, some of which end within the grace
// period, and checks their records and the provider's requests.
func TestCallsDuringTraefikShutdown(t *testing.T) {
	const grace = 3 * time.Second
	released, gone := make(chan struct{}), make(chan struct{}, 2)
	provider := upstream(t, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", eventType)
		_ = sendEvent(rw, "word")
		if r.URL.Path == "/goes-on" {
			<-r.Context().Done()
			gone <- struct{}{}
			return
		}
		select {
		case <-released:
			_, _ = io.WriteString(rw, finishEvent+usageEvent+doneEvent)
		case <-r.Context().Done():
		}
	}))
	ways := map[string]map[string]any{byService: {}, byHost: at(t, provider.URL, map[string]any{})}
	dynamic := exposing()
	dynamic.Services["provider"] = provider.URL
	for way, configuration := range ways {
		configuration["path"] = "/$(uri_captures.end)"
		configuration["modelPattern"] = "^/" + way + "/(?<end>[a-z-]+)/"
		configuration["model"] = openAIModel
		configuration["telemetry"] = map[string]any{"log": "stdout"}
		dynamic.Middlewares[way] = gateway.Plugin(configuration)
		dynamic.Routers[way] = gateway.Router{Rule: "PathPrefix(`/" + way + "/`)", Middlewares: []string{way}, Service: "provider"}
	}
	g := start(t, gateway.Options{GraceTimeout: grace.String()})
	configure(t, g, dynamic)
	open := func(end string) []*bufio.Reader {
		var streams []*bufio.Reader
		for way := range ways {
			lines := openStream(t.Context(), t, g.URL+"/"+way+end)
			if _, err := readEvent(lines); err != nil {
				t.Fatal(err)
			}
			streams = append(streams, lines)
		}
		return streams
	}
	ending, going := open("/ends"), open("/goes-on")

	began := time.Now()
	g.Terminate()
	await(t, "Traefik begins its shutdown", func() bool { return strings.Contains(readText(t, g.LogPath), "Stopping server gracefully") })
	close(released)
	for _, lines := range ending {
		if last, err := lastEvent(lines); last != "[DONE]" || !errors.Is(err, io.EOF) {
			t.Errorf("stream within the grace period: ends with %q, %v, want [DONE] and EOF", last, err)
		}
	}
	for _, lines := range going {
		if last, err := lastEvent(lines); last != "" || err == nil || errors.Is(err, io.EOF) {
			t.Errorf("stream beyond the grace period: ends with %q, %v, want it broken", last, err)
		}
		receive(t, "the provider's request ends", gone)
	}
	receive(t, "Traefik exits", g.Done())
	if took := time.Since(began); took < grace || took > grace+conditionTimeout/6 {
		t.Errorf("Traefik exited after %v, want a little more than %v", took, grace)
	}
	endings := totals{}
	for _, line := range callLines(t, g.LogPath) {
		errorType, _ := line["error.type"].(string)
		endings[errorType]++
	}
	if endings[""] != 2 || endings["client_gone"] > 2 || len(endings) > 2 {
		t.Errorf("error types in the log: %v, want 2 without an error and the others client_gone, if they were logged in time", endings)
	}
	checkNoErrors(t, g)
}

// lastEvent reads to the end, and returns the last event and the final error.
func lastEvent(lines *bufio.Reader) (last string, err error) {
	for {
		data, err := readEvent(lines)
		if err != nil {
			return last, err
		}
		last = data
	}
}
