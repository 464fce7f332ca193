package chatcompletion

import (
	"strings"
	"testing"
)

// TestUndeclaredStreamHasFirstChunk checks what the cases cannot compare: the time to the first event of a stream.
func TestUndeclaredStreamHasFirstChunk(t *testing.T) {
	streams := map[string]string{
		"data":              azureEvent + azureLastEvents,
		"a comment":         ": keep-alive\n\n" + azureEvent + azureLastEvents,
		"an event line":     "event: message\n" + azureEvent + azureLastEvents,
		"an id":             "id: 1\n" + azureEvent + azureLastEvents,
		"a time to retry":   "retry: 1000\n\n" + azureEvent + azureLastEvents,
		"white space first": "\n" + azureEvent + azureLastEvents,
		"CR LF":             strings.ReplaceAll(azureEvent+azureLastEvents, "\n", "\r\n"),
		"data, and its end": azureEvent,
	}
	for name, body := range streams {
		for _, contentType := range []string{jsonContent, jsonContent + "; charset=utf-8", "text/plain", ""} {
			for _, packet := range []int{0, 1, 100} {
				if call := recordedCall(t, completionsPath, completionsStreamBody, contentType, body, packet); call.FirstChunk <= 0 {
					t.Errorf("%s of type %q in packets of %d bytes: no time to the first event", name, contentType, packet)
				}
			}
		}
	}
	documents := map[string]string{
		"JSON": `{"id":"c","choices":[{"index":0,"message":{"content":"\ndata: x\n\n"},"finish_reason":"stop"}]}`, "text": "database is starting\n\n",
		"a text that begins like a field": "dat", "nothing": "", "only a comment": ": keep-alive\n\n",
	}
	for name, body := range documents {
		if call := recordedCall(t, completionsPath, completionsStreamBody, jsonContent, body, 1); call.FirstChunk != 0 {
			t.Errorf("%s: %s to the first event, want none", name, call.FirstChunk)
		}
	}
	if call := recordedCall(t, completionsPath, completionsJSONBody, jsonContent, azureEvent, 0); call.FirstChunk != 0 {
		t.Errorf("nobody asked for a stream: %s to the first event, want none", call.FirstChunk)
	}
}
