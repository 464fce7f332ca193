package chatcompletion

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
)

// usageOnlyEvent is an event that a usage filter removes.
const usageOnlyEvent = `data: {"choices":[],"usage":{"prompt_tokens":6,"completion_tokens":4}}` + "\n\n"

// TestUsageFilterScansAreBounded checks that a provider cannot choose how many events the interpreted code parses.
func TestUsageFilterScansAreBounded(t *testing.T) {
	harmless := "data: {\"choices\":[{}]}\n\n"
	tests := []struct {
		name, chunk, want string
	}{
		{"as many usage events as are parsed", strings.Repeat(usageOnlyEvent, maxEventsRead), ""},
		{"more usage events", harmless + strings.Repeat(usageOnlyEvent, maxEventsRead+9) + harmless, harmless + strings.Repeat(usageOnlyEvent, 9) + harmless},
		{"usage events between others", strings.Repeat(harmless+usageOnlyEvent+"\n", 5), strings.Repeat(harmless+"\n", 5)},
		{"few lines", strings.Repeat(":\n", 50) + usageOnlyEvent, ""},
		{"many lines", strings.Repeat(":\n", usageMaxLines+1) + usageOnlyEvent, strings.Repeat(":\n", usageMaxLines+1) + usageOnlyEvent},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string(filterUsage(&usageFilter{}, []byte(test.chunk))); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestFinishReasonAtWindowEndIsReadOnce(t *testing.T) {
	reader := &responseReader{record: &Response{}, wantsDetails: true, stream: true}
	event := `{"choices":[{"index":0,"finish_reason":"stop"},{"index":1,"finish_reason":"length"}]}`
	rest := scanWindow(reader, []byte("\n: "+strings.Repeat("x", windowBytes)+"\n\ndata: "+event+"\n"), false)
	scanWindow(reader, append(append([]byte(nil), rest...), "\ndata: {\"usage\":{}}\n\n"...), true)
	if got := strings.Join(reader.record.FinishReasons, " "); got != "stop length" {
		t.Errorf("finish reasons %q, want %q", got, "stop length")
	}
}

// TestBufferedEventIsNotCopiedWithEveryPacket sends an event in packets of one byte to the usage filter.
func TestBufferedEventIsNotCopiedWithEveryPacket(t *testing.T) {
	event := []byte("data: " + strings.Repeat("A", bufferedMaxBytes-100) + "\n\n")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f := &usageFilter{}
	shown := 0
	for i := range event {
		shown += len(filterUsage(f, event[i:i+1]))
	}
	runtime.ReadMemStats(&after)
	if shown != len(event) {
		t.Errorf("%d bytes, want %d", shown, len(event))
	}
	if got, want := after.TotalAlloc-before.TotalAlloc, uint64(20*len(event)); got > want {
		t.Errorf("%d bytes allocated, want at most %d", got, want)
	}
}

// TestSearchForModelIsBounded checks that an event with thousands of models of something inside is read a few times only.
func TestSearchForModelIsBounded(t *testing.T) {
	event := "data: {" + strings.Repeat(`"a":1,`, 3000) + `"x":[` + strings.Repeat(`{"model":"y"},`, 1000) + "{}]}\n\n"
	text := []byte("\n" + strings.Repeat(event, 3) + `data: {"model":"m-1"}` + "\n\n")
	reader := &responseReader{record: &Response{}, stream: true}
	if got := testing.AllocsPerRun(1, func() { scanWindow(reader, text, false) }); got > 2000 {
		t.Errorf("%.0f allocations, want at most 2000", got)
	}
	if reader.record.Model != "m-1" {
		t.Errorf("model %q, want m-1", reader.record.Model)
	}
}

// disconnectingClient accepts some writes; later ones fail.
type disconnectingClient struct {
	*httptest.ResponseRecorder
	writesLeft int
}

func (g *disconnectingClient) Write(b []byte) (int, error) {
	if g.writesLeft--; g.writesLeft < 0 {
		return 0, errors.New("broken pipe")
	}
	return g.ResponseRecorder.Write(b)
}

func TestUsageAfterClientDisconnectIsMetered(t *testing.T) {
	provider := http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		for _, event := range []string{"data: {}\n\n", "data: {}\n\n", usageOnlyEvent} {
			_, _ = io.WriteString(rw, event)
		}
	})
	for _, options := range []string{"", `"stream_options":{"include_usage":true},`} {
		handler, err := New(context.Background(), provider, CreateConfig(), "test")
		if err != nil {
			t.Fatal(err)
		}
		client := &disconnectingClient{httptest.NewRecorder(), 2}
		handler.ServeHTTP(client, httptest.NewRequest(http.MethodPost, "/v1/chat/completions",
			strings.NewReader(`{"model":"m","stream":true,`+options+`"messages":[{"role":"user","content":"Hi"}]}`)))
		if got := client.Header().Get(inputTokensHeader); got != "6" {
			t.Errorf("request with %q: Response header %q = %q, want 6", options, inputTokensHeader, got)
		}
	}
}

