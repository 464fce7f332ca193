package chatcompletion

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestLastEventsAreSearchedFor compares the table of protocols with what is searched for in a window.
func TestLastEventsAreSearchedFor(t *testing.T) {
	search := regexp.MustCompile("^" + lastEventTypes + "$")
	known := map[string]bool{}
	for _, p := range protocols {
		types := append([]string{errorValue}, p.lastEvents...)
		if p.failedEvent != "" {
			types = append(types, p.failedEvent)
		}
		for _, name := range types {
			known[name] = true
			if !search.MatchString(name) {
				t.Errorf("%s: lastEventTypes does not match %q", p.name, name)
			}
			if name != errorValue && protocolOf(name).name != p.name {
				t.Errorf("%s: %q is an event of %s", p.name, name, protocolOf(name).name)
			}
			found := false
			for _, part := range lastEventParts {
				found = found || strings.Contains(name, string(part))
			}
			if !found {
				t.Errorf("%s: lastEventParts has no part of %q", p.name, name)
			}
		}
	}
	for _, prefix := range []string{"", "response.", "speech.audio.", "image_generation.", "image_edit.", "transcript.text.", "message_", "message-"} {
		for _, ending := range []string{"error", "completed", "incomplete", "cancelled", "done", "failed", "stop", "end", "delta"} {
			if name := prefix + ending; search.MatchString(name) && !known[name] {
				t.Errorf("lastEventTypes matches %q, which no protocol has", name)
			}
		}
	}
}

// TestProtocolsAreDocumented compares the table of protocols with that of the documentation.
func TestProtocolsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("docs/metering.md")
	if err != nil {
		t.Fatal(err)
	}
	places := map[usagePlace]string{atTop: "`usage`", inChoices: "`choices[].usage`", inXGroq: "`x_groq.usage`", inResponse: "`response.usage`",
		inMessage: "`message.usage`", inDelta: "`delta.usage`"}
	for _, p := range protocols {
		at := bytes.Index(text, []byte("| "+p.name+" |"))
		if at < 0 {
			t.Errorf("docs/metering.md has no row for %s", p.name)
			continue
		}
		row, _, _ := bytes.Cut(text[at:], []byte("\n"))
		var want []string
		for _, name := range p.lastEvents {
			want = append(want, "`"+name+"`")
		}
		for _, at := range p.usagePlaces {
			want = append(want, places[at])
		}
		if p.eventPrefix != "" {
			want = append(want, "`"+p.eventPrefix+"*`")
		}
		if p.failedEvent != "" {
			want = append(want, "`"+p.failedEvent+"`")
		}
		for _, part := range want {
			if !bytes.Contains(row, []byte(part)) {
				t.Errorf("docs/metering.md, %s: no %s", p.name, part)
			}
		}
	}
}
