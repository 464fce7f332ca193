package chatcompletion

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"
)

// plantedTexts are what rules mask.
var plantedTexts = []string{"4111 1111 1111 1111", "jo.doe@example.com", "Aurora-2031", "4012888888881881", "aurora-7"}

// A random text with planted matches, written with random escapes, cut into random pieces in random
// packets: the client gets what masking the whole text gives, and before the end never more.
func FuzzGuardedStreams(f *testing.F) {
	for seed := int64(0); seed < 40; seed++ {
		f.Add(seed)
	}
	h := newGuardedProvider(f, guardConfig(maskCards, maskMails, maskWord, blockKeys))
	f.Fuzz(func(t *testing.T, seed int64) {
		random := rand.New(rand.NewSource(seed))
		p := protocolStreams[random.Intn(len(protocolStreams))]
		text, matches, want := plantedMatches(random, h.rules)
		if blocking := blockingRule(matches); blocking != nil {
			want = want[:firstBlocked(matches)]
		}
		stream := p.begin
		for _, piece := range escapedPieces(random, text) {
			stream += p.piece(piece)
		}
		stream += p.end
		var packets []string
		for at := 0; at < len(stream); {
			end := at + 1 + random.Intn(600)
			if end > len(stream) {
				end = len(stream)
			}
			packets = append(packets, stream[at:end])
			at = end
		}
		call := callGuarded(t, h, p.path, "text/event-stream", packets...)
		if blocking := blockingRule(matches); blocking != nil {
			checkBlocked(t, p, call, want)
			return
		}
		if got := p.texts(t, call.body); got != want || call.status != http.StatusOK {
			t.Fatalf("%s: got %d %q, want %q\nof %q\n%s", p.name, call.status, got, want, text, stream)
		}
		for _, body := range call.after {
			body = body[:strings.LastIndex(body, "\n\n")+1]
			if got := p.texts(t, body); !strings.HasPrefix(want, got) {
				t.Fatalf("%s: the client has %q before the end, want the beginning of %q", p.name, got, want)
			}
		}
	})
}

// firstBlocked returns where the first match begins that is blocked. Masks have the length of what they mask.
func firstBlocked(matches []guardMatch) int {
	for _, m := range matches {
		if m.rule.action == actionBlock {
			return m.from
		}
	}
	return 0
}

// checkBlocked verifies that a client has nothing of a text from what is blocked on.
func checkBlocked(t *testing.T, p protocolStream, call *guardedCall, want string) {
	t.Helper()
	got := p.texts(t, call.body)
	if !strings.Contains(call.body, `"error"`) || !strings.HasPrefix(want, got) {
		t.Fatalf("%s: got %d %q, want an error after the beginning of %q", p.name, call.status, got, want)
	}
}

// plantedText returns a text with words, and with what rules mask.
func plantedText(random *rand.Rand) string {
	words := []string{"Pay", "with", "sk", "4111", "key:", "jo@", "7", "eyJ", "aurora", "-", ".", "x", "\n", "\"", "12", "the", "é", "AKIA", "\x01", "s\x00"}
	text := ""
	for n := random.Intn(20); n >= 0; n-- {
		if random.Intn(4) == 0 {
			text += plantedTexts[random.Intn(len(plantedTexts))]
		} else {
			text += words[random.Intn(len(words))]
		}
		text += []string{" ", "", ", ", "; "}[random.Intn(4)]
	}
	return text
}

// plantedMatches returns a planted text, what rules match in it, and the text with masks.
func plantedMatches(random *rand.Rand, rules []*guardRule) (string, []guardMatch, string) {
	text := plantedText(random)
	matches, _ := findMatches(&guardRules{rules: rules}, text, "")
	return text, matches, maskedText(text, matches)
}

// escapedPieces cuts a text anywhere between characters, and returns the pieces as the insides of JSON strings.
func escapedPieces(random *rand.Rand, text string) []string {
	var pieces []string
	for at := 0; at < len(text); {
		end := at + 1 + random.Intn(12)
		if end > len(text) {
			end = len(text)
		}
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end++
		}
		pieces = append(pieces, escapedText(random, text[at:end]))
		at = end
	}
	return pieces
}

// escapedText returns the inside of a JSON string, in which some characters are escapes though they need not be.
func escapedText(random *rand.Rand, text string) string {
	escaped := ""
	for _, char := range text {
		quoted, _ := json.Marshal(string(char))
		one := string(quoted[1 : len(quoted)-1])
		if random.Intn(9) == 0 && char < 0x10000 {
			one = fmt.Sprintf(`\u%04x`, char)
		}
		escaped += one
	}
	return escaped
}