func TestCapturedMessagesAndPartsAreBounded(t *testing.T) {
	message := `{"role":"user","content":""},`
	part := `{"type":"text","text":""},`
	for name, body := range map[string]string{
		"messages": `{"messages":[` + strings.Repeat(message, 10000) + `{"role":"user","content":"last"}]}`,
		"parts":    `{"messages":[{"role":"user","content":[{"type":"text","text":"first"},` + strings.Repeat(part, 10000) + `{"type":"text"}]}]}`,
	} {
		var messages []contentMessage
		if err := json.Unmarshal(captureInput(completions, []byte(body), 10), &messages); err != nil {
			t.Fatal(err)
		}
		count := 0
		for _, m := range messages {
			count += len(m.Parts)
		}
		if count != capturedMaxMessages {
			t.Errorf("%s: %d parts in %d messages, want %d", name, count, len(messages), capturedMaxMessages)
		}
	}
}

func TestRefusedRequestIsNotCaptured(t *testing.T) {
	for _, mode := range []string{modeEnforce, modeReport} {
		var calls []*Call
		config := CreateConfig()
		config.Mode = mode
		config.Telemetry.Traces.CaptureContent = true
		p, err := newPolicy(config, "test")
		if err != nil {
			t.Fatal(err)
		}
		p.telemetry.spans = true
		p.telemetry.sinks = append(p.telemetry.sinks, sinkFunc(func(c *Call) { calls = append(calls, c) }))
		handler := newPolicyMiddleware(p, http.NotFoundHandler())
		for _, body := range []string{`{"model":"m","messages":[{"role":"user","content":"Hi"}]}`, `{"messages":[{"role":"user","content":"Hi"}],"n":0}`} {
			handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		}
		if len(calls) != 2 || len(calls[0].Input) == 0 || len(calls[1].Input) != 0 {
			t.Errorf("%s: %d calls, want two, and the input of the first only", mode, len(calls))
		}
	}
}

type sinkFunc func(c *Call)

func (f sinkFunc) Consume(c *Call) { f(c) }

func TestCapturedEventsAreBounded(t *testing.T) {
	capt := &capture{left: 1 << 20}
	captureWindow(capt, []byte(strings.Repeat("\ndata:{}", capturedMaxEvents+5)), true)
	if capt.events != capturedMaxEvents {
		t.Errorf("%d captured events, want %d", capt.events, capturedMaxEvents)
	}
}

func TestWarningIsOneLine(t *testing.T) {
	got := warnings(t, func() { logWarn("a problem: %s", "line\nchat-completion: forged\x1b[2J") })
	if want := "chat-completion: a problem: line chat-completion: forged [2J\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExportRejectedCountIsBounded(t *testing.T) {
	d := &delivery{}
	readExportResponse(&http.Response{StatusCode: http.StatusOK}, []byte(`{"partialSuccess":{"rejectedSpans":"9223372036854775807","rejectedDataPoints":"9223372036854775807"}}`), d)
	if want := int64(2 * pointBatch); d.rejected != want {
		t.Errorf("%d rejected, want %d", d.rejected, want)
	}
}
